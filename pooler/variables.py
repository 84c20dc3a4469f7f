"""Inventory variables become the desired state, or every problem with them is told at once."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import auth_query, capacity, ini, scram, settings, userlist
from .agent.config import DATABASE as AGENT_DATABASE
from .agent.config import REPLICA_DATABASE as AGENT_REPLICA
from .agent.config import Target
from .errors import InvalidError, Problem, nearest
from .hba import Rule
from .hba import parse as parse_hba
from .model import AUTH_DATABASE, Agent, AuthQuery, Capacity, Database, Dispatch, Pooler, User, Version
from .server import Server

NAME_BYTES = 63
"""PostgreSQL's NAMEDATALEN - 1: the longest role or database name it keeps whole."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

PASSWORD_BYTES = 2047
"""The longest secret the engine reads from a userlist (PgBouncer 1.24.1, 1.25.2)."""

STATS_BY_PASSWORD: Version = (1, 26, 1)
"""Before this engine, who knows the password of one user of the userlist can log in as any other (CVE-2026-107350)."""

OWNED = {
    "auth_dbname": "auth_query",
    "auth_file": "users",
    "auth_hba_file": "hba",
    "auth_query": "auth_query",
    "auth_type": "hba",
    "auth_user": "auth_query",
    "client_tls_ca_file": "tls_directory",
    "client_tls_cert_file": "tls_directory",
    "client_tls_key_file": "tls_directory",
    "conffile": "state",
    "disable_pqexec": "nothing: the console would refuse every command",
    "job_name": "instances",
    "listen_addr": "listen",
    "listen_port": "port",
    "logfile": "the journal",
    "peer_id": "instances",
    "pidfile": "systemd",
    "server_tls_ca_file": "tls_directory",
    "server_tls_cert_file": "tls_directory",
    "server_tls_key_file": "tls_directory",
    "so_reuseport": "instances",
    "unix_socket_dir": "instances",
    "unix_socket_group": "uid",
    "unix_socket_mode": "uid",
    "user": "uid",
    "admin_users": "users[].console",
    "stats_users": "users[].console",
}
"""Settings that follow from other options, and those options."""


def read(variables: Mapping[str, Any]) -> Pooler:
    """The options of the `pgbouncer` module. Raises InvalidError with every problem."""
    return _Reader(variables).pooler()


def users(entries: Sequence[Mapping[str, Any]]) -> tuple[User, ...]:
    """The option `users` alone. Raises InvalidError."""
    reader = _Reader({"users": entries})
    found = reader.users(settings.NEWEST)
    if reader.problems:
        raise InvalidError(reader.problems)
    return found


def listed_users(entries: Sequence[Mapping[str, Any]]) -> tuple[User, ...]:
    """The users of a userlist alone: each with a name and a password or verifier. Raises InvalidError."""
    reader = _Reader({"users": entries})
    users = reader.users(settings.NEWEST)
    reader.problems += [
        Problem(f"users[{i}]", "has neither a password nor a verifier") for i, u in enumerate(users) if not u.listed
    ]
    if reader.problems:
        raise InvalidError(reader.problems)
    return users


class _Reader:
    """Reads variables and gathers problems, so that a person sees all of them at once."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.problems: list[Problem] = []

    def pooler(self) -> Pooler:
        variables = self.variables
        version = self.version(str(variables.get("engine_version") or "1.24.1"))
        instances = self.integer("instances", 2, 1, 64)
        console_port = self.integer("console_port", 50001, 1024, 65535)
        port = self.integer("port", 6432, 1, 65535)
        consoles = range(console_port, console_port + instances)
        if consoles[-1] > 65535:
            self.problem("console_port", f"{console_port} with {instances} instances goes beyond port 65535")
        if port in consoles:
            self.problem("port", f"{port} is also the console port of an instance", "choose another console_port")
        auth, server = self.auth_query(), self.server()
        pooler = Pooler(
            image=self.image(),
            port=port,
            listen=tuple(str(address) for address in variables.get("listen") or ["*"]),
            instances=instances,
            console_port=console_port,
            dispatch=self.dispatch(),
            uid=self.integer("uid", 6432, 1, 2**31 - 2),
            engine_version=version,
            databases=self.databases(version),
            users=self.users(version),
            settings=self.settings("settings", "pgbouncer", variables.get("settings") or {}, version),
            rules=self.rules(),
            auth_query=auth,
            server=server,
            patroni=tuple(str(url) for url in variables.get("patroni") or ()),
            agent=self.agent(auth, server),
            capacity=self.capacity(),
            tls_directory=str(variables.get("tls_directory") or "/etc/pgbouncer/tls"),
            nofile=self.integer("nofile", 0, 0, 2**31 - 1) or None,
            drain_notice=self.integer("drain_notice", 0, 0, 86400),
            drain_timeout=self.integer("drain_timeout", 30, 0, 86400),
            transaction_timeout=self.integer("transaction_timeout", 30, 0, 86400),
            allow_disruption=bool(variables.get("allow_disruption")),
        )
        if not pooler.tls_directory.startswith("/etc/pgbouncer/"):
            self.problem("tls_directory", f"{pooler.tls_directory!r} is not below /etc/pgbouncer/, which instances see")
        elif pooler.tls_directory != (plain := posixpath.normpath(pooler.tls_directory)):
            self.problem("tls_directory", f"{pooler.tls_directory!r} has other names", f"write {plain}")
        if not self.problems and pooler.capacity:
            self.problems += capacity.overflow(pooler, pooler.capacity)
        self.leader_can_be_found(pooler)
        self.can_be_written(pooler)
        if self.problems:
            raise InvalidError(self.problems)
        return pooler

    def problem(self, place: str, what: str, remedy: str = "") -> None:
        self.problems.append(Problem(place, what, remedy))

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        return self.whole(name, self.variables.get(name), default, low, high)

    def whole(self, place: str, value: object, default: int, low: int, high: int) -> int:
        if value is None:
            return default
        if isinstance(value, bool) or not str(value).isdecimal() or not low <= int(str(value)) <= high:
            self.problem(place, f"{value!r} is not a whole number from {low} to {high}")
            return default
        return int(str(value))

    def version(self, text: str) -> Version:
        parts = text.split(".")
        if not all(part.isdecimal() for part in parts):
            self.problem("engine_version", f"{text!r} is not a version such as 1.24.1")
            return (1, 24, 1)
        return tuple(int(part) for part in parts)

    def image(self) -> str:
        image = str(self.variables.get("image") or "")
        if not image or any(character.isspace() for character in image):
            self.problem("image", f"{image!r} is not the name of an image", "such as localhost/pgfleet/pooler:0.1.0")
        return image

    def dispatch(self) -> Dispatch:
        value = self.variables.get("dispatch") or "socket"
        if value == "socket":
            return "socket"
        if value != "engine":
            self.problem("dispatch", f"{value!r} is not allowed", "socket or engine")
        return "engine"

    def databases(self, version: Version) -> tuple[Database, ...]:
        databases: list[Database] = []
        names: set[str] = set()
        for place, entry in self.entries("databases"):
            name = self.name(f"{place}.name", entry.get("name"), allow_star=True)
            if name in names:
                self.problem(f"{place}.name", f"{name!r} is there twice", "the engine would keep the last one only")
            names.add(name)
            if name in ("pgbouncer", AUTH_DATABASE, AGENT_DATABASE, AGENT_REPLICA):
                self.problem(f"{place}.name", f"{name!r} is reserved", "choose another name; dbname may stay")
            own = ("name", "target")
            given = {key: value for key, value in entry.items() if key not in own and value is not None}
            texts = self.settings(place, "databases", given, version, own)
            databases.append(Database(name, texts, self.target(place, entry.get("target"), texts)))
        return tuple(databases)

    def target(self, place: str, value: object, texts: Mapping[str, str]) -> Target | None:
        if "host" in texts:
            if value is not None:
                self.problem(f"{place}.target", f"{value!r} is given together with host", "give one of them")
            return None
        if value is None or value == "leader":
            return "leader"
        if value != "replica":
            self.problem(f"{place}.target", f"{value!r} is not allowed", "leader or replica")
        return "replica"

    def users(self, version: Version) -> tuple[User, ...]:
        users: list[User] = []
        names: set[str] = set()
        own = ("name", "password", "verifier", "certificate", "console")
        for place, entry in self.entries("users"):
            name = self.name(f"{place}.name", entry.get("name"))
            if name in names:
                self.problem(f"{place}.name", f"{name!r} is there twice")
            names.add(name)
            given = {key: value for key, value in entry.items() if key not in own and value is not None}
            console = entry.get("console")
            if console not in (None, "admin", "stats"):
                self.problem(f"{place}.console", f"{console!r} is not allowed", "admin or stats")
                console = None
            password, verifier = self.secret(place, entry)
            certificate = bool(entry.get("certificate"))
            texts = self.settings(place, "users", given, version, own)
            users.append(User(name, password, verifier, certificate, console, texts))
            self.seat(place, users[-1], version)
        return tuple(users)

    def seat(self, place: str, user: User, version: Version) -> None:
        """How one may come to the console."""
        by_password = user.password is not None or user.verifier is not None
        if user.certificate and by_password:
            self.problem(place, "has both a certificate and a password or verifier", "give one of them")
        if user.certificate and user.console is None:
            self.problem(place, "has a certificate, and no seat at the console", "console: admin or stats")
        if user.console == "stats" and by_password and version < STATS_BY_PASSWORD:
            self.problem(
                f"{place}.console",
                "is stats, by a password: with any password of the userlist one can log in as each of its users "
                f"before PgBouncer {settings.spelled(STATS_BY_PASSWORD)} (CVE-2026-107350), and those of statistics "
                "get around most",
                "certificate: true, or let it ask through the unix socket; or tell the engine_version that runs",
            )

    def secret(self, place: str, entry: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Password and verifier of a user; what is wrong with them is said without showing them."""
        password, verifier = entry.get("password"), entry.get("verifier")
        if password is not None and verifier is not None:
            self.problem(place, "has both a password and a verifier", "give one of them")
        if password is not None:
            password = self.password(f"{place}.password", password)
        if verifier is not None:
            verifier = str(verifier)
            if not scram.is_verifier(verifier):
                self.problem(f"{place}.verifier", "is not a SCRAM-SHA-256 verifier", "`pooler scram` makes one")
        return password, verifier

    def password(self, place: str, value: object) -> str:
        password = str(value)
        if not password or "\0" in password or "\n" in password or "\r" in password:
            self.problem(place, "is empty or has a NUL or a line end")
        elif len(password.encode()) > PASSWORD_BYTES:
            self.problem(place, f"is longer than {PASSWORD_BYTES} bytes")
        return password

    def own_password(self, place: str, value: object) -> str | None:
        """Of a role of ours, in plaintext: the engine cannot log in to PostgreSQL with a verifier alone."""
        if value is None:
            return None
        password = self.password(place, value)
        if scram.is_verifier(password):
            self.problem(place, "is a verifier, with which nobody can log in", "give the password itself")
        return password

    def entries(self, name: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
        listed = self.variables.get(name) or []
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            self.problem(name, "is not a list")
            return
        for index, entry in enumerate(listed):
            place = f"{name}[{index}]"
            if not isinstance(entry, Mapping):
                self.problem(place, "is not a dictionary", "at least `name`")
                continue
            yield place, entry

    def name(self, place: str, value: object, allow_star: bool = False) -> str:
        if value is None or value == "":
            self.problem(place, "is missing")
            return ""
        name = str(value)
        if len(name.encode()) > NAME_BYTES:
            self.problem(place, f"{name!r} has {len(name.encode())} bytes", f"at most {NAME_BYTES}")
        if _CONTROL.search(name):
            self.problem(place, f"{name!r} has a control character")
        if "'" in name and place.startswith("databases"):
            self.problem(
                place, f"{name!r} has a single quote", "the engine knows no way to write it as a database name"
            )
        if name == "*" and not allow_star:
            self.problem(place, "'*' is not a user")
        return name

    def settings(
        self, place: str, section: str, given: Mapping[str, Any], version: Version, own: tuple[str, ...] = ("name",)
    ) -> dict[str, str]:
        known = settings.known(section)
        texts: dict[str, str] = {}
        for name, value in given.items():
            where = f"{place}.{name}"
            if name not in known:
                self.problem(where, "is not a setting of PgBouncer", nearest(name, (*known, *own)))
            elif section == "pgbouncer" and name in OWNED:
                self.problem(where, "follows from another option", f"see {OWNED[name]}")
            else:
                texts[name], problems = settings.check(section, name, value, place=where, version=version)
                self.problems.extend(problems)
        return texts

    def rules(self) -> tuple[Rule, ...]:
        lines = self.variables.get("hba") or []
        if isinstance(lines, str):
            lines = lines.splitlines()
        try:
            return parse_hba("".join(f"{line}\n" for line in lines), name="hba")
        except InvalidError as error:
            self.problems.extend(error.problems)
            return ()

    def auth_query(self) -> AuthQuery | None:
        if self.variables.get("userlist_only"):
            return None
        given = self.variables.get("auth_query") or {}
        try:
            wanted = auth_query.AuthQuery(
                role=str(given.get("role") or "pgbouncer"),
                schema=str(given.get("schema") or "pgbouncer"),
                function=str(given.get("function") or "get_auth"),
            )
        except InvalidError as error:
            self.problems.extend(Problem(f"auth_query.{p.place}", p.what, p.remedy) for p in error.problems)
            return None
        query = str(given.get("query") or auth_query.query(wanted))
        password = self.own_password("auth_query.password", given.get("password"))
        return AuthQuery(wanted.role, query, str(given.get("dbname") or "postgres"), password)

    def agent(self, auth: AuthQuery | None, server: Server | None) -> Agent | None:
        """There is one unless it is switched off; without a server to ask about there is nothing for it to do."""
        given = self.variables.get("agent") or {}
        enabled = given.get("enabled")
        if enabled is False or (enabled is None and not (server or self.variables.get("patroni"))):
            return None
        password = given.get("patroni_password")
        if (given.get("patroni_user") is None) != (password is None):
            self.problem("agent", "has one of patroni_user and patroni_password", "give both or none")
        listen = tuple(str(address) for address in given.get("listen") or ["*"])
        asks_for_certificate = given.get("metrics_certificate")
        if asks_for_certificate is None:
            asks_for_certificate = not all(address in _LOOPBACK for address in listen)
        role = self.name("agent.role", given.get("role") or (auth.role if auth else "pgbouncer"))
        own = self.own_password("agent.password", given.get("password"))
        if auth and role == auth.role:
            if own not in (None, auth.password):
                self.problem("agent.password", f"is another than that of auth_query, and the role {role!r} is the same")
            own = auth.password
        return Agent(
            role=role,
            password=own,
            dbname=str(given.get("dbname") or (auth.dbname if auth else "postgres")),
            listen=listen,
            port=self.whole("agent.port", given.get("port"), 9127, 1, 65535),
            tls=given.get("tls") is not False,
            metrics_certificate=bool(asks_for_certificate),
            pause_on_loss=given.get("pause_on_loss") is not False,
            replica_max_lag=self.whole("agent.replica_max_lag", given.get("replica_max_lag"), 2**24, 0, 2**62),
            replica_fallback=given.get("replica_fallback") is not False,
            patroni_user=None if password is None else str(given.get("patroni_user")),
            patroni_password=None if password is None else str(password),
        )

    def server(self) -> Server | None:
        host, port = self.variables.get("server"), self.integer("server_port", 5432, 1, 65535)
        if host is None:
            return None
        if not host or any(character.isspace() or character in ",='" for character in str(host)):
            self.problem("server", f"{host!r} is not one host name or address")
        return Server(str(host), port)

    def capacity(self) -> Capacity | None:
        """What the pools of all hosts have to fit into. Patroni can be asked for max_connections."""
        given = self.variables.get("capacity") or {}
        if not given:
            return None
        told = given.get("max_connections")
        if told is None and not self.variables.get("patroni"):
            self.problem("capacity.max_connections", "is missing", "give it, or Patroni's addresses")
        return Capacity(
            max_connections=None if told is None else self.whole("capacity.max_connections", told, 1, 1, 2**31 - 1),
            reserved=self.whole("capacity.reserved", given.get("reserved"), 10, 0, 2**31 - 1),
            hosts=self.whole("capacity.hosts", given.get("hosts"), 1, 1, 1000),
            users=self.whole("capacity.users", given.get("users"), 1, 1, 100_000),
        )

    def leader_can_be_found(self, pooler: Pooler) -> None:
        """Databases without a host need somebody who knows where the leader is."""
        if pooler.server and pooler.patroni:
            self.problem("server", "is given together with patroni", "give one of them")
        replicas = [database.name for database in pooler.databases if database.target == "replica"]
        if replicas and not (pooler.patroni and pooler.agent):
            remedy = "give Patroni's addresses and leave the agent on"
            self.problem("databases", f"{replicas[0]!r} has the target replica, and nobody finds replicas", remedy)
        if pooler.server or pooler.patroni:
            return
        follows = [database.name for database in pooler.databases if database.target]
        follows += [AUTH_DATABASE] * bool(pooler.auth_query) + [AGENT_DATABASE] * bool(pooler.agent)
        if follows:
            remedy = "give Patroni's addresses, or the server when there is only one"
            self.problem("patroni", f"is empty, so {follows[0]!r} has no server", remedy)

    def can_be_written(self, pooler: Pooler) -> None:
        """Names that the engine's grammars have no way to say are found here, before a host is reached."""
        databases = {database.name: dict(database.settings) for database in pooler.databases}
        users = {user.name: dict(user.settings) for user in pooler.users if user.settings}
        listed = {user.name: user.verifier or "" for user in pooler.users if user.listed}
        try:
            ini.render(ini.Ini(databases=databases, users=users), version=pooler.engine_version)
            userlist.render(listed)
        except InvalidError as error:
            self.problems.extend(error.problems)
