"""A host whose secrets Ansible brings, and whose config lies in S3, since it is too large for user data."""

from __future__ import annotations

import json
import socket

import pytest

from tests.acceptance import clients, first_boot
from tests.acceptance.first_boot import WAITING
from tests.acceptance.playbook import Run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import PORT, Scenario


@pytest.fixture(scope="module")
def waiting(lab: Scenario) -> Remote:
    first_boot.switch_on(lab, WAITING)
    return Remote(lab, WAITING)


@pytest.fixture(scope="module")
def first(lab: Scenario, waiting: Remote) -> Run:
    return site(lab, "--limit", WAITING)


def test_user_data_point_at_a_config_that_does_not_fit(lab: Scenario) -> None:
    place = first_boot.directory(lab)
    text = (place / f"{WAITING}.ign").read_text()
    assert len(text) < 1024 < 16384 < (place / f"{WAITING}.stored.ign").stat().st_size
    assert json.loads(text)["ignition"]["config"]["replace"]["source"].endswith(first_boot.CONFIG)


def test_the_host_is_up_with_its_image_and_starts_nothing(lab: Scenario, waiting: Remote) -> None:
    waiting.sh("podman image exists localhost/pgfleet/pooler:0.1.0")
    assert waiting.sh("podman ps --all --quiet") == ""
    assert waiting.sh("systemctl list-units --failed --no-legend --plain") == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((lab.addresses[WAITING], PORT), timeout=10)


def test_the_first_run_brings_what_is_missing_and_no_image(first: Run) -> None:
    assert first.status == 0, first.tail()
    assert first.recap(WAITING)["changed"] == 1, first.tail()


def test_then_the_host_serves(lab: Scenario, first: Run) -> None:
    with clients.connect(lab, host=WAITING, hostaddr=lab.addresses[WAITING]) as connection:
        assert connection.execute(clients.WHO).fetchone() == ("app", "app")


def test_the_second_run_changes_nothing(lab: Scenario, first: Run) -> None:
    again = site(lab, "--limit", WAITING)
    assert again.recap(WAITING)["changed"] == 0, again.tail()
