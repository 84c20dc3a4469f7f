# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proof, from the consoles of a host, that users who are to be withdrawn are used by nobody."""

from __future__ import annotations

import time
from typing import Any

from ...pooler import observed, shell, variables, withdrawal
from ...pooler.commands import quoted
from ...pooler.withdrawal import Use
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Host, HostError
from ..plugin_utils.observe import observe

_PAUSE = 1.0
"""Seconds between two questions."""

_RECYCLED = 30
"""Seconds that a database may take to replace its server connections, once nobody uses them."""


class ActionModule(PoolerAction):
    secret = frozenset({"users"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        host = self.host()
        names = _leaving(host, arguments)
        if not names:
            return {"changed": False, "leaving": [], "databases": []}
        self._without_clients(host, names, arguments["timeout"])
        databases = self._without_servers(host, names)
        return {"changed": bool(databases), "leaving": list(names), "databases": databases}

    def _without_clients(self, host: Host, names: tuple[str, ...], timeout: int) -> None:
        until = time.monotonic() + (0 if self.check else timeout)
        while clients := [use for use in _uses(host, names) if use.kind == "client"]:
            if time.monotonic() >= until:
                raise HostError(
                    f"{host.name}: {_who(clients)} still used, so nobody is withdrawn:\n{withdrawal.told(clients)}\n"
                    "give these clients the new login first, or wait for them with a longer timeout"
                )
            time.sleep(_PAUSE)

    def _without_servers(self, host: Host, names: tuple[str, ...]) -> list[str]:
        """Connections to PostgreSQL that nobody uses are replaced; gives the databases that had any."""
        databases: set[str] = set()
        until = time.monotonic() + _RECYCLED
        while found := _uses(host, names):
            databases |= {use.database for use in found}
            if self.check:
                break
            if time.monotonic() >= until:
                raise HostError(f"{host.name}: {_who(found)} still used:\n{withdrawal.told(found)}")
            told = {
                instance: [
                    f"RECONNECT {quoted(name)}"
                    for name in sorted({u.database for u in found if u.instance == instance})
                ]
                for instance in {use.instance for use in found}
            }
            answer = host.apply(shell.tell(told, (), _RECYCLED))
            if answer.failed:
                raise HostError(f"{host.name}: RECONNECT: {answer.failed}")
            time.sleep(_PAUSE / 4)
        return sorted(databases)


def _leaving(host: Host, arguments: dict[str, Any]) -> tuple[str, ...]:
    """Raises HostError when an instance that runs does not answer: it could not be asked."""
    wanted = variables.users(arguments["users"])
    seen = observe(host.read(shell.look(shell.COMMANDS)))
    silent = [str(number) for number, instance in seen.instances.items() if instance.active and not instance.answers]
    if silent:
        raise HostError(f"{host.name}: instance {', '.join(silent)} does not answer, so nobody is withdrawn")
    names = withdrawal.leaving(wanted, arguments["withdrawn"], seen.verifiers(), seen.own_roles())
    return names if any(instance.active for instance in seen.instances.values()) else ()


def _uses(host: Host, names: tuple[str, ...]) -> tuple[Use, ...]:
    answers = observed.consoles(host.read(shell.ask([withdrawal.ASKED])).text("consoles"))
    if silent := [str(number) for number, answer in answers.items() if withdrawal.ASKED not in answer]:
        raise HostError(f"{host.name}: instance {', '.join(silent)} does not answer, so nobody is withdrawn")
    return withdrawal.uses(names, {number: answer[withdrawal.ASKED] for number, answer in answers.items()})


def _who(found: list[Use] | tuple[Use, ...]) -> str:
    names = sorted({use.user for use in found})
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
