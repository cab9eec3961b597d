"""What is read of a window of a map, and the layers that networks make of it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vadose.door.values import Outside
from vadose.models.domain import domain_distance
from vadose.models.mmnet import Features
from vadose.parallel.running import Running
from vadose.predict.calibration import Calibration, quantiles
from vadose.predict.map_features import MapFeatures
from vadose.predict.map_networks import Members

EXAMPLE = 64
"""Edge of the window in the middle of a map that says what rounding does [pixel]."""
Window = tuple[int, slice, slice]
"""Day, rows and columns."""


class Tile(NamedTuple):
    """Pixels of a window on a day: (row, column) which are mapped, their features, and histories they share."""

    kept: NDArray[np.bool_]
    snapshot: Tensor
    histories: list[tuple[Tensor, Tensor]]
    missing: NDArray[np.float64]
    outside: Outside


class Mapped(NamedTuple):
    """A window that was written: its day, pixels mapped, how many lack each feature, values outside the valid range.

    And what is to be said of the networks.
    """

    day: int
    pixels: int
    missing: NDArray[np.float64]
    outside: Outside
    notes: set[str]


class MapRun:
    """What is read of a window, and what is made of it."""

    def __init__(
        self,
        members: Members,
        features: MapFeatures,
        trained: dict[str, Any],
        calibrated: tuple[Calibration | None, str],
    ) -> None:
        networks = members.networks
        self.members, self.networks, self.features, self.notes = members, networks, features, set[str]()
        self.calibration, self.calibrated = calibrated
        names = features.names
        self.domain: dict[str, Tensor] | None = trained.get("domain")
        self.of_domain = [names.index(name) for name in trained["inputs"]["snapshot"]]
        self.columns = [[names.index(name) for name in network.features.snapshot] for network in networks]
        # Members that take the same series share its histories.
        spans = [(n.features.series, n.features.days, n.features.ends) for n in networks]
        self.spans = list(dict.fromkeys(spans))
        self.span_of = [self.spans.index(span) for span in spans]
        self.layers: tuple[str, ...] = ("soil_moisture",)
        if members.has_deviation:
            self.layers += ("soil_moisture_std",)
        if self.calibration is not None:
            self.layers += ("soil_moisture_quantile",)
        if self.domain is not None:
            self.layers += ("outside_training",)
        self.told = names + [f"{name}, series" for name in features.series_names]

    def settled(self, running: Running) -> Running:
        """How all members run, by the pixels and days to map and the rounding in the middle of the first map."""
        height, width = self.features.grid.shape

        def rounding() -> float:
            middle = (slice(max(cells - EXAMPLE, 0) // 2, (cells + EXAMPLE) // 2) for cells in (height, width))
            found = self.read(0, *middle)
            given = zip(self.networks, self.given(found), strict=True)
            return max(network.rounding(*of_network) for network, of_network in given)

        pixels = float(height * width * len(self.features.days))
        return running.settled(sum(network.work(pixels) for network in self.networks), rounding, self.notes.add)

    def read(self, day: int, rows: slice, columns: slice) -> Tile:
        """Which pixels of a window are mapped, and their features."""
        features = self.features
        kept = features.inside(rows, columns)
        snapshot, outside = features.snapshot(day, rows, columns)
        if features.own:
            kept &= np.isfinite(snapshot[features.own]).any(axis=0)
        found = [features.histories(Features((), *span), day, rows, columns) for span in self.spans]
        for series, which in found:
            if series.shape[2]:
                kept &= np.asarray(np.isfinite(series).any(axis=(1, 2)))[which]
        # (S, N) seen as (N, S): no copy where all are kept.
        pixels = snapshot.reshape(len(snapshot), -1) if kept.all() else snapshot[:, kept]
        histories, lacking = [], dict.fromkeys(features.series_names, 0.0)
        for (series, which), (names, _, _) in zip(found, self.spans, strict=True):
            chosen = which[kept]
            count = np.bincount(chosen, minlength=len(series))
            # Only histories that a mapped pixel has are encoded.
            position = np.cumsum(count > 0) - 1
            histories.append((torch.from_numpy(series[count > 0]), torch.from_numpy(position[chosen])))
            for name, gaps in zip(names, count @ np.isnan(series).mean(axis=1), strict=True):
                lacking[name] = max(lacking[name], gaps)
        missing = np.concatenate([np.isnan(pixels).sum(axis=1), list(lacking.values())])
        return Tile(kept, torch.from_numpy(pixels).T, histories, missing, outside)

    def given(self, tile: Tile) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What each member is given of a tile: features of pixels, histories, and which is each pixel's."""
        everything = list(range(len(self.features.names)))
        for columns, span in zip(self.columns, self.span_of, strict=True):
            yield tile.snapshot if columns == everything else tile.snapshot[:, columns], *tile.histories[span]

    def estimate(self, tile: Tile) -> dict[str, NDArray[np.float32]]:
        """Layers (row, column) of a tile, of quantiles (quantile, row, column)."""
        estimates = (network(*given) for network, given in zip(self.networks, self.given(tile), strict=True))
        mean, std = self.members.mixed((mean.numpy(), std.numpy()) for mean, std in estimates)
        values = {"soil_moisture": mean, "soil_moisture_std": std}
        if self.calibration is not None:
            values["soil_moisture_quantile"] = quantiles(mean, std, self.calibration)
        if self.domain is not None:
            values["outside_training"] = domain_distance(tile.snapshot[:, self.of_domain], self.domain).numpy()
        layers = {}
        for name in self.layers:
            layers[name] = np.full((*values[name].shape[:-1], *tile.kept.shape), np.nan, np.float32)
            layers[name][..., tile.kept] = values[name]
        return layers
