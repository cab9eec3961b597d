"""Splits, windows and series: from xarray to tensors."""
