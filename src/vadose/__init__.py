"""Soil-moisture forecasts and maps, with honest uncertainty."""
