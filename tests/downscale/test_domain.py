import pytest
import torch

from vadose.models.domain import domain_distance, training_domain


def rows_of(n: int = 4000) -> torch.Tensor:
    """Four features in units of their own, two of them strongly correlated."""
    z = torch.randn(n, 4, generator=torch.Generator().manual_seed(1))
    z[:, 1] = 0.95 * z[:, 0] + 0.312 * z[:, 1]
    return z * torch.tensor([500.0, 0.1, 1.0, 1e-3]) + torch.tensor([1500.0, 0.3, -40.0, 0.0])


def test_equals_the_mahalanobis_distance_of_the_sample_covariance() -> None:
    rows = rows_of()
    domain = training_domain(rows)
    apart = (rows - rows.mean(0)).double()
    inverse = torch.linalg.inv(torch.cov(apart.T, correction=0))
    expected = torch.sqrt(torch.einsum("ni,ij,nj->n", apart, inverse, apart) / 4)
    expected = expected / torch.quantile(expected, 0.99)
    torch.testing.assert_close(domain_distance(rows, domain).double(), expected, rtol=1e-3, atol=1e-4)


def test_a_new_combination_is_outside_though_each_value_is_common() -> None:
    domain = training_domain(rows_of())
    common, odd = [2000.0, 0.4, -40.0, 0.0], [2000.0, 0.2, -40.0, 0.0]
    inside, outside = domain_distance(torch.tensor([common, odd]), domain)
    assert inside < 1 < outside


def test_gaps_leave_the_distance_of_what_is_known() -> None:
    """With one feature known, it is the z-score of that feature alone, whatever the others correlate with it."""
    rows = rows_of()
    domain = training_domain(rows)
    alone = torch.full((1, 4), torch.nan)
    alone[0, 1] = rows[:, 1].mean() + 3 * rows[:, 1].std(correction=0)
    assert float(domain_distance(alone, domain) * domain["scale"]) == pytest.approx(3.0, rel=1e-3)
    whole = rows[:50]
    mixed = torch.cat([whole, alone, torch.full((1, 4), torch.nan)])
    torch.testing.assert_close(domain_distance(mixed, domain)[:50], domain_distance(whole, domain))
    assert torch.isnan(domain_distance(mixed, domain)[-1])


def test_classes_that_add_up_to_one_and_constant_features_are_no_trouble() -> None:
    generator = torch.Generator().manual_seed(2)
    classes = torch.nn.functional.one_hot(torch.randint(0, 3, (3000,), generator=generator), 3).float()
    rows = torch.cat([classes, torch.randn(3000, 1, generator=generator), torch.full((3000, 1), 7.0)], dim=1)
    domain = training_domain(rows)
    assert all(torch.isfinite(values).all() for values in domain.values())
    assert float((domain_distance(rows, domain) <= 1).float().mean()) == pytest.approx(0.99, abs=2e-3)
    assert float(domain_distance(torch.tensor([[1.0, 0.0, 0.0, 0.0, 9.0]]), domain)) > 1


def test_rows_with_gaps_of_their_own_teach_the_same_domain() -> None:
    rows = rows_of(20000)
    gaps = rows.clone()
    gaps[torch.rand(rows.shape, generator=torch.Generator().manual_seed(3)) < 0.2] = torch.nan
    probe = rows[:200]
    whole, taught = (domain_distance(probe, training_domain(r)) for r in (rows, gaps))
    assert float(((whole - taught).abs() / whole).median()) < 0.1
