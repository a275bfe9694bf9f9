"""Meta-learners of numbers and of labels: their targets, `predict` and `score`."""

from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skmeta._checks.keywords import with_hint_to_task
from skmeta._checks.scorers import scored_on_purpose, scoring_on_purpose
from skmeta._evaluation import mean_score, scores_of_tasks
from skmeta._many_tasks import is_ours
from skmeta._targets import Numbers, OwnLabels, SharedLabels
from skmeta._warn import warn
from skmeta.exceptions import ZeroShotWarning

ZERO_SHOT = {
    "score": (
        "{0.__class__.__name__} was meta-trained on {0.n_tasks_} tasks and is adapted "
        "to none: this scores its learned start (zero-shot). For a few-shot score pass "
        "task ids to score, or use scoring=make_few_shot_scorer(...)."
    ),
    "threshold": (
        "{0.__class__.__name__} was meta-trained on {0.n_tasks_} tasks and is adapted "
        "to none: TunedThresholdClassifierCV finds its threshold on probabilities of "
        "the learned start (zero-shot), and it takes no few-shot scorer. For a "
        "threshold that holds after a few rows of each task, choose it on "
        "skmeta.model_selection.few_shot_predict(model, X, y, task=..., "
        "method='predict_proba'), and set it by FixedThresholdClassifier(model, "
        "threshold=...)."
    ),
    "predict": (
        "{0.__class__.__name__} was meta-trained on {0.n_tasks_} tasks and is adapted "
        "to none: cross_val_predict gives the predictions of its learned start "
        "(zero-shot), those for a task without a row. For predictions after a few rows "
        "of each task take skmeta.model_selection.few_shot_predict(model, X, y, "
        "task=...)."
    ),
}

UNIT_WITHOUT_TASK = (
    "unit= says which rows of a task are given or scored together, and there is no "
    "task. Pass the ids as task=ids."
)


class _ScoresTasks:
    """`score` of both mixins. To the right of it stands a mixin of scikit-learn."""

    @with_hint_to_task
    def score(self, X, y, sample_weight=None, *, task=None, unit=None):
        """Few-shot score if task ids are given, else the ordinary score.

        With ids, a copy is adapted to 5 random rows of each task (of each class, where
        tasks have their own; or to 5 units) and scored on the task's other rows, three
        times; the result is the mean over tasks. Tasks of 5 rows or units or less are
        left out, with a warning that counts them. A model whose rows are in order of
        time gets 5 rows in a row, and is scored on later ones. Other numbers of rows
        and other metrics: :func:`skmeta.model_selection.make_few_shot_scorer`.

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
        unit : array-like of shape (n_samples,), default=None
            What each row belongs to within its task, such as its basket or visit: rows
            that are given or scored together. It takes ids of tasks as well.

        Returns
        -------
        score : float
            Mean :math:`R^2` of a regressor, mean accuracy of a classifier.
        """
        if task is None:
            if unit is not None:
                raise ValueError(UNIT_WITHOUT_TASK)
            if self._is_zero_shot() and not scored_on_purpose():
                warn(ZERO_SHOT["score"].format(self), ZeroShotWarning)
            return self._score_as_it_is(X, y, sample_weight)
        targets = self._targets
        scores = scores_of_tasks(
            self,
            type(self)._adapt_each,
            type(self)._ask_base_about,
            type(self)._score_as_it_is,
            X,
            y,
            task,
            sample_weight=sample_weight,
            unit=unit,
            stratify=targets.own_classes,
            in_time=self._rows_in_time,
            times=self._times_given(X) if self._rows_in_time else None,
            n_way=targets.n_way,
            together=self._scored_together(),
        )
        return mean_score(scores)

    def _scored_together(self):
        """How `scores_of_tasks` scores many tasks at once; None if it cannot."""
        # Imported here because it takes longer to import than skmeta itself.
        from skmeta._together import Together, all_left, metric_of, own_score

        metric = self._own_metric()
        if metric is None or not self._predicts_numbered:
            return None
        return Together(
            type(self)._predict_numbered,
            own_score,
            metric_of(metric) or all_left,
            self._targets.are_labels,
            metric,
        )

    def _own_metric(self):
        """``metric(y, predicted, sample_weight=None)``, the model's own score, or None.

        None says that a score is not only one of predictions.
        """
        ours = is_ours(self, "score", "_score_as_it_is")
        if not ours or type(self)._ordinary_score is not _ScoresTasks._ordinary_score:
            return None
        from sklearn.metrics import accuracy_score, r2_score

        return accuracy_score if self._targets.are_labels else r2_score

    def _score_as_it_is(self, X, y, sample_weight=None):
        """The ordinary score; that of the learned start is no mistake here."""
        with scoring_on_purpose():
            return self._ordinary_score(X, y, sample_weight)

    def _ordinary_score(self, X, y, sample_weight=None):
        return super().score(X, y, sample_weight)


class MetaRegressorMixin(_ScoresTasks, RegressorMixin):
    """A meta-learner of numbers. It stands to the left of `BaseMetaLearner`."""

    def _make_targets(self):
        return Numbers()

    @with_hint_to_task
    def predict(self, X):
        """Predict with the present weights: the prior's until adapted.

        Until adapted, the model predicts for a new task without known rows. It keeps
        nothing of single tasks of the meta-training. For known tasks call
        :meth:`adapt_predict` with their rows, or take a :class:`~skmeta.TaskBank`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted targets.
        """
        X = self._validate_new(X)
        return self._decode(self._raw_outputs(X), X)


class MetaClassifierMixin(_ScoresTasks, ClassifierMixin):
    """A meta-learner of labels. It stands to the left of `BaseMetaLearner`."""

    def _make_targets(self):
        own = getattr(self, "task_classes", "shared") == "own"
        kind = OwnLabels if own else SharedLabels
        return kind(class_weight=getattr(self, "class_weight", None))

    @with_hint_to_task
    def decision_function(self, X):
        """Compute the logits of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes these are the log-odds of ``classes_[1]``.
        """
        return self._answer(X, "decision_function")

    @with_hint_to_task
    def predict_proba(self, X):
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Columns are in the order of ``classes_``.
        """
        return self._answer(X, "predict_proba")

    @with_hint_to_task
    def predict(self, X):
        """Predict with the present weights: the prior's until adapted.

        Until adapted, the model predicts for a new task without known rows. It keeps
        nothing of single tasks of the meta-training. For known tasks call
        :meth:`adapt_predict` with their rows, or take a :class:`~skmeta.TaskBank`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted labels.
        """
        return self._answer(X, "predict")

    def _answer(self, X, method):
        check_is_fitted(self)
        if not hasattr(self, "classes_"):
            raise NotFittedError(
                f"This {type(self).__name__} has no classes until it is adapted to a "
                "task, which brings its own. Call adapt(X, y) and predict with what "
                "that returns."
            )
        X = self._validate_new(X)
        return self._decode(self._raw_outputs(X), X, method)


def check_place_of_mixins(cls, base):
    """Refuse a class that `score` would not reach, or that has no kind of its own."""
    order = cls.__mro__
    for ours, theirs in _MIXINS:
        if theirs not in order:
            continue
        if ours not in order or order.index(ours) > order.index(base):
            name = cls.__name__
            raise TypeError(
                f"{name} must inherit {ours.__name__} to the left of {base.__name__}, "
                f"and in the place of scikit-learn's {theirs.__name__}: "
                f"class {name}({ours.__name__}, {base.__name__}). Otherwise its score "
                f"would not adapt before it scores; got {_bases(cls)}."
            )


_MIXINS = (
    (MetaRegressorMixin, RegressorMixin),
    (MetaClassifierMixin, ClassifierMixin),
)


def _bases(cls):
    return f"class {cls.__name__}({', '.join(base.__name__ for base in cls.__bases__)})"
