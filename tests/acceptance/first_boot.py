"""`python -m tests.acceptance.first_boot`: everything up to the moment when Fedora CoreOS hosts are switched on.

The database as site.yml makes it, a cloud, the hosts' configs from the inventory, and in S3 what they fetch. pool1 is
given its secrets; pool2 waits for Ansible, and its config is too large for user data.
Runs in the lab's network.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.lab import images, life, network
from tests.lab.state import Paths

from . import cloud, playbook, scenario
from .scenario import POOLER, Scenario

WAITING = "pool2"
IMAGE, SECRETS, CONFIG = "images/pooler.tar", f"secrets/{POOLER}.tar.gz", f"ignition/{WAITING}.json"


def directory(current: Scenario) -> Path:
    """Where configs and the cloud's files lie on the controller."""
    return current.directory / "first_boot"


def main() -> None:
    current = scenario.current()
    place = directory(current)
    place.mkdir(mode=0o700)
    _succeed(playbook.site(current, "--limit", "database"))
    _begin_cloud(current, place)
    archive = images.pooler.archive()
    (current.inventory / "first_boot.yml").write_text(yaml.safe_dump(inventory(current, archive)))
    _succeed(playbook.run(current, "pgfleet.pooler.ignition"))
    s3 = cloud.client("s3", place, json.loads((place / "cloud.json").read_text()))
    s3.upload_file(str(archive), cloud.BUCKET, IMAGE)
    s3.upload_file(str(place / f"{POOLER}.secrets.tar.gz"), cloud.BUCKET, SECRETS)
    s3.upload_file(str(place / f"{WAITING}.stored.ign"), cloud.BUCKET, CONFIG)


def inventory(current: Scenario, archive: Path) -> dict[str, Any]:
    """What a user adds to the inventory for the playbook `ignition`."""
    with archive.open("rb") as file:
        sha512 = hashlib.file_digest(file, "sha512").hexdigest()
    key = Paths(current.name).key.with_suffix(".pub").read_text().strip()
    many = [f"ssh-ed25519 {secrets.token_hex(128)} colleague {number}" for number in range(120)]
    return {
        "pooler": {
            "vars": {
                "image_archive": str(archive),
                "ignition_directory": str(directory(current)),
                "pgbouncer_ignition_authorized_keys": [key],
                "pgbouncer_ignition_image_url": f"s3://{cloud.BUCKET}/{IMAGE}",
                "pgbouncer_ignition_image_sha512": sha512,
                "pgbouncer_ignition_updates": {"windows": [{"days": ["Sat", "Sun"], "start": "02:30", "minutes": 90}]},
            },
            "hosts": {
                POOLER: {"pgbouncer_ignition_secrets_url": f"s3://{cloud.BUCKET}/{SECRETS}"},
                WAITING: {
                    "pgbouncer_ignition_authorized_keys": [*many, key],
                    "pgbouncer_ignition_config_url": f"s3://{cloud.BUCKET}/{CONFIG}",
                },
            },
        }
    }


def switch_on(current: Scenario, host: str) -> None:
    """The host's first boot, with what the playbook has written for it as user data."""
    place = directory(current)
    (place / "user-data").write_bytes((place / f"{host}.ign").read_bytes())
    authority = str(place / "cloud.crt")
    trust = {"SSL_CERT_FILE": authority, "AWS_CA_BUNDLE": authority}
    life.ignite(current.name, host, ["-platform", "aws"], {**os.environ, **trust})


def _succeed(run: playbook.Run) -> None:
    if run.status:
        raise SystemExit(run.tail())


def _begin_cloud(current: Scenario, place: Path) -> None:
    """It ends with the lab's network."""
    namespace = network.lab_namespace(current.name)
    subprocess.run(["ip", "address", "add", f"{cloud.ADDRESS}/32", "dev", "lo"], check=True)
    with Path(f"/etc/netns/{namespace}/hosts").open("a") as hosts:
        hosts.write(f"{cloud.ADDRESS} {' '.join(cloud.NAMES)}\n")
    with (place / "cloud.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.cloud", str(place)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout
    if not process.stdout.readline():
        raise SystemExit((place / "cloud.log").read_text()[-2000:])


if __name__ == "__main__":
    main()
