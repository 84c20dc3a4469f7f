"""Trouble that a person can act on: one line first, details below."""

from __future__ import annotations


class LabError(Exception):
    """Shown without a traceback; the first line says what is wrong and what to do."""
