"""What on a host is no longer as the last change left it, by what the host itself says and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import ini, settings, units
from .bundle import CURRENT, DATABASES, PLACEHOLDER, RELEASES, release_name
from .errors import InvalidError
from .files import File
from .observed import Instance, Observed
from .plan import Change, Effect, config_changes, process_changes

_UNIT_FILES = (units.CONTAINER, units.TMPFILES, units.SYSCTL)


def drift(observed: Observed) -> tuple[Change, ...]:
    """Every difference with the effect that putting it right has. Nothing was ever set up here: none."""
    if not observed.release:
        left = observed.instances or observed.files
        return (Change(CURRENT, Effect.NONE, "is missing"),) if left else ()
    changes = [*_file_changes(observed), *_agent_changes(observed)]
    for console in _consoles(observed):
        changes += _instance_changes(console, observed)
    if observed.unfinished.expel or observed.unfinished.reconnect or observed.unfinished.drains:
        changes.append(Change("an earlier run", Effect.RELOAD, "was broken off"))
    return tuple(changes)


def _consoles(observed: Observed) -> list[int]:
    """Instances that are to run by the files, and those that do."""
    wanted = {int(found[1]) for path in observed.files if (found := re.search(r"/(\d+)\.ini$", path))}
    return sorted(wanted | {console for console, instance in observed.instances.items() if instance.active})


def _file_changes(observed: Observed) -> Iterator[Change]:
    directory = f"{RELEASES}/{observed.release}"
    files = [
        File(
            path.replace(observed.release, PLACEHOLDER),
            found.content.replace(observed.release.encode(), PLACEHOLDER.encode()),
            found.mode,
            found.owner,
        )
        for path, found in observed.files.items()
        if path.startswith(f"{directory}/")
    ]
    databases = _databases(observed)
    if databases is None:
        yield Change(DATABASES, Effect.RELOAD, "is missing, or not what the engine can read")
    elif observed.release != release_name(files, databases):
        yield Change(f"{directory} or {DATABASES}", Effect.RELOAD, "is not as it was written")
    yield from (Change(path, Effect.NONE, "is missing") for path in _missing_units(observed))
    if units.CONTAINER in observed.files and _label(observed) != units.digest_of(_unit_texts(observed)):
        yield Change(units.CONTAINER, Effect.NONE, "or its socket is not as it was written")


def _databases(observed: Observed) -> dict[str, dict[str, str]] | None:
    if DATABASES not in observed.files:
        return None
    try:
        return ini.parse(observed.files[DATABASES].content.decode(), version=settings.NEWEST).databases
    except (InvalidError, UnicodeDecodeError):
        return None


def _missing_units(observed: Observed) -> list[str]:
    expected = [*_UNIT_FILES, *([units.SOCKET] if _by_socket(observed) else [])]
    return [path for path in expected if path not in observed.files]


def _unit_texts(observed: Observed) -> list[str]:
    paths = (units.CONTAINER, units.SOCKET)
    return [observed.files[path].content.decode(errors="replace") for path in paths if path in observed.files]


def _label(observed: Observed) -> str:
    """The digest that the unit file gives itself."""
    found = re.search(rf"^Label={re.escape(units.LABEL)}=(\S+)$", "\n".join(_unit_texts(observed)), re.MULTILINE)
    return found[1] if found else ""


def _by_socket(observed: Observed) -> bool:
    return any("\nSockets=" in text for text in _unit_texts(observed)) or units.SOCKET in observed.files


def _agent_changes(observed: Observed) -> Iterator[Change]:
    if units.AGENT in observed.files and not (observed.agent and observed.agent.active):
        yield Change("the agent", Effect.NONE, "is not running")


def _instance_changes(console: int, observed: Observed) -> Iterator[Change]:
    instance = observed.instances.get(console, Instance(console))
    text = observed.files.get(f"{RELEASES}/{observed.release}/{console}.ini")
    if not instance.active:
        yield Change("the process", Effect.NONE, "is not running", console)
        return
    if text is None:
        yield Change("the process", Effect.ROLLING_RESTART, "is more than wanted", console)
        return
    # A unit file that is gone, or says nothing of itself, is told of by itself.
    label = _label(observed) or instance.unit_digest
    yield from process_changes(instance, label, observed.image_id, by_socket=_by_socket(observed))
    if not instance.answers:
        return
    try:
        wanted = ini.parse(text.content.decode(), version=settings.NEWEST)
    except (InvalidError, UnicodeDecodeError):
        yield Change(f"{console}.ini", Effect.RELOAD, "is not what the engine can read", console)
        return
    yield from config_changes(instance, wanted, _databases(observed) or {})
