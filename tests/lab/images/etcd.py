"""etcd 3.5 as Debian packages it. Like the original image it is configured by ETCD_* environment variables."""

from __future__ import annotations

from .. import debian
from .image import Image, from_root

REFERENCE = "localhost/lab/etcd:3.5"
_RECIPE = debian.Recipe(packages=("etcd-server", "etcd-client", "ca-certificates"))


def image() -> Image:
    return from_root("etcd", REFERENCE, debian.tree("etcd", _RECIPE), ['ENTRYPOINT ["/usr/bin/etcd"]'])
