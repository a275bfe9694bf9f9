"""Plain models of scikit-learn that a meta-learner hands out."""

import io
import pickle
from copy import deepcopy

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    FewShotRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    adapt,
    meta_fit,
    to_sklearn,
)
from skmeta.base import BaseMetaLearner, MetaRegressorMixin

NAMES = ["price", "quality", "stock"]


@pytest.fixture(scope="module")
def linear_tasks(linear_tasks):
    """Few tasks, since many models are fitted to them."""
    return linear_tasks[:6]


@pytest.fixture(scope="module")
def label_tasks(label_tasks):
    """Few tasks with labels."""
    return label_tasks[:6]


def exact(**options):
    options = {"noise": "shared"} | options
    return EmpiricalBayesRegressor("diagonal", random_state=0, **options)


def descent(*hidden, **options):
    return ReptileRegressor(hidden, max_iter=20, random_state=0, **options)


def labels(tasks, n_classes, names=None):
    """The tasks with as many classes, which are cut out of the numbers."""
    names = np.arange(n_classes) if names is None else np.array(names)
    ends = np.linspace(-1.5, 1.5, n_classes + 1)[1:-1]
    return [(X, names[np.digitize(y, ends)]) for X, y in tasks]


def counts(tasks):
    rng = np.random.default_rng(0)
    return [(X, rng.poisson(np.exp(1 + 0.3 * y))) for X, y in tasks]


# -- numbers --------------------------------------------------------------------------

REGRESSORS = {
    "learned prior": exact(),
    "noise per task": exact(noise="task"),
    "half-life": exact(half_life=2.0),
    "without intercept": exact(fit_intercept=False),
    "units of X": exact(standardize=False),
    "shared columns": exact(varying=[0]),
    "base": exact(base_estimator=Ridge()),
    "base of rows": exact(base_estimator=make_pipeline(StandardScaler(), Ridge())),
    "Reptile": descent(),
    "Reptile of rows": descent(fit_intercept=False, learn_rates=None),
    "Reptile with a base": descent(base_estimator=Ridge()),
    "network": descent(4, 3),
    "rectified": descent(4, activation="relu", standardize=False),
}


@pytest.mark.parametrize("model", REGRESSORS.values(), ids=list(REGRESSORS))
def test_the_plain_regressor_predicts_the_same(model, linear_tasks):
    model = clone(model).meta_fit(linear_tasks)
    X, y = linear_tasks[0]
    adapted = model.adapt(X[:4], y[:4])
    for given in (model, adapted, adapted.partial_adapt(X[4:6], y[4:6])):
        plain = given.to_sklearn()
        assert type(plain).__module__.startswith("sklearn.")
        assert_allclose(plain.predict(X), given.predict(X), rtol=1e-10, atol=1e-10)
        assert given.n_features_in_ == plain.n_features_in_ == 3


@pytest.mark.parametrize("model", [exact(), descent(), descent(4)], ids=str)
def test_other_units_and_offsets_change_nothing(model, linear_tasks):
    scale, offset = np.array([1e-3, 1.0, 1e4]), np.array([1.0, -1e6, 3.0])
    tasks = [(X * scale + offset, 1e6 + 1e3 * y) for X, y in linear_tasks]
    tasks = [(np.column_stack([X, np.full(len(X), 7.0)]), y) for X, y in tasks]
    X, y = tasks[0]
    adapted = clone(model).meta_fit(tasks).adapt(X[:5], y[:5])
    elsewhere = X + [0, 0, 0, 1.0]  # the column was constant in meta-training
    for rows in (X, elsewhere):
        assert_allclose(
            adapted.to_sklearn().predict(rows), adapted.predict(rows), rtol=1e-10
        )


@pytest.mark.parametrize("start", ["prior", "pooled", "constant"])
def test_before_adapting_it_is_what_predicts_then(start, linear_tasks):
    model = exact().meta_fit(linear_tasks)
    mean = {"constant": np.array([0, 0, 0, 0.5]), "pooled": np.arange(4.0)}
    model._learned = replaced(
        model._learned, zero_shot=start, start_mean=mean.get(start)
    )
    X = linear_tasks[0][0]
    assert_allclose(model.to_sklearn().predict(X), model.predict(X), rtol=1e-12)


def replaced(learned, **values):
    learned = deepcopy(learned)
    for name, value in values.items():
        object.__setattr__(learned, name, value)
    return learned


def test_another_base_model_may_predict_before_adapting(linear_tasks):
    model, X = exact().meta_fit(linear_tasks), linear_tasks[0][0]
    model.zero_shot_model_ = exact(base_estimator=Ridge()).meta_fit(linear_tasks)
    assert_allclose(model.to_sklearn().predict(X), model.predict(X), rtol=1e-12)
    adapted = model.adapt(X[:3], X[:3, 0])
    assert isinstance(adapted.to_sklearn(), LinearRegression)


def test_rows_may_be_sparse_and_numbers_of_single_precision(linear_tasks):
    tasks = [(sparse.csr_array(X), y) for X, y in linear_tasks]
    adapted = exact().meta_fit(tasks).adapt(*tasks[0])
    assert_allclose(
        adapted.to_sklearn().predict(tasks[0][0]), adapted.predict(tasks[0][0])
    )
    single = [(X.astype(np.float32), y) for X, y in linear_tasks]
    adapted = descent().meta_fit(single).adapt(*single[0])
    plain = adapted.to_sklearn()
    assert plain.coef_.dtype == np.float64
    assert_allclose(
        plain.predict(single[0][0]), adapted.predict(single[0][0]), 1e-5, 1e-5
    )


# -- labels ---------------------------------------------------------------------------

CLASSIFIERS = {
    "learned prior": EmpiricalBayesClassifier("diagonal", random_state=0),
    "Reptile": ReptileClassifier(max_iter=20, random_state=0),
}


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("names", ["no yes", "a b c"])
@pytest.mark.parametrize("model", CLASSIFIERS.values(), ids=list(CLASSIFIERS))
def test_probabilities_are_those_of_the_coefficients(
    model, names, fit_intercept, linear_tasks
):
    names = names.split()
    tasks = labels(linear_tasks, len(names), names)
    model = clone(model).set_params(fit_intercept=fit_intercept).meta_fit(tasks)
    X, y = tasks[0]
    for given in (model, model.adapt(X[:4], y[:4]), model.adapt(X[:1], y[:1])):
        plain = given.to_sklearn()
        logits = X @ given.coef_.T + given.intercept_
        if len(names) == 2:
            p = expit(np.column_stack([-logits, logits]))
        else:
            p = softmax(logits, axis=1)
        assert_allclose(plain.predict_proba(X), p, rtol=1e-9, atol=1e-14)
        if len(names) == 2 or isinstance(model, ReptileClassifier):
            assert_array_equal(plain.predict(X), given.predict(X))
        assert plain.predict(X).dtype == given.predict(X).dtype


OTHERS = {
    "prototypes": PrototypicalClassifier(random_state=0),
    "network": ReptileClassifier(4, max_iter=20, random_state=0),
    "own classes": ReptileClassifier(
        max_iter=20, task_classes="own", learn_rates=None, random_state=0
    ),
    "own classes of a network": ReptileClassifier(
        4, max_iter=20, task_classes="own", random_state=0
    ),
}


@pytest.mark.parametrize("model", OTHERS.values(), ids=list(OTHERS))
def test_other_classifiers_keep_their_probabilities(model, own_class_tasks):
    own = "own" in str(model) or isinstance(model, PrototypicalClassifier)
    tasks = own_class_tasks
    if not own:
        tasks = {
            name: (X, np.array([label[-1] for label in y]))
            for name, (X, y) in tasks.items()
        }
    model = clone(model).meta_fit(tasks)
    for name in ("s0", "s1", "s2"):  # of 2, 3 and 4 classes
        X, y = tasks[name]
        for few in (slice(None), y == y[0]):
            adapted = model.adapt(X[few], y[few])
            plain = adapted.to_sklearn()
            assert_array_equal(plain.classes_, adapted.classes_)
            assert_allclose(plain.predict_proba(X), adapted.predict_proba(X), atol=1e-9)
            assert_array_equal(plain.predict(X), adapted.predict(X))


# -- counts ---------------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("start", ["prior", "pooled"])
def test_rates_are_the_same_averages(start, fit_intercept, linear_tasks):
    tasks = [(1e3 + 10 * X * fit_intercept + X, y) for X, y in counts(linear_tasks)]
    tasks = tasks if fit_intercept else counts(linear_tasks)
    model = EmpiricalBayesPoissonRegressor("diagonal", fit_intercept=fit_intercept)
    model.meta_fit(tasks)
    mean = model._learned.mean
    model._learned = replaced(model._learned, zero_shot=start, start_mean=mean)
    X, y = tasks[0]
    for given in (model, model.adapt(X[:2], y[:2])):
        rates = given.to_sklearn().predict(X)
        assert_allclose(rates, given.predict(X), rtol=1e-9)
    adapted = model.adapt(X[:2], y[:2])
    adapted.moderation_ = 0.0
    measured = adapted._learned.calibration._replace(moderation=0.0)
    adapted._learned = replaced(adapted._learned, calibration=measured)
    plain = adapted.to_sklearn()
    assert_allclose(plain.coef_, adapted.coef_)
    assert_allclose(plain.predict(X), adapted.predict(X), rtol=1e-9)


# -- what comes out -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_attributes_are_those_of_scikit_learn(linear_tasks, label_tasks):
    (X, y), (rows, names) = linear_tasks[0], label_tasks[0]
    frame, few = pd.DataFrame(X, columns=NAMES), pd.DataFrame(X[:3], columns=NAMES)
    tasks = [(pd.DataFrame(X, columns=NAMES), y) for X, y in linear_tasks]
    three = labels(linear_tasks, 3)
    pairs = [
        (exact().meta_fit(tasks).adapt(few, y[:3]), LinearRegression().fit(frame, y)),
        (
            clone(CLASSIFIERS["learned prior"]).meta_fit(label_tasks),
            LogisticRegression().fit(rows, names),
        ),
        (
            clone(CLASSIFIERS["learned prior"]).meta_fit(three),
            LogisticRegression().fit(*three[0]),
        ),
        (descent(4).meta_fit(linear_tasks), mlp(MLPRegressor, X, y)),
        (
            ReptileClassifier(4, max_iter=5).meta_fit(label_tasks),
            mlp(MLPClassifier, rows, names),
        ),
    ]
    for model, usual in pairs:
        plain = model.to_sklearn()
        check_is_fitted(plain)
        ours, theirs = vars(plain), vars(usual)
        about_rows = {"rank_", "singular_", "validation_scores_"}
        assert set(theirs) - set(ours) <= about_rows
        for name in ("coef_", "intercept_", "classes_", "feature_names_in_", "n_iter_"):
            if name in theirs:
                assert np.shape(ours[name]) == np.shape(theirs[name])
                assert type(ours[name]) is type(theirs[name]) or name == "intercept_"
                assert np.asarray(ours[name]).dtype == np.asarray(theirs[name]).dtype
        assert not hasattr(clone(plain), "n_features_in_")


def mlp(kind, X, y):
    return kind(hidden_layer_sizes=4, max_iter=1).fit(X, y)


@pytest.mark.filterwarnings("error")
def test_columns_are_known_by_name(linear_tasks):
    tasks = [(pd.DataFrame(X, columns=NAMES), y) for X, y in linear_tasks]
    X, y = tasks[0]
    tree = DecisionTreeRegressor(random_state=0)
    models = [exact(), descent(4), exact(base_estimator=tree)]
    models = [model.meta_fit(tasks) for model in models]
    rates = EmpiricalBayesPoissonRegressor("intercept", varying="all")
    models.append(rates.meta_fit(counts(tasks)))
    for model in models:
        adapted = model.adapt(X[:5], abs(y[:5]))
        plain = adapted.to_sklearn()
        assert_array_equal(plain.feature_names_in_, NAMES)
        assert_allclose(plain.predict(X), adapted.predict(X))
        with pytest.raises(ValueError, match="feature names should match"):
            plain.predict(X[NAMES[::-1]])


def test_a_plain_model_is_independent_and_needs_no_skmeta(linear_tasks):
    X, y = linear_tasks[0]
    for model in (exact(), descent(), descent(4), exact(base_estimator=Ridge())):
        adapted = model.meta_fit(linear_tasks).adapt(X[:5], y[:5])
        plain, before = adapted.to_sklearn(), adapted.predict(X)
        assert b"skmeta" not in pickle.dumps(plain)
        file = io.BytesIO()
        joblib.dump(plain, file)
        file.seek(0)
        assert_array_equal(joblib.load(file).predict(X), plain.predict(X))
        linear = getattr(plain, "final_estimator_", plain)
        for values in getattr(linear, "coefs_", None) or [linear.coef_]:
            values[:] = 0.0
        assert_array_equal(adapted.predict(X), before)
        assert plain.score(X, y) < 1.0


# -- compositions ---------------------------------------------------------------------


PIPE = make_pipeline(StandardScaler(), exact())
COMPOSITIONS = {
    "pipeline": PIPE,
    "transformed": TransformedTargetRegressor(PIPE, transformer=StandardScaler()),
    "function": TransformedTargetRegressor(
        exact(), func=np.arcsinh, inverse_func=np.sinh
    ),
    "search": GridSearchCV(
        PIPE,
        {"empiricalbayesregressor__fit_intercept": [True]},
        cv=2,
    ),
}


@pytest.mark.filterwarnings("ignore:.*adapted to none")
@pytest.mark.parametrize("model", COMPOSITIONS.values(), ids=list(COMPOSITIONS))
def test_compositions_are_rebuilt_around_the_plain_model(model, linear_tasks):
    X, y = linear_tasks[0]
    model = meta_fit(clone(model), linear_tasks)
    adapted = adapt(model, X[:4], y[:4])
    for given in (model, adapted, FrozenEstimator(adapted)):
        before = given.predict(X)
        plain = to_sklearn(given)
        assert_allclose(plain.predict(X), before, rtol=1e-10)
        assert b"skmeta" not in pickle.dumps(plain)
        assert_array_equal(given.predict(X), before)
        check_is_fitted(clone(plain).fit(X, y))


def test_one_task_as_an_estimator_hands_out_its_model(linear_tasks):
    X, y = linear_tasks[0]
    model = exact().meta_fit(linear_tasks)
    one = FewShotRegressor(FrozenEstimator(model)).fit(X[:4], y[:4])
    assert_allclose(to_sklearn(one).predict(X), one.predict(X))
    with pytest.raises(NotFittedError):
        to_sklearn(clone(one))


# -- refusals -------------------------------------------------------------------------


class Constant(MetaRegressorMixin, BaseMetaLearner):
    """A meta-learner of a user, who wrote no `to_sklearn`."""

    def _meta_train(self, table, ids, again, data):
        self.n_iter_ = 1

    def _adapt_to(self, batch):
        pass

    def _forget(self):
        pass

    def _raw_outputs(self, X):
        return np.zeros((X.shape[0], 1))


def test_what_has_no_plain_equal_is_refused(linear_tasks, own_class_tasks):
    yes_no = labels(linear_tasks, 2)
    bent = exact().meta_fit(linear_tasks)
    bent._learned = with_features(bent)
    prototypes = PrototypicalClassifier(4, max_iter=5)
    base = ReptileClassifier(max_iter=5, base_estimator=LogisticRegression())
    rates = EmpiricalBayesPoissonRegressor(
        "intercept", base_estimator=PoissonRegressor()
    )
    for model, why in (
        (bent, "learned features"),
        (descent(4, layer_norm=True).meta_fit(linear_tasks), "layer_norm"),
        (descent(4, base_estimator=Ridge()).meta_fit(linear_tasks), "adds a network"),
        (prototypes.meta_fit(own_class_tasks), "class"),
        (base.meta_fit(yes_no), "its LogisticRegression"),
        (rates.meta_fit(counts(linear_tasks)), "its PoissonRegressor"),
    ):
        if isinstance(model, PrototypicalClassifier):
            with pytest.raises(NotFittedError, match="no classes until it is adapted"):
                model.to_sklearn()
            model = model.adapt(*own_class_tasks["s0"])
        with pytest.raises(ValueError, match=why):
            model.to_sklearn()
    with pytest.raises(NotFittedError):
        exact().to_sklearn()
    with pytest.raises(TypeError, match="Constant has no to_sklearn"):
        to_sklearn(Constant().meta_fit(linear_tasks))
    with pytest.raises(TypeError, match="to_sklearn found no meta-learner in Ridge"):
        to_sklearn(Ridge())


def with_features(model):
    """What the model has learned, as if a network made features."""
    from skmeta._core.layout import ParamLayout
    from skmeta._core.network import Network

    network = Network(ParamLayout((3, 4)), "tanh")
    return replaced(
        model._learned, design=model._learned.design.with_features(network, None)
    )


# -- ONNX -----------------------------------------------------------------------------


def test_exported_to_onnx_it_gives_the_same(linear_tasks, label_tasks):
    convert = pytest.importorskip("skl2onnx").to_onnx
    runtime = pytest.importorskip("onnxruntime")
    X, y = linear_tasks[0]
    tree = DecisionTreeRegressor(random_state=0)
    numbers = [exact(), descent(4), exact(base_estimator=tree)]
    models = [model.meta_fit(linear_tasks).adapt(X[:5], y[:5]) for model in numbers]
    rates = EmpiricalBayesPoissonRegressor("diagonal").meta_fit(counts(linear_tasks))
    models += [rates.adapt(X[:2], [1, 4])]
    pipe = meta_fit(make_pipeline(StandardScaler(), exact()), linear_tasks)
    models += [adapt(pipe, X[:5], y[:5])]
    for n_classes in (2, 3):
        tasks = labels(linear_tasks, n_classes)
        names = tasks[0][1]
        for kind in CLASSIFIERS.values():
            models += [clone(kind).meta_fit(tasks).adapt(X[:5], names[:5])]
    single = X.astype(np.float32)
    for model in models:
        plain = to_sklearn(model)
        has_classes = hasattr(plain, "classes_")
        options = {"zipmap": False} if has_classes else None
        exported = convert(plain, single[:1], options=options).SerializeToString()
        session = runtime.InferenceSession(exported, providers=["CPUExecutionProvider"])
        *_, values = session.run(None, {session.get_inputs()[0].name: single})
        expected = plain.predict_proba(X) if has_classes else plain.predict(X)
        assert_allclose(values.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5)
