"""The warning before a long fit."""

import warnings

import numpy as np
import pytest

from skmeta import EmpiricalBayesClassifier, EmpiricalBayesRegressor


def tasks(n_tasks, n_columns, n_classes, n=20):
    rng = np.random.default_rng(0)
    for X in rng.normal(size=(n_tasks, n, n_columns)):
        yield X, rng.integers(n_classes, size=n) if n_classes else rng.normal(size=n)


@pytest.mark.parametrize(
    ("model", "n_columns", "n_classes", "remedy"),
    [
        (EmpiricalBayesClassifier(), 500, 2, "PCA or TruncatedSVD"),
        (EmpiricalBayesClassifier(), 20, 100, "merge classes"),
        (EmpiricalBayesRegressor(), 900, None, "prior='intercept'"),
    ],
)
def test_a_long_fit_says_so_before_its_search_and_can_be_interrupted(
    model, n_columns, n_classes, remedy, monkeypatch
):
    before = dict(vars(model))
    module = "skmeta._core.prior.duration._multiplications_per_second"
    monkeypatch.setattr(module, lambda: 5e9)  # the speed of an ordinary machine

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skmeta._core.prior.learn.StructureSearch", interrupt)
    # several classes look at their slopes before the search, which takes long as well
    monkeypatch.setattr("skmeta._core.prior.models.with_slopes_deviation", interrupt)
    with pytest.warns(UserWarning, match=r"about \d+ (minutes|hours)") as caught:
        with pytest.raises(KeyboardInterrupt):
            model.meta_fit(tasks(100, n_columns, n_classes))
    assert any(remedy in str(w.message) for w in caught)
    assert vars(model) == before


@pytest.mark.parametrize("n_classes", [None, 2, 4])
def test_a_short_fit_says_nothing(n_classes):
    cls = EmpiricalBayesClassifier if n_classes else EmpiricalBayesRegressor
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls("isotropic", random_state=0).meta_fit(tasks(20, 4, n_classes))
