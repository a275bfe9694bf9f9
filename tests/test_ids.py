"""Ids of tasks: what is refused, what warns, and what are equal ids."""

import datetime
import uuid
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    meta_fit,
)
from skmeta.model_selection import few_shot_scores, make_few_shot_scorer

MODELS = [
    EmpiricalBayesRegressor("intercept"),
    EmpiricalBayesClassifier("intercept"),
    PrototypicalClassifier(random_state=0),
    ReptileClassifier(max_iter=2, random_state=0),
    ReptileRegressor(max_iter=2, random_state=0),
]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)


def quick():
    return ReptileRegressor(max_iter=2, random_state=0)


@pytest.fixture(scope="module")
def numbers(label_table):
    """The number of the task of each of the 240 rows."""
    return np.array([int(name[1:]) for name in label_table.ids])


# -- ids that are hardly those of tasks: a warning with the counts --------------------


@every_model
def test_ids_of_several_types_in_one_column_warn(model, label_table, numbers):
    t, mixed = label_table, numbers.astype(object)
    mixed[::2] = [str(i) for i in numbers[::2]]
    for ids in (mixed, list(mixed), pd.Series(mixed)):
        message = "2 kinds: 120 of the kind text such as '0', 120 of the kind number"
        with pytest.warns(UserWarning, match=message):
            assert clone(model).fit(t.X, t.y, task=ids).n_tasks_ == 40


@pytest.mark.parametrize(
    ("kinds", "other"),
    [
        ("date and time and date", lambda i: datetime.date(2024, 1, 1 + int(i))),
        ("with a time zone", lambda i: DAY.tz_localize("UTC") + DAY_S * int(i)),
    ],
)
def test_dates_of_several_kinds_in_one_column_warn(kinds, other, label_table, numbers):
    ids = [DAY + DAY_S * int(i) for i in numbers]
    ids[::2] = [other(i) for i in numbers[::2]]
    with pytest.warns(UserWarning, match="are of 2 kinds: 120 .* 120 "):
        quick().fit(label_table.X, label_table.y, task=ids)


DAY, DAY_S = pd.Timestamp("2024-01-01"), pd.Timedelta(days=1)


@every_model
@pytest.mark.parametrize("dtype", [np.float64, np.float32, object])
def test_ids_with_a_fraction_warn(model, dtype, label_table, numbers):
    t, ids = label_table, (numbers / 2).astype(dtype)
    with pytest.warns(UserWarning, match=r"10 of 20 ids .* fraction, such as 0\.5, in"):
        clone(model).fit(t.X, t.y, task=ids)


@pytest.mark.filterwarnings("ignore")
@every_model
@pytest.mark.parametrize("unit", [1, 3])
def test_one_id_per_row_warns(model, unit, label_table):
    t = label_table
    index = pd.DataFrame(t.X).set_index(pd.Index(unit * np.arange(240))).index
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Each of the 240 rows is a task")
        with pytest.raises(UserWarning, match="the column that names the task"):
            clone(model).fit(t.X, t.y, task=index)


def test_ids_that_differ_only_by_spaces_warn(label_table):
    ids = label_table.ids.astype(object)
    ids[::2] += "  "
    with pytest.warns(UserWarning, match="20 ids .* such as 'S00  ' and 'S00'"):
        quick().fit(label_table.X, label_table.y, task=ids)


def test_floats_too_large_for_whole_numbers_warn(label_table, numbers):
    ids = numbers + 2.0**53
    with pytest.warns(UserWarning, match="neighbouring whole numbers"):
        quick().fit(label_table.X, label_table.y, task=ids)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "ids",
    [
        lambda n: n,
        lambda n: n.astype(float),
        lambda n: n.astype(object),
        lambda n: [float(i) if i % 2 else int(i) for i in n],
        lambda n: n + 2**60,
        lambda n: pd.Series(n, dtype="Int64"),
        lambda n: pl.Series(n),
        lambda n: n % 2 == 0,
        lambda n: [f"{i} " for i in n],
        lambda n: [DAY + DAY_S * int(i) for i in n],
        lambda n: [uuid.UUID(int=int(i)) for i in n],
    ],
    ids=range(11),
)
def test_ordinary_ids_are_silent(ids, label_table, numbers):
    ids = ids(numbers)
    model = quick().fit(label_table.X, label_table.y, task=ids)
    assert model.n_tasks_ == len(set(ids))


@pytest.mark.filterwarnings("error")
def test_a_few_tasks_of_one_row_are_silent(label_table):
    quick().fit(label_table.X[:30], label_table.y[:30], task=np.arange(30))


def test_scores_and_predictions_warn_of_ids_as_well(label_table, numbers, regressor):
    t, ids = label_table, numbers / 2
    with pytest.warns(UserWarning, match="have a fraction"):
        few_shot_scores(regressor, t.X, t.y, ids)
    with pytest.warns(UserWarning, match="have a fraction"):
        regressor.score(t.X, t.y, task=ids)
    with pytest.warns(UserWarning, match="have a fraction"):
        regressor.adapt_predict(t.X, t.y, t.X, task=ids, task_new=ids)


# -- what can be no id ----------------------------------------------------------------

NO_IDS = {
    "tuples": lambda n: list(zip(n % 2, n, strict=True)),
    "a tuple of tuples": lambda n: tuple(zip(n % 2, n, strict=True)),
    "lists": lambda n: [[i % 2, i] for i in n],
    "arrays": lambda n: list(np.column_stack([n % 2, n])),
    "two columns": lambda n: np.column_stack([n % 2, n]),
    "a table": lambda n: pd.DataFrame({"a": n % 2, "b": n}),
    "a table of polars": lambda n: pl.DataFrame({"a": n % 2, "b": n}),
    "a MultiIndex": lambda n: pd.MultiIndex.from_arrays([n % 2, n]),
}


@pytest.mark.parametrize("kind", NO_IDS)
@pytest.mark.parametrize("model", MODELS[1:4:2], ids=lambda m: type(m).__name__)
def test_ids_of_two_columns_are_refused_with_the_remedy(
    model, kind, label_table, numbers, unchanged
):
    t, ids = label_table, NO_IDS[kind](numbers)
    model = clone(model).fit(t.X, t.y, task=t.ids)
    message = r"task=df\.groupby\(\['store', 'week'\]\)\.ngroup\(\)"
    verbs = [
        lambda: model.fit(t.X, t.y, task=ids),
        lambda: model.score(t.X, t.y, task=ids),
        lambda: few_shot_scores(model, t.X, t.y, ids),
        lambda: model.adapt_predict(t.X, t.y, t.X, task=ids, task_new=t.ids),
    ]
    for verb in verbs:
        with unchanged(model), pytest.raises(ValueError, match=message):
            verb()
    with pytest.raises(ValueError, match=r"task_new=df\.groupby"):
        model.adapt_predict(t.X, t.y, t.X, task=t.ids, task_new=ids)


@pytest.mark.parametrize("make", [lambda i: {"shop": i}, lambda i: {i}])
def test_objects_that_cannot_be_distinguished_are_refused(make, label_table, numbers):
    ids = [make(int(i)) for i in numbers]
    with pytest.raises(ValueError, match=r"of the type (dict|set), such as \{.*0\}"):
        quick().fit(label_table.X, label_table.y, task=ids)


@every_model
def test_frozensets_are_grouped_by_what_they_hold(model, label_table, numbers):
    """They are only partly ordered, so sorting does not bring equal ones together."""
    t, rng = label_table, np.random.default_rng(0)
    pairs = [frozenset([int(i), (int(i) + 1) % 20]) for i in numbers]
    order = rng.permutation(len(pairs))
    model = clone(model).fit(t.X[order], t.y[order], task=[pairs[i] for i in order])
    assert model.n_tasks_ == 20


def test_ids_of_an_unordered_type_give_the_model_of_numbers(linear_table):
    """The ids first appear in the order of their numbers."""
    t = linear_table
    numbers = [int(name[1:]) for name in t.ids]
    reference = quick().fit(t.X, t.y, task=numbers).coef_
    for ids in ([frozenset([i]) for i in numbers], [complex(i) for i in numbers]):
        assert_array_equal(quick().fit(t.X, t.y, task=ids).coef_, reference)


def test_none_is_refused_as_a_column_of_ids(label_table, regressor):
    t = label_table
    with pytest.raises(ValueError, match="task_new is None; pass the ids"):
        regressor.adapt_predict(t.X, t.y, t.X, task=t.ids, task_new=None)
    with pytest.raises(ValueError, match="task_new has 3 ids, but X_new has 240 rows"):
        regressor.adapt_predict(t.X, t.y, t.X, task=t.ids, task_new=[1, 2, 3])


# -- the keys of a dict of tasks are told apart already -------------------------------

KEYS = {
    "tuples": lambda i: (f"S{i % 2}", i),
    "mixed": lambda i: i if i % 2 else str(i),
    "frozensets": lambda i: frozenset([i]),
    "dates": lambda i: datetime.date(2024, 1, 1 + i),
    "None and numbers": lambda i: i or None,
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KEYS)
def test_tasks_may_have_keys_of_any_kind(kind, linear_tasks, routing):
    tasks = {KEYS[kind](i): task for i, task in enumerate(linear_tasks)}
    assert quick().meta_fit(tasks).n_tasks_ == 20
    search = GridSearchCV(
        quick(),
        {"adapt_steps": [1, 2]},
        cv=GroupKFold(2).set_split_request(groups="task"),
        scoring=make_few_shot_scorer("neg_mean_squared_error"),
        error_score="raise",
    )
    assert meta_fit(search, tasks).best_estimator_.n_tasks_ == 20


def test_a_key_is_shown_as_it_was_given(linear_tasks):
    tasks = {("north", i): task for i, task in enumerate(linear_tasks[:3])}
    X, y = linear_tasks[3]
    tasks["north", 3] = (X, np.where(np.arange(12) == 4, np.nan, y))
    with pytest.raises(ValueError, match=r"row 40, of task \('north', 3\)\."):
        quick().meta_fit(tasks)


@pytest.mark.filterwarnings("error")
def test_many_tasks_of_one_row_in_a_list_do_not_warn(linear_table):
    t = linear_table
    tasks = [(t.X[i : i + 1], t.y[i : i + 1]) for i in range(120)]
    assert quick().meta_fit(tasks).n_tasks_ == 120


# -- searches -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*NO_IDS, "one column", "one column of polars"])
@pytest.mark.parametrize("scoring", [None, "neg_mean_squared_error"])
@pytest.mark.parametrize("outside", [False, True])
def test_a_search_refuses_ids_of_two_columns_and_names_the_remedy(
    kind, scoring, outside, label_table, numbers, routing
):
    t = label_table
    tables = {"one column": pd.DataFrame, "one column of polars": pl.DataFrame}
    ids = tables[kind]({"a": numbers}) if kind in tables else NO_IDS[kind](numbers)
    model, grid = quick(), {"adapt_steps": [1]}
    if outside:
        model = make_pipeline(StandardScaler(), model)
        grid = {"reptileregressor__adapt_steps": [1]}
        scoring = scoring or "r2"
    if scoring is not None:
        scoring = make_few_shot_scorer(scoring)
    by_task = GroupKFold(2).set_split_request(groups="task")
    message = r"task=df\.groupby\(\['store', 'week'\]\)\.ngroup\(\)"
    with pytest.raises(ValueError, match=message):
        GridSearchCV(model, grid, cv=by_task, scoring=scoring).fit(t.X, t.y, task=ids)
    with pytest.raises(ValueError, match=message):
        cross_validate(
            model, t.X, t.y, params={"task": ids}, cv=by_task, scoring=scoring
        )


def test_a_pipeline_takes_one_column_and_refuses_two(label_table, numbers, routing):
    t, pipe = label_table, make_pipeline(StandardScaler(), quick())
    assert pipe.fit(t.X, t.y, task=pd.DataFrame({"a": numbers}))[-1].n_tasks_ == 20
    with pytest.raises(ValueError, match="ngroup"):
        pipe.fit(t.X, t.y, task=NO_IDS["tuples"](numbers))


@pytest.mark.parametrize("kind", ["frozensets", "mixed"])
def test_a_search_refuses_ids_that_a_splitter_cannot_sort(
    kind, label_table, numbers, routing
):
    """Frozensets are sorted without an error, and tasks are then cut apart."""
    t = label_table
    ids = [frozenset([int(i)]) if kind == "frozensets" else int(i) for i in numbers]
    if kind == "mixed":
        ids[::2] = [str(i) for i in ids[::2]]
    search = GridSearchCV(
        quick(), {"adapt_steps": [1]}, cv=GroupKFold(2).set_split_request(groups="task")
    )
    with pytest.raises(ValueError, match=r"cannot sort.*pd\.factorize"):
        search.fit(t.X, t.y, task=ids)


class Shop:
    """An id without an order."""

    def __init__(self, number):
        self.number = number


def test_a_search_refuses_ids_without_an_order(label_table, numbers, routing):
    shops = [Shop(i) for i in range(20)]
    search = GridSearchCV(
        quick(), {"adapt_steps": [1]}, cv=GroupKFold(2).set_split_request(groups="task")
    )
    with pytest.raises(ValueError, match=r"cannot sort: Shop.*pd\.factorize"):
        search.fit(label_table.X, label_table.y, task=[shops[i] for i in numbers])


@pytest.mark.parametrize(
    "missing", [None, np.nan, pd.NA, pd.NaT], ids=["None", "nan", "NA", "NaT"]
)
def test_a_search_says_that_an_id_is_missing(missing, label_table, numbers, routing):
    """pd.factorize would put all rows without an id into one task."""
    ids = [missing if i == 3 else f"shop {i}" for i in numbers]
    search = GridSearchCV(
        quick(), {"adapt_steps": [1]}, cv=GroupKFold(2).set_split_request(groups="task")
    )
    with pytest.raises(ValueError, match="12 missing ids"):
        search.fit(label_table.X, label_table.y, task=ids)


def test_a_masked_id_is_missing(label_table, numbers):
    ids = np.ma.masked_array(numbers, np.arange(240) == 7)
    with pytest.raises(ValueError, match="1 missing ids, the first in row 7"):
        quick().fit(label_table.X, label_table.y, task=ids)
