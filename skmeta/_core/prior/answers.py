"""The answers that a model of numbers remembers, so that it can give its reasons.

The posterior of numbers needs no rows. It is a sum over them, and predictions do not
get slower with more of them. So only the latest rows are kept, up to some number.
"""

from typing import NamedTuple

import numpy as np

# So many of the latest rows are remembered one by one.
MOST_ANSWERS = 256
# Rows that came in more portions than this are put together.
MOST_PARTS = 16


class Answered(NamedTuple):
    """Rows that were given together, X standardised."""

    X: np.ndarray  # (n, n_features)
    y: np.ndarray  # (n,)
    weight: np.ndarray  # (n,), as they counted when they came
    latest: float | None  # the time up to which they have aged, if old rows count less


class Answers(NamedTuple):
    """The latest rows of a task, in the order in which they came."""

    parts: tuple  # of Answered
    n_rows: int
    are_all: bool  # whether the task has given no other rows

    @classmethod
    def after(cls, present, rows, latest=None, recency=None):
        """Those of a `Present`, or None, and further `SeenRows`."""
        before = NONE if present is None else present.answers or UNKNOWN
        part = Answered(rows.X, rows.Y[:, 0], rows.weight, latest)
        n = len(rows.Y)
        if n > MOST_ANSWERS:  # copies, so that the others need not stay in memory
            last = (field[-MOST_ANSWERS:].copy() for field in part[:3])
            return cls((Answered(*last, latest),), MOST_ANSWERS, False)
        found = cls((*before.parts, part), before.n_rows + n, before.are_all)
        if len(found.parts) > MOST_PARTS:
            together = Answered(*found.now(latest, recency), latest)
            found = found._replace(parts=(together,))
        while found.n_rows > MOST_ANSWERS:
            found = found._without(found.n_rows - MOST_ANSWERS)
        return found

    def _without(self, n):
        """The same without the first n rows, or the first part if it has less."""
        first, *others = self.parts
        n = min(n, len(first.y))
        left = Answered(*(field[n:] for field in first[:3]), first.latest)
        parts = (left, *others) if len(left.y) else tuple(others)
        return Answers(parts, self.n_rows - n, False)

    def now(self, latest, recency):
        """X (n, n_features), y (n,) and the weights (n,) that they have by now."""
        weight = [part.weight for part in self.parts]
        if latest is not None:
            weight = [
                part.weight * recency.share(latest - part.latest) for part in self.parts
            ]
        X, y = ([getattr(part, name) for part in self.parts] for name in "Xy")
        return np.concatenate(X), np.concatenate(y), np.concatenate(weight)


class Grouped(NamedTuple):
    """Which answer each of the rows of a task belongs to, if an answer is several."""

    answer: np.ndarray  # (n_rows,) numbers of the answers
    n_answers: int

    @classmethod
    def after(cls, present, answer, n_answers):
        """Those of a `Present`, or None, and of further rows."""
        if present is None:
            return cls(answer, n_answers)
        before = present.answers
        both = np.concatenate([before.answer, before.n_answers + answer])
        return cls(both, before.n_answers + n_answers)

    def summed(self, parts):
        """Parts (n_rows, ...) of rows as those of answers (n_answers, ...)."""
        total = np.zeros((self.n_answers, *parts.shape[1:]))
        np.add.at(total, self.answer, parts)
        return total


NONE = Answers((), 0, True)
UNKNOWN = Answers((), 0, False)
