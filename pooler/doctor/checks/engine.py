"""The engine: holes that are open in its version, and whether it runs what its files say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from ... import settings
from ...errors import InvalidError
from ..facts import Facts
from ..finding import Finding, ok, unknown, warning

VULNERABILITIES = "vulnerabilities"
CONFIGURATION = "configuration"

_MENDED = (
    "run the playbook pgfleet.pooler.upgrade with a new image (-e pgbouncer_image=localhost/pgfleet/pooler:NEW): "
    "it is built with the newest package; until there is a mended one, keep `options` in ignore_startup_parameters "
    "(CVE-2026-107349) and passwords out of the userlist, by auth_query (CVE-2026-107350)"
)


def vulnerabilities(facts: Facts) -> Iterator[Finding]:
    for console, instance in facts.instances.items():
        place = facts.named(console)
        said = " ".join(next(iter(instance.shows.get("VERSION", ())), {}).values())
        try:
            version = settings.parse_version(said)
            same = facts.package and settings.parse_version(facts.package) == version
        except InvalidError:
            yield unknown(VULNERABILITIES, place, "has not told its version", "see the checks of reachability")
            continue
        package = facts.package if same else None
        what = f"{settings.spelled(version)}{f', package {package}' if package else ''}"
        if holes := settings.vulnerabilities(version, package):
            yield warning(VULNERABILITIES, place, f"{what}: {', '.join(holes)} open", _MENDED)
        else:
            yield ok(VULNERABILITIES, place, f"{what}: no known hole")


def configuration(facts: Facts) -> Iterator[Finding]:
    """All instances read one release of files, unless one of them was not told, or has refused."""
    runs = {
        console: PurePosixPath(instance.config("auth_file")).parent.name
        for console, instance in facts.instances.items()
        if instance.config("auth_file")
    }
    if not runs:
        yield unknown(CONFIGURATION, facts.host, "no instance has told its files", "see the checks of reachability")
    elif len(set(runs.values())) > 1:
        said = ", ".join(f"{console} runs {release}" for console, release in runs.items())
        yield warning(
            CONFIGURATION, facts.host, said, "run the site playbook, and see the journal for why one has refused"
        )
    else:
        yield ok(CONFIGURATION, facts.host, f"all run {', '.join(set(runs.values()))}")
