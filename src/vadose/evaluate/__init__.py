"""Scoring of any store of predictions; knows no model."""
