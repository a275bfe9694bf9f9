"""What one would use for choices without `skmeta.EmpiricalBayesRanker`.

A method is fitted to `Offers` of many tasks. ``probabilities(given, wanted)`` then
tells how likely each offer of the wanted screens is chosen, if the screens ``given`` of
the same task are known (None if there are none).
"""

import numpy as np
from _shelves import Offers, softmax
from scipy.optimize import minimize
from scipy.stats import multivariate_t

import skmeta


def by_task(offers):
    """Pairs of X and y, in the order of the tasks."""
    starts = np.flatnonzero(np.r_[True, np.diff(offers.task) != 0])[1:]
    return zip(
        *(np.split(field, starts) for field in (offers.X, offers.y, offers.screen)),
        strict=True,
    )


class EqualChances:
    """Each offer of a screen is as likely as the others."""

    def fit(self, offers):
        return self

    def probabilities(self, given, wanted):
        return softmax(np.zeros(len(wanted.y)), wanted)


class Pooled:
    """One conditional logit of all tasks: maximum likelihood with a small ridge."""

    RIDGE = 1e-3

    def fit(self, offers):
        self.scale = offers.X.std(axis=0)
        self.scale[self.scale == 0] = 1
        X, chosen = offers.X / self.scale, offers.chosen

        def loss(coef):
            utility = X @ coef
            p = softmax(utility, offers)
            value = -np.log(p[chosen]).sum() + self.RIDGE * coef @ coef / 2
            return value, X.T @ (p - offers.y) + self.RIDGE * coef

        self.coef = minimize(loss, np.zeros(X.shape[1]), jac=True).x / self.scale
        return self

    def probabilities(self, given, wanted):
        return softmax(wanted.X @ self.coef, wanted)


class Pairs:
    """`EmpiricalBayesClassifier` of the offer chosen less each other offer.

    Half of the pairs, drawn at random, are turned round and have the other label. Each
    pair has the same weight. The probabilities of a screen are a softmax of the
    utilities at the mode; with ``n_draws`` they are averaged over coefficients that are
    drawn from the normal posterior.
    """

    def __init__(self, weight, n_draws=0, prior="auto"):
        self.weight, self.n_draws, self.prior = weight, n_draws, prior

    def _pairs(self, offers, rng):
        winner = offers.chosen[offers.place[offers.others]]
        X = offers.X[winner] - offers.X[offers.others]
        y = rng.integers(2, size=len(X))
        X = np.where(y[:, None] == 1, X, -X)
        return X, y, np.full(len(y), self.weight)

    def fit(self, offers):
        rng = np.random.default_rng(0)
        X, y, weight = self._pairs(offers, rng)
        model = skmeta.EmpiricalBayesClassifier(
            self.prior, fit_intercept=False, random_state=0
        )
        self.model = model.fit(X, y, weight, task=offers.task[offers.others])
        return self

    def probabilities(self, given, wanted):
        model = self.model
        if given is not None:
            # Labels are mirrored in turn, so that both are there where two pairs are.
            X, y, weight = self._pairs(given, np.random.default_rng(0))
            model = model.adapt(X, y, weight)
        coef = np.ravel(model.coef_)
        if not self.n_draws:
            return softmax(wanted.X @ coef, wanted)
        draws = np.random.default_rng(0).multivariate_normal(
            coef, model.covariance_, size=self.n_draws, method="eigh"
        )
        utilities = draws @ wanted.X.T
        return np.mean([softmax(u, wanted) for u in utilities], axis=0)


class Wide:
    """`EmpiricalBayesClassifier` of which brand was bought, by what is told of all.

    The first ``n_brands`` columns of an offer are those of the brands, and the last one
    is the logarithm of the price. Both are left out.
    """

    def __init__(self, n_brands, base=None):
        self.n_brands, self.base = n_brands, base

    def _wide(self, offers):
        n = len(offers.starts)
        X = offers.X[:, self.n_brands : -1].reshape(n, -1)
        return X, offers.y.reshape(n, -1).argmax(axis=1)

    def fit(self, offers):
        X, y = self._wide(offers)
        base = None if self.base is None else self.base()
        model = skmeta.EmpiricalBayesClassifier(base_estimator=base, random_state=0)
        self.model = model.fit(X, y, task=offers.task[offers.starts])
        return self

    def probabilities(self, given, wanted):
        model = self.model
        if given is not None:
            model = model.adapt(*self._wide(given))
        p = np.zeros((len(wanted.starts), self.n_brands))
        p[:, model.classes_] = model.predict_proba(self._wide(wanted)[0])
        return p.ravel()


class Ranker:
    """`EmpiricalBayesRanker` of all columns, or of the first ``n_columns``."""

    def __init__(self, n_columns=None, **params):
        self.n_columns, self.params = n_columns, params

    def fit(self, offers):
        model = skmeta.EmpiricalBayesRanker(random_state=0, **self.params)
        self.model = model.fit(
            self._X(offers), offers.y, task=offers.task, choice_set=offers.screen
        )
        return self

    def probabilities(self, given, wanted):
        model = self.model
        if given is not None:
            model = model.adapt(self._X(given), given.y, choice_set=given.screen)
        return model.predict_proba(self._X(wanted), choice_set=wanted.screen)

    def _X(self, offers):
        return offers.X[:, : self.n_columns]


# -- the likelihood, simulated --------------------------------------------------------


def simulated_log_likelihood(
    offers, mean, covariance, n_draws=1000, seed=0, about_mode=False
):
    """Log-likelihood of a conditional logit whose coefficients differ between tasks.

    Coefficients of a task are drawn from the normal distribution, and the probability
    of all its choices is averaged over the draws: what packages of mixed logit
    maximise. With ``about_mode`` they are drawn about the task's mode, from a t
    distribution of 5 degrees of freedom, and weighted by how much more likely they are
    under the prior. Returns it and the standard error that the draws leave.
    """
    rng = np.random.default_rng(seed)
    values, errors = [], []
    # Coefficients are mean + root @ u, with u standard normal.
    lengths, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.maximum(lengths, 0))
    for X, y, screen in by_task(offers):
        one = Offers(X, y, np.zeros(len(y)), screen)
        u = rng.standard_normal((n_draws, len(mean)))
        log_weight = 0.0
        if about_mode:
            u, log_weight = _draws_about_mode(one, mean, root, u, rng)
        log_p = log_probabilities(mean + u @ root.T, one) + log_weight
        top = log_p.max()
        p = np.exp(log_p - top)
        values.append(top + np.log(p.mean()))
        errors.append(p.std() / p.mean() / np.sqrt(n_draws))
    return float(np.sum(values)), float(np.sqrt(np.sum(np.square(errors))))


def _draws_about_mode(one, mean, root, z, rng, freedom=5):
    """Draws u about the mode, and log(normal density / that of the draws) of each."""
    n_draws, d = z.shape

    def loss(u):
        beta = mean + root @ u
        p = softmax(one.X @ beta, one)
        value = u @ u / 2 - np.log(p[one.chosen]).sum()
        return value, u + root.T @ (one.X.T @ (p - one.y))

    mode = minimize(loss, np.zeros(d), jac=True, method="BFGS").x
    p = softmax(one.X @ (mean + root @ mode), one)
    centres = np.add.reduceat(p[:, None] * one.X, one.starts)[one.place]
    spread = (one.X - centres) @ root
    precision = np.eye(d) + spread.T @ (p[:, None] * spread)
    factor = np.linalg.inv(np.linalg.cholesky(precision)).T
    stretch = np.sqrt(freedom / rng.chisquare(freedom, n_draws))
    t = z * stretch[:, None]
    u = mode + t @ factor.T
    log_normal = -(u**2).sum(axis=1) / 2 - d / 2 * np.log(2 * np.pi)
    log_t = multivariate_t(np.zeros(d), np.eye(d), freedom).logpdf(t)
    return u, log_normal - log_t + np.linalg.slogdet(factor)[1]


def log_probabilities(draws, one):
    """Of all choices of a task, for each draw of its coefficients."""
    utility = draws @ one.X.T
    starts = one.starts
    top = np.maximum.reduceat(utility, starts, axis=1)
    powers = np.exp(utility - top[:, one.place])
    normal = np.log(np.add.reduceat(powers, starts, axis=1)) + top
    return (utility[:, one.chosen] - normal).sum(axis=1)
