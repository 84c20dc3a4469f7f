"""An existing PgBouncer, read from its files or its container's variables, as variables of an inventory."""
