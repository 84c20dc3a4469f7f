"""Where an inventory gets its secrets from, as docs/passwords.md shows it; each by the real ansible-playbook."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from pooler import scram, userlist

PLAYBOOK = """\
- name: A userlist
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Write it
      pgfleet.pooler.pgbouncer_userlist:
        path: "{{ place }}"
        users: "{{ pgbouncer_users }}"
"""
SOURCES = {
    "vault": "{{ vault_app_password }}",
    "environment": "{{ lookup('ansible.builtin.env', 'APP_PASSWORD') }}",
    "command": "{{ lookup('ansible.builtin.pipe', app_password_command) }}",
    "aws": "{{ lookup('amazon.aws.aws_secret', 'app.password', nested=true) }}",
}


@dataclass(frozen=True)
class Written:
    """What a run has written and said."""

    entries: dict[str, str] = field(repr=False)
    output: str = field(repr=False)


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def run(place: Path, cloud: str, users: list[dict[str, str]], password: str) -> Written:
    """A play whose sources hold `password`, or whatever it stands for; told everything that can be told."""
    aws = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1"}
    manager = boto3.client(
        "secretsmanager",
        endpoint_url=cloud,
        region_name=aws["AWS_DEFAULT_REGION"],
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    manager.create_secret(Name="app", SecretString=json.dumps({"password": password}))
    stored = place / "stored"
    stored.write_text(password + "\n")
    key = place / "vault.key"
    key.write_text(secrets.token_hex(16))
    vault = ["ansible-vault", "encrypt", "--vault-password-file", str(key), "--output", str(place / "vault.yml")]
    subprocess.run(
        vault, input=yaml.safe_dump({"vault_app_password": password}), check=True, text=True, capture_output=True
    )
    given = {
        "pgbouncer_users": users,
        "place": str(place / "userlist.txt"),
        "app_password_command": f"cat {shlex.quote(str(stored))}",
        "ansible_python_interpreter": sys.executable,
    }
    (place / "variables.yml").write_text(yaml.safe_dump(given))
    (place / "playbook.yml").write_text(PLAYBOOK)
    command = ["ansible-playbook", "-vvv", "--diff", "--inventory", "localhost,", "--vault-password-file", str(key)]
    command += [f"--extra-vars=@{place}/variables.yml", f"--extra-vars=@{place}/vault.yml", str(place / "playbook.yml")]
    environment = {**os.environ, **aws, "AWS_ENDPOINT_URL": cloud, "APP_PASSWORD": password, "ANSIBLE_NOCOLOR": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    finally:
        manager.delete_secret(SecretId="app", ForceDeleteWithoutRecovery=True)
    assert done.returncode == 0, done.stdout[-2000:]
    return Written(userlist.parse((place / "userlist.txt").read_text()), done.stdout + done.stderr)


def test_a_password_may_come_from_any_of_the_sources(tmp_path: Path, cloud: str) -> None:
    password = secrets.token_hex(12)
    written = run(tmp_path, cloud, [{"name": name, "password": text} for name, text in SOURCES.items()], password)
    assert written.entries.keys() == SOURCES.keys()
    assert all(scram.verifies(verifier, password) for verifier in written.entries.values())
    assert password not in written.output


def test_who_runs_the_fleet_may_know_verifiers_alone(tmp_path: Path, cloud: str) -> None:
    password = secrets.token_hex(12)
    verifier = scram.verifier(password)
    written = run(tmp_path, cloud, [{"name": name, "verifier": text} for name, text in SOURCES.items()], verifier)
    assert written.entries == dict.fromkeys(SOURCES, verifier)
    assert verifier not in written.output
