"""What a Fedora CoreOS host is given before its first boot: Ignition, Butane, and what of it is secret."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pooler import bundle, cli, observed, userlist, variables
from pooler.errors import InvalidError, PoolerError
from pooler.files import File, packed
from pooler.model import Pooler
from pooler.targets import butane, first_boot, ignition
from pooler.targets.first_boot import Fetched, FirstBoot, Tree

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV4YW1wbGVleGFtcGxlZXhhbXBsZWV4YW1wbGU= me@example"
OPTIONS: dict[str, Any] = {"authorized_keys": [KEY], "image_url": "s3://fleet/pooler.tar", "image_sha512": "a" * 128}
TLS = "/etc/pgbouncer/tls"
LEAVES = Tree(
    files=tuple(
        File(f"{TLS}/{use}/01/{name}", f"{use} {name} {secrets.token_hex(12)}\n".encode(), mode, 6432)
        for use in ("server", "client")
        for name, mode in (("tls.crt", 0o644), ("tls.key", 0o600))
    ),
    links=((f"{TLS}/server/current", "01"), (f"{TLS}/client/current", "01")),
)
UNDER_A_URL = st.text(st.characters(codec="utf-8"), max_size=300).map(str.encode)


def pooler(**changed: Any) -> Pooler:
    return variables.read(
        {
            "image": "localhost/pgfleet/pooler:0.1.0",
            "patroni": ["https://10.0.0.5:8008"],
            "databases": [{"name": "app"}],
            **changed,
        }
    )


def boot(model: Pooler, **changed: Any) -> FirstBoot:
    return first_boot.read({**OPTIONS, **changed}, model)


def served(model: Pooler, **changed: Any) -> tuple[Tree, tuple[File, ...], bundle.Bundle]:
    """The config's tree, the archive's files, and what a run of the pgbouncer module on such a host would write."""
    asked = boot(model, **changed)
    facts = bundle.Facts(asked.leader, f"{TLS}/server/01", f"{TLS}/client/01")
    public, secret = first_boot.serving(model, asked, facts, LEAVES)
    (listed,) = (file.content.decode() for file in secret if file.path.endswith("/userlist.txt"))
    return public, secret, bundle.build(model, replace(facts, verifiers=userlist.parse(listed)))


def content(contents: dict[str, str]) -> bytes:
    """What Ignition makes of a file's contents."""
    head, _comma, data = contents["source"].partition(",")
    plain = base64.b64decode(data) if head.endswith(";base64") else unquote_to_bytes(data)
    return gzip.decompress(plain) if contents.get("compression") == "gzip" else plain


def files(config: str) -> dict[str, dict[str, Any]]:
    return {entry["path"]: entry for entry in json.loads(config)["storage"]["files"]}


def links(config: str) -> dict[str, str]:
    return {entry["path"]: entry["target"] for entry in json.loads(config)["storage"].get("links", [])}


def test_config_and_archive_hold_the_very_files_that_the_pgbouncer_module_writes() -> None:
    public, secret, made = served(pooler(users=[{"name": "u", "password": "x"}]))
    entries = files(ignition.render(public))
    written = {
        path: (content(entry["contents"]), entry["mode"], entry.get("user", {}).get("id", 0))
        for path, entry in entries.items()
        if "data:" in entry["contents"]["source"]
    }
    unpacked = observed.files(packed(secret))
    written |= {path: (file.content, file.mode, file.owner) for path, file in unpacked.items()}
    wanted = {file.path: (file.content, file.mode, file.owner) for file in (*made.files, *LEAVES.files)}
    assert {path: written[path] for path in wanted} == wanted


def test_instances_are_enabled_as_the_pgbouncer_module_enables_them() -> None:
    public, _secret, made = served(pooler(instances=3))
    found = links(ignition.render(public))
    assert found["/etc/pgbouncer/current"] == f"releases/{made.release}"
    for console in (50001, 50002, 50003):
        assert found[f"/etc/containers/systemd/pgbouncer@{console}.container"] == "pgbouncer@.container"
        wants = f"/etc/systemd/system/sockets.target.wants/pgbouncer@{console}.socket"
        assert found[wants] == "/etc/systemd/system/pgbouncer@.socket"
    (preset,) = (file.content.decode() for file in public.files if file.path.endswith(".preset"))
    assert "enable pgbouncer@.socket 50001 50002 50003\n" in preset


def test_where_the_engine_opens_its_ports_there_is_no_socket_to_enable() -> None:
    public, _secret, _made = served(pooler(dispatch="engine"))
    assert not [path for path in links(ignition.render(public)) if path.endswith(".socket")]


def test_all_that_only_its_owner_may_read_is_in_the_archive_and_nowhere_else() -> None:
    password = secrets.token_hex(12)
    model = pooler(
        users=[{"name": "u", "password": secrets.token_hex(12)}],
        databases=[{"name": "app", "password": password}],
        agent={"patroni_user": "p", "patroni_password": password},
    )
    public, secret, made = served(model)
    shown = public.files
    assert not [file.path for file in shown if not file.mode & 0o077]
    hidden = {file.path for file in secret}
    assert {file.path for file in made.files if not file.mode & 0o077} < hidden
    (listed,) = (file.content.decode() for file in secret if file.path.endswith("/userlist.txt"))
    for word in (password, userlist.parse(listed)["u"], *(file.content.decode() for file in LEAVES.files)):
        assert word.encode() not in b"".join(file.content for file in shown)
    assert any(password.encode() in file.content for file in secret)


def test_without_secrets_the_host_waits_and_starts_nothing_that_cannot_run() -> None:
    model = pooler()
    config = ignition.render(first_boot.waiting(model, boot(model)))
    assert not [path for path in files(config) if path.startswith("/etc/pgbouncer/")]
    assert not [path for path in links(config) if "pgbouncer@" in path]
    assert files(config).keys() > {"/etc/containers/systemd/pgbouncer@.container", "/etc/sysctl.d/90-pgbouncer.conf"}


def test_what_is_fetched_is_known_by_its_digest() -> None:
    public, _secret, _made = served(pooler())
    there = Fetched("s3://fleet/secrets/pool1.tar.gz", "b" * 128)
    entries = files(ignition.render(first_boot.with_secrets(public, there)))
    for path, url, digest in (
        (first_boot.ARCHIVE, OPTIONS["image_url"], "a" * 128),
        (first_boot.SECRETS, there.url, there.sha512),
    ):
        assert entries[path]["contents"] == {"source": url, "verification": {"hash": f"sha512-{digest}"}}
        assert entries[path]["mode"] == 0o600


def test_rendering_again_is_the_same_text_and_the_same_archive() -> None:
    public, secret, _made = served(pooler())
    assert ignition.render(public) == ignition.render(replace(public, files=tuple(reversed(public.files))))
    assert packed(secret) == packed(reversed(secret))


@given(UNDER_A_URL)
def test_every_content_comes_back(text: bytes) -> None:
    config = ignition.render(Tree((File("/x", text),)))
    assert content(files(config)["/x"]["contents"]) == text


def big(words: int) -> Tree:
    """A tree whose files no compression makes small."""
    return Tree(tuple(File(f"/file{number}", secrets.token_hex(512).encode()) for number in range(words)))


def test_a_small_config_is_user_data_as_it_is() -> None:
    config = ignition.render(big(2))
    assert ignition.deliver(config, None) == ignition.Delivery(config, "plain")


def test_a_config_that_is_too_large_is_compressed_within_a_config() -> None:
    text = secrets.token_hex(100).encode()
    config = ignition.render(Tree(tuple(File(f"/file{number}", text) for number in range(60))))
    assert len(config) > ignition.USER_DATA_BYTES
    found = ignition.deliver(config, "s3://fleet/config")
    assert (found.form, found.stored) == ("compressed", None)
    assert len(found.user_data) <= ignition.USER_DATA_BYTES
    replaced = json.loads(found.user_data)["ignition"]["config"]["replace"]
    assert content(replaced).decode() == config


def test_a_config_that_no_compression_makes_fit_lies_elsewhere_and_is_known_by_its_digest() -> None:
    config = ignition.render(big(40))
    found = ignition.deliver(config, "s3://fleet/config")
    assert (found.form, found.stored) == ("pointer", config)
    replaced = json.loads(found.user_data)["ignition"]["config"]["replace"]
    digest = hashlib.sha512(config.encode()).hexdigest()
    assert replaced == {"source": "s3://fleet/config", "verification": {"hash": f"sha512-{digest}"}}


def test_a_config_that_fits_nowhere_is_refused_with_its_size() -> None:
    config = ignition.render(big(40))
    with pytest.raises(PoolerError, match=rf"{len(config)} bytes.*16384.*config_url"):
        ignition.deliver(config, None)


@given(st.integers(0, 60), st.booleans())
def test_user_data_never_grow_beyond_their_limit(words: int, somewhere: bool) -> None:
    try:
        found = ignition.deliver(ignition.render(big(words)), "s3://fleet/config" if somewhere else None)
    except PoolerError:
        assert not somewhere
    else:
        assert len(found.user_data.encode()) <= ignition.USER_DATA_BYTES


def test_butane_says_the_same() -> None:
    model = pooler(hba=["hostssl all all all scram-sha-256"])
    public, _secret, _made = served(model, updates={"windows": [{"days": ["Sat"], "start": "02:30", "minutes": 90}]})
    tree = first_boot.with_secrets(public, Fetched("s3://fleet/secrets", "b" * 128))
    said = yaml.safe_load(butane.render(tree))
    assert (said["variant"], said["version"]) == ("fcos", "1.4.0")
    entries = files(ignition.render(tree))
    assert {entry["path"] for entry in said["storage"]["files"]} == entries.keys()
    for entry in said["storage"]["files"]:
        other = entries[entry["path"]]
        assert {name: entry.get(name) for name in ("mode", "overwrite", "user")} == {
            name: other.get(name) for name in ("mode", "overwrite", "user")
        }
        if "inline" in entry["contents"]:
            assert entry["contents"]["inline"].encode() == content(other["contents"])
        else:
            assert entry["contents"] == other["contents"]
    assert {entry["path"]: entry["target"] for entry in said["storage"]["links"]} == links(ignition.render(tree))
    (user,) = json.loads(ignition.render(tree))["passwd"]["users"]
    assert said["passwd"]["users"] == [{"name": user["name"], "ssh_authorized_keys": user["sshAuthorizedKeys"]}]


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_butane_keeps_every_text(text: str) -> None:
    said = yaml.safe_load(butane.render(Tree((File("/x", text.encode()),))))
    assert said["storage"]["files"][0]["contents"]["inline"] == text


def test_updates_wait_for_their_windows() -> None:
    windows = [{"days": ["Sat", "Sun"], "start": "02:30", "minutes": 90}]
    public, _secret, _made = served(pooler(), updates={"time_zone": "Europe/Berlin", "windows": windows})
    (text,) = (file.content.decode() for file in public.files if "/zincati/" in file.path)
    assert 'strategy = "periodic"' in text
    assert 'days = [ "Sat", "Sun" ]\nstart_time = "02:30"\nlength_minutes = 90\n' in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"authorized_keys": []}, "authorized_keys: is empty"),
        ({"authorized_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, r"authorized_keys\[0\]: is not a public key"),
        ({"image_url": None}, "image_url: is missing"),
        ({"image_url": "http://plain/x"}, "image_url: 'http://plain/x' is not a place"),
        ({"image_sha512": "abc"}, "image_sha512: is not a SHA-512"),
        ({"leader": "a b"}, "leader: 'a b' is not a host"),
        ({"updates": {"windows": [{"days": ["Someday"], "start": "02:30", "minutes": 5}]}}, r"windows\[0\]\.days"),
        ({"updates": {"windows": [{"days": ["Sat"], "start": 150, "minutes": 5}]}}, r"windows\[0\]\.start"),
        ({"updates": {"windows": [{"days": ["Sat"], "start": "02:30", "minutes": 0}]}}, r"windows\[0\]\.minutes"),
        ({"updates": {"time_zone": "a b"}}, r"updates\.time_zone"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        boot(pooler(), **changed)


def test_a_private_key_given_by_mistake_is_not_shown() -> None:
    word = secrets.token_hex(16)
    with pytest.raises(InvalidError) as caught:
        boot(pooler(), authorized_keys=[f"-----BEGIN OPENSSH PRIVATE KEY----- {word}"])
    assert word not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [(None, "10.0.0.5", 5432), ("db2", "db2", 5432), ("db2:5433", "db2", 5433), ("[fd00::7]:5433", "fd00::7", 5433)],
)
def test_databases_point_at_a_member_until_the_agent_knows_better(given: str | None, host: str, port: int) -> None:
    leader = boot(pooler(), leader=given).leader
    assert leader
    assert (leader.host, leader.port) == (host, port)


def test_without_the_agent_somebody_must_say_who_leads() -> None:
    with pytest.raises(InvalidError, match="leader: is missing"):
        boot(pooler(agent={"enabled": False}))


def test_the_command_renders_a_host_that_waits_for_ansible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "host.json"
    asked = {"image": "registry.example/pooler:1", "server": "db1"}
    file.write_text(json.dumps({"pgbouncer": asked, "authorized_keys": [KEY]}))
    assert cli.main(["render", "ignition", str(file)]) == 0
    shown = capsys.readouterr().out
    model = variables.read(asked)
    assert shown.strip() == ignition.render(
        first_boot.waiting(model, first_boot.read({"authorized_keys": [KEY]}, model))
    )
    assert cli.main(["render", "butane", str(file), "--output", str(tmp_path)]) == 0
    assert yaml.safe_load((tmp_path / "first_boot.bu").read_text())["variant"] == "fcos"
