"""Training on two processes under the agent of torchrun; this file is also the program that starts them.

Their agent is started by a function, not by `torchrun`: processes that are forked need not import torch again.
"""

import csv
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.models.inputs import Channels
from vadose.models.mmnet import Features
from vadose.parallel.progress import Progress, silent
from vadose.samples.station_days import StationDays
from vadose.samples.windows import Samples
from vadose.training.alignment import Alignment
from vadose.training.blends import blend
from vadose.training.forecasters import Optimisation, Plan, train
from vadose.training.processes import launched
from vadose.training.station_days import DownscalingNetwork, Fitting, fit

TRAINING, VALIDATION = Period("2015-04-10", "2015-07-20"), Period("2015-07-21", "2015-08-28")
CHANNELS = Channels(("soil_moisture_filled", "precipitation"), leads=(1, 3), target="soil_moisture_filled")
# Batches of 13, 13, 13 and 1: shares are uneven, and at last there are fewer samples than processes.
QUICK = {"epochs": 2, "patience": None, "batch_size": 13, "samples_per_epoch": 40, "learning_rate": 0.1}
# Networks without dropout: batch normalisation, a deviation, and sequences whose deviation the loss does not use.
RUNS: dict[str, dict[str, Any]] = {
    "maps": {"model": "convlstm", "hyper": {"filters": (4, 4), "dropout": 0.0}},
    "deviation": {
        "model": "convlstm",
        "hyper": {"filters": (4,), "dropout": 0.0, "gaussian": True},
        "optimisation": Optimisation(**QUICK, form="crps"),
    },
    "sequences": {"model": "surrogate", "hyper": {"hidden": 4, "width": 4, "dropout": 0.0, "gaussian": True}},
}


MEASURES = (None, "mmd", "adversarial")
LOSSES = ("train_loss", "validation_loss")


def table_of_stations() -> xr.Dataset:
    """Moisture that follows the rain of the day before, at six stations."""
    rain = np.random.default_rng(0).gamma(0.5, 6, (6, 60)).astype(np.float32)
    both = ("station", "time")
    moisture = (both, (0.1 + 0.006 * np.roll(rain, 1, axis=1)).astype(np.float32))
    days = np.arange(60).astype("M8[D]").astype("M8[ns]")
    return xr.Dataset(
        {"soil_moisture": moisture, "precipitation": (both, rain), "ndvi": (both, rain / 50)},
        {"station": np.arange(6), "time": days},
    )


def fitted(measure: Any) -> dict[str, Any]:
    """State and losses of a network of station-days, aligned with those of two more stations where measured."""
    table, fitting = table_of_stations(), Fitting(epochs=2, batch_size=17, optimiser="adamw", learning_rate=0.01)
    days = StationDays(table, Features(("ndvi",), ("precipitation",), days=3))
    east = np.broadcast_to(np.arange(6)[:, None] > 3, days.shape)
    network = DownscalingNetwork("mmnet", {"dropout": 0.0}, fitting)
    alignment = Alignment(east, measure) if measure else None
    checkpoint, log = fit(days, table, ~east, network, alignment=alignment)
    return checkpoint["state"] | {name: torch.tensor([row[name] for row in log]) for name in LOSSES}


class KilledSamples(Samples):
    """Samples whose process is killed in the second step of the third epoch."""

    epochs = 0

    def batches(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        self.epochs += "correlated" in options and arguments[0] == TRAINING
        for number, batch in enumerate(super().batches(*arguments, **options)):
            if self.epochs == 3 and number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def samples_of(cube: xr.Dataset, name: str, kind: type[Samples] = Samples) -> Samples:
    if name == "sequences":
        return kind(cube, CHANNELS, look_back=3, sequence=20)
    return kind(cube, CHANNELS, look_back=3, window=4, stride=2)


def trained(
    cube: xr.Dataset, name: str, out: Path, samples: Samples | None = None, progress: Progress = silent, **changes: Any
) -> Path:
    days = {"training": TRAINING, "validation": VALIDATION, "optimisation": Optimisation(**QUICK)}
    plan = Plan(**days | RUNS.get(name, {}) | changes)
    return train(samples or samples_of(cube, name), out, plan, refit=False, progress=progress)


def plain_descent(parameters: Any, lr: float, **_: object) -> Any:
    """In the place of Adam, whose steps are as long for a gradient of nothing but rounding."""
    return torch.optim.SGD(parameters, lr=lr)


def work(folder: Path) -> None:
    """What each process does, in two attempts: in the first one of them is killed."""
    cube = pickle.loads((folder / "cube.pickle").read_bytes())
    rank, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    told: list[str] = []

    def tell(what: str, share: float) -> None:
        told.append(what)

    adam, torch.optim.AdamW = torch.optim.AdamW, plain_descent  # type: ignore[assignment, misc]
    for name in RUNS:
        trained(cube, name, folder / name, progress=tell)
    for measure in MEASURES:
        torch.save(fitted(measure), folder / f"stations-{measure}-{rank}.pt")
    torch.optim.AdamW = adam  # type: ignore[misc]
    trained(cube, "climatology", folder / "climatology", model="climatology", hyper={}, progress=tell)
    blend([folder / "maps", folder / "deviation"], folder / "blend", weights=None, leads=(1, 3), attributes={})
    how = Optimisation(**QUICK | {"epochs": 4, "learning_rate": 0.01})
    trained(cube, "maps", folder / "undisturbed", optimisation=how, progress=tell)
    (folder / f"told-{attempt}-{rank}").write_text("\n".join(told))
    told.clear()
    kind = KilledSamples if rank == 1 and attempt == 0 else Samples
    trained(cube, "maps", folder / "killed", samples_of(cube, "maps", kind), optimisation=how, progress=tell)
    (folder / f"resumed-{attempt}-{rank}").write_text("\n".join(told))
    # Now an error on one process, while the other is in the middle of a training.
    if rank == 1:
        (folder / "mistaken").touch()
        raise VadoseError("a mistake of one process")
    trained(cube, "maps", folder / "never", optimisation=how)
    (folder / "ended").touch()


@pytest.fixture(scope="module")
def folder(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where torchrun's processes have written."""
    folder = tmp_path_factory.mktemp("torchrun")
    (folder / "cube.pickle").write_bytes(pickle.dumps(small_cube))
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "GLOO_SOCKET_IFNAME": "lo",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (folder / "mistaken").exists(), done.stderr
    assert done.returncode != 0
    return folder


def state_of(run: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run / "final.pt", weights_only=True)["state"]
    return state


def losses_of(run: Path) -> list[float]:
    with (run / "history.csv").open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream) for name in ("train_loss", "validation_loss")]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_learn_as_one_on_the_joined_batches(
    name: str, folder: Path, small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim, "AdamW", plain_descent)
    alone = trained(small_cube, name, tmp_path / name)
    assert losses_of(folder / name) == pytest.approx(losses_of(alone), abs=1e-6)
    found, expected = state_of(folder / name), state_of(alone)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        # Of a batch that is done whole by both, the number of values that corrects a variance counts double.
        rtol = 1e-3 if key.endswith("running_var") else 1e-6
        torch.testing.assert_close(found[key], value, rtol=rtol, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("measure", MEASURES)
def test_station_days_and_aligned_regions_are_shared_too(
    measure: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim, "AdamW", plain_descent)
    alone = fitted(measure)
    for rank in range(2):
        found = torch.load(folder / f"stations-{measure}-{rank}.pt", weights_only=True)
        for key, value in alone.items():
            rtol = 1e-3 if key.endswith("running_var") else 1e-4
            torch.testing.assert_close(
                found[key], value, rtol=rtol, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
            )


def test_a_killed_process_is_restarted_and_training_goes_on_to_the_same_end(folder: Path) -> None:
    resumed = (folder / "resumed-1-0").read_text()
    assert "epoch 3" in resumed
    assert "epoch 2" not in resumed
    found, expected = state_of(folder / "killed"), state_of(folder / "undisturbed")
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert losses_of(folder / "killed") == losses_of(folder / "undisturbed")


def test_the_first_process_alone_tells_and_writes(folder: Path) -> None:
    told = (folder / "told-0-0").read_text()
    assert "fitting climatology" in told
    assert "training maps" in told
    # The other says nothing, and what is there is not made again by those restarted.
    assert [(folder / f"told-{name}").read_text() for name in ("0-1", "1-0", "1-1")] == ["", "", ""]
    assert (folder / "blend" / "final.pt").exists()
    assert not (folder / ".killed.training").exists()


def test_an_error_on_one_process_ends_all(folder: Path) -> None:
    assert not (folder / "ended").exists()
    assert not (folder / "never").exists()


def test_restarts_that_would_fail_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUN_ID": "test", "MAX_RESTARTS": "3", "USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    with pytest.raises(VadoseError, match=r"max-restarts 3.* set the environment variable"):
        launched()


def test_the_package_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "vadose", "train", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torchrun" in done.stdout


if __name__ == "__main__":
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=1,
        monitor_interval=0.1,
        start_method="fork",
    )
    elastic_launch(config, work)(Path(sys.argv[1]))
