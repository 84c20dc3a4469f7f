"""Secrets that a person types, or a script hands over by standard input; never by the arguments."""

from __future__ import annotations

import getpass
import sys


def secret(prompt: str) -> str:
    """From the terminal, without an echo, or the first line of standard input."""
    return getpass.getpass(f"{prompt}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
