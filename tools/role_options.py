"""Write roles/pgbouncer/meta/argument_specs.yml from the documentation of the module of the same options.

`python tools/role_options.py` after a change of the modules pgbouncer or ignition; `--check` fails when that was
forgotten.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
SPECS = ROOT / "roles/pgbouncer/meta/argument_specs.yml"
_MARKUP = re.compile(r"\b(?:RV|[OVCM])\((?:ignore:)?([^)]*)\)")


def rendered() -> str:
    """The file as it should be: option names with the role's prefix, markup of modules as plain back-quotes."""
    options = {f"pgbouncer_{name}": _option(option) for name, option in _options("pgbouncer").items()}
    main = {
        "short_description": "PgBouncer instances on a host",
        "description": [
            "Installs and operates the PgBouncer instances of one host as podman units.",
            "The options are those of the module pgfleet.pooler.pgbouncer.",
        ],
        "options": options,
    }
    first_boot = {
        "short_description": "The first boot of such a host, for Fedora CoreOS",
        "description": [
            "Renders the config of a host that comes up as the options of `main` describe it; reaches no host.",
            "The options are those of the module pgfleet.pooler.ignition. The result is in `pgbouncer_first_boot`.",
        ],
        "options": {
            f"pgbouncer_ignition_{name}": _given(_option(option))
            for name, option in _options("ignition").items()
            if name != "pgbouncer"
        },
    }
    text = yaml.dump(
        {"argument_specs": {"main": main, "ignition": first_boot}}, Dumper=_Dumper, sort_keys=False, width=110
    )
    return f"---\n{text}"


def _options(name: str) -> dict[str, Any]:
    """The documented options of a module."""
    module = importlib.util.spec_from_file_location(name, ROOT / f"plugins/modules/{name}.py")
    assert module
    assert module.loader
    loaded = importlib.util.module_from_spec(module)
    module.loader.exec_module(loaded)
    found: dict[str, Any] = yaml.safe_load(loaded.DOCUMENTATION)["options"]
    return found


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, as ansible-lint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _option(option: dict[str, Any]) -> dict[str, Any]:
    plain = dict(option)
    described = option["description"]
    plain["description"] = [_plain(line) for line in described] if isinstance(described, list) else _plain(described)
    if "suboptions" in plain:
        plain["options"] = {name: _option(each) for name, each in plain.pop("suboptions").items()}
    return plain


def _given(option: dict[str, Any]) -> dict[str, Any]:
    """Where a variable is missing, the module's own default is taken."""
    return {key: value for key, value in option.items() if key != "default"}


def _plain(text: str) -> str:
    return _MARKUP.sub(r"`\1`", text)


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        if SPECS.read_text() != rendered():
            print(f"{SPECS.relative_to(ROOT)} is not what tools/role_options.py writes", file=sys.stderr)
            return 1
        return 0
    SPECS.write_text(rendered())
    return 0


if __name__ == "__main__":
    sys.exit(main())
