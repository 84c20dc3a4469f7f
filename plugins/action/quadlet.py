# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A container unit and its files on one host: read, decide, apply."""

from __future__ import annotations

from typing import Any

from ...pooler import quadlet, quadlet_shell
from ...pooler.quadlet import Observed, Plan, Quadlet
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Answer, HostError


class ActionModule(PoolerAction):
    secret = frozenset({"content"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        wanted = Quadlet.from_variables(arguments)
        host = self.host()
        answer = host.read(quadlet_shell.read(wanted))
        sections = {name: answer.text(name) for name in quadlet_shell.SECTIONS}
        before = quadlet_shell.observe(sections, answer.binary("files"))
        todo = quadlet.removal(wanted, before) if wanted.absent else quadlet.plan(wanted, before)
        missing = [] if wanted.absent else list(_missing(wanted, before, todo))
        if missing and not self.check:
            raise HostError("\n".join(f"{host.name}: {what}" for what in missing))
        if todo.acts and not self.check:
            script = quadlet_shell.remove(wanted, todo) if wanted.absent else quadlet_shell.apply(wanted, todo)
            answer = host.apply(script, todo.write)
            if answer.failed:
                raise HostError(f"{host.name}: {_step(answer)}{answer.failed}")
        result: dict[str, Any] = {
            "changed": todo.changes,
            "steps": list(todo.steps(wanted)),
            "complete": _complete(wanted, before, todo, self.check),
            "trips": host.trips,
        }
        if missing:
            result["warnings"] = [f"{host.name}: {what}" for what in missing]
        if self.diff:
            result["diff"] = quadlet.diff(wanted, before, todo)
        return result


def _complete(wanted: Quadlet, before: Observed, todo: Plan, check: bool) -> bool:
    """Whether no second task is needed; in check mode, one that would only wait and reload is not."""
    if check or wanted.absent:
        return not todo.restart_due
    ready = not wanted.wait or todo.wait or (before.ready and not todo.start)
    return ready and not todo.restart_due and not todo.reload_due


def _missing(wanted: Quadlet, before: Observed, todo: Plan) -> list[str]:
    """What somebody else has to bring first. In check mode, where an earlier task would have, it is a warning."""
    missing = []
    if not before.image_id and not todo.pull:
        missing.append(
            f"the image {wanted.image} is not on the host; bring it there with `podman load` or `podman pull`, "
            "or set pull: true"
        )
    there = {line.split(None, 1)[-1] for line in before.watched.splitlines()}
    own = {file.path for file in wanted.files}
    missing += [
        f"{path} is missing; whoever makes it has to come first" for path in wanted.watched if path not in there | own
    ]
    return missing


def _step(answer: Answer) -> str:
    steps = [section.removeprefix("step ") for section in answer.sections if section.startswith("step ")]
    return f"{steps[-1]}: " if steps else ""
