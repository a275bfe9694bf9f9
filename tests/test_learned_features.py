"""Empirical Bayes on learned features: the public side."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    adapt,
    meta_fit,
)
from skmeta.datasets import make_linear_tasks, make_sinusoid_tasks
from skmeta.model_selection import make_few_shot_scorer


def learned(cls, hidden, max_iter=140, n_components=16, **options):
    """A model with features that are learned quickly."""
    features = LearnedFeatures(
        hidden, n_components=n_components, learning_rate=5e-3, max_iter=max_iter
    )
    return cls(features=features, random_state=0, **options)


# With a structure and a noise that need not be chosen, a fit is quicker. The models of
# the fixtures choose both.
QUICK = {"prior": "diagonal", "noise": "shared"}


def waves(n_tasks, n_rows, seed):
    return make_sinusoid_tasks(n_tasks, n_rows, noise=0.1, random_state=seed)


def bent_labels(n_tasks, n_rows, seed, n_classes=2):
    """Labels whose logits are shapes that tasks weigh differently."""
    rng = np.random.default_rng(seed)
    tasks = []
    for _ in range(n_tasks):
        X = rng.normal(size=(n_rows, 2))
        w = 3 * rng.normal(size=(2, n_classes))
        shapes = np.column_stack([np.sin(2 * X[:, 0]), np.abs(X[:, 1]) - 0.8])
        gumbel = rng.gumbel(size=(n_rows, n_classes))
        tasks.append((X, (shapes @ w + gumbel).argmax(axis=1)))
    return tasks


@pytest.fixture(scope="module")
def wave_model():
    model = learned(EmpiricalBayesRegressor, (32, 32))
    return model.meta_fit(waves(150, 25, 0))


@pytest.fixture(scope="module")
def label_model():
    model = learned(EmpiricalBayesClassifier, (32,), 40)
    return model.meta_fit(bent_labels(60, 25, 0))


@pytest.fixture(scope="module")
def models(wave_model, label_model):
    return {"regressor": wave_model, "classifier": label_model}


EACH = pytest.mark.parametrize("kind", ["regressor", "classifier"])
TASK = {
    "regressor": waves(1, 30, 5)[0],
    "classifier": bent_labels(1, 30, 5)[0],
}


def few_shot_score(model, tasks, k):
    return np.mean([model.adapt(X[:k], y[:k]).score(X[k:], y[k:]) for X, y in tasks])


# -- what they are for ----------------------------------------------------------------


def test_waves_are_predicted_from_a_few_rows(wave_model):
    linear = clone(wave_model).set_params(features=None, **QUICK)
    linear.meta_fit(waves(150, 25, 0))
    test = waves(30, 60, 1)
    assert wave_model.n_feature_iter_ > 0
    assert few_shot_score(linear, test, 10) < 0.3
    assert few_shot_score(wave_model, test, 10) > 0.9


def test_labels_of_curved_shapes_are_predicted_better_than_by_a_linear_model(
    label_model,
):
    linear = clone(label_model).set_params(features=None, prior="diagonal")
    linear.meta_fit(bent_labels(60, 25, 0))
    test = bent_labels(40, 80, 1)
    assert label_model.n_feature_iter_ > 0
    gain = few_shot_score(label_model, test, 15) - few_shot_score(linear, test, 15)
    assert gain > 0.05


def test_three_classes_are_predicted_too():
    model = learned(
        EmpiricalBayesClassifier, (16,), 40, n_components=4, prior="diagonal"
    )
    model.meta_fit(bent_labels(30, 20, 0, n_classes=3))
    linear = clone(model).set_params(features=None)
    linear.meta_fit(bent_labels(30, 20, 0, n_classes=3))
    test = bent_labels(20, 80, 1, n_classes=3)
    assert model.n_feature_iter_ > 0
    assert few_shot_score(model, test, 20) > few_shot_score(linear, test, 20) + 0.03


@pytest.mark.parametrize(
    "cls", [EmpiricalBayesRegressor, EmpiricalBayesClassifier], ids=lambda c: c.__name__
)
def test_if_features_do_not_pay_the_model_is_the_linear_one(cls):
    kind = "regression" if cls is EmpiricalBayesRegressor else "classification"
    *tasks, (X, y) = make_linear_tasks(40, 15, 3, noise=0.5, kind=kind, random_state=0)
    linear = cls("diagonal", random_state=0).meta_fit(tasks).adapt(X[:5], y[:5])
    model = learned(cls, (16,), 20, prior="diagonal").meta_fit(tasks)
    assert model.n_feature_iter_ == 0
    adapted = model.adapt(X[:5], y[:5])
    if kind == "regression":
        assert_allclose(adapted.predict(X), linear.predict(X), rtol=1e-10)
    else:
        assert_array_equal(adapted.predict_proba(X), linear.predict_proba(X))
    with pytest.raises(AttributeError, match="they did not pay"):
        model.coefs_  # noqa: B018


def test_features_work_with_a_base_model():
    # all waves share a step, which the network would otherwise have to learn
    def stepped(tasks):
        return [(X, y + 20 * (X[:, 0] > 1)) for X, y in tasks]

    forest = RandomForestRegressor(10, min_samples_leaf=50, random_state=0)
    model = learned(
        EmpiricalBayesRegressor, (32, 32), 60, base_estimator=forest, **QUICK
    )
    model.meta_fit(stepped(waves(60, 20, 0)))
    assert model.n_feature_iter_ > 0
    assert few_shot_score(model, stepped(waves(50, 60, 1)), 10) > 0.95


def test_without_an_intercept_mirrored_rows_have_mirrored_probabilities():
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(40):
        X = rng.normal(size=(16, 2))
        logit = 3 * rng.normal() * X[:, 0] ** 3 + 2 * np.tanh(3 * X[:, 1])
        tasks.append((X, (rng.random(16) < 1 / (1 + np.exp(-logit))).astype(int)))
    model = learned(
        EmpiricalBayesClassifier, (16,), 50, prior="diagonal", fit_intercept=False
    )
    model.meta_fit(tasks)
    assert model.n_feature_iter_ > 0
    X, y = tasks[0]
    adapted = model.adapt(X[:10], y[:10])
    p, mirrored = adapted.predict_proba(X), adapted.predict_proba(-X)
    assert_allclose(p, mirrored[:, ::-1], atol=1e-9)


# -- adapting -------------------------------------------------------------------------


@EACH
def test_portions_in_any_order_are_one_call(models, kind):
    model, (X, y) = models[kind], TASK[kind]
    whole = model.adapt(X[:12], y[:12])
    parts = model.adapt(X[7:12], y[7:12])
    parts.partial_adapt(X[:3], y[:3]).partial_adapt(X[3:7], y[3:7])
    out = "predict" if kind == "regressor" else "decision_function"
    assert_allclose(getattr(parts, out)(X), getattr(whole, out)(X), atol=1e-6)


@EACH
def test_adapting_leaves_the_model_as_it_was_and_shares_its_network(
    models, kind, unchanged
):
    model, (X, y) = models[kind], TASK[kind]
    with unchanged(model):
        adapted = model.adapt(X[:5], y[:5])
        adapted.predict(X)
    assert adapted._learned is model._learned
    assert not hasattr(adapted, "validation_scores_")
    reset = adapted.reset_adaptation()
    assert_array_equal(reset.predict(X), model.predict(X))


def test_a_row_of_weight_two_is_the_row_twice(wave_model):
    X, y = TASK["regressor"]
    twice = wave_model.adapt(X[[0, 0, 1, 2]], y[[0, 0, 1, 2]])
    weighted = wave_model.adapt(X[:3], y[:3], sample_weight=[2, 1, 1])
    assert_allclose(weighted.predict(X), twice.predict(X))


def test_a_prediction_does_not_depend_on_the_other_rows(wave_model):
    X, y = TASK["regressor"]
    adapted = wave_model.adapt(X[:5], y[:5])
    one_by_one = [adapted.predict(X[[i]])[0] for i in range(len(X))]
    assert_allclose(adapted.predict(X), one_by_one, rtol=1e-12, atol=1e-12)


# -- uncertainty ----------------------------------------------------------------------


@pytest.mark.parametrize("k", [5, 10, 20])
def test_intervals_hold_nine_of_ten_new_targets(wave_model, k):
    held = []
    for X, y in waves(40, 60, 2):
        low, high = wave_model.adapt(X[:k], y[:k]).predict_interval(X[k:]).T
        held.append(np.mean((low <= y[k:]) & (y[k:] <= high)))
    assert 0.85 < np.mean(held) < 0.96


def test_deviations_shrink_as_rows_come_in(wave_model):
    X, y = TASK["regressor"]
    deviations = [
        wave_model.adapt(X[:k], y[:k]).predict(X, return_std=True)[1].mean()
        for k in (1, 3, 10)
    ]
    assert deviations[0] > deviations[1] > deviations[2]


@EACH
def test_questions_lower_the_uncertainty_over_the_pool(models, kind):
    model, (X, _) = models[kind], TASK[kind]
    rows = model.suggest_queries(X, 4)
    assert len(set(rows)) == 4
    if kind == "regressor":
        y = np.zeros(len(X))  # the answers make no difference to deviations
        chosen = model.adapt(X[rows], y[rows]).predict(X, return_std=True)[1]
        first = model.adapt(X[:4], y[:4]).predict(X, return_std=True)[1]
        assert (chosen**2).sum() < (first**2).sum()


# -- data -----------------------------------------------------------------------------


def test_units_make_no_difference():
    tasks = waves(30, 20, 0)
    plain = learned(EmpiricalBayesRegressor, (32,), 20, **QUICK)
    model = clone(plain).meta_fit([(1e3 * X + 50, 1e-3 * y - 7) for X, y in tasks])
    plain.meta_fit(tasks)
    assert model.n_feature_iter_ == plain.n_feature_iter_ > 0
    X, y = TASK["regressor"]
    found = model.adapt(1e3 * X[:8] + 50, 1e-3 * y[:8] - 7).predict(1e3 * X + 50)
    expected = plain.adapt(X[:8], y[:8]).predict(X)
    assert_allclose(1e3 * (found + 7), expected, atol=0.02)


def test_sparse_rows_give_what_dense_ones_do():
    dense = [(np.hstack([X, X**2]), y) for X, y in waves(20, 15, 0)]
    middle = np.concatenate([X for X, _ in dense]).mean(axis=0)
    dense = [(X - middle, y) for X, y in dense]
    model = learned(EmpiricalBayesRegressor, (8,), 20, standardize=False, **QUICK)
    one = clone(model).meta_fit(dense)
    other = clone(model).meta_fit([(sparse.csr_matrix(X), y) for X, y in dense])
    X, y = dense[0]
    assert one.n_feature_iter_ == other.n_feature_iter_
    found = other.adapt(sparse.csr_matrix(X[:5]), y[:5]).predict(sparse.csr_matrix(X))
    assert_allclose(found, one.adapt(X[:5], y[:5]).predict(X), rtol=1e-5, atol=1e-5)


def test_with_many_tasks_there_is_one_run(monkeypatch):
    monkeypatch.setattr("skmeta._core.prior.learn.TASKS_FOR_ONE_RUN", 150)
    model = learned(EmpiricalBayesRegressor, (32, 32), **QUICK)
    model.meta_fit(waves(220, 15, 0))
    assert model.n_feature_iter_ > 0
    assert few_shot_score(model, waves(50, 60, 1), 10) > 0.8


# -- scikit-learn ---------------------------------------------------------------------


@EACH
def test_pickling_keeps_predictions(models, kind):
    model, (X, y) = models[kind], TASK[kind]
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(
        loaded.adapt(X[:5], y[:5]).predict(X), model.adapt(X[:5], y[:5]).predict(X)
    )


def test_coefficients_are_those_of_a_linear_model(wave_model):
    for name in ("coef_", "intercept_", "prior_coef_", "prior_covariance_"):
        with pytest.raises(AttributeError, match="learned features"):
            getattr(wave_model, name)
    assert [w.shape for w in wave_model.coefs_] == [(1, 32), (32, 32), (32, 16)]
    assert [b.shape for b in wave_model.intercepts_] == [(32,), (32,), (16,)]
    with pytest.raises(ValueError, match="read-only"):
        wave_model.coefs_[0][0] = 1.0
    assert wave_model.noise_variance_ > 0
    assert len(wave_model.validation_scores_) == 21


def test_fitting_again_without_features_forgets_them(wave_model):
    model = deepcopy(wave_model).set_params(features=None)
    model.meta_fit(waves(30, 10, 0))
    assert model.coef_.shape == (1,)
    for name in ("n_feature_iter_", "validation_scores_", "coefs_"):
        assert not hasattr(model, name)


def test_with_few_tasks_a_warning_says_that_the_model_is_linear():
    model = EmpiricalBayesRegressor(features=LearnedFeatures(), random_state=0)
    with pytest.warns(UserWarning, match="need 5 tasks or more.*got 4"):
        model.meta_fit(waves(4, 10, 0))
    assert model.coef_.shape == (1,)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hidden_layer_sizes": (8, 0)}, "positive whole numbers of units"),
        ({"support_size": (5, 2)}, r"support_size must be .* got \(5, 2\)"),
        ({"n_components": 0}, "n_components"),
        ({"activation": "sin"}, "activation"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_wrong_parameters_are_refused_and_leave_the_model_as_it_was(
    wave_model, params, message
):
    model = deepcopy(wave_model)
    model.features.set_params(**params)
    X, y = TASK["regressor"]
    before = wave_model.adapt(X[:5], y[:5]).predict(X)
    with pytest.raises(ValueError, match=message):
        model.meta_fit(waves(10, 10, 0))
    assert_array_equal(model.adapt(X[:5], y[:5]).predict(X), before)


@pytest.mark.parametrize("features", [(32,), 8, LearnedFeatures, Ridge()], ids=str)
def test_features_that_are_none_are_refused_by_type(features):
    model = EmpiricalBayesRegressor(features=features)
    with pytest.raises(TypeError, match=r"'features' parameter.*LearnedFeatures"):
        model.meta_fit(waves(10, 10, 0))


def test_no_hidden_layers_are_no_features():
    tasks = waves(10, 10, 0)
    model = learned(EmpiricalBayesRegressor, ()).meta_fit(tasks)
    linear = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
    assert_array_equal(model.coef_, linear.coef_)
    assert not hasattr(model, "n_feature_iter_")


def test_the_settings_are_an_ordinary_set_of_parameters():
    features = LearnedFeatures((4, 4), max_iter=7)
    assert repr(features) == "LearnedFeatures(hidden_layer_sizes=(4, 4), max_iter=7)"
    model = clone(EmpiricalBayesRegressor(features=features))
    assert model.features is not features
    model.set_params(features__max_iter=8)
    assert model.get_params()["features__max_iter"] == 8
    assert features.max_iter == 7


def test_setting_the_features_of_an_adapted_copy_leaves_the_model_alone(wave_model):
    adapted = wave_model.adapt(*TASK["regressor"])
    adapted.set_params(features__max_iter=1)
    assert wave_model.features.max_iter == 140


def test_questions_are_asked_where_training_never_looked():
    # the second column is constant in training: nothing is known of its direction
    tasks = [(np.column_stack([X, np.ones(len(X))]), y) for X, y in waves(30, 20, 0)]
    model = learned(EmpiricalBayesRegressor, (32,), 30, **QUICK).meta_fit(tasks)
    assert model.n_feature_iter_ > 0
    X = np.column_stack([np.linspace(-5, 5, 20), np.repeat([1.0, 5.0], 10)])
    assert len(set(model.suggest_queries(X, 3))) == 3


def test_hidden_layers_are_chosen_in_a_pipeline_by_a_grid(routing):
    tasks = waves(30, 20, 0)
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    ids = np.repeat(np.arange(30), 20)
    pipe = make_pipeline(
        StandardScaler(), learned(EmpiricalBayesRegressor, (), 40, **QUICK)
    )
    name = "empiricalbayesregressor__features__hidden_layer_sizes"
    search = GridSearchCV(
        pipe,
        {name: [(), (32,)]},
        cv=GroupKFold(2).set_split_request(groups="task"),
        scoring=make_few_shot_scorer("r2", n_support=5, n_repeats=1),
        error_score="raise",
    ).fit(X, y, task=ids)
    assert search.best_params_[name] == (32,)
    X_new, y_new = TASK["regressor"]
    assert adapt(search, X_new[:10], y_new[:10]).score(X_new, y_new) > 0.5
    assert meta_fit(pipe, tasks)[-1].n_tasks_ == 30
