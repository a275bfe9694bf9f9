r"""Choices among the alternatives of a set: the conditional logit as a kind of targets.

How to use it (`LearnedPrior` has the methods):

A row is one choice set. Its alternatives are padded to a common number J, padding last:

    X (n, J, d)      standardised columns of each alternative, 0 where it is padding
    Y (n, J)         1 for the alternative that was chosen, otherwise 0
    weight (n,)      how often the set counts
    offset (n, J)    utility that a base model says, or 0; `ABSENT` where it is padding

`as_sets` packs flat rows of offers in this form. With an outside option, "none of
these", the first alternative of every set is this option: its x is 0 in the columns of
the design and its offset 0. The design has an intercept if and only if there is an
outside option; it is the utility of any offer beside that of the outside option.

    design = Design.of_scaled(scaling, fit_intercept=outside_option, x_varying=varying)
    model = ChoiceModel(recency=recency, outside=outside_option)
    learned = learn(TaskTable(X, Y, weight, starts, offset=offset), model, design, ...)
    present = learned.condition(SeenRows(X, Y, weight, offset), present or None)
    learned.outputs(offers, offset, mean)    (n, 1) utilities of flat offers (n, d)
    learned.predictive(X, offset, present)   (n, J) log-probabilities of sets (n, J, d)
    learned.information(X, offset, present)  (n, J, J), for `learned.choose_queries`,
                                             whose columns are `design` of sets

The outputs of flat offers are utilities above that of the outside option, and their
offset is (n, 1).

Sets of two alternatives are logistic regressions of the differences of their x. If all
sets of a table have two, the prior is learned from such rows by `Bernoulli`.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from skmeta._core.prior import laplace
from skmeta._core.prior.learned import Present, SeenRows
from skmeta._core.prior.likelihoods import Bernoulli, Choice, Likelihood
from skmeta._core.prior.models import LaplaceModel
from skmeta._core.prior.moderation import moderation
from skmeta._core.prior.simulated import missed_by_laplace
from skmeta._core.prior.stacks import Stack, with_alternatives
from skmeta._core.tasks import ABSENT


@dataclass(frozen=True)
class ChoiceModel(LaplaceModel):
    """Choices, each from a set of alternatives: see the module."""

    likelihood: Likelihood = field(default_factory=Choice)
    outside: bool = False

    def prepared(self, table):
        """See `TaskModel`: if all sets are pairs, differences take their place."""
        if not self._learns_from_differences(table):
            return self._at_alternative(int(self.outside)), table
        X, Y, _, offset = differences(table.X, table.Y, table.weight, table.offset)
        return self._at_alternative(None), replace(table, X=X, Y=Y, offset=offset)

    def _learns_from_differences(self, table):
        timed = self.recency is not None and self.recency.column is not None
        if timed and not self.outside:  # differences do not tell the time
            return False
        return bool(_are_pairs(table.offset, table.Y).all())

    def _at_alternative(self, place):
        """The same if the time of a set is that of one of its alternatives."""
        if self.recency is None:
            return self
        return replace(self, recency=replace(self.recency, alternative=place))

    def calibrate(self, learned, measured, rng):
        if not measured.folds:
            return 1.0
        # those of pairs have other shares
        likelihood = self.likelihood_of(measured.folds[0].held_out[0][0])
        return moderation(measured.scores, likelihood.moderations)

    def finished(self, learned):
        return replace(
            learned,
            model=self._at_alternative(int(self.outside)),
            factor=symmetric(learned.factor),
        )

    def n_vectors(self, table):
        return 1

    def learn_noise(self, tasks, chosen, options):
        """See `TaskModel`: no noise; but the evidence of sets is told without bias."""
        if not tasks.likelihood.own_designs:
            return self, chosen
        prior = chosen.prior
        varying = prior.spread.any(axis=1)
        L = np.zeros((len(varying), varying.sum()))
        L[varying] = symmetric(prior.spread[varying])
        stacks = zip(tasks.stacks, tasks.on_line, strict=True)
        stacks = [stack for stack, averaged in stacks if not averaged]
        missed = missed_by_laplace(tasks.likelihood, stacks, prior.mean, L)
        prior = replace(prior, log_evidence=prior.log_evidence + missed)
        return self, replace(chosen, prior=prior)

    def likelihood_of(self, X):
        """Of rows X: sets (..., n, J, d), or differences."""
        return self.likelihood if X.ndim == 3 else Bernoulli()

    def posteriors(self, mean, factor, stack):
        """See `TaskModel`; the factors are symmetric, so that each is the only one.

        The points that probabilities are averaged over belong to its columns.
        """
        centre, factor = self._posteriors(mean, factor, stack)
        return centre, symmetric(factor)

    def _posteriors(self, mean, factor, stack):
        if not stack.has_designs:
            return laplace.condition(Bernoulli(), mean, factor, stack)
        # tasks of nothing but pairs are differences, wherever they come from
        is_row = stack.weight > 0
        pairs = (_are_pairs(stack.offset, stack.Y) | ~is_row).all(axis=1)
        if not pairs.any():
            return laplace.condition(self.likelihood, mean, factor, stack)
        n_tasks, P = len(pairs), len(mean)
        found = np.empty((n_tasks, P)), np.empty((n_tasks, *factor.shape))
        if not pairs.all():
            others = stack.part(~pairs)
            others = laplace.condition(self.likelihood, mean, factor, others)
            for whole, part in zip(found, others, strict=True):
                whole[~pairs] = part
        some = Stack(*differences(*stack.part(pairs)))
        some = laplace.condition(Bernoulli(), mean, factor, some)
        for whole, part in zip(found, some, strict=True):
            whole[pairs] = part
        return found

    def as_conditioned_on(self, stack):
        """The likelihood and the rows by which the posterior of a task is found."""
        if _are_pairs(stack.offset, stack.Y).all():
            return Bernoulli(), Stack(*differences(*stack))
        return self.likelihood, stack

    def condition(self, learned, rows, present):
        rows = rows._replace(X=learned.design(rows.X))
        if present is not None:
            rows = _joined(present.rows, rows)
        prior = learned.mean, learned.factor, learned.noise
        return Present(*self.posterior(*prior, rows), rows)

    def root_information(self, Z):
        return self.likelihood.root_curvature(self.likelihood.mean(Z))


def as_sets(X, Y, weight, offset, starts, outside=False):
    """Flat rows of offers as sets: X (n, J, d), Y (n, J), weight (n,), offset (n, J).

    Parameters
    ----------
    X : ndarray of shape (n_offers, d)
    Y : ndarray of shape (n_offers,)
        1 for the offer that was chosen in its set, otherwise 0.
    weight : ndarray of shape (n_sets,)
    offset : ndarray of shape (n_offers,) or None
    starts : ndarray of int of shape (n_sets + 1,)
        The offers of set s are ``starts[s]:starts[s + 1]``.
    outside : bool
        Whether each set has an outside option as well. It was chosen where no offer
        was.
    """
    sizes = np.diff(starts)
    n, J = len(sizes), int(sizes.max(initial=0)) + outside
    of_set = np.repeat(np.arange(n), sizes)
    place = np.arange(len(X)) - np.repeat(starts[:-1], sizes) + outside
    sets, chosen = np.zeros((n, J, X.shape[1])), np.zeros((n, J))
    utility = np.full((n, J), ABSENT)
    sets[of_set, place], chosen[of_set, place] = X, Y
    utility[of_set, place] = 0.0 if offset is None else offset
    if outside:
        utility[:, 0], chosen[:, 0] = 0.0, chosen.sum(axis=1) == 0
    return sets, chosen, weight, utility


def symmetric(factor):
    """The symmetric factors (..., P, P) of the covariances with such factors."""
    values, vectors = np.linalg.eigh(factor @ factor.swapaxes(-1, -2))
    roots = np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return (vectors * roots) @ vectors.swapaxes(-1, -2)


def _are_pairs(offset, Y):
    """Which sets (..., n) have two alternatives."""
    if offset is None:
        return np.full(Y.shape[:-1], Y.shape[-1] == 2)
    return (offset > 0.5 * ABSENT).sum(axis=-1) == 2


def differences(X, Y, weight, offset):
    """Sets of two as rows (X, Y, weight, offset) of the second less the first.

    Those of a set without two alternatives mean nothing.
    """
    here = np.ones(Y.shape, dtype=bool) if offset is None else offset > 0.5 * ABSENT
    first, second = np.moveaxis(
        np.argsort(~here, axis=-1, kind="stable")[..., :2], -1, 0
    )

    def at(A, place):
        place = place.reshape(*place.shape, *(1,) * (A.ndim - place.ndim))
        return np.take_along_axis(A, place, axis=Y.ndim - 1).squeeze(Y.ndim - 1)

    return (
        at(X, second) - at(X, first),
        at(Y, second)[..., None],
        weight,
        None if offset is None else (at(offset, second) - at(offset, first))[..., None],
    )


def _joined(before, rows):
    """Rows of a task and further ones, whose sets may be smaller or larger."""
    n = max(before.X.shape[1], rows.X.shape[1])
    both = (with_alternatives(part, n) for part in (before, rows))
    return SeenRows(*map(np.concatenate, zip(*both, strict=True)))
