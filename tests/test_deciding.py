"""Draws for Thompson sampling, and what one more answer is worth."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, softmax
from sklearn.linear_model import LinearRegression

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
)
from skmeta._core.prior.deciding import gain_of_lines
from skmeta.datasets import make_linear_tasks

BASE = LinearRegression()


@cache
def numbers(noise="shared", base=None):
    """A model, and rows of a new task; nobody writes into them."""
    *tasks, (X, y) = make_linear_tasks(
        20, n_features=2, spread=1.0, noise=1.0, random_state=1
    )
    model = EmpiricalBayesRegressor(
        "diagonal", noise=noise, base_estimator=base, random_state=0
    )
    return model.meta_fit(tasks), X, y


@cache
def labels(n_classes=2):
    rng, tasks = np.random.default_rng(1), []
    for theta in rng.normal(size=(14, 2, n_classes)):
        X = rng.normal(size=(12, 2))
        tasks.append((X, (X @ theta + rng.gumbel(size=(12, n_classes))).argmax(axis=1)))
    *tasks, (X, y) = tasks
    model = EmpiricalBayesClassifier("isotropic", random_state=0)
    return model.meta_fit(tasks), X, y


@cache
def counts():
    rng = np.random.default_rng(0)
    tasks = []
    for level in rng.normal(size=14):
        X = rng.normal(size=(10, 2))
        tasks.append((X, rng.poisson(np.exp(1.0 + level + 0.5 * X[:, 0]))))
    *tasks, (X, y) = tasks
    model = EmpiricalBayesPoissonRegressor("diagonal", random_state=0)
    return model.meta_fit(tasks), X, y


# -- draws ----------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["shared", "task"])
def test_draws_of_coefficients_have_the_mean_and_covariance_shown(noise):
    model, X, y = numbers(noise)
    adapted = model.adapt(X[:3], y[:3])
    drawn = adapted.sample_coef(40000, random_state=0)
    assert drawn.shape == (40000, 3)
    size = np.sqrt(np.diag(adapted.covariance_))
    mean = np.append(adapted.coef_, adapted.intercept_)
    assert_allclose(drawn.mean(axis=0) / size, mean / size, atol=0.03)
    covariance = np.cov(drawn.T) / np.outer(size, size)
    assert_allclose(covariance, adapted.covariance_ / np.outer(size, size), atol=0.03)
    again = adapted.sample_coef(40000, np.random.RandomState(0))
    assert_allclose(again, drawn)


def test_before_adapting_coefficients_are_those_of_a_new_task():
    for make in (numbers, labels):
        model, *_ = make()
        drawn = model.sample_coef(20000, random_state=0)
        mean = np.append(model.prior_coef_, model.prior_intercept_)
        size = np.sqrt(np.diag(model.prior_covariance_))
        assert_allclose((drawn.mean(axis=0) - mean) / size, 0.0, atol=0.05)
        assert (drawn.std(axis=0) > 0.95 * size).all()


def test_several_classes_have_draws_of_each():
    model, X, y = labels(3)
    adapted = model.adapt(X[:4], y[:4])
    assert adapted.sample_coef(5, 0).shape == (5, 3, 3)
    drawn = adapted.sample_y(X[4:6], 4000, random_state=0)
    share = [(drawn == label).mean(axis=0) for label in model.classes_]
    assert_allclose(np.transpose(share), adapted.predict_proba(X[4:6]), atol=0.05)
    with pytest.raises(ValueError, match="more than two classes"):
        adapted.expected_gain(X)
    gain = adapted.expected_gain(X, label=model.classes_[1])
    assert gain.shape == (12,) and (gain >= 0).all()


@pytest.mark.parametrize("noise", ["shared", "task"])
@pytest.mark.parametrize("adapted", [False, True])
def test_draws_of_numbers_are_as_predicted_and_rows_belong_together(noise, adapted):
    model, X, y = numbers(noise, BASE if noise == "shared" else None)
    model = model.adapt(X[:3], y[:3]) if adapted else model
    rows = np.vstack([X[5:7], X[5:6]])
    drawn = model.sample_y(rows, 40000, random_state=0)
    mean, deviation = model.predict(rows, return_std=True)
    assert drawn.shape == (40000, 3)
    assert_allclose(drawn.mean(axis=0), mean, atol=0.03 * deviation.max())
    assert_allclose(drawn.std(axis=0), deviation, rtol=0.04)
    # equal rows differ by their noise only
    apart = np.var(drawn[:, 0] - drawn[:, 2]) / 2
    scale = model._learned.calibration.of(model._present).scales[1]
    assert_allclose(apart, scale * model.noise_variance_, rtol=0.1)


def test_draws_of_labels_and_counts_are_as_predicted():
    model, X, y = labels()
    drawn = model.adapt(X[:3], y[:3]).sample_y(X[3:5], 20000, random_state=0)
    assert set(np.unique(drawn)) <= set(model.classes_)
    share = (drawn == model.classes_[1]).mean(axis=0)
    p = model.adapt(X[:3], y[:3]).predict_proba(X[3:5])[:, 1]
    assert_allclose(share, p, atol=0.02)  # probabilities come from a formula
    model, X, y = counts()
    adapted = model.adapt(X[:3], y[:3])
    drawn = adapted.sample_y(X[3:5], 20000, random_state=0, exposure=[1.0, 3.0])
    assert_allclose(drawn.mean(axis=0), adapted.predict(X[3:5]) * [1, 3], rtol=0.05)
    low, high = adapted.predict_interval(X[3:5], exposure=[1.0, 3.0]).T
    inside = ((drawn >= low) & (drawn <= high)).mean(axis=0)
    assert (inside > 0.88).all()


def test_what_is_no_number_of_draws_is_refused():
    model, X, _ = numbers()
    for n in (0, 1.5, True):
        with pytest.raises(ValueError, match="number of draws, must be at least 1"):
            model.sample_coef(n)
        with pytest.raises(ValueError, match="number of draws, must be at least 1"):
            model.sample_y(X, n)


# -- what an answer is worth ----------------------------------------------------------


def test_the_gain_of_lines_is_that_of_an_integral():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=9), rng.normal(size=(6, 9))
    b[0], b[1, 1:] = 2.0, 2.0  # parallel lines, and all parallel but one
    a[3], b[2, 3] = a[4], b[2, 4]  # equal lines
    z = np.linspace(-9.0, 9.0, 200001)
    weight = np.exp(-0.5 * z**2)
    mean = [(a[:, None] + np.outer(of, z)).max(axis=0) @ weight for of in b]
    expected = np.array(mean) / weight.sum() - a.max()
    assert_allclose(gain_of_lines(a, b), expected, atol=1e-8)
    assert gain_of_lines(a, b)[0] == 0.0


@pytest.mark.parametrize("base", [None, BASE], ids=["plain", "base model"])
def test_the_gain_of_numbers_is_that_of_a_simulation(base):
    model, X, y = numbers("shared", base)
    adapted = model.adapt(X[:1], y[:1])
    nearly_alike = adapted.coef_[::-1] * [-1.0, 0.9] / np.abs(adapted.coef_).max()
    shelf = np.outer(np.linspace(-2.0, 2.0, 7), nearly_alike)
    gain, now = adapted.expected_gain(X[1:4], shelf), adapted.predict(shelf).argmax()
    found, rng = [], np.random.default_rng(0)
    off = 0.0 if base is None else adapted.base_estimator_.predict(X[2:3])[0]
    for coef in adapted.sample_coef(200, random_state=0):
        answer = off + X[2] @ coef[:2] + coef[2]
        answer += np.sqrt(adapted.noise_variance_) * rng.normal()
        # the mean of the truth given the answer varies less than the truth itself
        then = model.adapt(X[[0, 2]], [y[0], answer]).predict(shelf)
        found.append(then.max() - then[now])
    error = np.std(found) / np.sqrt(len(found))
    assert error > 0 and abs(np.mean(found) - gain[1]) < 4 * error
    assert (gain >= 0).all()


def test_the_gain_of_the_first_label_is_exact():
    model, X, _ = labels()
    pool = X[:6]
    rows = np.column_stack([pool, np.ones(6)])
    drawn = model.sample_coef(400_000, random_state=0)
    utility, p = drawn @ rows.T, expit(drawn @ rows[2])
    best = utility.mean(axis=0).argmax()
    expected = 0.0
    for of_label in (p, 1.0 - p):
        then = of_label @ utility / len(drawn)
        expected += then.max() - then[best]
    assert_allclose(model.expected_gain(pool)[2], expected, rtol=0.03)


def test_each_possible_label_is_tried():
    model, X, y = labels()
    adapted, pool, shelf = model.adapt(X[:3], y[:3]), X[3:7], X[7:]
    gain = adapted.expected_gain(pool, shelf)
    now, p = (shelf @ adapted.coef_[0]).argmax(), adapted.predict_proba(pool)
    for row, of_row in zip(pool, p, strict=True):
        expected = 0.0
        for label, share in zip(model.classes_, of_row, strict=True):
            again = model.adapt(np.vstack([X[:3], row]), np.append(y[:3], label))
            then = shelf @ again.coef_[0]
            expected += share * (then.max() - then[now])
        assert_allclose(gain[0], expected, atol=1e-10)
        gain = gain[1:]
    other = adapted.expected_gain(pool, shelf, label=model.classes_[0])
    assert (other >= 0).all()


def test_counts_are_tried_one_by_one_or_by_quantiles():
    model, X, y = counts()
    adapted = model.adapt(X[:2], y[:2])
    gain = adapted.expected_gain(X[2:5], X[5:])
    assert gain.shape == (3,) and (gain >= 0).all()
    rates, probable = adapted.predict(X[5:]), adapted.sample_y(X[2:3], 3000, 0)[:, 0]
    values, times = np.unique(probable, return_counts=True)
    expected = 0.0
    for value, share in zip(values, times / 3000, strict=True):
        again = model.adapt(X[:3], np.append(y[:2], value)).predict(X[5:])
        expected += share * (again.max() - again[rates.argmax()])
    assert_allclose(gain[0], expected, atol=0.05 * rates.max())
    large = model.adapt(X[:2], 1000.0 * y[:2] + 100.0).expected_gain(X[2:5], X[5:])
    assert np.isfinite(large).all() and (large >= 0).all()


@pytest.mark.parametrize("outside", [False, True])
def test_each_possible_choice_is_tried(outside, choices):
    model, X, y, sets = choices(outside)
    some, rest = sets < 3, sets >= 5
    adapted = model.adapt(X[some], y[some], choice_set=sets[some])
    labels, shelf = np.array(list("zyx"))[sets[rest] - 5], X[(sets > 2) & ~rest]
    gain = adapted.expected_gain(X[rest], shelf, choice_set=labels)
    now, chosen = adapted.predict(shelf).argmax(), [*np.eye(3)]
    chosen += [np.zeros(3)] if outside else []
    for n, label in enumerate("zyx"):
        screen, expected = X[rest][labels == label], 0.0
        p = adapted.predict_proba(screen)
        for share, one in zip([*p, 1.0 - p.sum()], chosen, strict=False):
            again = model.adapt(
                np.vstack([X[some], screen]),
                np.append(y[some], one),
                choice_set=np.append(sets[some], [9, 9, 9]),
            )
            then = again.predict(shelf)
            expected += share * (then.max() - then[now])
        assert_allclose(gain[n], expected, atol=1e-8)
    # sets of another size, in another order, and before any answer
    few = np.flatnonzero(rest)[::-1][:-1]
    other = adapted.expected_gain(X[few], shelf, choice_set=sets[few])
    assert_allclose(other[:2], gain[[2, 1]], atol=1e-8)
    drawn = model.sample_coef(200_000, random_state=0)
    slopes, level = drawn[:, :2], drawn[:, 2:].sum(axis=1, keepdims=True)
    utility, screen = slopes @ shelf.T, slopes @ X[rest][labels == "y"].T + level
    screen = np.hstack([screen, np.zeros((len(screen), 1))])[:, : 3 + outside]
    best, expected = utility.mean(axis=0).argmax(), 0.0
    for of_choice in softmax(screen, axis=1).T:
        then = of_choice @ utility / len(utility)
        expected += then.max() - then[best]
    first = model.expected_gain(X[rest], shelf, choice_set=labels)
    assert_allclose(first[1], expected, rtol=0.05)
    if not outside:
        alone = model.expected_gain(X[:3], shelf, choice_set=[0, 1, 2])
        assert (alone == 0).all()


def test_choices_are_drawn_on_each_shelf(choices):
    model, X, y, sets = choices(outside=True)
    with pytest.raises(ValueError, match="needs choice_set, the screen of each"):
        model.expected_gain(X)
    adapted = model.adapt(X[:6], y[:6], choice_set=sets[:6])
    drawn = adapted.sample_y(X[6:], 4000, random_state=0, choice_set=sets[6:])
    p = adapted.predict_proba(X[6:], choice_set=sets[6:])
    assert set(np.unique(drawn)) == {0, 1}
    assert_allclose(drawn.mean(axis=0), p, atol=0.05)
    assert drawn.reshape(4000, 6, 3).sum(axis=2).max() == 1
    assert adapted.sample_coef(4, 0).shape == (4, 3)


def test_the_units_of_y_are_those_of_the_gain():
    *tasks, (X, y) = make_linear_tasks(24, n_features=2, random_state=1)
    gains = []
    for a, b in ((1.0, 0.0), (1e6, 3e6)):
        scaled = [(1e3 * X + 1e6, a * y + b) for X, y in tasks]
        model = EmpiricalBayesRegressor("isotropic", noise="shared").meta_fit(scaled)
        adapted = model.adapt(1e3 * X[:2] + 1e6, a * y[:2] + b)
        gains.append(adapted.expected_gain(1e3 * X[2:] + 1e6) / a)
    assert_allclose(*gains, rtol=1e-3, atol=1e-6)


def test_an_answer_is_worth_less_and_less():
    model, X, y = labels()
    most = [
        model.adapt(X[:n], y[:n]).expected_gain(X).max()
        if n
        else model.expected_gain(X).max()
        for n in (0, 6, 12)
    ]
    assert most[0] > most[1] > most[2]


def test_rows_that_are_too_far_away_are_refused():
    model, X, _ = numbers()
    far = X.copy()
    far[0, 0] = 1e60
    with pytest.raises(ValueError, match="pool has a row"):
        model.expected_gain(far)
    with pytest.raises(ValueError, match="shelf has a row"):
        model.expected_gain(X, far)
