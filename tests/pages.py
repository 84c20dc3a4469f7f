"""The examples in docs/: blocks of a page by their language."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"(?ms)^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$")


def blocks(page: str, language: str) -> list[str]:
    """Of docs/PAGE.md, in order, each without its indentation."""
    found = _BLOCK.finditer((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    return [textwrap.dedent(match["text"]) for match in found if match["language"] == language]
