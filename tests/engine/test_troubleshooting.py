"""Each message of docs/troubleshooting.md is provoked on the real engine, as the page says that it comes about."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from pooler import cli
from pooler.bundle import RUNTIME
from tests.engine import trial
from tests.engine.chain import CONSOLE, POOLER, PORT, Chain, Session, chain
from tests.engine.miniature import TLS, UID
from tests.engine.pooled import one, pid
from tests.engine.startup import greet
from tests.pages import DOCS, blocks

SECONDS = 30
"""After which something that is awaited is not coming."""

DATABASES = [
    {"name": "app", "dbname": "postgres", "pool_size": 1},
    {"name": "dead", "host": "127.0.0.1", "port": 1, "dbname": "postgres"},
    {"name": "missing", "dbname": "nothere"},
    {"name": "few", "dbname": "postgres", "max_db_client_connections": 1},
    {"name": "wrong", "dbname": "postgres", "user": "svc", "password": "not svc's"},
    {"name": "limited", "dbname": "postgres"},
]
Provoked = Callable[[Chain], object]


@pytest.fixture(scope="module")
def tier() -> Iterator[Chain]:
    with chain() as made:
        start(made)
        yield made


def start(tier: Chain) -> None:
    """With a log as it is by default."""
    tier.serves(databases=DATABASES, settings={})


def console(tier: Chain, command: str) -> list[dict[str, str | None]]:
    return tier.host.instances[CONSOLE].ask(command)


@contextlib.contextmanager
def having(tier: Chain, **settings: object) -> Iterator[None]:
    """Other settings for a moment."""
    before = {row["key"]: row["value"] for row in console(tier, "SHOW CONFIG")}
    for name, value in settings.items():
        console(tier, f"SET {name} = '{value}'")
    try:
        yield
    finally:
        for name in settings:
            console(tier, f"SET {name} = '{before[name]}'")


def heard(provoke: Callable[[], object]) -> str:
    """What the client is told."""
    with pytest.raises(psycopg.Error) as told:
        provoke()
    return str(told.value)


def ended(client: Session) -> None:
    """Wait until something comes that was not asked for, and hear it."""
    ready, _, _ = select.select([client.fileno()], [], [], SECONDS)
    assert ready
    client.execute("SELECT 1")


def journal(tier: Chain) -> str:
    return "\n".join(text for _, text in tier.host.instances[CONSOLE].trial.heard().messages)


# Logging in


def unknown_password(tier: Chain) -> str:
    assert heard(lambda: tier.enter("alice", password="x")) == heard(lambda: tier.enter("nobody", password="x"))
    assert "SASL authentication failed" in heard(lambda: tier.enter("root"))
    journal(tier)
    told = heard(lambda: tier.enter("alice", "certainly not there"))
    assert "login attempt: db=certainly not there user=alice" in journal(tier)
    return told


def plain(tier: Chain) -> str:
    return heard(lambda: tier.enter("alice", sslmode="disable"))


def other_authority(tier: Chain) -> str:
    return heard(lambda: tier.enter("alice", sslrootcert=str(tier.leaves["alice of theirs"] / "ca.crt")))


def other_name(tier: Chain) -> str:
    def call() -> None:
        with trial.network_of(tier.network):
            trusted = str(tier.leaves["alice"] / "ca.crt")
            psycopg.connect(host="pool1", hostaddr=POOLER, port=PORT, sslmode="verify-full", sslrootcert=trusted)

    return heard(call)


def startup_parameter(tier: Chain) -> str:
    return greet(tier.dial(), "alice", "app", search_path="mine")


def too_many_clients(tier: Chain) -> str:
    # The console's own connection counts, too.
    with having(tier, max_client_conn=2), tier.enter("alice"):
        assert ("used_clients", "2") in [(row["list"], row["items"]) for row in console(tier, "SHOW LISTS")]
        return heard(lambda: tier.enter("alice"))


def too_many_clients_of_a_database(tier: Chain) -> str:
    with tier.enter("alice", "few"):
        return heard(lambda: tier.enter("bob", "few"))


def function_without_rights(tier: Chain) -> str:
    tier.owner.execute("REVOKE EXECUTE ON FUNCTION pgbouncer.get_auth(text) FROM pgbouncer")
    try:
        journal(tier)
        told = heard(lambda: tier.enter("alice"))
        assert "error in auth_query: ERROR: permission denied for function get_auth" in journal(tier)
        return told
    finally:
        tier.owner.execute("GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer")


@contextlib.contextmanager
def without_login(tier: Chain) -> Iterator[None]:
    """The role that asks for verifiers cannot log in."""
    tier.owner.execute("ALTER ROLE pgbouncer NOLOGIN")
    try:
        console(tier, "RECONNECT pgbouncer_auth")
        yield
    finally:
        tier.owner.execute("ALTER ROLE pgbouncer LOGIN")
        until(lambda: tier.lets_in("bob"))


def role_without_login(tier: Chain) -> str:
    with tier.enter("alice") as running, without_login(tier):
        told = heard(lambda: tier.enter("bob"))
        assert one(running, "SELECT 1") == 1
        return told


def other_password(tier: Chain) -> str:
    return heard(lambda: tier.enter("alice", "wrong").execute("SELECT 1"))


def no_seat(tier: Chain) -> str:
    return heard(lambda: tier.enter("alice", "pgbouncer"))


def seat_without_certificate(tier: Chain) -> str:
    return heard(lambda: tier.enter("watcher", "pgbouncer"))


# Waiting


def full_pool(tier: Chain) -> str:
    with having(tier, query_wait_timeout=1), tier.enter("alice") as holder, tier.enter("alice") as client:
        holder.execute("BEGIN")
        told = heard(lambda: client.execute("SELECT 1"))
        (pool,) = [row for row in console(tier, "SHOW POOLS") if (row["database"], row["user"]) == ("app", "alice")]
        assert (pool["sv_active"], pool["sv_idle"]) == ("1", "0")
    with having(tier, query_wait_timeout=1), tier.enter("alice") as client:
        console(tier, "PAUSE app")
        assert heard(lambda: client.execute("SELECT 1")) == told
        assert [row["paused"] for row in console(tier, "SHOW DATABASES") if row["name"] == "app"] == ["1"]
        console(tier, "RESUME app")
    return told


def login_refused_again(tier: Chain) -> str:
    with having(tier, query_wait_timeout=1):
        journal(tier)
        assert "query_wait_timeout" in heard(lambda: tier.enter("alice", "dead")), "where nobody answers clients wait"
        assert "closing because: connect failed" in journal(tier)
    with without_login(tier), having(tier, server_login_retry=SECONDS):
        heard(lambda: tier.enter("bob"))
        return heard(lambda: tier.enter("bob"))


def server_of_another_authority(tier: Chain) -> str:
    theirs = tier.host.path(f"{TLS}/theirs.crt")
    theirs.write_bytes((tier.leaves["alice of theirs"] / "ca.crt").read_bytes())
    with tier.enter("alice") as client, having(tier, server_tls_ca_file=f"{TLS}/theirs.crt", query_wait_timeout=1):
        console(tier, "RECONNECT app")
        journal(tier)
        heard(lambda: client.execute("SELECT 1"))
        said = journal(tier)
    until(lambda: tier.lets_in("alice"))
    return said


def no_such_database_in_postgresql(tier: Chain) -> str:
    return heard(lambda: tier.enter("alice", "missing"))


def role_with_a_limit(tier: Chain) -> str:
    tier.owner.execute("ALTER ROLE alice CONNECTION LIMIT 0")
    try:
        return heard(lambda: tier.enter("alice", "limited").execute("SELECT 1"))
    finally:
        tier.owner.execute("ALTER ROLE alice CONNECTION LIMIT -1")


def disabled(tier: Chain) -> str:
    console(tier, "DISABLE app")
    try:
        return heard(lambda: tier.enter("alice"))
    finally:
        console(tier, "ENABLE app")


# In the middle of the work


def silent_in_a_transaction(tier: Chain) -> str:
    with having(tier, idle_transaction_timeout=1), tier.enter("alice") as client:
        client.execute("BEGIN")
        return heard(lambda: ended(client))


def slow_query(tier: Chain) -> str:
    with having(tier, query_timeout=1), tier.enter("alice") as client:
        return heard(lambda: client.execute("SELECT pg_sleep(60)"))


def silent(tier: Chain) -> str:
    with tier.enter("alice") as client:
        client.execute("SELECT 1")
        with having(tier, client_idle_timeout=1):
            return heard(lambda: ended(client))


def backend_ended(tier: Chain) -> str:
    with tier.enter("alice") as client:
        before = pid(client)
        tier.owner.execute("SELECT pg_terminate_backend(%s)", [before])
        until(lambda: str(before) not in {row["remote_pid"] for row in console(tier, "SHOW SERVERS")})
        assert one(client, "SELECT 1") == 1, "between transactions nobody notices"
        client.execute("BEGIN")
        tier.owner.execute("SELECT pg_terminate_backend(%s)", [pid(client)])
        told = heard(lambda: client.execute("SELECT 1"))
        until(lambda: "closing because: server conn crashed?" in journal(tier))
        return told


def killed(tier: Chain) -> str:
    with tier.enter("alice") as client:
        console(tier, "KILL app")
        console(tier, "RESUME app")
        return heard(lambda: client.execute("SELECT 1"))


def prepared_in_sql(tier: Chain) -> str:
    with tier.enter("alice") as client:
        client.execute("PREPARE mine AS SELECT 1")
        console(tier, "RECONNECT app")
        return heard(lambda: client.execute("EXECUTE mine"))


def another_column(tier: Chain) -> str:
    tier.owner.execute("CREATE TABLE changing (n int)")
    tier.owner.execute("GRANT SELECT ON changing TO alice")
    with tier.enter("alice", prepare_threshold=0) as client:
        client.execute("SELECT * FROM changing")
        tier.owner.execute("ALTER TABLE changing ADD m int")
        told = heard(lambda: client.execute("SELECT * FROM changing"))
    console(tier, "RECONNECT app")
    with tier.enter("alice", prepare_threshold=0) as client:
        assert client.execute("SELECT * FROM changing").fetchall() == []
    return told


def left_read_only(tier: Chain) -> str:
    tier.owner.execute("GRANT CREATE ON SCHEMA public TO alice")
    with tier.enter("alice") as client, tier.enter("alice") as other:
        client.execute("SET default_transaction_read_only = on")
        told = heard(lambda: other.execute("CREATE TABLE made ()"))
        console(tier, "RECONNECT app")
        other.execute("CREATE TABLE made ()")
    return told


def stopped(tier: Chain) -> str:
    with tier.enter("alice") as client:
        console(tier, "SHUTDOWN WAIT_FOR_SERVERS")
        told = heard(lambda: client.execute("SELECT 1"))
    start(tier)
    return told


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline


CASES: dict[str, Provoked] = {
    "SASL authentication failed": unknown_password,
    "SSL required": plain,
    "certificate verify failed": other_authority,
    'does not match host name "…"': other_name,
    "unsupported startup parameter: …": startup_parameter,
    "no more connections allowed (max_client_conn)": too_many_clients,
    "client connections exceeded (max_db_client_connections)": too_many_clients_of_a_database,
    "bouncer config error": function_without_rights,
    'role "pgbouncer" is not permitted to log in': role_without_login,
    'password authentication failed for user "…"': other_password,
    "not allowed": no_seat,
    "certificate authentication failed": seat_without_certificate,
    "query_wait_timeout": full_pool,
    "server login has been failing, cached error: … (server_login_retry)": login_refused_again,
    "TLS handshake error: handshake failed: …certificate verify failed": server_of_another_authority,
    'database "…" does not exist': no_such_database_in_postgresql,
    'too many connections for role "…"': role_with_a_limit,
    'database "…" is disabled': disabled,
    "idle transaction timeout": silent_in_a_transaction,
    "query timeout": slow_query,
    "client_idle_timeout": silent,
    "terminating connection due to administrator command": backend_ended,
    "database removed": killed,
    "server shutting down": stopped,
    'prepared statement "…" does not exist': prepared_in_sql,
    "cached plan must not change result type": another_column,
    "cannot execute … in a read-only transaction": left_read_only,
}


@pytest.mark.parametrize("message", CASES)
def test_what_the_page_says_brings_its_message(tier: Chain, message: str) -> None:
    pattern = re.escape(message).replace("…", ".*")
    # Of an error with a name in it libpq may say more in between.
    told = str(CASES[message](tier))
    assert re.search(pattern, told), told


def test_every_message_of_the_page_is_provoked() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^### `(.+)`$", page) == list(CASES)


def test_console_command_of_the_page_answers(tier: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    """As in the container: by the engine's user, over the instance's socket."""
    (lines,) = blocks("troubleshooting", "")
    (line,) = [line for line in lines.splitlines() if "pooler console" in line]
    arguments = shlex.split(line.partition("pooler console")[2])
    here = arguments[0].replace(f"{RUNTIME}/{CONSOLE}", str(tier.host.path(f"{RUNTIME}/{CONSOLE}")))
    os.seteuid(UID)
    try:
        assert cli.main(["console", here, *arguments[1:]]) == 0
    finally:
        os.seteuid(0)
    assert "cl_waiting" in capsys.readouterr().out
