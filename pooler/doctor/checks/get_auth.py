"""The function of auth_query: who owns it, who may call it, and what it tells to whom."""

from __future__ import annotations

from collections.abc import Iterator

from ...auth_query import STRANGER
from ..facts import Facts
from ..finding import Finding, failed, ok, unknown, warning

CHECK = "get_auth"

_ROLE = "run the site playbook: the role auth_query repairs it"


def properties(facts: Facts) -> Iterator[Finding]:
    found = facts.get_auth
    if found is None:
        yield ok(CHECK, facts.host, "nobody is asked for verifiers: users are in the userlist")
        return
    if found.error:
        yield unknown(CHECK, facts.host, f"could not be looked at: {found.error}", "see the checks of reachability")
        return
    place = found.name
    if not found.said["found"]:
        yield failed(CHECK, place, "there is no such function: nobody can log in", _ROLE)
        return
    (function,) = found.said["found"]
    wrong = []
    if not function["definer"]:
        wrong.append("is not SECURITY DEFINER, so that it cannot read verifiers")
    elif not any(each.startswith("search_path=") for each in function["settings"] or ()):
        wrong.append("has no search_path of its own: whoever may create objects can take it over")
    if not function["owner_superuser"]:
        wrong.append(f"belongs to {function['owner']}, who is no superuser")
    if function["public"]:
        wrong.append("may be called by everybody, who then reads all verifiers")
    if not function["ours"]:
        wrong.append(f"may not be called by {found.role}: nobody can log in")
    powers = [name for name, has in (found.said["role"] or {}).items() if has]
    if powers:
        wrong.append(f"is asked by {found.role}, who has {', '.join(powers)}")
    for each in wrong:
        yield failed(CHECK, place, each, _ROLE)
    told = list(_told(found.said))
    for each in told:
        yield warning(CHECK, place, each, _ROLE)
    if not wrong and not told:
        yield ok(CHECK, place, f"SECURITY DEFINER with a search_path, of {function['owner']}, for {found.role} alone")


def _told(said: object) -> Iterator[str]:
    """What the function answers to questions that nobody should learn anything from."""
    assert isinstance(said, dict)
    if "stranger" in said:
        rows = said["stranger"] or []
        if not rows:
            yield "answers no row of a stranger: every client can tell users from strangers"
        elif rows[0][1] is not True:
            yield "answers an empty row of a stranger: every client can tell users from strangers"
    if "superuser" in said:
        names = said["superuser"] or []
        if names and names[0] not in (None, STRANGER):
            yield "tells the verifier of a superuser, who can then log in through the pool"
