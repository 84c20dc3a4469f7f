"""A container unit with its files on a host: what is wanted, what a host says, what is to be done about the difference.

The unit goes to podman's quadlet generator. Three lines are added to its text: the container's name, a label with the
digest of the unit and the files it was started from, and a note of the watched files at each start. So what a running
container was started from can be read of it at any time, and a second run completes what a broken one began.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import InvalidError, Problem
from .files import File
from .observed import FoundFile

UNITS = "/etc/containers/systemd"
RECORDS = "/var/lib/pgfleet"
LABEL = "pgfleet.unit"


@dataclass(frozen=True)
class Directory:
    """`owner` is a numeric user and group id."""

    path: str
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True)
class Quadlet:
    """What one unit is to be.

    `restarting` files are read by the container when it starts, `reloading` ones are brought into force by the
    command `reload`, `watched` ones belong to somebody else and are read at start and by `reload`. `reload` and `wait`
    are commands run in the container; an empty `reload` means that a change of a watched file asks for a restart.
    `guard` has to succeed in it before it is restarted, and while `spare` does, the restart is left for later.
    `text` and `digest` are empty for a unit that is to be absent.
    """

    name: str
    image: str = ""
    text: str = ""
    digest: str = ""
    restarting: tuple[File, ...] = ()
    reloading: tuple[File, ...] = ()
    directories: tuple[Directory, ...] = ()
    watched: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    wait: tuple[str, ...] = ()
    guard: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    wait_timeout: int = 0
    may_restart: bool = True
    may_pull: bool = False

    @property
    def service(self) -> str:
        return f"{self.name}.service"

    @property
    def absent(self) -> bool:
        return not self.text

    @property
    def unit(self) -> File:
        return File(unit_path(self.name), self.text.encode())

    @property
    def files(self) -> tuple[File, ...]:
        return (self.unit, *self.restarting, *self.reloading)

    @classmethod
    def from_variables(cls, options: Mapping[str, Any]) -> Quadlet:
        """From the options of the module `quadlet`. Raises InvalidError with every mistake in them."""
        problems = list(_problems(options))
        if problems:
            raise InvalidError(problems)
        files = [(_file(entry), entry["restart"]) for entry in options["files"]]
        common: dict[str, Any] = {
            "name": options["name"],
            "restarting": tuple(file for file, restart in files if restart),
            "reloading": tuple(file for file, restart in files if not restart),
            "directories": tuple(
                Directory(entry["path"], int(entry["mode"], 8), entry["owner"]) for entry in options["directories"]
            ),
            "watched": tuple(options["watch"]),
        }
        if options["state"] == "absent":
            return cls(**common)
        image = _images(options["container"])[0]
        text, digest = _render(options["name"], options["container"], common["restarting"], common["watched"])
        pull = options["pull"]
        return cls(
            **common,
            image=image,
            text=text,
            digest=digest,
            reload=tuple(options["reload"]),
            wait=tuple(options["wait"]),
            guard=tuple(options["guard"]),
            spare=tuple(options["spare"]),
            wait_timeout=options["wait_timeout"],
            may_restart=options["restart"],
            may_pull=not image.startswith("localhost/") if pull is None else pull,
        )


@dataclass(frozen=True)
class Observed:
    """What a host says.

    `watched` and `recorded` are lines of `sha256sum` over the watched files, now and when the container last read them;
    `reloaded` is the digest of the files that `reload` last brought into force. `container_digest` is the label of the
    running container, None when none runs. `ready`: the command `wait` succeeds; `spared`: the command `spare` does.
    """

    files: Mapping[str, FoundFile] = field(default_factory=dict)
    directories: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    image_id: str = ""
    unit_state: str = ""
    container_image: str = ""
    container_digest: str | None = None
    watched: str = ""
    recorded: str = ""
    reloaded: str = ""
    ready: bool = False
    spared: bool = False

    @property
    def running(self) -> bool:
        return self.unit_state == "active" and self.container_digest is not None


@dataclass(frozen=True)
class Plan:
    """What to do on one host, and why; `restart_due` and `reload_due` tell what is left for another time."""

    write: tuple[File, ...] = ()
    directories: tuple[Directory, ...] = ()
    pull: bool = False
    start: bool = False
    restart: bool = False
    reload: bool = False
    wait: bool = False
    restart_due: bool = False
    reload_due: bool = False
    why: tuple[str, ...] = ()
    why_reload: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        return bool(
            self.write or self.directories or self.pull or self.start or self.restart or self.reload or self.remove
        )

    @property
    def acts(self) -> bool:
        return self.changes or self.wait

    def steps(self, quadlet: Quadlet) -> tuple[str, ...]:
        """The order of work, in words."""
        why, why_reload = "; ".join(self.why), "; ".join(self.why_reload)
        words = [f"remove {what}" for what in self.remove]
        words += [f"pull {quadlet.image}"] * self.pull
        words += [f"make {directory.path}" for directory in self.directories]
        words += [f"write {file.path}" for file in self.write]
        words += [f"start {quadlet.name}: {why}"] * self.start
        words += [f"restart {quadlet.name}: {why}"] * self.restart
        words += [f"reload {quadlet.name}: {why_reload}"] * self.reload
        words += [f"leave a restart of {quadlet.name} for later: {why}"] * self.restart_due
        return tuple(words)


def unit_path(name: str) -> str:
    return f"{UNITS}/{name}.container"


def watched_record(name: str) -> str:
    """The file with the digests of the watched files as the container last read them."""
    return f"{RECORDS}/{name}.watched"


def reloaded_record(name: str) -> str:
    """The file with the digest of the files that `reload` last brought into force."""
    return f"{RECORDS}/{name}.reloaded"


def reloading_digest(quadlet: Quadlet) -> str:
    return _digest("", quadlet.reloading) if quadlet.reloading else ""


def plan(quadlet: Quadlet, observed: Observed) -> Plan:
    """Everything that must happen for the unit to run as wanted. Nothing differs: an empty plan."""
    write = tuple(file for file in quadlet.files if _differs(file, observed.files.get(file.path)))
    directories = tuple(
        directory
        for directory in quadlet.directories
        if observed.directories.get(directory.path) != (directory.mode, directory.owner)
    )
    start = not observed.running
    restarts = () if start else tuple(_restart_reasons(quadlet, observed, write))
    reloads = tuple(_reload_reasons(quadlet, observed, read_now=start or bool(restarts)))
    if reloads and not quadlet.reload:
        restarts, reloads = (*restarts, *reloads), ()
    restart = bool(restarts) and quadlet.may_restart and not observed.spared
    again = start or restart
    ready = not quadlet.wait or (observed.ready and not again)
    wait = not ready and quadlet.wait_timeout > 0
    # `reload` is a command in the container, and fails in one that is not ready for it.
    reload = bool(reloads) and (ready or wait)
    return Plan(
        write=write,
        directories=directories,
        pull=not observed.image_id and quadlet.may_pull,
        start=start,
        restart=restart,
        reload=reload,
        wait=wait,
        restart_due=bool(restarts) and not restart,
        reload_due=bool(reloads) and not reload,
        why=("it is not running",) if start else restarts,
        why_reload=reloads,
    )


def removal(quadlet: Quadlet, observed: Observed) -> Plan:
    """Take the unit, its files and the directories named away."""
    found = [quadlet.name] if observed.container_digest is not None or observed.unit_state == "active" else []
    found += sorted(observed.files)
    found += [directory.path for directory in quadlet.directories if directory.path in observed.directories]
    return Plan(remove=tuple(found))


def diff(quadlet: Quadlet, observed: Observed, todo: Plan) -> list[dict[str, str]]:
    """In Ansible's form: the steps, then files before and after; of secret ones only that they change."""
    shown = [{"prepared": "".join(f"{step}\n" for step in todo.steps(quadlet))}] if todo.changes else []
    wanted = {file.path: file for file in todo.write}
    secret = {file.path for file in (*quadlet.restarting, *quadlet.reloading) if file.secret}
    for path in [*wanted, *(path for path in todo.remove if path in observed.files)]:
        file, found = wanted.get(path), observed.files.get(path)
        before = found.content.decode(errors="replace") if found else ""
        after = file.content.decode() if file else ""
        if path in secret:
            changes = ", changed" if before and before != after else ""
            before, after = before and "(secret content)\n", after and f"(secret content{changes})\n"
        shown.append(
            {
                "before": before,
                "after": after,
                "before_header": f"{path} {_owner(found)}" if found else f"{path} (none)",
                "after_header": f"{path} {_owner(file)}" if file else f"{path} (none)",
            }
        )
    return shown


def _owner(file: File | FoundFile | None) -> str:
    return f"(mode {file.mode:04o}, owner {file.owner})" if file else ""


def _restart_reasons(quadlet: Quadlet, observed: Observed, write: Sequence[File]) -> Iterator[str]:
    changed = [file.path for file in write if file not in quadlet.reloading]
    if changed:
        yield f"{' and '.join(changed)} {'differ' if len(changed) > 1 else 'differs'}"
    elif observed.container_digest != quadlet.digest:
        yield "it was started from another unit or other files"
    if observed.image_id and observed.container_image != observed.image_id:
        yield "it runs another image"


def _reload_reasons(quadlet: Quadlet, observed: Observed, *, read_now: bool) -> Iterator[str]:
    """`read_now`: the container is about to start anyway, which reads the watched files."""
    if quadlet.watched and observed.watched != observed.recorded and not read_now:
        known = set(observed.recorded.splitlines())
        changed = [line.split(None, 1)[-1] for line in observed.watched.splitlines() if line not in known]
        yield f"{' and '.join(changed) or 'a watched file'} changed since it was read"
    if quadlet.reload and observed.reloaded != reloading_digest(quadlet):
        paths = [file.path for file in quadlet.reloading] or ["a file that is gone"]
        yield f"{' and '.join(paths)} {'are' if len(paths) > 1 else 'is'} not in force yet"


def _differs(file: File, found: FoundFile | None) -> bool:
    return found is None or (found.content, found.mode, found.owner) != (file.content, file.mode, file.owner)


def _render(name: str, container: str, files: Iterable[File], watched: Sequence[str]) -> tuple[str, str]:
    """The unit's final text and the digest that its label carries."""
    text = _insert(container, "Container", f"ContainerName={name}\nPull=never")
    if watched:
        note = f"mkdir -p {RECORDS} && sha256sum {' '.join(watched)} > {watched_record(name)}"
        text = _insert(text, "Service", f'ExecStartPre=/bin/sh -c "{note}"')
    digest = _digest(text, files)
    return _insert(text, "Container", f"Label={LABEL}={digest}"), digest


def _insert(text: str, section: str, lines: str) -> str:
    """Put lines at the end of a section, which is appended when there is none."""
    header = re.search(rf"^\[{section}\][ \t]*$", text, re.MULTILINE)
    if header is None:
        return f"{text.rstrip()}\n\n[{section}]\n{lines}\n"
    following = re.search(r"^\[", text[header.end() :], re.MULTILINE)
    end = header.end() + following.start() if following else len(text)
    head = text[:end].rstrip("\n")
    return f"{head}\n{lines}\n" + (f"\n{text[end:]}" if following else "")


def _digest(text: str, files: Iterable[File]) -> str:
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update(f"\0{file.path}\0{file.mode:o}\0{file.owner}\0{len(file.content)}\0".encode())
        digest.update(file.content)
    return digest.hexdigest()[:16]


def _file(entry: Mapping[str, Any]) -> File:
    return File(entry["path"], entry["content"].encode(), int(entry["mode"], 8), entry["owner"], entry["secret"])


_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PATH = re.compile(r"(/[A-Za-z0-9_@:+-][A-Za-z0-9_.@:+-]*)+")
_MODE = re.compile(r"0[0-7]{3,4}")
_SHALLOW = re.compile(r"/[^/]+")


def _problems(options: Mapping[str, Any]) -> Iterator[Problem]:
    if not _NAME.fullmatch(options["name"]):
        yield Problem("name", f"{options['name']!r} cannot name a unit", "lower-case letters, digits and hyphens")
    yield from _path_problems("watch", options["watch"])
    for place in ("files", "directories"):
        for index, entry in enumerate(options[place]):
            yield from _path_problems(f"{place}[{index}].path", [entry["path"]])
            if not _MODE.fullmatch(entry["mode"]):
                yield Problem(f"{place}[{index}].mode", f"{entry['mode']!r} is no mode", "in octal and quoted: '0644'")
            if entry["owner"] < 0:
                yield Problem(f"{place}[{index}].owner", f"{entry['owner']} is no user id", "0 or more")
    for index, entry in enumerate(options["directories"]):
        if options["state"] == "absent" and _SHALLOW.fullmatch(entry["path"]):
            yield Problem(f"directories[{index}].path", f"{entry['path']} is too much to remove", "name one below it")
    if options["state"] != "absent":
        yield from _container_problems(options["container"])


def _container_problems(text: str | None) -> Iterator[Problem]:
    if not text:
        yield Problem("container", "is missing", "the text of a .container unit")
        return
    if len(_images(text)) != 1:
        yield Problem("container", "needs exactly one line Image=")
    for key, why in (("ContainerName", "the container has the unit's name"), ("Pull", "see the option pull")):
        if re.search(rf"^{key}\s*=", text, re.MULTILINE):
            yield Problem("container", f"has a line {key}=, which is set by this module", why)


def _path_problems(place: str, paths: Iterable[str]) -> Iterator[Problem]:
    for path in paths:
        if not _PATH.fullmatch(path):
            yield Problem(place, f"{path!r} is no path that can be used", "absolute, of letters, digits and _.@:+-")


def _images(text: str) -> list[str]:
    return re.findall(r"^Image\s*=\s*(\S+)\s*$", text, re.MULTILINE)
