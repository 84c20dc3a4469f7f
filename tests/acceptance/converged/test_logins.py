"""Who gets in through port 6432, and what the others are told."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import struct
from collections.abc import Iterator

import psycopg
import pytest

from pooler import scram
from tests.acceptance import clients
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import POOLER, PORT, Scenario
from tests.acceptance.variables import LONGEST_DATABASE, UNUSUAL_ROLES

DRIVERS = [clients.by_psql, clients.by_asyncpg, clients.by_psycopg]

REFUSED_ROLES = {
    "expired": "LOGIN VALID UNTIL '2001-01-01'",
    "sleeper": "NOLOGIN",
    "chief": "LOGIN SUPERUSER",
    "copier": "LOGIN REPLICATION",
}


@pytest.fixture(scope="module")
def refused_roles(database: Remote) -> Iterator[dict[str, str]]:
    """Roles with a right password that may not come in; name to password."""
    passwords = {name: secrets.token_hex(12) for name in REFUSED_ROLES}
    for name, attributes in REFUSED_ROLES.items():
        database.sql(f"CREATE ROLE {name} {attributes} PASSWORD '{scram.verifier(passwords[name])}'")
    yield passwords
    for name in REFUSED_ROLES:
        database.sql(f"DROP ROLE {name}")


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("role", ["app", "listed", *UNUSUAL_ROLES])
def test_scram_over_verified_tls_works(lab: Scenario, driver: clients.Driver, role: str) -> None:
    assert driver(lab, role, "app") == (role, "app")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_database_with_the_longest_name_works(lab: Scenario, driver: clients.Driver) -> None:
    assert driver(lab, "app", LONGEST_DATABASE) == ("app", LONGEST_DATABASE)


def test_a_wrong_password_is_refused(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        clients.connect(lab, password=secrets.token_hex(12))


@pytest.mark.parametrize("role", REFUSED_ROLES)
def test_a_role_that_may_not_come_in_is_refused_as_if_there_were_none(
    lab: Scenario, refused_roles: dict[str, str], role: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match="FATAL:  SASL authentication failed"):
        clients.connect(lab, role, password=refused_roles[role])


def test_an_unknown_role_is_refused(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="FATAL:  SASL authentication failed"):
        clients.connect(lab, "nobody-of-that-name", password=secrets.token_hex(12))


def test_the_role_of_the_pooler_is_refused(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        clients.connect(lab, "pgbouncer", password=secrets.token_hex(12))


def test_the_database_for_logins_is_closed_to_clients(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="FATAL:  login rejected"):
        clients.connect(lab, "app", "pgbouncer_auth")


def test_an_unknown_database_is_refused(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="FATAL:  no such database: nowhere"):
        clients.connect(lab, "listed", "nowhere")


def test_an_unknown_database_is_no_secret_to_those_alone_who_proved_who_they_are(lab: Scenario) -> None:
    # Of a user that is not in the userlist the engine can ask nobody, as there is no database to ask in.
    with pytest.raises(psycopg.OperationalError, match="FATAL:  SASL authentication failed"):
        clients.connect(lab, "app", "nowhere")


def test_plain_tcp_is_refused(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="SSL required"):
        clients.connect(lab, sslmode="disable")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(lab: Scenario, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
        _handshake(lab, version)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_present_tls_is_taken(lab: Scenario, version: ssl.TLSVersion) -> None:
    assert _handshake(lab, version) == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


def test_another_authority_is_not_trusted_by_clients(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        clients.connect(lab, sslrootcert="system")


def test_no_session_ticket_is_made_that_no_client_would_use(lab: Scenario) -> None:
    with _connected(lab, ssl.TLSVersion.TLSv1_3) as client:
        startup = struct.pack("!I", 3 << 16) + b"user\0app\0database\0app\0\0"
        client.sendall(struct.pack("!I", len(startup) + 4) + startup)
        # Tickets come before the first answer.
        assert client.recv(1) == b"R"
        assert client.session
        assert not client.session.has_ticket


def _handshake(lab: Scenario, version: ssl.TLSVersion) -> str | None:
    with _connected(lab, version) as client:
        return client.version()


@contextlib.contextmanager
def _connected(lab: Scenario, version: ssl.TLSVersion) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(lab.root))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection((lab.addresses[POOLER], PORT), timeout=clients.LOGIN_TIMEOUT) as plain:
        plain.sendall(struct.pack("!II", 8, 80877103))
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain, server_hostname=POOLER) as wrapped:
            yield wrapped
