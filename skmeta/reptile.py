"""Reptile estimators (Nichol, Achiam & Schulman, 2018)."""

from dataclasses import replace
from functools import lru_cache, partial
from numbers import Integral, Real

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

from skmeta._base import (
    BaseMetaLearner,
    ClassificationTargets,
    ClassScores,
    FewShotScoreMixin,
    RegressionTargets,
)
from skmeta._callbacks import CallbackSupportMixin, meta_iterations
from skmeta._core import network
from skmeta._core.descent import inner, reptile, validation
from skmeta._core.descent.loops import AdamState
from skmeta._core.descent.plan import wiping
from skmeta._core.descent.rates import RateState, initial_rates
from skmeta._core.descent.state import Settings, State
from skmeta._core.layout import ParamLayout
from skmeta._core.tasks import Rows, TaskTable
from skmeta._guards import check_hidden_layer_sizes, check_range, show, stack_rows
from skmeta._threads import on_one_blas_thread
from skmeta._warn import warn

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

DEFAULT_RATE = {"sgd": 0.1, "adam": 1e-3}  # a step of Adam has no gradient's length
MIN_TASKS_TO_HOLD_OUT = 5
VALIDATE_EVERY = 10  # meta-iterations
PREDICT_CELLS = 2**22  # numbers of a sparse X made dense at a time
LARGE = 10.0  # size of a column, or 1 / that, that descent on raw data copes with
LOW_WEIGHT = 0.1  # mean weight of a row, below which one rarely means what it says
MANY_ITERATIONS = 50  # after which a loss that still falls is no excuse
RISE = 0.1  # of the loss of a constant: adapting may raise the loss that far
FAR_ABOVE = 3.0  # times the loss of a constant: meta-training has failed


@lru_cache
def _network_of(sizes, layer_norm, activation, loss):
    return network.Network(ParamLayout(sizes, layer_norm), activation, loss)


# Typed, since 1 and True are equal, and one of them is no number of steps.
@lru_cache(typed=True)
def _check_of_adapting(cls, adapt_steps, learning_rate, alpha):
    """Check the parameters that adapting reads: once for each that are given."""
    given = {
        "adapt_steps": adapt_steps,
        "learning_rate": learning_rate,
        "alpha": alpha,
    }
    constraints = {name: cls._parameter_constraints[name] for name in given}
    validate_parameter_constraints(constraints, given, caller_name=cls.__name__)


class BaseReptile(CallbackSupportMixin, BaseMetaLearner):
    """Parameters, meta-training and adaptation of both Reptile estimators."""

    _parameter_constraints: dict = {
        **BaseMetaLearner._parameter_constraints,
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions({"tanh", "relu"})],
        "layer_norm": ["boolean"],
        "solver": [StrOptions({"sgd", "adam"})],
        "learning_rate": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "learn_rates": [StrOptions({"auto", "parameter", "layer"}), None],
        "inner_steps": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "support_size": [Interval(Integral, 1, None, closed="left"), tuple, None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "meta_step": [Interval(Real, 0, None, closed="neither")],
        "meta_batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "adapt_steps": [
            Interval(Integral, 0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "standardize": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    _mean_weight = 1.0  # of a row in meta-training
    _seen = 0.0  # weight of the rows that the model is adapted to

    # -- fitted attributes ------------------------------------------------------------

    @property
    def coefs_(self):
        """Weights per layer, (fan_in, fan_out), on standardised data."""
        return [layer.weight for layer in self._layers("_params")]

    @property
    def intercepts_(self):
        """Biases per layer, on standardised data."""
        return [layer.bias for layer in self._layers("_params")]

    @property
    def prior_coefs_(self):
        """Weights of the learned start per layer."""
        return [layer.weight for layer in self._layers("_prior")]

    @property
    def prior_intercepts_(self):
        """Biases of the learned start per layer."""
        return [layer.bias for layer in self._layers("_prior")]

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
        (layer,) = self._linear_layers()
        scaling = self._scaling
        return layer.weight.T * scaling.y_scale / scaling.x_scale

    @property
    def intercept_(self):
        """Intercept of a linear model in the user's units."""
        (layer,) = self._linear_layers()
        scaling = self._scaling
        return (
            scaling.y_mean
            + scaling.y_scale * layer.bias
            - self._coef_times_mean(layer.weight)
        )

    def _coef_times_mean(self, weight):
        scaling = self._scaling
        return (weight.T * scaling.y_scale / scaling.x_scale) @ scaling.x_mean

    def _linear_layers(self):
        layers = self._layers("_params")
        if len(layers) > 1:
            raise AttributeError(
                "coef_ and intercept_ are those of a linear model; this one has hidden "
                "layers: see coefs_ and intercepts_."
            )
        return layers

    def _layers(self, name):
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        theta = getattr(self, name).view()
        theta.flags.writeable = False  # adapted copies share the prior
        return self._network.layout.layers(theta)

    @property
    def _network(self):
        sizes, layer_norm, activation, loss = self._architecture
        return _network_of(tuple(sizes), layer_norm, activation, loss)

    @property
    def _dtype(self):
        return self._prior.dtype

    @property
    def _rates(self):
        settings = self._settings(self._network, *self._inner_loop)
        factor = self._state().rate_factor(settings.groups)
        return settings.learning_rate * np.broadcast_to(factor, self._prior.shape)

    # -- meta-training ----------------------------------------------------------------

    @wiping
    @on_one_blas_thread
    def _meta_train(self, table, ids, again, data):
        self._check_parameters(table)
        self._mean_weight = float(table.weight.mean())
        self._check_weights(self._mean_weight, 1.0)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        self._seed = seed  # of minibatches in adaptation, which draws from no one else
        rng = np.random.default_rng(seed)
        net = self._build_network(table)
        sharing = self._rate_sharing(net)
        settings = replace(
            self._settings(net, self.solver, not self._is_plain(), sharing),
            n_jobs=effective_n_jobs(self.n_jobs),
        )
        if not (self.standardize or self._takes_labels):
            size = float(np.sqrt(np.mean(table.Y**2)))
            settings = replace(settings, unit=max(1.0, size))
        if table.n_tasks == 1:  # nothing to hold back for: no other task is to come
            settings = replace(settings, support_size=None)
        if again:
            self._check_unchanged(net, settings)
            start = self._state()
        else:
            start = self._initial_state(net, settings, rng, table.Y.dtype)
        kept, held_out = self._hold_out(table, rng)
        training = table if held_out is None else table.subset(kept)
        episodes = {}
        if held_out is not None:
            episodes = validation.draw_episodes(rng, table.subset(held_out))

        choosing = self.adapt_steps == "auto" and held_out is not None
        twice = choosing and not self.early_stopping
        n_iter = settings.max_iter * (2 if twice else 1)
        with meta_iterations(self, n_iter, **data) as report:
            run = partial(self._run, net, settings, start, rng, episodes, report)
            state, fitted, stopped = run(training, ids[kept])
            if choosing:
                steps = validation.best_steps(net, state, episodes, settings, rng)
                if twice and not stopped:  # now learn from all tasks
                    _, fitted, _ = run(table, ids)
                fitted["adapt_steps_"] = steps
        for name in ("adapt_steps_", "validation_scores_"):  # of an earlier fit
            vars(self).pop(name, None)
        vars(self).update(fitted)
        self._constant_loss = validation.constant_loss(net, table)
        self._check_arrived(settings)

    def _run(self, net, settings, state, rng, episodes, report, table, ids):
        """One run of the meta-loop.

        Returns its last state, the fitted attributes, and whether a callback asked to
        stop.
        """
        stopping = _EarlyStopping(self.n_iter_no_change)
        history = {"loss_curve_": []}
        if self.early_stopping:
            history["validation_scores_"] = []
        states = reptile.reptile(net, table, state, settings, rng)
        for iteration, state in enumerate(_naming(states, ids), start=1):
            history["loss_curve_"].append(state.loss)
            if self.early_stopping and iteration % VALIDATE_EVERY == 0:
                loss = self._validation_loss(net, state, episodes, settings, rng)
                history["validation_scores_"].append(-loss)
                stopping.update(state, loss)
            self._say(iteration, history)
            asked = report(partial(self._attributes, net, settings, state, history))
            if stopping.reached or asked:
                break
        if stopping.best is not None:
            state = stopping.best
        return state, self._attributes(net, settings, state, history), asked

    def _attributes(self, net, settings, state, history):
        """Fitted attributes of a model whose meta-training stops at this state."""
        attributes = {
            "_params": state.start,
            "_prior": state.start,
            # single precision is plenty for rates, and keeps saved models small
            "_log_factor": state.rates and state.rates.log_factor.astype(np.float32),
            "_second_moment": state.adam and state.adam.second_moment,
            "_adam_steps": state.adam and state.adam.n_steps,
            "_architecture": _describe(net),
            "_inner_loop": (settings.solver, settings.safe, self._rate_sharing(net)),
            "_seen": 0.0,
            "n_iter_": len(history["loss_curve_"]),
        }
        inherited = (
            "_seed",
            "_mean_weight",
            "_scaling",
            "_n_way",
            "base_estimator_",
            "classes_",
            "n_tasks_",
            "n_adapt_rows_",
        )
        present = {name: vars(self)[name] for name in inherited if name in vars(self)}
        return present | attributes | {k: list(v) for k, v in history.items()}

    def _check_parameters(self, table):
        check_range("support_size", self.support_size, optional=True)
        n_tasks = np.count_nonzero(table.sizes > 1)
        if self.early_stopping and n_tasks < MIN_TASKS_TO_HOLD_OUT:
            raise ValueError(
                "early_stopping=True holds out whole tasks of two rows or more and "
                f"needs at least {MIN_TASKS_TO_HOLD_OUT}; got {n_tasks}. Set "
                "early_stopping=False."
            )

    def _keeps_units(self, X, Y):
        """Whether to descend on the data as they are.

        That is what ``standardize=False`` asks for. But with numbers of any size steps
        are too long or too short, and rates and pull mean nothing.
        """
        if self.standardize:
            return False
        sizes, largest = validation.column_sizes(X)
        far = (sizes > LARGE) | ((largest < 1.0 / LARGE) & (largest > 0.0))
        if far.any():
            column = int(np.flatnonzero(far)[0])
            message = _UNEVEN_PLAIN if self._is_plain() else _UNEVEN
            warn(message.format(column, sizes[column]))
        if self._is_plain():
            return True
        if far.any() or self.solver == "adam":  # whose steps are of a fixed length
            return False
        size = 1.0 if self._takes_labels else float(np.sqrt(np.mean(Y**2)))
        return size == 0.0 or 1.0 / LARGE < size < LARGE

    def _check_weights(self, mean, usual):
        """Warn of weights that leave hardly a row to learn from."""
        if mean < LOW_WEIGHT * min(1.0, usual):
            warn(_LOW_WEIGHT.format(mean, self.alpha))

    def _check_arrived(self, settings):
        """Warn where meta-training has left the tasks worse off than a constant."""
        loss = np.mean(self.loss_curve_[-max(1, self.n_iter_ // 10) :])
        known = max(self._constant_loss, 0.5 * settings.safe)  # 0 if y is constant
        on_its_way = self.n_iter_ < MANY_ITERATIONS and loss <= self.loss_curve_[0]
        if loss > FAR_ABOVE * known and not on_its_way:
            remedy = "Lower" if self.standardize else "Set standardize=True, lower"
            warn(_DIVERGED.format(loss, self._constant_loss, remedy))

    def _build_network(self, table):
        hidden = check_hidden_layer_sizes(self.hidden_layer_sizes)
        n_outputs = table.Y.shape[1]
        sizes = (table.X.shape[1], *hidden, n_outputs)
        layout = ParamLayout(sizes, bool(self.layer_norm))
        return network.Network(layout, self.activation, self._loss_name(n_outputs))

    def _check_unchanged(self, net, settings):
        """Refuse to go on from an earlier fit with another model."""
        inner_loop = (settings.solver, settings.safe, self._rate_sharing(net))
        if (_describe(net), inner_loop) != (self._architecture, self._inner_loop):
            raise ValueError(
                "warm_start=True goes on from an earlier fit, but the network, solver, "
                "standardize or learn_rates have changed since. Put them back, or set "
                "warm_start=False to begin anew."
            )

    def _rate_sharing(self, net):
        """Which parameters share a learned rate; None where rates are not learned."""
        if self.solver == "adam":
            return None
        if self.learn_rates != "auto":
            return self.learn_rates
        few_parameters = net.layout.n_layers == 1
        much_signal = net.loss in ("squared_error", "huber")
        return "parameter" if few_parameters or much_signal else "layer"

    def _learning_rate(self, solver):
        rate = self.learning_rate
        # a NumPy scalar, as from np.logspace, would turn float32 into float64
        return DEFAULT_RATE[solver] if rate == "auto" else float(rate)

    def _is_plain(self):
        """Whether the loops of the paper run, without safeguards: see `PAPER_MODE`."""
        fixed_rates = self.learn_rates is None or self.solver == "adam"
        return not self.standardize and fixed_rates and self.alpha == 0.0

    def _settings(self, net, solver, safe, sharing):
        groups = {
            None: lambda: None,
            "layer": net.layout.groups,
            "parameter": lambda: np.arange(net.layout.n_params),
        }
        return Settings(
            solver=solver,
            learning_rate=self._learning_rate(solver),
            inner_steps=self.inner_steps,
            batch_size=self.batch_size,
            support_size=self.support_size,
            meta_step=float(self.meta_step),
            meta_batch_size=self.meta_batch_size,
            max_iter=self.max_iter,
            alpha=float(self.alpha),
            safe=safe,
            groups=groups[sharing](),
        )

    def _initial_state(self, net, settings, rng, dtype):
        start = net.layout.init(rng, dtype, standardized=settings.safe)
        rates = adam = None
        if settings.groups is not None:
            rates = initial_rates(settings.groups.max() + 1)
        if settings.solver == "adam":
            adam = AdamState(np.zeros_like(start))  # of the same precision
        return State(start, rates, adam)

    def _state(self):
        """What was learned, as the core takes it."""
        rates = adam = None
        if self._log_factor is not None:
            rates = RateState(self._log_factor, np.zeros_like(self._log_factor))
        if self._second_moment is not None:
            adam = AdamState(self._second_moment, self._adam_steps)
        return State(self._prior, rates, adam)

    def _hold_out(self, table, rng):
        """Numbers of the tasks to train on, and of those to validate on or None.

        A task of one row is never held out: it has no row left to validate on.
        """
        everything = np.arange(table.n_tasks)
        eligible = np.flatnonzero(table.sizes > 1)
        needed = self.early_stopping or self.adapt_steps == "auto"
        if not needed or len(eligible) < MIN_TASKS_TO_HOLD_OUT:
            return everything, None
        n_held_out = round(self.validation_fraction * table.n_tasks)
        n_held_out = min(max(1, n_held_out), len(eligible) - 1)
        held_out = np.sort(rng.permutation(eligible)[:n_held_out])
        return np.setdiff1d(everything, held_out), held_out

    def _validation_loss(self, net, state, episodes, settings, rng):
        n_steps = self.inner_steps if self.adapt_steps == "auto" else self.adapt_steps
        losses = [
            validation.query_losses(net, state, draws, settings, n_steps, rng)
            for draws in episodes.values()
        ]
        return float(np.mean([curve[-1] for curve in losses]))

    def _say(self, iteration, history):
        if not self.verbose or iteration % VALIDATE_EVERY:
            return
        line = f"Meta-iteration {iteration}, loss = {history['loss_curve_'][-1]:.8f}"
        if self.early_stopping:
            line += f", validation score = {history['validation_scores_'][-1]:.8f}"
        print(line)

    # -- adaptation -------------------------------------------------------------------

    @wiping
    def _adapt_to(self, batch):
        net, state, settings = self._learned()
        n_rows = batch.X.shape[1]
        if n_rows > 1:  # a single row may well be meant to count little
            self._check_weights(float(batch.n_rows[0]) / n_rows, self._mean_weight)
        if self._seen:  # go on from where the task stands
            state = replace(state, start=self._params, seen=self._seen)
        before = self._params[None]
        theta = inner.adapt(
            net,
            state,
            before,
            batch,
            settings,
            self._adaptation_steps(batch.X.shape[1]),
            self._minibatch_rng(),
        )
        if not np.isfinite(theta).all():
            raise ValueError(_NON_FINITE.format("Adapting to these rows"))
        if not settings.backtracks:
            self._check_adapted(inner.losses(net, before, theta, batch))
        self._params = theta[0].copy()  # the core goes on using its array
        self._seen += float(batch.n_rows[0])

    def _check_adapted(self, losses):
        """Warn where adapting has raised the loss of the very rows given."""
        before, after = losses
        allowed = np.maximum(before, getattr(self, "_constant_loss", 1.0))
        right = after <= before + RISE * allowed
        if not right.all():
            worse = np.flatnonzero(~right)
            first = worse[0]
            warn(_RAISED.format(before[first], after[first], len(worse), len(after)))

    def _learned(self):
        """Network, state and settings of the core, as they are for adapting."""
        # these three may have been set since meta-training
        given = self.adapt_steps, self.learning_rate, self.alpha
        try:
            _check_of_adapting(type(self), *given)
        except TypeError:  # a list, say, which no cache can hold
            _check_of_adapting.__wrapped__(type(self), *given)
        net = self._network
        return net, self._state(), self._settings(net, *self._inner_loop)

    def _minibatch_rng(self):
        return None if self.batch_size is None else np.random.default_rng(self._seed)

    @wiping
    def _adapt_each(self, parts):
        if self._n_way is not None or self.batch_size is not None:
            return super()._adapt_each(parts)
        models, rows = [], []
        for part in parts:
            models.append(self._unadapted_copy())
            rows.append(models[-1]._validate_task(*part))
        X, y, weight = (
            stack_rows(column) if i == 0 else np.concatenate(column)
            for i, column in enumerate(zip(*rows, strict=True))
        )
        starts = np.concatenate([[0], np.cumsum([len(part[1]) for part in rows])])
        for tasks, theta in self._adapt_chunks(self._new_table(X, y, weight, starts)):
            for t, row in zip(tasks, theta, strict=True):
                models[t]._params = row.copy()
                models[t]._seen = float(weight[starts[t] : starts[t + 1]].sum())
                models[t].n_adapt_rows_ = int(starts[t + 1] - starts[t])
        return models

    @wiping
    @on_one_blas_thread
    def _predict_each(self, known, new, method):
        if self._n_way is not None or self.batch_size is not None:
            return super()._predict_each(known, new, method)
        X_new, order, starts_new = new
        table, counts_new = self._new_table(*known), np.diff(starts_new)
        net = self._network
        Z = np.empty((len(order), net.layout.sizes[-1]), self._dtype)
        for tasks, theta in self._adapt_chunks(table):
            # one wide task among small ones would cost as much padding as they hold
            longest, total = counts_new[tasks].max(), counts_new[tasks].sum()
            even = longest * len(tasks) <= 2 * total
            for part in [slice(None)] if even else np.arange(len(tasks))[:, None]:
                rows = Rows.between(starts_new, tasks[part])
                index = order[rows.index]
                X = self._scaling.transform_X(self._dense(X_new[index.ravel()]))
                outputs = inner.predict(net, theta[part], X.reshape(*index.shape, -1))
                Z[index[rows.present]] = outputs[rows.present]
        return self._finish(Z, X_new, method)

    def _new_table(self, X, y, weight, starts):
        """The `TaskTable` of new tasks, in the model's scaling.

        X is a copy of the user's rows, which only a base model may hold as well.
        """
        Y, _ = self._new_targets(y)
        Y, offset = self._to_correct(Y, self._base_offset(X))
        alone = not hasattr(self, "base_estimator_")
        return TaskTable(
            self._scaling.transform_X(X, in_place=alone),
            self._scaling.transform_y(Y).astype(X.dtype, copy=False),
            weight,
            starts,
            offset=None if offset is None else offset.astype(X.dtype),
        )

    def _adapt_chunks(self, table):
        """Adapt to many tasks; yields numbers of some of them, and their weights."""
        net, state, settings = self._learned()
        self._check_weights(float(table.weight.mean()), self._mean_weight)
        losses = []
        for tasks, theta, change in inner.adapt_in_chunks(
            net, state, table, settings, self._adaptation_steps, None
        ):
            if not np.isfinite(theta).all():
                raise ValueError(_NON_FINITE.format("Adapting to these tasks"))
            losses.append(change)
            yield tasks, theta
        if losses and not settings.backtracks:
            self._check_adapted(np.concatenate(losses, axis=1))

    def _adaptation_steps(self, n_rows):
        if self.adapt_steps != "auto":
            return self.adapt_steps
        table = getattr(self, "adapt_steps_", None)
        if table is None:  # too few tasks to hold any out
            return self.inner_steps
        sizes, steps = table.T
        return int(steps[np.argmin(np.abs(np.log(sizes / max(n_rows, 1))))])

    def _forget(self):
        self._params, self._seen = self._prior, 0.0

    def _raw_outputs(self, X):
        net, theta = self._network, self._params[None]
        n = X.shape[0]
        if hasattr(X, "toarray"):
            n = max(1, PREDICT_CELLS // X.shape[1])

        def outputs(rows):
            rows = self._scaling.transform_X(self._dense(rows))
            return network.predict(net, theta, rows[None])[0]

        return np.concatenate([outputs(X[i : i + n]) for i in range(0, X.shape[0], n)])


_NON_FINITE = (
    "{} produced weights that are not finite. Set standardize=True, or lower "
    "learning_rate."
)
_LOW_WEIGHT = (
    "The mean sample weight of a row is {:.2g}. A weight of 2 is a row given twice, so "
    "that these rows hardly count against the pull to the start, alpha={:.3g}. If only "
    "the weights' ratios matter, divide them by their mean."
)
_DIVERGED = (
    "Meta-training ended with a loss of {:.3g} on the tasks drawn, where a constant "
    "prediction has {:.3g}: it diverged, or did not get there. {} learning_rate, or "
    "raise max_iter."
)
_RAISED = (
    "Adapting raised the loss of the very rows given, from {:.3g} to {:.3g} (in {} of "
    "{} tasks): the steps are too long. Lower learning_rate or adapt_steps. Steps of "
    "solver='sgd' with standardize=True are taken only where they lower that loss."
)
_UNEVEN = (
    "standardize=False, but column {} of X has the root mean square {:.3g}: descent on "
    "such columns would not get far, so they are standardised inside all the same. "
    "Set standardize=True, or put a StandardScaler in front."
)
_UNEVEN_PLAIN = (
    "standardize=False, learn_rates=None and alpha=0 are the loops of the paper, on "
    "data as they are, and column {} of X has the root mean square {:.3g}: they "
    "diverge or learn little where columns are not of about the size 1. Set "
    "standardize=True, or put a StandardScaler in front."
)


def _describe(net):
    """The architecture as plain values, which any format can save."""
    layout = net.layout
    return (list(layout.sizes), layout.layer_norm, net.activation, net.loss)


def _naming(states, ids):
    """The states of a meta-loop; a task that diverges is named in the error."""
    try:
        yield from states
    except reptile.NonFiniteTask as error:
        name = show(ids[error.args[0][0]])
        raise ValueError(_NON_FINITE.format(f"The inner loop on task {name}")) from None


class _EarlyStopping:
    """The best state so far, and whether it has been the best for too long."""

    def __init__(self, patience):
        self.patience = patience
        self.best, self.best_loss, self.waited = None, np.inf, 0

    def update(self, state, loss):
        if loss < self.best_loss:
            self.best, self.best_loss, self.waited = state, loss, 0
        else:
            self.waited += 1

    @property
    def reached(self):
        return self.waited >= self.patience


class ReptileRegressor(
    FewShotScoreMixin, RegressionTargets, RegressorMixin, BaseReptile
):
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

    def predict(self, X):
        """Predict with the present weights: the prior's until adapted.

        Until adapted, this is the prediction for a new task, of which nothing is known,
        and not what was learned of a task of the meta-training. For a known task, adapt
        to its rows first; for many at once call :meth:`adapt_predict`.

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

    def _finish(self, Z, X, method):
        return self._decode(Z, X)


class ReptileClassifier(
    FewShotScoreMixin, ClassScores, ClassificationTargets, ClassifierMixin, BaseReptile
):
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

    def _finish(self, Z, X, method):
        base = self._base_offset(X)
        return self._from_outputs(Z if base is None else Z + base, method)
