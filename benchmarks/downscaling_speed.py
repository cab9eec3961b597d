"""100 m maps: pixels a second by the plain forward pass and by shared histories, alone and from disk to disk.

    OMP_NUM_THREADS=1 python benchmarks/downscaling_speed.py [--edge 512] [--plain 8192] [--compile] [--device cpu]

MMNet with the paper's 25 features of the day and ten days of seven, random weights, the statistics of batch
normalisation taken from the data. A map of EDGE x EDGE pixels of 100 m takes six weather fields from degrees (1/24)
and one from 1 km. Prints one Markdown table and the machine's own figures.

- pixels/s: by the clock; of processor: by time of the processor, which other work on the machine disturbs less.
- GFLOP/s: by time of the processor, of the products of pixels alone; those of the plain forward hold the products
  of each pixel's history. The peak is that of a product of large matrices.
- difference: from the plain forward in float32 on the same PLAIN pixels, in standard deviations of its moisture.
- end to end: `downscale_maps` from a Zarr store on disk to one, the page cache emptied of it before, and `write_cog`.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn
from torch._dynamo.utils import counters

from vadose.artefact import provenance
from vadose.grid import Grid, ease_grid, raster_coordinates
from vadose.models import to_checkpoint
from vadose.models.mmnet import Features, Fine, MMNet
from vadose.parallel.running import Running
from vadose.predict.map_features import MapFeatures
from vadose.predict.map_files import write_cog
from vadose.predict.map_networks import MapNetwork
from vadose.predict.maps import downscale_maps

DAY = pd.Timestamp("2020-07-01")
FIXED = tuple(f"fixed_{n}" for n in range(14))
DAILY = tuple(f"daily_{n}" for n in range(7))
MADE = ("latitude", "longitude", "day_of_year")
SERIES = (*(f"weather_{n}" for n in range(6)), "weather_6")
FEATURES = Features((*DAILY, *FIXED, "coarse_moisture", *MADE), SERIES, days=10)


def made_up(edge: int, folder: Path) -> tuple[xr.Dataset, list[xr.Dataset]]:
    """Random features of a map, written to disk and opened again, and the coarse fields around it."""
    rng = np.random.default_rng(0)
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(39.0, -98.0))
    grid = whole.part(slice(row, row + edge), slice(column, column + edge))
    fine = grid.coordinates().drop_vars(["lat", "lon"]).assign_coords(time=[DAY])
    for name in FIXED:
        fine[name] = ("y", "x"), rng.normal(size=grid.shape).astype(np.float32)
    for name in DAILY:
        fine[name] = ("time", "y", "x"), rng.normal(size=(1, *grid.shape)).astype(np.float32)
    fine = fine.assign_attrs(simulated="true", **provenance(seed=0))
    fine.chunk({"time": 1, "y": 1024, "x": 1024}).to_zarr(folder / "fine.zarr", zarr_format=3, consolidated=False)
    time_ = pd.date_range(end=DAY, periods=11)
    (north, south), (west, east) = grid.latlon([0, edge], 0)[0], grid.latlon(0, [0, edge])[1]
    shape = tuple(int((high - low) * 24) + 6 for low, high in ((south, north), (west, east)))
    weather = raster_coordinates("EPSG:4326", (west - 0.08, north + 0.08, 1 / 24, 1 / 24), shape)
    fields = [weather.assign_coords(time=time_), nested("1km", grid), nested("9km", grid)]
    for name in SERIES[:-1]:
        fields[0][name] = ("time", "lat", "lon"), rng.normal(size=(11, *shape)).astype(np.float32)
    for data, name in zip(fields[1:], (SERIES[-1], "coarse_moisture"), strict=True):
        size = (11, data.sizes["y"], data.sizes["x"])
        data.coords["time"] = time_
        data[name] = ("time", "y", "x"), rng.normal(size=size).astype(np.float32)
    fields = [data.assign_attrs(provenance(seed=number)) for number, data in enumerate(fields)]
    return xr.open_zarr(folder / "fine.zarr", consolidated=False), fields


def nested(resolution: str, grid: Grid) -> xr.Dataset:
    coarse, (rows, columns) = ease_grid(resolution), grid.shape
    top, left = coarse.rowcol(*(float(v) for v in grid.latlon(0, 0)))
    bottom, right = coarse.rowcol(*(float(v) for v in grid.latlon(rows - 1, columns - 1)))
    return coarse.part(slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)).coordinates()


def settled(fine: Fine) -> MMNet:
    """A network whose normalisation fits the data, so that no layer falls silent."""
    torch.manual_seed(0)
    model = MMNet(FEATURES)
    model.fit_normalisation([(fine, 0.2 + 0.08 * torch.randn(len(fine.snapshot)))])
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.train()(fine)
    return model.eval()


def seconds(run: Callable[[], Any], times: int = 1) -> tuple[float, float, Any]:
    """The fastest of some runs by the clock, its time of the processor, and what it gave."""
    spent = []
    for _ in range(times):
        clock, processor = time.perf_counter(), time.process_time()
        result = run()
        spent.append((time.perf_counter() - clock, time.process_time() - processor))
    return *min(spent), result


def products(*layers: nn.Module) -> int:
    """Floating-point operations a pixel of the linear layers."""
    return sum(2 * part.weight.numel() for layer in layers for part in layer.modules() if isinstance(part, nn.Linear))


def peak(dtype: torch.dtype, device: str) -> float:
    """GFLOP/s of a product of square matrices."""
    n = 1536 if device == "cpu" else 8192
    a = torch.randn(n, n, device=device).to(dtype)

    def multiplied() -> float:
        return float((a @ a)[0, 0])  # the value is waited for

    clock, processor, _ = seconds(multiplied, 3)
    return 2 * n**3 / (processor if device == "cpu" else clock) / 1e9


def disk(folder: Path, megabytes: int = 128) -> tuple[float, float]:
    """MB/s written to the disk and read from it, the page cache emptied between."""
    path, block = folder / "disk", os.urandom(1 << 20)

    def written() -> None:
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(block)
            os.fsync(file.fileno())

    write = seconds(written)[0]
    forget(path)
    read = seconds(path.read_bytes)[0]
    path.unlink()
    return megabytes / write, megabytes / read


def forget(path: Path) -> int:
    """Drop files from the page cache, and count their bytes."""
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    for name in files:
        with name.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return sum(name.stat().st_size for name in files)


def in_parts(run: Callable[[Tensor, Tensor], Tensor], snapshot: Tensor, which: Tensor, size: int) -> Tensor:
    parts = zip(snapshot.split(size), which.split(size), strict=True)
    return torch.cat([run(pixels, of) for pixels, of in parts])


def fail(why: str) -> None:
    raise RuntimeError(f"a row that says compiled is not: {why}")


def told(what: str, share: float) -> None:
    if "uncompiled" in what:
        fail(what)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=512, help="rows and columns of the map")
    parser.add_argument("--plain", type=int, default=1 << 13, help="pixels of the plain forward")
    parser.add_argument("--compile", action="store_true", help="compile too (half a minute)")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device, compiling = options.device, (False, True) if options.compile else (False,)
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        data, coarse = made_up(options.edge, folder)
        features = MapFeatures(data, coarse, [FEATURES], pd.DatetimeIndex([DAY]))
        everything = slice(0, options.edge), slice(0, options.edge)
        snapshot = torch.from_numpy(features.snapshot(0, *everything)[0]).flatten(1).T.contiguous().to(device)
        series, which = (torch.from_numpy(part).to(device) for part in features.histories(FEATURES, 0, *everything))
        which = which.flatten()
        pixels, histories = len(snapshot), len(series)
        few = torch.randperm(pixels, generator=torch.Generator().manual_seed(0))[: options.plain].to(device)
        some = torch.randperm(pixels, generator=torch.Generator().manual_seed(1))[:2048].to(device)
        with torch.inference_mode(False):
            seen = Fine(snapshot[some].clone().cpu(), series[which[some]].clone().cpu())
            model = settled(Fine(*(part.detach().clone() for part in seen))).to(device)
        print(
            f"{options.edge} x {options.edge} pixels, {histories} histories ({pixels / histories:.0f} pixels each), "
            f"{torch.get_num_threads()} threads, {platform.machine()}, {device}, torch {torch.__version__}, "
            f"load {os.getloadavg()[0]:.1f} before\n"
        )
        print("| way | pixels/s | of processor | GFLOP/s | difference, largest | rms |\n|---|---|---|---|---|---|")
        in_each = products(model.snapshot_encoder, model.fusion, model.head)
        per_day = products(model.series_encoder) + 2 * 128 * 128 * 3 + 4 * FEATURES.days * 128
        reference, scale = torch.zeros(()), 1.0

        def row(way: str, count: int, spent: tuple[float, float], flops: float, found: Tensor | None) -> None:
            clock, processor = (count / max(part, 1e-9) for part in spent)
            told = [f"{clock:,.0f}", f"{processor:,.0f}", f"{flops * processor / 1e9:.0f}" if flops else "", "", ""]
            if found is not None:
                apart = (found - reference).abs() / scale
                told[3:] = f"{float(apart.max()):.1e}", f"{float(apart.square().mean().sqrt()):.1e}"
            print(f"| {way} | {' | '.join(told)} |", flush=True)

        def plain(pixel: Tensor, of: Tensor) -> Tensor:
            return model(Fine(pixel, series[of])).cpu()

        plain(snapshot[:256], which[:256])
        *spent, reference = seconds(lambda: in_parts(plain, snapshot[few], which[few], 2048))
        scale = float(reference.std())
        row("plain forward, float32", len(few), spent, in_each + FEATURES.days * per_day, reference)
        checkpoint = to_checkpoint("mmnet", {}, model.cpu()) | {"domain": None, "attributes": {}}
        torch.save(checkpoint, folder / "net.pt")
        size = forget(folder / "fine.zarr")
        for compiled, precision in product(compiling, ("float32", "bfloat16")):
            network, running = MapNetwork(checkpoint), Running(device, precision, compiled)
            network.prepare(running, fail)
            assert network.folded is not None
            per_pixel = products(network.folded.pixels, network.folded.head)
            graphs = counters["stats"]["unique_graphs"]
            network(snapshot, series, which)
            if compiled and counters["stats"]["unique_graphs"] == graphs:
                fail("nothing was compiled")
            *spent, found = seconds(lambda network=network: network(snapshot, series, which)[0], 3)
            way = f"{precision}{', compiled' if compiled else ''}"
            row(f"shared histories, {way}", pixels, spent, per_pixel, found[few.cpu()])
            forget(folder / "fine.zarr")

            def disk_to_disk(running: Running = running, way: str = way) -> Path:
                return downscale_maps(
                    folder / "net.pt", data, coarse, [DAY], folder / f"{way}.zarr", running=running, progress=told
                )

            *spent, store = seconds(disk_to_disk)
            row(f"end to end, Zarr to Zarr, {way}", pixels, spent, 0, None)
        *spent, _ = seconds(lambda: write_cog(store, folder / "cog"))
        row("GeoTIFF of the store", pixels, spent, 0, None)
        write, read = disk(folder)
        peaks = [f"{peak(dtype, device):,.0f}" for dtype in (torch.float32, torch.bfloat16)]
        print(f"\nPeak {peaks[0]} GFLOP/s in float32, {peaks[1]} in bf16; disk {write:,.0f} MB/s written, {read:,.0f}")
        print(f"read; features of {size / pixels:.0f} bytes a pixel; load {os.getloadavg()[0]:.1f} after.")


if __name__ == "__main__":
    main()
