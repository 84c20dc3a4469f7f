"""What is to be seen of a host that runs: its metrics, the doctor's findings, the board."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pooler import units
from tests.acceptance import clients, health
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, DATABASE, POOLER, PORT, Scenario

Samples = Mapping[str, list[tuple[Mapping[str, str], float]]]


@pytest.fixture(scope="module")
def leaf(lab: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prometheus' certificate."""
    return health.leaf(lab, "prometheus", tmp_path_factory.mktemp("prometheus"))


def scrape(lab: Scenario, leaf: Path) -> Samples:
    """As Prometheus does it, which waits for ten seconds."""
    tls = ssl.create_default_context(cafile=str(lab.root))
    tls.load_cert_chain(leaf / "tls.crt", leaf / "tls.key")
    connection = http.client.HTTPSConnection(lab.addresses[POOLER], health.PORT, timeout=10, context=tls)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    assert answer.status == 200, text
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def by_instance(found: Samples, name: str) -> dict[str, float]:
    return {labels["instance"]: value for labels, value in found[name]}


def named(console: int) -> str:
    return f"{POOLER}:{console}"


def test_a_scrape_has_all_of_the_host_and_lacks_nothing(lab: Scenario, leaf: Path) -> None:
    assert clients.by_asyncpg(lab, "app", "app") == ("app", "app")
    found = scrape(lab, leaf)
    assert by_instance(found, "pgbouncer_up") == {named(console): 1 for console in CONSOLES}
    assert "pgfleet_scrape_missing" not in found
    assert by_instance(found, "pgfleet_instance_peers") == {named(console): len(CONSOLES) for console in CONSOLES}
    assert found["pgfleet_leader_info"] == [({"leader": f"{lab.addresses[DATABASE]}:5432"}, 1)]
    assert found["pgfleet_leader_max_connections"][0][1] > 0
    assert len(found["pgfleet_certificate_expiry_timestamp_seconds"]) >= 4
    done = found["pgbouncer_stats_sql_transactions_pooled_total"]
    assert sum(value for labels, value in done if labels["database"] == "app") > 0


def test_a_refused_login_is_counted_with_its_reason(lab: Scenario, leaf: Path) -> None:
    def refused() -> float:
        found = scrape(lab, leaf)["pgfleet_instance_failed_logins_total"]
        return sum(number for labels, number in found if labels["reason"] == "password")

    before = refused()
    with pytest.raises(psycopg.OperationalError):
        clients.connect(lab, password="wrong").close()
    assert health.until(lambda: refused() == before + 1)


def test_the_journal_has_what_clients_do_and_not_each_question_of_the_agent(lab: Scenario, pooler: Remote) -> None:
    assert clients.by_asyncpg(lab, "app", "app") == ("app", "app")
    assert health.ask(lab, "/ready")[0] == 200, "no instance is ready of which the last answer is older than 2 s"
    said = pooler.sh("journalctl --sync; journalctl --unit='pgbouncer@*' --since=-30s --output=cat")
    assert "login attempt: db=app user=app" in said
    assert [line for line in said.splitlines() if re.search(units.WATCHING, line)] == []


def test_until_when_the_servers_certificates_are_valid_is_told(lab: Scenario, leaf: Path) -> None:
    def servers() -> set[str]:
        return {labels["server"] for labels, _end in found()}

    def found() -> list[tuple[Mapping[str, str], float]]:
        return scrape(lab, leaf).get("pgfleet_server_certificate_expiry_timestamp_seconds", [])

    address = lab.addresses[DATABASE]
    assert health.until(lambda: servers() == {f"{address}:5432", f"{address}:8008"})
    assert all(end > time.time() for _labels, end in found())


def test_an_instance_that_hangs_is_told_in_time_beside_the_other(lab: Scenario, pooler: Remote, leaf: Path) -> None:
    hanging, other = CONSOLES
    pooler.sh(f"podman kill --signal STOP pgbouncer-{hanging}")
    try:
        found = scrape(lab, leaf)
    finally:
        pooler.sh(f"podman kill --signal CONT pgbouncer-{hanging}")
    assert by_instance(found, "pgbouncer_up") == {named(hanging): 0, named(other): 1}
    ((missing, _one),) = found["pgfleet_scrape_missing"]
    assert (missing["instance"], missing["what"], missing["why"]) == (named(hanging), "CONSOLE", "no answer within 2 s")
    assert health.until(lambda: health.ask(lab, "/ready")[0] == 200)


@pytest.fixture
def ssh(lab: Scenario) -> list[str]:
    return ["--ssh", f"ssh -F {lab.paths.ssh_config}", POOLER]


def pooler_command(lab: Scenario, *words: str) -> tuple[int, str]:
    """From the controller, as somebody does who has the package."""
    environment = {**os.environ, "PGPASSWORD": lab.password("app")}
    command = [sys.executable, "-m", "pooler.cli", *words]
    done = subprocess.run(command, cwd=lab.project, env=environment, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode() or done.stderr.decode()


def test_the_doctor_finds_a_host_well_but_for_holes_that_are_not_closed_yet(lab: Scenario, ssh: list[str]) -> None:
    login = f"host={lab.addresses[POOLER]} port={PORT} dbname=app user=app sslrootcert={lab.root}"
    status, said = pooler_command(lab, "doctor", *ssh, "--json", "--login", login)
    found = json.loads(said)["findings"]
    ill = [each for each in found if each["verdict"] != "ok" and each["check"] != "vulnerabilities"]
    assert ill == []
    assert status in (0, 1)
    assert {"tls", "expiry", "scram", "get_auth", "cancel", "login"} <= {each["check"] for each in found}


def test_the_doctor_tells_what_is_wrong_on_a_host(lab: Scenario, pooler: Remote, ssh: list[str]) -> None:
    pooler.sh("sysctl -q net.ipv4.tcp_migrate_req=0")
    try:
        status, said = pooler_command(lab, "doctor", *ssh, "--json")
    finally:
        pooler.sh("sysctl -q net.ipv4.tcp_migrate_req=1")
    found = [each for each in json.loads(said)["findings"] if each["check"] == "sysctls" and each["verdict"] != "ok"]
    assert [(each["place"], each["verdict"]) for each in found] == [(f"{POOLER} net.ipv4.tcp_migrate_req", "warning")]
    assert status == 1


def test_a_load_of_a_moment_reaches_every_instance_and_has_a_page(lab: Scenario, tmp_path: Path) -> None:
    target = f"host={lab.addresses[POOLER]} port={PORT} dbname=app user=app sslrootcert={lab.root}"
    page = tmp_path / "report.html"
    how = ["--seconds", "3", "--workers", "8", "--logins", "1", "--max-failed", "0", "--report", str(page), "--json"]
    status, said = pooler_command(lab, "drill", "load", target, *how)
    found = json.loads(said)
    assert (status, found["failed"], found["lost"], found["doubled"]) == (0, 0, 0, 0), said
    assert set(found["balance"]) == {f"{lab.addresses[POOLER]} #{peer}" for peer in (1, 2)}
    assert found["milliseconds"]["transactions"]["p99"] > 0
    assert "<svg" in page.read_text()


def test_the_board_shows_every_instance_over_ssh(lab: Scenario, ssh: list[str]) -> None:
    status, said = pooler_command(lab, "top", *ssh, "--once", "--json", "--every", "0.5")
    assert status == 0, said
    host = json.loads(said)
    assert [each["name"] for each in host["instances"]] == [named(console) for console in CONSOLES]
    assert {each["leader"] for each in host["instances"]} == {f"{lab.addresses[DATABASE]}:5432"}
