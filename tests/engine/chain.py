"""Clients, PgBouncer as we set it up, and a PostgreSQL behind it, all with TLS, in one network namespace.

The function is what the module makes, the lines of pg_hba.conf are those that it prints, the engine's files are a
bundle's, and the certificates are of one authority of ours. Beside it run PgBouncers as guides set them up.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from pooler import auth_hba, auth_query, bundle, certificates, scram, userlist, variables
from pooler.bundle import Facts
from pooler.certificates import KeyType, Leaf, LeafRequest
from pooler.files import File
from pooler.model import Pooler
from pooler.server import Server
from pooler.sql import identifier, literal
from tests.engine import histories, trial
from tests.engine.miniature import TLS, UID, Miniature, miniature

Session = psycopg.Connection[tuple[object, ...]]

POSTGRESQL, POOLER = "127.0.0.11", "127.0.0.1"
PORT, GUIDE, OPEN = 6432, 6433, 6434
"""The ports of our PgBouncer, of one as guides have it, and of one that takes any certificate for proof enough."""

CONSOLE = 50001
SEATS = {"watcher": "stats", "chief": "admin"}
ROLES = {
    "alice": "LOGIN",
    "bob": "LOGIN",
    "svc": "LOGIN",
    "asker": "LOGIN SUPERUSER",
    "expired": "LOGIN VALID UNTIL '2001-01-01'",
    "gone": "NOLOGIN",
    "root": "LOGIN SUPERUSER",
    "copier": "LOGIN REPLICATION",
}
"""The roles in PostgreSQL and their attributes; `asker` is whom guides have the pooler log in as."""

_RULES = ["hostssl trusting all all trust", "hostssl certified all all cert", "hostssl all all all scram-sha-256"]
_HBA = "\n".join(
    [
        "local all postgres trust",
        *auth_hba.lines("pgbouncer"),
        "hostssl all all all scram-sha-256",
        "host all all all reject",
    ]
)
_OPTIONS = ["-h", POSTGRESQL, "-c", "ssl=on"] + [
    part
    for setting, file in (("ssl_cert_file", "tls.crt"), ("ssl_key_file", "tls.key"), ("ssl_ca_file", "ca.crt"))
    for part in ("-c", f"{setting}=/mnt/{file}")
]

_FUNCTION = """
CREATE SCHEMA guide;
GRANT USAGE ON SCHEMA guide TO PUBLIC;
CREATE FUNCTION guide.user_lookup(IN i_username text, OUT uname text, OUT phash text) RETURNS record
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  SELECT rolname, rolpassword INTO uname, phash FROM pg_authid WHERE rolname = i_username;
  RETURN;
END $$
"""
_INI = """
[databases]
app = host=127.0.0.11 dbname=postgres
certified = host=127.0.0.11 dbname=postgres user=svc
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = /mnt
auth_type = {auth_type}
auth_file = /mnt/userlist.txt
auth_user = asker
auth_query = SELECT uname, phash FROM guide.user_lookup($1)
client_tls_sslmode = require
client_tls_cert_file = /mnt/tls.crt
client_tls_key_file = /mnt/tls.key
client_tls_ca_file = /mnt/ca.crt
server_tls_sslmode = require
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
stats_users = watcher
admin_users = chief, watcher
"""


@dataclass
class Chain:
    """`owner` is the superuser's session. `leaves` are directories with a client's certificate and key, by name."""

    place: Path
    owner: Session
    host: Miniature
    passwords: dict[str, str] = field(default_factory=dict)
    leaves: dict[str, Path] = field(default_factory=dict)

    def serves(self, **given: Any) -> None:
        """Our pooler anew, with these variables of an inventory beside, or instead of, what it always has."""
        facts = Facts(Server(POSTGRESQL), f"{TLS}/server/01", f"{TLS}/client/01")
        self.host.fresh(bundle.build(_inventory(self, given), facts), CONSOLE)

    @property
    def network(self) -> int:
        return trial.postmaster(self.place / "postgresql")

    def enter(self, user: str, database: str = "app", *, port: int = PORT, leaf: str = "", **more: Any) -> Session:
        """A session as a client opens it. Raises psycopg.OperationalError with what the client is told."""
        return self._connect(POOLER, port, user, database, leaf, more)

    def enter_postgresql(self, user: str, *, leaf: str = "", **more: str) -> Session:
        """A session past the pooler, from a place that can reach PostgreSQL."""
        return self._connect(POSTGRESQL, 5432, user, "postgres", leaf, more)

    @contextlib.contextmanager
    def owner_as(self, role: str) -> Iterator[Session]:
        """A session of a role without a login."""
        place = str(self.place / "postgresql")
        with psycopg.connect(host=place, user="postgres", dbname="postgres", autocommit=True) as session:
            session.execute(f"SET SESSION AUTHORIZATION {identifier(role)}".encode())
            yield session

    def lets_in(self, user: str, database: str = "app", *, as_user: str = "", **more: Any) -> bool:
        """Whether a client can log in and do something, in PostgreSQL as `as_user` when that is another."""
        try:
            with self.enter(user, database, **more) as session:
                return session.execute("SELECT current_user").fetchone() == (as_user or user,)
        except psycopg.OperationalError:
            return False

    def userlist(self) -> dict[str, str]:
        """What lies on our host."""
        return userlist.parse(self.host.path(f"{bundle.CURRENT}/userlist.txt").read_text())

    def dial(self, port: int = PORT) -> socket.socket:
        """A TCP connection to a pooler."""
        with trial.network_of(self.network):
            return socket.create_connection((POOLER, port), timeout=10)

    def create(self, role: str, attributes: str = "LOGIN") -> None:
        """A role in PostgreSQL with a password of its own."""
        self.passwords[role] = secrets.token_hex(8)
        verifier = literal(scram.verifier(self.passwords[role]))
        self.owner.execute(f"CREATE ROLE {identifier(role)} {attributes} PASSWORD {verifier}".encode())

    def certify(self, name: str, leaf: Leaf) -> None:
        self.leaves[name] = self.place / name
        self.leaves[name].mkdir()
        _write(_files(str(self.leaves[name]), leaf, 0))

    def _connect(self, host: str, port: int, user: str, database: str, leaf: str, more: dict[str, Any]) -> Session:
        # Nothing of the machine's own: no password file, no certificate of whoever runs the test.
        given: dict[str, Any] = {"sslmode": "verify-full", "passfile": "/dev/null", "prepare_threshold": None}
        given |= {"sslrootcert": str(self.leaves["alice"] / "ca.crt")}
        directory = self.leaves[leaf] if leaf else Path("/nowhere")
        given |= {"sslcert": str(directory / "tls.crt"), "sslkey": str(directory / "tls.key"), "connect_timeout": "10"}
        given |= {"password": self.passwords.get(user, ""), **more}
        prepare_threshold = given.pop("prepare_threshold")
        with trial.network_of(self.network):
            address = make_conninfo(host=host, port=port, user=user, dbname=database, **given)
            return psycopg.connect(address, autocommit=True, prepare_threshold=prepare_threshold)


@contextlib.contextmanager
def chain(kind: KeyType = "ecdsa") -> Iterator[Chain]:
    """`kind`: of the keys of all leaves."""
    now = datetime.now(UTC)
    ours, theirs = (certificates.new_authority("fleet", now=now - timedelta(days=9)) for _ in range(2))
    leaves = {
        **{
            name: certificates.issue(ours, _client(name, kind), now)
            for name in ("alice", "bob", "pgbouncer", "chief", "watcher")
        },
        **{
            f"{name} of theirs": certificates.issue(theirs, _client(name, kind), now) for name in ("alice", "pgbouncer")
        },
        **{
            f"{name} of old": certificates.issue(ours, _client(name, kind, days=1), now - timedelta(days=5))
            for name in ("alice", "pgbouncer")
        },
    }
    door, database = (certificates.issue(ours, _server(address, kind), now) for address in (POOLER, POSTGRESQL))
    with contextlib.ExitStack() as running:
        place = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="chain-")))
        place.chmod(0o755)
        for name in ("postgresql", "guide", "open"):
            (place / name).mkdir()
        _write(_files(str(place / "postgresql"), database, 101))
        owner = running.enter_context(trial.postgresql(place / "postgresql", hba=_HBA, options=_OPTIONS))
        host = running.enter_context(miniature(network=trial.postmaster(place / "postgresql")))
        made = Chain(place, owner, host)
        for name, leaf in leaves.items():
            made.certify(name, leaf)
        for role, attributes in ROLES.items():
            made.create(role, attributes)
        made.passwords |= {name: secrets.token_hex(8) for name in SEATS}
        wanted = auth_query.AuthQuery()
        (observed,) = owner.execute(auth_query.audit_sql(wanted).encode()).fetchone() or ()
        owner.execute(auth_query.repair_sql(wanted, observed).encode())  # type: ignore[arg-type]
        owner.execute(_FUNCTION)
        host.write(_files(f"{TLS}/server/01", door, UID) + _files(f"{TLS}/client/01", leaves["pgbouncer"], UID))
        made.serves()
        for name, port, method in (("guide", GUIDE, "scram-sha-256"), ("open", OPEN, "trust")):
            trusted = replace(door, authority_pem=ours.certificate_pem + theirs.certificate_pem)
            _write(_files(str(place / name), trusted, UID))
            listed = ("asker", "svc", *SEATS, *(ROLES if method == "trust" else ()))
            lines = "".join(f'"{user}" "{made.passwords[user]}"\n' for user in dict.fromkeys(listed))
            trial.put(place / name / "userlist.txt", lines)
            trial.put(place / name / "pgbouncer.ini", _INI.format(port=port, auth_type=method))
            process = running.enter_context(trial.started(place / name, made.network, talkative=False))
            said = trial.until(process.stderr, "process up")
            assert "process up" in said, said
        yield made


def _inventory(made: Chain, more: dict[str, Any]) -> Pooler:
    users = [
        {"name": "chief", "console": SEATS["chief"], "verifier": scram.verifier(made.passwords["chief"])},
        # There is no password that would open it.
        {"name": "watcher", "console": SEATS["watcher"], "certificate": True},
    ]
    databases = [
        {"name": "app", "dbname": "postgres"},
        *(
            {"name": name, "dbname": "postgres", "user": "svc", "password": made.passwords["svc"]}
            for name in ("certified", "trusting")
        ),
    ]
    given = {"patroni": None, "server": POSTGRESQL, "listen": [POOLER], "databases": databases, "users": users}
    # Nobody listens to the engine's log, and one that is full would stop it.
    quiet = dict.fromkeys(("log_connections", "log_disconnections", "log_pooler_errors"), False)
    return variables.read(histories.PLAIN | given | {"hba": _RULES, "settings": quiet} | more)


def _client(name: str, kind: KeyType, days: int = 90) -> LeafRequest:
    return LeafRequest(name, usages=frozenset({"client"}), days=days, key_type=kind)


def _server(address: str, kind: KeyType) -> LeafRequest:
    names, addresses = ("localhost",), (address,)
    return LeafRequest("server", names, addresses, usages=frozenset({"server"}), key_type=kind)


def _write(files: list[File]) -> None:
    for file in files:
        path = Path(file.path)
        path.write_bytes(file.content)
        path.chmod(file.mode)
        os.chown(path, file.owner, file.owner)


def _files(directory: str, leaf: Leaf, owner: int) -> list[File]:
    return [
        File(f"{directory}/tls.crt", leaf.certificate_pem.encode(), 0o644, owner),
        File(f"{directory}/tls.key", leaf.key_pem, 0o600, owner),
        File(f"{directory}/ca.crt", leaf.authority_pem.encode(), 0o644, owner),
    ]
