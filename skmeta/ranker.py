"""Choices among the offers of a set: a ranker with a prior learned from the tasks."""

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _num_samples, check_is_fitted

from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.keywords import with_hint_to_task
from skmeta._choice_base import (
    PredictsUtility,
    as_base,
    check_base_of_choices,
    utility_scale,
)
from skmeta._choice_frame import ChoiceFrame, Choices
from skmeta._choice_sets import (
    order_of_offers,
    shelves_of,
    that_tell,
    varies_within_sets,
    warn_of_doubtful_sets,
    with_sets,
)
from skmeta._coefficients import CoefficientsOfOneOutput
from skmeta._copies import own_what_can_change
from skmeta._core.prior.choice_model import ChoiceModel
from skmeta._core.tasks import ABSENT
from skmeta._many_tasks import ManyTasks
from skmeta._task_input import validate_task
from skmeta._threads import lock_of
from skmeta._warn import warn
from skmeta.empirical_bayes import CELLS_IN_PREDICTING, BaseEmpiricalBayes


class EmpiricalBayesRanker(CoefficientsOfOneOutput, BaseEmpiricalBayes):
    r"""DOC"""

    _parameter_constraints: dict = {
        name: constraint
        for name, constraint in BaseEmpiricalBayes._parameter_constraints.items()
        if name not in ("features", "fit_intercept")
    } | {"base_estimator": [HasMethods(["fit", "predict"]), None], "outside_option": ["boolean"]}

    __metadata_request__fit = {"task": True, "choice_set": True}
    __metadata_request__score = {"task": True, "choice_set": True}
    __metadata_request__predict_proba = {"choice_set": True}

    features = None
    _parameters_to_clone = ("base_estimator",)
    _has_zero_shot_model = False
    _reads_rows_once = False
    _predicts_numbered = False
    _frame_kind = ChoiceFrame
    _comes_beside = ("choice_set",)

    def __init__(
        self,
        prior="auto",
        *,
        varying="auto",
        base_estimator=None,
        outside_option=False,
        half_life=None,
        time_column=None,
        row_order="random",
        standardize=True,
        tol=1e-4,
        max_iter=1000,
        random_state=None,
    ):
        self.prior = prior
        self.varying = varying
        self.base_estimator = base_estimator
        self.outside_option = outside_option
        self.half_life = half_life
        self.time_column = time_column
        self.row_order = row_order
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    @property
    def fit_intercept(self):
        # the intercept is the utility of any offer beside that of none of them
        return self.outside_option

    # -- verbs ------------------------------------------------------------------------

    @with_hint_to_task
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, task=None, choice_set=None):
        """Meta-train on the choices of all tasks.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of all choice sets, in any order.
        y : array-like of shape (n_samples,)
            1 for an offer that was chosen, 0 for the others of its set; or any numbers
            that rank the offers of a set, the largest for the best.
        sample_weight : array-like of shape (n_samples,), default=None
            How often the set of each offer counts, one weight for all offers of a set.
            An offer of weight 0 was not on offer. Without ``choice_set`` it says how
            many equal offers a row stands for.
        task : array-like of shape (n_samples,), default=None
            Which task each row belongs to. Without ids all rows are one task.
        choice_set : array-like of shape (n_samples,), default=None
            Which choice set of its task each offer belongs to: numbers, strings, a
            DataFrame's column. Without labels all rows of a task are one set.

        Returns
        -------
        self : object
            The meta-trained estimator.
        """
        return self._fit(X, y, sample_weight, task, choice_set=choice_set)

    @with_hint_to_task
    def meta_fit(self, tasks):
        """Meta-train on a collection of tasks.

        Parameters
        ----------
        tasks : dict {id: members} or iterable of members
            One tuple of members for each task: (X, y), (X, y, sample_weight) or
            (X, y, sample_weight, choice_set), where the weights may be None.

        Returns
        -------
        self : object
            The meta-trained estimator.
        """
        return super().meta_fit(tasks)

    @with_hint_to_task
    def adapt(self, X, y, sample_weight=None, *, choice_set=None):
        """Adapt a copy of the model to a task, from the learned prior.

        The meta-learner itself is not touched.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of whole choice sets of one task; one set is enough.
        y : array-like of shape (n_samples,)
            Which offers are preferred, as in :meth:`fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, as in :meth:`fit`.
        choice_set : array-like of shape (n_samples,), default=None
            The set of each offer. Without labels all rows are one set.

        Returns
        -------
        adapted : object
            A model of the same class that predicts for this task.
        """
        adapted = self._unadapted_copy()
        adapted._adapt_in_place(X, y, sample_weight, choice_set=choice_set)
        own_what_can_change(adapted)
        return adapted

    @with_hint_to_task
    def partial_adapt(self, X, y, sample_weight=None, *, choice_set=None):
        """Adapt in place, from the present state.

        Sets are whole: those of this call are other sets than those of earlier calls,
        whatever their labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of further choice sets of the task.
        y : array-like of shape (n_samples,)
            Which offers are preferred, as in :meth:`fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, as in :meth:`fit`.
        choice_set : array-like of shape (n_samples,), default=None
            The set of each offer. Without labels all rows are one set.

        Returns
        -------
        self : object
            The same estimator, adapted.
        """
        check_is_fitted(self)
        with lock_of(self):
            return self._adapt_in_place(X, y, sample_weight, choice_set=choice_set)

    @with_hint_to_task
    def adapt_predict(
        self,
        X,
        y,
        X_new,
        sample_weight=None,
        *,
        task,
        task_new,
        choice_set=None,
        choice_set_new=None,
        method="predict",
        **options,
    ):
        """Adapt to many tasks at once, and predict other offers of theirs.

        The same as :meth:`adapt` on the sets of each task and ``method`` on its new
        offers, one task after the other.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of the sets to adapt to, of all tasks, in any order.
        y : array-like of shape (n_samples,)
            Which offers are preferred, as in :meth:`fit`.
        X_new : {array-like, sparse matrix} of shape (n_new, n_features)
            Offers to predict, of the same tasks. For a task without a row in X the
            learned prior predicts.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row of X.
        task : array-like of shape (n_samples,)
            Task of each row of X.
        task_new : array-like of shape (n_new,)
            Task of each row of X_new.
        choice_set : array-like of shape (n_samples,), default=None
            The set of each row of X. Without labels the rows of a task are one set.
        choice_set_new : array-like of shape (n_new,), default=None
            The shelf of each row of X_new, for "predict_proba" and "rank". Without
            labels the new rows of a task are one shelf.
        method : {"predict", "predict_proba", "rank"}, default="predict"
            What to call on an adapted model.
        **options : dict
            Further arguments of this method.

        Returns
        -------
        y_new : ndarray of shape (n_new,)
            Utilities, probabilities or ranks, in the order of X_new.
        """
        if choice_set_new is not None:
            if method == "predict":
                check_task_ids(choice_set_new, _num_samples(X_new), *_NEW)
            else:
                n_new = _num_samples(X_new)
                options["choice_set"] = check_task_ids(choice_set_new, n_new, *_NEW)
        given = X, y, X_new, sample_weight, task, task_new
        return self._adapt_and_predict(given, method, options, choice_set=choice_set)

    def predict(self, X):
        """Predict the expected utility of each offer.

        The larger, the more it is liked. Only differences of utilities matter, unless
        there is an outside option: then they are utilities above that of choosing none.
        Until adapted, the model predicts for a new task, of which nothing is known.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers, seen before or not.

        Returns
        -------
        utility : ndarray of shape (n_samples,)
            Utilities, on the scale of log-odds.
        """
        X = self._validate_new(X)
        return self._decode(self._raw_outputs(X), X)

    def predict_proba(self, X, choice_set=None):
        """Predict how probable it is that each offer is chosen on its shelf.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of one shelf, or of several.
        choice_set : array-like of shape (n_samples,), default=None
            The shelf of each offer. Without labels X is one shelf.

        Returns
        -------
        p : ndarray of shape (n_samples,)
            Probabilities, averaged over what is not known of the task's coefficients.
            They sum to 1 on each shelf; with an outside option they sum to less, and
            the rest is the probability that none is chosen.
        """
        X = self._validate_new(X)
        return self._of_shelves(X, choice_set)

    def rank(self, X, choice_set=None):
        """Rank the offers of a shelf by their expected utilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of one shelf, or of several.
        choice_set : array-like of shape (n_samples,), default=None
            The shelf of each offer. Without labels X is one shelf.

        Returns
        -------
        place : ndarray of int of shape (n_samples,)
            The place of each offer on its shelf: 1 is the best. Of offers of equal
            utility the first row comes first.
        """
        utility = self.predict(X)
        sets = _numbered(choice_set, len(utility))
        order = np.lexsort((np.arange(len(sets)), -utility, sets))
        sizes = np.bincount(sets)
        first = np.repeat(np.cumsum(sizes) - sizes, sizes)
        place = np.empty(len(sets), dtype=np.intp)
        place[order] = np.arange(len(sets)) - first + 1
        return place

    # -- shelves ----------------------------------------------------------------------

    def _of_shelves(self, X, choice_set=None):
        """Probabilities (n,) of validated offers X (n, d) on their shelves."""
        index = shelves_of(_numbered(choice_set, X.shape[0]))
        p = np.empty(X.shape[0])
        offset = self._base_offset(X)
        outside = self.outside_option
        width = (index.shape[1] + outside) * self._predictive_width
        n = max(1, CELLS_IN_PREDICTING // width)
        for some in gen_batches(len(index), n):
            there = index[some] >= 0
            packed, rows = self._packed(X, index[some], offset)
            log_p = self._learned.predictive(packed.X, packed.offset, self._present)
            p[rows] = np.exp(log_p[:, outside:][there])
        return p

    def _packed(self, X, index, offset=None):
        """`Packed` alternatives of validated X (n, d), and the rows (m,) in use."""
        there = index >= 0
        rows = index[there]
        local = np.full(index.shape, -1)
        local[there] = np.arange(len(rows))
        offset = None if offset is None else offset[rows]
        return self._frame.packed(X[rows], local, offset), rows

    # -- hooks ------------------------------------------------------------------------

    def _make_targets(self):
        return Choices(self.outside_option)

    def _targets_with(self, y, weight, codes, ids, choice_set=None):
        offers = with_sets(y, weight, codes, ids, choice_set)
        warn_of_doubtful_sets(offers, weight)
        return offers

    def _canonical(self, rows, targets):
        X, offers, weight, codes, ids = rows
        kept = np.flatnonzero(that_tell(offers, weight, codes, ids, targets.outside))
        present, codes = np.unique(codes[kept], return_inverse=True)
        times = self._times_of(X)
        order, starts, tasks = order_of_offers(
            X[kept],
            offers[kept],
            weight[kept],
            codes,
            None if times is None else times[kept],
        )
        return kept[order], starts, ids[present[tasks]]

    def _fit_scaling(self, targets, X, Y, weight):
        scaling = targets.scaling(X, Y, weight)
        if not targets.outside:
            self._warn_of_no_effect(scaling.within)
        return scaling

    def _warn_of_no_effect(self, within):
        names = getattr(self, "feature_names_in_", range(len(within)))
        silent = [name for name, differs in zip(names, within, strict=True) if not differs]
        if not within.any():
            raise ValueError(
                "No column of X differs between the offers of a choice set, so no "
                "choice shows what is preferred. X must describe the offers, one per "
                "row; check choice_set."
            )
        column = self._time_column(len(within)) if self._rows_in_time else None
        if column is not None and not within[column]:
            silent.remove(names[column])
        if silent:
            warn(
                f"Columns {silent} of X have one value in each choice set, so they "
                "change no choice and have no effect. To say that a shopper's or "
                "shelf's trait changes what is preferred, multiply it with columns "
                "of the offers; or set outside_option=True if sets hold choices of none."
            )

    def _one_task(self, X, y, weight):
        order = self._order_of_task(X, y, weight)
        return super()._one_task(X[order], y[order], weight[order])

    def _order_of_task(self, X, offers, weight):
        """Rows of one task that say something, set by set."""
        codes = np.zeros(len(offers), dtype=np.intp)
        kept = np.flatnonzero(that_tell(offers, weight, codes, None, self.outside_option))
        times = self._times_of(X)
        return kept[
            order_of_offers(
                X[kept],
                offers[kept],
                weight[kept],
                codes[kept],
                None if times is None else times[kept],
            )[0]
        ]

    def _adapt_to_rows(self, X, y, weight):
        self._adapt_to(self._one_task(X, y, weight))
        self.n_adapt_rows_ += len(y)

    # tasks are adapted to one after the other
    _predict_each = ManyTasks._predict_each

    def _n_outputs(self, table):
        return 1

    def _columns_that_vary(self, table, design):
        return varies_within_sets(table, design, self.outside_option)

    def _task_model(self, table):
        return ChoiceModel(outside=self.outside_option)

    # -- the base model ---------------------------------------------------------------

    def _parameter(self, name):
        value = super()._parameter(name)
        return as_base(value, self.outside_option) if name == "base_estimator" else value

    def _check_base(self, targets, base):
        check_base_of_choices(self, base)

    def _base_target(self, X, y, weight, codes):
        base = self._parameter("base_estimator")
        return y if isinstance(base, PredictsUtility) else y["value"]

    def _scale_of_base(self, targets, X, y, weight, offset):
        frame = ChoiceFrame(targets.scaling(X, y, weight), targets)
        starts = np.array([0, len(y)])
        table = frame.table(X, targets.encode(y), offset, weight, starts)
        return utility_scale(table, targets.outside)

    # -- scores -----------------------------------------------------------------------

    def _explained(self, X, y, sample_weight=None, choice_set=None):
        """The share of the deviance of equal chances that is explained."""
        X, offers, weight = validate_task(self, X, y, sample_weight, choice_set=choice_set)
        order = self._order_of_task(X, offers, weight)
        X, offers, weight = X[order], offers[order], weight[order]
        frame = self._frame
        rows = frame.table(
            X,
            self._targets.encode(offers),
            self._base_offset(X),
            weight,
            np.array([0, len(offers)]),
        )
        log_p = self._learned.predictive(rows.X, rows.offset, self._present)
        own = rows.weight @ np.where(rows.Y > 0, log_p, 0.0).sum(axis=1)
        n_alternatives = (rows.offset > 0.5 * ABSENT).sum(axis=1)
        return float(1.0 - own / -(rows.weight @ np.log(n_alternatives)))

    @property
    def intercept_(self):
        """Present utility of an offer whose columns are zero."""
        return self._intercept(super().intercept_, self.coef_)

    @property
    def prior_intercept_(self):
        """Utility that such an offer is expected to have in a new task."""
        return self._intercept(super().prior_intercept_, self.prior_coef_)

    def _intercept(self, intercept, coef):
        # without an outside option, an average offer has the utility 0
        return intercept if self.outside_option else float(-self._scaling.x_mean @ coef)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


_NEW = "choice_set_new", "X_new"


def _numbered(choice_set, n_rows):
    """The number (n,) of each row's shelf."""
    if choice_set is None:
        return np.zeros(n_rows, dtype=np.intp)
    return group(check_task_ids(choice_set, n_rows, "choice_set"))[0]
