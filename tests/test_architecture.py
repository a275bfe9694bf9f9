"""The house keeps its shape: what an estimator holds, and what an example imports."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import skmeta
from skmeta.datasets import make_linear_tasks

PRIVATE = {"_frame", "_learned", "_present"}


META_LEARNERS = [
    skmeta.EmpiricalBayesRegressor,
    skmeta.EmpiricalBayesClassifier,
    skmeta.EmpiricalBayesRanker,
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


# -- examples -------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]


def packages(requirements):
    return {re.match(r"[\w-]+", r).group().replace("-", "_") for r in requirements}


@pytest.mark.parametrize(
    "example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem
)
def test_an_example_needs_only_the_packages_of_its_extra(example):
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    given = packages(project["dependencies"])
    given |= packages(project["optional-dependencies"]["examples"])
    imported = set()
    for node in ast.walk(ast.parse(example.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    known = given | {"sklearn", "skmeta"} | set(sys.stdlib_module_names)
    assert imported <= known
