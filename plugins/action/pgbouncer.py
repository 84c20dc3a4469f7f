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

from ...pooler import bundle, capacity, diff, plan, shell, shell_apply, variables
from ...pooler.bundle import Bundle
from ...pooler.errors import InvalidError
from ...pooler.model import Pooler
from ...pooler.observed import Observed
from ...pooler.plan import Effect, Plan
from ..plugin_utils.action import PoolerAction, remedy
from ..plugin_utils.change import Change, MovedError, step
from ..plugin_utils.facts import facts, leader, pointed_at
from ..plugin_utils.host import Host, HostError
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
            except MovedError:
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
        wanted, todo = _decided(host, pooler, postgresql, before, check=self.check)
        after, drained = before, {}
        if not self.check:
            _refuse(host, pooler, todo, before)
            if certificates and certificates.due:
                before = after = observe(certificates.place(host, shell.read(pooler)))
                wanted, todo = _decided(host, pooler, postgresql, before, check=False)
            if todo.changes:
                change = Change(host, pooler, wanted, todo, before)
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
        in_vain = before.leader_trouble or before.connections_trouble
        if certificates.due and in_vain and not before.held and not self.check:
            # Patroni answers nobody whose certificate is missing, or has ended.
            return observe(certificates.place(host, shell.read(pooler)))
        return _certified(pooler, before, certificates) if certificates.due else before

    def _without_instances(self, host: Host, todo: Plan, script: str) -> dict[str, Any]:
        if todo.changes and not self.check:
            answer = host.apply(script)
            if answer.failed:
                raise HostError(f"{host.name}: {step(answer)}{answer.failed}")
        return {
            "changed": bool(todo.changes),
            "effect": str(todo.effect),
            "effects": _effects(todo),
            "steps": list(todo.steps()),
            "trips": host.trips,
        }


def _decided(
    host: Host, pooler: Pooler, postgresql: Mapping[str, str], before: Observed, *, check: bool
) -> tuple[Bundle, Plan]:
    """What is to be, and what that takes. Raises PoolerError for what is missing, and for pools without room."""
    _require(host, pooler, before, check)
    _require_room(pooler, before)
    said = replace(facts(pooler, before), postgresql=postgresql)
    wanted = bundle.build(pooler, said, lambda words: Display().display(f"{host.name}: {words}"))
    return wanted, plan.plan(pooler, wanted, before)


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
    if pooler.patroni and before.leader is None and not pointed_at(pooler, before, "leader"):
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


def _certified(pooler: Pooler, before: Observed, certificates: LeafChange) -> Observed:
    """The host with the leaves that it is to have; where there is no authority yet, with those that it has."""
    return replace(
        before,
        server_leaf=certificates.new(f"{pooler.tls_directory}/server") or before.server_leaf,
        client_leaf=certificates.new(f"{pooler.tls_directory}/client") or before.client_leaf,
    )


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
    server = leader(pooler, seen)
    return {
        "changed": bool(todo.changes),
        "effect": str(todo.effect),
        "effects": _effects(todo),
        "steps": list(todo.steps()),
        "leader": f"{server.host}:{server.port}" if server else None,
        "instances": {
            str(number): {"version": instance.version, "active": instance.active}
            for number, instance in seen.instances.items()
        },
        "trips": host.trips,
    }
