"""Missing values as databases give them: one clear error in every verb."""

import datetime
from functools import cache, partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import skmeta
from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    FewShotRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
)
from skmeta.datasets import make_linear_tasks
from skmeta.model_selection import few_shot_scores

REGRESSORS = {
    "eb": EmpiricalBayesRegressor("intercept"),
    "reptile": ReptileRegressor(max_iter=2, random_state=0),
}
CLASSIFIERS = {
    "eb": EmpiricalBayesClassifier("intercept"),
    "reptile": ReptileClassifier(max_iter=2, random_state=0),
    "own": ReptileClassifier(task_classes="own", max_iter=2, random_state=0),
    "prototypical": PrototypicalClassifier(random_state=0),
}
COMPOSITIONS = {
    "alone": lambda model: model,
    "pipeline": lambda model: make_pipeline(StandardScaler(), model),
    "nested": lambda model: make_pipeline(
        FunctionTransformer(), make_pipeline(StandardScaler(), model)
    ),
}


@cache
def fitted(name, labels=False, outside="alone"):
    """A meta-trained model, for all tests: none of the calls here may change it."""
    model = COMPOSITIONS[outside](clone((CLASSIFIERS if labels else REGRESSORS)[name]))
    kind = "classification" if labels else "regression"
    return skmeta.meta_fit(
        model, make_linear_tasks(4, 12, 3, kind=kind, random_state=1)
    )


def with_missing(values, missing):
    """A column of objects in which the third value is missing."""
    values = np.array(values).astype(object)
    values[2] = missing
    return values


# the messages of the verbs, and of scores, which draw rows of each task
MISSING_TARGET = r"y contains NaN|y has \d+ missing values"
MISSING = {
    "None": None,
    "NaN": float("nan"),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "NaT of NumPy": np.datetime64("NaT"),
}
COLUMNS = {
    **{
        f"{name} in {kind}": partial(
            lambda missing, make, y: make(with_missing(y, missing)), missing, make
        )
        for name, missing in MISSING.items()
        for kind, make in {"an array": np.array, "a list": list}.items()
    },
    "Series": lambda y: pd.Series(with_missing(y, None)),
    "Series of NA": lambda y: pd.Series(with_missing(y, pd.NA)),
    "nullable": lambda y: pd.Series(with_missing(np.round(y), pd.NA)).astype("Int64"),
    "nullable float": lambda y: pd.Series(with_missing(y, pd.NA)).astype("Float64"),
    "one column": lambda y: pd.DataFrame({"y": with_missing(y, None)}),
    "polars": lambda y: pl.Series([None if i == 2 else v for i, v in enumerate(y)]),
}


def verbs(model, X, y, X_new, ids):
    """Each verb that takes targets."""
    yield partial(skmeta.adapt, model, X, y)
    yield partial(skmeta.partial_adapt, model, X, y)
    yield partial(
        skmeta.adapt_predict, model, X, y, X_new, task=ids, task_new=ids[: len(X_new)]
    )
    yield partial(few_shot_scores, model, X, y, ids, n_support=3, stratify=False)


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("outside", COMPOSITIONS)
@pytest.mark.parametrize("name", REGRESSORS)
def test_a_missing_target_is_refused_by_every_verb(
    name, outside, kind, linear_tasks, unchanged
):
    X, y = linear_tasks[0]
    y_bad, ids = COLUMNS[kind](y), ["S0"] * 12
    model = fitted(name, outside=outside)
    for verb in verbs(model, X, y_bad, X, ids):
        with unchanged(model), pytest.raises(ValueError, match=MISSING_TARGET):
            verb()
    tasks = {"S0": linear_tasks[0], "S1": (X, y_bad)}
    message = r"(?s)y contains NaN.*row 14, of task 'S1'"
    if kind != "one column":  # a table in which no row has a label
        with unchanged(model), pytest.raises(ValueError, match=message):
            skmeta.meta_fit(model, tasks)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 10**400], ids=range(3))
@pytest.mark.parametrize("name", REGRESSORS)
def test_an_infinite_target_among_objects_is_refused(
    name, value, linear_tasks, unchanged
):
    X, y = linear_tasks[0]
    model = fitted(name)
    for verb in verbs(model, X, with_missing(y, value), X, ["S0"] * 12):
        with unchanged(model), pytest.raises(ValueError, match="y contains infinity"):
            verb()


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_missing_label_is_refused_by_every_verb(name, kind, label_tasks, unchanged):
    X, y = label_tasks[0]
    y_bad, ids = COLUMNS[kind](y), ["S0"] * 12
    model = fitted(name, labels=True)
    for verb in verbs(model, X, y_bad, X, ids):
        with unchanged(model), pytest.raises(ValueError, match=MISSING_TARGET):
            verb()
    message = r"(?s)y contains NaN.*row 2, of task 'S0'"
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(X, y_bad, task=ids)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: with_missing(y, None),
        lambda y: with_missing(y, np.nan),
        lambda y: list(with_missing(y, None)),
        lambda y: pd.Series(with_missing(y, pd.NA), dtype="string"),
        lambda y: pd.Series(with_missing(y, None), dtype="category"),
        lambda y: pl.Series(list(with_missing(y, None))),
        lambda y: np.where(y == "1", np.datetime64("NaT"), np.datetime64("2024-01-01")),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_missing_label_among_names_is_refused(name, make, label_tasks, unchanged):
    tasks = [(X, y.astype(str)) for X, y in label_tasks]
    X, y = tasks[0]
    model = clone(CLASSIFIERS[name]).meta_fit(tasks[1:5])
    for verb in verbs(model, X, make(y), X, ["S0"] * 12):
        with unchanged(model), pytest.raises(ValueError, match=MISSING_TARGET):
            verb()


def test_a_missing_target_is_refused_before_it_is_transformed(linear_tasks, unchanged):
    X, y = linear_tasks[0]
    model = TransformedTargetRegressor(
        clone(REGRESSORS["eb"]), func=np.arcsinh, inverse_func=np.sinh
    )
    skmeta.meta_fit(model, linear_tasks[1:5])
    frozen = FrozenEstimator(model)
    for missing in MISSING.values():
        bad = with_missing(y, missing)
        for verb in verbs(model, X, bad, X, ["S0"] * 12):
            with unchanged(model), pytest.raises(ValueError, match=MISSING_TARGET):
                verb()
        with pytest.raises(ValueError, match=MISSING_TARGET):
            skmeta.adapt(frozen, X, bad)
        with pytest.raises(ValueError, match=MISSING_TARGET):
            FewShotRegressor(frozen).fit(X, bad)
        with pytest.raises(ValueError, match=r"(?s)NaN.*row 14, of task 1"):
            skmeta.meta_fit(model, [linear_tasks[1], (X, bad)])


def test_masked_values_are_missing(linear_tasks, unchanged):
    """NumPy would forget the mask and use the values behind it."""
    X, y = linear_tasks[0]
    hidden = np.arange(12) == 2
    bad_y = np.ma.masked_array(y, hidden)
    bad_X = np.ma.masked_array(X, np.outer(hidden, [1, 0, 0]))
    model = fitted("eb")
    calls = [
        *verbs(model, X, bad_y, X, ["S0"] * 12),
        *verbs(model, bad_X, y, X, ["S0"] * 12),
        partial(model.predict, bad_X),
        partial(model.suggest_queries, bad_X),
        partial(model.fit, X, bad_y, task=["S0"] * 12),
        partial(model.adapt, X, y, np.ma.masked_array(np.ones(12), hidden)),
        partial(model.meta_fit, [(X, y), (X, bad_y)]),
        partial(model.meta_fit, [(X, y), (bad_X, y)]),
    ]
    for call in calls:
        with unchanged(model), pytest.raises(ValueError, match=r"contains NaN.*mask"):
            call()
    whole = np.ma.masked_array(y, np.zeros(12, dtype=bool))
    assert_array_equal(model.adapt(X, whole).predict(X), model.adapt(X, y).predict(X))


# -- X --------------------------------------------------------------------------------

TABLES = {
    **{
        name: lambda X, missing=missing: np.column_stack(
            [with_missing(X[:, 0], missing), X[:, 1:].astype(object)]
        )
        for name, missing in MISSING.items()
    },
    "list": lambda X: TABLES["None"](X).tolist(),
    "DataFrame": lambda X: pd.DataFrame(TABLES["NA"](X)),
    "one column of objects": lambda X: (
        pd.DataFrame(X)
        .assign(x=with_missing(X[:, 0], pd.NA))
        .iloc[:, 1:]
        .rename(columns=str)
    ),
    "nullable": lambda X: pd.DataFrame(TABLES["NA"](np.round(X))).astype("Int64"),
    "polars": lambda X: pl.DataFrame(
        {f"x{j}": list(with_missing(X[:, j], None)) for j in range(3)}
    ),
    "CSR": lambda X: sparse.csr_array(TABLES["NaN"](X).astype(float)),
}


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("name", REGRESSORS)
def test_a_missing_value_in_x_is_refused_by_every_verb(
    name, kind, linear_tasks, unchanged
):
    X, y = linear_tasks[0]
    bad, ids = TABLES[kind](X), ["S0"] * 12
    model = fitted(name)
    calls = [
        *verbs(model, bad, y, X, ids),
        partial(model.adapt_predict, X, y, bad, task=ids, task_new=ids),
        partial(model.predict, bad),
    ]
    if name == "eb":
        calls += [
            partial(model.predict_interval, bad),
            partial(model.predict, bad, return_std=True),
            partial(model.suggest_queries, bad),
        ]
    for call in calls:
        with unchanged(model), pytest.raises(ValueError, match="X contains NaN"):
            call()
    message = r"(?s)X contains NaN.*row 2, of task 'S0'"
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(bad, y, task=ids)


@pytest.mark.parametrize("kind", ["NA", "NaT", "DataFrame"])
def test_a_missing_value_behind_a_pipeline_is_refused(kind, linear_tasks, unchanged):
    X, y = linear_tasks[0]
    model = fitted("eb", outside="pipeline")
    for verb in verbs(model, TABLES[kind](X), y, X, ["S0"] * 12):
        with unchanged(model), pytest.raises(ValueError, match="X contains NaN"):
            verb()


DATE = np.datetime64("2024-01-01", "ns")
DATES = {
    "array": lambda X: np.full(X.shape, DATE),
    "missing": lambda X: np.full(X.shape, np.datetime64("NaT")),
    "time spans": lambda X: np.full(X.shape, np.timedelta64(3, "D")),
    "objects": lambda X: np.full(X.shape, datetime.date(2024, 1, 1), dtype=object),
    "table": lambda X: pd.DataFrame(np.full(X.shape, DATE)),
    "zone": lambda X: pd.DataFrame(
        {f"x{j}": pd.Series([DATE] * 12).dt.tz_localize("UTC") for j in range(3)}
    ),
    "one column": lambda X: (
        pd.DataFrame(X)
        .assign(x=pd.Timestamp("2024-01-01"))
        .iloc[:, 1:]
        .rename(columns=str)
    ),
    "polars": lambda X: pl.DataFrame(
        {f"x{j}": [datetime.date(2024, 1, 1)] * 12 for j in range(3)}
    ),
}


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("kind", DATES)
@pytest.mark.parametrize("name", REGRESSORS)
def test_dates_are_refused_as_numbers(name, kind, linear_tasks, unchanged):
    """NumPy would count nanoseconds, and turn a missing date into -9.2e18."""
    X, y = linear_tasks[0]
    bad, ids = DATES[kind](X), ["S0"] * 12
    model = fitted(name)
    calls = [
        *verbs(model, bad, y, X, ids),
        partial(model.predict, bad),
        partial(model.fit, bad, y, task=ids),
    ]
    for call in calls:
        with (
            unchanged(model),
            pytest.raises(ValueError, match=r"dates.*days since|contains NaN"),
        ):
            call()


@pytest.mark.parametrize(
    "targets",
    [
        np.full(12, DATE),
        np.full(12, np.timedelta64(3, "D")),
        [datetime.date(2024, 1, 1)] * 12,
        pd.Series([DATE] * 12),
        pl.Series([datetime.date(2024, 1, 1)] * 12),
    ],
    ids=range(5),
)
def test_dates_are_refused_as_targets_of_a_regressor(targets, linear_tasks, unchanged):
    X, _ = linear_tasks[0]
    model = fitted("eb")
    for verb in verbs(model, X, targets, X, ["S0"] * 12):
        with unchanged(model), pytest.raises(ValueError, match="must be numbers"):
            verb()


# -- weights --------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [*MISSING.values()], ids=[*MISSING])
@pytest.mark.parametrize("name", REGRESSORS)
def test_a_missing_weight_is_refused_by_every_verb(
    name, missing, linear_tasks, unchanged
):
    X, y = linear_tasks[0]
    weight, ids = with_missing(np.ones(12), missing), ["S0"] * 12
    model = fitted(name)
    calls = [
        partial(model.adapt, X, y, weight),
        partial(model.partial_adapt, X, y, list(weight)),
        partial(model.adapt_predict, X, y, X, weight, task=ids, task_new=ids),
        partial(model.fit, X, y, pd.Series(weight), task=ids),
        partial(model.meta_fit, [(X, y, weight), linear_tasks[1]]),
    ]
    for call in calls:
        with unchanged(model), pytest.raises(ValueError, match=r"sample_weight.*NaN"):
            call()


# -- slips ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REGRESSORS, *CLASSIFIERS])
def test_errors_name_missing_rows_or_targets(name, label_tasks, unchanged):
    X, y = label_tasks[0]
    model = clone((REGRESSORS | CLASSIFIERS)[name]).meta_fit(label_tasks[1:5])
    slips = [
        (None, y, "X is None; pass the rows|got X=None"),
        (X, None, "the target y is None|got y=None"),
        (X, 3.0, "y must be an array.*got 3.0"),
        ((row for row in X), y, "X must be an array.*a generator"),
        ({"a": X}, y, "X must be an array.*a dict"),
        ("sales", y, "X='sales' is a name"),
    ]
    for X_bad, y_bad, message in slips:
        calls = [
            *verbs(model, X_bad, y_bad, X, ["S0"] * 12),
            partial(model.fit, X_bad, y_bad, task=["S0"] * 12),
        ]
        for call in calls:
            with unchanged(model), pytest.raises(ValueError, match=message):
                call()
    with pytest.raises(ValueError, match="X_new is None"):
        model.adapt_predict(X, y, None, task=[0] * 12, task_new=[0])
    model = model.adapt(X, y)
    with pytest.raises(ValueError, match="X is None"):
        model.predict(None)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_labels_of_two_kinds_are_refused(name, label_tasks, unchanged):
    """NumPy turns numbers in a list into text, and 0 and "0" become one class."""
    X, y = label_tasks[0]
    model = fitted(name, labels=True)
    mixed = with_missing(y, "0")
    for labels in (mixed, list(mixed), pd.Series(mixed)):
        calls = [
            *verbs(model, X, labels, X, ["S0"] * 12),
            partial(model.fit, X, labels, task=["S0"] * 12),
        ]
        for call in calls:
            with unchanged(model), pytest.raises(ValueError, match="y mixes values of"):
                call()
    tasks = [label_tasks[1], (X, y.astype(str))]
    with unchanged(model), pytest.raises(ValueError, match="y mixes values of 2 kinds"):
        model.meta_fit(tasks)
