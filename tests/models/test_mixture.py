"""The mixture of members against samples drawn from it, and its rule for members without a deviation."""

from typing import Any

import numpy as np
import pytest

from vadose.models.mixture import mixture

NONE = np.full(2, np.nan, np.float32)
MEANS = np.array([[0.2, 0.3], [0.26, 0.3], [0.3, np.nan]], np.float32)
STDS = np.array([[0.02, 0.05], [0.01, 0.05], [0.04, 0.05]], np.float32)


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 1.0), np.array([[1, 1], [3, 1], [0, 1]], np.float32)])
def test_it_has_the_moments_of_samples_drawn_from_the_members(weights: Any) -> None:
    mean, std = mixture(zip(MEANS, STDS, strict=True), weights)
    w = np.broadcast_to(np.ones((3, 1)) if weights is None else np.reshape(weights, (3, -1)), (3, 2))[:, 0]
    rng = np.random.default_rng(0)
    member = rng.choice(3, 400_000, p=w / w.sum())
    drawn = rng.normal(MEANS[member, 0], STDS[member, 0])
    np.testing.assert_allclose([mean[0], std[0]], [drawn.mean(), drawn.std()], rtol=5e-3)
    assert np.isnan([mean[1], std[1]]).all()  # a member is unknown there


def test_a_member_without_a_deviation_leaves_none_but_among_draws() -> None:
    members = [(MEANS[0], STDS[0]), (MEANS[1], NONE)]
    assert np.isnan(mixture(members)[1]).all()
    np.testing.assert_allclose(mixture(members, (1.0, 0.0))[1], STDS[0], rtol=1e-4)  # it has no weight
    spread = [0.03, 0.0]
    np.testing.assert_allclose(mixture([(mean, NONE) for mean in MEANS[:2]], draws=True)[1], spread, atol=1e-6)
    expected = np.sqrt(np.square(spread) + np.square(STDS[0]) / 2)
    np.testing.assert_allclose(mixture(members, draws=True)[1], expected, rtol=1e-4)


def test_one_draw_keeps_what_it_has() -> None:
    for std in (STDS[0], NONE):
        mean, own = mixture([(MEANS[0], std)], draws=True)
        np.testing.assert_array_equal([mean, own], [MEANS[0], std])
