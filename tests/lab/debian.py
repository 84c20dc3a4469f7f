"""Debian 13 trees, made by mmdebstrap from the package mirror that this machine itself is configured with."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import cache
from .command import ALONE, progress, run
from .errors import LabError

SUITE = "trixie"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# What no container and no host of the lab ever reads.
_LEAN = [
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "force-unsafe-io",
]


@dataclass(frozen=True)
class Recipe:
    """A tree: packages, then `files` (absolute path to text), then `script` (sh, run inside the tree).

    `before` is sh as well, run when only the essential packages are there.
    """

    packages: tuple[str, ...]
    before: str = ""
    files: dict[str, str] = field(default_factory=dict)
    script: str = ""


def tree(name: str, recipe: Recipe) -> Path:
    """The root directory built by `recipe`, from the cache or freshly made."""

    def build(unfinished: Path) -> None:
        with progress(f"building {name} from Debian packages (about a minute, once)"):
            _mmdebstrap(unfinished / "root", recipe)

    return cache.entry(name, {"suite": SUITE, "lean": _LEAN, **asdict(recipe)}, build) / "root"


def _mmdebstrap(target: Path, recipe: Recipe) -> None:
    command = [*ALONE, "mmdebstrap", "--quiet", "--variant=minbase"]
    command += [f"--dpkgopt={option}" for option in _LEAN]
    command += [f"--aptopt={option}" for option in _apt_options()]
    if recipe.packages:
        command += [f"--include={','.join(recipe.packages)}"]
    if recipe.before:
        command += [f'--essential-hook=chroot "$1" sh -euc {shlex.quote(recipe.before)}']
    run([*command, "--format=directory", SUITE, str(target), *_sources()])
    for path, text in recipe.files.items():
        place = target / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    if recipe.script:
        run(["chroot", str(target), "/bin/sh", "-eu"], input_text=recipe.script)


def _apt_options() -> list[str]:
    """How this machine's apt reaches its mirror: proxies, retries, date checks."""
    wanted = re.compile(r'^Acquire::(Check-Date|Check-Valid-Until|Retries|https?::\S+) "')
    return [line for line in run(["apt-config", "dump"]).stdout.splitlines() if wanted.match(line)]


def _sources() -> list[str]:
    """This machine's Debian sources, as lines for SUITE."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    codename = release.get("VERSION_CODENAME", "").strip('"')
    lines = []
    for uri, suite in _entries():
        if codename and (suite == codename or suite in (f"{codename}-updates", f"{codename}-security")):
            lines.append(f"deb [signed-by={_KEYRING}] {uri} {SUITE}{suite.removeprefix(codename)} main")
    if not lines:
        raise LabError(f"/etc/apt names no Debian mirror (looked for suite {codename!r}); add one to sources.list")
    return lines


def _entries() -> list[tuple[str, str]]:
    """(URI, suite) of every binary source that apt is configured with, in both notations."""
    apt = Path("/etc/apt")
    found: list[tuple[str, str]] = []
    for file in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        for line in file.read_text().splitlines() if file.exists() else []:
            if match := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s", line):
                found.append((match[1], match[2]))
    for file in sorted(apt.glob("sources.list.d/*.sources")):
        for paragraph in re.split(r"\n\s*\n", file.read_text()):
            fields = dict(re.findall(r"(?m)^(Types|URIs|Suites|Enabled):[ \t]*(.+)$", paragraph))
            if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").lower() != "no":
                suites = fields.get("Suites", "").split()
                found += [(uri, suite) for uri in fields.get("URIs", "").split() for suite in suites]
    return found
