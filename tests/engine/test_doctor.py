"""The doctor beside a real agent, real instances and real servers, of which one thing after the other is broken."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pooler import certificates
from tests.engine.pair import ADDRESSES, ENTRIES, ROLE, Agent, Pair, pair, until

_PEERS = """
[peers]
1 = host=/run/pgbouncer/50001 port=6432
2 = host=/run/pgbouncer/50002 port=6432
"""
_SETTINGS = f"""
peer_id = {{peer}}
auth_user = {ROLE}
auth_query = SELECT username, password FROM pgbouncer.get_auth($1)
"""


@pytest.fixture(scope="module")
def fleet() -> Iterator[tuple[Pair, Agent]]:
    with pair() as made:
        made.start_databases()
        made.databases[0].sql("CREATE SCHEMA pgbouncer")
        made.databases[0].sql(_FUNCTION)
        made.databases[0].sql("REVOKE ALL ON FUNCTION pgbouncer.get_auth FROM public")
        made.databases[0].sql(f"GRANT USAGE ON SCHEMA pgbouncer TO {ROLE}")
        made.databases[0].sql(f"GRANT EXECUTE ON FUNCTION pgbouncer.get_auth TO {ROLE}")
        made.start_instances(entries=ENTRIES)
        for console in (50001, 50002):
            made.add_instance(console, more=_SETTINGS.format(peer=console - 50000), peers=_PEERS)
        agent = made.start_agent(nofile=4096)
        agent.until_ready()
        agent.until_writable("127.0.0.11:5432")
        yield made, agent


_FUNCTION = """CREATE FUNCTION pgbouncer.get_auth(name text) RETURNS TABLE (username text, password text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'pg_no_such_user', 'SCRAM-SHA-256$4096:c2FsdA==$a:b' $$"""


Said = dict[str, dict[str, list[str]]]


def examine(made: Pair) -> tuple[int, Said]:
    """The exit status, and the evidence by check and verdict."""
    status, said = made.beside_agent("doctor", "--json", "--config", "/etc/pgbouncer/agent.json")
    found: Said = {}
    for each in json.loads(said)["findings"]:
        evidence = f"{each['place']}: {each['evidence']}"
        found.setdefault(each["check"], {}).setdefault(each["verdict"], []).append(evidence)
    return status, found


WELL = (
    "reachability",
    "expiry",
    "get_auth",
    "leader",
    "peers",
    "cancel",
    "clients",
    "waiting",
    "nofile",
    "pools",
    "clock",
    "session features",
)
"""Checks of what is here. No instance has a port on TCP, and the kernel is the machine's."""


def test_what_is_well_is_called_well(fleet: tuple[Pair, Agent]) -> None:
    _status, found = examine(fleet[0])
    assert {check: set(found[check]) for check in WELL} == {check: {"ok"} for check in WELL}, found
    assert len(found["cancel"]["ok"]) == 2


def test_a_port_without_tls_and_a_chain_of_somebody_else_are_told(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    stranger = certificates.new_authority("somebody else", now=datetime.now(UTC))
    ours = (made.place / "etc/leaf/ca.crt").read_text()
    with _file(made.place / "etc/leaf/ca.crt", stranger.certificate_pem):
        status, found = examine(made)
    assert status == 2
    assert any("console 50001: no TLS there: Connection refused" in each for each in found["tls"]["failed"])
    assert any("agent 9127: the chain is not to be trusted" in each for each in found["tls"]["failed"])
    assert any("PostgreSQL 127.0.0.11:5432: the chain" in each for each in found["tls"]["failed"])
    assert (made.place / "etc/leaf/ca.crt").read_text() == ours


def test_a_leaf_that_ends_soon_is_told_of_before_and_after(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    now = datetime.now(UTC)
    for days_ago, verdict, word in ((80, "warning", "10 days"), (91, "failed", "has expired")):
        began = now - timedelta(days=days_ago)
        authority = certificates.new_authority("fleet", now=began)
        leaf = certificates.issue(authority, certificates.LeafRequest(ROLE, addresses=ADDRESSES, days=90), began)
        with _file(made.place / "etc/leaf/tls.crt", leaf.certificate_pem):
            _status, found = examine(made)
        assert any("leaf/tls.crt" in each and word in each for each in found["expiry"][verdict]), found["expiry"]


def test_without_peers_a_query_is_not_cancelled(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    ini = made.place / "etc/50001.ini"
    with _file(ini, ini.read_text().replace(_PEERS, "")):
        made.instances[50001].kill()
        made.start_instance(50001)
        until(lambda: made.console("SHOW PEERS") == [])
        _until_ready(fleet)
        _status, found = examine(made)
    made.instances[50001].kill()
    made.start_instance(50001)
    _until_ready(fleet)
    assert any("knows 1 of 2" in each for each in found["peers"]["failed"])
    assert any("50002 through 50001: a query was not cancelled" in each for each in found["cancel"]["failed"])


def test_careless_functions_are_told(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    sql = made.databases[0].sql
    for harm, repair, verdict, word in (
        ("RESET ALL", "SET search_path = pg_catalog, pg_temp", "failed", "no search_path"),
        ("SECURITY INVOKER", "SECURITY DEFINER", "failed", "not SECURITY DEFINER"),
        ("OWNER TO app", "OWNER TO postgres", "failed", "belongs to app"),
    ):
        sql(f"ALTER FUNCTION pgbouncer.get_auth {harm}")
        _status, found = examine(made)
        sql(f"ALTER FUNCTION pgbouncer.get_auth {repair}")
        assert any(word in each for each in found["get_auth"][verdict]), found["get_auth"]
    sql("GRANT EXECUTE ON FUNCTION pgbouncer.get_auth TO public")
    _status, found = examine(made)
    sql("REVOKE EXECUTE ON FUNCTION pgbouncer.get_auth FROM public")
    assert any("may be called by everybody" in each for each in found["get_auth"]["failed"])


def test_limits_that_are_near_are_told(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    with made.client() as client:
        client.execute("SELECT 1")
        made.console("SET max_client_conn = 2")
        made.console("SET max_prepared_statements = 0")
        made.console("SET default_pool_size = 5000")
        _status, found = examine(made)
        made.console("RELOAD")
    assert any("clients of max_client_conn 2" in each for each in found["clients"]["warning"])
    assert any("prepared statements of drivers fail" in each for each in found["session features"]["warning"])
    assert any("PostgreSQL has" in each for each in found["pools"]["failed"])


def test_a_lock_that_outlives_its_transaction_is_told(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    with made.client() as client:
        client.execute("SELECT pg_advisory_lock(7)")
        _status, found = examine(made)
        client.execute("SELECT pg_advisory_unlock_all()")
    assert any("app/app (1)" in each for each in found["session features"]["warning"]), found["session features"]


def test_a_client_who_waits_and_an_instance_that_is_dead_are_told(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    with contextlib.closing(made.client(50002)) as client:
        client.execute("SELECT 1")
        made.console("PAUSE", 50002)
        client.pgconn.send_query(b"SELECT 1")
        until(lambda: any(row["maxwait"] >= 1 for row in made.console("SHOW POOLS", 50002)))
        _status, found = examine(made)
        made.instances[50002].kill()
    assert any("1 clients of app/app wait" in each for each in found["waiting"]["warning"])
    assert any("is paused" in each for each in found["cancel"]["unknown"])
    status, found = examine(made)
    made.start_instance(50002)
    assert status == 2
    assert any(":50002: does not answer" in each for each in found["reachability"]["failed"])
    _until_ready(fleet)


def test_two_leaders_in_the_words_of_patroni_and_of_postgresql_are_told(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    first, second = made.databases
    made.patroni.leader, made.patroni.replicas = second.server, {first.server: {}}
    _status, found = examine(made)
    made.patroni.leader, made.patroni.replicas = first.server, {second.server: {}}
    said = "Patroni names 127.0.0.12:5432, and by SQL 127.0.0.11:5432 takes writes"
    assert any(said in each for each in found["leader"]["warning"]), found["leader"]


def _until_ready(fleet: tuple[Pair, Agent]) -> None:
    """Both instances."""
    _made, agent = fleet
    until(lambda: all(each["ready"] for each in agent.status()["instances"].values()))


@contextlib.contextmanager
def _file(path: Path, text: str) -> Iterator[None]:
    """Another text in a file, for a time."""
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)
