"""Predictions as sums of parts: `explain`, its object and its display."""

import pickle
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    ReptileRegressor,
    TaskBank,
    TaskStatistics,
    adapt,
    meta_fit,
)
from skmeta._core.prior import explain as explaining
from skmeta._core.prior.answers import MOST_ANSWERS
from skmeta.datasets import make_linear_tasks, make_sinusoid_tasks
from skmeta.inspection import ExplanationDisplay, explain


def tasks_of(kind="regression", n=14, d=3, **options):
    return make_linear_tasks(n, n_features=d, kind=kind, random_state=0, **options)


@cache
def numbers():
    """A model, and rows of a new task; nobody writes into them."""
    *tasks, (X, y) = tasks_of()
    model = EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)
    return model.meta_fit(tasks), X, y


def counts(n=12):
    rng = np.random.default_rng(0)
    tasks = []
    for level in rng.normal(size=n):
        X = rng.normal(size=(10, 2))
        tasks.append((X, rng.poisson(np.exp(1.0 + level + 0.5 * X[:, 0]))))
    return tasks


def of_three_classes(n=8):
    rng = np.random.default_rng(0)
    tasks = []
    for theta in rng.normal(size=(n, 2, 3)):
        X = rng.normal(size=(12, 2))
        tasks.append((X, (X @ theta + rng.gumbel(size=(12, 3))).argmax(axis=1)))
    return tasks


def assert_sums(found, total, rtol=1e-10):
    atol = rtol * np.abs(total).max()
    assert_allclose(found.total, total, rtol=0, atol=atol)
    assert_allclose(found.by_source.sum(axis=1), total, rtol=0, atol=atol)
    assert_allclose(found.by_feature.sum(axis=1), total, rtol=0, atol=atol)
    for row in range(len(total)):
        table = found.table(row)
        assert_allclose(table.sum(axis=1), found.by_source[row], rtol=0, atol=atol)
        assert_allclose(table.sum(axis=0), found.by_feature[row], rtol=0, atol=atol)


# -- numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"noise": "task", "prior": "full"},
        {"half_life": 3.0, "noise": "task"},
        {"half_life": 3.0, "time_column": 1},
        {"varying": [0]},
        {"base_estimator": LinearRegression()},
        {"fit_intercept": False},
        {"standardize": False},
    ],
    ids=str,
)
def test_the_parts_of_a_number_sum_to_the_prediction(params):
    *tasks, (X, y) = tasks_of()
    tasks = [(1e3 * X + 1e6, 1e6 * y - 3e6) for X, y in tasks]
    X, y = 1e3 * X + 1e6, 1e6 * y - 3e6
    params = {"prior": "diagonal", "noise": "shared", "random_state": 0} | params
    model = EmpiricalBayesRegressor(**params).meta_fit(tasks)
    adapted = model.adapt(X[:2], y[:2], [1.0, 0.5]).partial_adapt(X[2:3], y[2:3])
    adapted.partial_adapt(X[3:5], y[3:5])
    found = adapted.explain(X[5:])
    assert found.n_answers == 5 and found.answers.shape == (15, 5)
    assert_sums(found, adapted.predict(X[5:]))
    assert_sums(model.explain(X[5:]), model.predict(X[5:]))


def test_an_answer_adds_what_it_moves_the_prediction_by():
    model, X, y = numbers()
    adapted = model.adapt(X[:3], y[:3])
    found = adapted.explain(X[3:])
    expected = np.append(y[:1], X[1:3] @ model.prior_coef_ + model.prior_intercept_)
    one = model.adapt(X[:3], expected)  # the others are as expected
    prior = X[3:] @ model.prior_coef_ + model.prior_intercept_
    assert_allclose(found.by_source[:, 0], prior)
    assert_allclose(found.answers[:, 0], one.predict(X[3:]) - prior, atol=1e-10)
    assert_allclose(one.explain(X[3:]).answers[:, 1:], 0.0, atol=1e-10)


def test_features_are_compared_with_the_reference():
    model, X, y = numbers()
    adapted = model.adapt(X[:3], y[:3])
    found = adapted.explain(X[3:], reference=X[4])
    assert_allclose(found.by_feature[:, 0], adapted.predict(X[4:5])[0])
    assert_allclose(found.by_feature[:, 1:], (X[3:] - X[4]) * adapted.coef_)
    mean = np.mean([row for rows, _ in tasks_of()[:-1] for row in rows], axis=0)
    start = adapted.explain(X[3:]).by_feature[:, 0]
    assert_allclose(start, adapted.predict(mean[None])[0])
    assert_sums(found, adapted.predict(X[3:]))


def test_answers_are_exact_if_there_is_hardly_any_noise():
    *tasks, (X, y) = tasks_of(noise=1e-9)
    model = EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)
    adapted = model.meta_fit(tasks).adapt(X, y)
    assert_sums(adapted.explain(X), adapted.predict(X))


def test_many_answers_are_taken_together():
    rng, (model, *_) = np.random.default_rng(0), numbers()
    X = rng.normal(size=(MOST_ANSWERS + 20, 3))
    y = X.sum(axis=1) + rng.normal(size=len(X))
    several = model.adapt(X[:30], y[:30]).partial_adapt(X[30:], y[30:])
    for adapted in (model.adapt(X, y), several):
        found = adapted.explain(X[:4])
        assert found.source_names[:2] == ["prior", "earlier answers"]
        assert found.n_answers == MOST_ANSWERS
        assert_sums(found, adapted.predict(X[:4]))
    assert len(pickle.dumps(several)) < 16_000 + 80 * MOST_ANSWERS


@pytest.mark.parametrize("half_life", [None, 50.0])
def test_answers_that_come_one_by_one_are_kept_like_answers_that_come_together(
    half_life,
):
    *tasks, (X, y) = tasks_of(n_samples=MOST_ANSWERS + 40)
    model = EmpiricalBayesRegressor(
        "isotropic", noise="shared", half_life=half_life, random_state=0
    ).meta_fit([(X[:12], y[:12]) for X, y in tasks])
    adapted = model.adapt(X[:1], y[:1])
    for row in range(1, len(y)):
        adapted.partial_adapt(X[row : row + 1], y[row : row + 1])
    found, together = adapted.explain(X[:2]), model.adapt(X, y).explain(X[:2])
    assert found.source_names == together.source_names
    assert_allclose(found.by_source, together.by_source, atol=1e-8)
    assert len(pickle.dumps(adapted)) < 16_000 + 80 * MOST_ANSWERS


def test_sums_of_rows_are_earlier_answers():
    model, X, y = numbers()
    told = TaskStatistics.from_rows(X[:5], y[:5], np.zeros(5))
    bank = TaskBank(model)
    bank.update(X[:5], y[:5], task="a")
    for adapted in (model.adapt(told), bank.model_of("a")):
        found = adapted.explain(X[5:])
        assert found.source_names == ["prior", "earlier answers"]
        assert_sums(found, adapted.predict(X[5:]))
        adapted.partial_adapt(X[5:6], y[5:6])
        found = adapted.explain(X[5:])
        assert found.source_names == ["prior", "earlier answers", "answer 1"]
        assert_sums(found, adapted.predict(X[5:]))


def test_learned_features_are_one_part():
    *tasks, (X, y) = make_sinusoid_tasks(20, random_state=0)
    model = EmpiricalBayesRegressor(
        "diagonal",
        noise="shared",
        features=LearnedFeatures(max_iter=40),
        random_state=0,
    ).meta_fit(tasks)
    adapted = model.adapt(X[:4], y[:4])
    found = adapted.explain(X[4:])
    assert_sums(found, adapted.predict(X[4:]))
    assert model.n_feature_iter_ > 0
    assert found.feature_names == ["reference", "feature 0", "learned features"]
    with pytest.raises(ValueError, match="learned features"):
        adapted.sample_coef()
    assert adapted.sample_y(X, 2).shape == (2, len(X))
    assert (adapted.expected_gain(X) >= 0).all()


# -- labels and counts ----------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"half_life": 4.0}, {"fit_intercept": False}])
def test_the_parts_of_a_label_sum_to_the_log_odds(params):
    *tasks, (X, y) = tasks_of("classification")
    model = EmpiricalBayesClassifier("diagonal", random_state=0, **params)
    model.meta_fit(tasks)
    adapted = model.adapt(X[:4], y[:4]).partial_adapt(X[4:5], y[4:5])
    log_odds = X[5:] @ adapted.coef_[0] + adapted.intercept_[0]
    found = adapted.explain(X[5:])
    assert_sums(found, log_odds, rtol=1e-8)
    assert (found.labels == model.classes_[1]).all() and found.n_answers == 5
    other = adapted.explain(X[5:], label=model.classes_[0])
    assert_allclose(other.by_source, -found.by_source)
    assert_allclose(other.table(1), -found.table(1))


def test_of_several_classes_one_is_explained():
    base = RandomForestClassifier(3, max_depth=2, random_state=0)
    *tasks, (X, y) = of_three_classes()
    model = EmpiricalBayesClassifier(
        "isotropic", base_estimator=base, random_state=0
    ).meta_fit(tasks)
    adapted = model.adapt(X[:6], y[:6])
    scores = X[6:] @ adapted.coef_.T + adapted.intercept_
    scores = scores + adapted._base_offset(X[6:])
    scores = scores - scores.mean(axis=1, keepdims=True)
    found = adapted.explain(X[6:])
    assert (found.labels == adapted.predict(X[6:])).all()
    place = np.searchsorted(model.classes_, found.labels)
    assert_sums(found, scores[np.arange(len(scores)), place], rtol=1e-7)
    label = model.classes_[2]
    assert_sums(adapted.explain(X[6:], label=label), scores[:, 2], rtol=1e-7)
    with pytest.raises(ValueError, match="label must be one of the classes"):
        adapted.explain(X[6:], label="none of them")


def test_the_parts_of_a_count_sum_to_the_log_rate(monkeypatch):
    *tasks, (X, y) = counts()
    model = EmpiricalBayesPoissonRegressor("diagonal", random_state=0).meta_fit(tasks)
    adapted = model.adapt(X[:3], y[:3], [1.0, 2.0, 0.5])
    found = adapted.explain(X[3:])
    assert found.scale == "log rate"
    assert_sums(found, X[3:] @ adapted.coef_ + adapted.intercept_, rtol=1e-8)
    # the integral over growing weights is precise, however much the answers tell
    large = model.adapt(X[:2], [300.0, 2000.0], [10.0, 30.0])
    alone = large.explain(X[:2]).answers
    monkeypatch.setattr(explaining, "MANY", np.polynomial.legendre.leggauss(80))
    assert_allclose(large.explain(X[:2]).answers, alone, atol=1e-3)


def test_a_label_pulls_towards_what_it_says():
    *tasks, (X, y) = tasks_of("classification")
    model = EmpiricalBayesClassifier("diagonal", random_state=0).meta_fit(tasks)
    adapted = model.adapt(X[:6], y[:6])
    own = np.diag(adapted.explain(X[:6]).answers)
    assert (np.sign(own) == np.where(y[:6] == model.classes_[1], 1, -1)).all()
    # to first order it is what would be missing without it
    less = np.full(6, 1.0)
    less[2] = 0.99
    without = model.adapt(X[:6], y[:6], less)
    found = adapted.explain(X[6:]).answers[:, 2]
    missing = (X[6:] @ (adapted.coef_ - without.coef_)[0]) / 0.01
    missing += (adapted.intercept_ - without.intercept_)[0] / 0.01
    assert np.corrcoef(found, missing)[0, 1] > 0.9


@pytest.mark.parametrize("outside", [False, True])
def test_the_parts_of_a_utility_are_those_of_the_sets_in_the_order_given(
    outside, choices
):
    model, X, y, sets = choices(outside)
    some = sets < 5
    X_new, given = X[sets == 7], np.array(list("edcba"))[sets[some]]
    adapted = model.adapt(X[some], y[some], choice_set=given)
    found = adapted.explain(X_new)
    assert found.scale == "utility" and found.n_answers == 5
    assert_sums(found, adapted.predict(X_new))
    assert_sums(model.explain(X_new), model.predict(X_new))
    portions = model.adapt(X[sets < 2], y[sets < 2], choice_set=sets[sets < 2])
    for number in range(2, 5):
        portions.partial_adapt(X[sets == number], y[sets == number])
    assert_allclose(portions.explain(X_new).by_source, found.by_source, atol=1e-8)
    order = np.random.default_rng(0).permutation(some.sum())
    shuffled = model.adapt(X[some][order], y[some][order], choice_set=given[order])
    place = [list(dict.fromkeys(given[order])).index(label) for label in "edcba"]
    assert_allclose(shuffled.explain(X_new).answers[:, place], found.answers, atol=1e-8)


def test_a_ranked_set_is_one_answer_and_a_silent_one_is_none(choices):
    model, X, y, sets = choices()
    y = y.copy()
    y[sets == 0] = [3.0, 1.0, 2.0]
    y[sets == 1] = 0.0
    some = sets < 3
    with pytest.warns(UserWarning, match="say nothing"):
        adapted = model.adapt(X[some], y[some], choice_set=sets[some])
    found = adapted.explain(X[~some])
    assert found.n_answers == 3 and (found.answers[:, 1] == 0).all()
    assert_sums(found, adapted.predict(X[~some]))


# -- compositions ---------------------------------------------------------------------


def test_a_composition_is_explained_in_the_units_of_y_if_it_only_changes_units():
    *tasks, (X, y) = tasks_of()
    inner = EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)
    inner = make_pipeline(StandardScaler(), inner)
    model = TransformedTargetRegressor(inner, transformer=StandardScaler())
    adapted = adapt(meta_fit(model, tasks), X[:3], y[:3])
    found = explain(FrozenEstimator(adapted), X[3:], reference=X[:1])
    assert found.scale == "y" and found.source_names[-1] == "answer 3"
    assert_sums(found, adapted.predict(X[3:]))
    assert_allclose(found.by_feature[:, 0], adapted.predict(X[:1])[0])


def test_otherwise_it_is_explained_before_it_is_transformed_back():
    *tasks, (X, y) = tasks_of()
    tasks = [(X, np.exp(0.3 * y)) for X, y in tasks]
    model = TransformedTargetRegressor(
        EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0),
        transformer=FunctionTransformer(np.log, np.exp),
    )
    adapted = adapt(meta_fit(model, tasks), X[:3], np.exp(0.3 * y[:3]))
    found = explain(adapted, X[3:])
    assert found.scale == "transformed y"
    assert_sums(found, np.log(adapted.predict(X[3:])))


def test_names_and_frames():
    pd = pytest.importorskip("pandas")
    *tasks, (X, y) = tasks_of()
    names = ["a", "b", "c"]
    tasks = [(pd.DataFrame(X, columns=names), y) for X, y in tasks]
    X = pd.DataFrame(X, [f"offer {i}" for i in range(len(X))], names)
    model = EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)
    found = model.meta_fit(tasks).adapt(X[:2], y[:2]).explain(X[2:], reference=X[:1])
    assert found.feature_names == ["reference", "a", "b", "c"]
    by_source, table = found.to_frame(), found.to_frame(row=1)
    assert list(by_source) == ["prior", "answer 1", "answer 2", "total"]
    assert list(found.to_frame("feature")) == ["reference", "a", "b", "c", "total"]
    assert_allclose(table["total"], by_source.iloc[1, :-1])
    assert list(by_source.index[:2]) == ["offer 2", "offer 3"]
    pipe = make_pipeline(StandardScaler(), model).fit(X, y)
    assert list(explain(pipe, X).to_frame("feature").index) == list(X.index)
    assert "2 answers known" in repr(found)


def test_what_cannot_be_explained_is_refused():
    model, X, _ = numbers()
    with pytest.raises(ValueError, match="reference must be one row of 3 finite"):
        model.explain(X, reference=[1.0, 2.0])
    with pytest.raises(ValueError, match="reference must be one row of 3 finite"):
        model.explain(X, reference="abc")
    with pytest.raises(ValueError, match="reference must be one row of 3 finite"):
        model.explain(X, reference=[1.0, 2.0, np.nan])
    with pytest.raises(ValueError, match="give a number from 0 to 19"):
        model.explain(X).table(20)
    with pytest.raises(ValueError, match="by must be"):
        model.explain(X).to_frame("rows")
    with pytest.raises(TypeError, match="has no such parts"):
        explain(ReptileRegressor(max_iter=1).fit(X, X[:, 0]), X)
    labels = EmpiricalBayesClassifier("isotropic", random_state=0)
    labels.fit(X, np.zeros(len(X), dtype=int))
    assert (labels.sample_y(X, 2) == 0).all()
    assert (labels.expected_gain(X) == 0).all()
    with pytest.raises(ValueError, match="nothing to explain"):
        labels.explain(X)


# -- the display ----------------------------------------------------------------------


def test_the_display_adds_the_parts_up_to_the_prediction():
    pytest.importorskip("matplotlib").use("agg")
    model, X, y = numbers()
    adapted = model.adapt(X, y)
    display = ExplanationDisplay.from_estimator(adapted, X, row=2, max_parts=5)
    assert display.names[0] == "prior" and display.names[-1] == "16 others"
    assert len(display.bars_) == 5
    total = display.start + display.parts.sum()
    assert_allclose(total, adapted.predict(X[2:3])[0])
    found = adapted.explain(X)
    display = ExplanationDisplay.from_explanation(
        found, by="feature", names=["price", "size", "age"], ax=display.ax_
    )
    assert display.names == ["reference", "price", "size", "age"]
    with pytest.raises(ValueError, match="there are 20 known answers"):
        ExplanationDisplay.from_explanation(found, names=["one"])
    with pytest.raises(ValueError, match="by must be"):
        ExplanationDisplay.from_explanation(found, by="row")
    with pytest.raises(ValueError, match="max_parts"):
        ExplanationDisplay.from_explanation(found, max_parts=0)
