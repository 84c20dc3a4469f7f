"""What an exercise, or a bad day, does to clients: everything on one page, second by second."""

from __future__ import annotations

from .board import Board, Panel, Query, Question, curve

_PACE = 'rate(pgbouncer_stats_sql_transactions_pooled_total{database!~"pgbouncer.*"}[$__rate_interval])'

BOARD = Board(
    "drill",
    "Drill",
    (
        Question(
            "Is it up?",
            (
                curve("Hosts that serve", 'pgfleet_ready{target="leader"}', "{{node}}", "bool_yes_no"),
                curve("Instances that reach the leader", "pgfleet_instance_ready", "{{instance}}", "bool_yes_no"),
                curve(
                    "Alerts that fire",
                    'count by (alertname) (ALERTS{alertstate="firing"}) or vector(0)',
                    "{{alertname}}",
                ),
            ),
        ),
        Question(
            "Who waits?",
            (
                curve("Longest wait", "pgfleet_instance_longest_wait_seconds", "{{instance}}", "s"),
                curve("Paused", "max by (instance) (pgfleet_instance_paused)", "{{instance}}", "bool_yes_no"),
                curve(
                    "Paused by the agent, of each second",
                    "sum by (node, reason) (rate(pgfleet_paused_seconds_total[$__rate_interval]))",
                    "{{node}}: {{reason}}",
                    "s",
                ),
            ),
        ),
        Question(
            "Is the load in balance?",
            (
                curve("Transactions", f"sum by (instance) ({_PACE})", "{{instance}}", "ops"),
                curve(
                    "Clients",
                    'sum by (instance) (pgbouncer_client_connections{database!~"pgbouncer.*"}) or vector(0)',
                    "{{instance}}",
                ),
                Panel(
                    "The busiest and the least busy",
                    (
                        Query(f"max(sum by (instance) ({_PACE}))", "most"),
                        Query(f"min(sum by (instance) ({_PACE}))", "least"),
                    ),
                    "ops",
                ),
            ),
        ),
        Question(
            "Who leads?",
            (
                curve("Takes writes", "max by (server) (pgfleet_server_writable)", "{{server}}", "bool_yes_no"),
                curve("Leader known", "pgfleet_leader_known", "{{node}}", "bool_yes_no"),
                curve("Timeline", "max(pgfleet_leader_timeline)", "timeline"),
            ),
        ),
    ),
)
