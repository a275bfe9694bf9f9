"""Which structure the prior has, and what predicts before adapting.

Held-out tasks decide. Structures are tried from simple to rich, and each begins at the
one before. The simplest one that predicts about as well as the best is chosen.
"""

from dataclasses import dataclass, replace
from itertools import starmap

import numpy as np

from skmeta._core.prior.fit import (
    Hill,
    Prior,
    at_least,
    first_fit,
    fit_all,
    fit_mean,
    fit_prior,
    next_fit,
)
from skmeta._core.prior.structures import (
    Diagonal,
    Full,
    Kronecker,
    LowRank,
    groups,
    place,
)
from skmeta._core.progress import SILENT

# Structures are compared by fits whose tolerance is this multiple of the one asked for.
COMPARED = 10.0
# With several classes or choice sets the tolerance is this multiple, ...
COMPARED_CLASSES = 100.0
# ... and a prior without a fold is searched for with at most this many iterations.
MAX_CLASSES_FOLD_ITER = 8
# The fit that is kept has this multiple of the tolerance asked for.
REFINED = 0.01
# Losses with a relative difference below this are equal up to rounding.
TIED_LOSSES = 1e-9
# The curvature is measured number by number for structures of at most this many
# numbers.
MAX_SCALED = 100
# With more tasks than this the last fit is as rough as those that are compared.
TASKS_FOR_ROUGH_FIT = 2000
N_STRUCTURE_FOLDS = 5
# A search that goes on with more tasks raises deviations to this, in units of noise.
SMALL_DEVIATION = 0.3
# At most about so many structures are tried.
N_STRUCTURES = 5
# The spreads of classes are drawn together as if by this many tasks for each class.
CLASS_SHRINKAGE = 1.0
# A noise below this, in units of the variance of y, has vanished.
NO_NOISE = 1e-9
# If rows cannot show that there is no noise, a prior without noise has to predict
# held-out tasks better than the others do, by this difference of log densities of a
# typical task.
SURE_OF_NO_NOISE = 10.0
# With fewer tasks than this none is held out.
MIN_TASKS_TO_FOLD = 5
# The prior without a fold is searched for from that of all tasks, which is near.
MAX_FOLD_ITER = 30
# "diagonal" and richer structures need this many rows per number of mean and spread.
ROWS_PER_NUMBER = 3
# A structure is chosen with at most this many tasks; more do not change the choice.
MAX_TASKS = 200
# If more coefficients vary than this, correlations are tried only on request.
MAX_COEFFICIENTS = 60


def too_many_classes(tasks, shape):
    """Whether slopes of each class would take long, and intercepts may do."""
    _, n_outputs, fit_intercept = shape
    many = tasks.varying.sum() > MAX_COEFFICIENTS
    return n_outputs > 1 and many and fit_intercept


@dataclass(frozen=True)
class StructureFold:
    """Tasks held out, and the prior learned from the others."""

    held_out: np.ndarray
    kept: np.ndarray
    prior: Prior


@dataclass(frozen=True)
class Candidate:
    """A structure with its fits: to all tasks, and to all but those of each fold.

    ``scores`` (options, T) are those of each task by the prior that has not seen it,
    for each way to predict. ``score`` (T,) is the row with the best sum.
    """

    name: str
    structure: Diagonal | LowRank | Full
    prior: Prior
    folds: list
    score: np.ndarray
    scores: np.ndarray


class StructureSearch:
    """Fits structures from simple to rich, each from the one before.

    ``shape`` is (n_features, n_outputs, fit_intercept) of the coefficients that vary,
    and ``units`` (P, P) turns those that the structures refer to into those of the
    tasks. ``progress`` hears of each fit, and of each fit without a fold.
    """

    progress = SILENT
    # Whether the chosen fit is searched for finely. That would take long for nothing if
    # choice sets of more tasks follow.
    refines = True

    def __init__(self, tasks, shape, rng, units=None, **options):
        self.tasks, self.shape, self.options = tasks, shape, options
        self.units = units
        # a rough fit is enough to compare structures by
        several = shape[1] > 1 or tasks.has_designs
        compared = COMPARED_CLASSES if several else COMPARED
        self.rough = options | {"tol": compared * options["tol"], "polish": False}
        max_iter = MAX_CLASSES_FOLD_ITER if several else MAX_FOLD_ITER
        self.fold_iter = min(max_iter, options["max_iter"])
        n = tasks.n_tasks
        n_folds = min(N_STRUCTURE_FOLDS, n) if n >= MIN_TASKS_TO_FOLD else 0
        parts = np.array_split(rng.permutation(n), max(n_folds, 1))
        self.held_out = [np.sort(part) for part in parts][:n_folds]
        self.tried = []
        # all structures are scored with the same draws of rows
        self.seed = rng.randint(2**31)

    def n_steps(self, name):
        """About how many fits it takes to choose a structure."""
        n_structures = N_STRUCTURES if name == "auto" else 1
        return n_structures * (1 + len(self.held_out)) + 1

    def run(self, name, before=None):
        """The `Candidate` of the structure asked for, or of the best one.

        If ``before`` is a `LearnedPrior`, it is one of the same structure.
        """
        n_features, _, _ = self.shape
        if before is not None:
            return self._again(before)
        if n_features == 0:
            name = "intercept"
        elif name == "auto" and not self.held_out:
            name = "isotropic"
        best = self._best(self._with_noise(list(self._candidates(name))))
        self.tried = []  # with many columns the priors of all folds are large
        if not self.refines:
            return best
        return replace(best, prior=self._refined(best.structure, best.prior))

    def _again(self, before):
        """The `Candidate` of the structure that a prior has, from where it is."""
        structure = self._structure_of(before.structure, before.rank)
        if structure is None:  # classes may differ in ways that names do not tell
            return self.run(before.structure)
        covariance = before.spread @ before.spread.T / before.noise
        numbers = structure.start(covariance, np.zeros_like(covariance), 0.0)
        # a deviation of zero would stay there
        small = structure.signless & (np.abs(numbers) < np.arcsinh(SMALL_DEVIATION))
        numbers = np.where(small, np.arcsinh(SMALL_DEVIATION), numbers)
        begun = fit_prior(
            self.tasks, structure, numbers, before.mean, **self.rough | {"max_iter": 0}
        )
        begun = Candidate(before.structure, structure, begun, [], None, None)
        prior = self._on_more(self.tasks, begun, self.rough)
        again = self._validated(before.structure, structure, prior)
        return replace(again, prior=self._refined(structure, again.prior))

    def _structure_of(self, name, rank):
        """The structure of a name if there is one output, else None."""
        if self.shape[1] > 1:
            return None
        P = int(self.tasks.varying.sum())
        if name == "low_rank":
            return self._place(LowRank(P, rank))
        if name == "full":
            return self._place(Full(P, shrinkage=P))
        return self._place(Diagonal(groups(name, *self.shape)))

    def _scale(self, structure, prior):
        """Steps in which the evidence is about equally curved in each number."""
        if structure.n_numbers > MAX_SCALED:
            return 1.0
        hill = Hill(self.tasks, structure, prior.mean, prior.numbers)
        x = hill.point(prior.numbers)
        _, slope = hill.climb(x)
        steps = 1e-3 * np.eye(len(x))
        curvature = [abs(hill.climb(x + h)[1] - slope) @ h / 1e-6 for h in steps]
        return 1 / np.sqrt(np.maximum(curvature, 1e-3 * max(curvature)))

    def _refined(self, structure, prior):
        """The chosen prior, searched for so finely that rounding does not show.

        With many classes it is the mean alone that is refined, by all rows.
        """
        if prior.n_iter >= self.options["max_iter"]:
            return prior
        if too_many_classes(self.tasks, self.shape):
            return fit_mean(self.tasks.with_all_pieces(), structure, prior)
        tol = REFINED * self.options["tol"]
        options = self.options | {"tol": tol}
        numbers, mean, n_iter = prior.numbers, prior.mean, prior.n_iter
        prior = fit_prior(self.tasks, structure, numbers, mean, **options)
        return replace(prior, n_iter=n_iter + prior.n_iter)

    def _candidates(self, name):
        prior = None
        for kind in ("intercept", "isotropic", "diagonal"):
            structure = Diagonal(groups(kind, *self.shape))
            if structure.n_numbers == 0:  # no intercept
                continue
            structure = self._place(structure)
            if name == "auto" and kind == "diagonal" and self._too_few_rows(structure):
                return
            if (
                name in ("auto", "kronecker")
                and kind != "intercept"
                and too_many_classes(self.tasks, self.shape)
            ):
                break
            # If slopes did not vary before, no gradient pulls at their spread.
            smaller, several = prior, self.shape[1] > 1
            start = prior if kind == "diagonal" or several else None
            prior = self._fit(structure, start, smaller)
            if name == kind or (
                name == "auto" and self._pays(prior, self._like(prior, smaller))
            ):
                yield self._validated(kind, structure, prior)
            if kind == "intercept" and name in ("auto", "intercept"):
                yield from self._of_classes("intercept", name, prior)
            if name == kind:
                return
        if name in ("auto", "kronecker"):
            yield from self._of_classes("kronecker", name, prior)
        P = int(self.tasks.varying.sum())
        if name == "low_rank" or (name == "auto" and self._worth_correlations()):
            yield from self._ranks(P, prior, name)
        structure = self._place(Full(P, shrinkage=P))
        if name == "full" or (
            name == "auto"
            and self._worth_correlations()
            and not self._too_few_rows(structure)
        ):
            yield self._validated("full", structure, self._fit(structure, prior, prior))

    def _of_classes(self, kind, name, smaller):
        """Classes that differ in their spread: of intercepts alone, or of all columns.

        It begins at the fit ``smaller``, in which they are alike.
        """
        n_features, n_outputs, fit_intercept = self.shape
        if n_outputs == 1:
            return
        d = n_features + fit_intercept
        columns = np.arange(n_features if kind == "intercept" else 0, d)
        structure = self._place(
            Kronecker(n_outputs, columns, d, fit_intercept, CLASS_SHRINKAGE * n_outputs)
        )
        if name == "auto" and self._too_few_rows(structure):
            return
        prior = self._fit(structure, smaller, smaller)
        # with many columns most numbers are drawn to those of others, and cost nothing
        asked = name == "kronecker" or too_many_classes(self.tasks, self.shape)
        if asked or self._pays(prior, self._like(prior, smaller)):
            yield self._validated(kind, structure, prior)

    def _too_few_rows(self, structure):
        """Whether the rows are too few to separate the numbers from the noise.

        The first row of each task does not count: it may be all spread, or all noise.
        """
        n_numbers = self.tasks.n_coefficients + structure.n_numbers
        n_rows = np.maximum(self.tasks.n_rows - 1, 0).sum()
        return n_rows < ROWS_PER_NUMBER * n_numbers

    def _like(self, prior, smaller):
        """A simpler fit whose evidence is computed as that of the richer ``prior``.

        Where one coefficient varies, the evidence of some likelihoods is exact, and
        otherwise it is an approximation. The two must not be compared.
        """
        tasks = self.tasks.like_richer_ones()
        if smaller is None or tasks is self.tasks:
            return smaller
        if smaller.spread.shape[1] > 1 or prior.spread.shape[1] == 1:
            return smaller
        structure = self._place(Diagonal(groups("intercept", *self.shape)))
        return fit_prior(tasks, structure, smaller.numbers, smaller.mean, **self.rough)

    @staticmethod
    def _pays(prior, smaller):
        """Whether each further number gains more evidence than by chance (Akaike)."""
        if smaller is None:
            return True
        more = len(prior.numbers) - len(smaller.numbers)
        return prior.log_evidence - smaller.log_evidence >= more

    def _worth_correlations(self):
        """Whether structures with correlations are affordable and may do better."""
        _, n_outputs, _ = self.shape
        if self.tasks.varying.sum() > MAX_COEFFICIENTS or n_outputs > 1:
            return False
        last = self.tried[-1]
        lags = (c.score - last.score for c in self.tried[:-1])
        return not any(
            lag.mean() > 2 * _standard_error(lag) + _tie(last.score) for lag in lags
        )

    def _ranks(self, P, diagonal, name):
        """Ranks 1, 2, ... for as long as they predict held-out tasks better."""
        best = None
        for rank in range(1, max(P, 2)):
            structure = self._place(LowRank(P, rank))
            if name == "auto" and self._too_few_rows(structure):
                return
            prior = self._fit(structure, diagonal, diagonal)
            if not self._pays(prior, diagonal) and (rank > 1 or name == "auto"):
                return
            candidate = self._validated("low_rank", structure, prior)
            score = candidate.score
            if best is not None and (score - best).mean() <= _tie(best):
                return
            best = score
            yield candidate
            if not self.held_out:
                return

    def _place(self, structure):
        return place(structure, self.tasks, self.units)

    def _fit(self, structure, start, nested):
        """The fit that begins at ``start``, or anew, and is not below a nested one."""
        if start is None:
            prior = first_fit(self.tasks, structure, **self.rough)
        else:
            prior = next_fit(self.tasks, structure, start, **self.rough)
        nested = self._like(prior, nested)
        return at_least(prior, nested, self.tasks, structure, **self.rough)

    def on_all(self, tasks, chosen):
        """The chosen structure fitted to many more tasks than it was chosen with.

        It begins where the few ended, and does not end below the simplest structure.
        """
        options = self.options
        if tasks.n_tasks > TASKS_FOR_ROUGH_FIT:
            options = self.rough
        sample = tasks.sample()
        if sample is None:
            return self._on_more(tasks, chosen, options)
        few = self._on_more(sample, chosen, options)
        return fit_all(
            tasks, chosen.structure, few.numbers, few.mean, few=few, **options
        )

    def _on_more(self, tasks, chosen, options):
        structure, few = chosen.structure, chosen.prior
        prior = next_fit(
            tasks, structure, few, **options, scale=self._scale(structure, few)
        )
        intercept = Diagonal(groups("intercept", *self.shape))
        if intercept.n_numbers == 0 or chosen.name == "intercept":
            return prior
        simple = self._place(intercept)
        nested = next_fit(tasks.like_richer_ones(), simple, prior, **options)
        return at_least(prior, nested, tasks, structure, **options)

    def _validated(self, name, structure, prior):
        self.progress.step(name)
        scores, folds = [], []
        options = self.rough | {"max_iter": self.fold_iter}
        only_mean = too_many_classes(self.tasks, self.shape)
        for held_out in self.held_out:
            kept = np.setdiff1d(np.arange(self.tasks.n_tasks), held_out)
            tasks = self.tasks.subset(kept)
            if only_mean:
                fold = fit_mean(tasks, structure, prior)
            else:
                given = tasks, structure, prior.numbers, prior.mean
                fold = fit_prior(*given, **options)
            held = self.tasks.subset(held_out)
            scores.append(held.held_out_score(fold, self.seed))
            self.progress.step("fold")
            # D is not needed any more, and it is a matrix of all coefficients
            folds.append(StructureFold(held_out, kept, replace(fold, D=None)))
        if not folds:
            return Candidate(
                name, structure, prior, folds, np.zeros(1), np.zeros((1, 0))
            )
        scores = np.concatenate(scores, axis=1)
        best = scores[scores.sum(axis=1).argmax()]
        candidate = Candidate(name, structure, prior, folds, best, scores)
        self.tried.append(candidate)
        return candidate

    def _with_noise(self, candidates):
        """The candidates without those that have lost the noise by mistake.

        If no task has more rows than coefficients, a rich structure can explain all
        rows without noise. Rounded targets then have infinite densities by chance, and
        predictions after more rows would be absurd. Without noise by construction,
        densities of held-out tasks are higher by far.
        """
        has_lost = [self._has_lost_noise(c.prior) for c in candidates]
        if not self.held_out or not any(has_lost) or all(has_lost):
            return candidates
        pairs = list(zip(candidates, has_lost, strict=True))
        best = max((c.score for c, lost in pairs if not lost), key=np.sum)
        return [
            c
            for c, lost in pairs
            if not lost or np.median(c.score - best) > SURE_OF_NO_NOISE
        ]

    def _has_lost_noise(self, prior):
        """Whether the noise has vanished, and no task has the rows to show that."""
        if prior.noise > NO_NOISE:
            return False
        return self.tasks.counts.max() <= self.tasks.varying.sum()

    @staticmethod
    def _best(candidates):
        """The simplest that is within half a standard error of the best."""
        best = max(candidates, key=lambda c: c.score.sum())
        for candidate in candidates:
            if as_good(candidate.score, best.score):
                return candidate
        return best


def as_good(simple, rich):
    """Whether a simpler model's scores of tasks are as good as those of a richer one.

    They may be less by half a standard error of the mean difference.
    """
    lag = rich - simple
    return lag.mean() <= 0.5 * _standard_error(lag) + _tie(rich)


def tied(score, other):
    """Whether the mean scores of two models differ by no more than rounding."""
    return abs((score - other).mean()) <= _tie(other)


def _tie(score):
    """The mean difference of scores that rounding and an early stop may cause."""
    return 1e-6 * (1.0 + np.abs(score).mean())


def _standard_error(values):
    return values.std() / np.sqrt(len(values))


# -- before adapting ------------------------------------------------------------------

STARTS = ("prior", "pooled", "constant")


def zero_shot(folds):
    """Which of three predictions is the best for held-out tasks before adapting.

    They are the prior, the fit to all rows as one task, and a constant. The mean of the
    prior is the best start for adapting, but not always the best guess for the rows of
    a new task: slopes within and between tasks may have different signs.
    ``folds`` are (tasks kept, tasks held out, prior learned from those kept).
    """
    # the tasks of one fold are let go before those of the next are gathered
    losses = np.sum(list(starmap(_losses_before, folds)), axis=0)
    # rounding must not choose, so the first one that is as good as the best is taken
    return STARTS[int((losses <= losses.min() * (1 + TIED_LOSSES)).argmax())]


def start_of(tasks, name):
    """The coefficients that predict before adapting, if these are not the prior's."""
    return {"pooled": tasks.pooled, "constant": tasks.constant}[name]()


def _losses_before(kept, held_out, prior):
    """Losses of held-out tasks by each of the `STARTS` predictions."""
    return [loss_before(start, kept, held_out, prior).sum() for start in STARTS]


def loss_before(name, kept, held_out, prior):
    """Losses (T,) of held-out tasks by one of the `STARTS` predictions."""
    if name == "prior":
        return held_out.prior_loss(prior)
    return held_out.loss(start_of(kept, name))
