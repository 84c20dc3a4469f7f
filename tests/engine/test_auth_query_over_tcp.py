"""The module auth_query from the controller, by TCP, against two real PostgreSQL servers with TLS."""

from __future__ import annotations

import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import auth_query as action
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.action import argument_spec
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.goal import DatabaseError
from ansible_collections.pgfleet.pooler.pooler.errors import InvalidError
from ansible_collections.pgfleet.pooler.pooler.errors import PoolerError as Refused

from pooler import auth_hba, auth_query, certificates, scram
from tests.engine.pair import ADDRESSES, Pair, pair

PASSWORD = secrets.token_urlsafe()
LEADER, REPLICA = ADDRESSES
NEVER_REACHED = "127.0.0.13"
"""Nobody listens there."""

SAME_AS_LEADER = "127.0.11"
"""Resolves to the leader's address, and is no name of its certificate."""

HBA = f"""
local all postgres trust
{chr(10).join(auth_hba.lines("pgbouncer"))}
hostssl template1 postgres all cert map=poolers
hostssl all postgres,mallory all scram-sha-256
host replication postgres 127.0.0.0/8 trust
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    with pair() as both:
        both.start_databases()
        leader, replica = both.databases
        leader.sql(f"ALTER ROLE postgres PASSWORD '{scram.verifier(PASSWORD)}'")
        leader.sql(f"CREATE ROLE mallory LOGIN PASSWORD '{scram.verifier(PASSWORD)}'")
        for database in (leader, replica):
            (database.place / "data/pg_hba.conf").write_text(HBA)
            (database.place / "data/pg_ident.conf").write_text("poolers pgbouncer postgres\n")
            database.reload()
        yield both


def run(both: Pair, *servers: str, check: bool = False, **more: Any) -> dict[str, Any]:
    """The module with its options' defaults, as a task runs it. There is no host that it could reach."""
    spec = argument_spec("auth_query")
    options = {name: option.get("default") for name, option in spec.items()}
    options |= {"servers": list(servers), "password": PASSWORD, "ca": str(both.place / "etc/leaf/ca.crt"), **more}
    module: Any = action.ActionModule.__new__(action.ActionModule)
    module.check, module.diff, module.host_name = check, True, "nowhere"
    with both.inside():
        result: dict[str, Any] = module.perform(options)
    return result


def test_leader_is_found_check_mode_shows_the_sql_and_a_run_does_it_once(servers: Pair) -> None:
    everyone = (NEVER_REACHED, REPLICA, LEADER)
    planned = run(servers, *everyone, check=True)
    assert (planned["changed"], planned["leader"], planned["trips"]) == (True, True, 1)
    assert servers.databases[0].sql("SELECT to_regnamespace('pgbouncer')") is None

    done = run(servers, *everyone)
    assert done["sql"] == planned["sql"] != []
    assert planned["sql"][0] in planned["diff"][1]["prepared"]
    assert (done["changed"], done["trips"]) == (True, 2)
    assert "warnings" not in done

    again = run(servers, *everyone)
    assert (again["changed"], again["sql"], again["trips"]) == (False, [], 1)

    gone = run(servers, *everyone, state="absent")
    assert gone["changed"]
    assert servers.databases[0].sql("SELECT count(*) FROM pg_roles WHERE rolname = 'pgbouncer'") == 0
    assert not run(servers, *everyone, state="absent")["changed"]


def test_superuser_may_log_in_by_certificate(servers: Pair) -> None:
    leaf = servers.place / "etc/leaf"
    asked = {"database": "template1", "password": None}

    assert run(servers, LEADER, check=True, cert=str(leaf / "tls.crt"), key=str(leaf / "tls.key"), **asked)["leader"]

    with pytest.raises(DatabaseError, match=f"{LEADER}:5432: .*certificate"):
        run(servers, LEADER, check=True, **asked)


def test_nothing_is_told_to_a_server_whose_certificate_says_another_name(servers: Pair) -> None:
    with pytest.raises(DatabaseError, match=f"{SAME_AS_LEADER}:5432: .*not valid for '{SAME_AS_LEADER}'"):
        run(servers, SAME_AS_LEADER)


def test_nothing_is_told_to_a_server_without_tls(servers: Pair) -> None:
    heard: list[bytes] = []

    def refuse(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            heard.append(client.recv(100))
            client.sendall(b"N")
            heard.append(client.recv(100))

    with servers.inside():
        listener = socket.create_server(("127.0.0.1", 5432))
    with listener:
        thread = threading.Thread(target=refuse, args=[listener])
        thread.start()
        with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:5432: .*SSL"):
            run(servers, "127.0.0.1")
        thread.join()
    assert heard == [struct.pack("!II", 8, 80877103), b""]


def test_nothing_is_told_to_a_server_of_another_authority(servers: Pair, tmp_path: Path) -> None:
    another = tmp_path / "another.crt"
    another.write_text(certificates.new_authority("another", now=datetime.now(UTC)).certificate_pem)
    with pytest.raises(DatabaseError, match=f"{LEADER}:5432: .*certificate verify failed"):
        run(servers, LEADER, ca=str(another))
    with pytest.raises(DatabaseError, match="certificate verify failed"):
        run(servers, LEADER, ca=None)


def test_without_the_leader_every_server_is_told_with_its_reason(servers: Pair) -> None:
    with pytest.raises(DatabaseError, match="none of the servers takes writes") as error:
        run(servers, REPLICA, NEVER_REACHED)
    told = str(error.value)
    assert f"{REPLICA}:5432: is in recovery" in told
    assert f"{NEVER_REACHED}:5432: " in told


def test_wrong_password_and_want_of_rights_are_told_without_the_password(servers: Pair) -> None:
    wrong = secrets.token_urlsafe()
    with pytest.raises(DatabaseError, match='password authentication failed for user "postgres"') as error:
        run(servers, LEADER, password=wrong)
    assert wrong not in str(error.value)
    with pytest.raises(DatabaseError, match=r"permission denied for .* \(log in as a superuser\)"):
        run(servers, LEADER, user="mallory")


def test_read_only_leader_is_a_clear_error_in_check_mode_too(servers: Pair) -> None:
    leader, _ = servers.databases
    leader.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    leader.reload()
    try:
        with pytest.raises(Refused, match="transactions are read-only here"):
            run(servers, LEADER, check=True)
    finally:
        leader.sql("ALTER SYSTEM RESET default_transaction_read_only")
        leader.reload()


QUOTED = ['say "hi"', "back\\slash\\", "a b,c#d", "all", "+team", "/^p", "Grüße 🐘", "ä" * 31, "UPPER", "-", "@file"]


@pytest.mark.parametrize("role", ["pgbouncer", "pool-1", *QUOTED])
def test_printed_lines_are_read_by_postgresql_and_let_the_role_in_by_its_certificate_alone(
    servers: Pair, role: str
) -> None:
    leader, _ = servers.databases
    file = leader.place / "data/pg_hba.conf"
    everybody = "host all all all scram-sha-256"

    def judged(*lines: str) -> tuple[str, ...]:
        file.write_text("".join(f"{line}\n" for line in lines))
        rules = leader.sql(auth_query.audit_sql(auth_query.AuthQuery(role)))["hba"]
        assert len(rules) == len(lines)
        return auth_hba.complaints(role, "postgres", rules)

    try:
        assert judged(*auth_hba.lines(role), everybody) == ()
        first, second = judged(everybody, *auth_hba.lines(role))
        assert "by certificate" in first
        assert "line 1 of" in second
    finally:
        file.write_text(HBA)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"servers": ["db1:", "db1:0", "[::1", "db1:5432"]}, r"servers\[0\].*\n.*servers\[1\].*\n.*servers\[2\]"),
        ({"cert": "tls.crt"}, "only one of cert and key"),
        ({"ca": "/nowhere.crt"}, "ca: /nowhere.crt: No such file"),
        ({"cert": "/nowhere.crt", "key": "/nowhere.key"}, "cert: /nowhere.crt, /nowhere.key: No such file"),
    ],
)
def test_what_cannot_be_reached_is_refused_before_anybody_is_asked(
    servers: Pair, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidError, match=told):
        run(servers, **{"servers": [LEADER], **given})


def test_two_servers_that_take_writes_are_left_alone(servers: Pair) -> None:
    """The last one here: there is no way back."""
    servers.databases[1].promote()
    with pytest.raises(DatabaseError, match=f"{LEADER}:5432 and {REPLICA}:5432 all take writes"):
        run(servers, LEADER, REPLICA)
    for database in servers.databases:
        assert database.sql("SELECT to_regnamespace('pgbouncer')") is None


def test_the_role_may_have_a_password_and_gives_it_back(servers: Pair) -> None:
    leader, password = servers.databases[0], secrets.token_hex(12)

    given = run(servers, LEADER, role_password=password)

    kept = leader.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'pgbouncer'")
    assert scram.verifies(kept, password)
    assert kept not in str(given)
    assert given["pg_hba"][0] == "hostssl all pgbouncer all scram-sha-256"
    assert any("no line of pg_hba.conf lets role pgbouncer in by password" in text for text in given["warnings"])
    assert not run(servers, LEADER, role_password=password)["changed"]
    assert not run(servers, LEADER, role_verifier=kept)["changed"]
    assert run(servers, LEADER)["differences"] == ["role pgbouncer: password: set, should be none"]
    run(servers, LEADER, state="absent")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"role_password": "x", "role_verifier": scram.verifier("x")}, "given together with role_password"),
        ({"role_verifier": "x"}, "is not a SCRAM-SHA-256 verifier"),
    ],
)
def test_a_role_gets_one_secret_that_is_one(servers: Pair, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        run(servers, LEADER, **given)
