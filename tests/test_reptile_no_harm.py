"""Adapting Reptile does no harm, or warns: units, solvers, portions, outlying rows."""

import warnings
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import ReptileClassifier, ReptileRegressor, adapt, meta_fit
from skmeta.datasets import make_linear_tasks, make_sinusoid_tasks
from skmeta.reptile import PAPER_MODE

KINDS = [
    (ReptileRegressor, {}),
    (ReptileRegressor, {"hidden_layer_sizes": (16,)}),
    (ReptileClassifier, {}),
    (ReptileClassifier, {"hidden_layer_sizes": (16,)}),
]


@cache
def trained(number, n_tasks, n_rows=None, **options):
    """A standardising model of `KINDS[number]` that no test may change."""
    cls, params = KINDS[number]
    tasks = [(X[:n_rows], y[:n_rows]) for X, y in tasks_of(cls, **options)[:n_tasks]]
    return cls(max_iter=200, random_state=0, **params).meta_fit(tasks)


def tasks_of(cls, n_tasks=60, n_samples=25, n_features=5, noise=0.3, seed=0):
    kind = "classification" if cls is ReptileClassifier else "regression"
    return make_linear_tasks(
        n_tasks, n_samples, n_features, kind=kind, noise=noise, random_state=seed
    )


def error(model, X, y):
    """RMSE of a regressor, log loss of a classifier."""
    if hasattr(model, "predict_proba"):
        return log_loss(y, model.predict_proba(X), labels=[0, 1])
    return np.sqrt(np.mean((model.predict(X) - y) ** 2))


def errors_after(model, tasks, *numbers, known=10):
    """Mean error on the later rows of tasks, after adapting to so many rows."""
    return np.mean(
        [
            [
                error(adapt(model, X[:n], y[:n]) if n else model, X[known:], y[known:])
                for n in numbers
            ]
            for X, y in tasks
        ],
        axis=0,
    )


# -- units ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("params", "n_features", "unit"),
    [
        ({}, 5, 1.0),
        ({}, 30, 1.0),
        ({}, 5, 1e5),
        ({"learn_rates": None}, 5, 1.0),
        ({"solver": "adam"}, 5, 1.0),
        ({"hidden_layer_sizes": (16,)}, 5, 1.0),
        ({"hidden_layer_sizes": (16,)}, 5, 1e-4),
    ],
    ids=str,
)
def test_behind_a_scaler_standardize_makes_no_difference(params, n_features, unit):
    tasks = tasks_of(ReptileRegressor, n_features=n_features)
    tasks = [(X, unit * y) for X, y in tasks]
    once, twice = (
        errors_after(
            meta_fit(
                make_pipeline(
                    StandardScaler(),
                    ReptileRegressor(
                        standardize=standardize, max_iter=150, random_state=0, **params
                    ),
                ),
                tasks[:45],
            ),
            tasks[45:],
            *(0, 1, 5),
        )
        for standardize in (False, True)
    )
    assert (once < 1.05 * twice).all()
    if "hidden_layer_sizes" not in params:
        assert_allclose(once, twice, rtol=0.05)


@pytest.mark.parametrize(("cls", "params"), KINDS)
@pytest.mark.parametrize(("unit", "origin"), [(1e-4, 0.0), (1.0, 2015.0)], ids=str)
def test_raw_units_give_the_model_of_standardised_ones_with_a_warning(
    cls, params, unit, origin
):
    tasks = [
        (X * [unit, 1, 1, 1, 1] + [origin, 0, 0, 0, 0], y) for X, y in tasks_of(cls)
    ]
    model = cls(standardize=False, max_iter=60, random_state=0, **params)
    with pytest.warns(UserWarning, match="column 0 of X has the root mean square"):
        model.meta_fit(tasks[:45])
    standard = cls(max_iter=60, random_state=0, **params).meta_fit(tasks[:45])
    assert_allclose(
        errors_after(model, tasks[45:], 0, 5), errors_after(standard, tasks[45:], 0, 5)
    )


# -- the loops of the paper may diverge, and say so -----------------------------------


@pytest.mark.parametrize("rate", [0.7, 1.0])
def test_meta_training_that_diverges_but_stays_finite_warns(rate):
    tasks = tasks_of(ReptileRegressor, n_features=30)
    params = {"solver": "sgd", "learning_rate": rate, "max_iter": 30, "batch_size": 3}
    model = ReptileRegressor(**PAPER_MODE | params, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.warns(UserWarning, match="ended with a loss of.*learning_rate"):
            model.meta_fit(tasks)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_adapting_that_raises_the_loss_of_the_rows_given_warns(solver):
    tasks = tasks_of(ReptileRegressor)
    params = {"solver": solver, "learning_rate": 0.02, "max_iter": 100}
    model = ReptileRegressor(**PAPER_MODE | params, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.meta_fit(tasks).adapt(tasks[0][0][:5], tasks[0][1][:5])
    model.set_params(learning_rate=30.0)
    X, y = tasks[0]
    ids = np.arange(6) % 2
    with pytest.warns(UserWarning, match="raised the loss of the very rows.*Lower"):
        model.adapt(X[:5], y[:5])
    model.set_params(batch_size=None, adapt_steps=1)
    with pytest.warns(UserWarning, match="of 2 tasks.*Lower"):
        model.adapt_predict(X[:6], y[:6], X[:2], task=ids, task_new=[0, 1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cls", [ReptileRegressor, ReptileClassifier])
def test_settings_of_the_paper_that_work_do_not_warn(cls):
    params = {"learning_rate": 0.01, "max_iter": 100}
    model = cls((8,), **PAPER_MODE | params, random_state=0).meta_fit(tasks_of(cls))
    X, y = tasks_of(cls, seed=1)[0]
    model.adapt(X[:1], y[:1]).partial_adapt(X[1:5], y[1:5])


# -- Adam -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("cls", "params"), KINDS)
def test_adam_with_its_default_rate_is_not_much_worse_after_few_rows(cls, params):
    tasks = tasks_of(cls)
    model = cls(solver="adam", max_iter=300, random_state=0, **params)
    none, one, two = errors_after(model.meta_fit(tasks[:45]), tasks[45:], 0, 1, 2)
    assert max(one, two) < 1.05 * none


def test_adam_with_its_default_rate_is_not_much_worse_on_sine_waves():
    tasks = make_sinusoid_tasks(80, 20, random_state=0)
    model = ReptileRegressor((32,), solver="adam", max_iter=300, random_state=0)
    none, one, two = errors_after(model.meta_fit(tasks[:60]), tasks[60:], 0, 1, 2)
    assert max(one, two) < 1.25 * none


def test_the_rate_depends_on_the_solver_if_none_is_given(linear_tasks):
    for solver, rate in (("sgd", 0.1), ("adam", 0.001)):
        model = ReptileRegressor(solver=solver, learn_rates=None, max_iter=2)
        assert_allclose(model.meta_fit(linear_tasks).rate_coefs_[0], rate)
        model.set_params(learning_rate=0.3)
        assert_allclose(model.rate_coefs_[0], 0.3)


# -- portions -------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("portions", [[1] * 30, [5] * 6, [1, 12, 2, 15]], ids=str)
def test_adapting_in_portions_ends_near_adapting_to_all_rows(number, portions):
    tasks = tasks_of(KINDS[number][0], n_samples=60)
    model = trained(number, 45, n_rows=15, n_samples=60)
    scores = []
    for X, y in tasks[50:]:
        few, first = model.adapt(X[: portions[0]], y[: portions[0]]), portions[0]
        for n in portions[1:]:
            few.partial_adapt(X[first : first + n], y[first : first + n])
            first += n
        assert few.n_adapt_rows_ == 30
        together = model.adapt(X[:30], y[:30])
        scores.append([error(m, X[30:], y[30:]) for m in (model, together, few)])
    none, together, few = np.mean(scores, axis=0)
    assert few < together + 0.25 * (none - together) + 0.03 * none


def test_a_row_counts_by_its_weight_in_the_portions_to_come(regressor, linear_tasks):
    X, y = linear_tasks[0]
    heavy = regressor.adapt(X[:2], y[:2], [5.0, 5.0]).partial_adapt(X[2:3], y[2:3])
    again = regressor.adapt(X[:2].repeat(5, 0), y[:2].repeat(5))
    again.partial_adapt(X[2:3], y[2:3])
    assert_allclose(heavy.predict(X), again.predict(X))


def test_a_new_task_begins_without_rows(regressor, linear_tasks):
    X, y = linear_tasks[0]
    few = regressor.adapt(X[:9], y[:9]).reset_adaptation().partial_adapt(X[:2], y[:2])
    assert_allclose(few.predict(X), regressor.adapt(X[:2], y[:2]).predict(X))
    rows = few.partial_adapt(X[2:4], y[2:4]).predict(X)
    again = regressor._adapt_each([(X[:2], y[:2])])[0].partial_adapt(X[2:4], y[2:4])
    assert_allclose(again.predict(X), rows)


# -- a row far out --------------------------------------------------------------------


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("factor", [1e3, 1e6])
def test_one_outlying_row_does_not_spoil_what_the_others_teach(number, factor):
    tasks = tasks_of(KINDS[number][0], noise=0.1)
    model = trained(number, 40, noise=0.1)
    scores = []
    for X, y in tasks[48:]:
        far = X[:10].copy()
        far[3, 0] *= factor
        without = model.adapt(np.delete(X[:10], 3, 0), np.delete(y[:10], 3))
        few = model.adapt(far, y[:10])
        scores.append([error(m, X[10:], y[10:]) for m in (model, without, few)])
    none, without, few = np.mean(scores, axis=0)
    assert few < without + 0.3 * max(none - without, 0.04 * none)


# -- weights --------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "params"), KINDS)
@pytest.mark.parametrize("standardize", [True, False])
def test_weights_with_a_small_sum_warn_and_do_no_harm(cls, params, standardize):
    tasks = tasks_of(cls)
    model = cls(max_iter=60, standardize=standardize, random_state=0, **params)
    model.meta_fit(tasks[:45])
    scores = []
    for X, y in tasks[45:]:
        with pytest.warns(UserWarning, match="mean sample weight of a row is 0.002"):
            few = model.adapt(X[:5], y[:5], np.full(5, 0.002))
        scores.append([error(m, X[5:], y[5:]) for m in (model, few)])
    none, light = np.mean(scores, axis=0)
    assert light < 1.02 * none


@pytest.mark.parametrize("cls", [ReptileRegressor, ReptileClassifier])
def test_small_weights_in_training_warn_once(cls):
    tasks = [(X, y, np.full(len(y), 1 / 1500)) for X, y in tasks_of(cls)]
    model = cls(max_iter=20, random_state=0)
    with pytest.warns(UserWarning, match="divide them by their mean") as caught:
        model.meta_fit(tasks)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.adapt(*tasks[0])


@pytest.mark.filterwarnings("error")
def test_one_row_of_small_weight_does_not_warn(regressor, linear_tasks):
    X, y = linear_tasks[0]
    regressor.adapt(X[:1], y[:1], [0.01])
    regressor.adapt(X[:3], y[:3], [1.0, 0.01, 0.0])


# -- precision ------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("unit", "origin"), [(1.0, 1e8), (1.0, -1e6), (1e40, 0.0), (1e-40, 0.0)]
)
def test_single_precision_distinguishes_targets_far_from_zero(unit, origin):
    tasks = [
        (X.astype(np.float32), unit * y + origin) for X, y in tasks_of(ReptileRegressor)
    ]
    model = ReptileRegressor(max_iter=40, random_state=0)
    single = model.meta_fit(tasks)
    X, y = tasks[0]
    few, rows = single.adapt(X[:9], y[:9]), (X[:9], y[:9], X)
    double = [(X.astype(float), y) for X, y in tasks]
    together = single.adapt_predict(*rows, task=np.zeros(9), task_new=np.zeros(len(X)))
    expected = clone(model).meta_fit(double).adapt(double[0][0][:9], y[:9])
    expected = expected.predict(X.astype(float))
    for predicted in (few.predict(X), together):
        assert np.abs(predicted - expected).max() < 1e-3 * unit * np.std(y / unit)


# -- going on from an earlier fit -----------------------------------------------------


@pytest.mark.parametrize(("first", "then"), [("own", "shared"), ("shared", "own")])
@pytest.mark.parametrize("verb", ["fit", "meta_fit"])
def test_warm_start_refuses_another_kind_of_classes(first, then, verb, unchanged):
    tasks = tasks_of(ReptileClassifier, n_tasks=8)
    model = ReptileClassifier(task_classes=first, warm_start=True, max_iter=3)
    model.meta_fit(tasks).set_params(task_classes=then)
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    with unchanged(model), pytest.raises(ValueError, match=r"task_classes=.*Put"):
        if verb == "fit":
            model.fit(X, y, task=np.repeat(np.arange(8), 25))
        else:
            model.meta_fit(tasks)
