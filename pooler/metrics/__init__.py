"""What Prometheus is told: everything of the instances of a host and of the agent, asked when it asks."""
