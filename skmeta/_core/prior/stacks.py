"""Rows of many tasks in padded stacks, so that NumPy treats many tasks at once.

A task is given as (X, Y, weight, offset) with n rows, d columns and o outputs. The
coefficients of o outputs are laid out (o, d) and stored as one vector of P = o d
numbers. The linear predictors of a row are eta = coefficients times x, plus its offset.
"""

from typing import NamedTuple

import numpy as np

from skmeta._core.tasks import are_many, slices

# One stack holds at most about this many numbers, ...
STACK_CELLS = 2**18
# ... and so many times more if rows have several outputs, since each takes more steps.
MORE_OF_SEVERAL = 8
# Of many tasks each stack holds fewer, so that what is computed of a stack takes little
# memory beside all of them.
FEWER_OF_MANY = 8


class Stack(NamedTuple):
    """Rows of T tasks, padded with zeros; ``weight`` is 0 where a row is padding."""

    X: np.ndarray  # (T, n, d)
    Y: np.ndarray  # (T, n, o)
    weight: np.ndarray  # (T, n)
    offset: np.ndarray  # (T, n, o)

    @classmethod
    def of(cls, parts):
        """The stack of a list of tasks (X, Y, weight, offset)."""
        longest = max(len(X) for X, *_ in parts)

        def padded(field):
            rows = [part[field] for part in parts]
            out = np.zeros((len(rows), longest, *rows[0].shape[1:]))
            for task, row in enumerate(rows):
                out[task, : len(row)] = row
            return out

        return cls(*map(padded, range(4)))

    @property
    def n_outputs(self):
        return self.Y.shape[-1]

    def part(self, tasks):
        """The stack of some of the tasks."""
        return Stack(*(field[tasks] for field in self))

    def eta(self, theta):
        """Linear predictors (T, n, o) of coefficients (T, P) or (1, P)."""
        o, d = self.n_outputs, self.X.shape[-1]
        coef = theta.reshape(len(theta), o, d).swapaxes(-1, -2)
        return self.X @ coef + self.offset

    def times(self, factor):
        """Rows times the columns of a factor (T or 1, P, r), as (T, n, o, r)."""
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
        return (slope.swapaxes(-1, -2) @ self.X).reshape(len(self.X), -1)

    def sum_of_hessians(self, likelihood, mu):
        """Sum of X' W X over all tasks, with W the curvature at means mu: (P, P)."""
        d, o = self.X.shape[-1], self.n_outputs
        H, X = np.empty((o, d, o, d)), self.X.reshape(-1, d)
        for a in range(o):
            for b in range(a + 1):
                W = (self.weight * likelihood.curvature(mu, a, b)).reshape(-1, 1)
                H[a, :, b] = (X * W).T @ X
                H[b, :, a] = H[a, :, b].T
        return H.reshape(o * d, o * d)


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
    n_varying = X.shape[1] if n_varying is None else n_varying
    n_coefficients, n_shared = n_varying * Y.shape[1], X.shape[1] - n_varying
    many = are_many(parts)
    most = STACK_CELLS * (MORE_OF_SEVERAL if Y.shape[1] > 1 else 1)
    most = most // FEWER_OF_MANY if many else most
    buckets = 2 * np.ceil(2 * np.log2(np.maximum(sizes, 1))) + labels
    stacks, orders = [], []
    for bucket in np.unique(buckets):
        tasks = np.flatnonzero(buckets == bucket)
        longest = sizes[tasks].max()
        cells = n_coefficients * (n_coefficients + longest) + n_shared * longest
        n_stacks = -(-len(tasks) * cells // most)
        for order in np.array_split(tasks, min(n_stacks, len(tasks))):
            if many:
                stacks.append(Stack(*parts.padded(order)))
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
    """Slices of the rows of X (T, n, d) that hold a bounded number of cells."""
    n_tasks, n, d = X.shape
    return slices(n, STACK_CELLS // max(1, n_tasks * d))
