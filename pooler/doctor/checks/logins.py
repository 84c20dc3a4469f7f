"""What is asked of somebody who wants to log in, and which parameters a driver may send along."""

from __future__ import annotations

from collections.abc import Iterator

from ..doors import NOTHING, SCRAM
from ..facts import Facts
from ..finding import Finding, failed, ok, unknown, warning

LOGIN = "scram"
PARAMETERS = "startup parameters"

NEEDED = ("extra_float_digits", "options")
"""JDBC sends the first to everybody; of the second see CVE-2026-107349."""

_NOT_ASKED = "see what the checks of reachability and TLS say"


def scram(facts: Facts) -> Iterator[Finding]:
    """By the port that only this instance has. A stranger is asked as users are, since auth_query has a decoy."""
    for console, instance in facts.instances.items():
        place = facts.named(console)
        if "" not in instance.asked:
            yield unknown(LOGIN, place, "there is no database of clients to ask for", "give pgbouncer_databases")
        elif instance.asked[""] == SCRAM:
            yield ok(LOGIN, place, "asks a stranger for SCRAM-SHA-256 over TLS")
        elif instance.asked[""] == NOTHING:
            yield failed(LOGIN, place, "lets a stranger in without a password", "a rule says trust: pgbouncer_rules")
        elif "no such user" in instance.asked[""]:
            said = "tells strangers from users before it has asked for anything"
            yield warning(LOGIN, place, said, "get_auth of this collection has decoys: run the site playbook")
        else:
            yield failed(
                LOGIN, place, f"asks a stranger for: {instance.asked['']}", "pgbouncer_rules: scram-sha-256 for all"
            )


def startup_parameters(facts: Facts) -> Iterator[Finding]:
    for console, instance in facts.instances.items():
        place, asked = facts.named(console), instance.asked
        if any(name not in asked for name in NEEDED):
            yield unknown(PARAMETERS, place, "could not be asked", _NOT_ASKED)
            continue
        refused = [name for name, answer in asked.items() if name and "unsupported startup parameter" in answer]
        needed = [name for name in refused if name in NEEDED]
        said = f"drivers may send {', '.join(name for name in asked if name and name not in refused)}"
        others = f"; refused: {', '.join(refused)}" if refused else ""
        if needed:
            remedy = f"pgbouncer_settings: ignore_startup_parameters: {','.join(NEEDED)}"
            yield failed(PARAMETERS, place, f"refuses drivers that send {', '.join(needed)}", remedy)
        else:
            yield ok(PARAMETERS, place, said + others)
