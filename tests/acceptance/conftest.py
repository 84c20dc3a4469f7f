from __future__ import annotations

import pytest
import testinfra
from testinfra.host import Host

from tests.lab import network

from . import namespace, scenario
from .remote import Remote
from .scenario import DATABASE, POOLER, Scenario


@pytest.fixture(scope="session", autouse=True)
def lab() -> Scenario:
    """The scenario; clients and subprocesses of the tests live in its lab's network from here on."""
    current = scenario.current()
    namespace.enter(network.lab_namespace(current.name))
    return current


@pytest.fixture(scope="session")
def pooler(lab: Scenario) -> Remote:
    return Remote(lab, POOLER)


@pytest.fixture(scope="session")
def database(lab: Scenario) -> Remote:
    return Remote(lab, DATABASE)


@pytest.fixture(scope="session", params=[DATABASE, POOLER])
def remote(lab: Scenario, request: pytest.FixtureRequest) -> Remote:
    """Every host in turn."""
    return Remote(lab, request.param)


@pytest.fixture(scope="session", params=[DATABASE, POOLER])
def machine(lab: Scenario, request: pytest.FixtureRequest) -> Host:
    """Every host in turn, as testinfra knows it."""
    return testinfra.get_host(f"ssh://{request.param}", ssh_config=str(lab.paths.ssh_config), sudo=True)


@pytest.fixture(scope="session")
def pooler_machine(lab: Scenario) -> Host:
    return testinfra.get_host(f"ssh://{POOLER}", ssh_config=str(lab.paths.ssh_config), sudo=True)
