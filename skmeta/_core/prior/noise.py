r"""Noise that differs between tasks: a mixture of a few levels, all in closed form.

The noise of a task has the variance f s2. Its factor f is one of a small fixed grid,
and it is f_j with probability w_j. Given its factor a task is one of `gaussian`: its
coefficients are N(m, S), and its rows have the log evidence

    e_j = log N(y; X m, X S X' + f_j s2 I).

So the log evidence of a task is log sum_j w_j exp(e_j). After its rows the factor is
f_j with probability

    r_j = w_j exp(e_j) / sum_i w_i exp(e_i),

and the coefficients are a mixture of J normal posteriors N(m_j, S_j) with these
probabilities. Their mean and covariance are

    M = sum_j r_j m_j,    sum_j r_j (S_j + (m_j - M)(m_j - M)').

All of this depends on the rows only through X'X, X'y, y'y and the sum of weights. An
adapted model keeps them as a triangle, which is more precise: the R of [X y] = Q R.

The mixture is learned by EM, which never lowers the evidence. Given all e_tj, the
evidence is concave in the weights w. Given the probabilities r_tj, mean, spread and s2
maximise sum_tj r_tj e_tj. This is the evidence of `gaussian` if task t counts r_tj
times, with its rows divided by the root of f_j. So mean and s2 have closed forms again,
and the search for the spread is the same.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtri_exp, softmax

from skmeta._core.prior.calibration import HeldOut, predictive_variances
from skmeta._core.prior.episodic import Belief
from skmeta._core.prior.fit import Prior, fit_all
from skmeta._core.prior.gaussian import (
    GaussianTasks,
    condition,
    errors,
    inverse_covariance,
    joint_triangle,
    products,
    solve_scaled,
    weighted_rows,
    whiten,
    whiten_rows,
)
from skmeta._core.prior.packed import PackedTasks
from skmeta._core.tasks import slices

# The deviation of a task's noise is from about a sixth of a common one to six times as
# large. A finer grid or a wider one predicted real tasks no better.
FACTORS = tuple(2.5**power for power in range(-4, 5))
# The weights are learned in so many steps. Their number is fixed, so that rounding
# cannot change it.
WEIGHT_STEPS = 100
# Mean, spread and s2 are learned so many times, each time before the weights are
# learned anew. On real tasks more rounds raised the evidence of the training tasks a
# little, and did not raise that of others.
N_ROUNDS = 1
# Probabilities of so many tasks are computed together.
TASKS_AT_A_TIME = 2**15
# A factor is left out of a sum over factors if its probability is below this.
NEGLIGIBLE = 1e-8
# Errors of held-out tasks are measured without factors that are rarer than this.
RARE = 1e-4
# The logarithm of a probability stays above this, so that none is zero.
LEAST_LOG = -200.0
# An interval ends where the search for it has reached this precision, ...
END_PRECISION = 1e-12
# ... or after so many steps.
END_STEPS = 60


class NoiseBelief(NamedTuple):
    """What is believed of a task before any of its rows: a `Belief` for each factor."""

    mean: np.ndarray  # (P,)
    factor: np.ndarray  # (P, r)
    noise: float
    weights: np.ndarray  # (J,)

    def given(self, factor):
        """The `Belief` about a task whose noise has this factor."""
        return Belief(self.mean, self.factor, self.noise * factor)


@dataclass(frozen=True)
class NoisePrior(Prior):
    """A `Prior` with the weights of the factors of the noise."""

    weights: np.ndarray | None = None

    @property
    def belief(self):
        return NoiseBelief(self.mean, self.factor, self.noise, self.weights)


def logarithms(probabilities):
    """Logarithms of probabilities, which may be zero."""
    return np.log(np.maximum(probabilities, np.exp(LEAST_LOG)))


# -- evidence -------------------------------------------------------------------------


def evidences(tasks, belief, factors):
    """Log evidence e_tj (T, J) of each task, given each factor."""
    if isinstance(tasks, PackedTasks):
        return tasks.log_evidences(belief, factors)
    return np.column_stack([tasks.log_evidence(belief.given(f)) for f in factors])


def log_evidence(e, weights):
    """Log evidence (T,) of tasks, of e_tj and the weights of the factors."""
    out = np.empty(len(e))
    for some in slices(len(e), TASKS_AT_A_TIME):
        out[some] = logsumexp(e[some] + logarithms(weights), axis=1)
    return out


def probabilities(e, weights):
    """The probabilities r_tj of the factors of tasks."""
    return softmax(e + logarithms(weights), axis=-1)


def shares_of(e, weights):
    """The same for many tasks (T, J), without those that are negligible."""
    shares = np.empty_like(e)
    for some in slices(len(e), TASKS_AT_A_TIME):
        of_some = probabilities(e[some], weights)
        of_some = np.where(of_some > NEGLIGIBLE, of_some, 0.0)
        shares[some] = of_some / of_some.sum(axis=1, keepdims=True)
    return shares


def best_weights(e):
    """The weights (J,) of the largest evidence of tasks with evidences e_tj."""
    likelihood = e - e.max(axis=1, keepdims=True)
    np.exp(likelihood, out=likelihood)
    weights = np.full(e.shape[1], 1.0 / e.shape[1])
    for _ in range(WEIGHT_STEPS):
        if len(e) > TASKS_AT_A_TIME:  # the same without another array of this size
            weights = weights * ((1.0 / (likelihood @ weights)) @ likelihood) / len(e)
            continue
        shares = likelihood * weights
        weights = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    return weights


def _fields(thing):
    return {field.name: getattr(thing, field.name) for field in fields(thing)}


@dataclass(frozen=True)
class NoiseTasks(GaussianTasks):
    """Tasks of which each counts r_tj times with noise f_j s2, for all j."""

    factors: tuple = ()
    shares: np.ndarray | None = None  # (T, J), the probabilities r_tj

    @classmethod
    def of(cls, tasks, factors, shares):
        """From `GaussianTasks`, or of many tasks the same as `PackedTasks`."""
        if isinstance(tasks, PackedTasks):
            return tasks.counted(factors, shares)
        return cls(**_fields(tasks), factors=tuple(factors), shares=shares)

    @classmethod
    def believed(cls, tasks, factors, belief):
        """From `GaussianTasks`, whose factors are as probable as their rows say."""
        e = evidences(tasks, belief, factors)
        return cls.of(tasks, factors, shares_of(e, belief.weights))

    def _levels(self, blocks):
        """Each factor, its probabilities (T,), and the rows of tasks that may have it.

        Most tasks have few factors, so that this saves most of the work.
        """
        found = []
        for factor, share in zip(self.factors, self.shares.T, strict=True):
            some = [(block, share[block.tasks] > 0) for block in blocks]
            own = [b._replace(tasks=b.tasks[m], rows=b.rows[m]) for b, m in some]
            found.append((factor, share, [block for block in own if len(block.tasks)]))
        return found

    @cached_property
    def _leading_of_levels(self):
        return self._levels(self.leading.blocks)

    @cached_property
    def _shared_rows(self):
        """The triangle of the rows that no spread changes, as the tasks count.

        Its rows are divided by the root of f_j for each factor, and count r_tj times.
        """
        v, counted = self.n_leading, self.shares @ (1.0 / np.asarray(self.factors))
        if v == self.basis.n_seen:
            return np.zeros((0, v + 1))
        root = np.sqrt(counted)
        return joint_triangle(
            (b.rows[:, v:] * root[b.tasks, None, None] for b in self.blocks),
            self.basis.n_seen + 1,
        )

    def evidence(self, L, mean=None, state=None):
        """The sum of r_tj e_tj, maximised over mean and noise."""
        to, v = self.basis.to, self.n_leading
        white, log_det, squares = [], 0.0, 0.0
        for factor, share, blocks in self._leading_of_levels:
            blocks, logs = whiten(blocks, to @ L / np.sqrt(factor), self.n_tasks)
            root = np.sqrt(share / factor)
            white += [(block, root[block.tasks], factor) for block in blocks]
            log_det += share @ (logs + self.weight * np.log(factor))
            squares += share @ self.residual / factor
        moments = sum(products(b.white() * s[:, None, None]) for b, s, _ in white)
        if len(self._shared_rows):
            moments = moments + products(self._shared_rows)
        mean, held = self._best_mean(moments)
        squares, outer = squares + mean @ held @ mean, 0.0
        for block, root, factor in white:
            rows = block.white()
            error = errors(rows, mean)
            # the root of r / f counts once here and once in its square: r / f^2
            h = np.einsum("tkp,tk->tp", rows[..., :v], error) * root[:, None]
            squares += root**2 @ (error**2).sum(axis=-1)
            outer = outer + h.T @ h / factor
        squares += (errors(self._shared_rows, mean) ** 2).sum()
        return self._evidence_at(mean, moments, held, squares, outer, log_det)

    def degrees_of_freedom(self, L):
        """See `GaussianTasks`; here V = I + Z Z' / f_j with probability r_tj."""
        L = self.basis.to @ L
        of_tasks, moments, twice = 0.0, 0.0, 0.0
        for factor, share, blocks in self._levels(self.blocks):
            for block in blocks:
                root = np.sqrt(share[block.tasks])[:, None, None]
                R = block.X / np.sqrt(factor)
                Z = R @ L
                inverse = inverse_covariance(Z)
                W = inverse @ R * root
                told = 1.0 - np.diagonal(inverse, axis1=-2, axis2=-1)
                of_tasks += (told * root[..., 0] ** 2).sum()
                moments += np.einsum("tkp,tkq->pq", R * root, W, optimize=True)
                twice += products(W)
        free = self._free
        A = free @ solve_scaled(free.T @ (moments + self._held) @ free, free.T)
        return self.weight.sum(), of_tasks, np.sum(A * moments), np.sum(A * twice)


def with_weights(tasks, prior, factors):
    """The `NoisePrior` of a `Prior` whose mean, spread and s2 stay as they are."""
    return _of_evidences(_evidences_of(tasks, prior, factors), prior)


def _evidences_of(tasks, prior, factors):
    of_one_noise = NoiseBelief(prior.mean, prior.spread, prior.noise, None)
    return evidences(tasks, of_one_noise, factors)


def _of_evidences(e, prior):
    weights = best_weights(e)
    value = log_evidence(e, weights).sum()
    penalty = prior.objective - prior.log_evidence  # that of the structure
    found = {
        "weights": weights,
        "log_evidence": value,
        "objective": value + penalty,
    }
    return NoisePrior(**(_fields(prior) | found))


def fit_noise(tasks, structure, prior, factors, n_rounds=N_ROUNDS, **options):
    """The `NoisePrior` of a structure, from the `Prior` of one noise for all tasks."""
    n_iter, converged = prior.n_iter, prior.converged
    e = _evidences_of(tasks, prior, factors)
    found = _of_evidences(e, prior)
    for _ in range(n_rounds):
        counted = NoiseTasks.of(tasks, factors, shares_of(e, found.weights))
        del e  # of many tasks it is large
        given = counted, structure, found.numbers, found.mean
        prior = fit_all(*given, alike=tasks, **options)
        n_iter, converged = n_iter + prior.n_iter, converged and prior.converged
        e = _evidences_of(tasks, prior, factors)
        found = _of_evidences(e, prior)
    return replace(found, n_iter=n_iter, converged=converged)


# -- one task -------------------------------------------------------------------------


class RowTriangle(NamedTuple):
    """All that the rows of one task tell."""

    table: np.ndarray  # (k, P + 1), at most P + 1 rows: the triangle of [X y]
    weight: float  # the sum of the weights

    def weighing(self, share):
        """What the same rows tell with a share of their weight."""
        return RowTriangle(np.sqrt(share) * self.table, share * self.weight)

    @classmethod
    def of(cls, rows, design, present):
        """By `SeenRows` of numbers, in addition to what a `Present` holds."""
        earlier = None if present is None else present.rows
        return cls.by(rows.X, rows.Y[:, 0], rows.weight, design, earlier)

    @classmethod
    def by(cls, X, y, weight, design, earlier=None):
        """By rows of X, in addition to what earlier rows told."""
        order = np.arange(design(X[:1]).shape[1])
        table = weighted_rows(X, y, weight, design, order)
        return cls(table, float(weight.sum())).after(earlier)

    def after(self, earlier):
        """What these rows tell in addition to earlier ones, or None."""
        table, total = self
        if earlier is not None:
            table = np.concatenate([earlier.table, table])
            total += earlier.weight
        if len(table) > table.shape[1]:
            table = np.linalg.qr(table, mode="r")
        return RowTriangle(table, total)


class Posterior(NamedTuple):
    """A task's coefficients: a mixture of normal distributions, one for each factor."""

    shares: np.ndarray  # (J,) probabilities of the factors
    means: np.ndarray  # (J, P)
    factors: np.ndarray  # (J, P, r) factors of the covariances

    @classmethod
    def of(cls, belief, noise_factors, told):
        """Given what some rows told."""
        noise_factors = np.asarray(noise_factors)
        shape = len(noise_factors), *told.table.shape
        X, y = told.table[:, :-1], told.table[:, -1]
        noise = belief.noise * noise_factors
        scale = 1.0 / np.sqrt(noise)[:, None]
        e = log_density_of_white(
            X @ belief.factor * scale[..., None], (y - X @ belief.mean) * scale
        )
        e -= 0.5 * told.weight * np.log(2 * np.pi * noise)
        means, factors = condition(
            np.broadcast_to(belief.mean, (shape[0], *belief.mean.shape)),
            np.broadcast_to(belief.factor, (shape[0], *belief.factor.shape)),
            belief.noise,
            np.broadcast_to(X, (*shape[:2], X.shape[1])),
            np.broadcast_to(y, shape[:2]),
            np.broadcast_to(1.0 / noise_factors[:, None], shape[:2]),
        )
        return cls(probabilities(e, belief.weights), means, factors)

    @property
    def mean(self):
        return self.shares @ self.means

    @property
    def factor(self):
        """A factor (P, J (r + 1)) of the covariance of the mixture.

        These are the columns of the factor of the first distribution, how far its mean
        is from that of the mixture, and then the same of the next one; each times the
        root of its probability. `split` gives them back.
        """
        apart = (self.means - self.mean)[..., None]
        columns = np.concatenate([self.factors, apart], axis=-1)
        columns = columns * self._roots(self.shares)[:, None, None]
        return columns.swapaxes(0, 1).reshape(len(apart[0]), -1)

    @staticmethod
    def _roots(shares):
        return np.exp(0.5 * logarithms(shares))

    @classmethod
    def split(cls, columns, shares):
        """Of columns (..., J (r + 1)): those of each factor (J, ..., r), and the last.

        The last ones (J, ...) say how far the means are apart.
        """
        parts = columns.reshape(*columns.shape[:-1], len(shares), -1)
        parts = parts / cls._roots(shares)[:, None]
        parts = np.moveaxis(parts, -2, 0)
        return parts[..., :-1], parts[..., -1]


def log_density_of_white(Z, error):
    """log N(error; 0, I + Z Z') without its constant, over leading axes."""
    white, log_det = whiten_rows(Z, error[..., None])
    return -0.5 * ((white**2).sum(axis=(-1, -2)) + log_det)


# -- targets --------------------------------------------------------------------------


class Mixture(NamedTuple):
    """The distribution of targets: normal ones, mixed. Arrays have a last axis (J,)."""

    shares: np.ndarray
    deviations: np.ndarray
    shifts: np.ndarray  # the means, from the mean of the mixture

    def log_outside(self, distance):
        """Log probability of a target that is further from the mean than this."""
        h = distance[..., None]
        above = log_ndtr(-(h - self.shifts) / self.deviations)
        below = log_ndtr(-(h + self.shifts) / self.deviations)
        return logsumexp(np.logaddexp(above, below) + logarithms(self.shares), axis=-1)

    def log_density(self, error):
        """Log density of targets at these distances from the mean, with their signs."""
        each = -0.5 * ((error[..., None] - self.shifts) / self.deviations) ** 2
        each = each - 0.5 * np.log(2 * np.pi) - np.log(self.deviations)
        return logsumexp(each + logarithms(self.shares), axis=-1)

    def in_deviations(self, distance):
        """The normal deviations that are exceeded as rarely as these distances."""
        return -ndtri_exp(self.log_outside(distance) - np.log(2.0))

    def distance(self, deviations):
        """The distances that are exceeded as rarely as normal deviations (n,).

        By Newton's method on the log probability, between bounds that it narrows.
        """
        goal = np.log(2.0) + log_ndtr(-deviations)
        low = np.zeros_like(goal)
        high = deviations * self.deviations.max(axis=-1)
        high = high + np.abs(self.shifts).max(axis=-1)
        h = high
        for _ in range(END_STEPS):
            outside = self.log_outside(h)
            too_far = outside < goal
            low, high = np.where(too_far, low, h), np.where(too_far, h, high)
            slope = np.logaddexp(self.log_density(h), self.log_density(-h))
            steepness = np.exp(np.minimum(slope - outside, 600.0))
            new = h + (outside - goal) / np.maximum(steepness, np.finfo(float).tiny)
            new = np.where((new >= low) & (new <= high), new, 0.5 * (low + high))
            done = np.abs(new - h) <= END_PRECISION * new
            h = new
            if done.all():
                break
        return h


@dataclass(frozen=True)
class NoiseHeldOut(HeldOut):
    """Tasks held out from a prior with a noise per task; the prior is a `NoiseBelief`.

    Errors are in the normal deviations that are exceeded as rarely.
    """

    factors: tuple = ()

    @property
    def noise(self):
        return self.prior.noise * (self.prior.weights @ np.asarray(self.factors))

    @property
    def likely(self):
        """The factors that are not too rare to matter."""
        return np.asarray(self.factors)[self.prior.weights > RARE]

    @property
    def n_levels(self):
        return len(self.likely)

    def before(self, squares, spread, scales):
        of_spread, of_noise = scales
        noise = self.prior.noise * np.asarray(self.factors)
        variance = of_spread * spread[:, None] + of_noise * noise
        shifts = np.zeros_like(variance)
        targets = Mixture(self.prior.weights, np.sqrt(variance), shifts)
        return targets.in_deviations(np.sqrt(squares))

    def after(self, given, asked):
        (X, y, weight), (X_asked, y_asked, _) = given, asked
        e, means, variances = [], [], []
        for noise_factor in self.likely:
            mean, L, noise = self.prior.given(noise_factor)
            scale = np.sqrt(weight / noise)
            Z, error = X @ L * scale[..., None], (y - X @ mean) * scale
            of_noise = weight.sum(axis=-1) * np.log(2 * np.pi * noise)
            e.append(log_density_of_white(Z, error) - 0.5 * of_noise)
            mean, factor = condition(
                np.broadcast_to(mean, (len(X), *mean.shape)),
                np.broadcast_to(L, (len(X), *L.shape)),
                noise,
                *given,
            )
            parts = predictive_variances(L, noise, factor, X_asked @ factor)
            variances.append(self.scales[0] * parts[0] + self.scales[1] * parts[1])
            means.append((X_asked @ mean[..., None])[..., 0])
        e, means = np.stack(e, axis=-1), np.stack(means, axis=-1)
        weights = self.prior.weights[self.prior.weights > RARE]
        shares = probabilities(e, weights)[:, None]
        middle = (shares * means).sum(axis=-1)
        deviations = np.sqrt(np.stack(variances, axis=-1))
        targets = Mixture(shares, deviations, means - middle[..., None])
        return targets.in_deviations(np.abs(y_asked - middle))
