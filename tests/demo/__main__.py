"""`python -m tests.demo up|down|psql`."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.lab import images
from tests.lab.state import Paths

LAB = "demo"
PATHS = Paths(LAB)
VARIABLES = PATHS.directory / "variables.yml"
AUTHORITY = PATHS.directory / "pki"
POOLER = "pool1"


def main() -> int:
    match sys.argv[1:]:
        case ["up"]:
            return up()
        case ["down"]:
            return subprocess.run([sys.executable, "-m", "tests.lab", "down", LAB], check=False).returncode
        case ["psql"]:
            return psql()
        case _:
            print(__doc__, file=sys.stderr)
            return 2


def up() -> int:
    began = time.monotonic()
    for step in (_lab, _converge, _prove):
        if step() != 0:
            return 1
    print(_WHAT_NEXT.format(seconds=time.monotonic() - began, root=AUTHORITY / "ca.crt", pooler=POOLER))
    return 0


def psql() -> int:
    """psql through the pool, as the demo's application does it."""
    if not VARIABLES.exists():
        print("the demo is not up: make demo", file=sys.stderr)
        return 1
    os.environ["PGPASSWORD"] = password()
    target = f"host={POOLER} port=6432 dbname=app user=app sslmode=verify-full sslrootcert={AUTHORITY / 'ca.crt'}"
    return subprocess.run([*in_the_lab(), "psql", target], check=False).returncode


def password() -> str:
    return str(yaml.safe_load(VARIABLES.read_text())["postgresql_users"][0]["password"])


def in_the_lab() -> list[str]:
    """What makes a command run on the controller's side of the lab's network."""
    return [sys.executable, "-m", "tests.lab", "netns", LAB, "--"]


def _lab() -> int:
    lab = Path(__file__).with_name("lab.yml")
    return subprocess.run([sys.executable, "-m", "tests.lab", "up", str(lab)], check=False).returncode


def _converge() -> int:
    if not VARIABLES.exists():
        VARIABLES.touch(mode=0o600)
        VARIABLES.write_text(yaml.safe_dump(_variables()))
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    # The image follows the checkout; the rest stays as it was first.
    variables = ["--extra-vars", f"@{VARIABLES}", "--extra-vars", f"image_archive={images.pooler.archive()}"]
    command = [playbook, "--inventory", str(PATHS.inventory), *variables, "pgfleet.pooler.site"]
    return subprocess.run(command, check=False).returncode


def _variables() -> dict[str, object]:
    """What a newcomer writes: databases, users, and a passphrase for the authority's key."""
    return {
        "pgbouncer_databases": [{"name": "app", "pool_size": 10}],
        "postgresql_databases": [{"name": "app", "owner": "app"}],
        "postgresql_users": [{"name": "app", "password": secrets.token_urlsafe(16)}],
        "spilo_image": "localhost/lab/spilo-17:stand-in",
        "etcd_image": "localhost/lab/etcd:3.5",
        "certificates_authority_directory": str(AUTHORITY),
        "certificates_passphrase": secrets.token_urlsafe(16),
        "pgbouncer_nofile": 8192,
    }


def _prove() -> int:
    return subprocess.run([*in_the_lab(), sys.executable, "-m", "tests.demo.prove"], check=False).returncode


_WHAT_NEXT = """
Up in {seconds:.0f} s. The TLS root is {root}

  make psql         psql through the pool (as user app, database app)
  python -m tests.lab exec demo {pooler} podman ps
  python -m tests.lab exec demo {pooler} journalctl -u 'pgbouncer@*'
  make demo-down    takes everything away
"""

if __name__ == "__main__":
    sys.exit(main())
