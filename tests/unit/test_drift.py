"""Drift: what a host says of itself against the files that its last change left there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pooler import bundle, units
from pooler.drift import drift
from pooler.observed import Agent, FoundFile, Observed, Unfinished

from .test_plan import FACTS, converged, pooler


def host(**changed: Any) -> Observed:
    wanted = pooler(**changed)
    return converged(wanted, bundle.build(wanted, FACTS))


def edited(observed: Observed, name: str, old: bytes, new: bytes) -> Observed:
    (path,) = (path for path in observed.files if path.endswith(name))
    content = observed.files[path].content
    assert old in content
    return replace(
        observed, files={**observed.files, path: replace(observed.files[path], content=content.replace(old, new))}
    )


def without(observed: Observed, path: str) -> Observed:
    return replace(observed, files={name: found for name, found in observed.files.items() if name != path})


def instance(observed: Observed, **changed: Any) -> Observed:
    return replace(observed, instances={**observed.instances, 50001: replace(observed.instances[50001], **changed)})


def told(observed: Observed) -> list[str]:
    return [str(change) for change in drift(observed)]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"dispatch": "engine"},
        {"instances": 1},
        {"databases": [{"name": "*"}, {"name": "fixed", "host": "10.0.0.9", "password": "it's; # secret"}]},
        {"agent": {}},
    ],
    ids=["socket", "engine", "single", "databases", "agent"],
)
def test_a_host_as_it_was_left_has_no_drift(changed: dict[str, Any]) -> None:
    assert told(host(**changed)) == []


def test_a_host_that_never_was_set_up_has_no_drift() -> None:
    assert told(Observed()) == []


def test_another_leader_in_the_hosts_file_is_no_drift_once_every_instance_has_it() -> None:
    moved = edited(host(), "/databases.ini", b"10.0.0.1", b"10.0.0.2")
    assert any("host" in line for line in told(moved))
    for console, each in moved.instances.items():
        now = {name: {**row, "host": "10.0.0.2"} for name, row in each.databases.items()}
        moved = replace(moved, instances={**moved.instances, console: replace(each, databases=now)})
    assert told(moved) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("/50001.ini", b"pool_mode = transaction", b"pool_mode = session"),
        ("/hba.conf", b"reject", b"trust"),
        ("/userlist.txt", b'"', b'"x'),
        ("/databases.ini", b"pool_size", b"min_pool_size"),
        ("pgbouncer@.container", b"ReadOnly=true", b"ReadOnly=false"),
        ("pgbouncer@.socket", b"Backlog=4096", b"Backlog=1"),
    ],
)
def test_a_file_edited_by_hand_is_told(name: str, old: bytes, new: bytes) -> None:
    users = [{"name": "listed", "password": "of this test"}]
    assert any("as it was written" in line for line in told(edited(host(users=users), name, old, new)))


@pytest.mark.parametrize("path", [units.CONTAINER, units.SOCKET, units.TMPFILES, units.SYSCTL])
def test_a_unit_file_that_was_deleted_is_told(path: str) -> None:
    assert f"{path} is missing" in told(without(host(), path))


def test_files_that_were_deleted_are_told() -> None:
    assert told(without(host(), bundle.DATABASES))
    assert told(replace(host(), release="", files={})) == [f"{bundle.CURRENT} is missing"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"active": False}, "the process is not running"),
        ({"socket": False}, "the socket unit is not active"),
        ({"enabled": False}, "the process would not start with the host"),
        ({"unit_digest": "0" * 16}, "the unit is not the one"),
        ({"image_id": "0" * 64}, "the image is not the one"),
        ({"config": {}}, "the console does not answer"),
    ],
)
def test_an_instance_that_is_not_as_it_was_started_is_told(changed: dict[str, Any], words: str) -> None:
    (line,) = told(instance(host(), **changed))
    assert line.startswith(f"instance 50001: {words}")


def test_a_value_set_at_a_console_is_told_with_what_the_file_says() -> None:
    config = {**host().instances[50001].config, "default_pool_size": "3"}
    assert told(instance(host(), config=config)) == ["instance 50001: default_pool_size '3' becomes '20'"]


def test_an_instance_more_than_the_files_describe_is_told() -> None:
    some = host()
    more = replace(some, instances={**some.instances, 50003: replace(some.instances[50001], console=50003)})
    assert told(more) == ["instance 50003: the process is more than wanted"]


def test_what_a_run_left_unfinished_is_told() -> None:
    assert told(replace(host(), unfinished=Unfinished(expel=("alice",)))) == ["an earlier run was broken off"]


def test_an_agent_that_does_not_run_is_told() -> None:
    some = host(agent={})
    assert told(replace(some, agent=Agent(False))) == ["the agent is not running"]


def test_a_mode_that_lets_others_read_is_told() -> None:
    some = host()
    (path,) = (path for path in some.files if path.endswith("/userlist.txt"))
    found = some.files[path]
    assert told(replace(some, files={**some.files, path: FoundFile(found.content, 0o644, found.owner)}))
