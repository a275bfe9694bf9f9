"""How well choices among offers are predicted: metrics of choice sets.

The metrics of scikit-learn look at single rows. A choice is one of the offers of a set:
a shelf, a screen, a plan. These metrics look at whole sets, and count each set once.
"""

from numbers import Integral

import numpy as np
from scipy.special import gammaln
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params

from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.scorers import scored_on_purpose
from skmeta._checks.values import plain_weight, show
from skmeta._choice_sets import OFFER, warn_of_doubtful_sets
from skmeta._warn import warn

__all__ = ["choice_log_loss", "hit_rate"]

# The sum of the probabilities of a set may be so far above 1, as if they had been
# rounded to a few digits. They are divided by it.
SLACK = 1e-3

# A sum is below 1, and leaves something for an outside option, if it is so many
# rounding errors of a float below 1, and so much at least.
ROUNDING, LEAST_REST = 64, 1e-9

# Utilities are the same if they differ by less than so many rounding errors.
SAME = 64


@validate_params(
    {
        "y": ["array-like"],
        "p": ["array-like"],
        "choice_set": ["array-like", None],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def choice_log_loss(y, p, *, choice_set=None, sample_weight=None):
    r"""Log loss of choices: minus the mean log probability of what was chosen.

    Parameters
    ----------
    y : array-like of shape (n_offers,)
        1 for the offer of a set that was chosen and 0 for the others, or any numbers
        that rank the offers of a set: the largest is the most preferred. (Ranks with 1
        the best lead to a warning: pass ``-y``.)
    p : array-like of shape (n_offers,)
        Probability that each offer is chosen from its set, such as
        ``predict_proba(X, choice_set)`` of :class:`~skmeta.EmpiricalBayesRanker`. Where
        they sum to less than 1, the rest is the probability of the outside option, that
        none of the offers is chosen.
    choice_set : array-like of shape (n_offers,), default=None
        The set of each offer. None: all offers are one set.
    sample_weight : array-like of shape (n_offers,), default=None
        Weight of the set of each offer: how often it counts. All offers of a set have
        the same. An offer of weight 0 was not on offer: the others share what it had.

    Returns
    -------
    loss : float
        Weighted mean over the sets, in nats; less is better, and equal chances in sets
        of J offers have the loss :math:`\log J`.

    Raises
    ------
    ValueError
        If probabilities of a set sum to more than 1, offers of a set have different
        weights, or no set says what is preferred.

    See Also
    --------
    hit_rate : How often the offer chosen is the one that was expected.

    Notes
    -----
    If y ranks the offers, a set is worth several choices: each offer is chosen from
    itself and all offers with a smaller y (Plackett, 1975; Luce, 1959), and the loss of
    the set is the sum of theirs. Offers with the same y are not compared with each
    other. So several offers of y = 1 are each preferred to all of y = 0.

    With an outside option, offers of y <= 0 come after it, and it is what was chosen if
    no y of the set is positive. Without one, a set whose y are all the same says
    nothing, and is left out with a warning. A probability of 0 for what was chosen
    counts as the smallest difference from 1 that a float can show, as in
    :func:`sklearn.metrics.log_loss`.

    Examples
    --------
    >>> from skmeta.metrics import choice_log_loss
    >>> shelf = ["a", "a", "a", "b", "b"]
    >>> p = [0.5, 0.2, 0.3, 0.9, 0.1]
    >>> round(choice_log_loss([1, 0, 0, 1, 0], p, choice_set=shelf), 3)
    0.399
    """
    sets = Sets(y, p, choice_set, sample_weight, "p")
    p, none = _normalised(sets)
    sets, p = sets.kept(), p[sets.weight_of_rows > 0]
    tells = sets.best > sets.worst
    if none is not None:
        tells[:] = True
    if not tells.all():
        sets.say_what_is_left_out(tells)
    losses = _losses(sets, p, none)
    return float(np.average(losses[tells], weights=sets.weight[tells]))


@validate_params(
    {
        "y": ["array-like"],
        "utility": ["array-like"],
        "choice_set": ["array-like", None],
        "k": [Interval(Integral, 1, None, closed="left")],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def hit_rate(y, utility, *, choice_set=None, k=1, sample_weight=None):
    """Share of choice sets whose chosen offer is among the k that rank highest.

    Parameters
    ----------
    y : array-like of shape (n_offers,)
        1 for the offer of a set that was chosen and 0 for the others, or any numbers
        that rank the offers of a set: the largest is the most preferred. (Ranks with 1
        the best lead to a warning: pass ``-y``.)
    utility : array-like of shape (n_offers,)
        What the offers are ranked by, the largest first: utilities, such as
        ``predict(X)`` of :class:`~skmeta.EmpiricalBayesRanker`, or probabilities.
    choice_set : array-like of shape (n_offers,), default=None
        The set of each offer. None: all offers are one set.
    k : int, default=1
        How many offers of each set are looked at. In a set of at most k offers the one
        chosen is always among them.
    sample_weight : array-like of shape (n_offers,), default=None
        Weight of the set of each offer: how often it counts. All offers of a set have
        the same. An offer of weight 0 was not on offer.

    Returns
    -------
    rate : float
        Weighted mean over the sets, from 0 to 1.

    Raises
    ------
    ValueError
        If offers of a set have different weights, or no set says what is preferred.

    See Also
    --------
    choice_log_loss : Whether the probabilities are right, too.

    Notes
    -----
    Offers of the same utility come in all orders alike: where t offers share the last r
    of the k places and one of them was chosen, the set counts as r / t hits. So a model
    that ranks nothing has the rate of pure chance, and not that of the first row.

    If several offers have the largest y, it is a hit if one of them is among the k. Of
    sets whose y are all the same, such as those where none was chosen, nothing can be
    hit: they are left out.

    Examples
    --------
    >>> from skmeta.metrics import hit_rate
    >>> shelf = ["a", "a", "a", "b", "b"]
    >>> hit_rate([1, 0, 0, 0, 1], [0.5, 0.2, 0.3, 0.9, 0.1], choice_set=shelf)
    0.5
    >>> hit_rate([1, 0, 0, 0, 1], [0.7, 0.7, 0.7, 0.7, 0.7], choice_set=shelf, k=1)
    0.4166...
    """
    sets = Sets(y, utility, choice_set, sample_weight, "utility").kept()
    tells = sets.best > sets.worst
    if not tells.any():
        sets.say_what_is_left_out(tells)
    hits = _hits(sets, k)
    return float(np.average(hits[tells], weights=sets.weight[tells]))


class Sets:
    """Offers of choice sets, set after set.

    Attributes
    ----------
    y, predicted : ndarray of shape (n,)
        What was preferred, and what was predicted.
    weight_of_rows : ndarray of shape (n,)
    starts : ndarray of int of shape (S,)
        The first offer of each set.
    sizes : ndarray of int of shape (S,)
    labels : ndarray of shape (S,)
        What the user calls the sets; None if all offers are one set.
    """

    def __init__(self, y, predicted, choice_set, sample_weight, name):
        given = {name: predicted, "choice_set": choice_set}
        check_aligned(y=y, **given, sample_weight=sample_weight)
        check_consistent_length(y, predicted, sample_weight)
        y, predicted = _numbers(y, "y"), _numbers(predicted, name)
        codes, self.labels = np.zeros(len(y), dtype=np.intp), None
        if choice_set is not None:
            labels = check_task_ids(choice_set, len(y), "choice_set", "y")
            codes, self.labels = group(labels)
        weight = np.ones(len(y))
        if sample_weight is not None:
            weight = _numbers(plain_weight(sample_weight), "sample_weight")
            if weight.min(initial=0) < 0:
                raise ValueError(
                    f"sample_weight holds {weight.min():g}; weights are 0 or more."
                )
        self._arrange(y, predicted, weight, codes)
        self._check_weights()
        if not scored_on_purpose():  # a model has been told of these y
            offers = np.empty(len(y), OFFER)
            offers["value"], offers["set"], offers["named"] = y, codes, True
            warn_of_doubtful_sets(offers, weight)

    def _arrange(self, y, predicted, weight, codes):
        order = np.argsort(codes, kind="stable")
        self.y, self.predicted = y[order], predicted[order]
        self.weight_of_rows, codes = weight[order], codes[order]
        self.starts = np.flatnonzero(np.diff(codes, prepend=-1))
        self.sizes = np.diff(np.append(self.starts, len(codes)))
        if self.labels is not None:
            self.labels = self.labels[codes[self.starts]]

    def _check_weights(self):
        weight = self.weight_of_rows
        if not (weight > 0).any():
            raise ValueError("All sample weights are zero: no offer is left to score.")
        self.weight = self.reduced(np.maximum, weight)
        least = self.reduced(np.minimum, np.where(weight > 0, weight, np.inf))
        uneven = np.flatnonzero(least < self.weight)
        if len(uneven):
            place = uneven[0]
            raise ValueError(
                f"Offers of {self.named(place)} have the weights {least[place]:g} and "
                f"{self.weight[place]:g}. All offers of a set have one weight, which "
                "says how often the set counts; 0 takes an offer off the shelf."
            )

    def kept(self):
        """The sets without offers of weight 0, and without sets that lose them all."""
        rows = self.weight_of_rows > 0
        if rows.all():
            return self._with_extremes()
        sizes = np.add.reduceat(rows.astype(int), self.starts)
        there = sizes > 0
        kept = object.__new__(type(self))
        kept.y, kept.predicted = self.y[rows], self.predicted[rows]
        kept.weight_of_rows = self.weight_of_rows[rows]
        kept.sizes, kept.weight = sizes[there], self.weight[there]
        kept.starts = np.cumsum(kept.sizes) - kept.sizes
        kept.labels = None if self.labels is None else self.labels[there]
        return kept._with_extremes()

    def _with_extremes(self):
        self.best = self.reduced(np.maximum, self.y)
        self.worst = self.reduced(np.minimum, self.y)
        return self

    def reduced(self, how, values):
        """A ufunc over the offers of each set."""
        return how.reduceat(values, self.starts)

    def spread(self, of_sets):
        """Numbers of sets, one for each offer."""
        return np.repeat(of_sets, self.sizes)

    def named(self, place):
        """A set as it is called in messages."""
        if self.labels is None:
            return "the only choice set (there is no choice_set)"
        return f"choice set {show(self.labels[place])}"

    def say_what_is_left_out(self, tells):
        """Warn of sets that say nothing; refuse them if there are no others."""
        place = np.flatnonzero(~tells)[0]
        n_offers = self.sizes[place]
        why = (
            "has a single offer"
            if n_offers == 1
            else f"has y = {self.best[place]:g} for all {n_offers} offers"
        )
        if not tells.any():
            raise ValueError(
                "No choice set says which offer is preferred to another: "
                f"{self.named(place)} {why}. Give 1 to the offer chosen and 0 to the "
                "others of its set."
            )
        warn(
            f"{np.sum(~tells)} of {len(tells)} choice sets do not say which offer is "
            f"preferred, and are left out: {self.named(place)} {why}. If none of its "
            "offers was chosen, the model needs an outside option."
        )


def _numbers(values, name):
    """Finite numbers, one per offer."""
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] > 1:
        raise ValueError(
            f"{name} must hold one number per offer; got shape {values.shape}. Of a "
            "classifier's probabilities pass the column of the class that means chosen."
        )
    values = column_or_1d(values)
    if not len(values):
        raise ValueError(f"{name} is empty: there is no offer to score.")
    if values.dtype.kind not in "fiub":
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} must hold numbers, one per offer; got {show(values[0])}. Of a "
                "set, y is 1 for the offer chosen and 0 for the others."
            ) from None
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(
            f"{name} holds NaN or infinity, first in row {wrong[0]}. Drop the sets of "
            "such rows, or give the rows weight 0 and a number."
        )
    return values if values.dtype.kind == "f" else values.astype(np.float64)


# -- probabilities --------------------------------------------------------------------


def _normalised(sets):
    """Probabilities of offers that are there, and of the outside option of each set.

    They sum to 1 in each set. The second is None if there is no outside option. Of
    sets that lose all offers there is none.
    """
    p = sets.predicted
    tolerance = max(LEAST_REST, ROUNDING * np.finfo(p.dtype).eps)
    p = p.astype(np.float64)
    wrong = np.flatnonzero((p < -SLACK) | (p > 1 + SLACK))
    if len(wrong):
        raise ValueError(
            f"p holds {p[wrong[0]]:g}; probabilities are from 0 to 1. Pass those of "
            "predict_proba; utilities are for hit_rate."
        )
    p = np.maximum(p, 0.0)
    total = sets.reduced(np.add, p)
    if (total > 1 + SLACK).any():
        place = np.flatnonzero(total > 1 + SLACK)[0]
        raise ValueError(
            f"The probabilities of {sets.named(place)} sum to {total[place]:.4g}, and "
            "not to 1 or less. Pass the set of each offer as choice_set, here and to "
            "predict_proba."
        )
    rest = np.maximum(1.0 - total, 0.0)
    has_rest = (rest > tolerance).any()
    if has_rest and len(total) > 1 and abs(total.sum() - 1.0) <= SLACK * rest.max():
        raise ValueError(
            f"The probabilities of all {len(total)} choice sets together sum to 1, as "
            "those of a single set do. Give predict_proba the sets as well: "
            "predict_proba(X, choice_set)."
        )
    there = sets.weight_of_rows > 0
    kept = sets.reduced(np.add, np.where(there, p, 0.0)) + (rest if has_rest else 0.0)
    impossible = kept == 0  # all offers are, and then they are so alike
    p = np.where(there, p + sets.spread(impossible), 0.0)
    kept = np.where(impossible, sets.reduced(np.add, p), kept)
    p = np.divide(p, sets.spread(kept), out=np.zeros_like(p), where=there)
    if not has_rest:
        return p, None
    some = sets.reduced(np.add, there.astype(int)) > 0
    return p, rest[some] / kept[some]


def _losses(sets, p, none):
    """Minus the log probability of what was chosen in each set."""
    smallest = np.finfo(sets.predicted.dtype).eps
    rest = 0.0 if none is None else none
    below = _sums_below(sets, p) + sets.spread(np.zeros(len(sets.sizes)) + rest)
    chosen = sets.y > (sets.spread(sets.worst) if none is None else 0.0)
    at_least = np.maximum(p, smallest)
    loss = np.where(chosen, np.log1p(below / at_least), 0.0)
    losses = sets.reduced(np.add, loss)
    if none is not None:
        nobody = sets.best <= 0
        losses[nobody] = -np.log(np.maximum(none[nobody], smallest))
    return losses


def _sums_below(sets, p):
    """For each offer the probability of those in its set with a smaller y."""
    of_set = sets.spread(np.arange(len(sets.sizes)))
    order = np.lexsort((sets.y, of_set))
    # a sum over all sets, of which differences are taken, needs more digits
    total = np.append(0.0, np.cumsum(p[order], dtype=np.longdouble))
    y = sets.y[order]
    new = (np.diff(y, prepend=np.nan) != 0) | (np.diff(of_set, prepend=-1) != 0)
    first = np.maximum.accumulate(np.where(new, np.arange(len(y)), 0))
    below = np.empty(len(y))
    below[order] = total[first] - total[sets.spread(sets.starts)]
    return np.maximum(below, 0.0)


# -- hits -----------------------------------------------------------------------------


def _hits(sets, k):
    """The chance of each set that one of its best offers is among the first k."""
    of_set = sets.spread(np.arange(len(sets.sizes)))
    order = np.lexsort((-sets.predicted, of_set))
    place = np.minimum(k, sets.sizes) - 1
    last = sets.predicted[order][sets.starts + place]  # of the k-th offer
    size = sets.reduced(np.maximum, np.abs(sets.predicted))
    rounding = SAME * np.finfo(sets.predicted.dtype).eps * sets.spread(size)
    beyond = sets.predicted - sets.spread(last)
    is_best = sets.y == sets.spread(sets.best)
    above, tied = beyond > rounding, np.abs(beyond) <= rounding
    surely = sets.reduced(np.logical_or, above & is_best)
    count = {
        name: sets.reduced(np.add, rows.astype(int))
        for name, rows in (
            ("above", above),
            ("tied", tied),
            ("best", tied & is_best),
        )
    }
    n_drawn = np.minimum(k, sets.sizes) - count["above"]
    return np.where(surely, 1.0, _some_drawn(count["tied"], count["best"], n_drawn))


def _some_drawn(n, n_best, n_drawn):
    """The chance that of n some of ``n_best`` are among ``n_drawn`` at random."""
    n_other = n - n_best
    possible = n_other >= n_drawn
    n_other = np.where(possible, n_other, n_drawn)
    log_missed = (
        gammaln(n_other + 1)
        - gammaln(n_other - n_drawn + 1)
        - gammaln(n + 1)
        + gammaln(n - n_drawn + 1)
    )
    missed = np.where(possible, np.exp(np.minimum(log_missed, 0.0)), 0.0)
    exact = np.where(n_best == 0, 0.0, 1.0 - missed)
    return np.where(n_best == 1, n_drawn / n, exact)
