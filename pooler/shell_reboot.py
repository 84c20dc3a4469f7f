"""The drain before a reboot: a script that stays on the host and that systemd runs when the host goes down.

It is the drain of `shell_apply`, but for all instances at once and without systemd's help: every unit is about to be
stopped already, and waits for this script.
"""

from __future__ import annotations

from .agent.config import DRAINING, STATE
from .model import Pooler
from .shell_apply import functions

_MARGIN = 30


def seconds(pooler: Pooler) -> int:
    """How long it may take at most."""
    return pooler.drain_notice + pooler.drain_timeout + pooler.transaction_timeout + _MARGIN


def script(pooler: Pooler) -> str:
    """`up` takes back what `down` has left; `down` drains, but only when the host does go down."""
    return f"""# Clients leave every instance before the host goes down. pgbouncer-drain.service says `up` and `down`.
set -eu
export LC_ALL=C
section() {{ echo "$*"; }}
{functions(pooler)}
# All units are to be stopped when this script has ended: whoever asked systemd for one of them would wait for ever.
systemctl() {{ :; }}
case $1 in
  up)
    [ "$(cat {DRAINING} 2>/dev/null)" != reboot ] || rm -f {DRAINING}
    ;;
  down)
    [ "$(command systemctl is-system-running)" = stopping ] || exit 0
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    if [ -d {STATE} ] && [ ! -e {DRAINING} ]; then
      echo reboot > {DRAINING}
      sleep {pooler.drain_notice}
    fi
    for console in $(podman ps --filter 'name=^pgbouncer-[0-9]' --format '{{{{.Names}}}}' | sed 's/^pgbouncer-//'); do
      mkdir "drain.$console"
      (cd "drain.$console"; drain "$console") &
    done
    wait
    ;;
esac
"""
