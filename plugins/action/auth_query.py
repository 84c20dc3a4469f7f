# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Role, schema and function that PgBouncer asks for verifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...pooler import auth_hba, auth_query, scram
from ...pooler.errors import InvalidError, Problem
from ..plugin_utils import goal
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.place import place


class ActionModule(PoolerAction):
    secret = frozenset({"password", "role_password", "role_verifier"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        result = goal.reach(wish(arguments), place(arguments, self.host()), check=self.check, diff=self.diff)
        if arguments["state"] == "absent":
            return result
        wanted = _wanted(arguments)
        return result | {"query": auth_query.query(wanted), "pg_hba": list(auth_hba.lines(wanted.role, wanted.login))}


def wish(arguments: Mapping[str, Any]) -> goal.Goal:
    """The options as what is to be in the database. Raises InvalidError."""
    wanted, present = _wanted(arguments), arguments["state"] == "present"

    def changes(observed: goal.Observed) -> goal.Changes:
        if not present:
            return goal.Changes(_leftovers(wanted, observed), _statements(auth_query.removal_sql(wanted, observed)))
        derived = auth_query.with_verifier(wanted, observed)
        return goal.Changes(
            auth_query.differences(derived, observed), _statements(auth_query.repair_sql(derived, observed))
        )

    def remarks(observed: goal.Observed) -> list[str]:
        if not present:
            return []
        about_logins = auth_hba.complaints(wanted.role, arguments["database"], observed["hba"], wanted.login)
        return [*about_logins, *auth_query.held(wanted, observed)]

    return goal.Goal(arguments["database"], auth_query.audit_sql(wanted), changes, remarks)


def _statements(text: str) -> list[str]:
    return [text] if text else []


def _wanted(arguments: Mapping[str, Any]) -> auth_query.AuthQuery:
    names = ("role", "schema", "function", "superusers", "replication")
    given = {name: arguments[name] for name in names}
    password, verifier = arguments["role_password"], arguments["role_verifier"]
    if verifier is not None and (password is not None or not scram.is_verifier(verifier)):
        what = "is given together with role_password" if password is not None else "is not a SCRAM-SHA-256 verifier"
        raise InvalidError([Problem("role_verifier", what, "give one of them; `pooler scram` makes verifiers")])
    if password is not None or verifier is not None:
        given |= {"login": "verifier", "secret": password or verifier}
    return auth_query.AuthQuery(**given)


def _leftovers(wanted: auth_query.AuthQuery, observed: goal.Observed) -> list[auth_query.Difference]:
    found = {
        f"function {wanted.schema}.{wanted.function}": observed["functions"],
        f"schema {wanted.schema}": observed["schema"] and not observed["schema"]["others"],
        f"role {wanted.role}": observed["role"],
    }
    return [auth_query.Difference(what, "present", "absent") for what, there in found.items() if there]
