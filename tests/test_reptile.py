"""ReptileRegressor and ReptileClassifier: what they learn, and what the verbs mean."""

import copy
import datetime
import uuid

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from skmeta import ReptileClassifier, ReptileRegressor
from skmeta._core.descent import inner, training
from skmeta.datasets import make_linear_tasks, make_sinusoid_tasks, split_tasks
from skmeta.exceptions import ZeroShotWarning

BOTH = pytest.mark.parametrize("cls", [ReptileRegressor, ReptileClassifier])
SHAPES = pytest.mark.parametrize("hidden", [(), (6,)], ids=["linear", "mlp"])


def fast(cls, hidden=(), **params):
    defaults = {"hidden_layer_sizes": hidden, "max_iter": 20, "random_state": 0}
    return cls(**defaults | params)


def target(cls, y):
    """The numbers y, or three string labels for a classifier."""
    if cls is ReptileRegressor:
        return y
    return np.array(["low", "mid", "top"])[np.digitize(y, np.quantile(y, [0.3, 0.7]))]


def outputs(model, X):
    """Predictions of a regressor, decision function of a classifier."""
    return getattr(model, "decision_function", model.predict)(X)


def ragged(tasks):
    """1, 2, ..., 12, 1, 2, ... rows of the tasks."""
    return [(X[: 1 + i % 12], y[: 1 + i % 12]) for i, (X, y) in enumerate(tasks)]


def query_error(adapted, X, y):
    return np.mean((adapted.predict(X) - y) ** 2)


# -- how tasks come in ----------------------------------------------------------------


@BOTH
@SHAPES
def test_a_table_with_ids_a_list_and_a_dict_of_tasks_give_the_same_model(
    cls, hidden, linear_tasks, linear_table
):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    tasks = {name: (X[ids == name], y[ids == name]) for name in np.unique(ids)}
    model = fast(cls, hidden).fit(X, y, task=ids)
    for same in (tasks, list(tasks.values()), iter(tasks.values())):
        assert_array_equal(
            outputs(fast(cls, hidden).meta_fit(same), X), outputs(model, X)
        )


def test_tasks_in_a_dict_may_come_in_any_order_of_their_ids(linear_tasks, linear_table):
    given = dict(enumerate(linear_tasks))
    turned = dict(reversed(given.items()))
    assert_array_equal(
        fast(ReptileRegressor, (6,)).meta_fit(given).predict(linear_table.X),
        fast(ReptileRegressor, (6,)).meta_fit(turned).predict(linear_table.X),
    )


@pytest.mark.parametrize(
    "name",
    [
        lambda i: f"{i:02d}",
        lambda i: i + 0.5,
        lambda i: np.datetime64("2020-01-01") + np.timedelta64(i, "D"),
        lambda i: datetime.date(2020, 1, 1 + i),
        lambda i: uuid.UUID(int=i),
        lambda i: i % 2 == 0,
    ],
    ids=["str", "float", "datetime", "date", "uuid", "bool"],
)
@pytest.mark.filterwarnings("ignore:20 of 20 ids of tasks have a fraction")
def test_an_id_may_be_anything_that_sorts(name, linear_tasks):
    ids = [name(i) for i, (_, y) in enumerate(linear_tasks) for _ in y]
    X, y = (np.concatenate(part) for part in zip(*linear_tasks, strict=True))
    numbers = [sorted(set(ids)).index(i) for i in ids]
    model = fast(ReptileRegressor).fit(X, y, task=ids)
    assert model.n_tasks_ == len(set(ids))
    assert_array_equal(
        model.predict(X), fast(ReptileRegressor).fit(X, y, task=numbers).predict(X)
    )


@pytest.mark.filterwarnings("ignore:The ids of tasks are of 4 kinds")
@pytest.mark.filterwarnings("ignore:1 of 20 ids of tasks have a fraction")
def test_ids_of_mixed_types_stand_in_order_of_appearance(linear_tasks, linear_table):
    names = [b"a", "b", 1, frozenset("a"), 2.5, *"cdefghijklmnopq"]
    ids = [name for name in names for _ in range(12)]
    model = fast(ReptileRegressor).fit(linear_table.X, linear_table.y, task=ids)
    assert model.n_tasks_ == 20
    assert_array_equal(
        model.predict(linear_table.X),
        fast(ReptileRegressor).meta_fit(linear_tasks).predict(linear_table.X),
    )


@BOTH
@SHAPES
def test_rows_of_different_tasks_may_be_mixed(cls, hidden, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    rows = np.arange(len(y)).reshape(20, 12).T.ravel()  # one row of each task in turn
    assert_array_equal(
        outputs(fast(cls, hidden).fit(X, y, task=ids), X),
        outputs(fast(cls, hidden).fit(X[rows], y[rows], task=ids[rows]), X),
    )


def test_a_task_may_have_its_own_number_of_rows_down_to_one(linear_tasks):
    ragged = [
        (X[: 1 + i % 12], y[: 1 + i % 12]) for i, (X, y) in enumerate(linear_tasks)
    ]
    model = fast(ReptileRegressor).meta_fit(ragged)
    assert model.n_tasks_ == 20
    assert np.isfinite(model.predict(linear_tasks[0][0])).all()


@BOTH
def test_the_shapes_of_the_fitted_attributes(cls, linear_table):
    y = target(cls, linear_table.y)
    model = fast(cls, (6, 5)).fit(linear_table.X, y, task=linear_table.ids)
    n_outputs = 1 if cls is ReptileRegressor else 3
    sizes = [(3, 6), (6, 5), (5, n_outputs)]
    for coefs in (model.coefs_, model.prior_coefs_, model.rate_coefs_):
        assert [coef.shape for coef in coefs] == sizes
    for name in ("intercepts_", "prior_intercepts_", "rate_intercepts_"):
        assert [b.shape for b in getattr(model, name)] == [(b,) for _, b in sizes]
    assert (model.n_tasks_, model.n_iter_, model.n_features_in_) == (20, 20, 3)
    assert (model.n_adapt_rows_, len(model.loss_curve_)) == (0, 20)
    assert model.adapt(linear_table.X[:5], y[:5]).n_adapt_rows_ == 5


@BOTH
def test_an_unfitted_model_says_so(cls):
    for verb in ("adapt", "partial_adapt"):
        with pytest.raises(NotFittedError):
            getattr(cls(), verb)(np.ones((2, 1)), [0, 1])
    with pytest.raises(NotFittedError):
        cls().reset_adaptation()
    assert not hasattr(cls(), "coefs_")
    assert not hasattr(cls(), "coef_")


# -- the verbs of adaptation ----------------------------------------------------------


@BOTH
@SHAPES
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_adapt_leaves_the_meta_learner_unchanged(
    cls, hidden, solver, linear_table, unchanged
):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls, hidden, solver=solver).fit(X, y, task=linear_table.ids)
    before = outputs(model, X)
    with unchanged(model):
        adapted = model.adapt(X[:5], y[:5])
        adapted.partial_adapt(X[5:9], y[5:9])
        adapted.reset_adaptation()
    assert_array_equal(outputs(model, X), before)


@BOTH
def test_partial_adapt_works_in_place_and_returns_self(cls, linear_table):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls).fit(X, y, task=linear_table.ids)
    before = outputs(model, X)
    assert model.partial_adapt(X[:5], y[:5]) is model
    assert np.abs(outputs(model, X) - before).max() > 1e-3
    assert model.partial_adapt(X[5:7], y[5:7]).n_adapt_rows_ == 7


@BOTH
@SHAPES
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_adapt_is_partial_adapt_from_the_prior(cls, hidden, solver, linear_table):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls, hidden, solver=solver).fit(X, y, task=linear_table.ids)
    adapted = model.adapt(X[:5], y[:5])
    model.partial_adapt(X[20:40], y[20:40])
    assert_array_equal(outputs(model.adapt(X[:5], y[:5]), X), outputs(adapted, X))
    model.reset_adaptation().partial_adapt(X[:5], y[:5])
    assert_array_equal(outputs(model, X), outputs(adapted, X))


@BOTH
def test_reset_adaptation_restores_every_bit(cls, linear_table, unchanged):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls).fit(X, y, task=linear_table.ids)
    with unchanged(model):
        model.partial_adapt(X[:5], y[:5])
        assert model.reset_adaptation() is model


def test_zero_steps_of_adaptation_leave_the_prior(regressor, linear_table):
    X, y = linear_table.X, linear_table.y
    adapted = regressor.set_params(adapt_steps=0).adapt(X[:5], y[:5])
    assert_array_equal(adapted.predict(X), regressor.predict(X))


@pytest.mark.parametrize(
    ("changed", "fitted"),
    [({"learning_rate": 0.001}, {"learn_rates": "layer"}), ({"alpha": 500.0}, {})],
)
def test_parameters_set_after_meta_training_act_at_adaptation(
    changed, fitted, linear_table
):
    model = fast(ReptileRegressor, **fitted)
    model.fit(linear_table.X, linear_table.y, task=linear_table.ids)
    X, y = linear_table.X[:5], linear_table.y[:5]
    before = model.adapt(X, y).predict(X) - model.predict(X)
    model.set_params(**changed)
    after = model.adapt(X, y).predict(X) - model.predict(X)
    assert np.abs(after).sum() < 0.7 * np.abs(before).sum()


def test_more_steps_fit_the_support_rows_better(regressor, linear_table):
    X, y = linear_table.X[:5], linear_table.y[:5]
    errors = [
        query_error(regressor.set_params(adapt_steps=n).adapt(X, y), X, y)
        for n in (0, 1, 5, 25)
    ]
    assert errors == sorted(errors, reverse=True)


# -- against references ---------------------------------------------------------------


def test_on_one_task_the_regressor_is_least_squares():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) * [1, 10, 0.1] + [5, 0, -3]
    y = X @ [1, 0.2, 4] + rng.normal(size=60)
    weight = rng.integers(1, 5, size=60)
    model = ReptileRegressor(random_state=0).fit(X, y, weight)
    reference = LinearRegression().fit(X, y, weight)
    assert_allclose(model.predict(X), reference.predict(X), rtol=1e-6)
    assert_allclose(model.coef_.ravel(), reference.coef_, rtol=1e-6)
    assert_allclose(model.intercept_, reference.intercept_, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_on_one_task_the_classifier_is_logistic_regression(n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    z = X[:, 0] + rng.logistic(size=120)
    y = np.digitize(z, np.quantile(z, np.arange(1, n_classes) / n_classes))
    model = ReptileClassifier(random_state=0).fit(X, y)
    reference = LogisticRegression(C=1e8, tol=1e-8, max_iter=1000).fit(X, y)
    assert_allclose(model.predict_proba(X), reference.predict_proba(X), atol=1e-3)


def best_linear_prediction(train, support, query, noise):
    """E[y | support rows] in y = X (w + b), b ~ N(0, S), w and S by moments."""
    design = [np.column_stack([np.ones(len(y)), X]) for X, y in train]
    by_task = [
        np.linalg.lstsq(A, y, rcond=None)[0]
        for A, (_, y) in zip(design, train, strict=True)
    ]
    common = np.mean(by_task, axis=0)
    error = noise**2 * np.mean([np.linalg.inv(A.T @ A) for A in design], axis=0)
    values, vectors = np.linalg.eigh(np.cov(np.transpose(by_task)) - error)
    S = (vectors * np.maximum(values, 0.0)) @ vectors.T

    (X, y), Q = support, np.column_stack([np.ones(len(query)), query])
    A = np.column_stack([np.ones(len(y)), X])
    gain = S @ A.T @ np.linalg.inv(A @ S @ A.T + noise**2 * np.eye(len(y)))
    return Q @ (common + gain @ (y - A @ common))


@pytest.mark.parametrize("n_support", [1, 3, 10])
def test_adapted_errors_are_within_a_tenth_of_the_best_linear_prediction(n_support):
    noise = 0.5
    tasks = make_linear_tasks(120, 20, 4, noise=noise, random_state=0)
    train, new = split_tasks(tasks, 80, random_state=0)
    model = ReptileRegressor(max_iter=300, random_state=0).meta_fit(train)
    zero, few, best = [], [], []
    for X, y in new:
        support, query, truth = (X[:n_support], y[:n_support]), X[10:], y[10:]
        zero.append(model.predict(query) - truth)
        few.append(model.adapt(*support).predict(query) - truth)
        best.append(best_linear_prediction(train, support, query, noise) - truth)
    zero, few, best = (np.sqrt(np.mean(np.square(e))) for e in (zero, few, best))
    assert few < 0.95 * zero
    assert few < 1.1 * best


def test_adapted_labels_are_better_than_those_of_the_prior():
    tasks = make_linear_tasks(
        100, 30, 3, kind="classification", spread=2.0, random_state=0
    )
    train, new = split_tasks(tasks, 60, random_state=0)
    model = ReptileClassifier(max_iter=200, random_state=0).meta_fit(train)
    zero, few = [], []
    for X, y in new:
        zero.append(np.mean(model.predict(X[10:]) == y[10:]))
        few.append(np.mean(model.adapt(X[:10], y[:10]).predict(X[10:]) == y[10:]))
    assert np.mean(few) > np.mean(zero) + 0.1


def test_an_adapted_network_follows_a_sine_that_a_pooled_one_cannot():
    tasks = make_sinusoid_tasks(60, 20, amplitude=(1, 5), random_state=0)
    train, new = split_tasks(tasks, 50, random_state=0)
    model = ReptileRegressor((20,), max_iter=300, random_state=0).meta_fit(train)
    zero, few = [], []
    for X, y in new:
        zero.append(query_error(model, X[10:], y[10:]))
        few.append(query_error(model.adapt(X[:10], y[:10]), X[10:], y[10:]))
    assert np.mean(few) < 0.7 * np.mean(zero)


# -- what a linear model shows --------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("standardize", [True, False])
def test_coef_and_intercept_reproduce_the_regression(kind, standardize):
    tasks = [
        (2.0 + 0.5 * X, 10.0 + 3.0 * y)
        for X, y in make_linear_tasks(10, 8, 3, random_state=0)
    ]
    if kind == "sparse":
        tasks = [(sparse.csr_array(X), y) for X, y in tasks]
    model = fast(ReptileRegressor, standardize=standardize, learning_rate=0.01)
    X, y = tasks[0]
    model = model.meta_fit(tasks).adapt(X, y)
    predicted = X @ model.coef_.ravel() + model.intercept_
    assert_allclose(predicted, model.predict(X))


def test_coef_of_a_regressor_has_one_number_per_feature_as_in_scikit_learn(regressor):
    assert regressor.coef_.shape == (3,)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_coef_and_intercept_give_the_logits_before_they_are_averaged(kind, n_classes):
    rng = np.random.default_rng(0)
    X = 5.0 + rng.standard_normal((60, 3))
    y = np.digitize(X[:, 0] + X[:, 1], np.quantile(X[:, :2].sum(1), [0.4, 0.7]))
    y = np.minimum(y, n_classes - 1)
    X = sparse.csr_array(X) if kind == "sparse" else X
    n_rows = 1 if n_classes == 2 else n_classes
    for sharing in ("layer", "parameter"):
        model = fast(ReptileClassifier, learn_rates=sharing)
        model = model.fit(X, y, task=np.arange(60) % 6).adapt(X[:8], y[:8])
        assert (model.coef_.shape, model.intercept_.shape) == ((n_rows, 3), (n_rows,))
        logits = X @ model.coef_.T + model.intercept_
        logits = logits[:, 0] if n_classes == 2 else logits
        decision = model.decision_function(X)
        if sharing == "layer":
            assert_allclose(decision, logits)
        elif n_classes == 2:
            assert (np.abs(decision) < np.abs(logits)).all()
            assert_array_equal(decision > 0, logits > 0)
        else:
            assert (np.ptp(decision, axis=1) < np.ptp(logits, axis=1)).all()
            assert_array_equal(np.argsort(decision), np.argsort(logits))


def test_a_network_has_no_coef(linear_tasks):
    model = fast(ReptileRegressor, (4,)).meta_fit(linear_tasks)
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "intercept_")


# -- kinds of X -----------------------------------------------------------------------


@BOTH
@SHAPES
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_float32_stays_float32(cls, hidden, solver, linear_table):
    X, y = linear_table.X.astype(np.float32), target(cls, linear_table.y)
    y = y.astype(np.float32) if cls is ReptileRegressor else y
    model = fast(cls, hidden, solver=solver).fit(X, y, task=linear_table.ids)
    for m in (
        model,
        model.adapt(X[:5], y[:5]),
        model.adapt(X[:5].astype(float), y[:5]),
    ):
        for array in (*m.coefs_, *m.intercepts_, *m.prior_coefs_, *m.prior_intercepts_):
            assert array.dtype == np.float32
        assert outputs(m, X).dtype == np.float32
        if cls is ReptileClassifier:
            assert m.predict_proba(X).dtype == np.float32


@BOTH
@SHAPES
def test_float32_gives_what_float64_gives_up_to_rounding(cls, hidden, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    single, double = (
        fast(cls, hidden).fit(X.astype(dtype), y, task=ids).adapt(X[:5], y[:5])
        for dtype in (np.float32, np.float64)
    )
    assert_allclose(outputs(single, X), outputs(double, X), atol=1e-3)


@BOTH
@SHAPES
@pytest.mark.parametrize("format", [sparse.csr_array, sparse.csc_matrix])
def test_sparse_rows_give_what_dense_ones_give(cls, hidden, format, linear_table):
    X, y = np.round(linear_table.X + 1.0), target(cls, linear_table.y)
    dense, thin = (
        fast(cls, hidden, standardize=False, learning_rate=0.01)
        .fit(rows, y, task=linear_table.ids)
        .adapt(rows[:5], y[:5])
        for rows in (X, format(X))
    )
    assert_allclose(outputs(thin, format(X)), outputs(dense, X), atol=1e-10)
    assert_allclose(outputs(thin, X), outputs(dense, X), atol=1e-10)


def test_sparse_columns_are_scaled_but_not_centred_and_predict_as_well(linear_tasks):
    tasks = [(X + 3.0, y) for X, y in linear_tasks]
    thin = [(sparse.csr_array(X), y) for X, y in tasks]
    errors = []
    for train, new in ((tasks[:15], tasks[15:]), (thin[:15], thin[15:])):
        model = fast(ReptileRegressor, max_iter=300).meta_fit(train)
        errors += [query_error(model.adapt(X[:6], y[:6]), X[6:], y[6:]) for X, y in new]
    spread = np.mean([np.var(y) for _, y in tasks])
    assert max(errors) < 0.2 * spread


# -- sample weights -------------------------------------------------------------------


@BOTH
@SHAPES
def test_in_fit_a_weight_of_zero_removes_the_row(cls, hidden, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    weight = np.random.default_rng(0).integers(0, 2, size=len(y))
    weight[ids == "S03"] = 0  # this removes a whole task
    kept = weight > 0
    model = fast(cls, hidden).fit(X, y, weight, task=ids)
    assert model.n_tasks_ == 19
    assert_array_equal(
        outputs(model, X),
        outputs(fast(cls, hidden).fit(X[kept], y[kept], task=ids[kept]), X),
    )


@BOTH
@SHAPES
def test_in_fit_of_one_task_a_weight_of_two_is_the_row_twice(cls, hidden, linear_table):
    X, y = linear_table.X[:40], target(cls, linear_table.y)[:40]
    weight = np.random.default_rng(0).integers(1, 3, size=len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    assert_allclose(
        outputs(fast(cls, hidden).fit(X, y, weight), X),
        outputs(fast(cls, hidden).fit(X[rows], y[rows]), X),
        rtol=1e-6,
        atol=1e-6,
    )


@BOTH
@SHAPES
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_in_adapt_weights_count_rows(cls, hidden, solver, linear_table):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls, hidden, solver=solver).fit(X, y, task=linear_table.ids)
    weight = np.array([0, 1, 2, 3, 0, 1])
    rows = np.repeat(np.arange(6), weight)
    assert_allclose(
        outputs(model.adapt(X[:6], y[:6], weight), X),
        outputs(model.adapt(X[rows], y[rows]), X),
        rtol=1e-9,
        atol=1e-9,
    )


@BOTH
def test_weights_that_are_all_zero_leave_nothing_to_learn_from(
    cls, linear_table, unchanged
):
    X, y = linear_table.X, target(cls, linear_table.y)
    with pytest.raises(ValueError, match="zero"):
        fast(cls).fit(X, y, np.zeros(len(y)), task=linear_table.ids)
    model = fast(cls).fit(X, y, task=linear_table.ids)
    with unchanged(model), pytest.raises(ValueError, match="zero"):
        model.adapt(X[:4], y[:4], np.zeros(4))


def test_a_row_of_weight_zero_brings_no_class_of_its_own(own_class_model):
    X = np.eye(3)[:, :2]
    adapted = own_class_model.adapt(X, ["a", "b", "c"], [1, 1, 0])
    removed = own_class_model.adapt(X[:2], ["a", "b"])
    assert_array_equal(adapted.classes_, removed.classes_)
    assert_array_equal(adapted.predict_proba(X), removed.predict_proba(X))


def test_weights_in_the_tasks_of_meta_fit_are_those_of_fit(linear_tasks, linear_table):
    weight = np.random.default_rng(0).random(240)
    tasks = [
        (X, y, w)
        for (X, y), w in zip(linear_tasks, weight.reshape(20, 12), strict=True)
    ]
    tasks[3] = tasks[3][:2]  # no weights: ones
    weight[36:48] = 1.0
    X = linear_table.X
    model = fast(ReptileRegressor).fit(X, linear_table.y, weight, task=linear_table.ids)
    assert_array_equal(
        fast(ReptileRegressor).meta_fit(tasks).predict(X), model.predict(X)
    )


def test_rows_of_little_weight_have_little_influence(regressor, linear_table):
    X, y = linear_table.X[:6], linear_table.y[:6].copy()
    clean = regressor.adapt(X[:5], y[:5]).predict(X)
    y[5] += 100.0
    weight = np.array([1, 1, 1, 1, 1, 1e-6])
    assert_allclose(regressor.adapt(X, y, weight).predict(X), clean, atol=1e-2)


# -- classes --------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"], [-1, 1], [True, False]])
def test_two_classes_of_any_kind(hidden, labels, label_table):
    X, y = label_table.X, np.array(sorted(labels))[label_table.y]
    model = fast(ReptileClassifier, hidden).fit(X, y, task=label_table.ids)
    assert_array_equal(model.classes_, sorted(labels))
    p, decision = model.predict_proba(X), model.decision_function(X)
    assert decision.shape == (240,)
    assert_allclose(p[:, 1], expit(decision))
    assert_allclose(p.sum(axis=1), 1.0)
    assert_array_equal(model.predict(X), model.classes_[(decision > 0).astype(int)])
    assert np.mean(model.predict(X) == y) > 0.6


@SHAPES
@pytest.mark.parametrize("labels", [[2, 5, 9], ["a", "bb", "ccc"]])
def test_three_classes_of_any_kind(hidden, labels, linear_table):
    X, y = linear_table.X, linear_table.y
    y = np.array(labels)[np.digitize(y, np.quantile(y, [0.3, 0.7]))]
    model = fast(ReptileClassifier, hidden).fit(X, y, task=linear_table.ids)
    assert_array_equal(model.classes_, labels)
    p, decision = model.predict_proba(X), model.decision_function(X)
    assert decision.shape == (240, 3)
    assert_allclose(p, softmax(decision, axis=1))
    assert_array_equal(model.predict(X), model.classes_[decision.argmax(axis=1)])
    assert np.mean(model.predict(X) == y) > 0.5


def test_support_rows_of_one_class_pull_towards_it(classifier, label_table):
    X = label_table.X
    for label in (0, 1):
        adapted = classifier.adapt(X[:3], [label] * 3)
        assert_array_equal(adapted.classes_, [0, 1])
        change = adapted.predict_proba(X) - classifier.predict_proba(X)
        assert change[:3, label].min() > 0.0


def test_one_row_is_enough_to_adapt(classifier, regressor, label_table, linear_table):
    for model, table in ((classifier, label_table), (regressor, linear_table)):
        adapted = model.adapt(table.X[:1], table.y[:1])
        assert np.isfinite(outputs(adapted, table.X)).all()
        assert np.abs(outputs(adapted, table.X) - outputs(model, table.X)).max() > 0


def test_tasks_of_one_row_and_of_one_class_are_ordinary_tasks(label_tasks):
    tasks = [(X[:1], y[:1]) for X, y in label_tasks[:5]]
    tasks += [(X, np.ones_like(y)) for X, y in label_tasks[5:10]]
    tasks += label_tasks[10:]
    model = fast(ReptileClassifier).meta_fit(tasks)
    assert_array_equal(model.classes_, [0, 1])
    assert np.isfinite(model.predict_proba(label_tasks[0][0])).all()


@pytest.mark.parametrize("task_classes", ["shared", "own"])
def test_a_training_set_of_one_class_predicts_that_class(task_classes):
    X = np.arange(6.0).reshape(6, 1)
    model = fast(ReptileClassifier, task_classes=task_classes)
    model.fit(X, ["only"] * 6, task=[0, 0, 0, 1, 1, 1])
    adapted = model.adapt(X[:2], ["only"] * 2)
    assert_array_equal(adapted.classes_, ["only"])
    assert_array_equal(adapted.predict(X), ["only"] * 6)
    assert_allclose(adapted.predict_proba(X), np.ones((6, 1)))


# -- classes of each task -------------------------------------------------------------


@pytest.fixture(scope="module")
def own_class_model(own_class_tasks):
    train = dict(list(own_class_tasks.items())[:18])
    model = ReptileClassifier((12,), task_classes="own", max_iter=60, random_state=0)
    return model.meta_fit(train)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_an_adapted_model_has_the_classes_of_its_task(
    n_classes, own_class_model, own_class_tasks
):
    X, y = next(
        (X, y)
        for name, (X, y) in own_class_tasks.items()
        if int(name[1:]) >= 18 and len(set(y)) == n_classes
    )
    support = slice(0, 3 * n_classes)  # three rows of each class
    adapted = own_class_model.adapt(X[support], y[support])
    assert_array_equal(adapted.classes_, np.unique(y))
    p, decision = adapted.predict_proba(X), adapted.decision_function(X)
    assert p.shape == (len(X), n_classes)
    assert_allclose(p.sum(axis=1), 1.0)
    if n_classes == 2:
        assert_allclose(p[:, 1], expit(decision))
    else:
        assert_allclose(p, softmax(decision, axis=1))
    assert_array_equal(adapted.predict(X), adapted.classes_[p.argmax(axis=1)])
    assert np.mean(adapted.predict(X) == y) > 0.8


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_with_classes_of_each_task_only_an_adapted_model_predicts(
    method, own_class_model, own_class_tasks
):
    X, y = own_class_tasks["s20"]
    with pytest.raises(NotFittedError, match=r"Call adapt\(X, y\)"):
        getattr(own_class_model, method)(X)
    adapted = own_class_model.adapt(X, y)
    with pytest.raises(NotFittedError, match=r"Call adapt\(X, y\)"):
        getattr(adapted.reset_adaptation(), method)(X)


def test_more_classes_than_any_task_of_meta_training_had_are_refused(
    own_class_model, unchanged
):
    with (
        unchanged(own_class_model),
        pytest.raises(ValueError, match=r"5 classes.*at most 4"),
    ):
        own_class_model.adapt(np.eye(5)[:, :2], list("abcde"))


def test_classes_new_to_an_adapted_task_are_refused(own_class_model, unchanged):
    X = np.eye(3)[:, :2]
    adapted = own_class_model.adapt(X, ["a", "b", "b"])
    with unchanged(adapted), pytest.raises(ValueError, match="adapted to a task"):
        adapted.partial_adapt(X, ["a", "b", "c"])
    adapted.partial_adapt(X[:1], ["b"])
    assert_array_equal(adapted.classes_, ["a", "b"])


def test_one_class_of_its_own_is_predicted_with_certainty(own_class_model):
    X = np.eye(3)[:, :2]
    adapted = own_class_model.adapt(X, ["x"] * 3)
    assert_array_equal(adapted.predict(X), ["x"] * 3)
    assert_allclose(adapted.predict_proba(X), np.ones((3, 1)))


def test_with_classes_of_each_task_two_classes_need_no_more_than_two_outputs():
    rng = np.random.default_rng(0)
    tasks = []
    for i in range(12):
        centre = 3 * rng.standard_normal(2)
        X = np.tile([centre, -centre], (4, 1)) + 0.3 * rng.standard_normal((8, 2))
        tasks.append((X, [f"{i}-left", f"{i}-right"] * 4))
    model = fast(ReptileClassifier, task_classes="own").meta_fit(tasks)
    X, y = tasks[-1]
    adapted = model.adapt(X[:4], y[:4])
    assert adapted.decision_function(X).shape == (8,)
    assert_array_equal(adapted.predict(X), y)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_classes_of_a_task_do_not_depend_on_the_names_of_its_labels(
    method, own_class_model, own_class_tasks
):
    X, y = own_class_tasks["s20"]
    numbers = np.unique(y, return_inverse=True)[1]
    a, b = own_class_model.adapt(X, y), own_class_model.adapt(X, 10 * numbers)
    expected = getattr(a, method)(X)
    if method == "predict":
        expected = 10 * np.searchsorted(a.classes_, expected)
    assert_array_equal(getattr(b, method)(X), expected)


# -- options --------------------------------------------------------------------------


def test_the_rate_of_the_coefficient_that_varies_ends_larger():
    tasks = make_linear_tasks(50, 20, 3, spread=[1, 0, 0], random_state=0)
    model = ReptileRegressor(max_iter=200, random_state=0).meta_fit(tasks)
    varying, *constant = model.rate_coefs_[0].ravel()
    assert varying > 10 * max(constant)


@pytest.mark.parametrize(
    ("hidden", "sharing", "n_different"),
    [
        ((), None, 1),
        ((), "layer", 2),
        ((), "parameter", 4),
        ((), "auto", 4),
        ((3,), None, 1),
        ((3,), "layer", 4),
        ((3,), "parameter", 16),
        ((3,), "auto", 16),
    ],
)
def test_rates_are_shared_as_asked(hidden, sharing, n_different, linear_tasks):
    model = fast(ReptileRegressor, hidden, learn_rates=sharing).meta_fit(linear_tasks)
    rates = [*model.rate_coefs_, *model.rate_intercepts_]
    assert len(np.unique(np.concatenate([r.ravel() for r in rates]))) == n_different
    if sharing is None:
        assert_array_equal(rates[0], np.full_like(rates[0], 0.1))


@pytest.mark.parametrize(("hidden", "n_different"), [((), 4), ((3,), 4)])
def test_automatic_rates_of_a_network_of_labels_are_shared_per_layer(
    hidden, n_different, label_tasks
):
    model = fast(ReptileClassifier, hidden).meta_fit(label_tasks)
    rates = [*model.rate_coefs_, *model.rate_intercepts_]
    assert len(np.unique(np.concatenate([r.ravel() for r in rates]))) == n_different


def test_adam_learns_no_rates(linear_tasks):
    model = fast(ReptileRegressor, solver="adam").meta_fit(linear_tasks)
    assert_array_equal(model.rate_coefs_[0], np.full((3, 1), 0.001))


def test_automatic_steps_are_none_where_tasks_do_not_differ_from_noise():
    rng = np.random.default_rng(0)
    tasks = [(rng.normal(size=(25, 3)), rng.normal(size=25)) for _ in range(30)]
    model = fast(ReptileRegressor, adapt_steps="auto", learn_rates=None, alpha=0.0)
    model.meta_fit(tasks)
    assert_array_equal(model.adapt_steps_[:, 0], [1, 2, 5, 10, 20])
    assert model.adapt_steps_[0, 1] == 0
    X, y = tasks[0]
    assert_array_equal(model.adapt(X[:1], y[:1]).predict(X), model.predict(X))


def test_automatic_steps_are_many_where_tasks_differ_a_lot():
    tasks = make_linear_tasks(30, 25, 3, spread=3.0, random_state=0)
    model = fast(ReptileRegressor, adapt_steps="auto", learn_rates="layer")
    assert model.meta_fit(tasks).adapt_steps_[-1, 1] >= 10


def test_automatic_steps_depend_on_the_number_of_rows(regressor, linear_table):
    X, y = linear_table.X[:12], linear_table.y[:12]
    regressor.adapt_steps_ = np.array([[1, 0], [10, 20]])
    regressor.set_params(adapt_steps="auto")
    few, many = regressor.adapt(X[:2], y[:2]), regressor.adapt(X[:9], y[:9])
    assert_array_equal(few.predict(X), regressor.predict(X))
    twenty = regressor.set_params(adapt_steps=20).adapt(X[:9], y[:9])
    assert_array_equal(many.predict(X), twenty.predict(X))


def test_automatic_steps_are_the_inner_steps_where_tasks_are_too_few(linear_tasks):
    auto = fast(ReptileRegressor, adapt_steps="auto", inner_steps=7)
    auto.meta_fit(linear_tasks[:4])
    seven = fast(ReptileRegressor, adapt_steps=7, inner_steps=7)
    seven.meta_fit(linear_tasks[:4])
    X, y = linear_tasks[10]
    assert not hasattr(auto, "adapt_steps_")
    assert_array_equal(auto.adapt(X, y).predict(X), seven.adapt(X, y).predict(X))


def test_automatic_steps_of_an_earlier_fit_are_forgotten(linear_tasks):
    model = fast(ReptileRegressor, adapt_steps="auto").meta_fit(linear_tasks)
    model.meta_fit(linear_tasks[:4])
    assert not hasattr(model, "adapt_steps_")


@pytest.fixture
def noise():
    """20 tasks of 8 rows in which there is nothing to learn."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(160, 3)), rng.normal(size=160), np.repeat(range(20), 8)


@BOTH
def test_early_stopping_ends_when_held_out_tasks_get_no_better(cls, noise):
    X, y, ids = noise
    # rates that are learned by the curvature end in ever smaller gains
    params = {"early_stopping": True, "n_iter_no_change": 3, "learn_rates": "layer"}
    model = fast(cls, **params, max_iter=500).fit(X, target(cls, y), task=ids)
    assert model.n_iter_ < 500
    assert len(model.loss_curve_) == model.n_iter_
    assert len(model.validation_scores_) == model.n_iter_ // 10
    best = int(np.argmax(model.validation_scores_))
    assert best == len(model.validation_scores_) - 4  # the last three are no better


def test_early_stopping_keeps_the_best_state(noise, monkeypatch):
    validated, look_at = [], training.EarlyStopping.look_at

    def recorded(self, state):
        validated.append(state.start)
        return look_at(self, state)

    monkeypatch.setattr(training.EarlyStopping, "look_at", recorded)
    X, y, ids = noise
    model = ReptileRegressor(early_stopping=True, n_iter_no_change=3, random_state=0)
    model.fit(X, y, task=ids)
    best = validated[int(np.argmax(model.validation_scores_))]
    assert_array_equal(model.prior_coefs_[0].ravel(), best[:-1])


def test_early_stopping_needs_five_tasks(linear_tasks):
    model = fast(ReptileRegressor, early_stopping=True)
    with pytest.raises(ValueError, match=r"at least 5; got 4\. Set early"):
        model.meta_fit(linear_tasks[:4])
    model.meta_fit(linear_tasks[:5])


def test_scores_of_an_earlier_early_stopping_are_forgotten(linear_tasks):
    model = fast(ReptileRegressor, early_stopping=True).meta_fit(linear_tasks)
    model.set_params(early_stopping=False).meta_fit(linear_tasks)
    assert not hasattr(model, "validation_scores_")


@SHAPES
def test_warm_start_continues_from_what_was_learned(hidden, linear_tasks):
    cold = fast(ReptileRegressor, hidden, max_iter=5).meta_fit(linear_tasks)
    warm = fast(ReptileRegressor, hidden, max_iter=5, warm_start=True)
    losses = []
    for _ in range(4):
        warm.meta_fit(linear_tasks)
        assert warm.n_iter_ == len(warm.loss_curve_) == 5
        losses.append(warm.loss_curve_[0])
    again = cold.meta_fit(linear_tasks)
    assert losses[-1] < losses[0]
    assert again.loss_curve_[0] == losses[0]


def test_warm_start_keeps_the_scaling_the_classes_and_the_features(label_tasks):
    model = fast(ReptileClassifier, warm_start=True).meta_fit(label_tasks)
    scaling = model._scaling
    model.meta_fit([(10.0 * X, y) for X, y in label_tasks[:3]])
    assert model._scaling is scaling
    assert model.n_tasks_ == 20 + 3
    with pytest.raises(ValueError, match="not seen in meta-training"):
        model.meta_fit([(X, y + 5) for X, y in label_tasks])
    with pytest.raises(ValueError, match="features"):
        model.meta_fit([(X[:, :2], y) for X, y in label_tasks])


def test_warm_start_leaves_an_adapted_model_unadapted(regressor, linear_tasks):
    regressor.set_params(warm_start=True).partial_adapt(*linear_tasks[0])
    regressor.meta_fit(linear_tasks)
    assert regressor.n_adapt_rows_ == 0
    assert_array_equal(regressor.coefs_[0], regressor.prior_coefs_[0])


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_layer_sizes": (7,)},
        {"layer_norm": True},
        {"learn_rates": None},
        {"learn_rates": "parameter"},
        {"solver": "adam"},
    ],
    ids=str,
)
def test_warm_start_after_a_change_of_architecture_or_solver_works_or_explains(
    changed, linear_tasks
):
    model = fast(ReptileRegressor, (6,), warm_start=True).meta_fit(linear_tasks)
    model.set_params(**changed)
    try:
        model.meta_fit(linear_tasks)
    except ValueError as error:
        assert "warm_start" in str(error)
    X, y = linear_tasks[0]
    assert np.isfinite(model.adapt(X, y).predict(X)).all()


def test_without_warm_start_a_second_fit_forgets_the_first(linear_tasks, label_tasks):
    twice = fast(ReptileRegressor).meta_fit(label_tasks).meta_fit(linear_tasks)
    once = fast(ReptileRegressor).meta_fit(linear_tasks)
    X, _ = linear_tasks[0]
    assert_array_equal(twice.predict(X), once.predict(X))


def test_huber_resists_outliers_that_mislead_squared_error():
    rng = np.random.default_rng(0)
    tasks = make_linear_tasks(60, 20, 3, random_state=0)
    train, new = split_tasks(tasks, 40, random_state=0)
    dirty = [(X, y + 100.0 * (rng.random(20) < 0.05)) for X, y in train]
    error = {}
    for loss in ("squared_error", "huber"):
        model = ReptileRegressor(loss=loss, max_iter=200, random_state=0)
        model.meta_fit(dirty)
        error[loss] = np.mean(
            [query_error(model.adapt(X[:5], y[:5]), X[5:], y[5:]) for X, y in new]
        )
    assert error["huber"] < 0.2 * error["squared_error"]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_verbose_prints_every_tenth_loss(early_stopping, linear_tasks, capsys):
    model = fast(ReptileRegressor, verbose=1, early_stopping=early_stopping)
    model.meta_fit(linear_tasks)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "Meta-iteration 10",
        "Meta-iteration 20",
    ]
    assert f"loss = {model.loss_curve_[9]:.8f}" in lines[0]
    assert ("validation score" in lines[0]) is early_stopping
    model.set_params(verbose=0).meta_fit(linear_tasks)
    assert capsys.readouterr().out == ""


@SHAPES
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_same_seed_gives_the_same_model(hidden, solver, linear_tasks):
    X, y = linear_tasks[0]
    first, second, other = (
        fast(ReptileRegressor, hidden, solver=solver, batch_size=4, random_state=seed)
        .meta_fit(linear_tasks[1:])
        .adapt(X[:5], y[:5])
        .predict(X)
        for seed in (0, 0, 1)
    )
    assert_array_equal(first, second)
    assert np.abs(other - first).max() > 0


def test_a_generator_as_random_state_is_used_but_not_kept(linear_tasks):
    X, _ = linear_tasks[0]
    a, b = (
        fast(ReptileRegressor, (4,), random_state=np.random.RandomState(3))
        .meta_fit(linear_tasks)
        .predict(X)
        for _ in range(2)
    )
    assert_array_equal(a, b)


@BOTH
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_every_kind_of_network_fits_and_adapts(
    cls, layer_norm, activation, linear_table
):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls, (6, 4), layer_norm=layer_norm, activation=activation)
    model.fit(X, y, task=linear_table.ids)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    for solver in ("sgd", "adam"):
        model.set_params(solver=solver)
        adapted = model.adapt(X[:6], y[:6])
        assert np.isfinite(outputs(adapted, X)).all()


@pytest.mark.parametrize("sizes", [6, (6,), [6], np.array([6]), np.int64(6)])
def test_hidden_layer_sizes_may_be_a_number_or_a_sequence(sizes, linear_tasks):
    model = fast(ReptileRegressor, sizes, max_iter=2).meta_fit(linear_tasks)
    assert [coef.shape for coef in model.coefs_] == [(3, 6), (6, 1)]


@pytest.mark.parametrize("support_size", [None, 1, 3, 100, (1, 1), (2, 50)])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [None, 2, 100])
def test_any_number_of_support_rows_and_any_batch_will_do(
    support_size, solver, batch_size, linear_tasks
):
    ragged = [
        (X[: 1 + i % 12], y[: 1 + i % 12]) for i, (X, y) in enumerate(linear_tasks)
    ]
    params = {"support_size": support_size, "solver": solver, "batch_size": batch_size}
    model = fast(ReptileRegressor, max_iter=2, **params).meta_fit(ragged)
    X, y = linear_tasks[0]
    assert np.isfinite(model.adapt(X, y).predict(X)).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"support_size": (3, 2)}, r"1 <= low <= high; got \(3, 2\)"),
        ({"support_size": (0, 2)}, r"1 <= low <= high; got \(0, 2\)"),
        ({"support_size": (1, 2, 3)}, r"range \(low, high\)"),
        ({"support_size": (1.5, 2.5)}, "support_size"),
        ({"support_size": ("a", "b")}, "support_size"),
        ({"support_size": 0}, "'support_size'"),
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be positive"),
        ({"hidden_layer_sizes": (5, -1)}, "hidden_layer_sizes must be positive"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": ("a",)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": ((3, 4),)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": 0}, "'hidden_layer_sizes'"),
        ({"hidden_layer_sizes": "ab"}, "'hidden_layer_sizes'"),
        ({"activation": "logistic"}, "'activation'"),
        ({"solver": "lbfgs"}, "'solver'"),
        ({"learning_rate": 0.0}, "'learning_rate'"),
        ({"learning_rate": "constant"}, "'learning_rate'"),
        ({"learn_rates": "all"}, "'learn_rates'"),
        ({"inner_steps": 0}, "'inner_steps'"),
        ({"batch_size": 0}, "'batch_size'"),
        ({"alpha": -1.0}, "'alpha'"),
        ({"meta_step": 0.0}, "'meta_step'"),
        ({"meta_batch_size": 0}, "'meta_batch_size'"),
        ({"max_iter": 0}, "'max_iter'"),
        ({"adapt_steps": -1}, "'adapt_steps'"),
        ({"adapt_steps": "many"}, "'adapt_steps'"),
        ({"validation_fraction": 1.0}, "'validation_fraction'"),
        ({"n_iter_no_change": 0}, "'n_iter_no_change'"),
        ({"random_state": "seed"}, "'random_state'"),
    ],
    ids=str,
)
@BOTH
def test_a_bad_parameter_is_named_in_the_error(cls, params, message, label_tasks):
    with pytest.raises(ValueError, match=message):
        fast(cls, **params).meta_fit(label_tasks)


def test_a_bad_loss_or_kind_of_classes_is_named_in_the_error(label_tasks):
    with pytest.raises(ValueError, match="'loss'"):
        ReptileRegressor(loss="absolute_error").meta_fit(label_tasks)
    with pytest.raises(ValueError, match="'task_classes'"):
        ReptileClassifier(task_classes="mixed").meta_fit(label_tasks)


@pytest.mark.parametrize(
    "params",
    [{"learning_rate": -1.0}, {"adapt_steps": -1}, {"alpha": -1.0}, {"alpha": "big"}],
    ids=str,
)
def test_a_bad_parameter_set_after_meta_training_is_named_at_adaptation(
    params, regressor, linear_tasks
):
    regressor.set_params(**params)
    (name,) = params
    with pytest.raises(ValueError, match=name):
        regressor.adapt(*linear_tasks[0])


# -- score ----------------------------------------------------------------------------


@BOTH
def test_score_without_ids_warns_that_nothing_was_adapted(cls, linear_table):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls).fit(X, y, task=linear_table.ids)
    with pytest.warns(ZeroShotWarning, match="20 tasks and is adapted to none"):
        model.score(X, y)


@BOTH
@pytest.mark.filterwarnings("error")
def test_an_adapted_model_and_one_of_one_task_have_an_ordinary_score(cls, linear_table):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls).fit(X, y, task=linear_table.ids).adapt(X[:5], y[:5])
    assert model.score(X[5:12], y[5:12]) <= 1.0
    assert fast(cls).fit(X, y).score(X, y) > 0.5


@BOTH
@pytest.mark.filterwarnings("error")
def test_score_with_ids_adapts_to_each_task(cls, linear_table, unchanged):
    X, y = linear_table.X, target(cls, linear_table.y)
    model = fast(cls).fit(X, y, task=linear_table.ids)
    with unchanged(model):
        score = model.score(X, y, task=linear_table.ids)
        assert score == model.score(X, y, task=linear_table.ids)
    assert isinstance(score, float)


@pytest.mark.parametrize("name", ["learning_rate", "meta_step", "alpha"])
def test_a_number_from_a_numpy_grid_keeps_single_precision(name, linear_tasks):
    tasks = [(X.astype(np.float32), y.astype(np.float32)) for X, y in linear_tasks]
    model = fast(ReptileRegressor, **{name: np.float64(0.1)}).meta_fit(tasks)
    assert model.coefs_[0].dtype == np.float32
    assert model.adapt(*tasks[0]).predict(tasks[0][0]).dtype == np.float32


# -- what a review found --------------------------------------------------------------


@pytest.mark.parametrize("standardize", [False, True])
def test_rows_mean_the_same_dense_and_sparse_after_a_dense_fit(standardize):
    tasks = [(X + 3, y) for X, y in make_linear_tasks(12, 8, 3, random_state=0)]
    model = fast(ReptileRegressor, standardize=standardize).meta_fit(tasks)
    X, y = tasks[0]
    rows = sparse.csr_array(X)
    assert_allclose(model.predict(rows), model.predict(X))
    adapted = model.adapt(rows, y)
    assert_allclose(adapted.predict(rows), model.adapt(X, y).predict(X))
    model.set_params(warm_start=True)
    dense, other = copy.deepcopy(model), copy.deepcopy(model)
    dense.meta_fit(tasks)
    other.meta_fit([(sparse.csr_array(X), y) for X, y in tasks])
    assert_allclose(dense.predict(X), other.predict(X))


@pytest.mark.filterwarnings("ignore:.*standardize=False")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_task_that_diverges_is_named_also_beside_held_out_tasks(early_stopping):
    tasks = {
        f"T{i}": (X * (1e40 if i == 13 else 1), y)
        for i, (X, y) in enumerate(make_linear_tasks(20, 8, 3, random_state=0))
    }
    model = fast(
        ReptileRegressor,
        standardize=False,
        learn_rates=None,
        alpha=0.0,
        meta_batch_size=20,
        early_stopping=early_stopping,
        random_state=0,
    )
    with pytest.raises(ValueError, match="task 'T13'"):
        model.meta_fit(tasks)


def test_tasks_of_one_row_are_not_held_out():
    tasks = make_linear_tasks(30, 8, 3, random_state=0)
    small = [(X[:1], y[:1]) for X, y in tasks[6:]]
    auto = fast(ReptileRegressor, adapt_steps="auto").meta_fit(tasks[:6] + small)
    assert len(auto.adapt_steps_) > 0
    stopping = fast(ReptileRegressor, early_stopping=True).meta_fit(tasks[:6] + small)
    assert np.isfinite(stopping.validation_scores_).all()
    alone = fast(ReptileRegressor, adapt_steps="auto").meta_fit(small)
    assert np.isfinite(alone.adapt(*tasks[0]).predict(tasks[0][0])).all()
    with pytest.raises(ValueError, match="two rows or more"):
        fast(ReptileRegressor, early_stopping=True).meta_fit(small)


def test_a_task_is_left_to_train_on_whatever_fraction_validates(linear_tasks):
    model = fast(ReptileRegressor, early_stopping=True, validation_fraction=0.99)
    assert model.meta_fit(linear_tasks[:5]).n_tasks_ == 5


@pytest.mark.parametrize("params", [{}, {"solver": "adam", "batch_size": 3}], ids=str)
def test_adapt_draws_no_numbers_from_the_generator_given(params, linear_tasks):
    shared = np.random.RandomState(0)
    model = fast(ReptileRegressor, random_state=shared, **params)
    model.meta_fit(linear_tasks)
    before = shared.get_state()[2]
    model.adapt(*linear_tasks[0])
    assert shared.get_state()[2] == before


def test_weights_that_are_shown_cannot_be_written_to(regressor):
    with pytest.raises(ValueError, match="read-only"):
        regressor.prior_coefs_[0][...] = 0.0


def test_warm_start_takes_tasks_with_fewer_classes_of_their_own():
    rng = np.random.default_rng(0)
    tasks = [(rng.normal(size=(12, 2)), rng.permutation(12) % n) for n in [4] * 8]
    fewer = [(X, y % 2) for X, y in tasks]
    model = fast(ReptileClassifier, task_classes="own", warm_start=True)
    model.meta_fit(tasks).meta_fit(fewer)
    assert model.adapt(*tasks[0]).predict_proba(tasks[0][0]).shape == (12, 4)
    model = fast(ReptileClassifier, task_classes="own", warm_start=True)
    with pytest.raises(ValueError, match="outputs for 2 classes per task"):
        model.meta_fit(fewer).meta_fit(tasks)


def test_automatic_steps_that_diverge_are_not_chosen():
    tasks = make_linear_tasks(30, 12, 3, random_state=0)
    model = ReptileRegressor(
        (16,), activation="relu", standardize=False, learning_rate=0.5, inner_steps=1
    )
    model.set_params(alpha=0.0, adapt_steps="auto", max_iter=20, random_state=0)
    with np.errstate(all="ignore"):
        adapted = model.meta_fit(tasks).adapt(*tasks[0])
    assert np.isfinite(adapted.predict(tasks[0][0])).all()


def test_early_stopping_validates_with_the_steps_that_adaptation_takes(linear_tasks):
    scores = [
        fast(ReptileRegressor, (4,), early_stopping=True, adapt_steps=n)
        .meta_fit(linear_tasks)
        .validation_scores_
        for n in (1, 50)
    ]
    assert not np.allclose(*scores)


# -- threads --------------------------------------------------------------------------


def test_the_result_does_not_depend_on_the_number_of_threads(linear_tasks):
    def fitted(n_jobs):
        model = ReptileRegressor(
            (64, 64), meta_batch_size=90, max_iter=3, n_jobs=n_jobs, random_state=0
        )
        return model.meta_fit(linear_tasks)

    one, two = fitted(None), fitted(2)
    for a, b in zip(one.prior_coefs_, two.prior_coefs_, strict=True):
        assert_array_equal(a, b)


def test_blas_has_one_thread_while_a_model_trains_and_its_own_number_after(
    linear_tasks, monkeypatch
):
    def n_threads():
        return {
            pool["num_threads"]
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        }

    seen, descend = [], inner.descend

    def spy(*args):
        seen.append(n_threads())
        return descend(*args)

    monkeypatch.setattr(inner, "descend", spy)
    with threadpool_limits(2):
        before = n_threads()
        ReptileRegressor((4,), max_iter=2, random_state=0).meta_fit(linear_tasks)
        assert n_threads() == before
    assert seen == [{1}, {1}]
