"""Write the table of all metrics into docs/metrics.md, from the code that tells them.

`python tools/metrics_table.py` after a change of a metric; `--check` fails when that was forgotten.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/metrics.md"
BEGIN, END = "<!-- metrics -->\n", "<!-- end of metrics -->\n"

sys.path.insert(0, str(ROOT))

from pooler.metrics import exporter, ours  # noqa: E402
from pooler.metrics.families import Family  # noqa: E402


def rendered(page: str) -> str:
    """The page with its table as it should be."""
    before, rest = page.split(BEGIN)
    _table, after = rest.split(END)
    parts = ("As the exporter has them", exporter.FAMILIES), ("Ours", ours.FAMILIES)
    return before + BEGIN + "\n".join(_part(title, families) for title, families in parts) + END + after


def _part(title: str, families: Iterable[Family]) -> str:
    rows = sorted(families, key=lambda family: family.name)
    lines = [f"| `{each.name}` | {each.kind} | {_labels(each)} | {each.help} |" for each in rows]
    return f"\n### {title}\n\n| name | type | labels | |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"


def _labels(family: Family) -> str:
    return ", ".join(f"`{label}`" for label in family.labels)


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    wanted = rendered(page)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif page != wanted:
        print(
            f"{PAGE.relative_to(ROOT)} is not what the code tells: run python tools/metrics_table.py", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
