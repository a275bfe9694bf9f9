"""What a newcomer puts a meta-learner into: it works, or the message says what to do.

Each test is a line of the table in the docs' page "Beside other tools". Tools that are
no dependency of the tests are tried if they are installed.
"""

import pickle
from io import BytesIO

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import StackingRegressor
from sklearn.feature_selection import (
    RFECV,
    SelectFromModel,
    SelectKBest,
    SequentialFeatureSelector,
    f_regression,
)
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LassoCV, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder
from sklearn.utils import estimator_html_repr

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    ReptileRegressor,
    adapt,
    adapt_predict,
    meta_fit,
    partial_adapt,
    to_sklearn,
)
from skmeta.exceptions import ZeroShotWarning
from skmeta.model_selection import (
    compare_baselines,
    few_shot_predict,
    few_shot_scores,
    make_few_shot_scorer,
)

N_TASKS, N_ROWS = 12, 9


@pytest.fixture(scope="module")
def shops():
    """Sales of 12 shops on 9 days each; the last shop is new."""
    rng = np.random.default_rng(0)
    n = N_TASKS * N_ROWS
    shop = np.repeat([f"s{i:02d}" for i in range(N_TASKS)], N_ROWS)
    frame = pd.DataFrame(
        {
            "shop": shop,
            "price": rng.normal(5, 1, n),
            "place": rng.choice(["left", "right"], n),
            "visits": rng.poisson(20, n).astype(float),
        }
    )
    level = np.repeat(rng.normal(0, 3, N_TASKS), N_ROWS)
    frame["sales"] = np.exp(0.1 * (20 - 2 * frame.price + level + rng.normal(size=n)))
    frame["late"] = (level + rng.normal(size=n) > 0).astype(int)
    return frame


NUMBERS = ["price", "visits"]
METRIC = "neg_mean_absolute_error"


@pytest.fixture(scope="module")
def known(shops):
    return shops[shops.shop != "s11"]


@pytest.fixture(scope="module")
def new(shops):
    return shops[shops.shop == "s11"]


@pytest.fixture(scope="module")
def model(known):
    return regressor().fit(known[NUMBERS], known.sales, task=known.shop)


@pytest.fixture(scope="module")
def adapted(model, new):
    return adapt(model, new[NUMBERS][:4], new.sales[:4])


@pytest.fixture(scope="module")
def classifier(known):
    model = EmpiricalBayesClassifier("intercept", random_state=0)
    return model.fit(known[NUMBERS], known.late, task=known.shop)


def regressor(**params):
    return EmpiricalBayesRegressor(**{"prior": "intercept", "random_state": 0} | params)


def quick(**params):
    return ReptileRegressor(**{"max_iter": 10, "random_state": 0} | params)


def by_task(n_splits=3):
    with sklearn.config_context(enable_metadata_routing=True):
        return GroupKFold(n_splits).set_split_request(groups="task")


# -- tables ---------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_brings_names_to_the_model(library, known, new):
    pytest.importorskip(library)
    if library == "polars" and sklearn.__version__ < "1.9":
        pytest.skip("old versions of scikit-learn do not know new ones of polars")
    encoder = make_column_transformer(
        (OneHotEncoder(drop="first", sparse_output=False), ["place"]),
        remainder=StandardScaler(),
        verbose_feature_names_out=False,
    ).set_output(transform=library)
    columns = [*NUMBERS, "place"]
    pipe = make_pipeline(encoder, quick())
    pipe = meta_fit(pipe, {s: (g[columns], g.sales) for s, g in known.groupby("shop")})
    assert list(pipe[-1].feature_names_in_) == ["place_right", "price", "visits"]
    assert adapt(pipe, new[columns][:4], new.sales[:4]).predict(new[columns]).shape == (
        N_ROWS,
    )


def test_frames_of_polars_and_arrow_give_the_same_model(known):
    pl = pytest.importorskip("polars")
    expected = quick().fit(known[NUMBERS].to_numpy(), known.sales, task=known.shop)
    frame = pl.DataFrame(known.to_dict("list"))
    tables = [(frame.select(NUMBERS), frame["sales"], frame["shop"])]
    tables += [(*tables[0][:2], frame["shop"].cast(pl.Categorical))]
    try:
        import pyarrow as pa
    except ImportError:
        pass
    else:
        arrow = pa.Table.from_pandas(known, preserve_index=False)
        columns = arrow.column("sales"), arrow.column("shop")
        tables.append((arrow.select(NUMBERS), *columns))
    for X, y, task in tables:
        found = quick().fit(X, y, task=task)
        assert_array_equal(found.coef_, expected.coef_)
    with pytest.raises(TypeError, match=r"LazyFrame.*X\.collect\(\)"):
        quick().fit(frame.lazy().select(NUMBERS), frame["sales"], task=frame["shop"])


@pytest.mark.parametrize("dtype", ["category", "string", "Int64", "datetime64[ns]"])
def test_ids_and_columns_of_pandas_own_types(dtype, known):
    number = known.shop.str[1:].astype(int)
    ids = known.shop if dtype in ("category", "string") else number
    ids = ids.astype(dtype)
    if dtype == "category":
        ids = ids.cat.add_categories(["never"])
    X = (
        known[NUMBERS]
        .assign(visits=known.visits.astype("Int64"))
        .astype({"price": "Float64"})
    )
    found = quick().fit(X, known.sales.astype("Float64"), task=ids)
    assert found.n_tasks_ == N_TASKS - 1
    plain = quick().fit(known[NUMBERS], known.sales, task=known.shop)
    assert_allclose(found.coef_, plain.coef_)
    with pytest.raises(ValueError, match="1 missing ids, the first in row 0"):
        quick().fit(X, known.sales, task=ids.astype(object).where(ids.index > 0))


# -- model selection ------------------------------------------------------------------


def test_searches_validation_and_curves_take_ids(known):
    """More searches, jobs and threads are in test_routing.py."""
    X, y, task = known[NUMBERS], known.sales, known.shop
    few_shot = make_few_shot_scorer(METRIC, n_support=3, n_repeats=1)
    how = {"cv": by_task(2), "scoring": few_shot, "params": {"task": task}}
    with sklearn.config_context(enable_metadata_routing=True):
        assert np.isfinite(cross_val_score(quick(), X, y, **how)).all()
        assert len(cross_validate(quick(), X, y, **how)["test_score"]) == 2
        curve = {"param_name": "alpha", "param_range": [1.0]}
        assert np.isfinite(validation_curve(quick(), X, y, **curve, **how)[1]).all()
        curve = {"train_sizes": [0.5, 1.0]}
        assert np.isfinite(learning_curve(quick(), X, y, **curve, **how)[2]).all()
        del how["params"]
        search = RandomizedSearchCV(quick(), {"alpha": [1.0]}, n_iter=1, **how)
        search.fit(X, y, task=task)
    assert adapt(search, X[:4], y[:4]).n_adapt_rows_ == 4


def test_halving_by_iterations_works(known):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    with sklearn.config_context(enable_metadata_routing=True):
        search = HalvingGridSearchCV(
            quick(),
            {"alpha": [0.01, 1.0]},
            resource="max_iter",
            max_resources=8,
            min_resources=2,
            cv=by_task(),
            scoring=make_few_shot_scorer(n_support=3, n_repeats=1),
            error_score="raise",
            random_state=0,
        ).fit(known[NUMBERS], known.sales, task=known.shop)
    assert adapt(search, known[NUMBERS][:4], known.sales[:4]).n_adapt_rows_ == 4


def test_cross_val_predict_warns_and_names_its_sister_that_adapts(known):
    X, y, task = known[NUMBERS], known.sales, known.shop
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.warns(ZeroShotWarning, match="few_shot_predict"):
            cross_val_predict(quick(), X, y, cv=by_task(), params={"task": task})
    assert few_shot_predict(quick(), X, y, task=task, cv=2).shape == (len(y),)


def test_a_permutation_test_takes_arrays_and_says_why_not_columns(known):
    how = {"cv": by_task(), "n_permutations": 2, "random_state": 0}
    how["scoring"] = make_few_shot_scorer(n_support=3, n_repeats=1)
    X, y, task = known[NUMBERS], known.sales, known.shop
    with sklearn.config_context(enable_metadata_routing=True):
        score, _, p = permutation_test_score(
            quick(), X.to_numpy(), y.to_numpy(), params={"task": task.to_numpy()}, **how
        )
        assert np.isfinite(score) and 0 < p <= 1
        with pytest.raises(ValueError, match=r"to_numpy\(\) if the order is right"):
            permutation_test_score(quick(), X, y, params={"task": task}, **how)


# -- looking inside -------------------------------------------------------------------


def test_importance_of_an_adapted_model_and_of_adapting(model, adapted, shops, new):
    result = permutation_importance(adapted, new[NUMBERS], new.sales, random_state=0)
    assert result.importances_mean.shape == (2,)
    scorer = make_few_shot_scorer("neg_mean_absolute_error", n_support=3, n_repeats=1)
    result = permutation_importance(
        model,
        shops[NUMBERS],
        shops.sales,
        scoring=lambda model, X, y: scorer(model, X, y, task=shops.shop),
        random_state=0,
        n_repeats=2,
    )
    assert result.importances_mean[0] > 0


def test_dependence_and_displays_of_an_adapted_model(adapted, classifier, new):
    pytest.importorskip("matplotlib").use("agg")
    import matplotlib.pyplot as plt
    from sklearn.inspection import DecisionBoundaryDisplay, PartialDependenceDisplay
    from sklearn.metrics import (
        ConfusionMatrixDisplay,
        PredictionErrorDisplay,
        RocCurveDisplay,
    )

    X = new[NUMBERS]
    assert partial_dependence(adapted, X, ["price"])["average"].shape[0] == 1
    PartialDependenceDisplay.from_estimator(adapted, X, ["price"], grid_resolution=3)
    PredictionErrorDisplay.from_estimator(adapted, X, new.sales)
    late = np.arange(N_ROWS) % 2
    one = adapt(classifier, X, late)
    DecisionBoundaryDisplay.from_estimator(one, X, grid_resolution=3)
    RocCurveDisplay.from_estimator(one, X, late)
    ConfusionMatrixDisplay.from_estimator(one, X, late)
    plt.close("all")


def test_html_says_what_it_is(model, adapted):
    assert "EmpiricalBayesRegressor" in estimator_html_repr(model)
    assert "adapted to 4 rows" in adapted._repr_html_()


def test_a_progress_bar_takes_every_meta_learner(known):
    callback = pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    for model in (regressor(), quick()):
        model.set_callbacks(callback.ProgressBar())
        model.fit(known[NUMBERS], known.sales, task=known.shop)


# -- meta-estimators (the others are in test_ensembles.py) ----------------------------


def test_a_target_transform_adapts(known, new):
    model = TransformedTargetRegressor(quick(), func=np.log, inverse_func=np.exp)
    with sklearn.config_context(enable_metadata_routing=True):
        model.fit(known[NUMBERS], known.sales, task=known.shop)
    found = adapt(model, new[NUMBERS][:4], new.sales[:4])
    inner = adapt(model.regressor_, new[NUMBERS][:4], np.log(new.sales[:4]))
    assert_allclose(found.predict(new[NUMBERS]), np.exp(inner.predict(new[NUMBERS])))


def test_a_stack_names_the_base_model_as_the_way(known):
    stack = StackingRegressor([("eb", quick()), ("ridge", Ridge())])
    tasks = {s: (g[NUMBERS], g.sales) for s, g in known.groupby("shop")}
    with pytest.raises(TypeError, match=r"base_estimator=StackingRegressor\(\.\.\.\)"):
        meta_fit(stack, tasks)
    stack = StackingRegressor([("ridge", Ridge())], cv=2)
    model = quick(base_estimator=stack).meta_fit(tasks)
    assert adapt(model, known[NUMBERS][:4], known.sales[:4]).n_adapt_rows_ == 4


def test_thresholds_and_calibration_of_one_adapted_model(classifier, new):
    X, late = new[NUMBERS], np.arange(N_ROWS) % 2
    one = FrozenEstimator(adapt(classifier, X[:5], late[:5]))
    p = one.predict_proba(X)[:, 1]
    found = FixedThresholdClassifier(one, threshold=0.2).fit(X, late).predict(X)
    assert_array_equal(found, p >= 0.2)
    calibrated = CalibratedClassifierCV(one, cv=2).fit(X, late)
    assert np.isfinite(calibrated.predict_proba(X)).all()


@pytest.mark.parametrize(
    "selector",
    [
        SelectKBest(f_regression, k=1),
        SelectFromModel(LassoCV(cv=2)),
        SequentialFeatureSelector(Ridge(), n_features_to_select=1, cv=2),
        RFECV(Ridge(), cv=2),
    ],
    ids=lambda selector: type(selector).__name__,
)
def test_selectors_are_steps_in_front(selector, known, new):
    tasks = {s: (g[NUMBERS], g.sales) for s, g in known.groupby("shop")}
    pipe = meta_fit(make_pipeline(clone(selector), quick()), tasks)
    found = adapt(pipe, new[NUMBERS][:4], new.sales[:4]).predict(new[NUMBERS])
    assert np.isfinite(found).all()


@pytest.mark.skipif(
    sklearn.__version__ < "1.9", reason="TargetEncoder takes no splitter"
)
def test_target_encoding_leaves_the_own_task_out(known, new):
    columns = ["price", "place"]
    pipe = make_pipeline(
        make_column_transformer(
            (TargetEncoder(cv=GroupKFold(2)), ["place"]), remainder="passthrough"
        ),
        quick(),
    )
    pipe = meta_fit(pipe, known[columns], known.sales, task=known.shop)
    found = adapt(pipe, new[columns][:4], new.sales[:4]).predict(new[columns])
    assert np.isfinite(found).all()
    pipe.set_params(columntransformer__targetencoder__cv=2)
    with pytest.raises(ValueError, match=r"TargetEncoder\(cv=GroupKFold\(5\)\)"):
        meta_fit(pipe, known[columns], known.sales, task=known.shop)


# -- saving, serving, other machines --------------------------------------------------


def test_every_way_of_saving(known, new, tmp_path):
    """What skops must trust is in test_persistence.py."""
    X, y = new[NUMBERS], new.sales
    model = quick().fit(known[NUMBERS], known.sales, task=known.shop)
    expected = adapt(model, X[:4], y[:4]).predict(X)
    copies = [pickle.loads(pickle.dumps(model))]
    joblib.dump(model, tmp_path / "model.joblib")
    copies.append(joblib.load(tmp_path / "model.joblib", mmap_mode="r"))
    try:
        import cloudpickle
    except ImportError:
        pass
    else:
        copies.append(cloudpickle.loads(cloudpickle.dumps(model)))
    for copy in copies:
        assert_array_equal(adapt(copy, X[:4], y[:4]).predict(X), expected)
        one = partial_adapt(adapt(copy, X[:2], y[:2]), X[2:4], y[2:4])
        assert one.n_adapt_rows_ == 4


def test_a_search_is_saved_with_joblib(known):
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            quick(),
            {"alpha": [1.0]},
            cv=by_task(),
            scoring=make_few_shot_scorer(n_support=3, n_repeats=1),
        ).fit(known[NUMBERS], known.sales, task=known.shop)
    file = BytesIO()
    joblib.dump(search, file)
    file.seek(0)
    X = known[NUMBERS][:4]
    assert_array_equal(joblib.load(file).predict(X), search.predict(X))


def test_what_goes_to_onnx(adapted, new):
    plain = to_sklearn(adapted)
    assert type(plain).__module__.startswith("sklearn.")
    assert_allclose(plain.predict(new[NUMBERS]), adapted.predict(new[NUMBERS]))


def test_optuna_tunes_by_the_few_shot_score(known):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tasks = {s: (g[NUMBERS], g.sales) for s, g in known.groupby("shop")}
    train = dict(list(tasks.items())[:7])
    held_out = known[~known.shop.isin(list(train))]

    def objective(trial):
        model = quick(alpha=trial.suggest_float("alpha", 1e-3, 1.0)).meta_fit(train)
        scores = few_shot_scores(
            model, held_out[NUMBERS], held_out.sales, held_out.shop, n_repeats=1
        )
        return np.mean(scores)

    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=2)
    assert np.isfinite(study.best_value)


def test_many_shops_at_once_and_a_comparison_run_in_threads(model, shops):
    known = np.tile(np.arange(N_ROWS) < 4, N_TASKS)
    found = adapt_predict(
        model,
        shops[NUMBERS][known],
        shops.sales[known],
        shops[NUMBERS][~known],
        task=shops.shop[known],
        task_new=shops.shop[~known],
    )
    assert found.shape == (N_TASKS * (N_ROWS - 4),)
    with joblib.parallel_backend("threading", n_jobs=2):
        comparison = compare_baselines(
            quick(),
            shops[NUMBERS],
            shops.sales,
            task=shops.shop,
            cv=2,
            n_support=3,
            n_repeats=1,
            baselines=["support mean"],
        )
    assert "ReptileRegressor" in str(comparison)
