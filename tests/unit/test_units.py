"""What systemd is told of instances and agent."""

from __future__ import annotations

import re

import pytest

from pooler import units

_AT = "2026-11-22 01:16:12.000 UTC [1] "
_TRIES = "login attempt: db"
_PLAIN = "tls=no replication=no"


@pytest.mark.parametrize(
    "line",
    [
        "LOG C-0x559996ae3090: (nodb)/pgbouncer@unix:6432 pgbouncer access from unix socket",
        f"LOG C-0x559996ae3090: pgbouncer/pgbouncer@unix:6432 {_TRIES}=pgbouncer user=pgbouncer {_PLAIN}",
        f"LOG C-0x1: pgbouncer_agent/pgbouncer@unix:6432 {_TRIES}=pgbouncer_agent user=pgbouncer {_PLAIN}",
        "LOG C-0x1: pgbouncer_agent_replica/pgbouncer@unix:6432 closing because: client close request (age=0s)",
    ],
)
def test_the_agents_questions_stay_out_of_the_journal(line: str) -> None:
    assert re.search(units.WATCHING, _AT + line)


@pytest.mark.parametrize(
    "line",
    [
        f"LOG C-0x55: app/alice@10.0.0.7:41234 {_TRIES}=app user=alice tls=TLSv1.3 replication=no",
        f"LOG C-0x55: app/alice@unix:6432 {_TRIES}=app user=alice {_PLAIN}",
        "LOG C-0x55: app/alice@10.0.0.7:41234 closing because: client close request (age=3s)",
        f"LOG C-0x55: pgbouncer/pgbouncer@unix(107):6432 {_TRIES}=pgbouncer user=pgbouncer {_PLAIN}",
        f"LOG C-0x55: pgbouncer/admin@10.0.0.7:41234 {_TRIES}=pgbouncer user=admin tls=TLSv1.3 replication=no",
        "LOG C-0x55: pgbouncer_agent/pgbouncer@unix:6432 closing because: client unexpected eof (age=0s)",
        "WARNING C-0x55: pgbouncer_agent/pgbouncer@unix:6432 pooler error: query_wait_timeout",
        "LOG S-0x55: pgbouncer_agent/pgbouncer@10.0.0.5:5432 closing because: server conn crashed? (age=3s)",
        "LOG RELOAD command issued",
        "LOG process up: PgBouncer 1.24.1, libevent 2.1.13-stable (epoll), adns: c-ares 1.34.5, tls: OpenSSL 3.5.7",
    ],
)
def test_everything_else_is_in_the_journal(line: str) -> None:
    assert not re.search(units.WATCHING, _AT + line)
