"""Many tasks at once equal one task after the other."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import cache, partial
from inspect import signature

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

import skmeta
from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
)
from skmeta._core.prototypes import side_by_side
from skmeta.datasets import make_linear_tasks
from skmeta.model_selection import make_few_shot_scorer

SIZES, NEW_SIZES = [4, 9, 4, 1, 7, 4], [3, 40, 0, 2, 5, 1]
REGRESSORS = [
    ReptileRegressor(max_iter=20, random_state=0),
    ReptileRegressor((6,), max_iter=20, random_state=0),
    ReptileRegressor((6,), layer_norm=True, max_iter=20, random_state=0),
    ReptileRegressor((6,), solver="adam", batch_size=2, max_iter=20, random_state=0),
    ReptileRegressor((6,), standardize=False, alpha=0, max_iter=20, random_state=0),
    ReptileRegressor(adapt_steps="auto", max_iter=20, random_state=0),
    ReptileRegressor(base_estimator=Ridge(), max_iter=20, random_state=0),
]
CLASSIFIERS = [
    ReptileClassifier(max_iter=20, random_state=0),
    ReptileClassifier((6,), activation="relu", max_iter=20, random_state=0),
    ReptileClassifier(base_estimator=LogisticRegression(), max_iter=20, random_state=0),
]


@pytest.fixture(scope="module")
def rows():
    """Rows of new tasks, shuffled: X, y, task, X_new, task_new."""
    rng = np.random.default_rng(0)
    names = np.array(["b", "a", "d", "c", "f", "e"])
    task, task_new = np.repeat(names, SIZES), np.repeat(names, NEW_SIZES)
    order, order_new = rng.permutation(len(task)), rng.permutation(len(task_new))
    X = rng.normal(size=(len(task), 5))
    return {
        "X": X,
        "y": X[:, 0] + rng.normal(size=len(task)),
        "task": task[order],
        "X_new": rng.normal(size=(len(task_new), 5)),
        "task_new": task_new[order_new],
    }


@cache
def fitted(model, labels=False):
    """The model, which no test may change, meta-trained once."""
    tasks = make_linear_tasks(
        8, 12, 5, kind="classification" if labels else "regression", random_state=0
    )
    return skmeta.meta_fit(model, tasks)


def one_by_one(model, rows, y, method="predict", adapt=skmeta.adapt, weight=None):
    parts = {}
    for t in np.unique(rows["task_new"]):
        here, new = rows["task"] == t, rows["task_new"] == t
        adapted = model
        if here.any():
            given = [] if weight is None else [weight[here]]
            adapted = adapt(model, rows["X"][here], y[here], *given)
        for i, value in zip(
            np.flatnonzero(new),
            getattr(adapted, method)(rows["X_new"][new]),
            strict=True,
        ):
            parts[i] = value
    return np.array([parts[i] for i in range(len(parts))])


def together(model, rows, y, **options):
    return skmeta.adapt_predict(model, **{**rows, "y": y, **options})


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("model", REGRESSORS, ids=str)
def test_regressors_predict_many_tasks_like_single_tasks(model, weighted, rows):
    model, weight = fitted(model), None
    if weighted:
        weight = np.random.default_rng(1).integers(1, 4, size=len(rows["y"])) / 2
    expected = one_by_one(model, rows, rows["y"], weight=weight)
    result = together(model, rows, rows["y"], sample_weight=weight)
    # after a hundred steps rounding decides whether the loss still falls
    close = 1e-5 if getattr(model, "adapt_steps", 10) == "auto" else 1e-9
    assert_allclose(result, expected, rtol=close, atol=1e-12)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
@pytest.mark.parametrize("model", CLASSIFIERS, ids=str)
def test_classifiers_predict_many_tasks_like_single_tasks(model, method, rows):
    model, y = fitted(model, labels=True), (rows["y"] > 0).astype(int)
    expected = one_by_one(model, rows, y, method)
    result = together(model, rows, y, method=method)
    assert_allclose(result, expected, rtol=1e-9, atol=1e-12)


def test_a_task_without_rows_gets_the_prediction_of_the_prior(rows):
    model = fitted(ReptileRegressor(max_iter=20, random_state=0))
    known = rows["task"] != "a"
    part = {**rows, "X": rows["X"][known], "task": rows["task"][known]}
    result = together(model, part, rows["y"][known])
    new = rows["task_new"] == "a"
    assert_allclose(result[new], model.predict(rows["X_new"][new]))


def test_the_meta_learner_is_not_touched(rows):
    model = fitted(ReptileRegressor(max_iter=20, random_state=0))
    before, start = dict(vars(model)), model.coef_.copy()
    together(model, rows, rows["y"])
    assert vars(model) == before
    assert_array_equal(model.coef_, start)


@pytest.mark.parametrize(
    "model",
    [
        ReptileClassifier(task_classes="own", max_iter=20, random_state=0),
        PrototypicalClassifier(random_state=0),
    ],
    ids=str,
)
def test_classes_of_each_task_are_predicted_by_their_names(model, rows):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    y, ids = rng.integers(3, size=60), np.repeat(np.arange(6), 10)
    model = clone(model).fit(X, y, task=ids)
    labels = np.array(["x", "y"])[(rows["y"] > 0).astype(int)]
    own = np.char.add(labels, rows["task"])  # each task has names of its own
    part = {**rows}
    expected = one_by_one(model, part, own)
    assert_array_equal(together(model, part, own), expected)
    with pytest.raises(ValueError, match="method='predict_proba' cannot be called"):
        together(model, part, own, method="predict_proba")


@pytest.mark.parametrize("outside", ["pipeline", "frozen", "target"])
def test_compositions_pass_the_rows_on(outside, rows):
    inner = ReptileRegressor(max_iter=20, random_state=0)
    if outside == "target":
        model = fitted(TransformedTargetRegressor(inner, transformer=MinMaxScaler()))
    else:
        model = fitted(make_pipeline(StandardScaler(), inner))
    expected = one_by_one(model, rows, rows["y"])
    model = FrozenEstimator(model) if outside == "frozen" else model
    assert_allclose(together(model, rows, rows["y"]), expected, rtol=1e-9)


def test_sparse_rows_give_the_predictions_of_dense_ones(rows):
    model = fitted(ReptileRegressor((6,), max_iter=20, random_state=0))
    wide = {**rows, "X": sparse.csr_array(rows["X"])}
    wide["X_new"] = sparse.csr_array(rows["X_new"])
    expected = together(model, rows, rows["y"])
    assert_allclose(together(model, wide, rows["y"]), expected, rtol=1e-9)


DAY = pd.Timestamp("2024-01-01")
DAYS = [DAY + pd.Timedelta(days=i) for i in range(4)]
# the ids of rows, and ids of the same tasks in another type, which are never equal
TWO_KINDS = {
    "numbers and text": ([1, 2, 3, 4], ["1", "2", "3", "4"]),
    "text and numbers": (np.array(["1", "2", "3", "4"]), np.arange(1, 5)),
    "floats and text": ([1.0, 2.0, 3.0, 4.0], ["1.0", "2.0", "3.0", "4.0"]),
    "moments and text": (pd.Series(DAYS), [str(day.date()) for day in DAYS]),
    "moments and dates": (pd.Series(DAYS), [day.date() for day in DAYS]),
    "with and without a zone": (
        pd.Series(DAYS),
        pd.Series(DAYS).dt.tz_localize("UTC"),
    ),
    "bytes and text": (np.array([b"a", b"b", b"c", b"d"]), ["a", "b", "c", "d"]),
    "numbers and moments": (np.arange(4), np.array(DAYS, dtype="datetime64[ns]")),
    "categories of numbers and text": (
        pd.Categorical([1, 2, 3, 4]),
        pd.Series(["1", "2", "3", "4"], dtype="string"),
    ),
    "polars and text": (pl.Series([1, 2, 3, 4]), pl.Series(["1", "2", "3", "4"])),
    "a zone in one row": (pd.Series(DAYS), [*DAYS[:3], DAYS[3].tz_localize("UTC")]),
    "a text in one row": ([1, 2, 3, 4], [1, 2, 3, "4"]),
}


@pytest.mark.filterwarnings("ignore:The ids of tasks are of 2 kinds")
@pytest.mark.parametrize("kind", TWO_KINDS)
@pytest.mark.parametrize(
    "model", [REGRESSORS[0], EmpiricalBayesRegressor("intercept")], ids=str
)
def test_ids_of_two_kinds_are_refused_and_one_of_each_shown(model, kind, rows):
    model = fitted(model)
    X, y = rows["X"][:4], rows["y"][:4]
    for task, task_new in (TWO_KINDS[kind], TWO_KINDS[kind][::-1]):
        with pytest.raises(ValueError, match=r"such as .* such as .*never equal"):
            model.adapt_predict(X, y, X, task=task, task_new=task_new)
        with pytest.raises(ValueError, match=r"such as .* such as .*never equal"):
            skmeta.adapt_predict(
                make_pipeline(FunctionTransformer(), model),
                X,
                y,
                X,
                task=task,
                task_new=task_new,
            )


NEVER_MEET = {
    "padded": (["7", "8"] * 2, ["7 ", "8 "] * 2),
    "leading zeros": (["07"] * 4, ["7"] * 4),
    "other tasks": ([1, 2, 3, 4], [5, 6, 7, 8]),
    "days of other years": (DAYS, [day.replace(year=2023) for day in DAYS]),
}


@pytest.mark.parametrize("kind", NEVER_MEET)
def test_new_rows_are_refused_if_none_of_their_tasks_has_a_known_row(kind, rows):
    model = fitted(ReptileRegressor(max_iter=20, random_state=0))
    X, y = rows["X"][:4], rows["y"][:4]
    task, task_new = NEVER_MEET[kind]
    with pytest.raises(ValueError, match=r"No id of task_new.*call predict"):
        model.adapt_predict(X, y, X, task=task, task_new=task_new)


# two types of the same ids, which are equal
SAME_IDS = {
    "float and int": ([1.0, 2.0, 2.0, 3.0], [1, 2, 2, 3]),
    "Int64 and int": (pd.Series([1, 2, 2, 3], dtype="Int64"), [1, 2, 2, 3]),
    "int32 and int64": (np.int32([1, 2, 2, 3]), np.int64([1, 2, 2, 3])),
    "beyond the floats": (
        np.array([1, 2, 2, 3], dtype=np.uint64) + np.uint64(2**60),
        np.array([1, 2, 2, 3]) + 2**60,
    ),
    "Decimal and int": ([Decimal(1), Decimal(2), Decimal(2), Decimal(3)], [1, 2, 2, 3]),
    "text": (np.array([*"abbc"]), pd.Series([*"abbc"], dtype="category")),
    "polars and text": (pl.Series([*"abbc"]), list("abbc")),
    "moments": (
        pd.Series([DAYS[i] for i in (0, 1, 1, 2)]),
        [DAYS[i].to_pydatetime() for i in (0, 1, 1, 2)],
    ),
    "moments, to the nanosecond": (
        pd.Series([DAYS[i] for i in (0, 1, 1, 2)], dtype="datetime64[ns]"),
        [DAYS[i] for i in (0, 1, 1, 2)],
    ),
    "zones": (
        pd.Series([DAYS[i] for i in (0, 1, 1, 2)]).dt.tz_localize("UTC"),
        pd.Series([DAYS[i] for i in (0, 1, 1, 2)])
        .dt.tz_localize("UTC")
        .dt.tz_convert("Asia/Tokyo"),
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", SAME_IDS)
def test_equal_ids_of_two_types_are_the_same_tasks(kind, rows):
    model = fitted(ReptileRegressor(max_iter=20, random_state=0))
    X, y = rows["X"][:4], rows["y"][:4]
    numbers = [0, 1, 1, 2]
    expected = model.adapt_predict(X, y, X, task=numbers, task_new=numbers)
    for task, task_new in (SAME_IDS[kind], SAME_IDS[kind][::-1]):
        result = model.adapt_predict(X, y, X, task=task, task_new=task_new)
        assert_array_equal(result, expected)


def test_without_known_rows_the_error_names_predict(rows):
    model = fitted(ReptileRegressor(max_iter=20, random_state=0))
    X = rows["X"]
    for verb in (model.adapt_predict, partial(skmeta.adapt_predict, model)):
        with pytest.raises(ValueError, match=r"no row to adapt to.*predict\(X_new\)"):
            verb(X[:0], [], X, task=[], task_new=np.arange(len(X)))


def test_errors_name_the_wrong_input(rows):
    model = fitted(ReptileRegressor(max_iter=20, random_state=0))
    with pytest.raises(ValueError, match=r"task has 3 ids, but X has 29 rows"):
        together(model, rows, rows["y"], task=[1, 2, 3])
    bad = rows["X_new"].copy()
    bad[3, 0] = np.nan
    with pytest.raises(ValueError, match=f"row 3, of task '{rows['task_new'][3]}'"):
        together(model, rows, rows["y"], X_new=bad)
    with pytest.raises(ValueError, match=r"Take one of \['predict'\]"):
        together(model, rows, rows["y"], method="predict_proba")
    with pytest.raises(TypeError, match="adapt_predict found no meta-learner in Ridge"):
        together(Ridge(), rows, rows["y"])


@pytest.mark.parametrize("model", [*REGRESSORS[:3], REGRESSORS[6]], ids=str)
def test_models_adapted_together_are_those_adapted_alone(model, rows):
    model = fitted(model)
    parts = []
    for t in np.unique(rows["task"]):
        here = rows["task"] == t
        parts.append((rows["X"][here], rows["y"][here]))
    for part, adapted in zip(parts, model._adapt_each(parts), strict=True):
        alone = model.adapt(*part)
        assert adapted.n_adapt_rows_ == alone.n_adapt_rows_ == len(part[1])
        assert_allclose(
            adapted.predict(rows["X_new"]), alone.predict(rows["X_new"]), rtol=1e-9
        )
        assert vars(adapted).keys() == vars(alone).keys()


def test_threads_may_adapt_the_same_model_at_the_same_time():
    tasks = make_linear_tasks(40, 12, 5, random_state=0)
    model = ReptileRegressor((16,), max_iter=20, random_state=0).meta_fit(tasks)

    def predict(t):
        X, y = tasks[t % 40]
        return model.adapt(X[:6], y[:6]).predict(X[6:])

    expected = [predict(t) for t in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for t, result in enumerate(pool.map(predict, range(400))):
            assert_array_equal(result, expected[t % 40])


@pytest.mark.parametrize(
    "model",
    [
        EmpiricalBayesRegressor(),
        EmpiricalBayesClassifier(),
        PrototypicalClassifier(random_state=0),
        ReptileRegressor(max_iter=20, random_state=0),
        ReptileRegressor(base_estimator=Ridge(), max_iter=20, random_state=0),
        ReptileClassifier(max_iter=20, random_state=0),
    ],
    ids=str,
)
def test_named_columns_give_no_warning(model):
    """Inside, the rows of each task are plain arrays with names checked before."""
    kind = "regression" if is_regressor(model) else "classification"
    tasks = make_linear_tasks(8, n_samples=12, kind=kind, random_state=0)
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    X, ids = pd.DataFrame(X).add_prefix("x"), np.repeat(np.arange(8), 12)
    known = np.tile(np.arange(12) < 6, 8)
    model = clone(model).fit(X, y, task=ids)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        y_new = model.adapt_predict(
            X[known], y[known], X[~known], task=ids[known], task_new=ids[~known]
        )
    alone = model.adapt(X[known][:6], y[known][:6]).predict(X[~known][:6])
    np.testing.assert_allclose(y_new[:6], alone)


# -- stacks of tasks beside the loop --------------------------------------------------


LEARNED = {
    "numbers": EmpiricalBayesRegressor("diagonal", noise="shared"),
    "noise per task": EmpiricalBayesRegressor("isotropic", noise="task"),
    "shared columns": EmpiricalBayesRegressor(
        "isotropic", varying=[0, 2], noise="task", fit_intercept=False
    ),
    "old rows fade": EmpiricalBayesRegressor("intercept", half_life=2.0),
    "old rows fade, noise": EmpiricalBayesRegressor(
        "isotropic", half_life=0.7, time_column=1, noise="task"
    ),
    "base model": EmpiricalBayesRegressor("intercept", base_estimator=Ridge()),
    "labels": EmpiricalBayesClassifier("isotropic"),
    "three labels": EmpiricalBayesClassifier("isotropic"),
    "labels fade": EmpiricalBayesClassifier("intercept", half_life=1.5),
    "base of labels": EmpiricalBayesClassifier(
        "intercept", base_estimator=LogisticRegression()
    ),
    "one label": EmpiricalBayesClassifier("isotropic"),
    "counts": EmpiricalBayesPoissonRegressor("isotropic"),
    "base of counts": EmpiricalBayesPoissonRegressor(
        "intercept", base_estimator=DummyRegressor()
    ),
    "own classes": ReptileClassifier(task_classes="own", max_iter=5, random_state=0),
    "minibatches": ReptileRegressor(batch_size=2, max_iter=5, random_state=0),
    "reptile": ReptileClassifier((4,), max_iter=5, random_state=0),
    "prototypes": PrototypicalClassifier(random_state=0),
}
WAYS = [
    ("predict", {}),
    ("predict", {"return_std": True}),
    ("predict_interval", {}),
    ("predict_interval", {"coverage": 0.5}),
    ("predict_interval", {"exposure": 3.0}),
    ("predict_proba", {}),
    ("decision_function", {}),
]


def targets_of(kind, X, codes):
    rng = np.random.default_rng(codes.sum())
    eta = X[:, 0] + rng.normal(size=codes.max() + 1)[codes] + rng.normal(size=len(X))
    if "counts" in kind:
        return rng.poisson(np.exp(0.5 * eta)).astype(float)
    if kind == "one label":
        return np.full(len(X), "only")
    if kind == "three labels":
        return np.digitize(eta, [-0.5, 0.5])
    if is_regressor(LEARNED[kind]):
        return 1e6 + 1e3 * eta
    return np.where(eta > 0, "yes", "no")


def ways_of(model):
    for method, options in WAYS:
        if hasattr(model, method) and (
            method == "predict" or not has_own_classes(model)
        ):
            if set(options) <= set(signature(getattr(model, method)).parameters):
                yield method, options


CENTRE, SIZE = np.array([1e6, 0, 5]), np.array([1e3, 1, 0.1])


@pytest.fixture(scope="module")
def new_tasks():
    """Ragged tasks in any order, two without new rows, and one without known ones."""
    rng = np.random.default_rng(3)
    codes = rng.permutation(np.repeat(np.arange(9), [1, 2, 3, 4, 8, 8, 30, 250, 0]))
    codes_new = rng.permutation(np.repeat(np.arange(9), [3, 1, 0, 5, 2, 40, 1, 2, 4]))
    X, X_new = (rng.normal(CENTRE, SIZE, (len(c), 3)) for c in (codes, codes_new))
    return X, codes, X_new, codes_new


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", LEARNED)
def test_stacks_give_what_the_loop_gives(kind, new_tasks):
    X, codes, X_new, codes_new = new_tasks
    rng = np.random.default_rng(0)
    ids, X_old = np.repeat(np.arange(8), 9), rng.normal(CENTRE, SIZE, (72, 3))
    y_old = targets_of(kind, (X_old - CENTRE) / SIZE, ids)
    model = clone(LEARNED[kind]).fit(X_old, y_old, task=ids)
    y = targets_of(kind, (X - CENTRE) / SIZE, codes)
    weight = rng.choice([0.0, 0.5, 1.0, 3.0], size=len(y))
    weight[codes == 0] = 1.0
    if has_own_classes(model):  # nothing can be predicted without a known row
        some = np.isin(codes_new, codes[weight > 0])
        X_new, codes_new = X_new[some], codes_new[some]
    given = {"task": codes, "task_new": codes_new}
    for method, options in ways_of(model):
        how = {**given, "method": method, **options}
        found = model.adapt_predict(X, y, X_new, weight, **how)
        expected = one_after_the_other(model, X, y, X_new, weight, **how)
        for one, other in zip(parts_of(found), parts_of(expected), strict=True):
            assert one.shape == other.shape
            if one.dtype.kind != "f":
                assert_array_equal(one, other)
                continue
            close = 1e-5 if "reptile" in kind else 1e-10
            off = np.abs(one - other).max()
            assert off <= close * max(1.0, np.abs(other).max()), (method, options)
    wide = sparse.csr_array(X), sparse.csr_array(X_new)
    found = model.adapt_predict(wide[0], y, wide[1], weight, **given)
    expected = model.adapt_predict(X, y, X_new, weight, **given)
    if found.dtype.kind == "f":
        assert_allclose(found, expected, rtol=1e-7)


def has_own_classes(model):
    own = getattr(model, "task_classes", "shared") == "own"
    return own or isinstance(model, PrototypicalClassifier)


def parts_of(found):
    return found if isinstance(found, tuple) else (found,)


def one_after_the_other(
    model, X, y, X_new, weight, *, task, task_new, method, **options
):
    """By hand, so that no code for many tasks at once is used."""
    whole = None
    for t in np.unique(task_new):
        here, new = (task == t) & (weight > 0), task_new == t
        adapted = model.adapt(X[here], y[here], weight[here]) if here.any() else model
        found = parts_of(getattr(adapted, method)(X_new[new], **options))
        if whole is None:
            whole = [
                np.zeros((len(X_new), *part.shape[1:]), part.dtype) for part in found
            ]
        for into, part in zip(whole, found, strict=True):
            into[new] = part
    return tuple(whole) if len(whole) > 1 else whole[0]


@pytest.mark.parametrize("cells", [1, 2**18])
@pytest.mark.parametrize("hidden", [(), (4,)])
def test_prototypes_of_ragged_tasks_are_those_of_the_loop(hidden, cells, monkeypatch):
    monkeypatch.setattr(side_by_side, "BLOCK_CELLS", cells)
    rng = np.random.default_rng(5)
    X, ids = rng.normal(size=(90, 3)), np.repeat(np.arange(6), 15)
    model = PrototypicalClassifier(hidden, max_iter=5, random_state=0)
    model.fit(X, rng.integers(4, size=90), task=ids)
    y = rng.integers(1 + ids * 3)  # from one class to a dozen
    X_new, ids_new = rng.normal(size=(40, 3)), rng.integers(6, size=40)
    for labels in (y, y.astype(str), np.char.add("t", y.astype(str)).astype(object)):
        weight = rng.uniform(0.1, 2, size=90)
        given = {"task": ids, "task_new": ids_new, "method": "predict"}
        found = model.adapt_predict(X, labels, X_new, weight, **given)
        expected = one_after_the_other(model, X, labels, X_new, weight, **given)
        assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


# -- intervals and deviations through compositions ------------------------------------


def around(kind):
    model = EmpiricalBayesRegressor("intercept")
    if kind == "pipeline":
        return make_pipeline(StandardScaler(), model)
    if kind == "search":
        with config_context(enable_metadata_routing=True):
            return GridSearchCV(
                make_pipeline(StandardScaler(), model),
                {"empiricalbayesregressor__fit_intercept": [True]},
                cv=GroupKFold(2).set_split_request(groups="task"),
                scoring=make_few_shot_scorer(),
            )
    if kind == "frozen":
        return model
    ways = {
        "scaled": {"transformer": MinMaxScaler()},
        "falling": {"func": np.negative, "inverse_func": np.negative},
        "log": {"func": np.log, "inverse_func": np.exp},
        "square": {"func": np.sqrt, "inverse_func": np.square},
    }
    return TransformedTargetRegressor(model, **ways[kind], check_inverse=False)


KINDS = ["pipeline", "search", "frozen", "scaled", "falling", "log", "square"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_reach_through_compositions(kind, rows):
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(48, 5)), np.repeat(np.arange(8), 6)
    y = 2.0 + np.abs(X[:, 0] + rng.normal(size=8)[task])
    X_new, task_new = rng.normal(size=(9, 5)), np.tile(np.arange(3), 3)
    with config_context(enable_metadata_routing=True):
        model = around(kind).fit(X, y, task=task)
    model = FrozenEstimator(model) if kind == "frozen" else model
    predict = partial(skmeta.adapt_predict, model, X, y, X_new, task=task)
    predict = partial(predict, task_new=task_new)
    if kind == "square":
        y[:] = 0.01
        with pytest.raises(ValueError, match="does not rise or fall everywhere"):
            predict(method="predict_interval")
        return
    found = predict(method="predict_interval", coverage=0.5)
    middle = predict()
    assert found.shape == (9, 2)
    assert (found[:, 0] < middle).all() and (middle < found[:, 1]).all()
    if kind in ("scaled", "falling", "log"):
        inner, change = model.regressor_, model.transformer_
        of_y = change.transform(y[:, None])[:, 0]
        given = {"task": task, "task_new": task_new}
        ends = inner.adapt_predict(
            X, of_y, X_new, **given, method="predict_interval", coverage=0.5
        )
        expected = change.inverse_transform(ends.reshape(-1, 1)).reshape(-1, 2)
        assert_allclose(found, np.sort(expected, axis=1), rtol=1e-12)
        with pytest.raises(ValueError, match="return_std=True gives deviations of the"):
            predict(return_std=True)
    else:
        mean, deviation = predict(return_std=True)
        assert_allclose(mean, middle)
        assert (deviation > 0).all()


def test_arguments_that_a_method_does_not_have_are_refused(rows):
    model = fitted(EmpiricalBayesRegressor("intercept"))
    with pytest.raises(TypeError, match=r"unexpected argument 'coverage'.*return_std"):
        together(model, rows, rows["y"], coverage=0.5)
    with pytest.raises(ValueError, match="coverage must be a number between 0 and 1"):
        together(model, rows, rows["y"], method="predict_interval", coverage=90)
    reptile = fitted(ReptileRegressor(max_iter=2, random_state=0))
    with pytest.raises(TypeError, match="takes no further argument"):
        together(reptile, rows, rows["y"], return_std=True)
    with pytest.raises(ValueError, match=r"'predict_interval' cannot be called"):
        together(reptile, rows, rows["y"], method="predict_interval")


@pytest.mark.filterwarnings("ignore")
def test_exposures_may_differ_between_new_rows(rows):
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(60, 5)), np.repeat(np.arange(6), 10)
    model = EmpiricalBayesPoissonRegressor("intercept")
    model.fit(X, rng.poisson(2.0, size=60), task=ids)
    y, n_new = rng.poisson(2.0, size=len(rows["y"])), len(rows["X_new"])
    exposure = rng.uniform(1, 30, size=n_new)
    known = rows["task"] != "a"  # so that the start predicts for one task
    part = {**rows, "X": rows["X"][known], "task": rows["task"][known]}
    how = {"method": "predict_interval", "exposure": exposure}
    found = together(model, part, y[known], **how)
    for t in np.unique(rows["task_new"]):
        here, new = part["task"] == t, rows["task_new"] == t
        one = model.adapt(part["X"][here], y[known][here]) if here.any() else model
        expected = one.predict_interval(rows["X_new"][new], exposure=exposure[new])
        assert_allclose(found[new], expected)


class Clipped(EmpiricalBayesRegressor):
    """A user's own kind of model."""

    def predict(self, X, return_std=False):
        return np.maximum(super().predict(X), 0.5)


def test_a_method_that_a_subclass_replaces_is_used(rows):
    model = fitted(Clipped("intercept"))
    assert together(model, rows, rows["y"]).min() == 0.5
