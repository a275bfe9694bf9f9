"""Rows of many tasks in padded stacks, so that NumPy treats many tasks at once.

A task is given as (X, Y, weight, offset) with n rows, d columns and o outputs. The
coefficients of o outputs are laid out (o, d) and stored as one vector of P = o d
numbers. The linear predictors of a row are eta = coefficients times x, plus its offset.

A row may instead have a design of its own for each of o alternatives: X is (n, o, d),
and one vector of P = d coefficients serves all of them. Alternatives that a row does
not have are padding: their offset is `ABSENT`, and their x is zero.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from skmeta._core.tasks import ABSENT, Parts, are_many, slices

# One stack holds at most about this many numbers, ...
STACK_CELLS = 2**18
# ... and so many times more if rows have several outputs, since each takes more steps.
MORE_OF_SEVERAL = 8
# Of many tasks each stack holds fewer, so that what is computed of a stack takes little
# memory beside all of them.
FEWER_OF_MANY = 8
# Sets of at most this many alternatives are stacked together.
FEW_ALTERNATIVES = 8
# A number above that of all kinds of sizes that sets have.
ALTERNATIVES_APART = 64


class Stack(NamedTuple):
    """Rows of T tasks, padded with zeros; ``weight`` is 0 where a row is padding."""

    X: np.ndarray  # (T, n, d), or (T, n, o, d) if rows have o designs
    Y: np.ndarray  # (T, n, o)
    weight: np.ndarray  # (T, n)
    offset: np.ndarray  # (T, n, o)

    @classmethod
    def of(cls, parts):
        """The stack of a list of tasks (X, Y, weight, offset)."""
        if parts[0][0].ndim == 3:
            n_alternatives = max(X.shape[1] for X, *_ in parts)
            parts = [with_alternatives(part, n_alternatives) for part in parts]
        longest = max(len(X) for X, *_ in parts)

        def padded(field):
            rows = [part[field] for part in parts]
            out = np.zeros((len(rows), longest, *rows[0].shape[1:]))
            for task, row in enumerate(rows):
                out[task, : len(row)] = row
            return out

        return cls(*map(padded, range(4))).trimmed()

    @property
    def has_designs(self):
        """Whether a row has a design of its own for each of its outputs."""
        return self.X.ndim == 4

    @property
    def n_outputs(self):
        return self.Y.shape[-1]

    @property
    def rows(self):
        """All designs (T, n, d), or (T, n o, d) if a row has several."""
        return flat(self.X)

    def part(self, tasks):
        """The stack of some of the tasks."""
        return Stack(*(field[tasks] for field in self))

    def trimmed(self):
        """The same without alternatives that no row has."""
        if not self.has_designs:
            return self
        here = (self.offset > 0.5 * ABSENT) & (self.weight > 0)[..., None]
        here = here.any(axis=(0, 1))
        if here.all() or not here.any():
            return self
        X, Y, offset = self.X[:, :, here], self.Y[..., here], self.offset[..., here]
        return Stack(X, Y, self.weight, offset)

    def eta(self, theta):
        """Linear predictors (T, n, o) of coefficients (T, P) or (1, P)."""
        if self.has_designs:
            return (self.rows @ theta[..., None]).reshape(self.Y.shape) + self.offset
        o, d = self.n_outputs, self.X.shape[-1]
        coef = theta.reshape(len(theta), o, d).swapaxes(-1, -2)
        return self.X @ coef + self.offset

    def times(self, factor):
        """Rows times the columns of a factor (T or 1, P, r), as (T, n, o, r)."""
        if self.has_designs:
            return (self.rows @ factor).reshape(*self.Y.shape, factor.shape[-1])
        o, d = self.n_outputs, self.X.shape[-1]
        blocks = factor.reshape(len(factor), o, d, -1)
        return np.einsum(
            "tnd,todr->tnor",
            self.X,
            np.broadcast_to(blocks, (len(self.X), *blocks.shape[1:])),
            optimize=True,
        )

    def gradient(self, slope):
        """Gradient (T, P) in the coefficients, given that in eta (T, n, o)."""
        if self.has_designs:
            return (flat(slope[..., None]).swapaxes(-1, -2) @ self.rows)[:, 0]
        return (slope.swapaxes(-1, -2) @ self.X).reshape(len(self.X), -1)

    def gradients(self, slopes):
        """The same of r slopes (T, n, o, r) for each task: (T, r, P)."""
        if self.has_designs:
            return flat(slopes).swapaxes(-1, -2) @ self.rows
        products = np.einsum(
            "trno,tnd->trod", np.moveaxis(slopes, -1, 1), self.X, optimize=True
        )
        return products.reshape(*products.shape[:2], -1)

    def squares(self):
        """Squares (T, n, d) of what the outputs of a row depend on.

        If a row has several designs, they are the variances among them, each as
        probable as its offset says.
        """
        if not self.has_designs:
            return self.X**2
        share = softmax(self.offset, axis=-1)[:, :, None]
        apart = self.X - share @ self.X
        return (share @ apart**2)[:, :, 0]


def n_alternatives(parts):
    """The largest number of alternatives that a choice set of each task has, (T,)."""
    if isinstance(parts, Parts):
        return parts.n_alternatives
    here = ((offset > 0.5 * ABSENT).sum(axis=1) for _, _, _, offset in parts)
    return np.array([n.max(initial=1) for n in here])


def kinds_of_size(n):
    """Numbers of alternatives (T,) as kinds that are stacked together."""
    return np.ceil(np.log2(np.maximum(n, FEW_ALTERNATIVES))).astype(int)


def like_sized(parts):
    """Numbers of the parts, in groups whose sets have about as many alternatives.

    There is a single group unless rows are choice sets.
    """
    if parts[0][0].ndim != 3:
        return [np.arange(len(parts))]
    kinds = kinds_of_size(n_alternatives(parts))
    return [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]


def flat(A):
    """An array (T, n, ..., d) of rows as (T, m, d)."""
    n_tasks, *n_rows, d = A.shape
    return A.reshape(n_tasks, math.prod(n_rows), d)


def with_alternatives(part, n):
    """Rows (X, Y, weight, offset) with n alternatives, the last of them padding."""
    X, Y, weight, offset = part
    more = n - X.shape[1]
    if more <= 0:
        return part
    of_rows = (0, 0), (0, more)
    return (
        np.pad(X, (*of_rows, (0, 0))),
        np.pad(Y, of_rows),
        weight,
        np.pad(offset, of_rows, constant_values=ABSENT),
    )


def one_task(stacks):
    """All rows of some stacks as the rows of a single task."""
    fields = (
        np.concatenate([field.reshape(-1, *field.shape[2:]) for field in of_all])
        for of_all in zip(*stacks, strict=True)
    )
    return Stack(*(field[None] for field in fields))


def in_stacks(parts, sizes, labels, n_varying=None):
    """Stacks of tasks, and the numbers of the tasks in each.

    A stack holds tasks of similar size and of the same label, and a bounded number of
    them. Otherwise padding, or the second derivatives of all tasks at once, could fill
    the memory. Of the columns, ``n_varying`` have coefficients that vary, all of them
    if it is None.
    """
    X, Y = parts[0][:2]
    n_columns = X.shape[-1]
    n_varying = n_columns if n_varying is None else n_varying
    # a row has one design for o vectors of coefficients, or o designs for one
    n_vectors = 1 if X.ndim == 3 else Y.shape[1]
    n_coefficients, n_shared = n_varying * n_vectors, n_columns - n_varying
    many = are_many(parts)
    most = STACK_CELLS * (MORE_OF_SEVERAL if n_vectors > 1 else 1)
    most = most // FEWER_OF_MANY if many else most
    buckets = 2 * np.ceil(2 * np.log2(np.maximum(sizes, 1))) + labels
    alternatives = np.ones(len(sizes), dtype=int)
    if X.ndim == 3:
        alternatives = n_alternatives(parts)
        buckets = buckets * ALTERNATIVES_APART + kinds_of_size(alternatives)
    stacks, orders = [], []
    for bucket in np.unique(buckets):
        tasks = np.flatnonzero(buckets == bucket)
        longest = sizes[tasks].max()
        n_rows = longest * alternatives[tasks].max()
        cells = n_coefficients * (n_coefficients + n_rows) + n_shared * n_rows
        n_stacks = -(-len(tasks) * cells // most)
        for order in np.array_split(tasks, min(n_stacks, len(tasks))):
            if many:
                stacks.append(Stack(*parts.padded(order)).trimmed())
            else:
                stacks.append(Stack.of([parts[task] for task in order]))
            orders.append(order)
    return stacks, orders


def in_pieces(parts, n_rows, most):
    """`pieces_of` each task, about ``most`` in all, but at least one of each task."""
    most_of_task = max(1, most // len(parts))
    return [piece for part in parts for piece in pieces_of(part, n_rows)[:most_of_task]]


def pieces_of(part, n_rows):
    """The rows (X, Y, weight, offset) of a task in pieces of about this total weight.

    Equal rows beside each other stay together, like a row of their total weight.
    """
    X, Y, weight, offset = part
    rows = np.hstack([X, Y, offset])
    new = np.append(True, (rows[1:] != rows[:-1]).any(axis=1))
    first = np.maximum.accumulate(np.where(new, np.arange(len(X)), 0))
    before = (np.cumsum(weight) - weight)[first]
    ends = np.flatnonzero(np.diff(np.floor(before / n_rows + 1e-9))) + 1
    return list(zip(*(np.split(field, ends) for field in part), strict=True))


def row_blocks(X):
    """Slices of the rows of X (T, n, ...) that hold a bounded number of cells."""
    n_tasks, n, *others = X.shape
    return slices(n, STACK_CELLS // max(1, n_tasks * math.prod(others)))
