"""Counts: a Poisson regressor with a prior learned from the tasks."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.validation import _check_sample_weight

from skmeta._base_choice import before_adapting
from skmeta._checks.aligned import check_aligned
from skmeta._checks.parameters import check_coverage
from skmeta._checks.values import show
from skmeta._coefficients import CoefficientsOfOneOutput
from skmeta._core.prior.count_model import CountModel
from skmeta._core.prior.likelihoods import Poisson
from skmeta._core.scaling import fit_scaling
from skmeta._deciding import DecidesByCounts
from skmeta._export import averaged_poisson_regression, poisson_regression
from skmeta._known_tasks import by_task
from skmeta._linear_part import n_linear
from skmeta._many_tasks import columns_among, is_ours
from skmeta._mixins import MetaRegressorMixin
from skmeta._targets import Numbers
from skmeta._warn import warn
from skmeta.empirical_bayes import BaseEmpiricalBayes

# A rate that a base model predicts is raised to this share of the mean rate.
LEAST_OF_BASE = 1e-3
# The ends of at most this many intervals are searched for at a time.
ROWS_AT_A_TIME = 2**12
TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class Counts(Numbers):
    """Rates: counts per unit of exposure. Outputs of the core are their logarithms."""

    least: float = 0.0  # rates of a base model are raised to this

    positive_only = True

    def check(self, y, task=None):
        for row in np.flatnonzero(y < 0)[:1]:
            of_task = "" if task is None else f" of task {show(task[row])}"
            raise ValueError(
                f"y holds {y[row]:g} in row {row}{of_task}, and a count is 0 or more. "
                "Correct or remove such rows, or take EmpiricalBayesRegressor for "
                "numbers that may be negative."
            )

    def fit(self, y, starts, before=None):
        if not y.any():
            raise ValueError(
                "All y are zero: no rate can be learned from that. Pass some rows with "
                "a positive y."
            )
        return replace(self, least=float(LEAST_OF_BASE * y.mean())), self.encode(y)

    def correct(self, Y, base):
        return Y, self.log_rate(base)

    def log_rate(self, base):
        """The logarithm of the rates that a base model predicts, or None."""
        if base is None:
            return None
        if base.min() <= 0:
            warn(
                f"The base_estimator predicts a rate of {base.min():.3g}, but rates "
                f"of counts are above 0. It is raised to {self.least:.3g}. Use a model "
                "of counts, such as HistGradientBoostingRegressor(loss='poisson')."
            )
        return np.log(np.maximum(base, self.least))

    def scaling(self, X, Y, weight):
        return fit_scaling(X, None, weight)

    def decode(self, Z, base, scaling, classes=None, method="predict"):
        return Poisson().mean(Z if base is None else Z + self.log_rate(base))[:, 0]


class EmpiricalBayesPoissonRegressor(
    MetaRegressorMixin, CoefficientsOfOneOutput, DecidesByCounts, BaseEmpiricalBayes
):
    r"""Poisson regressor of counts that learns from many tasks how much tasks differ.

    The logarithm of the expected count is linear in X. The coefficients of a task come
    from a normal distribution that is learned from all tasks. It says where a new task
    should start, and how far each coefficient may move. Adapting finds the task's
    posterior by Newton's method. This is the Poisson mixed model with random
    coefficients, made to predict for new groups.

    Parameters
    ----------
    prior : {"auto", "intercept", "isotropic", "diagonal", "low_rank", "full"}, default="auto"
        What differs between tasks: the structure of the prior's covariance.

        * "intercept": only the intercept, which is the level of a task; the slopes are
          pooled.
        * "isotropic": all slopes by the same amount, and the intercept.
        * "diagonal": each coefficient by its own amount.
        * "low_rank": coefficients together along a few directions, and each of them a
          little by itself.
        * "full": any covariance. Correlations are drawn towards zero, as if by one more
          uncorrelated task per coefficient.
        * "auto": the simplest of these within half a standard error of the best
          deviance on held-out tasks after a few rows, in 5 folds. With more than 60
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
        Any regressor of scikit-learn whose predictions are positive, such as
        ``HistGradientBoostingRegressor(loss="poisson")``. It is fitted on the rates of
        all tasks together, with the exposures as sample weights if its ``fit`` takes
        them. Each task multiplies its predictions by factors. In training, its errors
        come from clones that were fitted without the task, in 5 folds of tasks. A
        prediction below a thousandth of the mean rate is raised to that rate.
        "auto" chooses among none, boosting and a forest on held-out tasks, and a
        :class:`~skmeta.ChosenBase` does so among models, and for numbers of rows, that
        you name.
    linear_preprocessor : transformer, default=None
        What makes numbers of X for the linear part: a transformer of scikit-learn, such
        as a :class:`~sklearn.compose.ColumnTransformer`. It is fitted on the rows of
        all tasks together and then stays as it is. The base model gets X as it came, a
        DataFrame with its names, categories and missing values. With None the linear
        part takes X itself, which must be numbers.
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
        gets them, or by ``time_column``. If so, ``prior`` "auto", ``moderation_`` and
        ``overdispersion_`` are learned from predictions of later rows by the first
        ones, and not of random rows by others. ``score`` and few-shot scores then do
        the same.
    fit_intercept : bool, default=True
        Whether there is an intercept. Without one, the rate at X = 0 is 1 in every
        task, and X is scaled but not centred.
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
        Tolerance of the search for the prior. It stops when the slope of the log
        evidence is at most ``tol * sqrt(n_tasks)``. Chance alone gives a slope of about
        ``sqrt(n_tasks)``.
    max_iter : int, default=1000
        Maximum number of iterations of a search.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds, of the rows that held-out tasks are scored with, and of
        learned features.

    Attributes
    ----------
    prior_coef_ : ndarray of shape (n_features,)
        Expected slopes of the log rate of a new task, in the units of X. With
        ``base_estimator`` these and all coefficients below are those of its correction.
    prior_intercept_ : float
        Expected intercept of the log rate of a new task.
    prior_covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance between tasks of the slopes and, last, the intercept.
    prior_structure_ : str
        The structure asked for, or chosen.
    prior_rank_ : int
        Only with "low_rank": the number of directions.
    varying_ : ndarray of bool of shape (n_features,)
        Which columns have slopes that may differ between tasks. Only if there are
        several tasks, and ``varying`` is not "all".
    log_marginal_likelihood_ : float
        Log probability of all counts under the learned prior. It is found by quadrature
        if a single coefficient varies and for tasks of one row, and otherwise by
        Laplace's method.
    moderation_ : float
        Share of the posterior's variance that the predictions of an adapted model
        average over. It is the mean of 1, 0.75, 0.5, 0.25 and 0, weighted by how well
        each of them predicts held-out tasks after a few rows. Before adapting,
        predictions average over the whole prior.
    overdispersion_ : float
        Variance of the log rate from row to row that the model does not explain. It is
        learned from held-out tasks. It is 0 for counts with a Poisson distribution, and
        with fewer than 5 tasks. Intervals allow for it; predictions and posteriors do
        not.
    half_life_ : float
        The half-life in use, in rows or in the units of ``time_column``; only if
        ``half_life`` is not None.
    zero_shot_ : {"prior", "pooled", "constant", "base"}
        What predicts before adapting: the prior, the fit to all rows as one task, or
        the mean rate. The best one for held-out tasks is used. With a base model to
        choose it may also be another candidate ("base").
    zero_shot_model_ : EmpiricalBayesPoissonRegressor
        Another model of this kind that predicts until this one is adapted, with the
        candidate for the base model that is best without any row; only if
        ``zero_shot_`` is "base".
    coef_, intercept_ : ndarray of shape (n_features,), float
        Present coefficients: once adapted, the mean of the task's posterior, to second
        order.
    covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance of the present slopes and, last, the intercept: their uncertainty.
    coefs_, intercepts_ : list of ndarray
        Only with learned features: weights (fan_in, fan_out) and biases (fan_out,) of
        the network's layers, on standardised data.
    n_feature_iter_ : int
        Only with ``features``: the number of meta-iterations that was best for held-out
        tasks. It is 0 if features do not pay; then the model is linear.
    validation_scores_ : list of float
        Only with ``features``: mean log density of unseen rows of held-out tasks during
        the runs. The first is that of a linear model. Rates are treated as numbers.
    base_estimator_ : estimator
        Only with ``base_estimator``: the base model, fitted on all rows. Adapted copies
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
        rows given: minus half their mean deviance. Higher is better. Only with
        ``base_choice_``; it is empty with fewer than 5 tasks.
    n_tasks_ : int
        Tasks seen in meta-training.
    known_tasks_ : object
        What is kept of the tasks, by which ``task`` is answered: ``len`` counts them,
        ``id in model.known_tasks_`` looks for one, and ``ids`` and ``n_rows`` are
        arrays. Not without ids, nor of an adapted copy: see ``keep_tasks``.
    stream_ : object
        The rows of all tasks, from which :meth:`partial_meta_fit` goes on; they are
        private data. Only after that method; adapted copies do not have it.
    n_iter_ : int
        Iterations of the last search.
    n_adapt_rows_ : int
        Rows that the model is adapted to.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if fit saw names.

    See Also
    --------
    EmpiricalBayesRegressor : The same for numbers with noise of one size.
    sklearn.linear_model.PoissonRegressor : A Poisson regression of one task.

    Notes
    -----
    The target y of a row is a rate, and its ``sample_weight`` w the exposure, as in
    :class:`~sklearn.linear_model.PoissonRegressor`. The count :math:`w y` has a Poisson
    distribution of mean :math:`w \exp(x^T \theta_t)`. So a row of weight 2 counts like
    two rows of that rate, and a weight of 0 removes the row. Rates need not be whole
    numbers, and exposures may be of any size: their unit changes the intercept and
    nothing else. ``fit`` refuses negative y, and y that are zero in all tasks; a task
    of zeros among others is an ordinary task.

    ``score`` is :math:`D^2`, the share of the deviance that is explained.

    Counts often vary more than a Poisson distribution, even at a known rate. Then the
    model is too sure of a task's rows. Divide all weights by the factor by which the
    variance is too large.

    Examples
    --------
    >>> import numpy as np
    >>> from skmeta import EmpiricalBayesPoissonRegressor
    >>> rng = np.random.default_rng(0)
    >>> tasks = []
    >>> for level in rng.normal(size=50):
    ...     X = rng.normal(size=(10, 1))
    ...     tasks.append((X, rng.poisson(np.exp(1 + level + 0.5 * X[:, 0]))))
    >>> model = EmpiricalBayesPoissonRegressor(random_state=0).meta_fit(tasks[:49])
    >>> X, y = tasks[49]
    >>> adapted = model.adapt(X[:3], y[:3])
    >>> adapted.predict(X[3:]).shape
    (7,)
    >>> low, high = adapted.predict_interval(X[3:], coverage=0.9).T
    """  # noqa: E501 (a type takes one line)

    __metadata_request__predict = {"task": True}

    @by_task
    @before_adapting
    def predict(self, X, *, task=None):
        """Predict the expected count per unit of exposure.

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
            Expected rates, averaged over the uncertainty of the task's coefficients.
        """
        X = self._validate_new(X)
        return self._answer_from(self._predictive(X), X, "predict")

    @by_task
    @before_adapting
    def predict_interval(self, X, coverage=0.9, exposure=1.0, *, task=None):
        """Predict intervals, in whole counts, that hold a share of new counts.

        The ends are quantiles of the predictive distribution: a Poisson distribution
        whose log rate is normal, by quadrature. The variance of the log rate is that of
        the task's coefficients and ``overdispersion_``. Whole counts cannot hold
        exactly the share asked for, so they hold a little more.

        They hold for rows as they were in training: for random rows of a task, or with
        ``row_order="time"`` for the next few rows after those given. Forecasts further
        ahead may be held less often. Measure that on the last known rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        coverage : float, default=0.9
            Share of counts that the intervals are to hold, over tasks and rows.
        exposure : float or array-like of shape (n_samples,), default=1.0
            Exposures that the counts are for.
        task : id or array-like of shape (n_samples,), default=None
            For tasks that were in ``fit``: the task of each row, or a single id for all
            rows. Each row is then predicted with what ``fit`` was told of its task, and
            rows of other tasks as if there were no ids.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper ends, both of them included.
        """
        check_aligned(X=X, **columns_among({"exposure": exposure}))
        X = self._validate_new(X)
        check_coverage(coverage)
        options = {"coverage": coverage, "exposure": exposure}
        return self._answer_from(self._predictive(X), X, "predict_interval", **options)

    def _numbers_for(self, method, coverage=0.9, exposure=1.0):
        check_coverage(coverage)
        return "predictive", {}

    def _answer_from(self, numbers, X, method, coverage=0.9, exposure=1.0):
        """What ``method`` returns, from the centre and deviation of each log rate."""
        log_rate, deviation = numbers.T
        if method == "predict":
            log_mean = (log_rate + 0.5 * deviation**2)[:, None]
            return self._targets.decode(log_mean, None, self._scaling)
        exposure = _check_sample_weight(exposure, X, ensure_non_negative=True)
        excess = self.overdispersion_
        deviation = np.sqrt(deviation**2 + excess)
        rows = np.column_stack([log_rate - 0.5 * excess, deviation, exposure])
        ends = []
        for some in gen_batches(len(rows), ROWS_AT_A_TIME):
            tails = 0.5 * (1.0 - coverage), 0.5 * (1.0 + coverage)
            ends.append([Poisson().quantile(tail, *rows[some].T) for tail in tails])
        return np.hstack(ends).T

    def _ordinary_score(self, X, y, sample_weight=None):
        return explained_deviance(y, self.predict(X), sample_weight)

    def _own_metric(self):
        ours = is_ours(self, "score", "_score_as_it_is", "_ordinary_score")
        return explained_deviance if ours else None

    _scale_of_parts = "log rate"

    # -- a plain model ----------------------------------------------------------------

    _adds_to_base = False  # it multiplies its rates

    def _plain_estimator(self):
        learned, present = self._learned, self._present
        known, one = learned.predicting(present), learned.design.fit_intercept
        share = 1.0 if present is None else self.moderation_
        if present is None and learned.zero_shot != "prior":
            share = 0.0  # such a start is a mean over all tasks already
        covariance = share * known.factor @ known.factor.T
        if covariance[: n_linear(self)].any():
            mean = known.mean
            return averaged_poisson_regression(mean, covariance, self._scaling, one)
        # all rates are averaged alike, if at all
        level = self.intercept_ + (0.5 * covariance[-1, -1] if one else 0.0)
        return poisson_regression(self.coef_, level, one)

    # -- hooks ------------------------------------------------------------------------

    def _make_targets(self):
        return Counts()

    def _task_model(self, table):
        return CountModel(Poisson.of_targets(table.Y, table.weight, table.offset))

    def _keep(self, learned, table):
        super()._keep(learned, table)
        self.overdispersion_ = learned.calibration.overdispersion

    def _offset(self, X):
        return self._targets.log_rate(self._base_offset(X))


def explained_deviance(y, rate, sample_weight=None):
    """D^2, the share of the deviance of the mean that predicted rates explain."""
    from sklearn.metrics import mean_poisson_deviance as deviance

    mean = np.full(len(rate), np.average(y, weights=sample_weight) + TINY)
    own, null = (deviance(y, r, sample_weight=sample_weight) for r in (rate, mean))
    return float(1.0 - own / null if null > 3 * TINY else own < TINY)
