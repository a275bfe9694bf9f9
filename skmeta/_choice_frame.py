"""Choices as targets of a model, and the frame that packs offers into choice sets."""

from dataclasses import dataclass

import numpy as np

from skmeta._choice_sets import events_of, pack, warn_of_doubtful_sets, with_sets
from skmeta._core.network import Batch
from skmeta._core.scaling import Scaling, fit_scaling, is_constant
from skmeta._core.tasks import TaskTable
from skmeta._frame import Frame
from skmeta._targets import Coded, Targets


@dataclass(frozen=True)
class ChoiceScaling(Scaling):
    """Centre and scale of offers.

    Attributes
    ----------
    within : ndarray of bool of shape (n_features,)
        Which columns differ between the offers of some set.
    """

    within: np.ndarray | None = None


@dataclass(frozen=True)
class Choices(Targets):
    """Which offers are preferred. Targets are arrays of `_choice_sets.OFFER`.

    ``outside`` says whether each set has one more alternative, which is none of its
    offers.
    """

    outside: bool = False

    def check_given(self, y):
        given = np.asarray(y)
        for value in () if given.dtype.kind in "biuf" else np.ravel(given).tolist():
            if isinstance(value, str):
                raise ValueError(
                    f"y holds {value!r}, which is text. It must be numbers, 1 for the "
                    "offer chosen and 0 for the others, or larger ones for better "
                    "offers. Pass what holds for the offer chosen, such as (y == 'yes')"
                    ".astype(int) or (df['choice'] == df['brand']).astype(int)."
                )

    def with_beside(self, y, weight, codes, ids, choice_set=None):
        offers = with_sets(y, weight, codes, ids, choice_set)
        warn_of_doubtful_sets(offers, weight)
        return offers

    def order_key(self, y, codes):
        return y["value"]

    def fit(self, y, starts, before=None):
        return self if before is None else before, self.encode(y)

    def encode(self, y, present=None):
        return Coded(y)

    def values(self, y):
        return y["value"]

    def correct(self, Y, base):
        return Y, base

    def scaling(self, X, Y, weight):
        """Scales are deviations within sets, unless there is an outside option.

        Without one, an amount that all offers of a set have in common changes no
        choice. So it must not change the unit either.
        """
        pooled = fit_scaling(X, None, weight)
        dense = X.toarray() if hasattr(X, "toarray") else X
        _, sets = np.unique(Y["set"], return_inverse=True)
        deviation = deviation_within(dense, weight, sets)
        size = np.abs(dense).max(axis=0)
        within = ~is_constant(size, deviation, X.shape[0], X.dtype)
        scale = pooled.x_scale
        if not self.outside:
            scale = np.where(within, deviation, scale)
        return ChoiceScaling(pooled.x_mean, scale, within=within)

    def decode(self, Z, base, scaling, classes=None, method="predict", average=None):
        return (Z if base is None else Z + base)[:, 0]


def deviation_within(X, weight, sets):
    """Deviations (d,) of offers X (n, d) from the mean of their set (n,)."""
    total = np.bincount(sets, weight)
    mean, unit = np.empty(X.shape[1]), np.empty(X.shape[1])
    for j, column in enumerate(X.T):
        mean = np.bincount(sets, weight * column) / total
        apart = column - mean[sets]
        size = np.abs(apart).max()
        apart = apart / size if size > 0 else apart
        unit[j] = size * np.sqrt(weight @ apart**2 / weight.sum())
    return unit


@dataclass(frozen=True)
class ChoiceFrame(Frame):
    """Turns rows, which are offers, into events of the core: see `_choice_sets`.

    Rows come task by task and set by set.
    """

    def table(self, X, coded, offset, weight, starts, *, order=None, in_place=False):
        events, Y, event_weight, packed = self._events(X, coded.Y, offset, weight)
        first = events.index.max(axis=1)  # rows of a task follow one another
        return TaskTable(
            packed.X,
            Y,
            event_weight,
            np.searchsorted(first, starts),
            offset=packed.offset,
        )

    def batch(self, X, coded, offset, weight):
        _, Y, event_weight, packed = self._events(X, coded.Y, offset, weight)
        total = event_weight.sum()
        return Batch(
            X=packed.X[None],
            Y=Y[None],
            weight=(event_weight / total)[None],
            total_weight=np.array([total]),
            offset=packed.offset[None],
        )

    def _events(self, X, offers, offset, weight):
        """`Events` of sorted rows, their targets and weights, and `Packed` columns."""
        outside = self.targets.outside
        events = events_of(offers, outside, X.shape[1])
        packed = self.packed(X, events.index, offset)
        E, J = packed.X.shape[:2]
        Y = np.zeros((E, J))
        Y[events.chosen, int(outside)] = 1.0
        Y[~events.chosen, 0] = 1.0
        shift, event_weight = _equal_offers(events, offers, weight)
        packed.offset[:, outside:] += shift
        return events, Y, event_weight, packed

    def packed(self, X, index, offset=None):
        """The `Packed` columns of offers; for ``index`` see `_choice_sets.pack`."""
        X = self.scaling.transform_X(X)
        X = X.toarray() if hasattr(X, "toarray") else X
        offset = None if offset is None else offset[:, 0]
        return pack(X, index, self.scaling.within, offset, self.targets.outside)


def _equal_offers(events, offers, weight):
    """What the weights of rows mean: a shift (E, J) of utilities, and weights (E,).

    The weight of a set that was named says how often the choice counts. In a set that
    is all rows of a task, a weight says how often the offer is there. Then a choice of
    it counts as often, and each of the other offers as so many equal ones.
    """
    there = events.index >= 0
    first = events.index[:, 0]
    named = offers["named"][first]
    shift = np.zeros(events.index.shape)
    if (weight == weight[0]).all() and weight[0] == 1:
        return shift, np.ones(len(first))
    event_weight = np.where(named | events.chosen, weight[first], 1.0)
    shift[there] = np.log(weight[events.index[there]])
    shift[named] = 0.0
    shift[events.chosen, 0] = 0.0
    return shift, event_weight
