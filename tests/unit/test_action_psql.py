"""Changes to a database over a host: trips, secrets, replicas, errors."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import postgresql_objects
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import goal as goals
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.goal import DatabaseError, NothingThereError
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.host import Host
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.psql import Container
from ansible_collections.pgfleet.pooler.pooler import scram
from ansible_collections.pgfleet.pooler.pooler.errors import PoolerError
from ansible_collections.pgfleet.pooler.pooler.objects import Difference

AUDIT = "SELECT everything"


class Database:
    """Answers as the host's script does; `documents` are what the audits return, in order."""

    def __init__(self, *documents: Mapping[str, Any], state: str = "running", trouble: str = "") -> None:
        self.documents = list(documents)
        self.state, self.trouble = state, trouble
        self.commands: list[str] = []
        self.inputs: list[str] = []

    def execute(self, command: str, data: bytes) -> Mapping[str, Any]:
        self.commands.append(command)
        self.inputs.append(data.decode())
        mark = re.search(r"@[0-9a-f]{16}", command)
        assert mark
        head = f"\n{mark[0]} container\n{self.state}\n"
        if self.trouble:
            return {"rc": 1, "stdout": head, "stderr": self.trouble}
        answer = json.dumps(self.documents.pop(0))
        return {"rc": 0, "stdout": f"{head}\n{mark[0]} answer\n{answer}\n\n{mark[0]} end\n", "stderr": ""}


def goal(statements: Sequence[str] = ("ALTER SOMETHING;",)) -> goals.Goal:
    """Wants `right` to be true."""
    return goals.Goal(
        database="postgres",
        audit=AUDIT,
        changes=lambda seen: (
            goals.Changes((), ())
            if seen["right"]
            else goals.Changes((Difference("thing", "wrong", "right"),), statements)
        ),
    )


def reach(database: Database, wanted: goals.Goal, *, check: bool = False) -> dict[str, Any]:
    place = Container(Host("db1", database.execute), "spilo")
    result: dict[str, Any] = goals.reach(wanted, place, check=check, diff=True)
    return result


WRONG = {"in_recovery": False, "right": False}
RIGHT = {"in_recovery": False, "right": True}
REPLICA = {"in_recovery": True, "right": False}


def test_a_database_as_wanted_costs_one_trip_and_is_not_changed() -> None:
    result = reach(Database(RIGHT), goal())
    assert (result["changed"], result["leader"], result["trips"]) == (False, True, 1)


def test_a_change_is_read_back_in_the_same_trip() -> None:
    database = Database(WRONG, RIGHT)
    result = reach(database, goal())
    assert (result["changed"], result["trips"]) == (True, 2)
    assert database.inputs[1] == f"ALTER SOMETHING;\n{AUDIT};\n"


def test_nothing_is_done_on_a_replica() -> None:
    database = Database(REPLICA)
    result = reach(database, goal())
    assert (result["changed"], result["leader"]) == (False, False)
    assert database.inputs == [f"{AUDIT};\n"]


def test_check_mode_shows_the_statements_and_runs_none() -> None:
    database = Database(WRONG)
    result = reach(database, goal(), check=True)
    assert result["changed"]
    assert result["sql"] == ["ALTER SOMETHING;"]
    assert "ALTER SOMETHING" in str(result["diff"])
    assert len(database.inputs) == 1


def test_a_change_that_did_not_take_is_an_error_with_what_is_left() -> None:
    with pytest.raises(DatabaseError, match="thing: wrong, should be right"):
        reach(Database(WRONG, WRONG), goal())


def test_statements_and_verifiers_are_in_no_command_and_no_result() -> None:
    verifier = scram.verifier(secrets.token_urlsafe(12))
    database = Database(WRONG, RIGHT)
    result = reach(database, goal([f"ALTER ROLE a PASSWORD '{verifier}';"]))
    assert verifier in database.inputs[1]
    assert not any("ALTER" in command or verifier in command for command in database.commands)
    assert verifier not in str(result)


def test_a_verifier_in_the_words_of_postgresql_is_masked() -> None:
    verifier = scram.verifier(secrets.token_urlsafe(12))
    with pytest.raises(DatabaseError) as error:
        reach(Database(trouble=f"ERROR:  no, not {verifier}"), goal())
    assert str(error.value) == "db1: ERROR:  no, not SCRAM-SHA-256$********"


def test_a_missing_container_is_an_error_save_in_check_mode() -> None:
    words = "the container spilo is missing"
    with pytest.raises(NothingThereError, match=words):
        reach(Database(state="missing", trouble=words), goal())
    result = reach(Database(state="missing", trouble=words), goal(), check=True)
    assert result["warnings"] == [f"db1: {words}"]
    with pytest.raises(DatabaseError):
        reach(Database(state="exited", trouble="the container spilo is exited"), goal(), check=True)


@pytest.mark.parametrize(
    "user",
    [
        {"password": None, "verifier": None},
        {"password": secrets.token_urlsafe(12), "verifier": scram.verifier("x")},
        {"password": None, "verifier": secrets.token_urlsafe(12)},
    ],
)
def test_a_user_with_unclear_credentials_is_refused_without_repeating_them(user: dict[str, str | None]) -> None:
    arguments = {
        "state": "present",
        "users": [{"name": "app", "login": True, "acts_as": None, "certificate": False, "member_of": [], **user}],
        "databases": [],
    }
    with pytest.raises(PoolerError, match=r"users\[0\] \(app\)") as error:
        postgresql_objects.wish(arguments)
    assert not any(secret in str(error.value) for secret in user.values() if secret)
