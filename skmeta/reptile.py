"""Reptile estimators (Nichol, Achiam & Schulman, 2018).

This file checks parameters, calls the core and keeps what it returns. The update of
the start is in ``_core/descent/reptile.py``.
"""

from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from operator import attrgetter

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skmeta import _callbacks
from skmeta import _reptile_auto as auto
from skmeta import _reptile_checks as checks
from skmeta._base import BaseMetaLearner
from skmeta._checks.parameters import (
    check_again,
    check_hidden_layer_sizes,
    check_range,
)
from skmeta._class_weight import with_class_weight
from skmeta._core import network
from skmeta._core.descent import courses, curved, inner, training, trouble
from skmeta._core.descent.plan import wiping
from skmeta._core.descent.state import (
    InnerLoop,
    LearnedStart,
    PresentTask,
    ReptileSettings,
    initial_state,
    rate_groups,
)
from skmeta._core.descent.validation import steps_for
from skmeta._core.layout import ParamLayout
from skmeta._core.scaling import identity_scaling
from skmeta._export import PlainNetwork
from skmeta._mixins import MetaClassifierMixin, MetaRegressorMixin
from skmeta._reptile_side_by_side import SideBySideMixin
from skmeta._streams import GoesOnByLoop
from skmeta._targets import Numbers
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

# Rows of at most this many numbers are made dense, or predicted, at a time.
DENSE_CELLS = 2**22

AT_LEAST_ZERO = Interval(Integral, 0, None, closed="left")
AT_LEAST_ONE = Interval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")


class BaseReptile(
    GoesOnByLoop,
    _callbacks.CallbackSupportMixin,
    PlainNetwork,
    SideBySideMixin,
    BaseMetaLearner,
):
    """Parameters, meta-training and adaptation of both Reptile estimators."""

    _parameter_constraints: dict = {
        **BaseMetaLearner._parameter_constraints,
        "hidden_layer_sizes": ["array-like", AT_LEAST_ONE],
        "activation": [StrOptions({"tanh", "relu"})],
        "layer_norm": ["boolean"],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"sgd", "adam"})],
        "learning_rate": [POSITIVE, StrOptions({"auto"})],
        "learn_rates": [StrOptions({"auto", "parameter", "layer"}), None],
        "inner_steps": [AT_LEAST_ONE],
        "batch_size": [AT_LEAST_ONE, None],
        "support_size": [AT_LEAST_ONE, tuple, StrOptions({"auto"}), None],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "meta_step": [POSITIVE],
        "meta_batch_size": [AT_LEAST_ONE, StrOptions({"auto"})],
        "max_iter": [AT_LEAST_ONE, StrOptions({"auto"})],
        "adapt_steps": [AT_LEAST_ZERO, StrOptions({"auto"})],
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
        """Weights (fan_in, fan_out) of each layer, on standardised data."""
        return [layer.weight for layer in self._layers("_present.theta")]

    @property
    def intercepts_(self):
        """Biases (fan_out,) of each layer, on standardised data."""
        return [layer.bias for layer in self._layers("_present.theta")]

    @property
    def prior_coefs_(self):
        """Weights of each layer at the learned start."""
        return [layer.weight for layer in self._layers("_learned.start")]

    @property
    def prior_intercepts_(self):
        """Biases of each layer at the learned start."""
        return [layer.bias for layer in self._layers("_learned.start")]

    @property
    def rate_coefs_(self):
        """Inner rate of each weight of each layer: how far it may move."""
        return [layer.weight for layer in self._layers("_rates")]

    @property
    def rate_intercepts_(self):
        """Inner rate of each bias of each layer."""
        return [layer.bias for layer in self._layers("_rates")]

    @property
    def chosen_params_(self):
        """What "auto" has stood for: parameters that lead to the same course."""
        return dict(self._learned.course)

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
            name = type(self).__name__
            raise AttributeError(f"This {name} is not fitted yet. Call fit first.")
        theta = attrgetter(name)(self).view()
        theta.flags.writeable = False
        return self._learned.network.layout.layers(theta)

    @property
    def _rates(self):
        learned = self._learned
        _, _, settings = self._to_adapt_with()
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
        net = self._build_network(table)
        found = self._learned if again else None
        usual = auto.usual_course(self, net, again and found.course)
        inner_loop = InnerLoop(
            self.solver,
            not self._is_plain(),
            usual["learn_rates"],
            found.inner_loop.curved if again else self._is_curved(net, table, usual),
        )
        about = {
            "network": net,
            "inner_loop": inner_loop,
            "mean_weight": float(table.weight.mean()),
            "constant_loss": trouble.constant_loss(net, table),
            "seed": seed,
        }
        checks.weights(about["mean_weight"], 1.0, usual["alpha"])
        settings = self._training_settings(net, table, inner_loop, usual)
        if again:
            checks.unchanged(found, net, inner_loop)

        def begin(settings, rng):
            return found.state if again else initial_state(net, settings, rng, dtype)

        def after_each(so_far):
            if self.verbose and len(so_far.losses) % training.VALIDATE_EVERY == 0:
                _callbacks.print_progress(so_far.losses, so_far.scores)
            return report(partial(self._stopped_at, so_far, about))

        ways, dtype = [settings], table.Y.dtype
        if not again and auto.there_is_a_choice(self, net):
            daring = auto.daring_course(self, usual)
            loop = inner_loop._replace(sharing=daring["learn_rates"])
            ways.append(self._training_settings(net, table, loop, daring))
        holding_out = self._holding_out()
        n_iter = courses.most_iterations(ways, table, holding_out)
        with (
            _callbacks.meta_iterations(self, n_iter, **data) as report,
            checks.naming_diverged_task(ids),
        ):
            trained = courses.Training(
                net, table, begin, holding_out, seed, after_each
            ).on_the_best(ways, about["constant_loss"])
        self._keep(trained, about)
        checks.training_arrived(trained.losses, self._learned, self.standardize)
        checks.long_enough(trained, self.chosen_params_)

    def _keep(self, trained, about):
        """Set the fitted attributes to what was `training.Trained`."""
        about = about | auto.course_taken(trained.settings, about["inner_loop"])
        self._learned = LearnedStart.of(trained.state, **about)
        self._present = PresentTask(self._learned.start)
        self.n_iter_ = len(trained.losses)
        self.loss_curve_ = list(trained.losses)
        for name in ("validation_scores_", "adapt_steps_"):  # from an earlier fit
            vars(self).pop(name, None)
        if trained.scores is not None:
            self.validation_scores_ = list(trained.scores)
        if trained.adapt_steps is not None:
            self.adapt_steps_ = trained.adapt_steps

    def _stopped_at(self, so_far, about):
        """Fitted attributes, for callbacks, as if meta-training stopped here."""
        model = object.__new__(type(self))
        vars(model).update(vars(self))
        model._keep(so_far, about)
        return _callbacks.fitted_attributes(model)

    def _fit_scaling(self, targets, X, Y, weight):
        """The scaling of the data, or none if the core shall see them as they are.

        That is what ``standardize=False`` asks for. But if numbers are far from the
        size 1, steps are too long or too short, and rates and pull mean nothing. So
        such data are standardised all the same.
        """
        if not self.standardize:
            plain = self._is_plain()
            even = checks.even_columns(X, plain)
            even = even and (targets.are_labels or trouble.is_even(Y))
            # Adam's steps have a fixed length, which suits standardised data only.
            if plain or (even and self.solver != "adam"):
                return identity_scaling(X.shape[1])
        scaling = targets.scaling(X, Y, weight)
        # without an intercept the origin has a meaning, and is not moved
        return scaling if self.fit_intercept else scaling.uncentred()

    def _build_network(self, table):
        hidden = check_hidden_layer_sizes(self.hidden_layer_sizes)
        checks.has_intercept(self.fit_intercept, hidden)
        sizes = (table.X.shape[1], *hidden, table.Y.shape[1])
        layout = ParamLayout(sizes, bool(self.layer_norm))
        loss, intercept = self._loss_name(sizes[-1]), bool(self.fit_intercept)
        return network.Network(layout, self.activation, loss, intercept)

    def _is_plain(self):
        """Whether the loops of the paper run, without safeguards: see `PAPER_MODE`."""
        fixed_rates = self.learn_rates is None or self.solver == "adam"
        return not self.standardize and fixed_rates and self.alpha == 0.0

    def _is_curved(self, net, table, course):
        """Whether linear models take steps that are measured by the curvature.

        The rates are then how much tasks differ, so there must be rows to learn them
        from.
        """
        may = course["learn_rates"] == "parameter" and course["alpha"] > 0.0
        teach = table.n_tasks > 1 and table.sizes.max() > 1
        every = self.support_size is None or self.batch_size is not None
        every = every or self._targets.own_classes
        return bool(may and teach and not every and curved.suits(net))

    def _settings(self, net, inner_loop, course):
        by_evidence = inner_loop.curved and net.loss == "squared_error"
        is_curved = inner_loop.curved and course["alpha"] > 0.0
        return ReptileSettings(
            solver=inner_loop.solver,
            # A NumPy scalar, as from np.logspace, would turn float32 into float64.
            learning_rate=float(course["learning_rate"]),
            inner_steps=self.inner_steps,
            batch_size=self.batch_size,
            support_size=auto.support_size(self, by_evidence),
            meta_step=float(self.meta_step),
            meta_batch_size=course["meta_batch_size"],
            max_iter=course["max_iter"],
            alpha=float(course["alpha"]),
            safe=inner_loop.safe,
            groups=rate_groups(net, inner_loop.sharing, inner_loop.curved),
            curved=is_curved and self.batch_size is None,
            by_evidence=by_evidence,
        )

    def _training_settings(self, net, table, inner_loop, course):
        settings = self._settings(net, inner_loop, course)
        settings = replace(settings, n_jobs=effective_n_jobs(self.n_jobs))
        centred = self.standardize and self.fit_intercept
        if not (centred or self._targets.are_labels):
            unit = max(1.0, trouble.root_mean_square(table.Y))
            settings = replace(settings, unit=unit)
        if table.n_tasks == 1:  # then the model is for this task, and learns all rows
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
        n_rows, weight = batch.X.shape[1], float(batch.total_weight[0])
        if n_rows > 1:  # one row may count little on purpose
            checks.weights(weight / n_rows, learned.mean_weight, settings.alpha)
        if present.seen:  # go on from where the task stands
            state = replace(
                state,
                start=present.theta,
                seen=present.seen,
                precision=present.precision,
            )
        before = present.theta[None]
        # Minibatches are drawn alike for every task.
        rng = None if self.batch_size is None else np.random.default_rng(learned.seed)
        n_steps = self._adaptation_steps(n_rows)
        theta = inner.adapt(net, state, before, batch, settings, n_steps, rng)
        checks.finite(theta, "these rows")
        if not settings.backtracks:
            losses = inner.losses_before_and_after(net, before, theta, batch)
            checks.adapting(*losses, learned.constant_loss)
        # The core goes on using its array, so the model keeps a copy.
        theta = theta.copy()
        known = inner.precision_of(net, state, theta, batch, settings, n_steps)
        known = None if known is None else known[0]
        self._present = PresentTask(theta[0], present.seen + weight, known)

    def _to_adapt_with(self):
        """Network, state and settings with which the core adapts."""
        check_again(self, "adapt_steps", "learning_rate", "alpha")
        learned = self._learned
        net, course = learned.network, auto.usual_course(self, None, learned.course)
        settings = self._settings(net, learned.inner_loop, course)
        return net, learned.state, settings

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
        return self._in_blocks(X, lambda rows: network.predict(net, theta, rows)[0])

    def _in_blocks(self, X, function):
        """What a function of dense rows (1, n, d) says of all validated rows X."""
        n, scale = max(1, DENSE_CELLS // X.shape[1]), self._scaling.transform_X
        if X.shape[0] <= n:
            return function(scale(self._dense(X))[None])
        blocks = (X[i : i + n] for i in range(0, X.shape[0], n))
        return np.concatenate([function(scale(self._dense(b))[None]) for b in blocks])

    def _decode(self, Z, X, method="predict", average=None):
        if average is None and self._targets.are_labels:
            average = self._average_for(X)
        return super()._decode(Z, X, method, average)

    def _average_for(self, X):
        """What turns the logits of rows X into those of averaged probabilities."""
        known = self._present.precision
        net, state, settings = self._to_adapt_with()
        if not settings.curved:
            return None
        part = curved.share(net, state)
        if known is None:
            known, part = curved.start_precision(net, state, settings), 1.0
        variances = self._in_blocks(
            X, lambda rows: curved.output_variances(net, known[None], rows, part)[0]
        )
        return partial(curved.averaged, v=variances)


class ReptileRegressor(MetaRegressorMixin, BaseReptile):
    r"""Regressor that learns from many tasks where a new task should start.

    Linear models and small multi-layer perceptrons, meta-trained by Reptile and adapted
    to a new task by a few steps of descent.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=()
        Units of each hidden layer. ``()`` means a linear model.
    base_estimator : estimator, "auto" or ChosenBase, default=None
        Any regressor of scikit-learn. It is fitted on the rows of all tasks together,
        and the meta-learned model corrects its prediction for each task. In training,
        the base model's errors come from clones that were fitted without the task, in 5
        folds of tasks. The base model gets sample weights if its ``fit`` takes them,
        the tasks as groups for folds inside it, and seeds from an integer
        ``random_state``.
        "auto" chooses among none, boosting and a forest on held-out tasks, and a
        :class:`~skmeta.ChosenBase` does so among models, and for numbers of rows, that
        you name.
    linear_preprocessor : transformer, default=None
        What makes numbers of X for the network: a transformer of scikit-learn, such
        as a :class:`~sklearn.compose.ColumnTransformer`. It is fitted on the rows of
        all tasks together and then stays as it is. The base model gets X as it came, a
        DataFrame with its names, categories and missing values. With None the
        network takes X itself, which must be numbers.
    activation : {"tanh", "relu"}, default="tanh"
        Activation of the hidden layers.
    layer_norm : bool, default=False
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    fit_intercept : bool, default=True
        Whether a linear model has an intercept. Set it to False where zero has a
        meaning, as for differences between two offers; then X is scaled but not
        centred, nor is y. Networks with hidden layers always have one.
    loss : {"squared_error", "huber"}, default="squared_error"
        "squared_error" is half the squared error. "huber" is for targets with
        outliers: it is linear beyond 1.35 standard deviations, and y is scaled by its
        median and quartiles.
    solver : {"sgd", "adam"}, default="sgd"
        The inner loop. "sgd" is gradient descent. A model trained with it adapts by
        backtracking: a step that does not lower the loss of the rows given is not
        taken. "adam" has :math:`\beta_1 = 0` and carries its second moment from task
        to task, as in the paper. Then rates are not learned, and with ``alpha`` > 0
        steps are shorter if there are fewer rows.
    learning_rate : float or "auto", default="auto"
        Inner rate on standardised data: a number, not the name of a schedule. Learned
        rates begin there. "auto" is 0.1 for "sgd" and 0.001 for "adam", and 0.3 on the
        daring course (see ``max_iter``).
    learn_rates : {"auto", "parameter", "layer"} or None, default="auto"
        Whether inner rates are learned, from rows that the inner loop has not seen.
        "parameter" learns one rate for each parameter, "layer" one for the weights and
        one for the biases of each layer. Rates stay positive and within a factor of 100
        of ``learning_rate``. "auto" means "parameter" for regression and for linear
        models, and otherwise "layer"; on the daring course it means None. None keeps
        all rates at ``learning_rate``.
        A linear model of few columns that learns "parameter" takes steps measured by
        the curvature: see Notes.
    inner_steps : int, default=10
        Steps of the inner loop, :math:`k` in the paper.
    batch_size : int, default=None
        Rows of each inner step, in minibatches that cycle through the rows. None takes
        all support rows. Which rows come together in a minibatch depends on the order
        in which they are given.
    support_size : int, tuple (low, high), "auto" or None, default="auto"
        Rows drawn from each task in each meta-iteration: a number, a range from which
        the number is drawn, or None for all rows. The rates are learned from the other
        rows; if there are none, rates stay at ``learning_rate``. A single task gives
        all its rows. "auto" means (1, 20), and 50 for a linear model of
        squared errors that takes steps measured by the curvature: it learns from the
        rows that it draws.
    alpha : float or "auto", default="auto"
        Strength of the pull towards the start, in the inner loop and in adapting.
        "auto" is 3, and 0.03 on the daring course (see ``max_iter``). The
        penalty :math:`\frac{\alpha}{2} \sum_j (\theta_j - \phi_j)^2 / f_j` is added to
        the sum of the rows' losses on standardised data, where :math:`f_j` is the
        learned factor of a rate. So the effect of the pull fades as rows come in. A row
        of sample weight 2 counts like a row given twice; with weights that sum to 1
        the rows hardly count against the pull, and there is a warning. A linear model
        learns the pull with its rates (see Notes), and ``alpha`` is where that begins.
    meta_step : float, default=1.0
        :math:`\epsilon`, how far the start moves towards the adapted parameters. It
        falls linearly to 0 over ``max_iter``.
    meta_batch_size : int or "auto", default="auto"
        Tasks per meta-iteration. "auto" is 25, and 5 on the daring course.
    max_iter : int or "auto", default="auto"
        Meta-iterations. "auto" is 500 for a linear model, for "adam", with
        ``early_stopping`` and for fewer than 50 tasks. Otherwise this is the usual
        course of a network, and held-out tasks choose a better one, if there is one.
        If adapting explains more than four fifths of the loss of a constant, there
        is little noise, and no reason to pull: a daring course of 4,000
        meta-iterations is tried, with the settings named above as far as they are
        "auto". From 2,000 tasks on, and if the daring course pays, four times as many
        meta-iterations are tried as well. ``chosen_params_`` tells what was chosen.
    adapt_steps : int or "auto", default=10
        Steps that :meth:`adapt` and :meth:`partial_adapt` take. "auto" chooses them for
        each number of rows, on tasks that are held out of the meta-training; 0 steps
        are possible. Then the model learns again from all tasks, unless
        ``early_stopping`` is on. With fewer than 5 tasks, "auto" means ``inner_steps``.
    standardize : bool, default=True
        Whether X and y are standardised inside, by mean and deviation of all
        meta-training rows, so that units do not matter. A sparse X gives the same model
        as a dense one, and stays sparse. False leaves data alone whose size is about 1
        already, as behind a StandardScaler. If a column or y is larger than 10 or
        smaller than 0.1, or with "adam", X and y are standardised all the same; there
        is a warning of such a column. But with ``learn_rates=None`` and ``alpha=0`` the
        loops of the paper run, on the data as they are.
    early_stopping : bool, default=False
        Whether to hold out tasks, and to stop when predictions for them, after
        adapting, no longer improve. This is checked every 10 meta-iterations, and the
        best start is kept.
    validation_fraction : float, default=0.2
        Fraction of the tasks to hold out, for ``early_stopping`` and
        ``adapt_steps="auto"``, and to choose a course; for that at most 200 tasks.
    n_iter_no_change : int, default=10
        ``early_stopping`` stops after this many checks without improvement.
    warm_start : bool, default=False
        Whether another fit continues from what was learned, with the scaling and the
        base model of the first fit.
    n_jobs : int, default=None
        Threads that share the tasks of a meta-iteration. They pay if a meta-iteration
        has a hundred tasks or more, or tens of tasks with large networks. They do not
        change the result. None means 1.
    verbose : int, default=0
        Whether to print a line every 10 meta-iterations. For progress bars see
        ``set_callbacks`` (scikit-learn 1.9 and later).
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, of the draws of tasks and rows, and of
        minibatches.

    Attributes
    ----------
    base_estimator_ : estimator
        The base model, fitted on all rows, if there is one. Adapted copies share it.
    linear_preprocessor_ : transformer
        The fitted preprocessor; only with ``linear_preprocessor``. All weights are of
        the columns that it makes.
    coefs_, intercepts_ : list of ndarray
        Present weights (fan_in, fan_out) and biases (fan_out,) of each layer, on
        standardised data.
    prior_coefs_, prior_intercepts_ : list of ndarray
        The learned start, :math:`\phi` in the paper.
    rate_coefs_, rate_intercepts_ : list of ndarray
        Inner rate of each parameter: how far it may move.
    coef_, intercept_ : ndarray
        Present coefficients of a linear model in the units of X and y. With
        ``base_estimator``, these and all parameters above are those of the correction.
    base_choice_ : str
        Which candidate was chosen; only if ``base_estimator`` is "auto" or a
        :class:`~skmeta.ChosenBase`. ``base_estimator_`` is then fitted as it says, or
        absent with "none".
    base_scores_ : dict of {str: dict of {int: float}}
        How well each candidate predicts held-out tasks, by its label and the number of
        rows given: minus their mean squared error. Higher is better. Only with
        ``base_choice_``; it is empty with fewer than 5 tasks.
    n_tasks_ : int
        Tasks seen in meta-training.
    n_iter_ : int
        Meta-iterations of the run that led to the model. Runs that only chose its
        settings do not count.
    chosen_params_ : dict
        The values of ``max_iter``, ``meta_batch_size``, ``alpha``, ``learning_rate``
        and ``learn_rates`` that were used, given or "auto". A model with these
        parameters learns the same without further runs, but for the tasks held out
        where there are 2,000 or more.
    n_adapt_rows_ : int
        Rows that the model is adapted to; 0 means the learned start.
    loss_curve_ : list of float
        Mean loss of the drawn tasks before their last inner step, in each
        meta-iteration; before their first where steps are measured by the curvature.
    validation_scores_ : list of float
        Minus the mean loss of held-out tasks after adapting: with early stopping, or
        after each course that was tried, the usual one first.
    adapt_steps_ : ndarray of shape (n_sizes, 2)
        Numbers of rows and the steps to take for them, with ``adapt_steps="auto"``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if fit saw names.

    See Also
    --------
    ReptileClassifier : The same for labels.
    FewShotRegressor : Tune the adaptation to one new task.

    Notes
    -----
    One meta-iteration draws tasks. On each task an inner loop of :math:`k` steps turns
    the start :math:`\phi` into :math:`\theta_t`. Then the start moves:

    .. math:: \phi \leftarrow \phi + \epsilon \, \mathrm{mean}_t (\theta_t - \phi).

    ``solver="sgd"`` has these safeguards. Gradients are shortened to the norm 10, the
    steps of a linear model are bounded by its curvature, a row far away from the others
    weighs less, and adapting backtracks. The safeguards are off with
    ``standardize=False``, ``learn_rates=None`` and ``alpha=0``. These are among the
    settings ``skmeta.reptile.PAPER_MODE``, which reproduce the original implementation.
    Without safeguards, and with "adam", a model adapts as it was trained. A warning is
    given if training ends far above the loss of a constant, or if adapting raises the
    loss of the rows given.

    :meth:`partial_adapt` continues from where the task stands. The more rows the model
    has seen already, the stronger is the pull to that point and the shorter are the
    steps. Rows given one at a time lead near to the result of :meth:`adapt` on all rows
    at once, but not exactly there.

    A linear model with one learned rate per parameter (the default; not with more than
    127 columns, with ``batch_size``, ``alpha=0`` or all rows as support, nor in a fit
    of one task) takes steps measured by the curvature of the loss, which end at the
    minimum. Its rates are proportional to the variances of the coefficients over tasks,
    so that the pull is learned too: the model is the Gaussian prior with independent
    coefficients, by descent. Start and rates are means over the second half of the run.
    The rates follow the evidence of the rows, or with Huber's loss that of unseen rows.
    With squared errors, :meth:`partial_adapt` on any portions of rows is exactly
    :meth:`adapt` on all.

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
        linear_preprocessor=None,
        activation="tanh",
        layer_norm=False,
        fit_intercept=True,
        loss="squared_error",
        solver="sgd",
        learning_rate="auto",
        learn_rates="auto",
        inner_steps=10,
        batch_size=None,
        support_size="auto",
        alpha="auto",
        meta_step=1.0,
        meta_batch_size="auto",
        max_iter="auto",
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
        self.linear_preprocessor = linear_preprocessor
        self.activation = activation
        self.layer_norm = layer_norm
        self.fit_intercept = fit_intercept
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
        Units of each hidden layer. ``()`` means a linear model.
    base_estimator : estimator, "auto" or ChosenBase, default=None
        Any classifier of scikit-learn. It is fitted on the rows of all tasks together,
        and the meta-learned model corrects its log-odds for each task, or its
        log-probabilities if there are more than two classes. Its probabilities are
        taken to be at least 0.001 away from 0 and 1. In training, the base model's
        errors come from clones that were fitted without the task, in 5 folds of tasks.
        The base model gets sample weights if its ``fit`` takes them, the tasks as
        groups for folds inside it, and seeds from an integer ``random_state``. It
        cannot be combined with ``task_classes="own"``.
        "auto" chooses among none, boosting and a forest on held-out tasks, and a
        :class:`~skmeta.ChosenBase` does so among models, and for numbers of rows, that
        you name.
    linear_preprocessor : transformer, default=None
        What makes numbers of X for the network: a transformer of scikit-learn, such
        as a :class:`~sklearn.compose.ColumnTransformer`. It is fitted on the rows of
        all tasks together and then stays as it is. The base model gets X as it came, a
        DataFrame with its names, categories and missing values. With None the
        network takes X itself, which must be numbers.
    activation : {"tanh", "relu"}, default="tanh"
        Activation of the hidden layers.
    layer_norm : bool, default=False
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    fit_intercept : bool, default=True
        Whether a linear model has an intercept. Set it to False where zero has a
        meaning, as for differences between two offers; then X is scaled but not
        centred. Networks with hidden layers always have one.
    task_classes : {"shared", "own"}, default="shared"
        "shared": all tasks have the same classes, which are those seen in fit. "own":
        each task brings its own classes, at most as many as the training task that has
        most. In every meta-iteration they get new places among the outputs. The
        ``classes_`` of an adapted model are the labels of its task, and a model cannot
        predict before it is adapted.
    class_weight : dict {label: weight}, "balanced" or None, default=None
        How much the rows of each class count, beside their sample weights. "balanced"
        lets all classes count alike, as in scikit-learn, over the meta-training rows of
        all tasks. These weights are then kept, and the rows that :meth:`adapt` is given
        count by them as well. Probabilities move away from how common the classes are.
        A base model gets them as sample weights, if its ``fit`` takes these. ``score``
        does not use them. It cannot be combined with ``task_classes="own"``.
    solver : {"sgd", "adam"}, default="sgd"
        The inner loop. "sgd" is gradient descent. A model trained with it adapts by
        backtracking: a step that does not lower the loss of the rows given is not
        taken. "adam" has :math:`\beta_1 = 0` and carries its second moment from task
        to task, as in the paper. Then rates are not learned, and with ``alpha`` > 0
        steps are shorter if there are fewer rows.
    learning_rate : float or "auto", default="auto"
        Inner rate on standardised data: a number, not the name of a schedule. Learned
        rates begin there. "auto" is 0.1 for "sgd" and 0.001 for "adam", and 0.3 on the
        daring course (see ``max_iter``).
    learn_rates : {"auto", "parameter", "layer"} or None, default="auto"
        Whether inner rates are learned, from rows that the inner loop has not seen.
        "parameter" learns one rate for each parameter, "layer" one for the weights and
        one for the biases of each layer. Rates stay positive and within a factor of 100
        of ``learning_rate``. "auto" means "parameter" for regression and for linear
        models, and otherwise "layer"; on the daring course it means None. None keeps
        all rates at ``learning_rate``.
        A linear model of few columns that learns "parameter" takes steps measured by
        the curvature: see Notes.
    inner_steps : int, default=10
        Steps of the inner loop, :math:`k` in the paper.
    batch_size : int, default=None
        Rows of each inner step, in minibatches that cycle through the rows. None takes
        all support rows. Which rows come together in a minibatch depends on the order
        in which they are given.
    support_size : int, tuple (low, high), "auto" or None, default="auto"
        Rows drawn from each task in each meta-iteration: a number, a range from which
        the number is drawn, or None for all rows. The rates are learned from the other
        rows; if there are none, rates stay at ``learning_rate``. A single task gives
        all its rows. "auto" means (1, 20).
    alpha : float or "auto", default="auto"
        Strength of the pull towards the start, in the inner loop and in adapting.
        "auto" is 3, and 0.03 on the daring course (see ``max_iter``). The
        penalty :math:`\frac{\alpha}{2} \sum_j (\theta_j - \phi_j)^2 / f_j` is added to
        the sum of the rows' losses on standardised data, where :math:`f_j` is the
        learned factor of a rate. So the effect of the pull fades as rows come in. A row
        of sample weight 2 counts like a row given twice; with weights that sum to 1
        the rows hardly count against the pull, and there is a warning. A linear model
        learns the pull with its rates (see Notes), and ``alpha`` is where that begins.
    meta_step : float, default=1.0
        :math:`\epsilon`, how far the start moves towards the adapted parameters. It
        falls linearly to 0 over ``max_iter``.
    meta_batch_size : int or "auto", default="auto"
        Tasks per meta-iteration. "auto" is 25, and 5 on the daring course.
    max_iter : int or "auto", default="auto"
        Meta-iterations. "auto" is 500 for a linear model, for "adam", with
        ``early_stopping`` and for fewer than 50 tasks. Otherwise this is the usual
        course of a network, and held-out tasks choose a better one, if there is one.
        If adapting explains more than four fifths of the loss of a constant, there
        is little noise, and no reason to pull: a daring course of 4,000
        meta-iterations is tried, with the settings named above as far as they are
        "auto". From 2,000 tasks on, and if the daring course pays, four times as many
        meta-iterations are tried as well. ``chosen_params_`` tells what was chosen.
    adapt_steps : int or "auto", default=10
        Steps that :meth:`adapt` and :meth:`partial_adapt` take. "auto" chooses them for
        each number of rows, on tasks that are held out of the meta-training; 0 steps
        are possible. Then the model learns again from all tasks, unless
        ``early_stopping`` is on. With fewer than 5 tasks, "auto" means ``inner_steps``.
    standardize : bool, default=True
        Whether X is standardised inside, by mean and deviation of all meta-training
        rows, so that units do not matter. A sparse X gives the same model as a dense
        one, and stays sparse. False leaves data alone whose size is about 1 already, as
        behind a StandardScaler. If a column is larger than 10 or smaller than 0.1, or
        with "adam", X is standardised all the same; there is a warning of such a
        column. But with ``learn_rates=None`` and ``alpha=0`` the loops of the paper
        run, on the data as they are.
    early_stopping : bool, default=False
        Whether to hold out tasks, and to stop when predictions for them, after
        adapting, no longer improve. This is checked every 10 meta-iterations, and the
        best start is kept.
    validation_fraction : float, default=0.2
        Fraction of the tasks to hold out, for ``early_stopping`` and
        ``adapt_steps="auto"``, and to choose a course; for that at most 200 tasks.
    n_iter_no_change : int, default=10
        ``early_stopping`` stops after this many checks without improvement.
    warm_start : bool, default=False
        Whether another fit continues from what was learned, with the scaling and the
        base model of the first fit.
    n_jobs : int, default=None
        Threads that share the tasks of a meta-iteration. They pay if a meta-iteration
        has a hundred tasks or more, or tens of tasks with large networks. They do not
        change the result. None means 1.
    verbose : int, default=0
        Whether to print a line every 10 meta-iterations. For progress bars see
        ``set_callbacks`` (scikit-learn 1.9 and later).
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, of the draws of tasks and rows, and of
        minibatches.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; with ``task_classes="own"`` those of the task adapted to.
    base_estimator_ : estimator
        The base model, fitted on all rows, if there is one. Adapted copies share it.
    linear_preprocessor_ : transformer
        The fitted preprocessor; only with ``linear_preprocessor``. All weights are of
        the columns that it makes.
    base_scale_ : float
        If there is a base model: the factor of its log-odds or log-probabilities. It is
        between 0 and 2, and learned from tasks that the base model has not seen. It is
        below 1 if the base model was too sure, or if a model that is linear in X says
        the same.
    coefs_, intercepts_ : list of ndarray
        Present weights (fan_in, fan_out) and biases (fan_out,) of each layer, on
        standardised data.
    prior_coefs_, prior_intercepts_ : list of ndarray
        The learned start, :math:`\phi` in the paper.
    rate_coefs_, rate_intercepts_ : list of ndarray
        Inner rate of each parameter: how far it may move.
    coef_, intercept_ : ndarray
        Present coefficients of a linear model, which give logits, in the units of X.
        The logits of ``decision_function`` are those of averaged probabilities: see
        Notes.
        With ``base_estimator``, these and all parameters above are those of the
        correction.
    base_choice_ : str
        Which candidate was chosen; only if ``base_estimator`` is "auto" or a
        :class:`~skmeta.ChosenBase`. ``base_estimator_`` is then fitted as it says, or
        absent with "none".
    base_scores_ : dict of {str: dict of {int: float}}
        How well each candidate predicts held-out tasks, by its label and the number of
        rows given: the mean log probability of their labels. Higher is better. Only
        with ``base_choice_``; it is empty with fewer than 5 tasks.
    n_tasks_ : int
        Tasks seen in meta-training.
    n_iter_ : int
        Meta-iterations of the run that led to the model. Runs that only chose its
        settings do not count.
    chosen_params_ : dict
        The values of ``max_iter``, ``meta_batch_size``, ``alpha``, ``learning_rate``
        and ``learn_rates`` that were used, given or "auto". A model with these
        parameters learns the same without further runs, but for the tasks held out
        where there are 2,000 or more.
    n_adapt_rows_ : int
        Rows that the model is adapted to; 0 means the learned start.
    loss_curve_ : list of float
        Mean loss of the drawn tasks before their last inner step, in each
        meta-iteration; before their first where steps are measured by the curvature.
    validation_scores_ : list of float
        Minus the mean loss of held-out tasks after adapting: with early stopping, or
        after each course that was tried, the usual one first.
    adapt_steps_ : ndarray of shape (n_sizes, 2)
        Numbers of rows and the steps to take for them, with ``adapt_steps="auto"``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if fit saw names.

    See Also
    --------
    ReptileRegressor : The same for numbers.
    FewShotClassifier : Tune the adaptation to one new task.

    Notes
    -----
    One meta-iteration draws tasks. On each task an inner loop of :math:`k` steps turns
    the start :math:`\phi` into :math:`\theta_t`. Then the start moves:

    .. math:: \phi \leftarrow \phi + \epsilon \, \mathrm{mean}_t (\theta_t - \phi).

    ``solver="sgd"`` has these safeguards. Gradients are shortened to the norm 10, the
    steps of a linear model are bounded by its curvature, a row far away from the others
    weighs less, and adapting backtracks. The safeguards are off with
    ``standardize=False``, ``learn_rates=None`` and ``alpha=0``. These are among the
    settings ``skmeta.reptile.PAPER_MODE``, which reproduce the original implementation.
    Without safeguards, and with "adam", a model adapts as it was trained. A warning is
    given if training ends far above the loss of a constant, or if adapting raises the
    loss of the rows given.

    :meth:`partial_adapt` continues from where the task stands. The more rows the model
    has seen already, the stronger is the pull to that point and the shorter are the
    steps. Rows given one at a time lead near to the result of :meth:`adapt` on all rows
    at once, but not exactly there.

    A linear model with one learned rate per parameter (the default; not with more than
    127 columns for two classes or 39 for ten, with ``batch_size``, ``alpha=0``,
    ``task_classes="own"`` or all rows as support, nor in a fit of one task) takes steps
    measured by the curvature of the loss, which end at the minimum. Its rates are
    proportional to the variances of the coefficients over tasks, so that the pull is
    learned too: the model is the Gaussian prior with independent coefficients, by
    descent. Start and rates are means over the second half of the run.
    Probabilities are averaged over what the rows given leave unknown of the
    coefficients (MacKay, 1992), so that they are modest after few rows, and the rates
    are learned from those of unseen rows. All classes share the rates of a column, and
    only one factor per row changes, so that the most probable class stays the same.

    References
    ----------
    A. Nichol, J. Achiam, J. Schulman, "On First-Order Meta-Learning Algorithms",
    arXiv:1803.02999, 2018.

    Z. Li, F. Zhou, F. Chen, H. Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot
    Learning", arXiv:1707.09835, 2017 (learned rates).

    D. J. C. MacKay, "The Evidence Framework Applied to Classification Networks", Neural
    Computation 4(5), 1992 (averaged probabilities).

    Examples
    --------
    >>> from skmeta import ReptileClassifier
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(100, kind="classification", random_state=0)
    >>> model = ReptileClassifier(random_state=0).meta_fit(tasks)
    >>> model.adapt(X[:10], y[:10]).predict(X[10:]).shape
    (10,)
    """

    _parameter_constraints: dict = with_class_weight(
        BaseReptile, task_classes=[StrOptions({"shared", "own"})]
    )

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        base_estimator=None,
        linear_preprocessor=None,
        activation="tanh",
        layer_norm=False,
        fit_intercept=True,
        task_classes="shared",
        class_weight=None,
        solver="sgd",
        learning_rate="auto",
        learn_rates="auto",
        inner_steps=10,
        batch_size=None,
        support_size="auto",
        alpha="auto",
        meta_step=1.0,
        meta_batch_size="auto",
        max_iter="auto",
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
        self.linear_preprocessor = linear_preprocessor
        self.activation = activation
        self.layer_norm = layer_norm
        self.fit_intercept = fit_intercept
        self.task_classes = task_classes
        self.class_weight = class_weight
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
