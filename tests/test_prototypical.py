"""PrototypicalClassifier: what it learns, and what its verbs mean."""

import copy
import pickle
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import softmax
from sklearn.base import BaseEstimator, clone
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    FewShotClassifier,
    PrototypicalClassifier,
    adapt,
    meta_fit,
    partial_adapt,
)
from skmeta.datasets import make_episodes
from skmeta.model_selection import few_shot_scores, make_few_shot_scorer

SHAPES = pytest.mark.parametrize("hidden", [(), (6,)], ids=["linear", "mlp"])


def fast(hidden=(), **params):
    defaults = {"max_iter": 20, "n_components": 5, "random_state": 0}
    return PrototypicalClassifier(hidden, **defaults | params)


def make_clouds(n_classes=12, n_rows=8, n_features=4, seed=0):
    """Rows of normal classes in columns of unlike units, and labels 'a', 'b', ..."""
    rng = np.random.default_rng(seed)
    codes = np.tile(np.arange(n_classes), n_rows)
    X = 2 * rng.standard_normal((n_classes, n_features))[codes]
    mix = rng.standard_normal((n_features, n_features))
    X += 0.4 * rng.standard_normal(X.shape) @ mix
    X = X * 10.0 ** np.arange(n_features) + 100
    return X, np.array(list("abcdefghijklmnopqrstuvwxyz"))[codes]


def make_rings(classes, n_rows, rng):
    """Classes that differ by their distances from the origin in each of four planes.

    The angles are random, so that all classes have the same mean.
    """
    radius = rng.uniform(0.3, 3.0, (classes, 1, 4))
    radius = radius * np.exp(0.1 * rng.standard_normal((classes, n_rows, 4)))
    angle = rng.uniform(0, 2 * np.pi, radius.shape)
    X = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=2)
    return X.reshape(-1, 8), np.repeat(np.arange(classes), n_rows)


def accuracy(model_of, episodes, n_given):
    """Mean over episodes of models made from the first rows, scored on the others."""
    return np.mean(
        [
            model_of(X[:n_given], y[:n_given]).score(X[n_given:], y[n_given:])
            for X, y in episodes
        ]
    )


@pytest.fixture(scope="module")
def clouds():
    """One set with 12 classes: 8 to learn from, and 4 that are new."""
    X, y = make_clouds()
    known = y < "i"
    return SimpleNamespace(X=X[known], y=y[known], X_new=X[~known], y_new=y[~known])


@pytest.fixture(scope="module", params=[(), (6,)], ids=["linear", "mlp"])
def shared_model(request, clouds):
    return fast(request.param).fit(clouds.X, clouds.y)


@pytest.fixture
def model(shared_model):
    """Meta-trained on one set with many classes; one for each test."""
    return copy.deepcopy(shared_model)


@pytest.fixture(scope="module", params=[(), (6,)], ids=["linear", "mlp"])
def shared_own_model(request, own_class_tasks):
    tasks = dict(list(own_class_tasks.items())[:18])
    return fast(request.param).meta_fit(tasks)


@pytest.fixture
def own_model(shared_own_model):
    """Meta-trained on 18 tasks of 2 to 4 classes of their own; one for each test."""
    return copy.deepcopy(shared_own_model)


# -- in use ---------------------------------------------------------------------------


def test_new_classes_are_recognised_from_a_few_rows_of_each():
    X, y = make_clouds(26, 20)
    train, test = make_episodes(
        X, y, (1, 30), n_way=5, n_shots=3, n_queries=10, test_size=8, random_state=0
    )
    known = ~np.isin(y, np.concatenate([labels for _, labels in test]))
    assert len(train) == 1 and known.any()
    model = PrototypicalClassifier(random_state=0).fit(X[known], y[known])
    raw = accuracy(lambda X, y: NearestCentroid().fit(X, y), test, 15)
    learned = accuracy(model.adapt, test, 15)
    assert learned > raw + 0.1


def test_a_network_separates_classes_with_equal_means():
    rng = np.random.default_rng(0)
    X, y = make_rings(80, 12, rng)
    test = make_episodes(
        *make_rings(20, 20, rng), 30, n_way=5, n_shots=5, n_queries=10, random_state=0
    )
    network = PrototypicalClassifier((64,), n_components=16, max_iter=500)
    network.set_params(random_state=0).fit(X, y)
    whitened = PrototypicalClassifier(random_state=0).fit(X, y)
    assert accuracy(lambda X, y: NearestCentroid().fit(X, y), test, 25) < 0.4
    assert accuracy(whitened.adapt, test, 25) < 0.4
    assert accuracy(network.adapt, test, 25) > 0.8


def test_columns_that_say_nothing_about_the_class_count_little():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(40), 10)
    told = rng.standard_normal((40, 2))[codes] + 0.2 * rng.standard_normal((400, 2))
    X = np.hstack([told, rng.standard_normal((400, 20))])
    known = codes < 25
    test = make_episodes(
        X[~known], codes[~known], 30, n_shots=2, n_queries=8, random_state=0
    )
    raw = accuracy(lambda X, y: NearestCentroid().fit(X, y), test, 10)
    linear = PrototypicalClassifier(random_state=0).fit(X[known], codes[known])
    assert accuracy(linear.adapt, test, 10) > raw + 0.2


# -- one task: an ordinary classifier -------------------------------------------------


def test_without_ids_the_model_predicts_the_classes_of_y(model, clouds):
    assert_array_equal(model.classes_, list("abcdefgh"))
    assert model.n_tasks_ == 1
    assert model.score(clouds.X, clouds.y) > 0.7
    assert model.predict_proba(clouds.X).shape == (64, 8)


def test_without_ids_the_model_is_adapted_to_all_rows(model, clouds):
    adapted = model.adapt(clouds.X, clouds.y)
    assert_allclose(adapted.prototypes_, model.prototypes_, rtol=1e-9)
    assert_allclose(
        adapted.predict_proba(clouds.X), model.predict_proba(clouds.X), rtol=1e-7
    )


def test_partial_adapt_adds_a_class_to_those_of_fit(model, clouds):
    before = model.prototypes_
    new = clouds.y_new == "k"
    model.partial_adapt(clouds.X_new[new], clouds.y_new[new])
    assert_array_equal(model.classes_, list("abcdefghk"))
    assert_array_equal(model.prototypes_[:8], before)
    assert model.score(clouds.X_new[new], clouds.y_new[new]) > 0.8
    assert model.n_adapt_rows_ == 8


def test_partial_adapt_of_a_known_class_moves_its_mean_alone(model, clouds):
    before = model.prototypes_
    model.partial_adapt(clouds.X_new[:1], ["c"])
    moved = (model.prototypes_ != before).any(axis=1)
    assert_array_equal(model.classes_[moved], ["c"])
    here = model.adapt(clouds.X_new[:1], ["c"]).prototypes_[0]
    assert_allclose(model.prototypes_[2], (8 * before[2] + here) / 9, rtol=1e-9)


def test_adapt_starts_afresh_with_the_classes_of_its_rows(model, clouds, unchanged):
    with unchanged(model):
        adapted = model.adapt(clouds.X_new, clouds.y_new)
    assert_array_equal(adapted.classes_, list("ijkl"))
    assert adapted.n_adapt_rows_ == 32


def test_reset_adaptation_returns_to_the_classes_of_fit(model, clouds):
    p = model.predict_proba(clouds.X)
    model.partial_adapt(clouds.X_new, clouds.y_new)
    for changed in (model, model.adapt(clouds.X_new, clouds.y_new)):
        changed.reset_adaptation()
        assert_array_equal(changed.classes_, list("abcdefgh"))
        assert_array_equal(changed.predict_proba(clouds.X), p)
        assert changed.n_adapt_rows_ == 0


def test_a_fit_without_a_network_forgets_the_loss_of_one_with(clouds):
    model = fast((6,)).fit(clouds.X, clouds.y)
    model.set_params(hidden_layer_sizes=()).fit(clouds.X, clouds.y)
    assert not hasattr(model, "loss_curve_")
    assert model.n_iter_ == 1


def test_another_fit_forgets_the_classes_of_the_first(model, clouds):
    model.fit(clouds.X_new, clouds.y_new)
    again = clone(model).fit(clouds.X_new, clouds.y_new)
    assert_array_equal(model.classes_, list("ijkl"))
    assert_array_equal(model.predict_proba(clouds.X), again.predict_proba(clouds.X))


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_where_every_row_is_its_own_class_the_nearest_row_is_predicted():
    X, _ = make_clouds()
    model = PrototypicalClassifier().fit(X, np.arange(len(X)))
    assert model.temperature_ == 0.5
    assert_array_equal(model.coefs_[0], np.eye(4))
    assert_array_equal(model.predict(X + 1e-3 * X.std(axis=0)), np.arange(len(X)))


# -- tasks with classes of their own --------------------------------------------------


def test_tasks_may_have_various_numbers_of_classes_of_their_own(
    own_model, own_class_tasks
):
    for name, n_classes in (("s18", 2), ("s19", 3), ("s20", 4)):
        X, y = own_class_tasks[name]
        adapted = own_model.adapt(X[: 2 * n_classes], y[: 2 * n_classes])
        assert_array_equal(adapted.classes_, np.unique(y))
        raw = NearestCentroid().fit(X[: 2 * n_classes], y[: 2 * n_classes])
        assert adapted.score(X, y) >= max(0.85, raw.score(X, y) - 0.1)


def test_a_task_may_have_more_classes_than_any_in_training(own_model):
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((10, 2))
    adapted = own_model.adapt(centres, np.arange(10))
    assert_array_equal(adapted.predict(centres), np.arange(10))


def test_a_label_in_two_tasks_means_two_classes():
    rng = np.random.default_rng(0)
    task, y = np.repeat(np.arange(20), 40), np.tile([0, 1], 400)
    X = 9 * rng.standard_normal((20, 2, 2))[task, y] + rng.standard_normal((800, 2))
    model = PrototypicalClassifier(standardize=False, random_state=0)
    W = model.fit(X, y, task=task).coefs_[0]
    assert_allclose(W @ W.T, np.eye(2), atol=0.1)
    W = model.fit(X, y).coefs_[0]  # there are two classes of twenty clouds each
    assert_allclose(np.diag(W @ W.T), 1 / 81, rtol=0.5)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_models_of_several_tasks_cannot_predict_until_adapted(
    method, own_model, own_class_tasks
):
    X, y = own_class_tasks["s20"]
    with pytest.raises(NotFittedError, match=r"no classes until it is adapted"):
        getattr(own_model, method)(X)
    assert not hasattr(own_model, "classes_") and not hasattr(own_model, "prototypes_")
    adapted = own_model.adapt(X, y)
    getattr(adapted, method)(X)
    with pytest.raises(NotFittedError, match=r"Call adapt\(X, y\)"):
        getattr(adapted.reset_adaptation(), method)(X)


@SHAPES
def test_a_table_with_ids_a_list_and_a_dict_of_tasks_give_the_same_model(
    hidden, own_class_tasks
):
    X, y = (
        np.concatenate(part) for part in zip(*own_class_tasks.values(), strict=True)
    )
    ids = np.array([label.partition("-")[0] for label in y])
    number = [int(name[1:]) for name in ids]
    table = fast(hidden).fit(X, y, task=number)
    rows = np.random.default_rng(0).permutation(len(y))
    for same in (
        fast(hidden).meta_fit(list(own_class_tasks.values())),
        fast(hidden).meta_fit(dict(enumerate(own_class_tasks.values()))),
    ):
        assert same.temperature_ == table.temperature_
        assert_array_equal(same.coefs_[-1], table.coefs_[-1])
    mixed = fast(hidden).fit(X[rows], y[rows], task=np.array(number)[rows])
    assert mixed.n_tasks_ == 24
    for name in ("s3", "s4"):
        task = own_class_tasks[name]
        assert mixed.adapt(*task).score(*task) > 0.9


@SHAPES
def test_names_of_the_labels_do_not_matter(hidden, own_class_tasks):
    tasks = list(own_class_tasks.values())
    numbered = [(X, np.unique(y, return_inverse=True)[1]) for X, y in tasks]
    a, b = fast(hidden).meta_fit(tasks), fast(hidden).meta_fit(numbered)
    X, y = tasks[0]
    _, codes = numbered[0]
    assert_array_equal(
        a.adapt(X, y).decision_function(X), b.adapt(X, codes).decision_function(X)
    )


def test_tasks_of_one_class_and_classes_of_one_row_are_ordinary_input(own_class_tasks):
    rng = np.random.default_rng(0)
    tasks = [
        *own_class_tasks.values(),
        (rng.standard_normal((3, 2)), ["x", "x", "x"]),
        (rng.standard_normal((1, 2)), ["y"]),
        (rng.standard_normal((3, 2)), ["x", "y", "z"]),
    ]
    for hidden in ((), (6,)):
        model = fast(hidden).meta_fit(tasks)
        assert model.n_tasks_ == 27
        assert np.isfinite(model.temperature_)


# -- class means ----------------------------------------------------------------------


def in_learned_space(model, X):
    """The outputs of the classifier's space for single rows."""
    return np.concatenate([model.adapt(X[[i]], [0]).prototypes_ for i in range(len(X))])


def test_predictions_are_those_of_nearest_centroid_in_the_learned_space(model, clouds):
    adapted = model.adapt(clouds.X_new, clouds.y_new)
    Z = in_learned_space(model, clouds.X_new)
    centroids = NearestCentroid().fit(Z, clouds.y_new)
    assert_allclose(adapted.prototypes_, centroids.centroids_, rtol=1e-9, atol=1e-12)
    assert_array_equal(
        adapted.predict(clouds.X), centroids.predict(in_learned_space(model, clouds.X))
    )


def test_scores_are_distances_times_the_temperature(model, clouds):
    adapted = model.adapt(clouds.X_new, clouds.y_new)
    Z = in_learned_space(model, clouds.X)
    distances = ((Z[:, None] - adapted.prototypes_) ** 2).sum(axis=2)
    scores = adapted.decision_function(clouds.X)
    expected = -model.temperature_ * distances
    assert_allclose(scores - scores[:, :1], expected - expected[:, :1], atol=1e-9)
    assert_allclose(
        adapted.predict_proba(clouds.X), softmax(expected, axis=1), atol=1e-9
    )


def test_with_two_classes_the_score_is_the_log_odds_of_the_second(model, clouds):
    two = np.isin(clouds.y_new, ["i", "k"])
    adapted = model.adapt(clouds.X_new[two], clouds.y_new[two])
    scores, p = adapted.decision_function(clouds.X), adapted.predict_proba(clouds.X)
    assert scores.shape == (64,) and p.shape == (64, 2)
    odds = softmax(np.column_stack([np.zeros(64), scores]), axis=1)
    assert_allclose(p, odds, atol=1e-12)
    assert_array_equal(adapted.predict(clouds.X), np.where(scores > 0, "k", "i"))


def test_a_single_class_is_predicted_with_certainty(model, clouds):
    adapted = model.adapt(clouds.X_new[:2], ["x", "x"])
    assert_array_equal(adapted.classes_, ["x"])
    assert_array_equal(adapted.predict(clouds.X), ["x"] * 64)
    assert_array_equal(adapted.predict_proba(clouds.X), np.ones((64, 1)))


def test_portions_in_any_order_are_as_good_as_all_rows_at_once(model, clouds):
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.1, 3, len(clouds.y_new))
    whole = model.adapt(clouds.X_new, clouds.y_new, weight)
    for _ in range(3):
        first, *others = np.array_split(rng.permutation(len(weight)), [1, 2, 5, 17])
        portions = model.adapt(clouds.X_new[first], clouds.y_new[first], weight[first])
        for rows in others:
            portions.partial_adapt(clouds.X_new[rows], clouds.y_new[rows], weight[rows])
        assert_array_equal(portions.classes_, whole.classes_)
        assert portions.n_adapt_rows_ == whole.n_adapt_rows_
        assert_allclose(portions.prototypes_, whole.prototypes_, rtol=1e-9, atol=1e-12)


def test_new_classes_may_come_at_any_time_and_are_sorted(own_model):
    X = np.array([[0.0, 0], [3, 3], [-3, 3], [3, -3]])
    adapted = own_model.adapt(X[:1], ["m"])
    adapted.partial_adapt(X[1:3], ["z", "a"]).partial_adapt(X[3:], ["much longer"])
    assert_array_equal(adapted.classes_, ["a", "m", "much longer", "z"])
    assert_array_equal(adapted.predict(X), ["m", "z", "a", "much longer"])


def test_partial_adapt_of_an_unadapted_model_begins_a_task(own_model, own_class_tasks):
    X, y = own_class_tasks["s20"]
    adapted = own_model.adapt(X, y)
    own_model.partial_adapt(X, y)
    assert_array_equal(own_model.decision_function(X), adapted.decision_function(X))


def test_weights_count_rows(model, clouds):
    weight = np.arange(len(clouds.y_new)) % 4
    repeated = np.repeat(np.arange(len(weight)), weight)
    weighted = model.adapt(clouds.X_new, clouds.y_new, weight)
    expected = model.adapt(clouds.X_new[repeated], clouds.y_new[repeated])
    assert_array_equal(weighted.classes_, expected.classes_)
    assert_allclose(weighted.prototypes_, expected.prototypes_, rtol=1e-9, atol=1e-12)


def test_a_row_of_weight_zero_brings_no_class(model, clouds):
    adapted = model.adapt(clouds.X_new[:3], ["x", "y", "z"], [1, 1, 0])
    assert_array_equal(adapted.classes_, ["x", "y"])


# -- without a network ----------------------------------------------------------------


class Known(BaseEstimator):
    """A covariance that is known."""

    def __init__(self, covariance_=None):
        self.covariance_ = covariance_

    def fit(self, X):
        return self


def covariance_within(Z, y):
    """Pooled covariance about the class means, shrunk."""
    classes, codes = np.unique(y, return_inverse=True)
    left = Z - np.array([Z[y == c].mean(axis=0) for c in classes])[codes]
    shrunk = LedoitWolf(assume_centered=True).fit(left).covariance_
    return shrunk * len(Z) / (len(Z) - len(classes))


def test_after_two_classes_scores_are_those_of_linear_discriminant_analysis(clouds):
    """Two classes do not show in which directions others will differ."""
    two = np.isin(clouds.y, ["a", "b"])
    model = PrototypicalClassifier(random_state=0).fit(clouds.X[two], clouds.y[two])
    scaler = StandardScaler().fit(clouds.X[two])
    covariance = covariance_within(scaler.transform(clouds.X[two]), clouds.y[two])
    lda = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Known(covariance), priors=np.full(4, 0.25)
    ).fit(scaler.transform(clouds.X_new), clouds.y_new)
    adapted = model.adapt(clouds.X_new, clouds.y_new)
    # scikit-learn uses |z - c|^2 / 2, and we use temperature |z - c|^2
    expected = (
        2 * model.temperature_ * lda.decision_function(scaler.transform(clouds.X))
    )
    scores = adapted.decision_function(clouds.X)
    assert_allclose(
        scores - scores.mean(axis=1, keepdims=True),
        expected - expected.mean(axis=1, keepdims=True),
        rtol=1e-6,
        atol=1e-6,
    )


def test_a_new_class_that_differs_in_another_direction_is_recognised():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(4), 20)
    centres = 4 * np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    X = centres[codes] + rng.standard_normal((80, 3))
    model = PrototypicalClassifier(random_state=0).fit(X[:40], codes[:40])
    model.partial_adapt(X[[45, 46, 65, 66]], [2, 2, 3, 3])
    assert model.score(X, codes) > 0.95


def test_the_covariance_is_that_within_the_classes_of_each_task():
    rng = np.random.default_rng(0)
    n = 30_000
    mix = np.array([[1.0, 0.0], [1.5, 0.5]])
    task, y = rng.integers(50, size=n), rng.integers(4, size=n)
    X = 5 * rng.standard_normal((50, 4, 2))[task, y] + rng.standard_normal((n, 2)) @ mix
    model = PrototypicalClassifier(standardize=False, random_state=0)
    W = model.fit(X, y, task=task).coefs_[0]
    assert_allclose(W @ W.T, np.linalg.inv(mix.T @ mix), rtol=0.05)


def test_without_hidden_layers_settings_of_the_network_make_no_difference(clouds):
    model = PrototypicalClassifier(random_state=0).fit(clouds.X, clouds.y)
    other = PrototypicalClassifier(
        n_components=3, activation="tanh", layer_norm=False, random_state=0
    ).fit(clouds.X, clouds.y)
    assert_array_equal(
        model.decision_function(clouds.X), other.decision_function(clouds.X)
    )
    assert model.n_iter_ == 1 and not hasattr(model, "loss_curve_")


@pytest.mark.parametrize("n_copies", [2, 3, 7])
def test_rows_of_a_class_that_are_copies_leave_the_columns_as_they_are(n_copies):
    X = np.random.default_rng(0).standard_normal((10, 3))
    model = PrototypicalClassifier(random_state=0)
    model.fit(np.repeat(X, n_copies, axis=0), np.repeat(np.arange(10), n_copies))
    assert_array_equal(model.coefs_[0], np.eye(3))
    assert_array_equal(model.predict(X), np.arange(10))


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30])
def test_numbers_may_be_of_any_size(size, clouds):
    model = fast().fit(clouds.X * size, clouds.y)
    assert np.isfinite(model.decision_function(clouds.X * size)).all()


def test_directions_in_which_only_tasks_differ_do_not_count():
    rng = np.random.default_rng(0)
    task, y = np.repeat(np.arange(50), 40), np.tile(np.arange(4), 500)
    X = rng.standard_normal((2000, 2))
    X[:, 0] += 3 * rng.standard_normal((50, 4))[task, y]
    X[:, 1] += 3 * rng.standard_normal(50)[task]
    model = PrototypicalClassifier(standardize=False, random_state=0)
    W = model.fit(X, y, task=task).coefs_[0]
    told, untold = np.diag(W @ W.T)
    assert told > 0.9 and untold < 0.4  # as a single task, the second would also be 0.9


def test_directions_in_which_classes_hardly_differ_count_the_more_rows_are_given():
    rng = np.random.default_rng(0)
    codes = np.tile(np.arange(1000), 10)
    X = rng.standard_normal((1000, 2))[codes] * [3, 0.5]
    X += rng.standard_normal(X.shape)
    ratio = []
    for support_size in (1, (1, 9), 50):
        model = PrototypicalClassifier(standardize=False, support_size=support_size)
        W = model.set_params(random_state=0).fit(X, codes).coefs_[0]
        strong, weak = np.diag(W @ W.T)
        ratio.append(weak / strong)
    # v / (v + 1 / K) with v = 9 and 0.25, and K = 1, 5 and 50
    assert_allclose(ratio, [0.22, 0.57, 0.93], atol=0.1)


def test_a_constant_column_changes_no_prediction(clouds):
    plain = fast().fit(clouds.X, clouds.y)
    model = fast().fit(np.column_stack([clouds.X, np.full(64, 7.0)]), clouds.y)
    for value in (7.0, 8.0):
        X = np.column_stack([clouds.X, np.full(64, value)])
        assert_array_equal(model.predict(X), plain.predict(clouds.X))


def test_a_column_that_was_constant_in_training_is_scaled_by_its_size(clouds):
    two = np.isin(clouds.y, ["a", "b"])
    model = fast().fit(
        np.column_stack([clouds.X, np.full(64, 7.0)])[two], clouds.y[two]
    )
    center = np.append(clouds.X[0], 7.0)
    beside = np.append(clouds.X[0], 14.0)
    adapted = model.adapt([center, beside], [0, 1])
    assert_allclose(((adapted.prototypes_[1] - adapted.prototypes_[0]) ** 2).sum(), 1)


# -- units, precision, sparse X -------------------------------------------------------


@SHAPES
def test_units_of_the_columns_do_not_matter(hidden, clouds):
    units = 2.0 ** np.array([-20, 0, 3, 40])  # powers of two keep all digits
    a = fast(hidden).fit(clouds.X, clouds.y)
    b = fast(hidden).fit(clouds.X * units, clouds.y)
    assert_allclose(
        a.adapt(clouds.X_new, clouds.y_new).predict_proba(clouds.X),
        b.adapt(clouds.X_new * units, clouds.y_new).predict_proba(clouds.X * units),
        rtol=1e-9,
    )


def test_origin_and_units_of_the_columns_do_not_matter_without_a_network(clouds):
    def told(a, b):
        model = fast().fit(a * clouds.X + b, clouds.y)
        adapted = model.adapt(a * clouds.X_new + b, clouds.y_new)
        return adapted.decision_function(a * clouds.X + b)

    units, origin = np.array([0.3, 7.0, 1e-4, 1e3]), np.array([1.0, -50.0, 0.0, 1e6])
    assert_allclose(told(units, origin), told(1.0, 0.0), rtol=1e-6)


@SHAPES
def test_single_precision_gives_the_same_classes(hidden, clouds):
    X = clouds.X.astype(np.float32)
    single = fast(hidden).fit(X, clouds.y)
    double = fast(hidden).fit(X.astype(np.float64), clouds.y)
    assert single.predict_proba(X).dtype == np.float64
    if not hidden:
        assert_allclose(single.predict_proba(X), double.predict_proba(X), atol=1e-3)
    adapted = single.adapt(X, clouds.y)
    assert_allclose(adapted.predict_proba(X), single.predict_proba(X), atol=1e-4)
    assert_array_equal(
        adapted.predict_proba(X), adapted.predict_proba(X.astype(np.float64))
    )


@SHAPES
def test_a_prediction_does_not_depend_on_the_other_rows(hidden, clouds):
    model = fast(hidden).fit(clouds.X.astype(np.float32), clouds.y)
    p = model.predict_proba(clouds.X)
    alone = [model.predict_proba(clouds.X[[i]])[0] for i in range(len(p))]
    assert_allclose(alone, p, rtol=1e-9)


@SHAPES
@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "csr_array"])
def test_sparse_rows_are_predicted_like_dense_ones(hidden, kind):
    rng = np.random.default_rng(0)
    codes = np.tile(np.arange(8), 10)
    X = rng.poisson(rng.gamma(0.5, 2.0, (8, 12))[codes]).astype(float)
    to_sparse = getattr(sparse, kind)
    model = fast(hidden, standardize=False)
    a, b = clone(model).fit(X, codes), clone(model).fit(to_sparse(X), codes)
    assert_allclose(
        b.decision_function(to_sparse(X)), a.decision_function(X), rtol=1e-6
    )
    mixed = a.adapt(to_sparse(X), codes).predict_proba(to_sparse(X))
    assert_allclose(mixed, a.adapt(X, codes).predict_proba(X), rtol=1e-6, atol=1e-12)


def test_without_a_network_it_does_not_matter_that_sparse_rows_are_not_centred():
    rng = np.random.default_rng(0)
    codes = np.tile(np.arange(8), 10)
    X = rng.poisson(rng.gamma(0.5, 2.0, (8, 12))[codes]).astype(float)
    a, b = fast().fit(X, codes), fast().fit(sparse.csr_matrix(X), codes)
    assert_allclose(b.predict_proba(X), a.predict_proba(X), rtol=1e-6, atol=1e-12)


@SHAPES
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix])
def test_prediction_in_chunks_changes_nothing(hidden, convert, clouds, monkeypatch):
    X = convert(clouds.X)
    whole = fast(hidden).fit(X, clouds.y)
    p = whole.adapt(X, clouds.y).predict_proba(X)
    monkeypatch.setattr("skmeta._core.prototypes.space.EMBED_CELLS", 50)
    chunks = fast(hidden).fit(X, clouds.y)
    assert_allclose(chunks.adapt(X, clouds.y).predict_proba(X), p, rtol=1e-7)


# -- fitted attributes ----------------------------------------------------------------


def test_a_network_shows_its_layers_and_its_loss(clouds):
    model = fast((6, 3), max_iter=30).fit(clouds.X, clouds.y)
    assert [W.shape for W in model.coefs_] == [(4, 6), (6, 3), (3, 5)]
    assert [b.shape for b in model.intercepts_] == [(6,), (3,), (5,)]
    assert len(model.loss_curve_) == model.n_iter_ == 30
    assert np.mean(model.loss_curve_[-10:]) < np.mean(model.loss_curve_[:10])
    assert model.prototypes_.shape == (8, 5)


def test_weights_that_are_shown_cannot_be_written_to(model):
    for array in (model.coefs_[0], model.intercepts_[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_model_that_is_not_fitted_shows_nothing():
    model = PrototypicalClassifier()
    for name in ("coefs_", "intercepts_", "prototypes_", "temperature_", "classes_"):
        assert not hasattr(model, name)
    with pytest.raises(NotFittedError):
        model.predict([[1.0]])
    with pytest.raises(NotFittedError):
        model.adapt([[1.0]], [0])


@SHAPES
def test_the_seed_decides_and_another_one_gives_other_episodes(hidden, clouds):
    a, b, c = (
        fast(hidden, random_state=seed).fit(clouds.X, clouds.y) for seed in (0, 0, 1)
    )
    assert a.temperature_ == b.temperature_ != c.temperature_
    assert_array_equal(a.coefs_[-1], b.coefs_[-1])


def test_adapted_copies_share_the_network_and_carry_no_history(model, clouds):
    a = model.adapt(clouds.X_new, clouds.y_new)
    b = model.adapt(clouds.X_new[:2], clouds.y_new[:2])
    assert np.shares_memory(a.coefs_[0], model.coefs_[0])
    assert np.shares_memory(a.coefs_[0], b.coefs_[0])
    assert not hasattr(a, "loss_curve_")


def test_adapted_copies_do_not_touch_each_other(model, clouds, unchanged):
    a = model.adapt(clouds.X_new, clouds.y_new)
    b = a.adapt(clouds.X_new[:3], ["x", "y", "z"])
    with unchanged(model, a):
        b.partial_adapt(clouds.X, clouds.y)
    with unchanged(a, b):
        model.partial_adapt(clouds.X_new, clouds.y_new)


# -- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_way": (1, 5)}, r"n_way .* 2 <= low <= high; got \(1, 5\)"),
        ({"n_way": (6, 5)}, r"n_way must be a number of classes.*got \(6, 5\)"),
        ({"n_way": 1}, "'n_way' parameter"),
        ({"n_way": (2, 3.5)}, r"n_way .* got \(2, 3.5\)"),
        ({"support_size": (0, 5)}, r"support_size .* 1 <= low <= high"),
        ({"support_size": (3,)}, r"support_size .* got \(3,\)"),
        ({"support_size": 0}, "'support_size' parameter"),
        ({"n_queries": 0}, "'n_queries' parameter"),
        ({"n_components": 0}, "'n_components' parameter"),
        ({"learning_rate": 0.0}, "'learning_rate' parameter"),
        ({"hidden_layer_sizes": (4, 0)}, r"hidden_layer_sizes .* got \(4, 0\)"),
        ({"activation": "sine"}, "'activation' parameter"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(params, message, clouds):
    model = PrototypicalClassifier(**params)
    with pytest.raises(ValueError, match=message):
        model.fit(clouds.X, clouds.y)
    assert not model.__sklearn_is_fitted__()


@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.parametrize(
    ("y", "task"),
    [
        (np.arange(12), None),
        (np.zeros(12), None),
        (np.zeros(12), np.arange(12) % 3),
        (np.arange(12) % 3, np.arange(12) % 3),
        ([0, 0] + list(range(1, 11)), None),
    ],
    ids=["rows of their own", "one class", "one per task", "label is task", "one pair"],
)
def test_a_network_needs_a_task_with_two_classes_of_two_rows(y, task):
    X = np.random.default_rng(0).standard_normal((12, 3))
    with pytest.raises(ValueError, match=r"two classes of two rows .*n_samples=12"):
        fast((6,)).fit(X, y, task=task)
    fast().fit(X, y, task=task)  # whitening needs no such task


def test_a_target_of_the_wrong_kind_is_refused(clouds):
    with pytest.raises(ValueError, match="Unknown label type"):
        fast().fit(clouds.X, clouds.X[:, 0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_not_finite_are_refused(clouds):
    model = fast((6,), standardize=False, layer_norm=False, learning_rate=1e30)
    with pytest.raises(ValueError, match=r"not finite.*standardize=True"):
        model.fit(clouds.X * 1e30, clouds.y)


def test_text_is_not_added_to_numbers_as_labels(own_model, unchanged):
    X = np.eye(2)
    for first, then in ((["a", "b"], [1, 2]), ([1, 2], ["a", "b"])):
        adapted = own_model.adapt(X, first)
        with unchanged(adapted), pytest.raises(ValueError, match="do not mix"):
            adapted.partial_adapt(X, then)


def test_a_failure_leaves_the_model_as_it_was(model, clouds, unchanged):
    X = np.full((3, 4), np.nan)
    with unchanged(model):
        for verb in (model.adapt, model.partial_adapt, model.fit):
            with pytest.raises(ValueError, match="NaN"):
                verb(X, ["a", "b", "c"])
            with pytest.raises(ValueError, match="continuous"):
                verb(clouds.X[:3], [0.5, 1.5, 2.5])
        with pytest.raises(ValueError, match="n_way"):
            copy.copy(model).set_params(n_way=(9, 2)).fit(clouds.X, clouds.y)


def test_meta_training_takes_no_weights(own_class_tasks):
    tasks = [(X, y, np.ones(len(y))) for X, y in own_class_tasks.values()]
    with pytest.raises(ValueError, match=r"rows of equal weight.*sample weights out"):
        fast().meta_fit(tasks)


# -- scores, compositions, persistence ------------------------------------------------


def test_the_score_with_ids_adapts_to_rows_of_every_class(own_model, own_class_tasks):
    tasks = dict(list(own_class_tasks.items())[18:])
    X, y = (np.concatenate(part) for part in zip(*tasks.values(), strict=True))
    ids = np.repeat(list(tasks), [len(labels) for _, labels in tasks.values()])
    score = own_model.score(X, y, task=ids)
    assert score > 0.8
    assert score == few_shot_scores(own_model, X, y, ids, stratify=True).mean()


def test_a_model_of_one_set_has_a_few_shot_score_on_tasks(model, clouds):
    tasks = make_episodes(
        clouds.X_new, clouds.y_new, 10, n_way=3, n_shots=2, n_queries=6, random_state=0
    )
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    p = model.predict_proba(X)
    assert 0.65 < model.score(X, y, task=np.repeat(np.arange(10), 24)) <= 1
    assert_array_equal(model.predict_proba(X), p)


def test_pipelines_adapt_behind_their_frozen_steps(own_class_tasks):
    tasks = list(own_class_tasks.values())
    pipe = meta_fit(make_pipeline(StandardScaler(), fast()), tasks[:18])
    X, y = tasks[20]
    adapted = adapt(pipe, X[:8], y[:8])
    assert adapted.score(X[8:], y[8:]) > 0.9
    assert adapted[0].mean_ is pipe[0].mean_
    partial_adapt(adapted, X[[8]], ["another"])
    assert "another" in adapted.classes_
    with pytest.raises(NotFittedError):
        pipe.predict(X)


def test_a_few_shot_classifier_fits_by_taking_means(own_model, own_class_tasks):
    X, y = own_class_tasks["s20"]
    model = FewShotClassifier(FrozenEstimator(own_model)).fit(X, y)
    assert_array_equal(
        clone(model).fit(X, y).predict_proba(X), own_model.adapt(X, y).predict_proba(X)
    )
    assert_array_equal(model.classes_, np.unique(y))


def test_a_search_chooses_by_the_few_shot_score(routing):
    rng = np.random.default_rng(0)
    tasks = [make_rings(4, 12, rng) for _ in range(40)]
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    ids = np.repeat(np.arange(40), 48)
    search = GridSearchCV(
        PrototypicalClassifier(n_components=8, max_iter=200, random_state=0),
        {"hidden_layer_sizes": [(), (32,)]},
        cv=GroupKFold(3).set_split_request(groups="task"),
        scoring=make_few_shot_scorer("accuracy", n_support=12),
    ).fit(X, y, task=ids)
    assert search.best_params_ == {"hidden_layer_sizes": (32,)}
    linear, network = search.cv_results_["mean_test_score"]
    assert network > linear + 0.2
    given = np.arange(48) % 12 < 6
    adapted = adapt(search, X[:48][given], y[:48][given])
    assert adapted.score(X[:48][~given], y[:48][~given]) > 0.6


def test_a_saved_model_predicts_the_same_and_can_be_adapted_further(model, clouds):
    adapted = model.adapt(clouds.X_new[:16], clouds.y_new[:16])
    for original in (model, adapted):
        loaded = pickle.loads(pickle.dumps(original))
        assert_array_equal(
            loaded.predict_proba(clouds.X), original.predict_proba(clouds.X)
        )
        loaded.partial_adapt(clouds.X_new[16:], clouds.y_new[16:])
        original.partial_adapt(clouds.X_new[16:], clouds.y_new[16:])
        assert_array_equal(
            loaded.predict_proba(clouds.X), original.predict_proba(clouds.X)
        )


def test_a_clone_has_forgotten_everything(model, clouds):
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(clouds.X)


def test_many_classes_of_one_set_need_no_indicator_matrix():
    rng = np.random.default_rng(0)
    codes = np.tile(np.arange(5000), 4)
    X = rng.standard_normal((5000, 3))[codes] + 0.1 * rng.standard_normal((20_000, 3))
    for hidden in ((), (6,)):
        tracemalloc.start()
        model = fast(hidden).fit(X, codes)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(model.classes_) == 5000
        assert peak < 40e6  # an indicator would take 800e6 bytes
