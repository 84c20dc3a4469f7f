# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The SCRAM verifiers that PostgreSQL has of login roles."""

from __future__ import annotations

from typing import Any

from ...pooler import objects
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.goal import NothingThereError
from ..plugin_utils.place import place


class ActionModule(PoolerAction):
    secret = frozenset({"password"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        cluster = place(arguments, self.host())
        try:
            document = cluster.ask("postgres", objects.verifiers_sql(arguments["roles"]))
        except NothingThereError:
            if not self.check:
                raise
            return {"changed": False, "leader": False, "verifiers": {}}
        leads = not document["in_recovery"]
        return {"changed": False, "leader": leads, "verifiers": document["verifiers"] if leads else {}}
