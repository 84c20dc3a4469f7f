"""Logins that instances have refused, by reason: the engine counts none, and says each to the journal in one line.

systemd hands on those lines over a unix socket, and no others; where there is no such socket nothing is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from typing import Literal, get_args

from ..auth_query import STRANGER
from . import journal
from .config import LOGINS

Reason = Literal[
    "password", "user", "database", "certificate", "rule", "plain", "limit", "timeout", "protocol", "stopping"
]
REASONS: tuple[Reason, ...] = get_args(Reason)

_AGAIN = 5.0
"""Seconds until it is tried again to hear of them."""

_AT_MOST = 1 << 16
"""Bytes of one line. Names in it have 127 at most."""

# A name may have all kinds of things in it, a newline as well, after which the engine writes a tab.
_LINE = re.compile(r"[\d-]+ [\d:.]+ \w+ \[\d+\] WARNING C-\w+: (?P<who>.*) pooler error: (?P<why>.*)", re.DOTALL)
_UNIT = re.compile(r"pgbouncer@(\d+)\.service")

_WHY: tuple[tuple[Reason, str], ...] = (
    ("password", "(SASL|password|MD5|PAM) authentication failed|empty password returned by client"),
    ("user", "no such user.*"),
    ("database", "no such database.*|database .* is disabled|a database is required"),
    ("certificate", "certificate authentication failed|TLS client certificate required|TLS certificate name mismatch"),
    ("rule", "login rejected|no authentication method is found|not allowed"),
    ("plain", "SSL required|TLS connection required"),
    ("limit", "no more connections allowed.*|client connections exceeded.*"),
    ("timeout", "client_login_timeout.*"),
    ("protocol", "unsupported (options )?startup parameter.*|unsupported protocol.*|old V2 protocol.*"),
    ("protocol", "no username supplied"),
    ("stopping", "pooler is shutting down"),
)
"""The engine's words, of 1.18 to 1.25. Others are PostgreSQL's, or to clients that are in."""


class Logins:
    """`refused` by console and reason; `heard` when it has ever been told of any place that tells.

    `trouble` says why nothing is heard now.
    """

    def __init__(self, consoles: tuple[int, ...], path: str = LOGINS) -> None:
        self.refused = Counter[tuple[int, Reason]]()
        self.heard = False
        self.trouble = ""
        self._consoles = consoles
        self._path = path

    async def run(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path, limit=_AT_MOST)
            except FileNotFoundError:
                # Nobody has promised any.
                self.trouble = "the socket is gone" if self.heard else ""
            except OSError as error:
                self.trouble = error.strerror or str(error)
            else:
                self.heard, self.trouble = True, ""
                with contextlib.closing(writer):
                    await self._listen(reader)
                self.trouble = "nobody tells of them any more"
                journal.trouble(f"{self._path}: {self.trouble}")
            await asyncio.sleep(_AGAIN)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := await reader.readline():
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            unit, message = _UNIT.fullmatch(entry["_SYSTEMD_UNIT"]), entry["MESSAGE"]
        except (ValueError, KeyError, TypeError):
            return
        # What is not UTF-8 comes as a list of bytes.
        text = bytes(message).decode("latin-1") if isinstance(message, list) else str(message)
        why = reason(text)
        if unit and why and int(unit[1]) in self._consoles:
            self.refused[int(unit[1]), why] += 1


def reason(line: str) -> Reason | None:
    """Why the engine has refused a login, by its line in the journal; None when it says something else."""
    found = _LINE.match(line)
    if found is None:
        return None
    for why, words in _WHY:
        if re.fullmatch(words, found["why"], re.DOTALL):
            return _of_whom(found["who"]) if why == "password" else why
    return None


def _of_whom(who: str) -> Reason:
    """Strangers are asked for a password too, so that nobody learns who is none. The engine itself knows."""
    if who.startswith("(nodb)/"):
        return "database"
    return "user" if f"/{STRANGER}@" in who else "password"
