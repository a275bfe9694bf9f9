"""Linear models, of X or of learned features, under a prior learned from the tasks."""

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmeta import _callbacks
from skmeta._base import BaseMetaLearner
from skmeta._base_choice import before_adapting, scores_by_folds
from skmeta._checks.magnitude import explaining_singular
from skmeta._checks.parameters import check_structure
from skmeta._checks.pool import check_pool
from skmeta._class_weight import Weighs, with_class_weight
from skmeta._coefficients import (
    CoefficientsOfOneOutput,
    LinearCoefficients,
    NoiseOfTasks,
)
from skmeta._copies import set_or_remove
from skmeta._core.prior.learn import Options, learn, n_parts
from skmeta._core.prior.learned import SeenRows
from skmeta._core.prior.likelihoods import of_labels
from skmeta._core.prior.models import GaussianModel, LaplaceModel
from skmeta._core.prior.noise_model import NoiseModel
from skmeta._deciding import Decides, DecidesByLabels
from skmeta._from_statistics import LearnsFromStatistics
from skmeta._known_tasks import KnowsTasks, by_task
from skmeta._mixins import MetaClassifierMixin, MetaRegressorMixin
from skmeta._ordered_rows import RowsInTime
from skmeta._prior_side_by_side import (
    LabelsSideBySide,
    NumbersSideBySide,
    PriorSideBySideMixin,
)
from skmeta._prior_warnings import (
    features_to_learn,
    warn_of_few_rows,
    warn_of_long_search,
    warn_of_one_task,
    warn_of_search,
    warn_of_weights,
)
from skmeta._repr import prior_table
from skmeta._residual_target import residuals
from skmeta._streams import GoesOnFromAll
from skmeta._tables import numbers_of
from skmeta._targets import most_probable
from skmeta._task_input import validate_new_rows
from skmeta._threads import on_one_blas_thread
from skmeta._varying_columns import VaryingColumns
from skmeta.learned_features import LearnedFeatures, feature_options

STRUCTURES = ("intercept", "isotropic", "diagonal", "kronecker", "low_rank", "full")
# So many numbers are held at a time in predicting.
CELLS_IN_PREDICTING = 2**22
# Beyond this weight of a row, sums of weights drown what one task tells.
LARGEST_WEIGHT = 1e12
# Fitted attributes that only some fits leave.
OPTIONAL = ("validation_scores_", "n_feature_iter_", "half_life_")


class BaseEmpiricalBayes(
    KnowsTasks,
    GoesOnFromAll,
    _callbacks.CallbackSupportMixin,
    PriorSideBySideMixin,
    RowsInTime,
    VaryingColumns,
    Decides,
    LinearCoefficients,
    BaseMetaLearner,
):
    """Parameters, the learned prior, and adaptation by conditioning on rows.

    A subclass says what its likelihood is. ``_learned`` is a `LearnedPrior`, which
    adapting never changes, and ``_present`` is what is known of one task: a `Present`,
    or None if the model is adapted to no task.
    """

    _parameter_constraints: dict = {
        **BaseMetaLearner._parameter_constraints,
        **KnowsTasks.parameter_constraints,
        **RowsInTime.parameter_constraints,
        **VaryingColumns.parameter_constraints,
        "prior": [StrOptions({"auto", *STRUCTURES})],
        "features": [LearnedFeatures, None],
        "fit_intercept": ["boolean"],
        "standardize": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    _fit_dtypes = (np.float64,)
    _largest_weight = LARGEST_WEIGHT
    _has_zero_shot_model = True
    # What an answer of a task is in messages.
    _answer_word = "row"

    def __init__(
        self,
        prior="auto",
        *,
        varying="auto",
        features=None,
        base_estimator=None,
        linear_preprocessor=None,
        half_life=None,
        time_column=None,
        row_order="random",
        fit_intercept=True,
        standardize=True,
        keep_tasks="auto",
        tol=1e-4,
        max_iter=1000,
        random_state=None,
    ):
        self.prior = prior
        self.varying = varying
        self.features = features
        self.base_estimator = base_estimator
        self.linear_preprocessor = linear_preprocessor
        self.half_life = half_life
        self.time_column = time_column
        self.row_order = row_order
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.keep_tasks = keep_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    _parameters_to_clone = ("base_estimator", "linear_preprocessor", "features")

    def _fit_scaling(self, targets, X, Y, weight):
        # X and y are standardised in any case: `standardize` is about the structures
        scaling = targets.scaling(X, Y, weight)
        # without an intercept the origin has a meaning, and is not moved
        return scaling if self.fit_intercept else scaling.uncentred()

    @property
    def _reads_rows_once(self):
        # a network reads them in each meta-iteration
        return feature_options(self.features) is None

    # -- likelihood -------------------------------------------------------------------

    def _n_outputs(self, table):
        """How many vectors of coefficients a task has."""
        return table.Y.shape[1]

    @abstractmethod
    def _task_model(self, table):
        """The `TaskModel` of the targets in a `TaskTable`."""

    def _offset(self, X):
        """What the base model adds to the outputs for validated X: (n, o), or None."""
        return None

    # -- meta-training ----------------------------------------------------------------

    @on_one_blas_thread
    def _meta_train(self, table, ids, again, data):
        check_structure(self.prior, self.fit_intercept, self._n_outputs(table))
        before = self._learned if again else None
        model, design = self._model_and_design(table, before)
        if self._rows_in_time:
            model = replace(model, recency=self._recency())
        features = features_to_learn(self.features, table.n_tasks)
        if not model.weight_is_exposure:
            warn_of_weights(table)
        rng = check_random_state(self.random_state)
        self._forget()
        if table.n_tasks > 1:
            warn_of_few_rows(table, self.fit_intercept, model.rows_per_coefficient)
        options = self._options(table, features)._replace(before=before)
        shape = table.X.shape[-1], self._n_outputs(table), self.fit_intercept
        n = n_parts(table.n_tasks, options)
        with (
            _callbacks.parts_of_fit(self, n, **data) as progress,
            explaining_singular(table.weight),
        ):
            learned = learn(
                table,
                model,
                design,
                options._replace(progress=progress),
                rng,
                before_search=partial(warn_of_long_search, self.prior, shape),
            )
            given = table.n_tasks, self.tol, self.max_iter, self._answer_word
            warn_of_search(learned, *given)
            self._keep(learned, table)

    def _options(self, table, features):
        """How the prior of the tasks in a table is searched for."""
        units = self._units_of_structures(self._n_outputs(table))
        return Options(self.prior, self.tol, self.max_iter, units, features)

    _held_out_scores = scores_by_folds

    def _keep(self, learned, table):
        self._learned = learned
        for optional in OPTIONAL:
            vars(self).pop(optional, None)
        self.prior_structure_ = learned.structure
        varying = learned.design.x_varying
        set_or_remove(self, prior_rank_=learned.rank, varying_=varying)
        if self.half_life is not None:
            self.half_life_ = self._half_life_of(learned.model.recency)
        if learned.n_feature_iter is not None:
            self.n_feature_iter_ = learned.n_feature_iter
            self.validation_scores_ = learned.feature_scores
        self.n_iter_ = learned.n_iter
        self.zero_shot_ = learned.zero_shot
        # a density of y is one per unit of y
        in_units = table.weight.sum() * np.log(self._scaling.y_scale)
        lacking = learned.model.log_normaliser(table)
        self.log_marginal_likelihood_ = learned.log_evidence + lacking - in_units
        if isinstance(learned.model, LaplaceModel):
            self.moderation_ = learned.model.share_of_variance(learned)

    # -- adaptation -------------------------------------------------------------------

    def _forget(self):
        self._present = None

    def _before_adapting(self):
        if self.n_tasks_ == 1:
            warn_of_one_task(self)

    def _adapt_to(self, batch):
        Y, weight = batch.Y[0], batch.weight[0] * batch.total_weight[0]
        offset = np.zeros_like(Y) if batch.offset is None else batch.offset[0]
        rows = SeenRows(batch.X[0], Y, weight, offset)
        with explaining_singular(weight):
            self._present = self._learned.condition(rows, self._present)

    # -- predictions ------------------------------------------------------------------

    def _raw_outputs(self, X):
        mean = self._learned.predicting(self._present).mean
        outputs = partial(self._learned.outputs, mean=mean)
        width = self._learned.design.width
        return self._in_blocks(outputs, X, width, with_base=False)

    def _predictive(self, X):
        """The predictive distribution at validated X, as the `TaskModel` says it."""
        predictive = partial(self._learned.predictive, present=self._present)
        return self._in_blocks(predictive, X, self._predictive_width)

    @property
    def _predictive_width(self):
        return self._learned.predicting(self._present).factor.size

    def _in_blocks(self, function, X, width, with_base=True):
        """``function(standardised rows, offset)``, a block of validated rows at a time.

        It holds about ``width`` numbers for each row. The offset is None without the
        base model.
        """

        def of_block(X):
            offset = self._offset(X) if with_base else None
            return function(self._scaling.transform_X(X), offset)

        n = max(1, CELLS_IN_PREDICTING // width)
        if X.shape[0] <= n:  # to make blocks takes longer than to predict a few rows
            return of_block(X)
        blocks = gen_batches(X.shape[0], n)
        return np.concatenate([of_block(X[rows]) for rows in blocks])

    def suggest_queries(self, pool, n_queries=1):
        """Choose which rows to ask a new task's owner about.

        These are the rows whose answers lower the uncertainty about the whole pool
        most. They are chosen one after the other, before any answer is known. Before
        adapting they are questions for a new task; after adapting, the next ones.

        Parameters
        ----------
        pool : {array-like, sparse matrix} of shape (n_pool, n_features)
            Rows that can be asked about, and whose targets are of interest.
        n_queries : int, default=1
            Number of rows to choose.

        Returns
        -------
        rows : ndarray of int of shape (n_queries,)
            Row numbers in ``pool``, the most useful row first.

        References
        ----------
        D. A. Cohn, "Neural Network Exploration Using Optimal Experiment Design", Neural
        Networks 9(6), 1996.
        """
        check_is_fitted(self)
        pool = validate_new_rows(self, pool)
        check_pool(pool, n_queries, self._scaling)
        learned, transform = self._learned, self._scaling.transform_X
        return learned.choose_queries(
            lambda rows: learned.design(transform(pool[rows])),
            self._in_blocks(
                partial(learned.information, present=self._present),
                pool,
                learned.design.width,
            ),
            int(n_queries),
            self._present,
        )

    # -- representation ---------------------------------------------------------------

    def _learned_html(self):
        html = super()._learned_html()
        if self._learned.design.network is not None:
            return html
        return f"{html}<p>Prior: {self.prior_structure_}.</p>{prior_table(self)}"


class EmpiricalBayesRegressor(
    MetaRegressorMixin,
    NumbersSideBySide,
    CoefficientsOfOneOutput,
    NoiseOfTasks,
    LearnsFromStatistics,
    BaseEmpiricalBayes,
):
    r"""Regressor that learns from many tasks how much tasks differ.

    The coefficients of a task come from a normal distribution that is learned from all
    tasks. It says where a new task should start, and how far each coefficient may move.
    Adapting gives the exact Bayesian answer to the rows given, in any number, order and
    portions. This is the mixed model with random coefficients, made to predict for new
    groups. With ``features`` it also learns columns of its own.

    Parameters
    ----------
    prior : {"auto", "intercept", "isotropic", "diagonal", "low_rank", "full"}, default="auto"
        What differs between tasks: the structure of the prior's covariance.

        * "intercept": only the intercept; the slopes are pooled.
        * "isotropic": all slopes by the same amount, and the intercept.
        * "diagonal": each coefficient by its own amount.
        * "low_rank": coefficients together along a few directions, and each of them a
          little by itself.
        * "full": any covariance. Correlations are drawn towards zero, as if by one more
          uncorrelated task per coefficient.
        * "auto": the simplest of these within half a standard error of the best
          marginal likelihood on held-out tasks, in 5 folds. With more than 60
          coefficients "diagonal" is the richest one tried; with fewer than 5 tasks, or
          fewer than 3 rows per number to be learned, it is "isotropic".
    varying : {"auto", "all"} or array-like, default="auto"
        Columns of X whose slopes may differ between tasks. The slopes of the others are
        the same for all tasks: they have a mean and no spread. It composes with every
        ``prior``, which is then about the columns that vary. The intercept varies in
        any case, and so do learned features.

        * "auto": every column but those that are constant within each task, such as the
          age of a shopper or the size of a store. They tell what to expect of a new
          task before its first row. Tasks of one row do not count.
        * "all": every column.
        * names of columns, if X is a DataFrame; numbers of columns; or a mask, one bool
          per column. With an empty list only the intercept varies. With a
          ``linear_preprocessor`` these are the columns that it makes, under the names
          of its ``get_feature_names_out()``.

        With a single task (``fit`` without ids) nothing can differ, and it is not used.
    features : LearnedFeatures, default=None
        Settings of features to learn: further columns, made by a network that all tasks
        share. They are used only if they clearly improve predictions for held-out
        tasks. With None the model is linear.
    base_estimator : estimator, "auto" or ChosenBase, default=None
        Any regressor of scikit-learn. It is fitted on the rows of all tasks together,
        and the prior is learned for what corrects it in each task. In training these
        are its errors on tasks that a clone of it has not seen, in 5 folds of tasks. It
        gets the sample weights if its ``fit`` takes them, the tasks as groups for folds
        of its own, and a seed if ``random_state`` is an integer.
        "auto" chooses among none, boosting and a forest on held-out tasks, and a
        :class:`~skmeta.ChosenBase` does so among models, and for numbers of rows, that
        you name.
    linear_preprocessor : transformer, default=None
        What makes numbers of X for the linear part: a transformer of scikit-learn, such
        as a :class:`~sklearn.compose.ColumnTransformer`. It is fitted on the rows of
        all tasks together and then stays as it is. The base model gets X as it came, a
        DataFrame with its names, categories and missing values. With None the linear
        part takes X itself, which must be numbers.
    base_target : {"residual", "y"}, default="residual"
        What the base model is fitted to. With "residual" it is what is left of y after
        a first learned prior, without base model, has been adapted to each task. The
        base model then adds the shape that tasks have in common. With "y" it is the
        targets themselves. The base model then also explains how tasks differ on
        average, which is best before adapting, but what remains may be harder for the
        linear model to fit.
    noise : {"auto", "shared", "task"}, default="auto"
        Whether tasks differ in their noise.

        * "shared": the noise has the same variance in all tasks.
        * "task": the variance in a task is a common one times one of nine factors. How
          often each factor occurs is learned from the tasks. The rows that the model is
          adapted to say how probable each factor is in the new task. So the rows of a
          noisy task move the coefficients less, and deviations and intervals are those
          of this task. Adapting is still exact.
        * "auto": "task", unless the log density of held-out tasks is then lower by more
          than half a standard error, or the same up to rounding. With fewer than 5
          tasks it is "shared".
    half_life : float, "auto" or None, default=None
        How fast old rows are forgotten in adapting. A row keeps half of its weight when
        it is one half-life old, a quarter when it is two half-lives old, and so on. Its
        age is the number of rows given after it, or with ``time_column`` the time
        until the latest row given. ``partial_adapt`` ages what it was given before. A
        row of weight 0 is no row, and ages nothing. The prior itself is learned from
        all rows alike.

        * None, or infinity: all rows count alike, however old they are.
        * "auto": learned from how well the next five rows of held-out tasks are
          predicted: half-lives from 2 to 128 rows, or from 1/16 of the usual time
          between the first and the last row of a task to twice that time. It is
          infinite unless some half-life predicts better by more than two standard
          errors, and with fewer than 5 tasks.

        With a half-life, ``row_order`` is "time".
    time_column : str, int or None, default=None
        Name or number of the column of X that holds the times of the rows, in any unit
        that grows with time. It is a feature as well. It is used where rows are in
        order of time, which is then the order of this column; the rows of a task may
        come in any order. With None the given order is that of time.
    row_order : {"random", "time"}, default="random"
        Whether the rows of a task are in order of time: in the order in which ``fit``
        gets them, or by ``time_column``. If so, the widths of intervals are learned
        from predictions of later rows by the first ones, and not of random rows by
        others. ``score`` and few-shot scores then do the same.
    fit_intercept : bool, default=True
        Whether there is an intercept. Without one, X and y are scaled but not centred,
        so that the origin keeps its meaning. That suits rows that are differences of
        two offers.
    standardize : bool, default=True
        Whether the structures of ``prior`` are about standardised columns, by mean and
        deviation of all meta-training rows. With False they are about coefficients in
        the units of X: "isotropic" then gives these one spread in common, and
        intercepts are those at X = 0. In both cases X and y are standardised inside, so
        that units do no harm. A sparse X stays sparse, and gives the model that the
        same X gives as an array.
    keep_tasks : {"auto"} or bool, default="auto"
        Whether to keep what ``fit`` is told of each task, as sums over its rows, or the
        rows if these are fewer numbers, or if old rows may count less.
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
        Seed of the folds, of the rows that calibrate intervals, and of learned
        features.

    Attributes
    ----------
    prior_coef_ : ndarray of shape (n_features,)
        Expected slopes of a new task, in the units of X and y. With ``base_estimator``
        this and the other coefficients are those of the correction. There are no
        coefficients while learned features are in use.
    prior_intercept_ : float
        Expected intercept of a new task.
    prior_covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance of the coefficients between tasks: of the slopes and, last, of the
        intercept.
    noise_variance_ : float
        Variance of the noise within tasks. If tasks differ in noise, this is the mean
        over tasks and, after adapting, what the rows of the task let one expect.
    noise_factors_ : ndarray of shape (n_factors,)
        Factors of the noise variance: the variances that a task may have, divided by
        their mean over tasks. Only if tasks differ in noise.
    noise_weights_ : ndarray of shape (n_factors,)
        How probable each factor is: its share of tasks and, after adapting, its
        probability given the rows of the task. Only if tasks differ in noise.
    prior_structure_ : str
        The structure that was asked for, or chosen.
    prior_rank_ : int
        Number of directions; only if the structure is "low_rank".
    varying_ : ndarray of bool of shape (n_features,)
        Which columns have slopes that may differ between tasks. Only if there are
        several tasks, and ``varying`` is not "all".
    log_marginal_likelihood_ : float
        Log density of all targets under the learned prior.
    half_life_ : float
        The half-life in use, in rows or in the units of ``time_column``; only if
        ``half_life`` is not None.
    zero_shot_ : {"prior", "pooled", "constant", "base"}
        What predicts before adapting: the mean of the prior, the fit to all rows as one
        task, or a constant. It is the one that predicts held-out tasks best. With a
        base model to choose it may also be another candidate ("base").
    zero_shot_model_ : EmpiricalBayesRegressor
        Another model of this kind that predicts until this one is adapted, with the
        candidate for the base model that is best without any row; only if
        ``zero_shot_`` is "base".
    coef_, intercept_ : ndarray of shape (n_features,), float
        Present coefficients: after adapting, the mean of the task's posterior.
    covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Uncertainty of the present coefficients: their covariance, in the layout of
        ``prior_covariance_``.
    coefs_, intercepts_ : list of ndarray
        Weights (fan_in, fan_out) and biases (fan_out,) of the network's layers, on
        standardised data; only while learned features are in use.
    n_feature_iter_ : int
        Number of meta-iterations after which held-out tasks were predicted best; 0 if
        features do not pay and the model is linear. Only with ``features``.
    validation_scores_ : list of float
        Mean log density of unseen rows of held-out tasks in the course of the runs,
        beginning with that of the linear prior. Only with ``features``.
    base_estimator_ : estimator
        The base model, fitted on all rows; only with ``base_estimator``. Adapted copies
        share it.
    linear_preprocessor_ : transformer
        The fitted preprocessor; only with ``linear_preprocessor``. The coefficients are
        those of the columns that it makes.
    base_choice_ : str
        Which candidate was chosen; only if ``base_estimator`` is "auto" or a
        :class:`~skmeta.ChosenBase`. ``base_estimator_`` is then fitted as it says, or
        absent with "none".
    base_scores_ : dict of {str: dict of {int: float}}
        How well each candidate predicts held-out tasks, by its label and the number of
        rows given: their mean log density, if tasks may also differ in the size of
        their errors. Higher is better. Only with ``base_choice_``; it is empty with
        fewer than 5 tasks.
    n_tasks_ : int
        Number of tasks in meta-training.
    known_tasks_ : object
        What is kept of the tasks, by which ``task`` is answered: ``len`` counts them,
        ``id in model.known_tasks_`` looks for one, and ``ids`` and ``n_rows`` are
        arrays. Not without ids, nor of an adapted copy: see ``keep_tasks``.
    stream_ : TaskStatistics
        Sums of the rows of all tasks, from which :meth:`partial_meta_fit` goes on. Only
        after that method; adapted copies do not have it. With rows in order of time it
        holds the rows themselves.
    n_iter_ : int
        Number of iterations of the last search.
    n_adapt_rows_ : int
        Number of rows that the model is adapted to.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if ``fit`` saw names.

    See Also
    --------
    EmpiricalBayesClassifier : The same for labels.
    LearnedFeatures : Settings of ``features``.
    ReptileRegressor : A start learned by gradient steps, also for networks.

    Notes
    -----
    With :math:`\theta_t \sim N(\phi, \Sigma)` and noise variance :math:`\sigma^2`, the
    log marginal likelihood of all tasks is maximised: in :math:`\phi` and
    :math:`\sigma^2` by closed forms, in :math:`\Sigma / \sigma^2` by L-BFGS with the
    exact gradient. Each task is summarised by the products of its columns, so the search
    does not slow down with more rows. A new task differs from :math:`\phi` by
    :math:`\Sigma` and by the error of :math:`\phi` itself.

    With ``noise="task"`` the evidence of a task is a mixture over the factors. It is
    maximised by EM: in the weights of the factors, and once in :math:`\phi`,
    :math:`\sigma^2` and :math:`\Sigma`, from where the model of one noise ended. The
    coefficients of an adapted model are a mixture of one normal posterior for each
    factor; ``coef_`` and ``covariance_`` are its mean and covariance.

    A single task (``fit`` without ids) shows no spread. The model is then a Bayesian
    ridge regression, and its posterior is the prior of later tasks.

    A row with a sample weight of 2 counts as two equal rows, so that halving all weights
    halves what the data say. Weights of mean 1 are the precision weights of other tools
    for mixed models. A mean far below 1 leads to a warning.

    A direction of the coefficients that no row looked at, such as that of a category
    absent from training, is as uncertain as the targets are spread. If no task has
    enough rows to tell a spread between tasks from the noise, it is taken for noise, and
    a warning says so.

    The model suits up to some hundreds of features, with several times as many rows in
    all. For more features, put
    :class:`~sklearn.decomposition.PCA` or
    :class:`~sklearn.decomposition.TruncatedSVD` in front.

    References
    ----------
    N. M. Laird, J. H. Ware, "Random-Effects Models for Longitudinal Data", Biometrics
    38(4), 1982.

    D. M. Bates, S. DebRoy, "Linear mixed models and penalized least squares", Journal
    of Multivariate Analysis 91(1), 2004.

    Examples
    --------
    >>> from skmeta import EmpiricalBayesRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(100, random_state=0)
    >>> model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
    >>> adapted = model.adapt(X[:5], y[:5])
    >>> adapted.score(X[5:], y[5:]) > 0.9
    True
    >>> mean, deviation = adapted.predict(X[5:], return_std=True)
    >>> low, high = adapted.predict_interval(X[5:], coverage=0.9).T
    >>> rows = model.suggest_queries(X, 3)  # the three to ask about first
    """  # noqa: E501 (a type takes one line)

    __metadata_request__predict = {"return_std": True, "task": True}

    _parameter_constraints: dict = {
        **BaseEmpiricalBayes._parameter_constraints,
        "base_target": [StrOptions({"residual", "y"})],
        "noise": [StrOptions({"shared", "task", "auto"})],
    }

    def __init__(
        self,
        prior="auto",
        *,
        varying="auto",
        features=None,
        base_estimator=None,
        linear_preprocessor=None,
        base_target="residual",
        noise="auto",
        half_life=None,
        time_column=None,
        row_order="random",
        fit_intercept=True,
        standardize=True,
        keep_tasks="auto",
        tol=1e-4,
        max_iter=1000,
        random_state=None,
    ):
        super().__init__(
            prior,
            varying=varying,
            features=features,
            base_estimator=base_estimator,
            linear_preprocessor=linear_preprocessor,
            half_life=half_life,
            time_column=time_column,
            row_order=row_order,
            fit_intercept=fit_intercept,
            standardize=standardize,
            keep_tasks=keep_tasks,
            tol=tol,
            max_iter=max_iter,
            random_state=random_state,
        )
        self.base_target = base_target
        self.noise = noise

    @by_task
    @before_adapting
    def predict(self, X, return_std=False, *, task=None):
        """Predict with what is known of the task.

        Without ``task`` the model predicts, until adapted, for a new task of which
        nothing is known. With it, for the tasks that it was fitted to.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        return_std : bool, default=False
            Whether to return deviations too.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each row, or a single id for all
            rows. Each row is then predicted with what ``fit`` was told of its task, and
            rows of other tasks as if there were no ids.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted targets.
        y_std : ndarray of shape (n_samples,)
            Standard deviations of new targets; only with ``return_std``. They come from
            the noise and from what is not known of the task's coefficients. Both
            variances are those of ``noise_variance_`` and ``covariance_``, raised
            because maximum likelihood finds them too small if tasks or rows are few.
            Before adapting, if ``zero_shot_`` is "pooled" or "constant", they are
            measured on the errors of held-out tasks about that prediction.
        """
        X = self._validate_new(X)
        if not return_std:
            return self._decode(self._raw_outputs(X), X)
        self._numbers_for("predict", return_std=True)  # it warns of too little
        return self._answer_from(self._predictive(X), X, "predict", return_std=True)

    @by_task
    @before_adapting
    def predict_interval(self, X, coverage=0.9, *, task=None):
        """Predict intervals that hold a given share of new targets.

        Their widths are quantiles of errors on held-out tasks of the meta-training, in
        units of the predicted deviations. So the coverage is measured, and errors need
        not be normal. Before adapting these are errors of predictions without any row;
        after adapting, errors after about as many rows as were given or, if these are
        few, after any number of rows. The fewer tasks there are, the more the widths
        are those of Student's t, whose degrees of freedom say how well spread and noise
        are known. With fewer than 5 tasks, or hardly more rows than coefficients, that
        is a guess, and a warning says so.

        They hold for rows as they were in training: for random rows of a task, or with
        ``row_order="time"`` for the next few rows after those given. Forecasts further
        ahead, such as of years when training had weeks, may be held less often. Measure
        that on the last known rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        coverage : float, default=0.9
            Share of new targets that the intervals should hold, over tasks and rows.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each row, or a single id for all
            rows. Each row is then predicted with what ``fit`` was told of its task, and
            rows of other tasks as if there were no ids.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper ends.
        """
        X = self._validate_new(X)
        _, how = self._numbers_for("predict_interval", coverage=coverage)
        how |= {"present": self._present, "n_rows": self.n_adapt_rows_}
        interval = partial(self._learned.interval, **how)
        numbers = self._in_blocks(interval, X, self._predictive_width)
        return self._answer_from(numbers, X, "predict_interval")

    def _task_model(self, table):
        if self.noise == "shared" or table.n_tasks == 1:
            return GaussianModel()
        return NoiseModel(unless_worse=self.noise == "auto")

    def _base_target(self, X, y, weight, codes):
        if self.base_target == "y":
            return y
        return residuals(self, numbers_of(X), y, weight, codes)


class EmpiricalBayesClassifier(
    MetaClassifierMixin, LabelsSideBySide, DecidesByLabels, Weighs, BaseEmpiricalBayes
):
    r"""Logistic classifier that learns from many tasks how much tasks differ.

    The coefficients of a task come from a normal distribution that is learned from all
    tasks. It says where a new task should start, and how far each coefficient may move.
    Adapting finds the task's posterior by Newton's method; a task with one row, or with
    one class only, is an ordinary task. Probabilities are averaged over what is still
    uncertain.

    Parameters
    ----------
    prior : {"auto", "intercept", "isotropic", "diagonal", "kronecker", "low_rank", "full"}, default="auto"
        What differs between tasks: the structure of the prior's covariance.

        * "intercept": only the intercepts; the slopes are pooled. With more than two
          classes these vary by one amount in common, or each class by its own and
          together with others, whichever predicts held-out tasks better.
        * "isotropic": all slopes by the same amount, and the intercepts.
        * "diagonal": the slopes of each feature by their own amount, and the
          intercepts; all classes alike.
        * "kronecker": for more than two classes, the amount of a feature times any
          covariance of the classes, which is another one for the intercepts. These
          covariances are drawn towards classes that are alike, as if by one more task
          per class.
        * "low_rank": coefficients together along a few directions, and each of them a
          little by itself.
        * "full": any covariance. Correlations are drawn towards zero, as if by one more
          uncorrelated task per coefficient.
        * "auto": the simplest of these within half a standard error of the best
          log-loss on held-out tasks after a few rows, in 5 folds. With more than 60
          coefficients "diagonal" is the richest one tried. With more than two classes
          "kronecker" is, and with both "intercept" and "kronecker" are the two that are
          tried. With fewer than 5 tasks, or fewer than 3 rows per number to be learned,
          it is "isotropic".
    varying : {"auto", "all"} or array-like, default="auto"
        Columns of X whose slopes may differ between tasks. The slopes of the others are
        the same for all tasks: they have a mean and no spread. It composes with every
        ``prior``, which is then about the columns that vary. The intercepts vary in
        any case, and so do learned features.

        * "auto": every column but those that are constant within each task, such as the
          age of a shopper or the size of a store. They tell what to expect of a new
          task before its first row. Tasks of one row do not count.
        * "all": every column.
        * names of columns, if X is a DataFrame; numbers of columns; or a mask, one bool
          per column. With an empty list only the intercepts vary. With a
          ``linear_preprocessor`` these are the columns that it makes, under the names
          of its ``get_feature_names_out()``.

        With a single task (``fit`` without ids) nothing can differ, and it is not used.
    features : LearnedFeatures, default=None
        Settings of features to learn: further columns, made by a network that all tasks
        share. They are used only if they clearly improve predictions for held-out
        tasks. With None the model is linear.
    base_estimator : estimator, "auto" or ChosenBase, default=None
        Any classifier of scikit-learn. It is fitted on the rows of all tasks together,
        and the prior is learned for what corrects it in each task. In training these
        are its errors on tasks that a clone of it has not seen, in 5 folds of tasks;
        they also show how far its log-odds can be believed (``base_scale_``). It gets
        the sample weights if its ``fit`` takes them, the tasks as groups for folds of
        its own, and a seed if ``random_state`` is an integer.
        "auto" chooses among none, boosting and a forest on held-out tasks, and a
        :class:`~skmeta.ChosenBase` does so among models, and for numbers of rows, that
        you name.
    linear_preprocessor : transformer, default=None
        What makes numbers of X for the linear part: a transformer of scikit-learn, such
        as a :class:`~sklearn.compose.ColumnTransformer`. It is fitted on the rows of
        all tasks together and then stays as it is. The base model gets X as it came, a
        DataFrame with its names, categories and missing values. With None the linear
        part takes X itself, which must be numbers.
    class_weight : dict {label: weight}, "balanced" or None, default=None
        How much the rows of each class count, beside their sample weights: a row of
        weight 2 is a row that is there twice. "balanced" lets all classes count alike,
        as in scikit-learn: with ``n_rows / (n_classes * n_rows_of_the_class)``, over
        the meta-training rows of all tasks. These weights are then kept, and the rows
        that :meth:`adapt` is given count by them as well. They move probabilities away
        from how common the classes are, so leave them out where probabilities count.
        Where decisions count, a threshold on the probabilities of a model without
        weights is mostly better: rows that count more make tasks look more different,
        so that before the first rows the classes balance only in part. A base model
        gets the weights as sample weights, if its ``fit`` takes these. ``score`` does
        not use them.
    half_life : float, "auto" or None, default=None
        How fast old rows are forgotten in adapting. A row keeps half of its weight when
        it is one half-life old, a quarter when it is two half-lives old, and so on. Its
        age is the number of rows given after it, or with ``time_column`` the time
        until the latest row given. ``partial_adapt`` ages what it was given before. A
        row of weight 0 is no row, and ages nothing. The prior itself is learned from
        all rows alike.

        * None, or infinity: all rows count alike, however old they are.
        * "auto": learned from how well the next five rows of held-out tasks are
          predicted: half-lives from 2 to 128 rows, or from 1/16 of the usual time
          between the first and the last row of a task to twice that time. It is
          infinite unless some half-life predicts better by more than two standard
          errors, and with fewer than 5 tasks.

        With a half-life, ``row_order`` is "time".
    time_column : str, int or None, default=None
        Name or number of the column of X that holds the times of the rows, in any unit
        that grows with time. It is a feature as well. It is used where rows are in
        order of time, which is then the order of this column; the rows of a task may
        come in any order. With None the given order is that of time.
    row_order : {"random", "time"}, default="random"
        Whether the rows of a task are in order of time: in the order in which ``fit``
        gets them, or by ``time_column``. If so, ``prior`` "auto" and ``moderation_``
        are learned from predictions of later rows by the first ones, and not of random
        rows by others. ``score`` and few-shot scores then do the same.
    fit_intercept : bool, default=True
        Whether there is an intercept. Without one, X is scaled but not centred, so that
        the origin keeps its meaning. That suits rows that are differences of two
        offers.
    standardize : bool, default=True
        Whether the structures of ``prior`` are about standardised columns, by mean and
        deviation of all meta-training rows. With False they are about coefficients in
        the units of X: "isotropic" then gives these one spread in common, and
        intercepts are those at X = 0. In both cases X is standardised inside, so that
        units do no harm. A sparse X stays sparse, and gives the model that the same X
        gives as an array.
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
        Seed of the folds, of the rows that held-out tasks are scored with, and of
        learned features.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    prior_coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Expected slopes of a new task, in the units of X; with two classes, those of
        ``classes_[1]``. With ``base_estimator`` this and the other coefficients are
        those of the correction. There are no coefficients while learned features are in
        use.
    prior_intercept_ : ndarray of shape (1,) or (n_classes,)
        Expected intercepts of a new task.
    prior_covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance of the coefficients between tasks. They are laid out class by class:
        the slopes and, last, the intercept.
    prior_structure_ : str
        The structure that was asked for, or chosen.
    prior_rank_ : int
        Number of directions; only if the structure is "low_rank".
    varying_ : ndarray of bool of shape (n_features,)
        Which columns have slopes that may differ between tasks. Only if there are
        several tasks, and ``varying`` is not "all".
    log_marginal_likelihood_ : float
        Log probability of all labels under the learned prior, less a small penalty that
        holds the prior's mean where labels say little. It comes from Laplace's method
        and, for tasks that say little, from integrals: see the notes.
    moderation_ : float
        Share of the posterior's variance that the probabilities of an adapted model are
        averaged over. It is the mean of 1, 0.75, 0.5, 0.25 and 0, weighted by how well
        each of them predicts held-out tasks after a few rows. A normal posterior is too
        wide if the rows given are all of one class, and too narrow if rows are not
        independent. Before adapting, probabilities are averaged over the whole prior.
    half_life_ : float
        The half-life in use, in rows or in the units of ``time_column``; only if
        ``half_life`` is not None.
    zero_shot_ : {"prior", "pooled", "constant", "base"}
        What predicts before adapting: the prior, the fit to all rows as one task, or
        the frequencies of the classes. It is the one that predicts held-out tasks best.
        With a base model to choose it may also be another candidate ("base").
    zero_shot_model_ : EmpiricalBayesClassifier
        Another model of this kind that predicts until this one is adapted, with the
        candidate for the base model that is best without any row; only if
        ``zero_shot_`` is "base".
    coef_, intercept_ : ndarray
        Present coefficients: after adapting, the mode of the task's posterior.
    covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Uncertainty of the present coefficients: their covariance, in the layout of
        ``prior_covariance_``.
    coefs_, intercepts_ : list of ndarray
        Weights (fan_in, fan_out) and biases (fan_out,) of the network's layers, on
        standardised data; only while learned features are in use.
    n_feature_iter_ : int
        Number of meta-iterations after which held-out tasks were predicted best; 0 if
        features do not pay and the model is linear. Only with ``features``.
    validation_scores_ : list of float
        Mean log density of unseen rows of held-out tasks in the course of the runs,
        beginning with that of a linear prior; labels are taken as numbers. Only with
        ``features``.
    base_estimator_ : estimator
        The base model, fitted on all rows; only with ``base_estimator``. Adapted copies
        share it.
    linear_preprocessor_ : transformer
        The fitted preprocessor; only with ``linear_preprocessor``. The coefficients are
        those of the columns that it makes.
    base_scale_ : float
        Factor of the base model's log-odds (or log-probabilities), from 0 to 2, learned
        from tasks it has not seen; only with ``base_estimator``. A value below 1 means
        that the base model is overconfident, or that a linear model explains part of
        what it predicts.
    base_choice_ : str
        Which candidate was chosen; only if ``base_estimator`` is "auto" or a
        :class:`~skmeta.ChosenBase`. ``base_estimator_`` is then fitted as it says, or
        absent with "none".
    base_scores_ : dict of {str: dict of {int: float}}
        How well each candidate predicts held-out tasks, by its label and the number of
        rows given: the mean log probability of their labels. Higher is better. Only
        with ``base_choice_``; it is empty with fewer than 5 tasks.
    n_tasks_ : int
        Number of tasks in meta-training.
    known_tasks_ : object
        What is kept of the tasks, by which ``task`` is answered: ``len`` counts them,
        ``id in model.known_tasks_`` looks for one, and ``ids`` and ``n_rows`` are
        arrays. Not without ids, nor of an adapted copy: see ``keep_tasks``.
    stream_ : object
        The rows of all tasks, from which :meth:`partial_meta_fit` goes on; they are
        private data. Only after that method; adapted copies do not have it.
    n_iter_ : int
        Number of iterations of the last search.
    n_adapt_rows_ : int
        Number of rows that the model is adapted to.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if ``fit`` saw names.

    See Also
    --------
    EmpiricalBayesRegressor : The same for numbers.
    LearnedFeatures : Settings of ``features``.
    ReptileClassifier : A start learned by gradient steps, also for networks and for
        tasks with labels of their own.

    Notes
    -----
    The prior maximises the Laplace approximation of the log marginal likelihood itself,
    with its exact gradient. EM about posterior modes is simpler, but it finds spreads
    several times too small. A task with a single row, or whose rows are all multiples of
    one row, is integrated over its logits instead; with more than two classes only if
    its weights sum to at most 3. With two classes, all tasks are integrated if a single
    coefficient varies. For such tasks Laplace's method underestimates the spread. If
    there are many, the spread becomes zero.

    The posterior is not normal. So an adapted model keeps the rows that it has seen, and
    each :meth:`partial_adapt` starts from the prior with all of them. That makes the
    result independent of their order and portions, to the tolerance of Newton's method.

    A row with a sample weight of 2 counts as two equal rows, so that halving all weights
    halves what the data say. A mean weight far below 1 leads to a warning. The model
    suits up to a hundred features and a few classes: the time of a fit grows with the
    cube of their product.

    Rows are taken as independent. If one choice among many offers is turned into pairs
    of offers, the pairs are not independent. Give each a ``sample_weight`` below 1; the
    documentation says how.

    References
    ----------
    N. E. Breslow, D. G. Clayton, "Approximate Inference in Generalized Linear Mixed
    Models", Journal of the American Statistical Association 88(421), 1993.

    D. J. C. MacKay, "The Evidence Framework Applied to Classification Networks", Neural
    Computation 4(5), 1992.

    Examples
    --------
    >>> from skmeta import EmpiricalBayesClassifier
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(100, kind="classification", random_state=0)
    >>> model = EmpiricalBayesClassifier(random_state=0).meta_fit(tasks)
    >>> adapted = model.adapt(X[:10], y[:10])
    >>> adapted.predict_proba(X[10:]).shape
    (10, 2)
    """  # noqa: E501 (a type takes one line)

    _parameter_constraints: dict = with_class_weight(BaseEmpiricalBayes)

    __metadata_request__predict = {"task": True}
    __metadata_request__predict_proba = {"task": True}
    __metadata_request__decision_function = {"task": True}

    @by_task
    @before_adapting
    def predict_proba(self, X, *, task=None):
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each row, or a single id for all
            rows. Each row is then predicted with what ``fit`` was told of its task, and
            rows of other tasks as if there were no ids.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``, averaged over what is not known
            of the task's coefficients.
        """
        X = self._validate_new(X)
        return self._answer_from(self._scores(X), X, "predict_proba")

    @by_task
    @before_adapting
    def decision_function(self, X, *, task=None):
        """Compute log-odds, or with more than two classes log-probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each row, or a single id for all
            rows. Each row is then predicted with what ``fit`` was told of its task, and
            rows of other tasks as if there were no ids.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds or log-probabilities of the averaged probabilities; with two
            classes the log-odds of ``classes_[1]``.
        """
        X = self._validate_new(X)
        return self._answer_from(self._scores(X), X, "decision_function")

    @by_task
    def predict(self, X, *, task=None):
        """Predict the most probable class.

        Without ``task`` the model predicts, until adapted, for a new task of which
        nothing is known. With it, for the tasks that it was fitted to.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each row, or a single id for all
            rows. Each row is then predicted with what ``fit`` was told of its task, and
            rows of other tasks as if there were no ids.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted labels.
        """
        return most_probable(self.decision_function(X), self.classes_)

    def _task_model(self, table):
        return LaplaceModel(of_labels(table.Y.shape[1]))
