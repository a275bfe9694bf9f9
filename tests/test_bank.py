"""A bank of tasks: what it is given, in any order, is what its tasks are adapted to."""

import multiprocessing
import os
import pickle
import sqlite3
import threading
import uuid
from contextlib import suppress
from datetime import date, datetime
from functools import cache

import joblib
import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    PolynomialFeatures,
    StandardScaler,
)

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    TaskBank,
    adapt,
    meta_fit,
)
from skmeta.datasets import make_linear_tasks

TASKS = make_linear_tasks(12, n_samples=12, n_features=2, random_state=0)
LABELLED = make_linear_tasks(
    12, n_samples=12, n_features=2, kind="classification", random_state=0
)
IDS = ["a", "b", "c", "d"]


def flat(tasks, rows, ids=IDS):
    """Some rows of some tasks, their targets and ids."""
    tasks = tasks[-len(ids) :]
    X = np.concatenate([X[rows] for X, _ in tasks])
    y = np.concatenate([y[rows] for _, y in tasks])
    return X, y, np.repeat(ids, len(X) // len(ids))


def prior(noise="shared", **options):
    return EmpiricalBayesRegressor("diagonal", noise=noise, random_state=0, **options)


@cache
def numbers(**options):
    return prior(**options).meta_fit(TASKS[:8])


@cache
def labels():
    return EmpiricalBayesClassifier("intercept", random_state=0).meta_fit(LABELLED[:8])


@cache
def reptile():
    return ReptileRegressor(max_iter=5, random_state=0).meta_fit(TASKS[:8])


def counts(tasks):
    return [(X, np.floor(np.exp(0.3 * y)).clip(0, 50)) for X, y in tasks]


@cache
def rates():
    model = EmpiricalBayesPoissonRegressor("intercept", random_state=0)
    return model.meta_fit(counts(TASKS[:8]))


MODELS = {
    "numbers": (lambda: numbers(), TASKS),
    "noise per task": (lambda: numbers(noise="task"), TASKS),
    "no intercept": (lambda: numbers(fit_intercept=False), TASKS),
    "base model": (lambda: numbers(base_estimator=LinearRegression()), TASKS),
    "half-life": (lambda: numbers(half_life=4.0), TASKS),
    "labels": (labels, LABELLED),
    "counts": (rates, counts(TASKS)),
    "reptile": (reptile, TASKS),
    "prototypes": (
        cache(lambda: PrototypicalClassifier(random_state=0).meta_fit(LABELLED[:8])),
        LABELLED,
    ),
}


# -- what the states are worth --------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_task_is_what_adapt_makes_of_all_its_rows(name):
    make, tasks = MODELS[name]
    model = make()
    bank = TaskBank(model)
    X, y, task = flat(tasks, slice(0, 8))
    order = np.random.RandomState(0).permutation(len(y))
    if name == "half-life":
        order = np.arange(len(y))
    for some in np.array_split(order, 3):
        bank.update(X[some], y[some], task=task[some])
    X_new, y_new, task_new = flat(tasks, slice(8, 12))
    tol = {"rtol": 1e-10, "atol": 1e-9} if "prototypes" != name else {"rtol": 1e-5}
    for id in IDS:
        rows, new = task == id, task_new == id
        mine = order[rows[order]]
        adapted = model.adapt(X[mine], y[mine])
        np.testing.assert_allclose(
            bank.predict(X_new, task=task_new)[new], adapted.predict(X_new[new]), **tol
        )
        mirror = bank.model_of(id)
        np.testing.assert_allclose(mirror.predict(X_new), adapted.predict(X_new), **tol)
        assert type(mirror) is type(model) and mirror.n_adapt_rows_ == 8
        for method in ("predict_proba", "decision_function", "predict_interval"):
            assert hasattr(bank, method) == hasattr(model, method)
            if hasattr(bank, method):
                if model._targets.own_classes:
                    ours = getattr(bank, method)(X_new[new], task=id)
                else:
                    ours = getattr(bank, method)(X_new, task=task_new)[new]
                np.testing.assert_allclose(
                    ours, getattr(adapted, method)(X_new[new]), rtol=1e-6, atol=1e-9
                )
        if hasattr(model, "suggest_queries"):
            pool = X_new[:6]
            assert (
                bank.suggest_queries(pool, 2, task=id).tolist()
                == adapted.suggest_queries(pool, 2).tolist()
            )
    assert np.isfinite(bank.score(X_new, y_new, task=task_new))
    assert bank.to_frame()["n_rows"].tolist() == [8] * 4


@pytest.mark.parametrize("name", ["numbers", "labels", "reptile"])
def test_an_unknown_task_is_predicted_by_the_prior(name):
    make, tasks = MODELS[name]
    model, (X, y) = make(), tasks[-1]
    bank = TaskBank(model)
    assert (bank.predict(X, task="new") == model.predict(X)).all()
    bank.update(X, y, task="known")
    task = np.where(np.arange(len(X)) % 2, "known", "new")
    predicted = bank.predict(X, task=task)
    assert (predicted[::2] == model.predict(X[::2])).all()
    assert (bank.model_of("new").predict(X) == model.predict(X)).all()
    if name == "numbers":
        ends = bank.predict_interval(X, task=task)
        np.testing.assert_allclose(ends[::2], model.predict_interval(X[::2]))
        shown = bank.suggest_queries(X, 2, task=["known", "new"])
        assert shown.shape == (2, 2)


def test_deviations_and_exposures_reach_the_model():
    X, y, task = flat(TASKS, slice(0, 8))
    for model in (numbers(), numbers(half_life=4.0)):
        bank = TaskBank(model).update(X, y, task=task)
        mean, deviation = bank.predict(X, return_std=True, task=np.append(task[1:], 9))
        np.testing.assert_allclose(
            [mean[:7], deviation[:7]],
            model.adapt(X[:8], y[:8]).predict(X[:7], return_std=True),
        )
        np.testing.assert_allclose(
            [mean[-1:], deviation[-1:]], model.predict(X[-1:], return_std=True)
        )
    X, y, task = flat(counts(TASKS), slice(0, 8))
    bank = TaskBank(rates()).update(X, y, task=task)
    exposure = np.arange(1.0, 33.0)
    ends = bank.predict_interval(X, 0.8, task=task, exposure=exposure)
    expected = rates().adapt(X[:8], y[:8])
    np.testing.assert_array_equal(
        ends[:8], expected.predict_interval(X[:8], 0.8, exposure=exposure[:8])
    )


def test_rows_that_are_removed_were_never_given():
    for model, tasks in ((numbers(), TASKS), (labels(), LABELLED)):
        X, y = tasks[-1]
        bank, other = TaskBank(model), TaskBank(model)
        weight = np.arange(1.0, 9.0)
        bank.update(X[:8], y[:8], weight, task=1)
        bank.remove(X[2:5], y[2:5], weight[2:5], task=1)
        kept = [0, 1, 5, 6, 7]
        other.update(X[kept], y[kept], weight[kept], task=1)
        np.testing.assert_allclose(
            bank.predict(X, task=1), other.predict(X, task=1), rtol=1e-8
        )
        bank.remove(X[kept], y[kept], weight[kept], task=1)
        assert 1 not in bank and len(bank) == 0


def test_offsets_lose_no_digits():
    tasks = [(X + 1e6, y - 1e6) for X, y in TASKS]
    model = prior().meta_fit(tasks[:8])
    X, y = tasks[-1]
    bank = TaskBank(model).update(X, y, task=0).remove(X[:3], y[:3], task=0)
    adapted = model.adapt(X[3:], y[3:])
    np.testing.assert_allclose(
        bank.predict(X, task=0) + 1e6, adapted.predict(X) + 1e6, rtol=1e-8, atol=1e-8
    )


def test_weights_of_zero_remove_rows():
    X, y = TASKS[-1]
    bank = TaskBank(numbers())
    bank.update(X, y, (np.arange(12) < 5).astype(float), task=np.arange(12) // 6)
    assert list(bank) == [0]
    np.testing.assert_allclose(
        bank.predict(X, task=0), numbers().adapt(X[:5], y[:5]).predict(X)
    )


def test_the_newest_rows_are_kept():
    X, y = LABELLED[-1]
    bank = TaskBank(labels(), max_rows=5)
    for i in range(8):
        bank.update(X[i : i + 1], y[i : i + 1], task="a")
    np.testing.assert_allclose(
        bank.predict_proba(X, task="a"), labels().adapt(X[3:8], y[3:8]).predict_proba(X)
    )
    with pytest.raises(ValueError, match="not among the 5 rows kept"):
        bank.remove(X[:1], y[:1], task="a")


def test_tasks_may_have_classes_of_their_own():
    model = ReptileClassifier(task_classes="own", max_iter=3, random_state=0)
    model.meta_fit(LABELLED[:8])
    X, y = LABELLED[-1]
    bank = TaskBank(model)
    bank.update(X, np.where(y == y[0], "x", "y"), task=0).update(X, y, task=1)
    assert set(bank.predict(X, task=0)) <= {"x", "y"}
    with pytest.raises(ValueError, match="nothing is known of theirs"):
        bank.predict(X, task=2)
    with pytest.raises(ValueError, match="one task at a time"):
        bank.predict_proba(X[:2], task=[0, 1])
    assert bank.predict_proba(X, task=0).shape == (12, 2)
    with pytest.raises(ValueError, match="Task 1: y has 3 classes"):
        bank.update(X[:1], [17], task=1)
    with pytest.raises(ValueError, match="text and numbers do not mix"):
        bank.update(X[:1], ["x"], task=1)


def test_learned_features_are_columns_of_the_sums():
    linear = make_linear_tasks(21, n_samples=20, n_features=2, random_state=0)
    tasks = [(X, y + 9 * np.sin(3 * X[:, 0])) for X, y in linear]
    features = LearnedFeatures(max_iter=20)
    model = EmpiricalBayesRegressor("isotropic", features=features, random_state=0)
    model.meta_fit(tasks[:20])
    assert model.coefs_
    X, y = tasks[-1]
    bank = TaskBank(model).update(X[:5], y[:5], task=0).update(X[5:], y[5:], task=0)
    adapted = model.adapt(X, y)
    for method in ("predict", "predict_interval"):
        ours = getattr(bank, method)(X, task=0)
        np.testing.assert_allclose(ours, getattr(adapted, method)(X), rtol=1e-6)
    assert list(bank.to_frame()) == ["id", "n_rows"]
    with pytest.raises(ValueError, match="features cannot be learned"):
        bank.refit()


# -- compositions ---------------------------------------------------------------------


@cache
def compositions():
    model = prior()
    made = (
        make_pipeline(StandardScaler(), MinMaxScaler(), model),
        make_pipeline(PolynomialFeatures(2, include_bias=False), model),
        TransformedTargetRegressor(model, func=np.cbrt, inverse_func=lambda z: z**3),
    )
    return [meta_fit(clone(composition), TASKS[:8]) for composition in made]


def test_the_model_may_be_inside_a_composition():
    X, y, task = flat(TASKS, slice(0, 8))
    X_new, y_new, task_new = flat(TASKS, slice(8, 12))
    for composition in compositions():
        for model in (composition, FrozenEstimator(composition)):
            bank = TaskBank(model).update(X, y, task=task)
            for id in IDS:
                adapted = adapt(model, X[task == id], y[task == id])
                new = X_new[task_new == id]
                expected = adapted.predict(new)
                np.testing.assert_allclose(
                    bank.predict(X_new, task=task_new)[task_new == id], expected
                )
                np.testing.assert_allclose(bank.model_of(id).predict(new), expected)
                assert type(bank.model_of(id)) is type(adapted)
            low, high = bank.predict_interval(X_new, task=task_new).T
            assert (low < high).all()
            assert np.isfinite(bank.score(X_new, y_new, task=task_new))


def test_the_model_may_be_inside_a_search():
    with config_context(enable_metadata_routing=True):
        folds = GroupKFold(2).set_split_request(groups="task")
    search = GridSearchCV(prior(), {"prior": ["intercept"]}, cv=folds)
    meta_fit(search, TASKS[:8])
    X, y = TASKS[-1]
    bank = TaskBank(search).update(X, y, task=0)
    expected = adapt(search, X, y).predict(X)
    np.testing.assert_allclose(bank.predict(X, task=0), expected)


def test_the_users_model_may_be_fitted_again():
    model = make_pipeline(StandardScaler(), prior())
    meta_fit(model, TASKS[:6])
    X, y = TASKS[-1]
    bank = TaskBank(model).update(X, y, task=0)
    before = bank.predict(X, task=0), bank.predict(X, task=1)
    meta_fit(model, [(5 * X, y) for X, y in TASKS[6:12]])
    after = bank.predict(X, task=0), bank.predict(X, task=1)
    np.testing.assert_array_equal(before, after)


# -- ids ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        [1, 2, 1],
        ["1", "2", "1"],
        [1.0, 2.0, 1.0],
        np.array([1, 2, 1], dtype=np.uint8),
        np.array(["x", "yy", "x"]),
        [b"x", b"y", b"x"],
        [True, False, True],
        [2**70, -(2**70), 2**70],
        np.array(["2026-01-01", "1500-01-01", "2026-01-01"], dtype="M8[D]"),
        [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 1)],
        [datetime(2026, 1, 1), datetime(2026, 1, 2), datetime(2026, 1, 1)],
        [uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=1)],
    ],
    ids=str,
)
def test_an_id_is_what_fit_takes(ids, tmp_path):
    X, y = (part[:3] for part in TASKS[-1])
    expected = None
    for store in (None, tmp_path / "bank.sqlite", {}):
        with TaskBank(numbers(), store) as bank:
            bank.update(X, y, task=ids)
            assert len(bank) == 2 and sorted(bank.to_frame()["n_rows"]) == [1, 2]
            assert ids[0] in bank and ids[1] in bank and "z" not in bank
            assert all(id in bank for id in bank)
            predicted = bank.predict(X, task=ids)
            expected = predicted if expected is None else expected
            np.testing.assert_allclose(predicted, expected)
            np.testing.assert_allclose(bank.predict(X[:1], task=ids[0])[0], expected[0])
            again = pickle.loads(pickle.dumps(bank))
            np.testing.assert_allclose(again.predict(X, task=ids), predicted)
            again.close()
            bank.forget(list(ids))
            assert len(bank) == 0 and ids[0] not in bank


def test_equal_numbers_are_one_id_and_text_is_another():
    X, y = TASKS[-1]
    bank = TaskBank(numbers())
    for id in (1, np.int64(1), 1.0, np.float32(1), True):
        bank.update(X[:1], y[:1], task=id)
    bank.update(X[:1], y[:1], task=[np.int16(1)])
    with pytest.warns(UserWarning, match="of 2 kinds"):
        both = TaskBank(numbers()).update(X[:2], y[:2], task=(1, "1"))
    assert list(both) == [1, "1"]
    assert list(bank) == [1] and bank.to_frame()["n_rows"].tolist() == [6]
    with pytest.warns(UserWarning, match="never equal"):
        assert (bank.predict(X, task="1") == numbers().predict(X)).all()
    assert "1" not in bank and None not in bank


def test_bad_ids_are_refused():
    pandas = pytest.importorskip("pandas")
    X, y = TASKS[-1]
    bank = TaskBank(numbers())
    for task, message in (
        (None, "task is None"),
        ([1, 2], "2 ids, but X has 12 rows"),
        (float("nan"), "missing"),
        ([1] * 11 + [None], "missing"),
        ([frozenset([1])] * 12, "of the type frozenset"),
        ([(1, 2)] * 12, "holds tuples"),
    ):
        for verb in (bank.update, bank.remove):
            with pytest.raises(ValueError, match=message):
                verb(X, y, task=task)
        with pytest.raises(ValueError, match=message):
            bank.predict(X, task=task)
    frame = pandas.DataFrame(X, columns=["shop", "price"])
    with pytest.raises(ValueError, match="name of a column"):
        bank.update(frame, y, task="shop")
    assert len(bank) == 0


# -- stores ---------------------------------------------------------------------------


def test_errors_change_nothing(tmp_path):
    X, y, task = flat(TASKS, slice(0, 8))
    for store in (None, tmp_path / "bank.sqlite", {}):
        bank = TaskBank(numbers(), store).update(X, y, task=task)
        before = bank.predict(X, task=task)
        bad = X.copy()
        bad[-1, 0] = np.nan
        for verb, arguments, ids, message in (
            (bank.update, (bad, y), task, "of task 'd'"),
            (bank.update, (X, y[:-1]), task, "inconsistent"),
            (bank.remove, (X, y), np.where(task == "d", "e", task), "Task 'e'"),
            (bank.remove, (X[[0, 0, 8]], y[[0, 0, 8]] + 5), list("aab"), "Task 'a'"),
            (bank.forget, (["a", "z"],), None, "Task 'z'"),
        ):
            with pytest.raises(ValueError, match=message):
                verb(*arguments, **({} if ids is None else {"task": ids}))
            np.testing.assert_array_equal(bank.predict(X, task=task), before)
        bank.close()


class Failing(dict):
    """A mapping in which the third write fails."""

    n_left = 2

    def __setitem__(self, key, value):
        self.n_left -= 1
        if self.n_left == -1:
            raise OSError("disk full")
        super().__setitem__(key, value)


def test_a_mapping_that_fails_is_put_back():
    X, y, task = flat(TASKS, slice(0, 8))
    store = Failing()
    bank = TaskBank(numbers(), store)
    with pytest.raises(OSError, match="disk full"):
        bank.update(X, y, task=task)
    assert len(bank) == 0


def test_two_banks_on_one_file_see_each_other(tmp_path):
    X, y = TASKS[-1]
    one, two = (TaskBank(numbers(), tmp_path / "bank.sqlite") for _ in range(2))
    one.update(X[:4], y[:4], task="a")
    assert len(two) == 1
    for n in (4, 8):
        expected = numbers().adapt(X[:n], y[:n]).predict(X)
        np.testing.assert_allclose(one.predict(X, task="a"), expected)
        np.testing.assert_allclose(two.predict(X, task="a"), expected)
        two.update(X[n : n + 4], y[n : n + 4], task="a")
    one.forget("a")
    np.testing.assert_array_equal(two.predict(X, task="a"), numbers().predict(X))
    two.update(X[:2], y[:2], task="a")
    np.testing.assert_allclose(
        one.predict(X, task="a"), numbers().adapt(X[:2], y[:2]).predict(X)
    )
    one.close()
    with pytest.raises(ValueError, match="closed"):
        one.predict(X, task="a")
    assert "closed" in repr(one)
    two.close()


def test_a_store_of_another_model_is_refused(tmp_path, monkeypatch):
    path, X, y = tmp_path / "bank.sqlite", *TASKS[-1]
    model, other = (
        meta_fit(make_pipeline(StandardScaler(), prior()), TASKS[:n]) for n in (6, 7)
    )
    joblib.dump(model, tmp_path / "model.joblib")
    mapping = {}
    for store in (path, mapping):
        TaskBank(model, store).update(X, y, task=0).close()
        loaded = TaskBank(joblib.load(tmp_path / "model.joblib"), store)
        assert len(loaded) == 1
        loaded.close()
        with pytest.raises(ValueError, match="made over another model"):
            TaskBank(numbers(), store)
        with pytest.raises(ValueError, match="made over another model"):
            TaskBank(other, store)
        with monkeypatch.context() as patch:
            patch.setattr("skmeta.bank.__version__", "9.0")
            with pytest.raises(ValueError, match=r"this is 9\.0"):
                TaskBank(joblib.load(tmp_path / "model.joblib"), store)


def test_a_model_is_the_same_after_it_was_asked_and_saved(tmp_path):
    base = KNeighborsRegressor(algorithm="kd_tree")
    model = prior(base_estimator=base).meta_fit(TASKS[:6])
    store, (X, y) = {}, TASKS[-1]
    TaskBank(model, store).update(X, y, task=0)
    joblib.dump(model, tmp_path / "model.joblib")
    for same in (model, joblib.load(tmp_path / "model.joblib")):
        assert len(TaskBank(same, store)) == 1


def test_a_saved_bank_is_the_same_bank(tmp_path):
    X, y, task = flat(TASKS, slice(0, 8))
    for store in (None, tmp_path / "bank.sqlite", {}):
        bank = TaskBank(numbers(), store).update(X, y, task=task)
        joblib.dump(bank, tmp_path / "bank.joblib")
        loaded = joblib.load(tmp_path / "bank.joblib")
        np.testing.assert_array_equal(
            loaded.predict(X, task=task), bank.predict(X, task=task)
        )
        assert list(loaded) == list(bank)
        loaded.update(X, y, task=task)
        loaded.close()
        bank.close()
    (tmp_path / "bank.sqlite").unlink()
    bank = TaskBank(numbers(), tmp_path / "bank.sqlite")
    joblib.dump(bank, tmp_path / "bank.joblib")
    bank.close()
    (tmp_path / "bank.sqlite").unlink()
    with pytest.raises(FileNotFoundError, match="moved or deleted"):
        joblib.load(tmp_path / "bank.joblib")


def test_a_store_is_a_path_a_mapping_or_none(tmp_path):
    (tmp_path / "text").write_text("no database " * 100)
    for store, kind, message in (
        (3, TypeError, "path of a SQLite file"),
        (":memory:", ValueError, "is no path"),
        (tmp_path / "text", ValueError, "no SQLite file"),
        (tmp_path / "no" / "folder", OSError, "folder must exist"),
    ):
        with pytest.raises(kind, match=message):
            TaskBank(numbers(), store)
    for max_rows, model, message in (
        (0, labels(), "from 1 on"),
        (5, numbers(), "keeps sums"),
    ):
        with pytest.raises(ValueError, match=message):
            TaskBank(model, max_rows=max_rows)
    with pytest.raises(TypeError, match="no meta-learner"):
        TaskBank(LinearRegression())


def test_a_prior_is_learned_anew_from_the_rows_that_are_kept():
    pandas = pytest.importorskip("pandas")
    frames = [(pandas.DataFrame(X, columns=["a", "b"]), y) for X, y in LABELLED]
    model = EmpiricalBayesClassifier("intercept", varying=["a"], random_state=0)
    bank = TaskBank(model.meta_fit(frames[:6]))
    for number, (X, y) in enumerate(frames[6:]):
        bank.update(X, y, task=number)
    again = bank.refit()
    expected = clone(model).meta_fit(dict(enumerate(frames[6:])))
    X, y = frames[0]
    np.testing.assert_allclose(
        again.predict_proba(X, task=-1), expected.predict_proba(X)
    )
    np.testing.assert_allclose(
        again.predict_proba(X, task=3), expected.adapt(*frames[9]).predict_proba(X)
    )
    assert list(again.model_of(0).varying) == ["a"] and len(again) == 6
    with pytest.raises(ValueError, match="the bank has none"):
        TaskBank(model).refit()


def test_a_prior_is_learned_anew_from_sums(tmp_path):
    tasks = {number: (30 * X + 1e3, y) for number, (X, y) in enumerate(TASKS[:6])}
    scaled = make_pipeline(StandardScaler(), prior())
    model = meta_fit(scaled, TASKS[6:])
    bank = TaskBank(model)
    for number, (X, y) in tasks.items():
        bank.update(X, y, task=number)
    again = bank.refit(tmp_path / "bank.sqlite")
    inner = [(model[:-1].transform(X), y) for X, y in tasks.values()]
    expected = prior().meta_fit(inner)
    X, y = tasks[3]
    expected = expected.adapt(*inner[3]).predict(inner[3][0])
    np.testing.assert_allclose(again.predict(X, task=3), expected, rtol=1e-6)
    np.testing.assert_allclose(again.model_of(3).predict(X), expected, rtol=1e-6)
    assert len(again) == len(bank) == 6
    with pytest.raises(ValueError, match="empty store"):
        bank.refit(tmp_path / "bank.sqlite")
    again.close()
    with pytest.raises(ValueError, match="a base model cannot be learned"):
        TaskBank(MODELS["base model"][0]()).update(X, y, task=0).refit()


# -- many at once ---------------------------------------------------------------------


def add_one_by_one(bank, rows):
    X, y, task = flat(TASKS, slice(0, 12))
    for i in rows:
        bank.update(X[i : i + 1], y[i : i + 1], task=task[i])


def add_in_process(path, rows):
    with TaskBank(numbers(), path) as bank:
        add_one_by_one(bank, rows)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_and_processes_write_at_once(tmp_path):
    X, y, task = flat(TASKS, slice(0, 12))
    expected = TaskBank(numbers()).update(X, y, task=task).predict(X, task=task)
    halves = np.array_split(np.random.RandomState(0).permutation(len(y)), 2)
    for store in (None, tmp_path / "threads.sqlite"):
        with TaskBank(numbers(), store) as bank:
            threads = [
                threading.Thread(target=add_one_by_one, args=(bank, half))
                for half in halves
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            np.testing.assert_allclose(
                bank.predict(X, task=task), expected, rtol=1e-10, atol=1e-10
            )
    path = tmp_path / "processes.sqlite"
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=add_in_process, args=(path, h)) for h in halves]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with TaskBank(numbers(), path) as bank:
        np.testing.assert_allclose(
            bank.predict(X, task=task), expected, rtol=1e-10, atol=1e-10
        )


def add_until_killed(bank, told):
    for step in range(10**6):
        row = np.full((20, 2), float(step))
        bank.update(row, row[:, 0], task=np.arange(20))  # of 20 tasks, all or nothing
        told.send(step)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_writer_loses_nothing_that_it_has_told(tmp_path):
    fork = multiprocessing.get_context("fork")
    for kill in range(5):
        bank = TaskBank(numbers(), tmp_path / f"{kill}.sqlite")
        get, send = fork.Pipe(duplex=False)
        writer = fork.Process(target=add_until_killed, args=(bank, send))
        writer.start()
        send.close()
        told = [get.recv() for _ in range(3 + 4 * kill)]
        writer.kill()
        writer.join()
        with suppress(EOFError):
            while True:
                told.append(get.recv())
        n_rows = set(bank.to_frame()["n_rows"].tolist())
        assert len(bank) == 20 and len(n_rows) == 1  # nothing is torn
        assert told[-1] + 1 <= n_rows.pop() <= told[-1] + 2
        bank.close()


# -- tables ---------------------------------------------------------------------------


def test_a_table_of_coefficients_predicts_in_sql(tmp_path):
    X, y, task = flat(TASKS, slice(0, 8))
    for model in (numbers(), compositions()[0]):
        bank = TaskBank(model).update(X, y, task=task)
        table = bank.to_frame()
        assert list(table) == ["id", "n_rows", "intercept", "x0", "x1"]
        sql = sqlite3.connect(":memory:")
        sql.execute("CREATE TABLE bank (id, n_rows, intercept, x0, x1)")
        columns = [np.asarray(table[name]).tolist() for name in table]
        sql.executemany(
            "INSERT INTO bank VALUES (?, ?, ?, ?, ?)", zip(*columns, strict=True)
        )
        sql.execute("CREATE TABLE new (place, task, a, b)")
        new = zip(range(len(X)), task.tolist(), *X.T.tolist(), strict=True)
        sql.executemany("INSERT INTO new VALUES (?, ?, ?, ?)", new)
        query = """SELECT intercept + a * x0 + b * x1 FROM new JOIN bank ON id = task
            ORDER BY place"""
        scores = [row[0] for row in sql.execute(query)]
        sql.close()
        np.testing.assert_allclose(scores, bank.predict(X, task=task), rtol=1e-9)


def test_a_table_says_which_columns_its_coefficients_are_of():
    X, y, task = flat(TASKS, slice(0, 8))
    _, poly, target = compositions()
    table = TaskBank(poly).update(X, y, task=task).to_frame()
    assert list(table)[3:5] == ["transformed__x0", "transformed__x1"]
    for model in (target, MODELS["base model"][0](), reptile()):
        table = TaskBank(model).update(X, y, task=task).to_frame()
        assert list(table)[:2] == ["id", "n_rows"]
        assert list(table)[2:] in ([], ["intercept", "x0", "x1"])
    X, y, task = flat(LABELLED, slice(0, 8))
    bank = TaskBank(labels()).update(X, y, task=task)
    table = bank.to_frame()
    log_odds = table["intercept"][0] + X[:8] @ np.array(
        [table["x0"][0], table["x1"][0]]
    )
    assert ((log_odds > 0) == (bank.predict(X, task=task)[:8] == y.max())).all()
