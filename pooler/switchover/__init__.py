"""A planned switchover, or a restart of the leader, while the clients of every pooler host wait: none sees an error."""
