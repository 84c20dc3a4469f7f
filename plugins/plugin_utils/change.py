# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A plan carried out on a host: tried, applied, instances restarted one after the other, read back; or the way back."""

from __future__ import annotations

from dataclasses import replace

from ansible.utils.display import Display

from ...pooler import bundle, observed, plan, shell_apply
from ...pooler.bundle import Bundle
from ...pooler.files import File
from ...pooler.model import Pooler
from ...pooler.observed import Observed
from ...pooler.plan import Plan
from ...pooler.units import SOCKET
from .facts import facts
from .host import Answer, Host, HostError
from .observe import observe


class MovedError(Exception):
    """The agent has changed the hosts file between the read and the write; nothing was done."""


class Change:
    """A plan on its way: each stage is checked by what the host then says, and a failed one goes back."""

    def __init__(self, host: Host, pooler: Pooler, wanted: Bundle, todo: Plan, before: Observed) -> None:
        self.host, self.pooler, self.wanted, self.todo, self.before = host, pooler, wanted, todo, before
        self.drained: list[str] = []
        self._latest = before
        self._restarted: list[int] = []

    def carry_out(self) -> Observed:
        """Try, apply, restart one instance after the other. Raises HostError when the old state is in force again."""
        if plan.needs_trial(self.wanted, self.before, self.todo):
            self._try()
        rolling = () if self.todo.together else self.todo.restart
        found = self.before.files.get(bundle.DATABASES)
        script = shell_apply.apply(self.pooler, self.todo, self.wanted.release, found.content if found else None)
        answer = self.host.apply(script, self.todo.write)
        if "moved" in answer.sections:
            raise MovedError
        after = self._checked(answer, ignore=(*rolling, *self.todo.remove))
        for number, console in enumerate(rolling):
            Display().display(
                f"{self.host.name}: instance {console}: draining, at most "
                f"{self.pooler.drain_timeout + self.pooler.transaction_timeout} s"
            )
            self._restarted.append(console)
            sockets = any(file.path == SOCKET for file in self.todo.write)
            answer = self.host.apply(shell_apply.restart(self.pooler, console, sockets=sockets))
            after = self._checked(answer, ignore=(*rolling[number + 1 :], *self.todo.remove))
        for number, console in enumerate(self.todo.remove):
            answer = self.host.apply(shell_apply.take_away(self.pooler, console))
            after = self._checked(answer, ignore=self.todo.remove[number + 1 :])
        return after

    def _try(self) -> None:
        """The engine accepts the new files, in a container of its own, before they replace the old ones."""
        answer = self.host.apply(shell_apply.trial(self.pooler, self.wanted.release), self.todo.write)
        said = f"{self.host.name}: the engine does not take the new configuration, so the old one stays in force:\n"
        if answer.failed:
            raise HostError(said + answer.failed)
        console = self.pooler.consoles[0]
        instance = observed.instances({}, {}, observed.consoles(answer.text("consoles"))).get(console)
        if instance is None or not instance.answers:
            raise HostError(f"{said}it did not answer at its console")
        differences = plan.trial_changes(self.pooler, self.wanted, instance)
        if differences:
            words = answer.lines("words")
            raise HostError(said + "\n".join([*map(str, differences), *words]))

    def _checked(self, answer: Answer, ignore: tuple[int, ...]) -> Observed:
        """What the host says now. Goes back, and raises, unless it is as planned but for instances yet to come."""
        for section, text in answer.sections.items():
            if section.startswith("step drain ") and text.strip():
                console = section.removeprefix("step drain ")
                self.drained += [
                    f"{console}: {line} between transactions"
                    if line.startswith("closed")
                    else f"{console}: {line} in transactions"
                    for line in text.splitlines()
                ]
        if answer.failed:
            self._back(f"{step(answer)}{answer.failed}")
        after = self._latest = observe(answer)
        # The agent may have followed another leader meanwhile.
        wanted = replace(self.wanted, databases=bundle.hosts_file(self.pooler, facts(self.pooler, after)))
        left = [
            change
            for change in plan.plan(self.pooler, wanted, after).changes
            if change.instance not in ignore or change.instance is None
        ]
        if left:
            self._back("the host differs from the plan:\n" + "\n".join(map(str, left)))
        return after

    def _back(self, why: str) -> None:
        """Put the old files in force again, and start anew what is not as it was. Always raises."""
        if not self.before.release:
            answer = self.host.apply(shell_apply.remove(self.pooler, Plan(remove=self.pooler.consoles)))
            state = "nothing is left of it" if not answer.failed else f"removing it failed too: {answer.failed}"
            raise HostError(f"{self.host.name}: {why}\nthe instances could not be brought up; {state}")
        found = dict(self.before.files)
        if bundle.DATABASES in found and bundle.DATABASES in self._latest.files:
            old, new = found[bundle.DATABASES], self._latest.files[bundle.DATABASES].content.decode()
            text = bundle.repointed(old.content.decode(), new, bundle.targets(self.pooler), self.pooler.engine_version)
            found[bundle.DATABASES] = replace(old, content=text.encode())
        files = [
            File(path, found[path].content, found[path].mode, found[path].owner)
            for path in (*(file.path for file in self.todo.write), *self.todo.delete)
            if path in found
        ]
        units = [file.path for file in self.wanted.units if file.path not in found]
        fresh = [*self._restarted, *(self.todo.restart if self.todo.together else ())]
        reload = [console for console in self.before.instances if console not in fresh]
        anew = [*fresh, *(console for console in self.todo.remove)]
        extra = [console for console in self.pooler.consoles if console not in self.before.instances]
        answer = self.host.apply(
            shell_apply.back(
                self.pooler,
                files,
                units,
                self.before.release,
                reload,
                anew,
                extra,
                agent=self.before.agent is not None,
                agent_anew=self.todo.agent,
            ),
            files,
        )
        serving = sorted(number for number, instance in observe(answer).instances.items() if instance.answers)
        missing = sorted(set(self.before.instances) - set(serving))
        state = "the old configuration is in force again"
        if answer.failed or missing:
            state = f"the way back is not complete (instances {missing} do not answer): {step(answer)}{answer.failed}"
        raise HostError(f"{self.host.name}: {why}\n{state}")


def step(answer: Answer) -> str:
    steps = [section.removeprefix("step ") for section in answer.sections if section.startswith("step ")]
    return f"{steps[-1]}: " if steps else ""
