# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Leaves as a task describes them, why one of them is due, and how it is issued."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...pooler import certificates
from ...pooler.errors import InvalidError, PoolerError, Problem
from ...pooler.model import Pooler
from .leaves import FoundLeaf


@dataclass(frozen=True)
class Wanted:
    """A leaf with the directory it lies in and the numeric id of its owner. `brought`: somebody else has issued it."""

    directory: str
    owner: int
    request: certificates.LeafRequest
    brought: certificates.Leaf | None = None


def wanted(arguments: Mapping[str, Any], host_name: str, now: datetime) -> list[Wanted]:
    """The options `leaves`, `names`, `days`, `key_type` and `brought`. Raises InvalidError with every problem of
    directories and of leaves that somebody else has issued.
    """
    found: list[Wanted] = []
    problems: list[Problem] = []
    brought = _brought(arguments.get("brought", ()), now, problems)
    for index, entry in enumerate(arguments["leaves"]):
        place, directory = f"leaves[{index}].directory", entry["directory"].rstrip("/")
        if not directory.startswith("/"):
            problems.append(
                Problem(place, f"{entry['directory']!r} is no absolute path", "such as /etc/pgbouncer/tls/server")
            )
        if directory in [leaf.directory for leaf in found]:
            problems.append(Problem(place, f"{directory} is that of another leaf", "give each leaf a directory"))
        names = entry["names"]
        if names is None:
            names = arguments["names"] if "server" in entry["usages"] else []
        request = certificates.LeafRequest(
            common_name=entry["common_name"] or host_name,
            dns_names=tuple(name for name in names if not _is_address(name)),
            addresses=tuple(name for name in names if _is_address(name)),
            usages=frozenset(entry["usages"]),
            days=arguments["days"],
            key_type=arguments.get("key_type", "ecdsa"),
        )
        found.append(Wanted(directory, entry["owner"], request, brought.pop(directory, None)))
    problems += [Problem("brought", f"{directory} is the directory of no leaf") for directory in brought]
    if problems:
        raise InvalidError(problems)
    return found


def of_instances(pooler: Pooler) -> list[dict[str, Any]]:
    """What instances show to clients, then what to PostgreSQL, in the form of the option `leaves`."""
    leaf = {"names": None, "owner": pooler.uid}
    return [
        leaf | {"directory": f"{pooler.tls_directory}/server", "common_name": None, "usages": ["server"]},
        leaf
        | {"directory": f"{pooler.tls_directory}/client", "common_name": pooler.certified_role, "usages": ["client"]},
    ]


def issue(signer: certificates.Authority, leaf: Wanted, now: datetime) -> certificates.Leaf:
    """Raises InvalidError, naming the leaf, for names that cannot be certified."""
    try:
        return certificates.issue(signer, leaf.request, now)
    except InvalidError as error:
        place = f"leaf {leaf.directory}"
        raise InvalidError([Problem(place, problem.what, problem.remedy) for problem in error.problems]) from None


def reasons(wanted: Wanted, found: FoundLeaf, authority: str | None, now: datetime) -> list[str]:
    """Why the leaf must be issued, in words; none when the one found serves on."""
    if not found.serial:
        return ["there is none"]
    why = found.trouble(wanted.owner)
    if wanted.brought:
        there, given = (
            (found.certificate, found.authority),
            (wanted.brought.certificate_pem, wanted.brought.authority_pem),
        )
        same = [text.strip() for text in there] == [text.strip() for text in given]
        return why if same else [*why, "another one was brought"]
    if authority is None:
        return [*why, "there is no authority yet"]
    state = found.state()
    if state is None:
        return why or ["tls.crt holds no certificate"]
    if due := certificates.due(state, wanted.request, authority, now):
        why.append(due)
    if found.authority.strip() != authority.strip():
        why.append("ca.crt is not that of the authority")
    return why


def _brought(
    entries: Sequence[Mapping[str, Any]], now: datetime, problems: list[Problem]
) -> dict[str, certificates.Leaf]:
    """By directory; what cannot be used is added to the problems."""
    found = {}
    for index, entry in enumerate(entries):
        try:
            leaf = certificates.brought(entry["certificate"], entry["private_key"], entry["authority"], now)
        except PoolerError as error:
            problems.append(Problem(f"brought[{index}]", str(error)))
        else:
            found[entry["directory"].rstrip("/")] = leaf
    return found


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
