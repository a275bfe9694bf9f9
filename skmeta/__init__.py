"""Meta-learning on many small related tables, as scikit-learn estimators.

skmeta is not AutoML meta-features, not causal "meta-learners", and not few-shot image
networks. It learns from many small tasks (each a shopper, a store or a patient) where a
new one should start, so that a handful of rows is enough.
"""

import importlib

from skmeta._version import __version__ as __version__
from skmeta.adaptation import (
    adapt,
    adapt_predict,
    meta_fit,
    partial_adapt,
    to_sklearn,
)
from skmeta.bank import TaskBank
from skmeta.chosen_base import ChosenBase
from skmeta.counts import EmpiricalBayesPoissonRegressor
from skmeta.empirical_bayes import EmpiricalBayesClassifier, EmpiricalBayesRegressor
from skmeta.few_shot import FewShotClassifier, FewShotRegressor
from skmeta.learned_features import LearnedFeatures
from skmeta.predicting import (
    n_adapt_rows,
    predict,
    predict_interval,
    suggest_queries,
)
from skmeta.prototypical import PrototypicalClassifier
from skmeta.ranker import EmpiricalBayesRanker
from skmeta.reptile import ReptileClassifier, ReptileRegressor
from skmeta.task_statistics import TaskStatistics, statistics_query

# Public modules that `import skmeta` does not load, since that would take a second.
# They are loaded when somebody looks at them.
_LATER = ("base", "datasets", "inspection", "metrics", "model_selection")

__all__ = [
    "ChosenBase",
    "EmpiricalBayesClassifier",
    "EmpiricalBayesPoissonRegressor",
    "EmpiricalBayesRanker",
    "EmpiricalBayesRegressor",
    "FewShotClassifier",
    "FewShotRegressor",
    "LearnedFeatures",
    "PrototypicalClassifier",
    "ReptileClassifier",
    "ReptileRegressor",
    "TaskBank",
    "TaskStatistics",
    "adapt",
    "adapt_predict",
    "meta_fit",
    "n_adapt_rows",
    "partial_adapt",
    "predict",
    "predict_interval",
    "statistics_query",
    "suggest_queries",
    "to_sklearn",
]


def __getattr__(name):
    if name in _LATER:
        return importlib.import_module(f"skmeta.{name}")
    raise AttributeError(f"module 'skmeta' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATER})
