"""Certificates: what every port shows, whose it is, for which names; and until when everything is valid."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime

from ...metrics.expiry import Expiry
from ..facts import Door, Facts
from ..finding import Finding, failed, ok, warning

TLS = "tls"
EXPIRY = "expiry"

DAY = 86400.0
EARLY = 60 * DAY
"""Before its end a certificate is told of when a quarter of its life is left, or so many seconds.

The role issues a leaf anew in the last third: who runs it each week never sees a warning.
"""

_ROLE = "run the playbook pgfleet.pooler.rotate_certificates"


def shown(facts: Facts) -> Iterator[Finding]:
    for door in facts.doors:
        yield _door(facts, door)


def expiry(facts: Facts) -> Iterator[Finding]:
    """Of files; and of ports that show something else than the files have, or nothing of ours."""
    for path, found in facts.files.items():
        yield _expiry(facts, f"{facts.host} {path}", min(found, key=lambda each: each.at))
    for path, why in facts.unreadable.items():
        yield failed(EXPIRY, f"{facts.host} {path}", why, "run the site playbook, which issues what is missing")
    ours = {each.serial for found in facts.files.values() for each in found}
    for door in facts.doors:
        if door.expiry is None:
            continue
        if _own(door):
            if door.expiry.serial not in ours:
                said = f"shows a certificate (serial {door.expiry.serial}) that is not the one on disk"
                yield warning(
                    EXPIRY,
                    f"{facts.host} {door.port}",
                    said,
                    "it was renewed and never read: RELOAD, or run the site playbook",
                )
        else:
            yield _expiry(facts, door.port, door.expiry)


def _door(facts: Facts, door: Door) -> Finding:
    place = f"{facts.host} {door.port}" if _own(door) else door.port
    if door.error:
        return failed(TLS, place, f"no TLS there: {door.error}", "is the service up, and does it have its certificate?")
    if door.untrusted:
        said = f"the chain is not to be trusted: {door.untrusted}"
        return failed(TLS, place, said, "its leaf and ca.crt have to come from one authority: " + _ROLE)
    if not any(_covers(name, wanted) for name in door.names for wanted in door.wanted):
        said = f"the certificate is for {', '.join(door.names) or 'nobody'}, and not for {' or '.join(door.wanted)}"
        remedy = "give the host that name or address (certificates_names), then " + _ROLE
        return failed(TLS, place, said, remedy)
    return ok(TLS, place, f"chain trusted, for {', '.join(door.names)}")


def _expiry(facts: Facts, place: str, found: Expiry) -> Finding:
    left = found.at - facts.now
    when = datetime.fromtimestamp(found.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if left <= 0:
        return failed(EXPIRY, place, f"has expired at {when}", _ROLE)
    if facts.now < found.since:
        return failed(EXPIRY, place, "is not valid yet: a clock is wrong, here or where it was issued", "set the clock")
    said = (
        f"valid until {when}, {left / DAY:.0f} days"
        if left >= 2 * DAY
        else f"valid until {when}, {left / 3600:.0f} hours"
    )
    if left < min((found.at - found.since) / 4, EARLY):
        return warning(EXPIRY, place, said, _ROLE + " now")
    return ok(EXPIRY, place, said)


def _own(door: Door) -> bool:
    return not door.port.startswith(("PostgreSQL", "Patroni"))


def _covers(name: str, wanted: str) -> bool:
    """RFC 6125, as much as clients do: addresses alike, names without regard to case, a star for the first word."""
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(wanted)
    except ValueError:
        name, wanted = name.lower(), wanted.lower()
    if name.startswith("*."):
        return wanted.partition(".")[2] == name[2:]
    return name == wanted
