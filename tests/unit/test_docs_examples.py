"""What the guides show is taken by the code that it is for: variables are read and rendered, commands are run."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping
from typing import Any

import jinja2
import pytest
import yaml

from pooler import bundle, cli, scram, variables
from pooler.server import Server
from tests.pages import blocks

PAGES = ("migration",)
_ROLE = "pgbouncer_"
_VAULT = re.compile(r"\bvault_\w+")


def examples(language: str) -> list[Any]:
    return [
        pytest.param(text, id=f"{page}-{number}")
        for page in PAGES
        for number, text in enumerate(blocks(page, language))
    ]


def filled(text: str) -> dict[str, Any]:
    """The variables of an example, as Ansible reads them; what lies in a vault is made up."""
    vault = {name: scram.verifier(secrets.token_hex(8)) for name in _VAULT.findall(text)}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    given = environment.from_string(text).render(groups={"pooler": ["pool1", "pool2"]}, **vault)
    found = yaml.safe_load(given)
    assert isinstance(found, dict), given
    return found


def options(found: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the role pgbouncer, as the module takes them."""
    given = {name.removeprefix(_ROLE): value for name, value in found.items() if name.startswith(_ROLE)}
    fleet = {"image": "localhost/pgfleet/pooler:0.1.0", "databases": [{"name": "app"}]}
    leader = {} if given.keys() & {"server", "patroni"} else {"patroni": ["https://db1:8008"]}
    return fleet | leader | given


@pytest.mark.parametrize("text", examples("yaml"))
def test_variables_of_an_example_render(text: str) -> None:
    found = filled(text)
    assert [name for name in found if name.startswith(_ROLE)], f"renders nothing: {sorted(found)}"
    pooler = variables.read(options(found))
    made = bundle.build(pooler, bundle.Facts(Server("db1"), "/etc/pgbouncer/tls/s", "/etc/pgbouncer/tls/c"))
    assert made.release_files


@pytest.mark.parametrize("text", examples(""))
def test_command_of_an_example_says_what_the_page_shows(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`$ pooler …` is run; `…` in what it prints stands for anything."""
    command, _, shown = text.partition("\n")
    assert command.startswith("$ pooler "), command
    cli.main(shlex.split(command.removeprefix("$ pooler ")))
    said = capsys.readouterr()
    pattern = re.escape(shown.strip()).replace("…", ".*")
    assert re.fullmatch(pattern, (said.out + said.err).strip(), re.DOTALL), said
