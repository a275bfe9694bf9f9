"""FewShotRegressor and FewShotClassifier: `fit` is the adaptation."""

from copy import deepcopy

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import get_tags

from skmeta import (
    EmpiricalBayesRanker,
    FewShotClassifier,
    FewShotRegressor,
    ReptileClassifier,
    ReptileRegressor,
    adapt,
    meta_fit,
)
from skmeta._compositions import meta_learner


@pytest.fixture
def new_task(linear_tasks):
    return linear_tasks[0]


@pytest.fixture(params=["meta-learner", "pipeline"])
def meta(request, regressor, linear_tasks):
    if request.param == "meta-learner":
        return regressor
    model = ReptileRegressor(max_iter=20, random_state=0)
    return meta_fit(make_pipeline(StandardScaler(), model), linear_tasks[1:])


def test_fit_is_adapt(meta, new_task):
    X, y = new_task
    few = FewShotRegressor(FrozenEstimator(meta))
    assert few.fit(X[:5], y[:5]) is few
    assert_array_equal(few.predict(X), adapt(meta, X[:5], y[:5]).predict(X))
    assert few.n_features_in_ == 3
    assert few.fit(X[5:], y[5:]) is few
    assert_array_equal(few.predict(X), adapt(meta, X[5:], y[5:]).predict(X))


def test_fit_leaves_the_frozen_model_as_it_was(meta, new_task, unchanged):
    X, y = new_task
    last = meta[-1] if hasattr(meta, "steps") else meta
    with unchanged(last):
        few = FewShotRegressor(FrozenEstimator(meta), adapt_steps=3, alpha=0.5)
        few.fit(X[:5], y[:5]).predict(X)
        clone(few).set_params(learning_rate=0.5).fit(X[:5], y[:5])


def test_fit_takes_weights(meta, new_task):
    X, y = new_task
    weight = np.arange(5.0)
    few = FewShotRegressor(FrozenEstimator(meta)).fit(X[:5], y[:5], weight)
    assert_array_equal(few.predict(X), adapt(meta, X[:5], y[:5], weight).predict(X))


@pytest.mark.parametrize("override", [{"adapt_steps": 0}, {"alpha": 20.0}], ids=str)
def test_a_given_parameter_replaces_that_of_the_meta_learner(
    override, regressor, new_task
):
    X, y = new_task
    few = FewShotRegressor(FrozenEstimator(regressor), **override).fit(X[:5], y[:5])
    expected = deepcopy(regressor).set_params(**override).adapt(X[:5], y[:5])
    assert_array_equal(few.predict(X), expected.predict(X))
    assert np.abs(few.predict(X) - regressor.adapt(X[:5], y[:5]).predict(X)).max() > 0


def test_a_parameter_reaches_the_meta_learner_inside_a_pipeline(meta, new_task):
    X, y = new_task
    few = FewShotRegressor(FrozenEstimator(meta), adapt_steps=0).fit(X[:5], y[:5])
    assert_array_equal(few.predict(X), meta.predict(X))


@pytest.mark.parametrize("around", ["frozen", "pipeline", "target", "search"])
def test_a_given_parameter_copies_nothing_that_is_large(
    around, routing, linear_tasks, new_task, unchanged
):
    X, y = new_task
    last = ReptileRegressor(
        max_iter=5, base_estimator=DecisionTreeRegressor(max_depth=2), random_state=0
    )
    model = {
        "frozen": last,
        "pipeline": make_pipeline(StandardScaler(), last),
        "target": TransformedTargetRegressor(last, transformer=StandardScaler()),
        "search": GridSearchCV(
            last, {"max_iter": [5]}, cv=GroupKFold(2).set_split_request(groups="task")
        ),
    }[around]
    model = meta_fit(model, linear_tasks[1:])
    inner = meta_learner(model, "test")
    with unchanged(inner):
        few = FewShotRegressor(FrozenEstimator(model), alpha=50.0).fit(X[:5], y[:5])
    adapted = meta_learner(few.estimator_, "test")
    assert adapted.base_estimator_ is inner.base_estimator_
    assert (adapted.alpha, inner.alpha) != (inner.alpha, adapted.alpha)
    expected = deepcopy(model)
    meta_learner(expected, "test").set_params(alpha=50.0)
    assert_array_equal(few.predict(X), adapt(expected, X[:5], y[:5]).predict(X))


@pytest.mark.parametrize(
    "grid",
    [
        {"adapt_steps": [0, 1, 10]},
        {"learning_rate": [0.001, 0.1]},
        {"alpha": [0.0, 3.0, 1000.0]},
        {"adapt_steps": [1, 10], "alpha": [0.0, 3.0]},
    ],
    ids=str,
)
def test_a_search_tunes_the_adaptation_on_the_rows_of_a_new_task(grid, meta, new_task):
    X, y = new_task
    cv = ShuffleSplit(4, train_size=5, random_state=0)
    search = GridSearchCV(
        FewShotRegressor(FrozenEstimator(meta)),
        grid,
        cv=cv,
        scoring="neg_mean_squared_error",
        error_score="raise",
    ).fit(X, y)
    for params, score in zip(
        search.cv_results_["params"],
        search.cv_results_["split0_test_score"],
        strict=True,
    ):
        train, test = next(cv.split(X))
        few = FewShotRegressor(FrozenEstimator(meta), **params).fit(X[train], y[train])
        assert score == pytest.approx(-np.mean((few.predict(X[test]) - y[test]) ** 2))


def test_a_search_prefers_adapting_to_not_adapting(regressor, new_task):
    X, y = new_task
    search = GridSearchCV(
        FewShotRegressor(FrozenEstimator(regressor)),
        {"adapt_steps": [0, 10]},
        cv=3,
        error_score="raise",
    ).fit(X, y)
    assert search.best_params_ == {"adapt_steps": 10}


def test_a_search_over_frozen_meta_learners(regressor, linear_tasks, new_task):
    X, y = new_task
    poor = ReptileRegressor(max_iter=1, inner_steps=1, random_state=0)
    poor.meta_fit(linear_tasks[1:])
    frozen = [FrozenEstimator(poor), FrozenEstimator(regressor)]
    search = GridSearchCV(
        FewShotRegressor(), {"meta_estimator": frozen}, cv=3, error_score="raise"
    ).fit(X, y)
    assert search.best_params_["meta_estimator"].estimator is regressor


def test_a_search_with_two_jobs_gives_the_scores_of_one(regressor, new_task):
    X, y = new_task
    few = FewShotRegressor(FrozenEstimator(regressor))
    one, two = (
        GridSearchCV(few, {"adapt_steps": [0, 5]}, cv=3, n_jobs=n).fit(X, y)
        for n in (1, 2)
    )
    assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )


def test_a_clone_keeps_the_frozen_meta_learner(regressor, new_task):
    X, y = new_task
    few = clone(FewShotRegressor(FrozenEstimator(regressor)))
    assert few.meta_estimator.estimator is regressor
    few.fit(X, y)


def test_a_meta_learner_that_is_not_frozen_is_explained(meta, new_task):
    X, y = new_task
    search = GridSearchCV(
        FewShotRegressor(meta), {"adapt_steps": [1]}, error_score="raise", cv=3
    )
    with pytest.raises(NotFittedError, match=r"FewShotRegressor\(FrozenEstimator\("):
        search.fit(X, y)
    with pytest.raises(NotFittedError, match=r"wrap it.*FrozenEstimator"):
        FewShotRegressor(clone(meta)).fit(X, y)


def test_a_fitted_meta_learner_need_not_be_frozen_where_nothing_is_cloned(
    meta, new_task
):
    X, y = new_task
    few = FewShotRegressor(meta).fit(X[:5], y[:5])
    assert_array_equal(few.predict(X), adapt(meta, X[:5], y[:5]).predict(X))


def test_without_a_meta_learner_fit_starts_from_scratch(new_task):
    X, y = new_task
    few = FewShotRegressor().fit(X, y)
    expected = ReptileRegressor(max_iter=50, random_state=0).fit(X, y)
    assert_array_equal(few.predict(X), expected.predict(X))
    assert few.estimator_.n_tasks_ == 1


def test_few_rows_are_better_used_with_a_meta_learner_than_from_scratch(
    regressor, new_task
):
    X, y = new_task
    options = {
        "cv": ShuffleSplit(5, train_size=3, random_state=0),
        "scoring": "neg_mean_squared_error",
    }
    few = cross_val_score(FewShotRegressor(FrozenEstimator(regressor)), X, y, **options)
    scratch = cross_val_score(FewShotRegressor(), X, y, **options)
    assert few.mean() > scratch.mean()


def test_a_model_without_a_meta_learner_inside_is_refused(new_task):
    X, y = new_task
    ridge = FrozenEstimator(Ridge().fit(X, y))
    with pytest.raises(TypeError, match="found no meta-learner"):
        FewShotRegressor(ridge).fit(X, y)
    with pytest.raises(TypeError, match="found no meta-learner"):
        FewShotRegressor(ridge, adapt_steps=3).fit(X, y)


def test_a_ranker_is_refused_since_its_rows_are_choice_sets():
    X, y = np.arange(4.0)[:, None], [0, 1, 1, 0]
    ranker = EmpiricalBayesRanker().fit(
        X, y, task=[0, 0, 1, 1], choice_set=[0, 0, 1, 1]
    )
    with pytest.raises(TypeError, match=r"Call adapt\(model, X, y, choice_set"):
        FewShotRegressor(FrozenEstimator(ranker)).fit(X, y)


@pytest.mark.parametrize(
    "params",
    [
        {"meta_estimator": "reptile"},
        {"adapt_steps": -1},
        {"learning_rate": 0.0},
        {"alpha": -1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", [FewShotRegressor, FewShotClassifier])
def test_a_bad_parameter_is_named(cls, params, label_tasks):
    (name,) = params
    with pytest.raises(ValueError, match=f"'{name}'"):
        cls(**params).fit(*label_tasks[0])


def test_a_failed_fit_leaves_what_was_fitted(regressor, new_task, unchanged):
    X, y = new_task
    few = FewShotRegressor(FrozenEstimator(regressor)).fit(X, y)
    with unchanged(few), pytest.raises(ValueError, match="features"):
        few.fit(X[:, :2], y)


# -- classifier -----------------------------------------------------------------------


def test_a_classifier_is_adapted_likewise(classifier, label_tasks):
    X, y = label_tasks[0]
    few = FewShotClassifier(FrozenEstimator(classifier)).fit(X[:5], y[:5])
    adapted = classifier.adapt(X[:5], y[:5])
    assert_array_equal(few.classes_, [0, 1])
    for method in ("predict", "predict_proba", "decision_function"):
        assert_array_equal(getattr(few, method)(X), getattr(adapted, method)(X))


def test_a_classifier_from_scratch(label_tasks):
    X, y = label_tasks[0]
    few = FewShotClassifier().fit(X, y)
    expected = ReptileClassifier(max_iter=50, random_state=0).fit(X, y)
    assert_array_equal(few.predict_proba(X), expected.predict_proba(X))


def test_a_classifier_has_the_classes_of_its_task(own_class_tasks):
    *train, (X, y) = own_class_tasks.values()
    model = ReptileClassifier(task_classes="own", max_iter=20, random_state=0)
    few = FewShotClassifier(FrozenEstimator(model.meta_fit(train)))
    assert_array_equal(few.fit(X, y).classes_, np.unique(y))
    two = np.isin(y, np.unique(y)[:2])
    assert_array_equal(few.fit(X[two], y[two]).classes_, np.unique(y)[:2])


def test_tags_say_what_the_meta_learner_takes(regressor, classifier):
    assert get_tags(FewShotRegressor()).input_tags.sparse
    assert get_tags(FewShotRegressor(FrozenEstimator(regressor))).input_tags.sparse
    assert not get_tags(FewShotRegressor(Ridge().fit([[1]], [1]))).classifier_tags
    assert get_tags(FewShotClassifier(FrozenEstimator(classifier))).classifier_tags


def test_sparse_rows_are_adapted_to(linear_tasks):
    tasks = [(sparse.csr_array(X), y) for X, y in linear_tasks]
    model = ReptileRegressor(max_iter=20, random_state=0).meta_fit(tasks[1:])
    X, y = tasks[0]
    few = FewShotRegressor(FrozenEstimator(model)).fit(X[:5], y[:5])
    assert_array_equal(few.predict(X), model.adapt(X[:5], y[:5]).predict(X))
