"""After Ignition alone: the host serves, and knows no more than it must."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest
from urllib3 import HTTPSConnectionPool

from tests.acceptance import clients, cloud, first_boot, health
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, POOLER, Scenario


@pytest.mark.parametrize("driver", [clients.by_psql, clients.by_asyncpg, clients.by_psycopg])
@pytest.mark.parametrize("user", ["app", "listed"])
def test_logins_over_tls_with_scram_work_before_ansible_was_there(
    lab: Scenario, driver: clients.Driver, user: str
) -> None:
    assert driver(lab, user, "app") == (user, "app")


def test_who_speaks_no_tls_is_refused(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="SSL required"):
        clients.connect(lab, sslmode="disable")


def test_a_wrong_password_is_refused(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        clients.connect(lab, password="wrong")


def test_every_instance_serves(lab: Scenario, pooler: Remote) -> None:
    for console in CONSOLES:
        databases = [row[0] for row in pooler.console(console, "SHOW DATABASES")]
        assert "app" in databases


def test_the_agent_says_ready(lab: Scenario) -> None:
    assert health.until(lambda: health.ask(lab, "/ready")[0] == 200)


def test_the_host_is_like_fedora_coreos(pooler: Remote) -> None:
    assert pooler.sh("find / -xdev -name 'python3*' -type f | head -n 1") == ""
    assert "ro" in pooler.sh("findmnt --noheadings --output OPTIONS /usr").strip().split(",")
    assert pooler.sh("test -e /etc/ssh/lab_keys || echo none").strip() == "none"


def test_root_is_not_let_in(lab: Scenario) -> None:
    command = ["ssh", "-F", str(lab.paths.ssh_config), "-l", "root", POOLER, "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_what_was_fetched_once_does_not_stay(pooler: Remote) -> None:
    assert pooler.sh("ls -1 /var/lib | grep -c pgfleet- || :").strip() == "0"
    assert "failed" not in pooler.sh("systemctl list-units --failed --no-legend --plain")


def test_updates_wait_for_their_window(pooler: Remote) -> None:
    text = pooler.sh("cat /etc/zincati/config.d/55-pgfleet-updates.toml")
    assert 'start_time = "02:30"' in text


def test_user_data_fit_and_hold_no_secret(lab: Scenario) -> None:
    text = (first_boot.directory(lab) / f"{POOLER}.ign").read_text()
    assert len(text.encode()) <= 16384
    assert [token for token in lab.tokens if token in text] == []
    assert _listed_verifier(lab) not in text


def test_ignition_wrote_no_secret_into_its_log(lab: Scenario) -> None:
    log = _disk(lab) / "ignition.log"
    text = log.read_text()
    assert "Ignition finished successfully" in text
    assert [token for token in lab.tokens if token in text] == []
    assert "PRIVATE KEY" not in text
    assert _listed_verifier(lab) not in text


def test_ignition_would_label_what_it_wrote(lab: Scenario) -> None:
    """SELinux cannot be had in the lab: this is what Ignition asks for, not that it has effect."""
    labelled = (_disk(lab) / "labelled").read_text()
    for path in ("/etc/containers/systemd/pgbouncer@.container", "/etc/pgbouncer", "/etc/pgfleet"):
        assert path in labelled


def test_nobody_but_the_role_of_the_instance_reads_the_secrets(lab: Scenario) -> None:
    name, authority = f"{cloud.BUCKET}.s3.{cloud.REGION}.amazonaws.com", str(first_boot.directory(lab) / "cloud.crt")
    with HTTPSConnectionPool(cloud.ADDRESS, ca_certs=authority, server_hostname=name, assert_hostname=name) as pool:
        answer = pool.request("GET", f"/{first_boot.SECRETS}", headers={"Host": name})
    assert answer.status == 403
    assert first_boot.SECRETS in (first_boot.directory(lab) / "cloud.log").read_text()


def _disk(lab: Scenario) -> Path:
    return lab.paths.host(POOLER)


def _listed_verifier(lab: Scenario) -> str:
    return str(next(user["verifier"] for user in lab.variables["pgbouncer_users"] if user["name"] == "listed"))
