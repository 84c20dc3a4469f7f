"""Random histories of one pooler host, as inventories say them: what it is, and what it is to become."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from pooler import ini, scram, settings
from pooler.bundle import Facts
from pooler.server import Server
from pooler.variables import OWNED
from tests.engine import trial
from tests.engine.miniature import IDENT, LEAVES, TLS

Variables = dict[str, Any]
Entry = dict[str, Any]

SECRETS = tuple(secrets.token_hex(8) for _ in range(2))
VERIFIERS = tuple(scram.verifier(secrets.token_hex(8)) for _ in range(2))
_IN_QUOTES = ("the app",) if trial.version() >= ini.QUOTED_NAMES else ()
DATABASES = ("app", "shop", "app.v-2", "*", *_IN_QUOTES)
USERS = ("alice", "bob", "app", "pgbouncer", "asker", *_IN_QUOTES)
TRUSTED = "bob"
LEADERS = (Server("10.0.0.1"), Server("db2.example", 5433))
PLAIN: Variables = {
    "image": "localhost/pgfleet/pooler:0.1.0",
    "patroni": ["https://db1:8008"],
    "agent": {"enabled": False},
    "engine_version": settings.spelled(trial.version()),
    "instances": 1,
}
MODES = ("session", "transaction", "statement")

# Values besides the default that an engine starts with, where those of the kind would not do.
_SAMPLES: Mapping[str, tuple[Any, ...]] = {
    "auth_ident_file": (IDENT,),
    "auth_ldap_options": ("ldapserver=db1",),
    "client_tls13_ciphers": ("TLS_AES_256_GCM_SHA384",),
    "client_tls_ciphers": ("secure", "HIGH"),
    "client_tls_ecdhcurve": ("none", "prime256v1"),
    "client_tls_protocols": ("all", "tlsv1.2,tlsv1.3"),
    "ignore_startup_parameters": ("options", "extra_float_digits,options,search_path"),
    "max_packet_size": (65536, 1048576),
    "pkt_buf": (16384,),
    "resolv_conf": ("/etc/host.conf",),
    "server_tls13_ciphers": ("TLS_AES_256_GCM_SHA384",),
    "server_tls_ciphers": ("secure", "HIGH"),
    "server_tls_protocols": ("all", "tlsv1.3"),
    "syslog": (False, True),
    "syslog_ident": ("pooler",),
    "track_extra_parameters": ("IntervalStyle, search_path", "search_path"),
    "unix_socket_group": ("",),
    "verbose": (0, 1),
}
_OF_KIND: Mapping[str, tuple[Any, ...]] = {
    "boolean": (False, True),
    "bytes": (4096, 16384),
    "integer": (30, 70),
    "milliseconds": (100, 2500),
    "seconds": (2.5, 86400),
    "text": ("", "select 2"),
    "whole seconds": (4, 9),
}


def _samples(name: str) -> tuple[Any, ...]:
    setting = settings.get("pgbouncer", name)
    return _SAMPLES.get(name) or setting.allowed_for(trial.version()) or _OF_KIND[setting.kind]


def _taken_back(name: str) -> bool:
    setting = settings.get("pgbouncer", name)
    return setting.reloadable and setting.default is not None


SETTINGS = tuple(
    (name, value)
    for name in settings.known("pgbouncer")
    if name not in OWNED and settings.get("pgbouncer", name).since <= trial.version()
    for value in _samples(name)
)
"""Every setting that an inventory may give, with at least one value."""

RELOADABLE = tuple(pair for pair in SETTINGS if settings.get("pgbouncer", pair[0]).reloadable)

STICKY = tuple(pair for pair in SETTINGS if not _taken_back(pair[0]))
"""Those of which a RELOAD makes something else than a start."""

_HOSTS = st.sampled_from(["10.0.0.9", "db.example", "db1,db2"])
_COUNTS = st.sampled_from([0, 30, 70])
_ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "host": _HOSTS,
        "port": st.sampled_from([5432, 5434]),
        "dbname": st.sampled_from(["app", "main"]),
        "user": st.sampled_from(["alice", "owner", "guest"]),
        "password": st.sampled_from(SECRETS),
        "pool_size": _COUNTS,
        "min_pool_size": _COUNTS,
        "reserve_pool_size": _COUNTS,
        "pool_mode": st.sampled_from(MODES),
        "max_db_connections": _COUNTS,
        "max_db_client_connections": _COUNTS,
        "server_lifetime": st.sampled_from([60, 600]),
        "load_balance_hosts": st.sampled_from(["disable", "round-robin"]),
        "connect_query": st.sampled_from(["select 1", "set work_mem = '1GB'"]),
        "auth_user": st.sampled_from(["alice", "asker"]),
        "auth_query": st.just("select 1, 2"),
        "auth_dbname": st.just("shop"),
        "client_encoding": st.just("UTF8"),
        "application_name": st.just("it's us"),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
    },
)
_SEATS = st.fixed_dictionaries(
    {},
    optional={
        "console": st.sampled_from(["admin", "stats"]),
        "pool_mode": st.sampled_from(MODES),
        "pool_size": _COUNTS,
        "reserve_pool_size": _COUNTS,
        "max_user_connections": _COUNTS,
        "max_user_client_connections": _COUNTS,
        "query_timeout": st.sampled_from([5, 60]),
        "idle_transaction_timeout": st.sampled_from([5, 60]),
        "client_idle_timeout": st.sampled_from([5, 60]),
    },
)
_LINES: Sequence[Entry] = (
    {},
    *({"password": password} for password in SECRETS),
    *({"verifier": verifier} for verifier in VERIFIERS),
)
_RULES = st.sampled_from(
    [
        "local all all scram-sha-256",
        "local all all md5",
        "local app all reject",
        "local all alice,bob reject",
        f"local all {TRUSTED} trust",
        f"local all {TRUSTED} trust",
        f"local all {TRUSTED} trust",
        "hostssl all all 10.0.0.0/8 scram-sha-256",
        "hostssl all app all cert",
    ]
)
_AUTHS: Sequence[Entry] = (
    {"userlist_only": True},
    {"userlist_only": True},
    {"auth_query": {}},
    {"auth_query": {"role": "asker"}},
    {"auth_query": {"dbname": "app"}},
)
_ABSENT = object()

FACTS = st.builds(
    lambda leader, server, client: Facts(leader, f"{TLS}/server/{server}", f"{TLS}/client/{client}"),
    st.sampled_from(LEADERS),
    st.sampled_from(LEAVES),
    st.sampled_from(LEAVES),
)
"""What is known besides an inventory."""


@st.composite
def histories(draw: st.DrawFn, most: int = 2) -> list[Variables]:
    """From two to `most` inventories, each somewhat different from the one before."""
    parts = [draw(_inventories())]
    for _ in range(draw(st.integers(1, most - 1))):
        fresh = draw(_inventories())
        parts.append({name: _mixed(draw, parts[-1][name], fresh[name]) for name in sorted(fresh)})
    return [_variables(each) for each in parts]


def _inventories() -> st.SearchStrategy[Variables]:
    return st.fixed_dictionaries(
        {
            "databases": st.dictionaries(st.sampled_from(DATABASES), _ENTRIES, max_size=3),
            "users": st.dictionaries(st.sampled_from(USERS), _SEATS, max_size=4),
            "lines": st.dictionaries(st.sampled_from(USERS), st.integers(0, len(_LINES) - 1), max_size=4),
            "settings": st.lists(st.sampled_from((*SETTINGS, *STICKY)), max_size=4).map(dict),
            "hba": st.one_of(st.just([]), st.lists(_RULES, min_size=1, max_size=3)),
            "auth": st.integers(0, len(_AUTHS) - 1),
            "instances": st.sampled_from([1, 1, 2]),
            "listen": st.sampled_from([["*"], ["*"], ["*"], ["127.0.0.1"]]),
        }
    )


def _mixed(draw: st.DrawFn, before: Any, fresh: Any) -> Any:
    """As before, or as in the fresh one, or, name by name, some as before and some fresh."""
    choice = draw(st.integers(0, 3))
    if choice < 3 and isinstance(before, Mapping) and isinstance(fresh, Mapping):
        names = sorted(before.keys() | fresh.keys())
        return {
            name: value
            for name in names
            if (value := _mixed(draw, before.get(name, _ABSENT), fresh.get(name, _ABSENT))) is not _ABSENT
        }
    return before if choice < 3 else fresh


def _variables(parts: Variables) -> Variables:
    return {
        **PLAIN,
        "instances": parts["instances"],
        "databases": [{"name": name, **entry} for name, entry in parts["databases"].items()],
        "users": [
            _user(name, _LINES[parts["lines"].get(name, 0)], parts["users"].get(name, {}))
            for name in sorted(parts["users"].keys() | parts["lines"].keys())
        ],
        "settings": dict(parts["settings"]),
        "hba": parts["hba"],
        "listen": parts["listen"],
        **_AUTHS[parts["auth"]],
    }


def _user(name: str, line: Entry, seat: Entry) -> Entry:
    """A seat for statistics goes with a certificate instead of a password."""
    by_certificate = line and seat.get("console") == "stats"
    return {"name": name, **({"certificate": True} if by_certificate else line), **seat}
