"""Grafana's dashboards of the role monitoring, written from Python: `python -m tools.dashboards` after a change."""
