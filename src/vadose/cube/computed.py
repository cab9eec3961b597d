"""Features that a recipe may ask of a product beside what its reader gives."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose import features
from vadose.grid import Grid

Compute = Callable[..., xr.DataArray | xr.Dataset]

ON_PIXELS: dict[str, tuple[tuple[str, ...], Compute]] = {
    "slope": (("elevation",), features.slope),
    "aspect_cosine": (("elevation",), features.aspect_components),
    "aspect_sine": (("elevation",), features.aspect_components),
    "curvature": (("elevation",), features.curvature),
    "transformed_swir": (("reflectance_swir2",), features.transformed_swir),
    "ndvi": (("reflectance_red", "reflectance_nir"), features.ndvi),
    "evi": (("reflectance_blue", "reflectance_red", "reflectance_nir"), features.evi),
    "lswi": (("reflectance_nir", "reflectance_swir1"), features.lswi),
}
"""What is computed of a product's own pixels, before they are averaged: the variables it takes and its formula."""
ON_CELLS: dict[str, tuple[str, Compute]] = {"flow_accumulation": ("elevation", features.flow_accumulation)}
"""What is computed of a fixed variable on the cells of the cube, because it needs the whole area."""


def of_pixels(dataset: xr.Dataset, wanted: Iterable[str]) -> xr.Dataset:
    """A product's dataset, with the features that are wanted and that it has the variables for."""
    for name in wanted:
        needed, compute = ON_PIXELS.get(name, ((), None))
        if name not in dataset and compute and all(n in dataset for n in needed):
            made = compute(*(dataset[n] for n in needed))
            dataset = dataset.assign(made.data_vars if isinstance(made, xr.Dataset) else {name: made})
    return dataset


def of_cells(fields: dict[str, NDArray[Any]], wanted: dict[str, str], grid: Grid) -> dict[str, NDArray[Any]]:
    """Fields of fixed variables by our names, with the features that are wanted of them (their names: ours)."""
    for theirs, ours in wanted.items():
        needed, compute = ON_CELLS.get(theirs, ("", None))
        source = wanted.get(needed)
        if ours not in fields and compute and source in fields:
            coordinates = grid.coordinates().coords
            field = xr.DataArray(fields[source], dims=("y", "x"), coords=coordinates, attrs={"units": "m"})
            fields[ours] = np.asarray(compute(field), np.float32)
    return fields
