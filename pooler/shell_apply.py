"""What changes a pooler host: scripts that carry out a plan. POSIX sh, no Python.

They run after the prelude of the host room, in a directory that holds the new files below `files/`. Each step can be
run again: a script that was cut off anywhere leaves instances that serve, and a state that the next plan completes.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Sequence

from .agent.config import CONFIG, DRAINING, HOSTS_DIRECTORY, STATE
from .bundle import CONFIGURATION, CURRENT, DATABASES, RELEASES, RUNTIME
from .commands import quoted
from .files import File
from .model import Pooler
from .plan import Plan
from .shell import ENTER, PORT, UNFINISHED, ask_consoles, asked, psql, read
from .shell_put import PUT
from .units import AGENT, SOCKET, SYSCTL, TMPFILES, UNITS

_WANTS = "/etc/systemd/system/sockets.target.wants"
_TRIAL = "pgbouncer-trial"
_TROUBLE = " (WARNING|ERROR|FATAL) "
"""Lines of the engine's log in which it complains."""

_LATE = "/run/systemd/system/pgbouncer@$1.service.d"
"""Where systemd is told to wait longer before it starts an instance anew: while that is drained."""


def trial(pooler: Pooler, release: str) -> str:
    """Start the new files in a container of their own: no network, private sockets. Its answers are in `consoles`.

    It sees a copy of the configuration with the new files in it; what the instances read is not touched. All that is
    asked there is asked by the one process that podman starts: each further one would cost as much as the engine.
    """
    console = pooler.consoles[0]
    return f"""mkdir -p etc sockets/{console}
[ ! -d {CONFIGURATION} ] || cp -a {CONFIGURATION}/. etc/
[ ! -d files{CONFIGURATION} ] || cp -a files{CONFIGURATION}/. etc/
chmod 0755 . etc etc/releases etc/releases/{release} etc/databases
chown -R {pooler.uid}:{pooler.uid} sockets
section "step trial"
podman run --rm --replace --name {_TRIAL} --stop-timeout=0 --pull=never --network=none \\
  --user {pooler.uid}:{pooler.uid} --read-only --cap-drop=all --security-opt=no-new-privileges --log-driver=none \\
  --volume "$PWD/etc:{CONFIGURATION}:ro,z" --volume "$PWD/sockets:{RUNTIME}:z" --entrypoint sh \\
  {shlex.quote(pooler.image)} -c {shlex.quote(_tried(pooler, release))} - {console} >/dev/null || {{
  [ ! -f sockets/log ] || grep -E '{_TROUBLE}' sockets/log >&2 || cat sockets/log >&2
  exit 1; }}
{_tools(pooler)}section consoles
cat sockets/consoles
section words
grep -E '{_TROUBLE}' sockets/log || :
"""


def _tried(pooler: Pooler, release: str) -> str:
    """Runs in the container, and leaves what it found beside the sockets. Fails when the engine does not come up."""
    console = pooler.consoles[0]
    return f"""cd {RUNTIME} || exit
pgbouncer {RELEASES}/{release}/{console}.ini >log 2>&1 &
tries=0
until [ -S {console}/.s.PGSQL.{pooler.port} ]; do
  tries=$((tries + 1))
  [ $tries -lt 400 ] && kill -0 $! 2>/dev/null || exit 1
  sleep 0.05
done
! command -v pooler >/dev/null || : >tools
{{ {ask_consoles(asked(pooler))}; }} >consoles 2>/dev/null
:"""


def _tools(pooler: Pooler) -> str:
    """What only an image with our package can do: give ports back that systemd has opened, run the agent."""
    needed = [
        words
        for words, used in (("dispatch: socket", pooler.dispatch == "socket"), ("the agent", pooler.agent))
        if used
    ]
    if not needed:
        return ""
    who = " and ".join(needed)
    return f"""[ -e sockets/tools ] || {{
  echo "the image has no command pooler, without which {who} cannot be; take our image, or do without" >&2
  exit 1; }}
"""


def apply(pooler: Pooler, plan: Plan, release: str, hosts: bytes | None) -> str:
    """Everything but restarts and removals, which come one after the other; then print what `read` prints.

    New instances start before any restart, so that there is always one to take new clients.
    `hosts` is the hosts file that the plan was made from: when the agent has changed it meanwhile, nothing is done and
    there is a section `moved`.
    """
    steps = []
    if any(file.path == DATABASES for file in plan.write):
        steps += [f"own {hashlib.sha256(hosts).hexdigest() if hosts is not None else ''}"]
    if AGENT in plan.delete:
        steps += ["systemctl stop pgbouncer-agent.service"]
    later = [*(f"reconnect {name}" for name in plan.reconnect), *(f"expel {name}" for name in plan.expel)]
    if later:
        steps += [f"remember {shlex.join(later)}"]
    steps += [f"put {shlex.join(file.path for file in plan.write)}"] if plan.write else []
    if plan.delete:
        steps += [f"rm -f {' '.join(plan.delete)}"]
    if SOCKET in plan.delete:
        steps += [f"rm -f {_WANTS}/pgbouncer@*.socket"]
    steps += _units(pooler) if plan.units else []
    if plan.switch:
        steps += [f"switch {release}"]
    steps += [f"reload {' '.join(map(str, plan.reload))}"] if plan.reload else []
    for console in plan.reload:
        steps += [f"console {console} {shlex.quote(f'RECONNECT {quoted(name)}')}" for name in plan.reconnect]
        steps += [f"expel {console} {shlex.quote(name)}" for name in plan.expel]
    if later:
        steps += [f"rm -f {UNFINISHED}"]
    steps += ["disown"]
    if plan.together:
        steps += [f"stop {console}" for console in plan.restart]
        steps += [f"start {console}" for console in plan.restart]
    steps += [f"start {console}" for console in plan.start]
    steps += ["agent"] if plan.agent else []
    steps += [f"rm -f {DRAINING}"] if plan.back else []
    return f"{functions(pooler)}\n{_lines(steps)}\ntidy\n{read(pooler)}"


def restart(pooler: Pooler, console: int, *, sockets: bool) -> str:
    """One instance: new clients to the others, its own until the deadline, then anew; then print what `read` prints.

    `sockets`: the socket unit has changed. Without that, an instance that is alone keeps its ports open, so that new
    clients wait for it, and ends its clients' connections between transactions at once.
    """
    alone = pooler.instances == 1 and pooler.dispatch == "socket" and not sockets
    steps = f"again {console}" if alone else f"drain {console}\nstop {console}\nstart {console}"
    return f"{functions(pooler)}\n{steps}\n{read(pooler)}"


def take_away(pooler: Pooler, console: int) -> str:
    """One instance that is more than wanted: drained, stopped, forgotten; then print what `read` prints."""
    steps = f"disable {console}\ndrain {console}\nstop {console}\nsystemctl daemon-reload"
    return f"{functions(pooler)}\n{steps}\n{read(pooler)}"


def out(pooler: Pooler, consoles: Sequence[int]) -> str:
    """Every instance at once: its ports close, its clients leave until the deadline, it stops and stays stopped.

    The agent says so first, for as long as a load balancer needs to hear of it.
    """
    begin = [
        f"mkdir drain.{console}; disable {console}; (cd drain.{console}; drain {console}; stop {console}) "
        f'> said.{console} 2>&1 & waiting="$waiting $!"'
        for console in consoles
    ]
    return f"""{functions(pooler)}
[ ! -d {STATE} ] || {{ : > {DRAINING}; sleep {pooler.drain_notice}; }}
waiting= ended=0
{_lines(begin)}
for each in $waiting; do wait "$each" || ended=1; done
cat said.*
[ $ended = 0 ] || {{ cat said.* >&2; exit 1; }}
systemctl daemon-reload
{read(pooler)}"""


def back(
    pooler: Pooler,
    files: Sequence[File],
    delete: Sequence[str],
    release: str,
    reload: Sequence[int],
    anew: Sequence[int],
    extra: Sequence[int],
    agent: bool,
    agent_anew: bool,
) -> str:
    """The way back: files and release as they were; instances reloaded, started anew, or, when `extra`, taken away.

    `agent`: there was one before; `agent_anew`: what it was told has been changed.
    """
    steps = [] if agent else ["systemctl stop pgbouncer-agent.service 2>/dev/null || :"]
    steps += [f"put {shlex.join(file.path for file in files)}"] if files else []
    steps += [f"rm -f {shlex.quote(path)}" for path in delete]
    steps += [f"switch {release}", f"rm -f {UNFINISHED}"]
    steps += [f"enable {console}" for console in (*reload, *anew)]
    steps += [f"disable {console}; stop {console}" for console in extra]
    steps += [f"systemd-tmpfiles --create {TMPFILES}", "systemctl daemon-reload"]
    steps += [f"reload {console} || :" for console in reload]
    steps += [f"stop {console}; start {console} || :" for console in anew]
    steps += ["agent || :"] if agent and agent_anew else []
    return f"{functions(pooler)}\n{_lines(steps)}\n{read(pooler)}"


def remove(pooler: Pooler, plan: Plan) -> str:
    """Stop and take away every instance and every file that `apply` has written."""
    steps = ["systemctl stop pgbouncer-agent.service 2>/dev/null || :"]
    steps += [f"disable {console}; stop {console}" for console in plan.remove]
    steps += [
        f"rm -rf {RELEASES} {CURRENT} {HOSTS_DIRECTORY} {CONFIG.rpartition('/')[0]} {RUNTIME} {STATE}",
        f"rm -f {' '.join(UNITS)} {TMPFILES} {SYSCTL} {UNFINISHED}",
        f"rmdir {CONFIGURATION} 2>/dev/null || :",
        "systemctl daemon-reload",
        "systemctl reset-failed 'pgbouncer@*' 2>/dev/null || :",
    ]
    return f"{functions(pooler)}\n{_lines(steps)}\n"


def _lines(steps: Iterable[str]) -> str:
    return "\n".join(steps)


def _units(pooler: Pooler) -> list[str]:
    return [
        f"systemd-tmpfiles --create {TMPFILES}",
        # Where the kernel's settings are read-only, connections that queue at a stopping instance are reset.
        f"/usr/lib/systemd/systemd-sysctl {SYSCTL} || :",
        *(f"enable {console}" for console in pooler.consoles),
        "systemctl daemon-reload",
    ]


def functions(pooler: Pooler) -> str:
    """The steps of all scripts, as functions of sh."""
    values = {
        "@UID@": str(pooler.uid),
        "@DRAIN@": str(pooler.drain_timeout),
        "@TRANSACTIONS@": str(pooler.transaction_timeout),
    }
    text = _FUNCTIONS
    for name, value in values.items():
        text = text.replace(name, value)
    return text


_RELOAD = f"""{PORT}
for console in "$@"; do
  {psql("$console")} -v ON_ERROR_STOP=1 -c RELOAD >/dev/null || echo "$console"
done"""
"""Runs in a container, and prints who does not do so."""

_FUNCTIONS = f"""
{PORT}
{ENTER}
began=$(date +%s)
separator=$(printf '\\037')
{PUT}
switch() {{
  [ "$(readlink {CURRENT})" != "releases/$1" ] || return 0
  ln -sfn "releases/$1" {CURRENT}.new && mv -T {CURRENT}.new {CURRENT} && sync {CONFIGURATION}
}}
remember() {{
  printf '%s\\n' "$@" > {UNFINISHED}.new && mv -T {UNFINISHED}.new {UNFINISHED}
}}
own() {{  # the hosts file is ours until disown, unless it is no longer the one that the plan was made from
  (umask 022; mkdir -p {HOSTS_DIRECTORY})
  exec 7< {HOSTS_DIRECTORY}
  flock --timeout 30 7 || {{ echo "{HOSTS_DIRECTORY} is locked by another" >&2; return 1; }}
  [ ! -f {DATABASES} ] && [ -z "$1" ] || [ "$(sha256sum < {DATABASES})" = "$1  -" ] || {{
    section moved; echo "{DATABASES} has changed meanwhile" >&2; return 1; }}
}}
disown() {{
  exec 7<&-
}}
agent() {{
  section "step agent"
  systemctl reset-failed pgbouncer-agent.service 2>/dev/null || :
  systemctl restart pgbouncer-agent.service || {{
    journalctl --quiet --no-pager --output=cat --since "@$began" --unit pgbouncer-agent.service | tail -n 8 >&2
    return 1; }}
}}
enable() {{
  unit="/etc/containers/systemd/pgbouncer@$1.container"
  [ "$(readlink "$unit")" = pgbouncer@.container ] || ln -sfn pgbouncer@.container "$unit"
  [ ! -f {SOCKET} ] || systemctl enable --quiet --no-reload "pgbouncer@$1.socket"
}}
disable() {{
  rm -f "/etc/containers/systemd/pgbouncer@$1.container" "{_WANTS}/pgbouncer@$1.socket"
}}
console() {{
  said=$(timeout 60 $(enter "$1") {psql("$1")} -v ON_ERROR_STOP=1 -c "$2" 2>&1 >/dev/null) && return 0
  printf '%s\n' "$said" >&2
  return 1
}}
reload() {{  # instances, by one process in the first of them
  section "step reload $*"
  refused=$(timeout 60 $(enter "$1") sh -c {shlex.quote(_RELOAD)} - "$@") || refused=$*
  [ -n "$refused" ] || return 0
  for each in $refused; do journal "$each"; done
  return 1
}}
expel() {{  # the sessions of a user end; logins that began before the RELOAD are waited for, since they still get in
  section "step expel $1 $2"
  begun=$(sessions "$1" "$2" cl_login); ends=$(($(date +%s) + 70))
  while :; do
    left=
    for id in $(sessions "$1" "$2" cl_login); do case " $begun " in *" $id "*) left=$id;; esac; done
    for id in $(sessions "$1" "$2" cl_active) $(sessions "$1" "$2" cl_waiting); do
      console "$1" "KILL_CLIENT $id" 2>/dev/null || :
    done
    [ -n "$left" ] && [ "$(date +%s)" -lt $ends ] || break
    sleep 0.2
  done
}}
sessions() {{  # console, user, state: the ids on one line, those of our own consoles left out
  $(enter "$1") {psql("$1")} -A -F "$separator" -P footer=off -c 'SHOW SOCKETS' | cat > sockets
  (
    set -f; IFS=$separator; columns=; ids=; wanted_user=$2; wanted_state=$3
    while read -r line; do
      set -- $line
      if [ -z "$columns" ]; then
        columns=$#; at=0
        for name in "$@"; do
          at=$((at + 1))
          case $name in
            user) user_at=$at;; state) state_at=$at;; id) id_at=$at;; database) database_at=$at;; addr) addr_at=$at;;
          esac
        done
      else
        eval "user=\\${{$user_at}} state=\\${{$state_at}} id=\\${{$id_at}} place=\\${{$database_at}}/\\${{$addr_at}}"
        case $user/$place in pgbouncer/pgbouncer/unix*) continue;; esac
        [ "$user" = "$wanted_user" ] && [ "$state" = "$wanted_state" ] && ids="$ids $id"
      fi
    done < sockets
    printf '%s\n' "${{ids# }}"
  )
}}
stop() {{
  section "step stop $1"
  systemctl stop "pgbouncer@$1.socket" 2>/dev/null || :
  systemctl stop "pgbouncer@$1.service"
  rm -rf "{RUNTIME}/$1" "{_LATE}"
}}
start() {{
  section "step start $1"
  rm -rf "{_LATE}"
  loaded "$1" || systemctl daemon-reload
  systemd-tmpfiles --create {TMPFILES}
  systemctl reset-failed "pgbouncer@$1.service" 2>/dev/null || :
  # A socket unit without its service may have lost the unix socket's path.
  [ ! -f {SOCKET} ] || {{ systemctl stop "pgbouncer@$1.socket"; systemctl start "pgbouncer@$1.socket"; }}
  systemctl start "pgbouncer@$1.service" && answers "$1" || {{ withdraw "$1"; return 1; }}
}}
loaded() {{  # whether systemd has read the units of an instance as they are now
  [ "$(systemctl show --property=LoadState --value "pgbouncer@$1.service")" = loaded ] &&
    ! systemctl show --property=NeedDaemonReload "pgbouncer@$1.service" "pgbouncer@$1.socket" | grep -q yes
}}
withdraw() {{  # who waits at an instance that does not come up is better served by the others, if there are any
  if systemctl list-units --plain --no-legend --state=active 'pgbouncer@*.service' | grep -qv "^pgbouncer@$1"; then
    systemctl stop "pgbouncer@$1.socket" 2>/dev/null || :
    systemctl stop --no-block "pgbouncer@$1.service"
  fi
  journal "$1"
}}
again() {{
  section "step restart $1"
  systemctl restart "pgbouncer@$1.service" && answers "$1" || {{ journal "$1"; return 1; }}
}}
answers() {{  # an engine that systemd does not hear of (sd_notify) is ready when its console is; at most 15 s
  [ ! -f {SOCKET} ] || return 0
  tries=0
  until console "$1" 'SHOW VERSION' 2>/dev/null; do
    tries=$((tries + 1)); [ $tries -lt 150 ] || return 1; sleep 0.1
  done
}}
journal() {{  # the engine's own complaints, or else what systemd and podman say
  said=$(journalctl --quiet --no-pager --output=cat --since "@$began" --unit "pgbouncer@$1.service")
  printf '%s\\n' "$said" | grep -E '{_TROUBLE}' >&2 || printf '%s\\n' "$said" | tail -n 8 >&2
}}
tidy() {{  # the release before this one stays, for the way back
  (cd {RELEASES} && ls -1t | tail -n +4 | while read -r old; do
    [ "releases/$old" = "$(readlink {CURRENT})" ] || rm -rf "./$old"; done)
}}

# Draining goes over one console session that is opened beforehand, since a stopping engine takes no new ones. The
# session itself counts as a client, so that the engine stays until it ends.
drain() {{
  section "step drain $1"
  podman container exists "pgbouncer-$1" || return 0
  # Its end is no reason to start it anew, unless we are no longer there to do it.
  mkdir -p "{_LATE}"
  printf '[Service]\\nRestartSec=15s\\n' > "{_LATE}/drain.conf"
  systemctl daemon-reload
  rm -f ask; mkfifo ask; : > said
  serving=$(port "$1")  # its socket is gone when it stops
  podman exec -i "pgbouncer-$1" {psql("$1")} -A -t < ask >> said 2>&1 &
  session=$!; asked=0
  exec 8> ask
  if tell 'SHOW VERSION'; then
    # First: what would still come in on a port that a stopping engine no longer looks at would wait for it.
    release "$1" "$serving"
    tell 'SHUTDOWN WAIT_FOR_CLIENTS' && systemctl stop "pgbouncer@$1.socket" 2>/dev/null || :
    leave "$1"
  fi
  exec 8>&-
  wait $session || :
  timeout 10 podman wait "pgbouncer-$1" >/dev/null 2>&1 || :
}}
tell() {{  # a statement to the open session; returns when it is answered, fails when the session is over
  asked=$((asked + 1))
  printf '%s;\\n\\\\echo answered %s\\n' "$1" "$asked" >&8 || return 1
  until grep -q "^answered $asked\\$" said; do kill -0 $session 2>/dev/null || return 1; sleep 0.02; done
}}
clients() {{  # how many there are beside this session
  : > said
  tell 'SHOW LISTS' || return 1
  left=$(($(sed -n 's/^used_clients|//p' said) - 1))
}}
leave() {{  # all clients of their own accord; then between transactions; then all; the clock has whole seconds
  ends=$(($(date +%s) + @DRAIN@))
  while clients && [ $left -gt 0 ]; do
    [ "$(date +%s)" -le $ends ] || {{ hurry "$1"; return 0; }}
    sleep 0.1
  done
}}
hurry() {{
  echo "closed $left"
  tell 'SHUTDOWN WAIT_FOR_SERVERS' || return 0
  ends=$(($(date +%s) + @TRANSACTIONS@))
  while clients; do
    [ "$(date +%s)" -le $ends ] || {{
      : > said; tell 'SHOW SERVERS' || return 0
      echo "cut $(grep -c '|active|' said)"
      tell SHUTDOWN || :
      return 0
    }}
    sleep 0.1
  done
}}
release() {{  # podman's monitor holds the ports too; what queues there must move to the other instances
  [ -f {SOCKET} ] || return 0
  monitor=$(podman inspect --format '{{{{.State.ConmonPid}}}}' "pgbouncer-$1")
  image=$(podman inspect --format '{{{{.Image}}}}' "pgbouncer-$1")
  # While the host goes down systemd would make no cgroup for it.
  podman --cgroup-manager=cgroupfs run --rm --pull=never --pid=host --network=none --user 0:0 --read-only \\
    --cap-drop=all --cap-add=SYS_PTRACE --security-opt=label=disable --entrypoint pooler "$image" \\
    release-port "$monitor" "$2"
}}
"""
