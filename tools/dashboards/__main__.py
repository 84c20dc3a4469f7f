"""Write the dashboards where the role has them; `--check` fails when one of them is not what the code says."""

from __future__ import annotations

import sys
from pathlib import Path

from . import drill, fleet, instance, postgresql
from .board import rendered

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "roles/monitoring/files/dashboards"
BOARDS = (fleet.BOARD, instance.BOARD, postgresql.BOARD, drill.BOARD)


def main() -> int:
    wanted = {PLACE / f"{board.name}.json": rendered(board) for board in BOARDS}
    stray = set(PLACE.glob("*")) - set(wanted)
    if "--check" not in sys.argv[1:]:
        PLACE.mkdir(parents=True, exist_ok=True)
        for path in stray:
            path.unlink()
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    wrong = stray | {path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text}
    for path in sorted(wrong):
        where = path.relative_to(ROOT)
        print(f"{where} is not what the code says: run python -m tools.dashboards", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
