# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The members of the cluster, asked from a pooler host."""

from __future__ import annotations

from typing import Any

from ..plugin_utils import agent
from ..plugin_utils.action import PoolerAction


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        words = ["cluster", *agent.repeated("--patroni", arguments["patroni"])]
        return {"changed": False, **agent.run(self.host(), arguments["container"], words)}
