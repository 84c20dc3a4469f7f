"""All files of one pooler host, from one model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from . import derivations, hba, ini, scram, settings, tombstones, units
from .agent.config import CONFIG, AgentConfig, Target
from .agent.config import DATABASE as AGENT_DATABASE
from .agent.config import REPLICA_DATABASE as AGENT_REPLICA
from .auth_query import STRANGER
from .derivations import Tell, silent
from .files import File
from .model import AGENT_POOL, AUTH_DATABASE, AUTH_POOL, DEFAULT_RULES, DIVIDED, Database, Pooler, User, Version
from .server import Server
from .tombstones import Tombstone

CONFIGURATION = "/etc/pgbouncer"
RELEASES = f"{CONFIGURATION}/releases"
CURRENT = f"{CONFIGURATION}/current"
DATABASES = f"{CONFIGURATION}/databases/databases.ini"
RUNTIME = "/run/pgbouncer"
PLACEHOLDER = "0" * 16
"""Stands in the files that a release is named by for that name."""

ANY_DATABASE = "-any"
"""Ends the name of a release whose databases have an entry `*`."""

DEFAULTS = {
    "pool_mode": "transaction",
    # A RELOAD leaves it as it was where the file says nothing.
    "verbose": "0",
    # PostgreSQL sends long answers in pieces of 8 kB. With the engine's own 4096 each goes on in two, and each of those
    # costs a TLS record and a call of the kernel.
    "pkt_buf": "8192",
    "max_client_conn": "2000",
    # An engine whose ignore_startup_parameters lacks `options` can be sent into an endless loop before login
    # (CVE-2026-107349); extra_float_digits is what JDBC sends to everybody.
    "ignore_startup_parameters": "extra_float_digits,options",
    "client_tls_sslmode": "require",
    "server_tls_sslmode": "verify-full",
    # After a failed login the engine lets clients wait this long before it tries again: the largest part of the
    # stall in a switchover with its own default of 15.
    "server_login_retry": "1",
    "server_connect_timeout": "2",
    # A server that vanished without a word is given up after these, not after minutes.
    "tcp_keepidle": "3",
    "tcp_keepintvl": "1",
    "tcp_keepcnt": "3",
    "tcp_user_timeout": "5000",
    # In session pooling, clients leave a demoted server at once instead of whenever they disconnect.
    "server_fast_close": "1",
}
"""What we set where nothing is said; everything else has the engine's own default."""


@dataclass(frozen=True)
class Facts:
    """What the model cannot know and a host or the cluster can say.

    `replicas` names the hosts of databases with the target replica, in the engine's form: `a,b` and their port.
    `server_leaf` is the directory of the certificate shown to clients, `client_leaf` of the one shown to PostgreSQL;
    Of the files in force, `release` is the name, `verifiers` are those in use, kept as long as they still verify the
    password, `tombstones` what the userlist says of users who are gone, and `users` the names in [users]. `running`
    are the processes by invocation, `remembering` those of an engine that keeps what it has made of a user's line.
    `postgresql` are the verifiers that PostgreSQL has of users with a password, by name: the engine logs in there with
    what a client has proved against ours, so ours must be the very same.
    """

    leader: Server | None = None
    server_leaf: str = ""
    client_leaf: str = ""
    verifiers: Mapping[str, str] = field(default_factory=dict)
    users: frozenset[str] = frozenset()
    replicas: Server | None = None
    release: str = ""
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    remembering: frozenset[str] = frozenset()
    postgresql: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """The files of one host. `release` names the set that is switched at once; `units` are systemd's and podman's."""

    release: str
    release_files: tuple[File, ...]
    databases: File
    agent: File | None
    units: tuple[File, ...]
    unit_digest: str
    agent_digest: str

    @property
    def files(self) -> tuple[File, ...]:
        return (*self.release_files, self.databases, *((self.agent,) if self.agent else ()), *self.units)


def build(pooler: Pooler, facts: Facts, tell: Tell = silent) -> Bundle:
    """Render everything. Raises InvalidError for what one of the engine's grammars cannot say.

    `tell` hears how far the verifiers of many passwords are.
    """
    listed = _own_lines(pooler, facts) | verifiers(pooler.users, facts.verifiers, facts.postgresql, tell)
    gone = _gone(pooler, facts, listed)
    made = _build(pooler, facts, tombstones.render(listed, gone))
    if made.release == facts.release:
        return made
    # A tombstone that no process needs any more is no reason for a change; it goes with the next one.
    needed = {name: stone for name, stone in gone.items() if stone.knowing & facts.running}
    return made if needed == gone else _build(pooler, facts, tombstones.render(listed, needed))


def lets_in_unasked(pooler: Pooler, name: str) -> bool:
    """Whether a rule asks a user for no password: the engine then lets in everybody of whom it has ever read."""
    decided: set[str] = set()
    for rule in pooler.rules:
        if rule.type in decided or not {"all", name} & set(rule.users):
            continue
        if rule.method in ("trust", "cert", "peer"):
            return True
        if "all" in rule.databases and rule.address in (None, "all"):
            # The first rule that fits decides; none behind it is ever asked.
            decided |= {"host", "hostssl", "hostnossl"} if rule.type == "host" else {rule.type}
    return False


def release_name(files: Iterable[File], databases: Mapping[str, Mapping[str, str]]) -> str:
    """A digest of a release's files, which say PLACEHOLDER instead of its name, and of the databases.

    Databases count without their hosts, which have another owner: so the release that a process says it runs also
    tells which databases it has read.
    """
    entries = json.dumps(without_hosts(databases), sort_keys=True)
    name = _digest((*sorted(files, key=lambda file: file.path), File("", entries.encode())))
    return name + ANY_DATABASE if "*" in databases else name


def without_hosts(databases: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """What the entries of a hosts file say beside where they point."""
    return {
        name: {key: text for key, text in entry.items() if key not in ("host", "port")}
        for name, entry in databases.items()
    }


def hosts_file(pooler: Pooler, facts: Facts) -> File:
    """The entries of [databases], pointing at the leader and the replicas that are known."""
    return File(DATABASES, _hosts(pooler, facts).encode(), 0o600, pooler.uid)


def pointed_at(databases: str, names: Iterable[str]) -> Server | None:
    """The server that the first of these databases that has one points at in a hosts file that we wrote."""
    entries = ini.parse(databases, name=DATABASES, version=settings.NEWEST).databases
    for entry in (entries.get(name, {}) for name in names):
        if "host" in entry:
            return Server(entry["host"], int(entry.get("port", "5432")))
    return None


def repointed(databases: str, current: str, names: Iterable[str], version: Version) -> str:
    """A hosts file in which these entries point where they do in the current one; the leader may have changed since."""
    entries, now = (ini.parse(text, version=settings.NEWEST).databases for text in (databases, current))
    for name in names:
        if name in entries and "host" in now.get(name, {}):
            entries[name] = entries[name] | {key: now[name][key] for key in ("host", "port") if key in now[name]}
    return ini.render_databases(entries, version=version)


def targets(pooler: Pooler) -> dict[str, Target]:
    """Which entry follows whom, our own ones first."""
    found: dict[str, Target] = {}
    if pooler.auth_query:
        found[AUTH_DATABASE] = "leader"
    if pooler.agent:
        found[AGENT_DATABASE] = "leader"
        if any(database.target == "replica" for database in pooler.databases):
            found[AGENT_REPLICA] = "replica"
    return found | {database.name: database.target for database in pooler.databases if database.target}


def verifiers(
    users: Iterable[User],
    in_use: Mapping[str, str],
    postgresql: Mapping[str, str] | None = None,
    tell: Tell = silent,
) -> dict[str, str]:
    """The userlist's entries: given verifiers as they are; for a password PostgreSQL's verifier, or the one in use, as
    long as it verifies, or a new one.
    """
    found, passwords = {}, {}
    for user in users:
        if user.certificate:
            # The engine asks whether it knows the user also when a rule asks for a certificate (PgBouncer 1.24.1).
            found[user.name] = ""
        elif user.verifier is not None:
            found[user.name] = user.verifier
        elif user.password is not None:
            passwords[user.name] = user.password
    return found | derivations.verifiers(passwords, (postgresql or {}, in_use), tell)


def _own_lines(pooler: Pooler, facts: Facts) -> dict[str, str]:
    """Our own roles. One that logs in to PostgreSQL with a password needs it here as it is.

    Without one, the agent's role has a verifier of a password that nobody knows: the engine lets a user in by a rule
    only when it knows the user (PgBouncer 1.24.1).
    """
    lines = pooler.passwords
    if pooler.agent is None or pooler.agent.role in lines:
        return lines
    kept = facts.verifiers.get(pooler.agent.role, "")
    return lines | {pooler.agent.role: kept if scram.is_verifier(kept) else scram.nobodys()}


def _gone(pooler: Pooler, facts: Facts, listed: Mapping[str, str]) -> dict[str, Tombstone]:
    """The users who are in the userlist in force and not to be in it."""
    fresh = {name: Tombstone(facts.running) for name in facts.verifiers if facts.running}
    gone = {}
    for name, stone in sorted((fresh | dict(facts.tombstones)).items()):
        if name in listed:
            continue
        if lets_in_unasked(pooler, name):
            # A line of any kind would let him in.
            gone[name] = replace(stone, secret="")
        elif stone.knowing & facts.remembering and not stone.secret:
            gone[name] = replace(stone, secret=scram.nobodys())
        else:
            gone[name] = stone
    return gone


def _build(pooler: Pooler, facts: Facts, users: str) -> Bundle:
    release = release_name(_release(pooler, facts, users, PLACEHOLDER), _databases(pooler, Facts()))
    agent = _agent(pooler, facts)
    return Bundle(
        release=release,
        release_files=_release(pooler, facts, users, release),
        databases=hosts_file(pooler, facts),
        agent=agent,
        units=units.render(pooler, agent),
        unit_digest=units.digest(pooler),
        agent_digest=units.agent_digest(pooler, agent),
    )


def _digest(files: tuple[File, ...]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.mode:o}\0{file.owner}\0{len(file.content)}\0".encode())
        digest.update(file.content)
    return digest.hexdigest()[:16]


def _release(pooler: Pooler, facts: Facts, users: str, release: str) -> tuple[File, ...]:
    """The files that are switched together. They name their own release, so that SHOW CONFIG tells which one runs."""
    directory = f"{RELEASES}/{release}"
    files = [
        File(
            f"{directory}/{console}.ini",
            _ini(pooler, facts, directory, index).encode(),
            0o600,
            pooler.uid,
        )
        for index, console in enumerate(pooler.consoles)
    ]
    files.append(File(f"{directory}/userlist.txt", users.encode(), 0o600, pooler.uid, secret=True))
    files.append(File(f"{directory}/hba.conf", hba.render(_rules(pooler)).encode(), 0o600, pooler.uid))
    return tuple(files)


def _ini(pooler: Pooler, facts: Facts, directory: str, index: int) -> str:
    return ini.render(_instance(pooler, facts, directory, index), version=pooler.engine_version)


def _hosts(pooler: Pooler, facts: Facts) -> str:
    return ini.render_databases(_databases(pooler, facts), version=pooler.engine_version)


def _rules(pooler: Pooler) -> tuple[hba.Rule, ...]:
    """Our own entries of [databases] are closed to clients first. The agent's socket is its uid's alone.

    Nobody logs in as a role of ours whose password the userlist has.
    """
    asked = (AGENT_DATABASE, AGENT_REPLICA)
    own = [hba.Rule("host", (AUTH_DATABASE, *asked), ("all",), "all", "reject")]
    if pooler.agent:
        own += [
            hba.Rule("local", asked, (pooler.agent.role,), None, "trust"),
            hba.Rule("local", asked, ("all",), None, "reject"),
        ]
    if pooler.passwords:
        roles = tuple(sorted(pooler.passwords))
        own += [hba.Rule("host", ("all",), roles, "all", "reject"), hba.Rule("local", ("all",), roles, None, "reject")]
    if certified := tuple(sorted(user.name for user in pooler.users if user.certificate)):
        own.append(hba.Rule("hostssl", ("pgbouncer",), certified, "all", "cert"))
    given = pooler.rules or DEFAULT_RULES
    return (*own, *(_without_strangers(given) if pooler.auth_query else given))


def _without_strangers(rules: Iterable[hba.Rule]) -> Iterator[hba.Rule]:
    """Who is asked for nothing has to be known at least, and the decoy that auth_query gives for others is nobody."""
    for rule in rules:
        if rule.method == "trust" and "all" in rule.users:
            yield replace(rule, users=(STRANGER,), method="reject")
        yield rule


def _agent(pooler: Pooler, facts: Facts) -> File | None:
    agent = pooler.agent
    if agent is None:
        return None
    waiting = float(pooler.settings.get("query_wait_timeout", "120"))
    config = AgentConfig(
        port=pooler.port,
        consoles=pooler.consoles,
        server_leaf=facts.server_leaf,
        client_leaf=facts.client_leaf,
        role=agent.role,
        dbname=agent.dbname,
        password=agent.password,
        listen=agent.listen,
        health_port=agent.port,
        tls=agent.tls,
        metrics_certificate=agent.metrics_certificate,
        patroni=pooler.patroni,
        patroni_user=agent.patroni_user,
        patroni_password=agent.patroni_password,
        targets=targets(pooler) if pooler.patroni else {},
        replica_max_lag=agent.replica_max_lag,
        replica_fallback=agent.replica_fallback,
        # The engine looks for the whole list of hosts in the certificate of each (seen on 1.24.1).
        one_replica={**DEFAULTS, **pooler.settings}["server_tls_sslmode"] == "verify-full",
        pause_on_loss=agent.pause_on_loss,
        # Whoever waits longer than query_wait_timeout is sent away by the engine; 0 means that nobody is.
        pause_limit=min(60.0, waiting / 2) if waiting else 60.0,
        nofile=units.nofile(pooler),
    )
    return File(
        CONFIG, config.to_json().encode(), 0o600, pooler.uid, secret=bool(agent.password or agent.patroni_password)
    )


def _instance(pooler: Pooler, facts: Facts, directory: str, index: int) -> ini.Ini:
    console = pooler.consoles[index]
    own = {
        "listen_addr": ",".join(pooler.listen),
        "listen_port": str(pooler.port),
        "so_reuseport": "1",
        "unix_socket_dir": f"{RUNTIME}/{console}",
        "unix_socket_mode": "0600",
        "auth_type": "hba",
        "auth_file": f"{directory}/userlist.txt",
        "auth_hba_file": f"{directory}/hba.conf",
        "client_tls_cert_file": f"{facts.server_leaf}/tls.crt",
        "client_tls_key_file": f"{facts.server_leaf}/tls.key",
        "client_tls_ca_file": f"{facts.server_leaf}/ca.crt",
        "server_tls_cert_file": f"{facts.client_leaf}/tls.crt",
        "server_tls_key_file": f"{facts.client_leaf}/tls.key",
        "server_tls_ca_file": f"{facts.client_leaf}/ca.crt",
    }
    for seat, setting in (("admin", "admin_users"), ("stats", "stats_users")):
        names = [user.name for user in pooler.users if user.console == seat]
        if names:
            own[setting] = ",".join(names)
    if pooler.auth_query:
        own |= {
            "auth_user": pooler.auth_query.role,
            "auth_query": pooler.auth_query.query,
            "auth_dbname": AUTH_DATABASE,
        }
    peers = {}
    if pooler.instances > 1:
        own["peer_id"] = str(index + 1)
        peers = {
            str(number): {"host": f"{RUNTIME}/{port}", "port": str(pooler.port)}
            for number, port in enumerate(pooler.consoles, start=1)
        }
    # The engine forgets what it has read of a user only when it reads a line of that user that says nothing.
    users: dict[str, dict[str, str]] = {name: {} for name in facts.users}
    users |= {user.name: _divided(pooler, user.settings) for user in pooler.users if user.settings}
    given = _divided(pooler, DEFAULTS | dict(pooler.settings)) | own
    return ini.Ini(pgbouncer=given, users=users, peers=peers, includes=(DATABASES,))


def _databases(pooler: Pooler, facts: Facts) -> dict[str, dict[str, str]]:
    own = []
    if pooler.auth_query:
        own.append(Database(AUTH_DATABASE, {"dbname": pooler.auth_query.dbname, "pool_size": str(AUTH_POOL)}))
    if pooler.agent:
        asked = {"dbname": pooler.agent.dbname, "pool_size": str(AGENT_POOL)}
        own.append(Database(AGENT_DATABASE, asked))
        if AGENT_REPLICA in targets(pooler):
            own.append(Database(AGENT_REPLICA, asked, "replica"))
    return {database.name: _database(pooler, database, facts) for database in (*pooler.databases, *own)}


def _database(pooler: Pooler, database: Database, facts: Facts) -> dict[str, str]:
    entry = {"dbname": database.name} if database.name != "*" else {}
    entry |= _divided(pooler, database.settings)
    server = {"leader": facts.leader, "replica": facts.replicas or facts.leader}.get(database.target or "")
    if server is not None:
        entry |= {"host": server.host, "port": str(server.port)}
    return entry


def _divided(pooler: Pooler, given: Mapping[str, str]) -> dict[str, str]:
    return {name: str(pooler.share(int(text))) if name in DIVIDED else text for name, text in given.items()}
