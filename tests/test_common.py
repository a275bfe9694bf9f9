"""The checks that scikit-learn requires of every estimator."""

import inspect

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import skmeta
import skmeta.adaptation
import skmeta.base
import skmeta.datasets
import skmeta.exceptions
import skmeta.model_selection
from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    FewShotClassifier,
    FewShotRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
)

ESTIMATORS = [
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    FewShotClassifier,
    FewShotRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
]

# The checks fit some 60 times each: small networks and few meta-iterations. Labels with
# a prior of their own go the way of counts with one, which are fitted sooner.
INSTANCES = [
    EmpiricalBayesRegressor(),
    EmpiricalBayesRegressor(noise="task"),
    EmpiricalBayesRegressor(half_life=5.0),
    EmpiricalBayesClassifier(),
    EmpiricalBayesPoissonRegressor(),
    EmpiricalBayesPoissonRegressor(prior="diagonal", varying=[0]),
    EmpiricalBayesRanker(),
    ReptileRegressor(max_iter=30),
    ReptileRegressor((8,), max_iter=20),
    ReptileClassifier(max_iter=30),
    ReptileClassifier((8,), max_iter=20),
    FewShotRegressor(),
    FewShotClassifier(),
    PrototypicalClassifier(),
    PrototypicalClassifier((8,), max_iter=20),
]


OF_A_SHELF = "probabilities belong to a shelf, and X is one: they have shape (n,)"


def expected_to_fail(estimator):
    if not isinstance(estimator, EmpiricalBayesRanker):
        return {}
    checks = "methods_subset_invariance", "estimator_sparse_array"
    checks += ("estimator_sparse_matrix",)
    return {f"check_{name}": OF_A_SHELF for name in checks}


def list_of_checks(estimators):
    """`parametrize_with_checks` without the deprecated iterator of version 1.6."""
    mark = parametrize_with_checks(estimators, expected_failed_checks=expected_to_fail)
    names, checks = mark.args
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)


@list_of_checks(INSTANCES)
def test_the_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_parameter_has_a_constraint(cls):
    assert set(cls._parameter_constraints) == set(inspect.signature(cls).parameters)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_only_the_first_parameter_may_be_given_by_position(cls):
    _, *others = inspect.signature(cls).parameters.values()
    assert {p.kind for p in others} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    "module",
    [
        skmeta,
        skmeta.adaptation,
        skmeta.base,
        skmeta.datasets,
        skmeta.exceptions,
        skmeta.model_selection,
    ],
    ids=lambda module: module.__name__,
)
def test_every_public_name_has_a_docstring(module):
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        doc = vars(module)[name].__doc__
        assert doc is not None and doc.strip(), name
