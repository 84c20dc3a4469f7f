"""Who is to leave the userlist, and who still uses them."""

from __future__ import annotations

import json
import secrets
from typing import Any

from pooler import bundle, scram, variables, withdrawal
from pooler.bundle import Facts
from pooler.model import User
from pooler.observed import FoundFile, Observed
from tests.unit.test_plan import FACTS

OLD, NEW = secrets.token_hex(8), secrets.token_hex(8)
IN_FORCE = {"app_1": scram.verifier(OLD), "ops": "", "pgbouncer": scram.verifier("nobody knows")}


def leaving(*users: User, withdrawn: tuple[str, ...] = ()) -> tuple[str, ...]:
    return withdrawal.leaving(users, withdrawn, IN_FORCE, {"pgbouncer"})


STAY = (User("app_1", password=OLD), User("ops", certificate=True))


def test_who_has_the_same_secret_stays() -> None:
    assert leaving(*STAY) == ()
    assert leaving(User("app_1", verifier=IN_FORCE["app_1"]), STAY[1]) == ()


def test_a_second_login_puts_nobody_out() -> None:
    assert leaving(*STAY, User("app_2", password=NEW)) == ()


def test_who_is_gone_or_has_another_secret_leaves() -> None:
    assert leaving(STAY[1]) == ("app_1",)
    assert leaving(User("app_1", password=NEW), STAY[1]) == ("app_1",)
    assert leaving(User("app_1", verifier=scram.verifier(OLD)), STAY[1]) == ("app_1",)
    assert leaving(STAY[0], User("ops", password=NEW)) == ("ops",)
    # An entry with settings alone is no line of the userlist.
    assert leaving(User("app_1", settings={"pool_size": "3"}), STAY[1]) == ("app_1",)


def test_a_login_that_is_in_no_userlist_leaves_when_that_is_said() -> None:
    assert leaving(*STAY, withdrawn=("report",)) == ("report",)


def row(user: str, kind: str, **more: str) -> dict[str, str]:
    return {"type": kind, "user": user, "database": "app", "addr": "10.0.0.5", "application_name": "psql"} | more


def test_clients_come_first_and_logins_under_way_count() -> None:
    sockets = {
        50001: [row("app_1", "S", addr="10.0.0.11", application_name=""), row("app_2", "C"), row("app_2", "S")],
        50002: [row("app_1", "C", state="cl_login"), row("app_1", "C", state="cl_active")],
    }
    found = withdrawal.uses(["app_1"], sockets)
    assert [(use.instance, use.kind) for use in found] == [(50002, "client"), (50002, "client"), (50001, "server")]
    assert withdrawal.told(found).splitlines() == [
        "instance 50002: client connection of app_1 from 10.0.0.5 (psql), database app, 2 times",
        "instance 50001: server connection of app_1 to 10.0.0.11, database app",
    ]


def test_a_long_list_of_uses_is_cut_short() -> None:
    rows = [row("app_1", "C", addr=f"10.0.0.{number}") for number in range(30)]
    lines = withdrawal.told(withdrawal.uses(["app_1"], {50001: rows})).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 20 more"


def test_our_own_roles_are_known_by_the_files_in_force() -> None:
    agent = json.dumps({"role": "watcher"}).encode()
    files = {
        "/etc/pgbouncer/releases/a/50001.ini": FoundFile(b"[pgbouncer]\nauth_user = pgbouncer\n", 0o600, 6432),
        "/etc/pgbouncer/agent/agent.json": FoundFile(agent, 0o600, 6432),
    }
    assert Observed(files=files).own_roles() == {"pgbouncer", "watcher"}
    assert Observed().own_roles() == frozenset()


# The verifier that PostgreSQL has


def listed(password: str, postgresql: dict[str, str], in_use: dict[str, str] | None = None) -> Any:
    facts = Facts(FACTS.leader, FACTS.server_leaf, FACTS.client_leaf, in_use or {}, postgresql=postgresql)
    users = [{"name": "app_1", "password": password}]
    given = {"image": "localhost/i", "patroni": ["https://db1:8008"], "databases": [{"name": "app"}], "users": users}
    made = bundle.build(variables.read(given), facts)
    return next(file for file in made.files if file.path.endswith("userlist.txt")).content.decode()


def test_a_user_with_a_password_gets_the_verifier_that_postgresql_has() -> None:
    """With another one the engine could not log in there with what the client has proved."""
    theirs, ours = scram.verifier(OLD), scram.verifier(OLD)
    assert theirs in listed(OLD, {"app_1": theirs})
    assert theirs in listed(OLD, {"app_1": theirs}, in_use={"app_1": ours})
    assert ours in listed(OLD, {}, in_use={"app_1": ours})


def test_a_verifier_of_another_password_is_not_taken() -> None:
    theirs, ours = scram.verifier(NEW), scram.verifier(OLD)
    assert ours in listed(OLD, {"app_1": theirs}, in_use={"app_1": ours})
    assert theirs not in listed(OLD, {"app_1": theirs})
