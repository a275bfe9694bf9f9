"""Linear models, of X or of learned features, under a prior learned from the tasks."""

from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmeta._base import (
    BaseMetaLearner,
    ClassificationTargets,
    FewShotScoreMixin,
    RegressionTargets,
    SharedNetwork,
)
from skmeta._core.prior import calibration, episodic, features, gaussian, laplace
from skmeta._core.prior.duration import seconds_of_search
from skmeta._core.prior.likelihoods import of_labels
from skmeta._core.prior.moderation import moderation
from skmeta._core.prior.queries import Pool, apart_from, choose_queries
from skmeta._core.prior.search import (
    MAX_FOLD_ITER,
    MIN_TASKS,
    Search,
    first_fit,
    fit_prior,
    too_many_classes,
    zero_shot,
)
from skmeta._core.prior.stacks import Stack
from skmeta._core.prior.structures import NONE, Beside, Diagonal, groups, place
from skmeta._core.scaling import farthest
from skmeta._core.tasks import Parts, sizes_of, slices
from skmeta._guards import (
    check_hidden_layer_sizes,
    check_range,
    explaining_singular,
)
from skmeta._repr import prior_table
from skmeta._threads import on_one_blas_thread
from skmeta._warn import warn

STRUCTURES = ("intercept", "isotropic", "diagonal", "low_rank", "full")
ONE_TASK_TOL = 1e-12  # one number is searched for: exact costs nothing
ADAPT_CELLS = 2**16  # numbers of rows that a regressor is adapted to at a time
PREDICT_CELLS = 2**22  # numbers held at a time in predicting
MAX_TASKS = 200  # that the structure is chosen with; more tell no more
MIN_FREEDOM = 2.0  # of the noise, below which its size is a guess
FEW_TASKS = 20  # each of which is held out to measure errors
MAX_CALIBRATION = 500  # of which errors are measured, if there are so many
LONG_SEARCH = 90.0  # seconds that are announced
MANY_COLUMNS = 50
LEARNED_FEATURES = ("validation_scores_", "n_feature_iter_")
FEW_ITER = 12  # of a head with features, to tell whether they pay
LOW_WEIGHT = 0.1  # mean weight of a row, below which one rarely means what it says
FARTHEST = 1e50  # deviations of a row that questions are about
LARGEST_WEIGHT = 1e12  # of a row: beyond, sums of weights drown what one task tells
NOT_NOISE = 0.01  # share of the noise that no spread could stand for
FEW_ROWS = 2  # of a task, that tell its slope from noise only by chance
MANY_TASKS = 2000  # of which so few can be held out for good


def _in_words(seconds):
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"


class Fold(NamedTuple):
    """Rows of tasks kept and held out, and the prior that those kept tell."""

    kept: Parts
    held_out: Parts
    prior: episodic.Belief

    @classmethod
    def of(cls, kept, held_out, prior):
        """One that keeps no more of a `Prior` than is asked for, and makes it once."""
        prior = episodic.Belief(prior.mean, prior.factor, prior.noise)
        return cls(kept, held_out, prior)


class Brief(NamedTuple):
    """What is asked of all tasks of a regressor in the end, without their rows."""

    of_pooled: np.ndarray
    of_constant: np.ndarray
    variances: tuple  # see `calibration.known_variances`

    def pooled(self):
        return self.of_pooled

    def constant(self):
        return self.of_constant


class BaseEmpiricalBayes(SharedNetwork, BaseMetaLearner):
    """Parameters, the learned prior, and adaptation by conditioning on rows.

    A subclass says what its likelihood is: how tasks are gathered, what conditioning
    on rows is, and what a row tells.
    """

    _parameter_constraints: dict = {
        **BaseMetaLearner._parameter_constraints,
        "prior": [StrOptions({"auto", *STRUCTURES})],
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"tanh", "relu"})],
        "layer_norm": ["boolean"],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "support_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "meta_batch_size": [Interval(Integral, 1, None, closed="left")],
        "fit_intercept": ["boolean"],
        "standardize": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    _dtype = np.dtype(np.float64)

    def __init__(
        self,
        prior="auto",
        *,
        hidden_layer_sizes=(),
        n_components=16,
        activation="tanh",
        layer_norm=False,
        learning_rate=1e-3,
        support_size=(1, 20),
        meta_batch_size=25,
        base_estimator=None,
        fit_intercept=True,
        standardize=True,
        tol=1e-4,
        max_iter=1000,
        random_state=None,
    ):
        self.prior = prior
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_components = n_components
        self.activation = activation
        self.layer_norm = layer_norm
        self.learning_rate = learning_rate
        self.support_size = support_size
        self.meta_batch_size = meta_batch_size
        self.base_estimator = base_estimator
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _keeps_units(self, X, Y):
        # X and y are standardised in any case: `standardize` is about the structures
        return False

    # -- meta-training ----------------------------------------------------------------

    @on_one_blas_thread
    def _meta_train(self, table, ids, again, data):
        if self.prior == "intercept" and not self.fit_intercept:
            raise ValueError(
                "prior='intercept' lets only the intercept differ between tasks, but "
                "fit_intercept=False leaves none. Set fit_intercept=True, or choose "
                "another prior."
            )
        check_range("support_size", self.support_size)
        self._warn_of_weights(table)
        rng = check_random_state(self.random_state)
        self._shape = (table.X.shape[1], table.Y.shape[1], self.fit_intercept)
        self._forget()
        for optional in ("_theta", "_architecture", *LEARNED_FEATURES):
            vars(self).pop(optional, None)
        hidden = check_hidden_layer_sizes(self.hidden_layer_sizes)
        if hidden and table.n_tasks < MIN_TASKS:
            warn(
                f"Learned features need {MIN_TASKS} tasks or more, some of them held "
                f"out to tell whether they pay; got {table.n_tasks}. This is a linear "
                "model. Set hidden_layer_sizes=(), or pass the rows' task ids.",
            )
            hidden = []
        if table.n_tasks > 1:
            self._warn_of_few_rows(table)
        with explaining_singular(table.weight):
            if table.n_tasks == 1:
                self._learn_from_one(self._parts(table)[0])
            else:
                self._learn_from_many(table, hidden, rng)
        # a density of y is one per unit of y
        n_rows = table.weight.sum()
        self.log_marginal_likelihood_ -= n_rows * np.log(self._scaling.y_scale)

    def _warn_of_few_rows(self, table):
        n_rows, n_columns = table.X.shape
        if n_rows < n_columns:
            warn(
                f"All tasks together have {n_rows} rows for {n_columns} columns: what "
                "the tasks have in common cannot be learned well. Put PCA or "
                "TruncatedSVD in front, or set base_estimator=Ridge().",
            )
            return
        n_coefficients = n_columns + self.fit_intercept
        needed = gaussian.ROWS_PER_COEFFICIENT
        if not self._takes_labels and n_rows < needed * n_coefficients:
            warn(
                f"All tasks together have {n_rows} rows for {n_coefficients} "
                f"coefficients, fewer than {needed} for each: the slopes that the "
                "tasks have in common are drawn towards zero. Leave out columns, or "
                "pass more tasks.",
            )

    def _warn_of_long_search(self, tasks, n_tasks):
        """Say so before a search that takes minutes, with what would make it short."""
        n_features, n_outputs, _ = self._shape
        only_intercept = self.prior == "intercept" or (
            self.prior == "auto" and too_many_classes(tasks, self._shape)
        )
        seconds = seconds_of_search(tasks, n_tasks, not only_intercept, n_outputs)
        if seconds < LONG_SEARCH:
            return
        remedies = []
        if n_features > max(MANY_COLUMNS, n_outputs):
            remedies.append("put PCA or TruncatedSVD in front")
        if not only_intercept and n_tasks > 1:
            remedies.append("set prior='intercept'")
        if n_outputs > 2:
            remedies.append(
                "merge classes, or take PrototypicalClassifier, which has no "
                "coefficients for each"
            )
        classes = f" for each of {n_outputs} classes" if n_outputs > 1 else ""
        what = "; or ".join(remedies or ["fit it to fewer tasks"])
        warn(
            f"This fit may take about {_in_words(seconds)}: {n_features} columns"
            f"{classes} are {tasks.n_coefficients} coefficients of {n_tasks} "
            f"task{'s' if n_tasks > 1 else ''}, and the time grows with the cube of "
            f"their number. To make it short, {what}. It can be interrupted, which "
            "leaves the model as it was.",
        )

    def _warn_of_weights(self, table):
        mean = table.weight.mean()
        if mean < LOW_WEIGHT:
            warn(
                f"The mean sample weight of a row is {mean:.2g}. A weight of 2 is a "
                f"row that is there twice, so that these {len(table.weight)} rows "
                f"count as {table.weight.sum():.3g} in all: the learned prior will be "
                "that of as little data. If the weights say how rows compare with "
                "each other, pass sample_weight / sample_weight.mean().",
            )

    def _warn_of_what_is_not_told(self, tasks, chosen):
        """Warn where no task has rows enough to tell its spread from noise."""

    @staticmethod
    def _warn_not_told(most, n_varying):
        rows = "one row" if most == 1 else f"{most} rows"
        own = "a coefficient" if n_varying == 1 else f"{n_varying} coefficients"
        warn(
            f"No task has more than {rows}, and each has {own} of its own: such rows "
            "do not tell the spread between tasks from the noise. What they do not "
            "tell is taken for noise, and adapting will change little. Pass tasks "
            "with more rows, or set a simpler prior. If the ids number the rows, pass "
            "instead the column that says which rows belong together."
        )

    def _units_of_structures(self):
        """From the coefficients that structures are about to standardised ones.

        None where these are the same, with ``standardize=True``.
        """
        if self.standardize:
            return None
        n_features, n_outputs, fit_intercept = self._shape
        one = np.zeros((n_features + fit_intercept,) * 2)
        one[np.diag_indices(n_features)] = self._scaling.x_scale
        if fit_intercept:
            one[-1, :n_features] = self._scaling.x_mean
            one[-1, -1] = 1.0
        return np.kron(np.eye(n_outputs), one)

    def _parts(self, table):
        """Rows of each task: (X, Y, weight, offset)."""
        if self._has_features:  # a network is faster on all rows at once
            table, design = replace(table, X=self._design(table.X)), np.asarray
            return Parts(table, design)
        return Parts(table, self._design)

    def _design(self, scaled):
        """Columns of standardised rows: learned features, if any, X, and a 1."""
        scaled, fit_intercept = self._dense(scaled), self._shape[2]
        if self._has_features:
            theta = self._theta.astype(np.float64)  # no row depends on its neighbours
            return episodic.design(self._network, theta, scaled, fit_intercept)[0]
        if not fit_intercept:
            return scaled
        return np.column_stack([scaled, np.ones(len(scaled))])

    def _learn_from_many(self, table, hidden, rng):
        parts = self._parts(table)
        some = np.arange(len(parts))
        if len(parts) > MAX_TASKS:
            some = rng.permutation(len(parts))
            # a task of one row tells nothing of what follows from the rows before
            single = parts.sizes[some] < 2
            some = np.sort(some[np.argsort(single, kind="stable")][:MAX_TASKS])
        few = parts.take(some)
        options = {"tol": self.tol, "max_iter": self.max_iter}
        gathered = self._gather(few)
        self._warn_of_long_search(gathered, len(parts))
        units = self._units_of_structures()
        search = Search(gathered, self._shape, rng, units, **options)
        chosen = search.run(self.prior)
        search.tried.clear()  # of many columns the priors of all folds are large
        folds = [
            Fold.of(few.take(f.kept), few.take(f.held_out), f.prior)
            for f in chosen.folds
        ]
        if not hidden:
            chosen.folds.clear()
        everything = search.tasks
        if len(some) < len(parts):
            everything = self._gather(parts)
            chosen = replace(chosen, prior=search.on_all(everything, chosen))
        self._warn_of_what_is_not_told(everything, chosen)
        self._keep(chosen.prior, chosen.name)
        tasks, scores = search.tasks, chosen.scores
        learned = None
        if hidden:
            found = self._search_features(table, some, chosen, hidden, rng)
            learned = self._use_features(table, chosen, found, search.seed)
            self.n_feature_iter_ = 0
            if learned is not None:
                tasks, folds, scores, self.n_feature_iter_ = learned
        if learned is None:
            sets = self._to_measure(tasks, everything, parts, chosen, folds, rng)
            tasks, folds = sets
            del sets
        if chosen.name == "low_rank":
            self.prior_rank_ = chosen.structure.rank
        tasks = self._in_brief(tasks)
        del gathered, search, everything, chosen  # what follows needs their memory
        self._choose_start(tasks, folds)
        self._calibrate(tasks, folds, scores, rng)

    def _to_measure(self, tasks, everything, parts, chosen, folds, rng):
        """Tasks and folds that say what to begin with, and how large errors are.

        ``tasks`` and ``folds`` are those that the structure was chosen with.
        """
        return tasks, folds

    def _in_brief(self, tasks):
        """What is kept of all tasks while those of the folds are looked at."""
        return tasks

    def _learn_from_one(self, part):
        """A single task shows no spread: it is a Bayesian ridge or logistic regression.

        Its slopes are drawn about zero with a variance that maximises the evidence, and
        the prior of later tasks is its posterior.
        """
        tasks = self._gather([part]).with_pinned_slopes()
        self._warn_of_long_search(tasks, 1)
        of_slopes = groups("isotropic", *self._shape)
        structure = place(
            Diagonal(np.where(of_slopes == 0, 0, NONE)),
            tasks,
            self._units_of_structures(),
        )
        prior = first_fit(
            tasks,
            structure,
            tol=min(self.tol, ONE_TASK_TOL),
            max_iter=self.max_iter,
        )
        self._keep(prior, "isotropic")
        self._factor_of_one = prior.factor
        self._prior_mean, self._prior_factor = self._condition(
            prior.mean, prior.factor, part
        )
        self._spread = self._prior_factor
        self._start = self._prior_mean, self._prior_factor
        self.zero_shot_ = "prior"
        self._calibrate(self._in_brief(tasks), [], None, None)

    def _keep(self, prior, name):
        for optional in ("prior_rank_", "_levels", "_factor_of_one"):
            vars(self).pop(optional, None)
        if not prior.converged:
            where = f"at max_iter={self.max_iter}"
            if prior.n_iter < self.max_iter:  # rounding, or a likelihood with a cliff
                where = f"after {prior.n_iter} iterations"
            warn(
                f"The search for the prior stopped {where} before tol={self.tol} was "
                "met: the log evidence still rises. Raise max_iter, or set a simpler "
                "prior.",
                ConvergenceWarning,
            )
        if prior.on_bound and self.n_tasks_ > 1:
            warn(
                "A spread between tasks ended at the largest that rounding allows, a "
                "million times the noise or more: the rows of a task agree with each "
                "other as if there were no noise. Predictions are right; deviations "
                "and intervals are lower bounds. Targets that are copies, or exact by "
                "construction, are the usual reason.",
            )
        self._prior_mean = prior.mean
        self._prior_factor = prior.factor
        self._unseen = prior.unseen
        self._spread = prior.spread
        self._noise = float(prior.noise)
        self.prior_structure_ = name
        self.n_iter_ = max(1, prior.n_iter)
        self.log_marginal_likelihood_ = float(prior.log_evidence)

    def _choose_start(self, tasks, folds):
        """What to predict with before adapting."""
        self.zero_shot_ = zero_shot(
            (self._gather(fold.kept), self._gather(fold.held_out), fold.prior)
            for fold in folds
        )
        if self.zero_shot_ == "prior":
            self._start = self._prior_mean, self._prior_factor
        else:
            mean = getattr(tasks, self.zero_shot_)()
            self._start = mean, self._start_factor()

    def _validate_rows(self, X, y, *, reset, dtype):
        return super()._validate_rows(X, y, reset=reset, dtype=self._dtype)

    def _validate_weight(self, sample_weight, X):
        weight = super()._validate_weight(sample_weight, X)
        if weight.max() > LARGEST_WEIGHT:
            raise ValueError(
                f"sample_weight holds {weight.max():.3g}. A weight of 2 is a row that "
                f"is there twice; up to {LARGEST_WEIGHT:g} can be told from each "
                "other. Divide the weights by their mean."
            )
        return weight

    # -- learned features -------------------------------------------------------------

    @property
    def _has_features(self):
        return hasattr(self, "_theta")

    def _search_features(self, table, some, chosen, hidden, rng):
        """Features that are learned in the folds in which the structure was chosen.

        Of many tasks those of all folds are held out at once: they are few.
        """
        target = self._feature_target(table)
        held_out = [some[fold.held_out] for fold in chosen.folds]
        priors = [fold.prior for fold in chosen.folds]
        if table.n_tasks >= MANY_TASKS:
            held_out, priors = [np.concatenate(held_out)], [chosen.prior]
        folds = []
        for out, prior in zip(held_out, priors, strict=True):
            kept = np.setdiff1d(np.arange(table.n_tasks), out)
            head = self._feature_head(target.subset(kept), prior)
            folds.append(features.Fold(kept, out, head))
        begin = partial(
            episodic.begin,
            (table.X.shape[1], *hidden, int(self.n_components)),
            self.activation,
            bool(self.layer_norm),
            fit_intercept=self.fit_intercept,
        )
        settings = episodic.Settings(
            float(self.learning_rate),
            self.support_size,
            self.meta_batch_size,
            self.max_iter,
        )
        seed = rng.randint(2**31)
        search = features.FeatureSearch(begin, target, folds, settings, seed)
        self.validation_scores_ = search.log_density.mean(axis=1).tolist()
        return search

    def _parts_of(self, table, learner, theta):
        """Rows of each task in the columns of a learner."""
        theta = theta.astype(np.float64)
        X, _ = learner.design(theta, self._dense(table.X))
        return Parts(replace(table, X=X), np.asarray)

    # -- adaptation -------------------------------------------------------------------

    def _forget(self):
        for name in ("_posterior", "_rows"):
            vars(self).pop(name, None)

    def _begin_task(self):
        if self.n_tasks_ == 1:
            warn(
                f"This {type(self).__name__} was fitted to one task, which does not "
                "show how much tasks differ: rows of another are taken for more rows "
                "of the same, and it is far too sure of them. Fit it to several tasks, "
                "with their ids: task=ids. For more rows of the same task, call "
                "partial_adapt.",
            )

    def _rows_of(self, batch, rows=slice(None)):
        Y, weight = batch.Y[0, rows], batch.weight[0, rows] * batch.n_rows[0]
        offset = np.zeros_like(Y) if batch.offset is None else batch.offset[0, rows]
        return self._design(batch.X[0, rows]), Y, weight, offset

    def _present(self):
        """Mean and factor of the coefficients that predictions are made with."""
        return getattr(self, "_posterior", self._start)

    def _present_belief(self):
        """Mean and factor of the coefficients as far as they are known."""
        return getattr(self, "_posterior", (self._prior_mean, self._prior_factor))

    def _raw_outputs(self, X, mean=None):
        n_features, n_outputs, _ = self._shape
        mean = self._present()[0] if mean is None else mean
        coef = mean.reshape(n_outputs, -1)
        if self._has_features:
            n = max(1, PREDICT_CELLS // sum(self._architecture[0]))
            chunks = [X[rows] for rows in gen_batches(X.shape[0], n)]
            transform = self._scaling.transform_X
            return np.concatenate([self._design(transform(c)) @ coef.T for c in chunks])
        slopes, intercept = coef[:, :n_features], coef[:, n_features:]
        return self._scaling.transform_X(X) @ slopes.T + intercept.sum(axis=1)

    def _in_chunks(self, function, X):
        """``function(rows, factor)`` of validated X, so many rows at a time as fit.

        ``factor`` (n, o, r) is what the outputs of the rows vary by.
        """
        _, factor = self._present()
        n = max(1, PREDICT_CELLS // factor.size)
        chunks = [X[rows] for rows in gen_batches(X.shape[0], n)]
        return np.concatenate([function(X, self._times(X, factor)) for X in chunks])

    def _times(self, X, factor):
        """Rows of X times the coefficients of each output: (n, o, r)."""
        X = self._design(self._scaling.transform_X(self._dense(X)))
        blocks = factor.reshape(self._shape[1], X.shape[1], -1)
        return np.einsum("nd,odr->nor", X, blocks, optimize=True)

    def suggest_queries(self, pool, n_queries=1):
        """Choose which rows to ask a new task's owner about.

        The rows whose answers lower the uncertainty about the whole pool most, chosen
        one after the other; which answers come back makes no difference to a regressor.
        Before adapting these are the questions for a new task; after adapting, the ones
        to ask next.

        Parameters
        ----------
        pool : {array-like, sparse matrix} of shape (n_pool, n_features)
            Rows that could be asked about, and whose targets are of interest.
        n_queries : int, default=1
            How many to choose.

        Returns
        -------
        rows : ndarray of int of shape (n_queries,)
            Row numbers in ``pool``, the most useful first.

        References
        ----------
        D. A. Cohn, "Neural Network Exploration Using Optimal Experiment Design", Neural
        Networks 9(6), 1996.
        """
        check_is_fitted(self)
        pool = self._validate_X(pool)
        n_pool = pool.shape[0]
        if not isinstance(n_queries, Integral) or not 1 <= n_queries <= n_pool:
            raise ValueError(
                f"n_queries must be a whole number from 1 to {n_pool}, the rows of the "
                f"pool; got {n_queries!r}."
            )
        column, distance = farthest(pool, self._scaling)
        if distance > FARTHEST:
            raise ValueError(
                f"pool has a row that is {distance:.2g} deviations of column {column} "
                "away from the rows of the meta-training; next to it no other row "
                "matters. Mend such rows, or leave them out."
            )
        design, (root, factor) = self._chunks_of(pool), self._information(pool)
        pool = apart_from(Pool(design, root, factor), self._unseen)
        return choose_queries(pool, int(n_queries))

    def _chunks_of(self, X):
        """A function that gives the design of a slice of validated rows."""
        return lambda rows: self._design(
            self._scaling.transform_X(self._dense(X[rows]))
        )

    # -- fitted attributes ------------------------------------------------------------

    @property
    def coef_(self):
        """Present slopes in the user's units."""
        return self._slopes_and_intercept(self._fitted()._present()[0])[0]

    @property
    def intercept_(self):
        """Present intercept in the user's units."""
        return self._slopes_and_intercept(self._fitted()._present()[0])[1]

    @property
    def prior_coef_(self):
        """Slopes that a new task is expected to have, in the user's units."""
        return self._slopes_and_intercept(self._fitted()._prior_mean)[0]

    @property
    def prior_intercept_(self):
        """Intercept that a new task is expected to have, in the user's units."""
        return self._slopes_and_intercept(self._fitted()._prior_mean)[1]

    @property
    def prior_covariance_(self):
        """Covariance between tasks of slopes and intercept, in the user's units."""
        A = self._fitted()._to_users_units()
        half = A @ self._spread  # its square has no variance below zero
        return half @ half.T

    @property
    def covariance_(self):
        """Covariance of the present slopes and intercept, in the user's units."""
        A = self._fitted()._to_users_units()
        half = A @ self._present()[1]
        return half @ half.T

    def _prior_summary(self):
        """Slopes and their deviations between tasks, scales of X, and output names.

        Both are (n_outputs, n_features) in the user's units.
        """
        n_features, n_outputs, _ = self._shape
        slopes = self._slopes_and_intercept(self._fitted()._prior_mean)[0]
        deviation = np.sqrt(np.maximum(np.diag(self.prior_covariance_), 0.0))
        deviation = deviation.reshape(n_outputs, -1)[:, :n_features]
        outputs = ["y"]
        if self._takes_labels:
            outputs = list(self.classes_[-n_outputs:])
        return slopes, deviation, self._scaling.x_scale, outputs

    def _learned_html(self):
        html = super()._learned_html()
        if self._has_features:
            return html
        return f"{html}<p>Prior: {self.prior_structure_}.</p>{prior_table(self)}"

    def _fitted(self):
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        if self._has_features:
            raise AttributeError(
                "Coefficients are those of a linear model; this one has learned "
                "features. See coefs_ and intercepts_ for those."
            )
        return self

    def _to_users_units(self):
        """Matrix from standardised coefficients to those of the user's units."""
        n_features, n_outputs, fit_intercept = self._shape
        scaling = self._scaling
        one = np.zeros((n_features + fit_intercept,) * 2)
        slope = np.diag_indices(n_features)
        one[slope] = scaling.y_scale / scaling.x_scale
        if fit_intercept:
            one[-1, :n_features] = -one[slope] * scaling.x_mean
            one[-1, -1] = scaling.y_scale
        return np.kron(np.eye(n_outputs), one)

    def _slopes_and_intercept(self, mean):
        _, n_outputs, fit_intercept = self._shape
        coef = (self._to_users_units() @ mean).reshape(n_outputs, -1)
        if fit_intercept:
            return coef[:, :-1], coef[:, -1] + self._scaling.y_mean
        return coef, np.zeros(n_outputs)


class EmpiricalBayesRegressor(
    FewShotScoreMixin, RegressionTargets, RegressorMixin, BaseEmpiricalBayes
):
    r"""Regressor that learns from many tasks how much tasks differ.

    The coefficients of a task are drawn from a normal distribution that is learned from
    all tasks: where a new one should start, and how far each coefficient may move.
    Adapting is the exact Bayesian answer to the rows given, in any number, order and
    portions. This is the random-coefficient mixed model, made to predict for new
    groups; with hidden layers, on features that are learned for it.

    Parameters
    ----------
    prior : {"auto", "intercept", "isotropic", "diagonal", "low_rank", "full"}, default="auto"
        What differs between tasks, as the structure of the prior's covariance.
        "intercept": only the offset; the slopes are pooled. "isotropic": all slopes
        equally, and the offset. "diagonal": each coefficient by an amount of its own.
        "low_rank": together along a few directions, and each a little by itself.
        "full": any covariance, with correlations drawn towards zero as by one further
        uncorrelated task per coefficient. "auto" is the simplest one within half a
        standard error of the best marginal likelihood on held-out tasks, in 5 folds;
        with more than 60 coefficients up to "diagonal"; with fewer than 5 tasks, or
        fewer than 3 rows per number to be learned, up to "isotropic".
    hidden_layer_sizes : int or array-like of int, default=()
        Units of the hidden layers of a network whose outputs are further columns beside
        X: features that all tasks share, learned for the posterior to use. They are
        used only where held-out tasks gain by them beyond doubt, in log density and in
        squared error; else, and with fewer than 5 tasks, the model is the linear one.
        ``()`` is a linear model.
    n_components : int, default=16
        Number of learned features: units of the network's last layer, which is linear.
    activation : {"tanh", "relu"}, default="tanh"
        Of the hidden layers.
    layer_norm : bool, default=False
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    learning_rate : float, default=1e-3
        Rate of Adam for the network: constant for half of the run, then falling
        linearly to 0.
    support_size : int or tuple (low, high), default=(1, 20)
        Rows that are given of each task in a meta-iteration: a number, or a range to
        draw it from. The features are learned by the loss of other rows.
    meta_batch_size : int, default=25
        Tasks per meta-iteration.
    base_estimator : estimator, default=None
        Any regressor of scikit-learn. It is fitted on the rows of all tasks together,
        and the learned prior is that of its correction per task. What is left to
        correct in training are errors on tasks that a clone of it has not seen, in 5
        folds of tasks. It gets sample weights if its ``fit`` takes them, the tasks as
        groups of folds inside it, and seeds from an integer ``random_state``.
    base_target : {"residual", "y"}, default="residual"
        What the base model is fitted to. "residual": what is left of y when a first
        learned prior, without base model, has been adapted to each task; the base model
        then adds the shape that tasks have in common. "y": the targets themselves; the
        base model then also explains how tasks differ on average, which is best before
        adapting, and may leave a rougher rest to the linear model.
    fit_intercept : bool, default=True
        Whether there is an offset. Without one the origin keeps its meaning: X and y
        are scaled and not centred. For rows that are differences of two offers.
    standardize : bool, default=True
        Whether what differs between tasks is said of standardised columns, by mean and
        deviation of all meta-training rows, or, with False, of coefficients in the
        units of X: "isotropic" then gives these one spread in common, and intercepts
        are those at X = 0. X and y are standardised inside in any case, so that units
        do no harm. A sparse X gives the model of a dense one, and stays
        sparse.
    tol : float, default=1e-4
        Tolerance of the search for the prior: largest slope of the log evidence of all
        tasks together, in units of the root of their number, which is what chance
        leaves.
    max_iter : int, default=1000
        Most iterations of a search; with hidden layers also the meta-iterations of a
        run.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds, and of the rows that calibrate intervals.

    Attributes
    ----------
    prior_coef_ : ndarray of shape (n_features,)
        Slopes that a new task is expected to have, in the units of X and y; with
        ``base_estimator``, as all that follow, those of its correction. Coefficients
        are those of a linear model only.
    prior_intercept_ : float
        Intercept that a new task is expected to have.
    prior_covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance between tasks of the slopes and, last, the intercept.
    noise_variance_ : float
        Variance of the noise within tasks.
    prior_structure_ : str
        The structure asked for, or chosen.
    prior_rank_ : int
        Only with "low_rank": the number of directions.
    log_marginal_likelihood_ : float
        Log density of all targets under the learned prior, its mean included.
    zero_shot_ : {"prior", "pooled", "constant"}
        What predicts before adapting: the mean of the prior, the fit to all rows as one
        task, or a constant; the best for held-out tasks.
    coef_, intercept_ : ndarray of shape (n_features,), float
        Present coefficients: the task's posterior mean once adapted.
    covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance of the present slopes and, last, intercept: what is not known of
        them.
    coefs_, intercepts_ : list of ndarray
        Only with learned features: weights (fan_in, fan_out) and biases (fan_out,) of
        the network's layers, on standardised data.
    n_feature_iter_ : int
        Only with hidden layers: the meta-iterations that served held-out tasks best; 0
        if features do not pay, and this is the linear model.
    validation_scores_ : list of float
        Only with hidden layers: mean log density of unseen rows of held-out tasks in
        the course of the runs, first that of the linear prior.
    base_estimator_ : estimator
        Only with ``base_estimator``: the base model, fitted on all rows. Adapted copies
        share it.
    n_tasks_ : int
        Tasks seen in meta-training.
    n_iter_ : int
        Iterations of the last search.
    n_adapt_rows_ : int
        Rows that the model is adapted to.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where fit has seen names.

    See Also
    --------
    EmpiricalBayesClassifier : The same for labels.
    ReptileRegressor : A start learned by gradient steps, also for networks.

    Notes
    -----
    With :math:`\theta_t \sim N(\phi, \Sigma)` and noise variance :math:`\sigma^2`, the
    log marginal likelihood of all tasks is maximised: in :math:`\phi` and
    :math:`\sigma^2` by closed forms, in :math:`\Sigma / \sigma^2` by L-BFGS with the
    exact gradient. A task's rows enter by at most as many numbers as there are products
    of columns, however many rows there are. A new task is expected to differ from
    :math:`\phi` by :math:`\Sigma` and by the error of :math:`\phi` itself.

    A single task (``fit`` without ids) shows no spread: the model then is a Bayesian
    ridge regression, and its posterior is the prior of tasks to come.

    With ``hidden_layer_sizes`` a row is :math:`\psi(x) = [z(x), x, 1]`, z being the
    learned features. A run begins with the linear prior and small random features, and
    lowers minus the log density of some rows of a task given others,

    .. math:: \log p(y_q \mid y_s) = \log p(y_s, y_q) - \log p(y_s),

    a difference of two evidences, with its full gradient through the solve. With the
    network it learns the mean of the coefficients, a scale for each feature and for
    each direction of the linear prior, and the noise. Runs without the
    tasks of each of 5 folds tell for how long to learn; features are used if held-out
    tasks gain by more than two standard errors in log density and in root mean squared
    error. From 2,000 tasks on a
    single run without 200 of them takes the place of the folds. Without an intercept
    no unit has an offset, so that features of ``activation="tanh"`` are odd.

    A sample weight of 2 is a row that is there twice: halving all weights halves what
    the data say. Weights of mean 1 are the precision weights of other mixed-model
    tools; a mean far below 1 is warned of.

    A direction of the coefficients that no row looked at, as that of a category which
    training lacked, is as uncertain as the targets are spread. Where the rows do not
    tell a spread between tasks from the noise, since no task has rows enough, it is
    taken for noise, with a warning.

    Numbers of features up to some hundreds are meant, with several times as many rows
    in all. For more, put
    :class:`~sklearn.decomposition.PCA` or
    :class:`~sklearn.decomposition.TruncatedSVD` in front.

    References
    ----------
    N. M. Laird, J. H. Ware, "Random-Effects Models for Longitudinal Data", Biometrics
    38(4), 1982.

    D. M. Bates, S. DebRoy, "Linear mixed models and penalized least squares", Journal
    of Multivariate Analysis 91(1), 2004.

    L. Bertinetto, J. F. Henriques, P. Torr, A. Vedaldi, "Meta-learning with
    differentiable closed-form solvers", ICLR 2019 (learned features).

    J. Harrison, A. Sharma, M. Pavone, "Meta-Learning Priors for Efficient Online
    Bayesian Regression", WAFR 2018 (learned features).

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
    >>> rows = model.suggest_queries(X, 3)  # which three to ask about first
    """  # noqa: E501 (a type takes one line)

    __metadata_request__predict = {"return_std": True}

    _parameter_constraints: dict = {
        **BaseEmpiricalBayes._parameter_constraints,
        "base_target": [StrOptions({"residual", "y"})],
    }

    def __init__(
        self,
        prior="auto",
        *,
        hidden_layer_sizes=(),
        n_components=16,
        activation="tanh",
        layer_norm=False,
        learning_rate=1e-3,
        support_size=(1, 20),
        meta_batch_size=25,
        base_estimator=None,
        base_target="residual",
        fit_intercept=True,
        standardize=True,
        tol=1e-4,
        max_iter=1000,
        random_state=None,
    ):
        super().__init__(
            prior,
            hidden_layer_sizes=hidden_layer_sizes,
            n_components=n_components,
            activation=activation,
            layer_norm=layer_norm,
            learning_rate=learning_rate,
            support_size=support_size,
            meta_batch_size=meta_batch_size,
            base_estimator=base_estimator,
            fit_intercept=fit_intercept,
            standardize=standardize,
            tol=tol,
            max_iter=max_iter,
            random_state=random_state,
        )
        self.base_target = base_target

    @property
    def coef_(self):
        """Present slopes in the units of X and y: (d,)."""
        return super().coef_[0]

    @property
    def intercept_(self):
        """Present intercept in the units of y."""
        return float(super().intercept_[0])

    @property
    def prior_coef_(self):
        """Slopes that a new task is expected to have: (d,)."""
        return super().prior_coef_[0]

    @property
    def prior_intercept_(self):
        """Intercept that a new task is expected to have."""
        return float(super().prior_intercept_[0])

    @property
    def noise_variance_(self):
        """Variance of the noise within tasks, in the squared units of y."""
        check_is_fitted(self)
        return float(self._noise * self._scaling.y_scale**2)

    def predict(self, X, return_std=False):
        """Predict with what is known of the task.

        Until adapted, this is the prediction for a new task, of which nothing is known,
        and not what was learned of a task of the meta-training. For a known task, adapt
        to its rows first; for many at once call :meth:`adapt_predict`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        return_std : bool, default=False
            Whether to return deviations too.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted targets.
        y_std : ndarray of shape (n_samples,)
            Only with ``return_std``: standard deviations of new targets, from the noise
            and from what is not known of the task's coefficients. Both variances are
            those of ``noise_variance_`` and ``covariance_``, freed of what maximum
            likelihood takes away where tasks or rows are few. Before adapting with
            ``zero_shot_`` "pooled" or "constant" the errors of held-out tasks about
            that prediction say how large they are.
        """
        X = self._validate_new(X)
        if not return_std:
            return self._decode(self._raw_outputs(X), X)
        self._warn_of_little()
        return self._decode(self._raw_outputs(X), X), self._deviation(X)[0]

    def predict_interval(self, X, coverage=0.9):
        """Predict intervals that hold a share of new targets.

        Their widths are quantiles of the errors on held-out tasks of the meta-training,
        in units of the predicted deviations, so that a coverage is measured and does
        not rest on the errors being normal: before adapting those of predictions
        without any row, after it those after about as many rows as were given, and
        where there are few of these, after any number. The fewer tasks there were to
        look at, the more widths are those of Student's t, whose degrees of freedom say
        how well spread and noise are known. With fewer than 5 tasks, or hardly more
        rows than coefficients, that is a guess, and a warning says so.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        coverage : float, default=0.9
            Share of targets that the intervals are to hold, over tasks and rows.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper ends.
        """
        X = self._validate_new(X)
        if not isinstance(coverage, Real) or not 0 < coverage < 1:
            raise ValueError(
                "coverage must be a number between 0 and 1, the share of new rows that "
                f"the intervals are to hold; got {coverage!r}."
            )
        self._warn_of_little()
        middle = self._decode(self._raw_outputs(X), X)
        deviation, freedom = self._deviation(X)
        half = deviation * calibration.width(
            self._levels, self._worth, coverage, self.n_adapt_rows_, freedom
        )
        return np.column_stack([middle - half, middle + half])

    def _warn_of_little(self):
        """Warn where neither deviations nor intervals can be trusted."""
        of_noise = self._freedom[1]
        if 1 < self.n_tasks_ < MIN_TASKS:
            warn(
                f"Deviations and intervals rest on {self.n_tasks_} tasks, which hardly "
                "show how much tasks differ: they may be far off, and too small rather "
                f"than too large. Fit the model to {MIN_TASKS} tasks or more.",
            )
        elif of_noise < MIN_FREEDOM:
            warn(
                "The rows that this model was fitted to are hardly more than its "
                "coefficients, and cannot tell the noise (they leave "
                f"{max(of_noise, 0.0):.1f} degrees of freedom): deviations and "
                "intervals may be far too small. Fit it to more rows, or to fewer "
                "columns.",
            )

    def _deviation(self, X):
        """Deviation (n,) of new targets in the user's units, and how well it is known.

        The second are degrees of freedom, by Satterthwaite's approximation.
        """
        scales, freedom = self._scales, self._freedom
        if self._start_variance is not None and not hasattr(self, "_posterior"):
            scales = self._start_variance
            freedom = np.full(2, max(self.n_tasks_ - 1.0, 1.0))

        def parts(_, J):
            J = J[:, 0]
            of_spread, of_noise = calibration.predictive_variances(
                self._first_factor, self._noise, self._present()[1], J
            )
            return np.column_stack([scales[0] * of_spread, scales[1] * of_noise])

        parts = self._in_chunks(parts, X)
        variance = parts.sum(axis=1)
        freedom = variance**2 / (parts**2 / np.maximum(freedom, 1.0)).sum(axis=1)
        return np.sqrt(variance) * self._scaling.y_scale, np.maximum(freedom, 1.0)

    @property
    def _first_factor(self):
        """What tasks vary by, before any row: of one task, before its own rows too."""
        return getattr(self, "_factor_of_one", self._prior_factor)

    def _base_target(self, X, y, weight, codes):
        n_tasks, sizes = codes.max() + 1, np.bincount(codes)
        # of a single row nothing is left once a prior has been adapted to it
        mostly_single = sizes[sizes > 1].sum() < len(y) / 2
        if self.base_target == "y" or n_tasks == 1 or mostly_single:
            return y
        first = clone(self).set_params(base_estimator=None, hidden_layer_sizes=())
        first._warn_of_far_values = lambda *_: None  # it has been said
        first.fit(X, y, weight, task=codes)
        left = y.copy()
        for task in range(n_tasks):
            rows = np.flatnonzero(codes == task)
            adapted = first.adapt(X[rows], y[rows], weight[rows])
            left[rows] -= adapted.predict(X[rows])
        return left

    # -- likelihood -------------------------------------------------------------------

    def _gather(self, parts):
        design, sizes = np.asarray, sizes_of(parts)
        if isinstance(parts, Parts):  # a long task is taken a block of rows at a time
            design, parts = parts.design, parts.undesigned()
        rows = ((X, Y[:, 0], weight) for X, Y, weight, _ in parts)
        return gaussian.gather(rows, self._shape[2], sizes, design, self._rounding)

    def _rounding(self, n_columns):
        """How far columns of a design are off by rounding, relative to their size."""
        scaling, (n_features, _, fit_intercept) = self._scaling, self._shape
        eps = np.finfo(np.float64).eps
        off = eps * (1.0 + np.abs(scaling.x_mean) / scaling.x_scale)
        n_learned = n_columns - n_features - fit_intercept
        learned = np.full(n_learned, np.finfo(np.float32).eps)
        return np.concatenate([learned, off, np.zeros(int(fit_intercept))])

    def _warn_of_what_is_not_told(self, tasks, chosen):
        structure = chosen.structure.inner
        labels = getattr(structure, "groups", np.arange(tasks.n_coefficients))
        varying = np.flatnonzero(labels != NONE)
        most = tasks.counts.max()
        if most > len(varying):
            return
        units = self._units_of_structures()
        A = np.eye(tasks.n_coefficients) if units is None else units
        alike = tasks.noise_alike(A[:, varying], labels[varying])
        if most > FEW_ROWS and alike > NOT_NOISE:
            return
        self._warn_not_told(most, len(varying))

    def _condition(self, mean, factor, part):
        X, Y, weight, _ = part
        return gaussian.condition(mean, factor, self._noise, X, Y[:, 0], weight)

    def _adapt_to(self, batch):
        # what the earlier rows said is all in the posterior, so that many rows may come
        # a block at a time
        belief = self._present_belief()
        for rows in slices(batch.X.shape[1], ADAPT_CELLS // len(belief[0])):
            belief = self._condition(*belief, self._rows_of(batch, rows))
        self._posterior = belief

    def _start_factor(self):
        return self._prior_factor

    def _to_measure(self, tasks, everything, parts, chosen, folds, rng):
        """All tasks, and the folds that errors are measured in.

        Each of few tasks is held out by itself, so that no draw decides. Of many, two
        halves of those that can tell are: they have a row to give and one to ask. Where
        there are not enough of them, they are filled up with others.
        """
        n = len(parts)
        if not folds:
            return everything, folds
        if n <= FEW_TASKS:
            held_out = [np.array([task]) for task in range(n)]
            kept = [np.delete(np.arange(n), task) for task in range(n)]
        elif n > MAX_TASKS:
            order = rng.permutation(n)
            tells = parts.sizes[order] > 1
            order = order[np.argsort(~tells, kind="stable")][:MAX_CALIBRATION]
            held_out = [np.sort(order[half::2]) for half in (0, 1)]
            kept = held_out[::-1]
        else:
            return everything, folds
        folds.clear()  # others take their place
        without = partial(
            fit_prior,
            structure=chosen.structure,
            numbers=chosen.prior.numbers,
            mean=chosen.prior.mean,
            tol=self.tol,
            max_iter=min(MAX_FOLD_ITER, self.max_iter),
            polish=False,
        )
        return everything, [
            Fold.of(
                parts.take(some), parts.take(others), without(everything.subset(some))
            )
            for some, others in zip(kept, held_out, strict=True)
        ]

    def _in_brief(self, tasks):
        known = calibration.known_variances(tasks, self._first_factor, self._noise)
        return Brief(tasks.pooled(), tasks.constant(), known)

    def _calibrate(self, tasks, folds, scores, rng):
        """Measure what the deviations and intervals are to be."""
        rng = rng or check_random_state(0)
        self._scales, self._freedom = tasks.variances
        self._start_variance, unseen = None, [self._held_out(f, rng) for f in folds]
        if self.zero_shot_ != "prior":
            self._start_variance = calibration.start_variance(unseen)
        self._levels, self._worth = calibration.interval_levels(
            unseen, self._start_variance, rng
        )

    def _held_out(self, fold, rng):
        """Tasks held out, and what those kept say of them before any row."""
        kept, prior = self._gather(fold.kept), fold.prior
        start = prior.mean
        if self.zero_shot_ != "prior":
            start = getattr(kept, self.zero_shot_)()
        scales, _ = calibration.known_variances(kept, prior.factor, prior.noise)
        tasks = [calibration.some_rows(rows, rng) for rows in fold.held_out]
        return calibration.HeldOut(prior, start, scales, tasks)

    def _feature_target(self, table):
        return table

    def _feature_head(self, table, prior):
        return episodic.Belief(prior.mean[:, None], prior.factor, prior.noise)

    def _use_features(self, table, chosen, found, seed):
        """Put learned features in place if they pay.

        Returns tasks and folds in their columns, scores of how to predict, and the
        number of iterations; None if they do not pay.
        """
        if not found.pays:
            return None
        folds = []
        for fold, (learner, state) in zip(found.folds, found.of_folds(), strict=True):
            parts = self._parts_of(table, learner, state.theta)
            kept, held_out = (parts.take(some) for some in fold[:2])
            folds.append(Fold(kept, held_out, learner.belief(state).of_one_output()))
        learner, state = found.of_all(self._feature_head(table, chosen.prior))
        self._set_network(learner.network, state.theta)
        belief = learner.belief(state).of_one_output()
        self._prior_mean, self._prior_factor, self._noise = belief
        tasks = self._gather(self._parts(table))
        evidence = tasks.held_out_score(belief, None)
        self.log_marginal_likelihood_ = float(evidence.sum())
        return tasks, folds, 0, found.n_iter

    def _information(self, pool):
        _, factor = self._present_belief()
        return np.ones((pool.shape[0], 1, 1)), factor / np.sqrt(self._noise)


class EmpiricalBayesClassifier(
    FewShotScoreMixin, ClassificationTargets, ClassifierMixin, BaseEmpiricalBayes
):
    r"""Logistic classifier that learns from many tasks how much tasks differ.

    The coefficients of a task are drawn from a normal distribution that is learned from
    all tasks: where a new one should start, and how far each coefficient may move.
    Adapting finds the task's posterior by Newton's method; a task of one row, or of one
    class only, is an ordinary task. Probabilities are averaged over what is still
    uncertain.

    Parameters
    ----------
    prior : {"auto", "intercept", "isotropic", "diagonal", "low_rank", "full"}, default="auto"
        What differs between tasks, as the structure of the prior's covariance.
        "intercept": only the offsets, of each class by an amount of its own; the slopes
        are pooled. "isotropic": all slopes equally, and the offsets. "diagonal": the
        slopes of each feature by an amount of its own, and the offsets. "low_rank":
        together along a few directions, and each a little by itself. "full": any
        covariance, with correlations drawn towards zero as by one further uncorrelated
        task per coefficient. "auto" is the simplest one within half a standard error of
        the best log-loss on held-out tasks after a few rows, in 5 folds; with more than
        two classes or 60 coefficients up to "diagonal", with both "intercept"; with
        fewer than 5 tasks, or fewer than 3 rows per number to be learned, up to
        "isotropic".
    hidden_layer_sizes : int or array-like of int, default=()
        Units of the hidden layers of a network whose outputs are further columns beside
        X: features that all tasks share, learned for the posterior to use. They are
        used only where held-out tasks gain by them beyond doubt, in log-loss; else, and
        with fewer than 5 tasks, the model is the linear one. ``()`` is a linear model.
    n_components : int, default=16
        Number of learned features: units of the network's last layer, which is linear.
    activation : {"tanh", "relu"}, default="tanh"
        Of the hidden layers.
    layer_norm : bool, default=False
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    learning_rate : float, default=1e-3
        Rate of Adam for the network: constant for half of the run, then falling
        linearly to 0.
    support_size : int or tuple (low, high), default=(1, 20)
        Rows that are given of each task in a meta-iteration: a number, or a range to
        draw it from. The features are learned by the loss of other rows.
    meta_batch_size : int, default=25
        Tasks per meta-iteration.
    base_estimator : estimator, default=None
        Any classifier of scikit-learn. It is fitted on the rows of all tasks together,
        and the learned prior is that of its correction per task. What is left to
        correct in training are errors on tasks that a clone of it has not seen, in 5
        folds of tasks; those also tell how far its log-odds can be believed
        (``base_scale_``). It gets sample weights if its ``fit`` takes them, the tasks as
        groups of folds inside it, and seeds from an integer ``random_state``.
    fit_intercept : bool, default=True
        Whether there is an offset. Without one the origin keeps its meaning: X are
        scaled and not centred. For rows that are differences of two offers.
    standardize : bool, default=True
        Whether what differs between tasks is said of standardised columns, by mean and
        deviation of all meta-training rows, or, with False, of coefficients in the
        units of X: "isotropic" then gives these one spread in common, and intercepts
        are those at X = 0. X is standardised inside in any case, so that units do no
        harm. A sparse X gives the model of a dense one, and stays
        sparse.
    tol : float, default=1e-4
        Tolerance of the search for the prior: largest slope of the log evidence of all
        tasks together, in units of the root of their number, which is what chance
        leaves.
    max_iter : int, default=1000
        Most iterations of a search; with hidden layers also the meta-iterations of a
        run.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds, and of the rows that calibrate intervals.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    prior_coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Slopes that a new task is expected to have, in the units of X; with
        ``base_estimator``, as all that follow, those of its correction. Of two classes
        those of ``classes_[1]``. Coefficients are those of a linear model only.
    prior_intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts that a new task is expected to have.
    prior_covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance between tasks of the coefficients: class by class the slopes and,
        last, the intercept.
    prior_structure_ : str
        The structure asked for, or chosen.
    prior_rank_ : int
        Only with "low_rank": the number of directions.
    log_marginal_likelihood_ : float
        Log probability of all labels under the learned prior, by Laplace's method; for
        two classes by quadrature where only the intercept varies, and for tasks of one
        row.
    moderation_ : float
        Share of the posterior's variance that probabilities of an adapted model are
        averaged over: the mean of 1, 0.75, 0.5, 0.25 and 0, weighted by how well each
        of them predicts held-out tasks after a few rows. A normal posterior is too wide
        where the rows given are all of one class, and too narrow where rows are not
        independent. Before adapting, the whole prior is averaged over.
    zero_shot_ : {"prior", "pooled", "constant"}
        What predicts before adapting: the prior, the fit to all rows as one task, or
        the frequencies of the classes; the best for held-out tasks.
    coef_, intercept_ : ndarray
        Present coefficients: the mode of the task's posterior once adapted.
    covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        Covariance of the present coefficients, laid out as ``prior_covariance_``.
    coefs_, intercepts_ : list of ndarray
        Only with learned features: weights (fan_in, fan_out) and biases (fan_out,) of
        the network's layers, on standardised data.
    n_feature_iter_ : int
        Only with hidden layers: the meta-iterations that served held-out tasks best; 0
        if features do not pay, and this is the linear model.
    validation_scores_ : list of float
        Only with hidden layers: mean log density of unseen rows of held-out tasks in
        the course of the runs, first that of a linear one; labels are taken as numbers.
    base_estimator_ : estimator
        Only with ``base_estimator``: the base model, fitted on all rows. Adapted copies
        share it.
    base_scale_ : float
        Only with ``base_estimator``: what its log-odds (or log-probabilities) are
        multiplied by, from 0 to 2, learned from tasks it has not seen. Below 1 it was
        too sure of itself, or a model linear in X says the same.
    n_tasks_ : int
        Tasks seen in meta-training.
    n_iter_ : int
        Iterations of the last search.
    n_adapt_rows_ : int
        Rows that the model is adapted to.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where fit has seen names.

    See Also
    --------
    EmpiricalBayesRegressor : The same for numbers.
    ReptileClassifier : A start learned by gradient steps, also for networks and for
        tasks with labels of their own.

    Notes
    -----
    The prior maximises the Laplace approximation of the log marginal likelihood itself,
    with its exact gradient. EM about posterior modes, which is simpler, finds spreads
    several times too small. A task of one row has an integral over its logits instead,
    and so have, of two classes, all tasks if only the intercept varies: Laplace's
    method takes them for less different than they are, and many of them would draw the
    spread to zero.

    The posterior is not normal, so an adapted model keeps the rows it has seen and
    meets them all again from the prior at each :meth:`partial_adapt`. That makes the
    result independent of their order and portions, to the tolerance of Newton's method.

    With ``hidden_layer_sizes`` a row is :math:`\psi(x) = [z(x), x, 1]`, z being the
    learned features. A run begins with the linear prior and small random features, and
    lowers minus the log density of some rows of a task given others,

    .. math:: \log p(y_q \mid y_s) = \log p(y_s, y_q) - \log p(y_s),

    a difference of two evidences, with its full gradient through the solve. With the
    network it learns the mean of the coefficients, a scale for each feature and for
    each direction of the linear prior, and the noise. Labels less their base
    probabilities are taken as numbers for that (Bertinetto et al., 2019); then the mean
    and one spread common to all features are learned by Laplace's method, beside the
    linear prior. Runs without the tasks of each of 5 folds tell for how long to learn;
    features are used if held-out tasks gain by more than two standard errors in
    log-loss. From 2,000 tasks on a
    single run without 200 of them takes the place of the folds. Without an intercept
    no unit has an offset, so that features of ``activation="tanh"`` are odd.

    A sample weight of 2 is a row that is there twice: halving all weights halves what
    the data say, and a mean weight far below 1 is warned of. Features up to a hundred are meant, and a few classes: a fit takes
    time with the cube of their product.

    Rows are taken as independent. The pairs of offers into which one choice among many
    is turned are not: give each a ``sample_weight`` below 1, see the documentation.

    References
    ----------
    N. E. Breslow, D. G. Clayton, "Approximate Inference in Generalized Linear Mixed
    Models", Journal of the American Statistical Association 88(421), 1993.

    D. J. C. MacKay, "The Evidence Framework Applied to Classification Networks", Neural
    Computation 4(5), 1992.

    L. Bertinetto, J. F. Henriques, P. Torr, A. Vedaldi, "Meta-learning with
    differentiable closed-form solvers", ICLR 2019 (learned features).

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

    task_classes = "shared"

    def predict_proba(self, X):
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``, averaged over what is not known of the task's
            coefficients.
        """
        scores = self._scores(self._validate_new(X))
        if len(self.classes_) == 2:
            return expit(np.hstack([-scores, scores]))
        return np.exp(scores)

    def decision_function(self, X):
        """Compute log-odds, or log-probabilities of more than two classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Those of the averaged probabilities; of two classes the log-odds of
            ``classes_[1]``.
        """
        scores = self._scores(self._validate_new(X))
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """Predict the most probable class.

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
            Predicted labels.
        """
        scores = self.decision_function(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[index]

    def _scores(self, X):
        """Log-odds (n, 1) or log-probabilities (n, classes) for validated X."""
        if len(self.classes_) == 1:
            return np.zeros((X.shape[0], 1))
        # how far the posterior is from normal is no matter before there is one
        root = np.sqrt(self.moderation_) if hasattr(self, "_posterior") else 1.0

        def scores(X, factor):
            return self._likelihood.predictive_scores(self._logits(X), root * factor)

        return self._in_chunks(scores, X)

    def _logits(self, X, mean=None):
        Z, base = self._raw_outputs(X, mean), self._base_offset(X)
        return Z if base is None else Z + base

    # -- likelihood -------------------------------------------------------------------

    @property
    def _likelihood(self):
        return of_labels(self._shape[1])

    def _gather(self, parts):
        return laplace.LaplaceTasks.gather(parts, self._likelihood, self._shape[2])

    def _warn_of_what_is_not_told(self, tasks, chosen):
        # of more rows than one labels tell how much tasks differ: they have no noise
        most = np.max(sizes_of(tasks.parts))
        if most == 1:
            varying = chosen.structure.factor(np.ones_like(chosen.prior.numbers))
            self._warn_not_told(1, int(varying.any(axis=1).sum()))

    def _condition(self, mean, factor, part):
        stack = Stack(*(field[None] for field in part))
        theta, factor = laplace.condition(self._likelihood, mean, factor, stack)
        return theta[0], factor[0]

    def _adapt_to(self, batch):
        # The posterior is not normal: only all rows together, met from the prior, make
        # the answer independent of the order and the portions in which they came.
        rows = self._rows_of(batch)
        if hasattr(self, "_rows"):
            rows = tuple(map(np.concatenate, zip(self._rows, rows, strict=True)))
        self._rows = rows
        prior = self._prior_mean, self._prior_factor
        with explaining_singular(rows[2]):
            self._posterior = self._condition(*prior, rows)

    def _start_factor(self):
        # of a fit to all rows, as good as certain; the spread is the prior's
        return np.zeros_like(self._prior_factor)

    def _calibrate(self, tasks, folds, scores, rng):
        # without a task held out, Laplace's posterior is taken at its word
        self.moderation_ = moderation(scores) if folds else 1.0

    def _feature_target(self, table):
        """The table with numbers to learn features by: labels less probabilities."""
        offset = table.offset
        if offset is None:
            offset = np.zeros_like(table.Y)
        left = table.Y - self._likelihood.mean(offset)
        return replace(table, Y=left, offset=None)

    def _feature_head(self, table, prior):
        """A linear head for labels taken as numbers, to begin with."""
        n_outputs = table.Y.shape[1]
        X = self._design(table.X)
        mean = np.linalg.lstsq(X, table.Y, rcond=None)[0]
        noise = max(np.mean((table.Y - X @ mean) ** 2), 1e-3)
        # a logit is worth a quarter of a probability
        variance = np.diag(prior.covariance).reshape(n_outputs, -1).mean(axis=0) / 16
        return episodic.Belief(mean, np.diag(np.sqrt(variance)), noise)

    def _use_features(self, table, chosen, found, seed):
        """The same, judged by the log-loss of logistic heads."""
        if found.best == 0:
            return None
        folds, scores = [], np.empty((len(self._likelihood.moderations), 0))
        for fold, (learner, state) in zip(found.folds, found.of_folds(), strict=True):
            theta = learner.with_unit_scales(state)
            parts = self._parts_of(table, learner, theta)
            held_out = parts.take(fold.held_out)
            rng = np.random.default_rng(seed)
            some = np.sort(rng.permutation(fold.kept)[:MAX_TASKS])
            kept = parts.take(some)
            prior = self._prior_beside(chosen.prior, kept, FEW_ITER)
            folds.append(Fold.of(kept, held_out, prior))
            score = self._gather(held_out).held_out_score(prior, seed)
            scores = np.hstack([scores, score])
            option = int(scores.sum(axis=1).argmax())
            gain = scores[option] - chosen.score[: scores.shape[1]]
            if features.surely_better(-gain):  # the folds to come will not turn it
                return None
        if not features.surely_better(gain):
            return None
        target = self._feature_target(table)
        learner, state = found.of_all(self._feature_head(target, chosen.prior))
        self._set_network(learner.network, learner.with_unit_scales(state))
        parts = self._parts(table)
        self._keep(self._prior_beside(chosen.prior, parts), chosen.name)
        return self._gather(parts), folds, scores, found.n_iter

    def _prior_beside(self, linear, parts, max_iter=np.inf):
        """A prior with learned features, of one spread, beside what a linear one says.

        Only that spread and the mean are new.
        """
        tasks = self._gather(parts)
        n_columns, n_outputs = parts[0][0].shape[1], self._shape[1]
        new = np.ones((n_outputs, n_columns), dtype=bool)
        new[:, self.n_components :] = False
        new = new.ravel()
        mean = np.zeros(len(new))
        mean[~new] = linear.mean
        known = np.zeros((len(new), linear.spread.shape[1]))
        known[~new] = linear.spread
        return fit_prior(
            tasks,
            Beside(new, known),
            np.ones(1),
            mean,
            tol=self.tol,
            max_iter=min(max_iter, self.max_iter),
        )

    def _information(self, pool):
        mean, factor = self._present_belief()
        mu = self._likelihood.mean(self._logits(pool, mean))
        return self._likelihood.root_curvature(mu), factor
