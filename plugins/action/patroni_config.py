# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Patroni's dynamic configuration: one patch for the cluster, taken in by every member, restarts in their order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...pooler import dynamic, rolling
from ...pooler.rolling import Cluster, Member
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import HostError
from ..plugin_utils.patroni import Heard, NoContainerError, Patroni, PatroniError

_TRIES = 3
_PAUSE = 1.0
"""Seconds between two looks while something is waited for."""


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        host = self.host()
        access = {name: arguments[name] for name in ("url", "ca", "cert", "key", "user")}
        patroni = Patroni(host, arguments["container"], access)
        try:
            heard = patroni.look(at_start=self.check)
        except NoContainerError as error:
            if not self.check:
                raise
            return {**_nothing(), "trips": host.trips, "warnings": [str(error)]}
        changes = dynamic.patch(arguments["config"], heard.cluster.config)
        if self.check:
            result = _expected(heard, changes, leader=arguments["restart_leader"])
        else:
            result = _Work(host.name, patroni, arguments).done(heard, changes)
        if self.diff and result["changed"]:
            result["diff"] = [*_diff(changes, heard.cluster.config), _steps(result)]
        return result | {"trips": host.trips}


class _Work:
    """All steps of one run, and what is told of them."""

    def __init__(self, host: str, patroni: Patroni, arguments: Mapping[str, Any]) -> None:
        self._host = host
        self._patroni = patroni
        self._wanted: dict[str, Any] = arguments["config"]
        self._leader_too: bool = arguments["restart_leader"]
        self._timeout: int = arguments["timeout"]
        self._members: int = arguments["members"]

    def done(self, heard: Heard, changes: Mapping[str, Any]) -> dict[str, Any]:
        found = heard.cluster.config
        if changes:
            heard = self._patch(changes)
        cluster = self._taken_in(heard.cluster)
        cluster, restarted = self._restart(cluster)
        return _result(changes, found, restarted, _left(cluster), _warnings(cluster))

    def _patch(self, changes: Mapping[str, Any]) -> Heard:
        """What is left is tried again when somebody else has just changed something, for which Patroni has 409, and
        when it was away for a moment.
        """
        for _try in range(_TRIES):
            heard = self._patroni.patch(changes)
            status, words = heard.order
            changes = dynamic.patch(self._wanted, heard.cluster.config)
            if not changes:
                return heard
            if status not in (200, 409, 0):
                break
        raise HostError(f"{self._host}: Patroni did not take the patch: {status or ''} {words} ({_remedy(status)})")

    def _taken_in(self, cluster: Cluster) -> Cluster:
        def slow(seen: Cluster) -> str:
            behind = ", ".join(member.name for member in seen.behind())
            return behind and f"not taken in by {behind}"

        return self._until(cluster, slow, "the configuration is in etcd, but was")

    def _restart(self, cluster: Cluster) -> tuple[Cluster, list[str]]:
        """One member after the other, each time looking again at who is due and whether all are well."""
        names = [member.name for member in cluster.members]
        done: dict[str, Member] = {}
        while (member := next(iter(rolling.due(cluster.members)), None)) and not cluster.paused:
            if member.leads and not self._leader_too:
                break
            waiting = ", ".join(each.name for each in rolling.due(cluster.members))
            if wrong := rolling.trouble(cluster.members, names, self._members):
                raise HostError(
                    f"{self._host}: {'; '.join(wrong)}: no restart now; due are {waiting} (mend that first)"
                )
            if done.get(member.name) == member:
                raise HostError(f"{self._host}: {member.name} is due for the same restart again ({member.why()})")
            status, words = self._patroni.restart(member, self._timeout).order
            if status != 200:
                raise HostError(
                    f"{self._host}: {member.name} was not restarted: {status or ''} {words}; due are {waiting}"
                )
            done[member.name] = member
            cluster = self._until(
                self._patroni.look().cluster,
                lambda seen: "; ".join(rolling.trouble(seen.members, names)),
                f"the rolling restart stops after {member.name}:",
            )
        return cluster, list(done)

    def _until(self, cluster: Cluster, missing: Callable[[Cluster], str], what: str) -> Cluster:
        """Look again until nothing is missing. Raises HostError after `timeout` seconds."""
        end = time.monotonic() + self._timeout
        left = missing(cluster)
        while left:
            if time.monotonic() > end:
                raise HostError(
                    f"{self._host}: {what} {left}, after {self._timeout} s (look at Patroni's journal there)"
                )
            time.sleep(_PAUSE)
            try:
                cluster = self._patroni.look().cluster
                left = missing(cluster)
            except PatroniError as error:
                left = str(error)
        return cluster


def _remedy(status: int) -> str:
    if status == 403:
        return "it takes orders from its members and restapi.allowlist alone, by a client certificate"
    return "look at Patroni's journal there"


def _expected(heard: Heard, changes: Mapping[str, Any], *, leader: bool) -> dict[str, Any]:
    """What a run would do: everybody is due when a setting changes that PostgreSQL reads at its start alone."""
    everybody = bool(dynamic.parameters(changes) & heard.at_start)
    due = heard.cluster.members if everybody else () if changes else rolling.due(heard.cluster.members)
    restarted = [member.name for member in due if leader or not member.leads]
    left = [member.name for member in due if member.leads and not leader]
    return _result(changes, heard.cluster.config, restarted, left, [] if changes else _warnings(heard.cluster))


def _left(cluster: Cluster) -> list[str]:
    return [member.name for member in rolling.due(cluster.members)]


def _warnings(cluster: Cluster) -> list[str]:
    warnings = [f"{member.name} is {member.state}" for member in cluster.members if not member.runs]
    left = rolling.due(cluster.members)
    if left and cluster.paused:
        warnings.append(f"restarts are due, and Patroni is paused: {_named(left)}")
    elif left:
        warnings.append(
            f"due for a restart, and left because the leader may not be restarted: {_named(left)} (switch over and run "
            "this again, or restart the leader behind paused poolers; restart_leader: true restarts it at once)"
        )
    return warnings


def _named(members: Iterable[Member]) -> str:
    return "; ".join(f"{member.name} ({member.why()})" for member in members)


def _nothing() -> dict[str, Any]:
    return _result({}, {}, [], [], [])


def _result(
    changes: Mapping[str, Any],
    found: Mapping[str, Any],
    restarted: list[str],
    due: list[str],
    warnings: list[str],
) -> dict[str, Any]:
    differences = [str(difference) for difference in dynamic.differences(changes, found)]
    result: dict[str, Any] = {
        "changed": bool(changes or restarted),
        "differences": differences,
        "restarted": restarted,
        "restart_due": due,
    }
    return result | ({"warnings": warnings} if warnings else {})


def _diff(changes: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The part of the document that changes; nothing when only restarts are due."""
    if not changes:
        return
    after = dynamic.patched(found, changes)
    before, wanted = (dynamic.touched(changes, document) for document in (found, after))
    shown = [json.dumps(part, indent=2, sort_keys=True, ensure_ascii=False) + "\n" for part in (before, wanted)]
    place = "Patroni's dynamic configuration"
    yield {"before": shown[0], "after": shown[1], "before_header": place, "after_header": place}


def _steps(result: Mapping[str, Any]) -> dict[str, str]:
    lines = [f"restart PostgreSQL on {name}" for name in result["restarted"]]
    lines += [f"leave the restart of PostgreSQL on {name}" for name in result["restart_due"]]
    return {"prepared": "".join(f"{line}\n" for line in lines)}
