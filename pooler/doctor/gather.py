"""Gathers what is known beside an agent: its configuration, consoles, ports, the cluster, the host's kernel."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
import ssl
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import beside, patroni
from ..agent.config import AgentConfig
from ..agent.consoles import ALL, RUNTIME, Console
from ..agent.rest import Api, view
from ..errors import PoolerError
from ..metrics.ask import QUESTIONS, Answers, ask
from ..metrics.scrape import certificates, package
from ..patroni import Cluster
from ..server import Server
from . import cancels, doors, servers
from .doors import Port
from .facts import Door, Facts, GetAuth, Instance, Postgres, Rows

SHOWS = (*QUESTIONS, "STATE", "PEERS")

SYSCTLS = (
    "net.ipv4.tcp_migrate_req",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "fs.nr_open",
)

PARAMETERS = {
    "extra_float_digits": "2",
    "options": "-c search_path=public",
    "search_path": "public",
    "statement_timeout": "1000",
}
"""What drivers send at the start of a connection: JDBC the first, libpq's PGOPTIONS the second, others the last two."""

_OWN = "pgbouncer"
"""Entries of [databases] with this beginning are ours; clients use the others."""

_SECONDS = 3.0


async def gather(config: AgentConfig, runtime: str = RUNTIME) -> Facts:
    """Takes some seconds at most, whatever is broken. Raises nothing that a host may cause."""
    host, addresses = socket.gethostname(), _addresses()
    consoles = [Console(name, config.port, runtime) for name in config.consoles]
    tls = _towards_servers(config)
    (status, status_error), views, answers = await asyncio.gather(
        _status(config),
        _views(config.patroni, tls),
        asyncio.gather(*(ask(console, _SECONDS, SHOWS) for console in consoles)),
    )
    files, unreadable = certificates((config.server_leaf, config.client_leaf))
    instances = {name: _instance(answer) for name, answer in zip(config.consoles, answers, strict=True)}
    known = _servers(views, instances, config)
    asked, found, shown = await asyncio.gather(
        asyncio.gather(*(_asked(console, instance) for console, instance in instances.items())),
        asyncio.gather(*(_server(server, config, tls) for server in known)),
        asyncio.gather(*_doors(config, host, addresses, known)),
    )
    facts = Facts(
        host=host,
        now=time.time(),
        config=config,
        addresses=addresses,
        doors=tuple(shown),
        instances={name: replace(instances[name], asked=said) for name, said in zip(instances, asked, strict=True)},
        status=status,
        status_error=status_error,
        patroni=views,
        servers=dict(zip(known, found, strict=True)),
        sysctls={name: _sysctl(name) for name in SYSCTLS},
        files=files,
        unreadable=unreadable,
        package=package(),
    )
    facts = replace(facts, get_auth=await _get_auth(facts, tls))
    if why := _no_cancels(facts):
        return replace(facts, no_cancels=why)
    return replace(facts, cancels=await cancels.ring(consoles, config.role))


async def _status(config: AgentConfig) -> tuple[dict[str, Any] | None, str]:
    """The agent's own word, or why there is none."""
    try:
        return await beside.status(config), ""
    except PoolerError as error:
        return None, str(error)


async def _views(urls: Sequence[str], tls: ssl.SSLContext | str) -> dict[str, Cluster | str]:
    if isinstance(tls, str):
        return dict.fromkeys(urls, tls)
    seen = await asyncio.gather(*(view(Api(url, tls)) for url in urls))
    return {url: each.cluster or each.error for url, each in zip(urls, seen, strict=True)}


def _towards_servers(config: AgentConfig) -> ssl.SSLContext | str:
    """As the agent and the engine come to them; a text says why that cannot be."""
    leaf = config.client_leaf
    try:
        return patroni.context(f"{leaf}/ca.crt", f"{leaf}/tls.crt", f"{leaf}/tls.key")
    except OSError as error:
        return f"{leaf}: {error.strerror or error}"


def _instance(answers: Answers) -> Instance:
    shows: dict[str, Rows] = {}
    missing = dict(answers.missing)
    for show, table in answers.tables.items():
        try:
            shows[show] = tuple(table.named())
        except PoolerError as error:
            missing[show] = str(error)
    return Instance(shows, missing)


def _servers(
    views: Mapping[str, Cluster | str], instances: Mapping[int, Instance], config: AgentConfig
) -> tuple[Server, ...]:
    """Members of the cluster, and where the databases point that follow a leader."""
    found: dict[Server, None] = {}
    for seen in views.values():
        if isinstance(seen, Cluster):
            found |= dict.fromkeys(member.server for member in seen.members if member.host)
    followed = {name for name, target in config.targets.items() if target == "leader"}
    for instance in instances.values():
        for row in instance.shows.get("DATABASES", ()):
            if (row["name"] in followed or not config.targets) and row["host"] and not row["host"].startswith("/"):
                found |= dict.fromkeys(Server(host, int(row["port"])) for host in row["host"].split(","))
    return tuple(found)


async def _server(server: Server, config: AgentConfig, tls: ssl.SSLContext | str) -> Postgres:
    return Postgres(error=tls) if isinstance(tls, str) else await servers.ask(server, config, tls)


async def _get_auth(facts: Facts, tls: ssl.SSLContext | str) -> GetAuth | None:
    """By the first instance that says how it asks, at the server that takes writes."""
    for instance in facts.instances.values():
        settings = {row["key"]: row["value"] for row in instance.shows.get("CONFIG", ())}
        if not settings.get("auth_query") or not settings.get("auth_user"):
            continue
        server = next((server for server, each in facts.servers.items() if each.writable), None)
        if server is None or isinstance(tls, str):
            return GetAuth(settings["auth_user"], error="no server takes writes that could be asked")
        databases = {row["name"]: row["database"] for row in instance.shows.get("DATABASES", ())}
        dbname = databases.get(settings.get("auth_dbname", ""), facts.config.dbname)
        return await servers.get_auth(server, facts.config, tls, settings, dbname)
    return None


async def _asked(console: int, instance: Instance) -> dict[str, str]:
    """At the port of one instance alone, in a database that clients use."""
    database = next(
        (row["name"] for row in instance.shows.get("DATABASES", ()) if not row["name"].startswith(_OWN)), None
    )
    if database is None:
        return {}
    user = f"stranger_{secrets.token_hex(4)}"
    said = {}
    for parameter in ("", *PARAMETERS):
        more = (parameter, PARAMETERS[parameter]) if parameter else None
        try:
            said[parameter] = await doors.asked("127.0.0.1", console, user, database, more)
        except PoolerError as error:
            said[parameter] = str(error)
            break
    return said


def _doors(
    config: AgentConfig, host: str, addresses: Sequence[str], known: Sequence[Server]
) -> list[Coroutine[Any, Any, Door]]:
    ours, authority, leaf = (host, *addresses), f"{config.server_leaf}/ca.crt", config.client_leaf
    shown = (f"{leaf}/tls.crt", f"{leaf}/tls.key")
    own = [Port(f"clients {config.port}", addresses[0] if addresses else host, config.port, ours, postgresql=True)]
    own += [Port(f"console {each}", "127.0.0.1", each, ours, postgresql=True) for each in config.consoles]
    if config.tls:
        at = "127.0.0.1" if "*" in config.listen else config.listen[0]
        own.append(Port(f"agent {config.health_port}", at, config.health_port, ours, postgresql=False))
    theirs = [Port(f"PostgreSQL {each}", each.host, each.port, (each.host,), postgresql=True) for each in known]
    for url in config.patroni:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            theirs.append(
                Port(f"Patroni {url}", parts.hostname, parts.port or 443, (parts.hostname,), postgresql=False)
            )
    return [
        *(doors.look(port, authority) for port in own),
        *(doors.look(port, f"{leaf}/ca.crt", shown) for port in theirs),
    ]


def _no_cancels(facts: Facts) -> str:
    """Why no query can be tried: it would wait, or there is nobody who would pass it on."""
    if facts.status is None or not facts.status.get("ready"):
        return "the host is not ready" if facts.status else "the agent does not answer"
    for console, instance in facts.instances.items():
        if "CONSOLE" in instance.missing:
            return f"{facts.named(console)} does not answer"
        if instance.state("paused") or ALL in facts.status.get("paused_by_operators", ()):
            return f"{facts.named(console)} is paused"
    return ""


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    except OSError:
        return None


def _addresses() -> tuple[str, ...]:
    """Of this host, the loopback's and link-local ones left out."""
    found: list[str] = []
    for path, pattern in (
        ("/proc/net/fib_trie", r"\|-- (\d[\d.]+)\n\s+/32 host LOCAL"),
        ("/proc/net/if_inet6", r"(?m)^([0-9a-f]{32}) "),
    ):
        try:
            text = Path(path).read_text(encoding="ascii")
        except OSError:
            continue
        for word in re.findall(pattern, text):
            address = ipaddress.ip_address(word if "." in word else bytes.fromhex(word))
            if not address.is_loopback and not address.is_link_local:
                found.append(str(address))
    return tuple(dict.fromkeys(found))
