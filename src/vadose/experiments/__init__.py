"""What is read from YAML, checked, and refused when unknown."""

from typing import TYPE_CHECKING, Any

from vadose.experiments.cube import CubeConfig, load_cube
from vadose.experiments.section import built_in

if TYPE_CHECKING:
    from vadose.experiments.forecasting import BlendConfig, Experiment, LayerConfig, RunConfig, load_experiment, quick

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


def __getattr__(name: str) -> Any:
    """Import what needs torch, which takes seconds, when it is first used: recipes of cubes do without."""
    if name not in __all__:
        raise AttributeError(f"module 'vadose.experiments' has no attribute {name!r}")
    from vadose.experiments import forecasting

    return getattr(forecasting, name)
