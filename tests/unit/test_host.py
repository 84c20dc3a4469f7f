"""The host room: what is sent to a host, what is read of its answer."""

from __future__ import annotations

import fcntl
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import host as host_room
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.host import Host, HostError
from ansible_collections.pgfleet.pooler.pooler.files import File


def local_shell(command: str, data: bytes) -> Mapping[str, Any]:
    done = subprocess.run(["sh", "-c", command], input=data, capture_output=True, check=False)
    return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


def test_sections_hold_exactly_what_was_printed_between_the_marks() -> None:
    host = Host("h", local_shell)
    answer = host.read("echo noise; section one; printf 'a\\n\\nb\\n'; section two; section three; printf x")
    assert answer.text("one") == "a\n\nb"
    assert answer.text("two") == ""
    assert answer.text("three") == "x"


def test_output_that_looks_like_a_mark_is_not_taken_for_one() -> None:
    answer = Host("h", local_shell).read("section one; echo '@0123456789abcdef two'")
    assert answer.text("one") == "@0123456789abcdef two"


def test_a_failing_read_names_the_host_and_gives_its_words() -> None:
    with pytest.raises(HostError, match=r"^db1: no such thing"):
        Host("db1", local_shell).read("echo 'no such thing' >&2; exit 3")


def test_a_read_that_ends_early_without_a_word_is_an_error() -> None:
    with pytest.raises(HostError, match="ended early"):
        Host("h", local_shell).read("section one; exit 0")


def test_a_stream_that_was_cut_off_changes_nothing() -> None:
    streams: list[bytes] = []

    def keep(_command: str, data: bytes) -> Mapping[str, Any]:
        streams.append(data)
        return {"rc": 0, "stdout": "", "stderr": ""}

    Host("h", keep).apply("echo hello", [File("/etc/x", b"content" * 1000, 0o600, 7)])
    with tarfile.open(fileobj=io.BytesIO(streams[0]), mode="r:gz") as tar:
        assert [(entry.name, entry.mode, entry.uid) for entry in tar] == [
            ("script", 0o600, 0),
            ("files/etc/x", 0o600, 7),
        ]
    cut = subprocess.run(
        ["tar", "-xzf", "-", "-C", "/dev/shm"], input=streams[0][:-10], capture_output=True, check=False
    )
    assert cut.returncode != 0


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host_room, "STAGING", str(tmp_path / "staging"))
    monkeypatch.setattr(host_room, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(host_room, "_PATIENCE", 0)
    return tmp_path


def test_a_change_goes_on_when_nobody_listens_any_more(places: Path) -> None:
    def deaf(command: str, data: bytes) -> Mapping[str, Any]:
        with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin
            assert process.stdout
            process.stdout.close()
            process.stdin.write(data)
            process.stdin.close()
        return {"rc": process.returncode, "stdout": "", "stderr": ""}

    Host("h", deaf).apply(f"section a; head -c 300000 /dev/zero; section b; echo yes > {places}/done")
    assert (places / "done").read_text() == "yes\n"
    assert not (places / "staging").exists()


def test_what_a_change_says_comes_back_also_when_it_fails(places: Path) -> None:
    answer = Host("h", local_shell).apply("section a; echo said; echo why >&2; false; section b")
    assert (answer.text("a"), answer.failed) == ("said", "why")
    assert "b" not in answer.sections


def test_two_changes_of_one_host_take_turns(places: Path) -> None:
    host = Host("h", local_shell)
    with (places / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another run is still at work" in host.apply("section a").failed
        with pytest.raises(HostError, match="another run is still at work"):
            host.read("section a", settled=True)
        assert host.read("section a; echo said").text("a") == "said"
    assert not host.apply("section a").failed
    assert host.read("section a; echo said", settled=True).text("a") == "said"


def test_every_run_is_counted_as_a_trip() -> None:
    host = Host("h", local_shell)
    host.read("section a")
    host.read("section b")
    assert host.trips == 2


def test_a_script_that_ends_with_255_does_not_pass_for_a_lost_connection() -> None:
    codes: list[int] = []

    def listen(command: str, data: bytes) -> Mapping[str, Any]:
        answer = local_shell(command, data)
        codes.append(answer["rc"])
        return answer

    host = Host("h", listen)
    assert host.pipe("exit 255", b"").failed
    with pytest.raises(HostError):
        host.read("exit 255")
    assert 255 not in codes
