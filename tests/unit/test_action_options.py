"""What a wrong option is called: by the variable of the role that gave it."""

from __future__ import annotations

import pytest
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.action import of_role

VARIABLES = {"pgbouncer_databases": 5, "pgbouncer_port": "abc", "pgbouncer_dispatch": "x", "pgbouncer_users": []}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Elements value for option 'databases' is of type str", "Elements value for option 'pgbouncer_databases' is"),
        ("argument 'port' is of type str and we were unable", "argument 'pgbouncer_port' is of type str"),
        ("value of dispatch must be one of: socket, engine", "value of pgbouncer_dispatch must be one of"),
        (
            "argument 'port' is of type str found in 'users'.",
            "argument 'port' is of type str found in 'pgbouncer_users'",
        ),
        (
            "value of port must be one of: 1, got: 2 found in users",
            "value of port must be one of: 1, got: 2 found in pgb",
        ),
        ("argument 'image' is of type int", "argument 'image' is of type int"),
    ],
)
def test_an_option_is_called_by_its_variable(said: str, told: str) -> None:
    assert of_role(said, "pgbouncer", VARIABLES).startswith(told)
