"""What all meta-learners share: the verbs, and the hooks that a subclass fills."""

from abc import ABCMeta, abstractmethod

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from skmeta import _task_input
from skmeta._base_choice import base_chosen, keep, scores_by_refitting
from skmeta._base_model import (
    FittedBase,
    base_offset,
    check_base,
    check_kind_of_base,
    estimator_or_none,
    fit_base_of,
    given_base,
    scale_of_margin,
    told_by_base,
)
from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import tasks_one_by_one
from skmeta._checks.keywords import check_takes_weights, with_hint_to_task
from skmeta._checks.no_rows import check_no_rows, has_no_rows
from skmeta._checks.scorers import called_by_scorer, warn_of_groups_above
from skmeta._checks.task_lists import read_tasks
from skmeta._copies import own_what_can_change, restored_on_error
from skmeta._core.scaling import identity_scaling
from skmeta._frame import Frame, TrainingData
from skmeta._many_tasks import ManyTasks
from skmeta._mixins import ZERO_SHOT, check_place_of_mixins
from skmeta._repr import LearnedRepr
from skmeta._routing import asking_for_single_ids
from skmeta._tables import columns_of, knows_source, numbers_of
from skmeta._threads import lock_of
from skmeta._version import __version__
from skmeta._warn import warn
from skmeta.chosen_base import ChosenBase
from skmeta.exceptions import InconsistentVersionWarning, ZeroShotWarning
from skmeta.task_statistics import TaskStatistics

# Parameters that the base reads, and their values if a subclass does not have them.
PARAMETERS = {
    "base_estimator": None,
    "linear_preprocessor": None,
    "random_state": None,
    "standardize": True,
    "warm_start": False,
}


class BaseMetaLearner(ManyTasks, LearnedRepr, BaseEstimator, metaclass=ABCMeta):
    """Base of the meta-learners: how tasks come in and adapted models go out.

    A subclass inherits :class:`MetaRegressorMixin` or :class:`MetaClassifierMixin` to
    the left of this class, and fills the hooks below. The base validates what the user
    gives, standardises it, and calls the hooks with rows and targets in the core's
    units. T is a number of tasks, n of rows, d of features, and o of outputs: 1 for
    numbers and for two shared classes, otherwise the number of classes.

    A hook may set attributes of the model. It sets new objects and never writes into
    those that are there, since adapted copies share them with the model.

    Attributes
    ----------
    n_tasks_ : int
        Number of tasks seen in meta-training.
    n_adapt_rows_ : int
        Number of rows that the model is adapted to; 0 at the learned start.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if fit saw names.
    classes_ : ndarray of shape (n_classes,)
        The labels that a classifier now knows.

    Notes
    -----
    **Hooks to fill.** A class without one of them cannot be instantiated.

    ``_meta_train(table, ids, again, data)``
        Learn what tasks have in common, and leave the model adapted to no task.
        ``table`` holds ``X`` (n, d), ``Y`` (n, o), ``weight`` (n,), positive, and
        ``starts`` (T + 1,): the rows of task t are ``starts[t]:starts[t + 1]``. X has a
        method ``toarray`` if it is not an array. ``offset`` (n, o) is None, or a base
        model's prediction for each row. ``ids`` (T,) name the tasks in messages.
        ``again`` says whether to continue an earlier fit. ``data`` is a dict with the
        user's X and y for callbacks.
    ``_adapt_to(batch)``
        Move the present state towards one task. ``batch`` holds ``X`` (1, n, d), ``Y``
        (1, n, o), ``weight`` (1, n), which sum to 1, ``total_weight`` (1,), the sum
        of the given weights, and ``offset`` (1, n, o), (1, 1, o) or None.
    ``_forget()``
        Put the present state back to what was learned.
    ``_raw_outputs(X)``
        Outputs (n, o) for validated X (n, d) in the user's units. X is a CSR matrix if
        the user's rows are sparse: ``self._dense(X)`` makes an array of either.
        ``self._scaling.transform_X(X)`` standardises X. Outputs are standardised
        numbers, or logits. The prediction of a base model is added later.
    ``_make_targets()``
        The `Targets` of the model, not fitted. The mixins fill this hook.

    **Hooks with a default.**

    ``_fit_scaling(targets, X, Y, weight)``
        The `Scaling`; by default that of ``targets``, or none if ``standardize`` is
        False.
    ``_canonical(rows, targets)``
        An order of the rows that only depends on their content.
    ``_base_target(X, y, weight, codes)``
        What the base model is fitted to (n,); by default y.
    ``_check_base(targets, base)``, ``_scale_of_base(targets, X, y, weight, offset)``
        Which base models are refused, and how far their predictions are trusted.
    ``_times_of(X)``, ``_times_given(X)``
        Times (n,) by which ``fit`` and few-shot scores sort the rows of each task; by
        default None, which leaves the rows in the given order.
    ``_held_out_scores(trial)``
        How well a candidate for the base model does in held-out tasks, as a `Trial`
        says: (T, sizes), higher is better. By default the model is trained without a
        third of the tasks, three times. The model holds the candidate's ``_frame``.
    ``_rows_to_keep(rows, named)``, ``_keep_tasks(made, rows, named)``
        What `fit` keeps of the tasks, if they had ids; by default nothing.
    ``_before_adapting()``
        Called on each copy after ``_forget``, before it adapts; by default nothing.
    ``_adapt_each(parts)``, ``_predict_each(known, new, method, options)``
        Many tasks at once; by default one after the other.
    ``_learned_html()``
        What a notebook shows of a fitted model.

    **Values.**

    ``_dtype``
        Type of X when adapting and predicting; by default float64.
    ``_fit_dtypes``
        Types of X that ``fit`` leaves as they are; by default float64 and float32.
    ``_history``
        Names of attributes that adapted copies leave out; by default those of loss
        curves.
    ``_parameters_to_clone``
        Names of parameters that are estimators, of which adapted copies get clones; by
        default "base_estimator".
    ``_rows_in_time``
        Whether the rows of a task are in order of time, so that few-shot scores give
        its first rows and ask for later ones; by default False.
    ``_largest_weight``
        A larger sample weight is refused; by default none is.
    ``_reads_rows_once``
        Whether ``_meta_train`` reads the rows a few times only, so that a copy of X can
        be saved: ``table.X`` is then no array. By default False.
    ``_frame_kind``
        The class of the `Frame`, which makes the core's rows of the user's.
    ``_comes_beside``
        Names of what ``fit`` and ``adapt`` take besides, a value for each row, for the
        method ``with_beside`` of its `Targets`; by default nothing.
    ``_predicts_targets``
        Whether ``predict`` returns numbers of the kind of y; by default True.
    ``_has_zero_shot_model``
        Whether the methods that predict are decorated by `before_adapting`, so that
        another base model may predict for tasks without rows. By default False.
    ``PARAMETERS``
        Parameters ``base_estimator``, ``linear_preprocessor``, ``random_state``,
        ``standardize`` and ``warm_start`` act as in the other meta-learners if the
        subclass has them.

    **Attributes for the hooks to read.** ``self._scaling`` and ``self._targets`` are
    what ``fit`` has learned of rows and targets.
    """

    _parameter_constraints: dict = {
        "base_estimator": [HasMethods("fit"), StrOptions({"auto"}), ChosenBase, None],
        "linear_preprocessor": [HasMethods(["fit", "transform"]), None],
    }

    # Optional hooks that are plain values.
    _dtype = np.dtype(np.float64)
    _fit_dtypes = (np.float64, np.float32)
    _history = ("loss_curve_", "validation_scores_", "stream_", "known_tasks_")
    _parameters_to_clone = ("base_estimator", "linear_preprocessor")
    _rows_in_time = False
    _largest_weight = np.inf
    _reads_rows_once = False
    _has_zero_shot_model = False
    _frame_kind = Frame
    _comes_beside = ()
    _predicts_targets = True

    __metadata_request__fit = {"task": True}
    __metadata_request__score = {"task": True, "unit": True}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        check_place_of_mixins(cls, BaseMetaLearner)

    # -- hooks that a subclass must fill ----------------------------------------------

    @abstractmethod
    def _meta_train(self, table, ids, again, data):
        """Learn the prior from a `TaskTable` and set the fitted attributes."""

    @abstractmethod
    def _adapt_to(self, batch):
        """Move the present state towards one task, given as a `Batch`."""

    @abstractmethod
    def _forget(self):
        """Put the present state back to the prior."""

    @abstractmethod
    def _raw_outputs(self, X):
        """Outputs (n, o) for validated X (n, d), before targets are decoded."""

    @abstractmethod
    def _make_targets(self):
        """Unfitted `Targets`, by the parameters. The mixins fill this hook."""

    # -- hooks that a subclass may fill -----------------------------------------------

    def _fit_scaling(self, targets, X, Y, weight):
        """The `Scaling` of validated X (n, d) and the targets Y (n, o) to learn."""
        if not self._parameter("standardize"):
            return identity_scaling(X.shape[1])
        return targets.scaling(X, Y, weight)

    def _base_target(self, X, y, weight, codes):
        """What the base model is fitted to (n,). ``codes`` (n,) number the tasks."""
        return y

    def _check_base(self, targets, base):
        """Refuse a base model that does not predict what it is to predict."""
        check_kind_of_base(self, targets, base)

    def _scale_of_base(self, targets, X, y, weight, offset):
        """The factor of out-of-task offsets (n, o) of validated rows; None for 1."""
        return scale_of_margin(targets, X, y, weight, offset)

    def _times_of(self, X):
        """Times (n,) of validated X (n, d), if a task's rows are in order of time."""
        return None

    def _times_given(self, X):
        """Times (n,) of rows that are not validated yet, if a column holds them."""
        return None

    def _hint_at_order(self, rows):
        """Warn if `GivenRows` seem to be in order of time, and that is not used."""

    _held_out_scores = scores_by_refitting

    def _absorb(self, tasks):
        """`partial_meta_fit`, within the lock of the model."""
        raise TypeError(
            f"{type(self).__name__} cannot learn in portions. Call meta_fit with all "
            "tasks."
        )

    def _canonical(self, rows, targets):
        """`_task_input.canonical` of `GivenRows`."""
        times = self._times_of(rows.X)
        return _task_input.canonical(rows, targets.order_key, times)

    def _in_order_of_tasks(self, rows, order, starts, ids):
        """Rows, tasks' starts and their ids in another order of the tasks."""
        return order, starts, ids

    def _meta_fit_statistics(self, statistics):
        """`meta_fit` on `TaskStatistics`."""
        raise TypeError(
            f"{type(self).__name__} learns from rows, and cannot from statistics, "
            "which hold sums of rows for EmpiricalBayesRegressor. Pass the rows: "
            "meta_fit({id: (X, y)})."
        )

    def _rows_to_keep(self, rows, named):
        """The `GivenRows` if `_keep_tasks` needs them, or None."""

    def _keep_tasks(self, made, rows=None, named=True):
        """Keep what is needed to predict for tasks of a `TrainingData`."""

    def _before_adapting(self):
        """Prepare a copy, which has forgotten its task, for adapting to another."""

    def _parameter(self, name):
        """A parameter that this class reads; its default if the subclass has none."""
        return getattr(self, name, PARAMETERS[name])

    # -- what fit has learned of rows and targets -------------------------------------

    @property
    def _targets(self):
        """The fitted `Targets`; before any fit, those that it would begin with."""
        frame = getattr(self, "_frame", None)
        return self._make_targets() if frame is None else frame.targets

    @property
    def _scaling(self):
        return self._frame.scaling

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
        return self._fit(X, y, sample_weight, task)

    def _fit(self, X, y, sample_weight=None, task=None, **beside):
        """`fit`; what comes ``beside`` the rows goes to the targets."""
        with lock_of(self), restored_on_error(self):
            check_aligned(X=X, y=y, sample_weight=sample_weight, task=task, **beside)
            again = self._parameter("warm_start") and self.__sklearn_is_fitted__()
            targets = self._make_targets()
            check_base(self, targets, again)
            rows = _task_input.read_training_rows(
                self, X, y, sample_weight, task, reset=not again, **beside
            )
            if task is None:
                warn_of_groups_above(self)
            if not again:
                _task_input.warn_of_far_values(self, rows, task is not None)
                self._hint_at_order(rows)
            metadata = {} if task is None else {"metadata": {"task": task}}
            data = {"X": rows.X, "y": targets.values(rows.y), **metadata}
            kept = self._rows_to_keep(rows, task is not None)
            with base_chosen(self, rows, targets, again, data) as known:
                made = self._training_data(rows, targets, again, known)
                del rows  # the next steps need the memory
                keep(self, made, again)
                self._meta_train(made.table, made.ids, again, data)
            self._keep_tasks(made, kept, task is not None)
        return self

    def _training_data(self, rows, targets, again, known=None):
        """The `TrainingData` of validated rows. It does not change the model."""
        order, starts, ids = self._canonical(rows, targets)
        if known is None:
            order, starts, ids = self._in_order_of_tasks(rows, order, starts, ids)
        X, y, weight = rows.X[order], rows.y[order], rows.weight[order]
        before = self._frame.targets if again else None
        targets, coded = targets.fit(y, starts, before)
        targets = targets.learn_weights(y, weight)
        weight = targets.weighted(y, weight)
        if again:
            base = FittedBase(offset=self._base_offset(X))
        else:
            codes = np.repeat(np.arange(len(ids)), np.diff(starts))
            base = fit_base_of(self, targets, X, y, weight, codes, known)
        Y, offset = targets.correct(coded.Y, base.offset)
        if again:
            frame = self._frame
        else:
            scaling = self._fit_scaling(targets, X, Y, weight)
            given = given_base(self._parameter("base_estimator"))
            columns = columns_of(rows.X.source.table) if knows_source(rows.X) else None
            frame = self._frame_kind(scaling, targets, given, columns)
        coded = coded._replace(Y=Y)
        if self._reads_rows_once and isinstance(X, np.ndarray):
            X, options = numbers_of(rows.X), {"order": order}
        else:  # X is a copy, which only a base model may hold as well
            options = {"in_place": self._parameter("base_estimator") is None}
        table = frame.table(X, coded, offset, weight, starts, **options)
        return TrainingData(table, ids, frame, coded.classes, base)

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
        if isinstance(tasks, TaskStatistics):
            return self._meta_fit_statistics(tasks)
        X, y, sample_weight, task, beside = read_tasks(tasks, self._comes_beside)
        if sample_weight is None:
            with tasks_one_by_one():
                return self.fit(X, y, task=task, **beside)
        check_takes_weights(self)
        with tasks_one_by_one():
            return self.fit(X, y, sample_weight, task=task, **beside)

    @with_hint_to_task
    def partial_meta_fit(self, tasks):
        """Meta-train further on more tasks, or on more rows of known ones.

        The first call on a model that is not fitted is like :meth:`meta_fit`. Later
        calls keep the scaling that it has found.

        * A learned prior keeps what it was given in ``stream_``, and the structure and
          the kind of noise that its first call chose. It is then the prior of all tasks
          so far, as if they had come at once. Rows of an id that is known are more rows
          of that task. Save the model by joblib, and go on later from the file.
        * Reptile continues its loop with these tasks, as with ``warm_start``, for
          ``max_iter`` more meta-iterations. It keeps nothing.

        Parameters
        ----------
        tasks : dict {id: (X, y)} or iterable of (X, y)
            One member per task, as for :meth:`meta_fit`. Without ids each is a task
            that was not there before. A learned prior of numbers also takes
            :class:`TaskStatistics`.

        Returns
        -------
        self : object
            The meta-trained estimator.

        Raises
        ------
        TypeError
            If this model cannot learn in portions.
        ValueError
            If it was begun by ``fit`` and keeps nothing to go on from, or if it has a
            base model or learned features. The model then stays as it was.
        """
        with lock_of(self), restored_on_error(self):
            return self._absorb(tasks)

    @with_hint_to_task
    def adapt(self, X, y, sample_weight=None):
        """Adapt a copy of the model to a task, from the learned prior.

        The meta-learner itself is not touched.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of one task; one row is enough. With no rows at all the copy is at the
            learned prior.
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
        for history in self._history:
            vars(fresh).pop(history, None)
        fresh._reset()._before_adapting()
        return fresh

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

    def _adapt_in_place(self, X, y, sample_weight=None, **beside):
        """`partial_adapt` of a model that no other thread knows yet."""
        if has_no_rows(X):  # they tell nothing
            check_no_rows(X, self, y=y, sample_weight=sample_weight, **beside)
            return self
        with restored_on_error(self):
            rows = _task_input.validate_task(self, X, y, sample_weight, **beside)
            self._adapt_to_task(*rows)
            self.n_adapt_rows_ += len(rows[1])
        return self

    def _adapt_to_task(self, X, y, weight):
        """Adapt to validated rows, in the order in which they were given."""
        self._adapt_to(self._one_task(X, y, weight))

    def reset_adaptation(self):
        """Go back to the learned prior.

        Returns
        -------
        self : object
            The same estimator, adapted to nothing.
        """
        check_is_fitted(self)
        with lock_of(self), restored_on_error(self):
            return self._reset()

    def _reset(self):
        if self._frame.targets.own_classes:
            vars(self).pop("classes_", None)
        self._forget()
        self.n_adapt_rows_ = 0
        return self

    # -- between the user's rows and the core's ---------------------------------------

    def _one_task(self, X, y, weight):
        """The `Batch` of one task's validated rows; sets ``classes_`` if it has own."""
        frame = self._frame
        targets, present = frame.targets, None
        if targets.own_classes:
            present = getattr(self, "classes_", None)
        coded = targets.encode(y, present)
        if coded.classes is not None:
            self.classes_ = coded.classes
        Y, offset = targets.correct(coded.Y, self._base_offset(X))
        weight = targets.weighted(y, weight)
        return frame.batch(self._dense(X), coded._replace(Y=Y), offset, weight)

    def _new_table(self, rows):
        """The `TaskTable` of new tasks, given as `SortedRows` that may be changed."""
        frame = self._frame
        coded = frame.targets.encode(rows.y)
        Y, offset = frame.targets.correct(coded.Y, self._base_offset(rows.X))
        alone = not hasattr(self, "base_estimator_")  # it may hold the rows as well
        return frame.table(
            rows.X,
            coded._replace(Y=Y),
            offset,
            frame.targets.weighted(rows.y, rows.weight),
            rows.starts,
            in_place=alone,
        )

    def _decode(self, Z, X, method="predict", average=None):
        """What ``method`` returns for outputs Z (n, o) of validated X (n, d).

        For ``average`` see `Targets.decode`.
        """
        frame = self._frame
        classes = getattr(self, "classes_", None)
        return frame.targets.decode(
            Z, self._base_offset(X), frame.scaling, classes, method, average
        )

    def _base_offset(self, X):
        """The base model's offsets (n, o) for validated X (n, d), or None."""
        return base_offset(self, X)

    def _ask_base_about(self, X):
        """The base model's offsets for rows that are not validated yet, or None."""
        if not hasattr(self, "base_estimator_") or not _num_samples(X):
            return None
        return told_by_base(self, [_task_input.validate_new_rows(self, X)])

    @staticmethod
    def _dense(X):
        """X as an array, which may be a CSR matrix."""
        return X.toarray() if hasattr(X, "toarray") else X

    def _validate_new(self, X):
        """Rows to predict, validated."""
        check_is_fitted(self)
        if self._is_zero_shot() and (use := called_by_scorer(self)):
            warn(ZERO_SHOT[use].format(self), ZeroShotWarning)
        return _task_input.validate_new_rows(self, X)

    def _is_zero_shot(self):
        """Whether the model knows several tasks and is adapted to none."""
        return getattr(self, "n_tasks_", 1) > 1 and self.n_adapt_rows_ == 0

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
        tags.target_tags.positive_only = self._make_targets().positive_only
        base = estimator_or_none(self._parameter("base_estimator"))
        first = self._parameter("linear_preprocessor")
        parts = [
            get_tags(part).input_tags for part in (base, first) if part is not None
        ]
        tags.input_tags.sparse = all(part.sparse for part in parts)
        if first is not None:
            tags.input_tags.allow_nan = all(part.allow_nan for part in parts)
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
