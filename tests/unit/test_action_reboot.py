"""A reboot, told by the id of the boot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.pgfleet.pooler.plugins.action import reboot
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.host import Host, HostError


class Machine:
    """A stand-in for a host: what each question for the boot id finds, None while nobody answers."""

    def __init__(self, *boots: str | None) -> None:
        self.boots = list(boots)
        self.reboots = 0
        self.resets = 0

    def execute(self, _command: str, data: bytes) -> Mapping[str, Any]:
        text = data.decode()
        mark = re.search(r"@[0-9a-f]{16}", text)
        assert mark
        said = ""
        if "systemctl reboot" in text:
            self.reboots += 1
        else:
            boot = self.boots.pop(0)
            if boot is None:
                raise AnsibleConnectionFailure("no route to host")
            said = f"\n{mark[0]} boot\n{boot}\n"
        return {"rc": 0, "stdout": f"{said}\n{mark[0]} end\n", "stderr": ""}

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture
def perform(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    monkeypatch.setattr(reboot, "_PACE", 0)

    def perform(machine: Machine, *, timeout: int = 60, check: bool = False) -> dict[str, Any]:
        action: Any = reboot.ActionModule.__new__(reboot.ActionModule)
        action.check, action._connection = check, machine
        action.host = lambda: Host("db1", machine.execute)
        result: dict[str, Any] = action.perform({"timeout": timeout})
        return result

    return perform


def test_the_host_is_back_when_it_answers_with_another_boot(perform: Callable[..., dict[str, Any]]) -> None:
    machine = Machine("old", "old", None, None, "new")
    assert perform(machine)["changed"] is True
    assert (machine.reboots, machine.boots) == (1, [])
    assert machine.resets == 4


def test_a_host_that_answers_from_the_same_boot_is_not_back(perform: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(HostError, match="db1: has not come back 0 s after"):
        perform(Machine("old", "old", "old"), timeout=0)


def test_check_mode_reboots_nothing(perform: Callable[..., dict[str, Any]]) -> None:
    machine = Machine("old")
    assert perform(machine, check=True) == {"changed": True}
    assert machine.reboots == 0
