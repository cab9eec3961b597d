"""Predictors of the third scenario of Rabiei et al. (2025), used by several benchmarks."""

DAILY = (
    "tb_h_filled",
    "tb_v_filled",
    "albedo_filled",
    "roughness_coefficient_filled",
    "vegetation_opacity_filled",
    "vegetation_water_content_filled",
    "surface_temperature_filled",
    "precipitation",
    "transformed_swir_filled",
)
FIXED = (
    "sand_fraction_5cm",
    "silt_fraction_5cm",
    "clay_fraction_5cm",
    "bulk_density_5cm",
    "land_cover",
    "elevation",
    "aspect_cosine",
    "aspect_sine",
    "curvature",
    "flow_accumulation",
)
