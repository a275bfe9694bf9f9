"""The verbs on compositions: only the meta-learner inside adapts."""

from copy import copy, deepcopy

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    RandomizedSearchCV,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skmeta import (
    EmpiricalBayesRegressor,
    FewShotRegressor,
    ReptileClassifier,
    ReptileRegressor,
    adapt,
    adapt_predict,
    meta_fit,
    partial_adapt,
)
from skmeta._compositions import transformed_names
from skmeta.adaptation import Composition, register_composition
from skmeta.model_selection import (
    compare_baselines,
    few_shot_scores,
    make_few_shot_scorer,
)


def reptile(**params):
    return ReptileRegressor(**{"max_iter": 20, "random_state": 0} | params)


def search_for(estimator, grid, search=GridSearchCV, **options):
    with sklearn.config_context(enable_metadata_routing=True):
        cv = GroupKFold(2).set_split_request(groups="task")
    scoring = make_few_shot_scorer("neg_mean_squared_error", n_repeats=1)
    return search(
        estimator, grid, cv=cv, scoring=scoring, error_score="raise", **options
    )


def scaled_target(regressor):
    return TransformedTargetRegressor(regressor, transformer=StandardScaler())


@pytest.fixture
def new_task(linear_tasks):
    X, y = linear_tasks[0]
    return X[:5], y[:5], X


class Turned(RegressorMixin, BaseEstimator):
    """A composition of another package: it reverses the columns and the sign of y."""

    __metadata_request__fit = {"task": True}

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, X, y, task=None):
        X = np.asarray(X)[:, ::-1]
        self.regressor_ = clone(self.regressor).fit(X, -np.asarray(y), task=task)
        return self

    def predict(self, X):
        return -self.regressor_.predict(np.asarray(X)[:, ::-1])


class InsideTurned(Composition):
    def inside(self, estimator):
        return getattr(estimator, "regressor_", estimator.regressor)

    def rebuild(self, estimator, inside):
        rebuilt = copy(estimator)
        rebuilt.regressor_ = inside
        return rebuilt

    def transform_rows(self, estimator, X):
        return np.asarray(X)[:, ::-1]

    def transform_targets(self, estimator, y):
        return -np.asarray(y)

    def restore_targets(self, estimator, y):
        return -y


register_composition(Turned, InsideTurned())

COMPOSITIONS = {
    "meta-learner": lambda: reptile(),
    "pipeline": lambda: make_pipeline(StandardScaler(), reptile()),
    "pipeline of one step": lambda: make_pipeline(reptile()),
    "pipeline in a pipeline": lambda: make_pipeline(
        StandardScaler(), make_pipeline(FunctionTransformer(np.tanh), reptile())
    ),
    "passthrough": lambda: Pipeline([("skip", "passthrough"), ("model", reptile())]),
    "target": lambda: scaled_target(reptile()),
    "target, checked": lambda: TransformedTargetRegressor(
        reptile(), func=np.arcsinh, inverse_func=np.sinh
    ),
    "target, as it is": lambda: TransformedTargetRegressor(reptile()),
    "pipeline in a target": lambda: scaled_target(
        make_pipeline(StandardScaler(), reptile())
    ),
    "target in a pipeline": lambda: make_pipeline(
        StandardScaler(), scaled_target(reptile())
    ),
    "search": lambda: search_for(reptile(), {"inner_steps": [1, 10]}),
    "search over a pipeline": lambda: search_for(
        make_pipeline(StandardScaler(), reptile()),
        {"reptileregressor__inner_steps": [1, 10]},
    ),
    "search over a target": lambda: search_for(
        scaled_target(make_pipeline(StandardScaler(), reptile())),
        {"regressor__reptileregressor__inner_steps": [1, 10]},
    ),
    "random search": lambda: search_for(
        reptile(), {"alpha": [1.0, 3.0]}, RandomizedSearchCV, n_iter=2
    ),
    "search in a pipeline": lambda: make_pipeline(
        StandardScaler(), search_for(reptile(), {"inner_steps": [1, 10]})
    ),
    "registered": lambda: Turned(reptile()),
    "registered in a pipeline": lambda: make_pipeline(
        StandardScaler(), Turned(reptile())
    ),
    "registered around a pipeline": lambda: Turned(
        make_pipeline(StandardScaler(), scaled_target(reptile()))
    ),
    "search over a registered one": lambda: search_for(
        Turned(reptile()), {"regressor__inner_steps": [1, 10]}
    ),
}


@pytest.fixture(scope="module", params=COMPOSITIONS)
def shared_composition(request, linear_tasks):
    """Compositions of every kind, meta-trained with routing globally off."""
    assert not sklearn.get_config()["enable_metadata_routing"]
    estimator = COMPOSITIONS[request.param]()
    assert meta_fit(estimator, linear_tasks[1:]) is estimator
    return estimator


@pytest.fixture
def composition(shared_composition):
    """One of them for each test."""
    return deepcopy(shared_composition)


def meta_learner(estimator):
    """The meta-learner in a fitted composition."""
    for inside in ("best_estimator_", "regressor_", "estimator", "steps"):
        inner = getattr(estimator, inside, None)
        if inner is not None:
            return meta_learner(inner[-1][1] if inside == "steps" else inner)
    return estimator


# -- every composition ----------------------------------------------------------------


def test_every_composition_is_meta_trained_on_all_tasks(composition):
    assert meta_learner(composition).n_tasks_ == 19


def test_adapt_returns_an_adapted_copy_of_every_composition(composition, new_task):
    X, y, rows = new_task
    inner, before = meta_learner(composition), composition.predict(rows)
    state = dict(vars(inner))
    adapted = adapt(composition, X, y)
    assert meta_learner(adapted) is not inner
    assert vars(inner) == state
    assert_array_equal(composition.predict(rows), before)
    assert np.abs(adapted.predict(rows) - before).max() > 1e-3
    error_before = np.mean((before[:5] - y) ** 2)
    assert np.mean((adapted.predict(X) - y) ** 2) < error_before


def test_partial_adapt_changes_every_composition_in_place(composition, new_task):
    X, y, rows = new_task
    adapted = adapt(composition, X, y).predict(rows)
    assert partial_adapt(composition, X, y) is composition
    assert meta_learner(composition).n_adapt_rows_ == 5
    assert_array_equal(composition.predict(rows), adapted)


def test_every_composition_takes_weights_of_the_support_rows(composition, new_task):
    X, y, rows = new_task
    weight = np.array([1, 0, 2, 0, 1])
    repeated = np.repeat(np.arange(5), weight)
    expected = adapt(composition, X[repeated], y[repeated]).predict(rows)
    assert_allclose(adapt(composition, X, y, weight).predict(rows), expected)
    partial_adapt(composition, X, y, weight)
    assert_allclose(composition.predict(rows), expected)


def test_every_composition_can_be_frozen_and_adapted(composition, new_task):
    X, y, rows = new_task
    frozen = FrozenEstimator(composition)
    before = frozen.predict(rows)
    adapted = adapt(frozen, X, y)
    assert isinstance(adapted, FrozenEstimator)
    assert_array_equal(adapted.predict(rows), adapt(composition, X, y).predict(rows))
    assert_array_equal(frozen.predict(rows), before)


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_an_unfitted_composition_says_so(name, new_task):
    X, y, _ = new_task
    for verb in (adapt, partial_adapt):
        with pytest.raises(NotFittedError):
            verb(COMPOSITIONS[name](), X, y)


def test_the_functions_are_the_methods_on_a_meta_learner(linear_tasks, new_task):
    X, y, rows = new_task
    model = meta_fit(reptile(), linear_tasks)
    assert_array_equal(
        model.predict(rows), reptile().meta_fit(linear_tasks).predict(rows)
    )
    assert_array_equal(
        adapt(model, X, y).predict(rows), model.adapt(X, y).predict(rows)
    )


# -- what stands in front -------------------------------------------------------------


def test_preprocessing_is_fitted_on_the_pooled_rows_and_then_frozen(
    linear_tasks, linear_table, new_task
):
    X, y, _ = new_task
    pipe = meta_fit(make_pipeline(StandardScaler(), reptile()), linear_tasks)
    scaler = pipe[0]
    mean = scaler.mean_.copy()
    assert_allclose(mean, linear_table.X.mean(axis=0))
    adapted = adapt(pipe, X, y)
    assert adapted[0].mean_ is scaler.mean_
    partial_adapt(pipe, X, y)
    assert pipe[0] is scaler
    assert_array_equal(scaler.mean_, mean)


def test_a_transformed_target_keeps_the_scale_of_meta_training(linear_tasks, new_task):
    X, y, rows = new_task
    target = meta_fit(scaled_target(reptile()), linear_tasks)
    adapted = adapt(target, X, y)
    assert adapted.transformer_ is target.transformer_
    scaled = target.transformer_.transform(y[:, None])[:, 0]
    by_hand = target.regressor_.adapt(X, scaled).predict(rows)
    by_hand = target.transformer_.inverse_transform(by_hand[:, None])[:, 0]
    assert_allclose(adapted.predict(rows), by_hand)


def test_typed_columns_are_transformed_before_adapting(linear_tasks):
    tasks = {}
    for i, (X, y) in enumerate(linear_tasks):
        table = pd.DataFrame(X, columns=["a", "b", "c"])
        table["town"] = np.where(np.arange(len(X)) % 2 == i % 2, "here", "there")
        tasks[f"S{i}"] = (table, y)
    pipe = make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["a", "b", "c"]),
            (OneHotEncoder(drop="first"), ["town"]),
        ),
        reptile(),
    )
    *train, (X, y) = tasks.values()
    meta_fit(pipe, train)
    adapted = adapt(pipe, X[:5], y[:5])
    assert adapted[-1].n_features_in_ == 4
    by_hand = pipe[-1].adapt(pipe[0].transform(X[:5]), y[:5])
    assert_array_equal(adapted.predict(X), by_hand.predict(pipe[0].transform(X)))


def test_a_classifier_adapts_inside_a_pipeline(label_tasks):
    X, y = label_tasks[0]
    model = ReptileClassifier(max_iter=20, random_state=0)
    pipe = meta_fit(make_pipeline(StandardScaler(), model), label_tasks[1:])
    adapted = adapt(pipe, X[:5], y[:5])
    assert_array_equal(adapted.classes_, [0, 1])
    assert np.abs(adapted.predict_proba(X) - pipe.predict_proba(X)).max() > 1e-3


# -- meta_fit -------------------------------------------------------------------------


def test_meta_fit_is_fit_with_ids(linear_tasks, linear_table, routing):
    t = linear_table
    a = meta_fit(make_pipeline(StandardScaler(), reptile()), linear_tasks)
    b = make_pipeline(StandardScaler(), reptile()).fit(t.X, t.y, task=t.ids)
    assert_array_equal(a.predict(t.X), b.predict(t.X))


def test_meta_fit_of_a_search_splits_whole_tasks(linear_tasks, linear_table, routing):
    t = linear_table
    a = search_for(reptile(), {"inner_steps": [1, 10]})
    b = search_for(reptile(), {"inner_steps": [1, 10]})
    meta_fit(a, linear_tasks)
    b.fit(t.X, t.y, task=t.ids)
    assert_array_equal(
        a.cv_results_["mean_test_score"], b.cv_results_["mean_test_score"]
    )


def test_a_halving_search_is_meta_trained_too(linear_tasks, new_task):
    X, y, _ = new_task
    search = search_for(
        reptile(),
        {"inner_steps": [1, 10]},
        HalvingGridSearchCV,
        resource="max_iter",
        max_resources=20,
        min_resources=10,
        factor=2,
    )
    assert adapt(meta_fit(search, linear_tasks), X, y).n_adapt_rows_ == 5


def test_meta_fit_hands_weights_to_steps_that_ask_for_them(linear_tasks, linear_table):
    tasks = [(X, y, np.arange(12) < 8) for X, y in linear_tasks]
    model = reptile()
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
    pipe = meta_fit(make_pipeline(FunctionTransformer(), model), tasks)
    expected = reptile().meta_fit([(X[:8], y[:8]) for X, y in linear_tasks])
    assert_array_equal(pipe[-1].coef_, expected.coef_)


def test_meta_fit_takes_weights_where_steps_say_that_they_take_none(linear_table):
    t, weight = linear_table, np.arange(len(linear_table.y)) % 3 + 1.0
    with sklearn.config_context(enable_metadata_routing=True):
        steps = StandardScaler().set_fit_request(sample_weight=False)
        model = reptile().set_fit_request(sample_weight=True)
    pipe = meta_fit(make_pipeline(steps, model), t.X, t.y, weight, task=t.ids)
    X = StandardScaler().fit_transform(t.X)
    expected = reptile().fit(X, t.y, weight, task=t.ids)
    assert_array_equal(pipe[-1].coef_, expected.coef_)


# -- compositions of other packages ---------------------------------------------------


def test_a_registered_composition_predicts_many_tasks_at_once(linear_tasks, new_task):
    X, y, rows = new_task
    X2, y2 = (part[:4] for part in linear_tasks[1])
    model = meta_fit(Turned(reptile()), linear_tasks[2:])
    ids, ids_new = np.repeat(["a", "b"], [5, 4]), np.repeat(["b", "a"], len(rows))
    result = adapt_predict(
        model,
        np.concatenate([X, X2]),
        np.concatenate([y, y2]),
        np.concatenate([rows, rows]),
        task=ids,
        task_new=ids_new,
    )
    expected = [adapt(model, *part).predict(rows) for part in ((X2, y2), (X, y))]
    assert_allclose(result, np.concatenate(expected))


@pytest.mark.parametrize("around", [Turned, lambda model: make_pipeline(Turned(model))])
def test_few_shot_scores_of_a_registered_composition_are_those_of_its_inside(
    around, linear_table, routing
):
    t = linear_table
    model = around(reptile()).fit(t.X, t.y, task=t.ids)
    inner = reptile().fit(t.X[:, ::-1], -t.y, task=t.ids)
    expected = few_shot_scores(inner, t.X[:, ::-1], -t.y, t.ids)
    assert_allclose(few_shot_scores(model, t.X, t.y, t.ids), expected)


def test_baselines_are_compared_with_a_registered_composition(linear_table):
    """They see the rows and targets that the meta-learner inside sees."""
    t = linear_table
    options = {"n_support": (0, 4), "n_repeats": 1, "pooled": Ridge()}
    options["baselines"] = ["pooled model", "pooled + offset", "own model"]
    found = compare_baselines(Turned(reptile()), t.X, t.y, task=t.ids, **options)
    expected = compare_baselines(
        reptile(), t.X[:, ::-1], -t.y, task=t.ids, **options
    ).scores
    assert list(found.scores) == list(expected)
    for name, scores in found.scores.items():
        assert_allclose(scores, expected[name])


def test_estimators_share_baselines_if_they_transform_targets_alike(linear_table):
    t = linear_table
    models = {
        "turned": Turned(reptile()),
        "turned too": Turned(reptile(alpha=3.0)),
        "straight": reptile(),
    }
    options = {"n_support": 4, "n_repeats": 1, "baselines": ["support mean"]}
    found = compare_baselines(models, t.X, t.y, task=t.ids, **options)
    assert found.baselines == ["support mean", "support mean for straight"]


def test_parameters_reach_the_inside_of_a_registered_composition(
    linear_tasks, new_task
):
    X, y, rows = new_task
    model = meta_fit(Turned(reptile()), linear_tasks)
    few = FewShotRegressor(FrozenEstimator(model), adapt_steps=0).fit(X, y)
    assert_array_equal(few.predict(rows), model.predict(rows))


def test_names_of_columns_pass_through_unless_rows_are_transformed(linear_tasks):
    frames = [(pd.DataFrame(X, columns=[*"abc"]), y) for X, y in linear_tasks]
    straight = make_pipeline(
        StandardScaler(), TransformedTargetRegressor(EmpiricalBayesRegressor())
    )
    turned = make_pipeline(StandardScaler(), Turned(EmpiricalBayesRegressor()))
    assert list(transformed_names(meta_fit(straight, frames))) == [*"abc"]
    assert transformed_names(meta_fit(turned, frames)) is None


class Single(RegressorMixin, BaseEstimator):
    """An estimator that is registered for two verbs only."""

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, X, y):
        raise NotImplementedError

    def predict(self, X):
        return 2.0 * self.regressor.predict(X)


def test_a_single_verb_can_be_registered_for_a_class(linear_tasks, new_task):
    X, y, rows = new_task

    @meta_fit.register
    def meta_fit_single(estimator: Single, tasks):
        meta_fit(estimator.regressor, [(X, y / 2) for X, y in tasks])
        return estimator

    @adapt.register
    def adapt_single(estimator: Single, X, y, sample_weight=None):
        return Single(adapt(estimator.regressor, X, y / 2, sample_weight))

    model = meta_fit(Single(reptile()), linear_tasks)
    assert_allclose(
        adapt(model, X, y).predict(rows),
        adapt(meta_fit(reptile(), linear_tasks), X, y).predict(rows),
    )
    scores = make_few_shot_scorer()(
        model, np.tile(rows, (2, 1)), np.tile(y[:1], 24), task=np.repeat([0, 1], 12)
    )
    assert isinstance(scores, float)


@pytest.mark.parametrize(
    "kind, composition", [("Single", InsideTurned()), (Single, InsideTurned)]
)
def test_only_a_class_and_a_composition_are_registered(kind, composition):
    with pytest.raises(TypeError, match="takes a class and an instance of a subclass"):
        register_composition(kind, composition)


def test_a_composition_without_its_two_methods_names_them():
    class Empty(Composition):
        pass

    with pytest.raises(TypeError, match=r"Empty.*inside.*rebuild"):
        Empty()


# -- without a meta-learner -----------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        Ridge(),
        make_pipeline(StandardScaler(), Ridge()),
        GridSearchCV(Ridge(), {"alpha": [1.0]}),
        TransformedTargetRegressor(Ridge()),
        FrozenEstimator(Ridge()),
        ReptileRegressor,
        None,
        "reptile",
    ],
    ids=str,
)
def test_without_a_meta_learner_every_verb_says_so(estimator, linear_tasks, new_task):
    X, y, _ = new_task
    if hasattr(estimator, "fit") and not isinstance(estimator, type):
        if not isinstance(estimator, FrozenEstimator):
            estimator = sklearn.clone(estimator).fit(*linear_tasks[0])
    with pytest.raises(TypeError, match="meta_fit found no meta-learner in"):
        meta_fit(estimator, linear_tasks)
    with pytest.raises(TypeError, match="adapt found no meta-learner in"):
        adapt(estimator, X, y)
    if not isinstance(estimator, FrozenEstimator):
        with pytest.raises(TypeError, match="partial_adapt found no meta-learner in"):
            partial_adapt(estimator, X, y)


def test_a_frozen_meta_learner_cannot_be_meta_trained(regressor, linear_tasks):
    before = regressor.coef_
    with pytest.raises(TypeError, match="Frozen"):
        meta_fit(FrozenEstimator(regressor), linear_tasks)
    assert_array_equal(regressor.coef_, before)


def test_a_frozen_meta_learner_is_not_adapted_in_place(regressor, new_task, unchanged):
    X, y, _ = new_task
    with (
        unchanged(regressor),
        pytest.raises(TypeError, match="A FrozenEstimator must not change: use adapt"),
    ):
        partial_adapt(FrozenEstimator(regressor), X, y)


def test_a_search_without_refit_holds_nothing_to_adapt(linear_tasks, new_task):
    X, y, _ = new_task
    search = search_for(reptile(), {"inner_steps": [1, 10]}, refit=False)
    meta_fit(search, linear_tasks)
    for verb in (adapt, partial_adapt):
        with pytest.raises(TypeError, match=r"refit=False.*Set refit=True"):
            verb(search, X, y)
