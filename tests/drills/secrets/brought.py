"""Certificates that somebody else has issued take the place of ours under load, and ours come back."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pooler import certificates, served
from pooler.certificates import LeafRequest
from tests.drills.figures import Figure
from tests.drills.under_load import Mark

from .rotation import fingerprints, key_lines
from .scene import POOLER, Scene

SITE = "pgfleet.pooler.site"
_DIRECTORY = "/etc/pgbouncer/tls/server"
_DAYS = 90


def brought(scene: Scene) -> list[Figure]:
    """What clients of the pool are shown comes from a company's authority, which they trust besides ours."""
    what = "certificates of others"
    now = datetime.now(UTC)
    company = certificates.new_authority("company", now=now)
    was = certificates.inspect(scene.fleet.sh(POOLER, f"cat {_DIRECTORY}/current/tls.crt"))
    request = LeafRequest(was.common_name, was.dns_names, was.addresses, was.usages, _DAYS)
    leaf = certificates.issue(company, request, now)
    trusted = certificates.trusted(company.certificate_pem, scene.fleet.authority.read_text())
    given = {
        "directory": _DIRECTORY,
        "certificate": leaf.certificate_pem,
        "private_key": leaf.key_pem.decode(),
        "authority": trusted,
    }
    shown = again = 0

    def event(mark: Mark) -> None:
        nonlocal shown, again
        scene.play(SITE, certificates_brought=[given])
        mark("theirs")
        shown = _showing(scene, leaf.certificate_pem)
        again = scene.play(SITE, certificates_brought=[given]).changed
        scene.play(SITE)
        mark("ours")

    with tempfile.TemporaryDirectory(prefix="pgfleet-drill-") as directory:
        both = Path(directory, "ca.crt")
        both.write_text(trusted)
        figures = scene.felt(what, event, replace(scene.settings(), ca=str(both)))
    ports = sum(host == POOLER for host, _port in fingerprints(scene))
    return [
        *figures,
        Figure(f"{what}: ports of the pooler host that show it", shown, f"of {ports}", least=ports),
        Figure(f"{what}: tasks that change something in the run after", again, "", 0),
        Figure(f"{what}: ports that show it when ours are back", _showing(scene, leaf.certificate_pem), "", 0),
        *scene.found(what, key_lines(leaf.key_pem) | key_lines(company.key_pem), may=("/tls.key",)),
        scene.went_wrong(what),
    ]


def _showing(scene: Scene, pem: str) -> int:
    return sum(found == {served.fingerprint(pem)} for found in fingerprints(scene).values())
