"""What Prometheus is told, read back as Prometheus reads it."""

from __future__ import annotations

import base64
import contextlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pooler import certificates
from pooler.agent.consoles import ALL, Console, Facts
from pooler.agent.counts import Counts
from pooler.agent.decide import Pause, State, Word
from pooler.agent.health import Picture
from pooler.agent.instances import Instance, Served
from pooler.agent.members import Answer
from pooler.agent.rest import View
from pooler.agent.wire import Table
from pooler.errors import PoolerError
from pooler.metrics import exporter, ours
from pooler.metrics.ask import QUESTIONS, Answers
from pooler.metrics.expiry import expiries
from pooler.metrics.families import Family, Sample, written
from pooler.metrics.ours import Host
from pooler.metrics.scrape import told
from pooler.patroni import Cluster, Member
from pooler.server import Server

Row = Mapping[str, str | None]
LEADER, REPLICA = Server("10.0.0.1"), Server("10.0.0.2")
FACTS = Facts(99.0, {}, frozenset(), frozenset())
FINE = Instance(Console(50001, 6432), FACTS, "", Served(99.5, writable=True))
PICTURE = Picture(
    now=100.0,
    epoch=1_800_000_000.0,
    state=State(LEADER, confirmed=True),
    instances={50001: FINE},
    answers={LEADER: Answer(99.9, Word(writable=True, timeline=7)), REPLICA: Answer(99.9, None, 3, error="silent")},
    views={
        "https://a:8008": View(
            99.0,
            Cluster(
                (Member("a", "leader", "running", "10.0.0.1"), Member("b", "replica", "streaming", "10.0.0.2", lag=5))
            ),
        ),
        "https://b:8008": View(99.0, error="no answer"),
    },
)
HOST = Host(PICTURE, Counts(), "1.0", most_connections=97)
NAME = ours.named(50001)

DATABASE: Row = {
    "name": "app",
    "host": "10.0.0.1",
    "port": "5432",
    "database": "app",
    "force_user": None,
    "pool_size": "20",
    "reserve_pool_size": "5",
    "pool_mode": None,
    "max_connections": "0",
    "current_connections": "3",
    "paused": "0",
    "disabled": "0",
}
POOL: Row = {
    "database": "app",
    "user": "web",
    "cl_waiting": "2",
    "maxwait": "3",
    "maxwait_us": "250000",
    "pool_mode": "transaction",
}
CLIENT: Row = {
    "database": "app",
    "user": "web",
    "application_name": "psql",
    "state": "active",
    "prepared_statements": "2",
}
SERVER: Row = {
    "database": "app",
    "user": "web",
    "state": "active",
    "request_time": "2027-01-15 08:00:00 UTC",
    "prepared_statements": "4",
}
SOUND: Mapping[str, Sequence[Row]] = {
    "VERSION": [{"version": "PgBouncer 1.25.2"}],
    "LISTS": [
        {"list": "used_clients", "items": "7"},
        {"list": "used_servers", "items": "4"},
        {"list": "peers", "items": "2"},
    ],
    "CONFIG": [{"key": "max_client_conn", "value": "100"}, {"key": "auth_type", "value": "hba"}],
    "CLIENTS": [CLIENT],
    "SERVERS": [SERVER],
    "DATABASES": [DATABASE],
    "STATS_TOTALS": [{"database": "app", "query_count": "9", "query_time": "1500000"}],
    "POOLS": [POOL],
}


def table(rows: Sequence[Row]) -> Table:
    names = tuple(rows[0]) if rows else ()
    return Table(names, tuple(_spelled(row) for row in rows))


def _spelled(row: Row) -> bytes:
    fields = b"".join(
        struct.pack("!i", -1) if text is None else struct.pack("!i", len(text.encode())) + text.encode()
        for text in row.values()
    )
    return struct.pack("!H", len(row)) + fields


def read(text: str) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """By name, then labels."""
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            labels = frozenset(sample.labels.items())
            assert labels not in series, f"{sample.name} has {sample.labels} twice"
            series[labels] = sample.value
    return found


def scraped(
    rows: Mapping[str, Sequence[Row]] = SOUND, host: Host = HOST, missing: Mapping[str, str] | None = None
) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    answers = Answers({question: table(found) for question, found in rows.items()}, missing or {})
    return read("".join(told(host, {50001: answers})))


def value(found: dict[str, dict[frozenset[tuple[str, str]], float]], metric: str, /, **labels: str) -> float | None:
    """Of the one series that has these labels."""
    fitting = [number for have, number in found.get(metric, {}).items() if set(labels.items()) <= have]
    assert len(fitting) <= 1, f"{metric} {labels} is not one series"
    return fitting[0] if fitting else None


@given(st.lists(st.tuples(st.text(), st.text(), st.floats()), unique_by=lambda each: each[:2]))
def test_every_label_and_number_is_read_back_as_it_was(samples: list[tuple[str, str, float]]) -> None:
    family = Family("x", "gauge", "Anything.", ("a", "b"))
    text = "".join(written(Sample(family, (a, b), number) for a, b, number in samples))
    found = [
        (each.labels["a"], each.labels["b"], each.value)
        for one in text_string_to_metric_families(text)
        for each in one.samples
    ]
    assert [each[:2] for each in found] == [each[:2] for each in samples]
    assert all(a[2] == b[2] or math.isnan(b[2]) for a, b in zip(found, samples, strict=True))


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")))
def test_a_database_of_any_name_is_told(name: str) -> None:
    found = scraped({**SOUND, "DATABASES": [{**DATABASE, "name": name}], "POOLS": [{**POOL, "database": name}]})
    assert value(found, "pgbouncer_databases_pool_size", name=name, instance=NAME) == 20
    assert value(found, "pgbouncer_pools_client_waiting_connections", database=name, user="web") == 2
    assert value(found, "pgbouncer_up") == 1


def test_an_instance_is_told_as_the_exporter_tells_it() -> None:
    found = scraped()
    assert (
        value(found, "pgbouncer_databases_reserve_pool", name="app", host="10.0.0.1", port="5432", force_user="") == 5
    )
    assert value(found, "pgbouncer_stats_queries_pooled_total", database="app") == 9
    assert value(found, "pgbouncer_stats_queries_duration_seconds_total", database="app") == 1.5
    assert value(found, "pgbouncer_pools_client_maxwait_seconds", database="app", user="web") == 3
    assert value(found, "pgbouncer_version_info", version="PgBouncer 1.25.2") == 1
    assert value(found, "pgbouncer_config_max_client_connections") == 100
    assert value(found, "pgbouncer_used_clients", instance=NAME) == 7
    assert value(found, "pgbouncer_client_connections", application_name="psql", state="active") == 1
    assert "pgfleet_scrape_missing" not in found


def test_an_instance_is_told_beyond_what_the_exporter_knows() -> None:
    found = scraped()
    assert value(found, "pgfleet_instance_longest_wait_seconds") == 3.25
    assert value(found, "pgfleet_instance_server_connections") == 4
    assert value(found, "pgfleet_instance_server_connections_limit") == 25
    assert value(found, "pgfleet_instance_descriptors") == 11
    assert value(found, "pgfleet_instance_prepared_statements", side="server") == 4
    assert value(found, "pgfleet_instance_peers") == 2
    assert value(found, "pgfleet_instance_vulnerability", cve="CVE-2026-107349") == 1
    assert value(found, "pgfleet_instance_vulnerability", cve="CVE-2026-6664") is None


def test_a_server_that_a_client_holds_in_transaction_pooling_is_told() -> None:
    epoch = datetime(2027, 1, 15, 8, 0, 42, tzinfo=UTC).timestamp()
    host = replace(HOST, picture=replace(PICTURE, epoch=epoch))
    assert value(scraped(host=host), "pgfleet_database_held_seconds", database="app") == 42
    in_session = {**SOUND, "POOLS": [{**POOL, "pool_mode": "session"}]}
    assert value(scraped(in_session, host=host), "pgfleet_database_held_seconds") is None


@pytest.mark.parametrize(
    ("databases", "pools", "most"),
    [
        ({"max_connections": "10"}, 2, 10),
        ({}, 2, 50),
        ({"pool_size": "0"}, 1, math.inf),
        ({"pool_size": "0", "max_connections": "30"}, 1, 30),
        ({}, 0, 0),
    ],
)
def test_the_limit_of_all_pools_is_what_those_may_have_that_there_are(databases: Row, pools: int, most: float) -> None:
    used = [{**POOL, "user": f"u{number}"} for number in range(pools)] or [{**POOL, "database": "elsewhere"}]
    found = scraped({**SOUND, "DATABASES": [{**DATABASE, **databases}], "POOLS": used})
    assert value(found, "pgfleet_instance_server_connections_limit") == most


def test_names_that_clients_give_themselves_do_not_grow_without_bound() -> None:
    clients = [{**CLIENT, "application_name": f"worker {number}"} for number in range(5000)]
    clients += [{**CLIENT, "application_name": "often"}] * 3
    found = scraped({**SOUND, "CLIENTS": clients})["pgbouncer_client_connections"]
    assert len(found) == exporter.MOST_APPLICATIONS + 1
    assert sum(found.values()) == 5003
    assert any(("application_name", "often") in labels and number == 3 for labels, number in found.items())


def test_the_package_tells_of_holes_that_the_version_does_not() -> None:
    rows = {**SOUND, "VERSION": [{"version": "PgBouncer 1.24.1"}]}
    patched = replace(HOST, package="1.24.1-1+deb13u2")
    assert value(scraped(rows), "pgfleet_instance_vulnerability", cve="CVE-2026-6664") == 1
    assert value(scraped(rows, patched), "pgfleet_instance_vulnerability", cve="CVE-2026-6664") is None
    # Another engine than that of the image is judged by its own version.
    assert value(scraped(host=patched), "pgfleet_instance_vulnerability", cve="CVE-2026-107350") == 1


def test_an_instance_that_runs_other_files_than_there_are_is_outdated(tmp_path: Path) -> None:
    for release in ("old", "new"):
        (tmp_path / release).mkdir()
    (tmp_path / "current").symlink_to("new")

    def outdated(release: str) -> float | None:
        values = {"conffile": f"{tmp_path}/current/50001.ini", "auth_file": f"{tmp_path}/{release}/userlist.txt"}
        rows = [{"key": key, "value": text} for key, text in values.items()]
        return value(scraped({**SOUND, "CONFIG": rows}), "pgfleet_instance_outdated")

    assert (outdated("old"), outdated("new")) == (1, 0)


def test_the_cluster_is_told_as_the_agent_knows_it() -> None:
    counts = Counts()
    counts.led("order")
    found = scraped(host=replace(HOST, counts=counts))
    assert value(found, "pgfleet_leader_info", leader="10.0.0.1:5432") == 1
    assert value(found, "pgfleet_leader_known") == 1
    assert value(found, "pgfleet_leader_timeline") == 7
    assert value(found, "pgfleet_leader_changes_total", cause="order") == 1
    assert value(found, "pgfleet_leader_max_connections") == 97
    assert value(found, "pgfleet_server_up", server="10.0.0.2:5432") == 0
    assert value(found, "pgfleet_patroni_up", url="https://b:8008") == 0
    assert value(found, "pgfleet_replica_lag_bytes", server="10.0.0.2:5432") == 5
    assert value(found, "pgfleet_ready", target="leader") == 1
    lost = replace(PICTURE, state=replace(PICTURE.state, lost=98.0))
    assert value(scraped(host=replace(HOST, picture=lost)), "pgfleet_leader_known") == 0


def test_whoever_has_paused_is_told() -> None:
    def by(picture: Picture, paused: frozenset[str]) -> set[str]:
        instance = replace(FINE, facts=replace(FACTS, paused=paused))
        found = scraped(host=replace(HOST, picture=replace(picture, instances={50001: instance})))
        who = ("agent", "operator", "hand")
        return {each for each in who if value(found, "pgfleet_instance_paused", by=each, instance=NAME)}

    assert by(PICTURE, frozenset()) == set()
    assert by(replace(PICTURE, state=State(LEADER, pause=Pause("loss", 110.0))), frozenset({ALL})) == {"agent"}
    assert by(replace(PICTURE, operators=frozenset({"app"})), frozenset({"app"})) == {"operator"}
    assert by(replace(PICTURE, by_hand={50001: frozenset({"app"})}), frozenset({"app"})) == {"hand"}


def test_an_instance_that_does_not_answer_is_told_and_the_others_are_there() -> None:
    dead = Instance(Console(50002, 6432), error="Connection refused")
    host = replace(HOST, picture=replace(PICTURE, instances={50001: FINE, 50002: dead}))
    sound = Answers({question: table(rows) for question, rows in SOUND.items()})
    found = read("".join(told(host, {50001: sound, 50002: Answers(missing={"CONSOLE": "Connection refused"})})))
    assert value(found, "pgbouncer_up", instance=NAME) == 1
    assert value(found, "pgbouncer_up", instance=ours.named(50002)) == 0
    assert value(found, "pgfleet_scrape_missing", instance=ours.named(50002), why="Connection refused") == 1
    assert value(found, "pgbouncer_databases", instance=NAME) is None
    assert value(found, "pgbouncer_used_clients", instance=NAME) == 7


@pytest.mark.parametrize("question", [each for each in QUESTIONS if each != "VERSION"])
def test_of_a_garbled_answer_it_is_said_what_is_missing_and_the_rest_is_told(question: str) -> None:
    garbled = dict.fromkeys(SOUND[question][0], "nonsense")
    if question in ("LISTS", "CONFIG"):
        garbled = {**SOUND[question][0], list(SOUND[question][0])[1]: "nonsense"}  # type: ignore[dict-item]
    elif question == "CLIENTS":
        garbled = {key: text for key, text in CLIENT.items() if key != "state"}  # type: ignore[misc]
    found = scraped({**SOUND, question: [garbled]})
    assert value(found, "pgbouncer_up") == 0
    assert any(("what", question) in labels for labels in found["pgfleet_scrape_missing"])
    assert value(found, "pgbouncer_version_info") == 1


@given(st.fixed_dictionaries({question: st.lists(st.binary(max_size=60), max_size=3) for question in QUESTIONS}))
def test_whatever_a_console_says_the_scrape_is_one_that_prometheus_reads(rows: dict[str, list[bytes]]) -> None:
    tables = {question: Table(tuple(SOUND[question][0]), tuple(rows[question])) for question in QUESTIONS}
    text = "".join(told(HOST, {50001: Answers(tables)}))
    assert "pgbouncer_up" in {family.name for family in text_string_to_metric_families(text)}


@pytest.mark.parametrize("days", [365, 365 * 40])
def test_the_end_of_a_certificate_is_read_from_its_file(days: int) -> None:
    now = datetime.now(UTC)
    authority = certificates.new_authority("fleet", now=now, days=days)
    leaf = certificates.issue(
        authority, certificates.LeafRequest("pgbouncer", usages=frozenset({"client"}), days=days), now
    )
    for pem in (leaf.certificate_pem, leaf.authority_pem):
        truths = x509.load_pem_x509_certificates(pem.encode())
        assert [(found.serial, found.at) for found in expiries(pem)] == [
            (format(truth.serial_number, "x"), truth.not_valid_after_utc.timestamp()) for truth in truths
        ]
    assert len(expiries(leaf.certificate_pem)) == 2


@given(st.binary(), st.integers(0, 400))
def test_a_file_that_is_no_certificate_is_told_and_no_more(noise: bytes, at: int) -> None:
    for der in (noise, _CERTIFICATE[:at] + noise):
        text = base64.b64encode(der).decode()
        pem = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        with contextlib.suppress(PoolerError):
            assert all(each.at for each in expiries(pem))
    with pytest.raises(PoolerError, match="has no certificate"):
        expiries("nothing")


_NOW = datetime.now(UTC)
_CERTIFICATE = x509.load_pem_x509_certificate(
    certificates.new_authority("fleet", now=_NOW).certificate_pem.encode()
).public_bytes(serialization.Encoding.DER)
