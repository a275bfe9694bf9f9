"""What one would do about many small tasks without meta-learning.

A baseline learns from rows of known tasks, ``fit(rows)``. Then ``adapt(X, codes, k)``
gives it k units of a new task, which are rows unless the user names units, and returns
a function from new X to raw predictions (see `kinds`). Features are standardised. How
far a baseline moves is learned from the known tasks, as carefully as the meta-learners
do it.
"""

from copy import deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta._base_choice import takes_table
from skmeta._base_model import fit_base, out_of_task, raw_prediction
from skmeta._comparing.boosting import pooled_boosting
from skmeta._comparing.choices import chosen_pooled, fit_choice_baselines
from skmeta._comparing.kinds import ComparedTargets
from skmeta._comparing.names import (
    FINE_TUNED,
    NEIGHBOURS,
    OFFSET,
    OWN,
    POOLED,
    SUPPORT_MEAN,
)
from skmeta._linear_part import preprocesses
from skmeta._tables import Source, knows_source, numbers_of, table_of, with_source
from skmeta._task_input import validate_new_rows
from skmeta._units import Units

# How far a baseline moves is chosen on at most this many of the known tasks.
N_TUNING_TASKS = 40

# A network holds rows out to stop early if there are at least this many.
MIN_ROWS_TO_STOP_EARLY = 100

MEANS = (DummyRegressor, DummyClassifier)


class KnownRows(NamedTuple):
    """Rows of known tasks, from which the baselines learn."""

    X: np.ndarray
    y: np.ndarray  # codes of the targets
    tasks: np.ndarray  # number of each row's task
    kind: ComparedTargets
    sizes: tuple  # numbers of units that a new task will give
    seed: int
    in_time: bool = False  # whether the rows of a task are in order of time
    units: Units = Units()  # rows that are given together

    def of(self, tasks):
        """The rows of some tasks."""
        chosen = np.isin(self.tasks, tasks)
        return self._replace(
            X=self.X[chosen],
            y=self.y[chosen],
            tasks=self.tasks[chosen],
            units=self.units.some(chosen),
        )

    def each(self):
        """Indices of the rows of each task."""
        order = np.argsort(self.tasks, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.tasks[order])) + 1)


# -- how far to move, chosen on known tasks -------------------------------------------


def best_settings(rows, settings, predict):
    """For each number of units given, the setting with the least loss on these tasks.

    ``predict(given, asked)`` yields for each setting in turn the raw predictions of the
    rows asked, after some rows are given; both are indices of rows. The rows given are
    drawn at random, or they are the first ones if rows are in order of time.
    """
    rng = np.random.RandomState(rows.seed)
    losses = {k: [np.zeros(len(settings))] for k in rows.sizes}
    for index in rows.each()[:N_TUNING_TASKS]:
        units = rows.units.of(index)
        order = np.arange(len(units))
        order = order if rows.in_time else rng.permutation(order)
        for k in losses:
            if len(order) > k:
                given, asked = units.take(order[:k]), units.take(order[k:])
                raws = predict(given, asked)
                losses[k].append(rows.kind.losses(raws, rows.y[asked]))
    return {
        k: settings[np.mean(of_tasks, axis=0).argmin()]
        for k, of_tasks in losses.items()
    }


# -- one model for all tasks, and an offset per task ----------------------------------


class Pooled:
    """One model for all tasks: the candidate that predicts left-out tasks best.

    Those of them that are also among ``readers`` read the table behind the rows.
    """

    def __init__(self, candidates, readers=()):
        self.candidates, self.readers = candidates, readers

    def fit(self, rows):
        data = rows.y, np.ones(len(rows.y))
        self.kind = rows.kind
        raws = [
            self.kind.raw_of_base(
                out_of_task(
                    model,
                    rows.X if self._reads(model) else numbers_of(rows.X),
                    *data,
                    rows.tasks,
                    self.kind.classes,
                )
            )
            for model in self.candidates
        ]
        best = np.argmin([self.kind.loss(raw, rows.y) for raw in raws])
        self.out_of_task = raws[best]
        self.chosen = self.candidates[best]
        self.reads = self._reads(self.chosen)
        X = rows.X if self.reads else numbers_of(rows.X)
        self.model = fit_base(self.chosen, X, *data, rows.tasks)
        return self

    def _reads(self, model):
        return any(model is reader for reader in self.readers)

    def raw(self, X):
        """Raw predictions for rows; those of all rows of a source are made at once."""

        def ask(table):
            if not self.reads:
                table = X.source.numbers
            return raw_prediction(self.model, table, self.kind.classes)

        return self.kind.raw_of_base(X.source.said_by(self.model, ask)[X.places])

    def adapt(self, X, y, k):
        return self.raw


class PooledOffset:
    """The pooled model plus a shrunken offset for the task.

    For numbers the offset is the mean error of the n given rows times n / (n + c),
    where c is the ratio of the variances within and between tasks. For labels there is
    an offset per class on the logits, with a penalty on its squares.
    """

    penalties = (1.0, 0.1, 0.3, 3.0, 10.0, 30.0, 1000.0)

    def __init__(self, pooled):
        self.pooled = pooled

    def fit(self, rows):
        fit = self._fit_penalties if rows.kind.are_labels else self._fit_shrinkage
        fit(rows, self.pooled.out_of_task)
        return self

    def _fit_shrinkage(self, rows, raw):
        error = rows.y - raw[:, 0]
        c = variance_ratio([error[index] for index in rows.each()])
        self.offset = lambda raw, y, k: np.sum(y - raw[:, 0]) / (len(y) + c)

    def _fit_penalties(self, rows, raw):
        columns = rows.kind.columns

        def predict(given, asked):
            y = columns(rows.y[given])
            for penalty in self.penalties:
                yield raw[asked] + logit_offset(raw[given], y, penalty)

        best = best_settings(rows, self.penalties, predict)
        self.offset = lambda raw, y, k: logit_offset(raw, columns(y), best[k])

    def adapt(self, X, y, k):
        if not k:
            return self.pooled.raw
        offset = self.offset(self.pooled.raw(X), y, k)
        return lambda X_new: self.pooled.raw(X_new) + offset


def variance_ratio(errors):
    """Ratio of the variances of errors within tasks and of the tasks' means."""
    sizes = np.array([len(error) for error in errors])
    means = np.array([error.mean() for error in errors])
    within = sum(np.sum((e - m) ** 2) for e, m in zip(errors, means, strict=True))
    within /= max(np.sum(sizes - 1), 1)
    # The part of the error that all tasks share is no difference between tasks.
    between = np.var(means, ddof=1) if len(means) > 1 else 0.0
    between -= within * np.mean(1 / sizes)
    return within / max(between, 1e-6 * within, np.finfo(float).tiny)


def logit_offset(raw, target, penalty, max_iter=20, max_step=3.0):
    """Offset per class that minimises the log loss plus penalty/2 of its squares."""
    offset = np.zeros(raw.shape[1])
    for _ in range(max_iter):
        p = softmax(raw + offset, axis=1)
        gradient = np.sum(p - target, axis=0) + penalty * offset
        hessian = np.diag(p.sum(axis=0) + penalty) - p.T @ p
        step = np.linalg.solve(hessian, gradient)
        offset = offset - step / max(1.0, np.abs(step).max() / max_step)
        if np.abs(step).max() < 1e-6:
            break
    return offset


# -- the task's own rows --------------------------------------------------------------


class OwnModel:
    """A linear model of the task's own rows.

    Fewer than three rows of numbers, or rows of a single class, give their mean.
    Probabilities are mixed with the overall ones, which count as one row.
    """

    def fit(self, rows):
        self.kind, self.overall = rows.kind, rows.kind.overall(rows.y)
        return self

    def adapt(self, X, y, k):
        if self.kind.are_labels:
            return self._logistic(X, y) if len(np.unique(y)) > 1 else self._mean(y)
        if len(y) < 3:
            return self._mean(y)
        model = RidgeCV(np.logspace(-2, 3, 6)).fit(X, y)
        return lambda X_new: model.predict(X_new)[:, None]

    def _mean(self, y):
        total = self.kind.columns(y).sum(axis=0) + self.overall
        return partial(_constant, self.kind.raw(total / (len(y) + 1)))

    def _logistic(self, X, y):
        n, seen = len(y), np.unique(y)
        model = LogisticRegression(max_iter=1000).fit(X, y)

        def raw(X_new):
            p = np.zeros((X_new.shape[0], len(self.overall)))
            p[:, seen] = model.predict_proba(X_new)
            return np.log((n * p + self.overall) / (n + 1))

        return raw


def _constant(raw, X):
    return np.tile(raw, (X.shape[0], 1))


class Neighbours:
    """Mean of the task's rows, weighted by nearness and mixed with that of all tasks.

    A setting is the width of the Gaussian kernel, in units of the variance of the
    features, and the number of rows that the overall mean counts as.
    """

    settings = ((1.0, 1.0), (0.1, 1.0), (0.3, 1.0), (3.0, 1.0), (0.3, 0.1), (1.0, 0.1))

    def fit(self, rows):
        self.kind, self.overall = rows.kind, rows.kind.overall(rows.y)
        # The width is in units of the mean square of a row. A sparse row has only few
        # entries that are not zero, so there the unit is 1.
        self.scale = np.sum(rows.X**2) / len(rows.y) if _is_dense(rows.X) else 1.0

        def predict(given, asked):
            for setting in self.settings:
                yield self._raw(setting, rows.X[given], rows.y[given], rows.X[asked])

        self.best = best_settings(rows, self.settings, predict)
        return self

    def _raw(self, setting, X, y, X_new):
        width, c = setting
        distance = euclidean_distances(X_new, X, squared=True)
        weight = np.exp(-distance / (2 * width * self.scale))
        total = weight @ self.kind.columns(y) + c * self.overall
        return self.kind.raw(total / (weight.sum(axis=1, keepdims=True) + c))

    def adapt(self, X, y, k):
        if not k:
            return partial(_constant, self.kind.raw(self.overall))
        return partial(self._raw, self.best[k], X, y)


def _is_dense(X):
    return not sparse.issparse(X)


# -- a pooled network and some steps on the task's rows -------------------------------


class FineTuned:
    """scikit-learn's network: trained on all tasks, then on the task's rows.

    The number of passes is chosen on tasks that the network was not trained on.
    """

    n_passes = (0, 1, 3, 10, 30)

    def __init__(self, network):
        self.network = network

    def fit(self, rows):
        tasks = np.unique(rows.tasks)
        held_out = tasks[::3] if len(tasks) > 2 else tasks
        self._train(rows.of(np.setdiff1d(tasks, held_out)) if len(tasks) > 2 else rows)
        some = rows.of(held_out)

        def predict(given, asked):
            for network in self._networks(self.n_passes, some.X[given], some.y[given]):
                yield self._raw(network, some.X[asked])

        self.best = best_settings(some, self.n_passes, predict)
        self._train(rows)
        return self

    def _train(self, rows):
        network = self.network
        if len(rows.y) < MIN_ROWS_TO_STOP_EARLY:
            network = clone(network).set_params(early_stopping=False)
        X = numbers_of(rows.X)  # a network reads no table with categories
        self.trained = fit_base(network, X, rows.y, np.ones(len(rows.y)))
        if hasattr(self.trained, "partial_fit"):
            self.trained.set_params(early_stopping=False)
            # Early stopping leaves None here, which `partial_fit` cannot compare with.
            self.trained.best_loss_ = np.inf
        self.kind = rows.kind

    def _networks(self, numbers, X, y):
        """The network after each of some rising numbers of passes over these rows."""
        network, done = self.trained, 0
        moves = len(y) and hasattr(network, "partial_fit")
        for number in numbers if moves else [0] * len(numbers):
            if number and not done:
                network = deepcopy(network)
            with config_context(assume_finite=True, skip_parameter_validation=True):
                for _ in range(done, number):
                    network.partial_fit(X, y)
            done = number
            yield network

    def _raw(self, network, X):
        raw = raw_prediction(network, numbers_of(X), self.kind.classes)
        return self.kind.raw_of_base(raw)

    def adapt(self, X, y, k):
        (network,) = self._networks([self.best[k] if k else 0], X, y)
        return partial(self._raw, network)


# -- all of them ----------------------------------------------------------------------


def fit_baselines(names, rows, candidates=None):
    """The named baselines, fitted; ``candidates`` are those for the pooled model."""
    if rows.kind.are_choices:
        return fit_choice_baselines(names, rows, candidates, best_settings)
    fitted, labels = {}, rows.kind.are_labels
    if POOLED in names or OFFSET in names:
        readers = candidates or ()
        if not candidates:
            candidates, readers = pooled_candidates(rows)
        pooled = fitted[POOLED] = Pooled(candidates, readers).fit(rows)
        if OFFSET in names:
            fitted[OFFSET] = PooledOffset(pooled).fit(rows)
    if SUPPORT_MEAN in names:
        mean = DummyClassifier() if labels else DummyRegressor()
        fitted[SUPPORT_MEAN] = PooledOffset(Pooled([mean]).fit(rows)).fit(rows)
    if OWN in names:
        fitted[OWN] = OwnModel().fit(rows)
    if NEIGHBOURS in names:
        fitted[NEIGHBOURS] = Neighbours().fit(rows)
    if FINE_TUNED in names:
        kind = MLPClassifier if labels else MLPRegressor
        network = kind(
            hidden_layer_sizes=(32, 32),
            learning_rate_init=3e-3,
            early_stopping=True,
            alpha=1e-2,
            random_state=rows.seed,
        )
        fitted[FINE_TUNED] = FineTuned(network).fit(rows)
    return {name: fitted[name] for name in names}


def pooled_candidates(rows):
    """Linear models, and boosting if X is dense; and those that read the table."""
    if rows.kind.are_labels:
        linear = [LogisticRegression(C=C, max_iter=1000) for C in (1.0, 0.1, 0.01)]
        kind = HistGradientBoostingClassifier
    else:
        linear = [RidgeCV(np.logspace(-2, 3, 6))]
        kind = HistGradientBoostingRegressor
    if not _is_dense(rows.X):
        return linear, []
    boosting = pooled_boosting(kind, rows.seed)
    readers = [boosting] if takes_table(boosting, rows.X.source.table) else []
    return [*linear, boosting], readers


# -- from a user's rows, and back -----------------------------------------------------


class Baselines:
    """Named baselines on features and targets in the user's units.

    Parameters
    ----------
    names : sequence of str
    kind : ComparedTargets
        Kind of the targets, knowing those of all rows.
    candidates : list of estimators or None
        For the pooled model; None is `pooled_candidates`.
    seed : int
    in_time : bool
        Whether the rows of a task are in order of time.
    back : callable or None
        Undoes the transformation of a target.
    model : BaseMetaLearner or None
        If it has a preprocessor, linear models get what this makes of a table.
    """

    def __init__(
        self,
        names,
        kind,
        *,
        candidates=None,
        seed=0,
        in_time=False,
        back=None,
        model=None,
    ):
        self.names, self.kind = names, kind
        self.candidates, self.seed, self.back = candidates, seed, back
        self.in_time = in_time
        self.reader = model if model is not None and preprocesses(model) else None

    def fit(self, X, y, tasks, sizes, units=None):
        """Learn from known tasks; a new task will give one of ``sizes`` units.

        ``units`` (n,) number the rows that belong together; None if each is alone.
        """
        X = self._read(X)
        numbers = numbers_of(X)
        self.scaler = StandardScaler(with_mean=not sparse.issparse(X)).fit(numbers)
        self.kind = self.kind.scaled(y)
        rows = KnownRows(
            self._scaled(X),
            self.kind.encode(y, tasks),
            tasks,
            self.kind,
            tuple(k for k in sizes if k),
            self.seed,
            self.in_time,
            Units(units),
        )
        self.fitted = fit_baselines(self.names, rows, self.candidates)
        return self

    # -- rows as the baselines see them -----------------------------------------------

    def _read(self, X):
        """X, or what a preprocessor makes of it, which knows the table."""
        return X if self.reader is None else validate_new_rows(self.reader, X)

    def _scaled(self, X):
        """Standardised rows, which know all rows and the table that they come from."""
        numbers = self.scaler.transform(numbers_of(X))
        source = Source(table_of(X) if knows_source(X) else numbers)
        source.numbers = numbers
        return with_source(numbers, source)

    def rows(self, X):
        """X as `adapt` takes it, of which some rows can be taken."""
        return self._scaled(self._read(X))

    # -- models -----------------------------------------------------------------------

    @property
    def pooled(self):
        """The chosen pooled model, unfitted, with what stands before it; or None."""
        before = [clone(self.scaler)]
        if self.reader is not None:
            before = [clone(self.reader.linear_preprocessor), *before]
        if self.kind.are_choices:
            model = chosen_pooled(self.fitted)
            return model and make_pipeline(*before, clone(model))
        for baseline in self.fitted.values():
            model = getattr(baseline, "pooled", baseline)
            if isinstance(model, Pooled) and not isinstance(model.chosen, MEANS):
                reads = self.reader is not None and model.reads
                chosen = clone(model.chosen)
                return chosen if reads else make_pipeline(*before, chosen)
        return None

    def adapt(self, given, y, k, asked=(None, None)):
        """Estimators by name that have adapted to k units.

        ``given`` are `rows`; there may be none. ``asked`` are the user's rows and the
        same ones as `rows`, if it is known what the estimators will be asked.
        """
        codes = self.kind.encode(y)
        return {
            name: self.kind.adapted(
                y, partial(self._raw, baseline.adapt(given, codes, k), asked), self.back
            )
            for name, baseline in self.fitted.items()
        }

    def _raw(self, raw, asked, X):
        users, rows = asked
        return raw(rows if X is users else self.rows(X))
