"""Forecasting models; torch only."""
