"""What all meta-learners share: the verbs, validation, tags, persistence."""

from abc import abstractmethod
from itertools import pairwise

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import (
    BaseEstimator,
    _fit_context,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from skmeta._base_model import (
    Told,
    check_same_parameters,
    explaining_missing,
    fit_base,
    naming,
    out_of_task,
    raw_prediction,
    remembered,
    remembering,
    takes_weights,
)
from skmeta._checks.bad_rows import naming_the_task
from skmeta._checks.clean import is_clean, sum_duplicates
from skmeta._checks.given import check_aligned
from skmeta._checks.ids import (
    encode_new_tasks,
    encode_tasks,
    tasks_one_by_one,
    warn_of_single_rows,
)
from skmeta._checks.keywords import with_hint_to_task
from skmeta._checks.magnitude import check_magnitude
from skmeta._checks.parameters import check_hidden_layer_sizes
from skmeta._checks.scorers import (
    called_by_scorer,
    groups_stay_above,
    scored_on_purpose,
)
from skmeta._checks.task_lists import read_tasks, stack_rows
from skmeta._checks.values import (
    check_target,
    check_total_weight,
    plain_table,
    plain_weight,
)
from skmeta._copies import own_what_can_change, restored_on_error
from skmeta._core.canonical import canonical_order
from skmeta._core.layout import ParamLayout
from skmeta._core.margin import margin_scale
from skmeta._core.network import Batch, Network
from skmeta._core.scaling import OrderedRows, far_values, fit_scaling, identity_scaling
from skmeta._core.tasks import ABSENT, TaskTable
from skmeta._evaluation import few_shot_scores, mean_score
from skmeta._repr import LearnedRepr
from skmeta._routing import asking_for_single_ids
from skmeta._threads import lock_of
from skmeta._version import __version__
from skmeta._warn import warn, warn_once_per_search
from skmeta.exceptions import InconsistentVersionWarning, ZeroShotWarning

DTYPES = [np.float64, np.float32]


class FewShotScoreMixin:
    """`score` that adapts before it scores. Stands left of scikit-learn's mixin."""

    @with_hint_to_task
    def score(self, X, y, sample_weight=None, *, task=None):
        """Few-shot score if task ids are given, else the ordinary score.

        With ids, a copy is adapted to 5 random rows of each task (of each class, where
        tasks have their own) and scored on the task's other rows, three times; the
        result is the mean over tasks. Tasks of 5 rows or less are left out, with a
        warning that counts them. Other numbers of rows and other metrics:
        :func:`skmeta.model_selection.make_few_shot_scorer`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of one task or of many.
        y : array-like of shape (n_samples,)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in adapting and in scoring. A weight of 0 removes the
            row.
        task : array-like of shape (n_samples,), default=None
            Task of each row.

        Returns
        -------
        score : float
            Mean :math:`R^2` of a regressor, mean accuracy of a classifier.
        """
        if task is None:
            if self._is_zero_shot() and not scored_on_purpose():
                warn(_ZERO_SHOT["score"].format(self), ZeroShotWarning)
            return super().score(X, y, sample_weight)
        scores = few_shot_scores(
            self,
            lambda model, parts: model._adapt_each(parts),
            lambda model, X: model._ask_base_about(X),
            lambda model, *rows: super().score(*rows),
            X,
            y,
            task,
            sample_weight=sample_weight,
            stratify=self._n_way is not None,
            n_way=self._n_way,
        )
        return mean_score(scores)


class BaseMetaLearner(LearnedRepr, BaseEstimator):
    """Base of the meta-learners: how tasks come in and adapted models go out.

    A subclass implements `_meta_train`, `_adapt_to`, `_forget` and `_raw_outputs`.
    """

    _parameter_constraints: dict = {"base_estimator": [HasMethods("fit"), None]}

    _reads_rows_once = False  # or a few times, in meta-training
    base_estimator = None  # of a meta-learner without this parameter
    _n_way = None  # outputs for the classes of any one task, where each has its own

    __metadata_request__fit = {"task": True}
    __metadata_request__score = {"task": True}

    # -- to be implemented ------------------------------------------------------------

    @abstractmethod
    def _meta_train(self, table, ids, again, data):
        """Learn the prior from a `TaskTable` and set the fitted attributes.

        ``ids`` name the tasks in messages, ``again`` says whether to go on from an
        earlier fit, and ``data`` are X, y and metadata for callbacks.
        """

    @abstractmethod
    def _adapt_to(self, batch):
        """Move the present parameters towards one task, given as a `Batch`."""

    @abstractmethod
    def _forget(self):
        """Put the present parameters back to the prior."""

    @abstractmethod
    def _raw_outputs(self, X):
        """Outputs (n, o) for validated X (n, d), before targets are decoded."""

    # -- verbs ------------------------------------------------------------------------

    @with_hint_to_task
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, task=None):
        """Meta-train on the rows of all tasks.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all tasks, in any order.
        y : array-like of shape (n_samples,)
            Targets: numbers for a regressor, labels for a classifier.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row within its task. A weight of 0 removes the row.
        task : array-like of shape (n_samples,), default=None
            Which task each row belongs to: numbers, strings, a DataFrame's column.
            Without ids all rows are one task, and the model is an ordinary one.

        Returns
        -------
        self : object
            The meta-trained estimator.
        """
        with lock_of(self), restored_on_error(self):
            check_aligned(X=X, y=y, sample_weight=sample_weight, task=task)
            again = self._continues()
            self._check_base(again)
            with naming_the_task(task, **self._to_name(X, y)):
                X, y = self._validate_rows(X, y, reset=not again, dtype=DTYPES)
            codes, ids = encode_tasks(task, X.shape[0])
            warn_of_single_rows(codes, ids)
            if task is None and groups_stay_above():
                warn_once_per_search(_GROUPS.format(self))
            weight = self._validate_weight(sample_weight, X)
            if not again:
                kept = np.flatnonzero(weight > 0)
                self._warn_of_far_values(X, kept, None if task is None else ids[codes])
            metadata = {} if task is None else {"metadata": {"task": task}}
            data = {"X": X, "y": y, **metadata}
            self._fit_table(weight, codes, ids, again, data)
        return self

    def _warn_of_far_values(self, X, rows, task):
        """Warn where a few values make all others of their column look the same."""
        if len(rows) < X.shape[0]:
            X = X[rows]
        far = far_values(X)
        if not far:
            return
        worst = far[0]
        names = getattr(self, "feature_names_in_", range(X.shape[1]))
        row = rows[worst.row]
        of_task = "" if task is None else f" (task {task[row]!s})"
        others = f" {len(far) - 1} more columns are like it." if len(far) > 1 else ""
        warn(
            f"Column {names[worst.column]!r} has the value {worst.value:.6g} in row "
            f"{row}{of_task}, while half of its values lie between {worst.low:.6g} and "
            f"{worst.high:.6g}: next to it they look the same, and what they tell is "
            f"lost.{others} Correct or remove such rows, or put a transformer in front "
            "that draws them in, such as QuantileTransformer.",
        )

    def _fit_table(self, weight, codes, ids, again, data):
        # before anything is drawn, so that neither names nor positions matter
        rows, sizes, tasks = self._canonical(data["X"], data["y"], weight, codes)
        X, y, weight, ids = data["X"][rows], data["y"][rows], weight[rows], ids[tasks]
        codes = np.repeat(np.arange(len(tasks)), sizes)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        Y, n_classes = self._fit_targets(y, starts, again)
        if again:
            base = self._base_offset(X)
        else:
            base = self._fit_base(X, y, weight, codes)
        Y, offset = self._to_correct(Y, base)
        if not again:
            scaling = self._fit_scaling(X, Y, weight)
            # without an intercept the origin has a meaning, and is not moved
            has_intercept = getattr(self, "fit_intercept", True)
            self._scaling = scaling if has_intercept else scaling.uncentred()
        dtype = X.dtype
        if self._reads_rows_once and isinstance(X, np.ndarray):
            X = OrderedRows(data["X"], rows, self._scaling)
        else:  # X is a copy, which only a base model may hold as well
            alone = self.base_estimator is None
            X = self._scaling.transform_X(X, in_place=alone)
        table = TaskTable(
            X,
            self._scaling.transform_y(Y).astype(dtype, copy=False),
            weight,
            starts,
            n_classes,
            None if offset is None else offset.astype(dtype, copy=False),
        )
        self.n_tasks_ = table.n_tasks + (self.n_tasks_ if again else 0)
        self.n_adapt_rows_ = 0
        del X, Y, y, rows, codes  # what follows needs its memory
        self._meta_train(table, ids, again, data)

    def _canonical(self, X, y, weight, codes):
        """Numbers of the rows in order, and of the tasks, without rows of no weight.

        Between them, how many rows each task has.
        """
        kept = np.flatnonzero(weight > 0)
        if len(kept) < len(weight):
            X, y, weight, codes = X[kept], y[kept], weight[kept], codes[kept]
        present, codes = np.unique(codes, return_inverse=True)
        order, tasks = canonical_order(X, self._order_key(y, codes), weight, codes)
        return kept[order], np.bincount(codes)[tasks], present[tasks]

    @with_hint_to_task
    def meta_fit(self, tasks):
        """Meta-train on a collection of tasks.

        Parameters
        ----------
        tasks : dict {id: (X, y)} or iterable of (X, y)
            One member per task; a third item is its sample weights. X may be an
            array, a sparse matrix, or a DataFrame with the same columns in each task.

        Returns
        -------
        self : object
            The meta-trained estimator.
        """
        X, y, sample_weight, task = read_tasks(tasks)
        if sample_weight is None:
            with tasks_one_by_one():
                return self.fit(X, y, task=task)
        if not has_fit_parameter(self, "sample_weight"):
            raise ValueError(
                f"{type(self).__name__} meta-trains on rows of equal weight. Leave the "
                "sample weights out of the tasks: pass (X, y). adapt takes weights."
            )
        with tasks_one_by_one():
            return self.fit(X, y, sample_weight, task=task)

    @with_hint_to_task
    def adapt(self, X, y, sample_weight=None):
        """Adapt a copy of the model to a task, from the learned prior.

        The meta-learner itself is not touched.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of one task; one row is enough.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        adapted : object
            A model of the same class that predicts for this task. It carries no
            training history.
        """
        adapted = self._unadapted_copy()._adapt_in_place(X, y, sample_weight)
        own_what_can_change(adapted)
        return adapted

    def _unadapted_copy(self):
        """A copy at the learned prior, without the history of the training."""
        check_is_fitted(self)
        fresh = object.__new__(type(self))
        vars(fresh).update(vars(self))
        for history in ("loss_curve_", "validation_scores_"):
            vars(fresh).pop(history, None)
        fresh._reset()._begin_task()
        return fresh

    @with_hint_to_task
    def adapt_predict(
        self, X, y, X_new, sample_weight=None, *, task, task_new, method="predict"
    ):
        """Adapt to many tasks at once, and predict other rows of theirs.

        The same as :meth:`adapt` on the rows of each task and ``method`` on its new
        rows, one task after the other, and for Reptile much faster. The meta-learner
        itself is not touched.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to adapt to, of all tasks, in any order.
        y : array-like of shape (n_samples,)
            Their targets.
        X_new : {array-like, sparse matrix} of shape (n_new, n_features)
            Rows to predict, of the same tasks. For a task without a row in X the
            learned prior predicts.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row of X.
        task : array-like of shape (n_samples,)
            Task of each row of X.
        task_new : array-like of shape (n_new,)
            Task of each row of X_new.
        method : {"predict", "predict_proba", "decision_function"}, default="predict"
            What to call on an adapted model.

        Returns
        -------
        y_new : ndarray of shape (n_new,) or (n_new, n_classes)
            Predictions, in the order of X_new.
        """
        check_is_fitted(self)
        self._check_method(method)
        check_aligned(X=X, y=y, sample_weight=sample_weight, task=task)
        check_aligned(X_new=X_new, task_new=task_new)
        if np.shape(X)[:1] == (0,):
            raise ValueError(
                "adapt_predict has no row to adapt to: X has 0 rows. For tasks of "
                "which nothing is known call predict(X_new)."
            )
        with naming_the_task(task, **self._to_name(X, y)):
            X, y = self._validate_rows(X, y, reset=False, dtype=self._dtype)
        with naming_the_task(task_new, X=X_new):
            X_new = self._validate_new(X_new)
        weight = self._validate_weight(sample_weight, X)
        codes, codes_new, ids = encode_new_tasks(
            task, X.shape[0], task_new, X_new.shape[0]
        )
        wanted = np.zeros(len(ids), dtype=bool)
        wanted[codes_new] = True
        kept = np.flatnonzero((weight > 0) & wanted[codes])
        if len(kept) == 0:  # tasks of which nothing is known; the core wants some row
            kept = np.flatnonzero(weight > 0)[:1]
        # the other tasks are not adapted to, and numbered behind
        number = np.where(wanted, np.cumsum(wanted) - 1, wanted.sum())
        codes, codes_new = number[codes], number[codes_new]
        rows = kept[np.argsort(codes[kept], kind="stable")]
        new = np.argsort(codes_new, kind="stable")
        numbers = np.arange(wanted.sum() + 1)
        starts = np.searchsorted(codes[rows], numbers)
        starts_new = np.searchsorted(codes_new[new], numbers)
        return self._predict_each(
            (X[rows], y[rows], weight[rows], starts), (X_new, new, starts_new), method
        )

    def _check_method(self, method):
        methods = [
            name
            for name in ("predict", "predict_proba", "decision_function")
            if hasattr(self, name)
        ]
        if self._n_way is not None:  # other columns in each task
            methods = ["predict"]
        if method not in methods:
            raise ValueError(
                f"method={method!r} is not to be had of {self!r} for many tasks at "
                f"once. Take one of {methods}, or adapt to one task at a time."
            )

    def _predict_each(self, known, new, method):
        """`adapt_predict` on sorted rows, one task at a time."""
        (X, y, weight, starts), (X_new, order, starts_new) = known, new
        parts = []
        with remembering(self._ask_base_once([X, X_new])):
            for t in np.flatnonzero(np.diff(starts_new)):
                model, rows = self._unadapted_copy(), slice(starts[t], starts[t + 1])
                vars(model).pop("feature_names_in_", None)  # they have been checked
                if rows.stop > rows.start:
                    model._adapt_in_place(X[rows], y[rows], weight[rows])
                rows = order[starts_new[t] : starts_new[t + 1]]
                parts.append(getattr(model, method)(X_new[rows]))
        result = np.concatenate(parts)
        unsorted = np.empty_like(result)
        unsorted[order] = result
        return unsorted

    def _adapt_each(self, parts):
        """Copies adapted to each of (X, y) or (X, y, sample_weight)."""
        told = None
        if hasattr(self, "base_estimator_"):
            told = self._ask_base_once(
                [self._validate_task(*part)[0] for part in parts]
            )
        with remembering(told):
            return [self.adapt(*part) for part in parts]

    @with_hint_to_task
    def partial_adapt(self, X, y, sample_weight=None):
        """Adapt in place, from the present state.

        Several threads may do so with one model: they take turns.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of the task that the model already is adapted to, or of a new one
            after :meth:`reset_adaptation`.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        self : object
            The same estimator, adapted.
        """
        check_is_fitted(self)
        with lock_of(self):
            return self._adapt_in_place(X, y, sample_weight)

    def _adapt_in_place(self, X, y, sample_weight=None):
        """`partial_adapt` of a model that no other thread knows yet."""
        with restored_on_error(self):
            X, y, weight = self._validate_task(X, y, sample_weight)
            self._adapt_to(self._one_task(X, y, weight))
            self.n_adapt_rows_ += len(y)
        return self

    def reset_adaptation(self):
        """Go back to the learned prior.

        Returns
        -------
        self : object
            The same estimator, adapted to nothing.
        """
        check_is_fitted(self)
        with lock_of(self):
            return self._reset()

    def _reset(self):
        if self._n_way is not None:
            vars(self).pop("classes_", None)
        self._forget()
        self.n_adapt_rows_ = 0
        return self

    def _begin_task(self):
        """Drop what a learned prior has to say of one task only, before adapting."""

    # -- rows and targets -------------------------------------------------------------

    def _validate_rows(self, X, y, *, reset, dtype):
        if reset or not is_clean(self, X, dtype, y):
            check_target(y, self._takes_labels)
            with explaining_missing(self):
                X, y = validate_data(
                    self,
                    plain_table(X),
                    y,
                    reset=reset,
                    accept_sparse="csr",
                    dtype=dtype,
                    order="C" if reset else None,  # the same sums, whatever the layout
                    y_numeric=not self._takes_labels,
                )
        X = sum_duplicates(X)
        check_magnitude(self, X)
        if self._takes_labels:
            return X, y
        y = y.astype(np.float64, copy=False)
        check_magnitude(self, y, "y")
        return X, y

    def _validate_task(self, X, y, sample_weight=None):
        """Rows of one task, their targets and weights, without those of weight zero."""
        check_aligned(X=X, y=y, sample_weight=sample_weight)
        X, y = self._validate_rows(X, y, reset=False, dtype=self._dtype)
        weight = self._validate_weight(sample_weight, X)
        if sample_weight is None:
            return X, y, weight
        rows = weight > 0
        return X[rows], y[rows], weight[rows]

    def _to_name(self, X, y):
        """Where `naming_the_task` is to look for values that are none."""
        return {"X": X, "y" if not self._takes_labels else "labels": y}

    def _validate_weight(self, sample_weight, X):
        if sample_weight is None:
            return np.ones(X.shape[0])
        weight = _check_sample_weight(
            plain_weight(sample_weight), X, dtype=np.float64, ensure_non_negative=True
        )
        check_total_weight(weight)
        if not weight.any():
            raise ValueError("All sample weights are zero: nothing is left to learn.")
        return weight

    def _one_task(self, X, y, weight):
        """A `Batch` of one task, in the model's scaling."""
        Y, absent = self._new_targets(y)
        Y, offset = self._to_correct(Y, self._base_offset(X))
        X = self._scaling.transform_X(self._dense(X))
        return Batch(
            X=X[None],
            Y=self._scaling.transform_y(Y).astype(X.dtype, copy=False)[None],
            weight=(weight / weight.sum()).astype(X.dtype)[None],
            n_rows=np.array([weight.sum()]),
            # a model has one of the two: own classes rule out a base model
            offset=absent if offset is None else offset.astype(X.dtype)[None],
        )

    @staticmethod
    def _dense(X):
        return X.toarray() if hasattr(X, "toarray") else X

    def _validate_new(self, X):
        """Rows to predict, validated."""
        check_is_fitted(self)
        if self._is_zero_shot() and (use := called_by_scorer(self)):
            warn(_ZERO_SHOT[use].format(self), ZeroShotWarning)
        return self._validate_X(X)

    def _validate_X(self, X):
        if not is_clean(self, X, self._dtype):
            check_aligned(X=X)
            with explaining_missing(self):
                X = validate_data(
                    self,
                    plain_table(X),
                    reset=False,
                    accept_sparse="csr",
                    dtype=self._dtype,
                )
        check_magnitude(self, X)
        return sum_duplicates(X)

    def _validated_outputs(self, X):
        """Outputs (n, o) for rows to predict, with those of a base classifier.

        What a base regressor adds is in the user's units: `RegressionTargets._decode`.
        """
        X = self._validate_new(X)
        Z, base = self._raw_outputs(X), None
        if self._takes_labels:
            base = self._base_offset(X)
        return Z if base is None else Z + base.astype(Z.dtype)

    def _is_zero_shot(self):
        """Whether the model knows several tasks and is adapted to none."""
        return getattr(self, "n_tasks_", 1) > 1 and self.n_adapt_rows_ == 0

    def _continues(self):
        """Whether this `fit` goes on from an earlier one."""
        return getattr(self, "warm_start", False) and self.__sklearn_is_fitted__()

    def _keeps_units(self, X, Y):
        """Whether the core meets X and targets Y in the user's units."""
        return not self.standardize

    # -- base model -------------------------------------------------------------------

    def _check_base(self, again):
        """Refuse a base model of the wrong kind, or one that comes or goes."""
        base, fitted = self.base_estimator, getattr(self, "base_estimator_", None)
        if again and (base is None) != (fitted is None):
            raise ValueError(
                "warm_start=True goes on from an earlier fit, which had "
                f"base_estimator={fitted!r}; now it is {base!r}. Put it back, or set "
                "warm_start=False to begin anew."
            )
        given = getattr(self, "_base_given", None)
        if again and base is not None and given is not None:
            check_same_parameters(base, given)
        right = is_classifier if self._takes_labels else is_regressor
        if base is not None and not right(base):
            needed = right.__name__.removeprefix("is_")
            raise TypeError(
                f"base_estimator of {type(self).__name__} must be a {needed}, to "
                f"predict what it corrects; got {base!r}. Pass a {needed} of "
                "scikit-learn, or None."
            )

    def _fit_base(self, X, y, weight, codes):
        """Fit the base model; returns what it says out of task (n, o), or None."""
        # of an earlier fit
        for name in ("base_estimator_", "base_scale_", "_base_given"):
            vars(self).pop(name, None)
        base = self.base_estimator
        if base is None:
            return None
        if hasattr(self, "warm_start"):  # to know a changed one by
            self._base_given = clone(base)
        if weight.min() < weight.max() and not takes_weights(base):
            warn(
                f"base_estimator {type(base).__name__} takes no sample_weight in fit: "
                "it is fitted to all rows alike, and the weights count in its "
                "correction only. Pass a base model that takes weights, or leave out "
                "rows that should not count."
            )
        y = self._base_target(X, y, weight, codes)
        classes, seed = self._base_classes(), getattr(self, "random_state", None)
        offset = out_of_task(base, X, y, weight, codes, classes, seed)
        groups = codes if codes[0] < codes[-1] else None  # of one task there are none
        with naming(
            base, f"could not be fitted to all {len(y)} rows, as base_estimator"
        ):
            self.base_estimator_ = fit_base(base, X, y, weight, groups, seed)
        if self._takes_labels and len(self.classes_) > 1:
            Y = self._indicator(self._codes(y), len(self.classes_))
            scaled = fit_scaling(X, None, weight).transform_X(X)
            self.base_scale_ = margin_scale(offset, Y, weight, scaled)
        return self._believed(offset)

    def _base_target(self, X, y, weight, codes):
        """What the base model is fitted to."""
        return y

    def _base_offset(self, X):
        """What the base model says of validated X (n, d): (n, o), or None.

        Of numbers in the user's units, of labels as log-odds or log-probabilities.
        """
        if not hasattr(self, "base_estimator_"):
            return None
        return self._believed(self._ask_base(X))

    def _ask_base(self, X):
        """`raw_prediction` of the base model, which may have been asked before."""
        base = self.base_estimator_
        told = remembered(base, X)
        if told is not None:
            return told
        with naming(base, "could not predict, as base_estimator"):
            return raw_prediction(base, X, self._base_classes())

    def _ask_base_once(self, tables):
        """What the base model says of the validated rows of all tables, or None."""
        if not hasattr(self, "base_estimator_"):
            return None
        X = stack_rows([table for table in tables if table.shape[0]])
        return Told(self.base_estimator_, X, self._ask_base(X))

    def _ask_base_about(self, X):
        """What the base model says of rows that are not validated yet, or None."""
        if not hasattr(self, "base_estimator_") or not _num_samples(X):
            return None
        return self._ask_base_once([self._validate_X(X)])

    def _believed(self, offset):
        """What the base model says, as far as its log-odds can be believed."""
        return getattr(self, "base_scale_", 1.0) * offset

    def _base_classes(self):
        return self.classes_ if self._takes_labels else None

    # -- scikit-learn -----------------------------------------------------------------

    def get_metadata_routing(self):
        """Ask for ``task``, so that scikit-learn routes it here.

        Returns
        -------
        routing : MetadataRequest
            What each method asks for.
        """
        return asking_for_single_ids(super().get_metadata_routing())

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_tasks_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        base = self.base_estimator
        tags.input_tags.sparse = base is None or get_tags(base).input_tags.sparse
        return tags

    def __getstate__(self):
        return super().__getstate__() | {"_skmeta_version": __version__}

    def __setstate__(self, state):
        saved_by = state.pop("_skmeta_version", "an unknown version")
        if saved_by != __version__:
            warn(
                f"This {type(self).__name__} was saved by skmeta {saved_by} and is "
                f"loaded by {__version__}: it may predict differently or fail. Fit it "
                "again, or install the version that saved it.",
                InconsistentVersionWarning,
            )
        super().__setstate__(state)


_GROUPS = (
    "groups= reached the splitter alone, and {0.__class__.__name__} was fitted to all "
    "rows as one task. If the groups are its tasks, switch routing on, "
    "sklearn.set_config(enable_metadata_routing=True), pass task= to fit of a search "
    "or params={{'task': ...}} to cross_validate, and split by "
    "GroupKFold().set_split_request(groups='task')."
)
_ZERO_SHOT = {
    "score": (
        "{0.__class__.__name__} was meta-trained on {0.n_tasks_} tasks and is adapted "
        "to none: this scores its learned start (zero-shot). For a few-shot score pass "
        "task ids to score, or use scoring=make_few_shot_scorer(...)."
    ),
    "predict": (
        "{0.__class__.__name__} was meta-trained on {0.n_tasks_} tasks and is adapted "
        "to none: cross_val_predict gives the predictions of its learned start "
        "(zero-shot), those for a task without a row. For tasks with known rows give "
        "these to adapt_predict(model, X, y, X_new, task=..., task_new=...)."
    ),
}


class RegressionTargets:
    """Targets of a regressor: one column of numbers, standardised."""

    _takes_labels = False

    def _order_key(self, y, codes):
        """What rows are compared by first, to be put in order."""
        return y

    def _fit_targets(self, y, starts, again):
        return y[:, None], None

    def _new_targets(self, y):
        return y[:, None], None

    def _to_correct(self, Y, base):
        """Targets and offset of the correction: what the base model leaves over."""
        return (Y if base is None else Y - base), None

    def _fit_scaling(self, X, Y, weight):
        if self._keeps_units(X, Y):
            return identity_scaling(X.shape[1])
        robust = getattr(self, "loss", None) == "huber"
        return fit_scaling(X, Y[:, 0], weight, robust_y=robust)

    def _decode(self, Z, X):
        """Predictions in the user's units, from outputs Z (n, 1) for validated X."""
        Z, base = Z[:, 0], self._base_offset(X)
        far = abs(self._scaling.y_mean)
        if base is not None:
            far = max(far, np.abs(base).max(initial=0.0))
        if not self._scaling.single_suffices(far):
            Z = Z.astype(np.float64)
        y = self._scaling.inverse_y(Z)
        return y if base is None else y + base[:, 0].astype(y.dtype)


class ClassificationTargets:
    """Targets of a classifier: one column of 0 and 1, or one column per class."""

    _takes_labels = True

    def _order_key(self, y, codes):
        """What rows are compared by first, to be put in order: numbers of classes.

        Where each task has its own, they are numbered within it, since their names may
        be made from that of the task.
        """
        check_classification_targets(y)
        classes, number = np.unique(y, return_inverse=True)
        if getattr(self, "task_classes", "own") == "shared":
            return number
        pairs, number = np.unique(codes * len(classes) + number, return_inverse=True)
        first = np.searchsorted(pairs, np.arange(codes.max() + 1) * len(classes))
        return number - first[codes]

    def _fit_targets(self, y, starts, again):
        check_classification_targets(y)
        own = self.task_classes == "own"
        if again and own != (self._n_way is not None):
            was = "shared" if own else "own"
            raise ValueError(
                "warm_start=True goes on from an earlier fit, which had "
                f"task_classes={was!r}; now it is {self.task_classes!r}. Put it back, "
                "or set warm_start=False to begin anew."
            )
        if own:
            return self._fit_own_classes(y, starts, again)
        self._n_way = None
        classes, codes = np.unique(y, return_inverse=True)
        if again:
            codes = self._codes(y)
        else:
            self.classes_ = classes
        return self._indicator(codes, len(self.classes_)), None

    def _fit_own_classes(self, y, starts, again):
        if self.base_estimator is not None:
            raise ValueError(
                f"base_estimator={self.base_estimator!r} needs labels that all tasks "
                "share, but with task_classes='own' each task has its own. Set "
                "base_estimator=None, or task_classes='shared' if a label means the "
                "same in every task."
            )
        parts = [np.unique(y[a:b], return_inverse=True) for a, b in pairwise(starts)]
        n_classes = np.array([len(classes) for classes, _ in parts])
        n_way = int(n_classes.max())
        if again and n_way > self._n_way:
            raise ValueError(
                f"warm_start=True goes on with outputs for {self._n_way} classes per "
                f"task, but a task has {n_way}. Set warm_start=False to begin anew."
            )
        self._n_way = self._n_way if again else n_way
        vars(self).pop("classes_", None)
        codes = np.concatenate([codes for _, codes in parts])
        return np.eye(self._n_way)[codes], n_classes

    def _new_targets(self, y):
        if self._n_way is None:
            return self._indicator(self._codes(y), len(self.classes_)), None
        if y.dtype.kind == "f":  # of other kinds a few rows cannot tell
            check_classification_targets(y)
        classes = np.unique(y)
        if self.n_adapt_rows_ > 0:
            classes = np.union1d(self.classes_, classes)
            if len(classes) > len(self.classes_):
                raise ValueError(
                    "This model is adapted to a task with the classes "
                    f"{self.classes_.tolist()}; y holds others: {classes.tolist()}. "
                    "Adapt afresh, with rows of all classes: adapt(X, y)."
                )
        if len(classes) > self._n_way:
            raise ValueError(
                f"y has {len(classes)} classes: {classes.tolist()}. This model was "
                f"meta-trained on tasks of at most {self._n_way} classes each."
            )
        self.classes_ = classes
        absent = np.arange(self._n_way) >= len(classes)
        offset = np.where(absent, ABSENT, 0.0)[None, None, :].astype(self._dtype)
        return np.eye(self._n_way)[np.searchsorted(classes, y)], offset

    def _to_correct(self, Y, base):
        """Targets and offset of the correction: what the base model says is added."""
        return Y, base

    def _codes(self, y):
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y has labels not seen in meta-training: {unknown.tolist()}. The "
                f"labels seen are {self.classes_.tolist()}. Check their type and "
                "spelling, meta-train with tasks that have all labels, or set "
                "task_classes='own' if each task has its own."
            )
        return np.searchsorted(self.classes_, y)

    @staticmethod
    def _indicator(codes, n_classes):
        """One column for two classes, else one per class."""
        if n_classes == 2:
            return codes[:, None].astype(float)
        return np.eye(n_classes)[codes]

    def _class_scores(self, X):
        """Outputs for X, without those of classes that the task does not have."""
        check_is_fitted(self)
        if not hasattr(self, "classes_"):
            raise NotFittedError(
                f"This {type(self).__name__} has no classes until it is adapted to a "
                "task, which brings its own. Call adapt(X, y) and predict with what "
                "that returns."
            )
        Z = self._validated_outputs(X)
        return Z if self._n_way is None else Z[:, : len(self.classes_)]

    def _fit_scaling(self, X, Y, weight):
        if self._keeps_units(X, Y):
            return identity_scaling(X.shape[1])
        return fit_scaling(X, None, weight)


class SharedNetwork:
    """A network that all tasks share, in plain values that any format can save."""

    @property
    def _reads_rows_once(self):
        # a network would ask for them in each meta-iteration
        return not check_hidden_layer_sizes(self.hidden_layer_sizes)

    def _set_network(self, net, theta):
        layout = net.layout
        self._theta = theta
        self._architecture = (list(layout.sizes), layout.layer_norm, net.activation)

    @property
    def _network(self):
        sizes, layer_norm, activation = self._architecture
        return Network(ParamLayout(tuple(sizes), layer_norm), activation)

    @property
    def coefs_(self):
        """Weights of each layer of the network, on standardised data."""
        return [layer.weight for layer in self._layers()]

    @property
    def intercepts_(self):
        """Biases of each layer of the network, on standardised data."""
        return [layer.bias for layer in self._layers()]

    def _layers(self):
        if not hasattr(self, "_theta"):
            raise AttributeError(
                f"This {type(self).__name__} is not fitted yet, or has learned no "
                "features: hidden_layer_sizes=(), or they did not pay."
            )
        theta = self._theta.view()
        theta.flags.writeable = False  # adapted copies share it
        return self._network.layout.layers(theta)


class ClassScores:
    """Predictions of a classifier whose outputs are logits."""

    def decision_function(self, X):
        """Compute the logits of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes the log-odds of ``classes_[1]``.
        """
        return self._from_outputs(self._class_scores(X), "decision_function")

    def predict_proba(self, X):
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return self._from_outputs(self._class_scores(X), "predict_proba")

    def predict(self, X):
        """Predict with the present weights: the prior's until adapted.

        Until adapted, this is the prediction for a new task, of which nothing is known,
        and not what was learned of a task of the meta-training. For a known task, adapt
        to its rows first; for many at once call :meth:`adapt_predict`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted labels.
        """
        return self._from_outputs(self._class_scores(X), "predict")

    def _from_outputs(self, Z, method):
        """What a method returns for outputs Z (n, o)."""
        if method == "predict_proba":
            if Z.shape[1] == 1 and len(self.classes_) == 2:
                p = expit(Z[:, 0])
                return np.column_stack([1 - p, p])
            return softmax(Z, axis=1)
        if Z.shape[1] == 2:
            scores = Z[:, 1] - Z[:, 0]
        else:
            scores = Z[:, 0] if len(self.classes_) == 2 else Z
        if method == "decision_function":
            return scores
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[index]
