"""Writes pooler/settings.json: every PgBouncer setting, with what the engine itself does not check.

The argument is a JSON file of raw entries gathered from SHOW CONFIG and the source of built engines; each has section,
name, type, default, allowed, reloadable, introduced, unreleased, deprecated. This script adds what those cannot tell:
the kind of value, the bounds that make sense, which texts may be empty, and the security record.

    python tools/settings_catalogue.py raw.json > pooler/settings.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# The first release that can hold what was in the development branch of July 2026; not run here.
NEXT_RELEASE = "1.26.0"

SECTIONS = ("pgbouncer", "databases", "users", "peers")

# On no Linux build; the engine there calls it an unknown parameter.
WINDOWS_ONLY = {"service_name"}

SECONDS = {"query_wait_notify", "stats_period", "tcp_keepidle", "tcp_keepintvl"}
MILLISECONDS = {"tcp_user_timeout"}
BYTES = {"pkt_buf", "tcp_socket_buffer", "max_packet_size"}
PORTS = {"listen_port", "port"}
HOSTS = {"host", "listen_addr"}
# Smallest and largest value; PgBouncer's integers are 32 bit signed and it takes negative ones without a word.
BOUNDS = {
    "listen_port": (1, 65535),
    "port": (1, 65535),
    "max_client_conn": (1, None),
    "max_packet_size": (1, 2**32 - 1),
    "peer_id": (0, 16383),
    "pkt_buf": (1, None),
    "scram_iterations": (1, None),
    "stats_period": (1, None),
    "unix_socket_mode": (0, 0o777),
    "verbose": (0, 3),
}
# Texts of [pgbouncer] that mean something when empty ("no query", "nobody", "not used").
MAY_BE_EMPTY = {
    "admin_users",
    "auth_hba_file",
    "auth_ldap_options",
    "client_tls_ca_file",
    "client_tls_cert_file",
    "client_tls_key_file",
    "ignore_startup_parameters",
    "listen_addr",
    "logfile",
    "login_notify_message",
    "pidfile",
    "resolv_conf",
    "server_check_query",
    "server_reset_query",
    "server_tls_ca_file",
    "server_tls_cert_file",
    "server_tls_key_file",
    "stats_users",
    "track_extra_parameters",
    "unix_socket_dir",
    "unix_socket_group",
}
SECRET = {"password"}
# The engine takes any text here and only falls back or fails later.
ALLOWED = {
    # It knows `legacy` too, and its TLS does not start with it (1.24.1 on Debian 13).
    "client_tls_dheparams": ["none", "auto"],
    "syslog_facility": ["auth", "authpriv", "daemon", "user", *(f"local{number}" for number in range(8))],
}
ALLOWED_ITEMS = {
    name: ["all", "legacy", "secure", "tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"]
    for name in ("client_tls_protocols", "server_tls_protocols")
}
ALLOWED_SINCE = {"auth_type": {"ldap": "1.25.0"}}
# Changed defaults: the last release with the old one, and the old one.
OLDER_DEFAULTS = {
    "auth_query": {"1.24.0": "SELECT usename, passwd FROM pg_shadow WHERE usename=$1"},
    "client_tls_ciphers": {"1.20.1": "fast"},
    "max_prepared_statements": {"1.23.1": "0"},
    "server_check_query": {"1.24.1": "select 1"},
    "server_tls_ciphers": {"1.20.1": "fast"},
    "server_tls_sslmode": {"1.19.1": "disable"},
}
NOTES = {
    ("pgbouncer", "auth_query"): "qualify every name and operator; the default since 1.24.1 honours VALID UNTIL",
    ("pgbouncer", "auth_type"): "'any' lets everybody be anybody, administrators included",
    ("pgbouncer", "conffile"): "points RELOAD at another file; do not write it into one",
    ("pgbouncer", "default_pool_size"): "0 means unlimited since 1.24",
    ("pgbouncer", "ignore_startup_parameters"): "without 'options' an engine before 1.26.1 can be made to loop",
    ("pgbouncer", "max_prepared_statements"): "0 switches the tracking off",
    ("pgbouncer", "scram_iterations"): "only for plaintext entries of the userlist; a verifier keeps its own count",
    ("pgbouncer", "server_check_delay"): "0 means before every use",
    ("pgbouncer", "server_check_query"): "'<empty>' sends an empty query; an empty text means no check",
    ("pgbouncer", "server_lifetime"): "0 means that a server connection is used once",
    ("pgbouncer", "unix_socket_mode"): "octal",
    ("databases", "password"): "clients with a verifier then cannot be passed through to this database",
    ("databases", "pool_size"): "0 means unlimited since 1.24",
    ("databases", "server_lifetime"): "0 means the value of [pgbouncer]",
    ("databases", "user"): "taking it away again needs a restart",
}

# From the change logs of PgBouncer and of its packages. `fixed` is the first upstream release with the fix.
VULNERABILITIES = [
    ("CVE-2012-4575", "1.5.3", "a long database name crashes the engine"),
    ("CVE-2015-4054", "1.5.5", "an early message crashes the engine"),
    ("CVE-2015-6817", "1.6.1", "a failed auth_query lets anybody in as auth_user"),
    ("CVE-2021-3935", "1.16.1", "queries sent before the TLS handshake with a client certificate are accepted"),
    ("CVE-2025-2291", "1.24.1", "auth_query lets roles in whose password has expired"),
    ("CVE-2025-12819", "1.25.1", "SQL of an unauthenticated client runs when search_path is tracked and auth_user set"),
    ("CVE-2026-6664", "1.25.2", "a SCRAM packet of an unauthenticated client crashes the engine"),
    ("CVE-2026-6665", "1.25.2", "a malicious PostgreSQL server overflows the stack"),
    ("CVE-2026-6666", "1.25.2", "an error without SQLSTATE from the server crashes the engine"),
    ("CVE-2026-6667", "1.25.2", "users in stats_users can use KILL_CLIENT"),
    ("CVE-2026-107349", "1.26.1", "an unauthenticated client can loop it if ignore_startup_parameters lacks 'options'"),
    ("CVE-2026-107350", "1.26.1", "whoever knows one userlist password logs in as any other SCRAM user"),
]
# Debian carries fixes into old upstream versions, so SHOW VERSION alone would blame a repaired engine.
BACKPORTS = [
    ("1.18.0-1+deb12u1", ["CVE-2025-2291", "CVE-2025-12819"]),
    ("1.24.1-1+deb13u1", ["CVE-2025-12819"]),
    ("1.24.1-1+deb13u2", ["CVE-2026-6664", "CVE-2026-6665", "CVE-2026-6666", "CVE-2026-6667"]),
]


def catalogue(raw: dict[str, Any]) -> dict[str, Any]:
    entries = [refined(entry) for entry in raw["settings"] if entry["name"] not in WINDOWS_ONLY]
    return {
        "settings": sorted(entries, key=lambda entry: (SECTIONS.index(entry["section"]), entry["name"])),
        "vulnerabilities": [{"cve": cve, "fixed": fixed, "what": what} for cve, fixed, what in VULNERABILITIES],
        "backports": [{"package": package, "fixes": fixes} for package, fixes in BACKPORTS],
    }


def refined(raw: dict[str, Any]) -> dict[str, Any]:
    section, name = raw["section"], raw["name"]
    kind = kind_of(section, name, raw["type"])
    entry: dict[str, Any] = {
        "section": section,
        "name": name,
        "kind": kind,
        "default": None if raw["default"] in {"inherit", "NULL", "client-side name"} else raw["default"],
        "reloadable": raw["reloadable"],
        "since": NEXT_RELEASE if raw["unreleased"] else raw["introduced"],
    }
    allowed = raw["allowed"] or ALLOWED.get(name) or ALLOWED_ITEMS.get(name)
    if allowed:
        entry["allowed"] = allowed
    if name in ALLOWED_SINCE and section == "pgbouncer":
        entry["allowed_since"] = ALLOWED_SINCE[name]
    if section == "pgbouncer" and name in OLDER_DEFAULTS:
        entry["older_defaults"] = OLDER_DEFAULTS[name]
    if kind in {"integer", "port", "bytes", "milliseconds", "whole seconds", "octal"}:
        entry["minimum"], entry["maximum"] = bounds(name)
    if section == "pgbouncer" and name in MAY_BE_EMPTY:
        entry["may_be_empty"] = True
    if name in SECRET:
        entry["secret"] = True
    if raw.get("deprecated"):
        entry["deprecated"] = raw["deprecated"]
    if (section, name) in NOTES:
        entry["note"] = NOTES[section, name]
    return entry


def kind_of(section: str, name: str, raw_type: str) -> str:
    """One of the kinds that pooler/values.py can check."""
    if name in PORTS:
        return "port"
    if name in HOSTS:
        return "hosts"
    if name in MILLISECONDS:
        return "milliseconds"
    if name in BYTES:
        return "bytes"
    if name == "unix_socket_mode":
        return "octal"
    if name in ALLOWED or raw_type == "enum":
        return "enum"
    if raw_type.startswith("bool"):
        return "boolean"
    if raw_type.startswith("time("):
        return "seconds"
    if raw_type.startswith("int seconds") or (section == "pgbouncer" and name in SECONDS):
        return "whole seconds"
    if raw_type.startswith("int"):
        return "integer"
    if raw_type.startswith("list"):
        return "list"
    return "path" if raw_type == "path" else "text"


def bounds(name: str) -> tuple[int, int]:
    low, high = BOUNDS.get(name, (0, None))
    return low, 2**31 - 1 if high is None else high


def main() -> None:
    raw = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    entries = catalogue(raw)
    # One setting a line: a change of the catalogue reads as a diff.
    parts = []
    for key, rows in entries.items():
        lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
        parts.append(f' "{key}": [\n{lines}\n ]')
    sys.stdout.write("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
