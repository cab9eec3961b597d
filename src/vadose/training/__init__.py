"""Learning: the loop of networks, losses, alignment, trees, and several processes."""
