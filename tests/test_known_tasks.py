"""Known tasks first: `predict(X, task=ids)` on a model that was fitted with ids."""

import io
from uuid import UUID

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    ReptileRegressor,
    TaskBank,
    TaskStatistics,
    _known_tasks,
    adapt,
    adapt_predict,
    meta_fit,
)
from skmeta._checks.ids import check_task_ids
from skmeta._core.prior.statistics import no_sums
from skmeta._known_tasks import KnownTasks

COLUMNS = ["price", "promo"]
N_SHOPS, N_WEEKS = 12, 9


def make_shops():
    rng = np.random.default_rng(0)
    week, number = np.indices((N_WEEKS, N_SHOPS)).reshape(2, -1)
    level = rng.normal(0, 30, N_SHOPS)
    table = pd.DataFrame({"shop": [f"S{i:02d}" for i in number], "week": week})
    table["price"] = rng.uniform(1, 5, len(table))
    table["promo"] = rng.integers(0, 2, len(table))
    table["sales"] = level[number] - 5 * table["price"]
    table["sales"] += 100 + 8 * table["promo"] + rng.normal(0, 2, len(table))
    table["many"] = (table["sales"] > 85).astype(int)
    table["count"] = rng.poisson(np.exp(table["sales"] / 60))
    return table


# Some weeks of each shop are known and the others are to come.
SHOPS = make_shops()
KNOWN, NEW = SHOPS[SHOPS["week"] < 6], SHOPS[SHOPS["week"] >= 6]


def fitted(model, y="sales", **given):
    return model.fit(KNOWN[COLUMNS], KNOWN[y], task=KNOWN["shop"], **given)


def regressor(**params):
    """The levels of shops differ; a choice of the noise would take long."""
    few = {"prior": "intercept", "noise": "shared", "random_state": 0}
    return EmpiricalBayesRegressor(**few | params)


@pytest.fixture(scope="module")
def model():
    return fitted(regressor())


# -- as a user types it ---------------------------------------------------------------


def test_next_month_of_the_shops_one_has(model):
    y = model.predict(NEW[COLUMNS], task=NEW["shop"])
    of_start = model.predict(NEW[COLUMNS])
    error, error_of_start = (np.abs(p - NEW["sales"]).mean() for p in (y, of_start))
    assert error < 3 < 10 < error_of_start
    by_hand = model.adapt_predict(
        KNOWN[COLUMNS],
        KNOWN["sales"],
        NEW[COLUMNS],
        task=KNOWN["shop"],
        task_new=NEW["shop"],
    )
    assert_allclose(y, by_hand, rtol=1e-10)


def test_one_id_may_stand_for_all_rows(model):
    y = model.predict(NEW[COLUMNS], task="S03")
    rows = KNOWN[KNOWN["shop"] == "S03"]
    alone = model.adapt(rows[COLUMNS], rows["sales"])
    assert_allclose(y, alone.predict(NEW[COLUMNS]), rtol=1e-10)
    with_deviation = model.predict(NEW[COLUMNS], return_std=True, task="S03")
    assert_allclose(with_deviation, alone.predict(NEW[COLUMNS], return_std=True))
    interval = model.predict_interval(NEW[COLUMNS], 0.8, task="S03")
    assert_allclose(interval, alone.predict_interval(NEW[COLUMNS], 0.8))


def test_the_learned_start_predicts_for_unknown_ids(model):
    ids = NEW["shop"].to_numpy(dtype=object).copy()
    ids[::4] = "new"
    y = model.predict(NEW[COLUMNS], task=ids)
    start, known = model.predict(NEW[COLUMNS]), ids != "new"
    assert_array_equal(y[~known], start[~known])
    known_alone = model.predict(NEW[COLUMNS][known], task=ids[known])
    assert_allclose(y[known], known_alone, rtol=1e-10)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("S99", "No id of task, such as 'S99', is one of the 12 tasks of fit"),
        (3, "of the kind text, and 3 is of the kind number"),
        (["S00"] * 35 + [1], "In 1 of 36 rows task, as 1, is none of the 12 tasks"),
    ],
)
def test_a_warning_says_if_no_id_is_known(model, task, says):
    with pytest.warns(UserWarning, match=says):
        y = model.predict(NEW[COLUMNS], task=task)
    assert_array_equal(y[-1], model.predict(NEW[COLUMNS])[-1])


def test_what_is_kept_can_be_looked_at(model):
    kept = model.known_tasks_
    assert len(kept) == N_SHOPS
    assert kept.ids.tolist() == list(kept) == sorted(KNOWN["shop"].unique())
    assert (kept.n_rows == 6).all()
    assert "S03" in kept
    assert "S99" not in kept
    assert repr(kept) == "KnownTasks(sums of 12 tasks with 72 rows)"


# -- equal to adapt_predict, and to a bank --------------------------------------------

NUMBERS = [("predict", {}), ("predict", {"return_std": True}), ("predict_interval", {})]
LABELS = [("predict", {}), ("predict_proba", {}), ("decision_function", {})]
EXPOSURE = np.random.default_rng(1).uniform(1, 3, len(NEW))
COUNTS = [("predict", {}), ("predict_interval", {"exposure": EXPOSURE})]
LOGISTIC = LogisticRegression()


def labels(**params):
    return EmpiricalBayesClassifier("intercept", random_state=0, **params)


def counts(**params):
    return EmpiricalBayesPoissonRegressor("intercept", random_state=0, **params)


CASES = {
    "noise of tasks": (regressor(noise="task"), "sales", NUMBERS, "sums"),
    "no intercept": (
        regressor(prior="diagonal", fit_intercept=False),
        "sales",
        NUMBERS,
        "sums",
    ),
    "base model": (regressor(base_estimator=Ridge()), "sales", NUMBERS, "sums"),
    "features": (
        regressor(features=LearnedFeatures((4,), max_iter=3)),
        "sales",
        NUMBERS,
        "sums",
    ),
    "time": (regressor(row_order="time"), "sales", NUMBERS, "sums"),
    "half-life": (regressor(half_life=3.0), "sales", NUMBERS, "rows"),
    "labels": (labels(), "many", LABELS, "rows"),
    "labels and base": (labels(base_estimator=LOGISTIC), "many", LABELS, "rows"),
    "counts": (counts(), "count", COUNTS, "rows"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_each_row_is_predicted_as_by_adapting_to_the_rows_of_fit(name):
    model, y, methods, kept = CASES[name]
    rng = np.random.default_rng(0)
    X, X_new = (np.asfortranarray(t[COLUMNS], dtype=float) for t in (KNOWN, NEW))
    weight, task = rng.integers(0, 3, len(X)).astype(float), KNOWN["shop"].to_numpy()
    shuffled = NEW["shop"].to_numpy(dtype=object).copy()
    shuffled[rng.random(len(NEW)) < 0.2] = "new"
    model = model.fit(X, KNOWN[y].to_numpy(), weight, task=task)
    assert repr(model.known_tasks_).startswith(f"KnownTasks({kept}")
    for method, options in methods:
        found = getattr(model, method)(X_new, task=shuffled, **options)
        expected = model.adapt_predict(
            X,
            KNOWN[y].to_numpy(),
            X_new,
            weight,
            task=task,
            task_new=shuffled,
            method=method,
            **options,
        )
        assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    bank = TaskBank(model).update(X, KNOWN[y].to_numpy(), weight, task=task)
    given = {"task": shuffled}
    assert_allclose(bank.predict(X_new, **given), model.predict(X_new, **given))


def test_far_from_zero_and_sparse_it_is_the_same():
    X = np.array(KNOWN[COLUMNS] * [1e3, 0] + [1e6, 0]) + KNOWN[["promo"]].to_numpy()
    X_new = np.array(NEW[COLUMNS] * [1e3, 0] + [1e6, 0]) + NEW[["promo"]].to_numpy()
    y, task, task_new = KNOWN["sales"] * 1e4 + 1e8, KNOWN["shop"], NEW["shop"]
    model = regressor().fit(X, y.to_numpy(), task=task.to_numpy())
    expected = model.adapt_predict(
        X, y.to_numpy(), X_new, task=task.to_numpy(), task_new=task_new.to_numpy()
    )
    found = model.predict(X_new, task=task_new.to_numpy())
    assert_allclose(found, expected, rtol=1e-10)
    X, X_new = (sparse.csr_matrix(t[COLUMNS].to_numpy(float)) for t in (KNOWN, NEW))
    few = regressor().fit(X, KNOWN["sales"].to_numpy(), task=task)
    dense = fitted(regressor())
    assert_allclose(
        few.predict(X_new, task=task_new),
        dense.predict(NEW[COLUMNS], task=task_new),
        rtol=1e-8,
    )


def test_of_wide_tasks_with_few_rows_the_rows_are_kept():
    X, X_new = (np.hstack([t[COLUMNS]] + 8 * [t[["price"]]]) for t in (KNOWN, NEW))
    X[:, 2:] += np.random.default_rng(0).normal(size=(len(X), 8))
    y, task, task_new = (
        column.to_numpy() for column in (KNOWN["sales"], KNOWN["shop"], NEW["shop"])
    )
    model = EmpiricalBayesRegressor("intercept", noise="shared").fit(X, y, task=task)
    assert repr(model.known_tasks_).startswith("KnownTasks(rows")
    expected = model.adapt_predict(X, y, X_new, task=task, task_new=task_new)
    assert_allclose(model.predict(X_new, task=task_new), expected, rtol=1e-10)


# -- choices --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def choices():
    """Offers of screens of shoppers, shuffled; half of the screens are known."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 6, 3, 2))
    utility = (X * (1 + rng.normal(size=(12, 1, 1, 2)))).sum(axis=-1)
    y = (utility == utility.max(axis=-1, keepdims=True)).astype(float)
    shopper, screen, _ = (part.ravel() for part in np.indices(y.shape))
    order = rng.permutation(y.size)
    table = [part[order] for part in (X.reshape(-1, 2), y.ravel(), shopper, screen)]
    known = table[3] < 3
    return [part[known] for part in table], [part[~known] for part in table]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("params", [{}, {"half_life": 3.0}], ids=str)
def test_offers_are_judged_by_the_choices_of_their_shopper(choices, params):
    (X, y, task, sets), (X_new, _, task_new, sets_new) = choices
    model = EmpiricalBayesRanker("isotropic", random_state=0, **params)
    model.fit(X, y, task=task, choice_set=sets)
    task_new = np.where(task_new == 3, 99, task_new)
    by_hand = {"task": task, "task_new": task_new, "choice_set": sets}
    for method, labelled in (
        ("predict", False),
        *(("predict_proba", labelled) for labelled in (False, True)),
        *(("rank", labelled) for labelled in (False, True)),
    ):
        given = {"choice_set": sets_new} if labelled else {}
        found = getattr(model, method)(X_new, task=task_new, **given)
        given = {"choice_set_new": sets_new} if labelled else {}
        expected = model.adapt_predict(X, y, X_new, method=method, **given, **by_hand)
        assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


# -- ways to fit ----------------------------------------------------------------------

TASKS = {
    shop: (rows[COLUMNS].to_numpy(float), rows["sales"].to_numpy())
    for shop, rows in KNOWN.groupby("shop")
}


def test_tasks_of_a_list_are_known_by_their_numbers(model):
    of_dict = regressor().meta_fit(TASKS)
    of_list = regressor().meta_fit(list(TASKS.values()))
    X_new, number = NEW[COLUMNS].to_numpy(float), NEW["shop"].str[1:].astype(int)
    expected = model.predict(NEW[COLUMNS], task=NEW["shop"])
    found = of_dict.predict(X_new, task=NEW["shop"])
    assert_allclose(found, expected, rtol=1e-10)
    assert_allclose(of_list.predict(X_new, task=number), expected, rtol=1e-10)


def test_statistics_tell_what_the_rows_tell(model):
    statistics = TaskStatistics.from_rows(
        KNOWN[COLUMNS], KNOWN["sales"], task=KNOWN["shop"]
    )
    found = regressor().meta_fit(statistics)
    given = {"task": NEW["shop"]}
    expected = model.predict(NEW[COLUMNS], **given)
    assert_allclose(found.predict(NEW[COLUMNS], **given), expected, rtol=1e-8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("params", [{}, {"row_order": "time"}], ids=str)
def test_portions_are_kept_once_and_known(params):
    shops = list(TASKS)
    model = regressor(**params)
    model.partial_meta_fit({shop: TASKS[shop] for shop in shops[:8]})
    more = {shop: (TASKS[shop][0][:2], TASKS[shop][1][:2]) for shop in shops[:3]}
    rest = {shop: TASKS[shop] for shop in shops[8:]}
    model.partial_meta_fit(rest).partial_meta_fit(more)
    assert model.known_tasks_._kept is model.stream_
    tasks = [*TASKS.items(), *more.items()]
    X, y = (np.concatenate([task[i] for _, task in tasks]) for i in range(2))
    task = np.repeat([shop for shop, _ in tasks], [len(t[1]) for _, t in tasks])
    X_new = NEW[COLUMNS].to_numpy(float)
    expected = model.adapt_predict(X, y, X_new, task=task, task_new=NEW["shop"])
    assert_allclose(model.predict(X_new, task=NEW["shop"]), expected, rtol=1e-10)


@pytest.mark.filterwarnings("ignore")
def test_a_single_task_does_not_count_twice():
    """What a fit to one task has learned is that task's posterior already."""
    X, y = TASKS["S00"]
    model = regressor().fit(X, y, task=np.full(len(y), "S00"))
    assert_array_equal(model.predict(X, task="S00"), model.predict(X))


@pytest.mark.parametrize(
    "kind",
    [
        lambda i: 7 * i,
        lambda i: float(i),
        lambda i: np.datetime64("2026-01-01") + i,
        lambda i: pd.Timestamp(2026, 1, 1 + i),
        lambda i: UUID(int=i),
        lambda i: complex(i, 1),
        lambda i: b"%d" % i,
    ],
)
def test_ids_may_be_of_any_kind(kind):
    ids = check_task_ids([kind(i) for i in range(5)], 5)
    known = KnownTasks(ids, no_sums(5, 1))
    asked = check_task_ids([kind(i) for i in (3, 7, 0)], 3)
    assert known.places_of(asked).tolist() == [3, -1, 0]
    assert kind(3) in known
    assert kind(7) not in known


class Doubled(EmpiricalBayesRegressor):
    def _raw_outputs(self, X):
        return 2 * super()._raw_outputs(X)


def test_of_a_subclass_that_predicts_in_its_own_way_the_rows_are_kept():
    model = fitted(Doubled("intercept", noise="shared"))
    rows = KNOWN[KNOWN["shop"] == "S03"]
    expected = model.adapt(rows[COLUMNS], rows["sales"]).predict(NEW[COLUMNS])
    assert_allclose(model.predict(NEW[COLUMNS], task="S03"), expected, rtol=1e-10)


def test_rows_that_the_user_changes_later_are_not_what_was_kept():
    X, y = KNOWN[COLUMNS].to_numpy(float), KNOWN["many"].to_numpy().copy()
    task, X_new = KNOWN["shop"].to_numpy(), NEW[COLUMNS].to_numpy(float)
    model = labels().fit(X, y, task=task)
    before = model.predict_proba(X_new, task=NEW["shop"])
    X[:], y[:] = 0.0, 0
    assert_array_equal(model.predict_proba(X_new, task=NEW["shop"]), before)


# -- compositions ---------------------------------------------------------------------

COMPOSED = {
    "pipeline": lambda: make_pipeline(StandardScaler(), regressor()),
    "targets": lambda: TransformedTargetRegressor(
        make_pipeline(StandardScaler(), regressor()),
        func=np.log,
        inverse_func=np.exp,
    ),
}


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("name", COMPOSED)
def test_ids_reach_the_model_in_a_composition(name, routing):
    X_new, task_new = NEW[COLUMNS].to_numpy(float), NEW["shop"].to_numpy()
    tasks = {shop: (X, np.exp(y / 50)) for shop, (X, y) in TASKS.items()}
    composed = meta_fit(COMPOSED[name](), tasks)
    X, y = (np.concatenate([task[i] for task in tasks.values()]) for i in range(2))
    task = np.repeat(list(tasks), 6)
    expected = adapt_predict(composed, X, y, X_new, task=task, task_new=task_new)
    with sklearn.config_context(enable_metadata_routing=routing):
        for estimator in (composed, FrozenEstimator(composed)):
            found = estimator.predict(X_new, task=task_new)
            assert_allclose(found, expected, rtol=1e-10)


# -- on disk, in copies ---------------------------------------------------------------


def test_a_saved_model_knows_its_tasks(model):
    expected = model.predict(NEW[COLUMNS], task=NEW["shop"])
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    found = joblib.load(buffer).predict(NEW[COLUMNS], task=NEW["shop"])
    assert_array_equal(found, expected)
    sio = pytest.importorskip("skops.io")
    data = sio.dumps(model)
    loaded = sio.loads(data, trusted=sio.get_untrusted_types(data=data))
    found = loaded.predict(NEW[COLUMNS], task=NEW["shop"])
    assert_array_equal(found, expected)


def test_adapted_copies_and_banks_carry_no_other_task(model):
    few = KNOWN[:4]
    adapted = adapt(model, few[COLUMNS], few["sales"])
    assert not hasattr(adapted, "known_tasks_")
    assert not hasattr(TaskBank(model).model_of("S00"), "known_tasks_")


# -- what is refused ------------------------------------------------------------------


def refused(says, model, kind=ValueError, **given):
    with pytest.raises(kind, match=says):
        model.predict(NEW[COLUMNS], **given)


def test_an_adapted_model_refuses_ids(model):
    few = KNOWN[:4]
    adapted = model.adapt(few[COLUMNS], few["sales"])
    refused("adapted to the 4 rows of one task.*leave task out", adapted, task="S00")
    zero = model._unadapted_copy()
    refused("a copy that adapt has made.*Ask the meta-learner", zero, task="S00")


def test_a_model_that_keeps_nothing_says_how_to_go_on(monkeypatch, model):
    kept_none = fitted(regressor(keep_tasks=False))
    assert not hasattr(kept_none, "known_tasks_")
    refused("keep_tasks=False.*adapt_predict.*TaskBank", kept_none, task="S00")
    monkeypatch.setattr(_known_tasks, "MOST_NUMBERS", 50)
    too_many = fitted(regressor())
    refused("more to keep than.*keep_tasks=True", too_many, task="S00")
    kept = fitted(regressor(keep_tasks=True))
    expected = model.predict(NEW[COLUMNS], task=NEW["shop"])
    assert_array_equal(kept.predict(NEW[COLUMNS], task=NEW["shop"]), expected)


@pytest.mark.filterwarnings("ignore")
def test_a_model_without_ids_asks_for_them():
    one = regressor().fit(KNOWN[COLUMNS], KNOWN["sales"])
    refused("fitted to rows without ids.*task=ids", one, task="S00")
    one = fitted(one).fit(KNOWN[COLUMNS], KNOWN["sales"])
    assert not hasattr(one, "known_tasks_")


def test_a_model_that_keeps_no_tasks_names_what_does():
    model = ReptileRegressor(max_iter=1).meta_fit(TASKS)
    with pytest.raises(TypeError, match=r"keeps nothing.*adapt_predict.*TaskBank"):
        model.predict(NEW[COLUMNS].to_numpy(float), task="S00")


def test_ids_are_checked_like_those_of_fit(model):
    refused("3 ids, but X has 36 rows", model, task=["S00"] * 3)
    refused("missing", model, task=["S00", None] * 18)
    refused("name of a column of X", model, task="price")
    relabelled = NEW["shop"].reset_index(drop=True)
    refused("different row labels", model, task=relabelled)
    refused("by the name of task", model, TypeError, groups="S00")
    with pytest.raises(TypeError, match="by the name of task"):
        model.predict(NEW[COLUMNS], NEW["shop"])
    with pytest.raises(ValueError, match="keep_tasks"):
        fitted(regressor(keep_tasks="no"))
    broken = NEW[COLUMNS].to_numpy(float)
    broken[3] = np.nan
    broken = pd.DataFrame(broken, columns=COLUMNS)
    with pytest.raises(ValueError, match="row 3, of task 'S03'"):
        fitted(regressor()).predict(
            pd.DataFrame(broken, columns=COLUMNS), task=NEW["shop"].to_numpy()
        )
