r"""Gaussian tasks by the thousand: packed triangles, with the task axis last.

`PackedTasks` is the fast version of `GaussianTasks`, which says what is computed. Of
the triangle [R z] of a task only the numbers on and above the diagonal are kept, those
of a block of tasks side by side. Loops run over rows and columns of the triangles, and
each step treats all tasks of a block at once, in arrays that stay in the cache. Nothing
is kept from one step to the next but the triangles themselves.

The spread is turned into an upper triangle U, with U U' = L L'. So Z = R U is an upper
triangle as well, and so is the root V of the covariance of a task's rows,

    f I + Z Z' = V V',

if it is computed from its last column to its first. Then V^-1 [R z], rows of unit
covariance, are upper triangles again. With f = 1 this is the covariance of `gaussian`,
and with other f that of `noise`, whose tasks count r_tj times with the noise f_j s2.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import linalg

from skmeta._core.prior import triangles as tri
from skmeta._core.prior.gaussian import (
    TOO_SPREAD,
    Block,
    GaussianTasks,
    basis_of_columns,
    compose,
    errors,
    in_own_basis,
    independent_columns,
    intercept_first,
    joint_triangle,
    products,
    weighted_rows,
    whiten_leading,
)
from skmeta._core.tasks import padded_blocks

# A block holds about this many numbers. Smaller ones stay in a faster cache, but then
# NumPy's calls cost more than they do.
PACKED_CELLS = 2**18
# All tasks are at least so many blocks, unless these would be small.
FEWEST_BLOCKS, LEAST_CELLS = 10, 2**16
# Of tasks with more rows than this each is rotated by itself, before all others.
LONG = 128
# Covariances of more rows than this are treated by LAPACK, one task after the other.
TALL = 32
# So many tasks say how many numbers a spread can fit, ...
COUNTED = 2000
# ... and some where a search among all tasks should begin: so many times the root of
# their number, between these limits.
SAMPLE_OF_ROOT, SAMPLE_SIZES = 20, (2000, 10_000)


@dataclass(frozen=True)
class PackedBlock:
    """The triangles [R z] of some tasks, padded with zeros to a common number of rows.

    Row i has the columns i, i + 1, ... of all tasks; the last one is that of z.
    """

    tasks: np.ndarray  # (B,) their numbers
    table: np.ndarray  # (entries, B), one row after the other
    n_rows: int
    n_columns: int  # P + 1

    @classmethod
    def of(cls, tasks, triangles):
        """From triangles (K, P + 1, B); what is below the diagonal does not count."""
        K, n_columns, _ = triangles.shape
        table = np.concatenate([triangles[i, i:] for i in range(K)])
        return cls(tasks, table, K, n_columns)

    @property
    def triangle(self):
        """Row i (P + 1 - i, B) of each task, for all i."""
        ends = np.cumsum(self.n_columns - np.arange(self.n_rows))
        return np.split(self.table, ends[:-1]) if self.n_rows else []

    @property
    def rows(self):
        """The same as rows (B, K, P + 1), with zeros below the diagonal."""
        rows = np.zeros((len(self.tasks), self.n_rows, self.n_columns))
        for i, row in enumerate(self.triangle):
            rows[:, i, i:] = row.T
        return rows

    @property
    def X(self):
        return self.rows[..., :-1]

    def white(self):
        """See `Block`."""
        return self.rows

    def times(self, inverse):
        """The same rows with the columns of X times an upper triangle (P, P)."""
        rows = [
            np.concatenate([inverse[i:, i:].T @ row[:-1], row[-1:]])
            for i, row in enumerate(self.triangle)
        ]
        return replace(self, table=np.concatenate(rows))

    def with_columns(self, kept):
        """The triangles of some columns of X, and the squares (B,) that they leave."""
        rows = self.rows[..., [*kept, -1]].transpose(1, 2, 0).copy()
        triangles, left = tri.triangles_of(rows, len(kept))
        return PackedBlock.of(self.tasks, triangles), left

    def some(self, which, numbers):
        """Some of the tasks, a mask, under new numbers."""
        table = np.compress(which, self.table, axis=1)
        return replace(self, tasks=numbers[which], table=table)


@dataclass(frozen=True)
class PackedTasks(GaussianTasks):
    """See the module. The blocks are a list of `PackedBlock`.

    With ``shares``, task t counts r_tj times with the noise f_j s2, for all j, as in
    `NoiseTasks`.
    """

    factors: tuple = (1.0,)
    shares: np.ndarray | None = None  # (T, J), the probabilities r_tj

    @classmethod
    def gather(cls, parts, fit_intercept, rounding=None, varying=None):
        """From `Parts`; see `GaussianTasks.gather`."""
        P, counts = parts.n_columns, parts.sizes
        varying = np.ones(P, dtype=bool) if varying is None else varying
        order = intercept_first(varying, fit_intercept)
        weight, residual = np.empty((2, len(counts)))
        blocks, lengths = [], np.minimum(parts.lengths, LONG)
        cells = min(PACKED_CELLS, (P + 1) * int(lengths.sum()) // FEWEST_BLOCKS)
        for tasks in padded_blocks(lengths, P + 1, max(cells, LEAST_CELLS)):
            rows, weight[tasks] = _rows_of(parts, tasks, order)
            triangles, residual[tasks] = tri.triangles_of(rows, P)
            blocks.append(PackedBlock.of(tasks, triangles))
        basis, n_varying = basis_of_columns(order), int(varying.sum())
        tasks = cls(
            blocks, weight, counts, residual, basis, varying, n_varying, fit_intercept
        )
        return _in_own_basis(tasks, 0.0 if rounding is None else rounding[order])

    def subset(self, tasks):
        """Few of the tasks, as `GaussianTasks`."""
        blocks = [Block(b.tasks, b.rows) for b in self._blocks_of(tasks)]
        return in_own_basis(GaussianTasks(blocks, **self._fields_of(tasks)))

    def sample(self):
        """Some of very many tasks; None if it would be half of them or more."""
        n = int(np.clip(SAMPLE_OF_ROOT * np.sqrt(self.n_tasks), *SAMPLE_SIZES))
        if self.n_tasks < 2 * n:
            return None
        tasks = np.arange(n)  # their order says nothing of them
        some = PackedTasks(self._blocks_of(tasks), **self._fields_of(tasks))
        if self.shares is not None:
            some = some.counted(self.factors, self.shares[tasks])
        return _in_own_basis(some)

    def to_count(self):
        """See `GaussianTasks`."""
        return self.subset(np.arange(min(self.n_tasks, COUNTED)))

    def _blocks_of(self, tasks):
        number = np.full(self.n_tasks, -1)
        number[tasks] = np.arange(len(tasks))
        parts = ((number[block.tasks], block) for block in self.blocks)
        return [b.some(n >= 0, n) for n, b in parts if (n >= 0).any()]

    def _fields_of(self, tasks):
        return {
            "weight": self.weight[tasks],
            "counts": self.counts[tasks],
            "residual": self.residual[tasks],
            "basis": self.basis,
            "varying": self.varying,
            "n_leading": self.n_leading,
            "fit_intercept": self.fit_intercept,
            "pin_slopes": self.pin_slopes,
        }

    def counted(self, factors, shares):
        """The same tasks as they count with some factors of the noise."""
        return replace(self, factors=tuple(factors), shares=shares)

    # -- evidence ---------------------------------------------------------------------

    @cached_property
    def _others(self):
        """The triangle (k + 1, k + 1) of the rows of all tasks that no spread changes.

        None if there is no such row.
        """
        v, root = self.n_leading, None
        if v == self.basis.n_seen:
            return None
        if self.shares is not None:
            root = np.sqrt(self.shares @ (1.0 / np.asarray(self.factors)))

        def rows_of(block):
            rows = block.rows[:, v:]
            return rows if root is None else rows * root[block.tasks, None, None]

        return joint_triangle(map(rows_of, self.blocks), self.basis.n_seen + 1)

    def _levels(self, block):
        """Each factor, the tasks that may have it, and their probabilities of it.

        The tasks are None if they are all of the block, and so are the probabilities
        if each task counts once.
        """
        if self.shares is None:
            return [(1.0, None, None)]
        levels = []
        for factor, share in zip(self.factors, self.shares[block.tasks].T, strict=True):
            some = share > 0
            if some.all():
                levels.append((factor, None, share))
            elif some.any():
                levels.append((factor, some, share[some]))
        return levels

    def evidence(self, L, mean=None, state=None):
        """Log evidence of all tasks together, maximised over mean and noise."""
        to, v = self.basis.to, self.n_leading
        U, others, k = tri.upper_factor(to @ L), self._others, self.basis.n_seen
        moments, log_det, squares = np.zeros((k + 1, k + 1)), 0.0, self.residual.sum()
        if self.shares is not None:
            f = np.asarray(self.factors)
            log_det = self.weight @ (self.shares @ np.log(f))
            squares = self.residual @ (self.shares @ (1.0 / f))
        for block in self.blocks:
            rows = _leading_rows(block, v, U)
            for level in self._levels(block):
                own, of_tasks = rows.moments(*level)
                moments, log_det = moments + own, log_det + of_tasks
        if others is not None:
            moments += products(others)
        mean, held = self._best_mean(moments)
        squares, outer = squares + mean @ held @ mean, 0.0
        for block in self.blocks:
            rows = _leading_rows(block, v, U)
            for level in self._levels(block):
                of_tasks, own = rows.felt(*level, mean, v)
                squares, outer = squares + of_tasks, outer + own
        if others is not None:
            squares += (errors(others, mean) ** 2).sum()
        return self._evidence_at(mean, moments, held, squares, outer, log_det)

    def log_evidence(self, prior):
        """See `GaussianTasks`."""
        return self.log_evidences(prior, (1.0,))[:, 0]

    def log_evidences(self, prior, factors):
        """Log evidence (T, J) of each task, if its noise has each of some factors."""
        to = self.basis.to
        U = tri.upper_factor(to @ prior.factor / np.sqrt(prior.noise))
        mean, e = to @ prior.mean, np.empty((self.n_tasks, len(factors)))
        for block in self.blocks:
            rows = _leading_rows(block, block.n_rows, U)
            left, weight = self.residual[block.tasks], self.weight[block.tasks]
            for j, factor in enumerate(factors):
                squares, log_det = rows.squares(factor, mean)
                noise = factor * prior.noise
                squares += left / factor
                log_det += weight * np.log(2 * np.pi * noise)
                e[block.tasks, j] = -0.5 * (squares / prior.noise + log_det)
        return e


# -- gathering ------------------------------------------------------------------------


def _rows_of(parts, tasks, order):
    """Rows (n, P + 1, B) of some tasks times the roots of their weights, and the sums.

    Those of long tasks are a triangle.
    """
    if parts.lengths[tasks].max() <= LONG:
        X, y, root, weight = parts.stacked(tasks)
        rows = np.empty((X.shape[1], len(order) + 1, len(tasks)))
        for place, column in enumerate(order):
            rows[:, place] = (X[..., column] * root).T
        rows[:, -1] = (y * root).T
        return rows, weight
    rows, weights = np.zeros((LONG, len(order) + 1, len(tasks))), []
    for task, number in enumerate(tasks):
        X, Y, weight, _ = parts.undesigned()[number]
        table = weighted_rows(X, Y[:, 0], weight, parts.design, order)
        if len(table) > LONG:
            table = np.linalg.qr(table, mode="r")
        rows[: len(table), :, task] = table
        weights.append(weight.sum())
    return rows, np.array(weights)


def _in_own_basis(tasks, rounding=0.0):
    """See `gaussian.in_own_basis`: here the basis is exactly a triangle."""
    P = len(tasks.basis.to)
    U = joint_triangle((block.X for block in tasks.blocks), P)
    U /= np.sqrt(tasks.weight.sum())
    kept = independent_columns(U, rounding, tasks.n_leading)
    Q, triangle = np.linalg.qr(U[:, kept])
    inverse = linalg.solve_triangular(triangle, np.eye(len(kept)))
    residual, blocks = tasks.residual.copy(), tasks.blocks
    for number, block in enumerate(blocks):
        if len(kept) < P:  # without some columns the rows are not a triangle
            block, left = block.with_columns(kept)
            residual[block.tasks] += left
        blocks[number] = block.times(inverse)
    to, seen = Q.T @ U, np.zeros((P, len(kept)))
    to[:, kept], seen[kept] = triangle, inverse
    return replace(
        tasks,
        blocks=blocks,
        residual=residual,
        basis=compose(tasks.basis, to, seen),
        n_leading=int((kept < tasks.n_leading).sum()),
    )


# -- the rows of a block --------------------------------------------------------------


def _leading_rows(block, n_rows, U):
    """The first rows of the tasks of a block, to be whitened of the spread U."""
    R = block.triangle[:n_rows]
    if min(len(U), len(R)) <= TALL:
        rows = SideBySide.of(R, U)
        if rows.is_fine:
            return rows
    return OneByOne(block.rows[:, :n_rows], U)


@dataclass(frozen=True)
class SideBySide:
    """Rows of triangles, of which the first m have the covariance f I + A."""

    R: list
    A: np.ndarray  # (m, m, B) on and above the diagonal

    @classmethod
    def of(cls, R, U):
        m, B = min(len(U), len(R)), R[0].shape[1]
        return cls(R, tri.products_of(tri.spread_of(R[:m], U, B)))

    @property
    def is_fine(self):
        """Whether a Cholesky factor is not too coarse for the spread."""
        return tri.diagonal(self.A).max(initial=0.0) <= TOO_SPREAD**2

    def _level(self, factor, some):
        """Rows and roots of covariances of some of the tasks."""
        R, A = self.R, self.A
        if some is not None:
            R = [np.compress(some, row, axis=1) for row in R]
            A = np.compress(some, A, axis=2)
        return R, tri.Root.of(A, factor)

    def moments(self, factor, some, share):
        """Products of whitened rows (P + 1, P + 1), and the log determinant."""
        R, root = self._level(factor, some)
        m, k = len(self.A), len(R[0])
        total = np.zeros((k, k))
        for i, row in enumerate([*root.solve(R[:m]), *R[m:]]):
            row = row[i:] if i < m else row
            counted = row if share is None else row * share
            total[i:, i:] += counted @ row.T / (1.0 if i < m else factor)
        log_det = 2 * root.half_log_det - m * np.log(factor)
        return total, log_det.sum() if share is None else share @ log_det

    def felt(self, factor, some, share, mean, n_leading):
        """Squares of whitened errors, and the sum of g g' with g = R' (f I + A)^-1 e.

        They are those of the first ``n_leading`` columns.
        """
        R, root = self._level(factor, some)
        m, e = len(self.A), self._errors(R, mean)
        white = root.solve_vector(e[:m])
        squares = (white**2).sum(axis=0) + (e[m:] ** 2).sum(axis=0) / factor
        e[m:] /= factor
        root.solve_transposed(e[:m])
        g = np.zeros((n_leading, e.shape[1]))
        for i, row in enumerate(R):
            g[i:] += row[: n_leading - i] * e[i]
        if share is None:
            return squares.sum(), g @ g.T
        return share @ squares, (g * share) @ g.T

    def squares(self, factor, mean):
        """Squares of whitened errors of each task (B,), and log determinants (B,)."""
        R, root = self._level(factor, None)
        m, e = len(self.A), self._errors(R, mean)
        e[m:] /= np.sqrt(factor)
        root.solve_vector(e[:m])
        log_det = 2 * root.half_log_det - m * np.log(factor)
        return (e**2).sum(axis=0), log_det

    @staticmethod
    def _errors(R, mean):
        """Errors of coefficients in each row: (K, B)."""
        signs = np.append(-mean, 1.0)
        return np.array([signs[i:] @ row for i, row in enumerate(R)])


@dataclass(frozen=True)
class OneByOne:
    """The same by LAPACK, for many rows and for spreads of any size."""

    rows: np.ndarray  # (B, K, P + 1)
    U: np.ndarray

    def _level(self, factor, some):
        rows = self.rows if some is None else self.rows[some]
        L = np.zeros((rows.shape[2] - 1, self.U.shape[1]))
        L[: len(self.U)] = self.U
        white, log_det = whiten_leading(rows, L / np.sqrt(factor))
        return white / np.sqrt(factor), log_det

    def moments(self, factor, some, share):
        white, log_det = self._level(factor, some)
        if share is None:
            return products(white), log_det.sum()
        return products(white * np.sqrt(share)[:, None, None]), share @ log_det

    def felt(self, factor, some, share, mean, n_leading):
        white, _ = self._level(factor, some)
        error = errors(white, mean)
        g = np.einsum("tkp,tk->tp", white[..., :n_leading], error)
        squares = (error**2).sum(axis=1)
        share = np.ones(len(g)) if share is None else share
        return share @ squares, g.T @ (g * share[:, None])

    def squares(self, factor, mean):
        white, log_det = self._level(factor, None)
        return (errors(white, mean) ** 2).sum(axis=1), log_det
