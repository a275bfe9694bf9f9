"""What one would do about choices of many tasks without meta-learning.

The baselines learn conditional logits: the utility of an offer is a weighted sum of its
columns, and its probability on a shelf is a softmax (McFadden, 1974). The targets of
rows are of the kind `_choice_sets.OFFER`, and raw predictions are utilities (n, 1).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold

from skmeta._base_model import fit_base
from skmeta._choice_base import PredictsUtility, as_base
from skmeta._choice_sets import OFFER, events_of
from skmeta._comparing.boosting import pooled_boosting
from skmeta._comparing.kinds import ComparedTargets
from skmeta._comparing.names import BASELINES_OF_CHOICES, BESIDE, EQUAL, OWN, POOLED
from skmeta._tables import numbers_of, table_of

# The penalties of a pooled conditional logit, on columns of deviation 1, ...
POOLED_PENALTIES = (1.0, 10.0, 100.0)
# ... and of one of a task's own sets.
OWN_PENALTIES = (1e4, 100.0, 10.0, 3.0, 1.0, 0.3, 0.1)
# The pooled model is chosen on so many parts of the tasks.
N_PARTS = 3
# The scale of another model's utilities has hardly a penalty.
PENALTY_OF_SCALE = 1e-3

# Newton's method takes up to so many columns and steps, and ends if a step promises
# less than this part of the loss.
MOST_COLUMNS = 100
MAX_STEPS = 50
PRECISION = 1e-10


@dataclass(frozen=True)
class ComparedChoices(ComparedTargets):
    """Choices among the offers of sets, with or without an outside option."""

    outside: bool = False

    are_labels = False
    are_choices = True
    scoring = "neg_choice_log_loss"
    baselines = BASELINES_OF_CHOICES

    @property
    def words(self):
        option = "an" if self.outside else "no"
        return f"ranker with {option} outside option"

    def of(self, y, tasks):
        return self

    def encode(self, y, tasks=None):
        return y

    def columns(self, codes):
        raise NotImplementedError

    overall = raw = raw_of_base = columns

    def loss(self, raw, codes):
        return self.losses([raw], codes)[0]

    def losses(self, raws, codes):
        n_sets, choices = len(np.unique(codes["set"])), _Choices(codes, self.outside)
        return [-choices.log_likelihood(raw[:, 0]) / n_sets for raw in raws]

    def adapted(self, y, raw, back):
        return AdaptedRanker(raw, self.outside)


class AdaptedRanker(BaseEstimator):
    """What a baseline says of a task, as an estimator that a scorer takes."""

    def __init__(self, raw, outside):
        self.raw, self.outside_option = raw, outside

    def predict(self, X):
        return self.raw(X)[:, 0]

    def predict_proba(self, X, choice_set):
        """Probabilities (n,) of offers on shelves."""
        utility, sets = self.predict(X), np.unique(choice_set, return_inverse=True)[1]
        largest = np.full(sets.max() + 1, 0.0 if self.outside_option else -np.inf)
        np.maximum.at(largest, sets, utility)
        odds = np.exp(utility - largest[sets])
        total = np.bincount(sets, weights=odds)
        if self.outside_option:
            total = total + np.exp(-largest)
        return odds / total[sets]


# -- conditional logits ---------------------------------------------------------------


class _Choices:
    """The choices that `OFFER` rows tell of: the likelihood of their utilities."""

    def __init__(self, offers, outside):
        order = np.argsort(offers["set"], kind="stable")
        events = events_of(offers[order], outside)
        self.there = events.index >= 0
        self.rows = order[events.index[self.there]]
        self.outside, self.n_rows = outside, len(offers)
        self.place = np.arange(len(events.index))
        # the offer chosen comes first; the outside option, if there is one, is last
        self.chosen = np.where(events.chosen, 0, events.index.shape[1])

    def _log_p(self, utility):
        """Log probabilities of all alternatives of each choice."""
        n_offers = self.there.shape[1]
        eta = np.full((len(self.place), n_offers + self.outside), -np.inf)
        eta[:, :n_offers][self.there] = utility[self.rows]
        if self.outside:
            eta[:, -1] = 0.0
        eta -= eta.max(axis=1, keepdims=True)
        return eta - np.log(np.exp(eta).sum(axis=1, keepdims=True))

    def log_likelihood(self, utility):
        """The sum over all choices."""
        return self._log_p(utility)[self.place, self.chosen].sum()

    def with_slopes(self, utility):
        """The log-likelihood, and its derivatives (n,) by the utilities of rows."""
        log_p = self._log_p(utility)
        slopes = -np.exp(log_p)
        slopes[self.place, self.chosen] += 1.0
        slopes = slopes[:, : self.there.shape[1]][self.there]
        by_row = np.bincount(self.rows, weights=slopes, minlength=self.n_rows)
        return log_p[self.place, self.chosen].sum(), by_row

    def curvature(self, packed, utility):
        """Minus the second derivatives (d, d) by the weights of columns.

        ``packed`` (E, J, d) are the columns of the offers of each choice.
        """
        p = np.exp(self._log_p(utility))[:, : packed.shape[1], None]
        d, weighted = packed.shape[2], p * packed
        mean = weighted.sum(axis=1)
        return weighted.reshape(-1, d).T @ packed.reshape(-1, d) - mean.T @ mean

    def packed(self, X):
        """The columns (E, J, d) of the offers of each choice; 0 where there is none."""
        columns = np.zeros((*self.there.shape, X.shape[1]))
        columns[self.there] = X[self.rows]
        return columns


def fit_logit(X, offers, outside, penalties, utility=0.0):
    """Weights (d,) of a conditional logit beside known utilities (n,).

    Yields those for each of some penalties. With an outside option one more weight is
    that of being an offer.
    """
    choices = _Choices(offers, outside)
    known = np.zeros(X.shape[0]) + utility
    w = np.zeros(X.shape[1] + outside)
    dense = isinstance(X, np.ndarray) and len(w) <= MOST_COLUMNS
    if dense:
        X = np.column_stack([X, np.ones(len(X))]) if outside else X
        packed = choices.packed(X)
    for penalty in penalties:
        if len(choices.place):
            if dense:
                w = _newton(choices, X, packed, known, penalty, w)
            else:
                w = _descend(choices, X, known, penalty, w)
        yield w


def _newton(choices, X, packed, known, penalty, w):
    """Newton's method from w, with half steps until the loss falls."""
    value, slopes = choices.with_slopes(known + X @ w)
    loss = 0.5 * penalty * w @ w - value
    for _ in range(MAX_STEPS):
        gradient = penalty * w - X.T @ slopes
        curvature = choices.curvature(packed, known + X @ w)
        step = np.linalg.solve(curvature + penalty * np.eye(len(w)), gradient)
        gain = gradient @ step
        if gain <= PRECISION * (1.0 + abs(loss)):
            return w
        length = 1.0
        while length > 1e-6:
            new = w - length * step
            value, slopes = choices.with_slopes(known + X @ new)
            if 0.5 * penalty * new @ new - value <= loss - 1e-4 * length * gain:
                break
            length *= 0.5
        else:
            return w
        w, loss = new, 0.5 * penalty * new @ new - value
    return w


def _descend(choices, X, known, penalty, w):
    """L-BFGS, for many or sparse columns."""

    def loss(w):
        value, slopes = choices.with_slopes(known + _times(X, w))
        gradient = X.T @ slopes
        if len(w) > len(gradient):
            gradient = np.append(gradient, slopes.sum())
        return 0.5 * penalty * w @ w - value, penalty * w - gradient

    return minimize(loss, w, jac=True, method="L-BFGS-B").x


def _times(X, w):
    """Utilities (n,) of rows; a weight beyond the columns is that of any offer."""
    d = X.shape[1]
    return X @ w[:d] + (w[d] if len(w) > d else 0.0)


class ConditionalLogit(RegressorMixin, BaseEstimator):
    """A conditional logit of all tasks alike.

    Parameters
    ----------
    penalty : float, default=1.0
        Half of it times the squares of the weights is added to the log loss of all
        choices.
    outside_option : bool, default=False
        Whether none of the offers may be chosen.
    """

    def __init__(self, penalty=1.0, outside_option=False):
        self.penalty, self.outside_option = penalty, outside_option

    def fit(self, X, y, choice_set=None):
        """Fit to offers: y with the set of each, or targets of the kind `OFFER`."""
        y = np.asarray(y)
        if y.dtype != OFFER:
            offers = np.zeros(len(y), OFFER)
            offers["value"] = y
            if choice_set is not None:
                offers["set"] = np.unique(choice_set, return_inverse=True)[1]
            y = offers
        (self.coef_,) = fit_logit(X, y, self.outside_option, [self.penalty])
        return self

    def predict(self, X):
        """Utilities (n,) of offers."""
        return _times(X, self.coef_)


# -- baselines ------------------------------------------------------------------------


class EqualChances:
    """All offers of a set are equally probable, and so is none of them."""

    def fit(self, rows):
        return self

    def adapt(self, X, y, k):
        return lambda X_new: np.zeros((X_new.shape[0], 1))


class PooledUtility:
    """One model of utilities for all tasks: the one that predicts left-out tasks best.

    The utilities of a model that is no conditional logit are multiplied by the number
    that predicts left-out tasks best. They read the table behind the rows if ``reads``
    says so.
    """

    def __init__(self, candidates, reads=False):
        self.candidates, self.reads = candidates, reads

    def fit(self, rows):
        if not self.reads:
            rows = rows._replace(X=numbers_of(rows.X))
        self.outside = rows.kind.outside
        tried = [self._out_of_task(model, rows) for model in self.candidates]
        best = np.argmin([loss for loss, *_ in tried])
        _, self.scale, self.out_of_task = tried[best]
        self.chosen = self.candidates[best]
        self.model = _fitted(self.chosen, rows.X, rows.y)
        return self

    def _out_of_task(self, model, rows):
        """Loss, scale and utilities (n,) of a candidate on tasks left out."""
        utility = np.empty(len(rows.y))
        n_parts = min(N_PARTS, len(np.unique(rows.tasks)))
        if n_parts < 2:
            utility = _fitted(model, rows.X, rows.y).predict(table_of(rows.X))
        else:
            for known, new in GroupKFold(n_parts).split(rows.y, groups=rows.tasks):
                part = _fitted(model, rows.X[known], rows.y[known])
                utility[new] = part.predict(table_of(rows.X[new]))
        scale = np.array([1.0])
        if not isinstance(model, ConditionalLogit):
            known = utility[:, None], rows.y, self.outside
            (scale,) = fit_logit(*known, [PENALTY_OF_SCALE])
        utility = _times(utility[:, None], scale)
        return rows.kind.loss(utility[:, None], rows.y), scale, utility

    def raw(self, X):
        """Utilities of rows; those of all rows of a source are made at once."""

        def ask(table):
            return self.model.predict(table if self.reads else X.source.numbers)

        utility = X.source.said_by(self.model, ask)[X.places]
        return _times(utility[:, None], self.scale)[:, None]

    def adapt(self, X, y, k):
        return self.raw


def _fitted(model, X, offers):
    """A candidate that is fitted to offers."""
    if isinstance(model, ConditionalLogit | PredictsUtility):
        return clone(model).fit(table_of(X), offers)
    return fit_base(model, X, offers["value"], np.ones(len(offers)))


class OwnLogit:
    """A conditional logit of the task's own sets, perhaps beside the pooled model.

    How strong its penalty is, is chosen on known tasks for each number of sets given.

    Parameters
    ----------
    best_settings : callable
        See `baselines`.
    pooled : PooledUtility, default=None
        The model whose utilities are corrected.
    """

    def __init__(self, best_settings, pooled=None):
        self.best_settings, self.beside = best_settings, pooled

    def fit(self, rows):
        self.outside = rows.kind.outside
        known = np.zeros(len(rows.y))
        if self.beside is not None:
            known = self.beside.out_of_task

        def predict(given, asked):
            data = rows.X[given], rows.y[given], self.outside
            for w in fit_logit(*data, OWN_PENALTIES, known[given]):
                yield (known[asked] + _times(rows.X[asked], w))[:, None]

        self.best = self.best_settings(rows, OWN_PENALTIES, predict)
        return self

    def _known(self, X):
        return np.zeros((X.shape[0], 1)) if self.beside is None else self.beside.raw(X)

    def adapt(self, X, y, k):
        if not k:
            return self._known
        known = self._known(X)[:, 0]
        (w,) = fit_logit(X, y, self.outside, [self.best[k]], known)
        return lambda X_new: self._known(X_new) + _times(X_new, w)[:, None]


def fit_choice_baselines(names, rows, candidates, best_settings):
    """The named baselines, fitted; ``candidates`` are those for the pooled model."""
    fitted, outside = {}, rows.kind.outside
    if POOLED in names or BESIDE in names:
        models = [as_base(model, outside) for model in candidates or ()]
        models = models or pooled_candidates(rows)
        fitted[POOLED] = PooledUtility(models, reads=bool(candidates)).fit(rows)
    if EQUAL in names:
        fitted[EQUAL] = EqualChances()
    if OWN in names:
        fitted[OWN] = OwnLogit(best_settings).fit(rows)
    if BESIDE in names:
        fitted[BESIDE] = OwnLogit(best_settings, fitted[POOLED]).fit(rows)
    return {name: fitted[name] for name in names}


def pooled_candidates(rows):
    """Conditional logits, and boosting if X is dense."""
    outside = rows.kind.outside
    logits = [ConditionalLogit(penalty, outside) for penalty in POOLED_PENALTIES]
    if not isinstance(rows.X, np.ndarray):
        return logits
    boosting = pooled_boosting(HistGradientBoostingClassifier, rows.seed)
    return [*logits, PredictsUtility(boosting, outside)]


def chosen_pooled(fitted):
    """The model chosen as pooled one among fitted baselines, unfitted; or None."""
    for baseline in fitted.values():
        pooled = getattr(baseline, "beside", None) or baseline
        if isinstance(pooled, PooledUtility):
            model = pooled.chosen
            return model.estimator if isinstance(model, PredictsUtility) else model
    return None
