"""Rows that belong together are given or scored as a whole."""

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import EmpiricalBayesRegressor, PrototypicalClassifier
from skmeta._evaluation import Draw, cut_points
from skmeta._units import Units, read_units
from skmeta.datasets import make_linear_tasks
from skmeta.model_selection import (
    compare_baselines,
    few_shot_scores,
    make_few_shot_scorer,
)

MAE = "neg_mean_absolute_error"


@pytest.fixture(scope="module")
def data():
    """A fitted model, and shuffled rows of eight tasks in units of one to three."""
    tasks = make_linear_tasks(20, n_samples=12, noise=0.5, random_state=0)
    model = EmpiricalBayesRegressor("diagonal", random_state=0).meta_fit(tasks[:12])
    X, y = (np.concatenate(part) for part in zip(*tasks[12:], strict=True))
    task = np.repeat(np.arange(8), 12)
    unit = np.tile(np.repeat([4, 1, 0, 3, 2, 5], [1, 2, 3, 1, 3, 2]), 8)
    order = np.random.RandomState(1).permutation(len(y))
    return model, X[order], y[order], task[order], unit[order]


@pytest.mark.parametrize("in_time", [False, True])
@pytest.mark.parametrize("n_query", [None, 2])
def test_units_stay_whole_and_are_what_is_counted(data, in_time, n_query):
    *_, task, unit = data
    order = np.lexsort((unit, task)) if in_time else np.arange(len(unit))
    unit, task = unit[order], task[order]
    units = read_units(unit, task)
    draw = Draw(2, 4, False, in_time, False, None, n_query, units)
    rows = np.flatnonzero(task == 3)
    for given, asked in draw(rows, np.zeros(len(task)), 0):
        for part, size in ((given, 2), (asked, n_query)):
            names = np.unique(unit[part])
            assert size is None or len(names) == size
            assert set(part) == set(rows[np.isin(unit[rows], names)])
        assert not set(unit[given]) & set(unit[asked])
        assert not in_time or given.max() < asked.min()


def test_units_of_one_row_are_as_no_units(data):
    model, X, y, task, _ = data
    alone = few_shot_scores(model, X, y, task, unit=np.arange(len(y)))
    np.testing.assert_array_equal(alone, few_shot_scores(model, X, y, task))


@pytest.mark.parametrize(
    "name",
    [
        str,
        float,
        lambda i: np.datetime64("2026-01-01") + int(i),
        lambda i: frozenset([i]),
        lambda i: "abcdef"[i] if i else 0,
    ],
)
def test_the_ids_of_units_may_be_of_any_type(data, name):
    model, X, y, task, unit = data
    named = np.empty(len(unit), dtype=object)
    named[:] = [name(i) for i in unit]
    scores = few_shot_scores(model, X, y, task, unit=named, n_support=2)
    numbered = few_shot_scores(model, X, y, task, unit=unit, n_support=2)
    np.testing.assert_array_equal(scores, numbered)


def test_a_label_in_two_tasks_means_two_units(data):
    model, X, y, task, unit = data
    apart = np.char.add(task.astype(str), np.char.add("-", unit.astype(str)))
    np.testing.assert_array_equal(
        few_shot_scores(model, X, y, task, unit=apart, n_support=2),
        few_shot_scores(model, X, y, task, unit=unit, n_support=2),
    )


def test_many_tasks_at_once_score_as_one_by_one(data):
    model, X, y, task, unit = data
    weight = np.random.RandomState(0).randint(0, 3, len(y))
    options = {"unit": unit, "n_support": 2, "sample_weight": weight}

    def one_by_one(model, X, y, sample_weight):
        return -np.average(np.abs(model.predict(X) - y), weights=sample_weight)

    np.testing.assert_allclose(
        few_shot_scores(model, X, y, task, scoring=MAE, **options),
        few_shot_scores(model, X, y, task, scoring=one_by_one, **options),
    )


def test_the_own_score_takes_units(data):
    model, X, y, task, unit = data
    options = {"unit": unit, "n_support": 5}
    scores = few_shot_scores(model, X, y, task, scoring="r2", **options)
    with pytest.warns(UserWarning, match="undefined"):
        assert model.score(X, y, task=task, unit=unit) == np.nanmean(scores)
    with pytest.raises(ValueError, match="Pass the ids as task=ids"):
        model.score(X, y, unit=unit)


def test_a_search_hands_units_to_the_scorer(data):
    _, X, y, task, unit = data
    model = make_pipeline(StandardScaler(), EmpiricalBayesRegressor("diagonal"))
    scorer = make_few_shot_scorer(MAE, n_support=2, n_query=3, n_repeats=1)
    cv = GroupKFold(2)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            model,
            {"empiricalbayesregressor__standardize": [True]},
            refit=False,
            cv=cv.set_split_request(groups="task"),
            scoring=scorer,
            error_score="raise",
        )
        plain = search.fit(X, y, task=task).cv_results_
        with_units = search.fit(X, y, task=task, unit=unit).cv_results_
        search.set_params(scoring=scorer.set_score_request(unit="basket"))
        renamed = search.fit(X, y, task=task, basket=unit).cv_results_
    train, test = next(cv.split(X, y, task))
    model.fit(X[train], y[train], empiricalbayesregressor__task=task[train])
    expected = few_shot_scores(
        model,
        X[test],
        y[test],
        task[test],
        unit=unit[test],
        scoring=MAE,
        n_support=2,
        n_query=3,
        n_repeats=1,
    )
    np.testing.assert_allclose(with_units["split0_test_score"], expected.mean())
    np.testing.assert_array_equal(
        renamed["split0_test_score"], with_units["split0_test_score"]
    )
    assert plain["split0_test_score"] != with_units["split0_test_score"]


def test_in_order_of_time_a_unit_must_be_in_one_piece(data):
    model, X, y, task, unit = data
    with pytest.raises(ValueError, match=r"Unit \d of task 0 is in \d pieces"):
        few_shot_scores(model, X, y, task, unit=unit, row_order="time")


def test_rows_of_one_time_keep_the_order_of_their_units():
    units = read_units(np.array(list("abab")), np.zeros(4, dtype=int))
    order = units.in_time(np.arange(4), np.array([0, 4]), ["t"], np.zeros(4))
    assert order.tolist() == [0, 2, 1, 3]


def test_the_last_cut_leaves_the_horizon():
    assert cut_points(3, 12, 3, 2).tolist() == [3, 6, 10]
    assert cut_points(3, 4, 3, 2).tolist() == [3, 3, 3]
    assert Units().of(np.arange(3)).ends(np.array([2, 0])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("row_order", ["random", "time"])
def test_a_comparison_counts_units(data, row_order):
    _, X, y, task, unit = data
    order = np.lexsort((unit, task))
    found = compare_baselines(
        EmpiricalBayesRegressor("diagonal", random_state=0),
        X[order],
        y[order],
        task=task[order],
        unit=unit[order],
        n_support=(0, 2, 4),
        n_query=2,
        row_order=row_order,
        pooled=Ridge(),
        baselines=["support mean", "pooled + offset", "own model", "neighbours"],
        cv=2,
        n_repeats=2,
    )
    assert all(np.isfinite(scores).all() for scores in found.scores.values())
    assert "units given" in str(found) and "after 4 units" in found.verdict
    assert "row" not in found.verdict
    assert found.unit == "unit"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "basket"}, r"pass the column itself.*unit=df\['basket'\]"),
        ({"unit": [1, 2]}, "unit has 2 ids, but X has 96 rows"),
        ({"unit": [None] * 96}, "96 missing ids, .* the id of their unit"),
        ({"stratify": True}, "unit or choice_set keeps rows together"),
        ({"n_support": 6}, "the longest has 6 units.*more units in all"),
        ({"n_support": 6, "small_tasks": "raise"}, "Task 0 has 6 units: n_support=6"),
    ],
)
def test_errors_name_the_unit_and_the_remedy(data, options, message):
    model, X, y, task, unit = data
    with pytest.raises(ValueError, match=message):
        few_shot_scores(model, X, y, task, **({"unit": unit} | options))


def test_a_comparison_refuses_more_units_than_there_are(data):
    _, X, y, task, unit = data
    with pytest.raises(ValueError, match="No task has more than 6 units"):
        compare_baselines(
            EmpiricalBayesRegressor(), X, y, task=task, unit=unit, n_support=6
        )


def test_units_are_refused_where_rows_of_each_class_must_be_given():
    X, y = np.random.RandomState(0).randn(24, 2), np.tile([0, 1], 12)
    task = np.repeat([0, 1], 12)
    model = PrototypicalClassifier(max_iter=2, random_state=0).fit(X, y, task=task)
    with pytest.raises(ValueError, match=r"whatever their classes\. Leave unit out"):
        few_shot_scores(model, X, y, task, unit=np.repeat(np.arange(12), 2))
