"""EmpiricalBayesRegressor and EmpiricalBayesClassifier: what they learn and promise."""

import copy
import warnings
from io import BytesIO
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    FewShotClassifier,
    FewShotRegressor,
    adapt,
    meta_fit,
    partial_adapt,
)
from skmeta.datasets import make_linear_tasks, split_tasks
from skmeta.exceptions import ZeroShotWarning
from skmeta.model_selection import few_shot_scores, make_few_shot_scorer

pytestmark = pytest.mark.filterwarnings("error")

Regressor, Classifier = EmpiricalBayesRegressor, EmpiricalBayesClassifier
BOTH = pytest.mark.parametrize("cls", [Regressor, Classifier])
PRIORS = ["auto", "intercept", "isotropic", "diagonal", "low_rank", "full"]
# Likelihoods of one output, and of one output per class.
KINDS = {"numbers": (Regressor, 0), "two": (Classifier, 2), "three": (Classifier, 3)}
EACH_KIND = pytest.mark.parametrize(("cls", "n_classes"), KINDS.values(), ids=KINDS)
# Each structure for numbers and for labels, of two and of three classes in turn.
EACH_PRIOR_AND_KIND = pytest.mark.parametrize(
    ("prior", "cls", "n_classes"),
    [
        pytest.param(prior, *KINDS[kind], id=f"{prior}-{kind}")
        for number, prior in enumerate(PRIORS)
        for kind in ("numbers", ("two", "three")[number % 2])
    ],
)


def target(y, n_classes):
    """The numbers y, or string labels."""
    if n_classes == 0:
        return y
    cuts = np.quantile(y, np.linspace(0, 1, n_classes + 1)[1:-1])
    return np.array(["low", "mid", "top"])[np.digitize(y, cuts)]


def outputs(model, X):
    """Predictions of a regressor, probabilities of a classifier."""
    return getattr(model, "predict_proba", model.predict)(X)


def fitted(cls, n_classes, table, prior="diagonal", **params):
    """A model of its own for each test; of equal ones only the first is fitted."""
    key = cls, n_classes, id(table), prior, repr(params)
    if key not in FITTED:
        model = cls(prior, **{"random_state": 0} | params)
        # The table is kept, so that no other one gets its identity.
        y = target(table.y, n_classes)
        FITTED[key] = table, model.fit(table.X, y, task=table.ids)
    return copy.deepcopy(FITTED[key][1])


FITTED = {}


def stacked(tasks):
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    return X, y, np.repeat(np.arange(len(tasks)), [len(y) for _, y in tasks])


def noisy_tasks(n_tasks=60, n=12, seed=0, **params):
    return make_linear_tasks(
        n_tasks, n, 2, noise=0.5, spread=(1.0, 0.3), random_state=seed, **params
    )


@pytest.fixture(scope="module")
def small_table(linear_table):
    """The first 12 of these tasks."""
    return SimpleNamespace(**{k: v[:144] for k, v in vars(linear_table).items()})


@pytest.fixture(scope="module")
def shared():
    """Models that no test may change."""
    tasks = noisy_tasks()
    labels = make_linear_tasks(60, 15, 2, kind="classification", random_state=0)
    return {
        Regressor: (Regressor("diagonal", random_state=0).meta_fit(tasks), tasks),
        Classifier: (Classifier("diagonal", random_state=0).meta_fit(labels), labels),
    }


# -- the limit of one task ------------------------------------------------------------


def test_one_task_is_a_bayesian_ridge_regression():
    X, y, _ = stacked(noisy_tasks(1, 30))
    X = X * [1.0, 10.0] + 5.0
    model = Regressor().fit(X, y)
    none = dict.fromkeys(["alpha_1", "alpha_2", "lambda_1", "lambda_2"], 0.0)
    Z = StandardScaler().fit_transform(X)
    ridge = BayesianRidge(tol=1e-10, max_iter=5000, **none).fit(Z, y)
    assert_allclose(model.coef_ * X.std(axis=0), ridge.coef_, rtol=1e-2)
    assert_allclose(model.predict(X), ridge.predict(Z), rtol=1e-2, atol=1e-2)
    _, deviation = model.predict(X, return_std=True)
    assert_allclose(deviation, ridge.predict(Z, return_std=True)[1], rtol=0.05)
    assert model.n_tasks_ == 1 and model.zero_shot_ == "prior"


def test_one_task_is_a_logistic_regression_with_the_best_penalty():
    X, y, _ = stacked(
        make_linear_tasks(1, 60, 3, kind="classification", random_state=1)
    )
    X = X * [1.0, 10.0, 0.1] + 5.0
    Z = StandardScaler().fit_transform(X)

    def logistic(log_variance):
        C = np.exp(log_variance)
        return LogisticRegression(C=C, tol=1e-10, max_iter=10000).fit(Z, y)

    def negative_evidence(log_variance):
        ridge, variance = logistic(log_variance), np.exp(log_variance)
        p = ridge.predict_proba(Z)[:, 1]
        H = (Z * (p * (1 - p))[:, None]).T @ Z
        log_likelihood = np.log(np.where(y == 1, p, 1 - p)).sum()
        square = (ridge.coef_**2).sum() / variance
        log_det = np.linalg.slogdet(np.eye(3) + variance * H)[1]
        return 0.5 * (square + log_det) - log_likelihood

    best = minimize_scalar(negative_evidence, bounds=(-4, 4), method="bounded").x
    model = Classifier().fit(X, y)
    assert_allclose(model.coef_ * X.std(axis=0), logistic(best).coef_, rtol=0.05)
    difference = model.predict_proba(X) - logistic(best).predict_proba(Z)
    # our probabilities are averages over the posterior
    assert np.abs(difference).max() < 0.05


# -- adaptation -----------------------------------------------------------------------


@EACH_KIND
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_one_by_one_in_any_order_are_rows_all_at_once(
    seed, weighted, cls, n_classes, linear_table
):
    model = fitted(cls, n_classes, linear_table)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(240)[:8]
    X, y = linear_table.X[rows], target(linear_table.y, n_classes)[rows]
    weight = rng.uniform(0.2, 3.0, size=8) if weighted else np.ones(8)
    at_once = model.adapt(X, y, weight if weighted else None)
    one_by_one = model.adapt(X[:1], y[:1], weight[:1])
    for row in range(1, 8):
        one_by_one.partial_adapt(*(part[row : row + 1] for part in (X, y, weight)))
    tol = 1e-10 if cls is Regressor else 1e-6
    new = linear_table.X[:30]
    assert_allclose(outputs(one_by_one, new), outputs(at_once, new), rtol=tol, atol=tol)
    assert_allclose(one_by_one.coef_, at_once.coef_, rtol=tol, atol=tol)
    assert one_by_one.n_adapt_rows_ == at_once.n_adapt_rows_ == 8
    if cls is Regressor:
        deviations = (m.predict(new, return_std=True)[1] for m in (one_by_one, at_once))
        assert_allclose(*deviations, rtol=tol)


@EACH_KIND
def test_a_weight_of_two_in_adaptation_is_a_row_twice(cls, n_classes, linear_table):
    model, y = fitted(cls, n_classes, linear_table), target(linear_table.y, n_classes)
    X = linear_table.X
    twice = np.repeat(np.arange(5), [1, 2, 1, 2, 2])
    one = model.adapt(X[:5], y[:5], [1, 2, 1, 2, 2])
    assert_allclose(
        outputs(one, X), outputs(model.adapt(X[twice], y[twice]), X), atol=1e-6
    )


@EACH_KIND
def test_adapt_leaves_the_meta_learner_and_reset_gives_it_back(
    cls, n_classes, linear_table, unchanged
):
    model, y = fitted(cls, n_classes, linear_table), target(linear_table.y, n_classes)
    X = linear_table.X
    zero = outputs(model, X)
    with unchanged(model):
        adapted = model.adapt(X[:6], y[:6])
        adapted.partial_adapt(X[6:9], y[6:9])
        outputs(adapted, X)
    assert np.abs(outputs(adapted, X) - zero).max() > 0.01
    assert_array_equal(outputs(adapted.reset_adaptation(), X), zero)
    assert adapted.n_adapt_rows_ == 0
    assert_array_equal(
        outputs(adapted.partial_adapt(X[:6], y[:6]), X),
        outputs(model.adapt(X[:6], y[:6]), X),
    )


@EACH_KIND
def test_two_adapted_copies_do_not_touch_each_other(cls, n_classes, linear_table):
    model, y = fitted(cls, n_classes, linear_table), target(linear_table.y, n_classes)
    X = linear_table.X
    first = model.adapt(X[:4], y[:4])
    second = copy.copy(first)
    before = outputs(first, X)
    second.partial_adapt(X[4:9], y[4:9])
    assert_array_equal(outputs(first, X), before)
    assert np.abs(outputs(second, X) - before).max() > 0


def test_adapting_is_the_best_linear_unbiased_prediction_in_the_users_units(shared):
    model, tasks = shared[Regressor]
    X, y = tasks[0][0][:4], tasks[0][1][:4]
    Z, S = np.column_stack([X, np.ones(4)]), model.prior_covariance_
    mean = np.append(model.prior_coef_, model.prior_intercept_)
    V = Z @ S @ Z.T + model.noise_variance_ * np.eye(4)
    expected = mean + S @ Z.T @ np.linalg.solve(V, y - Z @ mean)
    adapted = model.adapt(X, y)
    # the error of the mean counts too; with 60 tasks it is a sixtieth
    assert_allclose(adapted.coef_, expected[:-1], atol=0.05)
    assert_allclose(adapted.intercept_, expected[-1], atol=0.05)


def test_the_more_rows_the_better_and_the_more_certain():
    train, test = split_tasks(noisy_tasks(200, 40), 100, random_state=0)
    model = Regressor("diagonal", random_state=0).meta_fit(train)
    errors, deviations = [], []
    for n in (1, 4, 16):
        pairs = []
        for X, y in test:
            mean, deviation = model.adapt(X[:n], y[:n]).predict(X[16:], return_std=True)
            pairs.append([np.mean((mean - y[16:]) ** 2), np.mean(deviation**2)])
        error, deviation = np.mean(pairs, axis=0)
        errors.append(error)
        deviations.append(deviation)
    assert errors[0] > errors[1] > errors[2]
    assert_allclose(deviations, errors, rtol=0.15)


# -- units ----------------------------------------------------------------------------


@EACH_KIND
@pytest.mark.parametrize(("prior", "size"), [("isotropic", 1e-6), ("full", 1e6)])
def test_units_and_origins_do_not_matter(size, prior, cls, n_classes, small_table):
    t, y = small_table, target(small_table.y, n_classes)
    scale, shift = np.array([size, 1.0, 1 / size]), np.array([10 * size, -3.0, 0.0])
    y_scale, y_shift = (1000 * size, 7.0 * size) if n_classes == 0 else (1, 0)
    other_y = y_scale * y + y_shift if n_classes == 0 else y
    other_X = t.X * scale + shift
    one = fitted(cls, n_classes, t, prior)
    other = cls(prior, random_state=0).fit(other_X, other_y, task=t.ids)
    for rows in (0, 5):
        if rows:
            one = one.adapt(t.X[:rows], y[:rows])
            other = other.adapt(other_X[:rows], other_y[:rows])
        expected = outputs(one, t.X)
        if n_classes == 0:
            expected = y_scale * expected + y_shift
        found = outputs(other, other_X)
        assert_allclose(found, expected, rtol=1e-3, atol=2e-3 * np.abs(found).max())


def log_likelihood(tasks, coef, intercept, covariance, noise):
    """Dense normal density of all rows, written out in the user's units."""
    mean, value = np.append(coef, intercept), 0.0
    for X, y in tasks:
        Z = np.column_stack([X, np.ones(len(X))])
        V = Z @ covariance @ Z.T + noise * np.eye(len(X))
        value += multivariate_normal(Z @ mean, V).logpdf(y)
    return value


@pytest.mark.parametrize("prior", ["isotropic", "diagonal", "low_rank"])
def test_the_learned_prior_is_given_in_the_users_units(prior):
    tasks = [
        (X * [100.0, 0.01] + [300.0, -0.02], 50 * y - 20) for X, y in noisy_tasks()
    ]
    model = Regressor(prior, random_state=0, tol=1e-8).meta_fit(tasks)
    learned = [
        model.prior_coef_,
        model.prior_intercept_,
        model.prior_covariance_,
        model.noise_variance_,
    ]
    best = log_likelihood(tasks, *learned)
    assert_allclose(model.log_marginal_likelihood_, best, rtol=1e-7)
    for number in range(4):  # each number is at a maximum
        for factor in (0.97, 1.03):
            moved = [*learned]
            moved[number] = factor * moved[number]
            assert log_likelihood(tasks, *moved) < best


def test_the_truth_behind_the_tasks_is_found_again():
    tasks = make_linear_tasks(400, 15, 2, noise=0.5, spread=(1.0, 0.3), random_state=0)
    # the generator draws it in the same way
    common = np.random.RandomState(0).standard_normal(2)
    model = Regressor("diagonal", random_state=0).meta_fit(tasks)
    assert_allclose(model.prior_coef_, common, atol=0.15)
    assert_allclose(
        np.sqrt(np.diag(model.prior_covariance_)), [1.0, 0.3, 0.0], atol=0.06
    )
    assert_allclose(model.noise_variance_, 0.25, rtol=0.05)


def test_the_likelihood_is_that_of_all_tasks_however_many_choose_the_structure():
    tasks = noisy_tasks(210, 4)
    model = Regressor("diagonal", random_state=0).meta_fit(tasks)
    expected = log_likelihood(
        tasks,
        model.prior_coef_,
        model.prior_intercept_,
        model.prior_covariance_,
        model.noise_variance_,
    )
    assert model.n_tasks_ == 210
    assert_allclose(model.log_marginal_likelihood_, expected, rtol=1e-6)


# -- predictions of numbers -----------------------------------------------------------


def test_coef_and_intercept_reproduce_predictions(linear_table):
    X, y = 10 * linear_table.X + 3, linear_table.y
    model = Regressor("full", random_state=0).fit(X, y, task=linear_table.ids)
    for each in (model, model.adapt(X[:5], y[:5])):
        assert_allclose(each.predict(X), X @ each.coef_ + each.intercept_)
    assert model.coef_.shape == model.prior_coef_.shape == (3,)
    assert isinstance(model.intercept_, float)
    assert isinstance(model.prior_intercept_, float)
    assert model.prior_covariance_.shape == (4, 4)


def test_adapting_does_not_change_the_attributes_of_the_prior(shared):
    model, tasks = shared[Regressor]
    adapted = model.adapt(*tasks[0])
    for name in ("prior_coef_", "prior_covariance_", "noise_variance_"):
        assert_array_equal(getattr(adapted, name), getattr(model, name))


def test_deviations_are_those_of_noise_and_of_unknown_coefficients(shared):
    model, tasks = shared[Regressor]
    X, y = tasks[0]
    adapted = model.adapt(X, y)
    Z, new = (np.column_stack([rows, np.ones(len(rows))]) for rows in (X, 3 * X))
    precision = np.linalg.inv(model.prior_covariance_ + 1e-9 * np.eye(3))
    V = np.linalg.inv(precision + Z.T @ Z / model.noise_variance_)
    expected = np.sqrt(np.einsum("nd,de,ne->n", new, V, new) + model.noise_variance_)
    mean, deviation = adapted.predict(3 * X, return_std=True)
    assert_allclose(deviation, expected, rtol=0.03)
    assert_array_equal(mean, adapted.predict(3 * X))
    # far away, only the uncertainty of the coefficients counts
    far = adapted.predict(np.array([[1e6, 0.0]]), return_std=True)[1]
    assert_allclose(far, 1e6 * np.sqrt(V[0, 0]), rtol=0.03)


def test_predictions_do_not_depend_on_how_many_rows_are_held_at_a_time(
    shared, monkeypatch
):
    for model, tasks in shared.values():
        X, y = tasks[0]
        adapted = model.adapt(X[:5], y[:5])
        expected = outputs(adapted, X)
        monkeypatch.setattr("skmeta.empirical_bayes.CELLS_IN_PREDICTING", 20)
        assert_allclose(outputs(adapted, X), expected)
        monkeypatch.undo()


def test_a_pipeline_passes_return_std_on(routing, linear_table):
    t = linear_table
    pipe = make_pipeline(StandardScaler(), Regressor("isotropic", random_state=0))
    pipe.fit(t.X, t.y, task=t.ids)
    adapted = adapt(pipe, t.X[:5], t.y[:5])
    mean, deviation = adapted.predict(t.X, return_std=True)
    expected = adapted[-1].predict(adapted[0].transform(t.X), return_std=True)
    assert_array_equal(mean, expected[0])
    assert_array_equal(deviation, expected[1])


def test_intervals_are_around_the_prediction_and_grow_with_the_coverage(shared):
    model, tasks = shared[Regressor]
    X, y = tasks[0]
    adapted = model.adapt(X[:4], y[:4])
    widths = []
    for coverage in (0.01, 0.5, 0.9, 0.99, 0.9999):
        low, high = adapted.predict_interval(X, coverage).T
        assert_allclose((low + high) / 2, adapted.predict(X))
        widths.append(high - low)
    assert (np.diff(widths, axis=0) > 0).all()
    assert_array_equal(adapted.predict_interval(X), adapted.predict_interval(X, 0.9))


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 1.5, 90, "90%", None, float("nan")])
def test_a_coverage_outside_0_and_1_is_refused(coverage, shared):
    model, tasks = shared[Regressor]
    with pytest.raises(ValueError, match="coverage must be a number between 0 and 1"):
        model.predict_interval(tasks[0][0], coverage)


def test_intervals_hold_the_share_of_targets_of_new_tasks():
    train, test = split_tasks(noisy_tasks(400, 15, seed=1), 150, random_state=0)
    model = Regressor("diagonal", random_state=0).meta_fit(train)
    for n in (0, 1, 5):
        held = []
        for X, y in test:
            adapted = model.adapt(X[:n], y[:n]) if n else model
            low, high = adapted.predict_interval(X[5:], 0.8).T
            held.append((low < y[5:]) & (y[5:] < high))
        assert abs(np.mean(held) - 0.8) < 0.035, n


# -- predictions of labels ------------------------------------------------------------


def test_scores_labels_and_probabilities_agree(label_table):
    t = label_table
    for names in (["no", "yes"], ["a", "b", "c"]):
        codes = (t.y + (t.X[:, 0] > 0.5)) % len(names)
        y = np.array(names)[codes]
        model = Classifier("diagonal", random_state=0).fit(t.X, y, task=t.ids)
        for each in (model, model.adapt(t.X[:7], y[:7])):
            p, scores = each.predict_proba(t.X), each.decision_function(t.X)
            assert p.shape == (240, len(names))
            assert_allclose(p.sum(axis=1), np.ones(240))
            assert_array_equal(each.predict(t.X), each.classes_[p.argmax(axis=1)])
            if len(names) == 2:
                assert scores.shape == (240,)
                assert_allclose(expit(scores), p[:, 1])
                assert_array_equal(each.predict(t.X) == "yes", scores > 0)
            else:
                assert_allclose(np.exp(scores), p)


def test_scores_are_finite_and_in_order_however_certain_the_classifier(shared):
    model, tasks = shared[Classifier]
    adapted = model.adapt(*tasks[0])
    # a row of huge weight leaves hardly any doubt
    adapted.partial_adapt([[3.0, 0.0]], [1], [1e6])
    ray = np.linspace(-300, 300, 61)[:, None] * adapted.coef_
    scores = adapted.decision_function(ray)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > -1e-5).all()  # scores are flat far out, but never fall


def test_coefficients_of_a_classifier_give_its_logits(shared):
    model, tasks = shared[Classifier]
    X, y = tasks[0]
    adapted = model.adapt(X, y)
    logits = X @ adapted.coef_[0] + adapted.intercept_[0]
    # averaging moves a probability towards one half, but never past it
    p = adapted.predict_proba(X)[:, 1]
    assert_array_equal(logits > 0, p > 0.5)
    assert (np.abs(p - 0.5) <= np.abs(expit(logits) - 0.5) + 1e-12).all()


def test_the_coefficients_of_classes_have_the_classes_in_rows(label_table):
    t = label_table
    two = Classifier("diagonal", random_state=0).fit(t.X, t.y, task=t.ids)
    assert two.coef_.shape == (1, 3) and two.intercept_.shape == (1,)
    assert two.prior_covariance_.shape == (4, 4)
    y = (t.y + (t.X[:, 0] > 0.5)) % 3
    three = Classifier("diagonal", random_state=0).fit(t.X, y, task=t.ids)
    assert three.coef_.shape == three.prior_coef_.shape == (3, 3)
    assert three.intercept_.shape == three.prior_intercept_.shape == (3,)
    assert three.prior_covariance_.shape == (12, 12)
    assert_array_equal(three.classes_, [0, 1, 2])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_of_a_single_class_are_an_ordinary_support(n_classes, linear_table):
    model = fitted(Classifier, n_classes, linear_table)
    y = target(linear_table.y, n_classes)
    X = linear_table.X[y == "low"][:6]
    before = model.predict_proba(X)[:, 0]
    after = model.adapt(X, ["low"] * 6).predict_proba(X)[:, 0]
    assert (after < 1).all() and after.mean() > before.mean()
    one = model.adapt(X[:1], ["low"]).predict_proba(X[:1])[0, 0]
    assert before[0] < one < 1


def test_tasks_may_lack_classes_and_new_ones_may_have_them(linear_table):
    X, y = linear_table.X, target(linear_table.y, 3)
    rows = np.ones(240, dtype=bool)
    for task in range(20):  # each task lacks one class
        rows[12 * task : 12 * task + 12] = (
            y[12 * task : 12 * task + 12] != ["low", "mid", "top"][task % 3]
        )
    model = Classifier(random_state=0)
    model.fit(X[rows], y[rows], task=linear_table.ids[rows])
    assert_array_equal(model.classes_, ["low", "mid", "top"])
    adapted = model.adapt(X[:12], y[:12])
    assert np.isfinite(adapted.predict_proba(X)).all()
    assert adapted.score(X[:12], y[:12]) > 0.6


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@EACH_KIND
def test_tasks_of_one_row_are_ordinary_tasks(cls, n_classes, linear_table):
    X, y = linear_table.X, target(linear_table.y, n_classes)
    with pytest.warns(UserWarning, match="No task has more than one row"):
        model = cls(random_state=0).fit(X[:40], y[:40], task=np.arange(40))
    assert model.n_tasks_ == 40
    assert np.isfinite(outputs(model.adapt(X[:1], y[:1]), X)).all()


def test_a_single_class_in_all_tasks_is_predicted_with_certainty(linear_table):
    t = linear_table
    model = Classifier(random_state=0).fit(t.X, np.full(240, "only"), task=t.ids)
    adapted = model.adapt(t.X[:3], ["only"] * 3)
    assert_array_equal(adapted.predict(t.X), np.full(240, "only"))
    assert_array_equal(adapted.predict_proba(t.X), np.ones((240, 1)))


def test_labels_are_learned_better_with_rows_of_the_task():
    train, test = split_tasks(
        make_linear_tasks(
            100, 40, 2, kind="classification", spread=3.0, random_state=0
        ),
        60,
        random_state=0,
    )
    model = Classifier(random_state=0).meta_fit(train)
    X, y, task = stacked(test)
    few, many = (
        few_shot_scores(
            model, X, y, task, n_support=n, scoring="neg_log_loss", n_repeats=1
        ).mean()
        for n in (1, 15)
    )
    assert many > few + 0.1 > -0.8


# -- structures -----------------------------------------------------------------------


@EACH_PRIOR_AND_KIND
def test_every_structure_fits_adapts_and_predicts(cls, n_classes, prior, small_table):
    model = fitted(cls, n_classes, small_table, prior)
    y = target(small_table.y, n_classes)
    chosen_from = [prior] if prior != "auto" else [*PRIORS[1:], "kronecker"]
    assert model.prior_structure_ in chosen_from
    assert hasattr(model, "prior_rank_") == (model.prior_structure_ == "low_rank")
    assert model.zero_shot_ in ("prior", "pooled", "constant")
    covariance = model.prior_covariance_
    assert_allclose(covariance, covariance.T, atol=1e-9)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    adapted = model.adapt(small_table.X[:5], y[:5])
    assert np.isfinite(outputs(adapted, small_table.X)).all()


def test_the_structure_asked_for_is_that_of_the_covariance():
    tasks = noisy_tasks()

    def covariance(prior):
        return Regressor(prior, random_state=0).meta_fit(tasks).prior_covariance_

    X, _, _ = stacked(tasks)
    # in standardised columns
    A = np.array([[X[:, 0].std(), 0, 0], [0, X[:, 1].std(), 0], [*X.mean(axis=0), 1]])

    def standardised(prior):
        return A @ covariance(prior) @ A.T

    found = standardised("intercept")
    assert_allclose(found[:2], 0, atol=1e-12)
    for prior in ("isotropic", "diagonal"):
        found = standardised(prior)
        assert_allclose(found - np.diag(np.diag(found)), 0, atol=1e-9)
    assert_allclose(*np.diag(standardised("isotropic"))[:2])
    assert found[0, 0] > 3 * found[1, 1]
    assert np.abs(standardised("full")[0, 1]) > 1e-6


@EACH_KIND
def test_a_refit_forgets_the_structure_found_before(cls, n_classes, small_table):
    model = fitted(cls, n_classes, small_table, "low_rank")
    X, y = small_table.X, target(small_table.y, n_classes)
    model.set_params(prior="isotropic").fit(X, y, task=small_table.ids)
    again = fitted(cls, n_classes, small_table, "isotropic")
    assert not hasattr(model, "prior_rank_")
    assert vars(model).keys() == vars(again).keys()
    assert_array_equal(outputs(model, X), outputs(again, X))


@BOTH
def test_fit_after_adaptation_starts_anew(cls, shared):
    model, tasks = copy.deepcopy(shared[cls])
    X, y = tasks[0]
    zero = outputs(model, X)
    model.partial_adapt(X, y)
    assert_allclose(outputs(model.meta_fit(tasks), X), zero)
    assert model.n_adapt_rows_ == 0


@BOTH
def test_the_same_seed_gives_the_same_model_and_order_of_tasks_hardly_matters(
    cls, shared
):
    _, tasks = shared[cls]
    X, y = tasks[0]
    one, same, turned = (
        cls("full", random_state=0).meta_fit(each)
        for each in (tasks[:25], tasks[:25], tasks[24::-1])
    )
    assert_array_equal(outputs(one, X), outputs(same, X))
    assert_allclose(
        outputs(one.adapt(X[:5], y[:5]), X),
        outputs(turned.adapt(X[:5], y[:5]), X),
        atol=0.01,
    )


@BOTH
def test_a_search_that_is_cut_short_warns(cls, shared):
    _, tasks = shared[cls]
    with pytest.warns(ConvergenceWarning, match=r"max_iter=1 before.*Raise max_iter"):
        model = cls("diagonal", max_iter=1, random_state=0).meta_fit(tasks)
    assert model.n_iter_ == 1


def test_before_adapting_pooled_rows_predict_if_slopes_contradict():
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(30):
        middle = 3 * rng.normal()
        x = middle + rng.normal(size=10)
        tasks.append((x[:, None], x - 2 * middle + 0.1 * rng.normal(size=10)))
    model = Regressor("isotropic", random_state=0).meta_fit(tasks)
    assert model.zero_shot_ == "pooled"
    assert model.coef_[0] < 0 < model.prior_coef_[0]
    X, y = tasks[0]
    assert_allclose(model.adapt(X[:5], y[:5]).coef_, [1.0], atol=0.3)


# -- without an intercept, without standardising --------------------------------------


def test_without_an_intercept_mirrored_rows_are_mirrored_answers(label_table):
    t = label_table
    X = t.X + [5.0, 0.0, 1.0]
    y = X @ [1.0, -1.0, 0.3]
    model = Regressor("diagonal", fit_intercept=False, random_state=0)
    model.fit(X, y + t.y, task=t.ids)
    for each in (model, model.adapt(X[:4], y[:4])):
        assert_allclose(each.predict(-X), -each.predict(X), atol=1e-12)
        assert each.intercept_ == each.prior_intercept_ == 0.0
        assert_allclose(each.predict(X), X @ each.coef_)
    assert model.prior_covariance_.shape == (3, 3)
    model = Classifier("diagonal", fit_intercept=False, random_state=0)
    model.fit(t.X, t.y, task=t.ids)
    for each in (model, model.adapt(t.X[:4], t.y[:4])):
        assert_allclose(each.predict_proba(-t.X), each.predict_proba(t.X)[:, ::-1])
        assert_array_equal(each.intercept_, [0.0])


def test_a_row_and_its_mirror_image_say_the_same_without_an_intercept(label_table):
    t = label_table
    model = Classifier("diagonal", fit_intercept=False, random_state=0)
    model.fit(t.X, t.y, task=t.ids)
    one = model.adapt(t.X[:5], t.y[:5])
    other = model.adapt(-t.X[:5], 1 - t.y[:5])
    assert_allclose(one.predict_proba(t.X), other.predict_proba(t.X), atol=1e-9)


@BOTH
def test_a_spread_of_intercepts_without_intercept_is_refused(cls, shared, unchanged):
    model, tasks = copy.deepcopy(shared[cls])
    for each in (cls(), model):
        each.set_params(prior="intercept", fit_intercept=False)
        with (
            unchanged(each),
            pytest.raises(ValueError, match="fit_intercept=False leaves none"),
        ):
            each.meta_fit(tasks)


@EACH_KIND
def test_data_in_good_units_need_no_standardisation(cls, n_classes, linear_table):
    X, y = linear_table.X, target(linear_table.y, n_classes)
    one, other = (
        fitted(cls, n_classes, linear_table, "diagonal", standardize=s).adapt(
            X[:5], y[:5]
        )
        for s in (True, False)
    )
    assert_allclose(outputs(one, X), outputs(other, X), atol=0.1)


# -- queries --------------------------------------------------------------------------


def test_queries_are_those_after_which_the_deviations_are_smallest(shared):
    model, tasks = shared[Regressor]
    X, y = tasks[0]
    for each in (model, model.adapt(X[:2], y[:2])):
        seen, asked = copy.deepcopy(each), []
        for query in each.suggest_queries(X, 3):
            left = np.full(len(X), np.inf)
            for row in np.setdiff1d(np.arange(len(X)), asked):
                tried = copy.deepcopy(seen).partial_adapt(X[[row]], y[[row]])
                left[row] = (tried.predict(X, return_std=True)[1] ** 2).sum()
            assert left[query] <= left.min() * (1 + 1e-9)
            asked.append(query)
            seen.partial_adapt(X[[query]], [99.0])  # the answer makes no difference


@EACH_KIND
def test_queries_are_different_rows_of_the_pool(cls, n_classes, linear_table):
    model = fitted(cls, n_classes, linear_table)
    pool = linear_table.X[:12]
    rows = model.suggest_queries(pool, 12)
    assert sorted(rows) == list(range(12))
    assert_array_equal(model.suggest_queries(pool), rows[:1])
    assert_array_equal(model.suggest_queries(sparse.csr_array(pool), 12), rows)


def test_a_pool_may_be_a_table_and_its_columns_are_checked(linear_table):
    t = linear_table
    X = pd.DataFrame(t.X, columns=["a", "b", "c"])
    model = Regressor("isotropic", random_state=0).fit(X, t.y, task=t.ids)
    plain = Regressor("isotropic", random_state=0).fit(t.X, t.y, task=t.ids)
    assert_array_equal(
        model.suggest_queries(X[:20], 3), plain.suggest_queries(t.X[:20], 3)
    )
    with pytest.raises(ValueError, match="feature names"):
        model.suggest_queries(X[["b", "a", "c"]])


@BOTH
@pytest.mark.parametrize("n_queries", [0, -1, 16, 1.5, "2", None])
def test_more_queries_than_rows_of_the_pool_are_refused(cls, n_queries, shared):
    model, tasks = shared[cls]
    with pytest.raises(ValueError, match="n_queries must be a whole number from 1 to"):
        model.suggest_queries(tasks[0][0], n_queries)


@BOTH
def test_before_fit_all_verbs_say_so(cls, shared):
    _, ((X, y), *_) = shared[cls]
    model = cls()
    for verb in (
        lambda: model.predict(X),
        lambda: outputs(model, X),
        lambda: model.adapt(X, y),
        lambda: model.partial_adapt(X, y),
        lambda: model.reset_adaptation(),
        lambda: model.suggest_queries(X),
        lambda: model.score(X, y),
    ):
        with pytest.raises(NotFittedError):
            verb()
    for name in ("coef_", "intercept_", "prior_coef_", "prior_covariance_"):
        assert not hasattr(model, name)
    assert not hasattr(model, "noise_variance_")


# -- base model -----------------------------------------------------------------------


def curved_table(seed=0):
    """y = sin(3 x) + an offset of the task: 24 tasks of 20 rows, with ids."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, size=(24 * 20, 1))
    ids = np.repeat(np.arange(24), 20)
    y = 3 * np.sin(3 * X[:, 0]) + rng.normal(size=24)[ids]
    return X, y + 0.1 * rng.normal(size=len(y)), ids


def test_a_base_regressor_is_corrected_per_task():
    X, y, ids = curved_table()
    rows = ids < 20
    base = HistGradientBoostingRegressor(max_iter=30, random_state=0)
    model = Regressor(base_estimator=base, random_state=0)
    model.fit(X[rows], y[rows], task=ids[rows])
    plain = Regressor(random_state=0).fit(X[rows], y[rows], task=ids[rows])
    few, line, zero = (
        few_shot_scores(each, X[~rows], y[~rows], ids[~rows], n_support=n).mean()
        for each, n in [(model, 5), (plain, 5), (model, 0)]
    )
    assert few > 0.93 and few > max(line + 0.5, zero + 0.01)
    new = X[~rows][:20]
    correction = model.predict(new) - model.base_estimator_.predict(new)
    assert_allclose(correction, new @ model.coef_ + model.intercept_)


@pytest.mark.parametrize("base_target", ["y", "residual"])
def test_the_base_model_is_fitted_to_targets_or_to_residuals_of_a_prior(
    base_target, linear_table
):
    t = linear_table
    y = t.y + np.sin(3 * t.X[:, 0])
    base = HistGradientBoostingRegressor(max_iter=5, random_state=0)
    model = Regressor(
        "isotropic", base_estimator=base, base_target=base_target, random_state=0
    ).fit(t.X, y, task=t.ids)
    left = y.copy()
    if base_target == "residual":
        first = Regressor("isotropic", random_state=0).fit(t.X, y, task=t.ids)
        for name in np.unique(t.ids):
            rows = t.ids == name
            left[rows] -= first.adapt(t.X[rows], y[rows]).predict(t.X[rows])
    expected = clone(base).fit(t.X, left).predict(t.X)
    assert_allclose(model.base_estimator_.predict(t.X), expected)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "base",
    [LogisticRegression(), HistGradientBoostingClassifier(max_iter=5, random_state=0)],
    ids=["linear", "boosting"],
)
def test_a_base_classifier_is_corrected_per_task(base, n_classes, small_table):
    model = fitted(Classifier, n_classes, small_table, base_estimator=base)
    X, y = small_table.X, target(small_table.y, n_classes)
    adapted = model.adapt(X[:12], y[:12])
    assert_allclose(adapted.predict_proba(X).sum(axis=1), np.ones(144))
    # rows of one class only: the correction moves towards it, from what the base says
    last = model.adapt(X[:6], np.full(6, model.classes_[-1]))
    before = model.predict_proba(X[:6])[:, -1]
    assert last.predict_proba(X[:6])[:, -1].mean() > before.mean() + 0.01


def test_raw_outputs_of_labels_leave_the_base_model_out(linear_table):
    base = LogisticRegression()
    model = fitted(Classifier, 3, linear_table, base_estimator=base)
    adapted = model.adapt(linear_table.X[:12], target(linear_table.y, 3)[:12])
    of_coefficients = linear_table.X @ adapted.coef_.T + adapted.intercept_
    assert_allclose(adapted._raw_outputs(linear_table.X), of_coefficients, atol=1e-9)


@EACH_KIND
def test_a_base_model_that_knows_nothing_changes_little(cls, n_classes, small_table):
    base = DummyClassifier() if n_classes else DummyRegressor()
    X, y = small_table.X, target(small_table.y, n_classes)
    one, other = (
        fitted(cls, n_classes, small_table, base_estimator=b).adapt(X[:8], y[:8])
        for b in (None, base)
    )
    assert_allclose(outputs(one, X), outputs(other, X), atol=0.1)


@BOTH
def test_a_base_model_of_the_wrong_kind_is_refused(cls, shared, unchanged):
    _, tasks = shared[cls]
    wrong = LogisticRegression() if cls is Regressor else Ridge()
    model = cls(base_estimator=wrong)
    with unchanged(model), pytest.raises(TypeError, match="base_estimator of"):
        model.meta_fit(tasks)


# -- kinds of input -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prior", "cls", "n_classes"),
    [
        ("full", Regressor, 0),
        ("isotropic", Classifier, 2),
        ("full", Classifier, 3),
    ],
)
def test_a_sparse_table_is_the_dense_one_where_its_columns_are_centred(
    prior, cls, n_classes, linear_table
):
    X = linear_table.X[:60] * (np.abs(linear_table.X[:60]) > 0.5)
    X = np.concatenate([X, -X])
    y = target(linear_table.y[:120], n_classes)
    dense, thin = (
        cls(prior, random_state=0).fit(table, y, task=linear_table.ids[:120])
        for table in (X, sparse.csr_array(X))
    )
    assert_allclose(
        outputs(dense.adapt(X[:5], y[:5]), X),
        outputs(thin.adapt(sparse.csr_array(X[:5]), y[:5]), sparse.csr_array(X)),
        atol=1e-3,
    )


@EACH_KIND
def test_a_table_with_names_is_the_array_with_names(cls, n_classes, small_table):
    X = pd.DataFrame(small_table.X, columns=["a", "b", "c"])
    y = pd.Series(target(small_table.y, n_classes))
    model = cls("isotropic", random_state=0).fit(X, y, task=pd.Series(small_table.ids))
    plain = fitted(cls, n_classes, small_table, "isotropic")
    assert_array_equal(model.feature_names_in_, ["a", "b", "c"])
    one, other = model.adapt(X[:5], y[:5]), plain.adapt(small_table.X[:5], y[:5])
    assert_allclose(outputs(one, X), outputs(other, small_table.X))
    with pytest.raises(ValueError, match="feature names"):
        model.adapt(X.rename(columns={"a": "z"})[:5], y[:5])


@EACH_KIND
def test_single_precision_is_welcome(cls, n_classes, small_table):
    X, y = small_table.X.astype(np.float32), target(small_table.y, n_classes)
    model = fitted(cls, n_classes, small_table)
    single = cls("diagonal", random_state=0).fit(X, y, task=small_table.ids)
    assert_allclose(
        outputs(single.adapt(X[:5], y[:5]), X),
        outputs(model.adapt(small_table.X[:5], y[:5]), small_table.X),
        atol=1e-3,
    )


@EACH_KIND
def test_rows_of_zero_weight_are_as_if_they_were_not_there(cls, n_classes, small_table):
    X, y, ids = small_table.X, target(small_table.y, n_classes), small_table.ids
    weight = (np.arange(144) % 4 > 0).astype(float)
    weight[ids == "S03"] = 0.0  # no row of this task is left
    rows = weight > 0
    wild = np.where(rows[:, None], X, 1e6)
    model = cls("diagonal", random_state=0).fit(wild, y, weight, task=ids)
    other = cls("diagonal", random_state=0).fit(X[rows], y[rows], task=ids[rows])
    assert model.n_tasks_ == 11
    adapted = model.adapt(wild[:8], y[:8], weight[:8])
    assert adapted.n_adapt_rows_ == weight[:8].sum()
    expected = other.adapt(X[:8][rows[:8]], y[:8][rows[:8]])
    assert_array_equal(outputs(adapted, X), outputs(expected, X))


@EACH_KIND
def test_a_weight_of_two_in_meta_training_is_a_row_twice(cls, n_classes, small_table):
    X, y, ids = small_table.X, target(small_table.y, n_classes), small_table.ids
    times = 1 + np.arange(144) % 2
    rows = np.repeat(np.arange(144), times)
    one = cls("diagonal", random_state=0, tol=1e-8).fit(X, y, times, task=ids)
    other = cls("diagonal", random_state=0, tol=1e-8)
    other.fit(X[rows], y[rows], task=ids[rows])
    assert_allclose(
        one.log_marginal_likelihood_, other.log_marginal_likelihood_, rtol=1e-6
    )
    assert_allclose(one.prior_coef_, other.prior_coef_, atol=1e-3)
    assert_allclose(one.prior_covariance_, other.prior_covariance_, atol=1e-3)


@EACH_PRIOR_AND_KIND
def test_more_columns_than_rows_are_welcome(cls, n_classes, prior):
    X, y, ids = stacked(make_linear_tasks(8, 4, 6, random_state=0))
    y = target(y, n_classes)
    with warnings.catch_warnings():
        # with 32 rows the evidence of many loadings is flat, and the search may not end
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "A spread between tasks ended")
        model = cls(prior, random_state=0).fit(X, y, task=ids)
    adapted = model.adapt(X[:4], y[:4])
    assert np.isfinite(outputs(adapted, X)).all()
    assert np.isfinite(model.log_marginal_likelihood_)


@pytest.mark.parametrize(
    ("prior", "cls", "n_classes"),
    [
        ("auto", Regressor, 0),
        ("intercept", Classifier, 2),
        ("isotropic", Classifier, 3),
        ("diagonal", Regressor, 0),
        ("full", Classifier, 2),
    ],
)
def test_a_constant_column_changes_nothing(cls, n_classes, prior, small_table):
    X = np.column_stack([small_table.X, np.full(144, 7.0)])
    y = target(small_table.y, n_classes)
    model = cls(prior, random_state=0).fit(X, y, task=small_table.ids)
    adapted = model.adapt(X[:5], y[:5])
    assert np.isfinite(outputs(adapted, X)).all()
    if prior in ("intercept", "isotropic", "diagonal"):
        plain = fitted(cls, n_classes, small_table, prior)
        expected = plain.adapt(small_table.X[:5], y[:5])
        assert_allclose(
            outputs(adapted, X), outputs(expected, small_table.X), atol=5e-3
        )


@pytest.mark.parametrize(
    ("prior", "cls", "n_classes"),
    [
        ("intercept", Regressor, 0),
        ("isotropic", Regressor, 0),
        ("isotropic", Classifier, 2),
        ("isotropic", Classifier, 3),
        ("low_rank", Classifier, 2),
        ("full", Regressor, 0),
    ],
)
def test_a_column_twice_is_a_column_of_half_the_variance(
    cls, n_classes, prior, small_table
):
    one, y = small_table.X[:, :1], target(small_table.y, n_classes)

    def adapted_outputs(X):
        model = cls(prior, random_state=0).fit(X, y, task=small_table.ids)
        return outputs(model.adapt(X[:5], y[:5]), X)

    found = adapted_outputs(np.hstack([one, one]))
    assert np.isfinite(found).all()
    if prior in ("intercept", "isotropic"):
        # equal except for the weak prior on the mean of logistic coefficients
        assert_allclose(found, adapted_outputs(one), atol=0.02)


def test_tasks_without_noise_are_learned_from_as_many_rows_as_coefficients():
    *tasks, (X, y) = make_linear_tasks(50, 12, 3, noise=0.0, random_state=0)
    for prior in PRIORS[2:]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A spread between tasks ended")
            model = Regressor(prior, random_state=0).meta_fit(tasks)
        adapted = model.adapt(X[:4], y[:4])
        assert adapted.score(X[4:], y[4:]) > 0.999, prior
        mean, deviation = adapted.predict(X, return_std=True)
        assert np.isfinite(mean).all() and np.isfinite(deviation).all()


@pytest.mark.parametrize(
    ("prior", "value"),
    [(prior, 7.0) for prior in PRIORS] + [("isotropic", 0.0), ("full", 1e9)],
)
def test_equal_targets_are_predicted(prior, value, small_table):
    t = small_table
    model = Regressor(prior, random_state=0).fit(t.X, np.full(144, value), task=t.ids)
    adapted = model.adapt(t.X[:3], np.full(3, value))
    for each in (model, adapted):
        assert_allclose(each.predict(t.X), np.full(144, value), atol=1e-4)
        assert np.isfinite(each.predict_interval(t.X)).all()


@EACH_PRIOR_AND_KIND
def test_two_tasks_are_enough(cls, n_classes, prior):
    are_enough(cls, n_classes, prior, 2)


@EACH_KIND
def test_from_five_tasks_a_structure_is_chosen(cls, n_classes):
    are_enough(cls, n_classes, "auto", 5)


def are_enough(cls, n_classes, prior, n_tasks):
    X, y, ids = stacked(make_linear_tasks(n_tasks, 10, 2, random_state=0))
    y = target(y, n_classes)
    model = cls(prior, random_state=0).fit(X, y, task=ids)
    assert model.n_tasks_ == n_tasks
    assert np.isfinite(outputs(model, X)).all()
    assert np.isfinite(outputs(model.adapt(X[:4], y[:4]), X)).all()
    if prior == "auto" and n_tasks < 5:
        assert model.prior_structure_ == "isotropic"


def test_an_intercept_is_all_that_differs_where_the_prior_says_so(linear_table):
    t = linear_table
    model = Regressor("intercept", random_state=0).fit(t.X, t.y, task=t.ids)
    adapted = model.adapt(t.X[:5], t.y[:5])
    # equal except for the error of the mean
    moved = np.abs(adapted.coef_ - model.prior_coef_)
    assert moved.max() < 0.3
    covariance = model.prior_covariance_
    assert_allclose(covariance[:3], 0, atol=1e-12)


# -- bad input ------------------------------------------------------------------------

BAD_FITS = {
    "NaN": (lambda X, y, ids: (np.where(X > 2, np.nan, X), y, ids), "NaN.*of task"),
    "inf": (
        lambda X, y, ids: (np.where(X > 2, np.inf, X), y, ids),
        "infinity.*of task",
    ),
    "no rows": (lambda X, y, ids: (X[:0], y[:0], ids[:0]), "0 sample"),
    "fewer targets": (lambda X, y, ids: (X, y[:-1], ids), "inconsistent numbers"),
    "fewer ids": (lambda X, y, ids: (X, y, ids[:-1]), "ids, but X has"),
    "1-D": (lambda X, y, ids: (X[:, 0], y, ids), "Expected 2D array"),
}


@BOTH
@pytest.mark.parametrize("kind", BAD_FITS)
def test_a_bad_table_is_refused_and_the_model_is_left_as_it_was(
    cls, kind, shared, unchanged
):
    model, tasks = shared[cls]
    spoil, message = BAD_FITS[kind]
    X, y, ids = spoil(*stacked(tasks))
    for each in (model, cls()):
        with unchanged(each), pytest.raises(ValueError, match=f"(?s){message}"):
            each.fit(X, y, task=ids)


BAD_ADAPTATIONS = {
    "NaN in X": (lambda X, y: (np.where(X == X[0, 0], np.nan, X), y), "NaN"),
    "fewer targets": (lambda X, y: (X, y[:-1]), "inconsistent numbers"),
    "fewer columns": (lambda X, y: (X[:, :1], y), "features"),
    "no weight": (lambda X, y: (X, y, np.zeros(len(y))), "zero"),
    "negative weight": (lambda X, y: (X, y, -np.ones(len(y))), "(?i)negative"),
}


@BOTH
@pytest.mark.parametrize("kind", BAD_ADAPTATIONS)
def test_bad_rows_are_refused_and_an_adapted_model_is_left_as_it_was(
    cls, kind, shared, unchanged
):
    model, tasks = shared[cls]
    spoil, message = BAD_ADAPTATIONS[kind]
    rows = spoil(*tasks[1])
    adapted = model.adapt(*tasks[0])
    for verb in (adapted.partial_adapt, adapted.adapt):
        with unchanged(adapted), pytest.raises(ValueError, match=message):
            verb(*rows)


def test_a_label_that_meta_training_has_not_seen_is_refused(shared, unchanged):
    model, ((X, _), *_) = shared[Classifier]
    adapted = model.adapt(X[:2], [0, 1])
    with unchanged(adapted), pytest.raises(ValueError, match=r"not seen.*\[2\]"):
        adapted.partial_adapt(X[:3], [0, 1, 2])


@BOTH
@pytest.mark.parametrize(
    "params",
    [
        {"prior": "spherical"},
        {"prior": None},
        {"tol": 0.0},
        {"max_iter": 0},
        {"fit_intercept": "no"},
        {"standardize": None},
        {"random_state": "seed"},
        {"base_estimator": "forest"},
    ],
    ids=str,
)
def test_a_parameter_out_of_its_range_is_refused(cls, params, shared):
    _, tasks = shared[cls]
    (name,) = params
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        cls(**params).meta_fit(tasks)


# -- compositions ---------------------------------------------------------------------


def through_joblib(model):
    buffer = BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


@pytest.mark.parametrize(
    ("prior", "cls", "n_classes"),
    [
        ("low_rank", Regressor, 0),
        ("isotropic", Classifier, 2),
        ("diagonal", Classifier, 3),
    ],
)
def test_a_model_and_its_adapted_copies_survive_a_file(
    prior, cls, n_classes, linear_table
):
    model = fitted(cls, n_classes, linear_table, prior)
    X, y = linear_table.X, target(linear_table.y, n_classes)
    adapted = model.adapt(X[:5], y[:5])
    assert_array_equal(outputs(through_joblib(adapted), X), outputs(adapted, X))
    more = through_joblib(adapted).partial_adapt(X[5:9], y[5:9])
    assert_array_equal(
        outputs(more, X), outputs(adapted.partial_adapt(X[5:9], y[5:9]), X)
    )
    again = through_joblib(model)
    assert_array_equal(
        outputs(again.adapt(X[:9], y[:9]), X), outputs(model.adapt(X[:9], y[:9]), X)
    )


def test_a_model_that_keeps_no_tasks_is_as_small_after_many_as_after_few():
    sizes = []
    for n_tasks in (10, 200):
        buffer = BytesIO()
        model = Regressor("diagonal", keep_tasks=False, random_state=0)
        joblib.dump(model.meta_fit(noisy_tasks(n_tasks)), buffer)
        sizes.append(buffer.tell())
    assert max(sizes) < 16_000 and abs(sizes[1] - sizes[0]) < 500


@BOTH
def test_clone_forgets_all_that_was_learned(cls, shared):
    model, _ = shared[cls]
    copied = clone(model)
    assert vars(copied).keys() == model.get_params().keys()


def test_a_search_chooses_prior_and_base_model(routing):
    X, y, ids = curved_table()
    search = GridSearchCV(
        Regressor(random_state=0),
        {
            "prior": ["intercept", "isotropic"],
            "base_estimator": [
                None,
                DecisionTreeRegressor(min_samples_leaf=10, random_state=0),
            ],
        },
        cv=GroupKFold(2).set_split_request(groups="task"),
        scoring=make_few_shot_scorer("neg_root_mean_squared_error", n_repeats=1),
        error_score="raise",
    ).fit(X, y, task=ids)
    assert search.best_params_["base_estimator"] is not None
    results = search.cv_results_
    for split in range(2):
        _, test = list(GroupKFold(2).split(X, y, ids))[split]
        train = np.setdiff1d(np.arange(len(y)), test)
        model = clone(search.estimator).set_params(**results["params"][0])
        model.fit(X[train], y[train], task=ids[train])
        expected = few_shot_scores(
            model,
            X[test],
            y[test],
            ids[test],
            scoring="neg_root_mean_squared_error",
            n_repeats=1,
        ).mean()
        assert_allclose(results[f"split{split}_test_score"][0], expected)
    adapted = adapt(search, X[:5], y[:5])
    assert adapted.predict(X[:20]).shape == (20,)


def test_a_pipeline_adapts_its_last_step(linear_tasks):
    X, y = linear_tasks[0]
    pipe = make_pipeline(StandardScaler(), Regressor("isotropic", random_state=0))
    meta_fit(pipe, linear_tasks)
    Z = pipe[0].transform(X)
    adapted = adapt(pipe, X[:5], y[:5])
    assert_array_equal(adapted.predict(X), pipe[-1].adapt(Z[:5], y[:5]).predict(Z))
    partial_adapt(adapted, X[5:9], y[5:9])
    assert_allclose(adapted.predict(X), pipe[-1].adapt(Z[:9], y[:9]).predict(Z))
    assert pipe[-1].n_adapt_rows_ == 0


def test_a_frozen_model_adapts(shared):
    for model, tasks in shared.values():
        X, y = tasks[0]
        adapted = adapt(FrozenEstimator(model), X[:5], y[:5])
        assert_array_equal(adapted.predict(X), model.adapt(X[:5], y[:5]).predict(X))


def test_targets_may_be_transformed(linear_tasks):
    tasks = [(X, np.exp(y)) for X, y in linear_tasks]
    model = TransformedTargetRegressor(
        Regressor("isotropic", random_state=0), func=np.log, inverse_func=np.exp
    )
    meta_fit(model, tasks)
    X, y = linear_tasks[0]
    plain = Regressor("isotropic", random_state=0).meta_fit(linear_tasks)
    found = adapt(model, X[:5], np.exp(y[:5])).predict(X)
    assert_allclose(found, np.exp(plain.adapt(X[:5], y[:5]).predict(X)), rtol=1e-6)


@BOTH
def test_a_few_shot_estimator_adapts_a_frozen_model(cls, shared, unchanged):
    model, tasks = shared[cls]
    X, y = tasks[0]
    wrapper = FewShotRegressor if cls is Regressor else FewShotClassifier
    with unchanged(model):
        few = wrapper(FrozenEstimator(model)).fit(X[:5], y[:5])
    assert_array_equal(few.predict(X), model.adapt(X[:5], y[:5]).predict(X))


@EACH_KIND
def test_score_with_ids_is_the_few_shot_score(cls, n_classes, linear_table):
    model = fitted(cls, n_classes, linear_table)
    X, y = linear_table.X, target(linear_table.y, n_classes)
    expected = few_shot_scores(model, X, y, linear_table.ids).mean()
    assert_allclose(model.score(X, y, task=linear_table.ids), expected)
    with pytest.warns(ZeroShotWarning):
        model.score(X, y)


# -- little data ----------------------------------------------------------------------


def test_tasks_of_one_row_do_not_make_a_classifier_overconfident():
    """Scored on the row that it adapted to, the widest prior would be the best."""
    rng = np.random.default_rng(1)
    W = [1.0, -1.0, 0.5] + 0.3 * rng.normal(size=(240, 3))
    X = rng.normal(size=(240, 8, 3))
    y = (rng.random((240, 8)) < expit(np.einsum("tnd,td->tn", X, W))).astype(int)
    tasks = [(X[t, :1], y[t, :1]) for t in range(200)]
    with pytest.warns(UserWarning, match="No task has more than one row"):
        model = Classifier(random_state=0).meta_fit(tasks)
    losses = [
        log_loss(
            y[t, 3:],
            model.adapt(X[t, :3], y[t, :3]).predict_proba(X[t, 3:]),
            labels=[0, 1],
        )
        for t in range(200, 240)
    ]
    assert np.mean(losses) < np.log(2)


def test_fewer_rows_than_columns_warn():
    tasks = make_linear_tasks(4, 3, 20, random_state=0)
    with pytest.warns(UserWarning, match="12 rows for 20 columns"):
        Regressor(random_state=0).meta_fit(tasks)


def test_if_most_tasks_have_one_row_the_base_model_is_fitted_to_y():
    tasks = make_linear_tasks(40, 1, 2, random_state=0)
    with pytest.warns(UserWarning, match="No task has more than one row"):
        fits = [
            Regressor(
                "isotropic", base_estimator=Ridge(), base_target=target, random_state=0
            )
            .meta_fit(tasks)
            .base_estimator_.coef_
            for target in ("residual", "y")
        ]
    assert_allclose(*fits)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_unit_of_a_constant_column_does_not_matter(fit_intercept):
    rng = np.random.default_rng(2)
    task = np.repeat(np.arange(15), 8)
    X = np.column_stack([rng.normal(size=120), rng.random(120) < 0.3, np.ones(120)])
    y = X @ [1, 1, 2] + rng.normal(size=15)[task] * (1 + X[:, 0])
    y += 0.5 * rng.normal(size=120)
    rows = X[:5] + [0, 0, 1]  # this number differs from the one in training

    def predictions(unit):
        scale = np.array([1.0, 1.0, unit])
        model = Regressor("diagonal", fit_intercept=fit_intercept, random_state=0)
        model.fit(X * scale, y, task=task)
        adapted = model.adapt(X[:4] * scale, y[:4])
        deviations = model.predict(rows * scale, return_std=True)[1]
        after = adapted.predict(X * scale)
        return [*model.predict(X * scale), *deviations, *after]

    expected = predictions(1.0)
    for unit in (1e-3, 10.0):
        assert_allclose(predictions(unit), expected, rtol=1e-6, atol=1e-6)


def test_no_prior_variance_is_below_zero():
    # an intercept far from all rows, made of numbers that nearly cancel
    rng = np.random.default_rng(2)
    task = np.repeat(np.arange(25), 8)
    a, year = rng.normal(size=200), 2000 + rng.integers(0, 20, 200)
    X = np.column_stack([a, year, np.ones(200), rng.random(200) < 0.3])
    y = X @ [1, 0.1, 0, 1] + rng.normal(size=25)[task] * (1 + a)
    y += 0.5 * rng.normal(size=200)
    model = EmpiricalBayesRegressor("diagonal", standardize=False)
    model.fit(X * [1, 1e-5, 1, 1], y, task=task)
    assert (np.diag(model.prior_covariance_) >= 0).all()
