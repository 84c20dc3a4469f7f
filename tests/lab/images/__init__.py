"""The lab's container images, built from Debian packages or from the project's own Containerfile.

Each image has a store of its own, which hosts find as an additional image store, and a plain root directory, from
which its programs can be run without podman. Both are cached by the content of what they are made from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import LabError
from . import etcd, monitoring, pooler, spilo, stock
from .image import Image

_IMAGES: Mapping[str, Callable[[], Image]] = {
    "etcd": etcd.image,
    "spilo": spilo.image,
    "pooler": pooler.image,
    "stock": stock.image,
    "monitoring": monitoring.image,
}


def image(name: str) -> Image:
    """The image, built when it is not in the cache. Raises LabError for an unknown name."""
    if name not in _IMAGES:
        raise LabError(f"there is no image {name!r} (there are {', '.join(_IMAGES)})")
    return _IMAGES[name]()
