"""`pooler render`: the files of a pooler host, or what else runs poolers, below a directory or on standard output."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import PoolerError
from . import asking


def render(parsed: argparse.Namespace) -> int:
    from .. import bundle, variables

    if parsed.what == "compose":
        return _render_compose(parsed)
    if parsed.what == "kubernetes":
        return _render_kubernetes(parsed)
    if parsed.what != "files":
        return _render_first_boot(parsed)
    pooler = variables.read(_variables(Path(parsed.variables)))
    facts = bundle.Facts(
        leader=pooler.server,
        server_leaf=f"{pooler.tls_directory}/server/current",
        client_leaf=f"{pooler.tls_directory}/client/current",
    )
    for file in bundle.build(pooler, facts).files:
        if parsed.output:
            target = Path(parsed.output, file.path.lstrip("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(mode=file.mode)
            target.write_bytes(file.content)
            print(target)
        else:
            print(f"# {file.path} ({file.mode:04o}, owner {file.owner})\n{file.content.decode()}")
    return 0


def _render_first_boot(parsed: argparse.Namespace) -> int:
    from .. import variables
    from ..targets import butane, first_boot, ignition

    given = _variables(Path(parsed.variables))
    pooler = variables.read(given.get("pgbouncer") or {})
    tree = first_boot.waiting(pooler, first_boot.read(given, pooler))
    if parsed.what == "butane":
        written = {"first_boot.bu": butane.render(tree)}
    else:
        url = given.get("config_url")
        delivery = ignition.deliver(ignition.render(tree), url)
        written = {"first_boot.ign": delivery.user_data}
        if delivery.stored is not None:
            written["stored.ign"] = delivery.stored
            if not parsed.output:
                raise PoolerError(f"the config is to lie at {url}, and user data only point at it: give --output")
    for name, text in written.items():
        if parsed.output:
            _write(parsed.output, name, text)
        else:
            print(text)
    return 0


def _render_compose(parsed: argparse.Namespace) -> int:
    from ..targets import project

    if not parsed.output:
        raise PoolerError("certificates and passwords are to be kept: give --output")
    given = _variables(Path(parsed.variables))
    passphrase = partial(asking.secret, "Passphrase of the authority's key")
    for path in project.write(given, Path(parsed.output), passphrase):
        print(path)
    return 0


def _render_kubernetes(parsed: argparse.Namespace) -> int:
    from ..targets import kubernetes, manifest

    fleet = kubernetes.read(_variables(Path(parsed.variables)))
    for name, document in kubernetes.documents(fleet).items():
        text = manifest.text(document)
        if not parsed.output:
            print(f"---\n{text}", end="")
            continue
        _write(parsed.output, name, text)
    if parsed.output:
        listed = Path(parsed.output, kubernetes.USERLIST)
        listed.touch(mode=0o600)
        listed.write_bytes(kubernetes.userlist(fleet).content)
        print(f"{listed}: for the Secret {fleet.secrets['userlist']}")
    return 0


def _write(directory: str, name: str, text: str) -> None:
    target = Path(directory, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(target)


def _variables(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except ValueError:
        import yaml  # not in the container, where only JSON is given

        found = yaml.safe_load(text)
    if not isinstance(found, dict):
        raise PoolerError(f"{path}: is not a dictionary of variables")
    return found
