"""`pooler top` beside a real agent and at a real console: what clients do is what it shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator

import pytest

from pooler import console
from pooler.top import sources
from pooler.top.seen import Host
from tests.engine.pair import PORT, UID, Agent, Pair, pair


@pytest.fixture(scope="module")
def fleet() -> Iterator[tuple[Pair, Agent]]:
    with pair() as made:
        made.start_databases()
        made.start_instances(50001, 50002)
        agent = made.start_agent()
        agent.until_ready()
        yield made, agent


def test_what_clients_do_is_shown_beside_the_agent_and_at_the_console(fleet: tuple[Pair, Agent]) -> None:
    made, _agent = fleet
    with contextlib.closing(made.client()) as busy, contextlib.closing(made.client()) as waiting:
        waiting.execute("SELECT 1")
        source = _at_console(made)
        first, second = asyncio.run(_looks(source, lambda: [busy.execute("SELECT 1") for _number in range(20)]))
        assert (first.instances[0].tps, first.error) == (0, "")
        assert second.instances[0].tps > 0
        assert second.instances[0].transaction_ms > 0
        assert (second.leader, second.instances[0].clients) == ("127.0.0.11:5432", 2)
        made.console("PAUSE")
        waiting.pgconn.send_query(b"SELECT 2")
        status, said = made.beside_agent(
            "top", "--once", "--json", "--every", "1", "--config", "/etc/pgbouncer/agent.json"
        )
        made.console("RESUME")
    paused, other = json.loads(said)["instances"]
    assert status == 1
    assert (paused["paused"], paused["clients"], paused["waiting"]) == (True, 2, 1)
    assert paused["longest"] > 0
    assert (other["paused"], other["clients"]) == (False, 0)


def _at_console(made: Pair) -> str:
    return f"host={made.place}/run/pgbouncer/50001 port={PORT} user=pgbouncer"


async def _looks(conninfo: str, between: Callable[[], object]) -> list[Host]:
    """Two, with something done between them; as the engine's user, whom its console lets in."""
    source = sources.at_consoles([conninfo], 0.01)
    found = []
    # That user may not read the Python that runs here: what is needed is imported before.
    await asyncio.to_thread(console.table, console.Rows((), ()))
    for turn in range(2):
        if turn:
            between()
        os.seteuid(UID)
        try:
            found.append(await anext(source))
        finally:
            os.seteuid(0)
    return found
