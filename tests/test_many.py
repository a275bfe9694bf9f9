"""Many Gaussian tasks at once equal one task after the other."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skmeta._core.prior import gaussian, many
from skmeta._core.prior.calibration import Calibration, KnownVariances
from skmeta._core.prior.design import Design
from skmeta._core.prior.learned import LearnedPrior, SeenRows
from skmeta._core.prior.models import GaussianModel
from skmeta._core.prior.noise_model import NoiseModel

D = 4


def learned_prior(noisy, rng, spread=1.0, fit_intercept=True, n_shared=0):
    P = D + fit_intercept
    factor = rng.normal(size=(P, P)) * spread
    factor = np.linalg.svd(factor)[0] * np.linalg.svd(factor)[1]
    factor[:n_shared] *= 1e-3
    model = GaussianModel()
    if noisy:
        model = NoiseModel(weights=rng.dirichlet(np.ones(9)))
    known = KnownVariances(np.array([1.2, 1.1]), np.array([30.0, 80.0]))
    levels = np.sort(rng.exponential(size=(7, 201)), axis=1)
    return LearnedPrior(
        model=model,
        design=Design(D, fit_intercept),
        structure="full",
        mean=rng.normal(size=P),
        factor=factor,
        first_factor=factor,
        spread=factor,
        unseen=np.zeros((P, 0)),
        noise=0.3,
        log_evidence=0.0,
        n_iter=1,
        start_mean=np.zeros(P),
        calibration=Calibration(known, known, levels, rng.uniform(5, 90, size=7)),
    )


def drawn(learned, rng, sizes):
    """Rows of each task, and the same rows as a `many.ToldRows`."""
    parts, n = [], max(sizes)
    table = np.zeros((len(sizes), n, len(learned.mean) + 1))
    for t, size in enumerate(sizes):
        X, weight = rng.normal(size=(size, D)), rng.uniform(0.2, 3.0, size=size)
        columns = learned.design(X)
        y = columns @ (
            learned.mean + learned.factor @ rng.normal(size=learned.factor.shape[1])
        )
        y = y + rng.normal(size=size) * rng.choice([0.2, 1.0, 3.0])
        parts.append(SeenRows(X, y[:, None], weight, np.zeros((size, 1))))
        table[t, :size] = np.column_stack([columns, y]) * np.sqrt(weight)[:, None]
    return parts, many.ToldRows(table, np.array([p.weight.sum() for p in parts]))


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("block", [2**18, 1])
def test_tasks_are_conditioned_on_as_one_by_one(
    noisy, fit_intercept, block, monkeypatch
):
    monkeypatch.setattr(many, "BLOCK_CELLS", block)
    rng = np.random.default_rng(0)
    learned = learned_prior(noisy, rng, fit_intercept=fit_intercept, n_shared=2)
    parts, told = drawn(learned, rng, [1, 2, 3, 5, 9, 30])
    found = many.condition_many(learned, told)
    means = many.condition_many(learned, told, with_factor=False)
    assert means.factor is None
    X = learned.design(rng.normal(size=(7, D)))
    targets = many.ManyTargets.of(learned, np.broadcast_to(X, (6, *X.shape)), found)
    deviation, freedom = targets.deviation_and_freedom()
    n_rows = np.array([1, 2, 3, 5, 9, 30])
    half = targets.half_width(learned, 0.8, n_rows)
    for t, rows in enumerate(parts):
        one = learned.condition(rows)
        assert_allclose(means.mean[t], one.mean, rtol=1e-10, atol=1e-12)
        assert_allclose(found.mean[t], one.mean, rtol=1e-10, atol=1e-12)
        factor = found.factor[t]
        assert_allclose(
            factor @ factor.T, one.factor @ one.factor.T, rtol=1e-9, atol=1e-13
        )
        if noisy:
            assert_allclose(found.shares[t], one.shares, rtol=1e-10, atol=1e-14)
            assert_allclose(found.of(t).shares, one.shares, rtol=1e-10, atol=1e-14)
        X_one = X[:, :D]
        expected = learned.predictive(X_one, present=one)
        assert_allclose(deviation[t], expected[:, 1], rtol=1e-10)
        assert_allclose(freedom[t], expected[:, 2], rtol=1e-8)
        expected = learned.interval(
            X_one, present=one, coverage=0.8, n_rows=int(n_rows[t])
        )
        assert_allclose(half[t], expected[:, 1], rtol=1e-10)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("spread", [1e2, 1e4, 1e6])
def test_wide_spreads_lose_few_digits(noisy, spread, monkeypatch):
    """The reference goes by the directions of the rows, which is exact and slow."""
    rng = np.random.default_rng(1)
    learned = learned_prior(noisy, rng, spread=spread)
    parts, told = drawn(learned, rng, [1, 3, 5, 8, 20])
    found = many.condition_many(learned, told)
    monkeypatch.setattr(gaussian, "TOO_SPREAD", 0.0)
    for t, rows in enumerate(parts):
        one = learned.condition(rows)
        close = 1e-10 * np.abs(one.mean).max()
        assert_allclose(found.mean[t], one.mean, rtol=1e-10, atol=close)
        if noisy:
            assert_allclose(found.shares[t], one.shares, rtol=1e-9, atol=1e-10)


def test_many_directions_are_taken_one_by_one(monkeypatch):
    rng = np.random.default_rng(2)
    learned = learned_prior(True, rng)
    _, told = drawn(learned, rng, [1, 4, 12])
    expected = many.condition_many(learned, told)
    monkeypatch.setattr(many, "MANY_DIRECTIONS", 3)
    found = many.condition_many(learned, told)
    assert_allclose(found.mean, expected.mean, rtol=1e-10)
    assert_allclose(found.shares, expected.shares, rtol=1e-10)
