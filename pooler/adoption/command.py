"""`pooler adopt`: reads the files, writes the variables, and tells what is otherwise."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import settings
from ..errors import InvalidError, PoolerError, Problem
from ..settings import Version
from . import compare, compose, environment, installation, report, translate
from .installation import Installation, Text

VARIABLES = "pgbouncer.yml"
SECRETS = "pgbouncer_vault.yml"


def adopt(files: Sequence[str], engine: str, output: str | None) -> int:
    """0 when nothing is lost, 1 when somebody has to do something. Without `output` no secret is written anywhere."""
    old = _read([Path(each) for each in files], settings.parse_version(engine))
    new = translate.translate(old)
    differences = compare.differences(old, new)
    variables, secrets = report.inventory(new.options)
    said = report.told(old, differences)
    if output is None:
        print(report.yaml(variables), end="")
        print(*said, sep="\n", file=sys.stderr)
    else:
        _write(Path(output), {VARIABLES: report.yaml(variables)} | ({SECRETS: report.yaml(secrets)} if secrets else {}))
        print(*said, sep="\n")
    return 1 if report.lost(old, differences) else 0


def _read(paths: Sequence[Path], engine: Version) -> Installation:
    """By their names: a Compose file, a file of variables, or pgbouncer.ini with its userlist and HBA file."""
    by_kind: dict[str, Path] = {}
    for path in paths:
        kind = _kind(path)
        if kind in by_kind:
            raise PoolerError(f"{path} and {by_kind[kind]} are both taken for the {kind} (one PgBouncer at a time)")
        by_kind[kind] = path
    texts = {kind: Text(str(path), _text(path)) for kind, path in by_kind.items()}
    users, rules = texts.get("userlist"), texts.get("HBA file")
    if "Compose file" in texts:
        return _composed(by_kind["Compose file"], texts["Compose file"], engine)
    if "file of variables" in texts:
        main = texts["file of variables"]
        return _contained(environment.parse(main.text, main.name), main.name, users, rules, engine)
    if "pgbouncer.ini" not in texts:
        raise PoolerError("none of the files is a pgbouncer.ini, a Compose file or a file of variables (.env)")
    main = texts["pgbouncer.ini"]
    return installation.read(main, users, rules, engine, _beside(by_kind["pgbouncer.ini"]))


def _composed(path: Path, file: Text, engine: Version) -> Installation:
    beside = _beside(path)
    dotenv = path.parent / ".env"
    around = environment.parse(_text(dotenv), str(dotenv)) if dotenv.exists() else {}
    found = compose.service(file.text, file.name, around, beside)

    def mounted(*places: str) -> Text | None:
        source = next(filter(None, (compose.mounted(found, place) for place in places)), None)
        return Text(source, beside(source)) if source and (path.parent / source).is_file() else None

    main, users, rules = (mounted(*(f"{at}/{name}" for at in _PLACES)) for name in _NAMES)
    if main:
        old = installation.read(main, users, rules, engine, beside)
    else:
        old = _contained(found.variables, f"{file.name}: services.{found.name}", users, rules, engine)
    published = [_published(port) for port in found.ports if ":" in port]
    remarks = [
        Problem("ports", f"clients came by port {port} of the host", f"give pgbouncer_port: {port} to keep that")
        for port in published
        if port != old.ini.pgbouncer.get("listen_port", "6432")
    ]
    return Installation(old.ini, engine, old.users, old.rules, old.findings, (*old.remarks, *remarks))


_PLACES = ("/etc/pgbouncer", "/bitnami/pgbouncer/conf", "/opt/bitnami/pgbouncer/conf")
_NAMES = ("pgbouncer.ini", "userlist.txt", "pg_hba.conf")


def _published(port: str) -> str:
    return port.split("/")[0].split(":")[-2]


def _contained(
    variables: Mapping[str, str], name: str, users: Text | None, rules: Text | None, engine: Version
) -> Installation:
    made = environment.written(variables, name)
    old = installation.read(made.main, users or made.users, rules, engine, _nothing)
    remarks = [Problem(f"{name}: {key}", "is not adopted, since it is no setting of PgBouncer") for key in made.unused]
    return Installation(old.ini, engine, old.users, old.rules, old.findings, (*old.remarks, *remarks))


def _nothing(path: str) -> str:
    raise InvalidError([Problem(path, "a container that is configured by variables includes no file")])


def _beside(file: Path) -> installation.Read:
    """Reads what a file names: where it says, or, when that is not here, beside the file by its last name."""

    def read(path: str) -> str:
        named = file.parent / path
        return _text(named if named.exists() else file.parent / Path(path).name)

    return read


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _kind(path: Path) -> str:
    name = path.name
    if path.suffix in (".yml", ".yaml"):
        return "Compose file"
    if name.endswith(".env") or name.startswith(".env"):
        return "file of variables"
    if "userlist" in name or path.suffix == ".txt":
        return "userlist"
    return "HBA file" if "hba" in name else "pgbouncer.ini"


def _write(directory: Path, texts: Mapping[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = directory / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600 if name == SECRETS else 0o644)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
