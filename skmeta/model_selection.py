"""Scoring, tuning and comparing by how well models adapt."""

from functools import partial
from numbers import Integral

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring, get_scorer_names, log_loss
from sklearn.metrics._scorer import _BaseScorer
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import _num_samples

from skmeta import _evaluation
from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.row_order import hint_at_newest_first, hint_at_order
from skmeta._checks.scorers import scoring_on_purpose
from skmeta._choice_scores import NAMED, ChoiceScore
from skmeta._comparing.result import BaselineComparison
from skmeta._compositions import (
    ask_base_once,
    has_outside_option,
    innermost,
    own_metric,
    part_that_adapts,
    rows_in_time,
    takes_choice_sets,
    takes_several_targets,
    targets_of,
    times_given,
)
from skmeta._many_tasks import METHODS
from skmeta._metrics import scorer_for
from skmeta._routing import asking_for_single_ids
from skmeta._together import Together, all_left, metric_of
from skmeta.adaptation import adapt_each, predict_each, predicts_each

__all__ = [
    "BaselineComparison",
    "compare_baselines",
    "few_shot_predict",
    "few_shot_scores",
    "make_few_shot_scorer",
]


_SCORERS = StrOptions(set(get_scorer_names()) | set(NAMED))
_OPTIONS = {
    "scoring": [_SCORERS, callable, list, dict, None],
    "n_support": [Interval(Integral, 0, None, closed="left")],
    "n_query": [Interval(Integral, 1, None, closed="left"), None],
    "n_repeats": [Interval(Integral, 1, None, closed="left")],
    "stratify": ["boolean", None],
    "row_order": [StrOptions({"random", "time"}), None],
    "small_tasks": [StrOptions({"skip", "raise"})],
    "random_state": ["random_state"],
}


@validate_params(
    {**_OPTIONS, "n_jobs": [Integral, None]}, prefer_skip_nested_validation=False
)
def few_shot_scores(
    estimator,
    X,
    y,
    task,
    *,
    sample_weight=None,
    unit=None,
    choice_set=None,
    scoring=None,
    n_support=5,
    n_query=None,
    n_repeats=3,
    stratify=None,
    row_order=None,
    small_tasks="skip",
    random_state=0,
    n_jobs=None,
):
    """Score a meta-trained model on tasks, each after adapting to a few rows.

    Of each task, ``n_support`` random rows are given to a copy of ``estimator`` to
    adapt to; the copy is scored on the task's other rows. Where each task has its own
    classes, ``n_support`` rows of each class are given. Rows that belong together, such
    as those of a basket, are given or scored as a whole if ``unit`` names them.

    Parameters
    ----------
    estimator : estimator
        Meta-trained meta-learner, or a composition that :func:`skmeta.adapt` takes.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows of tasks that meta-training has not seen.
    y : array-like of shape (n_samples,)
        Their targets; a column for each output of a MultiOutputRegressor or the like.
    task : array-like of shape (n_samples,)
        Task of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows, in adapting and, where the metric takes them, scoring.
        Rows of weight 0 are left out before any are drawn.
    unit : array-like of shape (n_samples,), default=None
        What each row belongs to within its task: its basket, visit or day. Units are
        never cut in two, and ``n_support`` and ``n_query`` then count units. The same
        label in two tasks means two units. None: each row is a unit.
    choice_set : array-like of shape (n_samples,), default=None
        For an :class:`~skmeta.EmpiricalBayesRanker`: the choice set of each offer. Sets
        are the units, and stay whole; ``unit`` may name larger ones, such as visits of
        several screens. Sets that do not say which offer is preferred are left out with
        a warning, unless the ranker has an outside option.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn, as for
        :func:`~sklearn.model_selection.cross_val_score`. None is the estimator's own
        score: :math:`R^2` or accuracy. If only one or two rows are left to score, take
        an error rather than :math:`R^2`. More on metrics in Notes. For a ranker
        ``"neg_choice_log_loss"``, ``"hit_rate"``, or ``"hit_rate_at_2"`` to
        ``"hit_rate_at_10"``, the metrics of :mod:`skmeta.metrics`; a scorer that
        :func:`~sklearn.metrics.make_scorer` makes of a metric that takes
        ``choice_set``; or a function ``(model, X, y, choice_set)``.
    n_support : int, default=5
        Number of rows of each task to adapt to, or of units; 0 scores the learned start
        itself. Where each task has its own classes, it is the number of rows of each
        class: a class that has no more gives all but one, and a class of one row gives
        that row.
    n_query : int, default=None
        Number of rows of each task to score, or of units: random ones of those not
        given, or, in order of time, those that follow the rows given (the horizon of a
        forecast). A task with fewer gives what it has. None scores all.
    n_repeats : int, default=3
        Draws of support rows per task; in order of time, the number of cut points.
    stratify : bool, default=None
        Whether support rows have the task's classes in proportion. The first answers
        of a new shopper do not; the episodes of "N-way K-shot" learning do. None is
        True if each task has its own classes, because rows of each class must be given
        then, and False otherwise.
    row_order : {"random", "time"}, default=None
        Which rows of a task are the support. With "random" they are drawn at random.
        With "time" the rows of a task are taken to be in order of time. First its first
        ``n_support`` rows are given, and all later ones are scored. Each further repeat
        cuts the task at a later point, where the ``n_support`` rows before the cut are
        given and those after it are scored. Units must then be in one piece. Where each
        task has its own classes, the
        first rows of each class are given. None is "time" if the meta-learner has
        ``row_order="time"`` or a ``half_life``, and "random" otherwise.
    small_tasks : {"skip", "raise"}, default="skip"
        What to do with tasks that cannot be scored: those with no more than
        ``n_support`` rows or units, those with more classes of their own than the model
        has outputs for, and those that cannot be split in proportion. "skip" leaves
        them out, with one warning that counts them; their scores are NaN. "raise" makes
        the first of them an error.
    random_state : int, RandomState instance or None, default=0
        Seed of the draws. The same for all candidates of a search, so that they are
        compared on the same rows.
    n_jobs : int, default=None
        Number of jobs to run in parallel, over tasks.

    Returns
    -------
    scores : ndarray of shape (n_tasks, n_repeats)
        One row for each task, in the order of the sorted ids; tasks that have only rows
        of weight 0 have none. A score is NaN if the task is left out, or if the metric
        is undefined for the rows to score. The scorer of :func:`make_few_shot_scorer`
        returns ``np.nanmean(scores)``.

    Raises
    ------
    ValueError
        If there are no ids, or no task can be scored.

    Notes
    -----
    A few rows need not show all classes. Therefore metrics of scikit-learn that take
    ``labels`` and judge probabilities or margins (log loss, Brier score, top-k
    accuracy, ROC AUC, hinge loss ...) get the model's classes, and ``pos_label`` is the
    second of two classes if the user does not set it. One-vs-rest averages of ROC AUC
    and average precision are over the classes that occur among the scored rows. Metrics
    that need rows of two classes, such as ROC AUC, are undefined (NaN) for rows of one
    class, as :math:`R^2` is for one row; a warning counts such scores.

    The predictions of all tasks are made together where that is possible. R2, squared,
    absolute and log loss and accuracy are then computed in one pass, and other scorers
    of scikit-learn get the predictions of each task. A callable of your own gets an
    adapted copy of ``estimator`` for each task, which takes longer.

    The draws depend on ``random_state``, on the place of a task among the sorted ids,
    and on the order of its rows. So renamed tasks or sorted rows change the draws and
    the mean score as another seed would.

    Examples
    --------
    >>> import numpy as np
    >>> from skmeta import ReptileRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.model_selection import few_shot_scores
    >>> tasks = make_linear_tasks(40, random_state=0)
    >>> model = ReptileRegressor(random_state=0).meta_fit(tasks[:30])
    >>> X, y = (np.concatenate(part) for part in zip(*tasks[30:]))
    >>> few_shot_scores(model, X, y, task=np.repeat(np.arange(10), 20)).shape
    (10, 3)
    """
    _check_one_metric(scoring)
    # The score of a search can itself be a few-shot score, so it is not used.
    estimator = part_that_adapts(estimator, "few_shot_scores")
    unit, choice_set = checked_sets(estimator, unit, choice_set)
    targets = targets_of(estimator)
    n_way = None if targets is None else targets.n_way
    in_time = _in_time(row_order, [estimator], X, task)
    if in_time and stratify and n_way is None:
        raise ValueError(
            "stratify=True draws rows so that classes are in proportion, and "
            "row_order='time' gives the first rows, whatever their classes. Set one of "
            "them to None."
        )
    score = score_of(estimator, scoring, weighted=sample_weight is not None)
    return _evaluation.scores_of_tasks(
        estimator,
        adapt_each,
        ask_base_once,
        score,
        X,
        y,
        task,
        sample_weight=sample_weight,
        unit=unit,
        choice_set=choice_set,
        outside=has_outside_option(estimator),
        n_support=n_support,
        n_query=n_query,
        n_repeats=n_repeats,
        stratify=n_way is not None if stratify is None else stratify,
        in_time=in_time,
        in_order=rows_in_time(estimator),
        times=times_given(estimator, X),
        n_way=n_way,
        small_tasks=small_tasks,
        random_state=random_state,
        n_jobs=n_jobs,
        together=score.together(estimator),
        several_targets=takes_several_targets(estimator),
    )


def _in_time(row_order, estimators, X, task):
    """Whether earlier rows of a task are given and later ones asked for.

    If nobody says so, and the rows of X seem to be in order of time, a warning does.
    """
    if row_order is None:
        in_time = any(map(rows_in_time, estimators))
    else:
        in_time = row_order == "time"
    sorts = (getattr(innermost(m), "time_column", None) for m in estimators)
    if in_time and all(column is None for column in sorts):
        _hint_at_order(X, task, hint_at_newest_first)
    if row_order is None and not in_time:
        _hint_at_order(X, task, partial(hint_at_order, consequence=DRAWN_AT_RANDOM))
    return in_time


DRAWN_AT_RANDOM = (
    "Rows are given and asked for at random: that tells how well a model fills gaps, "
    "and not how well it forecasts. If you will predict later rows from earlier ones, "
    "pass row_order='time'; if random rows are what you want, row_order='random'."
)


def _hint_at_order(X, task, hint):
    """Call a function that warns. What is wrong with X and ids is said later."""
    if not (hasattr(X, "__len__") or hasattr(X, "shape")):
        return
    if not hasattr(task, "__len__"):
        return
    if _num_samples(X) != _num_samples(task):
        return
    ids = check_task_ids(task, _num_samples(X))
    hint(X, group(ids)[0])


def checked_sets(estimator, unit, choice_set):
    """Units and choice sets, which only rankers have; theirs are the units."""
    name = type(innermost(estimator)).__name__
    if not takes_choice_sets(estimator):
        if choice_set is not None:
            raise ValueError(
                f"{name} takes no choice_set, which is for models of choices: "
                "EmpiricalBayesRanker. To keep rows together pass them as unit."
            )
        return unit, None
    if choice_set is None and unit is None:
        raise ValueError(_evaluation.WITHOUT_SETS.format(name))
    return (unit, unit) if choice_set is None else (unit, choice_set)


def score_of(estimator, scoring, weighted=False):
    """What scores a model on rows: `ChoiceScore` of a ranker, or else `FewRowsScore`.

    See `FewRowsScore` for the parameters.
    """
    if takes_choice_sets(estimator):
        return ChoiceScore(scoring)
    if isinstance(scoring, str) and scoring in NAMED:
        raise ValueError(
            f"scoring={scoring!r} is a metric of choice sets, for "
            f"EmpiricalBayesRanker; got {type(innermost(estimator)).__name__}. Take a "
            "metric of scikit-learn."
        )
    return FewRowsScore(estimator, scoring, weighted)


def _check_one_metric(scoring):
    if isinstance(scoring, (list, dict)):
        raise ValueError(
            f"few-shot scoring takes one metric; got scoring={scoring!r}. For several "
            "give a search a few-shot scorer of each: "
            "scoring={name: make_few_shot_scorer(name) for name in names}."
        )


class FewRowsScore:
    """Scores a model on a few rows. It may be adapted to no task on purpose.

    Parameters
    ----------
    estimator : estimator
        Whose copies are to be scored.
    scoring : str, callable or None
    weighted : bool
        Whether rows have weights.
    """

    def __init__(self, estimator, scoring, weighted=False):
        self._scoring, self._weighted = scoring, weighted
        self._scorer = scorer_for(estimator, scoring, weighted=weighted)

    def __call__(self, model, X, y, sample_weight=None):
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        with scoring_on_purpose():
            try:
                return self._scorer(model, X, y, **weights)
            except ValueError as error:
                if "NaN" in str(error) or "infinity" in str(error):
                    _check_predictions(model, X, error)
                raise

    def together(self, estimator):
        """The `Together` that does the same for many tasks; None if none can.

        A scorer that is no scorer of scikit-learn may do with a model what it likes, so
        that it gets models.
        """
        if takes_several_targets(estimator) or not predicts_each(estimator):
            return None
        own = own_metric(estimator)
        metric = plain_metric(estimator, self._scoring, own)
        if metric is None:
            return None
        are_labels = targets_of(estimator).are_labels
        return Together(predict_each, self, metric, are_labels, own)


def plain_metric(estimator, scoring, own):
    """A `metric_of` many tasks, of what a scorer asks a model and does with the answer.

    None if that is not known. ``own`` is the `own_metric` of the estimator.
    """
    if scoring is None:
        return None if own is None else metric_of(own) or all_left
    scorer = check_scoring(estimator, scoring)
    if not isinstance(scorer, _BaseScorer) or not is_from_sklearn(scorer):
        return None
    usual = "predict_proba" if scorer._score_func is log_loss else "predict"
    if scorer._kwargs or scorer._response_method != usual:
        return all_left
    classes = getattr(estimator, "classes_", None)
    return metric_of(scorer._score_func, scorer._sign, classes) or all_left


def is_from_sklearn(scorer):
    """Whether the class of a scorer is scikit-learn's, and not a user's own."""
    return type(scorer).__module__.startswith("sklearn.")


def _check_predictions(model, X, error):
    """Explain an error of a metric if the predictions are not finite."""
    predicted = np.asarray(model.predict(X))
    if predicted.dtype.kind != "f" or np.isfinite(predicted).all():
        return
    wrong = np.count_nonzero(~np.isfinite(predicted))
    raise ValueError(
        f"{error} {wrong} of {len(predicted)} predictions of a "
        f"{type(model).__name__} are NaN or infinite, so no metric takes them. The "
        "inverse of a target transformation may not be defined that far from the "
        "targets it was fitted to (PowerTransformer, log1p of negative numbers): take "
        "one that is defined everywhere."
    ) from error


class FewShotScorer:
    """A scorer that adapts before it scores; made by :func:`make_few_shot_scorer`."""

    def __init__(self, scoring, **options):
        self._scoring = scoring
        self._options = options
        self._requests = dict.fromkeys(("task", "unit", "choice_set"), True)
        self._requests["sample_weight"] = None

    def __call__(
        self,
        estimator,
        X,
        y,
        sample_weight=None,
        *,
        task=None,
        unit=None,
        choice_set=None,
    ):
        scores = few_shot_scores(
            estimator,
            X,
            y,
            task,
            sample_weight=sample_weight,
            unit=unit,
            choice_set=choice_set,
            scoring=self._scoring,
            **self._options,
        )
        return _evaluation.mean_score(scores)

    def __repr__(self):
        options = ", ".join(f"{k}={v!r}" for k, v in self._options.items())
        return f"make_few_shot_scorer({self._scoring!r}, {options})"

    def set_score_request(self, **requests):
        """Say which metadata the scorer asks for, as scikit-learn's own scorers do.

        Parameters
        ----------
        **requests : dict
            ``sample_weight``: True passes the weights given to the search on to the
            scorer, False does not, and a name passes metadata of that name. Without
            one of these, weights given to a search are an error. ``task``, ``unit`` and
            ``choice_set`` are always asked for; a name asks for metadata of that name
            instead.

        Returns
        -------
        self : object
            The scorer.
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request works with metadata routing only. Switch it on: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        unknown = sorted(set(requests) - set(self._requests))
        if unknown:
            raise TypeError(
                f"A few-shot scorer takes {sorted(self._requests)}; got a request for "
                f"{unknown}."
            )
        self._requests = self._requests | requests
        return self

    def get_metadata_routing(self):
        """Ask for ``task``, so that scikit-learn routes it here."""
        request = MetadataRequest(owner=type(self).__name__)
        for name, alias in self._requests.items():
            request.score.add_request(param=name, alias=alias)
        return asking_for_single_ids(request)

    def _accept_sample_weight(self):
        """Asked by scikit-learn's searches while routing is off."""
        return True


@validate_params(_OPTIONS, prefer_skip_nested_validation=True)
def make_few_shot_scorer(
    scoring=None,
    *,
    n_support=5,
    n_query=None,
    n_repeats=3,
    stratify=None,
    row_order=None,
    small_tasks="skip",
    random_state=0,
):
    """Make a scorer for searches and cross-validation that adapts before it scores.

    An ordinary scorer would rank the candidates by their learned start, before they
    adapt. The best of these is often not the one that adapts best.

    Parameters
    ----------
    scoring : str, callable or None, default=None
        The metric: the name of a scorer of scikit-learn, a scorer, or None for the
        estimator's own score. For a ranker see :func:`few_shot_scores`.
    n_support : int, default=5
        Number of rows of each held-out task to adapt to; 0 scores the learned start.
        Where each task has its own classes, it is the number of rows of each class. If
        the scorer is given ``unit``, it counts units.
    n_query : int, default=None
        Number of rows or units of each held-out task to score; None scores all that are
        not given. See :func:`few_shot_scores`.
    n_repeats : int, default=3
        Draws of support rows per task; in order of time, the number of cut points.
    stratify : bool, default=None
        Whether support rows have the task's classes in proportion; None is True where
        each task has its own classes.
    row_order : {"random", "time"}, default=None
        Whether support rows are drawn at random, or are earlier rows than those scored.
        None is as the meta-learner has it; see :func:`few_shot_scores`.
    small_tasks : {"skip", "raise"}, default="skip"
        Whether tasks with too few rows are left out, with a warning that counts them,
        or an error. In a search the warning comes once.
    random_state : int, RandomState instance or None, default=0
        Seed of the draws.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, sample_weight=None, *, task, unit=None,
        choice_set=None)``: the mean score over tasks, without those where a metric is
        undefined (ROC AUC of rows of one class). It asks for ``task`` by metadata
        routing, and for ``unit`` and ``choice_set`` if the search is given them: the
        rows that belong together, as in :func:`few_shot_scores`. To use the weights
        that a search is given in adapting and scoring, write
        ``scorer.set_score_request(sample_weight=True)``, as with any scorer of
        scikit-learn.

    See Also
    --------
    few_shot_scores : The scores of the single tasks.

    Examples
    --------
    >>> import numpy as np, sklearn
    >>> from sklearn.model_selection import GridSearchCV, GroupKFold
    >>> from skmeta import ReptileRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.model_selection import make_few_shot_scorer
    >>> tasks = make_linear_tasks(20, random_state=0)
    >>> X, y = (np.concatenate(part) for part in zip(*tasks))
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     search = GridSearchCV(
    ...         ReptileRegressor(max_iter=50, random_state=0),
    ...         {"learn_rates": [None, "parameter"]},
    ...         cv=GroupKFold(2).set_split_request(groups="task"),
    ...         scoring=make_few_shot_scorer("neg_root_mean_squared_error"),
    ...         error_score="raise",
    ...     ).fit(X, y, task=np.repeat(np.arange(20), 20))
    >>> search.best_params_
    {'learn_rates': 'parameter'}
    """
    _check_one_metric(scoring)
    return FewShotScorer(
        scoring,
        n_support=n_support,
        n_query=n_query,
        n_repeats=n_repeats,
        stratify=stratify,
        row_order=row_order,
        small_tasks=small_tasks,
        random_state=random_state,
    )


# -- predictions for all rows ---------------------------------------------------------


@validate_params(
    {
        "estimator": [HasMethods("fit")],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split"), None],
        "n_support": [Interval(Integral, 0, None, closed="left"), None],
        "n_query": _OPTIONS["n_query"],
        "method": [StrOptions(set(METHODS))],
        "row_order": _OPTIONS["row_order"],
        "random_state": _OPTIONS["random_state"],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=False,
)
def few_shot_predict(
    estimator,
    X,
    y,
    *,
    task,
    sample_weight=None,
    unit=None,
    choice_set=None,
    cv=None,
    n_support=5,
    n_query=None,
    method="predict",
    row_order=None,
    random_state=0,
    n_jobs=None,
    **options,
):
    """Predict each row by a model adapted to a few other rows of its task.

    What :func:`~sklearn.model_selection.cross_val_predict` is to an ordinary model,
    this is to a meta-learner. Whole tasks are held out in turn, and a clone of
    ``estimator`` is meta-trained on the others. The rows of a held-out task are then
    parted at random, in two or more parts, and each part is predicted by a copy that is
    adapted to ``n_support`` rows of the other parts. So no row is predicted by a model
    that has seen its target or that was meta-trained on its task.

    Parameters
    ----------
    estimator : estimator
        Meta-learner, or a composition that :func:`skmeta.adapt` takes, unfitted. A
        :class:`~sklearn.frozen.FrozenEstimator` is not fitted again, so it must not
        have been fitted to these tasks.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows of all tasks.
    y : array-like of shape (n_samples,)
        Their targets.
    task : array-like of shape (n_samples,)
        Task of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows, in meta-training and adapting. Rows of weight 0 are
        predicted, and never given.
    unit : array-like of shape (n_samples,), default=None
        What each row belongs to within its task: its basket, visit or day. Units are
        given or predicted as a whole, and ``n_support`` and ``n_query`` count units.
        None: each row is a unit.
    choice_set : array-like of shape (n_samples,), default=None
        For an :class:`~skmeta.EmpiricalBayesRanker`: the choice set of each offer. Sets
        are the units, and stay whole; ``unit`` may name larger ones.
    cv : int, splitter or None, default=None
        Splitter of whole tasks, whose ``split(X, y, groups)`` gets ``task`` as groups,
        and which tests each task once. A number is that of the folds of
        :class:`~sklearn.model_selection.GroupKFold`; None is 5, or the number of tasks
        if there are fewer.
    n_support : int or None, default=5
        Number of rows of its task, or of units, that each row is predicted from. None
        gives all other rows, or in order of time all earlier ones; 0 gives none, so
        that the learned start predicts. A task with too few rows gives all others, with
        a warning that counts such rows. Where each task has its own classes, it is the
        number of rows of each class, as far as there are others.
    n_query : int, default=None
        The most rows of a task, or units, that one adapted copy predicts. In order of
        time they are the next ones, so that it is the horizon of a forecast, and None
        is 1. With random rows None parts a task as little as is possible.
    method : {"predict", "predict_proba", "decision_function", "predict_interval", \
            "rank"}, default="predict"
        What to call on adapted copies; the meta-learner must have this method.
    row_order : {"random", "time"}, default=None
        From which rows of its task a row is predicted. With "time" the rows of a task
        are taken to be in order of time, and a row is predicted from the ``n_support``
        rows right before it (or before the ``n_query`` rows that it belongs to). The
        first rows of a task are predicted from as many as there are, and the first one
        of all by the learned start. None is "time" if the meta-learner has
        ``row_order="time"`` or a ``half_life``, and "random" otherwise.
    random_state : int, RandomState instance or None, default=0
        Seed of the parts and of the rows given.
    n_jobs : int, default=None
        Number of jobs to run in parallel, over folds.
    **options : dict
        Arguments of the method: ``return_std=True`` for "predict" and ``coverage=0.9``
        for "predict_interval", where the meta-learner has them. ``exposure``, of models
        of counts, is one number or one for each row.

    Returns
    -------
    predictions : ndarray of shape (n_samples,) or (n_samples, n_columns)
        What the method returns for each row, in the order of X. Probabilities have a
        column per class, and intervals two. With ``return_std`` it is a tuple of
        predictions and deviations.

    Raises
    ------
    ValueError
        If the splitter cuts a task apart or leaves one out; if the meta-learner does
        not have the method; or if tasks have classes of their own and a row has no
        other of its task to be predicted from.

    See Also
    --------
    few_shot_scores : Scores of a fitted model, task by task.
    skmeta.adapt_predict : Predictions from known rows of your choice.

    Notes
    -----
    Use it to look at single predictions, for a plot of them against the targets, or for
    a calibration curve. To compare models, take :func:`compare_baselines` or a search
    with :func:`make_few_shot_scorer`: a metric of all predictions together counts tasks
    with many rows more, and is no mean over tasks.

    Where tasks have labels in common, every class must occur in the training tasks of
    each fold. Columns of probabilities are in the order of the sorted labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import r2_score
    >>> from skmeta import EmpiricalBayesRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.model_selection import few_shot_predict
    >>> tasks = make_linear_tasks(30, random_state=0)
    >>> X, y = (np.concatenate(part) for part in zip(*tasks))
    >>> shop = np.repeat(np.arange(30), 20)
    >>> model = EmpiricalBayesRegressor("diagonal", random_state=0)
    >>> predicted = few_shot_predict(model, X, y, task=shop, n_support=5)
    >>> predicted.shape
    (600,)
    >>> before = few_shot_predict(model, X, y, task=shop, n_support=0)
    >>> print(f"{r2_score(y, before):.2f} {r2_score(y, predicted):.2f}")
    0.90 0.99
    """
    # Imported here because it takes longer to import than skmeta itself.
    from skmeta._comparing.predictions import few_shot_predictions

    unit, choice_set = checked_sets(estimator, unit, choice_set)
    in_time = _in_time(row_order, [estimator], X, task)
    return few_shot_predictions(
        estimator,
        X,
        y,
        task,
        sample_weight=sample_weight,
        unit=unit,
        choice_set=choice_set,
        cv=cv,
        n_support=n_support,
        n_query=n_query,
        method=method,
        in_time=in_time,
        random_state=random_state,
        n_jobs=n_jobs,
        options=options,
    )


# -- does meta-learning pay? ----------------------------------------------------------


@validate_params(
    {
        "estimator": [BaseEstimator, dict, list],
        "n_support": ["array-like", Integral],
        "n_query": _OPTIONS["n_query"],
        "scoring": [_SCORERS, callable, None],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split"), None],
        "n_repeats": _OPTIONS["n_repeats"],
        "baselines": ["array-like", None],
        "pooled": [HasMethods(["fit", "predict"]), list, None],
        "row_order": _OPTIONS["row_order"],
        "stratify": _OPTIONS["stratify"],
        "random_state": _OPTIONS["random_state"],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=False,
)
def compare_baselines(
    estimator,
    X,
    y,
    *,
    task,
    unit=None,
    choice_set=None,
    n_support=(0, 1, 2, 5, 10),
    n_query=None,
    scoring=None,
    cv=None,
    n_repeats=3,
    baselines=None,
    pooled=None,
    row_order=None,
    stratify=None,
    random_state=0,
    n_jobs=None,
):
    """Compare meta-learners with what one would do without them.

    Whole tasks are held out. Of each of them some rows are given, all models adapt to
    these, and all predict the same other rows. The result is a table, paired
    differences with intervals, a figure, and a verdict in words: whether adapting pays
    on these data, from how many rows on, and what it takes.

    Parameters
    ----------
    estimator : estimator, dict {name: estimator} or list of estimators
        Meta-learners, or compositions that :func:`skmeta.adapt` takes, unfitted.
        They are cloned and fitted with metadata routing switched on.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows of all tasks.
    y : array-like of shape (n_samples,)
        Their targets.
    task : array-like of shape (n_samples,)
        Task of each row.
    unit : array-like of shape (n_samples,), default=None
        What each row belongs to within its task: its basket, visit or day. Units are
        given or predicted as a whole, and ``n_support`` and ``n_query`` count units.
        None: each row is a unit.
    choice_set : array-like of shape (n_samples,), default=None
        For rankers: the choice set of each offer. Sets are the units, and stay whole;
        ``unit`` may name larger ones. See :func:`few_shot_scores`.
    n_support : int or sequence of int, default=(0, 1, 2, 5, 10)
        Numbers of rows given, or of units. A task takes part in a number if it has
        more. The rows given for a small number are among those for a larger one, and
        the rows to predict are the same for all numbers. If 0 is among them, a
        meta-learner pays only if given rows make it better, and not if it merely starts
        out better than the pooled model.
    n_query : int, default=None
        Number of rows or units to predict in each task, of those that are not given; in
        order of time the next ones (the horizon of a forecast). None means all.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn. None is ``"neg_root_mean_squared_error"`` for
        regressors, ``"neg_log_loss"`` for classifiers, ``"accuracy"`` where each task
        has its own classes, and ``"neg_choice_log_loss"`` for rankers, which take what
        :func:`few_shot_scores` takes for them. A name that starts with ``neg_`` is
        shown as an error, and differences in per cent of it: see
        :meth:`BaselineComparison.gain`.
    cv : int, splitter or None, default=None
        Splitter of whole tasks, whose ``split(X, y, groups)`` gets ``task`` as groups,
        and which tests a task at most once. A number is that of the folds of
        :class:`~sklearn.model_selection.GroupKFold`; None is 5, or the number of tasks
        if there are fewer.
    n_repeats : int, default=3
        Draws of given rows per task; in order of time, the number of cut points.
    baselines : sequence of str, default=None
        Some of ``"support mean"``, ``"pooled model"``, ``"pooled + offset"``, ``"own
        model"``, ``"neighbours"`` and ``"fine-tuned network"``; see Notes. None is all
        of them, or those without a pooled model if each task has its own classes. Of
        choices they are ``"equal chances"``, ``"pooled model"``, ``"pooled + own
        model"`` and ``"own model"``.
    pooled : estimator or list of estimators, default=None
        The pooled model. Of several, the one is taken that predicts left-out training
        tasks best. None offers linear models of several penalties and histogram
        gradient boosting; on sparse X the linear models alone.
    row_order : {"random", "time"}, default=None
        Which rows of a task are given. With "random" they are drawn at random. With
        "time" the rows of a task are taken to be in order of time: its first rows are
        given, and those after the largest number of them are asked for. Each further
        repeat leaves out some more of the task's first rows. None is "time" if one of
        the meta-learners has ``row_order="time"`` or a ``half_life``, and "random"
        otherwise. How far a baseline moves is learned from rows in the same order.
    stratify : bool, default=None
        Whether given rows take the task's classes in turn. None is True if each task
        has its own classes, and False otherwise.
    random_state : int, RandomState instance or None, default=0
        Seed of the draws and the baselines.
    n_jobs : int, default=None
        Number of jobs to run in parallel, over folds.

    Returns
    -------
    comparison : BaselineComparison
        Print it, or see its ``verdict``, ``to_frame()`` and ``plot()``.

    Raises
    ------
    ValueError
        If the splitter cuts tasks apart, no task has enough rows, or the estimators are
        not of one kind.

    See Also
    --------
    few_shot_scores : Scores of a fitted meta-learner, task by task.

    Notes
    -----
    The baselines see the features and targets that the first estimator's meta-learner
    sees, after the steps in front of it and the transformation of the target,
    standardised. All are scored on the user's y. Estimators that transform the target
    in other ways get baselines of their own. A FrozenEstimator is not fitted again, so
    it must not have been fitted to these tasks. How far a baseline moves is learned on
    training tasks, for each number of rows:

    * *support mean*: the mean of the given rows, shrunken towards that of all tasks by
      the variances within and between tasks; of labels, shrunken class frequencies.
    * *pooled model*: one model for all tasks, which does not adapt.
    * *pooled + offset*: the pooled model and an offset for the task, shrunken.
    * *own model*: ridge or logistic regression of the given rows alone.
    * *neighbours*: the mean of the given rows weighted by nearness, mixed with that of
      all tasks. In classification that is a smooth form of nearest prototypes.
    * *fine-tuned network*: :class:`~sklearn.neural_network.MLPRegressor` or
      :class:`~sklearn.neural_network.MLPClassifier` trained on all tasks, and some
      passes over the given rows.

    Of choices among the offers of sets:

    * *equal chances*: all offers of a set are equally probable.
    * *pooled model*: one conditional logit for all tasks, or gradient boosting of
      whether an offer is chosen, whose log-odds times a number are utilities. A model
      given as ``pooled`` is used in this way; it may be a ranker.
    * *pooled + own model*: a conditional logit of the given sets beside the utilities
      of the pooled model, with a penalty.
    * *own model*: a conditional logit of the given sets alone, with a penalty.

    Adapting pays if the meta-learner is clearly ahead of the pooled model, and of
    itself before any row was given, by at least one per cent. Whether it does so "from
    k rows on" is tested from the largest number of rows downwards, each time at the
    2.5 % level, until a test fails; so the chance of a false claim is at most 2.5 % for
    all numbers together. It does not pay if the whole interval lies below two per cent;
    otherwise it is unclear. Each task is compared with itself, and no single task
    decides. Numbers of rows that fewer than six tasks, or less than a third of them,
    can give are shown and not judged. The best baseline is picked on the results, which
    favours the baselines.

    Examples
    --------
    >>> import numpy as np
    >>> from skmeta import EmpiricalBayesRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.model_selection import compare_baselines
    >>> tasks = make_linear_tasks(30, n_samples=15, random_state=0)
    >>> X, y = (np.concatenate(part) for part in zip(*tasks))
    >>> comparison = compare_baselines(
    ...     EmpiricalBayesRegressor(random_state=0),
    ...     X,
    ...     y,
    ...     task=np.repeat(np.arange(30), 15),
    ...     baselines=["pooled model", "pooled + offset", "own model"],
    ...     cv=3,
    ...     n_repeats=1,
    ... )
    >>> comparison.advice
    {'EmpiricalBayesRegressor': 'meta-learn'}
    """
    # Imported here because it takes longer to import than skmeta itself.
    from skmeta._comparing.arguments import named_estimators
    from skmeta._comparing.folds import compare

    estimators = named_estimators(estimator).values()
    unit, choice_set = checked_sets(next(iter(estimators)), unit, choice_set)
    in_time = _in_time(row_order, estimators, X, task)
    return compare(
        estimator,
        X,
        y,
        task,
        score_of,
        unit=unit,
        choice_set=choice_set,
        n_support=n_support,
        n_query=n_query,
        scoring=scoring,
        cv=cv,
        n_repeats=n_repeats,
        baselines=baselines,
        pooled=pooled,
        in_time=in_time,
        stratify=stratify,
        random_state=random_state,
        n_jobs=n_jobs,
    )
