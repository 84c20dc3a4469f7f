"""Where it is seen: beside an agent, on other hosts over ssh, and at consoles. Each gives one host after the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping

from .. import beside, over_ssh
from ..agent.config import AgentConfig
from ..agent.consoles import RUNTIME, Console
from ..errors import PoolerError
from ..metrics.ask import ask
from .seen import SHOWS, Counters, Host, Instance, of_console, rated


async def beside_agent(config: AgentConfig, every: float, runtime: str = RUNTIME) -> AsyncIterator[Host]:
    """This host, for ever. Rates are there from the second time on."""
    name = socket.gethostname()
    consoles = [Console(each, config.port, runtime) for each in config.consoles]
    before: dict[str, Counters] = {}
    while True:
        began = time.monotonic()
        instances = await asyncio.gather(*(_asked(f"{name}:{each.name}", each, before) for each in consoles))
        yield await _of_host(name, config, tuple(instances))
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


async def over_ssh_from(ssh: str, host: str, every: float) -> AsyncIterator[Host]:
    """Another host, for ever: there is a `pooler top` there that tells. When that ends it is begun anew."""
    words = over_ssh.arguments(ssh, host, ("top", "--json", "--every", f"{every:g}"))
    while True:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            while line := await process.stdout.readline():
                yield _read(host, line)
            trouble = (await process.stderr.read()).decode("utf-8", "replace").strip()
            yield Host(host, error=trouble.rpartition("\n")[2] or "ended without a word")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await asyncio.sleep(every)


async def at_consoles(conninfos: Iterable[str], every: float) -> AsyncIterator[Host]:
    """An instance each, by its console on TCP; who leads is where its databases point."""
    before: dict[str, Counters] = {}
    names = {conninfo: _named(conninfo) for conninfo in conninfos}
    while True:
        began = time.monotonic()
        found = await asyncio.gather(*(_by_libpq(name, conninfo, before) for conninfo, name in names.items()))
        for each in found:
            ready = not each.error and not each.paused
            yield Host(each.name, leader=each.leader, ready=ready, instances=(each,))
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


def is_console(word: str) -> bool:
    """A connection string of libpq, and no host."""
    return "=" in word or "://" in word


async def _asked(name: str, console: Console, before: dict[str, Counters]) -> Instance:
    answers = await ask(console, beside.SECONDS, SHOWS)
    if answers.missing:
        return Instance(name, error="; ".join(answers.missing.values()))
    try:
        shows = {show: [dict(row) for row in table.named()] for show, table in answers.tables.items()}
        return _rated(name, shows, before)
    except PoolerError as error:
        return Instance(name, error=str(error))


async def _by_libpq(name: str, conninfo: str, before: dict[str, Counters]) -> Instance:
    from .. import console  # needs psycopg

    shows = {}
    try:
        for show in SHOWS:
            rows = await asyncio.to_thread(console.ask, conninfo, f"SHOW {show}")
            shows[show] = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
        return _rated(name, shows, before)
    except PoolerError as error:
        return Instance(name, error=str(error).partition("\n")[0])


def _rated(name: str, shows: Mapping[str, list[dict[str, str]]], before: dict[str, Counters]) -> Instance:
    instance, counters = of_console(name, time.monotonic(), shows)
    found = rated(instance, before[name], counters) if name in before else instance
    before[name] = counters
    return found


async def _of_host(name: str, config: AgentConfig, instances: tuple[Instance, ...]) -> Host:
    try:
        said = await beside.status(config)
    except PoolerError as error:
        return Host(name, reason=f"the agent does not answer: {error}", instances=instances)
    return Host(
        name,
        leader=str(said.get("leader") or ""),
        ready=bool(said.get("ready")),
        reason=str(said.get("reason") or ""),
        instances=instances,
    )


def _read(host: str, line: bytes) -> Host:
    try:
        return Host.from_json(line)
    except PoolerError as error:
        return Host(host, error=str(error))


def _named(conninfo: str) -> str:
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(conninfo)
    return f"{given.get('host') or given.get('hostaddr') or 'localhost'}:{given.get('port') or 5432}"
