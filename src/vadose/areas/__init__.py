"""Named areas: US counties and states, own polygons, and the means of cells inside them."""

from vadose.areas.borders import outlines
from vadose.areas.cells import coverage, means
from vadose.areas.named import Area, counties, county_at, find, states
from vadose.areas.own import own_areas

__all__ = ["Area", "counties", "county_at", "coverage", "find", "means", "outlines", "own_areas", "states"]
