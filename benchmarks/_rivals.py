"""What a practitioner would try on many small tasks without skmeta.

Each rival has ``fit(tasks)``, for standardised tasks of `_task_sets`, and
``adapt(X, y)``, which takes the known rows of a task (there may be none) and gives an
object with ``predict`` or ``predict_proba`` for it. Labels are numbers from 0, and each
class has its column even if no row has it. Predictions inside are "raw": values of y
(n,), or logarithms of probabilities (n, n_classes).

A rival learns how tasks differ as carefully as skmeta does: from predictions for tasks
that were left out, and at the number of rows in question.

Nothing here is shared with skmeta's own baselines (`compare_baselines`), so that the
rivals can judge it.
"""

import _task_sets as task_sets
import numpy as np
from _mixed_models import MixedModel, mixed_lm, modes
from scipy.optimize import minimize, root
from scipy.spatial.distance import cdist
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor

# Probabilities are raised to this before their logarithm is taken.
FLOOR = 1e-6
N_FOLDS = 3
MIN_TUNING_TASKS, MAX_TUNING_TASKS = 3, 50


class Adapted:
    """Predictions from a function that gives raw ones."""

    def __init__(self, raw):
        self.raw = raw

    def predict(self, X):
        return self.raw(X)

    def predict_proba(self, X):
        return softmax(self.raw(X), axis=1)


class Rival:
    """``needs_blup``: no package adapts this method, so that part is written here."""

    needs_blup = False

    def __init__(self, classification):
        self.classification = classification

    def fit(self, tasks):
        self.n_classes = 1 + max(task.y.max() for task in tasks)
        self._fit(tasks)
        return self

    def one_hot(self, y):
        """Labels as indicators (n, n_classes); values as one column."""
        if not self.classification:
            return y[:, None]
        return (y[:, None] == np.arange(self.n_classes)).astype(float)


def stacked(tasks):
    return together([(task.X, task.y) for task in tasks])


def together(parts):
    X, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return X, y


def raw_loss(raw, y):
    """Root mean squared error of values, mean log loss of log-probabilities."""
    if raw.ndim == 1:
        return np.sqrt(np.mean((raw - y) ** 2))
    of_label = np.take_along_axis(raw, y[:, None], axis=1)[:, 0]
    return np.mean(logsumexp(raw, axis=1) - of_label)


# -- choosing a setting on training tasks ---------------------------------------------


class BySupportSize:
    """The best of some settings for each number of support rows."""

    def __init__(self, tasks, settings, predict):
        """``predict(setting, X, y, X_query)`` gives raw predictions."""
        self.sizes, self.best = [1.0], [settings[0]]
        tasks = tasks[:MAX_TUNING_TASKS]
        found = []
        for k in task_sets.SHOTS[1:]:
            usable = task_sets.eligible(tasks, k, MIN_TUNING_TASKS)
            if usable:
                found.append(self._try(tasks, usable, k, settings, predict))
        if found:
            self.sizes, self.best = zip(*found, strict=True)

    def _try(self, tasks, usable, k, settings, predict, n_draws=2):
        losses, n_rows = [], []
        for t in usable:
            for draw in range(n_draws):
                (X, y), (X_query, y_query) = task_sets.support_and_query(
                    tasks[t], k, (t, draw)
                )
                n_rows.append(len(y))
                losses.append(
                    [raw_loss(predict(s, X, y, X_query), y_query) for s in settings]
                )
        return np.mean(n_rows), settings[np.mean(losses, axis=0).argmin()]

    def __call__(self, n_rows):
        distance = np.abs(np.log(max(n_rows, 1)) - np.log(self.sizes))
        return self.best[distance.argmin()]


class Tuned(Rival):
    """A rival with a setting of its adaptation, chosen on a third of the tasks.

    A subclass has ``settings``, `_learn` from tasks, and `_predict`.
    """

    def _fit(self, tasks):
        self._learn(tasks[len(tasks) // 3 :])
        self.setting = BySupportSize(
            tasks[: len(tasks) // 3], self.settings, self._predict
        )
        self._learn(tasks)

    def adapt(self, X, y):
        setting = self.setting(len(y))
        return Adapted(lambda X_query: self._predict(setting, X, y, X_query))


# -- one model for all tasks, and an offset per task ----------------------------------


class Pooled(Rival):
    """One model for all tasks: the candidate that predicts left-out tasks best."""

    def __init__(self, classification, *candidates):
        super().__init__(classification)
        self.candidates = candidates

    def _fit(self, tasks):
        # Another rival that builds on this one may have fitted it already.
        if getattr(self, "fitted_on", None) is tasks:
            return
        y = stacked(tasks)[1]
        options = []
        for model in self.candidates:
            raw = self._out_of_task(model, tasks)
            options.append((raw_loss(np.concatenate(raw), y), len(options), raw))
        _, best, self.out_of_task = min(options)
        self.model = clone(self.candidates[best]).fit(*stacked(tasks))
        self.fitted_on = tasks

    def _out_of_task(self, model, tasks):
        """Raw predictions of each task by a model fitted without it."""
        predictions = [None] * len(tasks)
        for fold in range(N_FOLDS):
            others = [task for t, task in enumerate(tasks) if t % N_FOLDS != fold]
            fitted = clone(model).fit(*stacked(others))
            for t in range(fold, len(tasks), N_FOLDS):
                predictions[t] = self.raw_of(fitted, tasks[t].X)
        return predictions

    def raw_of(self, model, X):
        if not self.classification:
            return model.predict(X)
        p = np.zeros((len(X), self.n_classes))
        p[:, model.classes_] = model.predict_proba(X)
        return np.log(np.maximum(p, FLOOR))

    def raw(self, X):
        return self.raw_of(self.model, X)

    def adapt(self, X, y):
        return Adapted(self.raw)


class Offset(Rival):
    """A pooled model plus what the task's rows show beyond it, shrunken.

    Values: the mean residual times n / (n + c), where c is the ratio of the residual
    variances within and between left-out tasks. Labels: an offset per class on the
    logits with an L2 penalty, chosen on left-out tasks.
    """

    penalties = (1.0, 0.1, 0.3, 3.0, 10.0, 30.0, 1000.0)

    def __init__(self, pooled):
        super().__init__(pooled.classification)
        self.pooled = pooled

    def _fit(self, tasks):
        self.pooled.fit(tasks)
        raw = self.pooled.out_of_task
        if self.classification:
            # An offset sees of a row only what the pooled model says of it.
            seen = [
                task._replace(X=given) for task, given in zip(tasks, raw, strict=True)
            ]
            self.setting = BySupportSize(seen, self.penalties, self._shifted)
        else:
            residuals = [task.y - r for task, r in zip(tasks, raw, strict=True)]
            self.c = within_to_between(residuals)

    def _shifted(self, penalty, raw, y, raw_query):
        return raw_query + logit_offset(raw, self.one_hot(y), penalty)

    def adapt(self, X, y):
        if not len(y):
            return self.pooled.adapt(X, y)
        raw = self.pooled.raw(X)
        if self.classification:
            offset = logit_offset(raw, self.one_hot(y), self.setting(len(y)))
        else:
            offset = np.sum(y - raw) / (len(y) + self.c)
        return Adapted(lambda X_query: self.pooled.raw(X_query) + offset)


def within_to_between(residuals):
    """Ratio of the variances of residuals within tasks and of the tasks' means.

    The mean of n residuals varies by a further 1/n of the variance within, which is
    taken off.
    """
    sizes = np.array([len(r) for r in residuals])
    task = np.repeat(np.arange(len(sizes)), sizes)
    flat = np.concatenate(residuals)
    means = np.bincount(task, weights=flat) / sizes
    rest = flat - means[task]
    within = rest @ rest / max(len(flat) - len(sizes), 1)
    between = np.cov(means) - within / (len(sizes) / np.sum(1 / sizes))
    return within / max(between, 1e-6 * within)


def logit_offset(raw, target, penalty):
    """Offset per class that minimises the log loss + penalty/2 * its squares.

    There the offset of a class, times the penalty, is the number of its rows less the
    number that is expected.
    """
    odds, counts = np.exp(raw - raw.max(axis=1, keepdims=True)), target.sum(axis=0)

    def excess(offset):
        p = odds * np.exp(offset - offset.max())
        p /= p.sum(axis=1, keepdims=True)
        total = p.sum(axis=0)
        return total - counts + penalty * offset, np.diag(total + penalty) - p.T @ p

    return root(excess, np.zeros(len(counts)), jac=True, options={"xtol": 1e-8}).x


# -- the task's own rows only ---------------------------------------------------------


class Frequencies(Tuned):
    """Class frequencies of the support, mixed with ``c`` rows of the overall ones."""

    settings = (1.0, 0.25, 0.5, 2.0, 4.0, 8.0, 32.0)

    def _learn(self, tasks):
        counts = self.one_hot(stacked(tasks)[1]).sum(axis=0)
        self.overall = (counts + 1) / np.sum(counts + 1)

    def _predict(self, c, X, y, X_query):
        p = (self.one_hot(y).sum(axis=0) + c * self.overall) / (len(y) + c)
        return np.tile(np.log(p), (len(X_query), 1))


class PerTask(Tuned):
    """A linear model of the support only, a little mixed with overall frequencies.

    A support of one row or one class predicts its frequencies.
    """

    def __init__(self, classification, fit_intercept):
        super().__init__(classification)
        self.fit_intercept = fit_intercept
        self.settings = (1.0, 0.1) if classification else (1.0,)

    def _learn(self, tasks):
        self.overall = self.one_hot(stacked(tasks)[1]).mean(axis=0)

    def _predict(self, strength, X, y, X_query):
        if self.classification:
            return np.log(self._probabilities(strength, X, y, X_query))
        if len(y) < 3:
            return np.full(len(X_query), np.sum(y) / (len(y) + 1))
        return RidgeCV(np.logspace(-2, 3, 6)).fit(X, y).predict(X_query)

    def _probabilities(self, C, X, y, X_query):
        p = np.tile(self.one_hot(y).sum(axis=0) / max(len(y), 1), (len(X_query), 1))
        if len(np.unique(y)) > 1:
            model = LogisticRegression(C=C, fit_intercept=self.fit_intercept)
            p[:] = 0
            p[:, np.unique(y)] = model.fit(X, y).predict_proba(X_query)
        return (len(y) * p + self.overall + FLOOR) / (len(y) + 1)


class Neighbours(Tuned):
    """Support rows weighted by their nearness, mixed with the overall mean."""

    settings = ((1.0, 1.0), (0.3, 1.0), (3.0, 1.0), (1.0, 0.3), (3.0, 0.3))

    def _learn(self, tasks):
        X, y = stacked(tasks)
        self.overall = self.one_hot(y).mean(axis=0)
        self.scale = X.var(axis=0).sum()

    def _predict(self, setting, X, y, X_query):
        width, c = setting
        far = cdist(X_query, X, "sqeuclidean") / (width * self.scale)
        # The overall mean stands beside them as one more row, of weight c.
        weight = np.column_stack([np.exp(-far / 2), np.full(len(X_query), c)])
        rows = np.vstack([self.one_hot(y), self.overall])
        mean = weight @ rows / weight.sum(axis=1, keepdims=True)
        return np.log(np.maximum(mean, FLOOR)) if self.classification else mean[:, 0]


# -- learned from all tasks, moved by the support -------------------------------------


class FineTuned(Tuned):
    """The pooled network, and some gradient steps on the support.

    A step that raises the loss of the support is not taken, and the rate is halved.
    With a fixed rate the network diverges on a few tasks.
    """

    # The rates of the steps.
    settings = (0.03, 0.0, 0.003, 0.1, 0.3)

    def __init__(self, pooled, n_steps=10):
        super().__init__(pooled.classification)
        self.pooled, self.n_steps = pooled, n_steps

    def _fit(self, tasks):
        self.pooled.fit(tasks)
        super()._fit(tasks)

    def _learn(self, tasks):
        self.net = clone(self.pooled.model).fit(*stacked(tasks))

    def _predict(self, rate, X, y, X_query):
        layers = list(zip(self.net.coefs_, self.net.intercepts_, strict=True))
        loss = self._loss(layers, X, y) if rate and len(y) else 0.0
        for _ in range(self.n_steps if loss else 0):
            moved = self._step(layers, rate, X, y)
            new_loss = self._loss(moved, X, y)
            if new_loss < loss:
                layers, loss = moved, new_loss
            else:
                rate /= 2
        return self._raw(layers, X_query)

    def _raw(self, layers, X):
        out = forward(layers, X)[-1]
        if not self.classification:
            return out[:, 0]
        if out.shape[1] == 1:  # For two classes there is one logit, of the second.
            out = np.hstack([np.zeros_like(out), out])
        return log_softmax(out, axis=1)

    def _loss(self, layers, X, y):
        return raw_loss(self._raw(layers, X), y)

    def _step(self, layers, rate, X, y):
        """A step down the gradient of the mean loss, by back-propagation."""
        values = forward(layers, X)
        output = values[-1]
        target = self.one_hot(y)[:, -output.shape[1] :]
        if self.classification:
            single = output.shape[1] == 1
            output = expit(output) if single else softmax(output, axis=1)
        error = (output - target) / len(X)
        moved = []
        for (weight, bias), value in zip(layers[::-1], values[-2::-1], strict=True):
            moved.append(
                (weight - rate * value.T @ error, bias - rate * error.sum(axis=0))
            )
            error = (error @ weight.T) * (value > 0)
        return moved[::-1]


def forward(layers, X):
    """Values of all layers of a ReLU network, the linear outputs last."""
    values = [X]
    for weight, bias in layers[:-1]:
        values.append(np.maximum(values[-1] @ weight + bias, 0))
    weight, bias = layers[-1]
    return [*values, values[-1] @ weight + bias]


class SupportFeatures(Rival):
    """Boosting that sees, beside the row, summaries of the task's support.

    This is target encoding by task. It is trained on random supports of the training
    tasks and on their other rows. The summaries are the number of rows, their shrunken
    mean, their mean residual from a pooled linear model, and the residuals weighted by
    how similar the row is: by the inner product, and by a Gaussian kernel.
    """

    n_draws, max_query = 2, 20

    def __init__(self, pooled, *candidates):
        super().__init__(pooled.classification)
        self.pooled, self.candidates = pooled, candidates

    def _fit(self, tasks):
        self.pooled.fit(tasks)
        self.overall = self.one_hot(stacked(tasks)[1]).mean(axis=0)
        episodes = [self._episodes(t, task) for t, task in enumerate(tasks)]
        a_third = len(tasks) // 3
        losses = []
        for model in self.candidates:
            fitted = clone(model).fit(*together(episodes[a_third:]))
            X, y = together(episodes[:a_third])
            losses.append(raw_loss(self.pooled.raw_of(fitted, X), y))
        best = self.candidates[np.argmin(losses)]
        self.model = clone(best).fit(*together(episodes))

    def _episodes(self, t, task):
        """Summaries and targets of random query rows, for all numbers of shots."""
        raw = self.pooled.out_of_task[t]
        return together(
            [
                self._episode(task, t, raw, k, draw)
                for k in task_sets.SHOTS
                if k < task.n_units
                for draw in range(self.n_draws)
            ]
        )

    def _episode(self, task, t, raw, k, draw):
        both = np.column_stack([task.X, raw])
        (support, y), (query, y_query) = task_sets.support_and_query(
            task._replace(X=both), k, (t, k, draw)
        )
        query, y_query = query[: self.max_query], y_query[: self.max_query]
        d = task.X.shape[1]
        return self._summaries(
            support[:, :d], y, support[:, d:], query[:, :d], query[:, d:]
        ), y_query

    def _summaries(self, X, y, raw, X_query, raw_query):
        target, n = self.one_hot(y), len(y)
        predicted = softmax(raw, axis=1) if self.classification else raw
        residual = target - predicted
        product = X_query @ X.T / X_query.shape[1]
        distance = np.sum((X_query[:, None] - X) ** 2, axis=2)
        kernel = np.exp(-distance / X_query.shape[1])
        task_wide = np.concatenate(
            [
                [n],
                (target.sum(axis=0) + self.overall) / (n + 1),
                residual.sum(axis=0) / (n + 1),
            ]
        )
        return np.hstack(
            [
                X_query,
                raw_query,
                np.tile(task_wide, (len(X_query), 1)),
                product @ residual / (n + 1),
                kernel @ residual / (kernel.sum(axis=1, keepdims=True) + 1),
            ]
        )

    def adapt(self, X, y):
        raw = self._pooled(X) if len(y) else np.zeros((0, len(self.overall)))

        def predict(X_query):
            rows = self._summaries(X, y, raw, X_query, self._pooled(X_query))
            return self.pooled.raw_of(self.model, rows)

        return Adapted(predict)

    def _pooled(self, X):
        return self.pooled.raw(X).reshape(len(X), -1)


# -- mixed models, with our own prediction for a new task -----------------------------


class DiagonalMixedModel(Rival):
    """Random intercept and independent random slopes, by EM.

    Where statsmodels' MixedLM converges with independent effects, the likelihood and
    estimates are the same (Lenk: -1895.12 both); with more than five slopes it seldom
    does.
    """

    needs_blup = True

    def _fit(self, tasks):
        self.model = MixedModel().fit([(task.X, task.y) for task in tasks])

    def adapt(self, X, y):
        model = self.model.adapt(X, y) if len(y) else self.model
        return Adapted(model.predict)


class CorrelatedMixedModel(DiagonalMixedModel):
    """statsmodels' MixedLM: correlated random intercept and up to three slopes.

    The slopes are those that vary most in the diagonal model; the others are the same
    for all tasks. Without statsmodels, or if its search fails, this is the diagonal
    model.
    """

    n_slopes = 3

    def _fit(self, tasks):
        super()._fit(tasks)
        slopes = np.argsort(-self.model.variance[:-1])[: self.n_slopes]
        random = np.sort(np.append(slopes, len(self.model.mean) - 1))
        self.spread = np.diag(self.model.variance)
        try:
            mean, spread, noise = mixed_lm(tasks, self.model, random)
        except (ImportError, ValueError, np.linalg.LinAlgError):
            return
        if not (np.isfinite(mean).all() and np.isfinite(spread).all() and noise > 0):
            return
        self.model.mean, self.model.noise = mean, noise
        self.spread = np.zeros_like(self.spread)
        self.spread[np.ix_(random, random)] = spread

    def adapt(self, X, y):
        """Best linear unbiased prediction of the task's coefficients."""
        model = self.model
        coef = model.mean
        if len(y):
            A, b = model._design(X), (y - model.centre) / model.scale
            covariance = A @ self.spread @ A.T + model.noise * np.eye(len(y))
            gain = np.linalg.solve(covariance, b - A @ model.mean)
            coef = model.mean + self.spread @ A.T @ gain
        return Adapted(
            lambda X_query: model.centre + model.scale * (model._design(X_query) @ coef)
        )


class LogisticMixedModel(Rival):
    """Independent random coefficients of a logistic model, for two classes.

    Means and variances maximise the Laplace approximation of the likelihood, as lme4
    and GPBoost do (GPBoost 1.8 finds the same: its log-likelihoods differ by less than
    1.5 on the four binary sets). A new task has its posterior mode, and probabilities
    are averaged over the posterior.
    """

    needs_blup = True

    def __init__(self, fit_intercept):
        super().__init__(True)
        self.fit_intercept = fit_intercept

    def _fit(self, tasks):
        sizes = [len(task.y) for task in tasks]
        # The sign of a label is 1 or -1, and 0 in the padding of short tasks.
        signs = np.zeros((len(tasks), max(sizes)))
        designs = np.zeros((*signs.shape, self._design(tasks[0].X).shape[1]))
        for t, task in enumerate(tasks):
            designs[t, : sizes[t]] = self._design(task.X)
            signs[t, : sizes[t]] = 2 * task.y - 1
        p = designs.shape[2]

        def loss(parameters):
            mean, sd = parameters[:p], np.exp(parameters[p:])
            return -modes(designs, signs, mean, sd)[1].sum()

        best = minimize(
            loss,
            np.concatenate([np.zeros(p), np.full(p, np.log(0.5))]),
            method="L-BFGS-B",
            bounds=[(None, None)] * p + [(np.log(1e-3), np.log(30))] * p,
            options={"maxiter": 60, "ftol": 1e-8, "gtol": 1e-3},
        )
        self.mean, self.sd = best.x[:p], np.exp(best.x[p:])

    def _design(self, X):
        return np.column_stack([X, np.ones(len(X))]) if self.fit_intercept else X

    def adapt(self, X, y):
        u, _, covariance = modes(
            self._design(X)[None], 2 * y[None] - 1, self.mean, self.sd
        )
        coef = self.mean + self.sd * u[0]
        spread = self.sd[:, None] * covariance[0] * self.sd

        def raw(X_query):
            A = self._design(X_query)
            variance = np.einsum("ni,ij,nj->n", A, spread, A)
            margin = A @ coef / np.sqrt(1 + np.pi * variance / 8)
            return log_softmax(np.column_stack([0 * margin, margin]), axis=1)

        return Adapted(raw)


# -- the field ------------------------------------------------------------------------

BOOSTING = (
    {"learning_rate": 0.1, "max_leaf_nodes": 15},
    {"learning_rate": 0.05, "max_leaf_nodes": 7, "l2_regularization": 10.0},
)
MLP_PENALTIES = (1e-2, 1.0)


def rivals(classification, fit_intercept=True, seed=0):
    """All rivals by name; the mixed models have ``needs_blup``."""
    models = pooled_models(classification, fit_intercept, seed)
    pooled = {
        name: Pooled(classification, *candidates) for name, candidates in models.items()
    }
    mean = DummyClassifier(strategy="prior") if classification else DummyRegressor()
    overall = Pooled(classification, mean)
    field = {
        "global_mean": overall,
        "support_mean": Frequencies(True) if classification else Offset(overall),
    }
    for name, model in pooled.items():
        field[f"pooled_{name}"] = model
        field[f"pooled_{name}+offset"] = Offset(model)
    field |= {
        "per_task_linear": PerTask(classification, fit_intercept),
        "support_neighbours": Neighbours(classification),
        "gbdt_support_features": SupportFeatures(pooled["linear"], *models["gbdt"]),
        "mlp_finetune": FineTuned(pooled["mlp"]),
    }
    if not classification:
        field["mixed_model"] = DiagonalMixedModel(False)
        field["mixed_model_correlated"] = CorrelatedMixedModel(False)
    return field


def binary_mixed_model(fit_intercept):
    return {"mixed_model": LogisticMixedModel(fit_intercept)}


def pooled_models(classification, fit_intercept, seed):
    """Candidates of each kind of pooled model."""
    if classification:
        linear = [
            LogisticRegression(C=C, max_iter=1000, fit_intercept=fit_intercept)
            for C in (1.0, 0.03)
        ]
        boosting, forest = HistGradientBoostingClassifier, RandomForestClassifier
        network = MLPClassifier
    else:
        linear = [Ridge(alpha=1.0), Ridge(alpha=100.0)]
        boosting, forest = HistGradientBoostingRegressor, RandomForestRegressor
        network = MLPRegressor
    return {
        "linear": linear,
        "gbdt": [
            boosting(max_iter=100, early_stopping=False, random_state=seed, **setting)
            for setting in BOOSTING
        ],
        "forest": [forest(60, min_samples_leaf=5, max_features=0.5, random_state=seed)],
        "mlp": [
            network(
                hidden_layer_sizes=(32, 32),
                alpha=alpha,
                early_stopping=True,
                n_iter_no_change=5,
                learning_rate_init=3e-3,
                random_state=seed,
            )
            for alpha in MLP_PENALTIES
        ],
    }
