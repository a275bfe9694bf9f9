"""Reptile estimators (Nichol, Achiam & Schulman, 2018)."""

from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from operator import attrgetter

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skmeta import _callbacks
from skmeta import _reptile_checks as checks
from skmeta._base import BaseMetaLearner
from skmeta._checks.parameters import (
    check_again,
    check_hidden_layer_sizes,
    check_range,
)
from skmeta._checks.task_lists import stack_rows
from skmeta._core import network
from skmeta._core.descent import inner, training, trouble
from skmeta._core.descent.plan import wiping
from skmeta._core.descent.state import (
    LearnedStart,
    PresentTask,
    ReptileSettings,
    initial_state,
    rate_groups,
    rate_sharing,
)
from skmeta._core.descent.validation import steps_for
from skmeta._core.layout import ParamLayout
from skmeta._core.scaling import identity_scaling
from skmeta._mixins import MetaClassifierMixin, MetaRegressorMixin
from skmeta._targets import Numbers, OwnLabels, SharedLabels
from skmeta._task_input import SortedRows, validate_task
from skmeta._threads import on_one_blas_thread

PAPER_MODE = {
    "solver": "adam",
    "learning_rate": 1e-3,
    "learn_rates": None,
    "inner_steps": 5,
    "batch_size": 10,
    "support_size": None,
    "alpha": 0.0,
    "meta_step": 1.0,
    "meta_batch_size": 5,
    "max_iter": 100_000,
    "adapt_steps": 50,
    "standardize": False,
}
"""Settings of the original implementation (Omniglot, 5-way) of Nichol et al. (2018)."""

# A step of Adam is about as long as its rate, however short the gradient is.
DEFAULT_RATE = {"sgd": 0.1, "adam": 1e-3}
# A sparse X is made dense for at most this many numbers at a time.
DENSE_CELLS = 2**22

AT_LEAST_ONE = Interval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")


class BaseReptile(_callbacks.CallbackSupportMixin, BaseMetaLearner):
    """Parameters, meta-training and adaptation of both Reptile estimators."""

    _parameter_constraints: dict = {
        **BaseMetaLearner._parameter_constraints,
        "hidden_layer_sizes": ["array-like", AT_LEAST_ONE],
        "activation": [StrOptions({"tanh", "relu"})],
        "layer_norm": ["boolean"],
        "solver": [StrOptions({"sgd", "adam"})],
        "learning_rate": [POSITIVE, StrOptions({"auto"})],
        "learn_rates": [StrOptions({"auto", "parameter", "layer"}), None],
        "inner_steps": [AT_LEAST_ONE],
        "batch_size": [AT_LEAST_ONE, None],
        "support_size": [AT_LEAST_ONE, tuple, None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "meta_step": [POSITIVE],
        "meta_batch_size": [AT_LEAST_ONE],
        "max_iter": [AT_LEAST_ONE],
        "adapt_steps": [
            Interval(Integral, 0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "standardize": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [AT_LEAST_ONE],
        "warm_start": ["boolean"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    # -- fitted attributes ------------------------------------------------------------

    @property
    def coefs_(self):
        """Weights per layer, (fan_in, fan_out), on standardised data."""
        return [layer.weight for layer in self._layers("_present.theta")]

    @property
    def intercepts_(self):
        """Biases per layer, on standardised data."""
        return [layer.bias for layer in self._layers("_present.theta")]

    @property
    def prior_coefs_(self):
        """Weights of the learned start per layer."""
        return [layer.weight for layer in self._layers("_learned.start")]

    @property
    def prior_intercepts_(self):
        """Biases of the learned start per layer."""
        return [layer.bias for layer in self._layers("_learned.start")]

    @property
    def rate_coefs_(self):
        """Inner rate of each weight, per layer: how far it may move."""
        return [layer.weight for layer in self._layers("_rates")]

    @property
    def rate_intercepts_(self):
        """Inner rate of each bias, per layer."""
        return [layer.bias for layer in self._layers("_rates")]

    @property
    def coef_(self):
        """Coefficients of a linear model in the user's units."""
        return self._in_user_units()[0]

    @property
    def intercept_(self):
        """Intercept of a linear model in the user's units."""
        return self._in_user_units()[1]

    def _in_user_units(self):
        layers = self._layers("_present.theta")
        if len(layers) > 1:
            raise AttributeError(
                "Only a linear model has coef_ and intercept_, and this model has "
                "hidden layers. See coefs_ and intercepts_."
            )
        return self._scaling.linear_in_user_units(layers[0].weight, layers[0].bias)

    def _layers(self, name):
        """Views per layer, read-only since adapted copies share the start."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        theta = attrgetter(name)(self).view()
        theta.flags.writeable = False
        return self._learned.network.layout.layers(theta)

    @property
    def _rates(self):
        learned = self._learned
        settings = self._settings(learned.network, *learned.inner_loop)
        factor = learned.state.rate_factor(settings.groups)
        return settings.learning_rate * np.broadcast_to(factor, learned.start.shape)

    @property
    def _dtype(self):
        return self._learned.start.dtype

    # -- meta-training ----------------------------------------------------------------

    @wiping
    @on_one_blas_thread
    def _meta_train(self, table, ids, again, data):
        check_range("support_size", self.support_size, optional=True)
        if self.early_stopping:
            checks.enough_tasks(table)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        rng = np.random.default_rng(seed)
        net = self._build_network(table)
        sharing = rate_sharing(net, self.solver, self.learn_rates)
        about = {
            "network": net,
            "inner_loop": (self.solver, not self._is_plain(), sharing),
            "mean_weight": float(table.weight.mean()),
            "constant_loss": trouble.constant_loss(net, table),
            "seed": seed,
        }
        checks.weights(about["mean_weight"], 1.0, self.alpha)
        settings = self._training_settings(net, table, about["inner_loop"])
        if again:
            checks.unchanged(self._learned, net, about["inner_loop"])
            start = self._learned.state
        else:
            start = initial_state(net, settings, rng, table.Y.dtype)
        holding_out = self._holding_out()

        def after_each(so_far):
            if self.verbose and len(so_far.losses) % training.VALIDATE_EVERY == 0:
                _callbacks.print_progress(so_far.losses, so_far.scores)
            return report(partial(self._stopped_at, so_far, about))

        n_iter = settings.max_iter * holding_out.n_runs(table)
        with (
            _callbacks.meta_iterations(self, n_iter, **data) as report,
            checks.naming(ids),
        ):
            given = net, table, start, settings, holding_out, rng
            trained = training.train(*given, after_each)
        self._keep(trained, about)
        checks.training_arrived(trained.losses, self._learned, self.standardize)

    def _keep(self, trained, about):
        """Set the fitted attributes to what was `training.Trained`."""
        self._learned = LearnedStart.of(trained.state, **about)
        self._present = PresentTask(self._learned.start)
        self.n_iter_ = len(trained.losses)
        self.loss_curve_ = list(trained.losses)
        for name in ("validation_scores_", "adapt_steps_"):  # of an earlier fit
            vars(self).pop(name, None)
        if trained.scores is not None:
            self.validation_scores_ = list(trained.scores)
        if trained.adapt_steps is not None:
            self.adapt_steps_ = trained.adapt_steps

    def _stopped_at(self, so_far, about):
        """Attributes, for callbacks, of a model whose meta-training stops here."""
        model = object.__new__(type(self))
        vars(model).update(vars(self))
        model._keep(so_far, about)
        return _callbacks.fitted_attributes(model)

    def _fit_scaling(self, targets, X, Y, weight):
        """Standardise, unless the data are to be left as they are and can be.

        The second is what ``standardize=False`` asks for. But if numbers are far from
        the size 1, steps are too long or too short, and rates and pull mean nothing.
        """
        if not self.standardize:
            plain = self._is_plain()
            even = checks.even_columns(X, plain)
            even = even and (targets.are_labels or trouble.is_even(Y))
            # Adam's steps have a fixed length, which suits standardised data only.
            if plain or (even and self.solver != "adam"):
                return identity_scaling(X.shape[1])
        return targets.scaling(X, Y, weight)

    def _build_network(self, table):
        hidden = check_hidden_layer_sizes(self.hidden_layer_sizes)
        n_outputs = table.Y.shape[1]
        sizes = (table.X.shape[1], *hidden, n_outputs)
        layout = ParamLayout(sizes, bool(self.layer_norm))
        return network.Network(layout, self.activation, self._loss_name(n_outputs))

    def _is_plain(self):
        """Whether the loops of the paper run, without safeguards: see `PAPER_MODE`."""
        fixed_rates = self.learn_rates is None or self.solver == "adam"
        return not self.standardize and fixed_rates and self.alpha == 0.0

    def _settings(self, net, solver, safe, sharing):
        rate = self.learning_rate
        return ReptileSettings(
            solver=solver,
            # a NumPy scalar, as from np.logspace, would turn float32 into float64
            learning_rate=DEFAULT_RATE[solver] if rate == "auto" else float(rate),
            inner_steps=self.inner_steps,
            batch_size=self.batch_size,
            support_size=self.support_size,
            meta_step=float(self.meta_step),
            meta_batch_size=self.meta_batch_size,
            max_iter=self.max_iter,
            alpha=float(self.alpha),
            safe=safe,
            groups=rate_groups(net, sharing),
        )

    def _training_settings(self, net, table, inner_loop):
        settings = self._settings(net, *inner_loop)
        settings = replace(settings, n_jobs=effective_n_jobs(self.n_jobs))
        if not (self.standardize or self._targets.are_labels):
            unit = max(1.0, trouble.root_mean_square(table.Y))
            settings = replace(settings, unit=unit)
        if table.n_tasks == 1:  # no other task is to come, for which to keep rows back
            settings = replace(settings, support_size=None)
        return settings

    def _holding_out(self):
        choose = self.adapt_steps == "auto"
        return training.HoldingOut(
            fraction=self.validation_fraction,
            stops_early=self.early_stopping,
            patience=self.n_iter_no_change,
            n_steps=self.inner_steps if choose else self.adapt_steps,
            chooses_steps=choose,
        )

    # -- adaptation -------------------------------------------------------------------

    @wiping
    def _adapt_to(self, batch):
        learned, present = self._learned, self._present
        net, state, settings = self._to_adapt_with()
        n_rows, weight = batch.X.shape[1], float(batch.n_rows[0])
        if n_rows > 1:  # a single row may well be meant to count little
            checks.weights(weight / n_rows, learned.mean_weight, self.alpha)
        if present.seen:  # go on from where the task stands
            state = replace(state, start=present.theta, seen=present.seen)
        before = present.theta[None]
        # Minibatches are drawn alike for every task.
        rng = None if self.batch_size is None else np.random.default_rng(learned.seed)
        n_steps = self._adaptation_steps(n_rows)
        theta = inner.adapt(net, state, before, batch, settings, n_steps, rng)
        checks.finite(theta, "these rows")
        if not settings.backtracks:
            losses = inner.losses_before_and_after(net, before, theta, batch)
            checks.adapting(*losses, learned.constant_loss)
        # a copy, since the core goes on using its array
        self._present = PresentTask(theta[0].copy(), present.seen + weight)

    def _to_adapt_with(self):
        """Network, state and settings of the core, as they are for adapting."""
        check_again(self, "adapt_steps", "learning_rate", "alpha")
        learned = self._learned
        net = learned.network
        return net, learned.state, self._settings(net, *learned.inner_loop)

    @wiping
    def _adapt_each(self, parts):
        if self._targets.own_classes or self.batch_size is not None:
            return super()._adapt_each(parts)
        models = [self._unadapted_copy() for _ in parts]
        rows = [validate_task(m, *part) for m, part in zip(models, parts, strict=True)]
        X, y, weight = zip(*rows, strict=True)
        starts = np.concatenate([[0], np.cumsum([len(part) for part in y])])
        y, weight = np.concatenate(y), np.concatenate(weight)
        table = self._new_table(SortedRows(stack_rows(X), y, weight, starts))
        for tasks, theta in self._adapt_chunks(table):
            for t, row in zip(tasks, theta, strict=True):
                seen = float(weight[starts[t] : starts[t + 1]].sum())
                models[t]._present = PresentTask(row.copy(), seen)
                models[t].n_adapt_rows_ = int(starts[t + 1] - starts[t])
        return models

    @wiping
    @on_one_blas_thread
    def _predict_each(self, known, new, method):
        if self._targets.own_classes or self.batch_size is not None:
            return super()._predict_each(known, new, method)
        X_new, order, starts_new = new
        table = self._new_table(known)
        net = self._learned.network
        Z = np.empty((len(order), net.layout.sizes[-1]), self._dtype)

        def rows_at(places):
            return self._scaling.transform_X(self._dense(X_new[order[places]]))

        for tasks, theta in self._adapt_chunks(table):
            adapted = net, theta, tasks, starts_new
            for places, outputs in inner.outputs_of_tasks(*adapted, rows_at):
                Z[order[places]] = outputs
        return self._decode(Z, X_new, method)

    def _adapt_chunks(self, table):
        """Adapt to many tasks; yields numbers of some of them, and their weights."""
        net, state, settings = self._to_adapt_with()
        learned = self._learned
        checks.weights(float(table.weight.mean()), learned.mean_weight, self.alpha)
        losses = []
        for tasks, theta, change in inner.adapt_in_chunks(
            net, state, table, settings, self._adaptation_steps, None
        ):
            checks.finite(theta, "these tasks")
            losses.append(change)
            yield tasks, theta
        if losses and not settings.backtracks:
            checks.adapting(*np.concatenate(losses, axis=1), learned.constant_loss)

    def _adaptation_steps(self, n_rows):
        if self.adapt_steps != "auto":
            return self.adapt_steps
        table = getattr(self, "adapt_steps_", None)
        # There is no table if there were too few tasks to hold any out.
        return self.inner_steps if table is None else steps_for(table, n_rows)

    def _forget(self):
        self._present = PresentTask(self._learned.start)

    def _raw_outputs(self, X):
        net, theta = self._learned.network, self._present.theta[None]
        is_sparse = hasattr(X, "toarray")
        n = max(1, DENSE_CELLS // X.shape[1]) if is_sparse else X.shape[0]

        def outputs(rows):
            rows = self._scaling.transform_X(self._dense(rows))
            return network.predict(net, theta, rows[None])[0]

        return np.concatenate([outputs(X[i : i + n]) for i in range(0, X.shape[0], n)])


class ReptileRegressor(MetaRegressorMixin, BaseReptile):
    r"""Regressor that learns from many tasks where a new task should start.

    Linear models and small multi-layer perceptrons, meta-trained by Reptile and adapted
    to a new task by a few steps of descent.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=()
        Units of each hidden layer. ``()`` is a linear model.
    base_estimator : estimator, default=None
        Any regressor of scikit-learn. It is fitted on the rows of all tasks together,
        and the meta-learned model corrects its prediction per task. What is left to
        correct in training are errors on tasks that a clone of it has not seen, in 5
        folds of tasks. It gets sample weights if its ``fit`` takes them, the tasks as
        groups of folds inside it, and seeds from an integer ``random_state``.
    activation : {"tanh", "relu"}, default="tanh"
        Of the hidden layers.
    layer_norm : bool, default=False
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    loss : {"squared_error", "huber"}, default="squared_error"
        "squared_error" is half the squared error. "huber" is linear beyond 1.35
        standard deviations, and then y is scaled by median and quartiles: for targets
        with outliers.
    solver : {"sgd", "adam"}, default="sgd"
        The inner loop. "sgd" is gradient descent; a model trained with it adapts by
        steps that lower the loss of the rows given, or are not taken ("backtracking").
        "adam" has :math:`\beta_1 = 0` and carries its second moment from task to task,
        as in the paper; then rates are not learned, and with ``alpha`` > 0 the fewer
        rows there are the shorter are its steps.
    learning_rate : float or "auto", default="auto"
        Inner rate on standardised data: a number, not the name of a schedule. With
        learned rates, where they begin. "auto" is 0.1 for "sgd" and 0.001 for "adam".
    learn_rates : {"auto", "parameter", "layer"} or None, default="auto"
        Whether inner rates are learned, from rows that the inner loop has not seen: one
        per parameter, or one for the weights and one for the offsets of each layer.
        They stay positive, and within a factor of 100 of ``learning_rate``. "auto" is
        "parameter" for regression and for linear models, else "layer"; None keeps all
        at ``learning_rate``.
    inner_steps : int, default=10
        Steps of the inner loop, :math:`k` in the paper.
    batch_size : int, default=None
        Rows per inner step, in cycling minibatches; None takes all support rows. Which
        rows meet in a minibatch depends on the order in which they are given.
    support_size : int, tuple (low, high) or None, default=(1, 20)
        Rows drawn from each task in each meta-iteration: a number, a range to draw the
        number from, or None for all rows. The rows left over teach the learned rates;
        where none are left, rates stay at ``learning_rate``. A single task gives all
        its rows.
    alpha : float, default=3.0
        Strength of the pull towards the start, in inner loop and adaptation: the
        penalty :math:`\frac{\alpha}{2} \sum_j (\theta_j - \phi_j)^2 / f_j` on the sum
        of the rows' losses, with :math:`f_j` the learned factor of a rate. It fades as
        rows come in. On standardised data. A row of sample weight 2 is a row given
        twice, so that weights which sum to 1 leave hardly any row (a warning).
    meta_step : float, default=1.0
        :math:`\epsilon`, how far the start moves towards the adapted parameters. Falls
        linearly to 0 over ``max_iter``.
    meta_batch_size : int, default=25
        Tasks per meta-iteration.
    max_iter : int, default=500
        Meta-iterations.
    adapt_steps : int or "auto", default=10
        Steps that :meth:`adapt` and :meth:`partial_adapt` take. "auto" picks the
        number, 0 allowed, for each number of rows on held-out tasks of the
        meta-training, and then, unless ``early_stopping`` is on, learns again from all
        tasks; with fewer than 5 tasks it is ``inner_steps``.
    standardize : bool, default=True
        Whether X and y are standardised inside, by mean and deviation of all
        meta-training rows, so that units do not matter. A sparse X gives the model of a
        dense one, and stays sparse. False leaves alone what is of about unit size
        already, as behind a StandardScaler; where a column (with a warning) or y is
        larger than 10 or smaller than 0.1, or with "adam", X and y are standardised all
        the same. Not so with
        ``learn_rates=None`` and ``alpha=0``: these are the loops of the paper, on data
        as they are.
    early_stopping : bool, default=False
        Whether to hold out tasks and to stop when predictions for them, after adapting,
        no longer improve. The best start so far is kept. Checked every 10
        meta-iterations.
    validation_fraction : float, default=0.2
        Fraction of the tasks to hold out, for ``early_stopping`` and
        ``adapt_steps="auto"``.
    n_iter_no_change : int, default=10
        Checks without improvement that ``early_stopping`` waits for.
    warm_start : bool, default=False
        Whether another fit goes on from what was learned, with the scaling and the
        base model of the first fit.
    n_jobs : int, default=None
        Threads that share the tasks of a meta-iteration. They pay from some hundred
        tasks, or tens of large networks, per meta-iteration, and do not change the
        result. None is 1.
    verbose : int, default=0
        Whether to print a line every 10 meta-iterations. For progress bars see
        ``set_callbacks`` (scikit-learn 1.9 and later).
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, the draws of tasks and rows, and minibatches.

    Attributes
    ----------
    base_estimator_ : estimator
        Only with ``base_estimator``: the base model, fitted on all rows. Adapted copies
        share it.
    coefs_, intercepts_ : list of ndarray
        Present weights (fan_in, fan_out) and biases (fan_out,) of each layer, on
        standardised data.
    prior_coefs_, prior_intercepts_ : list of ndarray
        The learned start, :math:`\phi` in the paper.
    rate_coefs_, rate_intercepts_ : list of ndarray
        Inner rate of each parameter: how far it may move.
    coef_, intercept_ : ndarray
        Present coefficients of a linear model in the units of X and y; with
        ``base_estimator`` those of the correction, as are all parameters above.
    n_tasks_ : int
        Tasks seen in meta-training.
    n_iter_ : int
        Meta-iterations run; of the last run if ``adapt_steps="auto"`` needs two.
    n_adapt_rows_ : int
        Rows that the model is adapted to; 0 is the learned start.
    loss_curve_ : list of float
        Mean loss of the drawn tasks at their last inner step, per meta-iteration.
    validation_scores_ : list of float
        With early stopping: minus the mean loss of held-out tasks after adapting.
    adapt_steps_ : ndarray of shape (n_sizes, 2)
        With ``adapt_steps="auto"``: numbers of rows, and the steps to take for them.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where fit has seen names.

    See Also
    --------
    ReptileClassifier : The same for labels.
    FewShotRegressor : Tune the adaptation to one new task.

    Notes
    -----
    One meta-iteration draws tasks, lets an inner loop of :math:`k` steps turn the start
    :math:`\phi` into :math:`\theta_t` on each, and moves

    .. math:: \phi \leftarrow \phi + \epsilon \, \mathrm{mean}_t (\theta_t - \phi).

    With ``solver="sgd"`` these safeguards act: gradients are shortened to the norm 10,
    a linear model's step is bounded by its curvature, a row far outside the range of
    the others weighs less, and adaptation backtracks. They are off where
    ``standardize=False``, ``learn_rates=None`` and ``alpha=0``, as in
    ``skmeta.reptile.PAPER_MODE``, the settings that reproduce the original
    implementation; then, and with "adam", a model adapts as it was trained, and a
    warning tells where training ended far above the loss of a constant, or where
    adapting raised the loss of the rows given.

    :meth:`partial_adapt` takes the rows that the model has seen as known: it goes on
    from where the task stands, with a pull to that point which is the stronger, and
    with steps that are the shorter, the more there were. Rows given one at a time end
    near, but not at, what :meth:`adapt` makes of all together.

    References
    ----------
    A. Nichol, J. Achiam, J. Schulman, "On First-Order Meta-Learning Algorithms",
    arXiv:1803.02999, 2018.

    Z. Li, F. Zhou, F. Chen, H. Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot
    Learning", arXiv:1707.09835, 2017 (learned rates).

    Examples
    --------
    >>> from skmeta import ReptileRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(100, random_state=0)
    >>> model = ReptileRegressor(random_state=0).meta_fit(tasks)
    >>> adapted = model.adapt(X[:5], y[:5])
    >>> adapted.score(X[5:], y[5:]) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **BaseReptile._parameter_constraints,
        "loss": [StrOptions({"squared_error", "huber"})],
    }

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        base_estimator=None,
        activation="tanh",
        layer_norm=False,
        loss="squared_error",
        solver="sgd",
        learning_rate="auto",
        learn_rates="auto",
        inner_steps=10,
        batch_size=None,
        support_size=(1, 20),
        alpha=3.0,
        meta_step=1.0,
        meta_batch_size=25,
        max_iter=500,
        adapt_steps=10,
        standardize=True,
        early_stopping=False,
        validation_fraction=0.2,
        n_iter_no_change=10,
        warm_start=False,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.base_estimator = base_estimator
        self.activation = activation
        self.layer_norm = layer_norm
        self.loss = loss
        self.solver = solver
        self.learning_rate = learning_rate
        self.learn_rates = learn_rates
        self.inner_steps = inner_steps
        self.batch_size = batch_size
        self.support_size = support_size
        self.alpha = alpha
        self.meta_step = meta_step
        self.meta_batch_size = meta_batch_size
        self.max_iter = max_iter
        self.adapt_steps = adapt_steps
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    @property
    def coef_(self):
        """Present coefficients of a linear model in the units of X and y: (d,)."""
        return super().coef_[0]

    @property
    def intercept_(self):
        """Present intercept of a linear model in the units of y."""
        return float(super().intercept_[0])

    def _loss_name(self, n_outputs):
        return self.loss

    def _make_targets(self):
        return Numbers(robust=self.loss == "huber")


class ReptileClassifier(MetaClassifierMixin, BaseReptile):
    r"""Classifier that learns from many tasks where a new task should start.

    Logistic models and small multi-layer perceptrons, meta-trained by Reptile and
    adapted to a new task by a few steps of descent.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=()
        Units of each hidden layer. ``()`` is a linear model.
    base_estimator : estimator, default=None
        Any classifier of scikit-learn. It is fitted on the rows of all tasks together,
        and the meta-learned model corrects its log-odds per task (of several classes,
        its log-probabilities; probabilities count as no closer to 0 and 1 than 0.001).
        What is left to correct in training are errors on tasks that a clone of it has
        not seen, in 5 folds of tasks. It gets sample weights if its ``fit`` takes them,
        the tasks as groups of folds inside it, and seeds from an integer
        ``random_state``. Not with ``task_classes="own"``.
    activation : {"tanh", "relu"}, default="tanh"
        Of the hidden layers.
    layer_norm : bool, default=False
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    task_classes : {"shared", "own"}, default="shared"
        "shared": all tasks have the same classes, those seen in fit. "own": each task
        brings its own, as many as the largest training task at most; they are given
        new places among the outputs in every meta-iteration, and ``classes_`` of an
        adapted model are its task's labels. There is nothing to predict before
        adapting.
    solver : {"sgd", "adam"}, default="sgd"
        The inner loop. "sgd" is gradient descent; a model trained with it adapts by
        steps that lower the loss of the rows given, or are not taken ("backtracking").
        "adam" has :math:`\beta_1 = 0` and carries its second moment from task to task,
        as in the paper; then rates are not learned, and with ``alpha`` > 0 the fewer
        rows there are the shorter are its steps.
    learning_rate : float or "auto", default="auto"
        Inner rate on standardised data: a number, not the name of a schedule. With
        learned rates, where they begin. "auto" is 0.1 for "sgd" and 0.001 for "adam".
    learn_rates : {"auto", "parameter", "layer"} or None, default="auto"
        Whether inner rates are learned, from rows that the inner loop has not seen: one
        per parameter, or one for the weights and one for the offsets of each layer.
        They stay positive, and within a factor of 100 of ``learning_rate``. "auto" is
        "parameter" for regression and for linear models, else "layer"; None keeps all
        at ``learning_rate``.
    inner_steps : int, default=10
        Steps of the inner loop, :math:`k` in the paper.
    batch_size : int, default=None
        Rows per inner step, in cycling minibatches; None takes all support rows. Which
        rows meet in a minibatch depends on the order in which they are given.
    support_size : int, tuple (low, high) or None, default=(1, 20)
        Rows drawn from each task in each meta-iteration: a number, a range to draw the
        number from, or None for all rows. The rows left over teach the learned rates;
        where none are left, rates stay at ``learning_rate``. A single task gives all
        its rows.
    alpha : float, default=3.0
        Strength of the pull towards the start, in inner loop and adaptation: the
        penalty :math:`\frac{\alpha}{2} \sum_j (\theta_j - \phi_j)^2 / f_j` on the sum
        of the rows' losses, with :math:`f_j` the learned factor of a rate. It fades as
        rows come in. On standardised data. A row of sample weight 2 is a row given
        twice, so that weights which sum to 1 leave hardly any row (a warning).
    meta_step : float, default=1.0
        :math:`\epsilon`, how far the start moves towards the adapted parameters. Falls
        linearly to 0 over ``max_iter``.
    meta_batch_size : int, default=25
        Tasks per meta-iteration.
    max_iter : int, default=500
        Meta-iterations.
    adapt_steps : int or "auto", default=10
        Steps that :meth:`adapt` and :meth:`partial_adapt` take. "auto" picks the
        number, 0 allowed, for each number of rows on held-out tasks of the
        meta-training, and then, unless ``early_stopping`` is on, learns again from all
        tasks; with fewer than 5 tasks it is ``inner_steps``.
    standardize : bool, default=True
        Whether X is standardised inside, by mean and deviation of all meta-training
        rows, so that units do not matter. A sparse X gives the model of a dense one,
        and stays sparse. False leaves alone what is of about unit size already, as
        behind a StandardScaler; where a column is larger than 10 or smaller than 0.1,
        which is warned of, or with "adam", X is standardised all the same. Not so with
        ``learn_rates=None`` and ``alpha=0``: these are the loops of the paper, on data
        as they are.
    early_stopping : bool, default=False
        Whether to hold out tasks and to stop when predictions for them, after adapting,
        no longer improve. The best start so far is kept. Checked every 10
        meta-iterations.
    validation_fraction : float, default=0.2
        Fraction of the tasks to hold out, for ``early_stopping`` and
        ``adapt_steps="auto"``.
    n_iter_no_change : int, default=10
        Checks without improvement that ``early_stopping`` waits for.
    warm_start : bool, default=False
        Whether another fit goes on from what was learned, with the scaling and the
        base model of the first fit.
    n_jobs : int, default=None
        Threads that share the tasks of a meta-iteration. They pay from some hundred
        tasks, or tens of large networks, per meta-iteration, and do not change the
        result. None is 1.
    verbose : int, default=0
        Whether to print a line every 10 meta-iterations. For progress bars see
        ``set_callbacks`` (scikit-learn 1.9 and later).
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, the draws of tasks and rows, and minibatches.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; with ``task_classes="own"`` those of the task adapted to.
    base_estimator_ : estimator
        Only with ``base_estimator``: the base model, fitted on all rows. Adapted copies
        share it.
    base_scale_ : float
        Only with ``base_estimator``: what its log-odds (or log-probabilities) are
        multiplied by, from 0 to 2, learned from tasks it has not seen. Below 1 it was
        too sure of itself, or a model linear in X says the same.
    coefs_, intercepts_ : list of ndarray
        Present weights (fan_in, fan_out) and biases (fan_out,) of each layer, on
        standardised data.
    prior_coefs_, prior_intercepts_ : list of ndarray
        The learned start, :math:`\phi` in the paper.
    rate_coefs_, rate_intercepts_ : list of ndarray
        Inner rate of each parameter: how far it may move.
    coef_, intercept_ : ndarray
        Present coefficients of a linear model in the units of X and y; with
        ``base_estimator`` those of the correction, as are all parameters above.
    n_tasks_ : int
        Tasks seen in meta-training.
    n_iter_ : int
        Meta-iterations run; of the last run if ``adapt_steps="auto"`` needs two.
    n_adapt_rows_ : int
        Rows that the model is adapted to; 0 is the learned start.
    loss_curve_ : list of float
        Mean loss of the drawn tasks at their last inner step, per meta-iteration.
    validation_scores_ : list of float
        With early stopping: minus the mean loss of held-out tasks after adapting.
    adapt_steps_ : ndarray of shape (n_sizes, 2)
        With ``adapt_steps="auto"``: numbers of rows, and the steps to take for them.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where fit has seen names.

    See Also
    --------
    ReptileRegressor : The same for numbers.
    FewShotClassifier : Tune the adaptation to one new task.

    Notes
    -----
    One meta-iteration draws tasks, lets an inner loop of :math:`k` steps turn the start
    :math:`\phi` into :math:`\theta_t` on each, and moves

    .. math:: \phi \leftarrow \phi + \epsilon \, \mathrm{mean}_t (\theta_t - \phi).

    With ``solver="sgd"`` these safeguards act: gradients are shortened to the norm 10,
    a linear model's step is bounded by its curvature, a row far outside the range of
    the others weighs less, and adaptation backtracks. They are off where
    ``standardize=False``, ``learn_rates=None`` and ``alpha=0``, as in
    ``skmeta.reptile.PAPER_MODE``, the settings that reproduce the original
    implementation; then, and with "adam", a model adapts as it was trained, and a
    warning tells where training ended far above the loss of a constant, or where
    adapting raised the loss of the rows given.

    :meth:`partial_adapt` takes the rows that the model has seen as known: it goes on
    from where the task stands, with a pull to that point which is the stronger, and
    with steps that are the shorter, the more there were. Rows given one at a time end
    near, but not at, what :meth:`adapt` makes of all together.

    References
    ----------
    A. Nichol, J. Achiam, J. Schulman, "On First-Order Meta-Learning Algorithms",
    arXiv:1803.02999, 2018.

    Z. Li, F. Zhou, F. Chen, H. Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot
    Learning", arXiv:1707.09835, 2017 (learned rates).

    Examples
    --------
    >>> from skmeta import ReptileClassifier
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(100, kind="classification", random_state=0)
    >>> model = ReptileClassifier(random_state=0).meta_fit(tasks)
    >>> model.adapt(X[:10], y[:10]).predict(X[10:]).shape
    (10,)
    """

    _parameter_constraints: dict = {
        **BaseReptile._parameter_constraints,
        "task_classes": [StrOptions({"shared", "own"})],
    }

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        base_estimator=None,
        activation="tanh",
        layer_norm=False,
        task_classes="shared",
        solver="sgd",
        learning_rate="auto",
        learn_rates="auto",
        inner_steps=10,
        batch_size=None,
        support_size=(1, 20),
        alpha=3.0,
        meta_step=1.0,
        meta_batch_size=25,
        max_iter=500,
        adapt_steps=10,
        standardize=True,
        early_stopping=False,
        validation_fraction=0.2,
        n_iter_no_change=10,
        warm_start=False,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.base_estimator = base_estimator
        self.activation = activation
        self.layer_norm = layer_norm
        self.task_classes = task_classes
        self.solver = solver
        self.learning_rate = learning_rate
        self.learn_rates = learn_rates
        self.inner_steps = inner_steps
        self.batch_size = batch_size
        self.support_size = support_size
        self.alpha = alpha
        self.meta_step = meta_step
        self.meta_batch_size = meta_batch_size
        self.max_iter = max_iter
        self.adapt_steps = adapt_steps
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def _loss_name(self, n_outputs):
        own = self.task_classes == "own"
        return "log_loss" if n_outputs == 1 and not own else "softmax_log_loss"

    def _make_targets(self):
        return OwnLabels() if self.task_classes == "own" else SharedLabels()
