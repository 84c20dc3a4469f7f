"""The scripts of a container unit: one that reads everything, one that carries out a plan. POSIX sh, no Python.

They run after the prelude of the host room, which defines `section`; the one that applies finds its files below
`files/` in the current directory.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from .observed import files
from .quadlet import (
    LABEL,
    RECORDS,
    Observed,
    Plan,
    Quadlet,
    reloaded_record,
    reloading_digest,
    unit_path,
    watched_record,
)
from .shell_put import PUT

SECTIONS = ("files", "directories", "image", "unit", "container", "watched", "recorded", "reloaded", "ready", "spared")


def read(quadlet: Quadlet) -> str:
    """Print all that `observe` can parse, in sections. Changes nothing."""
    name, service = quadlet.name, quadlet.service
    paths = [unit_path(name), *(file.path for file in (*quadlet.restarting, *quadlet.reloading))]
    return f"""
command -v podman >/dev/null || {{ echo 'podman is not installed' >&2; exit 69; }}
cd /
section files
set --
for file in {shlex.join(paths)}; do [ ! -f "$file" ] || set -- "$@" "${{file#/}}"; done
[ $# = 0 ] || tar -czf - "$@" | base64 -w 0
section directories
{_stat(quadlet)}
section image
{f"podman image inspect --format '{{{{.Id}}}}' {shlex.quote(quadlet.image)} 2>/dev/null || :" if quadlet.image else ":"}
section unit
systemctl show --property=ActiveState --value {service}
section container
running=$(podman ps --no-trunc --filter 'name=^{name}$' --format '{{{{.ImageID}}}} {{{{.Label "{LABEL}"}}}}')
printf '%s\\n' "$running"
section watched
{f"sha256sum {shlex.join(quadlet.watched)} 2>/dev/null || :" if quadlet.watched else ":"}
section recorded
cat {watched_record(name)} 2>/dev/null || :
section reloaded
cat {reloaded_record(name)} 2>/dev/null || :
section ready
{_whether(quadlet, quadlet.wait)}
section spared
{_whether(quadlet, quadlet.spare)}
"""


def observe(sections: Mapping[str, str], archive: bytes) -> Observed:
    """What `read` printed; `archive` is the decoded section `files`."""
    image, _blank, label = sections["container"].strip().partition(" ")
    return Observed(
        files=files(archive),
        directories=dict(_directory(line) for line in sections["directories"].splitlines() if line),
        image_id=sections["image"].strip(),
        unit_state=sections["unit"].strip(),
        container_image=image,
        container_digest=label if image else None,
        watched=sections["watched"],
        recorded=sections["recorded"],
        reloaded=sections["reloaded"].strip(),
        ready=sections["ready"].strip() == "yes",
        spared=sections["spared"].strip() == "yes",
    )


def apply(quadlet: Quadlet, plan: Plan) -> str:
    """Carry out a plan. What can fail without harm comes first: the image, then directories and files."""
    image = shlex.quote(quadlet.image)
    steps = [_functions(quadlet)]
    if plan.restart and quadlet.guard:
        steps += ["section 'step guard'", "guard"]
    steps += ["section 'step pull'"]
    if plan.pull:
        steps += [f"podman pull --quiet {image} >/dev/null"]
    steps += ["section 'step write'"]
    steps += [
        f"directory {shlex.quote(directory.path)} {directory.mode:04o} {directory.owner}"
        for directory in plan.directories
    ]
    steps += [f"put {shlex.join(file.path for file in plan.write)}"] if plan.write else []
    if quadlet.unit in plan.write and not (plan.start or plan.restart):
        steps += ["systemctl daemon-reload"]
    if plan.start or plan.restart:
        steps += ["section 'step start'", "start"]
    if plan.wait:
        steps += ["section 'step wait'", "await"]
    if plan.reload:
        steps += ["section 'step reload'", "reload"]
    return "\n".join(steps) + "\n"


def remove(quadlet: Quadlet, plan: Plan) -> str:
    """Stop the container and take away everything the plan names."""
    service = quadlet.service
    steps = [f"if systemctl cat {service} >/dev/null 2>&1; then systemctl stop {service}; fi"]
    steps += [f"podman rm --force --ignore {quadlet.name} >/dev/null"]
    steps += [f"rm -f {shlex.quote(file.path)}" for file in (*quadlet.restarting, *quadlet.reloading)]
    steps += [f"rm -f {unit_path(quadlet.name)} {watched_record(quadlet.name)} {reloaded_record(quadlet.name)}"]
    steps += ["systemctl daemon-reload", f"systemctl reset-failed {service} 2>/dev/null || :"]
    for directory in (shlex.quote(directory.path) for directory in quadlet.directories):
        # A mount point stays, empty.
        steps += [f'rm -rf {directory} 2>/dev/null || [ -z "$(ls -A {directory})" ]']
    return "\n".join(steps) + "\n"


def _stat(quadlet: Quadlet) -> str:
    """One line a directory that is there: path, mode, owner; the group is compared as well."""
    if not quadlet.directories:
        return ":"
    # An empty mount point is all that can be left of a directory that is to be absent.
    gone = '{ mountpoint -q "$directory" && [ -z "$(ls -A "$directory")" ]; } || ' if quadlet.absent else ""
    return (
        f"for directory in {shlex.join(directory.path for directory in quadlet.directories)}; do\n"
        f'  [ ! -d "$directory" ] || {gone}stat --format=\'%n %a %u %g\' "$directory"\n'
        "done"
    )


def _directory(line: str) -> tuple[str, tuple[int, int]]:
    path, mode, user, group = line.rsplit(" ", 3)
    return path, (int(mode, 8), int(user) if user == group else -1)


def _whether(quadlet: Quadlet, command: tuple[str, ...]) -> str:
    """Print yes when there is a command and it succeeds in the running container."""
    return f'[ -z "$running" ] || ! {_exec(quadlet, command)} >/dev/null 2>&1 || echo yes' if command else ":"


def _exec(quadlet: Quadlet, command: tuple[str, ...]) -> str:
    return f"timeout 30 podman exec {quadlet.name} {shlex.join(command)} </dev/null"


def _functions(quadlet: Quadlet) -> str:
    name, service = quadlet.name, quadlet.service
    watched = shlex.join(quadlet.watched)
    note = f"sha256sum {watched} > {watched_record(name)}" if watched else ":"
    return f"""
directory() {{
  (umask 022; mkdir -p "$1")
  chown "$3:$3" "$1"
  chmod "$2" "$1"
}}
{PUT}
start() {{
  since=--since=@$(date +%s)
  systemctl daemon-reload
  systemctl reset-failed {service} 2>/dev/null || :
  systemctl restart {service} 2>"$staging/answer" || {{ journal 'did not start'; return 1; }}
}}
guard() {{
  {_exec(quadlet, quadlet.guard)} >"$staging/answer" 2>&1 || {{
    echo "{name} must not be restarted now:" >&2
    tail -n 3 "$staging/answer" >&2
    return 1
  }}
}}
await() {{
  limit=$(($(date +%s) + {quadlet.wait_timeout}))
  until {_exec(quadlet, quadlet.wait)} >"$staging/answer" 2>&1; do
    [ "$(systemctl is-active {service} || :)" != failed ] || {{ journal 'failed'; return 1; }}
    [ "$(date +%s)" -lt $limit ] || {{ journal 'is not ready after {quadlet.wait_timeout} s'; return 1; }}
    sleep 0.5
  done
}}
reload() {{
  {_exec(quadlet, quadlet.reload)} >"$staging/answer" 2>&1 || {{ journal 'could not be reloaded'; return 1; }}
  {note}
  echo {reloading_digest(quadlet)} > {reloaded_record(name)}
}}
journal() {{  # the trouble, the last answer, then what the container said, or systemd, or why there is no unit
  echo "{name} $1; its last words:" >&2
  [ ! -f "$staging/answer" ] || tail -n 3 "$staging/answer" >&2
  if systemctl cat {service} >/dev/null 2>&1; then
    said=$(journalctl --quiet --no-pager --output=cat --lines=50 $since _SYSTEMD_UNIT={service} |
      grep -vE ' m=[+][0-9.]+ (container|image|volume) |^conmon |^[0-9a-f]{{64}}$' | tail -n 7)
    [ -n "$said" ] || said=$(journalctl --quiet --no-pager --output=cat --lines=7 $since --unit {service})
  else
    said=$(/usr/lib/systemd/system-generators/podman-system-generator --dryrun 2>&1 >/dev/null |
      grep -v 'Loading source unit file' | tail -n 7)
  fi
  printf '%s\n' "$said" >&2
}}
since=
mkdir -p {RECORDS}
"""
