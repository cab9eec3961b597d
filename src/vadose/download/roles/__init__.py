"""Roles that an outlook needs filled, each by ordered sources that ask for no login: weather, soil, terrain, cover."""

from vadose.download.roles.access import Access, cache_folder, cache_size
from vadose.download.roles.ahead import weather_ahead
from vadose.download.roles.compare import Compared, crop_casma, drought_monitor, national_water_model
from vadose.download.roles.correction import corrected
from vadose.download.roles.ground import ground
from vadose.download.roles.past import past_weather, settled

__all__ = [
    "Access",
    "Compared",
    "cache_folder",
    "cache_size",
    "corrected",
    "crop_casma",
    "drought_monitor",
    "ground",
    "national_water_model",
    "past_weather",
    "settled",
    "weather_ahead",
]
