"""The house keeps its shape: what an estimator holds besides its public attributes."""

import numpy as np
import pytest

import skmeta
from skmeta.datasets import make_linear_tasks

PRIVATE = {"_frame", "_learned", "_present"}


META_LEARNERS = [
    skmeta.EmpiricalBayesRegressor,
    skmeta.EmpiricalBayesClassifier,
    skmeta.ReptileRegressor,
    skmeta.ReptileClassifier,
    skmeta.PrototypicalClassifier,
]


@pytest.mark.parametrize("kind", META_LEARNERS, ids=lambda kind: kind.__name__)
def test_a_fitted_model_keeps_three_private_objects_at_most(kind):
    numbers = "Regressor" in kind.__name__
    tasks = make_linear_tasks(
        8, kind="regression" if numbers else "classification", random_state=0
    )
    few = {"max_iter": 3} if "Reptile" in kind.__name__ else {}
    model = kind(random_state=0, **few).meta_fit(tasks)
    X, y = (np.asarray(part)[:6] for part in tasks[0])
    for fitted in (model, model.adapt(X, y).partial_adapt(X, y)):
        assert {name for name in vars(fitted) if name.startswith("_")} <= PRIVATE
