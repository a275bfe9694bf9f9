"""Estimators that combine what several models say, or turn it into something else.

For each kind an entry says which models are inside, and what each of them learns. The
estimator itself predicts: rebuilt around adapted models, it combines their answers as
it always does.
"""

from abc import ABC, abstractmethod
from copy import copy

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted, validate_data

from skmeta._checks.values import show

# A message shows at most this many labels.
SHOWN = 10


class Ensemble(ABC):
    """How meta-learners are reached in an estimator that combines several models.

    Subclass this, and pass an instance to :func:`register_composition`. Then
    :func:`~skmeta.meta_fit`, :func:`~skmeta.adapt`, :func:`~skmeta.partial_adapt`,
    :func:`~skmeta.adapt_predict` and the few-shot scores work on estimators of that
    kind. Each meta-learner inside adapts, other models stay as they are, and the
    estimator combines what they predict.

    It is also for an estimator around a single model that turns the predictions into
    something else, such as a threshold. A :class:`Composition` is faster, if the
    estimator predicts what the model inside does.

    `members` and `rebuild` must be implemented. The other methods have defaults for an
    ensemble whose members all learn the same rows and targets. No method may change its
    arguments.

    Attributes
    ----------
    several_targets : bool
        Whether y has a column for each member. By default False.

    Examples
    --------
    An estimator that averages a meta-learner and a nearest neighbour.

    >>> from copy import copy
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator, RegressorMixin, clone
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from skmeta import EmpiricalBayesRegressor, adapt, meta_fit
    >>> from skmeta.adaptation import Ensemble, register_composition
    >>> from skmeta.datasets import make_linear_tasks
    >>> class WithNeighbour(RegressorMixin, BaseEstimator):
    ...     __metadata_request__fit = {"task": True}
    ...
    ...     def __init__(self, regressor):
    ...         self.regressor = regressor
    ...
    ...     def fit(self, X, y, *, task=None):
    ...         self.regressor_ = clone(self.regressor).fit(X, y, task=task)
    ...         self.neighbour_ = KNeighborsRegressor(1).fit(X, y)
    ...         return self
    ...
    ...     def predict(self, X):
    ...         return (self.regressor_.predict(X) + self.neighbour_.predict(X)) / 2
    >>> class MembersWithNeighbour(Ensemble):
    ...     def members(self, estimator):
    ...         return [getattr(estimator, "regressor_", estimator.regressor)]
    ...
    ...     def rebuild(self, estimator, members):
    ...         rebuilt = copy(estimator)
    ...         [rebuilt.regressor_] = members
    ...         return rebuilt
    >>> register_composition(WithNeighbour, MembersWithNeighbour())
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> model = meta_fit(WithNeighbour(EmpiricalBayesRegressor(random_state=0)), tasks)
    >>> adapt(model, X[:5], y[:5]).predict(X[5:]).shape
    (15,)
    """

    several_targets = False
    # Whether members are asked about the rows as they come, whatever these are.
    _hands_rows_on = False

    def _takes_several_targets(self, estimator):
        """Whether y has several columns; None if it is not fitted and may have."""
        return self.several_targets

    @abstractmethod
    def members(self, estimator):
        """Return the models that may hold a meta-learner.

        Parameters
        ----------
        estimator : estimator
            The ensemble.

        Returns
        -------
        members : list of estimators
            The fitted ones if ``estimator`` is fitted, otherwise those that its ``fit``
            would fit.
        """

    @abstractmethod
    def rebuild(self, estimator, members):
        """Return a copy of a fitted ensemble around other fitted members.

        Parameters
        ----------
        estimator : estimator
            The fitted ensemble.
        members : list of estimators
            As many as :meth:`members` returns, in its order.

        Returns
        -------
        rebuilt : estimator
            A copy that may share everything else with ``estimator``.
        """

    def rows_of(self, estimator, number, X, y):
        """Return the rows as one of the members learns them.

        Parameters
        ----------
        estimator : estimator
            The fitted ensemble.
        number : int
            The member's place in the list.
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows as they go into ``estimator.fit``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.

        Returns
        -------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_inside)
            By default the same rows.
        """
        return X

    def targets_of(self, estimator, number, y):
        """Return the targets as one of the members learns them.

        Parameters
        ----------
        estimator : estimator
            The fitted ensemble.
        number : int
            The member's place in the list.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets as they go into ``estimator.fit``.

        Returns
        -------
        y : array-like of shape (n_samples,)
            By default the same targets.
        """
        return y

    def check(self, estimator, verb):  # noqa: B027 (there is nothing to refuse)
        """Raise an error if a verb cannot be used on this estimator.

        By default every verb can be used.

        Parameters
        ----------
        estimator : estimator
            The ensemble.
        verb : str
            Name of the function that is called, such as "partial_adapt".
        """


# -- scikit-learn's ensembles ---------------------------------------------------------


class _FittedFirst(Ensemble):
    """An ensemble that must be meta-trained before all verbs but `meta_fit`."""

    attribute, parameter = "estimators_", "estimator"

    def members(self, estimator):
        if hasattr(estimator, self.attribute):
            return list(getattr(estimator, self.attribute))
        return [getattr(estimator, self.parameter)]

    def rebuild(self, estimator, members):
        rebuilt = copy(estimator)
        setattr(rebuilt, self.attribute, list(members))
        return rebuilt

    def check(self, estimator, verb):
        if verb != "meta_fit":
            check_is_fitted(estimator)


class Votes(_FittedFirst):
    """Voting: all members learn the same rows, and labels as whole numbers."""

    _hands_rows_on = True

    def members(self, estimator):
        if hasattr(estimator, "estimators_"):
            return list(estimator.estimators_)
        return [model for _, model in estimator.estimators if model != "drop"]

    def rebuild(self, estimator, members):
        rebuilt, left = super().rebuild(estimator, members), iter(members)
        rebuilt.named_estimators_ = Bunch(
            **{
                name: model if isinstance(model, str) else next(left)
                for name, model in estimator.named_estimators_.items()
            }
        )
        return rebuilt

    def targets_of(self, estimator, number, y):
        return _coded(estimator, y) if is_classifier(estimator) else y


class Bags(_FittedFirst):
    """Bagging: each member sees some of the columns, and all rows that are given."""

    def rows_of(self, estimator, number, X, y):
        X = validate_data(
            estimator,
            X,
            accept_sparse=["csr", "csc"],
            dtype=None,
            ensure_all_finite=False,
            reset=False,
        )
        return X[:, estimator.estimators_features_[number]]

    def targets_of(self, estimator, number, y):
        return _coded(estimator, y) if is_classifier(estimator) else y


class Calibrated(_FittedFirst):
    """Calibration: the models adapt, and the learned curves stay as they are.

    These are curves of predictions for a new task. Those of adapted models lie further
    apart, where a sigmoid goes on and an isotonic curve has ended at 0 or 1.
    """

    _hands_rows_on = True

    def members(self, estimator):
        if hasattr(estimator, "calibrated_classifiers_"):
            return [pair.estimator for pair in estimator.calibrated_classifiers_]
        return [estimator.estimator]

    def rebuild(self, estimator, members):
        rebuilt = copy(estimator)
        pairs = [copy(pair) for pair in estimator.calibrated_classifiers_]
        for pair, model in zip(pairs, members, strict=True):
            pair.estimator = model
        rebuilt.calibrated_classifiers_ = pairs
        return rebuilt

    def check(self, estimator, verb):
        if estimator.method == "isotonic":
            raise TypeError(
                f"{verb}: an isotonic curve is learned from predictions before any row "
                "of a task is given. Adapted models predict further from one half, "
                "where it has ended at 0 or 1. Set method='sigmoid', or leave out "
                "CalibratedClassifierCV."
            )
        super().check(estimator, verb)


class Single(_FittedFirst):
    """A threshold: the one model adapts, and the threshold stays as it is."""

    _hands_rows_on = True

    attribute = "estimator_"

    def members(self, estimator):
        return [getattr(estimator, self.attribute, getattr(estimator, self.parameter))]

    def rebuild(self, estimator, members):
        rebuilt = copy(estimator)
        [model] = members
        setattr(rebuilt, self.attribute, model)
        return rebuilt


class Stacked(Single):
    """Stacking: the final estimator adapts to what the models in front predict.

    It has learned from what they predict as meta-trained, for a new task, so they stay.
    """

    attribute, parameter = "final_estimator_", "final_estimator"
    _hands_rows_on = False

    def rows_of(self, estimator, number, X, y):
        return estimator.transform(X)

    def targets_of(self, estimator, number, y):
        return _coded(estimator, y) if is_classifier(estimator) else y

    def check(self, estimator, verb):
        final = estimator.final_estimator
        fitted_alone = verb == "meta_fit" and not any(
            _holds_meta_learner(model) for _, model in estimator.estimators
        )
        if fitted_alone or not _holds_meta_learner(final):
            name = type(estimator).__name__
            raise TypeError(_STACKED.format(verb=verb, name=name))
        super().check(estimator, verb)


def _holds_meta_learner(model):
    """Whether a model is a meta-learner, or has one among its parameters."""
    parts = (model, *getattr(model, "get_params", dict)().values())
    return any(hasattr(part, "partial_meta_fit") for part in parts)


class Outputs(_FittedFirst):
    """One model for each column of y."""

    several_targets = True
    _hands_rows_on = True

    def targets_of(self, estimator, number, y):
        return _columns(estimator, y)[:, number]


class Chain(_FittedFirst):
    """One model for each column of y, which also sees the columns before it."""

    several_targets = True

    def members(self, estimator):
        if hasattr(estimator, "estimators_"):
            return list(estimator.estimators_)
        # scikit-learn 1.6 has the name `base_estimator`
        base = getattr(estimator, "base_estimator", None)
        return [getattr(estimator, "estimator", base)]

    def rows_of(self, estimator, number, X, y):
        X = validate_data(estimator, X, accept_sparse=True, reset=False)
        if number == 0:
            return X
        before = _columns(estimator, y)[:, list(estimator.order_[:number])]
        if sparse.issparse(X):
            return sparse.hstack((X, before), format="csr")
        return np.hstack((X, before))

    def targets_of(self, estimator, number, y):
        return _columns(estimator, y)[:, estimator.order_[number]]

    def check(self, estimator, verb):
        super().check(estimator, verb)
        if estimator.cv is not None:
            name = type(estimator).__name__
            raise TypeError(
                f"{verb}: the models of a {name} with cv have learned from predictions "
                "of the columns before them, and a task would show them the columns "
                f"themselves. Set cv=None, or take {_WITHOUT_CHAIN[name]}."
            )


_WITHOUT_CHAIN = {
    "RegressorChain": "MultiOutputRegressor",
    "ClassifierChain": "MultiOutputClassifier",
}


class OneAgainstRest(_FittedFirst):
    """One model for each class, of 1 for this class and 0 for the others."""

    _hands_rows_on = True

    def _takes_several_targets(self, estimator):
        return getattr(estimator, "multilabel_", None)

    def targets_of(self, estimator, number, y):
        if np.ndim(y) == 1:
            _coded(estimator, y)
        column = estimator.label_binarizer_.transform(y)[:, [number]]
        return np.ravel(column.toarray() if sparse.issparse(column) else column)


class Refused(Ensemble):
    """An estimator whose members cannot adapt, with what to do instead."""

    def __init__(self, reason):
        self.reason = reason

    def members(self, estimator):
        return [getattr(estimator, "estimator", None)]

    def rebuild(self, estimator, members):
        return estimator

    def check(self, estimator, verb):
        raise TypeError(self.reason.format(verb=verb, name=type(estimator).__name__))


def _coded(estimator, y):
    """The number of each label among ``classes_``."""
    y, classes = np.asarray(y), estimator.classes_
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    number = {label: i for i, label in enumerate(classes.tolist())}
    labels = y.tolist()
    for label in labels:
        if label not in number:
            known = ", ".join(map(show, classes.tolist()[:SHOWN]))
            raise ValueError(
                f"y holds the label {show(label)}, which {type(estimator).__name__} "
                f"has not seen in meta-training. It knows {known}"
                f"{', ...' if len(classes) > SHOWN else ''}. Leave these rows out."
            )
    return np.array([number[label] for label in labels], dtype=np.intp)


def _columns(estimator, y):
    """y as an array with a column for each member."""
    y = np.asarray(y)
    n_columns = len(estimator.estimators_)
    if y.ndim != 2 or y.shape[1] != n_columns:
        raise ValueError(
            f"{type(estimator).__name__} was fitted to {n_columns} columns of y; got y "
            f"of shape {y.shape}. Pass all of them, in the same order."
        )
    return y


_STACKED = (
    "{verb}: {name} hands ids of tasks to all of its models or to none. It can be "
    "meta-trained only if its final_estimator is a meta-learner, which then adapts, "
    "and one of its estimators is one, too. Otherwise make it the base model: "
    "base_estimator={name}(...) of a meta-learner."
)
_SEVERAL_CLASSES = (
    "{verb}: each model of a {name} learns rows of some classes only, which a task may "
    "not have. The classifiers of skmeta take several classes themselves: use the one "
    "inside without {name}, or OneVsRestClassifier, whose models adapt."
)
_BOOSTED = (
    "{verb}: each model of an {name} is fitted to rows that are weighted by the errors "
    "of those before it, which have no meaning for a new task, and its fit takes no "
    "ids. Boost the base model instead: "
    "base_estimator=HistGradientBoosting{kind}() of a meta-learner."
)


def _boosted(kind):
    return Refused(_BOOSTED.replace("{kind}", kind))


# By package of scikit-learn and class. They are found by name, because importing these
# modules takes longer than importing skmeta.
OF_SCIKIT_LEARN = {
    "calibration.CalibratedClassifierCV": Calibrated(),
    "ensemble.AdaBoostClassifier": _boosted("Classifier"),
    "ensemble.AdaBoostRegressor": _boosted("Regressor"),
    "ensemble.BaggingClassifier": Bags(),
    "ensemble.BaggingRegressor": Bags(),
    "ensemble.StackingClassifier": Stacked(),
    "ensemble.StackingRegressor": Stacked(),
    "ensemble.VotingClassifier": Votes(),
    "ensemble.VotingRegressor": Votes(),
    "model_selection.FixedThresholdClassifier": Single(),
    "model_selection.TunedThresholdClassifierCV": Single(),
    "multiclass.OneVsOneClassifier": Refused(_SEVERAL_CLASSES),
    "multiclass.OneVsRestClassifier": OneAgainstRest(),
    "multiclass.OutputCodeClassifier": Refused(_SEVERAL_CLASSES),
    "multioutput.ClassifierChain": Chain(),
    "multioutput.MultiOutputClassifier": Outputs(),
    "multioutput.MultiOutputRegressor": Outputs(),
    "multioutput.RegressorChain": Chain(),
}


def ensemble_of_scikit_learn(kind):
    """The entry of a class of scikit-learn, or None."""
    package, _, rest = kind.__module__.partition(".")
    if package != "sklearn":
        return None
    return OF_SCIKIT_LEARN.get(f"{rest.partition('.')[0]}.{kind.__name__}")
