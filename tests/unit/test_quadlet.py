"""Container units: what is written, what is decided from a host's own words, what is never shown."""

from __future__ import annotations

import io
import secrets
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import quadlet, quadlet_shell
from pooler.errors import InvalidError
from pooler.observed import FoundFile
from pooler.quadlet import Observed, Quadlet

CONTAINER = """[Unit]
Description=etcd

[Container]
Image=localhost/lab/etcd:3.5

[Service]
Restart=always

[Install]
WantedBy=multi-user.target
"""
CERTIFICATE = "/etc/pgfleet/tls/etcd/current/ca.crt"


def options(**changes: Any) -> dict[str, Any]:
    return {
        "name": "etcd",
        "state": "started",
        "container": CONTAINER,
        "pull": None,
        "directories": [{"path": "/var/lib/etcd", "mode": "0700", "owner": 2379}],
        "files": [
            file("/etc/etcd/key", "k1", secret=True, mode="0600"),
            file("/etc/etcd/dynamic", "d1", restart=False),
        ],
        "watch": [CERTIFICATE],
        "reload": ["kill", "-HUP", "1"],
        "wait": ["etcdctl", "endpoint", "health"],
        "guard": [],
        "spare": [],
        "wait_timeout": 60,
        "restart": True,
    } | changes


def file(path: str, content: str, **changes: Any) -> dict[str, Any]:
    return {"path": path, "content": content, "mode": "0644", "owner": 0, "secret": False, "restart": True} | changes


def wanted(**changes: Any) -> Quadlet:
    return Quadlet.from_variables(options(**changes))


def converged(unit: Quadlet) -> Observed:
    """What a host says on which this unit runs as it should."""
    watched = "".join(f"{'0' * 64}  {path}\n" for path in unit.watched)
    return Observed(
        files={item.path: FoundFile(item.content, item.mode, item.owner) for item in unit.files},
        directories={directory.path: (directory.mode, directory.owner) for directory in unit.directories},
        image_id="i1",
        unit_state="active",
        container_image="i1",
        container_digest=unit.digest,
        watched=watched,
        recorded=watched,
        reloaded=quadlet.reloading_digest(unit),
        ready=True,
    )


def test_nothing_is_done_where_everything_is_as_wanted() -> None:
    todo = quadlet.plan(wanted(), converged(wanted()))
    assert not todo.acts
    assert todo.steps(wanted()) == ()
    assert not todo.restart_due
    assert not todo.reload_due


def test_on_a_bare_host_all_is_written_started_awaited_and_then_reloaded() -> None:
    todo = quadlet.plan(wanted(), Observed(image_id="i1"))
    assert [item.path for item in todo.write] == [
        "/etc/containers/systemd/etcd.container",
        "/etc/etcd/key",
        "/etc/etcd/dynamic",
    ]
    assert (todo.start, todo.restart, todo.wait, todo.reload, todo.pull) == (True, False, True, True, False)
    assert [directory.path for directory in todo.directories] == ["/var/lib/etcd"]


def test_a_first_task_that_does_not_wait_leaves_the_reload_for_later() -> None:
    todo = quadlet.plan(wanted(wait_timeout=0, restart=False), Observed(image_id="i1"))
    assert (todo.start, todo.wait, todo.reload, todo.reload_due) == (True, False, False, True)


def test_a_run_that_broke_after_writing_is_completed_by_the_next() -> None:
    unit = wanted()
    todo = quadlet.plan(unit, replace(converged(unit), container_digest="of-another-unit"))
    assert (todo.write, todo.restart, todo.wait) == ((), True, True)


def test_a_run_that_broke_while_it_waited_waits_again_and_changes_nothing() -> None:
    todo = quadlet.plan(wanted(), replace(converged(wanted()), ready=False))
    assert (todo.wait, todo.acts, todo.changes) == (True, True, False)


def test_a_restart_that_is_not_allowed_is_due() -> None:
    unit = wanted(restart=False)
    todo = quadlet.plan(unit, replace(converged(unit), container_digest="of-another-unit"))
    assert (todo.restart, todo.restart_due, todo.changes) == (False, True, False)
    assert "leave a restart of etcd for later" in todo.steps(unit)[-1]


def test_a_member_that_leads_is_spared_its_restart_which_stays_due() -> None:
    unit = wanted(spare=["leads"])
    stale = replace(converged(unit), container_digest="before", spared=True)
    todo = quadlet.plan(unit, stale)
    assert (todo.restart, todo.restart_due, todo.acts) == (False, True, False)
    assert quadlet.plan(unit, replace(stale, spared=False)).restart


def test_a_guard_that_says_no_leaves_everything_as_it_was(tmp_path: Any) -> None:
    unit = wanted(guard=["everybody-is-well"])
    todo = quadlet.plan(unit, replace(converged(unit), container_digest="before"))
    script = quadlet_shell.apply(unit, todo)
    calls = tmp_path / "calls"
    fakes = f"""
section() {{ :; }}
systemctl() {{ echo "systemctl $*" >> {calls}; }}
timeout() {{ echo "$*" >> {calls}; echo 'db2 is away'; return 1; }}
mkdir() {{ :; }}
set -e
staging={tmp_path}
"""
    done = subprocess.run(["sh", "-c", fakes + script], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "must not be restarted now:\ndb2 is away" in done.stderr
    assert calls.read_text().splitlines() == ["30 podman exec etcd everybody-is-well"]


def test_what_does_not_run_is_started_without_asking_the_guard() -> None:
    unit = wanted(guard=["everybody-is-well"])
    todo = quadlet.plan(unit, replace(converged(unit), container_digest=None, unit_state="failed"))
    assert todo.start
    assert "everybody-is-well" not in quadlet_shell.apply(unit, todo).partition("section 'step pull'")[2]
    assert "\nguard\n" not in quadlet_shell.apply(unit, todo)


def test_what_does_not_run_is_started_even_where_no_restart_is_allowed() -> None:
    unit = wanted(restart=False)
    for observed in (
        replace(converged(unit), unit_state="failed"),
        replace(converged(unit), container_digest=None),
        replace(converged(unit), unit_state="activating"),
    ):
        assert quadlet.plan(unit, observed).start


@pytest.mark.parametrize(
    "change",
    [
        {"container": CONTAINER.replace("always", "on-failure")},
        {"files": [file("/etc/etcd/key", "k2", secret=True, mode="0600")]},
        {"files": [file("/etc/etcd/key", "k1", secret=True, mode="0400")]},
        {"files": [file("/etc/etcd/key", "k1", secret=True, mode="0600", owner=7)]},
    ],
)
def test_a_change_of_what_is_read_at_start_restarts(change: dict[str, Any]) -> None:
    assert wanted(**change).digest != wanted().digest
    assert quadlet.plan(wanted(**change), converged(wanted())).restart


def test_a_file_changed_by_hand_restarts_because_it_may_have_been_read() -> None:
    unit = wanted()
    observed = converged(unit)
    changed = {**observed.files, "/etc/etcd/key": FoundFile(b"other", 0o600, 0)}
    assert quadlet.plan(unit, replace(observed, files=changed)).restart


def test_another_image_under_the_same_name_restarts() -> None:
    todo = quadlet.plan(wanted(), replace(converged(wanted()), image_id="i2"))
    assert todo.restart
    assert todo.why == ("it runs another image",)


def test_a_file_for_reload_is_written_and_reloaded_without_a_restart() -> None:
    unit = wanted(files=[options()["files"][0], file("/etc/etcd/dynamic", "d2", restart=False)])
    todo = quadlet.plan(unit, converged(wanted()))
    assert (todo.restart, todo.reload, [item.path for item in todo.write]) == (False, True, ["/etc/etcd/dynamic"])


def test_a_reload_that_was_written_but_not_done_is_done_by_the_next_run() -> None:
    todo = quadlet.plan(wanted(), replace(converged(wanted()), reloaded="before"))
    assert (todo.write, todo.reload) == ((), True)


def test_a_renewed_certificate_is_reloaded_or_where_that_is_impossible_restarted() -> None:
    renewed = replace(converged(wanted()), watched=f"{'1' * 64}  {CERTIFICATE}\n")
    todo = quadlet.plan(wanted(), renewed)
    assert (todo.restart, todo.reload) == (False, True)
    assert CERTIFICATE in todo.why_reload[0]
    without = wanted(reload=[], files=[])
    todo = quadlet.plan(without, replace(renewed, container_digest=without.digest, files=converged(without).files))
    assert (todo.restart, todo.reload) == (True, False)


def test_a_start_reads_the_watched_files_so_no_reload_follows() -> None:
    unit = wanted(files=[])
    observed = replace(converged(unit), watched="new", unit_state="inactive", container_digest=None)
    todo = quadlet.plan(unit, observed)
    assert (todo.start, todo.reload) == (True, False)


def test_an_image_is_pulled_only_when_it_is_missing_and_from_a_registry() -> None:
    remote = wanted(container=CONTAINER.replace("localhost/lab/etcd:3.5", "quay.io/coreos/etcd:v3.5.17"))
    assert quadlet.plan(remote, Observed()).pull
    assert not quadlet.plan(remote, Observed(image_id="i1")).pull
    assert not quadlet.plan(wanted(), Observed()).pull
    assert quadlet.plan(wanted(pull=True), Observed()).pull
    assert not quadlet.plan(replace(remote, may_pull=False), Observed()).pull


def test_the_unit_keeps_its_text_and_gains_name_label_and_note() -> None:
    unit = wanted()
    for line in CONTAINER.splitlines():
        assert line in unit.text.splitlines()
    sections = unit.text.split("\n[")
    assert [section.split("]")[0].strip("[") for section in sections] == ["Unit", "Container", "Service", "Install"]
    assert f"ContainerName=etcd\nPull=never\nLabel={quadlet.LABEL}={unit.digest}\n" in sections[1]
    assert "sha256sum " + CERTIFICATE in sections[2]


def test_a_unit_without_a_service_section_gets_one_for_the_note() -> None:
    unit = wanted(container="[Container]\nImage=localhost/x:1\n")
    assert "\n[Service]\nExecStartPre=" in unit.text
    assert "ExecStartPre" not in wanted(container="[Container]\nImage=localhost/x:1\n", watch=[]).text


def test_removal_names_only_what_is_there_and_nothing_the_second_time() -> None:
    absent = wanted(state="absent", container=None)
    todo = quadlet.removal(absent, converged(wanted()))
    assert set(todo.remove) == {
        "etcd",
        "/etc/containers/systemd/etcd.container",
        "/etc/etcd/key",
        "/etc/etcd/dynamic",
        "/var/lib/etcd",
    }
    assert not quadlet.removal(absent, Observed()).acts


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": "Etcd"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"container": None}, "container"),
        ({"container": "[Container]\n"}, "container"),
        ({"container": CONTAINER + "Image=two\n"}, "container"),
        ({"container": CONTAINER + "ContainerName=x\n"}, "container"),
        ({"container": CONTAINER + "Pull=always\n"}, "container"),
        ({"watch": ["relative"]}, "watch"),
        ({"watch": ["/etc/../x"]}, "watch"),
        ({"watch": ["/etc/x y"]}, "watch"),
        ({"watch": ["/etc/$(id)"]}, "watch"),
        ({"watch": ["/etc/%n"]}, "watch"),
        ({"files": [file("/etc/x", "", mode="644")]}, "files[0].mode"),
        ({"files": [file("/etc/x", "", mode="0888")]}, "files[0].mode"),
        ({"files": [file("/etc/x", "", owner=-1)]}, "files[0].owner"),
        ({"files": [file("/", "")]}, "files[0].path"),
        ({"state": "absent", "directories": [{"path": "/var", "mode": "0755", "owner": 0}]}, "directories[0].path"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidError) as caught:
        wanted(**change)
    assert [problem.place for problem in caught.value.problems] == [place]


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InvalidError) as caught:
        wanted(name="", watch=["x"], files=[file("y", "", mode="1")])
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("known", ["none", "same", "other"])
def test_a_secret_is_in_no_diff_and_in_no_step(known: str) -> None:
    secret, former = secrets.token_hex(16), secrets.token_hex(16)
    unit = wanted(files=[file("/etc/etcd/key", secret, secret=True)])
    found = {"none": {}, "same": {"/etc/etcd/key": secret}, "other": {"/etc/etcd/key": former}}[known]
    observed = Observed(files={path: FoundFile(text.encode(), 0o600, 0) for path, text in found.items()})
    for todo in (quadlet.plan(unit, observed), quadlet.removal(unit, observed)):
        shown = str(quadlet.diff(unit, observed, todo)) + str(todo) + str(todo.steps(unit)) + repr(unit)
        assert "/etc/etcd/key" in shown or not todo.changes
        assert secret not in shown
        assert former not in shown


def test_a_secret_that_changes_shows_that_it_does() -> None:
    unit = wanted(files=[file("/etc/etcd/key", "new", secret=True)])
    observed = Observed(files={"/etc/etcd/key": FoundFile(b"old", 0o644, 0)})
    (entry,) = [
        entry
        for entry in quadlet.diff(unit, observed, quadlet.plan(unit, observed))
        if "/etc/etcd/key" in entry.get("after_header", "")
    ]
    assert entry["before"] != entry["after"]


def test_what_a_host_prints_is_read_back() -> None:
    sections = dict.fromkeys(quadlet_shell.SECTIONS, "") | {
        "directories": "/var/lib/etcd 700 2379 2379\n/var/lib/other dir 755 1 2",
        "image": "abc\n",
        "unit": "active\n",
        "container": "abc 0123456789abcdef\n",
        "ready": "yes\n",
    }
    found = quadlet_shell.observe(sections, archive([("etc/x", b"content", 0o640, 7)]))
    assert found.files == {"/etc/x": FoundFile(b"content", 0o640, 7)}
    # A group that is not the owner's is as wrong as another owner.
    assert found.directories == {"/var/lib/etcd": (0o700, 2379), "/var/lib/other dir": (0o755, -1)}
    assert (found.running, found.container_digest, found.ready) == (True, "0123456789abcdef", True)


def test_a_container_of_somebody_else_has_no_label_and_is_restarted() -> None:
    sections = dict.fromkeys(quadlet_shell.SECTIONS, "") | {"unit": "active", "container": "abc "}
    found = quadlet_shell.observe(sections, b"")
    assert found.container_digest == ""
    assert quadlet.plan(wanted(), replace(converged(wanted()), container_digest="")).restart


words = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)


@given(st.lists(words, max_size=4), st.lists(words, max_size=4), st.booleans())
def test_every_script_is_one_that_sh_can_parse(wait: list[str], reload: list[str], absent: bool) -> None:
    unit = wanted(wait=wait, reload=reload, state="absent" if absent else "started")
    todo = quadlet.removal(unit, converged(wanted())) if absent else quadlet.plan(unit, Observed())
    for script in (
        quadlet_shell.read(unit),
        quadlet_shell.remove(unit, todo) if absent else quadlet_shell.apply(unit, todo),
    ):
        done = subprocess.run(["sh", "-n"], input=script.encode(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()


def archive(entries: Iterable[tuple[str, bytes, int, int]]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, content, mode, owner in entries:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid = len(content), mode, owner
            tar.addfile(entry, io.BytesIO(content))
    return raw.getvalue()
