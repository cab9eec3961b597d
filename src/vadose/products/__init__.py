"""Products: where each is published, how its files are named and read."""
