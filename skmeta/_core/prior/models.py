"""Two kinds of models of a task's targets, and what learning a prior asks of them.

`GaussianModel` is for numbers with Gaussian noise, where everything is exact, and
`noise_model.NoiseModel` for numbers whose noise differs between tasks.
`LaplaceModel` is for any other likelihood: posteriors are normal about their mode.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln
from scipy.stats import norm

from skmeta._core.prior import calibration, episodic, features, gaussian, laplace
from skmeta._core.prior.calibration import FoldRows, KnownVariances, ToMeasure
from skmeta._core.prior.draws import draw_together
from skmeta._core.prior.episodic import Belief
from skmeta._core.prior.fit import fit_prior
from skmeta._core.prior.gaussian import ROWS_PER_COEFFICIENT, GaussianTasks
from skmeta._core.prior.half_life import N_NEXT, choose_half_life
from skmeta._core.prior.laplace import LaplaceTasks
from skmeta._core.prior.learned import Present, SeenRows
from skmeta._core.prior.likelihoods import Likelihood
from skmeta._core.prior.mean_slopes import with_slopes_deviation
from skmeta._core.prior.moderation import moderation
from skmeta._core.prior.noise import RowTriangle
from skmeta._core.prior.packed import PackedTasks
from skmeta._core.prior.recency import Recency
from skmeta._core.prior.search import MAX_FOLD_ITER, MAX_TASKS, start_of
from skmeta._core.prior.stacks import Stack
from skmeta._core.prior.structures import NONE, Beside
from skmeta._core.tasks import Parts, are_many, sizes_of, slices

# Rows are conditioned on in blocks of about this many numbers.
ADAPT_CELLS = 2**16
# With at most this many tasks, each one is held out by itself to measure errors.
FEW_TASKS = 20
# The errors of at most this many tasks are measured.
MAX_MEASURED = 500
# A head is searched for with this many iterations to find out whether features pay.
FEATURE_ITER = 12
# Spread and noise can be separated only if more than this share of the noise cannot be
# explained by any spread, ...
LEAST_UNEXPLAINED = 0.01
# ... and if some task has more rows than this.
CHANCE_ROWS = 2
# Degrees of freedom of the size of errors in a task, where base models are compared.
FREEDOM_OF_TASK = 4.0
# Lower limit for the estimated noise variance of a linear head.
LEAST_NOISE = 1e-3


class TaskModel(ABC):
    """The distribution of a task's targets, given its coefficients.

    ``parts`` are the rows of each task as (X, Y, weight, offset), with X in the columns
    of a `Design`; ``tasks`` is what `gather` makes of them.

    Attributes
    ----------
    rows_per_coefficient : int
        With fewer rows in all, the slopes of the mean are drawn to zero.
    weight_is_exposure : bool
        See `Likelihood`.
    scores_have_tails : bool
        Whether `scores_of_next` may be so low for some tasks that they would decide for
        all.
    recency : Recency or None
        How old rows count, if the rows of a task are in order of time. None if their
        order means nothing.
    """

    rows_per_coefficient = 0
    weight_is_exposure = False
    scores_have_tails = False
    recency = None

    def as_kind_of(self, model):
        """A model that has learned nothing, of the kind that held-out tasks chose."""
        return model

    def log_normaliser(self, table):
        """What the log evidence of the tasks in a table lacks, as standardised."""
        return 0.0

    def prepared(self, table):
        """The model and the table of all tasks in the form that `learn` works with."""
        return self, table

    def finished(self, learned):
        """What has been learned, in the form that is kept."""
        return learned

    def n_vectors(self, table):
        """How many vectors of coefficients the rows of a table have."""
        return table.Y.shape[1]

    @abstractmethod
    def gather(self, parts, design):
        """Tasks as a search for the prior meets them: evidence, losses, scores."""

    def learn_slopes(self, tasks, shape, units):
        """The model and its tasks, when they know how large slopes of the mean are."""
        return self, tasks

    @abstractmethod
    def posterior(self, mean, factor, noise, rows):
        """Mean (P,) and factor (P, r) of a task's coefficients after some rows."""

    @abstractmethod
    def condition(self, learned, rows, present):
        """See `LearnedPrior.condition`."""

    @abstractmethod
    def scores_of_next(self, rows, design, prior, cuts, recencies):
        """How well the next rows of a held-out task are predicted: (R,).

        ``rows`` are in order of time, ``cuts`` the numbers of rows that are known, and
        ``recencies`` R ways to count them. The more the better.
        """

    def learn_half_life(self, learned, measured):
        """The prior and the `ToMeasure` with a half-life by held-out tasks."""
        if self.recency is None or self.recency.half_life is not None:
            return learned, measured
        recency = choose_half_life(self, learned.design, measured.folds)
        model = replace(self, recency=recency)
        learned = replace(learned, model=model)
        return learned, model.measured_again(learned, measured)

    def measured_again(self, learned, measured):
        """The `ToMeasure` if old rows count less than when it was made."""
        return measured

    @abstractmethod
    def start_factor(self, factor):
        """Covariance factor (P, r) of a start other than the prior."""

    @abstractmethod
    def not_told(self, tasks, chosen, units):
        """(rows, coefficients) if rows do not separate spread from noise, else None.

        See `LearnedPrior.not_told`.
        """

    def choose_noise(self, search, chosen, options):
        """The model and the `Candidate` after held-out tasks chose the kind of noise.

        ``chosen`` is the best candidate of a `StructureSearch` with one noise for all.
        """
        return self, chosen

    def learn_noise(self, tasks, chosen, options):
        """The model and the `Candidate` after the noise of all tasks is learned."""
        return self, chosen

    def noise_levels(self, present):
        """Factors of the noise variance, and how probable each of them is."""
        return np.ones(1), np.ones(1)

    def to_measure(self, measured, everything, parts, chosen, options, rng):
        """The `ToMeasure` of a linear model.

        ``measured`` is about the tasks and folds that the structure was chosen with,
        and ``everything`` are all tasks, gathered from ``parts``.
        """
        return measured

    def in_brief(self, tasks, learned):
        """What is kept of all tasks while errors on the folds are measured."""
        return tasks

    @abstractmethod
    def calibrate(self, learned, measured, rng):
        """How large errors are, by a `ToMeasure` whose tasks are `in_brief`."""

    @abstractmethod
    def predictive(self, learned, Z, moved, present):
        """The predictive distribution of rows with outputs Z (n, o).

        The outputs vary by ``moved`` (n, o, r) times standard normal numbers.
        """

    @abstractmethod
    def draw(self, learned, Z, moved, present, n_draws, rng):
        """Targets (n_draws, n, o), drawn from the predictive distribution.

        The rows of a draw have the same coefficients.
        """

    def log_score_before(self, losses):
        """Scores (T,) of tasks before adapting, by what the tasks lose then."""
        return -losses

    @abstractmethod
    def log_score_after(self, learned, prior, given, asked):
        """The mean score of the rows asked for, after the rows given, of tasks: (T,).

        ``prior`` is a `Belief` about each task before any row. ``given`` and ``asked``
        are `Stack` objects in the columns of a design.
        """

    @abstractmethod
    def root_information(self, Z):
        """Square root (n, o, o) of the information in targets about outputs Z."""

    @abstractmethod
    def feature_target(self, table):
        """The table with targets that are numbers, to learn features by."""

    @abstractmethod
    def feature_head(self, table, prior, design):
        """The linear `Belief` about such numbers that learning features begins with."""

    @abstractmethod
    def judge_features(self, learned, table, chosen, found, head, seed, options):
        """Put learned features in use if they pay.

        Parameters
        ----------
        learned : LearnedPrior
            The linear model.
        table : TaskTable
        chosen : Candidate
            The fit and the scores of the linear model.
        found : FeatureSearch
        head : callable
            Makes the `feature_head` of all tasks.
        seed : int
            Of the draws that ``chosen`` was scored by.
        options : Options

        Returns
        -------
        learned : LearnedPrior
            The model with features.
        measured : ToMeasure
            In the columns of the features. Both are None if features do not pay.
        """


# -- numbers --------------------------------------------------------------------------


@dataclass(frozen=True)
class GaussianModel(TaskModel):
    """Numbers with Gaussian noise: conditioning is exact, in any portions of rows."""

    recency: Recency | None = None

    rows_per_coefficient = ROWS_PER_COEFFICIENT

    def as_kind_of(self, model):
        return GaussianModel()

    def gather(self, parts, design):
        if are_many(parts):
            return PackedTasks.gather(
                parts, design.fit_intercept, design.rounding, design.varying
            )
        columns, sizes = np.asarray, sizes_of(parts)
        if isinstance(parts, Parts):  # a long task is taken a block of rows at a time
            columns, parts = parts.design, parts.undesigned()
        rows = ((X, Y[:, 0], weight) for X, Y, weight, _ in parts)
        return GaussianTasks.gather(
            rows,
            design.fit_intercept,
            sizes,
            columns,
            design.rounding,
            design.varying,
        )

    def posterior(self, mean, factor, noise, rows):
        X, Y, weight, _ = rows
        return gaussian.condition(mean, factor, noise, X, Y[:, 0], weight)

    def condition(self, learned, rows, present):
        if self.recency is not None and self.recency.forgets:
            return self._condition_anew(learned, rows, present)
        # the posterior holds all that earlier rows said, so blocks of rows will do
        mean, factor = learned.known(present)[:2]
        for some in slices(len(rows.Y), ADAPT_CELLS // len(mean)):
            part = SeenRows(*(field[some] for field in rows))
            part = part._replace(X=learned.design(part.X))
            mean, factor = self.posterior(mean, factor, learned.noise, part)
        return Present(mean, factor)

    def _condition_anew(self, learned, rows, present):
        """The same from what all rows tell, some of which may count less by now."""
        return self.after(learned, RowTriangle.of(rows, learned.design, present))

    def hear(self, learned, told, present):
        """What is known about a task after further rows, as a `RowTriangle`."""
        mean, factor = learned.known(present)[:2]
        X, y = told.table[:, :-1], told.table[:, -1]
        return Present(
            *gaussian.condition(mean, factor, learned.noise, X, y, np.ones(len(y)))
        )

    def after(self, learned, told):
        """What is known about a task of which a `RowTriangle` tells everything."""
        mean, factor = gaussian.condition(
            learned.mean,
            learned.factor,
            learned.noise,
            told.table[:, :-1],
            told.table[:, -1],
            np.ones(len(told.table)),
        )
        return Present(mean, factor, told)

    def scores_of_next(self, rows, design, prior, cuts, recencies):
        """See `TaskModel`: minus the root mean squared error, in deviations of noise.

        It is about what the model itself would predict, since the coefficients are
        those of one noise for all tasks. All cuts and ways are solved together.
        """
        X, y, weight = rows[0], rows[1][:, 0], rows[2]
        root = np.sqrt(self.mean_noise(prior))
        Z, error = X @ prior.factor / root, (y - X @ prior.mean) / root
        n_given, r = cuts[:, None], Z.shape[1]
        counted = np.concatenate(
            [
                one.in_columns(design.n_learned).given(X, weight, n_given)
                for one in recencies
            ]
        )
        squares = (Z[:, :, None] * Z[:, None, :]).reshape(len(Z), -1)
        precision = (counted @ squares).reshape(-1, r, r) + np.eye(r)
        u = np.linalg.solve(precision, (counted @ (Z * error[:, None]))[..., None])
        u = u.reshape(len(recencies), len(cuts), r)
        left = error - u @ Z.T
        place = np.arange(len(y))
        asked = weight * ((place >= n_given) & (place < n_given + N_NEXT))
        asked = asked / asked.sum(axis=1, keepdims=True)
        return -np.sqrt(np.einsum("hcn,cn->h", left**2, asked) / len(cuts))

    def mean_noise(self, prior):
        """The variance of the noise that a `Belief` has, averaged over tasks."""
        return prior.noise

    def start_factor(self, factor):
        return factor

    def not_told(self, tasks, chosen, units):
        structure, n_varying = chosen.structure.inner, chosen.structure.n_varying
        labels = getattr(structure, "groups", np.arange(n_varying))
        varying = np.flatnonzero(labels != NONE)
        most = tasks.counts.max()
        if most > len(varying):
            return None
        A = np.eye(tasks.n_coefficients) if units is None else units
        A = A[:, tasks.varying]
        unexplained = tasks.unexplained_noise(A[:, varying], labels[varying])
        if most > CHANCE_ROWS and unexplained > LEAST_UNEXPLAINED:
            return None
        return int(most), len(varying)

    def to_measure(self, measured, everything, parts, chosen, options, rng):
        """All tasks, and the folds that errors are measured in.

        If there are few tasks, each is held out by itself, so that no draw decides. If
        there are many, two halves of some of them are held out. Tasks come first that
        have a row to give and one to ask for; others fill up the number.
        """
        n = len(parts)
        measured = measured._replace(tasks=everything)
        if not measured.folds:
            return measured
        if n <= FEW_TASKS:
            held_out = [np.array([task]) for task in range(n)]
            kept = [np.delete(np.arange(n), task) for task in range(n)]
        elif n > MAX_TASKS:
            order = rng.permutation(n)
            tells = parts.sizes[order] > 1
            order = order[np.argsort(~tells, kind="stable")][:MAX_MEASURED]
            held_out = [np.sort(order[half::2]) for half in (0, 1)]
            kept = held_out[::-1]
        else:
            return measured
        folds = [
            FoldRows.of(
                parts.take(some),
                parts.take(others),
                self.fit_without(everything.subset(some), chosen, options),
            )
            for some, others in zip(kept, held_out, strict=True)
        ]
        return measured._replace(folds=folds)

    def fit_without(self, tasks, chosen, options):
        """The prior of all but a few tasks; the search begins at that of all."""
        return fit_prior(
            tasks,
            chosen.structure,
            chosen.prior.numbers,
            chosen.prior.mean,
            tol=options.tol,
            max_iter=min(MAX_FOLD_ITER, options.max_iter),
            polish=False,
        )

    def in_brief(self, tasks, learned):
        counted = self._counted(tasks.to_count(), self._belief(learned))
        factor = learned.design.without_shared(learned.first_factor)
        return calibration.in_brief(tasks, counted, factor, learned.noise)

    def _belief(self, learned):
        """What is believed of a new task before any row."""
        return Belief(learned.mean, learned.factor, learned.noise)

    def calibrate(self, learned, measured, rng):
        after, variance = measured.tasks.variances, None
        unseen = [self._held_out(learned, fold, rng) for fold in measured.folds]
        before = after
        if learned.zero_shot != "prior":
            variance = calibration.start_variance(unseen)
            freedom = np.full(2, max(measured.tasks.n_tasks - 1.0, 1.0))
            before = KnownVariances(np.array(variance), freedom)
        asking = calibration.AT_RANDOM if self.recency is None else calibration.IN_TIME
        # sums of rows do not show how errors of single rows are distributed
        single = [fold for fold in unseen if fold.n_rows is None]
        found = calibration.interval_levels(single, variance, rng, asking)
        return calibration.Calibration(before, after, *found, asking.edges)

    def _held_out(self, learned, fold, rng):
        """Tasks held out, and what those kept say of them before any row."""
        kept, prior = self.gather(fold.kept, learned.design), fold.prior
        start = prior.mean
        if learned.zero_shot != "prior":
            start = start_of(kept, learned.zero_shot)
        varying = learned.design.without_shared(prior.factor)
        counted = self._counted(kept, prior)
        scales, _ = calibration.known_variances(counted, varying, prior.noise)
        recency = self.recency
        if recency is not None:
            recency = recency.in_columns(learned.design.n_learned)
        tasks, n_rows = calibration.rows_of_tasks(fold.held_out, rng, recency)
        return calibration.HeldOut(prior, start, scales, tasks, recency, n_rows)

    def _counted(self, tasks, prior):
        """The tasks as they count for degrees of freedom."""
        return tasks

    def predictive(self, learned, Z, moved, present):
        """Mean, deviation and degrees of freedom of new targets: (n, 3).

        The last say how well the deviation is known, by Satterthwaite's approximation.
        """
        scales, freedom = learned.calibration.of(present)
        parts = calibration.predictive_variances(
            learned.first_factor,
            learned.noise,
            learned.predicting(present).factor,
            moved[:, 0],
        )
        parts = np.column_stack(parts) * scales
        variance = parts.sum(axis=1)
        freedom = variance**2 / (parts**2 / np.maximum(freedom, 1.0)).sum(axis=1)
        return np.column_stack([Z, np.sqrt(variance), np.maximum(freedom, 1.0)])

    def interval(self, learned, Z, moved, present, coverage, n_rows):
        """Mean and half the width of an interval, after ``n_rows`` rows: (n, 2)."""
        mean, deviation, freedom = self.predictive(learned, Z, moved, present).T
        half = learned.calibration.half_width(coverage, n_rows, freedom)
        return np.column_stack([mean, half * deviation])

    def log_density(self, learned, Z, moved, present, y):
        """Log density of new targets y (n,)."""
        mean, deviation, _ = self.predictive(learned, Z, moved, present).T
        return norm.logpdf(y, mean, deviation)

    def draw(self, learned, Z, moved, present, n_draws, rng):
        _, deviation, _ = self.predictive(learned, Z, moved, present).T
        own = learned.calibration.of(present).scales[1] * learned.noise
        drawn = draw_together(moved[:, 0], deviation**2, own, n_draws, rng)
        return (Z[:, 0] + drawn)[..., None]

    def log_score_before(self, losses):
        # the losses are root mean squares of errors, taken for normal of one variance
        squares = losses**2
        variance = max(np.nanmean(squares), np.finfo(float).tiny)
        return -0.5 * (np.log(2 * np.pi * variance) + squares / variance)

    def log_score_after(self, learned, prior, given, asked):
        """The log density of the rows, as if the size of errors varied between tasks.

        In each task the variances are multiplied by one number, of which little is
        known. It has an inverse gamma distribution, so that the rows together have
        Student's t. Without it a few tasks with large errors would decide alone.
        """
        n, y, v = len(given.X), asked.Y[..., 0], FREEDOM_OF_TASK
        mean, factor = gaussian.condition(
            np.broadcast_to(prior.mean, (n, *prior.mean.shape)),
            np.broadcast_to(prior.factor, (n, *prior.factor.shape)),
            prior.noise,
            given.X,
            given.Y[..., 0],
            given.weight,
        )
        is_row = asked.weight > 0
        weight, m = np.where(is_row, asked.weight, 1.0), is_row.sum(axis=1)
        variance = ((asked.X @ factor) ** 2).sum(axis=-1) + prior.noise / weight
        square = (y - (asked.X @ mean[..., None])[..., 0]) ** 2 / variance
        square, log_det = (
            np.where(is_row, of_row, 0.0).sum(axis=1)
            for of_row in (square, np.log(variance))
        )
        constant = (
            gammaln(0.5 * (v + m)) - gammaln(0.5 * v) - 0.5 * m * np.log(np.pi * v)
        )
        shape = -0.5 * (v + m) * np.log1p(square / v)
        return (constant + shape - 0.5 * log_det) / m

    def root_information(self, Z):
        return np.ones((len(Z), 1, 1))

    def feature_target(self, table):
        return table

    def feature_head(self, table, prior, design):
        factor = prior.factor_of(design.varying)
        return episodic.Belief(prior.mean[:, None], factor, prior.noise)

    def judge_features(self, learned, table, chosen, found, head, seed, options):
        """See `TaskModel`; both density and error of unseen rows must be better."""
        if not found.pays:
            return None, None
        folds = []
        for fold, (learner, state) in zip(found.folds, found.of_folds(), strict=True):
            design = learned.design.with_features(learner.network, state.theta)
            parts = design.parts(table)
            kept, held_out = parts.take(fold.kept), parts.take(fold.held_out)
            belief = self._with_shared(learner.belief(state), chosen.prior, learned)
            folds.append(FoldRows(kept, held_out, belief))
        learner, state = found.of_all(head())
        design = learned.design.with_features(learner.network, state.theta)
        belief = self._with_shared(learner.belief(state), chosen.prior, learned)
        tasks = self.gather(design.parts(table), design)
        nowhere = np.zeros((design.n_learned, learned.unseen.shape[1]))
        learned = replace(
            learned,
            design=design,
            mean=belief.mean,
            factor=belief.factor,
            first_factor=belief.factor,
            spread=design.without_shared(belief.factor),
            unseen=np.concatenate([nowhere, learned.unseen]),
            noise=belief.noise,
            log_evidence=float(tasks.log_evidence(belief).sum()),
        )
        return learned, ToMeasure(tasks, folds, None)

    @staticmethod
    def _with_shared(belief, linear, learned):
        """A belief of one output, with the error of the shared slopes' mean.

        A run that learns features leaves this error as ``linear`` has it.
        """
        shared = ~learned.design.varying
        error = np.zeros((len(belief.factor), shared.sum()))
        error[-len(shared) :] = linear.error_of(shared)
        factor = np.hstack([belief.factor, error])
        return belief.of_one_output()._replace(factor=factor)


# -- other likelihoods ----------------------------------------------------------------


@dataclass(frozen=True)
class LaplaceModel(TaskModel):
    """Targets of any likelihood: the posterior is taken for normal about its mode."""

    likelihood: Likelihood
    recency: Recency | None = None

    scores_have_tails = True

    @property
    def weight_is_exposure(self):
        return self.likelihood.weight_is_exposure

    @property
    def feature_unit(self):
        """Learned features are about targets in this unit, which may be of any size."""
        return self.likelihood.information if self.likelihood.is_steep else 1.0

    def log_normaliser(self, table):
        return float(self.likelihood.log_normaliser(table.Y, table.weight).sum())

    def gather(self, parts, design):
        recency = self.recency
        if recency is not None:
            recency = recency.in_columns(design.n_learned)
        likelihood = self.likelihood_of(parts[0][0])
        return LaplaceTasks.gather(
            parts, likelihood, design.fit_intercept, design.varying, recency
        )

    def likelihood_of(self, X):
        """The likelihood of rows X."""
        return self.likelihood

    def learn_slopes(self, tasks, shape, units):
        if not self.likelihood.only_differences:
            return self, tasks
        tasks = with_slopes_deviation(tasks, shape, units)
        return replace(self, likelihood=tasks.likelihood), tasks

    def posterior(self, mean, factor, noise, rows):
        stack = Stack(*(field[None] for field in rows))
        theta, factor = self.posteriors(mean, factor, stack)
        return theta[0], factor[0]

    def posteriors(self, mean, factor, stack):
        """Centres (T, P) and factors (T, P, r) of the tasks of a `Stack`."""
        return laplace.condition(self.likelihood, mean, factor, stack)

    def condition(self, learned, rows, present):
        # The posterior is not normal. So the prior meets all rows again, to make the
        # answer independent of the order and the portions in which they came.
        rows = rows._replace(X=learned.design(rows.X))
        if present is not None:
            both = zip(present.rows, rows, strict=True)
            rows = SeenRows(*map(np.concatenate, both))
        prior = learned.mean, learned.factor, learned.noise
        return Present(*self.posterior(*prior, rows), rows)

    def scores_of_next(self, rows, design, prior, cuts, recencies):
        """See `TaskModel`: the mean log density of the rows."""
        tasks = self.gather([rows], design)
        return tasks.scores_of_next(
            rows,
            prior,
            cuts,
            N_NEXT,
            [one.in_columns(design.n_learned) for one in recencies],
        )

    def measured_again(self, learned, measured):
        if not (self.recency.forgets and measured.folds):
            return measured
        scores = [
            self.gather(fold.held_out, learned.design).held_out_score(fold.prior, 0)
            for fold in measured.folds
        ]
        return measured._replace(scores=np.concatenate(scores, axis=1))

    def start_factor(self, factor):
        # a fit to all rows is as good as certain
        return np.zeros_like(factor)

    def not_told(self, tasks, chosen, units):
        # there is no noise: tasks of more than one row tell how much tasks differ
        if self.likelihood.one_row_tells or np.max(sizes_of(tasks.parts)) > 1:
            return None
        varying = chosen.structure.factor(np.ones_like(chosen.prior.numbers))
        return 1, int(varying.any(axis=1).sum())

    def calibrate(self, learned, measured, rng):
        """The share of the posterior's variance that predictions average over.

        Without held-out tasks, the whole variance of Laplace's posterior is used.
        """
        if not measured.folds:
            return 1.0
        return moderation(measured.scores, self.likelihood.moderations)

    def predictive(self, learned, Z, moved, present):
        """Scores (n, o) of the probabilities, averaged over what is not known."""
        moved = self._moderated(learned, moved, present)
        return self.likelihood.predictive_scores(Z, moved)

    def share_of_variance(self, learned):
        """The share of the posterior's variance that predictions average over."""
        return learned.calibration

    def _moderated(self, learned, moved, present):
        # before adapting there is no posterior, and the prior is normal
        share = 1.0 if present is None else self.share_of_variance(learned)
        return np.sqrt(share) * moved

    def draw(self, learned, Z, moved, present, n_draws, rng):
        moved = self._moderated(learned, moved, present)
        u = rng.standard_normal(size=(n_draws, moved.shape[-1]))
        return self.likelihood.draw(Z + np.einsum("nor,dr->dno", moved, u), rng)

    def log_score_after(self, learned, prior, given, asked):
        theta, factor = self.posteriors(prior.mean, prior.factor, given)
        J = np.sqrt(self.share_of_variance(learned)) * asked.times(factor)
        score = self.likelihood.log_predictive(
            asked.eta(theta), J, asked.Y, asked.weight
        )
        return score.sum(axis=1) / self.likelihood.n_rows(asked.weight)

    def root_information(self, Z):
        return self.likelihood.root_curvature(self.likelihood.mean(Z))

    def feature_target(self, table):
        """Targets less the means that a base model says, as numbers."""
        offset = table.offset
        if offset is None:
            offset = np.zeros_like(table.Y)
        left = table.Y - self.likelihood.mean(offset)
        return replace(table, Y=left / self.feature_unit, offset=None)

    def feature_head(self, table, prior, design):
        X = design(table.X)
        mean = np.linalg.lstsq(X, table.Y, rcond=None)[0]
        noise = max(np.mean((table.Y - X @ mean) ** 2), LEAST_NOISE)
        # a small change of an output changes the mean of a target by about so much
        slope = self.likelihood.information / self.feature_unit
        variance = np.diag(prior.covariance).reshape(table.Y.shape[1], -1)
        variance = slope**2 * variance.mean(axis=0)
        return episodic.Belief(mean, np.diag(np.sqrt(variance)), noise)

    def judge_features(self, learned, table, chosen, found, head, seed, options):
        """See `TaskModel`; heads of this likelihood must predict better."""
        if found.best == 0:
            return None, None
        linear = chosen.prior
        folds, scores = [], np.empty((len(self.likelihood.moderations), 0))
        for fold, run in zip(found.folds, found.of_folds(), strict=True):
            design = self._with_unit_scales(learned.design, *run)
            parts = design.parts(table)
            held_out = parts.take(fold.held_out)
            rng = np.random.default_rng(seed)
            kept = parts.take(np.sort(rng.permutation(fold.kept)[:MAX_TASKS]))
            prior = self._beside(linear, kept, design, options, FEATURE_ITER)
            folds.append(FoldRows.of(kept, held_out, prior))
            options.progress.step("head")
            score = self.gather(held_out, design).held_out_score(prior, seed)
            scores = np.hstack([scores, score])
            option = int(scores.sum(axis=1).argmax())
            gain = scores[option] - chosen.score[: scores.shape[1]]
            if features.surely_better(-gain):  # later folds will not change that
                return None, None
        if not features.surely_better(gain):
            return None, None
        design = self._with_unit_scales(learned.design, *found.of_all(head()))
        parts = design.parts(table)
        prior = self._beside(linear, parts, design, options)
        options.progress.step("head")
        tasks = self.gather(parts, design)
        return learned.after(prior, design), ToMeasure(tasks, folds, scores)

    @staticmethod
    def _with_unit_scales(design, learner, state):
        return design.with_features(learner.network, learner.with_unit_scales(state))

    def _beside(self, linear, parts, design, options, max_iter=np.inf):
        """The prior with features that share one spread, beside the linear prior.

        That spread and the mean are searched for; the spread of the others is kept.
        """
        tasks = self.gather(parts, design)
        new = np.ones((tasks.n_coefficients // design.n_columns, design.n_columns))
        new[:, design.n_learned :] = 0.0
        new = new.ravel() > 0
        mean = np.zeros(len(new))
        mean[~new] = linear.mean
        known = np.zeros((len(new), linear.spread.shape[1]))
        known[~new] = linear.spread
        return fit_prior(
            tasks,
            Beside(new, known),
            np.ones(1),
            mean,
            tol=options.tol,
            max_iter=min(max_iter, options.max_iter),
        )
