# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every running instance of a host, asked at its console."""

from __future__ import annotations

from typing import Any

from ...pooler import observed, shell
from ...pooler.errors import InvalidError, Problem
from ..plugin_utils.action import PoolerAction


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        commands = [command.upper() for command in arguments["commands"]]
        strange = [command for command in commands if not command.replace("_", "").replace(" ", "").isalpha()]
        if strange:
            raise InvalidError([Problem("commands", f"{strange[0]!r} is not a SHOW command", "such as POOLS")])
        answer = self.host().read(shell.ask(commands))
        rows = observed.consoles(answer.text("consoles"))
        return {"changed": False, "instances": {str(console): answers for console, answers in rows.items()}}
