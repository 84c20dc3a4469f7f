"""The daemon beside the instances: points them at the leader, pauses them when there is none, says how they are."""
