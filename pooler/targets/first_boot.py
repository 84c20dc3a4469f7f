"""What a Fedora CoreOS host is given before its first boot, so that it comes up pooling: files, links, keys.

Everything that is also the `pgbouncer` action's is taken from the bundle, byte for byte, so that the first run of
Ansible finds nothing to do.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .. import bundle, shell_reboot, units
from ..errors import InvalidError, Problem
from ..files import File
from ..model import Pooler
from ..server import Server

ARCHIVE = "/var/lib/pgfleet-image.tar"
SECRETS = "/var/lib/pgfleet-secrets.tar.gz"
_SCRIPTS = "/etc/pgfleet"
_DRAIN = f"{_SCRIPTS}/drain.sh"
_IMAGE = f"{_SCRIPTS}/image.sh"
_PULL = f"{_SCRIPTS}/pull-image"
"""Exists until the image has been pulled once; afterwards the image is Ansible's matter."""

_UNITS = "/etc/systemd/system"
_SERVICES = ("pgbouncer-image.service", "pgbouncer-drain.service")
_SECRETS_UNIT = "pgbouncer-secrets.service"
_QUADLETS = "/etc/containers/systemd"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}( [^\r\n]*)?")
_SHA512 = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Fetched:
    """What Ignition fetches by itself: an s3:// or https:// URL, and the SHA-512 that it must have, as hex digits."""

    url: str
    sha512: str


@dataclass(frozen=True)
class Window:
    """When the host may reboot for an update: `days` as Mon, Tue…; `start` as HH:MM; its length in minutes."""

    days: tuple[str, ...]
    start: str
    minutes: int


@dataclass(frozen=True)
class FirstBoot:
    """What only a first boot asks for. Without an `archive` the image comes from the registry that its name tells.

    `leader` is where the databases point until the agent knows better.
    """

    authorized_keys: tuple[str, ...]
    archive: Fetched | None = None
    windows: tuple[Window, ...] = ()
    time_zone: str | None = None
    leader: Server | None = None


@dataclass(frozen=True)
class Tree:
    """`links` are path to target; `fetched` path to what Ignition puts there."""

    files: tuple[File, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    fetched: tuple[tuple[str, Fetched], ...] = ()
    authorized_keys: tuple[str, ...] = ()


def read(variables: Mapping[str, Any], pooler: Pooler) -> FirstBoot:
    """The options of the `ignition` module. Raises InvalidError with every problem."""
    problems: list[Problem] = []
    keys = tuple(str(key).strip() for key in variables.get("authorized_keys") or ())
    if not keys:
        problems.append(
            Problem("authorized_keys", "is empty, so nobody could log in", "public keys as ssh-keygen makes")
        )
    problems += [
        Problem(f"authorized_keys[{number}]", "is not a public key of ssh", "as in a file that ends with .pub")
        for number, key in enumerate(keys)
        if not _KEY.fullmatch(key)
    ]
    updates = variables.get("updates") or {}
    windows = []
    for number, given in enumerate(updates.get("windows") or ()):
        window, found = _window(f"updates.windows[{number}]", given)
        windows.append(window)
        problems += found
    zone = updates.get("time_zone")
    if zone is not None and not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", str(zone)):
        problems.append(Problem("updates.time_zone", f"{zone!r} is not a time zone", "such as Europe/Berlin"))
    archive = None
    if variables.get("image_url") is not None:
        archive, found = fetched("image_url", variables["image_url"], "image_sha512", variables.get("image_sha512"))
        problems += found
    elif pooler.image.startswith("localhost/"):
        problems.append(
            Problem(
                "image_url", f"is missing, and no registry has {pooler.image}", "where an archive of the image lies"
            )
        )
    first, found = leader(variables.get("leader"), pooler)
    problems += found
    if problems:
        raise InvalidError(problems)
    return FirstBoot(keys, archive, tuple(windows), None if zone is None else str(zone), first)


def fetched(place: str, url: object, hash_place: str, sha512: object) -> tuple[Fetched, list[Problem]]:
    """A place to fetch from, and what is wrong with it."""
    problems = url_problems(place, str(url))
    if not _SHA512.fullmatch(str(sha512 or "")):
        problems.append(Problem(hash_place, "is not a SHA-512 in hexadecimal digits", "sha512sum tells it"))
    return Fetched(str(url), str(sha512 or "")), problems


def url_problems(place: str, url: str) -> list[Problem]:
    """Ignition fetches from S3 with the instance's role, and by HTTPS."""
    if re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[A-Za-z0-9!_.*'()/-]+", url):
        return []
    if re.fullmatch(r"https://[A-Za-z0-9.:\[\]-]+/[!-~]*", url):
        return []
    return [Problem(place, f"{url!r} is not a place to fetch from", "s3://BUCKET/KEY or https://HOST/PATH")]


def leader(given: object, pooler: Pooler) -> tuple[Server | None, list[Problem]]:
    """Where databases point until the agent has looked, and what is wrong with what was given."""
    if pooler.server or not bundle.targets(pooler):
        return pooler.server, []
    if given is not None:
        host, _colon, port = str(given).rpartition(":") if re.search(r":[0-9]+$", str(given)) else (str(given), "", "")
        if not host or any(character.isspace() or character in ",='" for character in host):
            return None, [Problem("leader", f"{given!r} is not a host or HOST:PORT")]
        return Server(host.strip("[]"), int(port or "5432")), []
    if pooler.agent is None:
        return None, [
            Problem("leader", "is missing, and without the agent nobody finds it at boot", "HOST or HOST:PORT")
        ]
    # Any member will do: the agent points the databases at the leader before it says that it is ready.
    match = re.match(r"https?://(\[[^]]+\]|[^/:]+)", pooler.patroni[0])
    if match is None:
        return None, [Problem("patroni[0]", f"{pooler.patroni[0]!r} is not a URL", "such as https://10.0.0.5:8008")]
    return Server(match[1].strip("[]")), []


def waiting(pooler: Pooler, boot: FirstBoot) -> Tree:
    """A host that has everything but certificates and secrets: the first run of Ansible brings them and starts it."""
    files = (*units.render(pooler, None), _preset(_SERVICES, ()), *_own(pooler, boot))
    return Tree(files, _enabled(_SERVICES), _fetched(boot), boot.authorized_keys)


def serving(pooler: Pooler, boot: FirstBoot, facts: bundle.Facts, leaves: Tree) -> tuple[Tree, tuple[File, ...]]:
    """A host that serves as soon as it is up: what anybody may read, and the files of the archive of secrets.

    `leaves` are the certificates that `facts` names, with their `current` links.
    """
    made = bundle.build(pooler, facts)
    services = (*_SERVICES, _SECRETS_UNIT)
    links = [(bundle.CURRENT, f"releases/{made.release}"), *_enabled(services), *_instances(pooler), *leaves.links]
    public = [file for file in made.files if file.mode & 0o077]
    secret = [file for file in made.files if not file.mode & 0o077]
    unit = File(f"{_UNITS}/{_SECRETS_UNIT}", _secrets_unit(pooler).encode())
    preset = _preset(services, pooler.consoles if pooler.dispatch == "socket" else ())
    return (
        Tree((*public, unit, preset, *_own(pooler, boot)), tuple(links), _fetched(boot), boot.authorized_keys),
        (*secret, *leaves.files),
    )


def with_secrets(tree: Tree, secrets: Fetched) -> Tree:
    """The tree and the archive of the files that it lacks.

    It is fetched as a file and unpacked by a unit, since Ignition prints what it was told when it fails, and keeps it.
    """
    return replace(tree, fetched=(*tree.fetched, (SECRETS, secrets)))


def _window(place: str, given: object) -> tuple[Window, list[Problem]]:
    if not isinstance(given, Mapping):
        return Window((), "", 0), [Problem(place, "is not a dictionary", "days, start and minutes")]
    days = tuple(str(day) for day in given.get("days") or ())
    start, minutes = str(given.get("start")), given.get("minutes")
    problems = []
    if not days or set(days) - set(_DAYS):
        problems.append(Problem(f"{place}.days", f"{list(days)} are not days", f"some of {', '.join(_DAYS)}"))
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", start):
        problems.append(Problem(f"{place}.start", f"{start!r} is not a time of day", "such as '02:30', in quotes"))
    if isinstance(minutes, bool) or not str(minutes).isdecimal() or not 1 <= int(str(minutes)) <= 1440:
        problems.append(Problem(f"{place}.minutes", f"{minutes!r} is not a whole number from 1 to 1440"))
        minutes = 0
    return Window(days, start, int(str(minutes))), problems


def _instances(pooler: Pooler) -> Iterable[tuple[str, str]]:
    """As the `pgbouncer` action enables an instance."""
    for console in pooler.consoles:
        yield f"{_QUADLETS}/pgbouncer@{console}.container", "pgbouncer@.container"
        if pooler.dispatch == "socket":
            yield f"{_UNITS}/sockets.target.wants/pgbouncer@{console}.socket", units.SOCKET


def _enabled(services: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{_UNITS}/multi-user.target.wants/{name}", f"{_UNITS}/{name}") for name in services)


def _preset(services: Iterable[str], sockets: Iterable[int]) -> File:
    """A systemd that applies all presets at first boot would disable what is not named in one."""
    lines = [f"enable {name}" for name in services]
    if names := " ".join(map(str, sockets)):
        lines.append(f"enable pgbouncer@.socket {names}")
    return File("/etc/systemd/system-preset/20-pgfleet.preset", "".join(f"{line}\n" for line in lines).encode())


def _fetched(boot: FirstBoot) -> tuple[tuple[str, Fetched], ...]:
    return ((ARCHIVE, boot.archive),) if boot.archive else ()


def _own(pooler: Pooler, boot: FirstBoot) -> list[File]:
    """What is Fedora CoreOS's alone: the image, the drain before a reboot, the windows for updates."""
    drain = "[Unit]\nBefore=pgbouncer-drain.service\n"
    files = [
        File(_IMAGE, _image_script(pooler).encode()),
        File(f"{_UNITS}/pgbouncer-image.service", _image_unit(pooler, boot).encode()),
        File(_DRAIN, shell_reboot.script(pooler).encode()),
        File(f"{_UNITS}/pgbouncer-drain.service", _drain_unit(pooler).encode()),
        # Units stop in the opposite order: the instances after the drain has ended.
        File(f"{_UNITS}/pgbouncer@.service.d/drain.conf", drain.encode()),
        File(f"{_UNITS}/pgbouncer@.socket.d/drain.conf", drain.encode()),
        File(f"{_UNITS}/pgbouncer-agent.service.d/drain.conf", drain.encode()),
    ]
    if not boot.archive:
        files.append(File(_PULL, b""))
    if boot.windows:
        files.append(File("/etc/zincati/config.d/55-pgfleet-updates.toml", _updates(boot).encode()))
    return files


def _before_instances(pooler: Pooler) -> str:
    needing = " ".join(f"pgbouncer@{console}.service" for console in pooler.consoles)
    return f"Before={needing} pgbouncer-agent.service\n"


def _secrets_unit(pooler: Pooler) -> str:
    return (
        "[Unit]\n"
        "Description=Secrets of PgBouncer to their places, once\n"
        f"ConditionPathExists={SECRETS}\n"
        f"{_before_instances(pooler)}"
        "\n[Service]\n"
        "Type=oneshot\n"
        f"ExecStart=/usr/bin/tar -xzpf {SECRETS} --numeric-owner -C /\n"
        "ExecStart=/usr/bin/sync\n"
        f"ExecStart=/usr/bin/rm {SECRETS}\n"
        "\n[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def _image_unit(pooler: Pooler, boot: FirstBoot) -> str:
    return (
        "[Unit]\n"
        "Description=Image of PgBouncer, once\n"
        f"ConditionPathExists={ARCHIVE if boot.archive else _PULL}\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        f"{_before_instances(pooler)}"
        "StartLimitIntervalSec=0\n"
        "\n[Service]\n"
        "Type=oneshot\n"
        f"ExecStart=/bin/sh {_IMAGE}\n"
        "Restart=on-failure\n"
        "RestartSec=5\n"
        "\n[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def _image_script(pooler: Pooler) -> str:
    image = shlex.quote(pooler.image)
    return (
        "# The image of the engine: from the archive that Ignition has fetched, or from its registry.\n"
        "set -eu\n"
        f"if [ -f {ARCHIVE} ]; then\n"
        f"  loaded=$(podman load --quiet --input {ARCHIVE} | sed 's/.*: //')\n"
        f'  podman tag "$loaded" {image}\n'
        f"  rm {ARCHIVE}\n"
        "else\n"
        f"  podman image exists {image} || podman pull --quiet {image}\n"
        f"  rm -f {_PULL}\n"
        "fi\n"
    )


def _drain_unit(pooler: Pooler) -> str:
    return (
        "[Unit]\n"
        "Description=Clients of PgBouncer leave before the host goes down\n"
        # What draining needs must not be stopped meanwhile.
        "After=network-online.target dbus.socket\n"
        "Wants=network-online.target\n"
        "\n[Service]\n"
        "Type=oneshot\n"
        "RemainAfterExit=yes\n"
        f"ExecStart=/bin/sh {_DRAIN} up\n"
        f"ExecStop=/bin/sh {_DRAIN} down\n"
        f"TimeoutStopSec={shell_reboot.seconds(pooler)}\n"
        "\n[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def _updates(boot: FirstBoot) -> str:
    lines = ["[updates]", 'strategy = "periodic"']
    if boot.time_zone:
        lines += ["", "[updates.periodic]", f'time_zone = "{boot.time_zone}"']
    for window in boot.windows:
        days = ", ".join(f'"{day}"' for day in window.days)
        lines += ["", "[[updates.periodic.window]]", f"days = [ {days} ]"]
        lines += [f'start_time = "{window.start}"', f"length_minutes = {window.minutes}"]
    return "".join(f"{line}\n" for line in lines)
