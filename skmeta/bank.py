"""The present state of many tasks over one meta-learner."""

import os
import threading
from collections.abc import MutableMapping
from functools import partial
from numbers import Integral

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import available_if

from skmeta._bank.fingerprint import fingerprint
from skmeta._bank.frozen import FrozenModel, around
from skmeta._bank.known import KnownCoefficients
from skmeta._bank.rows import RowStates
from skmeta._bank.stores import MappingStore, MemoryStore
from skmeta._bank.sums import SumStates
from skmeta._bank.tables import columns_of
from skmeta._checks.aligned import check_aligned
from skmeta._checks.id_keys import id_of, is_single, keys_of_some, kind_of_key
from skmeta._checks.no_rows import check_no_rows, has_no_rows
from skmeta._checks.parameters import check_coverage
from skmeta._checks.values import check_target, show
from skmeta._compositions import transformed_rows
from skmeta._many_tasks import columns_among, options_of_rows, put
from skmeta._tables import numbers_of
from skmeta._task_sums import tells_by_sums
from skmeta._version import __version__
from skmeta._warn import warn

__all__ = ["TaskBank"]

# The layout of what is in a store; a number for each change of it.
FORMAT = 1


def _if_learner_has(method):
    return available_if(lambda bank: hasattr(bank._model.learner, method))


class TaskBank:
    """The present state of many tasks over one meta-learner.

    A bank knows what each task has told so far, and predicts for all of them. Rows come
    in by :meth:`update`, in any order and for many tasks at once. Afterwards each task
    is as if the model had been adapted to all its rows. The model does not change.

    Parameters
    ----------
    model : estimator
        Meta-trained: a meta-learner of skmeta, or a Pipeline, a search, a
        FrozenEstimator or a TransformedTargetRegressor with one inside. The bank has a
        copy of it, which later fits of ``model`` do not change.
    store : None, str, path-like or MutableMapping, default=None
        Where the states of the tasks are.

        * None: in memory. Threads may share the bank.
        * a path: in a SQLite file. Threads and processes may read and write it at once,
          and each update is on the disk when it returns. The file is opened again by
          ``TaskBank(model, path)`` with the model that made it.
        * a mapping of text to bytes that can be written, such as a dict, a shelf or a
          client of a database: under one key per task, and one for a header. Threads
          that use one bank take turns. Nothing else is promised: an update sets one key
          after the other, and two processes may undo each other's.
    max_rows : int, default=None
        How many rows are kept of each task: the newest ones. None keeps all. It is for
        models of which a bank keeps rows. Of choice sets the newest whole ones are
        kept, and one at least.

    Attributes
    ----------
    max_rows : int or None
        As given.

    See Also
    --------
    adapt_predict : Predicts for many tasks at once, and keeps nothing.
    TaskStatistics : Sums of many tasks that can be added up.

    Notes
    -----
    What is kept of a task depends on the model. For an
    :class:`EmpiricalBayesRegressor` without ``half_life`` it is the number of rows, and
    sums of products of the standardised columns and of y about their means: 448 bytes
    with 8 columns, however many rows there are. With a base model, y is what the base
    model leaves; with learned features they are columns too. For any other
    meta-learner it is the rows themselves. Both are private data: sums over few rows
    reveal the rows. :meth:`forget` deletes them, but the prior of the model still
    contains what a task told if it was in the meta-training.

    Ids are numbers, text, bytes, dates, or UUIDs. 1, ``np.int64(1)`` and 1.0 are the
    same id, and "1" is another. With ``task=`` a single id, all rows are of that task.

    Rows of an :class:`EmpiricalBayesRanker` are offers, and come in whole choice sets.
    Their labels are ids, too, and are kept: a set that a task has already is refused.

    A store remembers the model that made it, by a fingerprint of what the model has
    learned and by the version of skmeta. With another model or version it is refused.
    A model that was saved and loaded is the same model. A pickled bank contains its
    tasks, or the path of its file.

    Coefficients of regressors are computed when a task is asked about and kept until
    its rows change, for up to two million tasks. ``len`` counts the tasks, ``id in
    bank`` looks for one, and iterating gives the ids.

    Examples
    --------
    >>> from skmeta import EmpiricalBayesRegressor, TaskBank
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y), (X_2, y_2) = make_linear_tasks(60, random_state=0)
    >>> model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
    >>> bank = TaskBank(model)
    >>> bank.update(X[:5], y[:5], task="ann").update(X_2[:3], y_2[:3], task="bob")
    TaskBank(EmpiricalBayesRegressor(random_state=0), 2 tasks in memory)
    >>> asked = ["ann", "bob", "new"]  # the prior predicts for a new task
    >>> bank.predict(X[10:13], task=asked).shape
    (3,)
    >>> bank.score(X[5:], y[5:], task="ann") > 0.9
    True
    >>> bank.remove(X[4:5], y[4:5], task="ann").forget("bob")
    TaskBank(EmpiricalBayesRegressor(random_state=0), 1 task in memory)
    >>> bank.model_of("ann").n_adapt_rows_
    4
    """

    def __init__(self, model, store=None, *, max_rows=None):
        self.max_rows = _checked_max_rows(max_rows)
        self._begin(model, partial(_store_of, store))

    def _begin(self, model, make_store):
        """Set all that follows from the model, and open the store."""
        self._model = FrozenModel(model)
        self._states = _states_for(self._model.learner, self.max_rows)
        self._lock = threading.RLock()
        self._known = None
        if self._states.kind == "sums":
            self._known = KnownCoefficients(self._states)
        self._store = make_store(self._states.codec)
        try:
            self._check_header()
        except BaseException:
            self._store.close()
            raise

    def _check_header(self):
        """Refuse a store that another model or another version has filled."""
        ours = {
            "format": FORMAT,
            "skmeta": __version__,
            "estimator": type(self._model.learner).__name__,
            "kind": self._states.kind,
            "model": fingerprint(self._model.outer),
        }
        theirs = self._store.header(ours)
        if theirs == ours:
            return
        where = self._store.described()
        if any(theirs.get(name) != ours[name] for name in ("skmeta", "format")):
            raise ValueError(
                f"The bank {where} was made by skmeta {theirs.get('skmeta')}, and this "
                f"is {__version__}: what it holds may mean something else. Install "
                "that version, or give the rows to a bank in a new store."
            )
        raise ValueError(
            f"The bank {where} was made over another model: {theirs.get('estimator')} "
            f"{theirs.get('model', '')[:8]}; this is {ours['estimator']} "
            f"{ours['model'][:8]}. Its states mean nothing to this model. Load the "
            "model that made it from its file, such as one of joblib, since a model "
            "that is fitted again is another one. Or give the rows to a bank over this "
            "model in a new store."
        )

    # -- what goes in -----------------------------------------------------------------

    def update(self, X, y, sample_weight=None, *, task, choice_set=None):
        """Add rows to the states of their tasks.

        Afterwards each task is known as if all its rows had been given at once, in any
        order and in any number of updates. If there is an error, no task has changed.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows of one or many tasks, as they go into ``model.predict``.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row. A weight of 0 removes the row.
        task : id or array-like of shape (n_samples,)
            Task of each row: one id per row, or a single id for all rows. A task that
            is not known yet begins with these rows. With no rows at all nothing
            changes.
        choice_set : array-like of shape (n_samples,), default=None
            For a model of choices, the choice set of each row: an id that means
            something within its task. A set comes with all its offers in one update.
            If the task has a set of this id already, that is an error, so that what is
            sent twice counts once. With None the rows of each task are one new set.

        Returns
        -------
        self : TaskBank
            The same bank.
        """
        if has_no_rows(X):  # nothing comes in
            ids = {} if is_single(task) else {"task": task}
            sets = {} if choice_set is None else {"choice_set": choice_set}
            check_no_rows(X, y=y, sample_weight=sample_weight, **ids, **sets)
            return self
        known = self._model.known_rows(X, y, sample_weight, task, choice_set)
        keys, new = known[1], self._states.of_rows(*known)
        with self._store.writing() as now:
            found, before = now.read(keys)
            if not found.all():
                _warn_of_another_kind(now, keys[int(np.flatnonzero(~found)[0])])
            if found.any():
                known = [keys[i] for i in np.flatnonzero(found)]
                new[found] = self._states.merged(before, new[found], known)
            now.apply(keys, new)
        return self

    def remove(self, X, y, sample_weight=None, *, task, choice_set=None):
        """Take rows out of the states of their tasks, as if they were never given.

        A task without rows is no longer in the bank. If rows cannot have been given,
        there is an error, and no task has changed. Of sums this is checked only up to
        what is possible: other rows that could have been there are not noticed.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows that :meth:`update` was given.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.
        task : id or array-like of shape (n_samples,)
            Their tasks: one id per row, or a single id for all rows.
        choice_set : array-like of shape (n_samples,), default=None
            Their choice sets, which are removed as a whole. With None the rows of each
            task are one set, and any set of the same rows is removed.

        Returns
        -------
        self : TaskBank
            The same bank.
        """
        given = X, y, sample_weight, task, choice_set
        known = self._model.known_rows(*given, silent="kept")
        keys, less = known[1], self._states.of_rows(*known)
        with self._store.writing() as now:
            found, before = now.read(keys)
            _check_all_found(keys, found, "no row of it can be removed")
            left = self._states.removed(before, less, keys)
            n_left = self._states.n_rows(left)
            kept = [keys[i] for i in np.flatnonzero(n_left)]
            gone = [keys[i] for i in np.flatnonzero(n_left == 0)]
            now.apply(kept, left[n_left > 0], gone)
        return self

    def forget(self, ids):
        """Delete all that the bank knows of some tasks.

        Parameters
        ----------
        ids : id or iterable of ids
            Tasks in the bank.

        Returns
        -------
        self : TaskBank
            The same bank. The prior of its model still contains what these tasks told
            if they were in its meta-training. In a SQLite file what is deleted is
            overwritten, but the log beside the file may hold it until all processes
            have closed the bank.
        """
        keys = list(dict.fromkeys(keys_of_some(ids)))
        with self._store.writing() as now:
            found, values = now.read(keys)
            _check_all_found(keys, found, "there is nothing to forget")
            now.apply([], values[:0], keys)
        return self

    # -- predictions ------------------------------------------------------------------

    def predict(self, X, return_std=False, *, task):
        """Predict rows, each with what is known of its task.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows to predict.
        return_std : bool, default=False
            Whether to return deviations too, as the model's ``predict`` does.
        task : id or array-like of shape (n_samples,)
            Task of each row: one id per row, or a single id for all rows. For a task
            that is not in the bank the learned prior predicts.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted targets.
        y_std : ndarray of shape (n_samples,)
            Standard deviations of new targets; only with ``return_std``.
        """
        options = {"return_std": True} if return_std else {}
        if return_std and self._model.transforms_targets:
            raise ValueError(
                "return_std=True: deviations of transformed targets cannot be "
                "transformed back. Call predict_interval."
            )
        X, keys = self._model.new_rows(X, task)
        answer = self._answers("predict", X, keys, options)
        return answer if return_std else self._model.restored(answer, "predict")

    @_if_learner_has("predict_proba")
    def predict_proba(self, X, *, task, choice_set=None):
        """Predict the probabilities of the classes, or of offers in their choice sets.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows to predict.
        task : id or array-like of shape (n_samples,)
            Task of each row, as in :meth:`predict`.
        choice_set : array-like of shape (n_samples,), default=None
            For a model of choices, the choice set of each row: an id that means
            something within its task. With None the rows of each task are one set.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes) or (n_samples,)
            Columns are in the order of the model's ``classes_``. For a model of choices
            it is the probability that the offer is chosen from its set.
        """
        options = self._choice_options(X, task, choice_set)
        X, keys = self._model.new_rows(X, task)
        return self._answers("predict_proba", X, keys, options)

    @_if_learner_has("rank")
    def rank(self, X, *, task, choice_set=None):
        """Rank offers, each by what is known of its task.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Offers.
        task : id or array-like of shape (n_samples,)
            Task of each row, as in :meth:`predict`.
        choice_set : array-like of shape (n_samples,), default=None
            Choice set of each row, as in :meth:`predict_proba`.

        Returns
        -------
        place : ndarray of int of shape (n_samples,)
            The place of each offer in its set; 1 is the best.
        """
        options = self._choice_options(X, task, choice_set)
        X, keys = self._model.new_rows(X, task)
        return self._answers("rank", X, keys, options)

    def _choice_options(self, X, task, choice_set):
        """The choice sets of new rows, as `_answers` takes them."""
        if choice_set is None and not self._model.takes_choice_sets:
            return {}
        sets = self._model.sets_of_new_rows(X, task, choice_set)
        return {"choice_set": sets}

    @_if_learner_has("decision_function")
    def decision_function(self, X, *, task):
        """Compute log-odds, or what else the model's ``decision_function`` returns.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows to predict.
        task : id or array-like of shape (n_samples,)
            Task of each row, as in :meth:`predict`.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores of the classes.
        """
        X, keys = self._model.new_rows(X, task)
        return self._answers("decision_function", X, keys)

    @_if_learner_has("predict_interval")
    def predict_interval(self, X, coverage=0.9, *, task, **options):
        """Predict intervals that hold a given share of new targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows to predict.
        coverage : float, default=0.9
            Share of new targets that the intervals should hold, over tasks and rows.
        task : id or array-like of shape (n_samples,)
            Task of each row, as in :meth:`predict`.
        **options : dict
            Other arguments of the model's ``predict_interval``, such as ``exposure``.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper ends. If the model learns transformed targets, they are
            transformed back, which must rise or fall everywhere.
        """
        check_aligned(X=X, **columns_among(options))
        X, keys = self._model.new_rows(X, task)
        check_coverage(coverage)
        options = {"coverage": coverage, **options}
        ends = self._answers("predict_interval", X, keys, options)
        return self._model.restored(ends, "predict_interval")

    @_if_learner_has("suggest_queries")
    def suggest_queries(self, pool, n_queries=1, *, task, choice_set=None):
        """Choose which rows, or choice sets, to ask the owner of a task about next.

        Parameters
        ----------
        pool : {array-like, sparse matrix, dataframe} of shape (n_pool, n_features)
            Rows that can be asked about, and whose targets are of interest.
        n_queries : int, default=1
            Number of rows to choose, or of choice sets.
        task : id or array-like of shape (n_tasks,)
            The task, or several. The prior chooses for tasks that are not in the bank.
        choice_set : array-like of shape (n_pool,), default=None
            For a model of choices, the label of the choice set that each row of the
            pool belongs to.

        Returns
        -------
        rows : ndarray of int of shape (n_queries,) or (n_tasks, n_queries)
            Row numbers in ``pool``, the most useful row first. They are those of one
            task if ``task`` is a single id, and otherwise have a row for each id. For a
            model of choices they are the labels of choice sets.
        """
        beside = self._model.beside(choice_set)
        check_aligned(X=pool, **beside)
        pool = transformed_rows(self._model.outer, pool)
        ids = [task] if is_single(task) else task
        chosen = [
            self._learner_of(key).suggest_queries(pool, n_queries, **beside)
            for key in keys_of_some(ids)
        ]
        return chosen[0] if is_single(task) else np.stack(chosen)

    def score(self, X, y, sample_weight=None, *, task, choice_set=None):
        """Score predictions of new rows, each with what is known of its task.

        Unlike a few-shot score it adapts to no row of X.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows that :meth:`update` was not given.
        y : array-like of shape (n_samples,)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.
        task : id or array-like of shape (n_samples,)
            Task of each row, as in :meth:`predict`.
        choice_set : array-like of shape (n_samples,), default=None
            Choice set of each row, as in :meth:`predict_proba`.

        Returns
        -------
        score : float
            The model's own score of all rows together: R^2 of numbers, D^2 of counts,
            the accuracy of labels, McFadden's R^2 of choices.
        """
        if choice_set is not None or self._model.takes_choice_sets:
            return self._score_of_choices(X, y, sample_weight, task, choice_set)
        check_aligned(X=X, y=y, sample_weight=sample_weight)
        check_target(y, self._model.learner._targets.are_labels)
        predicted = self.predict(X, task=task)
        if self._model.transforms_targets:
            from sklearn.metrics import r2_score

            return r2_score(y, predicted, sample_weight=sample_weight)
        judge = self._model.fresh()
        vars(judge)["predict"] = lambda X: predicted
        return judge._score_as_it_is(X, y, sample_weight)

    def _score_of_choices(self, *given):
        """McFadden's R^2 of the choice sets of all tasks together."""
        rows, keys, sets = self._model.known_rows(*given)
        with self._store.reading() as now:
            found, values = now.read(keys)
            _warn_if_none_known(now, keys, found)
        place, total = np.cumsum(found) - 1, np.zeros(2)
        for t in range(len(keys)):
            model = self._model.fresh()
            if found[t]:
                model = self._states.adapted(values[[place[t]]])
            vars(model).pop("feature_names_in_", None)  # the rows have been checked
            some = slice(rows.starts[t], rows.starts[t + 1])
            X, y, weight = rows.X[some], rows.y[some], rows.weight[some]
            total += model._deviances(X, y, weight, sets.number[some])
        return float(1.0 - total[0] / total[1])

    def _answers(self, method, X, keys, options=None):
        """What ``method`` returns for validated rows of some tasks."""
        options = options or {}
        if method == "predict" and not options and self._known is not None:
            with self._lock, self._store.reading() as now:
                coef, codes = self._known.of(now, keys)
                _warn_if_none_known(now, keys, codes >= 0)
            return self._with_prior(
                lambda options, X, codes: self._states.predicted(coef, X, codes),
                method,
                options,
                X,
                codes,
            )
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        with self._store.reading() as now:
            found, values = now.read(list(number))
            _warn_if_none_known(now, keys, found)
        codes = np.fromiter(map(number.__getitem__, keys), np.intp, len(keys))
        codes = np.where(found, np.cumsum(found) - 1, -1)[codes]
        known = partial(self._states.answers, method, values)
        return self._with_prior(known, method, options, X, codes)

    def _with_prior(self, known, method, options, X, codes):
        """``known(options, X, codes)``, and for codes of -1 what the prior answers."""
        unknown = np.flatnonzero(codes < 0)
        if len(unknown) == 0:
            return known(options, X, codes)
        if self._model.learner._targets.own_classes:
            raise ValueError(
                f"{len(unknown)} of {len(codes)} rows are of tasks that are not in the "
                "bank, and each task has classes of its own: nothing is known of "
                "theirs. Call update with rows of these tasks first, or leave them out."
            )
        some = options_of_rows(options, unknown, len(codes))
        by_prior = self._model.by_prior(method, X[unknown], some)
        if len(unknown) == len(codes):
            return by_prior
        answer = put(by_prior, unknown, None, len(codes))
        rows = np.flatnonzero(codes >= 0)
        some = options_of_rows(options, rows, len(codes))
        found = known(some, X[rows], codes[rows])
        return put(found, rows, answer, len(codes))

    # -- what comes out ---------------------------------------------------------------

    def rows_of(self, id):
        """Return what the bank keeps of one task, for models of which it keeps rows.

        It is what the owner of the task may ask to see, and what the task can be moved
        to another bank by: ``bank.update(**rows, task=id)``.

        Parameters
        ----------
        id : id
            A task in the bank.

        Returns
        -------
        rows : :class:`~sklearn.utils.Bunch`
            ``X``, ``y`` and ``sample_weight`` in the order in which they were given.
            For a model of choices also ``choice_set``: the ids that were given, or
            numbers if a set came without one. Behind the steps of a Pipeline the rows
            are as these steps made them, and are called ``X_transformed``, and so is y
            where targets are transformed. Only a bank over the meta-learner itself,
            such as ``pipe[-1]``, takes such rows.
        """
        keys = keys_of_some([id])
        if self._states.kind != "rows":
            raise ValueError(
                f"A bank over this {type(self._model.learner).__name__} keeps sums of "
                "a task's rows, not the rows. Its to_frame shows what they tell."
            )
        with self._store.reading() as now:
            found, values = now.read(keys)
        if not found[0]:
            raise ValueError(
                f"Task {show(id_of(keys[0]))} is not in the bank, so that there are no "
                "rows of it. `id in bank` says whether a task is there."
            )
        rows = self._states.of_task(values)
        rows["X"] = numbers_of(rows["X"])
        # By the names of what it takes, update would transform them once more.
        changed = {"X": self._model.changes_rows}
        changed["y"] = self._model.transforms_targets
        return Bunch(
            **{
                f"{name}_transformed" if changed.get(name) else name: part
                for name, part in rows.items()
            }
        )

    def model_of(self, id):
        """Return the model, adapted to all rows of one task.

        Parameters
        ----------
        id : id
            The task.

        Returns
        -------
        adapted : estimator
            Equal to what ``adapt`` returns for the rows that the bank was given of this
            task. If the task is not in the bank, it is adapted to nothing.
        """
        (key,) = keys_of_some([id])
        return around(self._model.outer, self._learner_of(key))

    def _learner_of(self, key):
        with self._store.reading() as now:
            found, values = now.read([key])
            _warn_if_none_known(now, [key], found)
        return self._states.adapted(values) if found[0] else self._model.fresh()

    def to_frame(self):
        """Return a table with one row per task, as a feature store or SQL takes it.

        Returns
        -------
        table : DataFrame, or dict of {str: ndarray} if pandas is not installed
            The columns are ``id``, ``n_rows`` (the rows known of the task),
            ``intercept`` and a coefficient for each column of X, in the units of X and
            y. For numbers the intercept plus the coefficients times a row is what
            :meth:`predict` returns. For labels it is the log-odds at the task's most
            probable coefficients, and for counts the log rate; with several classes
            the names of the columns end in those of the classes. Standard, min-max,
            max-abs and robust scalers in front of the model are undone. Behind other
            steps the coefficients are those of the columns that the model gets, and
            their names begin with ``transformed__``. There are no coefficients if they
            alone would not predict: with a base model, learned features, a network, or
            targets that are transformed.
        """
        with self._store.reading() as now:
            keys = now.keys()
            _, values = now.read(keys)
        columns = columns_of(self._model, self._states, keys, values)
        try:
            from pandas import DataFrame
        except ImportError:
            return columns
        return DataFrame(columns)

    def refit(self, store=None):
        """Learn the prior anew from all tasks, and return a bank over it.

        The meta-learner is fitted anew with its parameters, to what the bank knows of
        all tasks. What stands in front of it, such as a scaler, stays as it is. A bank
        of sums learns from sums, and one of rows from the rows that it keeps.

        Parameters
        ----------
        store : None, str, path-like or MutableMapping, default=None
            Where the new bank keeps its tasks: as for :class:`TaskBank`. It must be
            empty.

        Returns
        -------
        bank : TaskBank
            A bank of the same tasks. This bank does not change.
        """
        with self._store.reading() as now:
            keys = now.keys()
            _, values = now.read(keys)
        if not keys:
            raise ValueError("refit learns from tasks, and the bank has none.")
        learner = self._states.refitted(keys, values)
        model = around(self._model.outer, learner)
        bank = TaskBank(model, store, max_rows=self.max_rows)
        with bank._store.writing() as new:
            if new.count():
                raise ValueError(
                    f"store holds {new.count()} tasks already. refit writes into an "
                    "empty store: pass another one."
                )
            new.apply(keys, self._states.carried_over(values, bank._states))
        return bank

    # -- as a container ---------------------------------------------------------------

    def __len__(self):
        with self._store.reading() as now:
            return now.count()

    def __contains__(self, id):
        try:
            (key,) = keys_of_some([id])
        except ValueError:  # nothing that could be an id
            return False
        with self._store.reading() as now:
            return bool(now.read([key])[0][0])

    def __iter__(self):
        with self._store.reading() as now:
            keys = now.keys()
        return map(id_of, keys)

    def __repr__(self):
        where = self._store.described()
        try:
            n = len(self)
        except ValueError:  # it is closed
            return f"TaskBank({self._model.outer!r}, {where}, closed)"
        tasks = "1 task" if n == 1 else f"{n:,} tasks"
        return f"TaskBank({self._model.outer!r}, {tasks} {where})"

    def close(self):
        """Close the file of the bank. A bank in memory has nothing to close.

        All updates are on the disk already. The bank cannot be used any more, but its
        file can be opened again.
        """
        self._store.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __getstate__(self):
        return {
            "model": self._model.outer,
            "store": self._store,
            "max_rows": self.max_rows,
        }

    def __setstate__(self, state):
        self.max_rows = state["max_rows"]
        self._begin(state["model"], lambda codec: state["store"])


# -- what it is made of ---------------------------------------------------------------


def _store_of(store, codec):
    """The `Store` that a user means: None, a path, or a mapping."""
    if store is None:
        return MemoryStore(codec)
    if isinstance(store, (str, os.PathLike)):
        if os.fspath(store) in ("", ":memory:"):
            raise ValueError(
                f"store={store!r} is no path. store=None keeps the tasks in memory."
            )
        from skmeta._bank.sqlite import SQLiteStore  # some Pythons have no SQLite

        return SQLiteStore(store, codec)
    if isinstance(store, MutableMapping):
        return MappingStore(store, codec)
    raise TypeError(
        "store is None (memory), the path of a SQLite file, or a mapping of text to "
        f"bytes that can be written; got {type(store).__name__}."
    )


def _states_for(learner, max_rows):
    """The `States` for a meta-learner that is adapted to no task."""
    if not tells_by_sums(learner):
        return RowStates(learner, max_rows)
    if max_rows is not None:
        raise ValueError(
            f"max_rows={max_rows!r}: a bank over this {type(learner).__name__} keeps "
            "sums and no rows, so it cannot leave out old ones. Leave max_rows out. If "
            "old rows are to count less, set half_life in the model."
        )
    return SumStates(learner)


# -- checks ---------------------------------------------------------------------------


def _checked_max_rows(max_rows):
    whole = isinstance(max_rows, Integral) and not isinstance(max_rows, bool)
    if max_rows is None or (whole and max_rows >= 1):
        return max_rows
    raise ValueError(
        f"max_rows={max_rows!r}: it is the largest number of rows that a bank keeps of "
        "a task, a whole number from 1 on, or None to keep them all."
    )


def _check_all_found(keys, found, so):
    """Refuse keys that are not in the bank."""
    missing = np.flatnonzero(~found)
    if len(missing):
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"Task {show(id_of(keys[missing[0]]))}{others} of {len(keys)} not in the "
            f"bank, so {so}. Nothing was changed. Leave out ids that are not in it: "
            "[i for i in ids if i in bank]."
        )


def _warn_if_none_known(now, keys, known):
    """Warn if no task is known, since all ids are of another type than the bank's."""
    if not known.any():
        _warn_of_another_kind(now, keys[0])


def _warn_of_another_kind(now, key):
    example = now.example()
    if example is None or kind_of_key(example) == kind_of_key(key):
        return
    warn(
        f"task has ids of the kind {kind_of_key(key)}, such as {show(id_of(key))}, and "
        f"the bank has ids of the kind {kind_of_key(example)}, such as "
        f"{show(id_of(example))}. These are never equal, so they name other tasks. "
        "Give all ids the same type, for instance by astype(str)."
    )
