"""Cancel requests: any instance may get them, and passes them on to the one that has the query."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts import Facts
from ..finding import Finding, failed, ok, unknown

PEERS = "peers"
CANCEL = "cancel"

_SITE = "run the site playbook, which writes [peers] and peer_id"


def configured(facts: Facts) -> Iterator[Finding]:
    wanted = len(facts.instances)
    if wanted == 1:
        yield ok(PEERS, facts.host, "one instance needs none")
        return
    ids: dict[str, int] = {}
    for console, instance in facts.instances.items():
        place = facts.named(console)
        if "PEERS" not in instance.shows or "CONFIG" not in instance.shows:
            yield unknown(PEERS, place, "has not told its peers", "see the checks of reachability")
            continue
        own, known = instance.config("peer_id"), {row["peer_id"] for row in instance.shows["PEERS"]}
        if own in ("", "0"):
            yield failed(PEERS, place, "has no peer_id: cancel requests get lost", _SITE)
        elif own in ids:
            yield failed(PEERS, place, f"has the peer_id {own}, as {facts.named(ids[own])} has", _SITE)
        elif len(known | {own}) < wanted:
            yield failed(PEERS, place, f"knows {len(known | {own})} of {wanted} instances", _SITE)
        else:
            yield ok(PEERS, place, f"is peer {own} of {wanted}")
        ids[own] = console


def cancel(facts: Facts) -> Iterator[Finding]:
    if facts.cancels is None:
        yield unknown(CANCEL, facts.host, f"was not tried: {facts.no_cancels}", "again when clients are served")
        return
    for each in facts.cancels:
        place = f"{facts.named(each.of)} through {each.through}"
        if each.error:
            yield failed(CANCEL, place, f"a query was not cancelled: {each.error}", _SITE)
        else:
            yield ok(CANCEL, place, f"a query was cancelled after {each.seconds * 1000:.0f} ms")
