"""Training steps of the paper's ConvLSTM on 8 x 8 windows: samples a second of ways to compute the same.

    OMP_NUM_THREADS=2 python benchmarks/convlstm_training.py [--batch 32] [--steps 3] [--compile] [--keras]

Random windows of 3 days and 17 predictors, filters 4 .. 256, forward and backward and a step of Adam. Prints one
Markdown table; all rows are of one run, so that their ratios hold on a busy machine too.

- plain cell: at each step one convolution of the input and the state side by side, the first, zero state included.
- vadose: `vadose.models.convlstm`, inputs of all days in one convolution, the zero state left out.
- Keras on TensorFlow, with --keras (needs `pip install tensorflow-cpu`): `ConvLSTM2D` of the same filters, each
  followed by batch normalisation. It has no peepholes and other weights, so that its loss is another.
- loss after the steps: of the same windows and weights as the plain cell's; in float32 they have to be equal.
"""

import argparse
import copy
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.convlstm import ConvLSTM, ConvLSTMCell
from vadose.models.inputs import Channels, Inputs

DAYS, EDGE = 3, 8
FILTERS = (4, 16, 32, 64, 128, 256)
# 14 daily and one static; sine and cosine of the season make them 17.
CHANNELS = Channels(("soil_moisture", *(f"predictor_{i}" for i in range(13))), ("clay",))


class PlainCell(nn.Module):
    """The weights of a `ConvLSTMCell`, stepped as the equations read."""

    def __init__(self, cell: ConvLSTMCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, sequence: Tensor) -> Tensor:
        own = self.cell
        weight = torch.cat([own.from_input.weight, own.from_state.weight], dim=1)
        shape = len(sequence), own.from_state.in_channels, *sequence.shape[-2:]
        state = cell = sequence.new_zeros(shape)
        states = []
        for day in sequence.unbind(1):
            both = torch.cat([day, state], dim=1)
            gates = functional.conv2d(both, weight, own.from_input.bias, padding=weight.shape[-1] // 2)
            to_i, to_f, to_c, to_o = gates.chunk(4, dim=1)
            assert own.peephole is not None
            into = torch.sigmoid(to_i + own.peephole[0] * cell)
            cell = torch.sigmoid(to_f + own.peephole[1] * cell) * cell + into * torch.tanh(to_c)
            state = torch.sigmoid(to_o + own.peephole[2] * cell) * torch.tanh(cell)
            states.append(state)
        return torch.stack(states, dim=1)


def made_plain(model: ConvLSTM) -> ConvLSTM:
    model = copy.deepcopy(model)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, ConvLSTMCell):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], PlainCell(layer))
    return model


def steps_of(model: Any, inputs: Inputs, target: Tensor, steps: int, bf16: bool) -> tuple[float, float, float]:
    """Median seconds of a step by the clock and by time of the processor, and the loss of the last."""
    device = target.device
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    spent, loss = [], torch.zeros(())
    for _ in range(steps + 1):
        start = np.array([time.perf_counter(), time.process_time()])
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = functional.mse_loss(model(inputs), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(np.array([time.perf_counter(), time.process_time()]) - start)
    clock, processor = np.median(spent[1:], axis=0)  # the first warms up
    return float(clock), float(processor), loss.item()


def steps_of_keras(batch: int, leads: int, steps: int) -> tuple[float, float, float]:
    """As `steps_of`, of the same layers in Keras."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    network = keras.Sequential([keras.Input((DAYS, EDGE, EDGE, 17))])
    for width in FILTERS:
        network.add(keras.layers.ConvLSTM2D(width, 3, padding="same", return_sequences=width < FILTERS[-1]))
        network.add(keras.layers.BatchNormalization())
        network.add(keras.layers.ReLU())
    network.add(keras.layers.Conv2D(leads, 1))
    network.compile("adam", "mse")
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(batch, DAYS, EDGE, EDGE, 17)).astype(np.float32)
    target = rng.normal(size=(batch, EDGE, EDGE, leads)).astype(np.float32)
    spent, loss = [], 0.0
    for _ in range(steps + 1):
        start = np.array([time.perf_counter(), time.process_time()])
        loss = float(network.train_on_batch(windows, target))
        spent.append(np.array([time.perf_counter(), time.process_time()]) - start)
    clock, processor = np.median(spent[1:], axis=0)  # the first traces the graph
    return float(clock), float(processor), loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile too (wants a C++ compiler)")
    parser.add_argument("--keras", action="store_true", help="Keras on TensorFlow beside (wants tensorflow-cpu)")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device)

    def draw(*shape: int) -> Tensor:
        return torch.randn(options.batch, *shape, EDGE, EDGE, device=device)

    days = torch.full((options.batch,), 17000, device=device)
    corners = torch.zeros(options.batch, 2, dtype=torch.int64, device=device)
    inputs = Inputs(draw(DAYS, len(CHANNELS.history)), draw(len(CHANNELS.static)), None, days, corners)
    target = draw(len(CHANNELS.leads))
    model = ConvLSTM(CHANNELS, FILTERS, dropout=0.0).to(device).train()
    lasts = copy.deepcopy(model).to(memory_format=torch.channels_last)
    ways: dict[str, tuple[Any, bool]] = {
        "plain cell, float32": (made_plain(model), False),
        "vadose, float32": (copy.deepcopy(model), False),
        "vadose, channels last, float32": (lasts, False),
        "vadose, bf16": (copy.deepcopy(model), True),
    }
    if options.compile:
        ways["vadose, float32, compiled"] = torch.compile(copy.deepcopy(model)), False
        ways["vadose, bf16, compiled"] = torch.compile(copy.deepcopy(model)), True
    print(
        f"Batch {options.batch}, {torch.get_num_threads()} threads, {platform.machine()}, {device}, torch "
        f"{torch.__version__}, load {os.getloadavg()[0]:.1f} before\n"
    )
    print("| way | samples/s | of processor | times the plain cell | loss after the steps |\n|---|---|---|---|---|")
    first = 0.0
    measured: dict[str, Callable[[], tuple[float, float, float]]] = {
        way: partial(steps_of, network, inputs, target, options.steps, bf16) for way, (network, bf16) in ways.items()
    }
    if options.keras:
        of_keras = partial(steps_of_keras, options.batch, len(CHANNELS.leads), options.steps)
        measured["Keras on TensorFlow, float32"] = of_keras
    for way, measure in measured.items():
        clock, processor, loss = measure()
        first = first or processor
        print(
            f"| {way} | {options.batch / clock:,.0f} | {options.batch / processor:,.0f} | {first / processor:.2f} | "
            f"{loss:.6f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
