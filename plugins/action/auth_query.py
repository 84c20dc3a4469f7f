# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Role, schema and function that PgBouncer asks for verifiers."""

from __future__ import annotations

from typing import Any

from ...pooler import auth_query
from ..plugin_utils import psql
from ..plugin_utils.action import PoolerAction


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        names = ("role", "schema", "function", "superusers", "replication")
        wanted = auth_query.AuthQuery(**{name: arguments[name] for name in names})
        present = arguments["state"] == "present"

        def differences(observed: psql.Observed) -> list[auth_query.Difference]:
            return list(auth_query.differences(wanted, observed)) if present else _leftovers(wanted, observed)

        def statements(observed: psql.Observed) -> list[str]:
            text = (auth_query.repair_sql if present else auth_query.removal_sql)(wanted, observed)
            return [text] if text else []

        goal = psql.Goal(arguments["database"], auth_query.audit_sql(wanted), differences, statements)
        result = psql.reach(goal, self.host(), arguments["container"], check=self.check, diff=self.diff)
        return result | ({"query": auth_query.query(wanted)} if present else {})


def _leftovers(wanted: auth_query.AuthQuery, observed: psql.Observed) -> list[auth_query.Difference]:
    found = {
        f"function {wanted.schema}.{wanted.function}": observed["functions"],
        f"schema {wanted.schema}": observed["schema"] and not observed["schema"]["others"],
        f"role {wanted.role}": observed["role"],
    }
    return [auth_query.Difference(what, "present", "absent") for what, there in found.items() if there]
