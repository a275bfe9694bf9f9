"""Linear models in the metric of the curvature: steps, rates, what stays unknown."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skmeta
from skmeta import ReptileClassifier, ReptileRegressor
from skmeta._core.descent import curved
from skmeta._core.descent.rates import RateState
from skmeta._core.descent.reptile import MeanOfEnd
from skmeta._core.descent.state import (
    ReptileSettings,
    ReptileState,
    initial_state,
    rate_groups,
)
from skmeta._core.layout import ParamLayout
from skmeta._core.network import LOSSES, Batch, Network, losses
from skmeta.datasets import make_linear_tasks

N_TASKS, N_FEATURES = 3, 4
N_OUTPUTS = {name: 3 if name == "softmax_log_loss" else 1 for name in LOSSES}


def make_problem(loss, n_rows=6, seed=0, intercept=True):
    """A linear network, weighted rows of a few tasks, a state, and settings."""
    rng = np.random.default_rng(seed)
    o, shape = N_OUTPUTS[loss], (N_TASKS, n_rows)
    if loss == "softmax_log_loss":
        Y = np.eye(o)[rng.integers(o, size=shape)]
    elif loss == "log_loss":
        Y = rng.integers(2, size=(*shape, 1)).astype(float)
    else:
        Y = rng.normal(scale=2.0, size=(*shape, 1))
    weight = rng.uniform(0.5, 2.0, size=shape)
    total = weight.sum(axis=1)
    X, offset = rng.normal(size=(*shape, N_FEATURES)), rng.normal(size=Y.shape)
    batch = Batch(X, Y, weight / total[:, None], total, offset)
    network = Network(ParamLayout((N_FEATURES, o)), "tanh", loss, intercept)
    groups = rate_groups(network, "parameter", curved=True)
    settings = ReptileSettings(
        solver="sgd",
        learning_rate=0.1,
        inner_steps=200,
        batch_size=None,
        support_size=5,
        meta_step=1.0,
        meta_batch_size=3,
        max_iter=10,
        alpha=2.0,
        safe=True,
        groups=groups,
        curved=True,
    )
    state = initial_state(network, settings, rng, np.float64)
    log_factor = rng.uniform(-1, 1, size=len(state.rates.log_factor))
    rates = RateState(log_factor, np.zeros_like(log_factor))
    start = rng.normal(scale=0.5, size=network.layout.n_params)
    if not intercept:
        start[-o:] = 0.0
    return network, batch, replace(state, start=start, rates=rates), settings


@pytest.fixture(autouse=True)
def to_the_minimum(monkeypatch):
    monkeypatch.setattr(curved, "LITTLE_GAIN", 1e-24)


def objective(network, batch, state, settings, task):
    """What a task minimises: the sum of the losses of its rows, and the pull."""
    one, total = batch.of([task]), batch.total_weight[task]
    factor = state.rate_factor(settings.groups)

    def value(theta):
        move = theta - state.start
        pull = 0.5 * settings.alpha * (move**2 / factor).sum()
        return total * losses(network, theta[None], one)[0] + pull

    return value


# -- the inner loop -------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 6])
@pytest.mark.parametrize("loss", LOSSES)
def test_descent_ends_at_the_minimum(loss, n_rows):
    network, batch, state, settings = make_problem(loss, n_rows)
    *_, theta = curved.path(network, state, batch, settings, 100)
    for task in range(N_TASKS):
        value = objective(network, batch, state, settings, task)
        assert_allclose(theta[task], minimize(value, theta[task]).x, atol=1e-4)
        assert_allclose(theta[task], minimize(value, state.start).x, atol=1e-3)


def test_with_squared_errors_one_step_is_enough():
    network, batch, state, settings = make_problem("squared_error")
    path = [theta.copy() for theta in curved.path(network, state, batch, settings, 5)]
    assert len(path) == 6
    assert_allclose(path[1], path[5], rtol=1e-12)
    assert np.abs(path[0] - path[1]).max() > 0.1


def test_no_step_raises_what_is_minimised():
    network, batch, state, settings = make_problem("softmax_log_loss")
    state = replace(state, start=20.0 * state.start)  # far away, and sure of it
    path = [theta.copy() for theta in curved.path(network, state, batch, settings, 30)]
    for task in range(N_TASKS):
        value = objective(network, batch, state, settings, task)
        values = [value(theta[task]) for theta in path]
        assert (np.diff(values) <= 1e-8).all()


@pytest.mark.parametrize("n_rows", [1, 9])
def test_a_covariance_is_the_inverse_of_the_precision(n_rows):
    rng = np.random.default_rng(0)
    A, W = rng.normal(size=(2, n_rows, 5)), rng.uniform(size=(2, n_rows, 3))
    prior = curved.Spread(np.zeros((3, 5)), rng.uniform(0.1, 10.0, size=(3, 5)))
    G, V = rng.normal(size=(2, 3, 5)), prior.covariance(A, W)
    product = V @ prior.precision(A, W)
    assert_allclose(product, np.broadcast_to(np.eye(5), V.shape), atol=1e-10)
    assert_allclose(prior.solve(A, W, G), (V @ G[..., None])[..., 0], rtol=1e-8)


# -- learned rates --------------------------------------------------------------------


def finite_differences(value, state):
    """Derivatives of value(state) in the logarithms of the rates."""
    log_factor, found = state.rates.log_factor, []
    for h in 1e-5 * np.eye(len(log_factor)):
        up, down = (
            value(replace(state, rates=replace(state.rates, log_factor=log_factor + s)))
            for s in (h, -h)
        )
        found.append((up - down) / 2e-5)
    return np.array(found)


def in_groups(slope, state, settings):
    groups = curved.learned_groups(state.rates, settings.groups)
    return np.bincount(groups, weights=slope)


@pytest.mark.parametrize("loss", ["huber", "log_loss", "softmax_log_loss"])
def test_the_slope_is_that_of_the_loss_of_unseen_rows(loss):
    network, support, state, settings = make_problem(loss)
    _, query, _, _ = make_problem(loss, n_rows=8, seed=1)
    _, _, slope = curved.learn(network, state, settings, support, query)

    def value(moved):
        prior = curved.prior_of(network, moved, settings)
        rows, new = (curved.Rows.of(network, b) for b in (support, query))
        *_, point = curved.descend(network, prior, rows, 200, 0.0)
        Z = new.A @ point.theta.swapaxes(1, 2) + new.offset
        if loss != "huber":  # curvature is taken as constant, and where it is now
            V = prior.covariance(rows.A, curvatures)
            part = curved.share(network, moved)
            _, v = curved.spread_of_outputs(new.A, V)
            factor, _ = curved._averaging(outputs, v)
            total = (factor * part * v).sum(axis=-1, keepdims=True)
            Z = curved.centred(Z) / np.sqrt(1 + np.pi / 8 * total)
        loss_of_rows, _ = LOSSES[loss](Z, new.Y)
        return (query.weight * loss_of_rows).sum()

    prior = curved.prior_of(network, state, settings)
    rows, new = (curved.Rows.of(network, b) for b in (support, query))
    *_, point = curved.descend(network, prior, rows, 200, 0.0)
    curvatures = curved.weights_of(network, rows, point)
    outputs = new.A @ point.theta.swapaxes(1, 2) + new.offset
    expected = finite_differences(value, state)
    # the curvature is that of the loss itself with one output, else a bound of it
    exact = {"log_loss": 1e-4, "huber": 0.6, "softmax_log_loss": 0.3}[loss]
    scale = np.abs(expected).max()
    assert_allclose(in_groups(slope, state, settings), expected, atol=exact * scale)


def test_the_slope_of_numbers_is_that_of_their_evidence():
    network, batch, state, settings = make_problem("squared_error")
    _, _, slope = curved.learn(network, state, settings, batch, None)
    rows = curved.Rows.of(network, batch)

    def minus_log_evidence(moved):
        r = curved.variances(network, moved, settings)[0]
        phi = curved.by_output(network, moved.start)[0]
        determinants, squares = 0.0, 0.0
        for A, Y, w, offset in zip(*rows, strict=True):
            root = np.sqrt(w)[:, None]
            K = np.eye(len(A)) + (root * A * r) @ (root * A).T
            e = root[:, 0] * (Y - offset - A @ phi[:, None])[:, 0]
            determinants += np.linalg.slogdet(K)[1]
            squares += e @ np.linalg.solve(K, e)
        return 0.5 * (determinants + rows.weight.sum() * np.log(squares))

    expected = finite_differences(minus_log_evidence, state)
    assert_allclose(in_groups(slope, state, settings), expected, rtol=1e-5)


def test_classes_share_the_rate_of_a_column_but_not_that_of_the_intercept():
    network, *_ = make_problem("softmax_log_loss")
    groups = rate_groups(network, "parameter", curved=True)
    assert_array_equal(groups, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6])


def test_what_is_kept_is_the_mean_over_the_second_half_of_a_run():
    *_, state, settings = make_problem("squared_error")
    mean, seen = MeanOfEnd(replace(settings, max_iter=6)), []
    for i in range(6):
        log_factor = np.full(5, float(i) ** 2)
        now = replace(
            state,
            start=np.full(5, float(i)),
            rates=RateState(log_factor, np.zeros(5)),
        )
        seen.append(mean.after(now, i))
    assert [one.start[0] for one in seen] == [0.0, 1.0, 2.0, 3.0, 3.5, 4.0]
    assert_allclose(seen[-1].rates.log_factor, np.mean([9.0, 16.0, 25.0]))
    unchanged = MeanOfEnd(replace(settings, max_iter=6, curved=False))
    assert unchanged.after(state, 5) is state


# -- the estimators -------------------------------------------------------------------


def tasks_of(kind, n_tasks=60, **options):
    tasks = make_linear_tasks(
        n_tasks, 25, 3, kind=kind, spread=0.7, random_state=0, **options
    )
    # a column that all tasks share has nothing to adapt
    return [(np.column_stack([X, X[:, 0] ** 2 - 1.0]), y) for X, y in tasks]


@pytest.fixture(scope="module")
def numbers():
    tasks = tasks_of("regression", noise=1.0)
    return tasks, ReptileRegressor(random_state=0).meta_fit(tasks[:40])


@pytest.fixture(scope="module")
def labels():
    tasks = tasks_of("classification")
    return tasks, ReptileClassifier(random_state=0).meta_fit(tasks[:40])


def few_shot_loss(model, tasks, k):
    found = []
    for X, y in tasks:
        few = model.adapt(X[:k], y[:k]) if k else model
        if hasattr(few, "predict_proba"):
            p = few.predict_proba(X[10:])[np.arange(15), y[10:].astype(int)]
            found.append(-np.log(p).mean())
        else:
            found.append(np.sqrt(np.mean((few.predict(X[10:]) - y[10:]) ** 2)))
    return np.array(found)


@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_linear_reptile_is_level_with_the_diagonal_prior(kind, request):
    tasks, model = request.getfixturevalue(kind)
    name = "Regressor" if kind == "numbers" else "Classifier"
    prior = getattr(skmeta, f"EmpiricalBayes{name}")(prior="diagonal", random_state=0)
    prior.meta_fit(tasks[:40])
    before = few_shot_loss(model, tasks[40:], 0)
    for k in (1, 8):
        ours, its = (few_shot_loss(m, tasks[40:], k) for m in (model, prior))
        assert ours.mean() < 1.03 * its.mean()
        assert ours.mean() < before.mean()


def test_numbers_may_come_in_any_portions_and_order(numbers):
    tasks, model = numbers
    X, y = tasks[50]
    together = model.adapt(X[:12], y[:12])
    portions = model.adapt(X[7:12], y[7:12]).partial_adapt(X[:1], y[:1])
    portions.partial_adapt(X[1:7], y[1:7])
    assert_allclose(portions.predict(X), together.predict(X), rtol=1e-8)


def test_labels_in_portions_end_near_labels_together(labels):
    tasks, model = labels
    X, y = tasks[50]
    together, portions = model.adapt(X[:12], y[:12]), model.adapt(X[:4], y[:4])
    portions.partial_adapt(X[4:12], y[4:12])
    apart = np.abs(portions.predict_proba(X) - together.predict_proba(X))
    assert apart.max() < 0.1


def test_a_model_is_less_sure_the_fewer_rows_it_has_seen(labels):
    tasks, model = labels
    X, y = tasks[50]
    factors = []
    for k in (0, 1, 5, 20):
        few = model.adapt(X[:k], y[:k]) if k else model
        factors.append(few.decision_function(X) / (X @ few.coef_[0] + few.intercept_))
        assert (factors[-1] < 1.0).all()
        p = few.predict_proba(X)[:, 1]
        assert_allclose(p, expit(few.decision_function(X)))
    assert (np.diff(np.mean(factors, axis=1)) > 0).all()


def test_many_tasks_have_the_probabilities_of_one_at_a_time_also_without_rows(labels):
    tasks, model = labels
    known, new = tasks[50:53], tasks[50:54]  # the last has no known rows
    X, y = (
        np.concatenate([part[:4] for part in parts])
        for parts in zip(*known, strict=True)
    )
    X_new = np.concatenate([X for X, _ in new])
    ids, ids_new = np.repeat(np.arange(3), 4), np.repeat(np.arange(4), 25)
    p = model.adapt_predict(
        X, y, X_new, task=ids, task_new=ids_new, method="predict_proba"
    )
    expected = [model.adapt(X[:4], y[:4]).predict_proba(X) for X, y in known]
    expected.append(model.predict_proba(new[3][0]))
    assert_allclose(p, np.concatenate(expected), rtol=1e-6)


def test_no_step_leaves_all_that_is_unknown(labels):
    tasks, model = labels
    X, y = tasks[50]
    still = deepcopy(model).set_params(adapt_steps=0).adapt(X[:9], y[:9])
    assert_array_equal(still.predict_proba(X), model.predict_proba(X))


def test_a_single_task_is_not_averaged_over(labels):
    X, y = tasks_of("classification", n_tasks=1)[0]
    model = ReptileClassifier(random_state=0).fit(X, y)
    logits = X @ model.coef_[0] + model.intercept_
    assert_allclose(model.decision_function(X), logits, rtol=1e-6)


# -- without an intercept -------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"loss": "huber"},
        {"learn_rates": "layer"},
        {"solver": "adam"},
        {"alpha": 0.0},
        {"support_size": None, "meta_batch_size": 99},
        {
            "standardize": False,
            "learn_rates": None,
            "alpha": 0.0,
            "learning_rate": 0.01,
        },
    ],
    ids=str,
)
def test_without_an_intercept_zero_stays_zero(params):
    tasks = make_linear_tasks(20, 10, 3, random_state=0)
    model = ReptileRegressor(
        fit_intercept=False, max_iter=20, random_state=0, **params
    ).meta_fit([(X + 2.0, y) for X, y in tasks])
    X, y = tasks[0]
    for one in (model, model.adapt(X, y), model.adapt(X, y).partial_adapt(X, y)):
        assert one.intercept_ == 0.0
        assert_allclose(one.predict(np.zeros((1, 3))), 0.0, atol=1e-12)
        assert_allclose(one.predict(-X), -one.predict(X))
    assert np.abs(model.adapt(X, y).coef_ - model.coef_).max() > 0


@pytest.mark.parametrize("labels", [2, 3])
def test_a_classifier_without_an_intercept_is_undecided_at_zero(labels):
    X = np.random.default_rng(0).normal(size=(80, 2))
    y = np.digitize(X[:, 0], [0.0] if labels == 2 else [-0.5, 0.5])
    model = ReptileClassifier(fit_intercept=False, max_iter=20, random_state=0)
    model = make_pipeline(StandardScaler(with_mean=False), model)
    model.fit(X, y, reptileclassifier__task=np.arange(80) % 8)
    p = model.predict_proba(np.zeros((1, 2)))
    assert_allclose(p, 1.0 / labels)


def test_a_network_without_an_intercept_is_refused():
    model = ReptileRegressor((4,), fit_intercept=False)
    with pytest.raises(ValueError, match=r"linear models, .* got hidden.*\(4,\)"):
        model.meta_fit(make_linear_tasks(5, random_state=0))


def test_warm_start_refuses_another_intercept():
    tasks = make_linear_tasks(5, random_state=0)
    model = ReptileRegressor(warm_start=True, max_iter=2).meta_fit(tasks)
    with pytest.raises(ValueError, match="fit_intercept"):
        model.set_params(fit_intercept=False).meta_fit(tasks)


def test_a_state_of_another_kind_knows_no_precision():
    assert ReptileState(np.zeros(3)).precision is None
