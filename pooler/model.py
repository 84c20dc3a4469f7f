"""The desired state of one pooler host. What follows may rely on it being sound: `variables` sees to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .agent.config import Target
from .hba import Rule
from .server import Server

Version = tuple[int, ...]
Dispatch = Literal["socket", "engine"]

DIVIDED = (
    "max_client_conn",
    "max_db_connections",
    "max_db_client_connections",
    "max_user_connections",
    "max_user_client_connections",
)
"""Limits that mean the whole host: each instance gets its share, rounded up; 0 stays unlimited."""

AUTH_DATABASE = "pgbouncer_auth"
"""The entry of [databases] through which auth_query runs; clients are kept out of it by the first HBA rule."""

AUTH_POOL = 2
"""Server connections of an instance through that entry."""

AGENT_POOL = 1
"""Those through which the agent asks an instance whether it serves."""

DEFAULT_RULES = (
    Rule("hostssl", ("all",), ("all",), "all", "scram-sha-256"),
    Rule("local", ("all",), ("all",), None, "scram-sha-256"),
)


@dataclass(frozen=True)
class Database:
    """An entry of [databases]. `settings` are the engine's texts; with a `host` among them there is no target."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    target: Target | None = "leader"


@dataclass(frozen=True)
class User:
    """A user with settings of their own, or a line in the userlist, or a seat at the console.

    `certificate`: the seat is taken with a client certificate of this name, and there is no password.
    """

    name: str
    password: str | None = field(default=None, repr=False)
    verifier: str | None = field(default=None, repr=False)
    certificate: bool = False
    console: Literal["admin", "stats"] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def listed(self) -> bool:
        return self.password is not None or self.verifier is not None or self.certificate


@dataclass(frozen=True)
class AuthQuery:
    """How the engine asks PostgreSQL for the verifiers of users that are not in the userlist.

    Without a `password` the role logs in with a certificate.
    """

    role: str
    query: str
    dbname: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Agent:
    """The daemon beside the instances. It logs in to PostgreSQL as `role`; `replica_max_lag` is in bytes.

    Without a `password` the role logs in with a certificate.
    """

    role: str = "pgbouncer"
    dbname: str = "postgres"
    password: str | None = field(default=None, repr=False)
    listen: tuple[str, ...] = ("*",)
    port: int = 9127
    tls: bool = True
    metrics_certificate: bool = True
    pause_on_loss: bool = True
    replica_max_lag: int = 16 * 1024 * 1024
    replica_fallback: bool = True
    patroni_user: str | None = None
    patroni_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Capacity:
    """What PostgreSQL has for all pooler hosts together, when `users` log in to each database.

    `reserved` are for superusers, and for whatever connects beside the poolers. Nobody has told `max_connections`
    where it is None.
    """

    max_connections: int | None
    reserved: int = 10
    hosts: int = 1
    users: int = 1


@dataclass(frozen=True)
class Pooler:
    """Everything one pooler host is to be. Limits in `settings` are those of the host, not of one instance."""

    image: str
    port: int = 6432
    listen: tuple[str, ...] = ("*",)
    instances: int = 2
    console_port: int = 50001
    dispatch: Dispatch = "socket"
    uid: int = 6432
    engine_version: Version = (1, 24, 1)
    databases: tuple[Database, ...] = ()
    users: tuple[User, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    auth_query: AuthQuery | None = None
    server: Server | None = None
    patroni: tuple[str, ...] = ()
    agent: Agent | None = None
    capacity: Capacity | None = None
    tls_directory: str = "/etc/pgbouncer/tls"
    nofile: int | None = None
    drain_notice: int = 0
    drain_timeout: int = 30
    transaction_timeout: int = 30
    allow_disruption: bool = False

    @property
    def certified_role(self) -> str:
        """Whom the client certificate is for: our own role that logs in to PostgreSQL with it."""
        ours = [each.role for each in (self.auth_query, self.agent) if each is not None and each.password is None]
        return next(iter(ours), Agent.role)

    @property
    def passwords(self) -> dict[str, str]:
        """Of our own roles that log in to PostgreSQL with one, by name."""
        roles = [(each.role, each.password) for each in (self.auth_query, self.agent) if each is not None]
        return {role: password for role, password in roles if password is not None}

    @property
    def consoles(self) -> tuple[int, ...]:
        """The console ports, which are also the instances' names."""
        return tuple(range(self.console_port, self.console_port + self.instances))

    def share(self, limit: int) -> int:
        """One instance's part of a limit of the host; 0 means unlimited and stays so."""
        return -(-limit // self.instances)
