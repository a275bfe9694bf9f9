"""Bad input gives one clear error and leaves a fitted model as it was."""

import inspect
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge, RidgeCV, TweedieRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    FewShotClassifier,
    FewShotRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    meta_fit,
    partial_adapt,
)
from skmeta._checks.task_lists import read_tasks
from skmeta.model_selection import few_shot_scores

NAMES = ["a", "b", "c"]


def tasks_with(bad):
    """Four tasks; the third one, 'S2', is given."""
    rng = np.random.default_rng(0)
    tasks = {f"S{i}": (rng.normal(size=(6, 3)), rng.normal(size=6)) for i in range(4)}
    tasks["S2"] = bad
    return tasks


def ones(*shape, **cells):
    """Ones, with other values at some rows: ones(6, row_2=nan)."""
    array = np.ones(shape)
    for row, value in cells.items():
        array[int(row.removeprefix("row_"))] = value
    return array


# what is wrong with a task -> the task and the error message
BAD_TASKS = {
    "NaN in X": ((ones(6, 3, row_4=np.nan), ones(6)), "NaN.*row 16, of task 'S2'"),
    "inf in X": ((ones(6, 3, row_4=np.inf), ones(6)), "infinity.*row 16, of task 'S2'"),
    "NaN in y": ((ones(6, 3), ones(6, row_0=np.nan)), "NaN.*row 12, of task 'S2'"),
    "inf in y": ((ones(6, 3), ones(6, row_0=-np.inf)), "infinity.*of task 'S2'"),
    "no rows": ((ones(0, 3), ones(0)), "'S2' is empty: X has 0 rows.*Leave the task"),
    "fewer targets": ((ones(6, 3), ones(5)), r"'S2'.*6 rows.*\(5,\).*one target per"),
    "more targets": ((ones(6, 3), ones(7)), r"'S2'.*6 rows.*\(7,\).*one target per"),
    "two targets": ((ones(6, 3), ones(6, 2)), r"'S2'.*6 rows.*\(6, 2\).*one target"),
    "fewer columns": ((ones(6, 2), ones(6)), "'S2' has 2 columns, but task 'S0' has 3"),
    "1-D X": ((ones(6), ones(6)), r"'S2': X must have two dim.*got shape \(6,\)"),
    "3-D X": ((ones(6, 3, 1), ones(6)), r"'S2': X must have two.*\(6, 3, 1\)"),
    "a group": (
        ("S2", pd.DataFrame(ones(6, 3))),
        r"'S2'.*groups of a DataFrame, name the columns",
    ),
    "a number": ((1.0, 1.0), r"'S2': X must have two dimensions.*got shape \(\)"),
    "no targets": ((ones(6, 3),), r"'S2' must be \(X, y\).*got tuple of 1"),
    "four members": ((ones(6, 3), *[ones(6)] * 3), r"'S2' must be.*got tuple of 4"),
    "an array": (ones(6, 3), r"'S2' must be \(X, y\).*got ndarray"),
    "None": (None, r"'S2' must be \(X, y\).*got NoneType"),
    "fewer weights": ((ones(6, 3), ones(6), ones(5)), r"'S2'.*sample_weight.*\(5,\)"),
    "negative weight": ((ones(6, 3), ones(6), ones(6, row_2=-1.0)), "'S2'.*negative"),
    "NaN weight": ((ones(6, 3), ones(6), ones(6, row_2=np.nan)), "'S2'.*NaN"),
    "text in X": ((np.full((6, 3), "x"), ones(6)), "'x'.*row 12, of task 'S2'"),
    "text in y": ((ones(6, 3), np.full(6, "x")), "'x'.*row 12, of task 'S2'"),
}


@pytest.mark.parametrize("kind", BAD_TASKS)
@pytest.mark.parametrize("fitted", [False, True], ids=["new", "fitted"])
def test_a_bad_task_is_named_and_the_model_is_left_as_it_was(
    kind, fitted, regressor, unchanged
):
    task, message = BAD_TASKS[kind]
    model = regressor if fitted else ReptileRegressor()
    with unchanged(model), pytest.raises(ValueError, match=f"(?s){message}"):
        model.meta_fit(tasks_with(task))
    with unchanged(model), pytest.raises(ValueError, match=f"(?s){message}"):
        meta_fit(model, tasks_with(task))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (3, "tasks must be a list.*got int"),
        (None, "tasks must be a list.*got NoneType"),
        ("S07", "tasks must be a list.*got str"),
        (np.ones((4, 3)), r"tasks must be a list.*got ndarray.*fit\(X, y, task=ids\)"),
        (pd.DataFrame({"a": [1.0]}), "tasks must be a list.*got DataFrame"),
        (sparse.csr_array(np.eye(3)), "tasks must be a list.*got csr_array"),
        ([], "tasks is empty"),
        ({}, "tasks is empty"),
        (iter([]), "tasks is empty"),
    ],
    ids=["int", "None", "str", "array", "frame", "sparse", "[]", "{}", "iterator"],
)
def test_what_is_not_a_collection_of_tasks_is_refused(
    tasks, message, regressor, unchanged
):
    for model in (regressor, ReptileRegressor()):
        with (
            unchanged(model),
            pytest.raises((TypeError, ValueError), match=f"(?s){message}"),
        ):
            model.meta_fit(tasks)


def test_a_single_task_in_place_of_a_list_is_refused():
    with pytest.raises(ValueError, match=r"Task 0 must be \(X, y\)"):
        ReptileRegressor().meta_fit((np.ones((5, 2)), np.ones(5)))


@pytest.mark.parametrize(
    "columns", [["a", "b", "d"], ["b", "a", "c"], ["a", "b", "c", "d"], None]
)
def test_tasks_need_the_same_columns_in_the_same_order(columns):
    first = pd.DataFrame(np.ones((4, 3)), columns=NAMES)
    n_columns = len(columns or NAMES)
    other = np.ones((4, n_columns))
    if columns is not None:
        other = pd.DataFrame(other, columns=columns)
    tasks = {"S0": (first, np.ones(4)), "S1": (other, np.ones(4))}
    with pytest.raises(ValueError, match=r"Task 'S1' has.*columns.*'S0' has"):
        ReptileRegressor().meta_fit(tasks)


def test_tasks_of_different_kinds_of_table_are_refused_or_stacked():
    rows = np.eye(3)
    tasks = [(rows, np.ones(3)), (sparse.csr_array(rows), np.ones(3))]
    X, *_ = read_tasks(tasks)
    assert sparse.issparse(X) and X.shape == (6, 3)


def test_misaligned_rows_and_targets_of_a_task_are_refused():
    X = pd.DataFrame(np.ones((4, 2)))
    y = pd.Series(np.arange(4.0), index=[3, 2, 1, 0])
    with pytest.raises(ValueError, match="X and y have different row labels"):
        ReptileRegressor().meta_fit({"S0": (X, y)})


# -- flat data ------------------------------------------------------------------------

# keyword arguments of fit and the error message
BAD_TABLES = {
    "NaN in X": ({"X": ones(20, 3, row_7=np.nan)}, "NaN.*row 7, of task 'S1'"),
    "inf in X": ({"X": ones(20, 3, row_7=np.inf)}, "infinity.*row 7, of task 'S1'"),
    "NaN in y": ({"y": ones(20, row_7=np.nan)}, "NaN.*row 7, of task 'S1'"),
    "NaN in sparse X": (
        {"X": sparse.csr_array(ones(20, 3, row_7=np.nan))},
        "NaN.*row 7, of task 'S1'",
    ),
    "no rows": ({"X": ones(0, 3), "y": ones(0), "task": []}, "0 sample"),
    "fewer targets": ({"y": ones(19)}, r"inconsistent numbers of samples: \[20, 19\]"),
    "1-D X": ({"X": ones(20)}, "Expected 2D array, got 1D"),
    "3-D X": ({"X": ones(20, 3, 1)}, "(?i)dim 3|3D"),
    "fewer ids": ({"task": ["S0"] * 19}, "task has 19 ids, but X has 20 rows"),
    "missing id": ({"task": ["S0"] * 19 + [None]}, "task has 1 missing ids.*row 19"),
    "a name": ({"task": "store"}, "task='store' is a name"),
    "negative weight": ({"sample_weight": ones(20, row_3=-1.0)}, "(?i)negative"),
    "NaN weight": ({"sample_weight": ones(20, row_3=np.nan)}, "NaN"),
    "fewer weights": ({"sample_weight": ones(19)}, "(?s)sample_weight.*19"),
    "no weight": ({"sample_weight": np.zeros(20)}, "zero"),
    "text in X": ({"X": np.full((20, 3), "x")}, "could not convert|'x'"),
    "a column of text": (
        {"X": np.array([[1.0, "a", 2.0]] * 20, dtype=object)},
        "row 0, of task 'S0'. Encode text",
    ),
    "text in y": (
        {"y": np.array([1.0] * 19 + ["a"], dtype=object)},
        "Targets must be numbers",
    ),
    "NaN in y, no hint": ({"y": ones(20, row_3=np.nan)}, r"row 3, of task 'S0'\.$"),
    "the name of y": ({"y": "sales"}, "y='sales' is a name; pass the column"),
    "ids as weights": ({"sample_weight": ["S0"] * 20}, "pass them by name: task=ids"),
    "two targets": ({"y": ones(20, 2)}, r"\(20, 2\)"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
@pytest.mark.parametrize("fitted", [False, True], ids=["new", "fitted"])
def test_a_bad_table_is_refused_and_the_model_is_left_as_it_was(
    kind, fitted, regressor, unchanged
):
    changed, message = BAD_TABLES[kind]
    rng = np.random.default_rng(0)
    data = {
        "X": rng.normal(size=(20, 3)),
        "y": rng.normal(size=20),
        "task": np.repeat(["S0", "S1"], [7, 13]),
    }
    model = regressor if fitted else ReptileRegressor()
    with unchanged(model), pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(**data | changed)


@pytest.mark.parametrize("labels", [ones(20, row_7=0.5), ones(20, row_7=np.nan)])
def test_targets_that_are_no_labels_are_refused(labels, classifier, unchanged):
    X, ids = np.random.default_rng(0).normal(size=(20, 3)), np.repeat([0, 1], 10)
    for model in (classifier, ReptileClassifier()):
        with unchanged(model), pytest.raises(ValueError, match=r"continuous|NaN"):
            model.fit(X, labels, task=ids)


def test_an_error_in_the_middle_of_training_leaves_the_model_as_it_was(
    regressor, linear_tasks, unchanged
):
    tasks = {f"S{i}": task for i, task in enumerate(linear_tasks)}
    X, y = tasks["S3"]
    tasks["S3"] = (X, 1e90 * y)
    regressor.set_params(standardize=False, learning_rate=1e25, learn_rates=None)
    regressor.set_params(alpha=0.0)
    with (
        unchanged(regressor),
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"task 'S3' produced.*Set standardize=True"),
    ):
        regressor.meta_fit(tasks)


def test_an_interrupt_leaves_the_model_as_it_was(linear_tasks, unchanged, monkeypatch):
    def interrupt(losses, scores):
        raise KeyboardInterrupt

    monkeypatch.setattr("skmeta._callbacks.print_progress", interrupt)
    model = ReptileRegressor(max_iter=15).meta_fit(linear_tasks).set_params(verbose=1)
    with unchanged(model), pytest.raises(KeyboardInterrupt):
        model.meta_fit(linear_tasks[:7])


# -- adaptation -----------------------------------------------------------------------

BAD_SUPPORT = {
    "NaN in X": ((ones(4, 3, row_2=np.nan), ones(4)), "NaN"),
    "inf in X": ((ones(4, 3, row_2=np.inf), ones(4)), "infinity"),
    "NaN in y": ((ones(4, 3), ones(4, row_2=np.nan)), "NaN"),
    "fewer targets": ((ones(4, 3), ones(3)), r"inconsistent.*\[4, 3\]"),
    "fewer columns": ((ones(4, 2), ones(4)), "2 features, but Reptile.* expecting 3"),
    "1-D X": ((ones(4), ones(4)), "Expected 2D array, got 1D"),
    "3-D X": ((ones(4, 3, 1), ones(4)), "(?i)dim 3|3D"),
    "fewer weights": ((ones(4, 3), ones(4), ones(3)), "sample_weight"),
    "negative weight": ((ones(4, 3), ones(4), ones(4, row_1=-1.0)), "(?i)negative"),
    "NaN weight": ((ones(4, 3), ones(4), ones(4, row_1=np.nan)), "NaN"),
    "misaligned": (
        (pd.DataFrame(ones(4, 3)), pd.Series(ones(4), index=[3, 2, 1, 0])),
        "X and y have different row labels",
    ),
}


@pytest.mark.parametrize("kind", BAD_SUPPORT)
@pytest.mark.parametrize("name", ["regressor", "classifier"])
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_bad_support_rows_are_refused_and_the_model_is_left_as_it_was(
    kind, name, request, unchanged
):
    model = request.getfixturevalue(name)
    rows, message = BAD_SUPPORT[kind]
    model.partial_adapt(ones(2, 3), ones(2))
    for verb in (model.adapt, model.partial_adapt):
        with unchanged(model), pytest.raises(ValueError, match=f"(?s){message}"):
            verb(*rows)
    with unchanged(model), pytest.raises(ValueError, match=f"(?s){message}"):
        partial_adapt(model, *rows)


@pytest.mark.parametrize("unknown", [2, -1])
def test_an_unknown_label_is_refused_and_the_known_ones_listed(
    unknown, classifier, unchanged
):
    message = rf"not seen in meta-training: \[{unknown}\].*\[0, 1\]"
    for verb in (classifier.adapt, classifier.partial_adapt):
        with unchanged(classifier), pytest.raises(ValueError, match=message):
            verb(ones(3, 3), [0, 1, unknown])


def test_labels_of_another_type_are_refused(classifier, unchanged):
    with (
        unchanged(classifier),
        pytest.raises(ValueError, match="not seen in meta-training"),
    ):
        classifier.adapt(ones(2, 3), ["yes", "no"])


@pytest.mark.parametrize("labels", [[0.5, 1.2], [[0, 1], [1, 0]]])
@pytest.mark.parametrize("task_classes", ["shared", "own"])
def test_targets_that_are_no_labels_are_refused_in_adapt(
    labels, task_classes, label_tasks, unchanged
):
    model = ReptileClassifier(task_classes=task_classes, max_iter=2)
    model.meta_fit(label_tasks)
    with unchanged(model), pytest.raises(ValueError):
        model.adapt(ones(2, 3), labels)


def test_adapting_beyond_the_finite_numbers_is_refused(
    linear_tasks, unchanged, regressor
):
    X, y = linear_tasks[0]
    model = ReptileRegressor(solver="adam", standardize=False, max_iter=2)
    model.meta_fit(linear_tasks).set_params(learning_rate=1e308)
    with (
        unchanged(model),
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"Adapting to these rows.*lower learning_rate"),
    ):
        model.adapt(X, y)


# -- ordinary input that must not be refused ------------------------------------------


def test_lists_and_columns_of_targets_are_welcome():
    model = ReptileRegressor(max_iter=2).meta_fit(
        [([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0]), (np.eye(2), np.ones((2, 1)))]
    )
    assert model.n_tasks_ == 2
    model.adapt([[1.0, 2.0]], [3.0])


@pytest.mark.filterwarnings("error")
def test_a_column_of_targets_is_welcome_in_a_task(linear_tasks):
    tasks = [(X, y[:, None]) for X, y in linear_tasks]
    ReptileRegressor(max_iter=2).meta_fit(tasks)


# -- keywords -------------------------------------------------------------------------

EVERY_MODEL = [
    EmpiricalBayesRegressor("intercept"),
    EmpiricalBayesClassifier("intercept"),
    PrototypicalClassifier(),
    ReptileRegressor(max_iter=2, random_state=0),
    ReptileClassifier(max_iter=2, random_state=0),
]
every_model = pytest.mark.parametrize(
    "model", EVERY_MODEL, ids=lambda model: type(model).__name__
)


@every_model
@pytest.mark.parametrize("name", ["groups", "group"])
def test_ids_passed_as_groups_get_an_error_that_names_task(model, name, label_table):
    t, ids = label_table, {name: label_table.ids}
    kind = type(model).__name__
    for verb in (model.fit, model.score):
        message = rf"{kind}\.{verb.__name__} has no argument '{name}'.*task=ids"
        with pytest.raises(TypeError, match=message):
            verb(t.X, t.y, **ids)
    with pytest.raises(TypeError, match=rf"{kind}\.meta_fit.*fit\(X, y, task=ids\)"):
        model.meta_fit([(t.X, t.y)], **ids)
    for verb in (model.adapt, model.partial_adapt):
        with pytest.raises(TypeError, match=r"rows of one task.*adapt_predict"):
            verb(t.X, t.y, **ids)
        with pytest.raises(TypeError, match=r"rows of one task.*adapt_predict"):
            verb(t.X, t.y, task=t.ids)


@pytest.mark.parametrize("kind", [FewShotRegressor, FewShotClassifier])
@pytest.mark.parametrize("name", ["groups", "task"])
def test_a_few_shot_estimator_says_that_it_takes_one_task(kind, name, label_table):
    t = label_table
    with pytest.raises(TypeError, match=rf"fit has no argument '{name}'.*one task"):
        kind().fit(t.X, t.y, **{name: t.ids})


def test_the_signature_of_fit_is_not_changed_by_its_hint():
    names = list(inspect.signature(ReptileRegressor.fit).parameters)
    assert names == ["self", "X", "y", "sample_weight", "task"]


# -- weights that no float can hold ---------------------------------------------------


@every_model
@pytest.mark.parametrize("size", [1.7e308, 1e308, 1e200, 1e17, 1e-320])
def test_weights_beyond_what_a_float_holds_are_refused(
    model, size, label_tasks, unchanged
):
    X, y = label_tasks[0]
    model = clone(model).meta_fit(label_tasks[1:6])
    one, every = ones(12), size * ones(12)
    if size > 1:
        one[3] = size
    calls = [
        lambda: model.adapt(X, y, every),
        lambda: model.partial_adapt(X, y, every),
        lambda: model.adapt_predict(X, y, X, every, task=[0] * 12, task_new=[0] * 12),
        lambda: few_shot_scores(
            model, X, y, [0] * 12, sample_weight=every, n_support=4
        ),
    ]
    if not isinstance(model, PrototypicalClassifier):
        calls += [
            lambda: model.fit(X, y, every),
            lambda: model.meta_fit([(X, y, every), (X, y)]),
        ]
    if size < 1:
        calls = calls[:4]
    else:
        calls += [lambda: model.adapt(X, y, one)]
    for call in calls:
        with (
            unchanged(model),
            warnings.catch_warnings(),
            pytest.raises(ValueError, match=r"add up to .* divide all by their"),
        ):
            warnings.simplefilter("error")
            call()


# -- warm start -----------------------------------------------------------------------


@pytest.mark.parametrize("first", ["shared", "own"])
def test_warm_start_refuses_other_classes_per_task(first, label_tasks, unchanged):
    other = {"shared": "own", "own": "shared"}[first]
    model = ReptileClassifier(task_classes=first, max_iter=2, warm_start=True)
    model.meta_fit(label_tasks[:5]).set_params(task_classes=other)
    message = f"had task_classes='{first}'; now it is '{other}'.*warm_start=False"
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.meta_fit(label_tasks[5:])
    model.set_params(task_classes=first).meta_fit(label_tasks[5:])


OTHER_BASES = {
    "another class": (Ridge(), RidgeCV(), "now it is RidgeCV"),
    "another parameter": (Ridge(), Ridge(alpha=9.0), r"\(alpha=9.0\)"),
    "a parameter inside": (
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(StandardScaler(), Ridge(alpha=9.0)),
        r"\(ridge__alpha=9.0\)",
    ),
    "another step": (
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(MinMaxScaler(), Ridge()),
        "MinMaxScaler",
    ),
}


@pytest.mark.parametrize("kind", OTHER_BASES)
def test_warm_start_refuses_another_base_model(kind, linear_tasks, unchanged):
    base, other, message = OTHER_BASES[kind]
    model = ReptileRegressor(base_estimator=base, max_iter=2, warm_start=True)
    model.meta_fit(linear_tasks[:6]).set_params(base_estimator=other)
    with (
        unchanged(model),
        pytest.raises(ValueError, match=rf"(?s)base model.*{message}"),
    ):
        model.meta_fit(linear_tasks[6:])
    model.set_params(warm_start=False).meta_fit(linear_tasks[6:])
    assert type(model.base_estimator_) is type(other)


def test_warm_start_notices_a_parameter_set_inside_the_same_object(linear_tasks):
    model = ReptileRegressor(base_estimator=Ridge(), max_iter=2, warm_start=True)
    model.meta_fit(linear_tasks[:6]).set_params(base_estimator__alpha=3.0)
    with pytest.raises(ValueError, match=r"alpha=3\.0"):
        model.meta_fit(linear_tasks[6:])


@pytest.mark.parametrize(
    "base",
    [
        RandomForestRegressor(3, random_state=np.random.RandomState(0)),
        make_pipeline(FunctionTransformer(np.tanh), TweedieRegressor()),
        make_pipeline(
            StandardScaler(),
            RandomForestRegressor(2, random_state=np.random.RandomState(0)),
        ),
        FrozenEstimator(Ridge().fit(np.eye(3), np.ones(3))),
    ],
    ids=range(4),
)
def test_warm_start_continues_with_the_same_base_model(base, linear_tasks):
    model = ReptileRegressor(base_estimator=base, max_iter=2, warm_start=True)
    model.meta_fit(linear_tasks[:6])
    assert model.meta_fit(linear_tasks[6:]).n_tasks_ == 20
    copied = pickle.loads(pickle.dumps(model))
    assert copied.meta_fit(linear_tasks[6:]).n_tasks_ == 34


def test_a_number_as_weight_holds_for_all_rows(regressor, linear_tasks):
    X, y = linear_tasks[0]
    expected = regressor.adapt(X, y, np.full(12, 2.0)).predict(X)
    np.testing.assert_array_equal(regressor.adapt(X, y, 2.0).predict(X), expected)


def test_bool_weights_are_a_mask(regressor, linear_tasks):
    X, y = linear_tasks[0]
    mask = np.arange(12) < 5
    for weight in (mask, list(mask), pd.Series(mask), pd.Series(mask, dtype="boolean")):
        adapted = regressor.adapt(X, y, weight)
        np.testing.assert_array_equal(
            adapted.predict(X), regressor.adapt(X[mask], y[mask]).predict(X)
        )


@pytest.mark.parametrize("weight", [["heavy"] * 12, [1j] * 12, [{}] * 12, "w", {}])
def test_weights_that_are_no_numbers_are_refused(weight, regressor, linear_tasks):
    X, y = linear_tasks[0]
    for verb in (
        lambda: regressor.adapt(X, y, weight),
        lambda: regressor.fit(X, y, weight),
        lambda: regressor.meta_fit({"S0": (X, y, weight)}),
    ):
        with pytest.raises(ValueError, match="sample_weight"):
            verb()


@pytest.mark.parametrize(
    "task", [(None, [1.0]), ([[1.0]], None), ([[1, 2], [3]], [1, 2]), ([[1.0]], "y")]
)
def test_an_error_in_a_task_is_reported_with_its_name(task):
    with pytest.raises(ValueError, match="Task 'S07'"):
        ReptileRegressor().meta_fit({"S00": (np.eye(2), [0.0, 1.0]), "S07": task})
