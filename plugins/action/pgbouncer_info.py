# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every running instance of a host, asked at its console; and what is not as the last change left it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...pooler import observed, shell
from ...pooler.drift import drift
from ...pooler.errors import InvalidError, Problem
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.observe import observe


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        commands = [command.upper() for command in arguments["commands"]]
        strange = [command for command in commands if not command.replace("_", "").replace(" ", "").isalpha()]
        if strange:
            raise InvalidError([Problem("commands", f"{strange[0]!r} is not a SHOW command", "such as POOLS")])
        answer = self.host().read(shell.look(list(dict.fromkeys([*commands, *shell.COMMANDS]))))
        rows = observed.consoles(answer.text("consoles"))
        return {
            "changed": False,
            "instances": {
                str(console): {command: answers[command] for command in commands if command in answers}
                for console, answers in rows.items()
            },
            "drift": [asdict(change) | {"effect": str(change.effect)} for change in drift(observe(answer))],
        }
