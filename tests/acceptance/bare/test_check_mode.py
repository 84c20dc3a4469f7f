"""Before anything was installed: what `site.yml --check --diff` says and does."""

from __future__ import annotations

import pytest

from tests.acceptance.manifest import HOSTS, everything
from tests.acceptance.playbook import Run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import Scenario


@pytest.fixture(scope="module")
def before(lab: Scenario) -> dict[str, set[str]]:
    return {name: everything(Remote(lab, name)) for name in HOSTS}


@pytest.fixture(scope="module")
def checked(lab: Scenario, before: dict[str, set[str]]) -> Run:
    return site(lab, "--check", "--diff")


@pytest.mark.parametrize("host", HOSTS)
def test_check_mode_works_on_a_bare_host_and_says_that_there_is_something_to_do(checked: Run, host: str) -> None:
    assert checked.status == 0, checked.tail()
    assert checked.recap(host)["changed"] > 0


def test_check_mode_shows_what_would_be_written(checked: Run) -> None:
    assert "+listen_port = 6432" in checked.output


@pytest.mark.parametrize("host", HOSTS)
def test_check_mode_leaves_a_bare_host_as_it_is(
    lab: Scenario, checked: Run, before: dict[str, set[str]], host: str
) -> None:
    assert everything(Remote(lab, host)) ^ before[host] == set()


def test_check_mode_makes_no_authority_on_the_controller(lab: Scenario, checked: Run) -> None:
    assert not lab.root.parent.exists()


def test_output_of_check_mode_shows_no_secret(lab: Scenario, checked: Run) -> None:
    assert [token for token in lab.tokens if token in checked.output] == []
