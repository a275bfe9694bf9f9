"""The made tasks are what their formulas say."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from skmeta.datasets import make_linear_tasks, make_sinusoid_tasks, split_tasks

MAKERS = pytest.mark.parametrize("make", [make_linear_tasks, make_sinusoid_tasks])


@MAKERS
def test_the_seed_decides(make):
    for a, b in zip(make(3, random_state=1), make(3, random_state=1), strict=True):
        assert_array_equal(a[0], b[0])
        assert_array_equal(a[1], b[1])
    assert (make(1, random_state=1)[0][1] != make(1, random_state=2)[0][1]).any()


@MAKERS
def test_there_are_as_many_tasks_and_rows_as_asked_for(make):
    tasks = make(4, 7, random_state=0)
    assert isinstance(tasks, list)
    assert [len(X) for X, _ in tasks] == [7] * 4
    assert [y.shape for _, y in tasks] == [(7,)] * 4


def test_sinusoids_follow_their_formula():
    for X, y in make_sinusoid_tasks(5, 40, random_state=0):
        assert X.shape == (40, 1)
        assert np.abs(X).max() <= 5.0
        waves = np.column_stack([np.sin(X[:, 0]), np.cos(X[:, 0])])
        (sine, cosine), residuals, *_ = np.linalg.lstsq(waves, y, rcond=None)
        assert_allclose(residuals, 0.0, atol=1e-20)
        assert 0.1 <= np.hypot(sine, cosine) <= 5.0  # the amplitude
        assert 0.0 <= np.arctan2(cosine, sine) <= np.pi  # the phase


def test_sinusoids_stay_in_the_ranges_given():
    (X, y), *_ = make_sinusoid_tasks(
        1,
        1000,
        amplitude=(2.0, 2.0),
        phase=(0.0, 0.0),
        frequency=(3.0, 3.0),
        x_range=(1.0, 2.0),
        noise=0.1,
        random_state=0,
    )
    assert 1.0 <= X.min() and X.max() <= 2.0
    assert_allclose(np.std(y - 2.0 * np.sin(3.0 * X[:, 0])), 0.1, rtol=0.1)


def test_coefficients_of_linear_tasks_vary_by_the_spread_given():
    spread = [2.0, 0.5, 0.0]
    tasks = make_linear_tasks(500, 10, 3, spread=spread, noise=0.0, random_state=0)
    w = np.array([np.linalg.lstsq(X, y, rcond=None)[0] for X, y in tasks])
    assert_allclose(w.std(axis=0), spread, rtol=0.1, atol=1e-10)


def test_noise_of_linear_tasks_has_the_deviation_given():
    X, y = make_linear_tasks(1, 1000, 2, noise=3.0, random_state=0)[0]
    _, residual, *_ = np.linalg.lstsq(X, y, rcond=None)
    assert_allclose(np.sqrt(residual / 1000), 3.0, rtol=0.1)


def test_labels_follow_the_logistic_of_the_same_coefficients():
    labels = make_linear_tasks(2, 5000, 3, kind="classification", random_state=0)
    numbers = make_linear_tasks(2, 5000, 3, noise=0.0, random_state=0)
    for (X, y), (same, margin) in zip(labels, numbers, strict=True):
        assert_array_equal(X, same)
        assert_array_equal(np.unique(y), [0, 1])
        w = np.linalg.lstsq(X, margin, rcond=None)[0]
        model = LogisticRegression(C=1e6).fit(X, y)
        assert_allclose(model.coef_[0], w, atol=0.2)


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"kind must be .*; got 'ranking'"):
        make_linear_tasks(kind="ranking")


# -- split_tasks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((7,), [7, 3]), ((0.7,), [7, 3]), ((5, 0.2), [5, 2, 3]), ((np.int64(9),), [9, 1])],
)
def test_parts_are_disjoint_and_complete(sizes, expected):
    tasks = make_linear_tasks(10, 2, 1, random_state=0)
    parts = split_tasks(tasks, *sizes, random_state=0)
    assert [len(part) for part in parts] == expected
    found = [id(task) for part in parts for task in part]
    assert sorted(found) == sorted(id(task) for task in tasks)


def test_the_seed_decides_the_split():
    tasks = list(range(20))
    assert split_tasks(tasks, 5, random_state=1) == split_tasks(
        tasks, 5, random_state=1
    )
    assert split_tasks(tasks, 5, random_state=1) != split_tasks(
        tasks, 5, random_state=2
    )


def test_a_dict_gives_dicts():
    tasks = {f"S{i}": i for i in range(6)}
    train, test = split_tasks(tasks, 4, random_state=0)
    assert train | test == tasks
    assert not train.keys() & test.keys()


@pytest.mark.parametrize(
    "sizes", [(0,), (10,), (11,), (0.0,), (1.0,), (5, 5), (-1,), ()]
)
def test_every_part_needs_a_task(sizes):
    with pytest.raises(ValueError, match="Every part needs a task"):
        split_tasks(list(range(10)), *sizes)
