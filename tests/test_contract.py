"""The written contract: what a subclass must fill, and what it gets for that."""

import inspect
import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from shrunken_mean import ShrunkenMeanRegressor
from sklearn.base import RegressorMixin, is_regressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import skmeta
from skmeta import adapt, adapt_predict
from skmeta.base import BaseMetaLearner, MetaClassifierMixin, MetaRegressorMixin
from skmeta.model_selection import (
    compare_baselines,
    few_shot_scores,
    make_few_shot_scorer,
)


class ShrunkenShares(MetaClassifierMixin, BaseMetaLearner):
    """Shares of the classes in a task, drawn towards those of all tasks."""

    _parameter_constraints: dict = {}

    def _meta_train(self, table, ids, again, data):
        self._learned = np.average(of_each_class(table.Y), 0, weights=table.weight)
        self._forget()

    def _adapt_to(self, batch):
        weight = batch.weight[0] * batch.total_weight[0]
        self._present = self._present + weight @ of_each_class(batch.Y[0])

    def _forget(self):
        self._present = np.zeros(len(self._learned))

    def _raw_outputs(self, X):
        logits = np.log(np.maximum(self._present + 2 * self._learned, 1e-9))
        if len(logits) == 2:
            logits = logits[1:] - logits[:1]
        return np.tile(logits, (X.shape[0], 1))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


def of_each_class(Y):
    return np.hstack([1 - Y, Y]) if Y.shape[1] == 1 else Y


def all_checks():
    mark = parametrize_with_checks([ShrunkenMeanRegressor(), ShrunkenShares()])
    names, checks = mark.args
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)


@all_checks()
def test_a_class_with_four_hooks_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_the_example_of_the_docs_is_short():
    assert len(inspect.getsource(ShrunkenMeanRegressor).splitlines()) < 60


def test_the_mean_of_a_task_is_drawn_towards_that_of_all_tasks(linear_tasks):
    model = ShrunkenMeanRegressor(strength=3.0).meta_fit(linear_tasks)
    X, y = linear_tasks[0]
    grand = np.mean([y for _, y in linear_tasks])
    assert_allclose(model.predict(X), grand)
    assert_allclose(model.adapt(X[:2], y[:2]).predict(X), (y[:2].sum() + 3 * grand) / 5)


def test_shares_of_a_task_are_drawn_towards_those_of_all_tasks(label_tasks):
    model = ShrunkenShares().meta_fit(label_tasks)
    X, y = label_tasks[0]
    grand = np.mean([y for _, y in label_tasks])
    expected = (y[:4].sum() + 2 * grand) / 6
    assert_allclose(model.adapt(X[:4], y[:4]).predict_proba(X)[:, 1], expected)


def test_portions_of_rows_count_like_all_at_once_and_are_forgotten(linear_tasks):
    model = ShrunkenMeanRegressor().meta_fit(linear_tasks)
    X, y = linear_tasks[0]
    start, adapted = model.predict(X), model.adapt(X[:6], y[:6])
    model.partial_adapt(X[:2], y[:2]).partial_adapt(X[2:6], y[2:6])
    assert_allclose(model.predict(X), adapted.predict(X))
    assert_array_equal(model.reset_adaptation().predict(X), start)


def test_a_base_model_stands_below_without_a_line_of_its_own(linear_tasks):
    model = ShrunkenMeanRegressor(LinearRegression()).meta_fit(linear_tasks)
    X, y = linear_tasks[0]
    left = y[:3] - model.predict(X[:3])
    offset = model.adapt(X[:3], y[:3]).predict(X) - model.predict(X)
    assert_allclose(offset, 3 * left.mean() / 5)


@pytest.fixture
def routing():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_a_grid_search_tunes_it_by_the_few_shot_score(linear_table, routing):
    t = linear_table
    y = t.y + 20 * (np.unique(t.ids, return_inverse=True)[1] % 3)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), ShrunkenMeanRegressor()),
        {"shrunkenmeanregressor__strength": [0.5, 1000.0]},
        cv=GroupKFold(4).set_split_request(groups="task"),
        scoring=make_few_shot_scorer("neg_mean_squared_error"),
        n_jobs=2,
    )
    with joblib.parallel_config("threading"):
        search.fit(t.X, y, task=t.ids)
    assert search.best_params_ == {"shrunkenmeanregressor__strength": 0.5}
    rows = t.ids == "S03"
    adapted = adapt(search, t.X[rows], y[rows])
    assert np.ptp(adapted.predict(t.X)) < 1e-12


def test_few_shot_scores_and_score_agree(linear_table):
    t, model = linear_table, ShrunkenMeanRegressor()
    model.fit(t.X, t.y, task=t.ids)
    scores = few_shot_scores(model, t.X, t.y, task=t.ids)
    assert scores.shape == (20, 3)
    assert_allclose(model.score(t.X, t.y, task=t.ids), scores.mean())
    in_processes = few_shot_scores(model, t.X, t.y, task=t.ids, n_jobs=2)
    assert_array_equal(in_processes, scores)


def test_it_can_be_compared_with_baselines(linear_table):
    t = linear_table
    comparison = compare_baselines(
        ShrunkenMeanRegressor(strength=2.0),
        t.X,
        t.y,
        task=t.ids,
        n_support=(2, 4),
        baselines=["support mean"],
        n_repeats=1,
    )
    table = comparison.to_frame()
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()


def test_many_tasks_at_once_are_tasks_one_by_one(linear_table):
    t = linear_table
    model = ShrunkenMeanRegressor().fit(t.X, t.y, task=t.ids)
    known = np.arange(len(t.y)) % 12 < 4
    together = adapt_predict(
        model,
        t.X[known],
        t.y[known],
        t.X[~known],
        task=t.ids[known],
        task_new=t.ids[~known],
    )
    for name in np.unique(t.ids):
        given, new = known & (t.ids == name), t.ids[~known] == name
        adapted = model.adapt(t.X[given], t.y[given])
        assert_allclose(together[new], adapted.predict(t.X[~known][new]))


def test_it_is_saved_with_its_task(linear_tasks):
    model = ShrunkenMeanRegressor().meta_fit(linear_tasks)
    adapted = pickle.loads(pickle.dumps(model.adapt(*linear_tasks[0])))
    assert_array_equal(
        adapted.predict(linear_tasks[1][0])[0], adapted.predict([[0] * 3])
    )
    assert adapted.n_adapt_rows_ == 12


# -- what is refused ------------------------------------------------------------------

HOOKS = ("_meta_train", "_adapt_to", "_forget", "_raw_outputs")


@pytest.mark.parametrize("missing", HOOKS)
def test_a_missing_hook_is_named(missing):
    hooks = {name: getattr(ShrunkenMeanRegressor, name) for name in HOOKS}
    del hooks[missing]
    incomplete = type("Incomplete", (MetaRegressorMixin, BaseMetaLearner), hooks)
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_a_class_without_a_mixin_is_told_that_it_has_no_targets():
    hooks = {name: getattr(ShrunkenMeanRegressor, name) for name in HOOKS}
    with pytest.raises(TypeError, match="_make_targets"):
        type("NoKind", (BaseMetaLearner,), hooks)()


@pytest.mark.parametrize(
    "bases",
    [
        (BaseMetaLearner, MetaRegressorMixin),
        (RegressorMixin, BaseMetaLearner),
        (BaseMetaLearner, RegressorMixin),
    ],
)
def test_mixins_in_the_wrong_place_are_refused_with_the_right_order(bases):
    right = r"class Mine\(MetaRegressorMixin, BaseMetaLearner\)"
    with pytest.raises(TypeError, match=right):
        type("Mine", bases, {})


def test_mixins_in_the_right_place_make_a_regressor_with_the_few_shot_score():
    assert is_regressor(ShrunkenMeanRegressor())
    assert "task" in inspect.signature(ShrunkenMeanRegressor.score).parameters


@pytest.mark.parametrize("name", sorted(BaseMetaLearner.__abstractmethods__))
def test_every_hook_that_must_be_filled_is_in_the_docstring(name):
    assert f"``{name}(" in BaseMetaLearner.__doc__


# -- state ----------------------------------------------------------------------------

MODELS = [
    skmeta.EmpiricalBayesRegressor,
    skmeta.EmpiricalBayesClassifier,
    skmeta.EmpiricalBayesPoissonRegressor,
    skmeta.EmpiricalBayesRanker,
    skmeta.PrototypicalClassifier,
    skmeta.ReptileRegressor,
    skmeta.ReptileClassifier,
]


@pytest.mark.parametrize("cls", MODELS)
def test_adapting_changes_neither_what_was_learned_nor_its_frame(cls, label_tasks):
    model = cls(random_state=0).meta_fit(label_tasks[:8])
    adapted = model.adapt(*label_tasks[0])
    assert adapted._learned is model._learned
    assert adapted._frame is model._frame
