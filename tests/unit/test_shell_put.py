"""Files put in place by a script: all or none, and nothing that is there already."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pooler.shell_put import PUT


@pytest.fixture
def target(tmp_path: Path) -> Path:
    directory = tmp_path / "target"
    directory.mkdir()
    return directory


def stage(tmp_path: Path, target: Path, **contents: str) -> None:
    staged = tmp_path / "staging" / "files" / str(target).lstrip("/")
    for name, content in contents.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_text(content)


def put(tmp_path: Path, *paths: Path) -> int:
    script = f"set -e\n{PUT}\nput {' '.join(map(str, paths))}\n"
    return subprocess.run(["sh", "-c", script], check=False, cwd=tmp_path / "staging").returncode


def contents(target: Path) -> dict[str, str]:
    return {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}


def test_files_come_to_their_places_in_directories_that_are_made(tmp_path: Path, target: Path) -> None:
    stage(tmp_path, target, one="1", **{"deep/er/two": "2"})
    assert put(tmp_path, target / "one", target / "deep/er/two") == 0
    assert contents(target) == {"one": "1", "deep/er/two": "2"}
    assert (target / "deep").stat().st_mode & 0o777 == 0o755


def test_one_that_cannot_be_copied_leaves_every_file_as_it_was(tmp_path: Path, target: Path) -> None:
    (target / "one").write_text("before")
    stage(tmp_path, target, one="after")
    assert put(tmp_path, target / "one", target / "missing") != 0
    assert contents(target) == {"one": "before"}
    stage(tmp_path, target, missing="now there")
    assert put(tmp_path, target / "one", target / "missing") == 0
    assert contents(target) == {"one": "after", "missing": "now there"}


def test_what_lies_there_already_stays_untouched(tmp_path: Path, target: Path) -> None:
    stage(tmp_path, target, same="1", other="2", mode="3")
    for name, content in {"same": "1", "other": "before", "mode": "3"}.items():
        (target / name).write_text(content)
    (target / "mode").chmod(0o600)
    before = {path.name: path.stat().st_ino for path in target.iterdir()}
    assert put(tmp_path, *(target / name for name in before)) == 0
    after = {path.name: path.stat().st_ino for path in target.iterdir()}
    assert {name for name, inode in after.items() if inode == before[name]} == {"same"}
    assert contents(target) == {"same": "1", "other": "2", "mode": "3"}
