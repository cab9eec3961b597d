"""Forecasts and training by windows, whole maps and tiles: seconds, and what windows change.

    OMP_NUM_THREADS=2 python benchmarks/full_map.py [--rows 120 --columns 160 | --conus] [--tile 112]
        [--precisions float32] [--steps 3] [--device cpu]
        [--ways windows whole tiles]

Random data (17 predictors, 3 days) and random weights, with the statistics of batch normalisation taken from the
data: the times are those of a trained network, the differences only show how far the border's padding reaches; what
it costs in skill is for a trained network to say. Prints one Markdown table.

- s a day: one forecast of the whole map, all leads. Windows of 8 cells at stride 2 are averaged with weights that
  rise toward their centre, as `vadose.predict.forecast` does; bf16 pays on processors with instructions for it alone.
- of processor: by time of the processor, summed over threads, which other work on the machine disturbs less.
- difference: from the whole map at once in float32, in standard deviations of that map; the largest, and the root
  mean square.
- by depth: the root mean square difference of single windows, not averaged, by distance of the cell from the
  window's edge (0, 1, 2, 3 cells), of windows that do not touch the map's border.
- trained cell-days/s: cells forecast a second in a step forward and backward; windows in batches of 32, a map or
  tile as one. Left out for maps of more than 25,000 cells, which want some 2 GB at a time.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.convlstm import ConvLSTM
from vadose.models.inputs import Channels, Inputs
from vadose.models.simvp import SimVP
from vadose.models.tiles import predict_tiles

CONUS = (282, 627)
TRAINED_AT_MOST = 25_000
DAYS, WINDOW, STRIDE, BATCH = 3, 8, 2, 32
# 14 daily and one static; sine and cosine of the season make them 17.
CHANNELS = Channels(("soil_moisture", *(f"predictor_{i}" for i in range(13))), ("clay",))
NETWORKS: dict[str, Callable[[], Any]] = {
    "ConvLSTM 4..256": lambda: ConvLSTM(CHANNELS),
    "ConvLSTM 16, 32, 64": lambda: ConvLSTM(CHANNELS, filters=(16, 32, 64)),
    "SimVP": lambda: SimVP(CHANNELS, look_back=DAYS),
}
PRECISIONS = ["float32", "bf16"]
WAYS = ["windows", "whole", "tiles"]


def random_map(rows: int, columns: int) -> Inputs:
    generator = torch.Generator(torch.get_default_device()).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(1, *shape, rows, columns, generator=generator)

    cell, day = (torch.tensor(at) for at in ([[0, 0]], [17000]))
    return Inputs(draw(DAYS, len(CHANNELS.history)), draw(len(CHANNELS.static)), None, day, cell)


def windows_of(inputs: Inputs, rows: Tensor, columns: Tensor) -> Inputs:
    """The windows that begin at given rows and columns, as one batch."""
    offset = torch.arange(WINDOW)
    of_rows, of_columns = (rows[:, None] + offset)[:, :, None], (columns[:, None] + offset)[:, None, :]
    return Inputs(
        inputs.history[0][..., of_rows, of_columns].permute(2, 0, 1, 3, 4),
        inputs.static[0][..., of_rows, of_columns].permute(1, 0, 2, 3),
        None,
        inputs.day.expand(len(rows)),
        torch.stack([rows, columns], dim=1),
    )


def corners(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    along = [np.unique([*range(0, cells - WINDOW + 1, STRIDE), cells - WINDOW]) for cells in (rows, columns)]
    row, column = np.meshgrid(*along, indexing="ij")
    return torch.tensor(row.ravel()), torch.tensor(column.ravel())


@torch.no_grad()
def by_windows(model: nn.Module, inputs: Inputs) -> Tensor:
    """The weighted mean of all windows that hold a cell."""
    rows, columns = corners(*inputs.history.shape[-2:])
    side = torch.minimum(torch.arange(WINDOW) + 1, WINDOW - torch.arange(WINDOW)).float()
    weight, offset = side[:, None] * side, torch.arange(WINDOW)
    total = torch.zeros(len(CHANNELS.leads), *inputs.history.shape[-2:])
    weights = torch.zeros(inputs.history.shape[-2:])
    for row, column in zip(rows.split(128), columns.split(128), strict=True):
        found = model(windows_of(inputs, row, column)).float()
        at = (
            (row[:, None] + offset)[:, :, None].expand(-1, -1, WINDOW),
            (column[:, None] + offset)[:, None, :].expand(-1, WINDOW, -1),
        )
        weights.index_put_(at, weight.expand(len(row), -1, -1), accumulate=True)
        for lead, of_lead in zip(total, found.unbind(1), strict=True):
            lead.index_put_(at, of_lead * weight, accumulate=True)
    return (total / weights)[None]


@torch.no_grad()
def by_depth(model: nn.Module, inputs: Inputs, whole: Tensor, margin: int) -> list[float]:
    """Root mean square difference of windows from the whole map, by distance of the cell from the window's edge."""
    height, width = inputs.history.shape[-2:]
    rows, columns = corners(height, width)
    inside = (rows >= margin) & (columns >= margin) & (rows + WINDOW <= height - margin)
    inside &= columns + WINDOW <= width - margin
    chosen = torch.nonzero(inside)[:, 0][:: max(1, int(inside.sum()) // 512)]
    rows, columns = rows[chosen], columns[chosen]
    here = whole[0][
        :, (rows[:, None] + torch.arange(WINDOW))[:, :, None], (columns[:, None] + torch.arange(WINDOW))[:, None, :]
    ].movedim(1, 0)
    square = (model(windows_of(inputs, rows, columns)) - here).square().mean(dim=(0, 1))
    side = torch.minimum(torch.arange(WINDOW), WINDOW - 1 - torch.arange(WINDOW))
    depth = torch.minimum(side[:, None], side)
    return [float(square[depth == d].mean().sqrt()) for d in range(WINDOW // 2)]


def corner(inputs: Inputs, edge: int) -> Inputs:
    return Inputs(*(t[..., :edge, :edge] if t is not None and t.dim() > 2 else t for t in inputs))


def settle(model: nn.Module, inputs: Inputs) -> nn.Module:
    """Take the statistics of normalisation from the data, so that no layer falls silent."""
    dropout = {layer: layer.p for layer in model.modules() if isinstance(layer, nn.Dropout2d)}
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
        elif layer in dropout:
            layer.p = 0.0
    with torch.no_grad():
        model.train()(corner(inputs, 64))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.0  # steps of training leave the statistics, and so the reference, alone
        elif layer in dropout:
            layer.p = dropout[layer]
    return model.eval()


def seconds(run: Callable[[], Any], steps: int) -> tuple[float, float, Any]:
    """Medians of some runs by the clock and by time of the processor, and what the last gave."""
    spent = []
    for _ in range(steps):
        start = np.array([time.perf_counter(), time.process_time()])
        result = run()
        if torch.get_default_device().type == "cuda":
            torch.cuda.synchronize()
        spent.append(np.array([time.perf_counter(), time.process_time()]) - start)
    clock, processor = np.median(spent, axis=0)
    return float(clock), float(processor), result


@contextmanager
def precision_of(name: str) -> Iterator[None]:
    with torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16, enabled=name == "bf16"):
        yield


def trained(model: nn.Module, batch: Inputs, name: str, steps: int) -> tuple[float, float]:
    """Cells forecast a second of the clock, and of the processor, in training."""
    shape = (len(batch.history), len(CHANNELS.leads), *batch.history.shape[-2:])
    target = torch.randn(shape)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with precision_of(name):
            loss = functional.mse_loss(model(batch), target)
        loss.backward()

    step()  # warm up
    clock, processor, _ = seconds(step, steps)
    cells = shape[0] * shape[2] * shape[3]
    return cells / clock, cells / processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--columns", type=int, default=160)
    parser.add_argument("--conus", action="store_true", help="a map of 282 x 627 cells")
    parser.add_argument("--tile", type=int, default=112)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--steps", type=int, default=3, help="runs of each, of which the median counts")
    options = parser.parse_args()
    rows, columns = CONUS if options.conus else (options.rows, options.columns)
    if min(rows, columns) < 2 * WINDOW:
        parser.error(f"a map of {rows} x {columns} cells; {2 * WINDOW} x {2 * WINDOW} at least")
    torch.set_default_device(options.device)
    torch.manual_seed(0)
    inputs = random_map(rows, columns)
    load = os.getloadavg()[0]
    print(
        f"{rows} x {columns} cells, {options.device}, {torch.get_num_threads()} threads, {platform.machine()}, torch "
        f"{torch.__version__}, load {load:.1f} before\n"
    )
    print(
        "| network | way | precision | s a day | of processor | difference, largest | rms | by depth 0 / 1 / 2 / 3 "
        "| trained cell-days/s | of processor |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for network, build in NETWORKS.items():
        model = settle(build(), inputs)
        halo = model.reach(DAYS)
        assert halo is not None
        with torch.no_grad():
            reference = model(inputs)
        scale = float(reference.std())
        first = torch.randint(0, min(rows, columns) - WINDOW + 1, (2, BATCH))
        ways = {
            f"windows of {WINDOW} at stride {STRIDE}": (by_windows, windows_of(inputs, *first)),
            "whole map": (lambda m, i: m(i), inputs if rows * columns <= TRAINED_AT_MOST else None),
            f"tiles of {options.tile}, halo {halo}": (
                lambda m, i, halo=halo: predict_tiles(m, i, tile=options.tile, halo=halo),
                corner(inputs, options.tile),
            ),
        }
        for way, (predict, batch) in ways.items():
            if way.split()[0] not in options.ways:
                continue
            for precision in options.precisions:
                model.eval()
                with torch.no_grad(), precision_of(precision):
                    model(corner(inputs, 2 * WINDOW))  # warm up
                    clock, processor, found = seconds(lambda p=predict, m=model: p(m, inputs), options.steps)
                    depths = by_depth(model, inputs, reference, min(halo, 8)) if predict is by_windows else []
                apart = (found - reference) / scale
                speeds = (None, None) if batch is None else trained(model.train(), batch, precision, options.steps)
                speed = " | ".join("" if cells is None else f"{cells:,.0f}" for cells in speeds)
                print(
                    f"| {network} | {way} | {precision} | {clock:.2f} | {processor:.2f} | {apart.abs().max():.1e} | "
                    f"{apart.square().mean().sqrt():.1e} | {' / '.join(f'{d / scale:.2f}' for d in depths)} | "
                    f"{speed} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
