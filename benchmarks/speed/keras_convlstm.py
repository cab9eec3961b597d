"""Samples a second of training steps of the ConvLSTM in Keras, run by an interpreter that has it; prints the number.

`ConvLSTM2D` has no peepholes; layers, filters, batch and optimiser are those of the row otherwise.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=4, help="days, rows, columns, predictors", required=True)
    parser.add_argument("--filters", type=int, nargs="+", required=True)
    for name in ("leads", "batch", "steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    network = keras.Sequential([keras.Input(given.shape)])
    for width in given.filters:
        network.add(keras.layers.ConvLSTM2D(width, 3, padding="same", return_sequences=width < given.filters[-1]))
        network.add(keras.layers.BatchNormalization())
        network.add(keras.layers.ReLU())
    network.add(keras.layers.Dropout(0.2))
    network.add(keras.layers.Conv2D(given.leads, 1))
    network.compile("adam", "mse")
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(given.batch, *given.shape)).astype(np.float32)
    target = rng.normal(size=(given.batch, *given.shape[1:3], given.leads)).astype(np.float32)
    network.train_on_batch(windows, target)
    spent = []
    for _ in range(given.steps):
        start = time.perf_counter()
        float(network.train_on_batch(windows, target))
        spent.append(time.perf_counter() - start)
    print(given.batch / float(np.median(spent)))


if __name__ == "__main__":
    main()
