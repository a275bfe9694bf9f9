"""How large errors on unseen tasks are, in units of the predicted deviation."""

from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student
from sklearn.utils import gen_batches

from skmeta._core.prior.episodic import Belief
from skmeta._core.prior.gaussian import condition
from skmeta._core.prior.recency import Recency
from skmeta._core.prior.summed import SummedParts
from skmeta._core.tasks import Parts

# The quantiles of errors are kept at this many levels.
N_LEVELS = 201
# Errors are pooled after 0, 1, 2 to 3, 4 to 6, 7 to 11 and 12 to 20 rows.
SUPPORT_EDGES = (0, 1, 2, 4, 7, 12, 21)
# Errors are measured at no more rows of a task than this, after each draw.
MAX_ASKED = 50
# In order of time the next rows are asked for, at most so many. Errors grow while rows
# come in. So their numbers are in narrower ranges, and errors after other numbers of
# rows count less.
ASKED_IN_TIME = 20
EDGES_IN_TIME = (0, 1, 2, 3, 4, 7, 12, 21)
OTHER_ERRORS_IN_TIME = 20
# No more rows of a task than this are looked at.
MAX_TASK_ROWS = 400
# Rows are given so many times for each range of numbers of rows, all tasks together.
N_GIVEN_DRAWS = 2000
# With more coefficients than this there are fewer draws, since each costs a solve.
FEW_COEFFICIENTS = 20
# The rows of one task are drawn at most this many times.
MAX_REPEATS = 40
# The model's own distribution of errors counts as this many independent errors.
PRIOR_ERRORS = 20
# Errors after other numbers of rows count as this many independent errors.
OTHER_ERRORS = 100
# About this many numbers are held at a time.
DRAW_CELLS = 2**18
# A variance is raised by at most this factor for what maximum likelihood takes away.
MAX_SCALE = 100.0
# These shares of a variance, as the prior has it, are tried before adapting.
SHAPES = np.linspace(0.0, 1.0, 11)


class Asking(NamedTuple):
    """After which numbers of rows errors are measured, and at how many other rows."""

    edges: tuple = SUPPORT_EDGES
    n_asked: int = MAX_ASKED
    other_errors: float = OTHER_ERRORS


AT_RANDOM = Asking()
IN_TIME = Asking(EDGES_IN_TIME, ASKED_IN_TIME, OTHER_ERRORS_IN_TIME)


class FoldRows(NamedTuple):
    """Rows of tasks kept and held out, and the prior learned from those kept."""

    kept: Parts
    held_out: Parts
    prior: Belief  # or a NoiseBelief

    @classmethod
    def of(cls, kept, held_out, prior):
        """One that keeps no more of a `Prior` than is asked for, and makes it once."""
        return cls(kept, held_out, prior.belief)


class ToMeasure(NamedTuple):
    """What is needed to choose the best start, and to measure how large errors are."""

    # All tasks, or those that the structure was chosen with: `LaplaceTasks`, or the
    # `Brief` of `GaussianTasks`.
    tasks: object
    folds: list  # a list of FoldRows
    scores: np.ndarray  # (options, T) of tasks held out, for each way to predict


@dataclass(frozen=True)
class HeldOut:
    """Tasks that a prior has not seen, and what is believed of them before any row."""

    prior: Belief
    start: np.ndarray  # (P,) coefficients that predict before adapting
    scales: np.ndarray  # scales of the variances of spread and noise: `known_variances`
    tasks: list  # the rows (X, Y, weight, ...) of each task
    recency: Recency | None = None  # if rows are in order of time; X has all columns
    n_rows: np.ndarray | None = None  # (T,) if only sums of these rows are known

    # The posteriors of so many normal distributions are needed for each draw of rows.
    n_levels = 1

    @property
    def noise(self):
        """The variance of the noise, averaged over tasks."""
        return self.prior.noise

    def before(self, squares, spread, scales):
        """Absolute errors before adapting, in predicted deviations.

        ``squares`` (n,) are squares of the errors, ``spread`` (n,) the variances that
        they owe to the prior's covariance, and ``scales`` factors of both variances.
        """
        of_spread, of_noise = scales
        return np.sqrt(squares / (of_spread * spread + of_noise * self.noise))

    def after(self, given, asked):
        """Absolute errors (B, n) at the rows asked for, in predicted deviations."""
        prior, n = self.prior, len(given[0])
        mean, factor = condition(
            np.broadcast_to(prior.mean, (n, *prior.mean.shape)),
            np.broadcast_to(prior.factor, (n, *prior.factor.shape)),
            prior.noise,
            *given,
        )
        X, y, _ = asked
        parts = predictive_variances(prior.factor, prior.noise, factor, X @ factor)
        variance = sum(
            scale * part for scale, part in zip(self.scales, parts, strict=True)
        )
        return np.abs(y - (X @ mean[..., None])[..., 0]) / np.sqrt(variance)


def rows_of_tasks(parts, rng, recency):
    """Rows (X, Y, weight, ...) of tasks, and the numbers of those of `SummedParts`."""
    if isinstance(parts, SummedParts):
        return list(parts), parts.sizes
    return [some_rows(rows, rng, in_time=recency is not None) for rows in parts], None


def some_rows(rows, rng, in_time=False):
    """Rows (X, Y, weight) of a task, at most `MAX_TASK_ROWS` of them.

    If they are in order of time, these are the first ones.
    """
    n = len(rows[1])
    if n <= MAX_TASK_ROWS:
        return rows[:3]
    if in_time:
        return tuple(part[:MAX_TASK_ROWS] for part in rows[:3])
    some = np.sort(rng.permutation(n)[:MAX_TASK_ROWS])
    return tuple(part[some] for part in rows[:3])


# -- before any row is given ----------------------------------------------------------


def start_variance(held_out):
    """Factors of the variances before adapting: (of spread, of noise).

    The variance of an error at a row x is ``of_spread * x' S x + of_noise * s2``, where
    S is the prior's covariance and s2 its noise. The two numbers give the errors their
    highest normal density. A task counts by its rows, up to `MAX_ASKED`.
    """
    squares, spread, noise = (
        np.concatenate(of_all)
        for of_all in zip(
            *chain.from_iterable(map(_all_start_errors, held_out)),
            strict=True,
        )
    )
    if not squares.any():
        return 1.0, 1.0
    size, noise = max(spread.mean(), 1e-12 * noise.mean()), noise.mean()
    best = None
    for share in SHAPES[1:]:  # with a share of 0, errors far away would be bounded
        shape = share * spread / size + (1.0 - share)
        shape = np.maximum(shape, 1e-12)
        scale = np.mean(squares / shape)
        loss = np.log(shape).mean() + np.log(scale)
        if best is None or loss < best[0]:
            best = loss, scale * share / size, scale * (1.0 - share) / noise
    return float(best[1]), float(best[2])


def _all_start_errors(fold):
    """Those of each task. If only sums are known, all rows of a task are alike."""
    if fold.n_rows is None:
        return [_start_errors(fold, rows) for rows in fold.tasks]
    found = []
    for (X, Y, weight, *_), n in zip(fold.tasks, fold.n_rows, strict=True):
        n = min(int(n), MAX_ASKED)
        share = weight / weight.sum()
        square = share @ (Y[:, 0] - X @ fold.start) ** 2
        spread = share @ ((X @ fold.prior.factor) ** 2).sum(axis=1)
        found.append((np.full(n, square), np.full(n, spread), np.full(n, fold.noise)))
    return found


def _start_errors(fold, rows):
    """Squared errors of a task's rows, and the prior's variances there."""
    X, Y = (part[:MAX_ASKED] for part in rows[:2])
    squares = (Y[:, 0] - X @ fold.start) ** 2
    spread = ((X @ fold.prior.factor) ** 2).sum(axis=1)
    return squares, spread, np.full(len(X), fold.noise)


# -- quantiles of errors --------------------------------------------------------------


def interval_levels(held_out, variance, rng, asking=AT_RANDOM):
    """Quantiles of the absolute standardised errors, and what they are worth.

    Parameters
    ----------
    held_out : list of HeldOut
    variance : tuple or None
        What `start_variance` says, if a model does not begin with its prior.
    rng : RandomState
    asking : Asking

    Returns
    -------
    levels : ndarray of shape (sizes, N_LEVELS)
        One row of levels for no row given, and one for each range of the edges: a model
        may be too sure when it knows little, and not sure enough when it knows much.
        The fewer errors there are in a range, the more those of all ranges count.
    worth : ndarray of shape (sizes,)
        How many independent errors the levels come from.
    """
    n_tasks = sum(len(fold.tasks) for fold in held_out)
    size = max((len(fold.start) for fold in held_out), default=1) / FEW_COEFFICIENTS
    n_draws = N_GIVEN_DRAWS / max(n_tasks, 1) / max(size, 1.0) ** 2
    # of a mixture each draw costs several solves, and fewer draws must do
    n_draws /= max((fold.n_levels for fold in held_out), default=1)
    n_repeats = int(np.clip(n_draws, 1, MAX_REPEATS))
    errors = [_at_start(held_out, variance)]
    for sizes in pairwise(asking.edges[1:]):
        how = *sizes, asking.n_asked, n_repeats, rng
        draws = [_draw(fold, *how) for fold in held_out]
        errors.append([e for drawn in draws for e in drawn])
    every = [e for of_size in errors[1:] for e in of_size]
    together, of_all = _quantiles(every), _independent(every)
    found, worth = [_quantiles(errors[0])], [_independent(errors[0])]
    for of_size in errors[1:]:
        n = _independent(of_size)
        own = n / (n + asking.other_errors)
        found.append(own * _quantiles(of_size) + (1.0 - own) * together)
        worth.append(of_all)
    return np.array(found), np.array(worth)


def _quantiles(errors):
    if not errors:
        return np.zeros(N_LEVELS)
    return np.quantile(np.concatenate(errors), np.linspace(0.0, 1.0, N_LEVELS))


def _independent(errors, coverage=0.8):
    """How many independent errors the errors of some tasks are worth.

    So many independent errors would have the same variance of the share that an
    interval holds. The errors of one task are alike, and so worth less.
    """
    if len(errors) < 2:
        return float(len(errors))
    n = np.array([len(e) for e in errors])
    end = np.quantile(np.concatenate(errors), coverage)
    held = np.array([(e <= end).sum() for e in errors])
    share = held.sum() / n.sum()
    variance = ((held - share * n) ** 2).sum() / n.sum() ** 2
    if variance == 0.0:
        return float(n.sum())
    return float(np.clip(share * (1 - share) / variance, len(errors) / 2, n.sum()))


def _at_start(held_out, variance):
    """Errors before adapting, an array for each task."""
    errors = []
    for fold in held_out:
        scales = fold.scales if variance is None else variance
        for rows in fold.tasks:
            squares, spread, _ = _start_errors(fold, rows)
            errors.append(fold.before(squares, spread, scales))
    return errors


def _draw(fold, low, high, most_asked, n_repeats, rng):
    """Errors at rows of each task after some of its other rows, for several draws."""
    tasks = [rows for rows in fold.tasks if len(rows[0]) > low]
    if not tasks:
        return []
    n_coefficients = len(fold.prior.mean)
    at_once = n_repeats * (high + most_asked + n_coefficients) * n_coefficients
    at_once *= fold.n_levels
    errors = []
    for some in gen_batches(len(tasks), max(1, DRAW_CELLS // at_once)):
        how = low, high, most_asked, n_repeats, rng, fold.recency
        drawn = [_parted(rows, *how) for rows in tasks[some]]
        given, asked = ([part[i] for part in drawn] for i in (0, 1))
        found = fold.after(_padded(given, high - 1), _padded(asked, most_asked))
        found = found.reshape(len(drawn), n_repeats, -1)
        n_asked = [X.shape[1] for X, _, _ in asked]
        errors += [e[:, :n].ravel() for e, n in zip(found, n_asked, strict=True)]
    return errors


def _parted(rows, low, high, most_asked, n_repeats, rng, recency=None):
    """Rows of a task that are given, and others that are asked for, in each draw.

    They are drawn at random. If rows are in order of time, the first ones are given and
    the next ones asked for.
    """
    n = len(rows[1])
    most = min(high, n) - 1
    n_support = rng.randint(low, most + 1, size=(n_repeats, 1))
    if recency is None:
        order = rng.uniform(size=(n_repeats, n)).argsort(axis=1)
        given, asked = order[:, :most], order[:, most:][:, :most_asked]
    else:
        given = np.broadcast_to(np.arange(most), (n_repeats, most))
        asked = n_support + np.arange(min(most_asked, n - most))
    X, y, weight = (tuple(part[some] for some in (given, asked)) for part in rows[:3])
    if recency is None:
        counted = np.where(np.arange(most) >= n_support, 0.0, weight[0])
    else:
        counted = recency.given(X[0][0], weight[0][0], n_support)
    return (X[0], y[0], counted), (X[1], y[1], weight[1])


def _padded(parts, n_rows):
    """X (B, n, P), y (B, n) and weight (B, n) of draws, of weight 0 on padding."""
    n_repeats, _, n_coefficients = parts[0][0].shape
    X = np.zeros((len(parts), n_repeats, n_rows, n_coefficients))
    y, weight = np.zeros((2, len(parts), n_repeats, n_rows))
    for i, (X_i, Y_i, weight_i) in enumerate(parts):
        n = X_i.shape[1]
        X[i, :, :n], y[i, :, :n], weight[i, :, :n] = X_i, Y_i[..., 0], weight_i
    return X.reshape(-1, n_rows, n_coefficients), *(
        a.reshape(-1, n_rows) for a in (y, weight)
    )


# -- what a model knows of its variances ----------------------------------------------


def known_variances(tasks, factor, noise):
    """Scales that undo what maximum likelihood takes away, and degrees of freedom.

    Both are pairs, (of the spread, of the noise). Variances that maximum likelihood
    finds are too small, since mean and spread are fitted to the same rows. With one
    spread and equal sizes these are the classical numbers: T - 1 degrees of freedom
    between T tasks, and within them the number of rows minus the number of tasks.
    """
    n, of_tasks, of_mean, of_both = tasks.degrees_of_freedom(factor / np.sqrt(noise))
    within = n - of_tasks - of_both
    between = of_tasks + of_both - of_mean
    scale = [
        of_tasks / between if between > 1e-6 * of_tasks else 1.0,
        (n - of_tasks) / max(within, 1.0),
    ]
    return np.clip(scale, 1.0, MAX_SCALE), np.array([between, within])


def in_brief(tasks, some, factor, noise):
    """The `Brief` of tasks, of which ``some`` say how many numbers a spread can fit."""
    scales, freedom = known_variances(some, factor, noise)
    if some.n_tasks < tasks.n_tasks:  # of more tasks more is known
        share = some.n_tasks / tasks.n_tasks
        scales, freedom = 1.0 + share * (scales - 1.0), freedom / share
    known = KnownVariances(scales, freedom)
    return Brief(tasks.n_tasks, tasks.pooled(), tasks.constant(), known)


def predictive_variances(prior_factor, noise, factor, J):
    """Two parts of the variance of new targets: what it owes to spread and to noise.

    If the variance of the spread grew by a small share, the variance at a row would
    grow by that share of the first part; the noise and the second part alike.
    ``factor`` is that of the posterior, or of the prior itself, and J (..., r) are rows
    times it.
    """
    variance = (J**2).sum(axis=-1) + noise
    if factor is prior_factor:
        return variance - noise, np.full_like(variance, noise)
    sizes = np.maximum((prior_factor**2).sum(axis=0), 1e-300)
    M = (prior_factor.T @ factor) / sizes[:, None]  # columns of a prior are orthogonal
    spread = ((J @ M.swapaxes(-1, -2)) ** 2).sum(axis=-1)
    spread = np.minimum(spread, variance - noise)
    return spread, variance - spread


class KnownVariances(NamedTuple):
    """How far the variances (of spread, of noise) are to be raised, and are known."""

    scales: np.ndarray  # (2,) factors of the variances
    freedom: np.ndarray  # (2,) degrees of freedom


class Brief(NamedTuple):
    """What is computed from all tasks in the end, without their rows."""

    n_tasks: int
    of_pooled: np.ndarray
    of_constant: np.ndarray
    variances: KnownVariances

    def pooled(self):
        return self.of_pooled

    def constant(self):
        return self.of_constant


class Calibration(NamedTuple):
    """How large errors are: before a row is given, after it, and their quantiles."""

    before: KnownVariances
    after: KnownVariances
    levels: np.ndarray  # see `interval_levels`
    worth: np.ndarray
    edges: tuple = SUPPORT_EDGES

    @property
    def is_measured(self):
        """Whether there were errors of held-out tasks to measure intervals by."""
        return bool(self.worth.any())

    def with_errors_of(self, other):
        """The same with the measured errors of another."""
        return self._replace(levels=other.levels, worth=other.worth, edges=other.edges)

    @property
    def freedom_of_noise(self):
        """Degrees of freedom of the noise."""
        return self.after.freedom[1]

    def of(self, present):
        """The variances for a task with known rows, or for one without any."""
        return self.before if present is None else self.after

    def half_width(self, coverage, n_rows, freedom):
        """Half the width of intervals, in deviations: see `width`."""
        return width(self.levels, self.worth, coverage, n_rows, freedom, self.edges)


def width(levels, worth, coverage, n_rows, freedom, edges=SUPPORT_EDGES):
    """Half the width of an interval, in deviations, for a task with ``n_rows`` rows.

    ``n_rows`` may be an array that broadcasts to ``freedom``. The width lies between
    what errors on held-out tasks say, and Student's t at ``freedom`` degrees of
    freedom. The next error is larger than the largest of n with probability
    1 / (n + 1), so that the share of errors is raised by as much.
    """
    size = np.searchsorted(edges[1:-1], n_rows, side="right")
    share = np.minimum(coverage * (worth + 1.0) / np.maximum(worth, 1.0), 1.0)
    at = np.linspace(0, 1, N_LEVELS)
    seen = np.array(
        [np.interp(s, at, of_size) for s, of_size in zip(share, levels, strict=True)]
    )
    n, seen = worth[size], seen[size]
    expected = student.ppf(0.5 + 0.5 * coverage, freedom)
    return (n * seen + PRIOR_ERRORS * expected) / (n + PRIOR_ERRORS)
