"""A simulated world with known truth that writes files in the products' real formats."""
