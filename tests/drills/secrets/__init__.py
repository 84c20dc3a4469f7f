"""What clients feel while secrets change: certificates, the authority that signs them, passwords.

Each row is a function from the scene to figures. A row leaves the fleet in order, whatever it has found.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.drills.figures import Figure
from tests.drills.fleet import booted

from . import brought, clock, expiry, logins, methods, passwords, rotation
from .scene import DATABASES, POOLER, Row, Scene

LAB = {
    "name": "drill-secrets",
    "subnet": "10.77.5.0/24",
    "hosts": {**{host: {"groups": ["database"]} for host in DATABASES}, POOLER: {"groups": ["pooler"]}},
}
ROWS: Mapping[str, Row] = {
    "expired": expiry.expired,  # before another authority takes over, which could not have issued what ends today
    "leaves": rotation.leaves,
    "authority": rotation.authority,
    "brought": brought.brought,
    "passwords": passwords.rotation,
    "methods": methods.methods,
    "logins": logins.logins,
    "timing": clock.timing,
}


def run(short: bool, runs: int = 1, events: Sequence[str] = ()) -> list[Figure]:
    """`events` are names of rows, all when none is said. There is no shorter form."""
    if unknown := {*events} - {*ROWS}:
        raise SystemExit(f"no such events: {', '.join(sorted(unknown))} (there are {', '.join(ROWS)})")
    with tempfile.TemporaryDirectory(prefix="pgfleet-drill-") as directory:
        passphrase = secrets.token_urlsafe(16)
        expiry.aged_authorities(Path(directory), passphrase)
        variables = {
            "pgbouncer_settings": {"log_connections": 0, "log_disconnections": 0},
            "certificates_authority_directory": directory,
            "certificates_passphrase": passphrase,
        }
        with booted(LAB, variables) as fleet:
            return measure(Scene(fleet), runs, events)


def measure(scene: Scene, runs: int = 1, events: Sequence[str] = ()) -> list[Figure]:
    """On a fleet that is there already."""
    figures: list[Figure] = []
    for name, row in ROWS.items():
        if not events or name in events:
            for number in range(1, runs + 1):
                began = time.monotonic()
                figures += row(scene)
                print(f"{name}, run {number}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return figures
