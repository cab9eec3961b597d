"""Forecasts, maps, outlooks and filled series: from a trained run to a store."""
