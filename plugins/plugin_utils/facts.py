# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host says, as far as it decides about the files that it is to have."""

from __future__ import annotations

from ...pooler import bundle
from ...pooler.model import Pooler
from ...pooler.observed import Observed
from ...pooler.server import Server


def facts(pooler: Pooler, before: Observed) -> bundle.Facts:
    directory = pooler.tls_directory
    return bundle.Facts(
        leader=leader(pooler, before),
        replicas=pointed_at(pooler, before, "replica"),
        server_leaf=before.server_leaf or f"{directory}/server/current",
        client_leaf=before.client_leaf or f"{directory}/client/current",
        verifiers=before.verifiers(),
        users=before.users(),
        release=before.release,
        tombstones=before.tombstones(),
        running=before.running(),
        remembering=before.remembering(),
    )


def leader(pooler: Pooler, before: Observed) -> Server | None:
    """Given, or what Patroni says; the hosts file where an agent keeps it, or where Patroni cannot be reached."""
    return pooler.server or before.leader or pointed_at(pooler, before, "leader")


def pointed_at(pooler: Pooler, before: Observed, target: str) -> Server | None:
    if bundle.DATABASES not in before.files:
        return None
    names = [name for name, followed in bundle.targets(pooler).items() if followed == target]
    return bundle.pointed_at(before.files[bundle.DATABASES].content.decode(), names)
