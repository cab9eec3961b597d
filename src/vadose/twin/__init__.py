"""A simulated world with known truth that writes files in the published formats; all of it says so."""
