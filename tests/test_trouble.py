"""Signs of trouble, against their definitions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.optimize import minimize

from skmeta._core.descent import trouble
from skmeta._core.layout import ParamLayout
from skmeta._core.network import LOSSES, Network
from skmeta._core.tasks import TaskTable

TARGETS = {
    "squared_error": lambda rng: rng.normal(size=(12, 1)),
    "log_loss": lambda rng: rng.integers(2, size=(12, 1)).astype(float),
    "softmax_log_loss": lambda rng: np.eye(3)[np.arange(12) % 3],
}


def make_table(loss, weight=None, n_classes=None):
    rng = np.random.default_rng(0)
    Y = TARGETS[loss](rng)
    weight = np.ones(12) if weight is None else weight
    return TaskTable(np.zeros((12, 1)), Y, weight, np.array([0, 4, 12]), n_classes)


def network_of(table, loss):
    return Network(ParamLayout((1, table.Y.shape[1])), "tanh", loss)


@pytest.mark.parametrize("loss", TARGETS)
def test_no_constant_output_has_a_lower_loss_than_the_one_found(loss):
    table = make_table(loss)

    def mean_loss(output):
        return LOSSES[loss](np.broadcast_to(output, table.Y.shape), table.Y)[0].mean()

    best = minimize(mean_loss, np.zeros(table.Y.shape[1])).fun
    found = trouble.constant_loss(network_of(table, loss), table)
    assert_allclose(found, best, rtol=1e-6)


def test_a_light_row_counts_in_full_in_the_loss_of_a_constant():
    weight = np.where(np.arange(12) == 3, 1e-6, 1.0)
    table = make_table("squared_error", weight)
    table.Y[:] = 0.0
    table.Y[3] = 100.0
    found = trouble.constant_loss(network_of(table, "squared_error"), table)
    assert_allclose(found, 0.5 * 100.0**2 / 12, rtol=1e-3)


def test_with_own_classes_a_constant_knows_the_number_of_classes_only():
    table = make_table("softmax_log_loss", n_classes=np.array([2, 3]))
    found = trouble.constant_loss(network_of(table, "softmax_log_loss"), table)
    assert_allclose(found, (4 * np.log(2) + 8 * np.log(3)) / 12)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix])
def test_uneven_columns_are_large_or_small_but_not_empty(make):
    columns = np.array([1.0, 20.0, 0.05, 0.0, 9.0, 0.2])
    X = make(np.array([[1.0], [-1.0], [1.0]]) * columns)
    numbers, sizes = trouble.uneven_columns(X)
    assert numbers.tolist() == [1, 2]
    assert_allclose(sizes, columns)


@pytest.mark.parametrize(("size", "even"), [(0.0, True), (1.0, True), (50.0, False)])
def test_targets_are_even_if_their_size_is_about_one_or_zero(size, even):
    assert trouble.is_even(size * np.array([[1.0], [-1.0]])) is even


def test_training_has_failed_if_it_ends_far_above_a_constant():
    flat, high = [1.0] * 100, [1.0] * 90 + [4.0] * 10
    assert trouble.training_failed(flat, 1.0, True) is None
    assert trouble.training_failed(high, 1.0, True) == 4.0
    assert trouble.training_failed(high, 1.4, True) is None


def test_a_short_run_whose_loss_falls_has_not_failed():
    falling = np.linspace(9.0, 4.0, 40).tolist()
    assert trouble.training_failed(falling, 1.0, True) is None
    assert trouble.training_failed(falling[::-1], 1.0, True) == pytest.approx(8.8, 0.05)


def test_adapting_raises_a_loss_only_by_more_than_a_tenth():
    before = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    after = np.array([1.05, 1.2, 0.05, 0.2, np.nan])
    assert trouble.raised(before, after, 1.0).tolist() == [1, 3, 4]
