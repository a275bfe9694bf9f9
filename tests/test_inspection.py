"""Displays: what they draw is what the models say."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    ReptileRegressor,
    adapt,
)
from skmeta.datasets import make_linear_tasks
from skmeta.inspection import AdaptationDisplay, FewShotCurveDisplay, PriorDisplay
from skmeta.model_selection import compare_baselines, make_few_shot_scorer

pytest.importorskip("matplotlib").use("agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def tasks():
    return make_linear_tasks(33, 12, n_features=2, random_state=0)


@pytest.fixture(scope="module")
def model(tasks):
    return EmpiricalBayesRegressor(random_state=0).meta_fit(tasks[:-1])


# -- score against rows ---------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison(tasks):
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    return compare_baselines(
        EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0),
        X,
        y,
        task=np.repeat(np.arange(33), 12),
        n_support=(0, 1, 5),
        baselines=["pooled model", "own model"],
        pooled=Ridge(),
        cv=3,
        n_repeats=1,
    )


def test_curves_are_the_means_of_the_comparison(comparison):
    display = comparison.plot()
    for name, line in display.lines_.items():
        np.testing.assert_array_equal(line.get_ydata(), -comparison.mean(name))
    assert list(display.bands_) == ["EmpiricalBayesRegressor"]
    labels = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert labels == ["0", "1", "5"]
    assert display.figure_ is display.ax_.figure


def test_displays_draw_on_given_axes(comparison, model, tasks):
    _, axes = plt.subplots(1, 3)
    assert FewShotCurveDisplay.from_comparison(comparison, ax=axes[0]).ax_ is axes[0]
    shown = AdaptationDisplay.from_estimator(model, *tasks[-1], ax=axes[1])
    assert shown.ax_ is axes[1]
    assert PriorDisplay.from_estimator(model, ax=axes[2]).ax_ is axes[2]


def test_without_matplotlib_the_error_names_the_remedy(comparison, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        comparison.plot()


# -- before and after -----------------------------------------------------------------


def test_adaptation_shows_predictions_of_the_start_and_of_the_adapted_model(
    model, tasks
):
    X, y = tasks[-1]
    display = AdaptationDisplay.from_estimator(model, X, y, feature=1, n_support=4)
    rows = np.column_stack([np.full(100, np.median(X[:, 0])), display.grid])
    adapted = model.adapt(X[:4], y[:4])
    np.testing.assert_allclose(display.before, model.predict(rows))
    np.testing.assert_allclose(display.after, adapted.predict(rows))
    np.testing.assert_allclose(display.interval, adapted.predict_interval(rows))
    np.testing.assert_array_equal(display.X_given, X[:4, 1])
    np.testing.assert_array_equal(display.y_other, y[4:])
    assert display.lines_[1].get_label() == "after 4 rows"
    assert display.band_ is not None


def test_adaptation_of_a_pipeline_on_a_frame_names_the_feature(tasks):
    frames = [(pd.DataFrame(X, columns=["price", "size"]), y) for X, y in tasks]
    X, y = (pd.concat([X for X, _ in frames]), np.concatenate([y for _, y in frames]))
    pipe = make_pipeline(PolynomialFeatures(2), EmpiricalBayesRegressor(random_state=0))
    with config_context(enable_metadata_routing=True):
        pipe.fit(X, y, task=np.repeat(np.arange(33), 12))
    display = AdaptationDisplay.from_estimator(pipe, *frames[0], feature="size")
    assert display.ax_.get_xlabel() == "size"
    rows = pd.DataFrame(
        {"price": np.median(frames[0][0]["price"]), "size": display.grid}
    )
    adapted = adapt(pipe, *frames[0])
    np.testing.assert_allclose(display.after, adapted.predict(rows))
    assert display.interval.shape == (100, 2)


def test_adaptation_of_a_classifier_shows_a_probability():
    tasks = make_linear_tasks(20, 12, n_features=1, kind="classification")
    model = EmpiricalBayesClassifier(random_state=0).meta_fit(tasks[:-1])
    display = AdaptationDisplay.from_estimator(model, *tasks[-1])
    assert display.ax_.get_ylabel() == "probability of 1"
    assert ((display.after >= 0) & (display.after <= 1)).all()
    assert display.interval is None


def search_over(encode, X, y, task):
    """A search over a Pipeline of an encoder and a learned prior, fitted."""
    quick = EmpiricalBayesRegressor(noise="shared", random_state=0)
    pipe = make_pipeline(encode, quick)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            pipe,
            {"empiricalbayesregressor__prior": ["diagonal"]},
            cv=GroupKFold(2).set_split_request(groups="task"),
            scoring=make_few_shot_scorer("neg_mean_absolute_error", n_support=3),
            error_score="raise",
        )
        return search.fit(X, y, task=task)


@pytest.fixture
def kinds_and_prices():
    rng = np.random.default_rng(0)
    columns = {
        "kind": np.tile(["b", "a", "b", "b"], 20),
        "price": rng.uniform(1, 5, size=80),
    }
    task = np.repeat(np.arange(10), 8)
    y = columns["price"] * (1 + task % 3) + 4 * (columns["kind"] == "b")
    return columns, y, task


def kind_as_number(table):
    return np.column_stack([np.asarray(table["kind"]) == "b", table["price"]])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_text_stay_at_their_most_common_value(library, kinds_and_prices):
    frames = pytest.importorskip(library)
    columns, y, task = kinds_and_prices
    X = frames.DataFrame(columns)
    search = search_over(FunctionTransformer(kind_as_number), X, y, task)
    display = AdaptationDisplay.from_estimator(search, X[:8], y[:8], feature="price")
    rows = frames.DataFrame({"kind": ["b"] * 100, "price": display.grid})
    np.testing.assert_allclose(display.before, search.predict(rows))
    with pytest.raises(ValueError, match="'kind' holds no numbers"):
        AdaptationDisplay.from_estimator(search, X[:8], y[:8], feature="kind")


def test_a_search_shows_the_names_of_the_columns_of_its_pipeline(kinds_and_prices):
    columns, y, task = kinds_and_prices
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough"
    )
    search = search_over(encode, pd.DataFrame(columns), y, task)
    assert PriorDisplay.from_estimator(search).feature_names == [
        "onehotencoder__kind_a",
        "onehotencoder__kind_b",
        "remainder__price",
    ]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"feature": 2}, "X has 2 features"),
        ({"feature": "price"}, "X has no column names"),
        ({"n_support": 13}, "the task has 12 rows"),
    ],
)
def test_adaptation_errors_name_the_value(options, message, model, tasks):
    with pytest.raises(ValueError, match=message):
        AdaptationDisplay.from_estimator(model, *tasks[-1], **options)


# -- the prior ------------------------------------------------------------------------


def test_the_prior_is_shown_in_either_unit(model):
    own = PriorDisplay.from_estimator(model, scaled=False)
    np.testing.assert_allclose(own.coefficients[0], model.prior_coef_)
    expected = np.sqrt(np.diag(model.prior_covariance_))[:2]
    np.testing.assert_allclose(own.spread[0], expected)
    scaled = PriorDisplay.from_estimator(model)
    ratio = scaled.coefficients / own.coefficients
    np.testing.assert_allclose(ratio, scaled.spread / own.spread)


def test_scaled_priors_do_not_depend_on_units(tasks, model):
    units = np.array([100.0, 0.01])
    other = EmpiricalBayesRegressor(random_state=0)
    other.meta_fit([(X * units, y) for X, y in tasks[:-1]])
    a, b = (PriorDisplay.from_estimator(m) for m in (model, other))
    np.testing.assert_allclose(a.coefficients, b.coefficients, rtol=1e-4)


def test_each_class_has_its_points_in_the_prior():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), rng.integers(0, 3, size=200)
    model = EmpiricalBayesClassifier(prior="diagonal", random_state=0)
    model.fit(X, y, task=np.repeat(np.arange(20), 10))
    display = PriorDisplay.from_estimator(model, feature_names=["a", "b", "c"])
    assert display.coefficients.shape == (3, 3)
    assert len(display.errorbars_) == 3
    names = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert names == ["a", "b", "c"]


def test_names_come_from_the_steps_in_front(tasks):
    from skmeta import meta_fit

    pipe = meta_fit(
        make_pipeline(StandardScaler(), EmpiricalBayesRegressor(random_state=0)), tasks
    )
    assert PriorDisplay.from_estimator(pipe).feature_names == ["x0", "x1"]


def test_models_without_a_prior_distribution_are_refused(tasks):
    model = ReptileRegressor(max_iter=5, random_state=0).meta_fit(tasks)
    with pytest.raises(TypeError, match="ReptileRegressor learns where a task starts"):
        PriorDisplay.from_estimator(model)


# -- in a notebook --------------------------------------------------------------------


def test_the_html_of_a_fitted_model_shows_the_prior_and_its_state(model, tasks):
    html = model._repr_html_()
    assert "Learned from 32 tasks; not adapted to a task." in html
    assert "is for a new task" in html and "adapt_predict" in html
    assert f"{model.prior_coef_[0]:.3g}" in html
    X, y = tasks[-1]
    adapted = model.adapt(X[:1], y[:1])._repr_mimebundle_()["text/html"]
    assert "adapted to 1 row." in adapted


def test_the_html_of_an_unfitted_model_is_scikit_learns():
    assert "Learned from" not in EmpiricalBayesRegressor()._repr_html_()


def test_feature_names_are_escaped_in_html(tasks):
    frames = [(pd.DataFrame(X, columns=["<i>", "b"]), y) for X, y in tasks]
    model = EmpiricalBayesRegressor(random_state=0).meta_fit(frames)
    assert "<i></th>" not in model._repr_html_()
    assert "&lt;i&gt;" in model._repr_html_()


def test_html_of_the_other_meta_learners_says_what_they_have_seen(tasks):
    model = ReptileRegressor(max_iter=5, random_state=0).meta_fit(tasks)
    assert "Learned from 33 tasks" in model._repr_html_()
