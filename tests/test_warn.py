"""A warning names the line of the caller, however the estimator is reached."""

import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import EmpiricalBayesRegressor, meta_fit


def tasks_of_few_rows():
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(2, 9)), rng.normal(size=2)) for _ in range(3)]


def fit_directly():
    tasks = tasks_of_few_rows()
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    EmpiricalBayesRegressor().fit(X, y, task=np.repeat([0, 1, 2], 2))


def meta_fit_in_a_pipeline():
    meta_fit(
        make_pipeline(StandardScaler(), EmpiricalBayesRegressor()), tasks_of_few_rows()
    )


@pytest.mark.parametrize("call", [fit_directly, meta_fit_in_a_pipeline])
def test_a_warning_names_the_callers_file(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert caught
    assert {warning.filename for warning in caught} == {__file__}
