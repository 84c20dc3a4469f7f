"""`python -m tests.acceptance.first_boot`: everything up to the moment when a Fedora CoreOS host is switched on.

The database as site.yml makes it, a cloud, the host's config from the inventory, its secrets and its image in S3.
Runs in the lab's network.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.lab import images, network
from tests.lab.state import Paths

from . import cloud, playbook, scenario
from .scenario import DATABASE, POOLER, Scenario

SECRETS, IMAGE, CONFIG = "secrets/pool1.tar.gz", "images/pooler.tar", "ignition/pool1.json"


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
    written = {"pooler": {"vars": variables(current, archive)}}
    (current.inventory / "first_boot.yml").write_text(yaml.safe_dump(written))
    _succeed(playbook.run(current, "pgfleet.pooler.ignition"))
    keys = json.loads((place / "cloud.json").read_text())
    s3 = cloud.client("s3", place, keys)
    s3.upload_file(str(archive), cloud.BUCKET, IMAGE)
    s3.upload_file(str(place / f"{POOLER}.secrets.tar.gz"), cloud.BUCKET, SECRETS)
    (place / "user-data").write_bytes((place / f"{POOLER}.ign").read_bytes())


def variables(current: Scenario, archive: Path) -> dict[str, object]:
    """What a user adds to the inventory for the playbook `ignition`."""
    with archive.open("rb") as file:
        sha512 = hashlib.file_digest(file, "sha512").hexdigest()
    return {
        "image_archive": str(archive),
        "ignition_directory": str(directory(current)),
        "pgbouncer_ignition_authorized_keys": [Paths(current.name).key.with_suffix(".pub").read_text().strip()],
        "pgbouncer_ignition_secrets_url": f"s3://{cloud.BUCKET}/{SECRETS}",
        "pgbouncer_ignition_image_url": f"s3://{cloud.BUCKET}/{IMAGE}",
        "pgbouncer_ignition_image_sha512": sha512,
        "pgbouncer_ignition_leader": current.addresses[DATABASE],
        "pgbouncer_ignition_updates": {"windows": [{"days": ["Sat", "Sun"], "start": "02:30", "minutes": 90}]},
    }


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
