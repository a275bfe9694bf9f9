"""The search for a prior, against dense likelihoods, EM, and the truth behind tasks."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import multivariate_normal

from skmeta._core.prior import gaussian
from skmeta._core.prior.fit import first_fit, fit_prior, next_fit
from skmeta._core.prior.gaussian import condition
from skmeta._core.prior.laplace import LaplaceTasks
from skmeta._core.prior.likelihoods import Bernoulli, Categorical
from skmeta._core.prior.search import StructureSearch, zero_shot
from skmeta._core.prior.structures import Diagonal, Full, LowRank, groups

EXACT = {"tol": 1e-9, "max_iter": 2000}
LOOSE = {"tol": 1e-5, "max_iter": 1000}
REACTION = (250.0, 10.0)  # mean intercept and slope, in ms and ms per day


# -- the maximum of the evidence ------------------------------------------------------


@pytest.fixture(scope="module")
def reaction():
    """18 subjects on 10 days, like the sleep study of Belenky et al.: X and (T, n) y.

    In units of 50 ms, and 5 days.
    """
    rng = np.random.default_rng(0)
    days = np.arange(10.0)
    X = np.column_stack([days / 5, np.ones(10)])
    covariance = np.array([[36.0, 10.0], [10.0, 600.0]])
    theta = rng.multivariate_normal(REACTION[::-1], covariance, size=18)
    y = theta @ np.vstack([days, np.ones(10)]) + 25 * rng.normal(size=(18, 10))
    return X, y / 50


def gathered(X, Y):
    return gaussian.GaussianTasks.gather([(X, y, np.ones(len(y))) for y in Y], True)


@pytest.mark.parametrize("structure", [Diagonal(np.array([0, 1])), Full(2)])
def test_a_search_does_not_stay_where_a_spread_has_become_zero(reaction, structure):
    # at zero the evidence is flat in the deviation, even if it rises in the variance
    tasks = gathered(*reaction)
    best = first_fit(tasks, structure, **EXACT)
    for zeros in (slice(0, 1), slice(0, 2)):
        numbers = best.numbers.copy()
        numbers[zeros] *= 1e-9
        again = fit_prior(tasks, structure, numbers, **LOOSE)
        assert again.log_evidence > best.log_evidence - 1e-3


def maximum_likelihood(X, Y, lower):
    """Mean, covariance, noise at the maximum of the dense density of all rows.

    ``lower`` are the cells of the covariance's Cholesky factor that are not zero.
    """

    def unpack(x):
        C = np.zeros((2, 2))
        C[lower] = x[2:-1]
        return x[:2], C @ C.T, np.exp(x[-1])

    def negative(x):
        mean, covariance, noise = unpack(x)
        dense = multivariate_normal(
            X @ mean, X @ covariance @ X.T + noise * np.eye(len(X))
        )
        return -dense.logpdf(Y).sum()

    n = len(lower[0])
    x = np.concatenate([Y.mean() * np.array([0, 1]), np.ones(n), [np.log(Y.var())]])
    # start again where it stopped, since its curvature is out of date
    for _ in range(3):
        x = minimize(negative, x, method="BFGS", options={"gtol": 1e-7}).x
    return *unpack(x), -negative(x)


@pytest.mark.parametrize(
    ("structure", "lower"),
    [
        (Diagonal(np.arange(2)), np.diag_indices(2)),
        (Full(2), np.tril_indices(2)),
        # for two numbers this is also any covariance
        (LowRank(2, 1), np.tril_indices(2)),
    ],
    ids=["diagonal", "full", "low_rank"],
)
def test_the_prior_has_the_largest_dense_likelihood(structure, lower, reaction):
    X, Y = reaction
    mean, covariance, noise, value = maximum_likelihood(X, Y, lower)
    simple = first_fit(gathered(X, Y), Diagonal(np.arange(2)), **EXACT)
    prior = next_fit(gathered(X, Y), structure, simple, **EXACT)
    assert_allclose(prior.log_evidence, value, atol=1e-5)
    assert_allclose(prior.mean, mean, rtol=1e-3)
    assert_allclose(prior.noise, noise, rtol=1e-3)
    assert_allclose(prior.covariance, covariance, rtol=2e-3, atol=1e-5)


def test_the_prior_is_where_em_ends(reaction):
    X, Y = reaction
    mean, covariance, noise = np.zeros(2), np.eye(2), 1.0
    for _ in range(5000):
        precision = np.linalg.inv(covariance)
        V = np.linalg.inv(precision + X.T @ X / noise)
        theta = (precision @ mean + Y @ X / noise) @ V
        mean = theta.mean(axis=0)
        covariance = V + (theta - mean).T @ (theta - mean) / len(theta)
        noise = np.mean((Y - theta @ X.T) ** 2) + np.trace(X @ V @ X.T) / len(X)
    prior = first_fit(gathered(X, Y), Full(2), **EXACT)
    assert_allclose(prior.mean, mean, rtol=1e-4)
    assert_allclose(prior.covariance, covariance, rtol=1e-3)
    assert_allclose(prior.noise, noise, rtol=1e-4)


def test_a_new_task_varies_by_the_spread_and_by_the_error_of_the_mean(reaction):
    X, Y = reaction
    prior = first_fit(gathered(X, Y), Full(2), **EXACT)
    # all tasks have the same X, so the mean is that of independent estimates
    error = prior.covariance + prior.noise * np.linalg.inv(X.T @ X)
    assert_allclose(prior.mean_covariance, error / 18, rtol=1e-5)
    assert_allclose(
        prior.factor @ prior.factor.T, prior.covariance + prior.mean_covariance
    )


@pytest.mark.parametrize(
    "structure",
    [Diagonal(np.arange(2)), LowRank(2, 1), Full(2), Full(2, shrinkage=2.0)],
    ids=["diagonal", "low_rank", "full", "full, shrunk"],
)
def test_units_of_a_column_do_not_change_the_prior(structure, reaction):
    X, Y = reaction
    A = np.diag([7.0, 0.2])
    one, other = (
        next_fit(
            gathered(X, Y),
            structure,
            first_fit(gathered(X, Y), Diagonal(np.arange(2)), **EXACT),
            **EXACT,
        )
        for X in (X, X @ A)
    )
    assert_allclose(A @ other.mean, one.mean, rtol=1e-4)
    assert_allclose(A @ other.covariance @ A, one.covariance, rtol=1e-3, atol=1e-6)
    assert_allclose(other.log_evidence, one.log_evidence, atol=1e-5)


def test_shrinkage_draws_a_correlation_towards_zero(reaction):
    X, Y = reaction
    correlations = []
    for shrinkage in (0.0, 2.0, 20.0, 1e6):
        prior = first_fit(gathered(X, Y), Full(2, shrinkage), **EXACT)
        S = prior.covariance
        correlations.append(S[0, 1] / np.sqrt(S[0, 0] * S[1, 1]))
    assert (np.diff(np.abs(correlations)) < 0).all()
    assert abs(correlations[-1]) < 1e-3


# -- simulated tasks ------------------------------------------------------------------


@dataclass
class Truth:
    """Linear tasks of d standard normal columns and an intercept."""

    mean: np.ndarray
    covariance: np.ndarray
    noise: float = 1.0

    def draw(self, n_tasks, n, rng):
        theta = rng.multivariate_normal(self.mean, self.covariance, size=n_tasks)
        X = rng.normal(size=(n_tasks, n, len(self.mean)))
        X[..., -1] = 1.0
        y = (X @ theta[..., None])[..., 0]
        return X, y + np.sqrt(self.noise) * rng.normal(size=y.shape), theta


def truth(name, d, rng):
    P = d + 1
    if name == "isotropic":
        covariance = 0.5 * np.eye(P)
    elif name == "diagonal":
        covariance = np.diag([2.0, 1.5] + [0.01] * (P - 3) + [0.5])
    else:
        U = rng.normal(size=(P, 1))
        covariance = 0.8 * U @ U.T + 0.02 * np.eye(P)
    return Truth(rng.normal(size=P), covariance)


def square_risk(prior, X, y, theta):
    """Mean squared error of predictions for standard normal rows, noise aside."""
    start = (np.stack([part] * len(X)) for part in (prior.mean, prior.factor))
    found, _ = condition(*start, prior.noise, X, y, np.ones(y.shape))
    return ((found - theta) ** 2).sum(axis=1).mean()


@pytest.mark.parametrize(("n", "seed"), [(5, 0), (15, 1)])
@pytest.mark.parametrize(
    ("name", "worst"), [("isotropic", 1.1), ("diagonal", 1.1), ("low_rank", 1.3)]
)
def test_the_chosen_prior_adapts_almost_as_well_as_the_true_one(name, worst, n, seed):
    rng = np.random.default_rng(seed)
    tasks = truth(name, 10, rng)
    X, y, _ = tasks.draw(200, n, rng)
    parts = [(*rows, np.ones(n)) for rows in zip(X, y, strict=True)]
    search = StructureSearch(
        gaussian.GaussianTasks.gather(parts, True),
        (10, 1, True),
        np.random.RandomState(seed),
        **LOOSE,
    )
    chosen = search.run("auto")
    assert chosen.name == name
    fresh = tasks.draw(400, n, rng)
    root = np.linalg.cholesky(tasks.covariance)
    oracle = type("Oracle", (), {"mean": tasks.mean, "factor": root, "noise": 1.0})
    assert square_risk(chosen.prior, *fresh) < worst * square_risk(oracle, *fresh)


def few_tasks(n_tasks, seed=0, n=12, d=2):
    rng = np.random.default_rng(seed)
    X, y, _ = truth("isotropic", d, rng).draw(n_tasks, n, rng)
    parts = [(*rows, np.ones(n)) for rows in zip(X, y, strict=True)]
    return gaussian.GaussianTasks.gather(parts, True), (d, 1, True)


@pytest.mark.parametrize("n_tasks", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "name", ["auto", "intercept", "isotropic", "diagonal", "low_rank", "full"]
)
def test_two_tasks_are_enough_for_a_prior(name, n_tasks):
    tasks, shape = few_tasks(n_tasks)
    chosen = StructureSearch(tasks, shape, np.random.RandomState(0), **LOOSE).run(name)
    assert np.isfinite(chosen.prior.factor).all()
    assert np.isfinite(chosen.prior.log_evidence)
    if name != "auto":
        assert chosen.name == name
    elif n_tasks < 5:
        assert chosen.name == "isotropic"
    held_out = [fold.held_out for fold in chosen.folds]
    assert sorted(np.concatenate([[], *held_out])) == list(
        range(n_tasks * (n_tasks > 4))
    )


def test_no_task_is_scored_by_a_prior_that_has_seen_it():
    tasks, shape = few_tasks(7)
    chosen = StructureSearch(tasks, shape, np.random.RandomState(0), **LOOSE).run(
        "diagonal"
    )
    for fold in chosen.folds:
        assert sorted(np.concatenate([fold.kept, fold.held_out])) == list(range(7))
        alone = first_fit(tasks.subset(fold.kept), chosen.structure, **EXACT)
        assert_allclose(fold.prior.log_evidence, alone.log_evidence, atol=1e-2)


def test_a_structure_without_intercept_has_no_spread_of_it():
    tasks, _ = few_tasks(8)
    search = StructureSearch(tasks, (3, 1, False), np.random.RandomState(0), **LOOSE)
    names = [candidate.name for candidate in search._candidates("auto")]
    assert names[0] == "isotropic" and "intercept" not in names


@dataclass
class Scored:
    name: str
    score: np.ndarray


def test_the_simplest_structure_within_half_a_standard_error_of_the_best_is_chosen():
    rng = np.random.default_rng(0)
    best = rng.normal(size=100)
    lag = rng.normal(size=100)
    lag -= lag.mean()
    lag /= lag.std()  # a standard error of 0.1
    near, far = best - lag - 0.04, best - lag - 0.06
    far, near, best, worse = (
        Scored(*pair)
        for pair in zip(
            ["far", "near", "best", "worse"], [far, near, best, best - 1], strict=True
        )
    )
    assert StructureSearch._best([far, near, best]) is near
    assert StructureSearch._best([far, best, near, worse]) is best
    assert StructureSearch._best([worse, best]) is best
    assert StructureSearch._best([best]) is best


# -- before adapting ------------------------------------------------------------------


def searched(parts, name="isotropic"):
    tasks = gaussian.GaussianTasks.gather(parts, True)
    shape = (parts[0][0].shape[1] - 1, 1, True)
    chosen = StructureSearch(tasks, shape, np.random.RandomState(0), **LOOSE).run(name)
    return [
        (tasks.subset(fold.kept), tasks.subset(fold.held_out), fold.prior)
        for fold in chosen.folds
    ]


def rows(x, y):
    return np.column_stack([x, np.ones(len(x))]), y, np.ones(len(x))


def test_the_prior_predicts_first_where_tasks_share_a_slope():
    rng = np.random.default_rng(0)
    parts = []
    for task in range(30):
        # the first tasks are long and their slope is reversed, so most pooled rows are
        # theirs
        n, slope = (500, -2.0) if task < 3 else (6, rng.normal(2.0, 0.3))
        x = rng.normal(size=n)
        parts.append(rows(x, slope * x + 0.1 * rng.normal(size=n)))
    assert zero_shot(searched(parts)) == "prior"


def test_pooled_rows_predict_first_where_slopes_between_tasks_contradict_those_within():
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(30):
        middle = 3 * rng.normal()
        x = middle + rng.normal(size=10)
        parts.append(rows(x, -middle + (x - middle) + 0.1 * rng.normal(size=10)))
    assert zero_shot(searched(parts)) == "pooled"


def test_a_constant_predicts_first_where_slopes_of_tasks_contradict_each_other():
    rng = np.random.default_rng(0)
    parts = []
    for task in range(14):
        x = rng.normal(size=8)
        parts.append(rows(x, (-1) ** task * 3 * x + 0.1 * rng.normal(size=8)))
    assert zero_shot(searched(parts)) == "constant"


def test_with_too_few_tasks_to_hold_any_out_the_prior_predicts_first():
    assert zero_shot([]) == "prior"


# -- labels ---------------------------------------------------------------------------


def label_parts(n_tasks, n, deviations, mean, rng):
    d = len(deviations)
    theta = mean + deviations * rng.normal(size=(n_tasks, d))
    X = rng.normal(size=(n_tasks, n, d))
    X[..., -1] = 1.0
    p = expit(X @ theta[..., None])
    Y = (rng.random(p.shape) < p).astype(float)
    return [(x, y, np.ones(n), np.zeros((n, 1))) for x, y in zip(X, Y, strict=True)]


@pytest.mark.parametrize("seed", [0, 1])
def test_spreads_of_logistic_tasks_are_found_again(seed):
    rng = np.random.default_rng(seed)
    deviations, mean = np.array([1.5, 0.7, 1.0]), np.array([1.0, -1.0, 0.5])
    parts = label_parts(300, 20, deviations, mean, rng)
    tasks = LaplaceTasks.gather(parts, Bernoulli(), True)
    prior = first_fit(tasks, Diagonal(np.arange(3)), **LOOSE)
    found = np.sqrt(np.diag(prior.covariance))
    assert_allclose(prior.mean, mean, atol=0.3)
    assert (found > 0.75 * deviations).all() and (found < 1.2 * deviations).all()
    assert np.linalg.eigvalsh(prior.mean_covariance).min() > 0


def test_the_prior_of_logistic_tasks_is_a_maximum_in_mean_and_spreads():
    rng = np.random.default_rng(0)
    parts = label_parts(40, 15, np.ones(2), np.zeros(2), rng)
    tasks, structure = (
        LaplaceTasks.gather(parts, Bernoulli(), True),
        Diagonal(np.arange(2)),
    )
    prior = first_fit(tasks, structure, **EXACT)

    def value(numbers, mean):
        return tasks.evidence(structure.factor(numbers), mean).value

    best = value(prior.numbers, prior.mean)
    assert_allclose(prior.log_evidence, best)
    for step in 0.03 * np.vstack([np.eye(2), -np.eye(2)]):
        assert value(prior.numbers + step, prior.mean) < best
        assert value(prior.numbers, prior.mean + step) < best


def test_the_spread_of_logistic_tasks_without_any_is_about_zero():
    rng = np.random.default_rng(1)
    parts = label_parts(100, 20, np.zeros(3), np.array([1.0, -1.0, 0.0]), rng)
    tasks = LaplaceTasks.gather(parts, Bernoulli(), True)
    structure = Diagonal(groups("isotropic", 2, 1, True))
    prior = first_fit(tasks, structure, **LOOSE)
    assert np.sqrt(np.diag(prior.covariance)).max() < 0.35


@pytest.mark.parametrize(
    "structure",
    [Diagonal(groups("isotropic", 1, 3, True)), LowRank(6, 1), Full(6, 6.0)],
    ids=["isotropic", "low_rank", "full"],
)
def test_priors_of_three_classes_do_not_depend_on_the_order_of_the_classes(structure):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 10, 2))
    X[..., -1] = 1.0
    theta = rng.normal(size=(30, 3, 2))
    eta = np.einsum("tnd,tod->tno", X, theta) + rng.gumbel(size=(30, 10, 3))
    Y = np.eye(3)[eta.argmax(axis=-1)]
    turned = [2, 0, 1]
    found = []
    for order in ([0, 1, 2], turned):
        parts = [
            (x, y[:, order], np.ones(10), np.zeros((10, 3)))
            for x, y in zip(X, Y, strict=True)
        ]
        tasks = LaplaceTasks.gather(parts, Categorical(3), True)
        simple = first_fit(tasks, Diagonal(groups("diagonal", 1, 3, True)), **EXACT)
        found.append(next_fit(tasks, structure, simple, **EXACT))
    coefficients = np.arange(6).reshape(3, 2)[turned].ravel()
    one, other = found
    assert_allclose(other.log_evidence, one.log_evidence, atol=2e-2)
    assert_allclose(other.mean, one.mean[coefficients], atol=0.05)
