from __future__ import annotations

import pytest
from testinfra.host import Host


def test_hosts_have_no_python(machine: Host) -> None:
    assert (
        machine.run("find / -xdev -path /var/lib/containers -prune -o -name 'python*' -path '*/bin/*' -print").stdout
        == ""
    )


@pytest.mark.parametrize("instance", [50001, 50002])
def test_instances_run_and_start_at_boot(pooler_machine: Host, instance: int) -> None:
    service = pooler_machine.service(f"pgbouncer@{instance}.service")
    assert service.is_running
    wanted = pooler_machine.check_output("systemctl list-dependencies --plain multi-user.target sockets.target")
    assert f"pgbouncer@{instance}.service" in wanted
    assert f"pgbouncer@{instance}.socket" in wanted


def test_files_with_verifiers_belong_to_the_engine_alone(pooler_machine: Host) -> None:
    userlist = pooler_machine.file("/etc/pgbouncer/current/userlist.txt")
    assert (userlist.uid, userlist.mode) == (6432, 0o600)
    key = pooler_machine.file("/etc/pgbouncer/tls/client/current/tls.key")
    assert (key.uid, key.mode) == (6432, 0o600)
