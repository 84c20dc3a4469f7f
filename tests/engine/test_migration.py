"""What docs/migration.md says of transaction pooling, tried in SQL: whatever the driver, the engine does the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from tests.engine import trial
from tests.engine.chain import POOLER, Chain
from tests.engine.pooled import held, one, pid, pooled, refresh, untracked
from tests.engine.startup import greet


@pytest.fixture(scope="module")
def tier() -> Iterator[Chain]:
    with pooled() as made:
        yield made


@pytest.fixture(autouse=True)
def _fresh(tier: Chain) -> None:
    refresh(tier)


# State of a session: lost to the client, found by others.


def test_set_goes_to_whoever_comes_next(tier: Chain) -> None:
    with tier.enter("alice") as client:
        client.execute("SET statement_timeout = '1234ms'")
        with held(tier, client) as other:
            assert one(other, "SHOW statement_timeout") == "1234ms"
            assert one(client, "SHOW statement_timeout") == "0"


def test_set_role_goes_to_whoever_comes_next(tier: Chain) -> None:
    with tier.enter("alice") as client:
        client.execute("SET ROLE bob")
        with tier.enter("alice") as other:
            assert one(other, "SELECT current_user") == "bob"


def test_set_local_and_set_config_in_a_transaction_stay_in_it(tier: Chain) -> None:
    with tier.enter("alice", "single") as client:
        with client.transaction():
            client.execute("SET LOCAL statement_timeout = '1234ms'")
            one(client, "SELECT set_config('app.tenant', '7', true)")
            assert one(client, "SHOW statement_timeout") == "1234ms"
        assert one(client, "SHOW statement_timeout") == "0"
        assert one(client, "SELECT current_setting('app.tenant')") == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("application_name", "worker 7"),
        ("TimeZone", "Asia/Tokyo"),
        ("DateStyle", "German, DMY"),
        ("client_encoding", "LATIN1"),
        ("standard_conforming_strings", "off"),
        ("IntervalStyle", "iso_8601"),
    ],
)
def test_parameters_that_the_engine_knows_follow_the_client(tier: Chain, name: str, value: str) -> None:
    with tier.enter("alice") as client:
        client.execute(f"SET {name} = '{value}'".encode())
        with held(tier, client) as other:
            assert one(client, f"SHOW {name}") == value
            assert one(other, f"SHOW {name}") != value


def test_settings_of_the_role_and_of_the_database_entry_hold_for_everybody(tier: Chain) -> None:
    tier.owner.execute("ALTER ROLE alice SET lock_timeout = '4322ms'")
    refresh(tier)
    with tier.enter("alice", "limited") as client:
        assert one(client, "SHOW statement_timeout") == "4321ms"
        assert one(client, "SHOW lock_timeout") == "4322ms"
        client.execute("RESET ALL")
        assert one(client, "SHOW statement_timeout") == "0", "what connect_query has set is gone"
        assert one(client, "SHOW lock_timeout") == "4322ms"
    tier.owner.execute("ALTER ROLE alice RESET lock_timeout")


def test_temporary_table_stays_behind(tier: Chain) -> None:
    with tier.enter("alice") as client:
        client.execute("CREATE TEMP TABLE basket (n int)")
        with held(tier, client) as other:
            with pytest.raises(errors.UndefinedTable, match='relation "basket" does not exist'):
                client.execute("SELECT * FROM basket")
            with pytest.raises(errors.DuplicateTable, match='relation "basket" already exists'):
                other.execute("CREATE TEMP TABLE basket (n int)")


def test_temporary_table_of_one_transaction_works(tier: Chain) -> None:
    with tier.enter("alice") as client:
        for _ in range(2):
            with client.transaction():
                client.execute("CREATE TEMP TABLE basket (n int) ON COMMIT DROP")
                client.execute("INSERT INTO basket VALUES (1)")


def test_advisory_lock_of_a_session_is_held_by_nobody_and_everybody(tier: Chain) -> None:
    with tier.enter("alice") as client:
        client.execute("SELECT pg_advisory_lock(1)")
        with held(tier, client) as other:
            assert one(other, "SELECT pg_try_advisory_lock(1)") is True, "a second holder"
            assert one(client, "SELECT pg_advisory_unlock(1)") is False, "not unlocked"
            assert one(client, "SELECT pg_try_advisory_lock(1)") is False, "kept out by itself"


def test_advisory_lock_of_a_transaction_works(tier: Chain) -> None:
    with tier.enter("alice") as client, tier.enter("alice") as other:
        with client.transaction():
            client.execute("SELECT pg_advisory_xact_lock(2)")
            assert one(other, "SELECT pg_try_advisory_xact_lock(2)") is False
        assert one(other, "SELECT pg_try_advisory_xact_lock(2)") is True


def test_cursor_with_hold_is_gone_after_the_transaction(tier: Chain) -> None:
    with tier.enter("alice") as client:
        with client.transaction():
            client.execute("DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 9)")
            assert one(client, "FETCH 1 FROM held") == 1
        with held(tier, client), pytest.raises(errors.InvalidCursorName, match='cursor "held" does not exist'):
            client.execute("FETCH 1 FROM held")


def test_cursor_of_a_transaction_works(tier: Chain) -> None:
    with tier.enter("alice") as client, client.transaction(), client.cursor("named") as cursor:
        cursor.execute("SELECT generate_series(1, 9)")
        assert cursor.fetchmany(2) == [(1,), (2,)]


def test_currval_asks_another_session(tier: Chain) -> None:
    with tier.enter("alice") as client:
        client.execute("SELECT nextval('mine.numbers')")
        with held(tier, client), pytest.raises(errors.ObjectNotInPrerequisiteState, match="is not yet defined"):
            client.execute("SELECT currval('mine.numbers')")


def test_notifications_reach_a_listener_in_session_pooling_alone(tier: Chain) -> None:
    heard: dict[str, list[str]] = {"app": [], "sessions": []}
    for database, told in heard.items():
        with tier.enter("alice", database) as listener, tier.enter("alice") as sender:
            listener.execute("LISTEN news")
            sender.execute("NOTIFY news, 'first'")
            told += [notice.payload for notice in listener.notifies(timeout=2, stop_after=1)]
    assert heard == {"app": [], "sessions": ["first"]}


def test_transaction_in_two_phases_ends_on_any_connection(tier: Chain) -> None:
    """As far as PostgreSQL has max_prepared_transactions: here it refuses, and the engine stands in nobody's way."""
    with tier.enter("alice") as client, pytest.raises(errors.ObjectNotInPrerequisiteState, match="disabled"):
        client.execute("BEGIN; PREPARE TRANSACTION 'x'")


# Prepared statements


def test_prepared_statement_of_the_protocol_follows_the_client(tier: Chain) -> None:
    with tier.enter("alice", prepare_threshold=0) as client:
        assert client.execute("SELECT %s::int", [1]).fetchone() == (1,)
        with held(tier, client):
            assert client.execute("SELECT %s::int", [2]).fetchone() == (2,)


def test_without_tracking_a_prepared_statement_is_not_there(tier: Chain) -> None:
    with untracked(tier), tier.enter("alice", prepare_threshold=0) as client:
        client.execute("SELECT %s::int", [1])
        with held(tier, client), pytest.raises(errors.InvalidSqlStatementName, match="does not exist"):
            client.execute("SELECT %s::int", [2])


def test_prepare_in_sql_is_not_tracked(tier: Chain) -> None:
    with tier.enter("alice") as client:
        client.execute("PREPARE mine AS SELECT 1")
        with held(tier, client) as other:
            with pytest.raises(errors.InvalidSqlStatementName, match='prepared statement "mine" does not exist'):
                client.execute("EXECUTE mine")
            with pytest.raises(errors.DuplicatePreparedStatement, match='prepared statement "mine" already exists'):
                other.execute("PREPARE mine AS SELECT 1")


def test_discard_all_leaves_prepared_statements_of_the_protocol_usable(tier: Chain) -> None:
    with tier.enter("alice", "single", prepare_threshold=0) as client:
        for number in range(3):
            assert client.execute("SELECT %s::int", [number]).fetchone() == (number,)
            client.execute("DISCARD ALL")


def test_another_result_type_spoils_a_prepared_statement_until_reconnect(tier: Chain) -> None:
    with tier.enter("alice", "single", prepare_threshold=0) as client:
        client.execute("CREATE TABLE mine.changing (n int)")
        client.execute("SELECT * FROM mine.changing")
        tier.owner.execute("ALTER TABLE mine.changing ADD m int")
        with pytest.raises(errors.FeatureNotSupported, match="cached plan must not change result type"):
            client.execute("SELECT * FROM mine.changing")
        refresh(tier)
        with tier.enter("alice", "single", prepare_threshold=0) as later:
            assert later.execute("SELECT * FROM mine.changing").fetchall() == []
        client.execute("DROP TABLE mine.changing")


# The startup packet


def test_options_of_the_startup_packet_are_dropped_without_a_word(tier: Chain) -> None:
    with tier.enter("alice", options="-c statement_timeout=1234") as client:
        assert one(client, "SHOW statement_timeout") == "0"


def test_parameters_that_the_engine_does_not_know_are_refused(tier: Chain) -> None:
    """libpq sends PGOPTIONS and few others; asyncpg, pgx, sqlx and node-postgres send any, as this does."""
    assert greet(tier.dial(), "alice", "app", search_path="mine") == "unsupported startup parameter: search_path"
    assert greet(tier.dial(), "alice", "app", statement_timeout="5s").startswith("unsupported startup parameter")
    for name, value in (("extra_float_digits", "2"), ("TimeZone", "UTC"), ("application_name", "x")):
        assert greet(tier.dial(), "alice", "app", **{name: value}) == "sasl"


# What works as before


def test_copy_goes_through_both_ways(tier: Chain) -> None:
    with tier.enter("alice") as client, client.transaction(force_rollback=True):
        with client.cursor().copy("COPY mine.t FROM STDIN") as into:
            for number in range(2, 1000):
                into.write_row([number])
        with client.cursor().copy("COPY mine.t TO STDOUT") as out:
            assert len(list(out.rows())) == 999


def test_pipeline_goes_through(tier: Chain) -> None:
    with tier.enter("alice", prepare_threshold=0) as client, client.pipeline():
        cursors = [client.execute("SELECT %s::int", [number]) for number in range(20)]
        assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(20)]


def test_cancel_reaches_the_query(tier: Chain) -> None:
    with tier.enter("alice") as client:

        def stop() -> None:
            # It goes over a connection of its own, which this thread opens.
            with trial.network_of(tier.network):
                client.cancel()

        timer = threading.Timer(0.5, stop)
        timer.start()
        with pytest.raises(errors.QueryCanceled, match="canceling statement due to user request"):
            client.execute("SELECT pg_sleep(60)")
        timer.join()
        assert one(client, "SELECT 1") == 1


def test_two_statements_of_one_client_are_two_transactions_on_any_server(tier: Chain) -> None:
    with tier.enter("alice") as client:
        first = pid(client)
        with held(tier, client):
            assert pid(client) != first


def test_postgresql_sees_the_pooler_and_the_name_of_the_application(tier: Chain) -> None:
    with tier.enter("alice", application_name="billing") as client:
        assert one(client, "SELECT host(inet_client_addr())") == POOLER
        assert one(client, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()") == "billing"


def test_session_pooling_keeps_all_of_it_and_cleans_up(tier: Chain) -> None:
    with tier.enter("alice", "sessions") as client:
        client.execute("SET statement_timeout = '1234ms'")
        client.execute("CREATE TEMP TABLE basket (n int)")
        client.execute("SELECT pg_advisory_lock(3)")
        first = pid(client)
        assert one(client, "SHOW statement_timeout") == "1234ms"
    with tier.enter("alice", "sessions") as client:
        assert pid(client) == first
        assert one(client, "SHOW statement_timeout") == "0"
        with pytest.raises(psycopg.errors.UndefinedTable):
            client.execute("SELECT * FROM basket")
