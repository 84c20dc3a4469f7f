"""Checks from end to end: facts are gathered at the edge, and pure functions of them give verdicts."""
