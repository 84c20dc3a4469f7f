"""The collection is imported as Ansible does it, from the link below build/."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

# How long an example takes is the machine's business.
settings.register_profile("pgfleet", deadline=None)
settings.load_profile("pgfleet")

sys.path.insert(0, str(Path(__file__).parents[2] / "build"))
