"""USCRN daily station files (CRND0103)."""
