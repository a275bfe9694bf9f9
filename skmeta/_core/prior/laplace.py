r"""The Gaussian prior under any likelihood: Laplace evidence, gradient, posteriors.

Task t has rows X, targets y and coefficients theta ~ N(m, Sigma), Sigma = L L'. Write
theta = m + L u with u ~ N(0, I). About the mode of u the posterior is nearly normal,
and the evidence of the task is nearly

    log p(y | theta) - u'u / 2 - log det(I + L' H L) / 2,    H = X' W X,

all at the mode, with W the curvature of the log-likelihood in the linear predictors
eta = X theta + offset. The prior is the one of the largest evidence. EM about such
modes finds spreads several times too small, because it takes the determinant as fixed
although it depends on the mode (Breslow & Lin, 1995).

A `Likelihood` says what kind of targets there are; nothing here depends on which.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from skmeta._core.prior import contrasts, lines, quadrature
from skmeta._core.prior import rows as row_space
from skmeta._core.prior.derivatives import (
    slope_of_half_trace,
    sum_of_hessians,
    times_curvature,
)
from skmeta._core.prior.likelihoods import Likelihood
from skmeta._core.prior.modes import (
    derivatives,
    find_mode,
    mode_of_all,
    newton,
    precision_of,
    times,
)
from skmeta._core.prior.recency import Recency
from skmeta._core.prior.splits import cut_in_time, random_split
from skmeta._core.prior.stacks import (
    Stack,
    in_pieces,
    in_stacks,
    like_sized,
    one_task,
)
from skmeta._core.prior.structures import ROUNDING
from skmeta._core.tasks import Parts, sizes_of, take_parts

# The rows say nothing about a direction of the mean if they reduce the variance of the
# weak prior there by at most this share.
UNSEEN = 1e-6
# A coefficient of the mean is held at its centre by a weak prior of this deviation.
PINNED = 1e-5
# The rows of a held-out task are drawn at least and at most this many times. Within
# these limits all tasks together are drawn from about SPLITS_IN_ALL times.
MIN_SPLITS, MAX_SPLITS = 2, 10
SPLITS_IN_ALL = 400
# A draw is slow if a row has several outputs or there are more coefficients than this.
# Then each task is drawn from as rarely as allowed.
MANY_COEFFICIENTS = 60
# With more unknowns than this, modes are searched for in the space of the rows if that
# is smaller.
MANY_UNKNOWNS = 20
# A search for the prior takes about this many steps of Newton's method for each
# evaluation of the evidence, since it begins at the modes of the evaluation before.
NEWTON_STEPS = 4
# If more coefficients of several classes vary than this, the evidence is that of pieces
# of tasks, of at most this many rows.
MANY_CLASSES = 60
ROWS_OF_PIECE = 16
# So many tasks say where a search among very many begins.
SAMPLE = 2000
# A search takes so many pieces in all, or one of each task.
MAX_PIECES = 200
ALL_PIECES = 2**62


@dataclass(frozen=True)
class LaplaceTasks:
    """Tasks in stacks of similar size, and each task's place in the user's order."""

    likelihood: Likelihood
    parts: list | Parts  # (X, Y, weight, offset) of each task
    stacks: list  # a list of Stack
    order: list  # one index array per stack
    on_line: list  # whether the tasks of each stack are integrated along a line
    varying_columns: np.ndarray  # (d,) of bool: columns whose coefficients may vary
    fit_intercept: bool  # whether the last column of X is the intercept's
    pin_slopes: bool = False  # whether the slopes of the mean are held at zero
    like_richer: bool = False  # see `like_richer_ones`
    recency: Recency | None = None  # if the rows of a task are in order of time
    max_pieces: int = MAX_PIECES  # see `_pieces`

    # An evidence may hold arrays of all tasks, by which it computes its precision.
    evidence_is_small = False

    @classmethod
    def gather(cls, parts, likelihood, fit_intercept, varying=None, recency=None):
        """From a list of (X, Y, weight, offset), one task each, or from `Parts`.

        ``varying`` (d,) says which columns have coefficients that may vary; None stands
        for all.
        """
        labels = lines.on_lines(parts, likelihood)
        if varying is None:
            varying = np.ones(parts[0][0].shape[-1], dtype=bool)
        stacks, order = in_stacks(parts, sizes_of(parts), labels, varying.sum())
        on_line = [bool(labels[tasks[0]]) for tasks in order]
        tasks = cls(likelihood, parts, stacks, order, on_line, varying, fit_intercept)
        return replace(tasks, recency=recency)

    @property
    def n_tasks(self):
        return sum(map(len, self.order))

    @property
    def has_designs(self):
        """Whether rows are choice sets: see `stacks`."""
        return self.likelihood.own_designs

    @property
    def n_rows(self):
        """Sums of sample weights, (T,)."""
        n_rows = np.empty(self.n_tasks)
        for stack, order in zip(self.stacks, self.order, strict=True):
            n_rows[order] = stack.weight.sum(axis=1)
        return n_rows

    @property
    def n_columns(self):
        return self.stacks[0].X.shape[-1]

    @property
    def n_coefficients(self):
        return self.n_columns * self.likelihood.n_outputs

    @property
    def varying(self):
        """Which coefficients may vary, (P,)."""
        return np.tile(self.varying_columns, self.likelihood.n_outputs)

    def work(self, n_varying):
        """Multiplications of one evaluation of the evidence, if ``n_varying`` vary."""
        if self._pieces is not None:
            return self._pieces.work(n_varying)
        o, d = self.likelihood.n_outputs, int(self.varying_columns.sum())
        P, r, work = o * d, n_varying, 0.0
        for stack in self.stacks:
            T, n, _ = stack.rows.shape
            curvature = 0.5 * o * (o + 1) * n * d**2
            if self._is_integral(r):
                work += T * (curvature + 2 * quadrature.N_NODES * n * d)
                continue
            newton = curvature * min(1.0, r / P) ** 2 + 2 * r**3 + r**3 / 3
            last = 2 * curvature + 2 * P**2 * r + 2 * P * r**2 + 2 * P**3
            work += T * (NEWTON_STEPS * newton + last)
        return work

    def _is_integral(self, n_varying):
        """Whether the evidence of every task is an integral if so many vary."""
        return n_varying == 1 and self.likelihood.has_integral

    def subset(self, tasks):
        some = take_parts(self.parts, tasks)
        subset = self.gather(
            some,
            self.likelihood,
            self.fit_intercept,
            self.varying_columns,
            self.recency,
        )
        return self._like(subset)

    def sample(self):
        """Some of very many tasks; None if it would be half of them or more."""
        if self.n_tasks < 2 * SAMPLE:
            return None
        return self.subset(np.arange(SAMPLE))  # their order says nothing of them

    def _like(self, others):
        """Other tasks with the settings of these."""
        kept = "pin_slopes", "like_richer", "max_pieces"
        return replace(others, **{name: getattr(self, name) for name in kept})

    @cached_property
    def _pieces(self):
        """Pieces of the tasks whose evidence counts, or None if it is that of tasks.

        With many coefficients of several classes a model of each task can fit its rows
        without error. The evidence of all rows of a task then asks for a spread so wide
        that predictions from a few rows are poor. The evidence of a few rows is the log
        score of predicting each of them from those before it, which is what adapting is
        about. It is also quicker, since few rows are fewer than the coefficients.
        """
        if not self.likelihood.only_differences or self.varying.sum() <= MANY_CLASSES:
            return None
        few_rows = self.n_rows.max() <= ROWS_OF_PIECE
        if self.n_tasks == 1 or self.max_pieces == 0 or few_rows:
            return None
        pieces = in_pieces(self.parts, ROWS_OF_PIECE, self.max_pieces)
        given = self.likelihood, self.fit_intercept, self.varying_columns
        # equal rows stay together, so that a piece may be longer; it is not cut again
        return self._like(self.gather(pieces, *given)).whole()

    def whole(self):
        """The same tasks, with the evidence of whole tasks."""
        return replace(self, max_pieces=0)

    def with_all_pieces(self):
        """The same tasks, with the evidence of all their rows."""
        return replace(self, max_pieces=ALL_PIECES)

    def like_richer_ones(self):
        """The same tasks, with the approximation that richer structures have.

        If one coefficient alone varies, its evidence is then that of Laplace's method,
        although an integral is known.
        """
        return replace(self, like_richer=True)

    def with_pinned_slopes(self):
        """The same tasks, if slopes are zero on average."""
        return replace(self, pin_slopes=True)

    # -- the mean ---------------------------------------------------------------------

    def mean_coordinates(self, mean, L=None):
        """Where to begin with the mean, and directions of unit curvature about it.

        The curvature is that of tasks without a spread. Where it has no bound, and for
        several classes, the spread L makes it far smaller, and counts.
        """
        if mean is None:
            mean = self.pooled()
        if self._pieces is not None:
            return self._pieces.mean_coordinates(mean, L)
        likelihood = self.likelihood
        several = likelihood.only_differences and self.n_tasks > 1
        if L is None or not (likelihood.is_steep or several):
            L = np.zeros((len(mean), 1))
        columns = self._columns(L)
        terms = [self._laplace_terms(stack, mean, L, columns) for stack in self.stacks]
        precision = sum(term.precision() for term in terms) + self._weak
        values, vectors = np.linalg.eigh(precision / self.n_tasks)
        least = np.finfo(float).eps * values.max()  # smaller values are rounding
        return mean, vectors / np.sqrt(np.maximum(values, least))

    @cached_property
    def _weak(self):
        """Precision of the weak prior on the mean."""
        likelihood = self.likelihood
        slope = likelihood.slopes_deviation / np.sqrt(max(self._used.sum(), 1))
        slope = PINNED if self.pin_slopes else min(likelihood.mean_deviation, slope)
        deviation = np.full((likelihood.n_outputs, self.n_columns), slope)
        if self.fit_intercept:
            deviation[:, -1] = likelihood.mean_deviation
        return np.diag(deviation.ravel() ** -2.0)

    @cached_property
    def _used(self):
        """Columns (d,) that are not zero everywhere."""
        return np.any([stack.rows.any(axis=(0, 1)) for stack in self.stacks], axis=0)

    def slopes_deviation(self, mean, covariance):
        """The deviation of all slopes of an output together, as those of a mean tell.

        ``covariance`` is that of the error of the mean. A slope counts as far as the
        rows determine it.
        """
        slopes = np.tile(self._used, (self.likelihood.n_outputs, 1))
        if self.fit_intercept:
            slopes[:, -1] = False
        slopes = slopes.ravel()
        told = (1.0 - np.diag(self._weak) * np.diag(covariance))[slopes].sum()
        square = (mean[slopes] ** 2).sum() / max(told, np.finfo(float).tiny)
        return float(np.sqrt(square * max(self._used.sum(), 1)))

    @cached_property
    def _centre(self):
        """Centre of the weak prior on the mean, (P,)."""
        centre = np.zeros((self.likelihood.n_outputs, self.n_columns))
        if self.fit_intercept:
            centre[:, -1] = self.likelihood.centre
        return centre.ravel()

    def pooled(self):
        """Coefficients of all rows as one task, held by the weak prior alone."""
        if self.has_designs:  # sets of very different sizes stay apart
            return mode_of_all(self.likelihood, self.stacks, self._centre, self._weak)
        L = np.sqrt(np.linalg.inv(self._weak))
        rows = one_task(self.stacks)
        return find_mode(self.likelihood, rows, self._centre, L).theta[0]

    def constant(self):
        """Coefficients that predict the mean of the targets of all rows."""
        return self.with_pinned_slopes().pooled()

    def mean_covariance(self, found):
        """Covariance (P, P) of the error of the mean that `evidence` found.

        The weak prior on the mean is wide, so that it does not disturb what the rows
        say. In directions about which they say nothing, only that prior is left, and a
        smaller deviation replaces its own.
        """
        unseen = self._prior_alone(found)
        likelihood = self.likelihood
        share = (likelihood.unseen_deviation / likelihood.mean_deviation) ** 2
        return np.linalg.inv(found.precision) - (1.0 - share) * unseen @ unseen.T

    def unseen(self, found):
        """Orthonormal directions (P, q) of the mean about which rows say nothing."""
        return np.linalg.qr(self._prior_alone(found))[0]

    def _prior_alone(self, found):
        """A factor (P, q) of the mean's covariance where the rows leave it alone."""
        if self.pin_slopes:
            return np.zeros((self.n_coefficients, 0))
        deviation = np.diag(self._weak) ** -0.5
        covariance = np.linalg.inv(found.precision)
        values, vectors = np.linalg.eigh(covariance / deviation / deviation[:, None])
        return deviation[:, None] * vectors[:, values > 1.0 - UNSEEN]

    # -- evidence ---------------------------------------------------------------------

    def evidence(self, L, mean, state=None):
        """Evidence of all tasks together, as a `LaplaceEvidence`."""
        if self._pieces is not None:
            return self._pieces.evidence(L, mean, state)
        state = state or [None] * len(self.stacks)
        columns = self._columns(L)
        terms = [
            self._terms(stack, on_line, mean, L, columns, u)
            for stack, on_line, u in zip(self.stacks, self.on_line, state, strict=True)
        ]
        weak, apart = self._weak, mean - self._centre
        return LaplaceEvidence(
            value=sum(term.value.sum() for term in terms) - 0.5 * apart @ weak @ apart,
            D=sum(term.D for term in terms),
            mean=mean,
            mean_slope=sum(term.mean_slope for term in terms) - weak @ apart,
            noise=1.0,
            precision_of=lambda: sum(term.precision() for term in terms) + weak,
            state=[term.u for term in terms],
        )

    def _columns(self, L):
        """The spread column by column of X, where that is possible and quicker."""
        if not self.likelihood.only_differences or self.n_tasks == 1:
            return None
        return contrasts.columns_of(L, self.likelihood.n_outputs, self.varying_columns)

    def _terms(self, stack, on_line, mean, L, columns, u):
        """Evidence of a stack: an integral wherever one is known."""
        if on_line:
            return self.likelihood.line_evidence(stack, mean, L, u)
        if self._is_integral(L.shape[1]) and not self.like_richer:
            all_of_u = np.ones((len(stack.X), 1))
            return lines.integral(self.likelihood, stack, mean, L, all_of_u, u)
        return self._laplace_terms(stack, mean, L, columns, u)

    def _laplace_terms(self, stack, mean, L, columns, u=None):
        """Evidence of a stack by Laplace's method, at the cost of what varies."""
        if columns is not None:
            many = columns.n_contrasts > contrasts.FULL
            fewer = many and stack.X.shape[1] < len(columns.which)
            space = row_space if fewer else contrasts
            return space.evidence(self.likelihood, stack, mean, columns, u)
        if not isinstance(u, np.ndarray):  # a search came from the other form
            u = None
        if self.varying_columns.all():
            return _evidence(self.likelihood, stack, mean, L, u)
        return _evidence_of_some(
            self.likelihood, stack, mean, L, self.varying_columns, u
        )

    def information(self, A):
        """About the most that a task knows of each column of A: shape (n,).

        The columns of A (P, n) are directions of coefficients. A direction that shows
        in the rows only by rounding counts as unknown to all tasks.
        """
        total, heard = 0.0, 0.0
        blocks = A.reshape(-1, self.n_columns, A.shape[1])
        for stack in self.stacks:
            squares = self.likelihood.information * np.einsum(
                "tnd,odr,tn->tr",
                stack.squares(),
                blocks**2,
                stack.weight,
                optimize=True,
            )
            total += squares.sum(axis=0)
            heard += (squares > 0).sum(axis=0)
        told = total / np.maximum(heard, 1)
        return np.where(told > ROUNDING**2 * (A**2).sum(axis=0), told, 0.0)

    # -- predictions ------------------------------------------------------------------

    def held_out_score(self, prior, seed):
        """How well tasks are predicted from a few of their rows: (options, T).

        The mean log density of the other rows, for each of the likelihood's
        ``moderations``. The evidence cannot compare structures here: the wider the
        prior, the more it errs for tasks whose rows the model can fit without error.
        """
        likelihood, rng = self.likelihood, np.random.RandomState(seed)
        task = np.tile(np.arange(self.n_tasks), self._n_splits())
        splits = [random_split(self.parts[t], rng, self.recency) for t in task]
        score = np.zeros((len(likelihood.moderations), self.n_tasks))
        for order, means in self._scores(prior, splits):
            np.add.at(score.T, task[order], np.transpose(means) / self._n_splits())
        return score

    def scores_of_next(self, rows, prior, cuts, n_next, recencies):
        """Mean log density of the next rows of a task in order of time: (R,).

        ``cuts`` are the numbers of rows that are known, and ``recencies`` R ways to
        count them. With the whole variance of the posterior.
        """
        splits = [
            cut_in_time(rows, cut, cut + n_next, recency)
            for recency in recencies
            for cut in cuts
        ]
        score = np.empty(len(splits))
        for order, means in self._scores(prior, splits):
            score[order] = means[0]
        return score.reshape(len(recencies), -1).mean(axis=1)

    def _scores(self, prior, splits):
        """Mean log density of some rows of tasks after others, a stack at a time.

        Yields the numbers of the splits, and a list with (splits,) for each of the
        likelihood's ``moderations``.
        """
        likelihood = self.likelihood
        given = [support for support, _ in splits]
        given = self.gather(given, likelihood, self.fit_intercept)
        for stack, order in zip(given.stacks, given.order, strict=True):
            theta, factor = condition(likelihood, prior.mean, prior.factor, stack)
            # without any row given, the prior counts in full for every option
            shares = likelihood.moderations if stack.weight.any() else (1.0,)
            asked = [splits[draw][1] for draw in order]
            for some in like_sized(asked):
                query = Stack.of([asked[draw] for draw in some])
                eta, J = query.eta(theta[some]), query.times(factor[some])
                yield (
                    order[some],
                    [self._mean_score(query, eta, np.sqrt(s) * J) for s in shares],
                )

    def _n_splits(self):
        slow = self.likelihood.n_outputs > 1 or self.n_coefficients > MANY_COEFFICIENTS
        n_splits = 0 if slow else SPLITS_IN_ALL // self.n_tasks
        return int(np.clip(n_splits, MIN_SPLITS, MAX_SPLITS))

    def _mean_score(self, stack, eta, factor):
        """Mean log density (T,) of a stack's rows, averaged over eta + factor u."""
        score = self.likelihood.log_predictive(eta, factor, stack.Y, stack.weight)
        return score.sum(axis=-1) / self.likelihood.n_rows(stack.weight)

    def loss(self, theta):
        """Minus the mean log density of each task under fixed coefficients, (T,)."""

        def mean_log_density(stack):
            log_density = self.likelihood.log_density(stack.eta(theta[None]), stack.Y)
            total = (stack.weight * log_density).sum(axis=-1)
            return total / self.likelihood.n_rows(stack.weight)

        return -self._of_each(mean_log_density)

    def prior_loss(self, prior):
        """The same, averaged over the prior."""

        def mean_log_density(stack):
            J = stack.times(prior.factor[None])
            return self._mean_score(stack, stack.eta(prior.mean[None]), J)

        return -self._of_each(mean_log_density)

    def _of_each(self, function):
        """Numbers (T,) in the order of the tasks, of a function of a stack."""
        out = np.empty(self.n_tasks)
        for stack, order in zip(self.stacks, self.order, strict=True):
            out[order] = function(stack)
        return out


# -- evidence -------------------------------------------------------------------------


class LaplaceEvidence(NamedTuple):
    """The evidence of all tasks and its derivatives, given spread L and mean."""

    value: float
    D: np.ndarray  # (P, P), the gradient in L is D L
    mean: np.ndarray  # (P,)
    mean_slope: np.ndarray  # (P,)
    noise: float  # 1: the likelihood has its own, if any
    precision_of: object  # a function that returns the precision (P, P) of the mean
    state: list  # modes u of the stacks, to start the next search from

    @property
    def precision(self):
        return self.precision_of()


def _evidence(likelihood, stack, mean, L, u=None):
    """Laplace evidence of each task of a stack, and derivatives of their sum.

    The determinant depends on mean and spread through the mode as well. With a its
    slope in eta, that part of the gradient passes through nu = (I + H Sigma)^-1 X'a.
    """
    mode = find_mode(likelihood, stack, mean, L, u)
    V, half_log_det = _posterior_covariance(mode, L)
    HV = mode.hessian @ V
    alpha = _slope_of_log_det(likelihood, stack, mode.mu, V)
    nu = alpha - (HV @ alpha[..., None])[..., 0]
    g = mode.score
    cross = nu.T @ g
    M = (mode.hessian - HV @ mode.hessian).sum(axis=0)
    return lines.Terms(
        value=mode.value - half_log_det,
        D=g.T @ g + cross + cross.T - M,
        mean_slope=(g + nu).sum(axis=0),
        precision=lambda: 0.5 * (M + M.T),
        u=mode.u,
    )


def _slope_of_log_det(likelihood, stack, mu, V):
    """X'a (T, P): gradient of minus half the log determinant in the coefficients."""
    return -stack.gradient(slope_of_half_trace(likelihood, stack, mu, V))


def _evidence_of_some(likelihood, stack, mean, L, varying, u=None):
    """The same if only some columns (d,) vary, at the cost of these.

    D is right for the coefficients that vary, and zero for the others.
    """
    o = likelihood.n_outputs
    P, some = o * len(varying), np.flatnonzero(np.tile(varying, o))
    L = L[some]
    own = stack._replace(X=stack.X[..., varying], offset=stack.eta(mean[None]))
    mode = find_mode(likelihood, own, np.zeros(len(some)), L, u)
    C, half = _half_covariance(mode, L)
    V = half.swapaxes(-1, -2) @ half
    HV = mode.hessian @ V
    slope = -slope_of_half_trace(likelihood, own, mode.mu, V)
    alpha = own.gradient(slope)
    nu = alpha - (HV @ alpha[..., None])[..., 0]
    g, cross = mode.score, nu.T @ mode.score
    D = np.zeros((P, P))
    D[np.ix_(some, some)] = (
        g.T @ g + cross + cross.T - (mode.hessian - HV @ mode.hessian).sum(axis=0)
    )
    # the mean of all columns moves with the slopes in eta
    moved = own._replace(offset=np.zeros_like(own.offset)).eta(
        (V @ alpha[..., None])[..., 0]
    )
    of_eta = likelihood.slope(mode.mu, stack.Y) * stack.weight[..., None] + slope
    of_eta = of_eta - times_curvature(likelihood, stack, mode.mu, moved)

    def precision():  # it costs more than the rest, and few are asked for
        J = own.times(half.swapaxes(-1, -2))
        K = stack.gradients(times_curvature(likelihood, stack, mode.mu, J))
        K = K.reshape(-1, P)
        return sum_of_hessians(likelihood, stack, mode.mu) - K.T @ K

    return lines.Terms(
        value=mode.value - np.log(np.diagonal(C, axis1=-2, axis2=-1)).sum(axis=-1),
        D=D,
        mean_slope=stack.gradient(of_eta).sum(axis=0),
        precision=precision,
        u=mode.u,
    )


def _posterior_covariance(mode, L):
    """L B^-1 L' and log det(B) / 2 of each task."""
    C, half = _half_covariance(mode, L)
    log_det = np.log(np.diagonal(C, axis1=-2, axis2=-1)).sum(axis=-1)
    return half.swapaxes(-1, -2) @ half, log_det


def _half_covariance(mode, L):
    """The Cholesky factor C of B, and C^-1 L'."""
    C = np.linalg.cholesky(mode.B)
    return C, np.linalg.solve(C, np.broadcast_to(L.T, (len(C), *L.T.shape)))


def condition(likelihood, mean, factor, stack):
    """Posterior centre (T, P) and factor (T, P, r) of coefficients, given rows.

    The centre is the mode, or nearly the mean if the likelihood asks for it: with V the
    covariance and a as in `_evidence`, the mean lies at a distance of V X'a from the
    mode, to second order.
    """
    n, o, r = stack.X.shape[1], stack.n_outputs, factor.shape[1]
    if r > MANY_UNKNOWNS and 2 * n * o <= r:
        return _condition_by_rows(likelihood, mean, factor, stack)
    mode = find_mode(likelihood, stack, mean, factor)
    _, half = _half_covariance(mode, factor)
    if not likelihood.centre_is_mean:
        return mode.theta, half.swapaxes(-1, -2)
    V = half.swapaxes(-1, -2) @ half
    alpha = _slope_of_log_det(likelihood, stack, mode.mu, V)
    return mode.theta + (V @ alpha[..., None])[..., 0], half.swapaxes(-1, -2)


def _condition_by_rows(likelihood, mean, factor, stack):
    """The same in the space of the rows, which are fewer than the unknowns u.

    The predictors move by Z u. With Z' = QR, Q orthonormal, only v = Q'u moves them.
    """
    T, n, o = stack.Y.shape
    Z = stack.times(factor[None]).reshape(T, n * o, -1)
    Q, R = np.linalg.qr(Z.swapaxes(-1, -2))
    # each predictor of a row is taken for a coefficient
    L = R.swapaxes(-1, -2).reshape(T, n, o, -1).swapaxes(1, 2).reshape(T, o * n, -1)
    own_columns = np.broadcast_to(np.eye(n), (T, n, n))
    rows = stack._replace(X=own_columns, offset=stack.eta(mean[None]))
    v, _ = newton(likelihood, rows, L, np.zeros((T, L.shape[-1])))
    mu, _, H = derivatives(likelihood, rows, rows.eta(times(v, L.swapaxes(-1, -2))))
    C = np.linalg.cholesky(precision_of(likelihood, L, H))
    FQ = factor @ Q
    if likelihood.centre_is_mean:
        half = np.linalg.solve(C, L.swapaxes(-1, -2))
        V = half.swapaxes(-1, -2) @ half
        alpha = _slope_of_log_det(likelihood, rows, mu, V)
        v = v + np.linalg.solve(C.swapaxes(-1, -2), half @ alpha[..., None])[..., 0]
    theta = mean + (FQ @ v[..., None])[..., 0]
    # u has the covariance I - QQ' + Q (C C')^-1 Q' = A A', A = I - Q (I - C^-T) Q'
    left = FQ - np.linalg.solve(C, FQ.swapaxes(-1, -2)).swapaxes(-1, -2)
    return theta, factor - left @ Q.swapaxes(-1, -2)
