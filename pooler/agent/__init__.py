"""The daemon beside the instances: it points them at the leader, pauses them when there is none, and says how they are."""
