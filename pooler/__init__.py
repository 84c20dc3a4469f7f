"""PgBouncer in front of Patroni: the desired state, its files, its plan. Nothing in here knows of Ansible."""

__version__ = "0.1.0"
