"""The lab keeps what it promises. Run as root, explicitly: pytest tests/lab"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.lab import cache, cgroups, life, network, spec
from tests.lab.errors import LabError
from tests.lab.state import Paths

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def lab() -> Iterator[spec.LabSpec]:
    described = description()
    life.up(described)
    try:
        yield described
    finally:
        life.down(described.name)


def test_hosts_are_entered_by_ssh_as_core_who_may_become_root(lab: spec.LabSpec) -> None:
    assert ssh(lab, "a", "id -un; sudo id -un; hostname").stdout.split() == ["core", "root", "a"]


def test_hosts_are_entered_by_ssh_as_root(lab: spec.LabSpec) -> None:
    assert ssh(lab, "root@b", "id -un; hostname").stdout.split() == ["root", "b"]


def test_hosts_are_whole_and_have_no_python(lab: spec.LabSpec) -> None:
    assert ssh(lab, "a", "systemctl is-system-running").stdout.strip() == "running"
    assert ssh(lab, "a", "ls /usr/bin /usr/local/bin | grep -i python").stdout == ""


def test_hosts_find_each_other_by_name_and_no_way_out(lab: spec.LabSpec) -> None:
    assert "Permission denied" in ssh(lab, "a", "ssh -o StrictHostKeyChecking=no b true").stderr
    routes = ssh(lab, "a", "ip route show").stdout
    assert lab.subnet in routes
    assert "default" not in routes


def test_a_host_sets_its_own_network_sysctls(lab: spec.LabSpec) -> None:
    change = "sysctl -qw net.ipv4.tcp_migrate_req=1; sysctl -n net.ipv4.tcp_migrate_req"
    assert ssh(lab, "root@a", change).stdout == "1\n"
    assert ssh(lab, "root@b", "sysctl -n net.ipv4.tcp_migrate_req").stdout == "0\n"


def test_podman_runs_a_container_from_the_shared_store(lab: spec.LabSpec) -> None:
    assert "etcd Version" in podman(lab, "a", "run --rm --network=host localhost/lab/etcd:3.5 --version").stdout


def test_a_host_has_only_the_images_it_was_given(lab: spec.LabSpec) -> None:
    assert podman(lab, "a", "images --format={{.Repository}}").stdout.split() == ["localhost/lab/etcd"]
    assert podman(lab, "b", "images --quiet").stdout == ""


def test_instances_share_a_port_that_systemd_opens(lab: spec.LabSpec) -> None:
    """What quadlet units build on: a template of sockets with one port in common."""
    unit = "[Socket]\nListenStream=6432\nReusePort=true\nListenStream=127.0.0.1:%i\n"
    script = (
        f"printf '%s' '{unit}' > /etc/systemd/system/twin@.socket\n"
        "printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/twin@.service\n"
        "systemctl daemon-reload && systemctl start twin@50001.socket twin@50002.socket && ss -Hltn"
    )
    listening = [line.split()[3] for line in ssh(lab, "root@a", script).stdout.splitlines()]
    assert listening.count("*:6432") == 2
    assert {"127.0.0.1:50001", "127.0.0.1:50002"} <= set(listening)


def test_ansible_reaches_every_host(lab: spec.LabSpec) -> None:
    ansible = Path(sys.executable).with_name("ansible")
    inventory = str(Paths(lab.name).inventory)
    done = subprocess.run(
        [ansible, "all", "-i", inventory, "-m", "ansible.builtin.raw", "-a", "id -un"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("root") == 2
    assert list(yaml.safe_load(Path(inventory).read_text())["all"]["children"]["first"]["hosts"]) == ["a"]


def test_a_cable_pulled_is_silence_and_comes_back(lab: spec.LabSpec) -> None:
    network.set_link(lab.name, "b", up=False)
    assert network.links(lab.name) == {"a": True, "b": False}
    assert not reachable(lab, "b")
    network.set_link(lab.name, "b", up=True)
    assert reachable(lab, "b")


def test_a_killed_host_is_gone_and_boots_with_the_disk_it_had(lab: spec.LabSpec) -> None:
    ssh(lab, "root@b", "echo kept > /etc/kept; echo kept > /var/lib/containers/kept; sync")
    life.kill(lab.name, "b")
    assert not life.is_running(lab.name, "b")
    assert not reachable(lab, "b")
    life.boot(lab.name, "b")
    assert inside(lab, "b", "cat", "/etc/kept", "/var/lib/containers/kept").stdout == "kept\nkept\n"


def test_up_again_leaves_a_running_lab_alone(lab: spec.LabSpec) -> None:
    before = cgroups.first_process(cgroups.host_cgroup(lab.name, "a"))
    life.up(lab)
    assert cgroups.first_process(cgroups.host_cgroup(lab.name, "a")) == before


def test_up_refuses_a_name_that_is_taken_by_another_lab(lab: spec.LabSpec) -> None:
    other = spec.parse({"name": lab.name, "hosts": {"c": {"images": []}}})
    with pytest.raises(LabError, match="described otherwise"):
        life.up(other)


def test_down_leaves_nothing_behind() -> None:
    described = description()
    life.up(described)
    subprocess.run(["ssh", "-F", Paths(described.name).ssh_config, address(described, "a"), "true"], check=True)
    life.down(described.name)
    assert traces(described.name) == []


def test_down_detaches_what_somebody_has_mounted_below_and_leaves_it_whole(tmp_path: Path) -> None:
    described = description()
    life.up(described)
    (tmp_path / "kept").write_text("kept")
    below = Paths(described.name).host("a") / "a place"
    below.mkdir()
    for options in (["-t", "tmpfs", "tmpfs"], ["--bind", tmp_path]):
        subprocess.run(["mount", *options, below], check=True)
    life.down(described.name)
    assert traces(described.name) == []
    assert (tmp_path / "kept").read_text() == "kept"


def test_builders_of_one_entry_forget_old_ones_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFLEET_CACHE", str(tmp_path))
    for old in [cache.entry("thing", {"old": number}, lambda _place: None) for number in range(40)]:
        os.utime(old, (0, 0))
    with ThreadPoolExecutor(max_workers=8) as pool:
        made = list(pool.map(lambda number: cache.entry("thing", {"new": number}, lambda _place: None), range(8)))
    assert sorted((tmp_path / "built").iterdir()) == sorted(made)
    assert list((tmp_path / "building").iterdir()) == []


def test_down_cleans_up_after_an_up_that_was_killed() -> None:
    described = description()
    program = (
        "import sys; from tests.lab import life, spec, hosts\n"
        "hosts._await_ready = lambda *_: (print('booting', flush=True), sys.stdin.read())\n"
        f"life.up(spec.parse({given(described)!r}))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as up:
        assert up.stdout is not None
        assert up.stdout.readline() == b"booting\n"
        up.kill()
    assert described.name in life.known()
    assert traces(described.name) != []
    life.down(described.name)
    assert traces(described.name) == []


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"name": "Lab", "hosts": {"a": {}}}, "name: 'Lab' must be lower-case"),
        ({"name": "lab", "hosts": {}}, "hosts: name at least one"),
        ({"name": "lab", "hosts": {"a": {"addres": "10.77.0.9"}}}, "hosts.a: unknown key 'addres'"),
        ({"name": "lab", "hosts": {"a": {"address": "10.78.0.9"}}}, "10.78.0.9 is not in 10.77.0.0/24"),
        ({"name": "lab", "hosts": {"a": {"address": "10.77.0.1"}}}, "10.77.0.1 is used twice"),
        ({"name": "lab", "hosts": {"a": {"images": ["spilow"]}}}, "spilow is unknown"),
        ({"name": "lab", "hosts": {"a-name-too-long-for-a-cable": {}}}, "at most 15"),
    ],
)
def test_a_wrong_description_is_refused_with_the_place_named(data: object, complaint: str) -> None:
    with pytest.raises(LabError) as refused:
        spec.parse(data)
    assert complaint in str(refused.value)


def description() -> spec.LabSpec:
    """A lab of two hosts with a name of its own."""
    name = f"t{uuid.uuid4().hex[:8]}"
    return spec.parse({"name": name, "hosts": {"a": {"groups": ["first"], "images": ["etcd"]}, "b": {"images": []}}})


def given(lab: spec.LabSpec) -> object:
    """The description that `lab` was read from."""
    return {
        "name": lab.name,
        "hosts": {host.name: {"groups": list(host.groups), "images": list(host.images)} for host in lab.hosts},
    }


def address(lab: spec.LabSpec, host: str) -> str:
    user, _, name = host.rpartition("@")
    return f"{user}@{lab.host(name).address}" if user else lab.host(name).address


def ssh(lab: spec.LabSpec, host: str, script: str) -> Done:
    command = ["ssh", "-F", str(Paths(lab.name).ssh_config), address(lab, host), script]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def podman(lab: spec.LabSpec, host: str, arguments: str) -> Done:
    return ssh(lab, f"root@{host}", f"podman {arguments}")


def inside(lab: spec.LabSpec, host: str, *command: str) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "tests.lab", "exec", lab.name, host, *command],
        capture_output=True,
        text=True,
        check=False,
    )


def reachable(lab: spec.LabSpec, host: str) -> bool:
    """Whether the host's ssh port can be connected to from the controller's side, within two seconds."""
    probe = ["ip", "netns", "exec", network.lab_namespace(lab.name), "nc", "-z", "-w", "2", host, "22"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def traces(name: str) -> list[str]:
    """Everything that a lab of this name has on the machine."""
    places = [Paths(name).directory, Paths(name).run, cgroups.lab_cgroup(name), Path(f"/etc/netns/pgfleet-{name}")]
    found = [str(place) for place in places if place.exists()]
    found += [space for space in network.namespaces() if name in space]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"pgfleet-{name}" in words or f"/labs/{name}/" in words or f"--machine={name}-" in words:
            found.append(words)
    return found + (["known"] if name in life.known() else [])
