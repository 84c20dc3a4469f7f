"""What a pooler host is asked: everything in one script, consoles alone in another. POSIX sh, no Python.

Scripts run after the prelude of the host room, which defines `section`.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

from .agent.config import CONFIG, DRAINING, HOSTS_DIRECTORY, PAUSE, PAUSED, STATE
from .bundle import CONFIGURATION, CURRENT, DATABASES, RUNTIME
from .model import Pooler
from .units import CONTAINER, LABEL, SYSCTL, TMPFILES, UNITS

COMMANDS = ("VERSION", "CONFIG", "DATABASES")


def asked(pooler: Pooler) -> tuple[str, ...]:
    """Of consoles. SHOW USERS has a row for everybody in the userlist: it is asked only where users have settings."""
    return (*COMMANDS, "USERS") if any(user.settings for user in pooler.users) else COMMANDS


PORT = f'port() {{ for socket in {RUNTIME}/$1/.s.PGSQL.*; do echo "${{socket##*.}}"; return; done; }}'
"""A shell function: the port an instance serves, by its socket's name; the one it is to serve may be another."""


ENTER = """enter() {
  id=$(cat "/run/pgbouncer@$1.cid" 2>/dev/null)
  if [ "$(echo through | timeout 10 crun exec --no-new-privs "$id" cat 2>/dev/null)" = through ]
  then echo "crun exec --no-new-privs $id"
  else echo "podman exec pgbouncer-$1"; fi
}"""
"""A shell function: the command that runs another in the container of an instance. What that says goes through a pipe.

The OCI runtime enters in 8 ms, with the user, capabilities and seccomp filter of the container. Podman takes 110 ms to
start itself, its monitor and the same runtime; it is for hosts with another runtime, and for those whose SELinux policy
keeps a container from pipes of ours: then its monitor stands between. The id is from systemd's unit.
"""


def psql(console: str) -> str:
    """psql at the console of an instance, whose number is a word of the shell. Uses `PORT`."""
    return f'psql -X -q -h "{RUNTIME}/{console}" -p "$(port "{console}")" -U pgbouncer -d pgbouncer'


UNFINISHED = "/run/pgfleet.unfinished"
"""What a run has still to do once the new files are in force, for the next run to finish."""

_ALL_FILES = " ".join((f"{CURRENT}/*", DATABASES, CONFIG, *UNITS, TMPFILES, SYSCTL))


def read(pooler: Pooler) -> str:
    """Print all that `observed` can parse, in sections. Changes nothing."""
    return f"""
cd /
section leaves
readlink -f {pooler.tls_directory}/server/current || echo
readlink -f {pooler.tls_directory}/client/current || echo
{_state(shlex.quote(pooler.image), asked(pooler))}
section leader
{_ask_leader(pooler)}
section connections
{_ask_connections(pooler)}
"""


def look(commands: Sequence[str]) -> str:
    """As much of that as a host can say that is not told what it is to be; consoles are asked these SHOW commands."""
    return f"""
cd /
{_state(f'"$(sed -n s/^Image=//p {CONTAINER} 2>/dev/null)"', commands)}
"""


def _state(image: str, commands: Sequence[str]) -> str:
    """`image` is a word of the shell."""
    return f"""
section release
readlink {CURRENT} | sed 's|.*/||'
# While the agent changes the hosts file, file and consoles differ for a moment.
[ ! -d {HOSTS_DIRECTORY} ] || {{ exec 7< {HOSTS_DIRECTORY} && flock --shared --timeout 20 7; }}
section files
set --
for file in {_ALL_FILES}; do [ ! -f "$file" ] || set -- "$@" "$file"; done
[ $# = 0 ] || readlink -f "$@" | sed 's|^/||' | tar -czf - --files-from=- | base64 -w 0
section image
podman image inspect --format '{{{{.Id}}}}' {image} 2>/dev/null || :
section units
systemctl show --property=Id,ActiveState,LoadState,InvocationID \\
  'pgbouncer@*.service' 'pgbouncer@*.socket' pgbouncer-agent.service
section links
for link in {CONTAINER.removesuffix(".container")}[0-9]*.container; do [ ! -e "$link" ] || echo "${{link##*/}}"; done
section marks
for mark in {DRAINING} {PAUSE}; do [ ! -e $mark ] || echo $mark; done
section unfinished
[ ! -f {UNFINISHED} ] || cat {UNFINISHED}
for late in /run/systemd/system/pgbouncer@[0-9]*.service.d; do
  [ ! -d "$late" ] || {{ late=${{late#*@}}; echo "drain ${{late%%.*}}"; }}
done
section containers
containers=$(podman ps --no-trunc --filter 'name=^pgbouncer-[0-9]' --filter 'name=^pgbouncer-agent$' \\
  --format '{{{{.Names}}}}|{{{{.ImageID}}}}|{{{{index .Labels "{LABEL}"}}}}')
printf '%s\\n' "$containers"
numbers=$(printf '%s\\n' "$containers" | sed -n 's/^pgbouncer-\\([0-9]*\\)|.*/\\1/p')
{_ask_all(commands)}
[ ! -d {HOSTS_DIRECTORY} ] || exec 7<&-"""


def ask(commands: Sequence[str]) -> str:
    """Ask all running instances these SHOW commands; the answer is in section `consoles`."""
    return f"""
section paused
[ ! -f {PAUSED} ] || cat {PAUSED}
numbers=$(podman ps --filter 'name=^pgbouncer-[0-9]' --format '{{{{.Names}}}}' | sed 's/pgbouncer-//' | sort)
{_ask_all(commands)}
"""


def _ask_all(commands: Sequence[str]) -> str:
    """By one process in the first of `numbers`, which is left in `first`."""
    return f"""{ENTER}
first=${{numbers%%[!0-9]*}}
section consoles
[ -z "$first" ] ||
  timeout 60 $(enter "$first") sh -c {shlex.quote(ask_consoles(commands))} - $numbers 2>/dev/null | cat"""


def record(paused: Collection[str]) -> str:
    """Write down which databases an operator has paused, so that the agent keeps them so; none: no record."""
    if not paused:
        return f"rm -f {PAUSED}"
    lines = " ".join(shlex.quote(name) for name in sorted(paused))
    # The agent reads it as another user.
    written = f"(umask 022; printf '%s\\n' {lines} > {PAUSED}.new) && mv -T {PAUSED}.new {PAUSED}"
    return f"[ ! -d {STATE} ] || {{ {written}; }}"


def tell(told: Mapping[int, Sequence[str]], undo: Sequence[str], timeout: int) -> str:
    """Tell instances their statements, all at once; when one fails or takes longer, all of them get the undo.

    `timeout` is in seconds, for each instance. An admin who goes away does not take a PAUSE back, hence the undo.
    """
    lines = [PORT, "failed="]
    for console, statements in told.items():
        lines.append(f"timeout {timeout} {_told(console, statements)} >/dev/null & told_{console}=$!")
    lines += [f'wait $told_{console} || failed="$failed {console}"' for console in told]
    lines.append('if [ -n "$failed" ]; then')
    if undo:
        lines += [f"  timeout 10 {_told(console, undo)} >/dev/null 2>&1 || :" for console in told]
    lines += [f'  echo "no answer within {timeout} s, or a refusal, from:$failed" >&2; exit 1', "fi"]
    return "\n".join(lines)


def _told(console: int, statements: Sequence[str]) -> str:
    commands = " ".join(f"-c {shlex.quote(statement)}" for statement in statements)
    return f"podman exec pgbouncer-{console} {psql(str(console))} -v ON_ERROR_STOP=1 {commands}"


def ask_consoles(commands: Sequence[str]) -> str:
    """Runs in a container: every console through its unix socket, as the uid that needs no password."""
    asked = " ".join(f'-c "\\echo @ $console {name}" -c "SHOW {name}"' for name in commands)
    return f'{PORT}\nfor console in "$@"; do PGCONNECT_TIMEOUT=3 timeout 10 {psql("$console")} --csv {asked}; done'


def _ask_leader(pooler: Pooler) -> str:
    """Where an agent runs, it has asked already, and the hosts file says what it knows."""
    if not pooler.patroni:
        return ":"
    return f"""
if systemctl --quiet is-active pgbouncer-agent.service && [ -f {DATABASES} ]; then :  # the hosts file is the agent's
else
{_ask_patroni(pooler, "leader")}
fi"""


def _ask_connections(pooler: Pooler) -> str:
    """Only where the inventory wants pools to be counted, and does not say into what."""
    if not pooler.patroni or not pooler.capacity or pooler.capacity.max_connections is not None:
        return ":"
    return _ask_patroni(pooler, "connections")


def _ask_patroni(pooler: Pooler, command: str) -> str:
    """Patroni is asked from where the instances are: by a container that runs, or by one for this question alone."""
    leaf = f"{pooler.tls_directory}/client/current"
    question = " ".join(
        [command, "--ca", f"{leaf}/ca.crt", "--cert", f"{leaf}/tls.crt", "--key", f"{leaf}/tls.key"]
        + [shlex.quote(url) for url in pooler.patroni]
    )
    image = shlex.quote(pooler.image)
    return f"""if [ -n "$first" ]; then timeout 30 $(enter "$first") pooler {question} 2>&1 | cat
elif podman image exists {image}; then
  timeout 60 podman run --rm --pull=never --network=host --user {pooler.uid}:{pooler.uid} --read-only --cap-drop=all \\
    --volume {CONFIGURATION}:{CONFIGURATION}:ro,z --entrypoint pooler {image} {question} 2>&1 || :
fi"""
