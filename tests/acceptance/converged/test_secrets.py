"""After everything else: the secrets of this run are nowhere on the hosts."""

from __future__ import annotations

import pytest

from tests.acceptance.remote import Remote
from tests.acceptance.scenario import POOLER, Scenario

# The words to look for come on standard input and stay in a pipe's file, which is not under what is searched.
_SEARCH = """
words=$(mktemp /dev/shm/XXXXXX)
trap 'rm -f "$words"' EXIT
cat > "$words" <<'WORDS'
{words}
WORDS
find() {{ grep --text --fixed-strings --file="$words" "$@"; }}
find --recursive --files-with-matches --devices=skip /etc /run /var 2>/dev/null || :
journalctl --no-pager --output=export --all | find --quiet && echo journal
for process in /proc/[0-9]*; do
  [ "$process" != "/proc/$$" ] || continue
  for what in cmdline environ; do
    find --quiet "$process/$what" 2>/dev/null && echo "$process/$what"
  done
done
for container in $(podman ps --all --quiet); do
  podman inspect "$container" | find --quiet && echo "container $container"
done
true
"""


def search(remote: Remote, words: set[str]) -> set[str]:
    """Where on the host any of the words is found: files, the journal, processes, containers."""
    return set(remote.sh(_SEARCH.format(words="\n".join(sorted(words)))).splitlines())


def test_no_secret_is_found_on_a_host(lab: Scenario, remote: Remote) -> None:
    assert len(lab.tokens) > 10
    assert search(remote, lab.tokens) == set()


def test_the_search_finds_what_is_there(lab: Scenario, remote: Remote) -> None:
    word = remote.sh("cat /proc/sys/kernel/random/uuid").strip()
    remote.sh(
        f"echo {word} > /etc/found-a; echo {word} > /run/found-b; echo {word} > /var/lib/found-c\n"
        f"echo {word} | systemd-cat; journalctl --sync\n"
        f"systemd-run --quiet --unit=found --setenv=WORD={word} sh -c 'sleep infinity; :' {word}"
    )
    found = search(remote, {word})
    remote.sh("systemctl stop found.service; rm /etc/found-a /run/found-b /var/lib/found-c")
    assert {"/etc/found-a", "/run/found-b", "/var/lib/found-c", "journal"} <= found
    assert {place.rpartition("/")[2] for place in found if place.startswith("/proc/")} == {"cmdline", "environ"}


@pytest.mark.parametrize("name", ["listed"])
def test_of_a_listed_user_only_the_verifier_is_on_the_host(lab: Scenario, name: str) -> None:
    verifier = next(user["verifier"] for user in lab.variables["pgbouncer_users"] if user["name"] == name)
    places = search(Remote(lab, POOLER), {verifier})
    assert places
    assert all(place.endswith("/userlist.txt") for place in places), places
