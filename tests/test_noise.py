"""Noise that differs between tasks, against dense algebra and simulated tasks."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal, norm
from sklearn import config_context
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import EmpiricalBayesRegressor, LearnedFeatures, adapt, meta_fit
from skmeta._core.prior import noise
from skmeta._core.prior.fit import first_fit
from skmeta._core.prior.gaussian import GaussianTasks, condition
from skmeta._core.prior.noise import (
    Mixture,
    NoiseBelief,
    NoiseTasks,
    Posterior,
    RowTriangle,
)
from skmeta._core.prior.noise_model import NoiseModel
from skmeta._core.prior.structures import Diagonal, Full, groups
from skmeta.model_selection import few_shot_scores, make_few_shot_scorer

FACTORS = (0.2, 1.0, 6.0)


def draw_tasks(n_tasks=80, n_rows=15, deviations=(0.25, 2.0), seed=0, n_features=2):
    """Linear tasks; the deviation of the noise of each is one of a few."""
    rng = np.random.default_rng(seed)
    tasks = []
    for _ in range(n_tasks):
        X = rng.normal(size=(n_rows, n_features))
        coef = rng.normal(1.0, 0.5, size=n_features)
        y = X @ coef + rng.normal() + rng.choice(deviations) * rng.normal(size=n_rows)
        tasks.append((X, y))
    return tasks


def fitted(tasks=None, noise="task", **params):
    params = {"prior": "isotropic", "random_state": 0} | params
    model = EmpiricalBayesRegressor(noise=noise, **params)
    return model.meta_fit(draw_tasks() if tasks is None else tasks)


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Intervals are calibrated on fewer draws of rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmeta._core.prior.calibration.N_GIVEN_DRAWS", 50)
        yield


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture(scope="module")
def shared():
    return fitted(noise="shared")


@pytest.fixture
def belief():
    rng = np.random.default_rng(1)
    weights = np.array([0.3, 0.5, 0.2])
    return NoiseBelief(rng.normal(size=3), rng.normal(size=(3, 3)), 0.4, weights)


@pytest.fixture
def parts():
    """Rows (X, y, weight) of ragged tasks; the last column is the intercept."""
    rng = np.random.default_rng(2)
    found = []
    for n in (1, 2, 3, 6, 9, 12):
        X = np.column_stack([rng.normal(size=(n, 2)), np.ones(n)])
        found.append((X, rng.normal(size=n), np.ones(n)))
    return found


def dense(belief, factor, X):
    """The distribution of all rows of a task whose noise has this factor."""
    half = X @ belief.factor
    noise = factor * belief.noise * np.eye(len(X))
    return multivariate_normal(X @ belief.mean, half @ half.T + noise)


def dense_evidences(belief, X, y):
    return np.array([dense(belief, f, X).logpdf(y) for f in FACTORS])


# -- one task, against dense algebra --------------------------------------------------


def test_the_evidence_is_the_sum_over_factors_of_dense_normal_densities(belief, parts):
    tasks = GaussianTasks.gather(parts, True)
    e = noise.evidences(tasks, belief, FACTORS)
    expected = np.array([dense_evidences(belief, X, y) for X, y, _ in parts])
    assert_allclose(e, expected, rtol=1e-9)
    together = logsumexp(expected + np.log(belief.weights), axis=1)
    assert_allclose(noise.log_evidence(e, belief.weights), together, rtol=1e-9)


def test_the_posterior_is_the_mixture_of_dense_posteriors(belief, parts):
    X, y, weight = parts[-1]
    found = Posterior.of(belief, FACTORS, RowTriangle.by(X, y, weight, np.asarray))
    shares = softmax(dense_evidences(belief, X, y) + np.log(belief.weights))
    means, covariances = [], []
    for factor in FACTORS:
        S = belief.factor @ belief.factor.T
        gain = S @ X.T @ np.linalg.inv(dense(belief, factor, X).cov)
        means.append(belief.mean + gain @ (y - X @ belief.mean))
        covariances.append(S - gain @ X @ S)
    mean = shares @ np.array(means)
    apart = np.array(means) - mean
    covariance = np.einsum("j,jab->ab", shares, covariances)
    covariance = covariance + np.einsum("j,ja,jb->ab", shares, apart, apart)
    assert_allclose(found.shares, shares, rtol=1e-9)
    assert_allclose(found.mean, mean, rtol=1e-9)
    assert_allclose(found.factor @ found.factor.T, covariance, atol=1e-12)


def test_factors_and_means_come_back_out_of_the_factor_of_a_mixture(belief, parts):
    X, y, weight = parts[2]
    found = Posterior.of(belief, FACTORS, RowTriangle.by(X, y, weight, np.asarray))
    factors, apart = Posterior.split(found.factor, found.shares)
    assert_allclose(factors, found.factors, rtol=1e-12)
    assert_allclose(apart, found.means - found.mean, atol=1e-12)


def test_the_density_of_a_new_row_is_a_ratio_of_evidences(model):
    X, y = draw_tasks(1, seed=9)[0]
    learned, scaling = model._learned, model._scaling
    adapted = model.adapt(X[:6], y[:6])
    one = learned.calibration.after._replace(scales=np.ones(2))
    plain = learned.calibration._replace(after=one)
    learned = replace(learned, calibration=plain)
    rows = np.column_stack([scaling.transform_X(X), np.ones(len(X))])
    y = (y - scaling.y_mean) / scaling.y_scale
    found = learned.log_density(rows[6:, :-1], y[6:], present=adapted._present)
    belief = learned.model._belief(learned)

    def evidence(some):
        e = [dense(belief, f, rows[some]).logpdf(y[some]) for f in noise.FACTORS]
        return logsumexp(e + noise.logarithms(belief.weights))

    known = list(range(6))
    expected = [evidence([*known, i]) - evidence(known) for i in range(6, len(y))]
    assert_allclose(found, expected, rtol=1e-8)


def test_one_factor_conditions_as_one_noise(belief, parts):
    X, y, weight = parts[-1]
    one = belief._replace(weights=np.ones(2) / 2)
    found = Posterior.of(one, (1.0, 1.0), RowTriangle.by(X, y, weight, np.asarray))
    mean, factor = condition(belief.mean, belief.factor, belief.noise, X, y, weight)
    assert_allclose(found.mean, mean, rtol=1e-12)
    assert_allclose(found.factor @ found.factor.T, factor @ factor.T, atol=1e-13)


# -- learning -------------------------------------------------------------------------


def shares_of(parts):
    rng = np.random.default_rng(3)
    shares = rng.uniform(size=(len(parts), len(FACTORS)))
    return shares / shares.sum(axis=1, keepdims=True)


def test_weighted_tasks_have_the_mean_evidence_over_factors(parts):
    tasks = NoiseTasks.of(GaussianTasks.gather(parts, True), FACTORS, shares_of(parts))
    L = np.diag([0.5, 1.0, 0.8])
    found = tasks.evidence(L)
    spread = np.sqrt(found.noise) * L
    belief = NoiseBelief(found.mean, spread, found.noise, None)
    e = np.array([dense_evidences(belief, X, y) for X, y, _ in parts])
    # so few rows draw the mean to zero; that is a part of what is maximised
    held = found.mean @ tasks.basis.to.T @ tasks._held @ tasks.basis.to @ found.mean
    expected = (tasks.shares * e).sum() - 0.5 * held / found.noise
    assert_allclose(found.value, expected, rtol=1e-9)


def test_the_gradient_of_the_evidence_of_weighted_tasks_is_exact(parts):
    tasks = NoiseTasks.of(GaussianTasks.gather(parts, True), FACTORS, shares_of(parts))
    L = np.array([[0.5, 0.0, 0.0], [0.2, 0.7, 0.0], [-0.1, 0.3, 0.9]])
    gradient = tasks.evidence(L).D @ L
    for i, j in np.ndindex(L.shape):
        step = np.zeros_like(L)
        step[i, j] = 1e-5
        change = tasks.evidence(L + step).value - tasks.evidence(L - step).value
        assert_allclose(gradient[i, j], change / 2e-5, rtol=1e-5, atol=1e-7)


def test_weighted_tasks_of_one_factor_are_the_tasks_themselves(parts):
    tasks, L = GaussianTasks.gather(parts, True), np.diag([0.5, 1.0, 0.8])
    shares = np.zeros((len(parts), 3))
    shares[:, 1] = 1.0
    weighted = NoiseTasks.of(tasks, FACTORS, shares)
    for a, b in zip(weighted.evidence(L), tasks.evidence(L), strict=True):
        assert_allclose(a, b, rtol=1e-12)
    assert_allclose(
        weighted.degrees_of_freedom(L), tasks.degrees_of_freedom(L), rtol=1e-12
    )


def test_the_weights_have_the_largest_evidence():
    e = np.random.default_rng(0).normal(scale=2.0, size=(60, 3))
    weights = noise.best_weights(e)
    best = noise.log_evidence(e, weights).sum()
    for other in np.random.default_rng(1).dirichlet(np.ones(3), size=200):
        mixed = 0.9 * weights + 0.1 * other
        assert noise.log_evidence(e, mixed).sum() <= best + 1e-6


def test_each_round_of_learning_raises_the_evidence():
    rows = [
        (np.column_stack([X, np.ones(len(X))]), y, np.ones(len(y)))
        for X, y in draw_tasks()
    ]
    tasks = GaussianTasks.gather(rows, True)
    structure = Diagonal(groups("isotropic", 2, 1, True))
    prior = first_fit(tasks, structure)
    found = [
        noise.fit_noise(tasks, structure, prior, noise.FACTORS, n).log_evidence
        for n in range(4)
    ]
    assert found[0] > prior.log_evidence + 100
    assert (np.diff(found) > 0).all()


def test_the_noise_of_simulated_tasks_is_recovered(model):
    factors, weights = model.noise_factors_, model.noise_weights_
    variances = factors * model.noise_variance_
    quiet = variances < 0.5
    assert 0.35 < weights[quiet].sum() < 0.65
    assert_allclose(
        weights[quiet] @ variances[quiet] / weights[quiet].sum(), 0.06, atol=0.04
    )
    loud = weights[~quiet] @ variances[~quiet] / weights[~quiet].sum()
    assert_allclose(loud, 4.0, rtol=0.35)


def test_an_adapted_model_knows_the_noise_of_its_task(model):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(40, 2))
    for deviation in (0.25, 2.0):
        y = X.sum(axis=1) + deviation * rng.normal(size=40)
        adapted = model.adapt(X, y)
        assert_allclose(adapted.noise_weights_.sum(), 1.0)
        assert 0.6 < np.sqrt(adapted.noise_variance_) / deviation < 1.5


def test_new_tasks_are_predicted_better_and_hold_their_intervals(model, shared):
    density, held = [], []
    for one in (shared, model):
        scaling = one._scaling
        of_one = []
        for X, y in draw_tasks(80, seed=5):
            adapted = one.adapt(X[:8], y[:8])
            density_of_task = adapted._learned.log_density(
                scaling.transform_X(X[8:]),
                (y[8:] - scaling.y_mean) / scaling.y_scale,
                present=adapted._present,
            )
            low, high = adapted.predict_interval(X[8:], coverage=0.8).T
            of_one.append(
                (density_of_task.mean(), np.mean((low <= y[8:]) & (y[8:] <= high)))
            )
        found, share = np.transpose(of_one)
        density.append(found)
        held.append(share)
    gain = density[1] - density[0]
    assert gain.mean() > 0.2 + 2 * gain.std() / np.sqrt(len(gain))
    assert_allclose(np.mean(held[1]), 0.8, atol=0.05)
    off = np.abs(np.array(held) - 0.8).mean(axis=1)
    assert off[1] < 0.7 * off[0]


# -- the choice -----------------------------------------------------------------------


def test_auto_takes_a_noise_per_task_only_where_held_out_tasks_gain():
    assert len(fitted(noise="auto").noise_weights_) == len(noise.FACTORS)
    same = draw_tasks(deviations=(1.0,))
    auto, one = fitted(same, "auto"), fitted(same, "shared")
    assert not hasattr(auto, "noise_weights_")
    X, y = same[0]
    assert_array_equal(auto.adapt(X, y).predict(X), one.adapt(X, y).predict(X))


def test_a_noise_per_task_costs_little_where_tasks_do_not_differ():
    same = draw_tasks(deviations=(1.0,))
    task, one = fitted(same, "task"), fitted(same, "shared")
    assert_allclose(task.noise_variance_, one.noise_variance_, rtol=0.02)
    X, y = same[0]
    assert_allclose(task.adapt(X, y).coef_, one.adapt(X, y).coef_, atol=0.02)


@pytest.mark.parametrize("noise", ["task", "auto"])
def test_one_task_and_few_tasks_have_a_model(noise):
    X, y = draw_tasks(1)[0]
    alone = EmpiricalBayesRegressor(noise=noise, random_state=0).fit(X, y)
    assert not hasattr(alone, "noise_factors_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        few = fitted(draw_tasks(3), noise).adapt(X[:4], y[:4])
        assert np.isfinite(few.predict_interval(X)).all()
    assert hasattr(few, "noise_weights_") == (noise == "task")


def test_a_model_of_one_factor_is_the_model_of_one_noise(shared, monkeypatch):
    monkeypatch.setattr(
        EmpiricalBayesRegressor, "_task_model", lambda *_: NoiseModel(factors=(1.0,))
    )
    model = fitted()
    assert_allclose(model.log_marginal_likelihood_, shared.log_marginal_likelihood_)
    X, y = draw_tasks(1, seed=7)[0]
    for some in (0, 1, 5):
        a, b = model, shared
        if some:
            a, b = (one.adapt(X[:some], y[:some]) for one in (a, b))
        assert_allclose(a.predict(X, return_std=True), b.predict(X, return_std=True))
        assert_allclose(a.predict_interval(X), b.predict_interval(X), rtol=1e-6)
        assert_allclose(a.covariance_, b.covariance_, rtol=1e-5, atol=1e-9)
        assert_array_equal(a.suggest_queries(X, 4), b.suggest_queries(X, 4))


# -- the estimator --------------------------------------------------------------------

KINDS = {
    "intercept": {"prior": "intercept"},
    "isotropic": {"prior": "isotropic"},
    "diagonal": {"prior": "diagonal"},
    "low rank": {"prior": "low_rank"},
    "full": {"prior": "full"},
    "raw units": {"standardize": False},
    "no intercept": {"fit_intercept": False},
    "base": {"base_estimator": HistGradientBoostingRegressor(max_iter=5)},
}


def adapted_in_portions(model, X, y, weight):
    order = np.random.default_rng(0).permutation(len(y))
    first, *others = np.array_split(order, 4)
    model = model.adapt(X[first], y[first], weight[first])
    for some in others:
        model = model.partial_adapt(X[some], y[some], weight[some])
    return model


def assert_same(one, other, X):
    assert_allclose(one.noise_weights_, other.noise_weights_, atol=1e-8)
    assert_allclose(one.predict(X, True), other.predict(X, True), rtol=1e-8)
    assert_allclose(one.predict_interval(X), other.predict_interval(X), rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_portions_of_rows_do_not_matter(kind):
    model = fitted(draw_tasks(40, 10), **KINDS[kind])
    X, y = draw_tasks(1, seed=6)[0]
    weight = np.linspace(0.5, 2.0, len(y))
    assert_same(adapted_in_portions(model, X, y, weight), model.adapt(X, y, weight), X)


def test_learned_features_are_used_with_a_noise_per_task(monkeypatch):
    monkeypatch.setattr("skmeta._core.prior.features.MIN_GAIN", -1e9)  # they pay
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(40):
        x = rng.uniform(-3, 3, size=20)
        wave = rng.normal() * np.sin(2 * x) + rng.normal() * np.cos(2 * x)
        noise = rng.choice([0.05, 0.5]) * rng.normal(size=20)
        tasks.append((x[:, None], wave + noise))
    features = LearnedFeatures((16,), max_iter=20, learning_rate=0.02)
    model = fitted(tasks, features=features)
    assert model.n_feature_iter_ > 0
    assert np.isclose(model.noise_weights_.sum(), 1.0)
    assert model.noise_weights_.max() < 0.9
    X, y = tasks[0]
    weight = np.linspace(0.5, 2.0, len(y))
    assert_same(adapted_in_portions(model, X, y, weight), model.adapt(X, y, weight), X)


def test_a_weight_of_two_is_two_rows(model):
    X, y = draw_tasks(1, seed=6)[0]
    twice = model.adapt(np.vstack([X, X[:3]]), np.hstack([y, y[:3]]))
    weighted = model.adapt(X, y, np.where(np.arange(len(y)) < 3, 2.0, 1.0))
    assert_allclose(weighted.predict(X, True), twice.predict(X, True), rtol=1e-9)
    assert_allclose(weighted.noise_weights_, twice.noise_weights_, atol=1e-12)


def test_many_rows_are_those_of_their_blocks(model, monkeypatch):
    X, y = draw_tasks(1, n_rows=500, seed=6)[0]
    expected = model.adapt(X, y)
    monkeypatch.setattr("skmeta._core.prior.gaussian.QR_CELLS", 64)
    found = model.adapt(X, y)
    assert_allclose(found.covariance_, expected.covariance_, rtol=1e-9)


def test_the_deviation_is_that_of_the_mixture(model):
    X, y = draw_tasks(1, seed=8)[0]
    adapted = model.adapt(X[:3], y[:3])
    rows = np.column_stack([X, np.ones(len(X))])
    variance = np.einsum("ni,ij,nj->n", rows, adapted.covariance_, rows)
    variance += adapted.noise_variance_
    _, deviation = adapted.predict(X, return_std=True)
    assert_allclose(
        adapted.predict(X), rows[:, :2] @ adapted.coef_ + adapted.intercept_
    )
    assert_allclose(deviation, np.sqrt(variance), rtol=0.02)  # raised a little


def test_draws_have_mean_and_deviation_of_the_mixture(model):
    X, y = draw_tasks(1, seed=8)[0]
    for present in (None, model.adapt(X[:3], y[:3])._present):
        rows = model._scaling.transform_X(X[:4])
        drawn = model._learned.draw(
            rows, 40000, np.random.default_rng(0), present=present
        )[..., 0]
        mean, deviation, _ = model._learned.predictive(rows, present=present).T
        assert_allclose(drawn.mean(axis=0), mean, atol=0.03)
        assert_allclose(drawn.std(axis=0), deviation, rtol=0.03)


def test_units_and_the_order_of_tasks_do_not_matter():
    tasks = draw_tasks(40)
    model = fitted(tasks)
    a, b = np.array([1e3, 1e-2]), np.array([5.0, -1.0])
    other = fitted([(X * a + b, 50.0 * y - 7.0) for X, y in tasks])
    X, y = draw_tasks(1, seed=6)[0]
    one = model.adapt(X[:5], y[:5]).predict_interval(X)
    two = other.adapt(X[:5] * a + b, 50.0 * y[:5] - 7.0).predict_interval(X * a + b)
    assert_allclose((two + 7.0) / 50.0, one, rtol=1e-5)
    assert_allclose(other.noise_weights_, model.noise_weights_, atol=1e-6)
    assert_allclose(other.noise_variance_, 2500 * model.noise_variance_, rtol=1e-6)
    by_id = {i: task for i, task in enumerate(tasks)}
    again = fitted(dict(reversed(by_id.items())))
    assert_allclose(again.noise_weights_, model.noise_weights_, atol=1e-6)


def test_sparse_rows_give_the_model_of_dense_ones():
    tasks = draw_tasks(40, 10)
    X, y = draw_tasks(1, seed=6)[0]
    dense_model = fitted(tasks).adapt(X[:5], y[:5])
    sparse_model = fitted([(csr_array(X), y) for X, y in tasks])
    sparse_model = sparse_model.adapt(csr_array(X[:5]), y[:5])
    assert_allclose(
        sparse_model.predict_interval(csr_array(X)),
        dense_model.predict_interval(X),
        rtol=1e-6,
    )


def test_ragged_tasks_of_one_row_and_more_are_learned_from():
    rng = np.random.default_rng(0)
    tasks = [
        (X[:n], y[:n])
        for (X, y), n in zip(draw_tasks(60), rng.integers(1, 12, size=60), strict=True)
    ]
    adapted = fitted(tasks).adapt(*tasks[0])
    assert np.isfinite(adapted.predict_interval(tasks[0][0])).all()


def test_tasks_without_any_noise_are_learned_from():
    rng = np.random.default_rng(0)
    tasks = []
    for t in range(30):
        X = rng.normal(size=(12, 2))
        deviation = 0.0 if t % 2 else 1.0
        tasks.append((X, X @ rng.normal(size=2) + deviation * rng.normal(size=12)))
    X, y = tasks[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        adapted = fitted(tasks).adapt(X[:6], y[:6])
    assert_allclose(adapted.predict(X), y, atol=0.2)
    assert np.isfinite(adapted.predict_interval(X)).all()


def test_compositions_and_searches_pass_the_option_on():
    tasks = draw_tasks(12, 8)
    X, y = draw_tasks(1, seed=6)[0]
    pipe = make_pipeline(
        StandardScaler(), EmpiricalBayesRegressor("isotropic", noise="task")
    )
    few = adapt(meta_fit(pipe, tasks), X[:4], y[:4])
    assert few.predict(X, return_std=True)[1].shape == y.shape
    rows = np.concatenate([X for X, _ in tasks])
    targets = np.concatenate([y for _, y in tasks])
    ids = np.repeat(np.arange(12), 8)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            EmpiricalBayesRegressor("isotropic", random_state=0),
            {"noise": ["shared", "task"]},
            cv=GroupKFold(2).set_split_request(groups="task"),
            scoring=make_few_shot_scorer("r2", n_support=4),
        ).fit(rows, targets, task=ids)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert adapt(search, X[:4], y[:4]).predict(X).shape == y.shape
    scores = few_shot_scores(few[-1], rows, targets, task=ids, n_support=4)
    assert np.isfinite(scores).all()


def test_many_tasks_are_adapted_to_at_once(model):
    tasks = draw_tasks(3, seed=6)
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    ids = np.repeat(np.arange(3), 15)
    found = model.adapt_predict(X, y, X, task=ids, task_new=ids)
    expected = [model.adapt(X, y).predict(X) for X, y in tasks]
    assert_allclose(found, np.concatenate(expected))


def test_questions_of_a_mixture_have_the_uncertainty_of_the_mixture(model):
    X, y = draw_tasks(1, seed=6)[0]
    adapted = model.adapt(X[:2], y[:2])
    rows = np.column_stack([X, np.ones(len(X))])
    J = rows @ adapted.covariance_ @ rows.T
    gain = (J**2).sum(axis=0) / (adapted.noise_variance_ + np.diag(J))
    assert adapted.suggest_queries(X)[0] == gain.argmax()


# -- targets --------------------------------------------------------------------------


def test_the_end_of_an_interval_is_exceeded_as_rarely_as_it_should():
    rng = np.random.default_rng(0)
    deviations = np.exp(rng.normal(size=(50, 4)))
    shares = np.array([0.4, 0.3, 0.3, 1e-30])
    shifts = rng.normal(size=(50, 4))
    shifts -= (shifts @ shares)[:, None]
    targets = Mixture(shares, deviations, shifts)
    z = rng.uniform(0.01, 6.0, size=50)
    h = targets.distance(z)
    inside = norm.cdf(h[:, None], shifts, deviations) - norm.cdf(
        -h[:, None], shifts, deviations
    )
    assert_allclose(inside @ shares, norm.cdf(z) - norm.cdf(-z), rtol=1e-9)
    assert_allclose(targets.in_deviations(h), z, rtol=1e-6)


def test_one_normal_distribution_has_its_own_deviations():
    targets = Mixture(np.ones(1), np.array([[2.0], [0.5]]), np.zeros((2, 1)))
    z = np.array([1.64, 30.0])  # also where probabilities are below all numbers
    assert_allclose(targets.distance(z), z * [2.0, 0.5])
    assert_allclose(targets.in_deviations(z * [2.0, 0.5]), z)


def test_a_full_structure_is_learned_with_a_noise_per_task(parts):
    tasks = GaussianTasks.gather(parts, True)
    structure = Full(3, shrinkage=3)
    found = noise.fit_noise(tasks, structure, first_fit(tasks, structure), FACTORS)
    assert_allclose(found.weights.sum(), 1.0)
    assert found.objective <= found.log_evidence


def test_an_unknown_noise_is_refused():
    with pytest.raises(ValueError, match="noise"):
        fitted(draw_tasks(5), noise="row")


def test_rows_without_noise_leave_degrees_of_freedom_that_can_be_computed(parts):
    tasks = NoiseTasks.of(GaussianTasks.gather(parts, True), FACTORS, shares_of(parts))
    n, of_tasks, *of_mean = tasks.degrees_of_freedom(1e9 * np.eye(3))
    least = sum(min(len(y), 3) for _, y, _ in parts)
    assert_allclose(of_tasks, least, rtol=1e-6)
    assert np.isfinite(of_mean).all()
    assert n == sum(len(y) for _, y, _ in parts)
