"""Shapes of the spread between tasks, against finite differences and formulas."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.prior.structures import (
    NONE,
    SMALLEST,
    Beside,
    Diagonal,
    Full,
    LowRank,
    groups,
)

STRUCTURES = {
    "own spreads": Diagonal(np.arange(4)),
    "shared spreads": Diagonal(np.array([0, 0, 1, 0])),
    "some without": Diagonal(np.array([NONE, 0, NONE, 1])),
    "rank 1": LowRank(4, 1),
    "rank 3": LowRank(4, 3),
    "beside": Beside(
        np.array([True, True, False, False]), np.array([[0], [0], [1.0], [-0.5]])
    ),
    "full": Full(4),
    "full, shrunk": Full(4, shrinkage=3.0),
}
EACH = pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)


def numbers_of(structure, seed=0):
    return np.random.default_rng(seed).normal(size=structure.n_numbers)


def differences(function, x, h=1e-6):
    """Gradient of a function of a vector by central differences."""
    return np.array(
        [(function(x + h * e) - function(x - h * e)) / (2 * h) for e in np.eye(len(x))]
    )


def covariance(structure, numbers):
    L = structure.factor(numbers)
    return L @ L.T


def spd(n, seed=0):
    A = np.random.default_rng(seed).normal(size=(n, n))
    return A @ A.T + np.eye(n)


@EACH
def test_a_gradient_in_the_factor_is_carried_back_to_the_numbers(structure):
    D = spd(4) - 3 * np.eye(4)  # the gradient of tr(L'DL) / 2 in L is D L

    def value(numbers):
        L = structure.factor(numbers)
        return 0.5 * np.trace(L.T @ D @ L)

    numbers = numbers_of(structure)
    assert_allclose(
        structure.gradient(numbers, D), differences(value, numbers), atol=1e-7
    )


@EACH
def test_the_gradient_of_the_penalty_is_that_of_finite_differences(structure):
    numbers = numbers_of(structure)
    _, slope = structure.penalty(numbers)
    expected = differences(lambda x: structure.penalty(x)[0], numbers)
    assert_allclose(slope, expected, atol=1e-6)


def test_the_penalty_is_the_log_likelihood_of_uncorrelated_tasks():
    structure = Full(4, shrinkage=3.0)
    numbers = numbers_of(structure)
    sigma = covariance(structure, numbers)
    R = sigma / np.sqrt(np.outer(np.diag(sigma), np.diag(sigma)))
    expected = -1.5 * (np.linalg.slogdet(R)[1] + np.trace(np.linalg.inv(R)) - 4)
    assert_allclose(structure.penalty(numbers)[0], expected)
    assert expected < -0.1


def test_without_correlation_there_is_no_penalty_and_no_slope_of_it():
    structure = Full(4, shrinkage=3.0)
    numbers = numbers_of(structure)
    numbers[4:] = 0.0
    value, slope = structure.penalty(numbers)
    assert value == 0.0
    assert_allclose(slope, np.zeros(10), atol=1e-12)


def test_the_penalty_does_not_depend_on_the_spreads():
    structure = Full(4, shrinkage=3.0)
    numbers, others = numbers_of(structure), numbers_of(structure)
    others[:4] = [1e-9, -3.0, 0.2, 5.0]
    assert_allclose(structure.penalty(others)[0], structure.penalty(numbers)[0])


@EACH
def test_bounds_are_one_pair_per_number_and_hold_the_start(structure):
    start = structure.start(np.diag([0.5, 2.0, 1e4, 0.0]), spd(4))
    low, high = np.array(structure.bounds).T
    assert start.shape == low.shape == (structure.n_numbers,)
    assert (low < start).all() and (start < high).all()


@pytest.mark.parametrize("structure", [Diagonal(np.arange(3)), Full(3, 2.0)], ids=str)
def test_a_start_has_the_given_variances(structure):
    given = np.diag([0.04, 1.0, 400.0])
    assert_allclose(covariance(structure, structure.start(given, None)), given)


def test_a_start_of_shared_spreads_has_their_mean_variance():
    structure = Diagonal(np.array([0, 0, NONE, 1]))
    start = structure.start(np.diag([1.0, 3.0, 9.0, 0.25]), None)
    assert_allclose(covariance(structure, start), np.diag([2.0, 2.0, 0.0, 0.25]))


@EACH
def test_no_search_starts_from_a_spread_of_zero(structure):
    start = structure.start(np.zeros((4, 4)), np.eye(4))
    slope = structure.gradient(start, np.eye(4))
    own = np.diag(covariance(structure, start))
    moving = own > 0
    if isinstance(structure, Diagonal):
        assert_array_equal(moving, structure.groups != NONE)
    else:
        assert moving.all()
    assert (own[moving] >= 0.5 * SMALLEST**2 - 1e-15).all()
    assert np.abs(slope).max() > 0


def test_a_low_rank_start_goes_where_more_spread_raises_the_evidence():
    direction = np.array([3.0, 0.0, 4.0, 0.0]) / 5
    D = 7.0 * np.outer(direction, direction) - np.eye(4)
    structure = LowRank(4, 1)
    start = structure.start(np.eye(4), D)
    expected = 0.5 * np.eye(4) + 0.5 * np.outer(direction, direction)
    assert_allclose(covariance(structure, start), expected)


def test_a_low_rank_start_is_in_units_of_the_spreads_found_before():
    deviations = np.array([1.0, 10.0, 100.0])
    D = spd(3)
    structure = LowRank(3, 1)
    one = covariance(structure, structure.start(np.eye(3), D))
    in_other_units = structure.start(
        np.diag(deviations**2), D / np.outer(deviations, deviations)
    )
    assert_allclose(
        covariance(structure, in_other_units), one * np.outer(deviations, deviations)
    )


def test_a_spread_is_linear_in_its_number_below_the_noise_and_exponential_above():
    spreads = Diagonal(np.arange(2)).factor(np.array([1e-4, 6.0])).diagonal()
    assert_allclose(spreads, [1e-4, np.exp(6.0) / 2], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "fit_intercept", "expected"),
    [
        ("intercept", True, [NONE, NONE, 0, NONE, NONE, 0]),
        ("isotropic", True, [0, 0, 1, 0, 0, 1]),
        ("isotropic", False, [0, 0, 0, 0]),
        ("intercept", False, [NONE, NONE, NONE, NONE]),
        ("diagonal", True, [0, 1, 2, 0, 1, 2]),
        ("diagonal", False, [0, 1, 0, 1]),
    ],
)
def test_classes_share_the_spreads_of_slopes_and_of_intercepts(
    name, fit_intercept, expected
):
    assert_array_equal(groups(name, 2, 2, fit_intercept), expected)


def test_features_beside_a_known_spread_share_one_spread_and_leave_it_alone():
    new = np.array([True, False, True])
    known = np.array([[0.0, 0.0], [2.0, 1.0], [0.0, 0.0]])
    structure = Beside(new, known)
    S = covariance(structure, np.array([0.7]))
    expected = known @ known.T + np.diag(np.sinh(0.7) ** 2 * new)
    assert_allclose(S, expected)
