# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole desired state of the instances on one host: read, decide, apply, read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...pooler import bundle, diff, observed, plan, shell
from ...pooler.model import Pooler
from ...pooler.server import Server
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Answer, Host, HostError


class ActionModule(PoolerAction):
    secret = frozenset({"users"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        pooler = Pooler.from_variables(arguments)
        host = self.host()
        before = _observe(host.read(shell.read(pooler)))
        if arguments["state"] == "absent":
            return self._remove(host, before)
        _require(host, pooler, before, self.check)
        wanted = bundle.build(pooler, _facts(pooler, before))
        todo = plan.plan(pooler, wanted, before)
        result = _result(pooler, todo, before, host)
        if before.leader_trouble:
            result["warnings"] = [f"{host.name}: the last known leader stays: {before.leader_trouble}"]
        if self.diff:
            result["diff"] = diff.files(before, wanted, todo)
        if not todo.changes or self.check:
            return result
        answer = host.apply(shell.apply(pooler, todo, wanted.release), todo.write)
        if answer.failed:
            raise HostError(f"{host.name}: {_step(answer)}{answer.failed}")
        after = _observe(answer)
        left = plan.plan(pooler, wanted, replace(after, leader=before.leader))
        if left.changes:
            differences = "\n".join(str(change) for change in left.changes)
            raise HostError(f"{host.name}: after the change, the host still differs from the plan:\n{differences}")
        return _result(pooler, todo, after, host) | {key: result[key] for key in ("diff", "warnings") if key in result}

    def _remove(self, host: Host, before: observed.Observed) -> dict[str, Any]:
        todo = plan.removal(before)
        if todo.changes and not self.check:
            answer = host.apply(shell.remove(todo))
            if answer.failed:
                raise HostError(f"{host.name}: {_step(answer)}{answer.failed}")
        return {
            "changed": bool(todo.changes),
            "effect": str(todo.effect),
            "steps": list(todo.steps()),
            "trips": host.trips,
        }


def _observe(answer: Answer) -> observed.Observed:
    leaves = [*answer.lines("leaves"), "", ""]
    leader, trouble = observed.leader(answer.text("leader"))
    return observed.Observed(
        release=answer.text("release").strip(),
        files=observed.files(answer.binary("files")),
        server_leaf=leaves[0],
        client_leaf=leaves[1],
        image_id=answer.text("image").strip(),
        instances=observed.instances(
            observed.units(answer.text("units")),
            observed.containers(answer.text("containers")),
            observed.consoles(answer.text("consoles")),
        ),
        leader=leader,
        leader_trouble=trouble,
    )


def _require(host: Host, pooler: Pooler, before: observed.Observed, check: bool) -> None:
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
    if pooler.patroni and before.leader is None and not _last_known(before):
        raise HostError(f"{host.name}: {before.leader_trouble or 'nobody could be asked for the leader'}")


def _facts(pooler: Pooler, before: observed.Observed) -> bundle.Facts:
    directory = pooler.tls_directory
    return bundle.Facts(
        leader=pooler.server or before.leader or _last_known(before),
        server_leaf=before.server_leaf or f"{directory}/server/current",
        client_leaf=before.client_leaf or f"{directory}/client/current",
        verifiers=before.verifiers(),
    )


def _last_known(before: observed.Observed) -> Server | None:
    """The leader that the hosts file names, for when Patroni cannot be reached."""
    return (
        bundle.leader_in(before.files[bundle.DATABASES].content.decode()) if bundle.DATABASES in before.files else None
    )


def _step(answer: Answer) -> str:
    steps = [section.removeprefix("step ") for section in answer.sections if section.startswith("step ")]
    return f"{steps[-1]}: " if steps else ""


def _result(pooler: Pooler, todo: plan.Plan, seen: observed.Observed, host: Host) -> dict[str, Any]:
    leader = pooler.server or seen.leader
    return {
        "changed": bool(todo.changes),
        "effect": str(todo.effect),
        "effects": [{"what": change.what, "effect": str(change.effect), "why": change.why} for change in todo.changes],
        "steps": list(todo.steps()),
        "leader": f"{leader.host}:{leader.port}" if leader else None,
        "instances": {
            str(number): {"version": instance.version, "active": instance.active}
            for number, instance in seen.instances.items()
        },
        "trips": host.trips,
    }
