# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Login roles and databases: audit on the leader, change what differs, audit again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...pooler import objects, scram, sql
from ...pooler.errors import InvalidError, Problem
from ..plugin_utils import psql
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Host, HostError

_DATABASE = "postgres"


class ActionModule(PoolerAction):
    secret = frozenset({"password", "verifier"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        present = arguments["state"] == "present"
        roles = _roles(arguments["users"], present)
        databases = [objects.DatabaseObject(entry["name"], entry["owner"]) for entry in arguments["databases"]]
        host, container = self.host(), arguments["container"]
        audit = objects.audit_sql(roles, databases)
        try:
            before = psql.document(host, container, _DATABASE, (), audit)
        except psql.NoContainerError as error:
            if not self.check:
                raise
            return _result(host, leader=False) | {"warnings": [str(error)]}
        if before["in_recovery"]:
            return _result(host, leader=False)
        differ = _differences if present else _leftovers
        found = differ(roles, databases, before)
        statements = (objects.statements if present else objects.removal)(roles, databases, before)
        if statements and not self.check:
            left = differ(roles, databases, psql.document(host, container, _DATABASE, statements, audit))
            if left:
                words = "\n".join(map(str, left))
                raise HostError(f"{host.name}: after the change, the database still differs:\n{words}")
        result = _result(host, leader=True, differences=found, statements=statements)
        return result | ({"diff": psql.diff(found, statements)} if self.diff else {})


def _result(
    host: Host, *, leader: bool, differences: Sequence[objects.Difference] = (), statements: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "changed": bool(statements),
        "leader": leader,
        "differences": [str(difference) for difference in differences],
        "sql": [sql.masked(statement) for statement in statements],
        "trips": host.trips,
    }


def _roles(users: Sequence[dict[str, Any]], present: bool) -> list[objects.Role]:
    roles, problems = [], []
    for index, user in enumerate(users):
        place = f"users[{index}] ({user['name']})"
        given = [user[key] for key in ("password", "verifier") if user[key] is not None]
        if present and len(given) != 1:
            problems.append(Problem(place, f"{len(given)} of password and verifier are given", "give one of them"))
        elif user["verifier"] is not None and not scram.is_verifier(user["verifier"]):
            shape = "SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>"
            problems.append(Problem(f"{place}: verifier", "is not a SCRAM-SHA-256 verifier", f"expected {shape}"))
        else:
            roles.append(objects.Role(user["name"], given[0] if given else ""))
    if problems:
        raise InvalidError(problems)
    return roles


def _differences(
    roles: Sequence[objects.Role], databases: Sequence[objects.DatabaseObject], observed: dict[str, Any]
) -> Sequence[objects.Difference]:
    return objects.differences(roles, databases, observed)


def _leftovers(
    roles: Sequence[objects.Role], databases: Sequence[objects.DatabaseObject], observed: dict[str, Any]
) -> Sequence[objects.Difference]:
    found = [("role", entry["name"]) for entry in observed["roles"] if entry["name"] in {role.name for role in roles}]
    found += [("database", entry["name"]) for entry in observed["databases"]]
    return [objects.Difference(f"{kind} {name}", "present", "absent") for kind, name in found]
