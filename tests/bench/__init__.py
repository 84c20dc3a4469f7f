"""Speed and scale beside others, and beside the floor: `make bench`."""
