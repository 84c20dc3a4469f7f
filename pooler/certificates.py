"""An authority of our own, the leaves it signs, and when a leaf must be replaced.

Keys and certificates are PEM in and out; nothing here reads a clock or a file. All that is made here passes OpenSSL's
strict checks (X509_V_FLAG_X509_STRICT), which Python 3.13 turns on by default: RFC 5280 4.2.1, so key usage and basic
constraints are critical and key identifiers are there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

import cryptography
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .errors import InvalidError, PoolerError, Problem

if int(cryptography.__version__.partition(".")[0]) < 42:
    raise ImportError(f"cryptography {cryptography.__version__} is too old, 42 is needed", name="cryptography")

Usage = Literal["server", "client"]
KeyType = Literal["ecdsa", "rsa", "ed25519"]

LEAF_DAYS = 90
"""Life of a leaf, so that the last third, in which it is replaced, has a month of ordinary runs in it."""

_BACKDATED = timedelta(hours=1)
"""Certificates begin this long before now: a host whose clock is behind takes them too."""

_USAGES: dict[Usage, x509.ObjectIdentifier] = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
}
_COMMON_NAME_LENGTH = 64
_PASSPHRASE_BYTES = 1023
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)*{_LABEL}")

_RSA_BITS = 3072
"""As strong as P-256: NIST SP 800-57 part 1, table 2."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True)
class Authority:
    """A certificate that signs leaves, and its key: plain PKCS8 here, to be written only after `lock`."""

    certificate_pem: str
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True)
class LeafRequest:
    """What a leaf is for. Servers are found by `dns_names` and `addresses`; a client is the role in `common_name`."""

    common_name: str
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    usages: frozenset[Usage] = frozenset({"server", "client"})
    days: int = LEAF_DAYS
    key_type: KeyType = "ecdsa"


@dataclass(frozen=True)
class Leaf:
    """An issued certificate with its key (plain PKCS8, as the engine needs it) and the authority that signed it.

    All that stands above it follows it in `certificate_pem`: of a leaf alone, OpenSSL (3.5) looks for that and verifies
    it in each handshake anew, to show it as well. `serial_hex` names its directory.
    """

    certificate_pem: str
    key_pem: bytes = field(repr=False)
    serial_hex: str
    authority_pem: str


@dataclass(frozen=True)
class LeafState:
    """What a certificate says of itself. Names are sorted; serial and fingerprint are lower-case hex without colons."""

    serial_hex: str
    common_name: str
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    usages: frozenset[Usage]
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    key_type: str
    certificate_pem: str = field(repr=False)

    def in_last_third(self, now: datetime) -> bool:
        """When it is time for the next one."""
        return self.not_after - now < (self.not_after - self.not_before) / 3

    def issued_by(self, authority_pem: str) -> bool:
        """Whether the first certificate of `authority_pem` signed this one: name, and signature with its key."""
        return _signed(_certificate(self.certificate_pem, "leaf"), _certificate(authority_pem, "authority"))


def new_authority(name: str, *, days: int = 3650, now: datetime) -> Authority:
    """A self-signed authority that may sign leaves but no further authorities. Raises InvalidError for its `name`."""
    _refuse(_name_problems("authority.name", name))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    begin = _whole(now)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - _BACKDATED)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(certificate), _key_pem(key))


def lock(key_pem: bytes, passphrase: str) -> bytes:
    """The key encrypted for rest: PKCS8 under `passphrase`, other bytes each time. Raises PoolerError for "" as one."""
    if not 1 <= len(passphrase.encode()) <= _PASSPHRASE_BYTES:
        what = "cannot be used: the key is never written without one, and OpenSSL takes no longer one"
        raise PoolerError(f"authority passphrase: {what} (1 to {_PASSPHRASE_BYTES} bytes)")
    encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return _key(key_pem).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def unlock(locked: bytes, passphrase: str) -> bytes:
    """The plain key of what `lock`, or openssl with a cipher, made. Raises PoolerError for a wrong passphrase."""
    return _key_pem(_key(locked, passphrase.encode()))


def issue(authority: Authority, request: LeafRequest, now: datetime) -> Leaf:
    """A new leaf with a new key and serial, valid from an hour ago for `request.days`, or until the authority ends.

    Raises InvalidError for names that cannot be certified, PoolerError for an authority that cannot sign them now.
    """
    _refuse(_request_problems(request))
    signer, signing_key, signer_id = _signer(authority, now)
    begin = _whole(now)
    key, serial = _new_key(request.key_type), x509.random_serial_number()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(request.common_name))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begin - _BACKDATED)
        .not_valid_after(min(begin + timedelta(days=request.days), signer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[usage] for usage in sorted(request.usages)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer_id), critical=False)
    )
    names = [
        *(x509.DNSName(name) for name in _dns_names(request.dns_names)),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in _addresses(request.addresses)),
    ]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    hashed = None if isinstance(signing_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    shown = _pem(builder.sign(signing_key, hashed)) + issuing(authority.certificate_pem)
    return Leaf(shown, _key_pem(key), _serial_hex(serial), authority.certificate_pem)


def brought(certificate: str, key: str, authority: str, now: datetime) -> Leaf:
    """A leaf that somebody else has issued: its certificate with what stands above it, its key, whom to trust.

    Its name is not its serial, which only its own authority knows to be unique. Raises PoolerError for one that could
    not be shown to anybody now.
    """
    shown, state = _certificate(certificate, "certificate"), inspect(certificate)
    private = _key(key.encode(), place="private_key")
    if private.public_key() != shown.public_key():
        raise PoolerError("private_key: is not that of the certificate (give the pair that belongs together)")
    if not state.not_before <= now < state.not_after:
        life = f"{state.not_before:%Y-%m-%d} to {state.not_after:%Y-%m-%d}"
        raise PoolerError(f"certificate: is valid from {life} only (bring another)")
    top = _issuers(f"{certificate}\n{authority}")[-1]
    if top.subject != top.issuer or top not in _certificates(authority, "authority"):
        remedy = "append what stands between them to the certificate, and give an authority that has signed itself"
        raise PoolerError(f"authority: does not vouch for the certificate ({remedy})")
    name = _serial_hex(x509.random_serial_number())
    return Leaf(certificate.strip() + "\n", _key_pem(private), name, authority.strip() + "\n")


def require_signer(authority: Authority, now: datetime) -> None:
    """Raises PoolerError for a pair of certificate and key that could not issue anything now."""
    _signer(authority, now)


def inspect(pem: str, place: str = "certificate") -> LeafState:
    """What the first certificate of `pem` says. Raises PoolerError, naming `place`, when none can be read."""
    certificate = _certificate(pem, place)
    names = _extension(certificate, x509.SubjectAlternativeName)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return LeafState(
        serial_hex=_serial_hex(certificate.serial_number),
        common_name=str(common[0].value) if common else "",
        dns_names=_dns_names(names.get_values_for_type(x509.DNSName) if names else ()),
        addresses=_addresses(map(str, names.get_values_for_type(x509.IPAddress)) if names else ()),
        usages=frozenset(usage for usage, oid in _USAGES.items() if purposes is None or oid in purposes),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        key_type=_key_type(certificate.public_key()),
        certificate_pem=_pem(certificate),
    )


def due(state: LeafState, request: LeafRequest, authority_pem: str, now: datetime) -> str | None:
    """Why a new leaf is needed in place of the one with `state`, or None. The first of `authority_pem` issues it."""
    if now >= state.not_after:
        return f"expired on {state.not_after:%Y-%m-%d %H:%M} UTC"
    if now < state.not_before:
        return f"not valid before {state.not_before:%Y-%m-%d %H:%M} UTC"
    if not state.issued_by(authority_pem):
        return "signed by another authority"
    if state.common_name != request.common_name:
        return f"common name is {state.common_name}, not {request.common_name}"
    have = {*state.dns_names, *state.addresses}
    want = {*_dns_names(request.dns_names), *_addresses(request.addresses)}
    if want - have:
        return f"lacks {', '.join(sorted(want - have))}"
    if have - want:
        return f"still certifies {', '.join(sorted(have - want))}"
    if state.usages != request.usages:
        return f"is for {_shown(state.usages)}, not for {_shown(request.usages)}"
    if state.key_type != request.key_type:
        return f"its key is {state.key_type}, not {request.key_type}"
    if state.in_last_third(now):
        return f"in the last third of its life, which ends on {state.not_after:%Y-%m-%d}"
    return None


def trusted(*authority_pems: str) -> str:
    """One bundle of all certificates given, each once, in that order: for the time when two authorities are trusted."""
    found: dict[bytes, str] = {}
    for pem in authority_pems:
        for certificate in _certificates(pem, "authority"):
            found.setdefault(certificate.fingerprint(hashes.SHA256()), _pem(certificate))
    return "".join(found.values())


def issuing(bundle: str) -> str:
    """The first certificate of a bundle, and those in it that vouch for it."""
    return "".join(_pem(each) for each in _issuers(bundle))


def without(bundle: str, dropped: str) -> str:
    """The certificates of a bundle that are not in the other."""
    gone = _certificates(dropped, "authority")
    return "".join(_pem(each) for each in _certificates(bundle, "authority") if each not in gone)


def _issuers(bundle: str) -> list[x509.Certificate]:
    first, *others = _certificates(bundle, "authority")
    chain = [first]
    while chain[-1].subject != chain[-1].issuer:
        above = [each for each in others if each not in chain and _signed(chain[-1], each)]
        if not above:
            break
        chain.append(above[0])
    return chain


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """By name, and by the signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _signer(authority: Authority, now: datetime) -> tuple[x509.Certificate, _SigningKey, x509.SubjectKeyIdentifier]:
    signer, signing_key = _certificate(authority.certificate_pem, "authority"), _key(authority.key_pem)
    signer_id, limits = _extension(signer, x509.SubjectKeyIdentifier), _extension(signer, x509.BasicConstraints)
    begin = _whole(now)
    if signer_id is None or limits is None or not limits.ca:
        what = "its certificate lacks the basic constraint CA or a subject key identifier, so strict clients refuse it"
        raise PoolerError(f"authority: {what} (give the certificate of an authority)")
    if signing_key.public_key() != signer.public_key():
        raise PoolerError("authority: the key is not that of the certificate (give the pair that belongs together)")
    if not signer.not_valid_before_utc <= begin < signer.not_valid_after_utc:
        life = f"{signer.not_valid_before_utc:%Y-%m-%d} to {signer.not_valid_after_utc:%Y-%m-%d}"
        raise PoolerError(f"authority: is valid from {life} and cannot sign at {begin:%Y-%m-%d} (make a new authority)")
    return signer, signing_key, signer_id


def _new_key(kind: KeyType) -> _SigningKey:
    if kind == "rsa":
        return rsa.generate_private_key(65537, _RSA_BITS)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def _key_type(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ecdsa"
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_").lower()


def _request_problems(request: LeafRequest) -> Iterable[Problem]:
    yield from _name_problems("certificate.common_name", request.common_name)
    for name in request.dns_names:
        if len(name) > 253 or not _DNS_NAME.fullmatch(name):
            remedy = "letters, digits, hyphens and dots; write a name in another script as its xn-- form"
            yield Problem("certificate.dns_names", f"{name!r} is no host name", remedy)
    for address in request.addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield Problem("certificate.addresses", f"{address!r} is no IP address", "for example 10.0.0.7 or fd00::7")
    if not request.usages or not request.usages <= _USAGES.keys():
        yield Problem("certificate.usages", f"{_shown(request.usages) or 'none'} cannot be", "server, client or both")
    if "server" in request.usages and not request.dns_names and not request.addresses:
        remedy = "give dns_names or addresses: clients do not look at the common name"
        yield Problem("certificate", "is for a server without a name", remedy)
    if request.days < 1:
        yield Problem("certificate.days", f"{request.days} is too short a life", "one day or more")


def _name_problems(place: str, name: str) -> Iterable[Problem]:
    if not 1 <= len(name) <= _COMMON_NAME_LENGTH or not name.isprintable():
        what = f"{name!r} cannot be a common name"
        yield Problem(place, what, f"1 to {_COMMON_NAME_LENGTH} printable characters")


def _refuse(problems: Iterable[Problem]) -> None:
    if found := tuple(problems):
        raise InvalidError(found)


def _certificate(pem: str, place: str) -> x509.Certificate:
    return _certificates(pem, place)[0]


def _certificates(pem: str, place: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise PoolerError(f"{place}: holds no certificate in PEM form that can be read (give one)") from None


def _key(pem: bytes, passphrase: bytes | None = None, place: str = "authority key") -> _SigningKey:
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        why = _unreadable_key(encrypted=b"ENCRYPTED" in pem, passphrase=passphrase is not None)
        raise PoolerError(f"{place}: {why}") from None
    if not isinstance(key, _SigningKey):
        raise PoolerError(f"{place}: a {type(key).__name__} cannot sign (use ECDSA, RSA or Ed25519)")
    return key


def _unreadable_key(*, encrypted: bool, passphrase: bool) -> str:
    if encrypted and passphrase:
        return "the passphrase does not open it (give the one it was locked with)"
    if encrypted:
        return "is encrypted (unlock it with its passphrase)"
    if passphrase:
        return "is no private key in PEM form that can be read (give one, encrypted for rest)"
    return "is no private key in PEM form that can be read (give one)"


def _key_pem(key: _SigningKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension):
        raise PoolerError("certificate: its extensions cannot be read (give another certificate)") from None


def _dns_names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name.lower() for name in names}))


def _addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({str(ipaddress.ip_address(address)) for address in addresses}))


def _serial_hex(serial: int) -> str:
    """Serials have up to 159 bits; all are written with as many digits, as they name directories."""
    return f"{serial:040x}"


def _whole(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0)


def _shown(usages: Iterable[str]) -> str:
    return " and ".join(sorted(usages))
