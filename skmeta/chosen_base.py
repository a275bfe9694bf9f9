"""A base model that held-out tasks choose: what to choose from, and for what use."""

from numbers import Integral

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from skmeta._checks.parameters import check_range


class ChosenBase(BaseEstimator):
    """Settings of a base model that is chosen on held-out tasks.

    Pass an instance as ``base_estimator`` of a meta-learner, which checks the settings
    in ``fit``. "auto" is short for an instance with defaults. A grid reaches them as,
    for example, ``base_estimator__n_support``.

    Parameters
    ----------
    n_support : int or tuple (low, high), default=(1, 8)
        Number of rows that will be given of a new task, or a range of it. The choice is
        for the mean over 1, 2, 4, ... times ``low``, up to ``high``.
    candidates : dict of {str: estimator or None}, default=None
        Base models to choose from, by names of your choice. None stands for no base
        model; it is tried in any case. By default these are

        * "none": no base model;
        * "boosting": :class:`~sklearn.ensemble.HistGradientBoostingRegressor` (or
          Classifier) of 100 trees with at most 8 leaves, learning rate 0.05;
        * "forest": :class:`~sklearn.ensemble.RandomForestRegressor` (or Classifier) of
          60 trees with at least 5 rows in a leaf;
        * "boosting of y" and "forest of y": the same with ``base_target="y"``, for
          :class:`~skmeta.EmpiricalBayesRegressor`;
        * "boosting, offsets": boosting with ``prior="intercept"``, so that tasks differ
          by their intercepts only, for :class:`~skmeta.EmpiricalBayesClassifier` with
          ``prior="auto"``.

    See Also
    --------
    EmpiricalBayesRegressor : Its ``base_scores_`` tell how well each candidate did.

    Notes
    -----
    Base models are fitted to folds of tasks, as they always are, so that each candidate
    says something about tasks that it has not seen. The meta-learner then learns its
    correction without some of the tasks, is adapted to a few rows of each of these, and
    predicts its other rows. The score is the mean log density of numbers, the mean log
    probability of labels, or minus half the deviance of counts. For
    :class:`~skmeta.ReptileRegressor` it is minus the mean squared error. A base model
    is chosen only if its mean over tasks is better than without one by more than half a
    standard error.

    If another candidate clearly predicts best before any row is given, the empirical
    Bayes models keep it as well: it predicts until the model is adapted
    (``zero_shot_model_``).

    With ``features`` these are learned for the candidate "none", and for the base model
    that is chosen. The other candidates are compared without them.

    Candidates are compared on at most 150 tasks, and for that base models are fitted to
    at most 15,000 rows. What is chosen is then fitted to all rows. With fewer than 5
    tasks there is no choice, and no base model.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from skmeta import ChosenBase, EmpiricalBayesRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(30, random_state=0)
    >>> chosen = ChosenBase(
    ...     n_support=3,
    ...     candidates={"forest": RandomForestRegressor(20, min_samples_leaf=5)},
    ... )
    >>> model = EmpiricalBayesRegressor(base_estimator=chosen, random_state=0)
    >>> model = model.meta_fit(tasks)
    >>> model.base_choice_  # these tasks are linear
    'none'
    """

    _parameter_constraints: dict = {
        "n_support": [Interval(Integral, 0, None, closed="left"), tuple],
        "candidates": [dict, None],
    }

    def __init__(self, n_support=(1, 8), *, candidates=None):
        self.n_support = n_support
        self.candidates = candidates


def how_to_choose(base):
    """The checked `ChosenBase` that a ``base_estimator`` stands for, or None."""
    if isinstance(base, str):  # "auto"
        return ChosenBase()
    if not isinstance(base, ChosenBase):
        return None
    base._validate_params()
    check_range("n_support", base.n_support, least=0)
    if base.candidates is not None:
        _check_candidates(base.candidates)
    return base


def _check_candidates(candidates):
    for label, estimator in candidates.items():
        if not isinstance(label, str):
            raise TypeError(
                f"candidates of ChosenBase need names that are str; got {label!r}. "
                'Write {"ridge": Ridge(), ...}.'
            )
        is_class = isinstance(estimator, type)
        if is_class or not (estimator is None or hasattr(estimator, "fit")):
            raise TypeError(
                f"The candidate {label!r} of ChosenBase must be an estimator or None; "
                f"got {estimator!r}. Pass an instance, such as Ridge()."
            )
    if all(estimator is None for estimator in candidates.values()):
        raise ValueError(
            f"ChosenBase has no base model to choose: got candidates={candidates!r}. "
            "Give one estimator or more, or set base_estimator=None."
        )


def numbers_of_rows(n_support):
    """The numbers of rows to give in comparing: one, or some of a range."""
    if isinstance(n_support, Integral):
        return [int(n_support)]
    low, high = n_support
    numbers = [low]
    while numbers[-1] < high:
        numbers.append(min(max(1, 2 * numbers[-1]), high))
    return numbers


def default_candidates(labels, counts):
    """Boosting and a forest by their labels, for ``labels``, ``counts`` or numbers."""
    # This is imported here, since it takes longer to import than skmeta itself.
    from sklearn import ensemble

    kind = "Classifier" if labels else "Regressor"
    boosting = getattr(ensemble, f"HistGradientBoosting{kind}")(
        max_iter=100,
        learning_rate=0.05,
        max_leaf_nodes=8,
        l2_regularization=1.0,
        early_stopping=False,
    )
    forest = getattr(ensemble, f"RandomForest{kind}")(
        60, min_samples_leaf=5, max_features=0.5
    )
    if counts:  # both then predict rates above 0
        boosting.set_params(loss="poisson")
        forest.set_params(criterion="poisson")
    return {"boosting": boosting, "forest": forest}
