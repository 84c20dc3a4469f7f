# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The answer to a read, as the package understands it."""

from __future__ import annotations

from ...pooler import observed
from ...pooler.agent.config import DRAINING, PAUSE
from ...pooler.observed import Observed
from .host import Answer


def observe(answer: Answer) -> Observed:
    """What a script of `shell.read` or `shell.look` printed; what was not asked is empty."""
    leaves = [*answer.lines("leaves"), "", ""]
    leader, trouble = observed.leader(answer.text("leader"))
    connections, untold = observed.max_connections(answer.text("connections"))
    units, containers = observed.units(answer.text("units")), observed.containers(answer.text("containers"))
    return Observed(
        release=answer.text("release").strip(),
        files=observed.files(answer.binary("files")),
        server_leaf=leaves[0],
        client_leaf=leaves[1],
        image_id=answer.text("image").strip(),
        instances=observed.instances(
            units, containers, observed.consoles(answer.text("consoles")), answer.lines("links")
        ),
        agent=observed.agent(units, containers),
        draining=DRAINING in answer.lines("marks"),
        held=PAUSE in answer.lines("marks"),
        unfinished=observed.unfinished(answer.lines("unfinished")),
        leader=leader,
        leader_trouble=trouble,
        max_connections=connections,
        connections_trouble=untold,
    )
