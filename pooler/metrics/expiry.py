"""Until when certificates in files are valid: as much of DER as that takes (X.690, RFC 5280), and no library."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ..errors import PoolerError

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_INTEGER, _VERSION, _SEQUENCE = 0x02, 0xA0, 0x30
_FORMS = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime and GeneralizedTime, as RFC 5280 wants them."""

_GARBLED = "has a certificate that cannot be understood"


@dataclass(frozen=True)
class Expiry:
    """`serial` in hexadecimal; valid since `since` and until `at`, in seconds since the epoch."""

    serial: str
    at: float
    since: float


def expiries(pem: str) -> list[Expiry]:
    """Of each certificate in a file. Raises PoolerError when there is none, or one that cannot be understood."""
    try:
        found = [of_certificate(base64.b64decode(text)) for text in _PEM.findall(pem)]
    except binascii.Error:
        raise PoolerError(_GARBLED) from None
    if not found:
        raise PoolerError("has no certificate")
    return found


def of_certificate(der: bytes) -> Expiry:
    """Raises PoolerError when it cannot be understood."""
    try:
        return _expiry(der)
    except (ValueError, IndexError, KeyError):
        raise PoolerError(_GARBLED) from None


def _expiry(der: bytes) -> Expiry:
    ((_tag, certificate),) = _elements(der)
    (_tag, to_be_signed), *_signature = _elements(certificate)
    fields = [element for element in _elements(to_be_signed) if element[0] != _VERSION]
    (serial_tag, serial), _algorithm, _issuer, (validity_tag, validity) = fields[:4]
    if (serial_tag, validity_tag) != (_INTEGER, _SEQUENCE):
        raise ValueError("not a certificate")
    since, at = (
        datetime.strptime(text.decode("ascii"), _FORMS[form]).replace(tzinfo=UTC).timestamp()
        for form, text in _elements(validity)
    )
    return Expiry(format(int.from_bytes(serial, "big"), "x"), at, since)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size > 0x7F:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + size > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + size]
        at += size
