"""The examples of the guides in docs/, and what they are in code: variables of an inventory, blocks of text."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

import jinja2
import pytest
import yaml

from pooler import scram
from tests.pages import blocks

PAGES = ("migration", "users-and-databases")
_ROLE = "pgbouncer_"
_VAULT = re.compile(r"\bvault_\w+")


def examples(language: str) -> list[Any]:
    """Blocks of all guides as parameters of a test."""
    return [
        pytest.param(text, id=f"{page}-{number}")
        for page in PAGES
        for number, text in enumerate(blocks(page, language))
    ]


def filled(text: str) -> dict[str, Any]:
    """The variables of an example, as Ansible reads them; what lies in a vault is made up."""
    vault = {name: scram.verifier(secrets.token_hex(8)) for name in _VAULT.findall(text)}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    found = yaml.safe_load(environment.from_string(text).render(vault))
    assert isinstance(found, dict), found
    return found


def options(found: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the role pgbouncer, as the module takes them, for a fleet that has Patroni when nothing else is said."""
    given = {name.removeprefix(_ROLE): value for name, value in found.items() if name.startswith(_ROLE)}
    assert given, f"nothing for the role pgbouncer: {sorted(found)}"
    fleet = {"image": "localhost/pgfleet/pooler:0.1.0", "databases": [{"name": "app"}]}
    leader = {} if "server" in given else {"patroni": ["https://db1:8008"]}
    return fleet | leader | given
