"""Numbers as the engine's C library reads them: strtol with base 0, strtod, atoi, and printf's %g on the way back."""

from __future__ import annotations

import math
import re

# Blanks in front belong to the number for strtol, strtod and atoi alike.
_BLANKS = r"[ \t\n\v\f\r]*"
_INTEGER = re.compile(
    _BLANKS + r"(?P<sign>[+-]?)(?:"
    r"0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<binary>[01]+)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*))"
)
_DOUBLE = re.compile(
    _BLANKS + r"(?P<sign>[+-]?)(?:"
    r"(?P<decimal>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<hex>0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?)"
    r"|(?P<special>inf(?:inity)?|nan(?:\([0-9a-z_]*\))?))",
    re.IGNORECASE,
)
_LEADING = re.compile(_BLANKS + r"([+-]?[0-9]+)")
_LONG_BITS = 64
_INT_BITS = 32


def integer(text: str) -> int | None:
    """What strtol(text, 0) stores in a 32 bit int, or None when it does not take the whole text. 0100 is 64.

    0b11 is 3 since glibc 2.38, which Debian 13 has.
    """
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    bases = {"hex": 16, "binary": 2, "octal": 8, "decimal": 10}
    (number,) = (int(match[kind], base) for kind, base in bases.items() if match[kind])
    return _as_int(-number if match["sign"] == "-" else number)


def leading(text: str) -> int:
    """What atoi(text) returns: the number in front, or 0 when there is none."""
    match = _LEADING.match(text)
    return _as_int(int(match[1])) if match else 0


def is_time(text: str) -> bool:
    """Whether strtod takes the whole text and finds no negative number, nor one too large or too small to hold."""
    match = _DOUBLE.fullmatch(text)
    if match is None:
        return False
    if match["special"]:
        return match["sign"] != "-" or match["special"].lower().startswith("nan")
    mantissa = re.split(r"[pP]", match["hex"][2:])[0] if match["hex"] else re.split(r"[eE]", match["decimal"])[0]
    if not mantissa.strip("0."):
        return True  # zero, even a negative one
    return match["sign"] != "-" and 0 < _double(match) < math.inf


def shown_time(text: str) -> str:
    """A time as SHOW CONFIG prints it: cut to microseconds, then six significant digits."""
    match = _DOUBLE.fullmatch(text)
    if match is None or match["special"]:
        return text.strip().lower()
    microseconds = _double(match) * 1_000_000
    return f"{int(microseconds) / 1_000_000 if math.isfinite(microseconds) else microseconds:g}"


def _double(match: re.Match[str]) -> float:
    """Raises nothing: what is too large is infinite."""
    try:
        return float.fromhex(match["hex"]) if match["hex"] else float(match["decimal"])
    except OverflowError:
        return math.inf


def _as_int(number: int) -> int:
    """A long, kept within its bounds as strtol does, then cut to an int as the engine does."""
    limit = 1 << (_LONG_BITS - 1)
    bounded = max(-limit, min(limit - 1, number))
    half = 1 << (_INT_BITS - 1)
    return (bounded + half) % (2 * half) - half
