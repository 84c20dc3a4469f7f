"""Before anything was installed: what `site.yml --check --diff` says and does."""

from __future__ import annotations

import pytest

from tests.acceptance.playbook import Run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import DATABASE, POOLER, Scenario

HOSTS = (DATABASE, POOLER)

# Everything on the host's own disk but what systemd, podman and ssh write by themselves whenever they are asked.
_EVERYTHING = """
podman images >/dev/null
find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /var/log -o -path /var/lib/containers \\
  -o -path /var/lib/systemd -o -path /var/cache -o -path /tmp/systemd-private-\\* \\) -prune -o -type f \\
  -printf '%p %m %U %G %s %T@\\n' -o -printf '%p %m %U %G\\n' | sort
find /etc -type f -exec sha256sum {} + | sort
podman ps --all --quiet; podman images --all --no-trunc --quiet
systemctl list-unit-files --no-legend
"""


@pytest.fixture(scope="module")
def before(lab: Scenario) -> dict[str, str]:
    return {name: Remote(lab, name).sh(_EVERYTHING) for name in HOSTS}


@pytest.fixture(scope="module")
def checked(lab: Scenario, before: dict[str, str]) -> Run:
    return site(lab, "--check", "--diff")


@pytest.mark.parametrize("host", HOSTS)
def test_check_mode_works_on_a_bare_host_and_says_that_there_is_something_to_do(checked: Run, host: str) -> None:
    assert checked.status == 0, checked.tail()
    assert checked.recap(host)["changed"] > 0


def test_check_mode_shows_what_would_be_written(checked: Run) -> None:
    assert "+listen_port = 6432" in checked.output


@pytest.mark.parametrize("host", HOSTS)
def test_check_mode_leaves_a_bare_host_as_it_is(lab: Scenario, checked: Run, before: dict[str, str], host: str) -> None:
    after = Remote(lab, host).sh(_EVERYTHING)
    assert set(after.splitlines()) ^ set(before[host].splitlines()) == set()


def test_check_mode_makes_no_authority_on_the_controller(lab: Scenario, checked: Run) -> None:
    assert not lab.root.parent.exists()


def test_output_of_check_mode_shows_no_secret(lab: Scenario, checked: Run) -> None:
    assert [token for token in lab.tokens if token in checked.output] == []
