"""What is read from YAML, checked, and refused when unknown."""

from vadose.experiments.cube import CubeConfig, load_cube
from vadose.experiments.forecasting import BlendConfig, Experiment, LayerConfig, RunConfig, load_experiment, quick
from vadose.experiments.section import built_in

__all__ = [
    "BlendConfig",
    "CubeConfig",
    "Experiment",
    "LayerConfig",
    "RunConfig",
    "built_in",
    "load_cube",
    "load_experiment",
    "quick",
]
