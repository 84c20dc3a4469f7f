"""Load with bookkeeping: what clients feel while something happens to the pooler. `python -m pooler.drill` runs it."""
