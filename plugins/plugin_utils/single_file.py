# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One file on a host: read it, and put another in its place by one rename."""

from __future__ import annotations

import shlex
from typing import Any

from ...pooler.files import File
from ...pooler.observed import FoundFile, files
from ...pooler.shell_put import PUT
from .host import Host, HostError


def read(host: Host, path: str) -> FoundFile | None:
    """The file at an absolute path; None when there is none."""
    quoted = shlex.quote(path.lstrip("/"))
    answer = host.read(f"cd /\nsection file\n[ ! -f {quoted} ] || tar -czf - {quoted} | base64 -w 0")
    return files(answer.binary("file")).get(path)


def put(host: Host, file: File, found: FoundFile | None, check: bool) -> dict[str, Any]:
    """Make the file be as wanted; gives `changed` and `diff`. Content of a secret file stays out of the diff."""
    changed = found is None or (found.content, found.mode, found.owner) != (file.content, file.mode, file.owner)
    if changed and not check:
        answer = host.apply(f"{PUT}\nput {shlex.quote(file.path)}", [file])
        if answer.failed:
            raise HostError(f"{host.name}: {file.path}: {answer.failed}")
    before, after = (found.content.decode(errors="replace") if found else ""), file.content.decode()
    if file.secret:
        before, after = "", "(secret content, changed)\n" if changed else ""
    diff = {"before": before, "after": after, "before_header": file.path, "after_header": file.path}
    return {"changed": changed, "diff": [diff] if changed else []}
