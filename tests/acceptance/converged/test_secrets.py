"""After everything else: the secrets of this run are nowhere on the hosts."""

from __future__ import annotations

import pytest

from tests.acceptance.remote import Remote
from tests.acceptance.scenario import POOLER, Scenario
from tests.core_dumps import could_dump
from tests.secret_search import search


def test_no_secret_is_found_on_a_host(lab: Scenario, remote: Remote) -> None:
    assert len(lab.tokens) > 10
    assert search(remote.sh, lab.tokens) == set()


def test_the_search_finds_what_is_there(lab: Scenario, remote: Remote) -> None:
    word = remote.sh("cat /proc/sys/kernel/random/uuid").strip()
    remote.sh(
        f"echo {word} > /etc/found-a; echo {word} > /run/found-b; echo {word} > /var/lib/found-c\n"
        f"echo {word} | systemd-cat; journalctl --sync\n"
        f"systemd-run --quiet --unit=found --setenv=WORD={word} sh -c 'sleep infinity; :' {word}"
    )
    found = search(remote.sh, {word})
    remote.sh("systemctl stop found.service; rm /etc/found-a /run/found-b /var/lib/found-c")
    assert {"/etc/found-a", "/run/found-b", "/var/lib/found-c", "journal"} <= found
    assert {place.rpartition("/")[2] for place in found if place.startswith("/proc/")} == {"cmdline", "environ"}


def test_no_process_in_a_container_may_write_its_memory_to_a_file(remote: Remote) -> None:
    assert could_dump(remote.sh) == set()


def test_a_process_that_may_is_found(remote: Remote) -> None:
    # By a unit, as ours are; sudo would take the limit from what it starts.
    remote.sh(
        "image=$(podman ps --format '{{.ImageID}}' | head -n 1)\n"
        "systemd-run --quiet --unit=found podman run --name found --network none --entrypoint sleep $image infinity\n"
        "until podman ps --format '{{.Names}}' | grep -qx found; do :; done"
    )
    try:
        assert could_dump(remote.sh) == {"found: sleep"}
    finally:
        remote.sh("podman stop --time 0 found >/dev/null; podman rm --force --ignore found")


@pytest.mark.parametrize("name", ["listed"])
def test_of_a_listed_user_only_the_verifier_is_on_the_host(lab: Scenario, name: str) -> None:
    verifier = next(user["verifier"] for user in lab.variables["pgbouncer_users"] if user["name"] == name)
    places = search(Remote(lab, POOLER).sh, {verifier})
    assert places
    assert all(place.endswith("/userlist.txt") for place in places), places
