"""How much of their uncertainty the probabilities of a classifier average over."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, softmax

from skmeta import EmpiricalBayesClassifier
from skmeta._core.prior.laplace import LaplaceTasks
from skmeta._core.prior.likelihoods import of_labels
from skmeta._core.prior.moderation import MODERATIONS, moderation
from skmeta.datasets import make_linear_tasks


def uneven(n_tasks, rng, n_classes=2, n=10):
    """Tasks whose intercepts differ much, and in which the first class is common."""
    g = np.repeat(np.arange(n_tasks), n)
    x = rng.normal(size=len(g))
    if n_classes == 2:
        eta = -3 + x + 3 * rng.normal(size=n_tasks)[g]
        return x[:, None], (rng.random(len(g)) < expit(eta)).astype(int), g
    eta = 2.5 * rng.normal(size=(n_tasks, n_classes))[g]
    eta[:, 0] += 2.0
    p = softmax(eta, axis=1).cumsum(axis=1)
    return x[:, None], (rng.random((len(g), 1)) > p).sum(axis=1), g


@cache
def uneven_model(n_classes):
    """A model that no test may change, and its rows."""
    X, y, g = uneven(80, np.random.default_rng(2), n_classes)
    return EmpiricalBayesClassifier("intercept", random_state=0).fit(X, y, task=g), X, y


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("start", ["prior", "pooled", "constant"])
def test_before_adapting_probabilities_are_the_shares_of_the_classes(n_classes, start):
    fitted, X, y = uneven_model(n_classes)
    model = deepcopy(fitted)
    learned = replace(model._learned, zero_shot=start, start_mean=model._learned.mean)
    if start != "prior":
        design = np.column_stack([(X - X.mean()) / X.std(), np.ones(len(X))])
        Y = (y == 1)[:, None] * 1.0 if n_classes == 2 else np.eye(n_classes)[y]
        rows = (design, Y, np.ones(len(X)), np.zeros(Y.shape))
        tasks = LaplaceTasks.gather([rows], of_labels(Y.shape[1]), True)
        mean = getattr(tasks, start)()
        learned = replace(learned, start_mean=mean)
    # the share of the variance that is averaged over is for adapted models only
    model._learned = replace(learned, calibration=0.0)
    share = np.bincount(y) / len(y)
    assert_allclose(model.predict_proba(X).mean(axis=0), share, atol=0.035)


def test_the_share_is_a_mean_weighted_by_how_well_held_out_tasks_are_predicted():
    a_priori = moderation(np.zeros((len(MODERATIONS), 5)))
    assert 0.9 < a_priori < 1.0  # nearly the whole variance of the posterior
    score = np.zeros((len(MODERATIONS), 100))
    for option, share in enumerate(MODERATIONS[:-1]):  # a share of 0 is never the best
        sure = score.copy()
        sure[option] += 1.0
        assert_allclose(moderation(sure), share)
    shares = []
    for gain in np.linspace(-0.02, 0.02, 41):
        score[0] = gain
        shares.append(moderation(score))
    assert (np.diff(shares) > 0).all() and np.diff(shares).max() < 0.05


def test_seeds_hardly_move_a_probability():
    *known, (X, y) = make_linear_tasks(
        31, n_samples=12, kind="classification", random_state=0
    )
    p = [
        EmpiricalBayesClassifier("isotropic", random_state=seed)
        .meta_fit(known)
        .adapt(X[:3], y[:3])
        .predict_proba(X)[:, 1]
        for seed in range(4)
    ]
    assert np.ptp(p, axis=0).max() < 0.02


def test_the_share_is_finite_where_tasks_fit_none_that_is_possible_well():
    scores = np.array([[-4000.0], [-3000.0], [-2000.0], [-1000.0], [0.0]])
    assert moderation(scores) == 0.25
