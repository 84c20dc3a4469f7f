"""What each instance has to be told so that all of them end up as asked, and how to take it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verb = Literal["RELOAD", "PAUSE", "RESUME", "RECONNECT", "DISABLE", "ENABLE", "KILL", "KILL_CLIENT", "WAIT_CLOSE"]
Answers = Mapping[str, Sequence[Mapping[str, str]]]

ASKED = {
    "PAUSE": ("STATE", "DATABASES"),
    "RESUME": ("STATE", "DATABASES"),
    "DISABLE": ("DATABASES",),
    "ENABLE": ("DATABASES",),
    "KILL_CLIENT": ("CLIENTS",),
}
"""The SHOW commands whose answers `statements` needs; of any other verb only whether the console answers."""

NEED_DATABASE = ("DISABLE", "ENABLE", "KILL")
TAKE_NO_DATABASE = ("RELOAD", "KILL_CLIENT")


@dataclass(frozen=True)
class Command:
    """`database` None means all; `user` is whose sessions KILL_CLIENT ends."""

    verb: Verb
    database: str | None = None
    user: str | None = None


def statements(command: Command, answers: Answers) -> tuple[str, ...]:
    """What one instance is to be told, given what it says; nothing when it is already as asked."""
    match command.verb:
        case "PAUSE":
            return _spelled(command) if _unpaused(command, answers) else ()
        case "RESUME":
            return _resume(command, answers)
        case "DISABLE" | "ENABLE":
            wanted = "1" if command.verb == "DISABLE" else "0"
            rows = [row for row in answers["DATABASES"] if row["name"] == command.database]
            return () if rows and rows[0]["disabled"] == wanted else _spelled(command)
        case "KILL_CLIENT":
            return tuple(f"KILL_CLIENT {row['id']}" for row in answers["CLIENTS"] if row["user"] == command.user)
        case _:
            return _spelled(command)


def undo(command: Command) -> tuple[str, ...]:
    """What takes a command back that some instances have carried out and others have not."""
    opposite: dict[str, Verb] = {"PAUSE": "RESUME", "DISABLE": "ENABLE"}
    if command.verb not in opposite:
        return ()
    return _spelled(Command(opposite[command.verb], command.database))


def paused(command: Command, before: frozenset[str]) -> frozenset[str]:
    """Which databases an operator wants paused once the command is carried out; `*` stands for all."""
    if command.verb == "PAUSE":
        return before | {command.database or "*"}
    if command.verb == "RESUME":
        return before - {command.database} if command.database else frozenset()
    return before


def _unpaused(command: Command, answers: Answers) -> bool:
    if _state(answers, "paused"):
        return False
    if command.database is None:
        return True
    return any(row["name"] == command.database and row["paused"] == "0" for row in answers["DATABASES"])


def _resume(command: Command, answers: Answers) -> tuple[str, ...]:
    """A global RESUME leaves databases paused that KILL or PAUSE of a database have paused, so they are named."""
    paused = [row["name"] for row in answers["DATABASES"] if row["paused"] == "1"]
    if command.database is not None:
        paused = [name for name in paused if name == command.database]
    everything = command.database is None and (_state(answers, "paused") or _state(answers, "suspended"))
    return (*(("RESUME",) if everything else ()), *(f"RESUME {quoted(name)}" for name in paused))


def _state(answers: Answers, name: str) -> bool:
    return any(row["key"] == name and row["value"] == "yes" for row in answers["STATE"])


def _spelled(command: Command) -> tuple[str, ...]:
    return (f"{command.verb} {quoted(command.database)}" if command.database else command.verb,)


def quoted(name: str) -> str:
    """A name as the console reads it."""
    return '"' + name.replace('"', '""') + '"'
