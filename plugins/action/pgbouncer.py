# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole desired state of the instances on one host: read, decide, try, apply, read back; or the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ...pooler import bundle, capacity, diff, observed, plan, shell, shell_apply, variables
from ...pooler.bundle import Bundle
from ...pooler.errors import InvalidError
from ...pooler.files import File
from ...pooler.model import Pooler
from ...pooler.observed import Observed
from ...pooler.plan import Effect, Plan
from ...pooler.server import Server
from ..plugin_utils.action import PoolerAction, remedy
from ..plugin_utils.host import Answer, Host, HostError
from ..plugin_utils.observe import observe

try:
    from ..plugin_utils import leaf_requests
    from ..plugin_utils.leaf_change import LeafChange
except ImportError as error:
    WITHOUT_CERTIFICATES: ImportError | None = error
else:
    WITHOUT_CERTIFICATES = None

_HOW = (
    "image",
    "port",
    "instances",
    "console_port",
    "dispatch",
    "uid",
    "tls_directory",
    "drain_notice",
    "drain_timeout",
    "transaction_timeout",
)
"""The options that say how instances run, not what they pool."""


_TRIES = 3


class _MovedError(Exception):
    """The agent has changed the hosts file between the read and the write; nothing was done."""


class ActionModule(PoolerAction):
    secret = frozenset({"users", "verifiers", "password", "patroni_password", "passphrase", "private_key"})
    borrowed: ClassVar = {"certificates": ("certificate", frozenset({"state", "leaves"}))}

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["state"] != "present":
            # What was to be pooled is of no matter any more; a mistake there does not stand in the way.
            pooler = variables.read({name: arguments[name] for name in _HOW} | {"userlist_only": True})
            host = self.host()
            before = observe(host.read(shell.read(pooler), settled=True))
            if arguments["state"] == "absent":
                todo = plan.removal(before)
                return self._without_instances(host, todo, shell_apply.remove(pooler, todo))
            todo = plan.withdrawal(before)
            return self._without_instances(host, todo, shell_apply.out(pooler, todo.remove))
        pooler = variables.read(arguments)
        host = self.host()
        certificates = self._certificates(pooler, arguments["certificates"])
        for _try in range(_TRIES):
            try:
                return self._present(host, pooler, arguments["verifiers"], certificates)
            except _MovedError:
                Display().display(f"{host.name}: the agent has changed the hosts file meanwhile, so once more")
        raise HostError(f"{host.name}: each of {_TRIES} times the agent has changed the hosts file meanwhile")

    def _certificates(self, pooler: Pooler, options: Mapping[str, Any] | None) -> LeafChange | None:
        """The change of the leaves below `tls_directory`, when it is this task's matter."""
        if options is None:
            return None
        if WITHOUT_CERTIFICATES:
            raise AnsibleActionFail(remedy(WITHOUT_CERTIFICATES))
        given, now = dict(options) | {"leaves": leaf_requests.of_instances(pooler)}, datetime.now(UTC)
        try:
            return LeafChange(given, leaf_requests.wanted(given, self.host_name, now), now, check=self.check)
        except InvalidError as error:
            inner = [replace(problem, place=f"certificates.{problem.place}") for problem in error.problems]
            raise InvalidError(inner) from None

    def _present(
        self, host: Host, pooler: Pooler, postgresql: Mapping[str, str], certificates: LeafChange | None
    ) -> dict[str, Any]:
        before = self._read(host, pooler, certificates)
        _require(host, pooler, before, self.check)
        _require_room(pooler, before)
        facts = replace(_facts(pooler, before), postgresql=postgresql)
        wanted = bundle.build(pooler, facts, lambda words: Display().display(f"{host.name}: {words}"))
        todo = plan.plan(pooler, wanted, before)
        after, drained = before, {}
        if not self.check:
            _refuse(host, pooler, todo, before)
            if certificates and certificates.due:
                certificates.place(host)
            if todo.changes:
                change = _Change(host, pooler, wanted, todo, before)
                after, drained = change.carry_out(), {"drained": change.drained}
        result = _result(pooler, todo, after, host) | {"warnings": _warnings(host, pooler, after)} | drained
        if self.diff:
            result["diff"] = diff.files(before, wanted, todo)
        return _with_leaves(result, certificates.result(host.name)) if certificates else result

    def _read(self, host: Host, pooler: Pooler, certificates: LeafChange | None) -> Observed:
        """The host as it is, with the leaves that it is to have."""
        if certificates is None:
            return observe(host.read(shell.read(pooler), settled=True))
        answer = host.read(certificates.look + shell.read(pooler), settled=True)
        certificates.compare(answer)
        before = observe(answer)
        if certificates.due and pooler.patroni and before.leader is None and not self.check:
            # Patroni answers nobody whose certificate is missing, or has ended.
            before = observe(certificates.place(host, shell.read(pooler)))
        return _certified(pooler, before, certificates)

    def _without_instances(self, host: Host, todo: Plan, script: str) -> dict[str, Any]:
        if todo.changes and not self.check:
            answer = host.apply(script)
            if answer.failed:
                raise HostError(f"{host.name}: {_step(answer)}{answer.failed}")
        return {
            "changed": bool(todo.changes),
            "effect": str(todo.effect),
            "effects": _effects(todo),
            "steps": list(todo.steps()),
            "trips": host.trips,
        }


class _Change:
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
            raise _MovedError
        after = self._checked(answer, ignore=(*rolling, *self.todo.remove))
        for number, console in enumerate(rolling):
            Display().display(
                f"{self.host.name}: instance {console}: draining, at most "
                f"{self.pooler.drain_timeout + self.pooler.transaction_timeout} s"
            )
            self._restarted.append(console)
            sockets = any(file.path == plan.SOCKET for file in self.todo.write)
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
            self._back(f"{_step(answer)}{answer.failed}")
        after = self._latest = observe(answer)
        # The agent may have followed another leader meanwhile.
        wanted = replace(self.wanted, databases=bundle.hosts_file(self.pooler, _facts(self.pooler, after)))
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
            state = f"the way back is not complete (instances {missing} do not answer): {_step(answer)}{answer.failed}"
        raise HostError(f"{self.host.name}: {why}\n{state}")


def _warnings(host: Host, pooler: Pooler, seen: Observed) -> list[str]:
    found = list(plan.warnings(pooler, seen))
    if seen.leader_trouble:
        found.append(f"the last known leader stays: {seen.leader_trouble}")
    if seen.connections_trouble:
        found.append(f"the pools were not held against max_connections: {seen.connections_trouble}")
    return [f"{host.name}: {text}" for text in found]


def _refuse(host: Host, pooler: Pooler, todo: Plan, before: Observed) -> None:
    """What is not done now, or not without leave."""
    if todo.changes and before.held:
        raise HostError(
            f"{host.name}: the agent holds the clients: a switchover is under way, or there is no leader; "
            "run again when it is over"
        )
    disruptive = [change for change in todo.changes if change.effect == Effect.DISRUPTIVE]
    if disruptive and not pooler.allow_disruption:
        raise HostError(
            f"{host.name}: clients would have to reconnect:\n{diff.table(disruptive)}"
            "set allow_disruption (pgbouncer_allow_disruption) to true to permit it"
        )


def _require(host: Host, pooler: Pooler, before: Observed, check: bool) -> None:
    """What must be there before anything is changed. In check mode an earlier role may have made it, so it may lack."""
    if check:
        return
    if not before.image_id:
        raise HostError(
            f"{host.name}: the image {pooler.image} is not on the host; "
            "the playbook pgfleet.pooler.image brings it there, or `podman pull` from a registry"
        )
    for leaf, use in ((before.server_leaf, "server"), (before.client_leaf, "client")):
        if not leaf:
            raise HostError(
                f"{host.name}: {pooler.tls_directory}/{use}/current is missing; "
                "the role pgfleet.pooler.certificates issues it"
            )
    if pooler.patroni and before.leader is None and not _pointed_at(pooler, before, "leader"):
        raise HostError(
            f"{host.name}: Patroni was asked in vain for the leader: {before.leader_trouble or 'no answer'} "
            "(a stock image cannot ask; give it `server`, or our image)"
        )


def _require_room(pooler: Pooler, before: Observed) -> None:
    """What the options could not tell: the pools, held against what Patroni says that there is."""
    if pooler.capacity and before.max_connections:
        problems = capacity.overflow(pooler, replace(pooler.capacity, max_connections=before.max_connections))
        if problems:
            raise InvalidError(problems)


def _facts(pooler: Pooler, before: Observed) -> bundle.Facts:
    directory = pooler.tls_directory
    return bundle.Facts(
        leader=_leader(pooler, before),
        replicas=_pointed_at(pooler, before, "replica"),
        server_leaf=before.server_leaf or f"{directory}/server/current",
        client_leaf=before.client_leaf or f"{directory}/client/current",
        verifiers=before.verifiers(),
        users=before.users(),
        release=before.release,
        tombstones=before.tombstones(),
        running=before.running(),
        remembering=before.remembering(),
    )


def _certified(pooler: Pooler, before: Observed, certificates: LeafChange) -> Observed:
    """The host with the leaves that it is to have; where there is no authority yet, with those that it has."""
    return replace(
        before,
        server_leaf=certificates.new(f"{pooler.tls_directory}/server") or before.server_leaf,
        client_leaf=certificates.new(f"{pooler.tls_directory}/client") or before.client_leaf,
    )


def _leader(pooler: Pooler, before: Observed) -> Server | None:
    """Given, or what Patroni says; the hosts file where an agent keeps it, or where Patroni cannot be reached."""
    return pooler.server or before.leader or _pointed_at(pooler, before, "leader")


def _pointed_at(pooler: Pooler, before: Observed, target: str) -> Server | None:
    if bundle.DATABASES not in before.files:
        return None
    names = [name for name, followed in bundle.targets(pooler).items() if followed == target]
    return bundle.pointed_at(before.files[bundle.DATABASES].content.decode(), names)


def _step(answer: Answer) -> str:
    steps = [section.removeprefix("step ") for section in answer.sections if section.startswith("step ")]
    return f"{steps[-1]}: " if steps else ""


def _effects(todo: Plan) -> list[dict[str, Any]]:
    return [asdict(change) | {"effect": str(change.effect)} for change in todo.changes]


def _with_leaves(result: dict[str, Any], certificates: dict[str, Any]) -> dict[str, Any]:
    """Both in one; the certificates come first, as they do on the host."""
    both = {
        "changed": certificates["changed"] or result["changed"],
        "leaves": certificates["leaves"],
        "warnings": certificates["warnings"] + result["warnings"],
    }
    return result | both | ({"diff": certificates["diff"] + result["diff"]} if "diff" in result else {})


def _result(pooler: Pooler, todo: Plan, seen: Observed, host: Host) -> dict[str, Any]:
    leader = _leader(pooler, seen)
    return {
        "changed": bool(todo.changes),
        "effect": str(todo.effect),
        "effects": _effects(todo),
        "steps": list(todo.steps()),
        "leader": f"{leader.host}:{leader.port}" if leader else None,
        "instances": {
            str(number): {"version": instance.version, "active": instance.active}
            for number, instance in seen.instances.items()
        },
        "trips": host.trips,
    }
