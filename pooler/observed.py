"""What a pooler host says of itself: its files, its units, its images, and each instance in its own words."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import tarfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import ini, settings, tombstones
from .agent.config import CONFIG
from .errors import InvalidError
from .server import Server
from .tombstones import Tombstone, Userlist


@dataclass(frozen=True)
class FoundFile:
    content: bytes = field(repr=False)
    mode: int
    owner: int


@dataclass(frozen=True)
class Instance:
    """One instance. What its console tells is empty when it did not answer.

    `enabled`: it starts with the host. `config` and `defaults` are SHOW CONFIG's columns by key, `databases` and
    `users` the rows of SHOW DATABASES and SHOW USERS by name; `users` is empty where that was not asked.
    `invocation` is systemd's id of this start of the service.
    """

    console: int
    active: bool = False
    socket: bool = False
    enabled: bool = True
    unit_digest: str = ""
    image_id: str = ""
    version: str = ""
    invocation: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    databases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    users: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        return bool(self.config)

    @property
    def remembers(self) -> bool:
        """Whether its engine keeps what it has made of a user's line when the line goes."""
        return bool(self.version) and settings.parse_version(self.version) >= tombstones.SINCE


@dataclass(frozen=True)
class Agent:
    """The agent's container: what it was started from."""

    active: bool
    unit_digest: str = ""
    image_id: str = ""


@dataclass(frozen=True)
class Unfinished:
    """What a run had still to do when it was broken off: whose sessions end, which databases get new connections.

    `drains`: instances, by console port, that may no longer take new clients.
    """

    expel: tuple[str, ...] = ()
    reconnect: tuple[str, ...] = ()
    drains: tuple[int, ...] = ()


@dataclass(frozen=True)
class Observed:
    """`draining`: the host is marked as being taken out; `held`: the agent holds clients, since no leader serves."""

    release: str = ""
    files: Mapping[str, FoundFile] = field(default_factory=dict)
    server_leaf: str = ""
    client_leaf: str = ""
    image_id: str = ""
    instances: Mapping[int, Instance] = field(default_factory=dict)
    agent: Agent | None = None
    draining: bool = False
    held: bool = False
    unfinished: Unfinished = Unfinished()
    leader: Server | None = None
    leader_trouble: str = ""
    max_connections: int | None = None
    connections_trouble: str = ""

    def users(self) -> frozenset[str]:
        """The names in [users] of the files in force; none when they cannot be read."""
        return frozenset(name for text in self._inis() for name in _parsed(text).users)

    def admins(self) -> frozenset[str]:
        """Who has an admin's seat at the console by the files in force."""
        return frozenset(name for text in self._inis() for name in admins_of(text))

    def own_roles(self) -> frozenset[str]:
        """The roles that engine and agent themselves log in as, by the files in force."""
        found = {_parsed(text).pgbouncer.get("auth_user", "") for text in self._inis()}
        for path, file in self.files.items():
            if path == CONFIG:
                with contextlib.suppress(ValueError, AttributeError):
                    found.add(str(json.loads(file.content).get("role", "")))
        return frozenset(found - {""})

    def databases(self) -> dict[str, dict[str, str]]:
        """The entries of the hosts file in force; none when it cannot be read."""
        found = [file for path, file in self.files.items() if path.endswith("/databases.ini")]
        return _parsed(found[0].content.decode(errors="replace")).databases if found else {}

    def _inis(self) -> list[str]:
        inis = [file for path, file in self.files.items() if "/releases/" in path and path.endswith(".ini")]
        return [file.content.decode(errors="replace") for file in inis]

    def verifiers(self) -> Mapping[str, str]:
        """The verifiers in use; none when the userlist is missing or not readable as one."""
        return self._userlist.listed

    def tombstones(self) -> Mapping[str, Tombstone]:
        """What the userlist in use says of users who are gone."""
        return self._userlist.gone

    def running(self) -> frozenset[str]:
        """The processes that run, by invocation."""
        return frozenset(each.invocation for each in self.instances.values() if each.active and each.invocation)

    def remembering(self) -> frozenset[str]:
        """Those of them that keep what they have made of a user's line when the line goes."""
        return self.running() & {each.invocation for each in self.instances.values() if each.remembers}

    @functools.cached_property
    def _userlist(self) -> Userlist:
        found = [file.content for path, file in self.files.items() if path.endswith("/userlist.txt")]
        try:
            return tombstones.read(found[0].decode()) if found else Userlist()
        except (InvalidError, UnicodeDecodeError):
            return Userlist()


def admins_of(text: str) -> frozenset[str]:
    """The admins that an instance's ini names."""
    names = _parsed(text).pgbouncer.get("admin_users", "")
    return frozenset(name.strip() for name in names.split(",") if name.strip())


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> ini.Ini:
    """A file on a host may be anything; what no engine would read is nothing here. Often asked; not to be changed."""
    try:
        return ini.parse(text, version=settings.NEWEST)
    except InvalidError:
        return ini.Ini()


def files(archive: bytes) -> dict[str, FoundFile]:
    """The regular files of a tar.gz made from `/`, by absolute path. Nothing read gives nothing."""
    if not archive:
        return {}
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for entry in tar:
            content = tar.extractfile(entry)
            if content is not None:
                found["/" + entry.name.lstrip("/")] = FoundFile(content.read(), entry.mode & 0o7777, entry.uid)
    return found


def units(text: str) -> dict[str, dict[str, str]]:
    """`systemctl show` of several units, by unit name."""
    found: dict[str, dict[str, str]] = {}
    for block in text.split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in properties:
            found[properties["Id"]] = properties
    return found


def containers(text: str) -> dict[str, tuple[str, str]]:
    """`podman ps` as NAME|IMAGE|LABEL lines: image id and unit digest by container name."""
    return {name: (image, label) for name, image, label in (line.split("|") for line in text.splitlines() if line)}


def consoles(text: str) -> dict[int, dict[str, list[dict[str, str]]]]:
    """The consoles' answers as CSV between `@ CONSOLE COMMAND` lines: rows by command by console."""
    bodies: dict[tuple[int, str], list[str]] = {}
    body: list[str] = []
    for line in text.splitlines():
        if line.startswith("@ "):
            _mark, console, command = line.split(" ", 2)
            body = bodies.setdefault((int(console), command), [])
        else:
            body.append(line)
    answers: dict[int, dict[str, list[dict[str, str]]]] = {}
    for (number, command), rows in bodies.items():
        answers.setdefault(number, {})[command] = list(csv.DictReader(rows))
    return answers


def unfinished(lines: Iterable[str]) -> Unfinished:
    """Lines of a kind and a name: `expel NAME`, `reconnect NAME`, `drain CONSOLE`."""
    found: dict[str, list[str]] = {"expel": [], "reconnect": [], "drain": []}
    for line in lines:
        kind, _space, name = line.partition(" ")
        found.setdefault(kind, []).append(name)
    return Unfinished(tuple(found["expel"]), tuple(found["reconnect"]), tuple(map(int, found["drain"])))


def leader(text: str) -> tuple[Server | None, str]:
    """What `pooler leader` printed: the leader, or why there is none."""
    answer = _said(text)
    if "host" in answer:
        return Server(answer["host"], answer["port"]), ""
    return None, str(answer.get("error", ""))


def max_connections(text: str) -> tuple[int | None, str]:
    """What `pooler connections` printed, or why it is not known."""
    answer = _said(text)
    return answer.get("max_connections"), str(answer.get("error", ""))


def _said(text: str) -> dict[str, Any]:
    """The line of JSON at the end; what cannot be understood is an error, and nothing is nothing."""
    lines = text.strip().splitlines()
    if not lines:
        return {}
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except ValueError:
        return {"error": text.strip()}
    return answer


def instances(
    shown_units: Mapping[str, Mapping[str, str]],
    shown_containers: Mapping[str, tuple[str, str]],
    answers: Mapping[int, Mapping[str, Iterable[Mapping[str, str]]]],
    links: Collection[str] | None = None,
) -> dict[int, Instance]:
    """Put together what systemd, podman and the consoles say, for every instance any of them knows.

    `links` are the names by which systemd finds instances when the host boots; None where nobody has looked.
    """
    numbers = {_number(name) for name in shown_units} | {_number(name) for name in shown_containers} | set(answers)
    found = {}
    for console in sorted(number for number in numbers if number is not None):
        unit = shown_units.get(f"pgbouncer@{console}.service", {})
        socket = shown_units.get(f"pgbouncer@{console}.socket", {})
        image_id, unit_digest = shown_containers.get(f"pgbouncer-{console}", ("", ""))
        answer = answers.get(console, {})
        found[console] = Instance(
            console=console,
            active=unit.get("ActiveState") in ("active", "activating", "reloading"),
            socket=socket.get("ActiveState") == "active",
            enabled=links is None or f"pgbouncer@{console}.container" in links,
            unit_digest=unit_digest,
            image_id=image_id,
            version=next((row.get("version", "") for row in answer.get("VERSION", ())), "").removeprefix("PgBouncer "),
            invocation=unit.get("InvocationID", ""),
            config={row["key"]: row["value"] for row in answer.get("CONFIG", ())},
            defaults={row["key"]: row.get("default", "") for row in answer.get("CONFIG", ())},
            databases={row["name"]: dict(row) for row in answer.get("DATABASES", ())},
            # PgBouncer 1.24.1 fills sizes of users up with blanks.
            users={row["name"]: {key: text.strip() for key, text in row.items()} for row in answer.get("USERS", ())},
        )
    return found


def agent(
    shown_units: Mapping[str, Mapping[str, str]], shown_containers: Mapping[str, tuple[str, str]]
) -> Agent | None:
    """The agent as systemd and podman show it; none when there is no unit of it."""
    unit = shown_units.get("pgbouncer-agent.service", {})
    if unit.get("LoadState", "not-found") == "not-found":
        return None
    image_id, unit_digest = shown_containers.get("pgbouncer-agent", ("", ""))
    return Agent(unit.get("ActiveState") == "active", unit_digest, image_id)


def _number(name: str) -> int | None:
    digits = name.removeprefix("pgbouncer").lstrip("@-").removesuffix(".service").removesuffix(".socket")
    return int(digits) if digits.isdecimal() else None
