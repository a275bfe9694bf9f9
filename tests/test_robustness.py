"""Units do not matter, and no ordinary set of tasks makes a model diverge."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skmeta import ReptileClassifier, ReptileRegressor

SHAPES = pytest.mark.parametrize("hidden", [(), (8,)], ids=["linear", "mlp"])

# Kelvin for Celsius, cents for euros, offsets much larger than the spread
UNITS = [
    (np.array([1.8, 1.0, 1.0]), np.array([32.0, 273.15, 0.0]), 1.0, 0.0),
    (np.array([1e-6, 1.0, 1e6]), np.array([0.0, -1e4, 1e9]), 100.0, 0.0),
    (np.array([2.0, 1e3, 1e-3]), np.array([0.0, 1e6, 5.0]), 1e-8, 1.0e-3),
    (np.array([1e-12, 1e12, 1.0]), np.array([0.0, 0.0, 1e4]), 1e10, -1e14),
]


@pytest.mark.parametrize("units", UNITS)
@SHAPES
def test_units_of_rows_and_targets_do_not_matter_to_a_regressor(
    units, hidden, linear_tasks
):
    scale, shift, y_scale, y_shift = units
    X, y = linear_tasks[0]
    model, other = (
        ReptileRegressor(hidden, max_iter=30, random_state=0) for _ in range(2)
    )
    model.meta_fit(linear_tasks[1:])
    other.meta_fit(
        [(X * scale + shift, y * y_scale + y_shift) for X, y in linear_tasks[1:]]
    )
    expected = model.adapt(X[:5], y[:5]).predict(X)
    other = other.adapt(X[:5] * scale + shift, y[:5] * y_scale + y_shift)
    found = (other.predict(X * scale + shift) - y_shift) / y_scale
    assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.std(y))


@pytest.mark.parametrize("units", UNITS)
@SHAPES
def test_units_of_rows_do_not_matter_to_a_classifier(units, hidden, label_tasks):
    scale, shift, *_ = units
    X, y = label_tasks[0]
    model, other = (
        ReptileClassifier(hidden, max_iter=30, random_state=0) for _ in range(2)
    )
    model.meta_fit(label_tasks[1:])
    other.meta_fit([(X * scale + shift, y) for X, y in label_tasks[1:]])
    expected = model.adapt(X[:5], y[:5]).predict_proba(X)
    other = other.adapt(X[:5] * scale + shift, y[:5])
    assert_allclose(other.predict_proba(X * scale + shift), expected, atol=1e-3)


def wild_tasks(n_tasks, seed, n_features=3):
    """Ragged tasks with everything that real tables hold.

    One to 30 rows; repeated rows; columns that are constant in a task or everywhere;
    outliers of a hundred deviations; targets that do not vary.
    """
    rng = np.random.default_rng(seed)
    tasks = []
    for _ in range(n_tasks):
        n = rng.choice([1, 2, 3, 5, 10, 30])
        X = rng.standard_normal((n, n_features)) * [1.0, 100.0, 0.01]
        kind = rng.choice(["plain", "repeated", "constant", "outlier", "flat"])
        if kind == "repeated":
            X[:] = X[0]
        if kind == "constant":
            X[:, rng.integers(n_features)] = 7.0
        y = X @ (rng.standard_normal(n_features) / [1.0, 100.0, 0.01])
        y += 0.1 * rng.standard_normal(n)
        if kind == "outlier":
            X[rng.integers(n)] *= 100.0
            y[rng.integers(n)] += 100.0
        if kind == "flat":
            y[:] = 5.0
        X = np.column_stack([X, np.full(n, 3.0)])
        tasks.append((X, y))
    return tasks


def support_of(tasks, rng):
    """Up to ten rows of each task."""
    for X, y in tasks:
        n = rng.integers(1, min(len(y), 10), endpoint=True)
        yield X[:n], y[:n]


@pytest.fixture(scope="module")
def wild():
    return wild_tasks(1000, seed=0)


@pytest.mark.parametrize(
    ("learning_rate", "loss"),
    [
        (0.01, "squared_error"),
        (0.5, "squared_error"),
        (0.5, "huber"),
    ],
)
@SHAPES
def test_no_regressor_diverges_on_wild_tasks(learning_rate, hidden, loss, wild):
    model = ReptileRegressor(
        hidden, learning_rate=learning_rate, loss=loss, max_iter=20, random_state=0
    ).meta_fit(wild)
    largest = max(np.abs(y).max() for _, y in wild)
    rng = np.random.default_rng(0)
    # not every task, to save time
    every = 2 if (learning_rate, loss) == (0.5, "squared_error") else 4
    for X, y in support_of(wild[::every], rng):
        adapted = model.adapt(X, y)
        before, after = model.predict(X), adapted.predict(X)
        assert np.isfinite(after).all()
        assert np.abs(after).max() <= 10.0 * max(largest, np.abs(before).max())
        if loss == "squared_error":  # backtracking never lets the support loss rise
            assert np.sum((after - y) ** 2) <= np.sum((before - y) ** 2) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("learning_rate", "task_classes"),
    [(0.01, "shared"), (0.5, "shared"), (0.5, "own")],
)
@SHAPES
def test_no_classifier_diverges_on_wild_tasks(
    learning_rate, hidden, task_classes, wild
):
    labelled = [(X, np.where(y > 5, 2, y > 0).astype(int)) for X, y in wild]
    model = ReptileClassifier(
        hidden,
        learning_rate=learning_rate,
        task_classes=task_classes,
        max_iter=20,
        random_state=0,
    ).meta_fit(labelled)
    rng = np.random.default_rng(0)
    for X, y in support_of(labelled[::4], rng):
        p = model.adapt(X, y).predict_proba(X)
        assert np.isfinite(p).all()
        assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)


@SHAPES
def test_many_calls_of_partial_adapt_do_not_diverge(hidden, wild):
    model = ReptileRegressor(hidden, max_iter=20, random_state=0).meta_fit(wild[:200])
    X, y = max(wild, key=lambda task: len(task[1]))
    for _ in range(30):
        model.partial_adapt(X, y)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@SHAPES
def test_targets_that_never_vary_are_learned(solver, hidden):
    rng = np.random.default_rng(0)
    tasks = [(rng.normal(size=(5, 2)), np.full(5, 42.0)) for _ in range(10)]
    model = ReptileRegressor(hidden, solver=solver, max_iter=200, random_state=0)
    model.meta_fit(tasks)
    X, y = tasks[0]
    assert_allclose(model.adapt(X, y).predict(X), 42.0, atol=0.5)


@SHAPES
def test_columns_that_never_vary_are_ignored(hidden, linear_tasks):
    with_constant = [
        (np.column_stack([X, np.full(len(X), 1e6)]), y) for X, y in linear_tasks
    ]
    model = ReptileRegressor(hidden, max_iter=20, random_state=0)
    model.meta_fit(with_constant)
    X, y = with_constant[0]
    moved = X.copy()
    adapted = model.adapt(X, y)
    assert np.isfinite(adapted.predict(moved)).all()
    assert_allclose(adapted.prior_coefs_[0][-1], model.coefs_[0][-1])


def test_no_features_vary_at_all():
    tasks = [(np.ones((4, 2)), np.arange(4.0) + i) for i in range(6)]
    model = ReptileRegressor(max_iter=50, random_state=0).meta_fit(tasks)
    adapted = model.adapt(np.ones((4, 2)), np.full(4, 9.0))
    assert model.predict([[1.0, 1.0]]) < adapted.predict([[1.0, 1.0]]) <= 9.0


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150])
def test_numbers_near_the_ends_of_the_range_are_finite_or_refused(scale, linear_tasks):
    tasks = [(X * scale, y) for X, y in linear_tasks]
    model = ReptileRegressor(max_iter=10, random_state=0)
    with np.errstate(all="ignore"):
        try:
            model.meta_fit(tasks)
        except ValueError as error:
            assert "finite" in str(error) or "X holds" in str(error)
        else:
            X, y = tasks[0]
            assert np.isfinite(model.adapt(X, y).predict(X)).all()
