"""Speed and scale, measured beside others: `make bench`."""
