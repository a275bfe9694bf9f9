"""Adapting to many tasks at once: `adapt_predict` and what stands behind it."""

import inspect

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skmeta import _task_input
from skmeta._base_model import remembering, told_by_base
from skmeta._checks.aligned import check_aligned
from skmeta._checks.keywords import with_hint_to_task

METHODS = (
    "predict",
    "predict_proba",
    "decision_function",
    "predict_interval",
    "rank",
)
# These arguments of a method may hold one value for each new row.
OF_ROWS = ("exposure", "choice_set")


class ManyTasks:
    """The verb `adapt_predict` of `BaseMetaLearner`."""

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
        method="predict",
        **options,
    ):
        """Adapt to many tasks at once, and predict other rows of theirs.

        The same as :meth:`adapt` on the rows of each task and ``method`` on its new
        rows, one task after the other, and in most cases many times faster. The
        meta-learner itself is not touched.

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
        method : {"predict", "predict_proba", "decision_function", \
                "predict_interval"}, default="predict"
            What to call on an adapted model; it must have this method.
        **options : dict
            Arguments of this method: ``return_std=True`` for "predict" and
            ``coverage=0.9`` for "predict_interval", where the model has them.
            ``exposure``, of models of counts, is one number or one for each new row.

        Returns
        -------
        y_new : ndarray of shape (n_new,), (n_new, n_classes) or (n_new, 2)
            What the method returns, in the order of X_new: predictions, probabilities
            or scores of the classes, or the lower and upper ends of intervals. With
            ``return_std`` it is a tuple of predictions and deviations.
        """
        return self._adapt_and_predict(
            (X, y, X_new, sample_weight, task, task_new), method, options
        )

    def _adapt_and_predict(self, given, method, options, **beside):
        """`adapt_predict` of what it was given, and of what came beside the rows."""
        check_is_fitted(self)
        self._check_method(method, options)
        check_aligned(X_new=given[2], **columns_among(options))
        known, new = _task_input.read_known_and_new(self, *given, **beside)
        return self._predict_each(known, new, method, options)

    def _predict_numbered(self, known, new, n_tasks, method):
        """`adapt_predict` of tasks that have numbers, (X, y, weight, codes) and so on.

        Values that cannot be used are reported without the tasks' ids.
        """
        X, y, weight, codes = known
        X, y = _task_input.validate_rows(self, X, y, reset=False, dtype=self._dtype)
        self._targets.check(y)
        weight = _task_input.validate_weight(self, weight, X)
        X_new = self._validate_new(new[0])
        rows = _task_input.arranged(X, y, weight, codes, X_new, new[1], n_tasks)
        return self._predict_each(*rows, method, {})

    @property
    def _predicts_numbered(self):
        """Whether this gives what adapted copies would."""
        verbs = "adapt", "adapt_predict", "_adapt_each", "_adapt_in_place"
        return is_ours(self, *verbs) and not self._targets.own_classes

    def _check_method(self, method, options):
        methods = [name for name in METHODS if hasattr(self, name)]
        if self._targets.own_classes:  # the columns are other classes in each task
            methods = ["predict"]
        if method not in methods:
            raise ValueError(
                f"method={method!r} cannot be called for many tasks at once with "
                f"{self!r}. Take one of {methods}, or adapt to one task at a time."
            )
        known = list(inspect.signature(getattr(self, method)).parameters)[1:]
        known = [name for name in known if name != "task"]
        for name in options:
            if name not in known:
                takes = f"takes {known}" if known else "takes no further argument"
                raise TypeError(
                    f"adapt_predict got an unexpected argument {name!r}: {method} of "
                    f"{type(self).__name__} {takes}."
                )

    def _predict_each(self, known, new, method, options):
        """`adapt_predict` on `KnownRows` and `NewRows`, one task at a time."""
        X_new, order, starts = new
        known, answer = known.sorted(), None
        for t in np.flatnonzero(np.diff(starts)):
            model = self._unadapted_copy()
            vars(model).pop("feature_names_in_", None)  # they have been checked
            rows = slice(known.starts[t], known.starts[t + 1])
            if rows.stop > rows.start:
                model._adapt_to_rows(known.X[rows], known.y[rows], known.weight[rows])
            rows = order[starts[t] : starts[t + 1]]
            some = options_of_rows(options, rows, len(order))
            found = getattr(model, method)(X_new[rows], **some)
            answer = put(found, rows, answer, len(order))
        return answer

    def _adapt_to_rows(self, X, y, weight):
        """Adapt in place to rows that have been validated with others."""
        self._adapt_in_place(X, y, weight)

    def _adapt_each(self, parts):
        """Copies adapted to each of a list of tasks, with members as for `meta_fit`."""
        told = None
        if hasattr(self, "base_estimator_"):
            tables = [
                _task_input.validate_task(self, *arguments, **beside)[0]
                for arguments, beside in map(of_part, parts)
            ]
            told = told_by_base(self, tables)
        with remembering(told):
            return [self.adapt(*of_part(part)[0], **of_part(part)[1]) for part in parts]


def of_part(part):
    """Arguments and keywords of `adapt` for one of a list of tasks.

    Its members are (X, y), and perhaps sample weights and choice sets.
    """
    X, y, weight, choice_set = (*part, None, None)[:4]
    return (X, y, weight), {} if choice_set is None else {"choice_set": choice_set}


def is_ours(model, *names):
    """Whether these methods of a model are this package's, and none is a user's own."""
    found = (getattr(type(model), name, None) for name in names)
    return all(
        method is not None and method.__module__.startswith("skmeta.")
        for method in found
    )


def columns_among(options):
    """Those arguments of a method that hold one value per row, and not one for all."""
    return {
        name: options[name]
        for name in OF_ROWS
        if options.get(name) is not None and not _is_number(options[name])
    }


def _is_number(value):
    return getattr(value, "ndim", None) == 0 or isinstance(value, (int, float))


def options_of_rows(options, rows, n_rows):
    """The arguments of a method for some of ``n_rows`` new rows."""
    some = {}
    for name, value in columns_among(options).items():
        if len(value) != n_rows:
            raise ValueError(
                f"{name} has {len(value)} values, and there are {n_rows} rows to "
                "predict. Pass one for each row."
            )
        some[name] = np.asarray(value)[rows]
    return options | some


def put(found, rows, answer, n_rows):
    """Put what a method returns for some rows in their places among all rows.

    ``answer`` is what it has returned for others, or None; it is written into. Methods
    may return several arrays as a tuple.
    """
    if isinstance(found, tuple):
        answers = (None,) * len(found) if answer is None else answer
        return tuple(
            put(part, rows, whole, n_rows)
            for part, whole in zip(found, answers, strict=True)
        )
    if answer is None:
        answer = np.zeros((n_rows, *found.shape[1:]), found.dtype)
    elif answer.dtype != found.dtype:  # longer texts, for instance
        answer = answer.astype(np.result_type(answer, found), copy=False)
    answer[rows] = found
    return answer
