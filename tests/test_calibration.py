"""Widths of prediction intervals, against the share of targets that they hold."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from skmeta._core.calibration import (
    MIN_ERRORS,
    MIN_OF_SIZE,
    N_LEVELS,
    SUPPORT_EDGES,
    interval_levels,
    normal_levels,
    width,
)
from skmeta._core.gaussian_prior import condition, gather
from skmeta._core.prior import Search

NOISES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy-tailed": lambda rng, n: rng.standard_t(3, size=n),
}


def draw(n_tasks, n, noise, rng):
    """Tasks (X, Y, weight, offset) of a slope and an intercept."""
    parts = []
    for _ in range(n_tasks):
        X = np.column_stack([rng.normal(size=n), np.ones(n)])
        y = X @ rng.normal([1.0, 0.0], 0.7) + noise(rng, n)
        parts.append((X, y[:, None], np.ones(n), np.zeros((n, 1))))
    return parts


def search(parts):
    tasks = gather([(X, Y[:, 0], weight) for X, Y, weight, _ in parts], True)
    return Search(tasks, (1, 1, True), np.random.RandomState(0), tol=1e-5, max_iter=500)


def unseen(parts, folds):
    """Pairs of a prior and the rows of a task held out from it."""
    return [(fold.prior, parts[task]) for fold in folds for task in fold.held_out]


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("kind", NOISES)
def test_intervals_hold_the_share_of_new_targets_that_is_asked_for(kind, coverage):
    rng = np.random.default_rng(0)
    parts = draw(150, 15, NOISES[kind], rng)
    chosen = search(parts).run("isotropic")
    levels = interval_levels(unseen(parts, chosen.folds), np.random.RandomState(0))
    held, prior = [], chosen.prior
    for X, Y, weight, _ in draw(400, 25, NOISES[kind], rng):
        mean, factor = condition(
            prior.mean, prior.factor, prior.noise, X[:5], Y[:5, 0], weight[:5]
        )
        deviation = np.sqrt(((X[5:] @ factor) ** 2).sum(axis=1) + prior.noise)
        error = np.abs(Y[5:, 0] - X[5:] @ mean)
        held.append(error < width(levels, coverage, 5) * deviation)
    assert abs(np.mean(held) - coverage) < 0.025


def test_heavy_tails_narrow_the_middle_and_widen_the_ends():
    parts = draw(150, 15, NOISES["heavy-tailed"], np.random.default_rng(0))
    folds = search(parts).run("isotropic").folds
    levels = interval_levels(unseen(parts, folds), np.random.RandomState(0))
    assert width(levels, 0.5, 5) < 0.9 * norm.ppf(0.75)
    assert width(levels, 0.99, 5) > 1.1 * norm.ppf(0.995)


def test_levels_grow_and_are_not_negative():
    parts = draw(20, 15, NOISES["normal"], np.random.default_rng(0))
    folds = search(parts).run("isotropic").folds
    for levels in (
        interval_levels(unseen(parts, folds), np.random.RandomState(0)),
        normal_levels()[None],
    ):
        assert levels.shape[1] == N_LEVELS
        assert (np.diff(levels) >= 0).all() and (levels[:, 0] >= 0).all()
        assert np.isfinite(levels).all()


def test_normal_levels_are_the_quantiles_of_the_size_of_a_normal_error():
    expected = norm.ppf(0.5 + 0.5 * np.array([0.5, 0.8, 0.9, 0.95]))
    found = [
        width(normal_levels()[None], coverage, 0) for coverage in (0.5, 0.8, 0.9, 0.95)
    ]
    assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("n_tasks", "n"),
    [(4, 40), (10, 5), (30, 1)],
    ids=["no folds", "few errors", "one row per task"],
)
def test_with_too_few_errors_they_are_those_of_a_normal(n_tasks, n):
    parts = draw(n_tasks, n, NOISES["heavy-tailed"], np.random.default_rng(0))
    folds = search(parts).run("isotropic").folds
    assert n_tasks * (n - 1) < MIN_ERRORS or not folds
    found = interval_levels(unseen(parts, folds), np.random.RandomState(0))
    assert_array_equal(found, np.tile(normal_levels(), (len(SUPPORT_EDGES) - 1, 1)))


def test_the_same_seed_gives_the_same_levels():
    parts = draw(20, 15, NOISES["normal"], np.random.default_rng(0))
    folds = search(parts).run("isotropic").folds
    one, same, other = (
        interval_levels(unseen(parts, folds), np.random.RandomState(seed))
        for seed in (0, 0, 1)
    )
    assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_a_number_of_rows_with_errors_enough_has_levels_of_its_own():
    rng = np.random.default_rng(0)
    many = draw(400, 7, NOISES["normal"], rng)
    prior = search(many).run("isotropic").prior
    levels = interval_levels([(prior, rows) for rows in many], np.random.RandomState(0))
    assert 400 * 6 > MIN_OF_SIZE  # errors after one row
    assert np.abs(levels[0] - levels[1]).max() > 0
    # no task has seven rows to give, and one to tell besides: errors of all sizes
    assert_array_equal(levels[3], levels[4])
    few = interval_levels(
        [(prior, rows) for rows in many[:40]], np.random.RandomState(0)
    )
    assert_array_equal(few, np.tile(few[0], (len(few), 1)))


def test_the_width_is_that_of_the_number_of_rows_given():
    levels = np.arange(5.0)[:, None] * np.ones(N_LEVELS)
    sizes = {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 6: 2, 7: 3, 11: 3, 12: 4, 20: 4, 500: 4}
    assert {n: width(levels, 0.5, n) for n in sizes} == sizes
