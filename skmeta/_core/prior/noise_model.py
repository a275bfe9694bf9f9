"""Numbers whose noise differs between tasks, as a `TaskModel`: see `noise`."""

from dataclasses import dataclass, replace

import numpy as np

from skmeta._core.prior import calibration, noise
from skmeta._core.prior.draws import draw_together
from skmeta._core.prior.episodic import Belief
from skmeta._core.prior.learned import Present
from skmeta._core.prior.models import GaussianModel
from skmeta._core.prior.noise import (
    FACTORS,
    Mixture,
    NoiseBelief,
    NoiseHeldOut,
    NoiseTasks,
    Posterior,
    RowTriangle,
)
from skmeta._core.prior.search import (
    COMPARED,
    REFINED,
    TASKS_FOR_ROUGH_FIT,
    as_good,
    tied,
)


def _is_worse(score, shared):
    """Whether a noise for each task is not worth its time, by scores of held-out tasks.

    In doubt it is. Where tasks do not differ, the weights of the other factors are
    small, and it loses less than it gains where they do.
    """
    return tied(score, shared) or not as_good(score, shared)


@dataclass(frozen=True, eq=False)
class NoiseModel(GaussianModel):
    """Numbers with Gaussian noise, whose variance is one of a few levels in each task.

    Attributes
    ----------
    unless_worse : bool
        Whether one noise for all tasks is kept if held-out tasks are predicted worse
        by a noise for each.
    factors : tuple of float
        Factors of the noise variance.
    weights : ndarray of shape (J,) or None
        How often each factor occurs; None until it has been learned.
    """

    unless_worse: bool = False
    factors: tuple = FACTORS
    weights: np.ndarray | None = None

    def as_kind_of(self, model):
        return NoiseModel(factors=self.factors)

    # -- learning ---------------------------------------------------------------------

    def choose_noise(self, search, chosen, options):
        """See `TaskModel`. The folds then have a noise per task, if that is chosen.

        In the folds, mean and spread stay those of one noise for all tasks. To learn
        them anew takes ten times as long and changes the scores little.
        """
        if self.unless_worse and not chosen.folds:
            return GaussianModel(self.recency), chosen
        folds, scores = [], [np.zeros(0)]
        for fold in chosen.folds:
            kept, held_out = map(search.tasks.subset, (fold.kept, fold.held_out))
            prior = noise.with_weights(kept, fold.prior, self.factors)
            e = noise.evidences(held_out, prior.belief, self.factors)
            scores.append(noise.log_evidence(e, prior.weights))
            folds.append(replace(fold, prior=prior))
        if self.unless_worse and _is_worse(np.concatenate(scores), chosen.score):
            return GaussianModel(self.recency), chosen
        return self, replace(chosen, folds=folds)

    def learn_noise(self, tasks, chosen, options):
        rough = tasks.n_tasks > TASKS_FOR_ROUGH_FIT
        prior = noise.fit_noise(
            tasks,
            chosen.structure,
            chosen.prior,
            self.factors,
            tol=(COMPARED if rough else REFINED) * options.tol,
            max_iter=options.max_iter,
            polish=not rough,
        )
        return replace(self, weights=prior.weights), replace(chosen, prior=prior)

    def fit_without(self, tasks, chosen, options):
        prior = super().fit_without(tasks, chosen, options)
        return noise.with_weights(tasks, prior, self.factors)

    def judge_features(self, learned, table, chosen, found, head, seed, options):
        """See `TaskModel`. The features are learned as if all tasks had one noise."""
        learned, measured = super().judge_features(
            learned, table, chosen, found, head, seed, options
        )
        if learned is None:
            return None, None
        folds = []
        for fold in measured.folds:
            kept = self.gather(fold.kept, learned.design)
            weights, _ = self._weights(kept, fold.prior)
            belief = NoiseBelief(*fold.prior, weights)
            folds.append(fold._replace(prior=belief))
        prior = Belief(learned.mean, learned.factor, learned.noise)
        weights, value = self._weights(measured.tasks, prior)
        model = replace(self, weights=weights)
        learned = replace(learned, model=model, log_evidence=value)
        return learned, measured._replace(folds=folds)

    def _weights(self, tasks, belief):
        """Weights of the factors, and the log evidence, if all else is known."""
        e = noise.evidences(tasks, NoiseBelief(*belief, None), self.factors)
        weights = noise.best_weights(e)
        return weights, float(noise.log_evidence(e, weights).sum())

    # -- how large errors are ---------------------------------------------------------

    def _held_out(self, learned, fold, rng):
        of_one_noise = super()._held_out(learned, fold, rng)
        return NoiseHeldOut(**vars(of_one_noise), factors=self.factors)

    def _counted(self, tasks, prior):
        return NoiseTasks.believed(tasks, self.factors, prior)

    def mean_noise(self, prior):
        return prior.noise * float(prior.weights @ np.asarray(self.factors))

    # -- one task ---------------------------------------------------------------------

    def _belief(self, learned):
        return NoiseBelief(learned.mean, learned.factor, learned.noise, self.weights)

    def condition(self, learned, rows, present):
        return self.after(learned, RowTriangle.of(rows, learned.design, present))

    def hear(self, learned, told, present):
        if present is not None:
            told = told.after(present.rows)
        return self.after(learned, told)

    def after(self, learned, told):
        found = Posterior.of(self._belief(learned), self.factors, told)
        return Present(found.mean, found.factor, told, found.shares)

    def noise_levels(self, present):
        shares = self.weights if present is None else present.shares
        return np.asarray(self.factors), shares

    # -- predictions ------------------------------------------------------------------

    def predictive(self, learned, Z, moved, present):
        """Mean, deviation and degrees of freedom of new targets: (n, 3)."""
        parts, shifts, shares = self._mixed(learned, moved, present)
        _, freedom = learned.calibration.of(present)
        of_each = np.einsum("nji,j->ni", parts, shares)
        of_each[:, 0] += shifts**2 @ shares
        variance = of_each.sum(axis=1)
        freedom = variance**2 / (of_each**2 / np.maximum(freedom, 1.0)).sum(axis=1)
        return np.column_stack([Z, np.sqrt(variance), np.maximum(freedom, 1.0)])

    def _mixed(self, learned, moved, present):
        """The distributions that are mixed in targets at rows.

        They are two parts of their variances (n, J, 2), which they owe to the spread
        and to the noise, how far their means are apart (n, J), and their shares (J,).
        """
        factors, shares = self.noise_levels(present)
        moved, factor = moved[:, 0], learned.predicting(present).factor
        levels = learned.noise * factors[:, None]
        if present is None:
            shifts = np.zeros((len(moved), len(factors)))
            spread = np.broadcast_to((moved**2).sum(axis=1), (len(factors), len(moved)))
            parts = spread, np.broadcast_to(levels, spread.shape)
        else:
            moved, shifts = Posterior.split(moved, shares)
            factor, _ = Posterior.split(factor, shares)
            shifts = shifts.T
            parts = calibration.predictive_variances(
                learned.first_factor, levels, factor, moved
            )
        scales, _ = learned.calibration.of(present)
        return np.stack(parts, axis=-1).swapaxes(0, 1) * scales, shifts, shares

    def _targets(self, learned, moved, present):
        parts, shifts, shares = self._mixed(learned, moved, present)
        return Mixture(shares, np.sqrt(parts.sum(axis=-1)), shifts)

    def interval(self, learned, Z, moved, present, coverage, n_rows):
        _, _, freedom = self.predictive(learned, Z, moved, present).T
        deviations = learned.calibration.half_width(coverage, n_rows, freedom)
        targets = self._targets(learned, moved, present)
        return np.column_stack([Z[:, 0], targets.distance(deviations)])

    def log_density(self, learned, Z, moved, present, y):
        targets = self._targets(learned, moved, present)
        return targets.log_density(y - Z[:, 0])

    def draw(self, learned, Z, moved, present, n_draws, rng):
        factors, _ = self.noise_levels(present)
        parts, shifts, shares = self._mixed(learned, moved, present)
        variances = parts.sum(axis=-1)
        moved = np.broadcast_to(moved[:, 0], (len(factors), *moved[:, 0].shape))
        if present is not None:
            moved, _ = Posterior.split(moved[0], shares)
        own = learned.calibration.of(present).scales[1] * learned.noise * factors
        level = rng.choice(len(shares), size=n_draws, p=shares)
        drawn = np.empty((n_draws, len(Z)))
        for j in np.unique(level):  # the noise of a task is the same in all its rows
            some = np.flatnonzero(level == j)
            drawn[some] = shifts[:, j] + draw_together(
                moved[j], variances[:, j], own[j], len(some), rng
            )
        return (Z[:, 0] + drawn)[..., None]
