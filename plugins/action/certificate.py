# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of a host: the authority, if asked for; one exec to look, one to place what is due and look again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Host, HostError

try:
    from ..plugin_utils import leaf_requests, leaves
    from ..plugin_utils.leaf_change import LeafChange
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None


class ActionModule(PoolerAction):
    secret = frozenset({"passphrase", "private_key"})
    missing = MISSING

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC)
        wanted = leaf_requests.wanted(arguments, self.host_name, now)
        host = self.host()
        if arguments["state"] == "absent":
            return self._remove(host, [leaf.directory for leaf in wanted])
        change = LeafChange(arguments, wanted, now, check=self.check)
        if wanted:
            change.compare(host.read(change.look))
        if change.due and not self.check:
            change.place(host)
        result = change.result(host.name) | {"trips": host.trips}
        if not self.diff:
            del result["diff"]
        return result

    def _remove(self, host: Host, directories: list[str]) -> dict[str, Any]:
        there = host.read(leaves.inventory(directories)).lines("leaves")
        if there and not self.check:
            answer = host.apply(leaves.remove(directories) + leaves.inventory(directories))
            if answer.failed:
                raise HostError(f"{host.name}: {answer.failed}")
            if left := answer.lines("leaves"):
                raise HostError(f"{host.name}: after the removal, there still is {', '.join(left)}")
        result: dict[str, Any] = {"changed": bool(there), "trips": host.trips}
        return result | ({"diff": {"before": "\n".join([*there, ""]), "after": ""}} if self.diff and there else {})
