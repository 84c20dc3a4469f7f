# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One command at the console of every instance of a host."""

from __future__ import annotations

from typing import Any

from ...pooler import shell
from ...pooler.errors import InvalidError, Problem
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import HostError

_NEED_DATABASE = ("DISABLE", "ENABLE", "KILL")
_TAKE_NO_DATABASE = ("RELOAD",)


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        command, database = arguments["command"], arguments["database"]
        if command in _NEED_DATABASE and not database:
            raise InvalidError([Problem("database", f"is missing, and {command} needs it")])
        if command in _TAKE_NO_DATABASE and database:
            raise InvalidError([Problem("database", f"is given, and {command} takes none")])
        if self.check:
            return {"changed": True, "instances": []}
        host = self.host()
        statement = f'{command} "{database.replace(chr(34), chr(34) * 2)}"' if database else command
        answer = host.apply(shell.command(arguments["port"], statement, arguments["timeout"]))
        if answer.failed:
            raise HostError(f"{host.name}: {answer.failed}")
        return {"changed": True, "instances": answer.text("instances").split()}
