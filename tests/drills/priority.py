"""Who stands back for the processors: designs beside ours, whose clients storm when the leader goes.

All share one small machine, which they would not anywhere else. What a storm costs is the stormy design's own to bear.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NICE = 19
"""What nobody else wants of the processors, and about a hundredth of the rest."""


def stand_back() -> None:
    """For `preexec_fn`, in a session of its own: by that the kernel shares out where sched_autogroup is on."""
    os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))
