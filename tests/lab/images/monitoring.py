"""Prometheus, Alertmanager and exporters as Debian packages them, by the names that their own images use."""

from __future__ import annotations

from pathlib import Path

from .. import debian
from .image import Image, from_root

REFERENCE = "localhost/lab/monitoring:trixie"
_RECIPE = debian.Recipe(
    packages=(
        "prometheus",
        "prometheus-alertmanager",
        "prometheus-node-exporter",
        "prometheus-pgbouncer-exporter",
        "prometheus-postgres-exporter",
    ),
    script="""
for name in alertmanager node-exporter postgres-exporter; do
    ln -s prometheus-$name /usr/bin/$(echo $name | tr - _)
done
""",
)


def image() -> Image:
    return from_root("monitoring", REFERENCE, root(), ['ENTRYPOINT ["/bin/false"]'])


def root() -> Path:
    """The image's files, without a store for podman."""
    return debian.tree("monitoring", _RECIPE)
