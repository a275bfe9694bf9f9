"""Adam against its formula, and the course of its rate."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skmeta._core import adam


def test_steps_are_those_of_the_paper():
    rng = np.random.default_rng(0)
    theta = x = rng.normal(size=5)
    state, m, v = adam.start(theta), 0.0, 0.0
    for t in range(1, 21):
        g = rng.normal(size=5)
        theta, state = adam.step(theta, g, state, 0.1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        assert_allclose(theta, x, rtol=1e-12)


def test_a_huge_gradient_counts_as_one_of_the_largest_norm_allowed():
    theta, g = np.zeros(3), np.array([3.0, 4.0, 0.0])
    _, huge = adam.step(theta, 1e6 * g, adam.start(theta), 0.1)
    _, largest = adam.step(
        theta, adam.MAX_GRADIENT_NORM * g / 5, adam.start(theta), 0.1
    )
    assert_allclose(huge.mean, largest.mean)


def test_single_precision_is_kept():
    theta = np.ones(3, dtype=np.float32)
    theta, state = adam.step(theta, theta, adam.start(theta), np.float32(0.1))
    assert {theta.dtype, state.mean.dtype, state.mean_square.dtype} == {theta.dtype}
    assert theta.dtype == np.float32


@pytest.mark.parametrize(
    ("i", "expected"), [(0, 1.0), (25, 1.0), (50, 1.0), (75, 0.5), (100, 0.0)]
)
def test_the_rate_is_constant_for_half_of_the_run_and_then_falls_to_zero(i, expected):
    assert adam.fraction(i, 100) == expected
