"""How much the log-odds of a base classifier count."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, softmax
from sklearn.metrics import log_loss
from sklearn.tree import DecisionTreeClassifier

from skmeta import EmpiricalBayesClassifier, ReptileClassifier
from skmeta._core.margin import margin_scale


def rows(n_outputs, n=3000):
    """Columns, log-odds that are not a linear function of them, and labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    eta = 1.5 * np.sin(2 * X[:, [0]] + np.arange(n_outputs)) * X[:, [1]]
    if n_outputs == 1:
        return X, eta, (rng.random((n, 1)) < expit(eta)) * 1.0
    Y = np.stack([rng.multinomial(1, p) for p in softmax(eta, axis=1)])
    return X, eta, Y * 1.0


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("times", [1.0, 4.0, 0.6])
def test_the_scale_corrects_log_odds_that_are_too_large_or_too_small(n_outputs, times):
    X, eta, Y = rows(n_outputs)
    scale = margin_scale(times * eta, Y, np.ones(len(X)), X)
    assert_allclose(scale * times, 1.0, atol=0.12)


def test_noise_gets_scale_zero_and_a_repeat_of_x_keeps_scale_one():
    X, _, _ = rows(1)
    rng = np.random.default_rng(1)
    Y = (rng.random((len(X), 1)) < expit(X @ [[1.0], [-1.0]])) * 1.0
    weight = np.ones(len(X))
    assert margin_scale(5 * rng.normal(size=(len(X), 1)), Y, weight, X) < 0.02
    linear = X @ np.array([[1.0], [-1.0]])
    assert_allclose(margin_scale(linear, Y, weight, X), 1.0, atol=0.1)
    assert_allclose(margin_scale(0 * linear, Y, weight, X), 1.0)


@pytest.mark.parametrize(
    "learner",
    [
        EmpiricalBayesClassifier("intercept", random_state=0),
        ReptileClassifier(max_iter=200, random_state=0),
    ],
    ids=["empirical Bayes", "Reptile"],
)
def test_an_overconfident_base_model_does_no_harm(learner):
    rng = np.random.default_rng(0)

    def tasks(n_tasks, n):
        for X in rng.normal(size=(n_tasks, n, 2)):
            eta = X @ [1, -1] + rng.normal()
            yield X, (rng.random(n) < expit(eta)).astype(int)

    known, new = list(tasks(60, 15)), list(tasks(40, 40))

    def losses(base):
        model = learner.set_params(base_estimator=base).meta_fit(known)
        few = [(model.adapt(X[:10], y[:10]), X[10:], y[10:]) for X, y in new]
        return [log_loss(y, m.predict_proba(X), labels=[0, 1]) for m, X, y in few]

    alone = losses(None)
    harm = np.subtract(losses(DecisionTreeClassifier(random_state=0)), alone)
    assert harm.mean() < 0.01 + 2 * harm.std() / np.sqrt(len(harm))
