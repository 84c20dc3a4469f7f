"""Drivers that are not Python's, through the pool, as Debian packages them.

Each case is a run of the driver's own program, which prints what it got or was told.

    make drills ONLY=drivers [EVENTS=jdbc,node,pgx,sqlx]
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.drills.figures import Figure
from tests.engine.chain import Chain
from tests.engine.pooled import pooled, refresh, untracked
from tests.lab import cache
from tests.lab.debian import tree

from .cases import DRIVERS, Case, Driver

_HERE = Path(__file__).parent
# $1 is the root, $2 what it sees as /mnt. Nothing is left behind in the root.
_ENTER = """
mount --bind "$2" "$1/mnt"
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
root=$1
shift 2
exec env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" env --chdir=/mnt "$@"
"""


def run(short: bool, runs: int = 1, events: Sequence[str] = ()) -> list[Figure]:
    """`events` are names of drivers. The figures count the cases, and those that came out otherwise than documented."""
    if unknown := {*events} - {driver.name for driver in DRIVERS}:
        names = ", ".join(driver.name for driver in DRIVERS)
        raise SystemExit(f"no such driver: {', '.join(sorted(unknown))} (there are {names})")
    figures = []
    with pooled() as tier:
        for driver in DRIVERS:
            if events and driver.name not in events:
                continue
            with _program(driver, tier) as place:
                cases = [*(driver.cases[:1] if short else driver.cases)] * runs
                missed = list(filter(None, (_missed(tier, driver, place, case) for case in cases)))
            for otherwise in missed:
                print(otherwise, flush=True)
            what = f"{driver.name} {_version(driver)}"
            figures.append(Figure(f"{what}: otherwise than documented", len(missed), f"of {len(cases)}", 0))
    return figures


def _missed(tier: Chain, driver: Driver, place: Path, case: Case) -> str:
    """What was told instead; nothing when all is as documented."""
    refresh(tier)
    with contextlib.nullcontext() if case.tracked else untracked(tier):
        told = _told(tier, driver, place, case)
    return "" if re.fullmatch(case.told, told) else f"{driver.name}: {case.name}: {told!r} instead of {case.told!r}"


def _told(tier: Chain, driver: Driver, place: Path, case: Case) -> str:
    url = driver.url.format(case.database, case.options)
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{tier.network}/ns/net", *_inside(driver, place), *driver.run, url, *case.words],
        input=tier.passwords["alice"] + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return (done.stdout + done.stderr).strip()


def _inside(driver: Driver, place: Path) -> list[str]:
    """How a command is called in the driver's root, with `place` as its directory."""
    variables = [f"{name}={value}" for name, value in driver.environment.items()]
    command = ["unshare", "--mount", "--propagation=private", "sh", "-euc", _ENTER, "sh"]
    return [*command, str(_root(driver)), str(place), *variables]


def _root(driver: Driver) -> Path:
    return tree(f"driver-{driver.name}", driver.recipe)


def _version(driver: Driver) -> str:
    command = ["chroot", str(_root(driver)), "dpkg-query", "--show", "--showformat=${Version}", driver.package]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def _program(driver: Driver, tier: Chain) -> Iterator[Path]:
    """A directory with the program, built, and the authority's certificate."""
    source = _HERE / driver.name
    texts = {path.name: path.read_text() for path in sorted(source.iterdir())}

    def build(unfinished: Path) -> None:
        for name, text in texts.items():
            (unfinished / name).write_text(text)
        subprocess.run([*_inside(driver, unfinished), "sh", "-euc", driver.build], check=True)

    recipe = {"root": _root(driver).parent.name, "sources": texts, "build": driver.build}
    built = cache.entry(f"program-{driver.name}", recipe, build)
    with tempfile.TemporaryDirectory(prefix="pgfleet-") as place:
        shutil.copytree(built, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("deps", "build", "incremental"))
        shutil.copy(tier.leaves["alice"] / "ca.crt", place)
        yield Path(place)
