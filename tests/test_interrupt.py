"""Ctrl-C, wherever it comes, leaves a model as it was."""

import inspect
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skmeta
from skmeta import (
    ChosenBase,
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
)

N_INTERRUPTS = 2
HOME = str(Path(skmeta.__file__).parent)
reptile = partial(ReptileRegressor, max_iter=10, random_state=0)
learned_prior = partial(EmpiricalBayesRegressor, random_state=0)
few = LearnedFeatures((4,), n_components=2, max_iter=5, meta_batch_size=4)
chosen = ChosenBase(candidates={"none": None, "ridge": Ridge()}, n_support=2)
MODELS = {
    "linear Reptile": reptile(),
    "Reptile": reptile(hidden_layer_sizes=(4,), learn_rates="parameter"),
    "Reptile with Adam": reptile(hidden_layer_sizes=(4,), solver="adam"),
    "going on": reptile(hidden_layer_sizes=(4,), warm_start=True),
    "own classes": ReptileClassifier(
        (4,), task_classes="own", max_iter=10, random_state=0
    ),
    "noise of tasks": learned_prior("diagonal", noise="task"),
    "learned features": learned_prior("isotropic", features=few),
    "base model": learned_prior("intercept", base_estimator=chosen),
    "labels": EmpiricalBayesClassifier("isotropic", random_state=0),
    "counts": EmpiricalBayesPoissonRegressor("intercept", random_state=0),
    "prototypes": PrototypicalClassifier(random_state=0),
    "prototypes of a network": PrototypicalClassifier(
        (4,), max_iter=10, random_state=0
    ),
    "pipeline": make_pipeline(StandardScaler(), learned_prior("isotropic")),
    "target": make_pipeline(
        StandardScaler(),
        TransformedTargetRegressor(reptile(), transformer=StandardScaler()),
    ),
}


class CallsOfSkmeta:
    """Counts the calls of skmeta's functions, and interrupts one of them.

    Generators are left out, since Python ignores an interrupt while it closes one.
    """

    def __init__(self, interrupted=None):
        self.count, self.interrupted = 0, interrupted

    def __enter__(self):
        self.before = sys.getprofile()
        sys.setprofile(self)
        return self

    def __exit__(self, *error):
        sys.setprofile(self.before)

    def __call__(self, frame, event, arg):
        code = frame.f_code
        is_function = event == "call" and not code.co_flags & inspect.CO_GENERATOR
        if is_function and code.co_filename.startswith(HOME):
            self.count += 1
            if self.count == self.interrupted:
                raise KeyboardInterrupt


@pytest.fixture
def tasks():
    """Tasks of columns that differ in size, with targets that suit every model."""
    rng = np.random.default_rng(0)
    return [
        (rng.normal(t % 3, 1.0, size=(6, 2)), rng.permutation([0, 1, 1, 0, 1, 0]))
        for t in range(6)
    ]


def state_of(model):
    """Attributes of a model and of the steps that it fits itself."""
    steps = [step for _, step in getattr(model, "steps", [])]
    return [dict(vars(part)) for part in (model, *steps)]


def assert_same_state(model, before):
    now = state_of(model)
    assert [each.keys() for each in now] == [each.keys() for each in before]
    for each, earlier in zip(now, before, strict=True):
        assert all(each[name] is earlier[name] for name in each)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["Reptile", "noise of tasks", "labels"])
def test_an_interrupt_of_a_stream_leaves_the_model_as_it_was(kind, tasks):
    model = deepcopy(MODELS[kind]).partial_meta_fit(tasks[:3])
    before = state_of(model)
    done = deepcopy(model).partial_meta_fit(tasks[3:])  # this also fills caches
    with CallsOfSkmeta() as calls:
        deepcopy(model).partial_meta_fit(tasks[3:])
    for share in np.linspace(0.1, 0.9, N_INTERRUPTS):
        with pytest.raises(KeyboardInterrupt), CallsOfSkmeta(int(share * calls.count)):
            model.partial_meta_fit(tasks[3:])
        assert_same_state(model, before)
    X, y = tasks[5]
    again = model.partial_meta_fit(tasks[3:]).adapt(X, y).predict(X)
    assert_array_equal(again, done.adapt(X, y).predict(X))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("verb", ["meta_fit", "partial_adapt"])
@pytest.mark.parametrize("kind", MODELS)
def test_an_interrupt_anywhere_leaves_the_model_as_it_was(kind, verb, tasks):
    # with four tasks no fold is learned from, which takes long
    known = tasks if kind in ("learned features", "base model") else tasks[:4]
    X, y = tasks[5]
    model = skmeta.meta_fit(deepcopy(MODELS[kind]), known)
    if verb == "partial_adapt":
        skmeta.partial_adapt(model, X[:3], y[:3])
    arguments = (known[::-1],) if verb == "meta_fit" else (X + 1.0, y)
    call = getattr(skmeta, verb)
    with CallsOfSkmeta() as calls:
        done = call(deepcopy(model), *arguments)
    before = state_of(model)
    for share in np.linspace(0.1, 0.9, N_INTERRUPTS):
        with pytest.raises(KeyboardInterrupt), CallsOfSkmeta(int(share * calls.count)):
            call(model, *arguments)
        assert_same_state(model, before)
    again = call(model, *arguments)
    if verb == "meta_fit":
        done, again = (skmeta.adapt(each, X, y) for each in (done, again))
    assert_array_equal(again.predict(X), done.predict(X))
