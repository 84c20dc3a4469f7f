# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's own image, built where podman is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ...pooler import __file__ as package
from ...pooler import archive
from ...pooler.files import File
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Host, HostError

_BUILT = "/var/tmp/pgfleet-built.tar"
"""Between the building host and the controller; it holds nothing secret."""


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        sources = _sources(Path(package).parent)
        name, directory = arguments["name"], Path(arguments["directory"])
        target = directory / archive.built_name(name, sources)
        host = self.host()
        changed = not target.exists()
        if changed and not self.check:
            Display().display(f"{host.name}: building {name}; a minute or two")
            self._build(host, name, arguments["arguments"], sources)
            directory.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_suffix(".part")
            self._connection.fetch_file(_BUILT, str(unfinished))
            archive.image_id(unfinished)
            unfinished.replace(target)
            host.apply(f"rm -f {_BUILT}", root=False)
        if arguments["push"] and not self.check:
            self._push(host, name, arguments["push"])
        return {"changed": changed or bool(arguments["push"]), "archive": str(target)}

    def _build(self, host: Host, name: str, further: list[str], sources: list[tuple[str, bytes]]) -> None:
        files = [File(f"/pooler/{path}", content) for path, content in sources]
        words = " ".join(shlex.quote(word) for word in further)
        script = f"""
rm -f {_BUILT}
cd files/pooler
podman build --quiet --no-cache --format oci --tag {shlex.quote(name)} {words} --file Containerfile . >&2
podman save --quiet --format oci-archive --output {_BUILT} {shlex.quote(name)} >&2
chmod 0644 {_BUILT}
"""
        answer = host.apply(script, files, root=False)
        if answer.failed:
            raise HostError(f"{host.name}: the image could not be built: {answer.failed}")

    def _push(self, host: Host, name: str, destination: str) -> None:
        answer = host.apply(f"podman push --quiet {shlex.quote(name)} {shlex.quote(destination)} >&2", root=False)
        if answer.failed:
            raise HostError(f"{host.name}: the image could not be pushed to {destination}: {answer.failed}")


def _sources(directory: Path) -> list[tuple[str, bytes]]:
    """What the image is built from: the package as it lies beside its Containerfile."""
    return [
        (str(path.relative_to(directory)), path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
