r"""What one more answer is worth.

The knowledge gradient (Frazier, Powell & Dayanik, 2009) of a question is how much
better, on average over its answers, the best offer of a shelf is after the answer: one
would then pick the offer that looks best by that time. If the expected utilities of the
offers move along lines a + b Z with Z ~ N(0, 1), it is

    E max_s (a_s + b_s Z) - max_s a_s = sum_k (b_k+1 - b_k) f(-|z_k|),
    f(z) = z Phi(z) + phi(z),

the sum over the corners z_k of the upper envelope of the lines. That is so for numbers
with normal noise. For labels each possible answer is tried, and for counts many.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, pdtr, softmax
from scipy.stats import norm
from scipy.stats.qmc import Sobol

from skmeta._core.prior.learned import SeenRows
from skmeta._core.prior.likelihoods import poisson
from skmeta._core.prior.stacks import Stack, with_alternatives
from skmeta._core.tasks import ABSENT, slices

# Lines that are highest only where |Z| is beyond this add nothing.
FARTHEST_Z = 40.0
# About this many numbers are held at a time.
CELLS = 2**20
# If counts above this are too rare to matter, each count is tried. Otherwise as many
# quantiles are.
MOST_COUNTS = 50
RARE = 1e-4
# The first choice is averaged over 2 * 2**11 points.
LOG2_POINTS = 11
TINY = np.finfo(float).tiny


# -- the knowledge gradient of lines --------------------------------------------------


def gain_of_lines(a, b):
    """E max_s (a_s + b_s Z) - max_s a_s, Z ~ N(0, 1), of a (S,) and b (n, S): (n,)."""
    n = len(b)
    gain, rows = np.zeros(n), np.arange(n)
    line = (a - FARTHEST_Z * b).argmax(axis=1)  # the highest one far on the left
    while len(rows):
        steeper = b[rows] - b[rows, line][:, None]
        below = a[line][:, None] - a
        with np.errstate(divide="ignore", invalid="ignore"):
            corner = np.where(steeper > 0, below / steeper, np.inf)
        z = corner.min(axis=1)
        # of the lines that cross in one corner, the steepest goes on
        following = np.where(corner == z[:, None], steeper, -1.0).argmax(axis=1)
        goes_on = z < FARTHEST_Z
        rows, z, following = rows[goes_on], z[goes_on], following[goes_on]
        rise = np.take_along_axis(steeper[goes_on], following[:, None], axis=1)[:, 0]
        gain[rows] += rise * _loss(-np.abs(z))
        line = following
    return gain


def _loss(z):
    """f(z) = z Phi(z) + phi(z), the mean of max(Z + z, 0)."""
    return z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


# -- what a question is worth ---------------------------------------------------------


class Shelf(NamedTuple):
    """Offers to pick from, in the columns of the design.

    The utility of an offer is ``contrast`` (o,) times its outputs.
    """

    X: np.ndarray  # (S, d)
    offset: np.ndarray  # (S,)
    contrast: np.ndarray  # (o,)

    def utility(self, theta):
        """Utilities (..., S) by coefficients (..., P)."""
        coef = theta.reshape(*theta.shape[:-1], len(self.contrast), -1)
        return np.einsum("...od,o->...d", coef, self.contrast) @ self.X.T + self.offset


def gain_of_numbers(learned, present, pool, shelf):
    """What the answer to each row of a pool (n, d) is worth, of numbers: (n,)."""
    known, noise = learned.known(present), learned.mean_noise(present)
    factor, unseen = known.factor, learned.unseen
    if factor.shape[1] > len(factor):  # fewer columns give the same covariance
        factor = np.linalg.qr(factor.T, mode="r").T
    # What no row of training looked at counts as noise, as in `queries.apart_from`.
    within = unseen.T @ factor
    guess, factor = unseen @ within, factor - unseen @ within
    a, moved = shelf.utility(known.mean), shelf.X @ factor
    gain = np.empty(len(pool))
    for some in slices(len(pool), max(1, CELLS // len(a))):
        J = pool[some] @ factor
        own = noise + ((pool[some] @ guess) ** 2).sum(axis=1)
        deviation = np.sqrt((J**2).sum(axis=1) + own)
        gain[some] = gain_of_lines(a, (J @ moved.T) / deviation[:, None])
    return gain


def gain_before_labels(learned, pool, offset, shelf):
    """What the first answer of a task is worth, of labels of two classes: (n,).

    The coefficients are normal, and move along a line by the answer. So its mean after
    each answer is an integral along this line. Laplace's method would see less in it.
    """
    mean, factor = learned.mean, learned.factor
    a, moved = shelf.utility(mean), shelf.contrast[0] * (shelf.X @ factor)
    J, z, weight = pool @ factor, poisson.DEVIATIONS, poisson.SHARES
    deviation = np.sqrt((J**2).sum(axis=1))
    eta = (pool @ mean + offset[:, 0])[:, None] + deviation[:, None] * z
    p = learned.model.likelihood.mean(eta)
    gain = np.zeros(len(pool))
    for some in slices(len(pool), max(1, CELLS // len(a))):
        b = J[some] @ moved.T / np.maximum(deviation[some], TINY)[:, None]
        for of_label in (p[some], 1.0 - p[some]):
            # the label has the probability q, and then Z has the mean m / q
            q, m = of_label @ weight, of_label @ (weight * z)
            then = q[:, None] * a + m[:, None] * b
            gain[some] += then.max(axis=1) - then[:, a.argmax()]
    return gain


def gain_before_choices(learned, pool, offset, shelf):
    """The same of choices among alternatives, or labels of several classes: (n,).

    Of J alternatives J - 1 differences decide. The integral over these is a mean over
    evenly spread points z. The utilities of offers move with z along lines.
    """
    mean, factor = learned.mean, learned.factor
    a, moved = shelf.utility(mean), shelf.utility(factor.T) - shelf.offset
    stack = Stack(pool[None], offset[None], np.ones((1, len(pool))), offset[None])
    eta, of_eta = stack.eta(mean[None])[0], stack.times(factor[None])[0]
    here = (offset > 0.5 * ABSENT)[..., None]
    centre = np.where(here, of_eta, 0.0).sum(axis=1, keepdims=True)
    of_eta = np.where(here, of_eta - centre / here.sum(axis=1, keepdims=True), 0.0)
    J, gain = of_eta.shape[1], np.zeros(len(pool))
    if J == 1:  # such a choice tells nothing
        return gain
    points = _even_points(J - 1)
    for some in slices(len(pool), CELLS // (J * (len(points) + len(a)))):
        left, size, right = np.linalg.svd(of_eta[some], full_matrices=False)
        left, size, right = (
            left[..., : J - 1],
            size[:, None, : J - 1],
            right[:, : J - 1],
        )
        z = points[:, : size.shape[-1]]
        p = softmax(eta[some, :, None] + (left * size) @ z.T, axis=1) / len(z)
        then = p.sum(axis=2)[..., None] * a + p @ z @ (right @ moved)
        gain[some] = (then.max(axis=-1) - then[..., a.argmax()]).sum(axis=1)
    return gain


def _even_points(n_dimensions):
    """Points (n, n_dimensions) with the mean and covariance of a standard normal.

    They are moved round by one step, so that none lies in a corner, far from others.
    """
    cube = Sobol(n_dimensions, scramble=False).random_base2(LOG2_POINTS)
    step = np.random.RandomState(0).uniform(size=n_dimensions)
    points = norm.ppf((cube + step) % 1.0)
    root = np.linalg.cholesky(points.T @ points / len(points))
    points = np.linalg.solve(root, points.T).T
    return np.concatenate([points, -points])


class Outcomes(NamedTuple):
    """Possible answers to each of n questions, and how probable they are."""

    Y: np.ndarray  # (n, k, o)
    share: np.ndarray  # (n, k)


def outcomes(learned, pool, offset, present):
    """The `Outcomes` of asking about rows of a pool, in the columns of the design."""
    known, model = learned.known(present), learned.model
    stack = Stack(pool[None], offset[None], np.ones((1, len(pool))), offset[None])
    eta = stack.eta(known.mean[None])[0]
    moved = (
        np.sqrt(share_of_variance(learned, present))
        * stack.times(known.factor[None])[0]
    )
    if isinstance(model.likelihood, poisson.Poisson):
        return _counts(model.likelihood, eta[:, 0], moved[:, 0])
    p = model.likelihood.predictive(eta, moved)
    n, o = p.shape
    if o == 1:
        return Outcomes(np.tile([[[0.0], [1.0]]], (n, 1, 1)), np.hstack([1.0 - p, p]))
    absent = offset < 0.5 * ABSENT
    Y = np.tile(np.eye(o), (n, 1, 1))
    Y[absent] = np.eye(o)[0]  # the first one is there; nothing depends on the others
    return Outcomes(Y, np.where(absent, 0.0, p))


def _counts(likelihood, eta, moved):
    deviation, one = np.sqrt((moved**2).sum(axis=1)), np.ones(len(eta))
    most = likelihood.quantile(1.0 - RARE, eta, deviation, one).max()
    if most > MOST_COUNTS:
        tails = (np.arange(MOST_COUNTS) + 0.5) / MOST_COUNTS
        Y = [likelihood.quantile(tail, eta, deviation, one) for tail in tails]
        share = np.full((len(eta), MOST_COUNTS), 1.0 / MOST_COUNTS)
        return Outcomes(np.column_stack(Y)[..., None], share)
    counts = np.arange(most + 1.0)
    mean = likelihood.mean(eta[:, None] + deviation[:, None] * poisson.DEVIATIONS)
    up_to = pdtr(counts[:, None, None], mean) @ poisson.SHARES  # (k, n)
    share = np.diff(up_to, axis=0, prepend=0.0).T
    share = share / share.sum(axis=1, keepdims=True)
    return Outcomes(np.tile(counts[:, None], (len(eta), 1, 1)), share)


def share_of_variance(learned, present):
    """The share of the variance of what is known that predictions average over."""
    return 1.0 if present is None else learned.model.share_of_variance(learned)


def expected_rates(learned):
    """How good offers are by the rates expected of them: see `gain_of_outcomes`."""
    share = learned.model.share_of_variance(learned)

    def utility(shelf, theta, factor):
        variance = ((shelf.X @ factor) ** 2).sum(axis=-1)
        return np.exp(shelf.utility(theta) + 0.5 * share * variance)

    return utility


def utilities(shelf, theta, factor):
    """How good offers are by the centre of a posterior: see `gain_of_outcomes`."""
    return shelf.utility(theta)


def gain_of_outcomes(learned, present, pool, offset, outcomes, shelf, utility):
    """What the answers to rows of a pool are worth, if each outcome is tried: (n,).

    ``utility(shelf, theta, factor)`` says how good the offers are (T, S) by the
    posteriors of T tasks.
    """
    known, n = learned.known(present), len(pool)
    now = utility(shelf, known.mean[None], known.factor[None])[0]
    best, k = int(now.argmax()), outcomes.Y.shape[1]
    rows = _rows_of(present, pool, offset)
    cells = k * (rows.X.size + pool[0].size + len(learned.mean) + len(now))
    gain = np.empty(n)
    for some in slices(n, max(1, CELLS // cells)):
        stack = _asked(rows, pool[some], offset[some], outcomes.Y[some])
        found = learned.model.posteriors(learned.mean, learned.factor, stack)
        then = utility(shelf, *found)
        better = (then.max(axis=1) - then[:, best]).reshape(-1, k)
        gain[some] = (outcomes.share[some] * better).sum(axis=1)
    return gain


def _rows_of(present, pool, offset):
    """The rows that a task has given."""
    if present is not None:
        return present.rows
    return SeenRows(pool[:0], offset[:0], np.ones(0), offset[:0])


def _asked(rows, pool, offset, Y):
    """The `Stack` of a task's rows with one more, for each row and possible answer."""
    n, k, o = Y.shape
    pool, offset = (np.repeat(field, k, axis=0) for field in (pool, offset))
    new = pool, Y.reshape(n * k, o), np.ones(n * k), offset
    if pool.ndim == 3:  # sets may be smaller or larger than those that were given
        J = max(rows.Y.shape[1], o)
        rows, new = (with_alternatives(part, J) for part in (rows, new))

    def with_one(known, one):
        known = np.broadcast_to(known, (n * k, *known.shape))
        return np.concatenate([known, one[:, None]], axis=1)

    return Stack(*map(with_one, rows, new))
