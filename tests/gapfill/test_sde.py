import numpy as np
import pytest
import torch
from scipy.linalg import expm

from vadose.gapfill.sde import Gaussian, Seen, Steps, kalman_filter, steps

TIMES, SERIES, PAIRS = 40, 3, 4


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_eigenbasis_equals_the_full_matrix_form() -> None:
    """Dense exponentials, Van Loan's covariance integral and a full Kalman gain, series by series."""
    torch.manual_seed(0)
    shape = TIMES, 2, SERIES, PAIRS
    rates, density, drive = torch.rand(shape) + 0.05, torch.rand(shape), torch.randn(shape)
    days = 3 * torch.rand(TIMES, 1, SERIES, 1)
    days[10] = 0.0
    angle = torch.rand(PAIRS)
    observed, variance = torch.randn(TIMES, SERIES, PAIRS), torch.rand(TIMES, SERIES, PAIRS) + 0.1
    known = (torch.rand(TIMES, SERIES, 1) < 0.6).double()
    observer = torch.stack([angle.cos(), angle.sin()])[:, None]
    start = Gaussian(torch.zeros(2, SERIES, PAIRS), torch.eye(2)[:, :, None, None] * torch.ones(SERIES, PAIRS))
    seen = kalman_filter(observed, variance, known, steps(rates, density, drive, days), observer, start)

    cos, sin = np.diag(angle.cos().numpy()), np.diag(angle.sin().numpy())
    basis = np.block([[cos, sin], [-sin, cos]])
    eye = np.eye(2 * PAIRS)
    p_of = eye[:PAIRS]
    for b in range(SERIES):
        mean, covariance = np.zeros(2 * PAIRS), eye
        for t in range(TIMES):
            a = basis @ np.diag(-rates[t, :, b].numpy().ravel()) @ basis.T
            q = basis @ np.diag(density[t, :, b].numpy().ravel()) @ basis.T
            step = float(days[t, 0, b, 0])
            through = expm(a * step)
            van_loan = expm(np.block([[-a, q], [0 * a, a.T]]) * step)
            added = van_loan[2 * PAIRS :, 2 * PAIRS :].T @ van_loan[: 2 * PAIRS, 2 * PAIRS :]
            mean = through @ mean + np.linalg.solve(a, (through - eye) @ basis @ drive[t, :, b].numpy().ravel())
            covariance = through @ covariance @ through.T + added
            np.testing.assert_allclose(seen.prior_mean[t, b], p_of @ mean, atol=1e-11)
            np.testing.assert_allclose(seen.prior_variance[t, b], np.diag(covariance)[:PAIRS], atol=1e-11)
            if known[t, b, 0]:
                innovation = p_of @ covariance @ p_of.T + np.diag(variance[t, b].numpy())
                gain = covariance @ p_of.T @ np.linalg.inv(innovation)
                mean = mean + gain @ (observed[t, b].numpy() - p_of @ mean)
                covariance = covariance - gain @ p_of @ covariance
            np.testing.assert_allclose(seen.mean[t, b], p_of @ mean, atol=1e-11)
            np.testing.assert_allclose(seen.variance[t, b], np.diag(covariance)[:PAIRS], atol=1e-11)


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("times", "series", "seen"), [(40, 3, 0.6), (1, 1, 1.0), (5, 2, 0.0)])
def test_without_gradients_the_compiled_loop_filters_the_same(times, series, seen, dtype, apart) -> None:
    torch.manual_seed(0)
    shape = times, 2, series, PAIRS
    through = steps(torch.rand(shape) + 0.05, torch.rand(shape), torch.randn(shape), torch.rand(times, 1, series, 1))
    angle = torch.rand(PAIRS)
    observed, variance = torch.randn(times, series, PAIRS), torch.rand(times, series, PAIRS) + 0.1
    known = (torch.rand(times, series, 1) < seen).double()
    observer = torch.stack([angle.cos(), angle.sin()])[:, None]
    start = Gaussian(torch.randn(2, series, PAIRS), torch.eye(2)[:, :, None, None] * torch.ones(series, PAIRS))
    given = [x.to(dtype) for x in (observed, variance, known, *through, observer, *start)]

    def filtered() -> Seen:
        return kalman_filter(*given[:3], Steps(*given[3:6]), given[6], Gaussian(*given[7:]))

    with torch.inference_mode():
        fast = filtered()
    for plain, found in zip(filtered(), fast, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy(), plain.numpy(), rtol=apart, atol=apart)


def test_a_simulated_process_is_filtered_as_gaussian_conditioning_says() -> None:
    """One damped integrator with known parameters: the mean and variance given all earlier observations."""
    generator = np.random.default_rng(0)
    rates, density, error, n = np.array([0.1, 0.7]), np.array([0.3, 0.9]), 0.05, 60
    angle = 0.4
    weights = np.array([np.cos(angle), np.sin(angle)])
    times = np.cumsum(generator.exponential(1.5, n))
    apart = np.abs(times[:, None] - times)
    covariance = sum(w**2 * q / (2 * r) * np.exp(-r * apart) for w, q, r in zip(weights, density, rates, strict=True))
    truth = np.linalg.cholesky(covariance + 1e-12 * np.eye(n)) @ generator.normal(size=n)
    observed = truth + np.sqrt(error) * generator.normal(size=n)

    def everywhere(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values)[None, :, None, None].expand(n, 2, 1, 1)

    days = torch.tensor(np.diff(times, prepend=times[0]))[:, None, None, None]
    start = Gaussian(torch.zeros(2, 1, 1), torch.diag(torch.tensor(density / (2 * rates)))[..., None, None])
    seen = kalman_filter(
        torch.tensor(observed)[:, None, None],
        torch.full((n, 1, 1), error),
        torch.ones(n, 1, 1),
        steps(everywhere(rates), everywhere(density), everywhere(0 * rates), days),
        torch.tensor(weights)[:, None, None],
        start,
    )
    for t in range(n):
        past = slice(0, t + 1)
        solved = np.linalg.solve(covariance[past, past] + error * np.eye(t + 1), covariance[past, t])
        assert float(seen.mean[t]) == pytest.approx(solved @ observed[past], abs=1e-5)
        assert float(seen.variance[t]) == pytest.approx(covariance[t, t] - solved @ covariance[past, t], abs=1e-5)
    assert (seen.mean[:, 0, 0].numpy() - truth).std() < (observed - truth).std()


def test_long_and_empty_steps_reach_their_limits() -> None:
    one = torch.ones(1, 2, 1, 1)
    still = steps(one, one, one, torch.zeros(1, 1, 1, 1))
    assert [float(x[0, 0, 0, 0]) for x in still] == [1.0, 0.0, 0.0]
    long = steps(0.5 * one, 3 * one, 2 * one, torch.full((1, 1, 1, 1), 1e4))
    assert [float(x[0, 0, 0, 0]) for x in long] == pytest.approx([0.0, 4.0, 3.0])


def test_without_observations_the_state_only_goes_on() -> None:
    through = Steps(*(torch.full((5, 2, 1, 1), x) for x in (0.5, 0.0, 0.0)))
    start = Gaussian(torch.ones(2, 1, 1), torch.eye(2)[..., None, None])
    nothing = torch.zeros(5, 1, 1)
    seen = kalman_filter(nothing, nothing + 1, nothing, through, torch.tensor([1.0, 0.0])[:, None, None], start)
    assert seen.mean[:, 0, 0].tolist() == pytest.approx([0.5**k for k in range(1, 6)])
    assert torch.equal(seen.mean, seen.prior_mean)
    assert torch.equal(seen.variance, seen.prior_variance)
