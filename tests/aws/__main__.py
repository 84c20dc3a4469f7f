"""`python -m tests.aws up DIRECTORY` serves a cloud and describes it in that directory; `down` stops it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import yaml

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"


def up(directory: Path) -> None:
    """The server; `aws/config` and `aws/credentials`, which boto3 reads; the inventory, the example's with changes."""
    place = directory / "aws"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.aws.server", "0"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            cwd=ROOT,
        )
    assert server.stdout
    port = server.stdout.readline().strip()
    (place / "pid").write_text(f"{server.pid}\n")
    if not port:
        raise SystemExit(f"no cloud: {(place / 'log').read_text()}")
    endpoint = f"http://127.0.0.1:{port}"
    (place / "config").write_text(f"[default]\nregion = {REGION}\nendpoint_url = {endpoint}\n")
    who = {"aws_access_key_id": secrets.token_hex(10), "aws_secret_access_key": secrets.token_hex(20)}
    (place / "credentials").write_text("[default]\n" + "".join(f"{key} = {value}\n" for key, value in who.items()))
    (place / "endpoint").write_text(endpoint)
    _inventory(directory / "inventory", _image(endpoint, who))


def down(directory: Path) -> None:
    pid = directory / "aws/pid"
    if pid.exists():
        running = int(pid.read_text())
        if b"tests.aws.server" in _command(running):
            os.kill(running, signal.SIGTERM)
        pid.unlink()


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def _image(endpoint: str, who: dict[str, str]) -> str:
    """An image that the cloud has."""
    ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name=REGION, **who)
    images = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
    return min(str(image["ImageId"]) for image in images if image["RootDeviceName"] == "/dev/xvda")


def _inventory(directory: Path, image: str) -> None:
    """The example with an image that is there; in two zones and with one host of a kind, which is enough to prove."""
    directory.mkdir(exist_ok=True)
    written = yaml.safe_load((ROOT / "examples/ec2/fleet.yml").read_text())
    localhost = written["all"]["hosts"]["localhost"]
    localhost |= {
        "aws_hosts_image": image,
        "aws_network_zones": localhost["aws_network_zones"][:2],
        "aws_network_clients": [*localhost["aws_network_clients"], "2001:db8:20::/48"],
        "aws_network_public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " nobody",
        "aws_hosts_list": [each for each in localhost["aws_hosts_list"] if each["name"] in ("jump1", "db1", "pool1")],
    }
    (directory / "fleet.yml").write_text(json.dumps(written))


if __name__ == "__main__":
    {"up": up, "down": down}[sys.argv[1]](Path(sys.argv[2]))
