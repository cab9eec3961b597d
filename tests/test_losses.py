import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vadose.training.losses import rmse_correlation


def series(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    observed = torch.rand(12, 2, 3, 3, generator=generator)
    return observed + 0.1 * torch.randn(observed.shape, generator=generator), observed


@given(st.integers(0, 100))
def test_what_was_not_observed_does_not_count(seed: int) -> None:
    predicted, observed = series(seed)
    hidden = observed.clone()
    hidden[::3] = torch.nan
    other = predicted.clone()
    other[::3] = 99.0
    assert rmse_correlation(predicted, hidden) == rmse_correlation(other, hidden)


def test_correlation_term_is_the_mean_over_leads() -> None:
    predicted, observed = series()
    r = [torch.corrcoef(torch.stack([predicted[:, i].flatten(), observed[:, i].flatten()]))[0, 1] for i in (0, 1)]
    found = rmse_correlation(predicted, observed, alpha=0.0, beta=1.0)
    assert found.item() == pytest.approx(0.1 * (1 - sum(r) / 2).item(), abs=1e-5)


def test_the_printed_form_rewards_anticorrelation_and_the_corrected_one_does_not() -> None:
    _, observed = series()
    against = observed.mean() * 2 - observed
    printed = [rmse_correlation(p, observed, alpha=0.0, form="printed") for p in (observed, against)]
    corrected = [rmse_correlation(p, observed, alpha=0.0) for p in (observed, against)]
    assert printed[1] < printed[0]
    assert corrected[0] < corrected[1]


def test_the_printed_form_takes_the_means_as_published() -> None:
    predicted, observed = series()
    predicted = predicted + 0.2
    terms = []
    for lead in (0, 1):
        p, o = predicted[:, lead].double(), observed[:, lead].double()
        above = ((p - o.mean()) * (o - o.mean())).sum()
        terms.append(above / (((p - o.mean()) ** 2).sum() * ((o - p.mean()) ** 2).sum()).sqrt())
    found = rmse_correlation(predicted, observed, alpha=0.0, form="printed")
    assert found.item() == pytest.approx(0.95 * sum(terms).item() / 2, abs=1e-6)


@pytest.mark.parametrize("case", ["perfect", "constant", "nothing observed"])
def test_gradients_stay_finite(case: str) -> None:
    _, observed = series()
    predicted = observed.clone() if case == "perfect" else torch.full_like(observed, 0.3)
    if case == "nothing observed":
        observed = torch.full_like(observed, torch.nan)
    predicted.requires_grad_()
    loss = rmse_correlation(predicted, observed)
    loss.backward()
    assert torch.isfinite(loss)
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="form 'squared' unknown"):
        rmse_correlation(*series(), form="squared")
