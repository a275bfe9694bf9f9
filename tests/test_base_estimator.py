"""A base model under the meta-learner, and what is left for each task to correct."""

import copy
import warnings
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit, logit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
)
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    RidgeCV,
)
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    ReptileClassifier,
    ReptileRegressor,
    adapt,
    meta_fit,
)
from skmeta._base_model import FLOOR, fit_base, out_of_task, raw_prediction
from skmeta._core.canonical import canonical_order
from skmeta._core.tasks import ABSENT, TaskTable, split_rows
from skmeta.model_selection import (
    compare_baselines,
    few_shot_scores,
    make_few_shot_scorer,
)

BASES = {ReptileRegressor: Ridge(), ReptileClassifier: LogisticRegression()}
BOTH = pytest.mark.parametrize("cls", list(BASES))
SHAPES = pytest.mark.parametrize("hidden", [(), (6,)], ids=["linear", "mlp"])


def fast(cls, base=None, **params):
    defaults = {"base_estimator": base, "max_iter": 20, "random_state": 0}
    return cls(**defaults | params)


# With one rate for each layer, a classifier does not average its probabilities over
# what is not known of a task, so that its logits are sums.
PLAIN_LOGITS = {"learn_rates": "layer"}


def unmoved(cls, base, **params):
    """A model whose correction stays 0."""
    still = {"max_iter": 1, "meta_step": 1e-300, "standardize": False}
    return fast(cls, base, **PLAIN_LOGITS | still | params)


def target(cls, y, n_classes=3):
    """The numbers y, or string labels for a classifier."""
    if cls is ReptileRegressor:
        return y
    cuts = np.quantile(y, np.linspace(0, 1, n_classes + 1)[1:-1])
    return np.array(["low", "mid", "top"])[np.digitize(y, cuts)]


def outputs(model, X):
    """Predictions of a regressor, decision function of a classifier."""
    return getattr(model, "decision_function", model.predict)(X)


def as_fitted(X, y, ids=None):
    """Rows, targets and task numbers in the order in which meta-training uses them."""
    codes = np.zeros(len(y), dtype=int)
    if ids is not None:
        codes = np.unique(ids, return_inverse=True)[1]
    number = np.unique(y, return_inverse=True)[1]
    order, tasks = canonical_order(X, number, np.ones(len(y)), codes)
    sizes = np.bincount(codes)[tasks]
    return X[order], y[order], np.repeat(np.arange(len(tasks)), sizes)


def offsets_and_table(model, X, y, **metadata):
    """Fit a model; returns the table that its meta-training was given.

    Offsets are the base model's own, before they are scaled.
    """
    seen, scales = [], []

    class Recorder(type(model)):
        def _meta_train(self, table, *args):
            seen.append(table)
            scales.append(getattr(self, "base_scale_", 1.0))
            super()._meta_train(table, *args)

    Recorder(**model.get_params(deep=False)).fit(X, y, **metadata)
    table, scale = seen[0], scales[0]
    if table.offset is not None:
        table = replace(table, offset=table.offset / scale)
    return table


@pytest.fixture(scope="module")
def curved_table():
    """y = sin(3 x) + an offset of the task: 24 tasks of 20 rows, with ids."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(24 * 20, 1))
    ids = np.repeat(np.arange(24), 20)
    y = 3 * np.sin(3 * X[:, 0]) + rng.normal(size=24)[ids]
    return X, y + 0.1 * rng.normal(size=len(y)), ids


# -- what scikit-learn asks -----------------------------------------------------------

# As of CalibratedClassifierCV and others that cut rows into folds: of a row that
# stands there twice, one may be in the fold that is predicted and one outside.
WEIGHTS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "a repeated row is in two folds"
    for kind in ("dense", "sparse")
}


def list_of_checks(estimators):
    """As in test_common, with the checks that folds of rows cannot pass."""
    mark = parametrize_with_checks(
        estimators, expected_failed_checks=lambda estimator: WEIGHTS
    )
    names, checks = mark.args
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)


@list_of_checks([cls(base_estimator=BASES[cls], max_iter=8) for cls in BASES])
def test_the_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


# -- offsets --------------------------------------------------------------------------


@pytest.mark.parametrize("n_tasks", [2, 4, 20])
def test_a_regressor_corrects_the_errors_of_clones_that_had_not_seen_the_task(
    n_tasks, linear_table
):
    rows = np.isin(linear_table.ids, np.unique(linear_table.ids)[:n_tasks])
    X, y, ids = linear_table.X[rows], linear_table.y[rows], linear_table.ids[rows]
    base = DecisionTreeRegressor(random_state=0)
    model = fast(ReptileRegressor, base, standardize=False)
    table = offsets_and_table(model, X, y, task=ids)

    X, y, ids = as_fitted(X, y, ids)
    cv = GroupKFold(min(5, n_tasks))
    expected = y - cross_val_predict(base, X, y, groups=ids, cv=cv)
    assert_allclose(table.Y[:, 0], expected)
    assert table.offset is None


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_classifier_is_offset_by_clones_that_had_not_seen_the_task(
    n_classes, linear_table
):
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    y, base = target(ReptileClassifier, y, n_classes), LogisticRegression()
    table = offsets_and_table(fast(ReptileClassifier, base), X, y, task=ids)

    X, y, ids = as_fitted(X, y, ids)
    P = cross_val_predict(
        base, X, y, groups=ids, cv=GroupKFold(5), method="predict_proba"
    )
    P = np.clip(P, FLOOR, 1 - FLOOR)
    expected = logit(P[:, 1:]) if n_classes == 2 else np.log(P)
    assert_allclose(table.offset, expected, rtol=1e-6)


def test_rows_in_any_order_get_their_own_offsets(linear_table):
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    order = np.random.default_rng(0).permutation(len(y))
    model = fast(ReptileRegressor, Ridge())
    sorted_rows = offsets_and_table(model, X, y, task=ids)
    shuffled = offsets_and_table(model, X[order], y[order], task=ids[order])
    for t in range(20):
        rows = slice(*shuffled.starts[t : t + 2])
        assert_allclose(np.sort(shuffled.Y[rows, 0]), np.sort(sorted_rows.Y[rows, 0]))


def test_each_row_of_a_single_task_is_predicted_by_a_clone_that_has_not_seen_it(
    linear_tasks,
):
    X, y = linear_tasks[0]
    base = DecisionTreeRegressor(random_state=0)
    table = offsets_and_table(fast(ReptileRegressor, base, standardize=False), X, y)
    X, y, _ = as_fitted(X, y)
    folds = KFold(5, shuffle=True, random_state=0)
    assert_allclose(table.Y[:, 0], y - cross_val_predict(base, X, y, cv=folds))


def test_a_single_row_has_the_offset_0():
    X, y = np.array([[1.0, 2.0]]), np.array([7.0])
    table = offsets_and_table(fast(ReptileRegressor, Ridge(), standardize=False), X, y)
    assert_array_equal(table.Y, [[7.0]])
    assert fast(ReptileRegressor, Ridge()).fit(X, y).base_estimator_.predict(X) == 7.0


def test_probabilities_of_0_and_1_can_still_be_corrected(label_table):
    X, y = label_table.X, label_table.y
    tree = DecisionTreeClassifier(random_state=0).fit(X, y)
    offset = raw_prediction(tree, X, np.array([0, 1]))
    assert_allclose(expit(offset[:, 0]), np.where(y == 1, 1 - FLOOR, FLOOR))


def test_residuals_set_the_scale_of_y(linear_table):
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    base = LinearRegression()
    y = 1000 + 50 * X[:, 0] + y
    model = fast(ReptileRegressor, base).fit(X, y, task=ids)
    X, y, ids = as_fitted(X, y, ids)
    expected = y - cross_val_predict(base, X, y, groups=ids, cv=GroupKFold(5))
    assert_allclose(model._scaling.y_mean, expected.mean(), atol=1e-8)
    assert_allclose(model._scaling.y_scale, expected.std())


# -- predictions ----------------------------------------------------------------------


@BOTH
def test_a_correction_that_has_learned_nothing_leaves_the_base_model(cls, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    base = BASES[cls]
    model = unmoved(cls, base).fit(X, y, task=ids)
    same = clone(base).fit(*as_fitted(X, y, ids)[:2])
    assert_array_equal(model.predict(X), same.predict(X))
    if cls is ReptileClassifier:
        odds = np.log(np.clip(same.predict_proba(X), FLOOR, 1 - FLOOR))
        expected = softmax(model.base_scale_ * odds, axis=1)
        assert_allclose(model.predict_proba(X), expected, rtol=1e-6)


@BOTH
@SHAPES
def test_a_base_model_that_predicts_0_is_like_no_base_model(cls, hidden, linear_table):
    class Nothing(BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.zeros(len(X))

        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

    kind = RegressorMixin if cls is ReptileRegressor else ClassifierMixin
    base = type("Zero", (kind, Nothing), {})()
    X, y, ids = linear_table.X, target(cls, linear_table.y, 2), linear_table.ids
    first = ids == ids[0]
    plain = fast(cls, hidden_layer_sizes=hidden).fit(X, y, task=ids)
    zero = fast(cls, base, hidden_layer_sizes=hidden).fit(X, y, task=ids)
    assert not hasattr(plain, "base_estimator_")
    assert_array_equal(zero.prior_coefs_[0], plain.prior_coefs_[0])
    for a, b in ((zero, plain), (m.adapt(X[first], y[first]) for m in (zero, plain))):
        assert_array_equal(outputs(a, X), outputs(b, X))


@BOTH
def test_an_adapted_copy_adds_its_correction_to_the_base_model(cls, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    model = fast(cls, BASES[cls], **PLAIN_LOGITS).fit(X, y, task=ids)
    first = ids == ids[0]
    adapted = model.adapt(X[first], y[first])
    assert adapted.base_estimator_ is model.base_estimator_
    assert (adapted.predict(X) != model.predict(X)).any()

    classes = None if cls is ReptileRegressor else model.classes_
    base = raw_prediction(model.base_estimator_, X, classes)
    linear = np.atleast_2d(adapted.coef_)
    correction = X @ linear.T + np.atleast_1d(adapted.intercept_)
    expected = getattr(model, "base_scale_", 1.0) * base + correction
    shown = outputs(adapted, X).reshape(expected.shape)
    assert_allclose(shown, expected, atol=1e-8)
    if cls is ReptileClassifier:
        assert_allclose(adapted.predict_proba(X), softmax(expected, axis=1))
    adapted.reset_adaptation()
    assert_array_equal(outputs(adapted, X), outputs(model, X))


def test_adapting_fits_the_residuals_of_the_base_model(curved_table):
    X, y, ids = curved_table
    base = RandomForestRegressor(n_estimators=10, min_samples_leaf=5, random_state=0)
    model = fast(ReptileRegressor, base, max_iter=100).fit(X, y, task=ids)
    # new rows, since the forest's residuals are smaller on the rows it was fitted on
    X = np.random.default_rng(1).uniform(-2, 2, size=(100, 1))
    y = 3 * np.sin(3 * X[:, 0]) + 2.0
    error = {
        name: np.sqrt(np.mean((m.predict(X[8:]) - y[8:]) ** 2))
        for name, m in (("before", model), ("after", model.adapt(X[:8], y[:8])))
    }
    assert error["before"] > 1.5
    assert error["after"] < 0.7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@BOTH
def test_predictions_keep_the_precision_of_the_model(cls, dtype, linear_table):
    X, y = linear_table.X.astype(dtype), target(cls, linear_table.y)
    for base in (None, BASES[cls]):
        model = fast(cls, base, hidden_layer_sizes=(4,)).fit(
            X, y, task=linear_table.ids
        )
        assert outputs(model, X).dtype == dtype
        assert outputs(model.adapt(X[:5], y[:5]), X).dtype == dtype


# -- base models of many kinds --------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("base", [LinearSVC(), RidgeClassifier()], ids=repr)
def test_a_classifier_without_probabilities_gives_its_margins(
    base, n_classes, linear_table
):
    X, y = linear_table.X, target(ReptileClassifier, linear_table.y, n_classes)
    model = unmoved(ReptileClassifier, base).fit(X, y, task=linear_table.ids)
    margin = clone(base).fit(X, y).decision_function(X)
    scale = model.base_scale_
    if n_classes == 2:
        near = np.abs(margin) < logit(1 - FLOOR)
        assert near.mean() > 0.5
        assert_allclose(model.decision_function(X)[near], scale * margin[near])
    else:  # they are equal up to a constant per row, if no class is nearly impossible
        P = softmax(margin, axis=1)
        near = (P > FLOOR).all(axis=1) & (P < 1 - FLOOR).all(axis=1)
        assert near.mean() > 0.5
        expected = softmax(scale * margin, axis=1)
        assert_allclose(model.predict_proba(X)[near], expected[near])


def test_a_classifier_that_has_nothing_but_labels_works(label_table):
    class OnlyLabels(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return self.classes_[(X[:, 0] > 0).astype(int)]

    X, y = label_table.X, label_table.y
    model = unmoved(ReptileClassifier, OnlyLabels()).fit(X, y, task=label_table.ids)
    assert_array_equal(model.predict(X), X[:, 0] > 0)


@pytest.mark.parametrize("base", [LogisticRegression(), RidgeClassifier()], ids=repr)
@pytest.mark.parametrize("kept", [1, 2])
def test_a_class_that_training_tasks_lack_gets_a_small_probability(kept, base):
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(30, 2)), np.repeat([0, 1], 15)
    y = np.where(codes == 0, rng.integers(3, size=30), rng.integers(kept, size=30))
    classes = np.arange(3)
    offset = out_of_task(base, X, y, np.ones(30), codes, classes)
    # predicted by a clone that was fitted on the second task
    first = offset[codes == 0]
    assert_allclose(first[:, kept:], np.log(FLOOR))
    assert (first[:, :kept] > np.log(FLOOR)).any(axis=0).all()
    model = fast(ReptileClassifier, base).fit(X, y, task=codes)
    assert_array_equal(model.classes_, classes)
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_fold_and_a_table_of_one_class_work(label_table):
    X, base = label_table.X, LogisticRegression()
    codes = np.repeat([0, 1], len(X) // 2)
    model = fast(ReptileClassifier, base).fit(X, codes, task=codes)
    assert_array_equal(model.base_estimator_.classes_, [0, 1])
    offset = out_of_task(base, X, codes, np.ones(len(X)), codes, np.array([0, 1]))
    assert_allclose(expit(offset[:, 0]), np.where(codes == 0, 1 - FLOOR, FLOOR))

    single = fast(ReptileClassifier, base).fit(X, np.full(len(X), "a"), task=codes)
    assert_array_equal(single.adapt(X[:2], ["a", "a"]).predict(X), "a")


@pytest.mark.parametrize("inside", ["plain", "target", "search"])
def test_weights_reach_the_last_step_of_a_pipeline(inside, linear_table, routing):
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    last = {
        "plain": Ridge(),
        "target": TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        "search": GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=2),
    }[inside]
    base = make_pipeline(StandardScaler(), last)
    weight = np.linspace(0.5, 2, len(y))
    model = unmoved(ReptileRegressor, base).fit(X, y, weight, task=ids)
    scaler = StandardScaler().fit(X)
    same = Ridge().fit(scaler.transform(X), y, weight)
    if inside == "target":  # scikit-learn scales y without the weights
        weighted_mean = np.average(y, weights=weight)
        assert abs(y.mean() - weighted_mean) > 1e-3
    assert_allclose(model.predict(X), same.predict(scaler.transform(X)), atol=1e-6)


@pytest.mark.parametrize("base", [KNeighborsRegressor(), "pipeline"], ids=str)
def test_a_base_model_that_takes_no_weights_warns_once(base, linear_table):
    if base == "pipeline":
        base = make_pipeline(StandardScaler(), KNeighborsRegressor())
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    model = fast(ReptileRegressor, base)
    with pytest.warns(UserWarning, match="takes no sample_weight in fit") as caught:
        model.fit(X, y, np.linspace(0.5, 2, len(y)), task=ids)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y, np.full(len(y), 2.0), task=ids)  # all weights are equal
        model.fit(X, y, task=ids)


@BOTH
def test_sparse_rows_reach_the_base_model_as_they_are(cls, linear_table):
    kinds = []
    parent = type(BASES[cls])

    class Spy(parent):
        def fit(self, X, y, sample_weight=None):
            kinds.append(X.format)
            return super().fit(X, y, sample_weight)

    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    csr = sparse.csr_array(X)
    model = fast(cls, Spy()).fit(csr, y, task=ids)
    assert kinds == ["csr"] * 6
    for rows in (csr, sparse.csc_array(X), X):
        adapted = model.adapt(rows[:5], y[:5])
        assert_allclose(outputs(adapted, csr), outputs(adapted, X))
        assert_array_equal(adapted.base_estimator_.coef_, model.base_estimator_.coef_)


def test_tags_say_if_a_base_model_takes_only_dense_rows():
    assert get_tags(ReptileRegressor()).input_tags.sparse
    for base in (Ridge(), HistGradientBoostingRegressor()):
        tags = get_tags(ReptileRegressor(base_estimator=base))
        assert tags.input_tags.sparse is get_tags(base).input_tags.sparse
    assert not tags.input_tags.sparse


# -- weights and routing --------------------------------------------------------------


@BOTH
def test_rows_of_weight_0_never_reach_the_base_model(cls, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    keep = np.random.default_rng(0).random(len(y)) > 0.3
    keep &= ids != "S03"  # this removes a whole task
    wild = np.where(keep[:, None], X, 1e6)
    weighted = fast(cls, BASES[cls]).fit(wild, y, keep.astype(float), task=ids)
    removed = fast(cls, BASES[cls]).fit(X[keep], y[keep], task=ids[keep])
    assert_array_equal(outputs(weighted, X), outputs(removed, X))
    few = keep[:12].astype(float)
    a = weighted.adapt(wild[:12], y[:12], few)
    b = removed.adapt(X[:12][keep[:12]], y[:12][keep[:12]])
    assert_array_equal(outputs(a, X), outputs(b, X))


@BOTH
def test_weights_reach_a_base_model_that_takes_them(cls, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y))
    model = unmoved(cls, BASES[cls]).fit(X, y, weight, task=ids)
    same = clone(BASES[cls]).fit(X, y, weight)
    if cls is ReptileRegressor:
        assert_allclose(model.predict(X), same.predict(X))
    else:
        assert_array_equal(model.predict(X), same.predict(X))
    assert_allclose(model.base_estimator_.coef_, same.coef_, rtol=1e-4)


def test_with_routing_the_base_model_needs_no_requests(label_table, routing):
    X, y, ids = label_table.X, label_table.y, label_table.ids
    weight = np.linspace(0.5, 2, len(y))
    base = CalibratedClassifierCV(LogisticRegression(), cv=2)
    # used by itself, it needs a request
    with pytest.raises(ValueError, match="sample_weight"):
        clone(base).fit(X, y, sample_weight=weight)
    model = fast(ReptileClassifier, base).fit(X, y, weight, task=ids)
    assert model.predict(X).shape == y.shape


def test_a_grid_over_base_models_picks_the_one_that_bends(curved_table, routing):
    X, y, ids = curved_table
    forest = RandomForestRegressor(n_estimators=10, random_state=0)
    boosting = HistGradientBoostingRegressor(max_iter=20)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), fast(ReptileRegressor)),
        {"reptileregressor__base_estimator": [None, Ridge(), forest, boosting]},
        cv=GroupKFold(2).set_split_request(groups="task"),
        scoring=make_few_shot_scorer("r2", n_repeats=1),
        error_score="raise",
    ).fit(X, y, task=ids)
    bent = (RandomForestRegressor, HistGradientBoostingRegressor)
    best = search.best_estimator_[-1]
    assert isinstance(best.base_estimator_, bent)
    assert search.best_score_ > 0.8
    assert search.cv_results_["mean_test_score"][:2].max() < 0.5


def test_parameters_of_the_base_model_can_be_searched(curved_table, routing):
    X, y, ids = curved_table
    model = fast(ReptileRegressor, DecisionTreeRegressor(random_state=0))
    search = GridSearchCV(
        model,
        {"base_estimator__max_depth": [1, 7]},
        cv=GroupKFold(2).set_split_request(groups="task"),
        scoring=make_few_shot_scorer(n_repeats=1),
    ).fit(X, y, task=ids)
    assert search.best_params_ == {"base_estimator__max_depth": 7}
    assert search.best_estimator_.base_estimator_.max_depth == 7


def test_compositions_adapt_over_a_base_model(linear_tasks):
    pipe = make_pipeline(StandardScaler(), fast(ReptileRegressor, Ridge()))
    X, y = linear_tasks[0]
    adapted = adapt(meta_fit(pipe, linear_tasks), X[:6], y[:6])
    assert np.isfinite(adapted.predict(X)).all()


# -- labels, groups, seeds ------------------------------------------------------------


class PlacesOnly(ClassifierMixin, BaseEstimator):
    """A classifier that needs the labels 0, 1, ..., n - 1, as XGBoost's does."""

    def fit(self, X, y, sample_weight=None):
        labels = np.unique(y)
        if labels.dtype.kind != "i" or (labels != np.arange(len(labels))).any():
            raise ValueError(f"Invalid classes: {labels}. Expected: 0, 1, ...")
        self.model_ = LogisticRegression().fit(X, y, sample_weight)
        self.classes_ = np.arange(len(labels))
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


@pytest.mark.parametrize(
    ("cls", "labels"),
    [
        (ReptileClassifier, ["a", "b", "c"]),
        (ReptileClassifier, [0, 1, 2]),
        (ReptileClassifier, [4.0, 1.0, 2.0]),
        (EmpiricalBayesClassifier, [7, 3, 5]),
    ],
)
def test_a_base_model_fitted_to_positions_of_labels_predicts_labels(
    cls, labels, linear_table
):
    """The tasks of a fold may lack a class, in the middle or at an end."""
    X, ids = linear_table.X, linear_table.ids
    place = np.digitize(linear_table.y, np.quantile(linear_table.y, [0.3, 0.6]))
    place[(place == 1) & (ids > "S03")] = 0  # a class that only four tasks have
    y = np.array(labels)[place]
    params = {"max_iter": 20} if cls is ReptileClassifier else {"prior": "intercept"}
    model, same = (
        cls(base_estimator=base, random_state=0, **params).fit(X, y, task=ids)
        for base in (PlacesOnly(), LogisticRegression())
    )
    assert_array_equal(model.base_estimator_.classes_, np.unique(y))
    assert_allclose(model.predict_proba(X), same.predict_proba(X), atol=1e-9)
    assert set(model.base_estimator_.predict(X)) <= set(labels)
    said, right = (m.base_estimator_.predict(X) for m in (model, same))
    assert_array_equal(said, right)
    adapted = model.adapt(X[:5], y[:5])
    assert np.isfinite(adapted.predict_proba(X)).all()


def test_class_weights_by_label_reach_the_base_model(linear_table):
    X, y = linear_table.X, target(ReptileClassifier, linear_table.y, 2)
    base = LogisticRegression(class_weight={"low": 1.0, "mid": 9.0})
    model = unmoved(ReptileClassifier, base).fit(X, y, task=linear_table.ids)
    assert_array_equal(model.predict(X), clone(base).fit(X, y).predict(X))


class Groups(GroupKFold):
    """Remembers the tasks that it was given."""

    seen = []

    def split(self, X, y=None, groups=None):
        for train, test in super().split(X, y, groups):
            assert not np.intersect1d(groups[train], groups[test]).size
            type(self).seen.append(len(np.unique(groups)))
            yield train, test


@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize(
    ("kind", "weighted"),
    [("search", False), ("search", True), ("pipeline of a search", True),
     ("ridge", True)],
)  # fmt: skip
def test_folds_inside_a_base_model_keep_tasks_together(
    kind, on, weighted, linear_table
):
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    Groups.seen = []
    base = {
        "search": GridSearchCV(Ridge(), {"alpha": [0.1, 1]}, cv=Groups(3)),
        "pipeline of a search": make_pipeline(
            StandardScaler(), GridSearchCV(Ridge(), {"alpha": [0.1, 1]}, cv=Groups(3))
        ),
        "ridge": RidgeCV([0.1, 1], cv=Groups(3)),
    }[kind]
    weight = np.linspace(0.5, 2, len(y)) if weighted else None
    with sklearn.config_context(enable_metadata_routing=on):
        fast(ReptileRegressor, base).fit(X, y, weight, task=ids)
    # the numbers of tasks in a fold and of all tasks
    assert set(Groups.seen) == {16, 20}


@pytest.mark.parametrize(
    "cls",
    [
        partial(ReptileRegressor, max_iter=20),
        partial(EmpiricalBayesRegressor, "intercept", noise="shared"),
    ],
)
def test_a_seed_makes_a_base_model_repeatable(cls, linear_table):
    some = linear_table.ids < "S08"
    X, y, ids = linear_table.X[some], linear_table.y[some], linear_table.ids[some]
    base = make_pipeline(StandardScaler(), ExtraTreesRegressor(3))
    models = [cls(base_estimator=base, random_state=s) for s in (0, 0, 1, None)]
    first, same, other, free = (m.fit(X, y, task=ids) for m in models)
    assert_array_equal(first.predict(X), same.predict(X))
    assert (first.predict(X) != other.predict(X)).any()
    assert (first.predict(X) != free.predict(X)).any()
    assert base[-1].random_state is None
    base.set_params(extratreesregressor__random_state=5)
    kept = cls(base_estimator=base, random_state=0).fit(X, y, task=ids)
    assert kept.base_estimator_[-1].random_state == 5


def test_a_stacking_model_with_a_default_final_model_may_be_the_base(linear_table):
    base = StackingRegressor([("a", Ridge())])
    model = fast(ReptileRegressor, base)
    model.fit(linear_table.X, linear_table.y, task=linear_table.ids)
    assert np.isfinite(model.predict(linear_table.X)).all()


def test_an_error_of_the_base_model_names_it_and_the_fold(linear_table, unchanged):
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    model = fast(ReptileRegressor, Ridge()).fit(X, y, task=ids)
    search = GridSearchCV(Ridge(), {"alpha": [1]}, cv=GroupKFold(18))
    model.set_params(base_estimator=search)
    with (
        unchanged(model),
        pytest.raises(
            ValueError,
            match=r"GridSearchCV could not be fitted in fold 1 of 5, on 192 rows",
        ),
    ):
        model.fit(X, y, task=ids)


def test_a_missing_value_is_refused_before_it_reaches_the_base_model(linear_table):
    X, y, ids = linear_table.X.copy(), linear_table.y, linear_table.ids
    trees = fast(ReptileRegressor, DecisionTreeRegressor(max_depth=2))
    fitted = clone(trees).fit(X, y, task=ids)
    X[5, 1] = np.nan
    for call in (
        lambda: trees.fit(X, y, task=ids),
        lambda: fitted.adapt(X[:8], y[:8]),
        lambda: fitted.predict(X),
    ):
        with pytest.raises(ValueError, match="SimpleImputer") as caught:
            call()
        assert "you might want to consider" not in str(caught.value)
        assert "DecisionTreeRegressor, the base_estimator" in str(caught.value)


# -- asked once -----------------------------------------------------------------------


class Counting:
    """Counts the rows that it predicts, and the calls."""

    calls = rows = 0

    def predict(self, X):
        type(self).calls, type(self).rows = self.calls + 1, self.rows + X.shape[0]
        return super().predict(X)

    def predict_proba(self, X):
        type(self).calls, type(self).rows = self.calls + 1, self.rows + X.shape[0]
        return super().predict_proba(X)


class CountingRidge(Counting, Ridge):
    pass


class CountingLogistic(Counting, LogisticRegression):
    pass


ALL_FOUR = pytest.mark.parametrize(
    "cls",
    [
        ReptileRegressor,
        ReptileClassifier,
        EmpiricalBayesRegressor,
        EmpiricalBayesClassifier,
    ],
)


COUNTED = {}


def counted(cls, table, layout=np.asarray):
    """A fitted model, its rows and targets; nothing is counted yet.

    No test changes the model.
    """
    if (cls, layout) not in COUNTED:
        COUNTED[cls, layout] = fitted_to_count(cls, table, layout)
    base = COUNTED[cls, layout][-1]
    base.calls = base.rows = 0
    return COUNTED[cls, layout]


def fitted_to_count(cls, table, layout):
    regressor = cls in (ReptileRegressor, EmpiricalBayesRegressor)
    base = CountingRidge() if regressor else CountingLogistic()
    y = target(ReptileRegressor if regressor else cls, table.y, 2)
    params = {"max_iter": 10} if cls in BASES else {"prior": "intercept"}
    if cls is EmpiricalBayesRegressor:
        params["noise"] = "shared"
    model = cls(base_estimator=base, random_state=0, **params)
    X = layout(table.X)
    model.fit(X, y, task=table.ids)
    return model, X, y, type(base)


@ALL_FOUR
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array, np.float32])
def test_adapting_to_many_tasks_calls_the_base_model_once(cls, layout, linear_table):
    model, X, y, base = counted(cls, linear_table, layout)
    ids, known = linear_table.ids, np.tile(np.arange(12) < 5, 20)
    new = model.adapt_predict(
        X[known], y[known], X[~known], task=ids[known], task_new=ids[~known]
    )
    assert base.calls <= 2
    assert base.rows == len(y)
    loop = [
        model.adapt(X[rows], y[rows]).predict(X[others])
        for t in np.unique(ids)
        for rows in [np.flatnonzero(known & (ids == t))]
        for others in [np.flatnonzero(~known & (ids == t))]
    ]
    expected = np.concatenate(loop)
    if cls in (ReptileRegressor, EmpiricalBayesRegressor):
        assert_allclose(new, expected, atol=1e-5 if layout is np.float32 else 1e-9)
    else:
        assert_array_equal(new, expected)


@ALL_FOUR
@pytest.mark.parametrize("inside", [False, True])
def test_few_shot_scores_call_the_base_model_once(cls, inside, linear_table):
    model, X, y, base = counted(cls, linear_table)
    plain = few_shot_scores(model, X, y, linear_table.ids, n_repeats=3)
    assert (base.calls, base.rows) == (1, len(y))
    if inside:
        pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False), model)
        pipe[0].fit(X)
        base.calls = base.rows = 0
        scores = few_shot_scores(pipe, X, y, linear_table.ids, n_repeats=3)
        assert (base.calls, base.rows) == (1, len(y))
        assert_allclose(scores, plain)
    base.calls = base.rows = 0
    score = model.score(X, y, task=linear_table.ids)
    assert base.rows == len(y)
    assert score == pytest.approx(plain.mean())


def test_comparing_calls_the_base_model_once_in_a_fold(linear_table):
    base, n_rows = CountingRidge(), len(linear_table.y)
    model = EmpiricalBayesRegressor(
        "intercept", noise="shared", base_estimator=base, random_state=0
    )
    CountingRidge.calls = CountingRidge.rows = 0
    compare_baselines(
        model, *(linear_table.X, linear_table.y), task=linear_table.ids, cv=2,
        baselines=["support mean"], n_support=(0, 2, 5),
    )  # fmt: skip
    # in each of two fits: five folds of half the rows, and the held-out tasks
    assert CountingRidge.rows == 2 * n_rows
    assert CountingRidge.calls == 2 * (5 + 1)


def test_an_adapted_copy_keeps_nothing_of_the_rows_predicted(linear_table):
    model, X, y, _ = counted(EmpiricalBayesRegressor, linear_table)
    (adapted,) = model._adapt_each([(X[:5], y[:5])])
    assert vars(adapted).keys() == vars(model.adapt(X[:5], y[:5])).keys()


# -- state ----------------------------------------------------------------------------


@BOTH
def test_the_base_model_given_is_never_fitted(cls, linear_table):
    base = clone(BASES[cls])
    before = dict(vars(base))
    y = target(cls, linear_table.y)
    model = fast(cls, base).fit(linear_table.X, y, task=linear_table.ids)
    assert model.base_estimator is base
    assert vars(base) == before
    assert type(model.base_estimator_) is type(base)


@BOTH
def test_adapting_leaves_the_meta_learner_and_its_base_model(
    cls, linear_table, unchanged
):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    model = fast(cls, BASES[cls]).fit(X, y, task=ids)
    with unchanged(model, model.base_estimator_):
        model.adapt(X[:5], y[:5]).partial_adapt(X[5:9], y[5:9]).predict(X)


@BOTH
def test_a_model_with_a_base_model_survives_on_disk(cls, linear_table, tmp_path):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    model = fast(cls, BASES[cls]).fit(X, y, task=ids)
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    for same in (loaded, copy.deepcopy(model)):
        assert_array_equal(outputs(same, X), outputs(model, X))
        assert_array_equal(
            outputs(same.adapt(X[:5], y[:5]), X), outputs(model.adapt(X[:5], y[:5]), X)
        )


class Failing(RegressorMixin, BaseEstimator):
    """Fits `n_fits` times and then fails."""

    fits = 0

    def __init__(self, n_fits=0):
        self.n_fits = n_fits

    def fit(self, X, y):
        type(self).fits += 1
        if type(self).fits > self.n_fits:
            raise RuntimeError("the base model failed")
        return self

    def predict(self, X):
        return np.zeros(len(X))


@pytest.mark.parametrize("n_fits", [0, 5])  # it fails in the first fold, or on all rows
def test_a_base_model_that_fails_leaves_the_fitted_state(
    n_fits, linear_table, unchanged
):
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    model = fast(ReptileRegressor, Ridge()).fit(X, y, task=ids)
    Failing.fits = 0
    model.set_params(base_estimator=Failing(n_fits))
    with unchanged(model), pytest.raises(RuntimeError, match="base model failed"):
        model.fit(2 * X, 2 * y, task=ids)


def test_a_base_model_that_predicts_no_numbers_is_named(linear_table):
    class NaN(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.full(len(X), np.nan)

    with pytest.raises(ValueError, match="prediction of NaN contains NaN"):
        fast(ReptileRegressor, NaN()).fit(linear_table.X, linear_table.y)


def test_a_second_fit_without_a_base_model_forgets_the_first(linear_table):
    X, y, ids = linear_table.X, linear_table.y, linear_table.ids
    model = fast(ReptileRegressor, Ridge()).fit(X, y, task=ids)
    model.set_params(base_estimator=None).fit(X, y, task=ids)
    assert not hasattr(model, "base_estimator_")
    assert_array_equal(
        model.predict(X), fast(ReptileRegressor).fit(X, y, task=ids).predict(X)
    )


@BOTH
def test_warm_start_keeps_the_base_model_of_the_first_fit(cls, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    old = ids < "S10"
    model = fast(cls, BASES[cls], warm_start=True).fit(X[old], y[old], task=ids[old])
    base, scaling = model.base_estimator_, model._scaling
    first = model.prior_coefs_[0].copy()
    model.fit(X[~old], y[~old], task=ids[~old])
    assert model.base_estimator_ is base
    assert model._scaling is scaling
    assert model.n_tasks_ == 20
    assert (model.prior_coefs_[0] != first).any()


@BOTH
def test_warm_start_refuses_to_add_or_drop_a_base_model(cls, linear_table, unchanged):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    for before, after in ((None, BASES[cls]), (BASES[cls], None)):
        model = fast(cls, before, warm_start=True).fit(X, y, task=ids)
        model.set_params(base_estimator=after)
        with unchanged(model), pytest.raises(ValueError, match="True continues"):
            model.fit(X, y, task=ids)


@BOTH
def test_early_stopping_and_automatic_steps_go_with_a_base_model(cls, linear_table):
    X, y, ids = linear_table.X, target(cls, linear_table.y), linear_table.ids
    model = fast(cls, BASES[cls], early_stopping=True, adapt_steps="auto")
    adapted = model.fit(X, y, task=ids).adapt(X[:5], y[:5])
    assert np.isfinite(outputs(adapted, X)).all()


@BOTH
@pytest.mark.parametrize("batch_size", [None, 2])
def test_minibatches_and_ragged_tasks_go_with_a_base_model(
    cls, batch_size, linear_tasks
):
    tasks = [
        (X[: 1 + i % 12], target(cls, y, 2)[: 1 + i % 12])
        for i, (X, y) in enumerate(linear_tasks)
    ]
    model = fast(cls, BASES[cls], batch_size=batch_size).meta_fit(tasks)
    adapted = model.adapt(*tasks[11])
    assert np.isfinite(outputs(adapted, tasks[11][0])).all()


# -- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "base", "needed"),
    [
        (ReptileRegressor, LogisticRegression(), "regressor"),
        (ReptileRegressor, KMeans(), "regressor"),
        (ReptileClassifier, Ridge(), "classifier"),
        (ReptileClassifier, make_pipeline(StandardScaler(), Ridge()), "classifier"),
    ],
)
def test_a_base_model_of_the_wrong_kind_is_refused(cls, base, needed, label_table):
    name = type(base).__name__
    with pytest.raises(TypeError, match=rf"must be a {needed}[^;]*; got {name}\("):
        fast(cls, base).fit(label_table.X, label_table.y, task=label_table.ids)


def test_an_object_that_is_not_an_estimator_is_refused_like_any_wrong_parameter(
    linear_table,
):
    with pytest.raises(ValueError, match="'base_estimator' parameter"):
        fast(ReptileRegressor, "ridge").fit(linear_table.X, linear_table.y)


def test_tasks_with_their_own_classes_refuse_a_base_model(own_class_tasks):
    model = fast(ReptileClassifier, RandomForestClassifier(), task_classes="own")
    with pytest.raises(ValueError, match=r"labels that all tasks share.*Set base_est"):
        model.meta_fit(own_class_tasks)


# -- the core -------------------------------------------------------------------------


def make_table(n_classes=None):
    """Three tasks of 2, 3 and 1 rows, whose offsets are numbers 1, 2, ..., 18."""
    return TaskTable(
        X=np.arange(6.0)[:, None],
        Y=np.zeros((6, 3)),
        weight=np.ones(6),
        starts=np.array([0, 2, 5, 6]),
        n_classes=n_classes,
        offset=np.arange(1.0, 19.0).reshape(6, 3),
    )


def test_a_subset_keeps_the_offsets_of_its_rows():
    part = make_table().subset(np.array([2, 0]))
    assert_array_equal(part.offset, make_table().offset[[5, 0, 1]])


def test_a_stack_carries_offsets_and_padding_has_none():
    table = make_table()
    batch, _ = split_rows(np.random.default_rng(0), table, np.array([1, 0]), None)
    assert_array_equal(batch.offset[0], table.offset[2:5])
    assert_array_equal(batch.offset[1], [*table.offset[:2], [0, 0, 0]])


def test_offsets_are_added_to_the_masks_of_absent_classes():
    table = make_table(n_classes=np.array([3, 2, 1]))
    batch, _ = split_rows(np.random.default_rng(0), table, np.array([1]), None)
    mask = np.array([0, 0, ABSENT])
    assert_allclose(batch.offset[0], table.offset[2:5] + mask)


def test_single_precision_offsets_make_single_precision_stacks():
    table = make_table()
    single = [a.astype(np.float32) for a in (table.X, table.Y, table.offset)]
    table = TaskTable(*single[:2], table.weight, table.starts, None, single[2])
    batch, _ = split_rows(np.random.default_rng(0), table, np.array([1, 0]), None)
    assert batch.offset.dtype == np.float32


def test_a_base_model_without_a_parameter_for_weights_is_fitted_without(linear_table):
    class NoWeights(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            return self

    fit_base(NoWeights(), linear_table.X, linear_table.y, 2.0 * np.ones(240))
