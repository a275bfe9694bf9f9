r"""The Gaussian prior of logistic models: Laplace evidence, its gradient, posteriors.

Task t has rows X, labels y and coefficients theta ~ N(m, Sigma), Sigma = L L'. Write
theta = m + L u with u ~ N(0, I). About the mode of u the posterior is nearly normal,
and the evidence of the task nearly

    log p(y | theta) - u'u / 2 - log det(I + L' H L) / 2,    H = X' W X,

all at the mode, W the curvature of the log-likelihood in the logits. Its maximum, not
that of EM about such modes, is sought: EM holds the determinant's dependence on the
mode fixed, and so finds spreads several times too small (Breslow & Lin, 1995).

Coefficients of o outputs are laid out (o, d): one output for two classes, else one per
class.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_softmax, logsumexp, softmax
from scipy.stats import norm
from scipy.stats.qmc import Sobol

from skmeta._core.network import LOSSES
from skmeta._core.prior import quadrature
from skmeta._core.prior.structures import ROUNDING
from skmeta._core.tasks import Parts, sizes_of, slices, take_parts

LOGIT_DEVIATION = 5.0  # a priori, of the mean's slopes together, however many they are
# At most, of one of them; and of an intercept (Gelman et al., 2008).
MEAN_DEVIATION = 2.5
UNSEEN_DEVIATION = 1.0  # of an intercept in a direction that no row looked at
UNSEEN = 1e-6  # share of the prior's variance that rows take away from there at most
PINNED = 1e-5  # deviation that holds a coefficient of the mean at zero
MODERATIONS = (1.0, 0.75, 0.5, 0.25, 0.0)  # shares of the posterior's variance
FAITH = 4  # power of a share that it is as probable as, before any task
ROWS_OF_TASK = 4  # that a held-out task counts as: its rows are not independent
SUPPORT_SIZES = (1, 2, 4, 8, 16)
N_DRAWS = (2, 10)  # of rows of a task that is held out, at least and at most, ...
DRAWS_IN_ALL = 400  # ... so that few tasks are drawn from often, if that is quick
MANY_COEFFICIENTS = 60
LOG2_POINTS = 6  # half of the points that softmax is averaged over
LOG2_MANY_POINTS = 7  # half of those for the evidence of a task of one row
FEW_ROWS = 3  # of the same x, that such points are enough for
MAX_QUERY = 50
STACK_CELLS = 2**18  # numbers of one stack
MAX_NEWTON = 50
NEWTON_STEPS = 4  # that one evaluation of the evidence takes from the one before
JITTER = 1e-8  # variance of logits that none lacks: a matrix of zeros has no factor
MODE_TOL = 1e-13  # of the Newton decrement: twice what a step can still gain


class Stack(NamedTuple):
    """Rows of T tasks, padded; ``weight`` is 0 on padding."""

    X: np.ndarray  # (T, n, d)
    Y: np.ndarray  # (T, n, o)
    weight: np.ndarray  # (T, n)
    offset: np.ndarray  # (T, n, o)


@dataclass(frozen=True)
class LogisticTasks:
    """Tasks in stacks of about equal size, and where each stood in the user's order."""

    parts: list | Parts  # of (X, Y, weight, offset)
    stacks: list
    order: list  # of index arrays, one per stack
    lines: list  # of bool: whether each task of a stack has rows in one direction only
    fit_intercept: bool  # whether the last column of X is the intercept's
    pin_slopes: bool = False  # whether the slopes of the mean are held at zero
    like_richer: bool = False  # whether a spread of one coefficient is none by itself

    @property
    def n_tasks(self):
        return sum(map(len, self.order))

    @property
    def n_rows(self):
        """Sums of sample weights, (T,)."""
        n_rows = np.empty(self.n_tasks)
        for stack, order in zip(self.stacks, self.order, strict=True):
            n_rows[order] = stack.weight.sum(axis=1)
        return n_rows

    @property
    def n_coefficients(self):
        stack = self.stacks[0]
        return stack.X.shape[-1] * stack.Y.shape[-1]

    def work(self, n_varying):
        """Multiplications of one evaluation of the evidence, if so many vary."""
        o, d = self.stacks[0].Y.shape[-1], self.stacks[0].X.shape[-1]
        P, r, work = o * d, n_varying, 0.0
        for stack in self.stacks:
            T, n = stack.weight.shape
            curvature = 0.5 * o * (o + 1) * n * d**2
            if o == 1 and r == 1:
                work += T * (curvature + 2 * quadrature.N_NODES * n * d)
                continue
            newton = curvature * min(1.0, r / P) ** 2 + 2 * r**3 + r**3 / 3
            last = 2 * curvature + 2 * P**2 * r + 2 * P * r**2 + 2 * P**3
            work += T * (NEWTON_STEPS * newton + last)
        return work

    def subset(self, tasks):
        subset = gather(take_parts(self.parts, tasks), self.fit_intercept)
        return replace(subset, pin_slopes=self.pin_slopes, like_richer=self.like_richer)

    def like_richer_ones(self):
        """The same tasks, with the approximation that richer structures have."""
        return replace(self, like_richer=True)

    def with_pinned_slopes(self):
        """The same tasks, if slopes are zero on average."""
        return replace(self, pin_slopes=True)

    def mean_coordinates(self, mean):
        """Where to begin with the mean, and directions of unit curvature about it."""
        if mean is None:
            mean = self.pooled()
        none = np.zeros((len(mean), 1))
        terms = [_evidence(stack, mean, none) for stack in self.stacks]
        precision = sum(term.precision for term in terms) + self._weak
        values, vectors = np.linalg.eigh(precision / self.n_tasks)
        least = np.finfo(float).eps * values.max()  # the rest is rounding
        return mean, vectors / np.sqrt(np.maximum(values, least))

    @cached_property
    def _weak(self):
        """Precision of the weak prior on the mean."""
        stack = self.stacks[0]
        o, d = stack.Y.shape[-1], stack.X.shape[-1]
        used = np.any([stack.X.any(axis=(0, 1)) for stack in self.stacks], axis=0)
        slope = min(MEAN_DEVIATION, LOGIT_DEVIATION / np.sqrt(max(used.sum(), 1)))
        deviation = np.full((o, d), PINNED if self.pin_slopes else slope)
        if self.fit_intercept:
            deviation[:, -1] = MEAN_DEVIATION
        return np.diag(deviation.ravel() ** -2.0)

    def pooled(self):
        """Coefficients of all rows as one task, held by the weak prior alone."""
        L = np.sqrt(np.linalg.inv(self._weak))
        pooled = Stack(
            *(
                np.concatenate(
                    [field.reshape(-1, *field.shape[2:]) for field in fields]
                )
                for fields in zip(*self.stacks, strict=True)
            )
        )
        pooled = Stack(*(field[None] for field in pooled))
        return find_mode(pooled, np.zeros(len(L)), L).theta[0]

    def constant(self):
        """Coefficients that predict the frequencies of the classes in all rows."""
        return self.with_pinned_slopes().pooled()

    def evidence(self, L, mean, state=None):
        """Laplace evidence of all tasks together."""
        state = state or [None] * len(self.stacks)
        terms = [
            self._terms(stack, line, mean, L, u)
            for stack, line, u in zip(self.stacks, self.lines, state, strict=True)
        ]
        weak = self._weak
        return Evidence(
            value=sum(term.value.sum() for term in terms) - 0.5 * mean @ weak @ mean,
            D=sum(term.D for term in terms),
            mean=mean,
            mean_slope=sum(term.mean_slope for term in terms) - weak @ mean,
            noise=1.0,
            precision=sum(term.precision for term in terms) + weak,
            state=[term.u for term in terms],
        )

    def _terms(self, stack, line, mean, L, u):
        """Evidence of a stack: an integral where that is one over a line."""
        if stack.Y.shape[-1] > 1 and line:
            return _average(stack, mean, L)
        if line:
            return _integral(stack, mean, L, _along(stack, L), u)
        if stack.Y.shape[-1] == 1 and L.shape[1] == 1 and not self.like_richer:
            return _integral(stack, mean, L, np.ones((len(stack.X), 1)), u)
        return _evidence(stack, mean, L, u)

    def mean_covariance(self, found):
        """Covariance (P, P) of the error of the mean that `evidence` found.

        The prior on the mean is wide, so that it does no harm to what the rows tell.
        Where they tell nothing it is all that there is, and is taken for less.
        """
        unseen = self._prior_alone(found)
        share = (UNSEEN_DEVIATION / MEAN_DEVIATION) ** 2
        return np.linalg.inv(found.precision) - (1.0 - share) * unseen @ unseen.T

    def unseen(self, found):
        """Orthonormal directions (P, q) of which the rows tell nothing."""
        return np.linalg.qr(self._prior_alone(found))[0]

    def _prior_alone(self, found):
        """A factor (P, q) of the mean's covariance where the rows leave it alone."""
        if self.pin_slopes:
            return np.zeros((self.n_coefficients, 0))
        deviation = np.diag(self._weak) ** -0.5
        covariance = np.linalg.inv(found.precision)
        values, vectors = np.linalg.eigh(covariance / deviation / deviation[:, None])
        return deviation[:, None] * vectors[:, values > 1.0 - UNSEEN]

    def information(self, A):
        """Of each column of A, what a task knows of it at most: a quarter of its rows.

        The columns of A (P, n) are directions of coefficients. Of one that the rows
        only show by their rounding, no task knows.
        """
        d, total, heard = self.stacks[0].X.shape[-1], 0.0, 0.0
        blocks = A.reshape(-1, d, A.shape[1])
        for stack in self.stacks:
            squares = 0.25 * np.einsum(
                "tnd,odr,tn->tr", stack.X**2, blocks**2, stack.weight, optimize=True
            )
            total += squares.sum(axis=0)
            heard += (squares > 0).sum(axis=0)
        told = total / np.maximum(heard, 1)
        return np.where(told > ROUNDING**2 * (A**2).sum(axis=0), told, 0.0)

    def held_out_score(self, prior, seed):
        """How well tasks are predicted from a few of their rows: (options, T).

        The mean log-probability of the other rows, for each of the MODERATIONS. The
        evidence is no judge of structures here: the wider the prior, the more it errs
        for tasks whose rows the model can separate.
        """
        rng = np.random.RandomState(seed)
        slow = self.stacks[0].Y.shape[-1] > 1 or self.n_coefficients > MANY_COEFFICIENTS
        n_draws = int(np.clip((0 if slow else DRAWS_IN_ALL) // self.n_tasks, *N_DRAWS))
        task = np.tile(np.arange(self.n_tasks), n_draws)
        splits = [_split(self.parts[t], rng) for t in task]
        given = gather([support for support, _ in splits], self.fit_intercept)
        score = np.zeros((len(MODERATIONS), self.n_tasks))
        for stack, order in zip(given.stacks, given.order, strict=True):
            theta, factor = condition(prior.mean, prior.factor, stack)
            query = _stack([splits[draw][1] for draw in order])
            eta, J = logits(query, theta), _times(query, factor)
            for option, moderation in enumerate(MODERATIONS):
                # before adapting the prior counts in full, whatever the option
                if option == 0 or stack.weight.any():
                    p = predictive(eta, np.sqrt(moderation) * J)
                np.add.at(score[option], task[order], -_log_loss(query, p) / n_draws)
        return score

    def loss(self, theta):
        """Mean log-loss of each task under fixed coefficients, (T,)."""
        return self._loss(lambda stack: probabilities(logits(stack, theta[None])))

    def prior_loss(self, prior):
        """The same, averaged over the prior."""

        def average(stack):
            J = _times(stack, prior.factor[None])
            return predictive(logits(stack, prior.mean[None]), J)

        return self._loss(average)

    def _loss(self, predict):
        loss = np.empty(self.n_tasks)
        for stack, order in zip(self.stacks, self.order, strict=True):
            loss[order] = _log_loss(stack, predict(stack))
        return loss


def moderation(score):
    """The share of the posterior's variance to average over, of scores (options, T).

    The mean of the `MODERATIONS`, each as probable as it makes held-out tasks, of which
    a task counts as ROWS_OF_TASK rows; before any task, the largest by far, which takes
    the posterior at its word. The best of them would jump between 0 and 1 where tasks
    are few.
    """
    log_likelihood = ROWS_OF_TASK * score.sum(axis=1)
    likelihood = np.exp(log_likelihood - log_likelihood.max())
    before = np.power(MODERATIONS, FAITH)
    return float(np.average(MODERATIONS, weights=likelihood * before))


def _log_loss(stack, p):
    """Mean log-loss (T,) of the probabilities (T, n, o) of a stack's rows."""
    p = np.where(stack.Y > 0.5, p, 1 - p) if p.shape[-1] == 1 else stack.Y * p
    p = np.maximum(p.sum(axis=-1), np.finfo(float).tiny)
    return -(stack.weight * np.log(p)).sum(axis=-1) / stack.weight.sum(axis=-1)


def _split(part, rng):
    """A few rows of a task at random, none of a single row, and the others."""
    n = len(part[0])
    n_support = min(rng.choice(SUPPORT_SIZES), n - 1)
    order = rng.permutation(n)
    support, query = order[:n_support], order[n_support:][:MAX_QUERY]
    return [field[support] for field in part], [field[query] for field in part]


def _times(stack, factor):
    """Rows times the coefficients of each output, factor (T, P, r): (T, n, o, r)."""
    o, d = stack.Y.shape[-1], stack.X.shape[-1]
    blocks = factor.reshape(len(factor), o, d, -1)
    return np.einsum(
        "tnd,todr->tnor",
        stack.X,
        np.broadcast_to(blocks, (len(stack.X), *blocks.shape[1:])),
        optimize=True,
    )


def gather(parts, fit_intercept):
    """`LogisticTasks` of a list of (X, Y, weight, offset), one task each.

    A stack holds tasks of similar size and a bounded number of them: neither padding
    nor the Hessians of all tasks at once may fill the memory.
    """
    sizes, (X, Y, *_) = sizes_of(parts), parts[0]
    is_line = np.array([_is_line(X) and _tells_little(Y, w) for X, Y, w, _ in parts])
    buckets = 2 * _bucket(sizes) + is_line
    n_coefficients = X.shape[1] * Y.shape[1]
    stacks, orders, lines = [], [], []
    for bucket in np.unique(buckets):
        tasks = np.flatnonzero(buckets == bucket)
        cells = n_coefficients * (n_coefficients + sizes[tasks].max())
        n_stacks = -(-len(tasks) * cells // STACK_CELLS)
        for order in np.array_split(tasks, min(n_stacks, len(tasks))):
            stacks.append(_stack([parts[task] for task in order]))
            orders.append(order)
            lines.append(bool(is_line[order[0]]))
    return LogisticTasks(parts, stacks, orders, lines, fit_intercept)


def _bucket(sizes):
    return np.ceil(2 * np.log2(np.maximum(sizes, 1)))


def _is_line(X):
    """Whether all rows are multiples of one, as one row is and rows that repeat."""
    if len(X) <= 1:
        return True
    row = X[np.abs(X).max(axis=1).argmax()]
    square = row @ row
    if square == 0:
        return True
    apart = X - np.outer(X @ row / square, row)
    return bool(np.abs(apart).max() <= 1e-12 * np.abs(row).max())


def _tells_little(Y, weight):
    """Whether few points, placed by the prior, represent the posterior of a task."""
    return Y.shape[1] == 1 or weight.sum() <= FEW_ROWS


def _stack(parts):
    longest = max(len(X) for X, *_ in parts)

    def padded(field):
        rows = [part[field] for part in parts]
        out = np.zeros((len(rows), longest, *rows[0].shape[1:]))
        for task, row in enumerate(rows):
            out[task, : len(row)] = row
        return out

    return Stack(*map(padded, range(4)))


class Mode(NamedTuple):
    """The posterior of T tasks about its mode."""

    u: np.ndarray  # (T, r)
    theta: np.ndarray  # (T, P)
    value: np.ndarray  # (T,) log-likelihood minus u'u / 2
    score: np.ndarray  # (T, P) gradient of the log-likelihood
    hessian: np.ndarray  # (T, P, P) minus its second derivative
    B: np.ndarray  # (T, r, r) precision of u


# -- likelihood -----------------------------------------------------------------------


def logits(tasks, theta):
    """Logits (T, n, o) of coefficients (T, P)."""
    o, d = tasks.Y.shape[-1], tasks.X.shape[-1]
    coef = theta.reshape(len(theta), o, d).swapaxes(-1, -2)
    return tasks.X @ coef + tasks.offset


def probabilities(eta):
    return expit(eta) if eta.shape[-1] == 1 else softmax(eta, axis=-1)


def log_likelihood(tasks, eta):
    name = "log_loss" if eta.shape[-1] == 1 else "softmax_log_loss"
    loss, slope = LOSSES[name](eta, tasks.Y)
    return -(tasks.weight * loss).sum(axis=-1), -slope * tasks.weight[..., None]


def curvature(p, a, b):
    """Minus the second derivative of a row's log-likelihood in logits a and b."""
    if p.shape[-1] == 1:
        return p[..., 0] * (1 - p[..., 0])
    return p[..., a] * ((a == b) - p[..., b])


def hessian(X, p, weight):
    """X' W X of each task: (T, P, P)."""
    n_tasks, _, d = X.shape
    o = p.shape[-1]
    H = np.empty((n_tasks, o, d, o, d))
    for a in range(o):
        for b in range(a + 1):
            block = _products(X, weight * curvature(p, a, b))
            H[:, a, :, b] = block
            H[:, b, :, a] = block
    return H.reshape(n_tasks, o * d, o * d)


def _products(X, weight):
    """X' diag(weight) X of each task; of a long one a block of rows at a time."""
    total = 0.0
    for rows in _blocks(X):
        part = X[:, rows]
        total += (part * weight[:, rows, None]).swapaxes(-1, -2) @ part
    return total


def _blocks(X):
    """Slices of the rows of X (T, n, d) that hold a bounded number of cells."""
    n_tasks, n, d = X.shape
    return slices(n, STACK_CELLS // max(1, n_tasks * d))


def curvature_slope(p, Q):
    """Derivative of tr(Q W) / 2 in the logits, (T, n, o); Q is (T, n, o, o)."""
    if p.shape[-1] == 1:
        return 0.5 * Q[..., 0] * p * (1 - p) * (1 - 2 * p)
    # tr(Q W) = sum_a p_a Q_aa - p'Qp
    inner = np.diagonal(Q, axis1=-2, axis2=-1) - 2 * (Q @ p[..., None])[..., 0]
    return 0.5 * p * (inner - (p * inner).sum(axis=-1, keepdims=True))


def logit_covariance(X, V, o):
    """Covariance (T, n, o, o) of the logits, given that of the coefficients."""
    n_tasks, n, d = X.shape
    V = V.reshape(n_tasks, o, d, o, d)
    Q = np.empty((n_tasks, n, o, o))
    for a in range(o):
        for b in range(a + 1):
            for rows in _blocks(X):
                part = X[:, rows]
                Q[:, rows, a, b] = ((part @ V[:, a, :, b]) * part).sum(axis=-1)
            Q[..., b, a] = Q[..., a, b]
    return Q


# -- mode -----------------------------------------------------------------------------


def find_mode(tasks, mean, L, u=None):
    """The mode of every task by Newton's method, with steps halved until they climb.

    The search sees only the columns of X whose coefficients vary; the others' share of
    the logits is fixed.
    """
    o, r = tasks.Y.shape[-1], L.shape[1]
    blocks = L.reshape(o, -1, r)
    varying = blocks.any(axis=(0, 2))
    fixed = logits(tasks, mean[None])
    X = tasks.X if varying.all() else tasks.X[..., varying]
    searched = tasks._replace(X=X, offset=fixed)
    u = np.zeros((len(tasks.X), r)) if u is None else u
    u, value = _newton(searched, blocks[:, varying].reshape(-1, r), u)
    theta = mean + u @ L.T
    eta = logits(tasks, theta)
    score, H = _derivatives(tasks, log_likelihood(tasks, eta)[1], eta)
    return Mode(u, theta, value, score, H, np.eye(r) + L.T @ H @ L)


def _newton(tasks, L, u):
    """u (T, r) at the mode, and the log-likelihood minus u'u / 2 there."""
    value, grad_eta, eta = _objective(tasks, L, u)
    for _ in range(MAX_NEWTON):
        score, H = _derivatives(tasks, grad_eta, eta)
        slope = score @ L - u
        B = np.eye(L.shape[1]) + L.T @ H @ L
        step = np.linalg.solve(B, slope[..., None])[..., 0]
        gain = (slope * step).sum(axis=-1)
        if (gain < MODE_TOL * (1 + np.abs(value))).all():
            # the step is there already, and squares what is left of the error
            return u + step, value + 0.5 * gain
        u, value, grad_eta, eta = _climb(tasks, L, u, step, value)
    return u, value


def _objective(tasks, L, u):
    eta = logits(tasks, u @ L.T)
    value, grad_eta = log_likelihood(tasks, eta)
    return value - 0.5 * (u * u).sum(axis=-1), grad_eta, eta


def _derivatives(tasks, grad_eta, eta):
    score = (grad_eta.swapaxes(-1, -2) @ tasks.X).reshape(len(tasks.X), -1)
    return score, hessian(tasks.X, probabilities(eta), tasks.weight)


def _climb(tasks, L, u, step, value):
    length = np.ones(len(tasks.X))
    for _ in range(30):
        tried = u + length[:, None] * step
        reached, grad_eta, eta = _objective(tasks, L, tried)
        worse = reached < value - 1e-10 * (1 + np.abs(value))
        if not worse.any():
            break
        length[worse] *= 0.5
    return tried, reached, grad_eta, eta


# -- evidence -------------------------------------------------------------------------


class Evidence(NamedTuple):
    """The Laplace evidence of all tasks and its derivatives, given the spread L."""

    value: float
    D: np.ndarray  # (P, P), the gradient in L is D L
    mean: np.ndarray  # (P,)
    mean_slope: np.ndarray  # (P,)
    noise: float
    precision: np.ndarray  # (P, P) of the mean
    state: list  # modes u of the stacks, to start the next search from


class _Terms(NamedTuple):
    """What one stack contributes to the evidence."""

    value: np.ndarray  # (T,)
    D: np.ndarray
    mean_slope: np.ndarray
    precision: np.ndarray
    u: np.ndarray


def _evidence(tasks, mean, L, u=None):
    """Laplace evidence of each task of a stack, and derivatives of their sum.

    The determinant depends on mean and spread through the mode as well; with a its
    slope in the logits, that part of the gradient passes through
    nu = (I + H Sigma)^-1 X'a.
    """
    mode = find_mode(tasks, mean, L, u)
    V, half_log_det = _posterior_covariance(mode, L)
    HV = mode.hessian @ V
    p = probabilities(logits(tasks, mode.theta))
    Q = logit_covariance(tasks.X, V, tasks.Y.shape[-1])
    slope = -curvature_slope(p, Q) * tasks.weight[..., None]
    alpha = (slope.swapaxes(-1, -2) @ tasks.X).reshape(len(slope), -1)
    nu = alpha - (HV @ alpha[..., None])[..., 0]
    g = mode.score
    cross = nu.T @ g
    M = (mode.hessian - HV @ mode.hessian).sum(axis=0)
    return _Terms(
        value=mode.value - half_log_det,
        D=g.T @ g + cross + cross.T - M,
        mean_slope=(g + nu).sum(axis=0),
        precision=0.5 * (M + M.T),
        u=mode.u,
    )


def _along(tasks, L):
    """Directions (T, r) in which u moves the logits of rows that are multiples."""
    w = _largest_row(tasks) @ L
    size = np.sqrt((w * w).sum(axis=-1, keepdims=True))
    return np.divide(w, size, out=np.zeros_like(w), where=size > 0)


def _largest_row(tasks):
    largest = np.abs(tasks.X).max(axis=-1).argmax(axis=1)
    return tasks.X[np.arange(len(largest)), largest]


def _integral(tasks, mean, L, w, z=None):
    """`_evidence` of two classes where only w'u, of w (T, r), moves a task's logits."""
    n_tasks, n, P = tasks.X.shape
    lines = quadrature.Lines(
        b=logits(tasks, mean[None])[..., 0],
        a=(tasks.X @ (w @ L.T)[..., None])[..., 0],
        Y=tasks.Y[..., 0],
        weight=tasks.weight,
    )
    value, mode = np.empty(n_tasks), np.empty(n_tasks)
    products, curvature, means = (np.zeros((P, P)) for _ in range(3))
    mean_slope = np.zeros(P)
    for some in quadrature.in_chunks(n_tasks, n):
        part = quadrature.Lines(*(field[some] for field in lines))
        found = quadrature.integrate(part, None if z is None else z[some])
        value[some], mode[some] = found.value, found.mode
        score, scores = 0.0, 0.0
        for few in quadrature.blocks(n):
            X = tasks.X[some, few]
            slope, bend = quadrature.slopes(
                quadrature.Lines(*(field[:, few] for field in part)), found
            )
            # E[X'g], (T, P)
            score = score + ((found.share[:, None] @ slope) @ X)[:, 0]
            root = np.sqrt(found.share)[..., None] * slope
            if n == 1:  # quicker than what comes of more rows
                rows, square = X[:, 0], (root * root).sum(axis=(1, 2))
                products += (rows * square[:, None]).T @ rows
            else:
                scores = scores + root @ X
            rows = X.reshape(-1, P)
            curvature += (rows * bend.reshape(-1, 1)).T @ rows
        mean_slope += score.sum(axis=0)
        means += score.T @ score
        if n > 1:
            scores = scores.reshape(-1, P)
            products += scores.T @ scores  # X' E[gg'] X
    return _Terms(
        value=value,
        D=products - curvature,
        mean_slope=mean_slope,
        precision=curvature - products + means,
        u=mode,
    )


def _average(tasks, mean, L):
    """`_evidence` of more classes, if all rows of a task are multiples c of one row x.

    The average of the likelihood over points z_k that are spread evenly over a standard
    normal. Logits less that of the last class vary by B u, B = M (I x') L with M = [I,
    -1], as R z does if R is a Cholesky factor of BB'. The derivatives are those of the
    average itself. That in L is D L, D = M'SM times xx' for each two classes, with S
    twice the derivative in BB' (Murray, 2016).
    """
    n_tasks, n, d = tasks.X.shape
    o = tasks.Y.shape[-1]
    points = _normal_points(o - 1, LOG2_MANY_POINTS)
    value, mean_slope = np.empty(n_tasks), np.zeros((o, d))
    D, precision = np.zeros((o, d, o, d)), np.zeros((o, d, o, d))
    size = max(1, STACK_CELLS // (8 * len(points) * n * o))
    for some in (slice(i, i + size) for i in range(0, n_tasks, size)):
        part = Stack(*(field[some] for field in tasks))
        x = _largest_row(part)
        c = (part.X @ x[..., None])[..., 0] / np.maximum(
            (x * x).sum(axis=-1, keepdims=True), np.finfo(float).tiny
        )
        A = np.einsum("td,odr->tor", x, L.reshape(o, d, -1))
        B = A[:, :-1] - A[:, -1:]
        R = np.linalg.cholesky(B @ B.swapaxes(-1, -2) + JITTER * np.eye(o - 1))
        moved = points @ R.swapaxes(-1, -2)  # (t, k, o - 1)
        moved = np.concatenate([moved, np.zeros((*moved.shape[:2], 1))], axis=-1)
        eta = (
            logits(part, mean[None])[:, None] + c[:, None, :, None] * moved[:, :, None]
        )
        log_p = log_softmax(eta, axis=-1)
        weight = part.weight[:, None, :, None]
        f = (weight * part.Y[:, None] * log_p).sum(axis=(-1, -2))
        value[some] = logsumexp(f, axis=1) - np.log(len(points))
        share = softmax(f, axis=1)
        p = np.exp(log_p)
        g = weight * (part.Y[:, None] - p) * c[:, None, :, None]
        score = g.sum(axis=2)  # in the logits of x, (t, k, o)
        slope = (share[:, None] @ score)[:, 0]
        weighted = share[..., None] * score
        products = weighted.swapaxes(-1, -2) @ score
        p = p.reshape(len(p), -1, o)
        times = share[..., None] * part.weight[:, None] * c[:, None] ** 2
        p_times = p * times.reshape(len(p), -1, 1)
        curvature = -p_times.swapaxes(-1, -2) @ p
        curvature += p_times.sum(axis=1)[..., None] * np.eye(o)
        S = _cholesky_slope(R, weighted[..., :-1].swapaxes(-1, -2) @ points)
        in_logits = np.zeros((len(x), o, o))
        in_logits[:, :-1, :-1] = S
        in_logits[:, :-1, -1] = in_logits[:, -1, :-1] = -S.sum(axis=-1)
        in_logits[:, -1, -1] = S.sum(axis=(-1, -2))
        apart = slope[:, :, None] * slope[:, None]
        mean_slope += slope.T @ x
        for total, blocks in (
            (D, in_logits),
            (precision, curvature - products + apart),
        ):
            total += np.einsum("tab,td,te->adbe", blocks, x, x, optimize=True)
    P = o * d
    return _Terms(
        value, D.reshape(P, P), mean_slope.ravel(), precision.reshape(P, P), None
    )


def _cholesky_slope(R, slope):
    """Twice the derivative in RR', symmetric, given that in the lower triangular R."""
    lower = np.tril(R.swapaxes(-1, -2) @ slope)
    lower -= 0.5 * np.einsum("tii->ti", lower)[..., None] * np.eye(R.shape[-1])
    inverse = np.linalg.inv(R)
    half = inverse.swapaxes(-1, -2) @ lower @ inverse
    return half + half.swapaxes(-1, -2)


def _posterior_covariance(mode, L):
    """L B^-1 L' and log det(B) / 2 of each task."""
    C = np.linalg.cholesky(mode.B)
    half = np.linalg.solve(C, np.broadcast_to(L.T, (len(C), *L.T.shape)))
    log_det = np.log(np.diagonal(C, axis1=-2, axis2=-1)).sum(axis=-1)
    return half.swapaxes(-1, -2) @ half, log_det


# -- posteriors and predictions -------------------------------------------------------


def condition(mean, factor, stack):
    """Posterior mode (T, P) and factor (T, P, r) of coefficients, given rows."""
    mode = find_mode(stack, mean, factor)
    C = np.linalg.cholesky(mode.B)
    half = np.linalg.solve(C, np.broadcast_to(factor.T, (len(C), *factor.T.shape)))
    return mode.theta, half.swapaxes(-1, -2)


def predictive(eta, factor):
    """Probabilities (..., o) averaged over logits eta + factor u with u ~ N(0, I)."""
    scores = predictive_scores(eta, factor)
    return expit(scores) if eta.shape[-1] == 1 else np.exp(scores)


def predictive_scores(eta, factor):
    """The log-odds of the averages, or with more classes their logarithms.

    For two classes the average is nearly that of logits divided by
    sqrt(1 + pi / 8 variance) (MacKay, 1992). That rule is none for the softmax, of
    which only differences of logits matter: there the average is taken over evenly
    spread points.
    """
    if eta.shape[-1] == 1:
        variance = (factor**2).sum(axis=-1)
        return eta / np.sqrt(1 + np.pi / 8 * variance)
    factor = factor - factor.mean(axis=-2, keepdims=True)
    Q = factor @ factor.swapaxes(-1, -2)
    values, vectors = np.linalg.eigh(Q)
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    # the symmetric root: another would turn with the arbitrary signs of eigenvectors
    root = scaled @ vectors.swapaxes(-1, -2)
    points = eta[..., None, :] + _normal_points(eta.shape[-1]) @ root
    log_p = log_softmax(points, axis=-1)
    return logsumexp(log_p, axis=-2) - np.log(points.shape[-2])


@cache
def _normal_points(n_dimensions, log2_points=LOG2_POINTS):
    """Points (n, n_dimensions) that represent a standard normal."""
    cube = Sobol(n_dimensions, scramble=False).random_base2(log2_points)
    points = norm.ppf(cube + 0.5 / len(cube))
    return np.concatenate([points, -points])


def root_curvature(p):
    """A (..., o, o) with A'A = diag(p) - pp', or p (1 - p) of two classes."""
    if p.shape[-1] == 1:
        return np.sqrt(p * (1 - p))[..., None]
    q = np.sqrt(p)
    projection = np.eye(p.shape[-1]) - q[..., :, None] * q[..., None, :]
    return projection * q[..., None, :]
