"""Rows of a task in order of time: how old each of them is, and how much it counts.

A row of age a keeps the share 0.5 ** (a / half_life) of its weight. Its age is counted
from the latest row of the task: in rows given after it, or in the units of a column.
Whenever later rows come, all that is known ages by the same time, so that portions of
rows give the same answer as all rows together.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Recency:
    """How rows that are in order of time are taken.

    Attributes
    ----------
    half_life : float or None
        The age at which a row keeps half of its weight; infinite if old rows count as
        much as new ones. None until it has been learned, which also counts as infinite.
    column : int or None
        The column that holds the times. None if age is counted in rows.
    alternative : int or None
        Where a row has a design for each of its alternatives: the one that holds the
        time of the row.
    """

    half_life: float | None = np.inf
    column: int | None = None
    alternative: int | None = None

    @property
    def forgets(self):
        """Whether old rows count less."""
        return self.half_life is not None and np.isfinite(self.half_life)

    def in_columns(self, n_before):
        """The same for rows that have some other columns in front."""
        if self.column is None:
            return self
        return replace(self, column=self.column + n_before)

    def times(self, X, first=0.0):
        """Times (..., n) of rows of tasks; if rows are counted, from ``first`` on.

        X (..., n, d) is standardised. Times that are counted have no leading axes.
        """
        if self.alternative is not None:
            X = X[..., self.alternative, :]
        if self.column is None:
            return first + np.arange(X.shape[-2])
        return X[..., self.column]

    def share(self, age):
        """The share of its weight that a row of some age keeps."""
        if not self.forgets:
            return np.ones(np.shape(age))
        return np.exp2(-np.asarray(age) / self.half_life)

    def fade(self, rows, present):
        """Further `SeenRows` and what is known so far, as they count after these rows.

        Returns them, and the time of the latest row.
        """
        before = None if present is None else present.latest
        times = self.times(rows.X, 0.0 if before is None else before + 1.0)
        latest = float(times.max())
        if before is not None:
            latest = max(latest, before)
            told = present.rows.weighing(float(self.share(latest - before)))
            present = present._replace(rows=told)
        weight = rows.weight * self.share(latest - times)
        return rows._replace(weight=weight), present, latest

    def given(self, X, weight, n_given):
        """Weights (..., n) of the first ``n_given`` (..., 1) rows; the rest have none.

        Rows are in order of time, and ``weight`` (n,) are their own weights.
        """
        times = self.times(X)
        age = np.maximum(times[np.maximum(n_given, 1) - 1] - times, 0.0)
        left_out = np.arange(len(times)) >= n_given
        return np.where(left_out, 0.0, weight * self.share(age))
