"""What one would do about many small tasks without meta-learning.

A baseline learns from rows of known tasks, ``fit(rows)``, and ``adapt(X, y)`` gives it
some rows of a new one: the result is a function from new X to "raw" predictions, values
of y (n, 1) or logarithms of probabilities (n, n_classes). Features and values of y come
standardised. How far a baseline moves is learned from the known tasks, as carefully as
the meta-learners do it.
"""

from copy import deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import log_softmax, softmax
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
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

from skmeta._base_model import fit_base, out_of_task, raw_prediction
from skmeta._comparing.names import (
    FINE_TUNED,
    NEIGHBOURS,
    OFFSET,
    OWN,
    POOLED,
    SUPPORT_MEAN,
)

N_TUNING_TASKS = 40
MEANS = (DummyRegressor, DummyClassifier)
FLOOR = 1e-6  # of a probability whose logarithm is taken


class Rows(NamedTuple):
    """Rows of known tasks; ``classes`` is None for numbers, else y are their codes."""

    X: np.ndarray
    y: np.ndarray
    codes: np.ndarray
    classes: np.ndarray | None
    sizes: tuple  # numbers of rows that a new task will give
    seed: int

    def target(self, y):
        """Values as a column, labels as indicators (n, n_classes)."""
        if self.classes is None:
            return y[:, None]
        return (y[:, None] == self.classes).astype(float)

    def overall(self):
        """Mean target; of labels, no class has probability zero."""
        total = self.target(self.y).sum(axis=0)
        if self.classes is None:
            return total / len(self.y)
        return (total + 1) / (total + 1).sum()

    def of(self, tasks):
        """The rows of some tasks."""
        chosen = np.isin(self.codes, tasks)
        return self._replace(
            X=self.X[chosen], y=self.y[chosen], codes=self.codes[chosen]
        )

    def each(self):
        """Indices of the rows of each task."""
        order = np.argsort(self.codes, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.codes[order])) + 1)


def raw_loss(raw, y):
    """Mean squared error of values, log loss of log-probabilities."""
    if raw.shape[1] == 1:
        return np.mean((raw[:, 0] - y) ** 2)
    return -log_softmax(raw, axis=1)[np.arange(len(y)), y].mean()


# -- how far to move, chosen on known tasks -------------------------------------------


def best_settings(rows, settings, predict):
    """For each number of rows given, the setting with the least loss on these tasks.

    ``predict(setting, given, asked)`` gives raw predictions of rows by their index.
    """
    rng = np.random.RandomState(rows.seed)
    losses = {k: [np.zeros(len(settings))] for k in rows.sizes}
    for index in rows.each()[:N_TUNING_TASKS]:
        order = rng.permutation(index)
        for k in losses:
            if len(order) > k:
                given, asked = order[:k], order[k:]
                losses[k].append(
                    [
                        raw_loss(predict(s, given, asked), rows.y[asked])
                        for s in settings
                    ]
                )
    return {k: settings[np.mean(all_, axis=0).argmin()] for k, all_ in losses.items()}


# -- one model for all tasks, and an offset per task ----------------------------------


class Pooled:
    """One model for all tasks: the candidate that predicts left-out tasks best."""

    def __init__(self, candidates):
        self.candidates = candidates

    def fit(self, rows):
        ones = np.ones(len(rows.y))
        data = rows.X, rows.y, ones
        raws = [
            _as_logs(out_of_task(model, *data, rows.codes, rows.classes), rows.classes)
            for model in self.candidates
        ]
        best = np.argmin([raw_loss(raw, rows.y) for raw in raws])
        self.out_of_task = raws[best]
        self.chosen = self.candidates[best]
        self.model = fit_base(self.chosen, *data, rows.codes)
        self.classes = rows.classes
        return self

    def raw(self, X):
        raw = raw_prediction(self.model, X, self.classes)
        return _as_logs(raw, self.classes)

    def adapt(self, X, y):
        return self.raw


def _as_logs(raw, classes):
    """Log-odds of two classes as logarithms of both probabilities."""
    if classes is None or len(classes) != 2:
        return raw
    return log_softmax(np.hstack([np.zeros_like(raw), raw]), axis=1)


class PooledOffset:
    """The pooled model plus the part of its error that is the task's, shrunken.

    Values: the mean error of n rows times n / (n + c), where c is the ratio of the
    variances within and between tasks. Labels: an offset per class on the logits, with
    a penalty on its squares.
    """

    penalties = (1.0, 0.1, 0.3, 3.0, 10.0, 30.0, 1000.0)

    def __init__(self, pooled):
        self.pooled = pooled

    def fit(self, rows):
        raw = self.pooled.out_of_task
        if rows.classes is None:
            error = rows.y - raw[:, 0]
            c = variance_ratio([error[index] for index in rows.each()])
            self.offset = lambda raw, y: np.sum(y - raw[:, 0]) / (len(y) + c)
            return self

        def predict(penalty, given, asked):
            y = rows.target(rows.y[given])
            return raw[asked] + logit_offset(raw[given], y, penalty)

        best = best_settings(rows, self.penalties, predict)
        self.offset = lambda raw, y: logit_offset(raw, rows.target(y), best[len(y)])
        return self

    def adapt(self, X, y):
        if not len(y):
            return self.pooled.raw
        offset = self.offset(self.pooled.raw(X), y)
        return lambda X_new: self.pooled.raw(X_new) + offset


def variance_ratio(errors):
    """Ratio of the variances of errors within tasks and of the tasks' means."""
    sizes = np.array([len(error) for error in errors])
    means = np.array([error.mean() for error in errors])
    within = sum(np.sum((e - m) ** 2) for e, m in zip(errors, means, strict=True))
    within /= max(np.sum(sizes - 1), 1)
    # the overall error of a pooled model is not the task's
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
    """A linear model of the task's own rows; of labels, mixed with one row of overall.

    Fewer than three rows, or rows of a single class, give their mean.
    """

    def fit(self, rows):
        self.rows, self.overall = rows, rows.overall()
        return self

    def adapt(self, X, y):
        n, target = len(y), self.rows.target(y)
        mean = (target.sum(axis=0) + self.overall) / (n + 1)
        if self.rows.classes is None:
            if n < 3:
                return partial(_constant, mean)
            model = RidgeCV(np.logspace(-2, 3, 6)).fit(X, y)
            return lambda X_new: model.predict(X_new)[:, None]
        seen = np.unique(y)
        if len(seen) < 2:
            return partial(_constant, np.log(mean))
        model = LogisticRegression(max_iter=1000).fit(X, y)

        def raw(X_new):
            p = np.zeros((X_new.shape[0], len(self.overall)))
            p[:, seen] = model.predict_proba(X_new)
            return np.log((n * p + self.overall) / (n + 1))

        return raw


def _constant(raw, X):
    return np.tile(raw, (X.shape[0], 1))


class Neighbours:
    """Mean of the task's rows, weighted by their nearness, and of all tasks.

    The settings are the width of the Gaussian kernel in units of the variance of the
    features, and the number of rows that the overall mean is worth.
    """

    settings = ((1.0, 1.0), (0.1, 1.0), (0.3, 1.0), (3.0, 1.0), (0.3, 0.1), (1.0, 0.1))

    def fit(self, rows):
        self.rows, self.overall = rows, rows.overall()
        # all features have a variance of 1, but of sparse ones few are not zero
        self.scale = np.sum(rows.X**2) / len(rows.y) if _is_dense(rows.X) else 1.0
        self.best = best_settings(
            rows,
            self.settings,
            lambda setting, given, asked: self._raw(
                setting, rows.X[given], rows.y[given], rows.X[asked]
            ),
        )
        return self

    def _raw(self, setting, X, y, X_new):
        width, c = setting
        distance = euclidean_distances(X_new, X, squared=True)
        weight = np.exp(-distance / (2 * width * self.scale))
        total = weight @ self.rows.target(y) + c * self.overall
        mean = total / (weight.sum(axis=1, keepdims=True) + c)
        return mean if self.rows.classes is None else np.log(np.maximum(mean, FLOOR))

    def adapt(self, X, y):
        if not len(y):
            raw = self.overall if self.rows.classes is None else np.log(self.overall)
            return partial(_constant, raw)
        return partial(self._raw, self.best[len(y)], X, y)


def _is_dense(X):
    return not sparse.issparse(X)


# -- a pooled network and some steps on the task's rows -------------------------------


class FineTuned:
    """scikit-learn's network, trained on all tasks, and passes over the task's rows.

    The number of passes is chosen on tasks that the network was not trained on.
    """

    n_passes = (0, 1, 3, 10, 30)

    def __init__(self, network):
        self.network = network

    def fit(self, rows):
        tasks = np.unique(rows.codes)
        held_out = tasks[::3] if len(tasks) > 2 else tasks
        self._train(rows.of(np.setdiff1d(tasks, held_out)) if len(tasks) > 2 else rows)
        some = rows.of(held_out)

        def predict(n, given, asked):
            return self._moved(n, some.X[given], some.y[given])(some.X[asked])

        self.best = best_settings(some, self.n_passes, predict)
        self._train(rows)
        return self

    def _train(self, rows):
        network = self.network
        if len(rows.y) < 100:  # too few rows to hold some out
            network = clone(network).set_params(early_stopping=False)
        self.trained = fit_base(network, rows.X, rows.y, np.ones(len(rows.y)))
        if hasattr(self.trained, "partial_fit"):
            self.trained.set_params(early_stopping=False)
            self.trained.best_loss_ = np.inf  # None after early stopping
        self.classes = rows.classes

    def _moved(self, n_passes, X, y):
        network = self.trained
        if n_passes and len(y) and hasattr(network, "partial_fit"):
            network = deepcopy(network)
            with config_context(assume_finite=True, skip_parameter_validation=True):
                for _ in range(n_passes):
                    network.partial_fit(X, y)
        return lambda X_new: _as_logs(
            raw_prediction(network, X_new, self.classes), self.classes
        )

    def adapt(self, X, y):
        return self._moved(self.best[len(y)] if len(y) else 0, X, y)


# -- all of them ----------------------------------------------------------------------


def fit_baselines(names, rows, candidates=None):
    """The named baselines, learned from rows; ``candidates`` for the pooled model."""
    classification = rows.classes is not None
    fitted = {}
    if POOLED in names or OFFSET in names:
        candidates = candidates or pooled_candidates(rows)
        pooled = fitted[POOLED] = Pooled(candidates).fit(rows)
        if OFFSET in names:
            fitted[OFFSET] = PooledOffset(pooled).fit(rows)
    if SUPPORT_MEAN in names:
        mean = DummyClassifier() if classification else DummyRegressor()
        fitted[SUPPORT_MEAN] = PooledOffset(Pooled([mean]).fit(rows)).fit(rows)
    if OWN in names:
        fitted[OWN] = OwnModel().fit(rows)
    if NEIGHBOURS in names:
        fitted[NEIGHBOURS] = Neighbours().fit(rows)
    if FINE_TUNED in names:
        kind = MLPClassifier if classification else MLPRegressor
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
    """Linear models, and boosting where it can be used."""
    if rows.classes is None:
        linear = [RidgeCV(np.logspace(-2, 3, 6))]
        kind = HistGradientBoostingRegressor
    else:
        linear = [LogisticRegression(C=C, max_iter=1000) for C in (1.0, 0.1, 0.01)]
        kind = HistGradientBoostingClassifier
    if not _is_dense(rows.X):
        return linear
    boosting = kind(
        learning_rate=0.05,
        max_leaf_nodes=15,
        early_stopping=False,
        random_state=rows.seed,
    )
    return [*linear, boosting]


# -- from a user's rows, and back -----------------------------------------------------


class Baselines:
    """Named baselines on features and targets in the user's units.

    ``classes`` are all labels, None for numbers, or the largest number of classes of a
    task where each task has its own: a class then is its place among the task's labels.
    """

    def __init__(self, names, classes, *, candidates=None, seed=0, back=None):
        self.names, self.classes = names, classes
        self.candidates, self.seed, self.back = candidates, seed, back
        self.own_classes = isinstance(classes, int)

    def fit(self, X, y, codes, sizes):
        """Learn from known tasks to predict one of which ``sizes`` rows are given."""
        self.scaler = StandardScaler(with_mean=not sparse.issparse(X)).fit(X)
        self.mean, self.scale, classes = 0.0, 1.0, None
        if self.classes is None:
            self.mean, self.scale = np.mean(y), np.std(y) or 1.0
            self.range = np.min(y), np.max(y)
            y = self._scaled(y)
        elif self.own_classes:
            classes = np.arange(self.classes)
            y = places_of_labels(y, codes)
        else:
            classes = np.arange(len(self.classes))
            y = np.searchsorted(self.classes, y)
        sizes = tuple(k for k in sizes if k)
        rows = Rows(self.scaler.transform(X), y, codes, classes, sizes, self.seed)
        self.fitted = fit_baselines(self.names, rows, self.candidates)
        return self

    @property
    def pooled(self):
        """What was chosen as pooled model, with its scaling, unfitted; or None."""
        for baseline in self.fitted.values():
            model = getattr(baseline, "pooled", baseline)
            if isinstance(model, Pooled) and not isinstance(model.chosen, MEANS):
                return make_pipeline(clone(self.scaler), clone(model.chosen))
        return None

    def _scaled(self, y):
        return (np.asarray(y, dtype=float) - self.mean) / self.scale

    def adapt(self, X, y):
        """Estimators by name that know these rows, of which there may be none."""
        given = self.scaler.transform(X) if len(y) else X
        if self.classes is None:
            codes = self._scaled(y)
            kind = partial(AdaptedRegressor, self._given_back)
        else:
            labels = np.unique(y) if self.own_classes else self.classes
            codes = np.searchsorted(labels, y)
            kind = partial(AdaptedClassifier, labels)
        return {
            name: kind(partial(self._raw, baseline.adapt(given, codes)))
            for name, baseline in self.fitted.items()
        }

    def _raw(self, raw, X):
        return self.mean + self.scale * raw(self.scaler.transform(X))

    def _given_back(self, y):
        """Predictions in the user's units, which an exponential can carry far away."""
        if self.back is None:
            return y
        low, high = self.range
        with np.errstate(all="ignore"):
            y = self.back(np.clip(y, 2 * low - high, 2 * high - low))
        return np.where(np.isfinite(y), y, self.back(np.array([self.mean])))


def places_of_labels(y, codes):
    """Place of each label among the sorted labels of its task."""
    places = np.zeros(len(y), dtype=int)
    for task in np.unique(codes):
        own = codes == task
        places[own] = np.unique(y[own], return_inverse=True)[1]
    return places


class AdaptedRegressor(RegressorMixin, BaseEstimator):
    """What a baseline says of a task, as a scorer wants it."""

    def __init__(self, given_back, raw):
        self.given_back, self.raw = given_back, raw

    def predict(self, X):
        return self.given_back(self.raw(X)[:, 0])


class AdaptedClassifier(ClassifierMixin, BaseEstimator):
    """What a baseline says of a task, as a scorer wants it."""

    def __init__(self, labels, raw):
        self.labels, self.raw = labels, raw
        self.classes_ = labels

    def predict_proba(self, X):
        return softmax(self.raw(X)[:, : len(self.classes_)], axis=1)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
