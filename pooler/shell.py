"""The scripts a pooler host runs: one that reads everything, one that carries out a plan. POSIX sh, no Python.

They run after the prelude of the host room, which defines `section`; the one that applies finds its files below
`files/` in the current directory.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from .bundle import CONFIGURATION, CURRENT, DATABASES, RELEASES, RUNTIME
from .model import Pooler
from .plan import Plan
from .units import CONTAINER, LABEL, SOCKET, SYSCTL, TMPFILES

_COMMANDS = ("VERSION", "CONFIG", "DATABASES")
_ALL_FILES = f"{CURRENT}/* {DATABASES} {CONTAINER} {SOCKET} {TMPFILES} {SYSCTL}"


def read(pooler: Pooler) -> str:
    """Print all that `observed` can parse, in sections. Changes nothing."""
    return f"""
cd /
section release
readlink {CURRENT} | sed 's|.*/||'
section leaves
readlink -f {pooler.tls_directory}/server/current || echo
readlink -f {pooler.tls_directory}/client/current || echo
section files
set --
for file in {_ALL_FILES}; do
  [ -f "$file" ] && path=$(readlink -f "$file") && set -- "$@" "${{path#/}}"
done
[ $# = 0 ] || tar -czf - "$@" | base64 -w 0
section image
podman image inspect --format '{{{{.Id}}}}' {shlex.quote(pooler.image)} 2>/dev/null || :
section units
systemctl show --property=Id,ActiveState 'pgbouncer@*.service' 'pgbouncer@*.socket'
section containers
containers=$(podman ps --no-trunc --filter 'name=^pgbouncer-[0-9]' \\
  --format '{{{{.Names}}}}|{{{{.ImageID}}}}|{{{{index .Labels "{LABEL}"}}}}')
printf '%s\\n' "$containers"
any=${{containers%%|*}}
section consoles
[ -z "$any" ] || timeout 60 podman exec "$any" sh -c {shlex.quote(_ask_consoles(pooler.port, _COMMANDS))} - \\
  $(printf '%s\\n' "$containers" | sed 's/|.*//; s/pgbouncer-//') 2>/dev/null || :
section leader
{_ask_leader(pooler)}
"""


def apply(pooler: Pooler, plan: Plan, release: str) -> str:
    """Carry out a plan, then print what `read` prints. When the engine refuses, the old files are back in force."""
    steps = [_FUNCTIONS.replace("@PORT@", str(pooler.port)).replace("@RELEASES@", RELEASES)]
    steps += [f"put {shlex.quote(file.path)}" for file in plan.write]
    if plan.delete:
        steps += [f"rm -f {' '.join(plan.delete)} /etc/systemd/system/sockets.target.wants/pgbouncer@*.socket"]
    if plan.units:
        steps += [f"systemd-tmpfiles --create {TMPFILES}", f"/usr/lib/systemd/systemd-sysctl {SYSCTL} || :"]
        steps += [f"enable {console}" for console in pooler.consoles]
        steps += [f"disable {console}" for console in plan.remove]
        steps += ["systemctl daemon-reload"]
    if plan.switch:
        steps += [f"switch {release}"]
    steps += [f"reload {console}" for console in plan.reload]
    steps += [f"stop {console}" for console in plan.remove]
    if plan.together:
        steps += [f"stop {console}" for console in plan.restart]
        steps += [f"start {console}" for console in (*plan.restart, *plan.start)]
    else:
        steps += [f"start {console}" for console in plan.start]
        steps += [f"stop {console}; start {console}" for console in plan.restart]
    steps += ["tidy"]
    return "\n".join(steps) + read(pooler)


def remove(plan: Plan) -> str:
    """Stop and take away every instance and every file that `apply` has written."""
    steps = [_FUNCTIONS]
    steps += [f"disable {console}; stop {console}" for console in plan.remove]
    steps += [
        f"rm -rf {RELEASES} {CURRENT} {CONFIGURATION}/databases {RUNTIME}",
        f"rm -f {CONTAINER} {SOCKET} {TMPFILES} {SYSCTL}",
        f"rmdir {CONFIGURATION} 2>/dev/null || :",
        "systemctl daemon-reload",
        "systemctl reset-failed 'pgbouncer@*' 2>/dev/null || :",
    ]
    return "\n".join(steps) + "\n"


def ask(port: int, commands: Sequence[str]) -> str:
    """Ask all running instances these SHOW commands; the answer is in section `consoles`."""
    return f"""
any=$({_RUNNING} | head -n 1)
section consoles
[ -z "$any" ] || timeout 60 podman exec "$any" sh -c {shlex.quote(_ask_consoles(port, commands))} - \\
  $({_RUNNING} | sed 's/pgbouncer-//')
"""


def command(port: int, statement: str, timeout: int) -> str:
    """Send a statement to one instance after the other; `timeout` is in seconds, for each."""
    return f"""
section instances
for name in $({_RUNNING}); do
  timeout {timeout} podman exec "$name" psql -X -q -v ON_ERROR_STOP=1 -h "{RUNTIME}/${{name#pgbouncer-}}" -p {port} \\
    -U pgbouncer -d pgbouncer -c {shlex.quote(statement)} >/dev/null || {{ echo "stopped at $name" >&2; exit 1; }}
  echo "${{name#pgbouncer-}}"
done
"""


_RUNNING = "podman ps --filter 'name=^pgbouncer-[0-9]' --format '{{.Names}}' | sort"


def _ask_consoles(port: int, commands: Sequence[str]) -> str:
    """Runs in a container: every console through its unix socket, as the uid that needs no password."""
    asked = " ".join(f'-c "\\echo @ $console {name}" -c "SHOW {name}"' for name in commands)
    return (
        'for console in "$@"; do PGCONNECT_TIMEOUT=3 timeout 10 '
        f"psql -X -q --csv -h {RUNTIME}/$console -p {port} -U pgbouncer -d pgbouncer {asked}; done"
    )


def _ask_leader(pooler: Pooler) -> str:
    """Patroni is asked from where the instances are: by a container that runs, or by one for this question alone."""
    if not pooler.patroni:
        return ":"
    leaf = f"{pooler.tls_directory}/client/current"
    question = " ".join(
        ["leader", "--ca", f"{leaf}/ca.crt", "--cert", f"{leaf}/tls.crt", "--key", f"{leaf}/tls.key"]
        + [shlex.quote(url) for url in pooler.patroni]
    )
    image = shlex.quote(pooler.image)
    return f"""
if [ -n "$any" ]; then timeout 30 podman exec "$any" pooler {question} 2>&1 || :
elif podman image exists {image}; then
  timeout 60 podman run --rm --pull=never --network=host --user {pooler.uid}:{pooler.uid} --read-only --cap-drop=all \\
    --volume {CONFIGURATION}:{CONFIGURATION}:ro,z --entrypoint pooler {image} {question} 2>&1 || :
fi"""


_FUNCTIONS = f"""
put() {{  # a file of the stream to its place, by one rename
  (umask 022; mkdir -p "${{1%/*}}")
  cp -p "files$1" "$1.new" && sync "$1.new" && mv -T "$1.new" "$1"
}}
switch() {{
  ln -sfn "releases/$1" {CURRENT}.new && mv -T {CURRENT}.new {CURRENT} && sync {CONFIGURATION}
}}
enable() {{
  ln -sfn pgbouncer@.container "/etc/containers/systemd/pgbouncer@$1.container"
  [ ! -f {SOCKET} ] || systemctl enable --quiet --no-reload "pgbouncer@$1.socket"
}}
disable() {{
  rm -f "/etc/containers/systemd/pgbouncer@$1.container"
  [ ! -f {SOCKET} ] || systemctl disable --quiet --no-reload "pgbouncer@$1.socket"
}}
console() {{
  timeout 60 podman exec "pgbouncer-$1" psql -X -q -v ON_ERROR_STOP=1 -h "{RUNTIME}/$1" -p @PORT@ -U pgbouncer \\
    -d pgbouncer -c "$2" >/dev/null
}}
reload() {{
  section "step reload $1"
  console "$1" RELOAD
}}
stop() {{  # new connections go to the others once its ports are closed
  section "step stop $1"
  systemctl stop "pgbouncer@$1.socket" 2>/dev/null || :
  systemctl stop "pgbouncer@$1.service"
  rm -rf "{RUNTIME}/$1"
}}
start() {{
  section "step start $1"
  systemd-tmpfiles --create {TMPFILES}
  systemctl reset-failed "pgbouncer@$1.service" 2>/dev/null || :
  [ ! -f {SOCKET} ] || systemctl start "pgbouncer@$1.socket"
  systemctl start "pgbouncer@$1.service" || {{ journal "$1"; return 1; }}
  answers "$1" || {{ journal "$1"; return 1; }}
}}
answers() {{  # an engine without sd_notify is ready when its console is; at most 15 s
  tries=0
  until console "$1" 'SHOW VERSION' 2>/dev/null; do
    tries=$((tries + 1)); [ $tries -lt 150 ] || return 1; sleep 0.1
  done
}}
journal() {{  # the engine's own complaints, or else what systemd and podman say
  said=$(journalctl --quiet --no-pager --output=cat --lines=40 --unit "pgbouncer@$1.service")
  printf '%s\n' "$said" | grep -E ' (WARNING|ERROR|FATAL) ' >&2 || printf '%s\n' "$said" | tail -n 8 >&2
}}
tidy() {{  # the release before this one stays, for the way back
  (cd @RELEASES@ && ls -1t | tail -n +4 | while read -r old; do
    [ "releases/$old" = "$(readlink {CURRENT})" ] || rm -rf "./$old"; done)
}}
"""
