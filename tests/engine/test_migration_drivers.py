"""What docs/migration.md says of the Python drivers, with their URLs, TLS and defaults, on the real engine."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg_pool import ConnectionPool
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.engine import trial
from tests.engine.chain import CONSOLE, PORT, Chain
from tests.engine.pooled import held, one, pooled, refresh, untracked
from tests.pages import blocks


@pytest.fixture(scope="module")
def tier() -> Iterator[Chain]:
    with pooled() as made:
        yield made


@pytest.fixture(autouse=True)
def inside(tier: Chain) -> Iterator[None]:
    """The test is in the network of the pooler, as an application is."""
    refresh(tier)
    with trial.network_of(tier.network):
        yield


def url(tier: Chain, database: str = "app", scheme: str = "postgresql", options: str = "") -> str:
    """As the page has it, for a password without special characters."""
    return f"{scheme}://alice:{tier.passwords['alice']}@127.0.0.1:{PORT}/{database}{options}"


def verified(tier: Chain) -> str:
    return f"?sslmode=verify-full&sslrootcert={tier.leaves['alice'] / 'ca.crt'}"


def active(tier: Chain, database: str) -> int:
    """Server connections of the database that a client has."""
    servers = tier.host.instances[CONSOLE].show("SERVERS")
    return sum(row["database"] == database and row["state"] == "active" for row in servers)


# What the page shows


@pytest.mark.parametrize("number", range(len(blocks("migration", "python"))))
def test_example_of_the_page_runs(tier: Chain, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(tier.leaves["alice"] / "ca.crt"))
    shown = blocks("migration", "python")[number]
    for word, ours in (
        ("app:secret@pool1", f"alice:{tier.passwords['alice']}@127.0.0.1"),
        ("sslrootcert=ca.crt", f"sslrootcert={tier.leaves['alice'] / 'ca.crt'}"),
    ):
        shown = shown.replace(word, ours)
    names: dict[str, Any] = {}
    waiting: object = eval(compile(shown, "migration.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(waiting):
        asyncio.run(waiting)
    if isinstance(engine := names.get("engine"), AsyncEngine):
        assert with_sqlalchemy(tier, engine) == 2


# psycopg 3


def connected(tier: Chain, **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(url(tier, options=verified(tier)), autocommit=True, **more)


def test_psycopg_prepares_by_itself_and_that_follows_it(tier: Chain) -> None:
    with connected(tier) as client:
        for number in range(10):
            assert client.execute("SELECT %s::int", [number]).fetchone() == (number,)
        assert client.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (1,)
        with held(tier, client):
            assert client.execute("SELECT %s::int", [10]).fetchone() == (10,)


def test_psycopg_forgets_statements_without_an_error(tier: Chain) -> None:
    with connected(tier, prepare_threshold=0) as client:
        client.prepared_max = 2
        for number in range(10):
            assert client.execute(f"SELECT %s::int + {number}".encode(), [1]).fetchone() == (1 + number,)


def test_psycopg_without_prepared_statements_needs_no_tracking(tier: Chain) -> None:
    with untracked(tier), connected(tier, prepare_threshold=None) as client:
        for number in range(10):
            assert client.execute("SELECT %s::int", [number]).fetchone() == (number,)
        with held(tier, client):
            assert client.execute("SELECT %s::int", [10]).fetchone() == (10,)


def test_psycopg_without_autocommit_keeps_its_server_until_commit(tier: Chain) -> None:
    with psycopg.connect(url(tier, options=verified(tier))) as client:
        client.execute("SELECT 1")
        assert active(tier, "app") == 1
        client.commit()
        assert active(tier, "app") == 0


def test_psycopg_goes_to_the_next_pooler_of_the_connection_string(tier: Chain) -> None:
    address = url(tier, options=verified(tier)).replace("127.0.0.1", "127.0.0.2:1,127.0.0.1")
    with psycopg.connect(address) as client:
        assert one(client, "SELECT 1") == 1


def test_pool_of_psycopg_replaces_what_a_restarted_pooler_has_ended(tier: Chain) -> None:
    with ConnectionPool(
        url(tier, options=verified(tier)),
        kwargs={"autocommit": True},
        min_size=1,
        max_size=4,
        check=ConnectionPool.check_connection,
    ) as pool:
        with pool.connection() as client:
            assert one(client, "SELECT 1") == 1
            with held(tier, client):
                assert client.execute("SELECT %s::int", [2], prepare=True).fetchone() == (2,)
        instance = tier.host.instances[CONSOLE]
        tier.host.restart(instance.unit_digest, CONSOLE)
        with pool.connection(timeout=30) as client:
            assert one(client, "SELECT 3") == 3


# asyncpg


def with_asyncpg(tier: Chain, work: Callable[[asyncpg.Connection], Awaitable[Any]], **more: Any) -> Any:
    async def run() -> Any:
        client = await asyncpg.connect(url(tier, options=verified(tier)), **more)
        try:
            return await work(client)
        finally:
            await client.close(timeout=10)

    return asyncio.run(run())


async def _on_another_server(client: asyncpg.Connection, tier: Chain) -> int:
    """A query by a prepared statement, on one server connection and then on another one."""
    assert await client.fetchval("SELECT $1::int", 1) == 1
    pid = await client.fetchval("SELECT pg_backend_pid()")
    with tier.enter("alice") as other:
        other.execute("BEGIN")
        assert one(other, "SELECT pg_backend_pid()") == pid
        return int(await client.fetchval("SELECT $1::int", 2))


def test_asyncpg_works_as_it_is(tier: Chain) -> None:
    assert with_asyncpg(tier, lambda client: _on_another_server(client, tier)) == 2


def test_asyncpg_fails_without_tracking_unless_its_cache_is_off(tier: Chain) -> None:
    with untracked(tier):
        with pytest.raises(asyncpg.InvalidSQLStatementNameError, match="does not exist"):
            with_asyncpg(tier, lambda client: _on_another_server(client, tier))
        refresh(tier)
        assert with_asyncpg(tier, lambda client: _on_another_server(client, tier), statement_cache_size=0) == 2


def test_asyncpg_is_refused_with_server_settings_that_the_engine_does_not_know(tier: Chain) -> None:
    with pytest.raises(asyncpg.ProtocolViolationError, match="unsupported startup parameter: search_path"):
        with_asyncpg(tier, _nothing, server_settings={"search_path": "mine"})
    with_asyncpg(tier, _nothing, server_settings={"application_name": "billing", "timezone": "UTC"})


def test_asyncpg_pool_resets_what_connect_query_has_set(tier: Chain) -> None:
    async def timeout_after_release(**more: Any) -> str:
        address = url(tier, "limited", options=verified(tier))
        async with asyncpg.create_pool(address, min_size=1, max_size=1, **more) as pool:
            async with pool.acquire() as client:
                assert await client.fetchval("SHOW statement_timeout") == "4321ms"
            return str(await pool.fetchval("SHOW statement_timeout"))

    assert asyncio.run(timeout_after_release()) == "0"
    refresh(tier)
    assert asyncio.run(timeout_after_release(reset=_nothing)) == "4321ms"


def test_asyncpg_timeout_cancels_the_query(tier: Chain) -> None:
    async def late(client: asyncpg.Connection) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await client.fetchval("SELECT pg_sleep(60)", timeout=0.5)
        assert await client.fetchval("SELECT 1") == 1

    with_asyncpg(tier, late)
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    assert one(tier.owner, running) == 0


def test_asyncpg_copies_and_has_cursors(tier: Chain) -> None:
    async def work(client: asyncpg.Connection) -> list[int]:
        async with client.transaction():
            await client.copy_records_to_table("t", schema_name="mine", records=[(2,), (3,)])
            found = [row["n"] async for row in client.cursor("SELECT n FROM mine.t ORDER BY n", prefetch=1)]
            await client.execute("DELETE FROM mine.t WHERE n > 1")
        return found

    assert with_asyncpg(tier, work) == [1, 2, 3]


def test_asyncpg_listener_hears_nothing_but_in_session_pooling(tier: Chain) -> None:
    async def heard(database: str) -> list[str]:
        client = await asyncpg.connect(url(tier, database, options=verified(tier)))
        told: asyncio.Queue[str] = asyncio.Queue()
        await client.add_listener("news", lambda *given: told.put_nowait(given[3]))
        tier.owner.execute("NOTIFY news, 'first'")
        with contextlib.suppress(asyncio.TimeoutError):
            return [await asyncio.wait_for(told.get(), 2)]
        await client.close(timeout=10)
        return []

    assert asyncio.run(heard("sessions")) == ["first"]
    assert asyncio.run(heard("app")) == []


# SQLAlchemy


def test_sqlalchemy_with_psycopg_works_as_it_is_and_keeps_its_server_until_commit(tier: Chain) -> None:
    address = url(tier, scheme="postgresql+psycopg", options=verified(tier))
    engine = sqlalchemy.create_engine(address, pool_pre_ping=True)
    with engine.connect() as client:
        for number in range(10):
            assert client.scalar(text("SELECT CAST(:n AS int)"), {"n": number}) == number
        assert active(tier, "app") == 1
        client.commit()
        assert active(tier, "app") == 0
        assert client.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_sqlalchemy_isolation_level_is_sent_with_each_transaction(tier: Chain) -> None:
    address = url(tier, "single", scheme="postgresql+psycopg", options=verified(tier))
    engine = sqlalchemy.create_engine(address, isolation_level="REPEATABLE READ")
    for _ in range(2):
        with engine.begin() as client:
            assert client.scalar(text("SHOW transaction_isolation")) == "repeatable read"
    engine.dispose()
    with tier.enter("alice", "single") as other:
        assert one(other, "SHOW transaction_isolation") == "read committed"


def with_sqlalchemy(tier: Chain, engine: AsyncEngine) -> int:
    async def run() -> int:
        async with engine.connect() as client:
            await client.scalar(text("SELECT CAST(:n AS int)"), {"n": 1})
            pid = await client.scalar(text("SELECT pg_backend_pid()"))
            await client.commit()
            with tier.enter("alice") as other:
                other.execute("BEGIN")
                assert one(other, "SELECT pg_backend_pid()") == pid
                found = await client.scalar(text("SELECT CAST(:n AS int)"), {"n": 2})
                await client.commit()
        await engine.dispose()
        return int(found or 0)

    return asyncio.run(run())


def test_sqlalchemy_with_asyncpg_works_as_it_is(tier: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(tier.leaves["alice"] / "ca.crt"))
    engine = create_async_engine(url(tier, scheme="postgresql+asyncpg", options="?ssl=verify-full"))
    assert with_sqlalchemy(tier, engine) == 2


def test_sqlalchemy_with_asyncpg_without_tracking_needs_names_of_its_own(
    tier: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(tier.leaves["alice"] / "ca.crt"))
    address = url(tier, scheme="postgresql+asyncpg", options="?ssl=verify-full")
    with untracked(tier):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match=r"prepared statement .* does not exist"):
            with_sqlalchemy(tier, create_async_engine(address))
        refresh(tier)
        engine = create_async_engine(
            address,
            poolclass=sqlalchemy.pool.NullPool,
            connect_args={
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: f"s{uuid.uuid4()}",
            },
        )
        assert with_sqlalchemy(tier, engine) == 2


def test_sqlalchemy_sets_a_parameter_in_each_transaction(tier: Chain) -> None:
    engine = sqlalchemy.create_engine(url(tier, "single", scheme="postgresql+psycopg", options=verified(tier)))

    @event.listens_for(engine, "begin")
    def _limit(client: sqlalchemy.Connection) -> None:
        client.exec_driver_sql("SET LOCAL statement_timeout = '4323ms'")

    for _ in range(2):
        with engine.begin() as client:
            assert client.scalar(text("SHOW statement_timeout")) == "4323ms"
    engine.dispose()
    with tier.enter("alice", "single") as other:
        assert one(other, "SHOW statement_timeout") == "0"


async def _nothing(_client: asyncpg.Connection) -> None:
    """What resets nothing."""
