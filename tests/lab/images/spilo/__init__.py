"""A stand-in for ghcr.io/zalando/spilo-17: Debian's Patroni and PostgreSQL 17 behind Spilo's environment variables.

What it honours is listed in entrypoint.py. It has Spilo's user ids, paths and pg_hba lines, and none of its extensions,
backups and cron jobs.
"""

from __future__ import annotations

from pathlib import Path

from ... import debian
from ..image import Image, from_root

REFERENCE = "localhost/lab/spilo-17:stand-in"
_ENTRYPOINT = "/usr/local/lib/spilo-stand-in/entrypoint.py"
_PGROOT = "/home/postgres/pgdata/pgroot"

# Spilo's ids, before Debian's packages choose their own.
_BEFORE = """
echo 'postgres:x:103:' >> /etc/group
echo 'postgres:x:101:103:PostgreSQL:/home/postgres:/bin/bash' >> /etc/passwd
echo 'postgres:*:20000:0:99999:7:::' >> /etc/shadow
"""

# Without its provider PostgreSQL does without just-in-time compilation; a quarter of the image is LLVM.
_AFTER = """
pg_dropcluster 17 main
rm -r /usr/lib/postgresql/17/lib/llvmjit.so /usr/lib/postgresql/17/lib/bitcode /usr/lib/*/libLLVM*
for home in /home/postgres /root; do
    mkdir -p $home/.config/patroni
    ln -s /run/postgres.yml $home/.config/patroni/patronictl.yaml
done
chown -R postgres:postgres /home/postgres
# As in Spilo, the group root may write where root may, so that the image runs as uid 101 as well.
chgrp -R 0 /home/postgres /run
chmod -R g=u /home/postgres /run
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
"""


def image() -> Image:
    recipe = debian.Recipe(
        packages=("patroni", "postgresql-17", "python3-psycopg2", "python3-etcd", "openssl", "curl", "ca-certificates"),
        before=_BEFORE,
        script=_AFTER,
    )
    changes = [
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/17/bin",
        "ENV LC_ALL=C.UTF-8",
        "ENV PGHOME=/home/postgres",
        f"ENV PGROOT={_PGROOT}",
        f"ENV PGDATA={_PGROOT}/data",
        f"ENV PGLOG={_PGROOT}/pg_log",
        "ENV PGVERSION=17",
        "WORKDIR /home/postgres",
        f'ENTRYPOINT ["/usr/bin/python3", "{_ENTRYPOINT}"]',
    ]
    programs = {_ENTRYPOINT: Path(__file__).with_name("entrypoint.py")}
    return from_root("spilo", REFERENCE, debian.tree("spilo", recipe), changes, programs)
