"""Small tasks and fast models for all tests, which must not write into shared ones."""

from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import sklearn

from skmeta import EmpiricalBayesRanker, ReptileClassifier, ReptileRegressor
from skmeta.datasets import make_linear_tasks


def table_of(tasks):
    """Tasks under each other, with ids 'S00', 'S01', ..."""
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    ids = np.array([f"S{number:02d}" for number in range(len(tasks))])
    return SimpleNamespace(X=X, y=y, ids=np.repeat(ids, [len(y) for _, y in tasks]))


@pytest.fixture(scope="session")
def linear_tasks():
    """20 regression tasks of 12 rows and 3 features."""
    return make_linear_tasks(20, 12, 3, random_state=0)


@pytest.fixture(scope="session")
def linear_table(linear_tasks):
    """The same tasks as one table."""
    return table_of(linear_tasks)


@pytest.fixture(scope="session")
def label_tasks():
    """20 tasks of 12 rows and 3 features, with labels 0 and 1."""
    return make_linear_tasks(20, 12, 3, kind="classification", random_state=0)


@pytest.fixture(scope="session")
def label_table(label_tasks):
    """The same tasks as one table."""
    return table_of(label_tasks)


@pytest.fixture(scope="session")
def own_class_tasks():
    """24 tasks of 2, 3 or 4 classes with labels of their own: 's7-a', 's7-b', ...

    Each class is a cloud of 6 points around its own centre.
    """
    rng = np.random.default_rng(0)
    tasks = {}
    for number in range(24):
        names = np.array([f"s{number}-{letter}" for letter in "abcd"[: 2 + number % 3]])
        centres = 3 * rng.standard_normal((len(names), 2))
        classes = np.tile(np.arange(len(names)), 6)
        X = centres[classes] + 0.3 * rng.standard_normal((len(classes), 2))
        tasks[f"s{number}"] = (X, names[classes])
    return tasks


@pytest.fixture(scope="session")
def shared_regressor(linear_tasks):
    """A meta-trained linear regressor that no test may change."""
    return ReptileRegressor(max_iter=60, random_state=0).meta_fit(linear_tasks)


@pytest.fixture(scope="session")
def shared_classifier(label_tasks):
    """A meta-trained linear classifier that no test may change."""
    return ReptileClassifier(max_iter=60, random_state=0).meta_fit(label_tasks)


@pytest.fixture
def regressor(shared_regressor):
    """A meta-trained linear regressor, one for each test."""
    return deepcopy(shared_regressor)


@pytest.fixture
def classifier(shared_classifier):
    """A meta-trained linear classifier, one for each test."""
    return deepcopy(shared_classifier)


@pytest.fixture
def routing():
    """scikit-learn's metadata routing, switched on for one test."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="session")
def unchanged():
    """Context manager: the attributes of these models stay as they are, bit by bit."""

    @contextmanager
    def unchanged(*models):
        before = [(set(vars(model)), joblib.hash(vars(model))) for model in models]
        yield
        after = [(set(vars(model)), joblib.hash(vars(model))) for model in models]
        assert after == before

    return unchanged


@pytest.fixture(scope="session")
def choices():
    """``choices(outside)`` gives a ranker, and the sets of a new task."""

    @cache
    def choices(outside=False):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(16, 8, 3, 2))
        utility = (X * rng.normal(size=(16, 1, 1, 2))).sum(-1) + rng.gumbel(
            size=(16, 8, 3)
        )
        y = 1.0 * (utility == utility.max(axis=-1, keepdims=True))
        y *= (utility.max(axis=-1, keepdims=True) > 0.5) if outside else 1.0
        task, sets, _ = np.indices(y.shape)
        model = EmpiricalBayesRanker(
            "isotropic", outside_option=outside, random_state=0
        )
        model.fit(
            X[1:].reshape(-1, 2),
            y[1:].ravel(),
            task=task[1:].ravel(),
            choice_set=sets[1:].ravel(),
        )
        return model, X[0].reshape(-1, 2), y[0].ravel(), sets[0].ravel()

    return choices
