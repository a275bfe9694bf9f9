r"""Linear tasks with Gaussian noise: their evidence under a Gaussian prior, posteriors.

Task t has rows X and targets y = X theta + noise, with theta ~ N(m, s2 L L') and noise
N(0, s2): L is the spread between tasks in units of the noise. The evidence of a task is

    log N(y; X m, s2 (I + Z Z')),    Z = X L.

Given L, the best mean m is generalised least squares and the best s2 the mean squared
whitened residual, both closed forms, so only L is searched for (Bates & DebRoy, 2004).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np
from scipy import linalg

from skmeta._core.prior.structures import ROUNDING
from skmeta._core.tasks import padded_blocks, slices

# With fewer rows per coefficient than this, all rows could be fitted without error.
ROWS_PER_COEFFICIENT = 3
# A penalty of this size, relative to the rows, then draws slopes towards zero.
RIDGE_OF_FEW = 0.1
# The noise variance of standardised targets is at least this, which is rounding.
NOISE_FLOOR = 1e-20
# The deviation of the mean where no row looked, in deviations of the targets.
UNSEEN_DEVIATION = 1.0
# A column depends on others if no larger share of it is unexplained by them.
DEPENDENT = 1e-10
# A Cholesky factor is too coarse for tasks whose rows are spread more than this.
TOO_SPREAD = 1e4
# Whitened rows are not kept for tasks with this many times fewer rows than
# coefficients.
SHORT_TASK = 4
# Rows with this many times more columns than there are rows are multiplied by the
# inverse of a Cholesky factor, which is quicker than to solve with it.
WIDE = 8
# About this many numbers are rotated at a time, ...
QR_CELLS = 2**15
# ... and at most this many tasks wait for it.
MAX_WAITING = 1000


class GaussianEvidence(NamedTuple):
    """The log evidence at its best mean and noise, given the spread L."""

    value: float
    D: np.ndarray  # (P, P), the gradient in L is D L in the rows that vary
    mean: np.ndarray  # (P,)
    mean_slope: np.ndarray  # (P,) zero: the mean is the best one already
    noise: float
    precision: np.ndarray  # (P, P) of the mean, in units of 1 / noise
    state: np.ndarray  # (k, k) the same precision in the basis


class Basis(NamedTuple):
    """Coordinates of the coefficients in which the columns of all rows are orthonormal.

    The k directions are those that some row looked at. Equations in these coordinates
    are well-conditioned, whatever the units of the columns are, and however far from
    zero or alike the columns are.
    """

    to: np.ndarray  # (k, P): coordinates of coefficients
    back: np.ndarray  # (P, k): of all coefficients with the coordinates, the smallest
    unseen: np.ndarray  # (P, P - k): orthonormal directions that no row looked at

    @property
    def n_seen(self):
        return len(self.to)


class Block(NamedTuple):
    """Some tasks of about the same number of rows [X y], padded with zeros."""

    tasks: np.ndarray  # (T,) their numbers
    rows: np.ndarray  # (T, K, k + 1)
    spread: np.ndarray | None = None  # (k, r) that the rows are to be whitened of

    @property
    def X(self):
        return self.rows[..., :-1]

    def white(self):
        """Rows of unit covariance, made again where they are not kept."""
        return (
            self.rows
            if self.spread is None
            else whiten_leading(self.rows, self.spread)[0]
        )


class LeadingRows(NamedTuple):
    """Rows [X y] that a spread changes, in a list of Block, and those it leaves."""

    blocks: list
    others: np.ndarray


@dataclass(frozen=True)
class GaussianTasks:
    """What the evidence needs of the tasks: at most P rows of each, by QR.

    Rotating a task's rows changes neither the noise nor the evidence. Rotated into a
    triangle, all but the first P rows are zero, and only the sum of squares of their
    targets is kept. So no cost depends on the number of rows. The intercept comes first
    in the triangle, so that one row alone carries it: a spread of intercepts that is a
    million times the noise drowns no other row. Tasks of similar size form blocks, so
    that a long task costs the others no padding.

    Columns that vary come before those that are shared. So in each triangle only as
    many rows depend on what varies as there are such columns. No spread changes the
    other rows: those of all tasks are kept in one triangle for the evidence, whose cost
    is then that of the columns that vary.
    """

    blocks: list  # a list of Block, with rows in the basis; each task is in one
    weight: np.ndarray  # (T,) sums of sample weights
    counts: np.ndarray  # (T,) numbers of rows
    residual: np.ndarray  # (T,) sum of squares of the rows left out
    basis: Basis
    varying: np.ndarray  # (P,) of bool: which coefficients may vary
    n_leading: int  # the first so many coordinates of the basis are of those that vary
    fit_intercept: bool = True  # whether the last coefficient is the intercept
    pin_slopes: bool = False  # whether the slopes of the mean are held at zero

    # An evidence holds no more than a few matrices.
    evidence_is_small = True
    has_designs = False

    @classmethod
    def gather(
        cls,
        parts,
        fit_intercept,
        sizes=None,
        design=np.asarray,
        rounding=None,
        varying=None,
    ):
        """From (X, y, weight) of each task.

        With ``sizes``, the numbers of rows, ``parts`` may be an iterator: few of them
        are held at a time. ``design`` makes the columns of the model of rows of X, a
        block of rows at a time. ``rounding`` (P,) is how far each column is off by
        rounding, relative to its size. ``varying`` (P,) says which columns have
        coefficients that may vary; None stands for all.
        """
        if sizes is None:
            sizes = [len(y) for _, y, _ in parts]
        sizes, parts = np.asarray(sizes), iter(parts)
        first = next(parts)
        P = design(first[0][:1]).shape[1]
        varying = np.ones(P, dtype=bool) if varying is None else varying
        order = intercept_first(varying, fit_intercept)
        blocks, place = _empty_blocks(np.minimum(sizes, len(order)), len(order) + 1)
        weights, residual = np.empty((2, len(sizes)))
        waiting, start = [], 0
        for task, (X, y, weight) in enumerate(chain([first], parts)):
            waiting.append(weighted_rows(X, y, weight, design, order))
            weights[task] = weight.sum()
            full = len(waiting) == MAX_WAITING or sum(map(np.size, waiting)) > QR_CELLS
            if full or task + 1 == len(sizes):
                some = np.arange(start, task + 1)
                rows, residual[some] = _compress(waiting)
                for t, table in zip(some, rows, strict=True):
                    blocks[place[0, t]].rows[place[1, t], : len(table)] = table
                waiting, start = [], task + 1
        basis, n_varying = basis_of_columns(order), int(varying.sum())
        tasks = cls(
            blocks, weights, sizes, residual, basis, varying, n_varying, fit_intercept
        )
        rounding = np.zeros(len(order)) if rounding is None else rounding[order]
        return in_own_basis(tasks, rounding)

    @property
    def n_tasks(self):
        return len(self.weight)

    @property
    def n_rows(self):
        """Rows of each task, (T,): one of weight 2 is two, one of weight 0.1 is one."""
        return np.maximum(self.counts, self.weight)

    @property
    def n_coefficients(self):
        return self.basis.to.shape[1]

    def work(self, n_varying):
        """Multiplications of one evaluation of the evidence, if ``n_varying`` vary."""
        P, r = self.n_coefficients, n_varying
        work = P**3 / 3
        for block in self.leading.blocks:
            T, K, _ = block.rows.shape
            work += T * K * (P * r + K * r + K * P + P**2)
        return work

    def subset(self, tasks):
        number = np.full(self.n_tasks, -1)
        number[tasks] = np.arange(len(tasks))
        parts = ((number[block.tasks], block.rows) for block in self.blocks)
        kept = ((numbers, rows, numbers >= 0) for numbers, rows in parts)
        part = replace(
            self,
            blocks=[Block(n[some], rows[some]) for n, rows, some in kept if some.any()],
            weight=self.weight[tasks],
            counts=self.counts[tasks],
            residual=self.residual[tasks],
        )
        return in_own_basis(part)

    def sample(self):
        """Some of very many tasks, to begin a search with; here None."""
        return None

    def to_count(self):
        """The tasks that say how many numbers a spread can fit."""
        return self

    def information(self, A):
        """A task's information (n,) about each column of A: the mean sum of squares.

        The columns of A (P, n) are directions of coefficients. The mean is over the
        tasks that tell anything of it. No task tells of a direction that all rows
        together show only by their rounding.
        """
        size = np.linalg.norm(A, axis=0)
        A = self.basis.to @ A
        A = np.where(np.linalg.norm(A, axis=0) > ROUNDING * size, A, 0.0)
        squares = [((block.X @ A) ** 2).sum(axis=1) for block in self.blocks]
        squares = np.concatenate(squares)
        heard = squares > 1e-20 * squares.max(axis=0, initial=0.0)
        return squares.sum(axis=0) / np.maximum(heard.sum(axis=0), 1)

    def unexplained_noise(self, A, labels):
        """The share of the noise that no spread along the columns of A can explain.

        Columns of the same label have one spread in common. The covariance I of the
        noise is set against the sum of the tasks' X_t S X_t' that is nearest to it.
        """
        A = self.basis.to @ A
        groups = np.eye(labels.max() + 1)[labels]
        M, b = 0.0, 0.0
        for block in self.blocks:
            X = block.X @ A
            G = X.swapaxes(-1, -2) @ X
            M = M + groups.T @ (G**2).sum(axis=0) @ groups
            b = b + groups.T @ np.diagonal(G, axis1=-2, axis2=-1).sum(axis=0)
        n = np.minimum(self.counts, self.n_coefficients).sum()
        size = np.sqrt(np.maximum(np.diag(M), np.finfo(float).tiny))
        explained = (b / size) @ np.linalg.lstsq(
            M / np.outer(size, size), b / size, rcond=None
        )[0]
        return 1.0 - explained / n

    @cached_property
    def leading(self):
        """The rows of each task that depend on what varies, and all others (k, k + 1).

        The others of all tasks are rotated into one triangle.
        """
        v = self.n_leading
        if v == self.basis.n_seen:
            return LeadingRows(self.blocks, np.zeros((0, v + 1)))
        return LeadingRows(
            _repacked(self.blocks, v),
            joint_triangle(
                (block.rows[:, v:] for block in self.blocks), self.basis.n_seen + 1
            ),
        )

    # -- the mean ---------------------------------------------------------------------

    @property
    def _free(self):
        """Columns: the directions in which the mean is free, in the basis."""
        if not self.pin_slopes:
            return np.eye(self.basis.n_seen)
        return self.basis.to[:, [-1] if self.fit_intercept else []]

    @property
    def _held(self):
        """Precision that draws the mean's slopes to zero, where there are few rows."""
        if self.n_rows.sum() >= ROWS_PER_COEFFICIENT * self.n_coefficients:
            return np.zeros((self.basis.n_seen,) * 2)
        slopes = self.basis.back[: self.n_coefficients - self.fit_intercept]
        return RIDGE_OF_FEW * self.weight.sum() * slopes.T @ slopes

    def _best_mean(self, moments):
        """The mean in the basis, and its precision among the directions that are free.

        ``moments`` are the products of whitened rows [R z].
        """
        free = self._free
        held = self._held
        precision = free.T @ (moments[:-1, :-1] + held) @ free
        return free @ solve_scaled(precision, free.T @ moments[:-1, -1]), held

    def mean_covariance(self, found):
        """Covariance (P, P) of the error of the mean that `evidence` found.

        A direction that no row looked at is as uncertain as the targets are spread: the
        mean has a proper prior there, and none elsewhere.
        """
        free = self.basis.back @ self._free
        known = free @ solve_scaled(self._free.T @ found.state @ self._free, free.T)
        unseen = UNSEEN_DEVIATION * self._target_deviation * self.basis.unseen
        if self.pin_slopes:
            unseen = unseen[:, :0]
        return found.noise * 0.5 * (known + known.T) + unseen @ unseen.T

    def unseen(self, found):
        """Orthonormal directions (P, q) that no row looked at."""
        return self.basis.unseen

    @property
    def _target_deviation(self):
        squares = (self.loss(self.constant()) ** 2 * self.weight).sum()
        return np.sqrt(squares / self.weight.sum())

    def mean_coordinates(self, mean, L=None):
        """The start of the mean, and directions to search for it; there are none."""
        return np.zeros(self.n_coefficients), np.zeros((self.n_coefficients, 0))

    # -- evidence ---------------------------------------------------------------------

    def evidence(self, L, mean=None, state=None):
        """Log evidence of all tasks together, maximised over mean and noise."""
        v, (blocks, others) = self.n_leading, self.leading
        whitened, log_det = whiten(blocks, self.basis.to @ L, self.n_tasks)
        moments = sum(products(block.white()) for block in whitened)
        if len(others):
            moments = moments + products(others)
        mean, held = self._best_mean(moments)
        squares, outer = self.residual.sum() + mean @ held @ mean, 0.0
        for block in whitened:
            rows = block.white()
            error = errors(rows, mean)
            h = np.einsum("tkp,tk->tp", rows[..., :v], error)
            squares, outer = squares + (error**2).sum(), outer + h.T @ h
        squares = squares + (errors(others, mean) ** 2).sum()
        return self._evidence_at(mean, moments, held, squares, outer, log_det.sum())

    def _evidence_at(self, mean, moments, held, squares, outer, log_det):
        """The `GaussianEvidence` at the best mean, by sums over all tasks.

        They are the products of whitened rows, what draws the mean to zero, the sum of
        squares of the errors, the products of what the errors tell, and the logarithms
        of the determinants of the covariances.
        """
        to, v = self.basis.to, self.n_leading
        n = self.weight.sum()
        noise = max(squares / n, NOISE_FLOOR)
        D = outer / noise - moments[:v, :v]
        return GaussianEvidence(
            value=-0.5 * (n * np.log(2 * np.pi * noise) + squares / noise + log_det),
            D=to[:v].T @ D @ to[:v],
            mean=self.basis.back @ mean,
            mean_slope=np.zeros(self.n_coefficients),
            noise=noise,
            precision=to.T @ (moments[:-1, :-1] + held) @ to,
            state=moments[:-1, :-1] + held,
        )

    def degrees_of_freedom(self, L):
        """The number of rows, and how many of them tasks, mean, and both can fit.

        With V = I + Z Z' these are n, tr(I - V^-1), tr(A R'V^-1 R) and
        tr(A R'V^-2 R), where A is the inverse of the mean's precision.
        """
        L = self.basis.to @ L
        of_tasks, moments, twice = 0.0, 0.0, 0.0
        for block in self.blocks:
            R = block.X
            Z = R @ L
            inverse = inverse_covariance(Z)
            W = inverse @ R
            of_tasks += (1.0 - np.diagonal(inverse, axis1=-2, axis2=-1)).sum()
            moments += np.einsum("tkp,tkq->pq", R, W, optimize=True)
            twice += products(W)
        free = self._free
        A = free @ solve_scaled(free.T @ (moments + self._held) @ free, free.T)
        return self.weight.sum(), of_tasks, np.sum(A * moments), np.sum(A * twice)

    def held_out_score(self, prior, seed):
        """How well each task is predicted, shape (1, T): its `log_evidence`.

        That is exact and needs no draw, so the seed is not used.
        """
        return self.log_evidence(prior)[None]

    def log_evidence(self, prior):
        """Log evidence (T,) of each task under a given prior."""
        to = self.basis.to
        factor = to @ prior.factor / np.sqrt(prior.noise)
        whitened, log_det = whiten(self.blocks, factor, self.n_tasks)
        squares = self._squares(whitened, to @ prior.mean)
        noise = self.weight * np.log(2 * np.pi * prior.noise)
        return -0.5 * (noise + squares / prior.noise + log_det)

    def pooled(self):
        """Least squares of all rows as one task."""
        moments = sum(products(block.rows) for block in self.blocks)
        return self.basis.back @ self._best_mean(moments)[0]

    def constant(self):
        """Coefficients that predict the mean of all rows."""
        return self.with_pinned_slopes().pooled()

    def like_richer_ones(self):
        """The same tasks: the evidence is exact for every structure."""
        return self

    def with_pinned_slopes(self):
        """The same tasks, if slopes are zero on average."""
        return replace(self, pin_slopes=True)

    def loss(self, theta):
        """Root mean squared error of each task under fixed coefficients, (T,)."""
        squares = self._squares(self.blocks, self.basis.to @ theta)
        return np.sqrt(squares / self.weight)

    def _squares(self, blocks, mean):
        """Sum of squared errors of each task, (T,); the mean is in the basis."""
        squares = self.residual.copy()
        for block in blocks:
            squares[block.tasks] += (errors(block.white(), mean) ** 2).sum(axis=-1)
        return squares

    def prior_loss(self, prior):
        return self.loss(prior.mean)


# -- gathering ------------------------------------------------------------------------


def _empty_blocks(sizes, width):
    """Blocks of zeros for tables of these sizes, and the place of each table."""
    blocks = [
        Block(tasks, np.zeros((len(tasks), sizes[tasks].max(), width)))
        for tasks in padded_blocks(sizes, width)
    ]
    place = np.empty((2, len(sizes)), dtype=np.intp)
    for number, block in enumerate(blocks):
        place[0, block.tasks] = number
        place[1, block.tasks] = np.arange(len(block.tasks))
    return blocks, place


def weighted_rows(X, y, weight, design, order):
    """Rows [X y] times the root of their weight, or of many rows their triangle."""
    table, n = None, max(QR_CELLS // (len(order) + 1), len(order) + 1)
    for block in slices(len(y), n):
        rows = np.column_stack([design(X[block])[:, order], y[block]])
        rows *= np.sqrt(weight[block])[:, None]
        if table is not None:
            rows = np.linalg.qr(np.concatenate([table, rows]), mode="r")
        table = rows
    return table


def _repacked(blocks, n_rows):
    """The first rows of each task, in as few blocks as `padded_blocks` makes."""
    tasks = np.concatenate([block.tasks for block in blocks])
    rows = [task[:n_rows] for block in blocks for task in block.rows]
    sizes = np.array([len(task) for task in rows])
    packed, place = _empty_blocks(sizes, blocks[0].rows.shape[-1])
    for task, (number, position) in zip(rows, place.T, strict=True):
        packed[number].rows[position, : len(task)] = task
    return [block._replace(tasks=tasks[block.tasks]) for block in packed]


def errors(rows, theta):
    """The residuals of coefficients for the targets (T, K) of rows (T, K, k + 1)."""
    return rows[..., -1] - rows[..., :-1] @ theta


def intercept_first(varying, fit_intercept):
    """The order of columns: the intercept, others that vary, and those that do not."""
    order = np.arange(len(varying))
    order = np.roll(order, 1) if fit_intercept else order
    return order[np.argsort(~varying[order], kind="stable")]


def basis_of_columns(order):
    to = np.eye(len(order))[order]
    return Basis(to, to.T, np.zeros((len(order), 0)))


def _compress(tables):
    """At most P rows [R z] of each table [X y], and the squares of y that remain.

    Tables of the same length are rotated together.
    """
    P = tables[0].shape[1] - 1
    sizes = np.array([len(table) for table in tables])
    rows, residual = [None] * len(tables), np.zeros(len(tables))
    for size in np.unique(sizes):
        some = np.flatnonzero(sizes == size)
        rotated = np.linalg.qr(np.stack([tables[task] for task in some]), mode="r")
        residual[some] = (rotated[:, P:, -1] ** 2).sum(axis=1)
        for task, table in zip(some, rotated, strict=True):
            rows[task] = table[:P]
    return rows, residual


def in_own_basis(tasks, rounding=0.0):
    """The same tasks in a basis in which all their rows together are orthonormal."""
    P = len(tasks.basis.to)
    U = joint_triangle((block.X for block in tasks.blocks), P) / np.sqrt(
        tasks.weight.sum()
    )
    kept = independent_columns(U, rounding, tasks.n_leading)
    Q, triangle = np.linalg.qr(U[:, kept])
    inverse = linalg.solve_triangular(triangle, np.eye(len(kept)))
    residual = tasks.residual.copy()
    # one block after the other replaces the one that it is made of
    blocks = tasks.blocks
    for number, block in enumerate(blocks):
        rows = block.rows[..., [*kept, -1]]
        if len(kept) < U.shape[1]:  # without some columns the rows are not a triangle
            rows, left = _compress(rows)
            rows = np.stack(rows)
            residual[block.tasks] += left
        rows[..., :-1] = rows[..., :-1] @ inverse
        blocks[number] = block._replace(rows=rows)
    seen = np.zeros((U.shape[1], len(kept)))
    seen[kept] = inverse
    basis = compose(tasks.basis, Q.T @ U, seen)
    n_leading = int((kept < tasks.n_leading).sum())
    return replace(
        tasks, blocks=blocks, residual=residual, basis=basis, n_leading=n_leading
    )


def compose(basis, to, seen):
    """The basis after a change of coordinates."""
    to, seen = to @ basis.to, basis.back @ seen
    unseen = np.zeros((to.shape[1], 0))
    if len(to) < to.shape[1]:
        unseen = np.linalg.qr(to.T, mode="complete")[0][:, len(to) :]
    return Basis(to, seen - unseen @ (unseen.T @ seen), unseen)


def joint_triangle(blocks, P):
    """The triangle (P, P) of all rows (T, K, P) together, in portions."""
    n = max(P, QR_CELLS // max(P, 1))  # fewer rows than columns would cost the same
    triangle, waiting, total = np.zeros((P, P)), [], 0
    for block in blocks:
        rows = block.reshape(-1, P)
        for some in slices(len(rows), n):
            waiting.append(rows[some])
            total += len(rows[some])
            if total >= n:
                triangle = np.linalg.qr(np.vstack([triangle, *waiting]), mode="r")
                waiting, total = [], 0
    if waiting:
        triangle = np.linalg.qr(np.vstack([triangle, *waiting]), mode="r")
    return triangle


def independent_columns(U, rounding, n_leading):
    """The columns of a triangle that are no combination of others, up to rounding.

    The first ``n_leading`` are kept before the others.
    """
    norms = np.sqrt((U**2).sum(axis=0))
    rounding = np.broadcast_to(rounding, norms.shape)
    there = np.flatnonzero(norms > 64 * rounding * np.maximum(norms, 1.0))
    scaled = U / np.where(norms > 0, norms, 1.0)
    off = rounding / np.minimum(np.where(norms > 0, norms, 1.0), 1.0)
    leading, others = there[there < n_leading], there[there >= n_leading]
    kept = _independent_of(np.zeros((len(U), 0)), scaled, leading, off, off[:0])
    Q = np.linalg.qr(scaled[:, kept])[0]
    more = _independent_of(Q, scaled, others, off, off[kept])
    return np.concatenate([kept, more])


def _independent_of(Q, scaled, columns, off, off_known):
    """Columns that are no combination of each other and of Q, which is orthonormal."""
    if len(columns) == 0:
        return columns
    known = Q.T @ scaled[:, columns]
    apart = scaled[:, columns] - Q @ known
    R, pivots = linalg.qr(apart, mode="r", pivoting=True)
    R = R[: len(columns)]
    off = off[columns][pivots]
    share = np.zeros(len(columns))
    share[: len(R)] = np.abs(np.diag(R))
    least = DEPENDENT + 64 * (off + np.abs(np.triu(R, 1)).T @ off[: len(R)])
    least += 64 * np.abs(known[:, pivots]).T @ off_known
    return np.sort(columns[pivots[share > least]])


# -- linear algebra -------------------------------------------------------------------


def products(rows):
    """Sum of the products of rows (T, K, P)."""
    rows = rows.reshape(-1, rows.shape[-1])
    return rows.T @ rows


def solve_scaled(precision, right):
    """precision^-1 right, each coordinate in its own units."""
    if len(precision) == 0:  # older versions of SciPy refuse it
        return np.zeros_like(right)
    size = np.sqrt(np.maximum(np.diag(precision), np.finfo(float).tiny))
    scaled = precision / size / size[:, None]
    right = (right.T / size).T
    try:
        solved = linalg.cho_solve(linalg.cho_factor(scaled), right)
    except linalg.LinAlgError:
        solved = linalg.pinvh(scaled) @ right
    return (solved.T / size).T


def whiten(blocks, L, n_tasks):
    """The blocks with rows of unit covariance, and log det(I + Z Z') of tasks (T,).

    L is in the basis.
    """
    whitened, log_det = [], np.zeros(n_tasks)
    for block in blocks:
        white, log_det[block.tasks] = whiten_leading(block.rows, L)
        if SHORT_TASK * block.rows.shape[1] > len(L):
            whitened.append(block._replace(rows=white))
        else:  # it is quicker to make the rows again than to keep them
            whitened.append(block._replace(spread=L))
    return whitened, log_det


def whiten_leading(rows, L):
    """Rows of unit covariance (T, K, k + 1), and log det(I + Z Z') (T,).

    Rows of a triangle below the last coordinate that varies are white already.
    """
    varying = np.flatnonzero(L.any(axis=1)).max(initial=-1) + 1
    n = min(varying, rows.shape[1])
    if n == 0:
        return rows, np.zeros(len(rows))
    white, log_det = whiten_rows(rows[:, :n, :-1] @ L, rows[:, :n])
    if n < rows.shape[1]:
        white = np.concatenate([white, rows[:, n:]], axis=1)
    return white, log_det


def whiten_rows(Z, rows):
    if np.abs(Z).max(initial=0.0) > TOO_SPREAD:
        return _whiten_by_directions(Z, rows)
    covariance = Z @ Z.swapaxes(-1, -2)
    covariance += np.eye(covariance.shape[-1])
    C = np.linalg.cholesky(covariance)
    log_det = 2 * np.log(np.diagonal(C, axis1=-2, axis2=-1)).sum(axis=-1)
    if rows.shape[-1] > WIDE * rows.shape[-2]:
        return np.linalg.inv(C) @ rows, log_det
    return np.linalg.solve(C, rows), log_det


def inverse_covariance(Z):
    """(I + Z Z')^-1 of each task."""
    if np.abs(Z).max(initial=0.0) > TOO_SPREAD:
        white = _whiten_by_directions(Z, np.eye(Z.shape[1]))[0]
        return white.swapaxes(-1, -2) @ white
    return np.linalg.inv(np.eye(Z.shape[1]) + Z @ Z.swapaxes(-1, -2))


def _whiten_by_directions(Z, rows):
    """The same by the directions of Z: slower, and exact however large Z is."""
    directions, values, _ = np.linalg.svd(Z)
    variance = np.ones(directions.shape[:-1])
    variance[:, : values.shape[1]] += values**2
    rows = directions.swapaxes(-1, -2) @ rows / np.sqrt(variance)[..., None]
    return rows, np.log(variance).sum(axis=-1)


def condition(mean, factor, noise, X, y, weight):
    """Posterior mean (P,) and factor (P, r) of coefficients, given rows of a task.

    Conditioning on some rows and then on others is conditioning on all of them. All
    arguments but ``noise`` have a leading task axis, or none has.
    """
    scale = np.sqrt(weight / noise)
    Z = (X @ factor) * scale[..., None]
    error = (y - (X @ mean[..., None])[..., 0]) * scale
    if np.abs(Z).max(initial=0.0) > TOO_SPREAD:
        return _condition_by_directions(mean, factor, Z, error)
    C = np.linalg.cholesky(Z.swapaxes(-1, -2) @ Z + np.eye(Z.shape[-1]))
    # factor C^-T is a factor of the posterior covariance, factor (C C')^-1 factor'
    right = np.concatenate(
        [factor.swapaxes(-1, -2), Z.swapaxes(-1, -2) @ error[..., None]], axis=-1
    )
    solved = np.linalg.solve(C, right)
    posterior = solved[..., :-1].swapaxes(-1, -2)
    return mean + (posterior @ solved[..., -1:])[..., 0], posterior


def _condition_by_directions(mean, factor, Z, error):
    """The same by the directions of Z: slower, and exact however large Z is."""
    n, r = Z.shape[-2:]
    left, values, right = np.linalg.svd(Z, full_matrices=n < r)
    k = values.shape[-1]
    s, along = np.zeros((2, *right.shape[:-1]))
    s[..., :k] = values
    along[..., :k] = (left[..., :k].swapaxes(-1, -2) @ error[..., None])[..., 0]
    turned = factor @ right.swapaxes(-1, -2)
    shift = (turned @ (along * s / (1 + s**2))[..., None])[..., 0]
    return mean + shift, turned / np.sqrt(1 + s**2)[..., None, :]
