"""`python -m tests.acceptance.variables FILE`: the inventory variables of one run, its secrets drawn anew.

Every secret holds a word of its own, TOKEN_DIGITS of random hexadecimal digits, by which it is searched for.
"""

from __future__ import annotations

import re
import secrets
import sys
from pathlib import Path
from typing import Any

import yaml

from pooler import scram
from tests.lab.images import etcd, spilo

TOKEN_DIGITS = 24

LONGEST_DATABASE = "d" * 63

UNUSUAL_ROLES = {
    'with "quotes"': 'pass"word"{}',
    "o'brien": "pass'word'{}",
    "with space": " {} between blanks ",
    "semi;colon": "{};;",
    "hash#tag": "#{}",
    "per%cent": "%{}%s%%",
    "back\\slash": "\\{}\\n",
    "ünïcödé 数据": "pässwörd €{} 数据",
    "prepared": "\u2168\u00a0{}",  # SASLprep makes IX and a space of the first two
    "r" * 63: "{}" + "x" * (1000 - TOKEN_DIGITS),
    "equals=sign": "a,b={}",
}
"""Name and shape of the password of each."""

UNUSUAL_DATABASES = ('data "base"', "semi;colon #1 %s", "ünïcödé 数据", "back\\slash")
"""Names that a database can have, and that PgBouncer before 1.25 cannot have in its file."""

OPERATOR = "ops"
WATCHER = 'watch "er"; # %'


def variables(directory: Path) -> dict[str, Any]:
    """What a user writes into an inventory. `directory` is the controller's, for the authority and the image."""
    listed = secrets.token_hex(TOKEN_DIGITS // 2)
    verifier = scram.verifier(listed)
    roles = [{"name": "app", "password": _secret("{}")}]
    roles += [{"name": name, "password": _secret(shape)} for name, shape in UNUSUAL_ROLES.items()]
    return {
        "etcd_image": etcd.REFERENCE,
        "spilo_image": spilo.REFERENCE,
        "image_directory": str(directory / "images"),
        "certificates_authority_directory": str(directory / "pki"),
        "certificates_passphrase": _secret("{}"),
        "postgresql_users": [*roles, {"name": "listed", "verifier": verifier}],
        "postgresql_databases": [
            {"name": name, "owner": "app"} for name in ("app", LONGEST_DATABASE, *UNUSUAL_DATABASES)
        ],
        "pgbouncer_databases": [{"name": "app", "pool_size": 10}, {"name": LONGEST_DATABASE, "pool_size": 2}],
        "pgbouncer_users": [
            {"name": "listed", "verifier": verifier},
            {"name": OPERATOR, "password": _secret("{}"), "console": "admin"},
            {"name": WATCHER, "certificate": True, "console": "stats"},
        ],
        "listed_password": listed,
    }


def tokens(found: object) -> set[str]:
    """The words by which all secrets among these variables are recognised."""
    if isinstance(found, dict):
        return set().union(*(tokens(value) for value in found.values()))
    if isinstance(found, list):
        return set().union(*(tokens(value) for value in found))
    words = re.findall(rf"(?<![0-9a-f])[0-9a-f]{{{TOKEN_DIGITS}}}(?![0-9a-f])", str(found))
    return set(words)


def _secret(shape: str) -> str:
    return shape.format(secrets.token_hex(TOKEN_DIGITS // 2))


def main() -> None:
    place = Path(sys.argv[1])
    place.unlink(missing_ok=True)
    place.touch(mode=0o600)
    place.write_text(yaml.safe_dump({"all": {"vars": variables(place.parent.parent)}}, allow_unicode=True))


if __name__ == "__main__":
    main()
