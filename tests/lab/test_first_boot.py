"""The real validator takes every config that we render."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from pooler import bundle, scram, variables
from pooler.errors import InvalidError
from pooler.files import File
from pooler.targets import first_boot, ignition
from pooler.targets.first_boot import Fetched, Tree

from . import first_boot as lab_first_boot

_WORD = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20)
_PORT = st.integers(1, 65535)
_TLS = "/etc/pgbouncer/tls"
_VERIFIER = scram.verifier("x")

MODELS = st.fixed_dictionaries(
    {
        "image": st.sampled_from(["localhost/pgfleet/pooler:0.1.0", "registry.example:5000/pooler@sha256:" + "0" * 64]),
        "patroni": st.lists(st.sampled_from(["https://db1:8008", "https://[fd00::7]:8008"]), min_size=1, max_size=3),
        "instances": st.integers(1, 40),
        "databases": st.lists(st.fixed_dictionaries({"name": _WORD, "pool_size": st.integers(1, 99)}), max_size=20),
        "users": st.lists(st.fixed_dictionaries({"name": _WORD, "verifier": st.just(_VERIFIER)}), max_size=5),
    },
    optional={
        "listen": st.lists(st.sampled_from(["*", "10.0.0.7", "fd00::8"]), min_size=1, max_size=3),
        "dispatch": st.sampled_from(["socket", "engine"]),
        "port": _PORT,
        "uid": st.integers(1, 99999),
        "agent": st.fixed_dictionaries({"patroni_user": _WORD, "patroni_password": _WORD}),
        "drain_notice": st.integers(0, 300),
    },
)
BOOTS = st.fixed_dictionaries(
    {
        "authorized_keys": st.lists(
            _WORD.map(lambda word: f"ssh-ed25519 AAAAC3Nz {word}"), min_size=1, max_size=90, unique=True
        )
    },
    optional={
        "image_url": st.sampled_from(["s3://fleet/a/pooler.tar", "https://files.example/pooler.tar?x=1&y=%20"]),
        "updates": st.just({"windows": [{"days": ["Mon"], "start": "00:00", "minutes": 60}]}),
        "leader": st.sampled_from(["db1", "[fd00::7]:5433"]),
    },
)


@pytest.fixture(scope="module")
def validator() -> Path:
    return lab_first_boot.validator()


def complaints(validator: Path, config: str) -> str:
    done = subprocess.run([validator, "-"], input=config.encode(), capture_output=True, check=False)
    return (done.stdout + done.stderr).decode()


@given(model=MODELS, boot=BOOTS)
@settings(max_examples=40, deadline=None)
def test_ignition_accepts_every_config(validator: Path, model: dict[str, Any], boot: dict[str, Any]) -> None:
    try:
        pooler = variables.read(model)
        asked = first_boot.read({**boot, "image_sha512": "a" * 128}, pooler)
    except InvalidError:
        reject()  # what is refused is rendered nowhere
    facts = bundle.Facts(asked.leader, f"{_TLS}/server/01", f"{_TLS}/client/01")
    leaves = Tree((File(f"{_TLS}/server/01/tls.key", b"x", 0o600, 6432),), ((f"{_TLS}/server/current", "01"),))
    public, _secret = first_boot.serving(pooler, asked, facts, leaves)
    for tree in (
        first_boot.with_secrets(public, Fetched("s3://fleet/secrets", "b" * 128)),
        first_boot.waiting(pooler, asked),
    ):
        config = ignition.render(tree)
        assert complaints(validator, config) == ""
        assert complaints(validator, ignition.deliver(config, "s3://fleet/config").user_data) == ""


def test_the_validator_is_one_that_complains(validator: Path) -> None:
    assert "path not absolute" in complaints(validator, ignition.render(Tree((File("not-absolute", b"x"),))))
