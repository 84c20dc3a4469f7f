"""Runs inside the stand-in for Spilo: from environment variables to Patroni's configuration, then Patroni itself.

Honoured, with Spilo's defaults: SCOPE, ETCD3_* (HOSTS, PROTOCOL, CACERT, CERT, KEY, ...), PGROOT, PGDATA, PGLOG,
PGPORT, PGVERSION, APIPORT, RESTAPI_CONNECT_ADDRESS, PG_CONNECT_ADDRESS, PG{USER,PASSWORD}_{SUPERUSER,STANDBY},
ALLOW_NOSSL, SSL_{CA,CERTIFICATE,PRIVATE_KEY}_FILE, SSL_RESTAPI_{CA,CERTIFICATE,PRIVATE_KEY}_FILE, and
SPILO_CONFIGURATION, a YAML document that is merged over what is made of the rest.
"""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CONFIGURATION = Path("/run/postgres.yml")
_SOCKETS = Path("/run/postgresql")
_CERTIFICATES = Path("/run/certs")


def main() -> None:
    environment = dict(os.environ)
    user = yaml.safe_load(environment.get("SPILO_CONFIGURATION", "")) or {}
    if not isinstance(user, dict):
        sys.exit(f"SPILO_CONFIGURATION should contain a dict, yet it is a {type(user).__name__}")
    settings = Settings(environment)
    configuration = merge(user, generated(settings))
    _prepare(settings, configuration)
    account = pwd.getpwnam("postgres")
    if os.getuid() == 0:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    environment |= {"HOME": account.pw_dir, "USER": account.pw_name, "PGDATA": settings.data}
    os.execve("/usr/bin/patroni", ["patroni", str(CONFIGURATION)], environment)


class Settings:
    """The environment with Spilo's defaults."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        get = environment.get
        self.environment = environment
        self.scope = get("SCOPE", "dummy")
        self.root = get("PGROOT", "/home/postgres/pgdata/pgroot")
        self.data = get("PGDATA", f"{self.root}/pgdata")
        self.log = get("PGLOG", f"{self.root}/pg_log")
        self.port = get("PGPORT", "5432")
        self.api_port = get("APIPORT", "8008")
        self.version = get("PGVERSION", "17")
        self.instance = socket.gethostname()
        address = socket.getaddrinfo(self.instance, 0, type=socket.SOCK_STREAM)[0][4][0]
        self.connect = get("PG_CONNECT_ADDRESS", f"{address}:{self.port}")
        self.api_connect = get("RESTAPI_CONNECT_ADDRESS", f"{address}:{self.api_port}")
        self.superuser = {
            "username": get("PGUSER_SUPERUSER", "postgres"),
            "password": get("PGPASSWORD_SUPERUSER", "zalando"),
        }
        self.standby = {"username": get("PGUSER_STANDBY", "standby"), "password": get("PGPASSWORD_STANDBY", "standby")}
        self.allow_plain = bool(get("ALLOW_NOSSL"))
        self.authority = get("SSL_CA_FILE", "")
        self.certificate = get("SSL_CERTIFICATE_FILE", str(_CERTIFICATES / "server.crt"))
        self.key = get("SSL_PRIVATE_KEY_FILE", str(_CERTIFICATES / "server.key"))
        files = {"cafile": "CA", "certfile": "CERTIFICATE", "keyfile": "PRIVATE_KEY"}
        self.api_tls = {option: path for option, name in files.items() if (path := get(f"SSL_RESTAPI_{name}_FILE"))}


def generated(settings: Settings) -> dict[str, Any]:
    """Patroni's configuration as Spilo makes it of the same environment, as far as this image can follow."""
    parameters = {
        "archive_command": "/bin/true",
        "shared_buffers": "128MB",
        "logging_collector": "on",
        "log_destination": "csvlog",
        "log_directory": "../pg_log",
        "log_filename": "postgresql-%u.log",
        "log_file_mode": "0644",
        "log_rotation_age": "1d",
        "log_truncate_on_rotation": "on",
        "ssl": "on",
        "ssl_cert_file": settings.certificate,
        "ssl_key_file": settings.key,
        "shared_preload_libraries": "pg_stat_statements",
    }
    if settings.authority:
        parameters["ssl_ca_file"] = settings.authority
    configuration: dict[str, Any] = {
        "scope": settings.scope,
        "bootstrap": {
            "dcs": _cluster_wide(),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "restapi": {"listen": f":{settings.api_port}", "connect_address": settings.api_connect, **settings.api_tls},
        "postgresql": {
            "name": settings.instance,
            "listen": f"*:{settings.port}",
            "connect_address": settings.connect,
            "data_dir": settings.data,
            "bin_dir": f"/usr/lib/postgresql/{settings.version}/bin",
            "pgpass": str(_SOCKETS / "pgpass"),
            "use_unix_socket": True,
            "use_unix_socket_repl": True,
            "parameters": parameters,
            "pg_hba": _access(settings),
            "authentication": {"superuser": settings.superuser, "replication": settings.standby},
        },
    }
    if etcd := _etcd(settings.environment):
        configuration["etcd3"] = etcd
    return configuration


def merge(user: Any, default: Any) -> Any:
    """The user's document over the generated one: mappings merge, null takes the default, all else is the user's."""
    if isinstance(user, dict) and isinstance(default, dict):
        both = {key: merge(value, default[key]) if key in default else value for key, value in user.items()}
        return {**default, **both}
    return default if user is None else user


def _cluster_wide() -> dict[str, Any]:
    return {
        "ttl": 30,
        "loop_wait": 10,
        "retry_timeout": 10,
        "maximum_lag_on_failover": 33554432,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {
                "archive_mode": "on",
                "archive_timeout": "1800s",
                "wal_level": "replica",
                "wal_log_hints": "on",
                "wal_compression": "on",
                "hot_standby": "on",
                "max_connections": 100,
                "max_wal_senders": 10,
                "max_replication_slots": 10,
                "tcp_keepalives_idle": 900,
                "tcp_keepalives_interval": 100,
                "log_connections": "on",
                "log_disconnections": "on",
                "log_statement": "ddl",
                "log_lock_waits": "on",
                "log_min_duration_statement": 500,
                "track_functions": "all",
            },
        },
    }


def _access(settings: Settings) -> list[str]:
    standby = settings.standby["username"]
    others = (
        ["host all all all md5"]
        if settings.allow_plain
        else ["hostnossl all all all reject", "hostssl all all all md5"]
    )
    return [
        "local all all trust",
        "host all all 127.0.0.1/32 md5",
        "host all all ::1/128 md5",
        f"local replication {standby} trust",
        f"hostssl replication {standby} all md5",
        *others,
    ]


def _etcd(environment: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {
        name.removeprefix("ETCD3_").lower(): value for name, value in environment.items() if name.startswith("ETCD3_")
    }
    hosts = options.get("hosts", "").strip()
    if hosts:
        # Either a YAML list, or its items alone: "h1:2379","h2:2379"
        options["hosts"] = yaml.safe_load(hosts if hosts.startswith(("-", "[")) else f"[{hosts}]")
    return options


def _prepare(settings: Settings, configuration: dict[str, Any]) -> None:
    """What must be there before Patroni runs as postgres. Run as postgres from the start, it owns what it makes."""
    account = pwd.getpwnam("postgres")
    for directory, mode in (
        (Path(settings.log), 0o755),
        (Path(settings.data), 0o700),
        (_SOCKETS, 0o2775),
        (_CERTIFICATES, 0o755),
    ):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(mode)
        os.chown(directory, account.pw_uid, account.pw_gid)
    subprocess.run(["chown", "-R", "postgres:postgres", settings.root], check=True)
    if not Path(settings.key).exists():
        _self_signed(settings)
    CONFIGURATION.touch(mode=0o600)
    CONFIGURATION.write_text(yaml.safe_dump(configuration, sort_keys=False))
    os.chown(CONFIGURATION, account.pw_uid, account.pw_gid)


def _self_signed(settings: Settings) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=spilo-stand-in",
        "-days",
        "3650",
    ]
    subprocess.run([*command, "-keyout", settings.key, "-out", settings.certificate], check=True, capture_output=True)
    for file, mode in ((settings.key, 0o600), (settings.certificate, 0o644)):
        Path(file).chmod(mode)
        subprocess.run(["chown", "postgres:postgres", file], check=True)


if __name__ == "__main__":
    main()
