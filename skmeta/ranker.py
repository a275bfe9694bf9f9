"""Choices among the offers of a set: a ranker with a prior learned from the tasks."""

import warnings

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _num_samples, check_is_fitted

from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.keywords import with_hint_to_task
from skmeta._checks.pool import check_pool
from skmeta._checks.scorers import fitted_to_transformed_targets, scored_on_purpose
from skmeta._choice_base import (
    PredictsUtility,
    as_base,
    check_base_of_choices,
    utility_scale,
)
from skmeta._choice_frame import ChoiceFrame, Choices
from skmeta._choice_sets import (
    check_times,
    first_rows,
    order_of_offers,
    places,
    shelves_of,
    that_tell,
    varies_within_sets,
)
from skmeta._choices_side_by_side import ChoicesSideBySide
from skmeta._coefficients import CoefficientsOfOneOutput
from skmeta._copies import own_what_can_change
from skmeta._core.prior.choice_model import ChoiceModel
from skmeta._core.tasks import ABSENT
from skmeta._deciding import DecidesByChoices
from skmeta._evaluation import WITHOUT_SETS, mean_score, scores_of_tasks
from skmeta._known_tasks import by_task
from skmeta._linear_part import linear_names
from skmeta._mixins import UNIT_WITHOUT_TASK, ZERO_SHOT
from skmeta._task_input import validate_new_rows, validate_task
from skmeta._threads import lock_of
from skmeta._warn import warn
from skmeta.empirical_bayes import CELLS_IN_PREDICTING, BaseEmpiricalBayes
from skmeta.exceptions import ZeroShotWarning


class EmpiricalBayesRanker(
    ChoicesSideBySide, DecidesByChoices, CoefficientsOfOneOutput, BaseEmpiricalBayes
):
    r"""Ranker that learns from many tasks' choices what offers are liked.

    A shopper chooses one of several offers, again and again. The utility of an offer is
    linear in its columns, and the probability that it is chosen from a choice set is
    proportional to the exponential of its utility: the conditional (or multinomial)
    logit. The coefficients of a task (a shopper) come from a normal distribution that
    is learned from all tasks. It says where a new task should start, and how far each
    coefficient may move. Adapting finds the task's posterior by Newton's method. This
    is the mixed logit for panels, made to predict for new shoppers and new offers.

    Parameters
    ----------
    prior : {"auto", "intercept", "isotropic", "diagonal", "low_rank", "full"}, default="auto"
        What differs between tasks: the structure of the prior's covariance.

        * "intercept": only the utility of any offer beside that of the outside option;
          the slopes are pooled. Only with ``outside_option``.
        * "isotropic": all slopes by the same amount, and the intercept.
        * "diagonal": each coefficient by its own amount.
        * "low_rank": coefficients together along a few directions, and each of them a
          little by itself.
        * "full": any covariance. Correlations are drawn towards zero, as if by one more
          uncorrelated task per coefficient.
        * "auto": the simplest of these within half a standard error of the best
          log-loss on held-out tasks after a few choices, in 5 folds. With more than 60
          coefficients "diagonal" is the richest one tried; with fewer than 5 tasks, or
          fewer than 3 choices per number to be learned, it is "isotropic".
    varying : {"auto", "all"} or array-like, default="auto"
        Columns of X whose slopes may differ between tasks. The slopes of the others are
        the same for all tasks: they have a mean and no spread.

        * "auto": every column that differs between the offers of some set; with an
          outside option, every column that is not constant within each task.
        * "all": every column.
        * names of columns, if X is a DataFrame; numbers of columns; or a mask, one bool
          per column. With a ``linear_preprocessor`` these are the columns that it
          makes, under the names of its ``get_feature_names_out()``.

        With a single task (``fit`` without ids) nothing can differ, and it is not used.
    base_estimator : estimator, default=None
        A model of utilities that the prior corrects. It is fitted on the offers of all
        tasks together. It may be a regressor, which is fitted to y; a classifier, which
        learns what is preferred to some other offer of its set, and whose log-odds are
        the utility; or a ranker whose ``fit`` takes ``choice_set``, ``qid`` or
        ``group``, such as those of LightGBM and XGBoost, or another
        :class:`EmpiricalBayesRanker` (which learns from all tasks as one). In training
        its predictions are those for tasks that a clone of it has not seen, in 5 folds
        of tasks; they also show how large a unit of them is (``base_scale_``).
    linear_preprocessor : transformer, default=None
        What makes numbers of X for the linear part: a transformer of scikit-learn, such
        as a :class:`~sklearn.compose.ColumnTransformer`. It is fitted on the rows of
        all tasks together and then stays as it is. The base model gets X as it came, a
        DataFrame with its names, categories and missing values. With None the linear
        part takes X itself, which must be numbers.
    outside_option : bool, default=False
        Whether a shopper may choose none of the offers. Each set then has one more
        alternative, whose utility is 0, and the utilities of offers have an intercept.
        It was chosen in the sets in which no y is positive.
    half_life : float, "auto" or None, default=None
        How fast old choices are forgotten in adapting. A choice keeps half of its
        weight when it is one half-life old, a quarter when it is two half-lives old,
        and so on. Its age is the number of choices made after it, or with
        ``time_column`` the time until the latest choice given. A ranked set counts as
        several choices. ``partial_adapt`` ages what it was given before. The prior
        itself is learned from all choices alike.

        * None, or infinity: all choices count alike, however old they are.
        * "auto": learned from how well the next five choices of held-out tasks are
          predicted: half-lives from 2 to 128 choices, or from 1/16 of the usual time
          between the first and the last choice of a task to twice that time. It is
          infinite unless some half-life predicts better by more than two standard
          errors, and with fewer than 5 tasks.

        With a half-life, ``row_order`` is "time".
    time_column : str, int or None, default=None
        Name or number of the column of X that holds the times of the choices, the same
        for all offers of a set. With None the given order is that of time.
    row_order : {"random", "time"}, default="random"
        Whether the choice sets of a task are in order of time: in the order of their
        last rows, or by ``time_column``. If so, ``prior`` "auto" and ``moderation_``
        are learned from predictions of later choices by the first ones. ``score`` and
        few-shot scores then do the same.
    standardize : bool, default=True
        Whether the structures of ``prior`` are about standardised columns. Their unit
        is the deviation of the offers from the mean of their set; with an outside
        option, it is the deviation of all offers. With False they are about
        coefficients in the units of X. In both cases X is standardised inside, so that
        units do no harm.
    keep_tasks : {"auto"} or bool, default="auto"
        Whether to keep what ``fit`` is told of each task, which is its rows.
        With it the methods that predict take ``task``, for tasks that were in ``fit``.
        It is private data, and is saved with the model. "auto" keeps up to 16 MB, and
        of more data nothing.
    tol : float, default=1e-4
        Tolerance of the search for the prior. The search stops when the slope of the
        log evidence is at most ``tol * sqrt(n_tasks)``. Chance alone gives a slope of
        about ``sqrt(n_tasks)``.
    max_iter : int, default=1000
        Largest number of iterations of a search.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds, and of the choices that held-out tasks are scored with.

    Attributes
    ----------
    prior_coef_ : ndarray of shape (n_features,)
        Expected slopes of a new task's utility, in the units of X. With
        ``base_estimator`` this and the other coefficients are those of the correction.
    prior_intercept_ : float
        Expected utility of an offer whose columns are all zero. Without an outside
        option it only says that an average offer has a utility of 0.
    prior_covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance of the coefficients between tasks: of the slopes and, with an outside
        option, last of the intercept.
    prior_structure_ : str
        The structure that was asked for, or chosen.
    prior_rank_ : int
        Number of directions; only if the structure is "low_rank".
    varying_ : ndarray of bool of shape (n_features,)
        Which columns have slopes that may differ between tasks. Only if there are
        several tasks, and ``varying`` is not "all".
    log_marginal_likelihood_ : float
        Log probability of all choices under the learned prior.
    moderation_ : float
        Share of the posterior's variance that the probabilities of an adapted model are
        averaged over. It is the mean of 1, 0.75, 0.5, 0.25 and 0, weighted by how well
        each of them predicts held-out tasks after a few choices. Before adapting,
        probabilities are averaged over the whole prior.
    half_life_ : float
        The half-life in use, in choices or in the units of ``time_column``; only if
        ``half_life`` is not None.
    zero_shot_ : {"prior", "pooled", "constant"}
        What predicts before adapting: the prior, the fit to all choices as one task, or
        equal chances. It is the one that predicts held-out tasks best.
    coef_, intercept_ : ndarray of shape (n_features,), float
        Present coefficients: after adapting, the mean of the task's posterior, to
        second order; or its mode, if the model is adapted to sets of two alternatives.
    covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Uncertainty of the present coefficients, in the layout of ``prior_covariance_``.
    base_estimator_ : estimator
        The base model, fitted on all offers; only with ``base_estimator``. Its
        ``predict`` returns utilities before they are scaled. Adapted copies share it.
    linear_preprocessor_ : transformer
        The fitted preprocessor; only with ``linear_preprocessor``. The coefficients are
        those of the columns that it makes.
    base_scale_ : float
        Factor of the base model's utilities, learned from tasks it has not seen; only
        with ``base_estimator``.
    n_tasks_ : int
        Number of tasks in meta-training.
    known_tasks_ : object
        What is kept of the tasks, by which ``task`` is answered: ``len`` counts them,
        ``id in model.known_tasks_`` looks for one, and ``ids`` and ``n_rows`` are
        arrays. Not without ids, nor of an adapted copy: see ``keep_tasks``.
    n_iter_ : int
        Number of iterations of the last search.
    n_adapt_rows_ : int
        Number of offers that the model is adapted to.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if ``fit`` saw names.

    See Also
    --------
    EmpiricalBayesClassifier : Labels, and choices of one of several brands that are
        always the same.
    skmeta.model_selection.compare_baselines : What the prior gains over other models.

    Notes
    -----
    The larger the y of an offer, the more it is preferred, as in the rankers of
    LightGBM and XGBoost. Usually it is 1 for the offer chosen and 0 for the others. If
    the y of a set have several values, the set is ranked (Plackett, 1975; Luce, 1959):
    each offer is chosen from itself and all offers of smaller y. Offers of one y are
    not compared with each other. So if several offers were chosen, each of them is
    preferred to all that were not. With an outside option, offers of y <= 0 come after
    it, and are not compared with it or each other, unless it was chosen.

    A column that is the same for all offers of each set, such as the age of the
    shopper, changes no choice; its product with a column of the offers does. Columns
    are compared within sets only, so neither their unit nor an amount that all offers
    of a set have in common has an influence.

    References
    ----------
    D. McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior", in P.
    Zarembka (ed.), Frontiers in Econometrics, 1974.

    D. Revelt, K. Train, "Mixed Logit with Repeated Choices: Households' Choices of
    Appliance Efficiency Level", Review of Economics and Statistics 80(4), 1998.

    R. L. Plackett, "The Analysis of Permutations", Applied Statistics 24(2), 1975.

    Examples
    --------
    Each of 50 shoppers has chosen one of three offers on each of eight screens. A new
    shopper answers two screens.

    >>> import numpy as np
    >>> from skmeta import EmpiricalBayesRanker
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(50, 8, 3, 2))  # price and quality of each offer
    >>> taste = [-1.0, 1.0] + rng.normal(size=(50, 1, 1, 2))
    >>> utility = (X * taste).sum(axis=-1) + rng.gumbel(size=(50, 8, 3))
    >>> y = utility == utility.max(axis=-1, keepdims=True)
    >>> shopper, screen, _ = np.indices(y.shape)
    >>> model = EmpiricalBayesRanker(random_state=0).fit(
    ...     X.reshape(-1, 2), y.ravel(), task=shopper.ravel(), choice_set=screen.ravel()
    ... )
    >>> answered = model.adapt(
    ...     X[0, :2].reshape(-1, 2), y[0, :2].ravel(), choice_set=[0, 0, 0, 1, 1, 1]
    ... )
    >>> shelf = np.array([[1.0, 1.0], [0.0, -1.0], [-1.0, 0.5], [2.0, 2.0]])
    >>> answered.predict_proba(shelf).shape  # offers that nobody has seen
    (4,)
    >>> sorted(answered.rank(shelf).tolist())
    [1, 2, 3, 4]
    """  # noqa: E501 (a type takes one line)

    _parameter_constraints: dict = {
        name: constraint
        for name, constraint in BaseEmpiricalBayes._parameter_constraints.items()
        if name not in ("features", "fit_intercept")
    } | {
        "base_estimator": [HasMethods(["fit", "predict"]), None],
        "outside_option": ["boolean"],
    }

    __metadata_request__fit = {"task": True, "choice_set": True}
    __metadata_request__score = {"task": True, "choice_set": True, "unit": True}
    __metadata_request__predict = {"task": True}
    __metadata_request__predict_proba = {"choice_set": True, "task": True}

    features = None
    _parameters_to_clone = ("base_estimator", "linear_preprocessor")
    _has_zero_shot_model = False
    _no_intercept = "outside_option"
    _answer_word = "choice"
    _reads_rows_once = False
    _predicts_numbered = False
    _adds_to_base = False  # it has the base model's utility times a number
    _frame_kind = ChoiceFrame
    _comes_beside = ("choice_set",)
    _predicts_targets = False

    def __init__(
        self,
        prior="auto",
        *,
        varying="auto",
        base_estimator=None,
        linear_preprocessor=None,
        outside_option=False,
        half_life=None,
        time_column=None,
        row_order="random",
        standardize=True,
        keep_tasks="auto",
        tol=1e-4,
        max_iter=1000,
        random_state=None,
    ):
        self.prior = prior
        self.varying = varying
        self.base_estimator = base_estimator
        self.linear_preprocessor = linear_preprocessor
        self.outside_option = outside_option
        self.half_life = half_life
        self.time_column = time_column
        self.row_order = row_order
        self.standardize = standardize
        self.keep_tasks = keep_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    @property
    def fit_intercept(self):
        """Whether offers have an intercept, a utility above that of none of them."""
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
        if self.prior == "intercept" and not self.outside_option:
            raise ValueError(
                "prior='intercept' lets only the utility of any offer beside that of "
                "none of them differ between tasks, but without an outside option "
                "there is none. Set outside_option=True, or choose another prior."
            )
        if fitted_to_transformed_targets():
            raise TypeError(
                "EmpiricalBayesRanker predicts utilities, and a "
                "TransformedTargetRegressor would transform them back as if they were "
                "y. Use the ranker without it: only the order of y within a set counts."
            )
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
        offers, one task after the other, and many times faster. A task whose sets say
        nothing counts as a task without a row.

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
        check_aligned(X_new=X_new, choice_set_new=choice_set_new)
        if choice_set_new is not None:
            new = "choice_set_new", "X_new"
            labels = check_task_ids(choice_set_new, _num_samples(X_new), *new)
            if method != "predict":  # utilities are the same on any shelf
                options["choice_set"] = labels
        given = X, y, X_new, sample_weight, task, task_new
        return self._adapt_and_predict(given, method, options, choice_set=choice_set)

    @by_task
    def predict(self, X, *, task=None):
        """Predict the expected utility of each offer.

        The larger, the more it is liked. Only differences of utilities matter, unless
        there is an outside option: then they are utilities above that of choosing none.
        Without ``task`` the model predicts, until adapted, for a new task of which
        nothing is known.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers, seen before or not.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each offer, or a single id for
            all. Each is then judged with what ``fit`` was told of its task, and offers
            of other tasks as if there were no ids.

        Returns
        -------
        utility : ndarray of shape (n_samples,)
            Utilities, on the scale of log-odds.
        """
        X = self._validate_new(X)
        return self._decode(self._raw_outputs(X), X)

    @by_task
    def predict_proba(self, X, choice_set=None, *, task=None):
        """Predict how probable it is that each offer is chosen on its shelf.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of one shelf, or of several.
        choice_set : array-like of shape (n_samples,), default=None
            The shelf of each offer. Without labels X is one shelf.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each offer, or a single id for
            all. Each is then judged with what ``fit`` was told of its task, and offers
            of other tasks as if there were no ids.
            Labels of sets mean something within a task, and without labels the offers
            of each task are one shelf.

        Returns
        -------
        p : ndarray of shape (n_samples,)
            Probabilities, averaged over what is not known of the task's coefficients.
            They sum to 1 on each shelf; with an outside option they sum to less, and
            the rest is the probability that none is chosen.
        """
        check_aligned(X=X, choice_set=choice_set)
        X = self._validate_new(X)
        return self._of_shelves(X, choice_set)

    @by_task
    def rank(self, X, choice_set=None, *, task=None):
        """Rank the offers of a shelf by their expected utilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of one shelf, or of several.
        choice_set : array-like of shape (n_samples,), default=None
            The shelf of each offer. Without labels X is one shelf.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each offer, or a single id for
            all. Each is then judged with what ``fit`` was told of its task, and offers
            of other tasks as if there were no ids.
            Labels of sets mean something within a task, and without labels the offers
            of each task are one shelf.

        Returns
        -------
        place : ndarray of int of shape (n_samples,)
            The place of each offer on its shelf: 1 is the best. Of offers of equal
            utility the first row comes first.
        """
        check_aligned(X=X, choice_set=choice_set)
        utility = self.predict(X)
        return places(utility, _numbered(choice_set, len(utility)))

    def suggest_queries(self, pool, n_queries=1, *, choice_set):
        """Choose which choice sets to ask a new task's owner about.

        These are the screens whose answers, whatever they are, lower the uncertainty
        about the utilities of all offers of the pool most. They are chosen one after
        the other, before any answer is known. Before adapting they are questions for a
        new task; after adapting, the next ones.

        Parameters
        ----------
        pool : {array-like, sparse matrix} of shape (n_pool, n_features)
            Offers of all screens that can be asked about.
        n_queries : int, default=1
            Number of screens to choose.
        choice_set : array-like of shape (n_pool,)
            The screen of each offer.

        Returns
        -------
        labels : ndarray of shape (n_queries,)
            Labels of the chosen screens, the most useful one first.

        References
        ----------
        D. A. Cohn, "Neural Network Exploration Using Optimal Experiment Design", Neural
        Networks 9(6), 1996.
        """
        check_aligned(pool=pool, choice_set=choice_set)
        check_is_fitted(self)
        pool = validate_new_rows(self, pool)
        labels = check_task_ids(choice_set, pool.shape[0], "choice_set", "pool")
        sets, names = group(labels)
        check_pool(pool, n_queries, self._scaling, len(names), "choice sets")
        packed, _ = self._packed(pool, shelves_of(sets), self._base_offset(pool))
        learned, present = self._learned, self._present
        chosen = learned.choose_queries(
            lambda rows: learned.design(packed.X[rows]),
            learned.information(packed.X, packed.offset, present),
            int(n_queries),
            present,
        )
        return names[chosen]

    # -- known tasks ------------------------------------------------------------------

    def _which_count(self, rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `fit` has warned of sets that say nothing
            return that_tell(*rows[1:], self._targets.outside)

    def _options_by_task(self, method, options, ids):
        if method == "predict":
            return options
        tasks, _ = group(ids)
        sets = _numbered(options.get("choice_set"), len(tasks))
        return {"choice_set": tasks * (sets.max(initial=0) + 1) + sets}

    # -- shelves ----------------------------------------------------------------------

    def _of_shelves(self, X, choice_set=None):
        """Probabilities (n,) of validated offers X (n, d) on their shelves."""
        index = shelves_of(_numbered(choice_set, X.shape[0]))
        p = np.empty(X.shape[0])
        offset = self._base_offset(X)
        outside = self._targets.outside
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

    def _canonical(self, rows, targets):
        X, offers, weight, codes, ids = rows
        kept = np.flatnonzero(that_tell(offers, weight, codes, ids, targets.outside))
        present, codes = np.unique(codes[kept], return_inverse=True)
        order, starts, tasks = order_of_offers(
            X[kept],
            offers[kept],
            weight[kept],
            codes,
            self._times_of_offers(X, offers, kept, ids[present[codes]]),
        )
        return kept[order], starts, ids[present[tasks]]

    def _times_of_offers(self, X, offers, kept, task=None):
        """Times of some rows; those of a column are equal within a set."""
        times = self._times_of(X)
        if times is None:
            return None
        if self.time_column is not None:
            check_times(times[kept], offers[kept], task)
        return times[kept]

    def _fit_scaling(self, targets, X, Y, weight):
        scaling = targets.scaling(X, Y, weight)
        if not targets.outside:
            self._warn_of_no_effect(scaling.within)
        return scaling

    def _warn_of_no_effect(self, within):
        names = linear_names(self)
        names = range(len(within)) if names is None else names
        silent = [
            name for name, differs in zip(names, within, strict=True) if not differs
        ]
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
                "of the offers; or set outside_option=True if none may be chosen."
            )

    def _one_task(self, X, y, weight):
        order = self._order_of_task(X, y, weight)
        return super()._one_task(X[order], y[order], weight[order])

    def _order_of_task(self, X, offers, weight):
        """Rows of one task that say something, set by set.

        The sets stay in their order, since explanations name them by it.
        """
        codes = np.zeros(len(offers), dtype=np.intp)
        kept = np.flatnonzero(
            that_tell(offers, weight, codes, None, self._targets.outside)
        )
        times = self._times_of_offers(X, offers, kept)
        if times is None:
            times = first_rows(offers[kept])
        given = X[kept], offers[kept], weight[kept], codes[kept], times
        return kept[order_of_offers(*given)[0]]

    def _adapt_to_task(self, X, y, weight):
        before = self._present
        super()._adapt_to_task(X, y, weight)
        self._keep_answers(before, y, self._order_of_task(X, y, weight))

    def _adapt_to_rows(self, X, y, weight):
        self._adapt_to(self._one_task(X, y, weight))
        self.n_adapt_rows_ += len(y)

    def _absorb(self, tasks):
        raise TypeError(
            "EmpiricalBayesRanker cannot learn in portions. Call fit or meta_fit with "
            "the choices of all tasks; adapt and partial_adapt take portions of one."
        )

    def _n_outputs(self, table):
        return 1

    def _columns_that_vary(self, table, design):
        return varies_within_sets(table, design, self._targets.outside)

    def _task_model(self, table):
        return ChoiceModel(outside=self._targets.outside)

    # -- the base model ---------------------------------------------------------------

    def _parameter(self, name):
        value = super()._parameter(name)
        return (
            as_base(value, self.outside_option) if name == "base_estimator" else value
        )

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

    @with_hint_to_task
    def score(self, X, y, sample_weight=None, *, task=None, choice_set=None, unit=None):
        """Share of the deviance of choices that is explained.

        It is McFadden's pseudo :math:`R^2` beside equal chances: 0 for a model that
        finds all offers of a set equally probable, and 1 for one that is sure of each
        choice, and right. With task ids it is a few-shot score: a copy is adapted to 5
        random sets of each task and scored on the task's other sets, three times, and
        the result is the mean over tasks. A model whose rows are in order of time gets
        5 sets in a row, and is scored on later ones.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of one task or of many.
        y : array-like of shape (n_samples,)
            Which offers are preferred, as in :meth:`fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, as in :meth:`fit`.
        task : array-like of shape (n_samples,), default=None
            Task of each row.
        choice_set : array-like of shape (n_samples,), default=None
            The set of each offer; needed with ``task``. Without labels all rows are one
            set.
        unit : array-like of shape (n_samples,), default=None
            What each offer belongs to within its task, such as a visit of several
            screens, if that is more than its set: units are then given or scored as a
            whole.

        Returns
        -------
        score : float
            The share, at most 1.
        """
        if task is None:
            if unit is not None:
                raise ValueError(UNIT_WITHOUT_TASK)
            if self._is_zero_shot() and not scored_on_purpose():
                warn(ZERO_SHOT["score"].format(self), ZeroShotWarning)
            return self._score_as_it_is(X, y, sample_weight, choice_set)
        check_is_fitted(self)
        if choice_set is None and unit is None:
            raise ValueError(WITHOUT_SETS.format(type(self).__name__))
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
            choice_set=unit if choice_set is None else choice_set,
            outside=self._targets.outside,
            in_time=self._rows_in_time,
            times=self._times_given(X) if self._rows_in_time else None,
        )
        return mean_score(scores)

    def _score_as_it_is(self, X, y, sample_weight=None, choice_set=None):
        """The ordinary score; that of the learned start is no mistake here."""
        own, equal_chances = self._deviances(X, y, sample_weight, choice_set)
        return float(1.0 - own / equal_chances)

    def _deviances(self, X, y, sample_weight=None, choice_set=None):
        """Half the deviance of the choices, and that of equal chances."""
        X, offers, weight = validate_task(
            self, X, y, sample_weight, choice_set=choice_set
        )
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
        return -own, rows.weight @ np.log(n_alternatives)

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
        if self._learned.design.fit_intercept:
            return intercept
        return float(-self._scaling.x_mean @ coef)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _numbered(choice_set, n_rows):
    """The number (n,) of each row's shelf."""
    if choice_set is None:
        return np.zeros(n_rows, dtype=np.intp)
    return group(check_task_ids(choice_set, n_rows, "choice_set"))[0]
