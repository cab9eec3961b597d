"""Layouts of the harmonised cube compared: bytes, files, and seconds of its two readers and its writer.

    python benchmarks/cube_layout.py record --work /tmp/layout --days 128   (simulate once, 0.5 s a day)
    python benchmarks/cube_layout.py chunks --work /tmp/layout --six        (chunk and shard)
    python benchmarks/cube_layout.py codecs --work /tmp/layout --six        (compressor and data type)
    python benchmarks/cube_layout.py errors --work /tmp/layout --days 128   (what packing costs, a variable each)
    python benchmarks/cube_layout.py finals --work /tmp/layout --six        (few layouts in turns, every reader)

`finals` needs xbatcher (pip install xbatcher). At least 43 days but for `record` and `errors`.

Readers: (A) a random training window, 3 days x 8 x 8 cells x all variables; (B) the whole map of one day, all
variables. Writer: a block of 32 days of one variable, and one day appended to it. Seconds are medians; files come
from the page cache unless said to be cold (their pages are dropped before each read). Prints Markdown tables.
"""

import argparse
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from vadose.grid import ease_grid
from vadose.twin.truth import simulate

CONUS = (-125.0, 24.5, -66.5, 49.5)
FIRST = "2019-03-01"
DAYS, CELLS, BLOCK = 3, 8, 32
FIVE_YEARS = 1826
MOST_FILES = 60_000
"""Layouts of more files than this are counted, not written."""

NAMES = {
    "soil_moisture": "satellite_soil_moisture",
    "tb_h": "tb_h",
    "tb_v": "tb_v",
    "precipitation": "precipitation",
    "air_temperature_max": "air_temperature_max",
    "air_temperature_min": "air_temperature_min",
    "specific_humidity": "specific_humidity",
    "relative_humidity_min": "relative_humidity_min",
    "vapor_pressure_deficit": "vapor_pressure_deficit",
    "shortwave_radiation": "shortwave_radiation",
    "longwave_radiation": "longwave_radiation",
    "eastward_wind": "eastward_wind",
    "northward_wind": "northward_wind",
    "surface_temperature": "surface_temperature",
    "ndvi": "ndvi",
    "reflectance_red": "reflectance_red",
    "reflectance_nir": "reflectance_nir",
    "sigma0_vv": "sigma0_vv",
}

SIX = ("soil_moisture", "tb_v", "precipitation", "air_temperature_max", "specific_humidity", "reflectance_red")
"""One of each kind: noisy with gaps, noisy, with zeros, smooth, noisy with clouds."""

NOISE = {
    "soil_moisture": 0.04,
    "tb_h": 1.3,
    "tb_v": 1.3,
    "precipitation": 0.5,
    "air_temperature_max": 1.0,
    "air_temperature_min": 1.0,
    "specific_humidity": 5e-4,
    "relative_humidity_min": 5.0,
    "vapor_pressure_deficit": 0.1,
    "shortwave_radiation": 15.0,
    "longwave_radiation": 15.0,
    "eastward_wind": 1.0,
    "northward_wind": 1.0,
    "surface_temperature": 1.0,
    "ndvi": 0.02,
    "reflectance_red": 0.005,
    "reflectance_nir": 0.005,
    "sigma0_vv": 0.004,
}
"""Random error of each variable in its own unit: accuracy aimed at or usually reported, rounded."""

BITS = {
    "soil_moisture": 10,
    "tb_h": 11,
    "tb_v": 11,
    "precipitation": 9,
    "air_temperature_max": 12,
    "air_temperature_min": 12,
    "specific_humidity": 10,
    "relative_humidity_min": 9,
    "vapor_pressure_deficit": 9,
    "shortwave_radiation": 9,
    "longwave_radiation": 9,
    "eastward_wind": 9,
    "northward_wind": 9,
    "surface_temperature": 12,
    "ndvi": 10,
    "reflectance_red": 9,
    "reflectance_nir": 9,
    "sigma0_vv": 9,
}
"""Bits of the mantissa kept by "rounded": its largest error is 1/20 of the noise, of heavy rain 1/1000 of the value."""

RANGE = {
    "soil_moisture": (0, 1),
    "precipitation": (0, 2000),
    "specific_humidity": (0, 0.1),
    "relative_humidity_min": (0, 105),
    "vapor_pressure_deficit": (0, 15),
    "shortwave_radiation": (0, 1500),
    "longwave_radiation": (0, 1000),
    "eastward_wind": (-100, 100),
    "northward_wind": (-100, 100),
    "ndvi": (-1, 1),
    "reflectance_red": (-0.01, 1.6),
    "reflectance_nir": (-0.01, 1.6),
    "sigma0_vv": (0, 5),
}
"""Valid ranges packed into uint16; temperatures below."""
TEMPERATURES = (50.0, 400.0)
FILL = 65535

CODECS: dict[str, Any] = {
    "none": None,
    "zstd 1": ZstdCodec(level=1),
    "zstd 3": ZstdCodec(level=3),
    **{f"blosc lz4 {n} bit": BloscCodec(cname="lz4", clevel=n, shuffle="bitshuffle") for n in (1, 5)},
    "blosc lz4 5 byte": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
    **{f"blosc zstd {n} bit": BloscCodec(cname="zstd", clevel=n, shuffle="bitshuffle") for n in (1, 3)},
    "blosc zstd 1 byte": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
}


@dataclass(frozen=True)
class Layout:
    """How the arrays of a cube are cut, packed and compressed."""

    chunk: tuple[int, int, int]
    shard: int = 0
    codec: str = "blosc zstd 1 bit"
    kind: str = "rounded"

    def cut(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """Chunks and shards; a shard is the whole map, made up to whole chunks."""
        chunk = tuple(min(c, n) for c, n in zip(self.chunk, shape, strict=True))
        whole = (self.shard, *(-(-n // c) * c for n, c in zip(shape[1:], chunk[1:], strict=True)))
        return chunk, whole if self.shard else None

    def files(self, shape: tuple[int, ...], variables: int) -> int:
        """Files of data at most, all variables."""
        chunk, shard = self.cut(shape)
        return variables * int(np.prod([-(-n // c) for n, c in zip(shape, shard or chunk, strict=True)]))

    def __str__(self) -> str:
        time_, y, x = self.chunk
        space = "map" if y >= 282 else f"{y} x {x}"
        return f"{time_} x {space} | {self.shard or '-'}"


class Store:
    """A cube of one layout on disk, written a variable at a time."""

    def __init__(self, path: Path, layout: Layout, record: dict[str, np.ndarray], days: int) -> None:
        shutil.rmtree(path, ignore_errors=True)
        self.path, self.layout, self.names = path, layout, list(record)
        self.group = zarr.open_group(path, mode="w")
        self.block_seconds = []
        for name, values in record.items():
            array = self.add(name, (days, *values.shape[1:]))
            for start in range(0, days, layout.shard or BLOCK):
                packed = pack(name, np.array(values[start : min(start + (layout.shard or BLOCK), days)]), layout.kind)
                begin = time.perf_counter()
                array[start : start + len(packed)] = packed
                self.block_seconds.append((time.perf_counter() - begin) * BLOCK / len(packed))

    def add(self, name: str, shape: tuple[int, ...]) -> zarr.Array:
        chunk, shard = self.layout.cut(shape)
        dtype = {"uint16": "uint16", "float16": "float16"}.get(self.layout.kind, "float32")
        array = self.group.create_array(
            name,
            shape=shape,
            chunks=chunk,
            shards=shard,
            dtype=dtype,
            compressors=CODECS[self.layout.codec],
            fill_value=FILL if dtype == "uint16" else np.nan,
            dimension_names=("time", "y", "x"),
            overwrite=True,
        )
        if dtype == "uint16":
            low, step = packing(name)
            array.attrs.update({"scale_factor": step, "add_offset": low, "_FillValue": FILL})
        return array

    def files(self) -> list[Path]:
        return [p for p in self.path.rglob("*") if p.is_file() and p.name != "zarr.json"]

    def bytes(self) -> int:
        return sum(p.stat().st_size for p in self.files())

    def cool(self) -> None:
        """Have the kernel forget the pages of the store's files."""
        for path in self.files():
            handle = os.open(path, os.O_RDONLY)
            os.fdatasync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)

    def append_seconds(self, name: str, values: np.ndarray) -> float:
        """A day added behind 40 days, median of 3; chunk and shard begun already are written anew."""
        array = self.add("appended", (40, *values.shape[1:]))
        array[:] = pack(name, np.array(values[:40]), self.layout.kind)
        spent = []
        for day in range(40, 43):
            packed = pack(name, np.array(values[day : day + 1]), self.layout.kind)
            begin = time.perf_counter()
            array.resize((day + 1, *values.shape[1:]))
            array[day : day + 1] = packed
            spent.append(time.perf_counter() - begin)
        shutil.rmtree(self.path / "appended")
        return float(np.median(spent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("record", "chunks", "codecs", "errors", "finals"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--days", type=int, default=64)
    parser.add_argument("--shards", type=int, nargs="*", default=[0, 32, 64])
    parser.add_argument("--spaces", nargs="*", default=["16x16", "32x32", "64x64", "47x57", "94x105", "282x627"])
    parser.add_argument("--six", action="store_true", help="measure six variables and give three times their figures")
    parser.add_argument("--times", type=int, nargs="*", default=[1, 8, 16, 32, 64])
    parser.add_argument("--kinds", nargs="*", default=["float32", "rounded", "uint16", "float16"])
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    globals()[options.what](options)


def record(options: argparse.Namespace) -> None:
    """Simulate the record, a .npy a variable; goes on where a shorter one ends."""
    options.work.mkdir(parents=True, exist_ok=True)
    grid = ease_grid("9km").bounding_box(*CONUS)
    print(grid.shape)
    last = np.datetime64(FIRST) + options.days - 1
    arrays = {
        name: np.lib.format.open_memmap(options.work / f"{name}.npy", "w+", np.float32, (options.days, *grid.shape))
        for name in NAMES
    }
    generator = np.random.default_rng(0)
    day = 0
    for piece in simulate(grid, FIRST, str(last), chunk=16, spin_up=0):
        stop = day + piece.sizes["time"]
        clear = piece.cloud.values < 0.6
        for name, theirs in NAMES.items():
            values = piece[theirs].values
            if name in ("ndvi", "reflectance_red", "reflectance_nir", "surface_temperature"):
                noisy = values + NOISE[name] * generator.normal(size=values.shape)
                values = np.where(clear, noisy, np.nan)
            if name == "sigma0_vv":
                orbit = (np.arange(values.shape[2]) // 50 + np.arange(day, stop)[:, None]) % 6
                values = np.where(orbit[:, None] == 0, values, np.nan)
            arrays[name][day:stop] = values
        day = stop


def opened(options: argparse.Namespace) -> dict[str, np.ndarray]:
    names = SIX if options.six else NAMES
    return {name: np.load(options.work / f"{name}.npy", mmap_mode="r")[: options.days] for name in names}


def chunks(options: argparse.Namespace) -> None:
    """Every chunk and shard, one compressor, one data type; files and GB are of five years."""
    print("| chunk | shard | files | GB | window [ms] | xarray [ms] | map [ms] | block [s] | day [s] |")
    print("|---|---|---|---|---|---|---|---|---|")
    spaces = [tuple(int(n) for n in space.split("x")) for space in options.spaces]
    for shard, t, space in product(options.shards, options.times, spaces):
        if not shard or t <= shard:
            layout = Layout((t, *space), shard)
            print(f"| {layout} | {measured(layout, options)} |", flush=True)


def codecs(options: argparse.Namespace) -> None:
    """Every compressor and data type, one chunk and shard."""
    print("| data type | compressor | GB | window [ms] | xarray [ms] | map [ms] | block [s] | day [s] |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, codec in product(options.kinds, CODECS):
        layout = replace(COMPARED, kind=kind, codec=codec)
        print(f"| {kind} | {codec} | {measured(layout, options).partition(' | ')[2]} |", flush=True)


def measured(layout: Layout, options: argparse.Namespace) -> str:
    """Cells of a table: files, bytes, readers through zarr and xarray, writer; for 18 variables."""
    values = opened(options)
    share = len(NAMES) / len(values)
    shape = next(iter(values.values())).shape
    files = layout.files((FIVE_YEARS, *shape[1:]), len(NAMES))
    if layout.files(shape, len(values)) > MOST_FILES:
        return f"{files} | not written"
    store = Store(options.work / "candidate.zarr", layout, values, options.days)
    arrays, dataset = through_zarr(store), through_xarray(store.path)
    size = share * store.bytes() / options.days * FIVE_YEARS / 1e9
    seconds = [share * per(window, arrays, shape), share * per(window, dataset, shape)]
    seconds.append(share * per(whole_map, arrays, shape))
    block, day = float(np.median(store.block_seconds)), store.append_seconds("tb_v", values["tb_v"])
    shutil.rmtree(store.path)
    return f"{files} | {size:.1f} | " + " | ".join(f"{1e3 * s:.0f}" for s in seconds) + f" | {block:.2f} | {day:.2f}"


COMPARED = Layout((8, 94, 105), 32)
FINALISTS = (
    COMPARED,
    Layout((4, 141, 209), 32),
    Layout((2, 141, 209), 32),
    Layout((1, 141, 209), 32),
    Layout((1, 282, 627), 32),
    Layout((1, 282, 627)),
    Layout((1, 282, 627), codec="blosc lz4 5 bit"),
)


def errors(options: argparse.Namespace) -> None:
    """Largest absolute and relative error of each packing, beside the noise of the variable."""
    print("| variable | noise | kept bits | rounded: abs, rel | 7 bits | 13 bits | float16 | uint16, rel |")
    print("|---|---|---|---|---|---|---|---|")
    for name, values in opened(options).items():
        values = np.array(values[:: max(1, options.days // 32)])

        def worst(packed: np.ndarray, values: np.ndarray = values) -> tuple[float, float]:
            known = np.isfinite(values)
            off = np.abs(packed[known].astype(float) - values[known])
            big = np.abs(values[known]) > 0.01 * np.nanpercentile(np.abs(values), 99)
            return float(off.max()), float((off[big] / np.abs(values[known][big])).max())

        rounded_, seven, thirteen = (worst(rounded(values, bits)) for bits in (BITS[name], 7, 13))
        low, step = packing(name)
        linear = worst(pack(name, values, "uint16") * step + low)
        half = worst(values.astype(np.float16))
        print(
            f"| {name} | {NOISE[name]:g} | {BITS[name]} | {rounded_[0]:.2g}, {rounded_[1]:.2g} | {seven[0]:.2g} | "
            f"{thirteen[0]:.2g} | {half[0]:.2g} | {linear[0]:.2g}, {linear[1]:.2g} |"
        )


def finals(options: argparse.Namespace) -> None:
    """A few layouts by every reader, in turns, so that what else the machine does falls on all alike."""
    values = opened(options)
    share = len(NAMES) / len(values)
    shape = next(iter(values.values())).shape
    stores = [
        Store(options.work / f"{number}.zarr", layout, values, options.days) for number, layout in enumerate(FINALISTS)
    ]
    spent: dict[tuple[int, int], list[float]] = defaultdict(list)
    for turn, (number, store) in product(range(options.turns), enumerate(stores)):
        arrays, dataset = through_zarr(store), through_xarray(store.path)
        reads = [(window, arrays, 5), (window, dataset, 5), (whole_map, arrays, 1), (whole_map, dataset, 1)]
        for column, (read, of, times) in enumerate(reads):
            spent[number, column].append(per(read, of, shape, most=times + 1, seed=turn))
        for column, read in enumerate((window, whole_map), len(reads)):
            spent[number, column].append(per(read, arrays, shape, most=2, before=store.cool, seed=turn))
        if turn < 2:
            spent[number, 6].append(per(block, arrays, shape, most=1, seed=turn))
        spent[number, 7].append(store.append_seconds("tb_v", values["tb_v"]))
    print("| layout | GB | window | xarray | map | xarray | window, cold | map, cold | 32 days | append | block |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for number, store in enumerate(stores):
        cells = [f"{1e3 * share * np.median(spent[number, column]):.0f}" for column in range(7)]
        cells.append(f"{1e3 * np.median(spent[number, 7]):.0f}")
        cells.append(f"{1e3 * np.median(store.block_seconds):.0f}")
        size, layout = share * store.bytes() / options.days * FIVE_YEARS / 1e9, store.layout
        print(f"| {str(layout).replace('|', '/')}, {layout.kind}, {layout.codec} | {size:.1f} | {' | '.join(cells)} |")
    print(through_xbatcher(through_xarray(stores[0].path).isel(time=slice(0, 6)), shape, share))
    raw = share * sum(v.nbytes for v in values.values()) / options.days * FIVE_YEARS / 1e9
    print(
        f"| .npy mapped | {raw:.1f} GB, window {1e3 * share * per(window, values, shape):.3f} ms, "
        f"map {1e3 * share * per(whole_map, values, shape):.1f} ms"
    )
    print(materialised(values, shape, options.work / "windows.npy"))
    held = np.stack([np.array(v[:BLOCK]) for v in values.values()])
    print(f"| window of {BLOCK} days held in memory | {1e3 * share * per(window_of, held, shape, most=2000):.4f} ms")
    for store in stores:
        shutil.rmtree(store.path)


def through_xbatcher(dataset: xr.Dataset, shape: tuple[int, ...], share: float) -> str:
    """Seconds to list the windows of six days (stride of a window) and to take one."""
    from xbatcher import BatchGenerator

    begin = time.perf_counter()
    batches = BatchGenerator(dataset, {"time": DAYS, "y": CELLS, "x": CELLS}, preload_batch=False)
    listing, count = time.perf_counter() - begin, len(batches)
    generator = np.random.default_rng(2)

    def one(*_: Any) -> np.ndarray:
        batch = batches[int(generator.integers(count))]
        return np.stack([batch[name].values for name in batch])

    return (
        f"| xbatcher | {count} windows listed in {1e3 * listing:.0f} ms, "
        f"one read in {1e3 * share * per(one, None, shape):.0f} ms |"
    )


def materialised(values: dict[str, np.ndarray], shape: tuple[int, ...], path: Path, sample: int = 20_000) -> str:
    """All windows at stride 2, every day, written out: their size by count, and reading of a small part."""
    count = (FIVE_YEARS - DAYS + 1) * ((shape[1] - CELLS) // 2 + 1) * ((shape[2] - CELLS) // 2 + 1)
    each = len(NAMES) * DAYS * CELLS * CELLS
    written = np.lib.format.open_memmap(path, "w+", np.float32, (sample, each))
    generator = np.random.default_rng(3)
    written[:] = generator.normal(size=each)
    written.flush()
    del written
    handle = os.open(path, os.O_RDONLY)
    spent = []
    for cold in (False, True):

        def one(*_: Any) -> np.ndarray:
            return np.frombuffer(
                os.pread(handle, 4 * each, 128 + 4 * each * int(generator.integers(sample))), np.float32
            )

        def cool(cold: bool = cold) -> None:
            if cold:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)

        spent.append(1e3 * per(one, None, shape, before=cool))
    os.close(handle)
    path.unlink()
    return (
        f"| windows beforehand, {count * each * 4 / 1e9:.0f} GB | {count / 1e6:.0f} million of {4 * each} bytes; "
        f"one read in {spent[0]:.3f} ms, cold {spent[1]:.3f} ms |"
    )


def block(arrays: Any, shape: tuple[int, ...], generator: np.random.Generator) -> None:
    """32 days of the whole map, all variables, one after the other."""
    start = BLOCK * int(generator.integers(shape[0] // BLOCK))
    for array in arrays.values():
        array[start : start + BLOCK]


def window_of(held: np.ndarray, _: Any, generator: np.random.Generator) -> np.ndarray:
    t, y, x = (int(generator.integers(n - k + 1)) for n, k in zip(held.shape[1:], (DAYS, CELLS, CELLS), strict=True))
    return held[:, t : t + DAYS, y : y + CELLS, x : x + CELLS].copy()


def per(
    read: Callable[..., Any],
    arrays: Any,
    shape: tuple[int, ...],
    most: int = 60,
    budget: float = 0.7,
    before: Callable[[], None] = lambda: None,
    seed: int = 1,
) -> float:
    """Median seconds of reads at random places, as many as ``budget`` allows, the first of several left out."""
    generator = np.random.default_rng(seed)
    spent: list[float] = []
    while not spent or (len(spent) < 2 <= most) or (len(spent) < most and sum(spent) < budget):
        before()
        begin = time.perf_counter()
        read(arrays, shape, generator)
        spent.append(time.perf_counter() - begin)
    return float(np.median(spent[1:] or spent))


def window(arrays: Any, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    t, y, x = (int(generator.integers(n - k + 1)) for n, k in zip(shape, (DAYS, CELLS, CELLS), strict=True))
    return take(arrays, slice(t, t + DAYS), slice(y, y + CELLS), slice(x, x + CELLS))


def whole_map(arrays: Any, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    t = int(generator.integers(shape[0]))
    return take(arrays, slice(t, t + 1), slice(None), slice(None))


def take(arrays: Any, *where: slice) -> np.ndarray:
    """All variables of a part, stacked; from a dataset, or from arrays."""
    if isinstance(arrays, xr.Dataset):
        part = arrays.isel(dict(zip(("time", "y", "x"), where, strict=True)))
        return np.stack([part[name].values for name in part])
    return np.stack([array[where] for array in arrays.values()])


def through_zarr(store: Store) -> dict[str, zarr.Array]:
    return {name: zarr.open_array(store.path / name, mode="r") for name in store.names}


def through_xarray(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, chunks=None, consolidated=False)


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Float32 with so many bits of mantissa kept, to nearest, ties to even; NaN stays NaN."""
    drop = 23 - bits
    raw = values.view(np.uint32)
    half = np.uint32((1 << (drop - 1)) - 1)
    near = raw + half + ((raw >> np.uint32(drop)) & np.uint32(1))
    near &= np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return np.where(np.isfinite(values), near.view(np.float32), values)


def packing(name: str) -> tuple[float, float]:
    """Offset and scale of uint16 over the valid range."""
    low, high = RANGE.get(name, TEMPERATURES)
    return float(low), (high - low) / (FILL - 1)


def pack(name: str, values: np.ndarray, kind: str) -> np.ndarray:
    if kind == "rounded":
        return rounded(values, BITS[name])
    if kind == "uint16":
        low, step = packing(name)
        scaled = np.rint((values - low) / step).clip(0, FILL - 1)
        return np.where(np.isfinite(values), scaled, FILL).astype(np.uint16)
    return values.astype(kind)


if __name__ == "__main__":
    main()
