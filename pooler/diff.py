"""What `--diff` shows: the plan as a short table, then files before and after; of secret ones only that they change."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from .bundle import Bundle
from .observed import Observed
from .plan import Change, Plan

_HIDDEN = "(secret content)\n"


def files(before: Observed, wanted: Bundle, todo: Plan) -> list[dict[str, str]]:
    """In Ansible's form: `before`, `after` and their headers. A new release is compared with the one it replaces."""
    shown: list[dict[str, str]] = []
    if todo.changes:
        shown.append({"prepared": table(todo.changes)})
    old = {_stable(path, before.release): file for path, file in before.files.items()}
    for file in todo.write:
        found = old.get(_stable(file.path, wanted.release))
        was = found.content.decode(errors="replace").replace(before.release or "\0", "RELEASE") if found else ""
        becomes = file.content.decode().replace(wanted.release, "RELEASE")
        if file.secret:
            was, becomes = (
                was and _HIDDEN,
                _HIDDEN.replace("content", "content, changed" if was != becomes else "content"),
            )
        if was != becomes:
            name = _stable(file.path, wanted.release)
            shown.append({"before": was, "after": becomes, "before_header": name, "after_header": name})
    return shown


def table(changes: Sequence[Change]) -> str:
    """One line a change: effect, what, how it differs, and the instances that it is the same on."""
    lines: dict[tuple[str, str, str], list[int]] = {}
    for change in changes:
        instances = lines.setdefault((str(change.effect), change.what, change.why), [])
        instances += [change.instance] if change.instance else []
    width = max(len(effect) for effect, _what, _why in lines)
    return "".join(
        f"{effect:<{width}}  {what} {why}{f' ({_spelled(instances)})' if instances else ''}\n"
        for (effect, what, why), instances in lines.items()
    )


def _spelled(instances: Sequence[int]) -> str:
    return f"instance{'s' if len(instances) > 1 else ''} {', '.join(map(str, instances))}"


def _stable(path: str, release: str) -> str:
    """A path that stays the same from release to release."""
    head, name = posixpath.split(path)
    return f"{posixpath.dirname(head)}/RELEASE/{name}" if release and head.endswith(f"/{release}") else path
