"""Each check of the doctor: well on a host that is well, and telling on one that is broken in just that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pooler import over_ssh
from pooler.agent.config import AgentConfig
from pooler.doctor import report
from pooler.doctor.checks import ALL, examine
from pooler.doctor.facts import Cancel, Door, Facts, GetAuth, Instance, Postgres
from pooler.doctor.finding import EXIT_STATUS, Finding, Verdict, worst
from pooler.doctor.report import Report
from pooler.errors import PoolerError
from pooler.metrics.expiry import Expiry
from pooler.patroni import Cluster, Member
from pooler.server import Server

NOW = 1_800_000_000.0
DAY = 86400.0
LEADER, REPLICA = Server("10.0.0.11"), Server("10.0.0.12")
URLS = ("https://10.0.0.11:8008", "https://10.0.0.12:8008")
LEAF = Expiry("a1", NOW + 80 * DAY, NOW - 10 * DAY)

CONFIG = {
    "peer_id": "1",
    "max_client_conn": "1000",
    "max_prepared_statements": "200",
    "auth_file": "/etc/pgbouncer/releases/abc/userlist.txt",
}
POOL = {
    "database": "app",
    "user": "app",
    "cl_waiting": "0",
    "maxwait": "0",
    "maxwait_us": "0",
    "pool_mode": "transaction",
}
DATABASE = {
    "name": "app",
    "host": "10.0.0.11",
    "port": "5432",
    "database": "app",
    "pool_size": "20",
    "reserve_pool_size": "5",
    "max_connections": "0",
}
SERVER = {
    "database": "app",
    "user": "app",
    "state": "active",
    "request_time": "2027-01-15 07:59:50 UTC",
    "remote_pid": "77",
}
FUNCTION = {
    "definer": True,
    "settings": ["search_path=pg_catalog, pg_temp"],
    "owner": "postgres",
    "owner_superuser": True,
    "public": False,
    "ours": True,
}
SAID: dict[str, Any] = {
    "role": {"superuser": False, "createrole": False},
    "found": [FUNCTION],
    "stranger": [["pg_no_such_user", True]],
    "superuser": ["pg_no_such_user"],
}


def pairs(key: str, value: str, of: Mapping[str, str]) -> tuple[dict[str, str], ...]:
    return tuple({key: each, value: text} for each, text in of.items())


def instance(number: int, **settings: str) -> Instance:
    return Instance(
        shows={
            "VERSION": ({"version": "PgBouncer 1.26.1"},),
            "CONFIG": pairs("key", "value", CONFIG | {"peer_id": str(number)} | settings),
            "LISTS": pairs("list", "items", {"used_clients": "12"}),
            "STATE": pairs("key", "value", {"paused": "no"}),
            "PEERS": ({"peer_id": "1"}, {"peer_id": "2"}),
            "POOLS": (POOL,),
            "DATABASES": (DATABASE,),
            "SERVERS": (SERVER,),
        },
        asked={
            "": "SCRAM-SHA-256",
            "extra_float_digits": "SCRAM-SHA-256",
            "options": "SCRAM-SHA-256",
            "search_path": "unsupported startup parameter: search_path",
        },
    )


def member(server: Server, role: str) -> Member:
    return Member(server.host, role, "running", server.host, server.port)


WELL_CLUSTER = Cluster((member(LEADER, "leader"), member(REPLICA, "replica")))
STATUS = {"ready": True, "reason": "", "leader": str(LEADER), "trouble": ""}
WELL = Facts(
    host="pool1",
    now=NOW,
    config=AgentConfig(
        port=6432,
        consoles=(50001, 50002),
        server_leaf="/s",
        client_leaf="/c",
        role="pgbouncer",
        dbname="postgres",
        patroni=URLS,
        targets={"app": "leader"},
        nofile=8192,
    ),
    addresses=("10.0.0.21",),
    doors=(
        Door("clients 6432", ("pool1", "10.0.0.21"), ("pool1", "10.0.0.21"), LEAF),
        Door(f"PostgreSQL {LEADER}", (LEADER.host,), (LEADER.host,), Expiry("b2", LEAF.at, LEAF.since)),
    ),
    instances={50001: instance(1), 50002: instance(2)},
    status=STATUS,
    patroni=dict.fromkeys(URLS, WELL_CLUSTER),
    servers={LEADER: Postgres(writable=True, room=97), REPLICA: Postgres(room=97)},
    get_auth=GetAuth("pgbouncer", "pgbouncer.get_auth", SAID),
    cancels=(Cancel(50001, 50002, 0.02), Cancel(50002, 50001, 0.02)),
    sysctls={"net.ipv4.tcp_migrate_req": "1", "net.core.somaxconn": "4096"},
    files={"/s/tls.crt": [LEAF]},
)


def first(**shows: Any) -> dict[int, Instance]:
    """The instances, of which the first answers this instead."""
    one = WELL.instances[50001]
    return {**WELL.instances, 50001: replace(one, shows={**one.shows, **shows})}


def asked(**answers: str) -> dict[int, Instance]:
    one = WELL.instances[50001]
    said = {"" if name == "nothing" else name: answer for name, answer in answers.items()}
    return {**WELL.instances, 50001: replace(one, asked={**one.asked, **said})}


def door(**more: Any) -> tuple[Door, ...]:
    return (replace(WELL.doors[0], **more), *WELL.doors[1:])


def get_auth(**more: Any) -> GetAuth:
    function = FUNCTION | {name: value for name, value in more.items() if name in FUNCTION}
    return GetAuth("pgbouncer", "pgbouncer.get_auth", SAID | {"found": [function]} | more)


def settings(**more: str) -> dict[int, Instance]:
    return {**WELL.instances, 50001: instance(1, **more)}


W, F, U = Verdict.WARNING, Verdict.FAILED, Verdict.UNKNOWN

BROKEN: list[tuple[str, Verdict, str, dict[str, Any]]] = [
    ("reachability", F, "does not answer on port 9127: refused", {"status": None, "status_error": "refused"}),
    ("reachability", F, "not served: no leader", {"status": {**STATUS, "ready": False, "reason": "no leader"}}),
    ("reachability", W, "in trouble", {"status": {**STATUS, "trouble": "disk full"}}),
    ("reachability", F, "does not answer: gone", {"instances": {50001: Instance(missing={"CONSOLE": "gone"})}}),
    ("reachability", W, "SHOW POOLS: nonsense", {"instances": {50001: Instance(missing={"POOLS": "nonsense"})}}),
    ("reachability", W, "Patroni does not answer", {"patroni": {URLS[0]: "timed out", URLS[1]: WELL_CLUSTER}}),
    ("reachability", F, "Patroni does not answer", {"patroni": dict.fromkeys(URLS, "timed out")}),
    (
        "reachability",
        F,
        "PostgreSQL does not answer: no pg_hba.conf",
        {"servers": {LEADER: Postgres(error="no pg_hba.conf")}},
    ),
    ("tls", F, "no TLS there: refused", {"doors": door(error="refused")}),
    ("tls", F, "self-signed", {"doors": door(untrusted="self-signed certificate")}),
    ("tls", F, "is for other, and not for pool1 or 10.0.0.21", {"doors": door(names=("other",))}),
    ("expiry", W, "20 days", {"files": {"/s/tls.crt": [replace(LEAF, at=NOW + 20 * DAY, since=NOW - 70 * DAY)]}}),
    ("expiry", F, "has expired", {"files": {"/s/tls.crt": [replace(LEAF, at=NOW - 1)]}}),
    ("expiry", F, "not valid yet", {"files": {"/s/tls.crt": [replace(LEAF, since=NOW + 60)]}}),
    ("expiry", F, "Permission denied", {"unreadable": {"/s/tls.crt": "Permission denied"}}),
    ("expiry", W, "not the one on disk", {"doors": door(expiry=replace(LEAF, serial="old"))}),
    ("expiry", W, "3 days", {"doors": (replace(WELL.doors[1], expiry=Expiry("c", NOW + 3 * DAY, NOW - 80 * DAY)),)}),
    ("scram", F, "without a password", {"instances": asked(nothing="nothing")}),
    ("scram", F, "an MD5 digest", {"instances": asked(nothing="an MD5 digest")}),
    ("scram", W, "tells strangers from users", {"instances": asked(nothing="no such user")}),
    ("scram", U, "no database", {"instances": {50001: Instance()}}),
    ("startup parameters", F, "options", {"instances": asked(options="unsupported startup parameter: options")}),
    ("startup parameters", U, "could not be asked", {"instances": {50001: Instance()}}),
    ("get_auth", F, "not SECURITY DEFINER", {"get_auth": get_auth(definer=False)}),
    ("get_auth", F, "no search_path", {"get_auth": get_auth(settings=None)}),
    ("get_auth", F, "belongs to app", {"get_auth": get_auth(owner="app", owner_superuser=False)}),
    ("get_auth", F, "called by everybody", {"get_auth": get_auth(public=True)}),
    ("get_auth", F, "nobody can log in", {"get_auth": get_auth(ours=False)}),
    ("get_auth", F, "who has superuser", {"get_auth": get_auth(role={"superuser": True})}),
    ("get_auth", F, "no such function", {"get_auth": get_auth(found=None)}),
    ("get_auth", W, "no row of a stranger", {"get_auth": get_auth(stranger=None)}),
    ("get_auth", W, "an empty row of a stranger", {"get_auth": get_auth(stranger=[["x", None]])}),
    ("get_auth", W, "verifier of a superuser", {"get_auth": get_auth(superuser=["postgres"])}),
    ("get_auth", U, "refused", {"get_auth": GetAuth(error="refused")}),
    ("leader", F, "take writes, both", {"servers": dict.fromkeys((LEADER, REPLICA), Postgres(writable=True, room=9))}),
    ("leader", F, "no server takes writes", {"servers": {LEADER: Postgres()}}),
    ("leader", W, "Patroni names nobody", {"patroni": {URLS[0]: Cluster(()), URLS[1]: WELL_CLUSTER}}),
    ("leader", U, "no Patroni has said", {"patroni": {URLS[0]: "away"}}),
    ("leader", F, "follows 10.0.0.12:5432", {"status": {**STATUS, "leader": str(REPLICA)}}),
    ("leader", F, "app leads to 10.0.0.12:5432", {"instances": first(DATABASES=(DATABASE | {"host": "10.0.0.12"},))}),
    ("peers", F, "has no peer_id", {"instances": settings(peer_id="0")}),
    ("peers", F, "as pool1:50001 has", {"instances": {50001: instance(2), 50002: instance(2)}}),
    ("peers", F, "knows 1 of 2", {"instances": first(PEERS=())}),
    ("peers", U, "not told its peers", {"instances": {**WELL.instances, 50002: Instance()}}),
    ("cancel", F, "not cancelled: it went on", {"cancels": (Cancel(50001, 50002, error="it went on"),)}),
    ("cancel", U, "is paused", {"cancels": None, "no_cancels": "pool1:50001 is paused"}),
    ("clients", W, "850 clients", {"instances": first(LISTS=pairs("list", "items", {"used_clients": "850"}))}),
    (
        "waiting",
        W,
        "3 clients of app/app wait",
        {"instances": first(POOLS=(POOL | {"cl_waiting": "3", "maxwait": "2"},))},
    ),
    ("nofile", F, "1024 descriptors", {"config": replace(WELL.config, nofile=1024)}),
    ("nofile", U, "not known", {"config": replace(WELL.config, nofile=0)}),
    ("pools", F, "120 connections", {"instances": first(DATABASES=(DATABASE | {"pool_size": "90"},))}),
    ("pools", W, "no limit", {"instances": first(DATABASES=(DATABASE | {"pool_size": "0"},))}),
    ("pools", U, "not known", {"servers": {LEADER: Postgres(error="away")}}),
    ("sysctls", W, "are reset", {"sysctls": {"net.ipv4.tcp_migrate_req": "0"}}),
    ("sysctls", W, "cut off", {"sysctls": {"net.core.somaxconn": "128"}}),
    ("sysctls", W, "11 ports for 50", {"sysctls": {"net.ipv4.ip_local_port_range": "50000\t50010"}}),
    ("sysctls", W, "cannot have its 8192", {"sysctls": {"fs.nr_open": "4096"}}),
    ("clock", W, "2.000 s ahead", {"servers": {LEADER: Postgres(writable=True, ahead=2.0, within=0.01)}}),
    ("clock", F, "40.000 s behind", {"servers": {LEADER: Postgres(writable=True, ahead=-40.0, within=0.01)}}),
    ("clock", U, "no server", {"servers": {}}),
    ("vulnerabilities", W, "CVE-2026-6664", {"instances": first(VERSION=({"version": "PgBouncer 1.24.1"},))}),
    ("vulnerabilities", U, "not told its version", {"instances": first(VERSION=())}),
    (
        "configuration",
        W,
        "50001 runs def, 50002 runs abc",
        {"instances": settings(auth_file="/releases/def/userlist.txt")},
    ),
    ("session features", W, "held a server for 90 s", {"now": NOW + 80}),
    (
        "session features",
        W,
        "beyond a transaction: app/app (2)",
        {"servers": {LEADER: Postgres(writable=True, room=97, locks={77: 2})}},
    ),
    (
        "session features",
        W,
        "prepared statements of drivers fail",
        {"instances": settings(max_prepared_statements="0")},
    ),
]


def test_a_host_that_is_well_has_nothing_but_good_findings_of_every_check() -> None:
    assert [finding for finding in examine(WELL) if finding.verdict is not Verdict.OK] == []
    assert all(list(check(WELL)) for check in ALL)


@pytest.mark.parametrize(("check", "verdict", "word", "change"), BROKEN)
def test_what_is_broken_is_told_with_evidence_and_a_remedy(
    check: str, verdict: Verdict, word: str, change: dict[str, Any]
) -> None:
    found = [each for each in examine(replace(WELL, **change)) if each.check == check and each.verdict is verdict]
    assert any(word in each.evidence for each in found), found
    assert all(each.remedy for each in found)


def test_no_answer_at_all_is_no_reason_to_fail() -> None:
    nothing = Facts(
        "pool1", NOW, WELL.config, instances=dict.fromkeys((50001, 50002), Instance(missing={"CONSOLE": "?"}))
    )
    assert worst(examine(nothing)) is Verdict.FAILED


def test_a_name_with_a_star_is_for_one_word() -> None:
    starred = replace(WELL, doors=door(names=("*.example.com",), wanted=("Pool1.example.com",)))
    assert [each.verdict for each in examine(starred) if each.check == "tls"] == [Verdict.OK] * 2
    deeper = replace(WELL, doors=door(names=("*.example.com",), wanted=("a.pool1.example.com",)))
    assert [each.verdict for each in examine(deeper) if each.check == "tls"] == [Verdict.FAILED, Verdict.OK]


def test_a_fixed_server_is_followed_by_nobody() -> None:
    fixed = replace(WELL, config=replace(WELL.config, targets={}, patroni=()), patroni={})
    assert worst(examine(fixed)) is Verdict.OK


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [
        ([Verdict.OK], 0),
        ([Verdict.OK, Verdict.WARNING], 1),
        ([Verdict.WARNING, Verdict.UNKNOWN], 3),
        ([Verdict.UNKNOWN, Verdict.FAILED, Verdict.OK], 2),
        ([], 3),
    ],
)
def test_the_exit_status_is_that_of_the_worst_verdict(verdicts: list[Verdict], wanted: int) -> None:
    assert EXIT_STATUS[worst([Finding("a", "b", verdict, "c") for verdict in verdicts])] == wanted


def test_a_report_survives_the_way_from_another_host() -> None:
    made = Report.of(replace(WELL, cancels=None, no_cancels="paused"))
    assert Report.from_data(json.loads(json.dumps(made.data()))) == made
    with pytest.raises(PoolerError, match="another version"):
        Report.from_data({"host": "pool1"})


def test_hosts_together_are_held_against_postgresql_and_each_other() -> None:
    one = Report("pool1", (), "10.0.0.11:5432", 60, 97)
    assert [each.verdict for each in report.fleet([one, replace(one, host="pool2", needs=30)])] == [Verdict.OK] * 2
    other = replace(one, host="pool2", leader="10.0.0.12:5432")
    leader, pools = report.fleet([one, other])
    assert (leader.verdict, pools.verdict) == (Verdict.FAILED, Verdict.FAILED)
    assert "120 connections, and PostgreSQL has 97" in pools.evidence
    assert report.fleet([one]) == []


def test_text_has_what_is_to_be_done_at_the_end() -> None:
    said = report.text(examine(replace(WELL, now=NOW + 80))).splitlines()
    assert said[0].startswith("ok")
    assert "-> idle_transaction_timeout" in said[-2]
    assert said[-1].endswith("2 warning")


def test_nothing_of_a_command_is_taken_for_another_by_a_shell() -> None:
    words = over_ssh.arguments("ssh -F 'a file'", "pool1", ("doctor", "a b; reboot"))
    assert words[:4] == ["ssh", "-F", "a file", "pool1"]
    assert words[4].startswith("sh -c ")
    assert "sudo -n podman exec --interactive pgbouncer-agent pooler doctor" in words[4]
