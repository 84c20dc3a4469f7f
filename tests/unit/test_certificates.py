"""Certificates: real TLS handshakes, in memory and strict, tell what is accepted and what is refused."""

from __future__ import annotations

import secrets
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from pooler.certificates import (
    Authority,
    Leaf,
    LeafRequest,
    due,
    inspect,
    issue,
    lock,
    new_authority,
    trusted,
    unlock,
)
from pooler.errors import InvalidError, PoolerError

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
SERVER = LeafRequest("db1.example.org", ("db1.example.org", "*.pool.example.org"), ("10.0.0.7", "fd00::7"))
CLIENT = LeafRequest("pgbouncer", usages=frozenset({"client"}))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("pgfleet test", now=NOW)


@pytest.fixture(scope="module")
def other() -> Authority:
    return new_authority("pgfleet test", now=NOW)


def context(
    side: ssl._SSLMethod, leaf: Leaf | None, trust: str, directory: Path, *, demand: bool = True
) -> ssl.SSLContext:
    """As strict as Python 3.13 makes its contexts by default."""
    made = ssl.SSLContext(side)
    made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    if demand:
        made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=trust)
    if leaf is not None:
        pair = directory / f"{leaf.serial_hex}.pem"
        pair.write_bytes(leaf.certificate_pem.encode() + leaf.key_pem)
        made.load_cert_chain(pair)
    return made


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A whole TLS handshake in memory; raises what the side that refuses raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    served = server.wrap_bio(to_server, to_client, server_side=True)
    asked = client.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [asked, served]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return served, asked


class Talk:
    """Handshakes between a server and a client of the given leaves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(
        self,
        server: Leaf,
        client: Leaf | None,
        name: str,
        *,
        server_trusts: str,
        client_trusts: str,
    ) -> tuple[ssl.SSLObject, ssl.SSLObject]:
        return shake_hands(
            context(ssl.PROTOCOL_TLS_SERVER, server, server_trusts, self.directory),
            context(ssl.PROTOCOL_TLS_CLIENT, client, client_trusts, self.directory),
            name,
        )


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


@pytest.mark.parametrize("name", ["db1.example.org", "a.pool.example.org", "10.0.0.7", "fd00::7"])
def test_verify_full_with_client_certificate_works_by_name_and_by_address(
    authority: Authority, talk: Talk, name: str
) -> None:
    server, client, trust = issue(authority, SERVER, NOW), issue(authority, CLIENT, NOW), authority.certificate_pem
    served, asked = talk(server, client, name, server_trusts=trust, client_trusts=trust)
    seen = served.getpeercert()
    assert seen is not None
    assert seen["subject"] == ((("commonName", "pgbouncer"),),)
    given = asked.getpeercert(binary_form=True)
    assert given is not None
    assert x509.load_der_x509_certificate(given).fingerprint(hashes.SHA256()).hex() == (
        inspect(server.certificate_pem).fingerprint_sha256
    )


@pytest.mark.parametrize("name", ["db2.example.org", "example.org", "a.b.pool.example.org", "10.0.0.8", "fd00::8"])
def test_a_server_of_another_name_is_refused(authority: Authority, talk: Talk, name: str) -> None:
    trust = authority.certificate_pem
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(Hostname|IP address) mismatch"):
        talk(
            issue(authority, SERVER, NOW), issue(authority, CLIENT, NOW), name, server_trusts=trust, client_trusts=trust
        )


def test_a_client_without_a_certificate_is_refused(authority: Authority, talk: Talk) -> None:
    trust = authority.certificate_pem
    with pytest.raises(ssl.SSLError, match=r"(?i)did not return a certificate"):
        talk(issue(authority, SERVER, NOW), None, "10.0.0.7", server_trusts=trust, client_trusts=trust)


def test_expired_leaves_are_refused_on_both_sides(talk: Talk) -> None:
    old = new_authority("pgfleet test", now=NOW - 99 * DAY)
    trust, then = old.certificate_pem, NOW - 91 * DAY
    stale, fresh = issue(old, SERVER, then), issue(old, SERVER, NOW)
    for server, client in ((stale, issue(old, CLIENT, NOW)), (fresh, issue(old, CLIENT, then))):
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
            talk(server, client, "10.0.0.7", server_trusts=trust, client_trusts=trust)


def test_leaves_of_another_authority_of_the_same_name_are_refused_on_both_sides(
    authority: Authority, other: Authority, talk: Talk
) -> None:
    server, client = issue(authority, SERVER, NOW), issue(authority, CLIENT, NOW)
    foreign_server, foreign_client = issue(other, SERVER, NOW), issue(other, CLIENT, NOW)
    trust = authority.certificate_pem
    for pair in ((foreign_server, client), (server, foreign_client)):
        with pytest.raises(ssl.SSLCertVerificationError):
            talk(*pair, "10.0.0.7", server_trusts=trust, client_trusts=trust)


def test_a_leaf_serves_only_its_usages(authority: Authority, talk: Talk) -> None:
    trust = authority.certificate_pem
    only_server = issue(authority, replace(SERVER, usages=frozenset({"server"})), NOW)
    only_client = issue(authority, replace(SERVER, usages=frozenset({"client"})), NOW)
    for pair in ((only_client, only_client), (only_server, only_server)):
        with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)purpose"):
            talk(*pair, "10.0.0.7", server_trusts=trust, client_trusts=trust)
    assert talk(only_server, only_client, "10.0.0.7", server_trusts=trust, client_trusts=trust)


def test_a_leaf_cannot_sign_a_leaf(authority: Authority) -> None:
    leaf = issue(authority, SERVER, NOW)
    with pytest.raises(PoolerError, match="lacks the basic constraint CA"):
        issue(Authority(leaf.certificate_pem, leaf.key_pem), CLIENT, NOW)


def test_both_authorities_are_trusted_while_one_is_rolled_over(
    authority: Authority, other: Authority, talk: Talk
) -> None:
    both = trusted(authority.certificate_pem, other.certificate_pem, authority.certificate_pem)
    assert both == authority.certificate_pem + other.certificate_pem
    old, new = issue(authority, SERVER, NOW), issue(other, SERVER, NOW)
    for server in (old, new):
        for client in (old, new):
            assert talk(server, client, "10.0.0.7", server_trusts=both, client_trusts=both)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(old, new, "10.0.0.7", server_trusts=other.certificate_pem, client_trusts=other.certificate_pem)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_an_authority_made_elsewhere_can_be_used(kind: str, talk: Talk) -> None:
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere")])
    usage = {f: f in ("key_cert_sign", "crl_sign") for f in (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )}  # fmt: skip
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf = issue(Authority(pem, key.private_bytes(*plain)), SERVER, NOW)
    assert talk(leaf, leaf, "10.0.0.7", server_trusts=pem, client_trusts=pem)
    # A leaf of an authority that ends tomorrow ends with it.
    assert inspect(leaf.certificate_pem).not_after == inspect(pem).not_after


def test_all_that_stands_above_a_leaf_follows_it(authority: Authority) -> None:
    """So that a server need not look for it in each handshake."""
    leaf = issue(authority, SERVER, NOW)
    first, above = x509.load_pem_x509_certificates(leaf.certificate_pem.encode())
    assert format(first.serial_number, "040x") == leaf.serial_hex
    assert above == x509.load_pem_x509_certificate(authority.certificate_pem.encode())


def test_a_locked_key_opens_with_its_passphrase_only_and_signs_again(authority: Authority) -> None:
    passphrase = secrets.token_urlsafe()
    locked = lock(authority.key_pem, passphrase)
    assert locked.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert unlock(locked, passphrase) == authority.key_pem
    with pytest.raises(PoolerError, match="the passphrase does not open it") as caught:
        unlock(locked, passphrase + "x")
    assert passphrase not in str(caught.value)
    with pytest.raises(PoolerError, match="is encrypted"):
        issue(Authority(authority.certificate_pem, locked), CLIENT, NOW)


@pytest.mark.parametrize("passphrase", ["", "x" * 1024])
def test_a_key_is_never_locked_without_a_usable_passphrase(authority: Authority, passphrase: str) -> None:
    with pytest.raises(PoolerError, match="passphrase"):
        lock(authority.key_pem, passphrase)


def test_a_plain_key_is_not_taken_for_a_locked_one(authority: Authority) -> None:
    with pytest.raises(PoolerError, match="encrypted for rest"):
        unlock(authority.key_pem, secrets.token_urlsafe())


def test_no_key_is_shown(authority: Authority) -> None:
    leaf = issue(authority, SERVER, NOW)
    assert "PRIVATE" not in repr(authority) + repr(leaf)


def test_key_usage_and_basic_constraints_are_critical(authority: Authority) -> None:
    for pem in (authority.certificate_pem, issue(authority, SERVER, NOW).certificate_pem):
        extensions = x509.load_pem_x509_certificate(pem.encode()).extensions
        assert extensions.get_extension_for_class(x509.KeyUsage).critical
        assert extensions.get_extension_for_class(x509.BasicConstraints).critical


def test_a_leaf_is_ecdsa_p256_with_a_plain_pkcs8_key_and_a_random_serial(authority: Authority) -> None:
    leaves = [issue(authority, SERVER, NOW) for _ in range(20)]
    assert len({leaf.serial_hex for leaf in leaves}) == 20
    for leaf in leaves:
        assert len(leaf.serial_hex) == 40
        assert leaf.key_pem.startswith(b"-----BEGIN PRIVATE KEY-----")
        key = serialization.load_pem_private_key(leaf.key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.curve.name == "secp256r1"
        assert key.public_key() == x509.load_pem_x509_certificate(leaf.certificate_pem.encode()).public_key()


def test_inspect_tells_what_was_asked_for(authority: Authority) -> None:
    leaf = issue(authority, SERVER, NOW)
    state = inspect(leaf.certificate_pem)
    assert state.serial_hex == leaf.serial_hex
    assert state.common_name == "db1.example.org"
    assert state.dns_names == ("*.pool.example.org", "db1.example.org")
    assert state.addresses == ("10.0.0.7", "fd00::7")
    assert state.usages == {"server", "client"}
    assert state.not_before <= NOW < state.not_after <= NOW + 90 * DAY


@pytest.mark.parametrize("pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused_with_its_place(pem: str) -> None:
    with pytest.raises(PoolerError, match=r"^db1:tls.crt: holds no certificate"):
        inspect(pem, "db1:tls.crt")


def test_a_key_that_is_not_the_authoritys_is_refused(authority: Authority, other: Authority) -> None:
    with pytest.raises(PoolerError, match="not that of the certificate"):
        issue(Authority(authority.certificate_pem, other.key_pem), SERVER, NOW)


@pytest.mark.parametrize("when", [NOW - 2 * DAY, NOW + 3651 * DAY])
def test_an_authority_signs_nothing_outside_its_life(authority: Authority, when: datetime) -> None:
    with pytest.raises(PoolerError, match="cannot sign at"):
        issue(authority, SERVER, when)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (replace(SERVER, common_name=""), "cannot be a common name"),
        (replace(SERVER, common_name="x" * 65), "cannot be a common name"),
        (replace(SERVER, dns_names=("a b",)), "'a b' is no host name"),
        (replace(SERVER, dns_names=("bücher.example",)), "xn--"),
        (replace(SERVER, dns_names=("10.0.0.7/24",)), "is no host name"),
        (replace(SERVER, addresses=("10.0.0.300",)), "'10.0.0.300' is no IP address"),
        (replace(SERVER, usages=frozenset()), "none cannot be"),
        (replace(SERVER, dns_names=(), addresses=()), "server without a name"),
        (replace(SERVER, days=0), "too short"),
    ],
)
def test_a_request_that_cannot_be_certified_is_refused(authority: Authority, request_: LeafRequest, told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        issue(authority, request_, NOW)


def test_a_fresh_leaf_is_not_due_whatever_the_spelling_of_its_names(authority: Authority) -> None:
    state = inspect(issue(authority, SERVER, NOW).certificate_pem)
    spelled = replace(SERVER, dns_names=("*.POOL.example.org", "DB1.example.org"), addresses=("fd00:0::7", "10.0.0.7"))
    assert due(state, spelled, authority.certificate_pem, NOW) is None


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(SERVER, dns_names=(*SERVER.dns_names, "db9.example.org")), "lacks db9.example.org"),
        (replace(SERVER, addresses=(*SERVER.addresses, "10.0.0.9")), "lacks 10.0.0.9"),
        (replace(SERVER, addresses=("10.0.0.7",)), "still certifies fd00::7"),
        (replace(SERVER, common_name="db9"), "common name is db1.example.org, not db9"),
        (replace(SERVER, usages=frozenset({"server"})), "is for client and server, not for server"),
    ],
)
def test_a_leaf_is_due_when_something_else_is_asked_for(
    authority: Authority, request_: LeafRequest, reason: str
) -> None:
    state = inspect(issue(authority, SERVER, NOW).certificate_pem)
    assert due(state, request_, authority.certificate_pem, NOW) == reason


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        (-1, "not valid before"),
        (0, None),
        (59, None),
        (61, "in the last third"),
        (89, "in the last third"),
        (90, "expired on"),
    ],
)
def test_a_leaf_is_due_in_the_last_third_of_its_life_and_after(
    authority: Authority, days: int, reason: str | None
) -> None:
    state = inspect(issue(authority, SERVER, NOW).certificate_pem)
    found = due(state, SERVER, authority.certificate_pem, NOW + days * DAY)
    assert found is None if reason is None else str(found).startswith(reason)


def test_a_leaf_is_due_when_another_authority_issues_even_if_the_old_is_still_trusted(
    authority: Authority, other: Authority
) -> None:
    state = inspect(issue(authority, SERVER, NOW).certificate_pem)
    new_first = trusted(other.certificate_pem, authority.certificate_pem)
    old_first = trusted(authority.certificate_pem, other.certificate_pem)
    assert due(state, SERVER, new_first, NOW) == "signed by another authority"
    assert due(state, SERVER, old_first, NOW) is None
