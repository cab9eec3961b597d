"""Formulas that turn variables into predictors and strata.

Optical indices of surface reflectance, indices of radar backscatter, terrain attributes, classes of soil
texture and land cover, and sums over past days. All of them take and return `xarray.DataArray`, also lazily;
values that cannot be in the unit asked for are refused, on lazy data when they are computed.
"""

from vadose.features.bucket import bucket_saturation
from vadose.features.classes import (
    IGBP_GROUPS,
    NLCD_GROUPS,
    TEXTURE_GROUPS,
    USDA_TEXTURE,
    igbp_group,
    nlcd_group,
    texture_group,
    usda_texture_class,
)
from vadose.features.derived import DERIVED, Derived, derive
from vadose.features.optical import evi, lswi, ndvi, ndwi, ndwi_gao, transformed_swir
from vadose.features.radar import FORMS, SPECKLE, cross_ratio, despeckle, dpsvim, from_decibel, polarization, to_decibel
from vadose.features.rain import antecedent_sum
from vadose.features.terrain import (
    aspect,
    aspect_components,
    aspect_cosine_mmnet,
    curvature,
    flow_accumulation,
    relief,
    slope,
)

__all__ = [
    "DERIVED",
    "FORMS",
    "IGBP_GROUPS",
    "NLCD_GROUPS",
    "SPECKLE",
    "TEXTURE_GROUPS",
    "USDA_TEXTURE",
    "Derived",
    "antecedent_sum",
    "aspect",
    "aspect_components",
    "aspect_cosine_mmnet",
    "bucket_saturation",
    "cross_ratio",
    "curvature",
    "derive",
    "despeckle",
    "dpsvim",
    "evi",
    "flow_accumulation",
    "from_decibel",
    "igbp_group",
    "lswi",
    "ndvi",
    "ndwi",
    "ndwi_gao",
    "nlcd_group",
    "polarization",
    "relief",
    "slope",
    "texture_group",
    "to_decibel",
    "transformed_swir",
    "usda_texture_class",
]
