"""Ordinary estimators whose `fit` is the adaptation of a frozen meta-learner."""

from numbers import Integral, Real

from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    _fit_context,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skmeta._checks.keywords import with_hint_to_task
from skmeta._checks.scorers import fitting_another_model
from skmeta._compositions import first_meta_learner, with_parameters
from skmeta._copies import restored_on_error
from skmeta.adaptation import adapt, to_sklearn
from skmeta.predicting import asked, n_adapt_rows
from skmeta.reptile import ReptileClassifier, ReptileRegressor

__all__ = ["FewShotClassifier", "FewShotRegressor"]


class BaseFewShot(MetaEstimatorMixin, BaseEstimator):
    """What both few-shot estimators share."""

    _parameter_constraints: dict = {
        "meta_estimator": [HasMethods(["fit", "predict"]), None],
        "adapt_steps": [
            Interval(Integral, 0, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "alpha": [Interval(Real, 0, None, closed="left"), None],
    }

    def __init__(
        self, meta_estimator=None, *, adapt_steps=None, learning_rate=None, alpha=None
    ):
        self.meta_estimator = meta_estimator
        self.adapt_steps = adapt_steps
        self.learning_rate = learning_rate
        self.alpha = alpha

    @with_hint_to_task
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Adapt a copy of the meta-learner to the rows of one task.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of one task.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        self : object
            With the adapted copy in ``estimator_``.
        """
        with restored_on_error(self):
            self.estimator_ = self._adapted(X, y, sample_weight)
            for name in ("n_features_in_", "feature_names_in_", "classes_"):
                vars(self).pop(name, None)
                if hasattr(self.estimator_, name):
                    setattr(self, name, getattr(self.estimator_, name))
        return self

    def _adapted(self, X, y, sample_weight):
        given = {
            name: getattr(self, name)
            for name in ("adapt_steps", "learning_rate", "alpha")
            if getattr(self, name) is not None
        }
        if self.meta_estimator is None:
            model = self._from_scratch().set_params(**given)
            with fitting_another_model():
                return model.fit(X, y, sample_weight)
        model = self.meta_estimator
        if isinstance(model, FrozenEstimator):
            model = model.estimator
        try:
            check_is_fitted(model)
        except NotFittedError:
            raise NotFittedError(_NOT_FROZEN.format(type(self).__name__)) from None
        name = type(self).__name__
        inner = first_meta_learner(model, name)
        if not inner._predicts_targets:
            raise TypeError(
                f"{name} fits y, and a {type(inner).__name__} "
                "learns which offers of a choice set are preferred. Call "
                "adapt(model, X, y, choice_set=...) instead."
            )
        if given:
            model = with_parameters(model, given, name)
        return adapt(model, X, y, sample_weight)

    def predict(self, X):
        """Predict for the task that `fit` was given.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted targets.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = self.meta_estimator
        tags.input_tags.sparse = inner is None or get_tags(inner).input_tags.sparse
        return tags


@to_sklearn.register(BaseFewShot)
def _plain_model_of(estimator):
    check_is_fitted(estimator)
    return to_sklearn(estimator.estimator_)


@asked.register(BaseFewShot)
def _asked_of_the_adapted_copy(estimator, X, method, options):
    check_is_fitted(estimator)
    return asked(estimator.estimator_, X, method, options)


@n_adapt_rows.register(BaseFewShot)
def _rows_of_the_adapted_copy(estimator):
    check_is_fitted(estimator)
    return n_adapt_rows(estimator.estimator_)


_NOT_FROZEN = (
    "The meta_estimator of {0} is not meta-trained. If it was, scikit-learn has cloned "
    "it, which forgets all that was learned: wrap it, "
    "{0}(FrozenEstimator(meta_estimator)). Otherwise call its meta_fit first."
)


def _inner_has(method):
    """Whether the meta-learner, or a fresh one in its place, has the method."""

    def check(self):
        inner = self.meta_estimator
        if inner is not None:
            getattr(inner, method)
        return True

    return check


class FewShotRegressor(RegressorMixin, BaseFewShot):
    """Regressor for one task: `fit` adapts a frozen meta-learner to it.

    With it, :class:`~sklearn.model_selection.GridSearchCV` can tune the adaptation on
    the rows of a new task, and a meta-learner can take the place of any regressor.

    Parameters
    ----------
    meta_estimator : estimator, default=None
        Meta-trained meta-learner or composition, in a
        :class:`~sklearn.frozen.FrozenEstimator`, without which ``clone`` (and so every
        search) forgets what was learned. None starts from scratch: a
        :class:`ReptileRegressor` fitted to the rows alone, the baseline without
        meta-learning, where nothing is adapted and ``adapt_steps`` has no effect.
    adapt_steps : int or "auto", default=None
        If given, replaces the meta-learner's.
    learning_rate : float, default=None
        If given, replaces the meta-learner's.
    alpha : float, default=None
        If given, replaces the meta-learner's.

    Attributes
    ----------
    estimator_ : estimator
        The adapted copy.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where `fit` has seen names.

    See Also
    --------
    FewShotClassifier : The same for labels.
    skmeta.adapt : The adaptation alone.

    Examples
    --------
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skmeta import FewShotRegressor, ReptileRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> model = ReptileRegressor(random_state=0).meta_fit(tasks)
    >>> search = GridSearchCV(
    ...     FewShotRegressor(FrozenEstimator(model)), {"adapt_steps": [0, 10]}, cv=3
    ... ).fit(X, y)
    >>> search.best_params_
    {'adapt_steps': 10}
    """

    def _from_scratch(self):
        return ReptileRegressor(max_iter=50, random_state=0)


class FewShotClassifier(ClassifierMixin, BaseFewShot):
    """Classifier for one task: `fit` adapts a frozen meta-learner to it.

    Parameters
    ----------
    meta_estimator : estimator, default=None
        Meta-trained meta-learner or composition, in a
        :class:`~sklearn.frozen.FrozenEstimator`, without which ``clone`` (and so every
        search) forgets what was learned. None starts from scratch: a
        :class:`ReptileClassifier` fitted to the rows alone, the baseline without
        meta-learning, where nothing is adapted and ``adapt_steps`` has no effect.
    adapt_steps : int or "auto", default=None
        If given, replaces the meta-learner's.
    learning_rate : float, default=None
        If given, replaces the meta-learner's.
    alpha : float, default=None
        If given, replaces the meta-learner's.

    Attributes
    ----------
    estimator_ : estimator
        The adapted copy.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where `fit` has seen names.

    See Also
    --------
    FewShotRegressor : The same for numbers.
    skmeta.adapt : The adaptation alone.

    Examples
    --------
    >>> from sklearn.frozen import FrozenEstimator
    >>> from skmeta import FewShotClassifier, ReptileClassifier
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(30, kind="classification", random_state=0)
    >>> model = ReptileClassifier(random_state=0).meta_fit(tasks)
    >>> FewShotClassifier(FrozenEstimator(model)).fit(X[:5], y[:5]).predict(X).shape
    (20,)
    """

    def _from_scratch(self):
        return ReptileClassifier(max_iter=50, random_state=0)

    @available_if(_inner_has("predict_proba"))
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
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_inner_has("decision_function"))
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
        check_is_fitted(self)
        return self.estimator_.decision_function(X)
