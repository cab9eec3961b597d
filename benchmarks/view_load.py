"""Ask the server of `vadose view` for maps, series and areas, many at once, and print times, failures and memory.

    python -m benchmarks.view_load forecast.zarr --at-once 50 --seconds 60

The server runs in a process of its own, so that its memory is measured alone; what is asked for changes all the time.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from urllib.parse import quote

import numpy as np
import psutil
import xarray as xr

import vadose as vd

PORT = 8799


async def ask(path: str) -> tuple[int, int, float]:
    """Status, bytes and seconds of a request."""
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), len(answer), time.monotonic() - begun


def paths(store: xr.Dataset, name: str, rng: random.Random) -> dict[str, str]:
    """One request of each kind."""
    init, lead = rng.choice(store.indexes["init_time"]), rng.choice(store.lead_time.dt.days.values.tolist())
    lat, lon = (np.sort(store[of].values.ravel()) for of in ("lat", "lon"))
    south, west = rng.uniform(lat[0], lat[-1] - 2), rng.uniform(lon[0], lon[-1] - 2)
    corners = [(0, 0), (2, 0), (2, 2), (0, 2), (0, 0)]
    ring = ",".join(f"{west + x:.3f} {south + y:.3f}" for x, y in corners)
    day, moment = f"init={init:%Y-%m-%d}", f"init={init:%Y-%m-%d}&lead={lead}"
    row, column = rng.randrange(store.sizes["y"]), rng.randrange(store.sizes["x"])
    return {
        "map": f"/maps/{name}/soil_moisture?{moment}",
        "series": f"/series/{name}?{moment}&row={row}&column={column}",
        "position": f"/collections/{name}/position?{day}&coords={quote(f'POINT({west + 1:.3f} {south + 1:.3f})')}",
        "area": f"/collections/{name}/area?{moment}&coords={quote(f'POLYGON(({ring}))')}",
    }


async def load(store: xr.Dataset, name: str, at_once: int, seconds: float, server: psutil.Process) -> None:
    """Keep so many requests under way for so long, and print what came of them."""
    took: dict[str, list[float]] = {}
    statuses: Counter[int] = Counter()
    memory = [server.memory_info().rss]
    until = time.monotonic() + seconds

    async def one(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < until:
            kind, path = rng.choice(list(paths(store, name, rng).items()))
            status, _, spent = await ask(path)
            statuses[status] += 1
            took.setdefault(kind, []).append(spent)

    async def watch() -> None:
        while time.monotonic() < until:
            memory.append(server.memory_info().rss)
            await asyncio.sleep(0.5)

    await asyncio.gather(watch(), *(one(k) for k in range(at_once)))
    print(f"{at_once} at once for {seconds:.0f} s: {sum(statuses.values())} answers, by status {dict(statuses)}")
    for kind, of in sorted(took.items()):
        print(f"  {kind}: {len(of)}, median {np.median(of):.2f} s, 95 % {np.quantile(of, 0.95):.2f} s")
    print(f"  memory of the server: {memory[0] / 1e6:.0f} MB before, {max(memory) / 1e6:.0f} MB at most")


async def alone(store: xr.Dataset, name: str) -> None:
    """Times of single requests on a server that is otherwise idle."""
    rng = random.Random(1)
    for kind in ("map", "series", "position", "area"):
        spent = [(await ask(paths(store, name, rng)[kind])) for _ in range(15)]
        size = max(of for _, of, _ in spent)
        print(f"  {kind} alone: median {np.median([of for _, _, of in spent]):.3f} s, {size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    store = vd.open(given.store)
    command = [sys.executable, "-m", "vadose", "view", given.store, "--port", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            time.sleep(1)
            asyncio.run(run(store, given, psutil.Process(server.pid)))
        finally:
            server.terminate()


async def run(store: xr.Dataset, given: argparse.Namespace, server: psutil.Process) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(b"GET /collections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    name = json.loads((await reader.read()).split(b"\r\n\r\n", 1)[1])["collections"][0]["id"]
    writer.close()
    print(f"{given.store}: {dict(store.sizes)}")
    await alone(store, name)
    await load(store, name, given.at_once, given.seconds, server)


if __name__ == "__main__":
    main()
