"""The metrics that prometheus-community/pgbouncer_exporter has, by its names, so that its dashboards and alerts fit.

Its release 0.11 has renamed `pgbouncer_stats_…` to `pgbouncer_stats_totals_…`. Here, what existed before has the former
name, which dashboards use, and what came later the later one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..agent.wire import Table
from ..errors import PoolerError
from .families import Family, Sample, escaped, labelled

INSTANCE = "instance"

UP = Family("pgbouncer_up", "gauge", "Whether the instance has answered every question of this scrape.", (INSTANCE,))
VERSION = Family("pgbouncer_version_info", "gauge", "The engine's version, by its own words.", (INSTANCE, "version"))
CLIENTS = Family(
    "pgbouncer_client_connections",
    "gauge",
    "Client connections by database, user, application name and state.",
    (INSTANCE, "database", "user", "application_name", "state"),
)
MOST_APPLICATIONS = 100
"""Names that clients give themselves: those of an instance beyond so many are told together, as `(others)`."""

Scale = Literal["as it is", "from microseconds"]


@dataclass(frozen=True)
class Column:
    """A column of numbers. `names` are what engines have called it."""

    names: tuple[str, ...]
    family: Family
    scale: Scale


@dataclass(frozen=True)
class Wide:
    """`SHOW show`, each row of which gives one sample for each of `columns`, labelled with the texts in `labels`."""

    show: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Rows:
    """What one instance has answered to a wide question: the labels of each row, written, and its numbers.

    The numbers are texts, in the order of `families`.
    """

    families: tuple[Family, ...]
    rows: Sequence[tuple[str, Sequence[str]]]


def rows(wide: Wide, instance: str, table: Table) -> Rows:
    """Raises PoolerError for an answer that is not what it should be."""
    found = [(column, name) for column in wide.columns for name in column.names if name in table.columns]
    labels = len(wide.labels)
    template = _template(instance, wide.labels)
    scaled = [at for at, (column, _name) in enumerate(found) if column.scale == "from microseconds"]
    made = []
    # There may be thousands of rows, each with nearly twenty texts.
    for row in table.picked(*wide.labels, *(name for _column, name in found)):
        texts, numbers = row[:labels], list(row[labels:])
        try:
            together = "".join(numbers)
            if not (together.isdecimal() and together.isascii() and "" not in numbers):
                numbers = [_plain(text) for text in numbers]
            for at in scaled:
                numbers[at] = _from_microseconds(numbers[at])
        except ValueError:
            raise PoolerError(f"SHOW {wide.show} has {row[labels:]!r} where numbers should be") from None
        made.append((template % tuple(map(escaped, texts)), numbers))
    return Rows(tuple(column.family for column, _name in found), made)


def written(wide: Wide, answers: Iterable[Rows]) -> Iterator[str]:
    """The text of a wide question's families, one piece each."""
    answers = list(answers)
    for column in wide.columns:
        name = column.family.name
        lines: list[str] = []
        for answer in answers:
            if column.family in answer.families:
                at = answer.families.index(column.family)
                lines += [f"{name}{labels} {numbers[at]}\n" for labels, numbers in answer.rows]
        if lines:
            yield column.family.head() + "".join(lines)


def lists(instance: str, table: Table) -> Iterator[Sample]:
    """From SHOW LISTS. Raises PoolerError."""
    return _by_key(LISTS, instance, "SHOW LISTS", table.pairs("list", "items"))


def config(instance: str, table: Table) -> Iterator[Sample]:
    """From SHOW CONFIG. Raises PoolerError."""
    return _by_key(CONFIG, instance, "SHOW CONFIG", table.pairs("key", "value"))


def clients(instance: str, table: Table) -> Iterator[Sample]:
    """From SHOW CLIENTS. Raises PoolerError."""
    named = "application_name" in table.columns
    columns = ("database", "user", "application_name" if named else "database", "state")
    counted = Counter(table.picked(*columns))
    often = Counter[str]()
    for (_database, _user, application, _state), count in counted.items():
        often[application] += count
    told = {application for application, _count in often.most_common(MOST_APPLICATIONS)}
    groups = Counter[tuple[str, str, str, str]]()
    for (database, user, application, state), count in counted.items():
        name = (application if application in told else "(others)") if named else ""
        groups[database, user, name, state] += count
    for group, count in groups.items():
        yield Sample(CLIENTS, (instance, *group), count)


def version(instance: str, table: Table) -> Iterator[Sample]:
    """From SHOW VERSION. Raises PoolerError."""
    yield Sample(VERSION, (instance, table.first()[0]), 1)


def _by_key(families: Mapping[str, Family], instance: str, what: str, values: Mapping[str, str]) -> Iterator[Sample]:
    for key, family in families.items():
        if key not in values:
            continue
        try:
            yield Sample(family, (instance,), float(values[key]))
        except ValueError:
            raise PoolerError(f"{what} has {values[key]!r} where the number of {key} should be") from None


def _plain(text: str) -> str:
    # NULL, where an engine has nothing to say.
    return repr(float(text)) if text else "NaN"


def _from_microseconds(text: str) -> str:
    return repr(float(text) * 1e-6) if text != "0" else "0"


def _template(instance: str, labels: tuple[str, ...]) -> str:
    """With a place for the value of each label."""
    return labelled((INSTANCE, *labels), (instance.replace("%", "%%"), *("%s" for _label in labels)))


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(f"pgbouncer_{name}", "gauge", text, (INSTANCE, *labels))


def _column(name: str, family: Family, *others: str, scale: Scale = "as it is") -> Column:
    return Column((name, *others), family, scale)


_DATABASE = ("name", "host", "port", "database", "force_user", "pool_mode")


def _of_database(name: str, text: str, *others: str) -> Column:
    label = "reserve_pool" if name == "reserve_pool_size" else name
    return _column(name, _gauge(f"databases_{label}", text, *_DATABASE), *others)


DATABASES = Wide(
    "DATABASES",
    _DATABASE,
    (
        _of_database("pool_size", "Server connections that each pool of the database may have."),
        _of_database(
            "reserve_pool_size", "Server connections it may have beyond that for waiting clients.", "reserve_pool"
        ),
        _of_database("max_connections", "Server connections that the database may have in all; 0 for any number."),
        _of_database("current_connections", "Server connections that the database has."),
        _of_database("paused", "1 while the database is paused, else 0."),
        _of_database("disabled", "1 while the database is disabled, else 0."),
    ),
)


def _of_stats(column: str, name: str, text: str, scale: Scale = "as it is", prefix: str = "stats") -> Column:
    return _column(column, Family(f"pgbouncer_{prefix}_{name}", "counter", text, (INSTANCE, "database")), scale=scale)


STATS = Wide(
    "STATS_TOTALS",
    ("database",),
    (
        _of_stats("query_count", "queries_pooled_total", "Queries."),
        _of_stats("query_time", "queries_duration_seconds_total", "Time in queries.", "from microseconds"),
        _of_stats("bytes_received", "received_bytes_total", "Bytes received from clients."),
        _of_stats("bytes_sent", "sent_bytes_total", "Bytes sent to clients."),
        _of_stats("wait_time", "client_wait_seconds_total", "Time clients waited for a server.", "from microseconds"),
        _of_stats("xact_count", "sql_transactions_pooled_total", "Transactions."),
        _of_stats(
            "xact_time",
            "server_in_transaction_seconds_total",
            "Time in transactions, idle or not.",
            "from microseconds",
        ),
        _of_stats(
            "client_parse_count", "client_parses_total", "Statements that clients prepared.", prefix="stats_totals"
        ),
        _of_stats(
            "server_parse_count", "server_parses_total", "Statements prepared on servers.", prefix="stats_totals"
        ),
        _of_stats("bind_count", "binds_total", "Prepared statements that were bound.", prefix="stats_totals"),
        _of_stats(
            "server_assignment_count", "server_assignments_total", "Times a client got a server.", prefix="stats_totals"
        ),
    ),
)


def _of_pool(column: str, name: str, text: str) -> Column:
    return _column(column, _gauge(f"pools_{name}", text, "database", "user"))


POOLS = Wide(
    "POOLS",
    ("database", "user"),
    (
        _of_pool("cl_active", "client_active_connections", "Clients that have a server or ask for none."),
        _of_pool("cl_waiting", "client_waiting_connections", "Clients that wait for a server."),
        _of_pool(
            "cl_active_cancel_req", "client_active_cancel_connections", "Clients whose cancel request a server has."
        ),
        _of_pool("cl_waiting_cancel_req", "client_waiting_cancel_connections", "Clients whose cancel request waits."),
        _of_pool("sv_active", "server_active_connections", "Servers that a client has."),
        _of_pool("sv_active_cancel", "server_active_cancel_connections", "Servers that pass a cancel request on."),
        _of_pool(
            "sv_being_canceled", "server_being_canceled_connections", "Servers kept until cancel requests are through."
        ),
        _of_pool("sv_idle", "server_idle_connections", "Servers that are free."),
        _of_pool("sv_used", "server_used_connections", "Servers that are free and have to be checked first."),
        _of_pool("sv_tested", "server_testing_connections", "Servers that are being reset or checked."),
        _of_pool("sv_login", "server_login_connections", "Servers that are being logged in to."),
        _of_pool("maxwait", "client_maxwait_seconds", "Whole seconds that the first waiting client has waited."),
    ),
)

WIDE = (DATABASES, STATS, POOLS)

LISTS = {
    "databases": _gauge("databases", "Databases."),
    "users": _gauge("users", "Users."),
    "pools": _gauge("pools", "Pools."),
    "free_clients": _gauge("free_clients", "Places for clients that have memory and no client."),
    "used_clients": _gauge("used_clients", "Clients."),
    "login_clients": _gauge("login_clients", "Clients that are logging in."),
    "free_servers": _gauge("free_servers", "Places for servers that have memory and no server."),
    "used_servers": _gauge("used_servers", "Servers."),
    "dns_names": _gauge("cached_dns_names", "Names in the DNS cache."),
    "dns_zones": _gauge("cached_dns_zones", "Zones in the DNS cache."),
    "dns_queries": _gauge("in_flight_dns_queries", "DNS queries under way."),
}
CONFIG = {
    "max_client_conn": _gauge("config_max_client_connections", "Clients that the instance lets in."),
    "max_user_connections": _gauge(
        "config_max_user_connections", "Server connections that a user may have; 0 for any number."
    ),
}

READERS = {"VERSION": version, "LISTS": lists, "CONFIG": config, "CLIENTS": clients}
"""By the question whose table each takes."""

FAMILIES = (
    UP,
    VERSION,
    *LISTS.values(),
    *CONFIG.values(),
    CLIENTS,
    *(column.family for wide in WIDE for column in wide.columns),
)
