"""Meta-training in portions: a stream of tasks, and of more rows of known ones."""

from copy import deepcopy

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    TaskStatistics,
)
from skmeta.datasets import make_linear_tasks


def tasks_of(kind, n=16, seed=0):
    """Tasks {id: (X, y)} of numbers, labels or counts."""
    labels = "classification" if "Classifier" in kind.__name__ else "regression"
    tasks = make_linear_tasks(n, n_features=2, kind=labels, random_state=seed)
    tasks = {f"t{i}": (X[:10], y[:10]) for i, (X, y) in enumerate(tasks)}
    if kind is EmpiricalBayesPoissonRegressor:
        tasks = {
            i: (X, np.floor(np.exp(np.clip(y, -3, 3)))) for i, (X, y) in tasks.items()
        }
    return tasks


def in_two(tasks):
    """Some tasks, and then more rows of one of them together with all others."""
    names = list(tasks)
    first = {name: tasks[name] for name in names[:9]}
    X, y = tasks[names[3]]
    first[names[3]] = X[:4], y[:4]
    rest = {name: tasks[name] for name in names[9:]}
    rest[names[3]] = X[4:], y[4:]
    return first, rest


def with_scaling_of(model, tasks):
    """The model that learns from all tasks with the scaling and structure of another.

    It is told the structure; its scaling is put in the place of its own.
    """
    other = clone(model).set_params(prior=model.prior_structure_)
    scaling = model._frame.scaling
    other._fit_scaling = lambda *rows: scaling
    return other.meta_fit(tasks)


@pytest.mark.parametrize(
    ("model", "rtol"),
    [
        (EmpiricalBayesRegressor("full", noise="task"), 1e-4),
        (EmpiricalBayesRegressor("diagonal", row_order="time", noise="shared"), 1e-4),
        (EmpiricalBayesClassifier("intercept"), 1e-3),
        (EmpiricalBayesPoissonRegressor("intercept"), 1e-3),
    ],
    ids=lambda value: repr(value)[14:40],
)
def test_a_stream_gives_what_all_tasks_give_in_the_same_scaling(model, rtol):
    model.set_params(random_state=0)
    tasks = tasks_of(type(model))
    first, rest = in_two(tasks)
    streamed = clone(model).partial_meta_fit(first)
    streamed.partial_meta_fit(rest)
    assert streamed.n_tasks_ == 16 and streamed.n_adapt_rows_ == 0
    expected = with_scaling_of(streamed, tasks)
    for name in ("prior_coef_", "prior_intercept_", "prior_covariance_"):
        found, right = getattr(streamed, name), getattr(expected, name)
        assert_allclose(found, right, rtol=rtol, atol=rtol)
    X, y = tasks["t0"]
    adapted = streamed.adapt(X, y)
    assert_allclose(
        adapted.coef_, expected.adapt(X, y).coef_, rtol=10 * rtol, atol=rtol
    )
    assert not hasattr(adapted, "stream_")


def test_a_regressor_keeps_sums_and_takes_them():
    tasks = tasks_of(EmpiricalBayesRegressor)
    first, rest = in_two(tasks)
    model = EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)
    by_rows = clone(model).partial_meta_fit(first).partial_meta_fit(rest)
    parts = [
        TaskStatistics.from_rows(
            np.concatenate([X for X, _ in part.values()]),
            np.concatenate([y for _, y in part.values()]),
            np.repeat(list(part), [len(y) for _, y in part.values()]),
        )
        for part in (first, rest)
    ]
    by_sums = clone(model).partial_meta_fit(parts[0]).partial_meta_fit(parts[1])
    assert isinstance(by_rows.stream_, TaskStatistics) and len(by_sums.stream_) == 16
    assert_allclose(by_sums.prior_covariance_, by_rows.prior_covariance_, rtol=1e-6)
    # the widths of intervals are measured on the rows of the first call
    X, y = tasks["t1"]
    adapted = by_rows.adapt(X[:5], y[:5])
    low, high = adapted.predict_interval(X[5:]).T
    assert (low < high).all()
    with pytest.warns(UserWarning, match="coverage is not measured"):
        by_sums.predict_interval(X)


def test_a_stream_goes_on_from_a_file(tmp_path):
    tasks = tasks_of(EmpiricalBayesClassifier, 12)
    names = list(tasks)
    parts = [{name: tasks[name] for name in names[i::2]} for i in (0, 1)]
    model = EmpiricalBayesClassifier("intercept", random_state=0)
    model.partial_meta_fit(parts[0])
    joblib.dump(model, tmp_path / "model.joblib")
    model.partial_meta_fit(parts[1])
    again = joblib.load(tmp_path / "model.joblib").partial_meta_fit(parts[1])
    assert_array_equal(again.prior_covariance_, model.prior_covariance_)
    assert sorted(set(again.stream_.ids)) == sorted(names)


def test_tasks_without_ids_are_new_tasks():
    tasks = list(tasks_of(EmpiricalBayesRegressor, 12).values())
    model = EmpiricalBayesRegressor("intercept", noise="shared", random_state=0)
    model.partial_meta_fit(tasks[:10]).partial_meta_fit(tasks[10:])
    assert model.n_tasks_ == 12 and list(model.stream_) == list(range(12))
    model.partial_meta_fit({3: tasks[0]})
    assert model.n_tasks_ == 12
    with pytest.raises(ValueError, match="different kinds"):
        model.partial_meta_fit({"three": tasks[0]})
    named = clone(model).partial_meta_fit(dict(zip("abcdefgh", tasks, strict=False)))
    with pytest.raises(ValueError, match="have no ids"):
        named.partial_meta_fit(tasks[:2])


def test_a_stream_may_begin_with_one_task():
    tasks = tasks_of(EmpiricalBayesRegressor, 12)
    model = EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)
    name = next(iter(tasks))
    model.partial_meta_fit({name: tasks[name]}).partial_meta_fit(tasks)
    assert model.n_tasks_ == 12 and model.prior_structure_ == "diagonal"


@pytest.mark.parametrize("kind", [ReptileRegressor, ReptileClassifier])
def test_reptile_continues_its_loop_and_keeps_its_scaling(kind):
    tasks = list(tasks_of(kind, 20).values())
    model = kind(hidden_layer_sizes=(), max_iter=5, random_state=0)
    streamed = clone(model).partial_meta_fit(tasks[:10])
    scaling = streamed._frame.scaling
    streamed.partial_meta_fit(tasks[10:])
    assert streamed._frame.scaling is scaling and not streamed.warm_start
    warm = clone(model).set_params(warm_start=True)
    warm.meta_fit(tasks[:10]).meta_fit(tasks[10:])
    assert_array_equal(streamed.prior_coefs_[0], warm.prior_coefs_[0])
    assert streamed.n_tasks_ == 20 and not hasattr(streamed, "stream_")


def test_what_cannot_go_on_is_refused_and_changes_nothing():
    tasks = tasks_of(EmpiricalBayesRegressor, 12)
    fitted = EmpiricalBayesRegressor(
        "intercept", noise="shared", random_state=0
    ).meta_fit(tasks)
    with pytest.raises(ValueError, match="Begin with partial_meta_fit"):
        fitted.partial_meta_fit(tasks)
    for options in ({"base_estimator": Ridge()}, {"features": LearnedFeatures()}):
        with pytest.raises(ValueError, match="cannot go on"):
            EmpiricalBayesRegressor(**options).partial_meta_fit(tasks)
    with pytest.raises(TypeError, match="cannot learn in portions"):
        PrototypicalClassifier().partial_meta_fit(tasks)
    with pytest.raises(TypeError, match="learns from rows"):
        X, y = tasks["t0"]
        statistics = TaskStatistics.from_rows(X, y, np.zeros(10))
        EmpiricalBayesClassifier().partial_meta_fit(statistics)
    model = clone(fitted).partial_meta_fit(tasks)
    before = dict(vars(model))
    for wrong in ({"t0": (X[:, :1], y)}, {"t0": (X, y * np.nan)}, {}, {5: (X, y)}):
        with pytest.raises(ValueError):
            model.partial_meta_fit(wrong)
    assert all(vars(model)[name] is value for name, value in before.items())
    with pytest.raises(ValueError, match="began with fit_intercept=True"):
        deepcopy(model).set_params(fit_intercept=False).partial_meta_fit(tasks)
    with pytest.raises(ValueError, match=r"sums of rows.*half_life=3\.0"):
        deepcopy(model).set_params(half_life=3.0).partial_meta_fit(tasks)
    model.meta_fit(tasks)
    assert not hasattr(model, "stream_")


def test_labels_that_are_new_to_a_stream_are_refused():
    tasks = tasks_of(EmpiricalBayesClassifier, 10)
    model = EmpiricalBayesClassifier("intercept", random_state=0)
    model.partial_meta_fit(tasks)
    X, y = tasks["t0"]
    with pytest.raises(ValueError, match="labels not seen"):
        model.partial_meta_fit({"t0": (X, y + 5)})
