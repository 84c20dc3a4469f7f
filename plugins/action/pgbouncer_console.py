# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One command at the console of every instance of a host, all or none."""

from __future__ import annotations

from typing import Any

from ...pooler import commands, observed, shell
from ...pooler.commands import Command
from ...pooler.errors import InvalidError, Problem
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import HostError


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        command = _command(arguments)
        host = self.host()
        asked = commands.ASKED.get(command.verb, ("VERSION",))
        read = host.read(shell.ask(asked))
        answers = observed.consoles(read.text("consoles"))
        silent = [str(console) for console, answer in answers.items() if set(asked) - set(answer)]
        if silent or not answers:
            raise HostError(f"{host.name}: {'instance ' + ', '.join(silent) if silent else 'no instance'} answers")
        told = {console: said for console, answer in answers.items() if (said := commands.statements(command, answer))}
        before = frozenset(read.lines("paused"))
        after = commands.paused(command, before)
        if (told or after != before) and not self.check:
            # A pause that nobody has ended yet is not forgotten when carrying out fails.
            script = shell.tell(told, commands.undo(command), arguments["timeout"])
            record = shell.record(after) if after != before else ""
            order = (record, script) if command.verb == "RESUME" else (script, record)
            answer = host.apply("\n".join(order))
            if answer.failed:
                raise HostError(f"{host.name}: {command.verb}: {answer.failed}")
        return {"changed": bool(told) or after != before, "instances": [str(console) for console in told]}


def _command(arguments: dict[str, Any]) -> Command:
    verb, database, user = arguments["command"], arguments["database"], arguments["user"]
    problems = []
    if verb in commands.NEED_DATABASE and not database:
        problems.append(Problem("database", f"is missing, and {verb} needs it"))
    if verb in commands.TAKE_NO_DATABASE and database:
        problems.append(Problem("database", f"is given, and {verb} takes none"))
    if (verb == "KILL_CLIENT") != bool(user):
        problems.append(Problem("user", "belongs to KILL_CLIENT, and KILL_CLIENT needs it"))
    if problems:
        raise InvalidError(problems)
    return Command(verb, database, user)
