"""Experiment files that come with the package."""
