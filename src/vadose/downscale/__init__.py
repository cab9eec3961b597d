"""Soil moisture at 100 m and daily, learnt from stations."""
