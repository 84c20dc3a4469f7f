"""Everything that the checks of one pooler host look at. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..agent.config import AgentConfig
from ..metrics.expiry import Expiry
from ..patroni import Cluster
from ..server import Server

Rows = tuple[Mapping[str, str], ...]
"""An answer of a console, each row by the names of the columns."""


@dataclass(frozen=True)
class Door:
    """A port as somebody finds it who comes with TLS.

    `error` says why there was no TLS at all, `untrusted` why the chain does not lead to our authority; both are empty
    when all is well. `names` are those in the certificate. `wanted`: one of them has to be among these, for the name
    by which the port is called is one of these.
    """

    port: str
    wanted: tuple[str, ...]
    names: tuple[str, ...] = ()
    expiry: Expiry | None = None
    untrusted: str = ""
    error: str = ""


@dataclass(frozen=True)
class Instance:
    """`shows` by the SHOW command; of those that are not there `missing` says why, of `CONSOLE` when nobody answers.

    `asked`: what a stranger is asked for who sends this parameter at the start of a connection, "" for none, or the
    words with which the engine refuses.
    """

    shows: Mapping[str, Rows] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)

    def config(self, key: str) -> str:
        """One of its settings as it runs; empty when it is not known."""
        return next((row["value"] for row in self.shows.get("CONFIG", ()) if row["key"] == key), "")

    def counted(self, item: str) -> int:
        """Of SHOW LISTS; 0 when it is not known."""
        return next((int(row["items"]) for row in self.shows.get("LISTS", ()) if row["list"] == item), 0)

    def state(self, key: str) -> bool:
        """Of SHOW STATE, such as `paused`."""
        return any(row["key"] == key and row["value"] == "yes" for row in self.shows.get("STATE", ()))


@dataclass(frozen=True)
class Cancel:
    """A query on one instance, and a request to cancel it that was given to another; `error` when it went on."""

    of: int
    through: int
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Postgres:
    """A server as it answers over a direct connection; `error` says why it does not.

    `room` is how many connections ordinary roles may have. `ahead` is how far its clock is ahead of ours, and `within`
    how sure that is. `locks`: advisory locks that outlive a transaction, by the process that holds them.
    """

    writable: bool = False
    room: int = 0
    ahead: float = 0.0
    within: float = 0.0
    locks: Mapping[int, int] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class GetAuth:
    """The function of auth_query as its database has it (`said`: see doctor/servers.py).

    `error` says why that is not known.
    """

    role: str = ""
    name: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Facts:
    """`status` is the agent's own word, None when it does not answer, and `status_error` why.

    `patroni` by URL, a text instead of a cluster says why there is none. `files` has the certificates of each file,
    `unreadable` why there are none. `get_auth` is None where
    nobody is asked for verifiers. `cancels` is None when no query could be tried, and `no_cancels` says why. `sysctls`
    has None for one that this kernel does not have. `package` is the engine's in the image.
    """

    host: str
    now: float
    config: AgentConfig
    addresses: tuple[str, ...] = ()
    doors: tuple[Door, ...] = ()
    instances: Mapping[int, Instance] = field(default_factory=dict)
    status: Mapping[str, Any] | None = None
    status_error: str = ""
    patroni: Mapping[str, Cluster | str] = field(default_factory=dict)
    servers: Mapping[Server, Postgres] = field(default_factory=dict)
    get_auth: GetAuth | None = None
    cancels: tuple[Cancel, ...] | None = None
    no_cancels: str = ""
    sysctls: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, Sequence[Expiry]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    package: str = ""

    def named(self, console: int) -> str:
        return f"{self.host}:{console}"
