"""Runs in the lab's network: rows written and read through the pool, by TLS verify-full and SCRAM."""

from __future__ import annotations

import asyncio
import ssl
import subprocess

import asyncpg

from . import __main__ as demo

CONNECTIONS = 40
INSTANCES = (50001, 50002)


async def prove() -> None:
    tls = ssl.create_default_context(cafile=str(demo.AUTHORITY / "ca.crt"))
    connections = await asyncio.gather(*(_connect(tls) for _ in range(CONNECTIONS)))
    try:
        first = connections[0]
        await first.execute("CREATE TABLE IF NOT EXISTS visit (id bigint GENERATED ALWAYS AS IDENTITY, who int)")
        before = await first.fetchval("SELECT count(*) FROM visit")
        await asyncio.gather(
            *(each.execute("INSERT INTO visit (who) VALUES ($1)", number) for number, each in enumerate(connections))
        )
        after = await first.fetchval("SELECT count(*) FROM visit")
        backends = await first.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = current_user")
        print(
            f"\n{after - before} rows written and read back by {CONNECTIONS} clients on {backends} server connections"
        )
        for instance in INSTANCES:
            print(f"  instance {instance} serves {_clients(instance)} of them")
        if after - before != CONNECTIONS:
            raise SystemExit("rows are missing")
    finally:
        await asyncio.gather(*(each.close() for each in connections))


async def _connect(tls: ssl.SSLContext) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=demo.POOLER, port=6432, user="app", password=demo.password(), database="app", ssl=tls, timeout=20
    )


def _clients(instance: int) -> int:
    """How many clients of the database an instance has, by its own console."""
    ask = ["psql", "-XAtq", "-h", f"/run/pgbouncer/{instance}", "-p", "6432", "-U", "pgbouncer", "-d", "pgbouncer"]
    inside = ["sudo", "podman", "exec", f"pgbouncer-{instance}", *ask, "-c", "'SHOW CLIENTS'"]
    command = ["ssh", "-F", str(demo.PATHS.ssh_config), demo.POOLER, *inside]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sum(line.split("|")[2] == "app" for line in done.stdout.splitlines())


if __name__ == "__main__":
    asyncio.run(prove())
