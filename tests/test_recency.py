"""Rows in order of time: forgetting old ones, and giving earlier rows before later."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    adapt,
    meta_fit,
)
from skmeta._core.prior.calibration import _parted
from skmeta._core.prior.recency import Recency
from skmeta.model_selection import compare_baselines, few_shot_scores

AGES = np.arange(20)[::-1]


def drifting(n_tasks, n_rows=20, seed=0, kind="numbers", step=0.5):
    """Tasks whose level takes a random walk; the second column is the week."""
    rng, tasks = np.random.default_rng(seed), []
    for _ in range(n_tasks):
        x = rng.normal(size=n_rows)
        level = rng.normal() + rng.normal(0, step, size=n_rows).cumsum()
        y = level + x + 0.3 * rng.normal(size=n_rows)
        if kind == "labels":
            y = (level + x + rng.logistic(size=n_rows) > 0).astype(int)
        elif kind == "counts":
            y = rng.poisson(np.exp(0.5 * (level + x)))
        tasks.append((np.column_stack([x, 7.0 * np.arange(n_rows)]), y))
    return tasks


@cache
def model_of(kind, tasks=8, **options):
    """A fitted model, which no test changes."""
    classes = {
        "numbers": EmpiricalBayesRegressor,
        "noise": EmpiricalBayesRegressor,
        "labels": EmpiricalBayesClassifier,
        "counts": EmpiricalBayesPoissonRegressor,
    }
    if kind in ("numbers", "noise"):
        options["noise"] = "task" if kind == "noise" else "shared"
    model = classes[kind]("isotropic", tol=1e-2, random_state=0, **options)
    return model.meta_fit(drifting(tasks, kind=kind))


def answer(model, X):
    found = model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)
    return np.ravel(found)


KINDS = ["numbers", "noise", "labels", "counts"]


# -- adapting -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numbers", "noise"])
def test_rows_count_as_if_they_had_the_weights_of_their_ages(kind):
    X, y = drifting(1, seed=1, kind=kind)[0]
    plain, weight = model_of(kind), np.random.default_rng(2).uniform(0.5, 2.0, size=20)
    by_rows = plain.adapt(X, y, weight * 0.5 ** (AGES / 5))
    by_weeks = plain.adapt(X, y, weight * 0.5 ** (7 * AGES / 20.0))
    for options, expected in (
        ({"half_life": 5}, by_rows),
        ({"half_life": 20.0, "time_column": 1}, by_weeks),
        ({"half_life": np.inf}, plain.adapt(X, y, weight)),
        ({"row_order": "time"}, plain.adapt(X, y, weight)),
    )[: 2 if kind == "noise" else 4]:
        found = model_of(kind, **options).adapt(X, y, weight)
        assert found.coef_ == pytest.approx(expected.coef_, rel=1e-9)
        assert found.covariance_ == pytest.approx(expected.covariance_, rel=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", [None, 1])
def test_portions_of_rows_give_the_answer_of_all_rows(kind, column):
    X, y = drifting(1, seed=1, kind=kind)[0]
    model = model_of(kind, half_life=6.0, time_column=column)
    expected = answer(model.adapt(X, y), X)
    few = model.adapt(X[:5], y[:5])
    for rows in (slice(5, 6), slice(6, 20)):
        few.partial_adapt(X[rows], y[rows])
    assert few.n_adapt_rows_ == 20
    assert answer(few, X) == pytest.approx(expected, rel=1e-7)
    all_alike = answer(model_of(kind).adapt(X, y), X)
    assert np.abs(all_alike - expected).max() > 0.01


def test_with_a_column_of_times_rows_may_come_in_any_order():
    X, y = drifting(1, seed=1)[0]
    model = model_of("numbers", half_life=30.0, time_column=1)
    order = np.random.default_rng(0).permutation(20)
    late, early = order[:8], order[8:]
    few = model.adapt(X[late], y[late]).partial_adapt(X[early], y[early])
    assert few.predict(X) == pytest.approx(model.adapt(X, y).predict(X), rel=1e-9)


def test_the_unit_of_a_column_of_times_does_not_matter():
    tasks = drifting(12)
    X, y = drifting(1, seed=1)[0]
    scale = np.array([1.0, 1e5])
    in_weeks = EmpiricalBayesRegressor(
        "diagonal", noise="shared", half_life=30, time_column=1, random_state=0
    )
    in_seconds = clone(in_weeks).set_params(half_life=30e5)
    in_weeks.meta_fit(tasks)
    in_seconds.meta_fit([(X * scale, y) for X, y in tasks])
    assert in_weeks.half_life_ == pytest.approx(30.0)
    assert in_seconds.half_life_ == pytest.approx(30e5)
    expected = in_weeks.adapt(X, y).predict(X)
    assert in_seconds.adapt(X * scale, y).predict(X * scale) == pytest.approx(expected)


def test_a_row_of_weight_zero_ages_nothing():
    X, y = drifting(1, seed=1)[0]
    model = model_of("numbers", half_life=4.0)
    weight = np.ones(20)
    weight[[3, 10, 19]] = 0.0
    kept = weight > 0
    found = model.adapt(X, y, weight).predict(X)
    assert found == pytest.approx(model.adapt(X[kept], y[kept]).predict(X))


def test_forgetting_changes_nothing_of_the_learned_prior():
    plain = model_of("numbers")
    for options in ({"half_life": 3.0}, {"half_life": "auto", "time_column": 1}):
        found = model_of("numbers", **options)
        for name in ("prior_coef_", "prior_covariance_", "noise_variance_"):
            assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-9)


def test_many_tasks_at_once_are_adapted_as_one_after_the_other():
    model = model_of("numbers", half_life=4.0)
    tasks = drifting(4, seed=1)
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    task = np.repeat(np.arange(4), 20)
    mixed = np.argsort(np.tile(np.arange(20), 4), kind="stable")
    found = model.adapt_predict(X[mixed], y[mixed], X, task=task[mixed], task_new=task)
    expected = [model.adapt(X, y).predict(X) for X, y in tasks]
    assert found == pytest.approx(np.concatenate(expected))


def test_a_model_without_memory_suggests_questions_and_gives_intervals():
    X, y = drifting(1, seed=1)[0]
    few = model_of("numbers", half_life=2.0).adapt(X, y)
    assert len(few.suggest_queries(X, 2)) == 2
    forgetful = np.ptp(few.predict_interval(X), axis=1).mean()
    kept = np.ptp(model_of("numbers").adapt(X, y).predict_interval(X), axis=1).mean()
    assert 0 < forgetful and np.isfinite(kept)


# -- what is learned ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numbers", "noise", "labels", "counts"])
def test_a_short_half_life_is_learned_where_levels_drift(kind):
    tasks = drifting(40 if kind == "labels" else 20, 25, kind=kind, step=1.0)
    model = clone(model_of(kind)).set_params(half_life="auto", prior="intercept")
    assert model.meta_fit([(X[:, :1], y) for X, y in tasks]).half_life_ <= 16.0


def test_the_learned_half_life_is_in_the_units_of_the_column():
    model = model_of("numbers", tasks=30, half_life="auto", time_column=1)
    assert 7.0 <= model.half_life_ <= 8 * 7.0
    scaled = make_pipeline(StandardScaler(), clone(model))
    scaled = meta_fit(scaled, drifting(30))
    X, y = drifting(1, seed=1)[0]
    expected = model.adapt(X, y).predict(X)
    assert adapt(scaled, X, y).predict(X) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["numbers", "labels"])
@pytest.mark.parametrize("column", [None, 1])
def test_nothing_is_forgotten_where_rows_are_shuffled(kind, column):
    rng, shuffled = np.random.default_rng(0), []
    for X, y in drifting(20, kind=kind):
        order = rng.permutation(20)
        columns = np.column_stack([X[order, 0], np.arange(20.0)])
        shuffled.append((columns, y[order]))
    model = clone(model_of(kind)).set_params(half_life="auto", time_column=column)
    assert model.meta_fit(shuffled).half_life_ == np.inf


def test_few_tasks_learn_no_half_life():
    assert model_of("numbers", tasks=4, half_life="auto").half_life_ == np.inf
    X, y = drifting(1)[0]
    model = EmpiricalBayesRegressor(half_life="auto").fit(X, y)
    assert model.half_life_ == np.inf
    assert not hasattr(clone(model).set_params(half_life=None).fit(X, y), "half_life_")


def test_intervals_in_order_of_time_hold_their_share_where_levels_drift():
    held = {}
    for order in ("random", "time"):
        model = model_of("numbers", tasks=120, row_order=order)
        held[order] = []
        for X, y in drifting(100, seed=1):
            low, high = model.adapt(X[:8], y[:8]).predict_interval(X[8:], 0.8).T
            held[order].append(np.mean((low <= y[8:]) & (y[8:] <= high)))
    assert np.mean(held["random"]) < 0.7
    assert np.mean(held["time"]) == pytest.approx(0.8, abs=0.06)


def test_the_order_of_rows_counts_within_tasks_only():
    tasks = drifting(12)
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    task, week = np.repeat(np.arange(12), 20), np.tile(np.arange(20), 12)
    model = EmpiricalBayesRegressor(
        "isotropic", noise="shared", row_order="time", random_state=0
    )
    reference = clone(model).fit(X, y, task=task)
    by_week = np.argsort(week, kind="stable")
    other = clone(model).fit(X[by_week], y[by_week], task=99 - task[by_week])
    order = np.random.default_rng(0).permutation(240)
    by_column = clone(model).set_params(time_column=1)
    by_column.fit(X[order], y[order], task=task[order])
    shuffled = clone(model).fit(X[order], y[order], task=task[order])
    ends = [
        fitted.adapt(X[:5], y[:5]).predict_interval(X[5:9])
        for fitted in (reference, other, by_column, shuffled)
    ]
    assert ends[1] == pytest.approx(ends[0])
    assert ends[2] == pytest.approx(ends[0])
    assert np.abs(ends[3] - ends[0]).max() > 1e-3


def test_a_draw_in_order_of_time_gives_the_first_rows_and_asks_for_the_next():
    X, y = np.arange(12.0)[:, None], np.arange(12.0)[:, None]
    rng = np.random.RandomState(0)
    given, asked = _parted((X, y, np.ones(12)), 2, 4, 50, 5, rng, Recency(1.0))
    assert (given[0][..., 0] == [0, 1, 2]).all()
    counted = {2: (0.5, 1.0, 0.0), 3: (0.25, 0.5, 1.0)}
    firsts = asked[0][:, 0, 0].astype(int)
    assert set(firsts) == {2, 3}
    for first, rows, weight in zip(firsts, asked[1][..., 0], given[2], strict=True):
        assert (rows == np.arange(first, first + 9)).all()
        assert tuple(weight) == counted[first]


# -- what else it works with ----------------------------------------------------------


def test_sparse_rows_and_a_base_model_and_features():
    X, y = drifting(1, seed=1)[0]
    dense = model_of("numbers", half_life=20.0, time_column=1)
    tasks = drifting(8)
    thin = clone(dense).meta_fit([(sparse.csr_matrix(X), y) for X, y in tasks])
    found = thin.adapt(sparse.csr_matrix(X), y).predict(X)
    assert found == pytest.approx(dense.adapt(X, y).predict(X))
    base = RandomForestRegressor(2, min_samples_leaf=5, random_state=0)
    features = LearnedFeatures((4,), max_iter=5)
    for extra in ({"base_estimator": base}, {"features": features}):
        model = clone(dense).set_params(**extra).meta_fit(tasks)
        few = model.adapt(X[:10], y[:10]).partial_adapt(X[10:], y[10:])
        assert few.predict(X) == pytest.approx(model.adapt(X, y).predict(X))


def test_a_name_finds_the_column_of_times_behind_a_transformer():
    tasks = [(pd.DataFrame(X, columns=["x", "week"]), y) for X, y in drifting(8)]
    X, y = tasks[0]
    model = EmpiricalBayesRegressor(
        "isotropic", half_life=20.0, time_column="week", random_state=0
    )
    expected = clone(model).meta_fit(tasks).adapt(X, y).predict(X)
    scale = ColumnTransformer(
        [("scale", StandardScaler(), ["x"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    pipe = make_pipeline(scale, model)
    with pytest.raises(ValueError, match=r"has no names of columns.*set_output"):
        meta_fit(pipe, tasks)
    pipe.set_output(transform="pandas")
    assert adapt(meta_fit(pipe, tasks), X, y).predict(X) == pytest.approx(expected)
    pipe[0].set_params(remainder="drop")
    with pytest.raises(ValueError, match=r"time_column='week' is no column.*\bx\."):
        meta_fit(pipe, tasks)


def test_a_column_of_times_must_exist():
    tasks = drifting(4)
    with pytest.raises(ValueError, match="time_column=2, but X has 2 columns"):
        EmpiricalBayesRegressor(half_life=5.0, time_column=2).meta_fit(tasks)
    with pytest.raises(ValueError, match="half_life"):
        EmpiricalBayesRegressor(half_life=0.0).meta_fit(tasks)


# -- scores ---------------------------------------------------------------------------


class Recording(EmpiricalBayesRegressor):
    """Keeps the rows that it is adapted to, by their second column."""

    seen = []

    def adapt(self, X, y, sample_weight=None):
        Recording.seen.append((X[:, 1] / 7.0).tolist())
        return super().adapt(X, y, sample_weight)


def flat(tasks):
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    return X, y, np.repeat(np.arange(len(tasks)), [len(y) for _, y in tasks])


def given_rows(order, **options):
    model = Recording("isotropic", noise="shared", random_state=0, **options)
    model.meta_fit(drifting(6))
    Recording.seen = []
    X, y, task = flat(drifting(2, 14, seed=1))
    shuffle = np.random.default_rng(0).permutation(len(y))
    if "time_column" in options:
        X, y, task = X[shuffle], y[shuffle], task[shuffle]
    few_shot_scores(model, X, y, task, n_support=4, row_order=order, n_repeats=2)
    return Recording.seen[:2]


def test_scores_in_order_of_time_cut_tasks_and_give_the_rows_before():
    first, second = [0, 1, 2, 3], [5, 6, 7, 8]
    assert given_rows("time") == [first, second]
    for options in ({"half_life": 3.0}, {"row_order": "time"}):
        assert given_rows(None, **options) == [first, second]
    sorted_by_column = given_rows(None, row_order="time", time_column=1)
    assert sorted_by_column == [first, second]


def test_random_rows_keep_their_order_if_the_model_forgets():
    alike, forgetting = given_rows(None), given_rows("random", half_life=3.0)
    assert [sorted(rows) for rows in alike] == forgetting
    assert alike != forgetting


def test_scores_in_order_of_time_are_those_of_a_plain_loop():
    model = model_of("numbers", half_life=5.0)
    X, y, task = flat(drifting(3, 15, seed=1))
    options = {"n_support": 5, "scoring": "neg_mean_absolute_error"}
    found = few_shot_scores(model, X, y, task, **options, n_repeats=2)
    for t in range(3):
        rows = np.flatnonzero(task == t)
        for column, cut in enumerate((5, 10)):
            few = model.adapt(X[rows[cut - 5 : cut]], y[rows[cut - 5 : cut]])
            error = np.abs(few.predict(X[rows[cut:]]) - y[rows[cut:]]).mean()
            assert found[t, column] == pytest.approx(-error)
    one = few_shot_scores(model, X, y, task, n_repeats=3, n_support=5)
    assert model.score(X, y, task=task) == pytest.approx(one.mean())


def test_classes_in_proportion_are_refused_in_order_of_time():
    model = model_of("labels", half_life=5.0)
    X, y, task = flat(drifting(3, seed=1, kind="labels"))
    with pytest.raises(ValueError, match=r"stratify=True.*row_order='time'"):
        few_shot_scores(model, X, y, task, stratify=True)


def test_a_comparison_takes_order_of_time_from_its_models():
    X, y, task = flat(drifting(4, 8))
    options = {
        "task": task,
        "n_support": (0, 3),
        "baselines": ["own model"],
        "n_repeats": 1,
        "cv": 2,
    }
    model = EmpiricalBayesRegressor(
        "isotropic", noise="shared", half_life=3.0, random_state=0
    )
    found = compare_baselines(model, X, y, **options)
    said = compare_baselines(model, X, y, **options, row_order="time")
    for name, scores in found.scores.items():
        assert scores == pytest.approx(said.scores[name])
    model.set_params(time_column=1)
    backwards = np.arange(len(y))[::-1]
    options["task"] = task[backwards]
    with (
        config_context(assume_finite=True),
        pytest.raises(ValueError, match="are not in order of time_column"),
    ):
        compare_baselines(model, X[backwards], y[backwards], **options)
