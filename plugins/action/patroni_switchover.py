# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A switchover, or a restart of the leader, carried out in the agent's container of one pooler host."""

from __future__ import annotations

from typing import Any

from ..plugin_utils import agent
from ..plugin_utils.action import PoolerAction

_COMMANDS = {"switchover": "switchover", "restart": "restart-leader"}


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        words = [
            _COMMANDS[arguments["operation"]],
            *agent.repeated("--agent", arguments["agents"]),
            *agent.repeated("--patroni", arguments["patroni"]),
            *(
                word
                for limit in ("pause_timeout", "max_stall", "max_transaction")
                for word in _option(limit, arguments)
            ),
        ]
        if arguments["candidate"] and arguments["operation"] == "switchover":
            words += ["--candidate", arguments["candidate"]]
        if self.check:
            words.append("--check")
        host = self.host()
        answer = agent.run(host, arguments["container"], words)
        error = answer.pop("error")
        answer = {name: value for name, value in answer.items() if value not in (None, "")}
        # `failed` is Ansible's own word.
        answer["failed_transactions"], answer["transactions"] = answer.pop("failed"), answer.pop("done")
        if error:
            return {**answer, "failed": True, "msg": f"{host.name}: {error}"}
        return {**answer, "changed": True}


def _option(name: str, arguments: dict[str, Any]) -> list[str]:
    return [f"--{name.replace('_', '-')}", str(arguments[name])]
