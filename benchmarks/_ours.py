"""The models of skmeta that the benchmarks on real tables compare with their rivals.

A maker is a function that builds an unfitted model for a split of a set.
"""

from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

import skmeta


def empirical_bayes(base=None, *, offsets=False, **params):
    """A maker of an empirical Bayes model on the base model that ``base`` makes.

    With ``offsets`` only the intercepts of a task differ, if the set has intercepts.
    """

    def make(split):
        kind = (
            skmeta.EmpiricalBayesClassifier
            if split.classification
            else skmeta.EmpiricalBayesRegressor
        )
        return kind(
            prior="intercept" if offsets and split.fit_intercept else "auto",
            base_estimator=base and base(split),
            fit_intercept=split.fit_intercept,
            random_state=0,
            **params,
        )

    return make


def boosting(split):
    kind = (
        HistGradientBoostingClassifier
        if split.classification
        else HistGradientBoostingRegressor
    )
    return kind(
        max_iter=100,
        learning_rate=0.05,
        max_leaf_nodes=8,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )


def forest(split):
    kind = RandomForestClassifier if split.classification else RandomForestRegressor
    return kind(60, min_samples_leaf=5, max_features=0.5, random_state=0)


def reptile(split):
    kind = skmeta.ReptileClassifier if split.classification else skmeta.ReptileRegressor
    return kind(fit_intercept=split.fit_intercept, random_state=0)


def boosting_first(split):
    """Boosting of y itself, then a learned prior for the rest of each task.

    For labels the prior is one of each task's offsets only.
    """
    if not split.classification:
        return empirical_bayes(boosting, base_target="y")(split)
    return empirical_bayes(boosting, offsets=True)(split)


CONFIGS = {
    "ours: EB": empirical_bayes(),
    "ours: EB + boosting": empirical_bayes(boosting),
    "ours: EB + forest": empirical_bayes(forest),
    "ours: boosting first": boosting_first,
    "ours: auto": empirical_bayes(lambda split: "auto"),
    "ours: Reptile": reptile,
}
# The configurations among which cross-validation chooses.
NOT_CANDIDATES = ("ours: auto", "ours: Reptile")
CANDIDATES = tuple(label for label in CONFIGS if label not in NOT_CANDIDATES)


class Ours:
    """A meta-learner behind the verbs that the rivals have."""

    def __init__(self, model):
        self.model = model

    def fit(self, tasks):
        self.model = clone(self.model).meta_fit([(task.X, task.y) for task in tasks])
        return self

    def adapt(self, X, y):
        return self.model.adapt(X, y) if len(y) else self.model
