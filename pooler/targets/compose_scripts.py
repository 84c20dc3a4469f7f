"""The scripts of a Compose project's containers, and PostgreSQL's rules for logins."""

from __future__ import annotations

from ..agent.config import STATE
from ..bundle import CONFIGURATION, CURRENT, RELEASES, RUNTIME
from .compose_model import Project

SUPERUSER = "postgres"
FILES = "files"
"""Below the project's directory, and in the container that copies from it: a directory for each of those who read."""

PREPARE = "/etc/prepare"
SETTINGS = "/etc/postgresql"
DATA = "/var/lib/postgresql/data"


def hba(role: str) -> str:
    """The superuser and our role by certificate, all others by password, nobody without TLS."""
    return (
        f"local all {SUPERUSER} peer\n"
        f"hostssl all {SUPERUSER},{role} all cert\n"
        f"host all {SUPERUSER},{role} all reject\n"
        "hostssl all all all scram-sha-256\n"
    )


def start(project: Project, serial: str) -> str:
    leaf = f"{SETTINGS}/tls/{serial}"
    settings = {
        "listen_addresses": "*",
        "unix_socket_directories": "/tmp",
        "hba_file": f"{SETTINGS}/pg_hba.conf",
        "ssl": "on",
        "ssl_cert_file": f"{leaf}/tls.crt",
        "ssl_key_file": f"{leaf}/tls.key",
        "ssl_ca_file": f"{leaf}/ca.crt",
        "ssl_min_protocol_version": "TLSv1.2",
        "password_encryption": "scram-sha-256",
        **project.postgresql.settings,
    }
    options = "".join(f" \\\n  -c {name}={_word(value)}" for name, value in settings.items())
    return (
        "# PostgreSQL, with a cluster of its own making the first time.\n"
        "set -eu\n"
        'if [ ! -s "$PGDATA/PG_VERSION" ]; then\n'
        f"  initdb --username={SUPERUSER} --auth=reject --encoding=UTF8 --data-checksums\n"
        "fi\n"
        f"exec postgres{options}\n"
    )


def _word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def copy(project: Project, release: str) -> str:
    """Idempotent. What is no longer needed goes last; the switch is one rename, as on a host."""
    ours, theirs = f"{project.pooler.uid}:{project.pooler.uid}", f"{project.postgresql.uid}:{project.postgresql.uid}"
    sockets = " ".join(f"{RUNTIME}/{console}" for console in project.pooler.consoles)
    return (
        "# Each file to its volume, with the owner and the mode that its readers ask for. It may run while they read.\n"
        "set -eu\n"
        "umask 077\n"
        "copy() {  # directory, place, owner\n"
        f'  (cd "/{FILES}/$1" && find . -type d) | while read -r name; do\n'
        '    mkdir -p "$2/$name"; chown "$3" "$2/$name"\n'
        "  done\n"
        f'  (cd "/{FILES}/$1" && find . -type f) | while read -r name; do\n'
        f'    cmp -s "/{FILES}/$1/$name" "$2/$name" && continue\n'
        f'    cp "/{FILES}/$1/$name" "$2/$name.new"\n'
        '    chmod 0600 "$2/$name.new"\n'
        '    chown "$3" "$2/$name.new"\n'
        '    mv "$2/$name.new" "$2/$name"\n'
        "  done\n"
        "}\n"
        "forget() {  # directory, place: releases and certificates that are gone from there\n"
        '  for old in "$2"/tls/* "$2"/tls/*/* "$2"/releases/*; do\n'
        f'    [ -e "/{FILES}/$1${{old#"$2"}}" ] || rm -rf "$old"\n'
        "  done\n"
        "}\n"
        f"copy pgbouncer {CONFIGURATION} {ours}\n"
        f"copy prepare {PREPARE} {ours}\n"
        f"copy postgresql {SETTINGS} {theirs}\n"
        f"ln -sfn {RELEASES.rpartition('/')[2]}/{release} {CURRENT}.new\n"
        f"mv -T {CURRENT}.new {CURRENT}\n"
        f"forget pgbouncer {CONFIGURATION}\n"
        f"forget prepare {PREPARE}\n"
        f"forget postgresql {SETTINGS}\n"
        f"mkdir -p {sockets}\n"
        f"chown {ours} {RUNTIME} {sockets} {STATE}\n"
        f"chmod 0700 {RUNTIME} {sockets} {STATE} {DATA}\n"
        f"chown {theirs} {DATA}\n"
    )
