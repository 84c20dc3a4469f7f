"""Debian packages as a directory that apt can install from, for hosts that reach no mirror."""

from __future__ import annotations

from pathlib import Path

from tests.lab import debian

# What a host needs to be managed by modules at all, and what the playbook installs.
PYTHON = ("python3", "python3-apt")
INSTALLED = ("pgbouncer", "python3-cryptography", "python3-psycopg2")

_PLACE = "/srv/debs"
# Everything that the lab's host root may lack, dependencies included; nothing of it is installed here.
_SCRIPT = f"""
mkdir -p {_PLACE}
apt-get update --quiet=2
apt-get install --quiet=2 --download-only --yes --no-install-recommends -o Dir::Cache::archives={_PLACE} \\
    -o APT::Keep-Downloaded-Packages=true {" ".join((*PYTHON, *INSTALLED))}
cd {_PLACE}
rm -rf partial lock
for deb in *.deb; do
  dpkg-deb --field "$deb" Package Version Architecture Depends Pre-Depends Provides Multi-Arch
  echo "Filename: ./$deb"
  echo "Size: $(stat --format %s "$deb")"
  echo "SHA256: $(sha256sum "$deb" | cut -d ' ' -f 1)"
  echo
done > Packages
"""


def directory() -> Path:
    """The packages and their index."""
    return debian.tree("debs", debian.Recipe(packages=("ca-certificates",), script=_SCRIPT)) / _PLACE.lstrip("/")


def prepared() -> str:
    """A script for a host that has the directory at the same place: apt knows it, and modules can run."""
    return f"""
export DEBIAN_FRONTEND=noninteractive
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:{_PLACE} ./' > /etc/apt/sources.list.d/debs.list
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends {" ".join(PYTHON)} >/dev/null 2>&1
"""
