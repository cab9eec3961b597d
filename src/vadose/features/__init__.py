"""Formulas that turn variables into predictors and strata.

Optical indices of surface reflectance, indices of radar backscatter, terrain attributes, classes of soil
texture and land cover, and sums over past days. All of them take and return `xarray.DataArray`, also lazily;
values that cannot be in the unit asked for are refused, on lazy data when they are computed.
"""

from vadose.features.bucket import bucket_saturation, with_buckets
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
from vadose.features.optical import evi, lswi, ndvi, ndwi, ndwi_gao, transformed_swir
from vadose.features.radar import FORMS, cross_ratio, dpsvim, from_decibel, polarization, to_decibel
from vadose.features.rain import antecedent_sum
from vadose.features.terrain import aspect, aspect_components, aspect_cosine_mmnet, curvature, flow_accumulation, slope

__all__ = [
    "FORMS",
    "IGBP_GROUPS",
    "NLCD_GROUPS",
    "TEXTURE_GROUPS",
    "USDA_TEXTURE",
    "antecedent_sum",
    "aspect",
    "aspect_components",
    "aspect_cosine_mmnet",
    "bucket_saturation",
    "cross_ratio",
    "curvature",
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
    "slope",
    "texture_group",
    "to_decibel",
    "transformed_swir",
    "usda_texture_class",
    "with_buckets",
]
