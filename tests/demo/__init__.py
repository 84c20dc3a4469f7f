"""A first look: a cluster of three, a pooler host with two instances, on one machine."""
