"""The collection is imported as Ansible does it, from the link below build/."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "build"))
