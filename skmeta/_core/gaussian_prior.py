r"""Linear tasks with Gaussian noise: their evidence under a Gaussian prior, posteriors.

Task t has rows X and targets y = X theta + noise, with theta ~ N(m, s2 L L') and noise
N(0, s2): L is the spread between tasks in units of the noise. The evidence of a task is

    log N(y; X m, s2 (I + Z Z')),    Z = X L.

Given L, the best mean m is generalised least squares and the best s2 the mean squared
whitened residual, both closed forms, so only L is searched for (Bates & DebRoy, 2004).
"""

from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from skmeta._core.tasks import padded_blocks, slices

RIDGE = 1e-9  # relative: of several means that fit equally well, the smallest
RIDGE_OF_FEW = 0.1  # relative, where there are ...
ROWS_PER_COEFFICIENT = 3  # ... fewer rows than this: they could be fitted without error
PINNED = 1e9  # relative: holds a coefficient of the mean at zero
FEW_ROWS = 4  # times as few rows as coefficients: whitened rows are not kept
QR_CELLS = 2**15  # numbers of rows at a time to be rotated into a triangle
NOISE_FLOOR = 1e-10  # least noise variance, of standardised targets


class Evidence(NamedTuple):
    """The log evidence at its best mean and noise, given the spread L."""

    value: float
    D: np.ndarray  # (P, P), the gradient in L is D L
    mean: np.ndarray  # (P,)
    mean_slope: np.ndarray  # (P,) zero: the mean is the best one already
    noise: float
    precision: np.ndarray  # (P, P) of the mean, in units of 1 / noise
    state: None = None


class Block(NamedTuple):
    """Some tasks of about the same number of rows [X y], padded with zeros."""

    tasks: np.ndarray  # (T,) their numbers
    rows: np.ndarray  # (T, K, P + 1)
    root: np.ndarray | None = None  # (T, K, K) C of the rows' covariance C C'

    def white(self):
        """Rows of unit covariance."""
        return self.rows if self.root is None else np.linalg.solve(self.root, self.rows)


@dataclass(frozen=True)
class GaussianTasks:
    """What the evidence needs of the tasks: at most P rows of each, by QR.

    Rotating a task's rows changes neither the noise nor the evidence, and rotated into
    a triangle all but the first P rows are zero; of their targets only the sum of
    squares is kept. So no cost depends on the number of rows. Tasks of like size form
    blocks, so that a long one costs the others no padding.
    """

    blocks: list  # of Block; each task is in one
    n_rows: np.ndarray  # (T,) sums of sample weights
    residual: np.ndarray  # (T,) sum of squares of the rows left out
    fit_intercept: bool = True  # whether the last column of R is the intercept's
    pin_slopes: bool = False  # whether the slopes of the mean are held at zero

    @property
    def n_tasks(self):
        return len(self.n_rows)

    @property
    def n_coefficients(self):
        return self.blocks[0].rows.shape[-1] - 1

    def work(self, n_varying):
        """Multiplications of one evaluation of the evidence, if so many vary."""
        P, r = self.n_coefficients, n_varying
        work = P**3 / 3
        for block in self.blocks:
            T, K, _ = block.rows.shape
            work += T * K * (P * r + K * r + K * P + P**2)
        return work

    def subset(self, tasks):
        number = np.full(self.n_tasks, -1)
        number[tasks] = np.arange(len(tasks))
        parts = ((number[block.tasks], block.rows) for block in self.blocks)
        kept = ((numbers, rows, numbers >= 0) for numbers, rows in parts)
        return replace(
            self,
            blocks=[Block(n[some], rows[some]) for n, rows, some in kept if some.any()],
            n_rows=self.n_rows[tasks],
            residual=self.residual[tasks],
        )

    def _held(self, precision):
        """The precision of a mean, with what holds it in place."""
        size = np.trace(precision) / len(precision) + RIDGE
        few = self.n_rows.sum() < ROWS_PER_COEFFICIENT * len(precision)
        ridge = RIDGE_OF_FEW if few else RIDGE
        held = np.full(len(precision), PINNED if self.pin_slopes else ridge)
        if self.fit_intercept:
            held[-1] = RIDGE
        return precision + size * np.diag(held)

    def mean_coordinates(self, mean):
        """Where to begin with the mean, and directions to search: there are none."""
        return np.zeros(self.n_coefficients), np.zeros((self.n_coefficients, 0))

    def evidence(self, L, mean=None, state=None):
        """Log evidence of all tasks together, maximised over mean and noise."""
        whitened, log_det = _whiten(self, L)
        moments = sum(_products(block.white()) for block in whitened)
        precision = self._held(moments[:-1, :-1])
        mean = np.linalg.solve(precision, moments[:-1, -1])
        squares, outer = self.residual.sum(), 0.0
        for block in whitened:
            rows = block.white()
            error = _errors(rows, mean)
            h = np.einsum("tkp,tk->tp", rows[..., :-1], error)
            squares, outer = squares + (error**2).sum(), outer + h.T @ h
        n = self.n_rows.sum()
        noise = max(squares / n, NOISE_FLOOR)
        return Evidence(
            value=-0.5
            * (n * np.log(2 * np.pi * noise) + squares / noise + log_det.sum()),
            D=outer / noise - moments[:-1, :-1],
            mean=mean,
            mean_slope=np.zeros(len(L)),
            noise=noise,
            precision=precision,
        )

    def degrees_of_freedom(self, L):
        """Rows, and what of them tasks, mean, and both at once can take up.

        With V = I + Z Z' these are n, tr(I - V^-1), tr(A R'V^-1 R) and
        tr(A R'V^-2 R), A being the inverse of the mean's precision.
        """
        of_tasks, moments, twice = 0.0, 0.0, 0.0
        for block in self.blocks:
            R = block.rows[..., :-1]
            Z = R @ L
            inverse = np.linalg.inv(np.eye(Z.shape[1]) + Z @ Z.swapaxes(-1, -2))
            W = inverse @ R
            of_tasks += (1.0 - np.diagonal(inverse, axis1=-2, axis2=-1)).sum()
            moments += np.einsum("tkp,tkq->pq", R, W, optimize=True)
            twice += _products(W)
        A = np.linalg.inv(self._held(moments))
        return self.n_rows.sum(), of_tasks, np.sum(A * moments), np.sum(A * twice)

    def held_out_score(self, prior, seed):
        """Log evidence of each task under a given prior, shape (1, T)."""
        whitened, log_det = _whiten(self, prior.factor / np.sqrt(prior.noise))
        squares = self._squares(whitened, prior.mean)
        noise = self.n_rows * np.log(2 * np.pi * prior.noise)
        return -0.5 * (noise + squares / prior.noise + log_det)[None]

    def pooled(self):
        """Least squares of all rows as one task."""
        moments = sum(_products(block.rows) for block in self.blocks)
        return np.linalg.solve(self._held(moments[:-1, :-1]), moments[:-1, -1])

    def constant(self):
        """Coefficients that predict the mean of all rows."""
        return self.with_pinned_slopes().pooled()

    def with_pinned_slopes(self):
        """The same tasks, if slopes are zero on average."""
        return replace(self, pin_slopes=True)

    def loss(self, theta):
        """Root mean squared error of each task under fixed coefficients, (T,)."""
        return np.sqrt(self._squares(self.blocks, theta) / self.n_rows)

    def _squares(self, blocks, theta):
        """Sum of squared errors of each task, (T,), from rows in blocks."""
        squares = self.residual.copy()
        for block in blocks:
            squares[block.tasks] += (_errors(block.white(), theta) ** 2).sum(axis=-1)
        return squares

    def prior_loss(self, prior):
        return self.loss(prior.mean)


def gather(parts, fit_intercept, sizes=None, design=np.asarray):
    """`GaussianTasks` of (X, y, weight), one task each.

    With ``sizes``, the numbers of rows, ``parts`` may be an iterator: no more than one
    of them is held at a time. ``design`` makes the columns of the model of rows of X.
    """
    if sizes is None:
        sizes = [len(y) for _, y, _ in parts]
    parts = iter(parts)
    first = next(parts)
    n_coefficients = design(first[0][:1]).shape[1]
    kept = np.minimum(sizes, n_coefficients)
    blocks = [
        Block(tasks, np.zeros((len(tasks), kept[tasks].max(), n_coefficients + 1)))
        for tasks in padded_blocks(kept, n_coefficients + 1)
    ]
    place = np.empty(len(kept), dtype=np.intp), np.empty(len(kept), dtype=np.intp)
    for number, block in enumerate(blocks):
        place[0][block.tasks] = number
        place[1][block.tasks] = np.arange(len(block.tasks))
    n_rows, residual = np.empty((2, len(kept)))
    for task, part in enumerate(chain([first], parts)):
        rows, residual[task] = _compress(*part, design)
        blocks[place[0][task]].rows[place[1][task], : len(rows)] = rows
        n_rows[task] = part[2].sum()
    return GaussianTasks(blocks, n_rows, residual, fit_intercept)


def _compress(X, y, weight, design):
    """At most P rows [X y] with the same products, and the squares left over in y."""
    n_rows, triangle = len(y), None
    for block in slices(n_rows, max(QR_CELLS // X.shape[1], X.shape[1])):
        rows = np.column_stack([design(X[block]), y[block]])
        rows *= np.sqrt(weight[block])[:, None]
        n_coefficients = rows.shape[1] - 1
        if n_rows <= n_coefficients:
            return rows, 0.0
        if triangle is None:
            triangle = rows[:0]
        triangle = np.linalg.qr(np.concatenate([triangle, rows]), mode="r")
    left = triangle[n_coefficients:, -1]
    return triangle[:n_coefficients], (left**2).sum()


def _errors(rows, theta):
    """What coefficients leave over of the targets (T, K) of rows (T, K, P + 1)."""
    return rows[..., -1] - rows[..., :-1] @ theta


def _products(rows):
    """Sum of the products of rows (T, K, P)."""
    rows = rows.reshape(-1, rows.shape[-1])
    return rows.T @ rows


def _whiten(tasks, L):
    """The blocks with rows of unit covariance, and log det(I + Z Z') of tasks (T,)."""
    whitened, log_det = [], np.empty(tasks.n_tasks)
    for block in tasks.blocks:
        Z = block.rows[..., :-1] @ L
        covariance = Z @ Z.swapaxes(-1, -2)
        covariance += np.eye(covariance.shape[-1])
        C = np.linalg.cholesky(covariance)
        block = block._replace(root=C)
        if FEW_ROWS * Z.shape[1] > len(L):  # else quicker made again than remembered
            block = Block(block.tasks, block.white())
        whitened.append(block)
        diagonal = np.diagonal(C, axis1=-2, axis2=-1)
        log_det[block.tasks] = 2 * np.log(diagonal).sum(axis=-1)
    return whitened, log_det


def condition(mean, factor, noise, X, y, weight):
    """Posterior mean (P,) and factor (P, r) of coefficients, given rows of a task.

    Conditioning on some rows and then on others is conditioning on all of them. All
    arguments but ``noise`` have a leading task axis, or none has.
    """
    scale = np.sqrt(weight / noise)
    Z = (X @ factor) * scale[..., None]
    error = (y - (X @ mean[..., None])[..., 0]) * scale
    C = np.linalg.cholesky(Z.swapaxes(-1, -2) @ Z + np.eye(Z.shape[-1]))
    # factor C^-T is a factor of the posterior covariance, factor (C C')^-1 factor'
    right = np.concatenate(
        [factor.swapaxes(-1, -2), Z.swapaxes(-1, -2) @ error[..., None]], axis=-1
    )
    solved = np.linalg.solve(C, right)
    posterior = solved[..., :-1].swapaxes(-1, -2)
    return mean + (posterior @ solved[..., -1:])[..., 0], posterior
