"""What `adapt` returns can be fitted, set and changed without changing the original."""

from copy import deepcopy

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_transformer,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import skmeta
from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    FewShotRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
)


def quick(**options):
    return ReptileRegressor(max_iter=5, random_state=0, **options)


def by_task():
    with sklearn.config_context(enable_metadata_routing=True):
        return GroupKFold(2).set_split_request(groups="task")


def union():
    return FeatureUnion([("scaled", StandardScaler()), ("pca", PCA(2))])


def columns():
    return make_column_transformer(
        (make_pipeline(StandardScaler(), MinMaxScaler()), [0, 1]), (PCA(1), [1, 2])
    )


COMPOSITIONS = {
    "pipeline": lambda: make_pipeline(StandardScaler(), quick()),
    "learned prior": lambda: make_pipeline(StandardScaler(), EmpiricalBayesRegressor()),
    "nested": lambda: make_pipeline(
        make_pipeline(StandardScaler(), PCA(2)), make_pipeline(MinMaxScaler(), quick())
    ),
    "union": lambda: make_pipeline(union(), quick()),
    "union in columns": lambda: make_pipeline(
        ColumnTransformer([("two", union(), [0, 1]), ("rest", "passthrough", [2])]),
        quick(),
    ),
    "columns": lambda: make_pipeline(columns(), quick()),
    "target": lambda: TransformedTargetRegressor(
        make_pipeline(StandardScaler(), quick()), transformer=StandardScaler()
    ),
    "target in a pipeline": lambda: make_pipeline(
        StandardScaler(),
        TransformedTargetRegressor(quick(), transformer=StandardScaler()),
    ),
    "search": lambda: GridSearchCV(
        make_pipeline(StandardScaler(), quick()),
        {"reptileregressor__adapt_steps": [5]},
        cv=by_task(),
    ),
    "base model": lambda: make_pipeline(
        StandardScaler(), quick(base_estimator=make_pipeline(MinMaxScaler(), Ridge()))
    ),
}


def hashable(estimator):
    """The best estimator of a search, whose masked arrays joblib cannot hash."""
    return getattr(estimator, "best_estimator_", estimator)


@pytest.fixture(scope="module", params=COMPOSITIONS)
def shared_composition(request, linear_tasks):
    return skmeta.meta_fit(COMPOSITIONS[request.param](), linear_tasks[:12])


@pytest.fixture
def composition(shared_composition):
    return deepcopy(shared_composition)


def other_values(estimator):
    """Parameters of an estimator and of those inside, each with another value."""
    for name, value in estimator.get_params().items():
        if isinstance(value, bool):
            yield name, not value
        elif isinstance(value, (int, float)):
            yield name, value + 1


def test_fitting_an_adapted_copy_leaves_the_original(
    composition, linear_tasks, unchanged
):
    X, y = linear_tasks[-1]
    before = composition.predict(X)
    with unchanged(hashable(composition)):
        few = skmeta.adapt(composition, X[:5], y[:5])
        few.fit(100 + 50 * X, 3 * y)
    assert_array_equal(composition.predict(X), before)


def test_setting_parameters_of_an_adapted_copy_leaves_the_original(
    composition, linear_tasks, unchanged
):
    X, y = linear_tasks[-1]
    with unchanged(hashable(composition)):
        few = skmeta.adapt(composition, X[:5], y[:5])
        others = dict(other_values(few))
        few.set_params(**others)
    assert any("__" in name for name in others)


@pytest.mark.filterwarnings("ignore:X has feature names")
def test_the_output_of_an_adapted_copy_is_its_own(composition, linear_tasks, unchanged):
    X, y = linear_tasks[-1]
    few = skmeta.adapt(composition, X[:5], y[:5])
    steps = getattr(few, "regressor_", few)[:-1]
    if hasattr(steps, "steps") and len(steps.steps):
        with unchanged(hashable(composition)):
            steps.set_output(transform="pandas")
            steps.transform(X)


def test_a_copy_of_a_frozen_search_is_its_own(linear_tasks, unchanged):
    X, y = linear_tasks[-1]
    search = skmeta.meta_fit(COMPOSITIONS["search"](), linear_tasks[:12])
    frozen = FrozenEstimator(search)
    with unchanged(hashable(search)):
        few = skmeta.adapt(frozen, X[:5], y[:5])
        few.estimator.fit(100 + X, y)


MODELS = [
    EmpiricalBayesRegressor("intercept"),
    EmpiricalBayesClassifier("intercept"),
    ReptileRegressor([4], max_iter=2, adapt_steps="auto"),
    ReptileClassifier([4], max_iter=2),
    ReptileClassifier(np.array([4]), max_iter=2, task_classes="own"),
    ReptileClassifier(max_iter=2, base_estimator=LogisticRegression()),
    PrototypicalClassifier(),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_public_arrays_and_lists_of_a_copy_are_its_own(model, label_tasks, unchanged):
    X, y = label_tasks[-1]
    model.set_params(random_state=np.random.RandomState(0))
    model.meta_fit(label_tasks[:12])
    few = model.adapt(X, y)
    with unchanged(model):
        few = model.adapt(X, y)
        for name, value in vars(few).items():
            if isinstance(value, np.ndarray) and not name.startswith("_"):
                value[...] = value[0]
            elif isinstance(value, list):
                value.append(value[0])
        few.random_state.rand()
        if getattr(few, "base_estimator", None) is not None:
            few.set_params(base_estimator__C=0.1)
            few.base_estimator.fit_intercept = False
        few.meta_fit(label_tasks[:6])


def test_labels_written_into_a_copy_do_not_change_the_original(label_tasks):
    """The model is fitted to one task, so its classes are those of the start."""
    X, y = label_tasks[0]
    model = PrototypicalClassifier().fit(X, y)
    few = model.adapt(X, y)
    few.reset_adaptation().classes_[:] = 7
    model.classes_[:] = 7
    assert_array_equal(model.reset_adaptation().classes_, [0, 1])


def test_parameters_of_the_base_model_of_a_copy_are_its_own(linear_tasks):
    X, y = linear_tasks[-1]
    base = RandomForestRegressor(3, random_state=0)
    model = quick(base_estimator=base).meta_fit(linear_tasks[:6])
    few = model.adapt(X, y).set_params(base_estimator__n_estimators=1)
    assert few.base_estimator.n_estimators == 1
    assert model.base_estimator is base and base.n_estimators == 3


INSIDE = {
    "pipeline": "reptileregressor",
    "target": "regressor__reptileregressor",
    "search": "estimator__reptileregressor",
}


@pytest.mark.parametrize("outside", [None, *INSIDE])
def test_a_parameter_of_a_few_shot_model_copies_no_base_model(
    outside, linear_tasks, unchanged, monkeypatch
):
    X, y = linear_tasks[-1]
    model = quick(base_estimator=RandomForestRegressor(3, random_state=0))
    if outside is not None:
        model = COMPOSITIONS[outside]().set_params(**{INSIDE[outside]: model})
    model = skmeta.meta_fit(model, linear_tasks[:12])
    as_it_is = FewShotRegressor(FrozenEstimator(model)).fit(X[:5], y[:5])

    def never(*args):
        raise AssertionError("the forest has been copied")

    monkeypatch.setattr(RandomForestRegressor, "__deepcopy__", never, raising=False)
    with unchanged(hashable(model)):
        few = FewShotRegressor(FrozenEstimator(model), alpha=100.0).fit(X[:5], y[:5])
    assert np.abs(few.predict(X) - as_it_is.predict(X)).max() > 1e-6
