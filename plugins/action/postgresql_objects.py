# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Login roles and databases in the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.utils.display import Display

from ...pooler import objects, scram
from ...pooler.derivations import Tell, silent
from ...pooler.errors import InvalidError, Problem
from ..plugin_utils import goal
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.place import place


class ActionModule(PoolerAction):
    secret = frozenset({"password", "verifier"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        host = self.host()
        wanted = wish(arguments, lambda words: Display().display(f"{host.name}: {words}"))
        return goal.reach(wanted, place(arguments, host), check=self.check, diff=self.diff)


def wish(arguments: Mapping[str, Any], tell: Tell = silent) -> goal.Goal:
    """The options as what is to be in the cluster. Raises InvalidError."""
    present = arguments["state"] == "present"
    roles = _roles(arguments["users"], present)
    databases = [objects.DatabaseObject(entry["name"], entry["owner"]) for entry in arguments["databases"]]

    def changes(observed: goal.Observed) -> goal.Changes:
        if not present:
            return goal.Changes(_leftovers(observed), objects.removal(roles, databases, observed))
        derived = objects.with_verifiers(roles, observed, tell)
        return goal.Changes(
            objects.differences(derived, databases, observed), objects.statements(derived, databases, observed)
        )

    return goal.Goal("postgres", objects.audit_sql(roles, databases), changes)


def _roles(users: Sequence[dict[str, Any]], present: bool) -> list[objects.Role]:
    roles, problems = [], []
    for index, user in enumerate(users):
        place = f"users[{index}] ({user['name']})"
        given = [user[key] for key in ("password", "verifier") if user[key] is not None]
        given += ["certificate"] if user["certificate"] else []
        acts_as, member_of = user["acts_as"] or "", tuple(user["member_of"])
        if not user["login"]:
            roles.append(objects.Role(user["name"], login=False, acts_as=acts_as, member_of=member_of))
        elif present and len(given) != 1:
            what = "more than one of them is given" if given else "none of them is given"
            problems.append(Problem(place, f"password, verifier, certificate: {what}", "give one of them"))
        elif user["verifier"] is not None and not scram.is_verifier(user["verifier"]):
            shape = "SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>"
            problems.append(Problem(f"{place}: verifier", "is not a SCRAM-SHA-256 verifier", f"expected {shape}"))
        else:
            secret = given[0] if given and not user["certificate"] else ""
            roles.append(objects.Role(user["name"], secret, acts_as=acts_as, member_of=member_of))
    if problems:
        raise InvalidError(problems)
    return roles


def _leftovers(observed: goal.Observed) -> list[objects.Difference]:
    kinds = (("database", observed["databases"]), ("role", observed["roles"]))
    return [
        objects.Difference(f"{kind} {entry['name']}", "present", "absent") for kind, found in kinds for entry in found
    ]
