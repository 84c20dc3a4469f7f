"""Where the authority lies when nobody says where: never where Ansible would read it as an inventory."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

PLAY = """
- hosts: {hosts}
  gather_facts: false
  roles:
    - role: pgfleet.pooler.certificates
"""


def play(directory: Path, inventory: str, hosts: str = "all") -> subprocess.CompletedProcess[str]:
    (directory / "play.yml").write_text(PLAY.format(hosts=hosts))
    passphrase = directory / "passphrase"
    if not passphrase.exists():
        passphrase.write_text(secrets.token_urlsafe(16))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build"), "ANSIBLE_NOCOLOR": "1"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--inventory", inventory]
    variables = ["--extra-vars", f"certificates_passphrase_file={passphrase} ansible_connection=local"]
    return subprocess.run(
        [*command, *variables, "play.yml"],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("inventory", ["inventory", "inventory/hosts.yml"])
def test_an_inventory_that_is_a_directory_is_read_without_the_authority_in_it(tmp_path: Path, inventory: str) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text("all: {hosts: {h1: {}}}\n")
    first, second = play(tmp_path, inventory), play(tmp_path, inventory)
    assert "changed=1" in first.stdout, first.stdout
    assert {path.name for path in (tmp_path / "inventory" / ".pki").iterdir()} == {"ca.crt", "ca.key"}
    assert "changed=0" in second.stdout, second.stdout
    assert "parse" not in second.stdout


def test_a_host_of_no_inventory_file_has_to_say_the_place(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text("all: {hosts: {h1: {}}}\n")
    done = play(tmp_path, "inventory", hosts="localhost")
    assert done.returncode != 0
    assert "set certificates_authority_directory" in done.stdout
