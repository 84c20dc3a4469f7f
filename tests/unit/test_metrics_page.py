"""The page of the metrics says what there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TOOL = Path(__file__).parents[2] / "tools/metrics_table.py"


def test_the_table_has_every_metric_as_the_code_tells_it() -> None:
    done = subprocess.run([sys.executable, str(_TOOL), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
