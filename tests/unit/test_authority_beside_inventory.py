"""Where the authority lies when nobody says where: never where Ansible would read it as an inventory.

And where the passphrase of its key comes from.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pooler import certificates

CHECKOUT = Path(__file__).parents[2]

PLAY = """
- hosts: {hosts}
  gather_facts: false
  roles:
    - role: pgfleet.pooler.certificates
"""


def play(
    directory: Path, inventory: str, hosts: str = "all", source: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`source` is the variable with the passphrase, or with where it is: by default in a file."""
    (directory / "play.yml").write_text(PLAY.format(hosts=hosts))
    passphrase = directory / "passphrase"
    if not passphrase.exists():
        passphrase.write_text(secrets.token_urlsafe(16))
    given = {"certificates_passphrase_file": str(passphrase)} if source is None else source
    (directory / "given.yml").write_text(yaml.safe_dump({**given, "ansible_connection": "local"}))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build"), "ANSIBLE_NOCOLOR": "1"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--inventory", inventory]
    return subprocess.run(
        [*command, "-vvv", "--extra-vars", "@given.yml", "play.yml"],
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


def test_the_passphrase_is_given_or_read_from_a_file_or_printed_by_a_command(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {h1: {}}}\n")
    passphrase = secrets.token_urlsafe(16)
    (tmp_path / "said").write_text(f"{passphrase}\n")
    sources = [
        {"certificates_passphrase": passphrase},
        {"certificates_passphrase_file": str(tmp_path / "said")},
        {"certificates_passphrase_command": f"cat {shlex.quote(str(tmp_path / 'said'))}"},
    ]
    for source, changed in zip(sources, (1, 0, 0), strict=True):
        done = play(tmp_path, "hosts.yml", source=source)
        assert f"changed={changed} " in done.stdout, done.stdout
        assert done.returncode == 0
        assert passphrase not in done.stdout
    assert b"PRIVATE KEY" in certificates.unlock((tmp_path / ".pki" / "ca.key").read_bytes(), passphrase)


def test_without_a_passphrase_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {h1: {}}}\n")
    done = play(tmp_path, "hosts.yml", source={})
    assert done.returncode != 0
    assert "set certificates_passphrase_file, certificates_passphrase_command or certificates_passphrase" in done.stdout
    assert not (tmp_path / ".pki").exists()
