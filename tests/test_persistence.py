"""Models on disk and in other processes."""

import copy
import pickle
import subprocess
import sys
import warnings
from io import BytesIO

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skmeta
from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    FewShotRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    adapt,
    meta_fit,
)
from skmeta.datasets import make_linear_tasks
from skmeta.exceptions import InconsistentVersionWarning

pytestmark = pytest.mark.filterwarnings("error")


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model):
    buffer = BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


ROUND_TRIPS = pytest.mark.parametrize(
    "round_trip", [through_pickle, through_joblib, copy.deepcopy]
)


def reptile(**params):
    return ReptileRegressor(max_iter=5, random_state=0, **params)


MODELS = {
    "regressor": reptile,
    "network": lambda: reptile(hidden_layer_sizes=(6,)),
    "layer norm": lambda: reptile(hidden_layer_sizes=(6,), layer_norm=True),
    "adam": lambda: reptile(hidden_layer_sizes=(6,), solver="adam"),
    "automatic steps": lambda: reptile(adapt_steps="auto"),
    "classifier": lambda: ReptileClassifier(max_iter=5, random_state=0),
    "own classes": lambda: ReptileClassifier(
        task_classes="own", max_iter=5, random_state=0
    ),
    "learned prior": lambda: EmpiricalBayesRegressor(random_state=0),
    "shared columns": lambda: EmpiricalBayesRegressor(varying=[0], random_state=0),
    "noise per task": lambda: EmpiricalBayesRegressor(noise="task", random_state=0),
    "half-life": lambda: EmpiricalBayesRegressor(half_life=5.0, random_state=0),
    "learned prior of labels": lambda: EmpiricalBayesClassifier(random_state=0),
    "learned prior of counts": lambda: EmpiricalBayesPoissonRegressor("intercept"),
    "prototypes": lambda: PrototypicalClassifier(random_state=0),
    "network of prototypes": lambda: PrototypicalClassifier((6,), max_iter=5),
    "pipeline": lambda: make_pipeline(StandardScaler(), reptile()),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request, label_tasks):
    """Meta-trained models of every kind. The labels 0 and 1 are numbers, too."""
    return meta_fit(MODELS[request.param](), label_tasks)


@ROUND_TRIPS
def test_a_meta_learner_and_its_adapted_copies_survive_bit_by_bit(
    round_trip, model, label_tasks
):
    X, y = label_tasks[0]
    adapted = adapt(model, X[:5], y[:5])
    assert_array_equal(round_trip(adapted).predict(X), adapted.predict(X))
    assert_array_equal(
        adapt(round_trip(model), X[:5], y[:5]).predict(X), adapted.predict(X)
    )


@ROUND_TRIPS
def test_a_few_shot_estimator_survives(round_trip, regressor, linear_tasks):
    X, y = linear_tasks[0]
    few = FewShotRegressor(FrozenEstimator(regressor)).fit(X[:5], y[:5])
    assert_array_equal(round_trip(few).predict(X), few.predict(X))
    again = round_trip(few).fit(X[5:], y[5:])
    assert_array_equal(again.predict(X), few.fit(X[5:], y[5:]).predict(X))


@ROUND_TRIPS
def test_warm_start_continues_after_a_round_trip(round_trip, linear_tasks):
    X, _ = linear_tasks[0]
    model = ReptileRegressor((4,), max_iter=3, warm_start=True, random_state=0)
    copied = round_trip(model.meta_fit(linear_tasks))
    assert_array_equal(
        copied.meta_fit(linear_tasks).predict(X),
        model.meta_fit(linear_tasks).predict(X),
    )


IN_ANOTHER_PROCESS = """
import sys
import joblib, numpy as np
model, X, y = joblib.load(sys.argv[1])
joblib.dump((model.predict(X), model.adapt(X[:5], y[:5]).predict(X)), sys.argv[2])
"""


def test_another_process_predicts_the_same_bits(regressor, linear_tasks, tmp_path):
    X, y = linear_tasks[0]
    joblib.dump((regressor, X, y), tmp_path / "model.joblib")
    files = [str(tmp_path / name) for name in ("model.joblib", "y.joblib")]
    subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS, *files], check=True)
    zero, few = joblib.load(tmp_path / "y.joblib")
    assert_array_equal(zero, regressor.predict(X))
    assert_array_equal(few, regressor.adapt(X[:5], y[:5]).predict(X))


# -- versions -------------------------------------------------------------------------


def test_loading_the_model_of_another_version_warns_once(
    regressor, linear_tasks, monkeypatch
):
    monkeypatch.setattr("skmeta._base.__version__", "0.0.1")
    saved = pickle.dumps(regressor)
    monkeypatch.undo()
    with pytest.warns(InconsistentVersionWarning) as record:
        loaded = pickle.loads(saved)
    assert len(record) == 1
    assert "saved by skmeta 0.0.1" in str(record[0].message)
    assert skmeta.__version__ in str(record[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(loaded))
    assert_array_equal(
        loaded.predict(linear_tasks[0][0]), regressor.predict(linear_tasks[0][0])
    )


def test_the_stamp_is_not_an_attribute_of_the_loaded_model(regressor):
    assert vars(through_pickle(regressor)).keys() == vars(regressor).keys()


# -- skops ----------------------------------------------------------------------------


def test_skops_needs_to_trust_only_our_names(model, label_tasks):
    io = pytest.importorskip("skops.io")
    X, y = label_tasks[0]
    adapted = adapt(model, X[:5], y[:5])
    saved = io.dumps(adapted)
    unknown = io.get_untrusted_types(data=saved)
    assert all(name.startswith("skmeta.") for name in unknown)
    loaded = io.loads(saved, trusted=unknown)
    assert_array_equal(loaded.predict(X), adapted.predict(X))
    saved = io.dumps(model)  # it may know its tasks as well
    unknown = io.get_untrusted_types(data=saved)
    assert all(name.startswith("skmeta.") for name in unknown)
    loaded = io.loads(saved, trusted=unknown)
    assert_array_equal(adapt(loaded, X[:5], y[:5]).predict(X), adapted.predict(X))


# -- size -----------------------------------------------------------------------------


def test_an_adapted_network_of_two_layers_of_40_is_below_64_kB():
    tasks = make_linear_tasks(10, 8, 20, random_state=0)
    model = ReptileRegressor((40, 40), max_iter=100, random_state=0).meta_fit(tasks)
    adapted = model.adapt(*tasks[0])
    assert len(pickle.dumps(adapted)) < 64_000


def test_the_size_of_a_model_does_not_grow_with_the_number_of_tasks():
    sizes = []
    for n_tasks in (5, 100):
        tasks = make_linear_tasks(n_tasks, 8, 3, random_state=0)
        model = ReptileRegressor(max_iter=5, random_state=0).meta_fit(tasks)
        sizes.append(len(pickle.dumps(model)))
    assert abs(sizes[1] - sizes[0]) < 100


def test_an_adapted_copy_carries_no_history(linear_tasks):
    model = ReptileRegressor(max_iter=20, early_stopping=True, random_state=0)
    model.meta_fit(linear_tasks)
    adapted = model.adapt(*linear_tasks[0])
    for history in ("loss_curve_", "validation_scores_"):
        assert hasattr(model, history)
        assert not hasattr(adapted, history)


# -- clone ----------------------------------------------------------------------------


def test_clone_forgets_all_that_was_learned(model):
    last = model[-1] if hasattr(model, "steps") else model
    copied = clone(last)
    assert copied.get_params() == last.get_params()
    assert vars(copied).keys() == last.get_params().keys()


def test_a_deep_copy_shares_nothing_that_adaptation_changes(regressor, linear_tasks):
    X, y = linear_tasks[0]
    before = regressor.predict(X)
    copied = copy.deepcopy(regressor).partial_adapt(X[:5], y[:5])
    assert_array_equal(regressor.predict(X), before)
    assert np.abs(copied.predict(X) - before).max() > 0
