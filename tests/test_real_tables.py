"""Tables as they come: the base model gets them whole, the linear part gets numbers."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    StandardScaler,
    TargetEncoder,
)

import skmeta
from skmeta import (
    ChosenBase,
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    ReptileClassifier,
    ReptileRegressor,
    TaskBank,
    TaskStatistics,
)
from skmeta._base_model import Told
from skmeta.inspection import explain
from skmeta.model_selection import (
    compare_baselines,
    few_shot_scores,
    make_few_shot_scorer,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
)
NUMBERS = make_column_selector(dtype_include="number")
KINDS = make_column_selector(dtype_exclude="number")
LEVELS = ["north", "south", "west"]


def shops(n_shops=8, n_days=10, seed=0):
    """Sales of shops, by a table with a category and missing values."""
    rng = np.random.default_rng(seed)
    n = n_shops * n_days
    shop = np.repeat(np.arange(n_shops), n_days)
    table = pd.DataFrame(
        {
            "price": rng.uniform(1, 5, n),
            "celsius": rng.uniform(0, 30, n),
            "region": pd.Categorical(rng.choice(LEVELS, n), LEVELS),
        },
        index=np.arange(n) + 1000,
    )
    effect = table["region"].map({"north": 0.0, "south": 3.0, "west": -2.0})
    warm = np.where(table["celsius"] > 20, 4.0, 0.0)
    level, slope = rng.normal(size=(2, n_shops))
    sales = 20 + 3 * level[shop] - (2 + slope[shop]) * table["price"]
    sales = sales + effect.astype(float) + warm + 0.1 * rng.normal(size=n)
    table.loc[rng.uniform(size=n) < 0.1, "celsius"] = np.nan
    return table, sales.to_numpy(), shop


def for_the_line():
    """A preprocessor that is the same on any rows, so that folds do not matter."""
    return make_column_transformer(
        (SimpleImputer(strategy="constant", fill_value=15.0), NUMBERS),
        (OneHotEncoder(categories=[LEVELS], handle_unknown="ignore"), KINDS),
    )


def boosting(kind=HistGradientBoostingRegressor):
    return kind(max_iter=5, min_samples_leaf=10, random_state=0)


X, Y, SHOP = shops()
X_NEW, Y_NEW, SHOP_NEW = shops(n_shops=6, seed=1)
KNOWN = np.arange(len(Y_NEW)) % 10 < 4
LABELS, LABELS_NEW = (np.where(y > 14, "many", "few") for y in (Y, Y_NEW))
SETS, SETS_NEW = (np.arange(len(y)) // 2 for y in (Y, Y_NEW))
CHOSEN, CHOSEN_NEW = (
    np.repeat(pair[:, 0] > pair[:, 1], 2) == (np.arange(len(y)) % 2 == 0)
    for y in (Y, Y_NEW)
    for pair in [y.reshape(-1, 2)]
)
# the quickest settings
PLAIN = EmpiricalBayesRegressor("intercept", noise="shared", random_state=0)
MODELS = {
    "numbers": (PLAIN, Y, Y_NEW),
    "labels": (
        EmpiricalBayesClassifier("intercept", random_state=0),
        LABELS,
        LABELS_NEW,
    ),
    "reptile": (ReptileRegressor(max_iter=5, random_state=0), Y, Y_NEW),
    "reptile labels": (
        ReptileClassifier(max_iter=5, random_state=0),
        LABELS,
        LABELS_NEW,
    ),
}


def base_for(name):
    if "labels" in name:
        return boosting(HistGradientBoostingClassifier)
    return boosting()


_fitted = {}


def fitted(name):
    """A model of the table and one that is the same behind a Pipeline; not changed."""
    if name not in _fitted:
        model, y, _ = MODELS[name]
        base = base_for(name)
        first = for_the_line()
        two_views = clone(model).set_params(
            base_estimator=make_pipeline(first, base), linear_preprocessor=first
        )
        behind = make_pipeline(first, clone(model).set_params(base_estimator=base))
        two_views.fit(X, y, task=SHOP)
        skmeta.meta_fit(
            behind, {s: (X[SHOP == s], y[SHOP == s]) for s in np.unique(SHOP)}
        )
        _fitted[name] = two_views, behind
    return _fitted[name]


def outputs(model, X):
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    return getattr(model, method)(X)


# -- the same as a Pipeline, where a Pipeline can do it -------------------------------


@pytest.mark.parametrize("name", ["numbers", "labels", "reptile"])
def test_two_equal_views_are_a_preprocessor_in_front(name):
    model, behind = fitted(name)
    y = MODELS[name][2]
    few, y_few = X_NEW[:4], y[:4]
    a, b = model.adapt(few, y_few), skmeta.adapt(behind, few, y_few)
    for one, other in ((model, behind), (a, b)):
        assert_allclose(outputs(one, X_NEW), outputs(other, X_NEW), rtol=1e-9)
    a.partial_adapt(X_NEW[4:6], y[4:6])
    skmeta.partial_adapt(b, X_NEW[4:6], y[4:6])
    assert_allclose(outputs(a, X_NEW), outputs(b, X_NEW), rtol=1e-9)
    tasks = {"task": SHOP_NEW[KNOWN], "task_new": SHOP_NEW[~KNOWN]}
    given = X_NEW[KNOWN], y[KNOWN], X_NEW[~KNOWN]
    found = [skmeta.adapt_predict(m, *given, **tasks) for m in (model, behind)]
    if "labels" in name:
        assert_array_equal(*found)
    else:
        assert_allclose(*found, rtol=1e-9)
    scores = [
        few_shot_scores(m, X_NEW, y, SHOP_NEW, n_support=4) for m in (model, behind)
    ]
    assert_allclose(*scores, rtol=1e-9)
    assert_allclose(
        model.score(X_NEW, y, task=SHOP_NEW),
        behind[-1].score(behind[:-1].transform(X_NEW), y, task=SHOP_NEW),
    )


@pytest.mark.parametrize("name", ["numbers", "labels", "reptile labels"])
def test_a_bank_knows_what_adapted_models_know(name):
    model, _ = fitted(name)
    y = MODELS[name][2]
    bank = TaskBank(model).update(X_NEW[:20], y[:20], task=SHOP_NEW[:20])
    bank.update(X_NEW[20:24], y[20:24], task=SHOP_NEW[20:24])
    X_ask = X_NEW[24:34]
    for shop in (0, 2):
        rows = (SHOP_NEW == shop) & (np.arange(len(y)) < 24)
        few = model.adapt(X_NEW[rows], y[rows])
        assert_allclose(
            outputs(bank.model_of(shop), X_ask), outputs(few, X_ask), rtol=1e-9
        )
        method = "predict_proba" if "labels" in name else "predict"
        found = getattr(bank, method)(X_ask, task=shop)
        assert_allclose(found, outputs(few, X_ask), rtol=1e-7)
    bank.remove(X_NEW[20:22], y[20:22], task=SHOP_NEW[20:22])
    rows = [22, 23]
    few = model.adapt(X_NEW.iloc[rows], y[rows])
    assert_allclose(outputs(bank.model_of(2), X_ask), outputs(few, X_ask), rtol=1e-7)


@pytest.mark.parametrize("name", ["numbers", "labels"])
def test_known_tasks_are_predicted_from_their_rows(name):
    model, _ = fitted(name)
    y = MODELS[name][1]
    ids, rows = SHOP_NEW, np.arange(len(SHOP_NEW))
    method = "predict_proba" if name == "labels" else "predict"
    found = getattr(model, method)(X_NEW, task=ids)
    asked = {"task": SHOP, "task_new": ids, "method": method}
    assert_allclose(found, model.adapt_predict(X, y, X_NEW, **asked), rtol=1e-9)
    assert np.abs(found - getattr(model, method)(X_NEW)).max() > 0.01
    again = pickle.loads(pickle.dumps(model))
    assert_allclose(getattr(again, method)(X_NEW, task=ids)[rows[3]], found[3])
    assert b"celsius" not in pickle.dumps(model.known_tasks_)  # no table is kept


def test_a_bank_of_rows_keeps_numbers_and_refuses_to_refit():
    model, _ = fitted("labels")
    bank = TaskBank(model).update(X_NEW[:10], LABELS_NEW[:10], task=SHOP_NEW[:10])
    rows = bank.rows_of(0)
    assert type(rows.X_transformed) is np.ndarray
    assert rows.X_transformed.shape == (10, 5)
    with pytest.raises(ValueError, match="linear_preprocessor has read"):
        bank.refit()


# -- the base model sees what the user gave -------------------------------------------


class Sees(RegressorMixin, BaseEstimator):
    """A base model that tells what it gets."""

    def fit(self, X, y):
        self.seen_ = [X]
        return self

    def predict(self, X):
        self.seen_.append(X)
        return np.zeros(X.shape[0])


@pytest.mark.parametrize("first", [None, for_the_line()], ids=["numbers", "table"])
def test_the_base_model_gets_the_table_as_it_came(first):
    table = X if first is not None else X.drop(columns="region").fillna(0.0)
    new = X_NEW if first is not None else X_NEW.drop(columns="region").fillna(0.0)
    model = EmpiricalBayesRegressor(
        "intercept", base_estimator=Sees(), base_target="y", linear_preprocessor=first
    ).fit(table, Y, task=SHOP)
    assert_array_equal(model.feature_names_in_, table.columns)
    assert model.n_features_in_ == table.shape[1]
    base = model.base_estimator_
    order = base.seen_[0].index
    pd.testing.assert_frame_equal(base.seen_[0], table.loc[order])
    base.seen_.clear()
    few = model.adapt(new[:3], Y_NEW[:3])
    few.predict(new)
    pd.testing.assert_frame_equal(base.seen_[0], new[:3])
    pd.testing.assert_frame_equal(base.seen_[1], new)


class CopiesItsList(Sees):
    """scikit-learn does not clone it, as it does not CatBoost's models."""

    def __init__(self, cat_features=()):
        self.cat_features = list(cat_features)


def test_a_base_model_that_cannot_be_cloned():
    model = two_views(CopiesItsList(["region"]), base_target="residual")
    few = model.fit(X, Y, task=SHOP).adapt(X_NEW[:3], Y_NEW[:3])
    assert few.base_estimator.cat_features == ["region"]


class Counts(Ridge):
    """A base model that counts how often it is asked, and about how many rows."""

    asked = []

    def predict(self, X):
        self.asked.append(X.shape[0])
        return super().predict(X)


@pytest.mark.parametrize("learner", [EmpiricalBayesRegressor, ReptileRegressor])
def test_the_base_model_is_asked_once_about_all_rows(learner):
    options = {"max_iter": 3} if learner is ReptileRegressor else {"prior": "intercept"}
    table = X[["price"]]
    new = X_NEW[["price"]]
    model = learner(base_estimator=Counts(), random_state=0, **options)
    model.fit(table, Y, task=SHOP)
    n = len(new)
    asked = {}

    def count(verb, call):
        Counts.asked.clear()
        call()
        asked[verb] = sum(Counts.asked)

    tasks = {"task": SHOP_NEW[KNOWN], "task_new": SHOP_NEW[~KNOWN]}
    given = new[KNOWN], Y_NEW[KNOWN], new[~KNOWN]
    count("adapt_predict", lambda: model.adapt_predict(*given, **tasks))
    count("scores", lambda: few_shot_scores(model, new, Y_NEW, SHOP_NEW, n_support=3))
    scorer = make_few_shot_scorer(
        lambda m, X, y: -np.abs(y - m.predict(X)).max(), n_support=3
    )
    count("scorer", lambda: scorer(model, new, Y_NEW, task=SHOP_NEW))
    count("score", lambda: model.score(new, Y_NEW, task=SHOP_NEW))
    bank = TaskBank(model)
    count("update", lambda: bank.update(new, Y_NEW, task=SHOP_NEW))
    assert max(asked.values()) <= n, asked
    # sums know nothing more of the base model; rows are asked about again
    count("bank", lambda: bank.predict(new, task=SHOP_NEW))
    assert asked["bank"] <= 2 * n
    Counts.asked.clear()
    compare_baselines(
        clone(model), new, Y_NEW, task=SHOP_NEW, n_support=[2], n_repeats=2, cv=2
    )
    fits = 2 * (N_OUT_OF_TASK + 1)  # each fold: out of task, and what is left to test
    assert sum(Counts.asked) <= fits * n


N_OUT_OF_TASK = 1


# -- through the rest of the house ----------------------------------------------------


def two_views(base=None, **options):
    base = boosting() if base is None else base
    options = {"base_target": "y", "linear_preprocessor": for_the_line()} | options
    return clone(PLAIN).set_params(base_estimator=base, **options)


def test_few_rows_new_categories_and_orders_of_columns():
    model = fitted("numbers")[0]
    few = model.adapt(X_NEW[:1], Y_NEW[:1])
    assert_allclose(few.predict(X_NEW[3:4]), few.predict(X_NEW)[3:4])
    unknown = X_NEW[:2].assign(region=["nowhere", "south"])
    same = X_NEW[:2].assign(region=["north", "south"])  # texts, and other types
    assert np.isfinite(few.predict(unknown)).all()
    assert_allclose(few.predict(same)[1], few.predict(unknown)[1])
    with pytest.raises(ValueError, match="feature names should match"):
        few.predict(X_NEW[["celsius", "region", "price"]])
    with pytest.raises(ValueError, match="Pass a DataFrame with these columns"):
        few.predict(X_NEW.to_numpy())
    with pytest.raises(ValueError, match="0 sample"):
        few.predict(X_NEW[:0])


def test_rows_without_weight_are_as_if_they_were_not_there():
    weight = np.where(np.arange(len(Y)) % 5 == 0, 0.0, 1.0)
    odd = X.astype({"region": str})
    odd["region"] = np.where(weight == 0, "nobody knows", odd["region"])
    odd["price"] = np.where(weight == 0, 1e90, X["price"])
    odd["celsius"] = np.where(weight == 0, np.nan, X["celsius"])
    kept = weight > 0
    encoder = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["price", "celsius"]),
        (OneHotEncoder(), ["region"]),
    )
    base = make_pipeline(encoder, boosting())
    model = two_views(base, linear_preprocessor=encoder)
    a = clone(model).fit(odd, Y, weight, task=SHOP)
    b = clone(model).fit(odd[kept], Y[kept], task=SHOP[kept])
    new = X_NEW.astype({"region": str})
    assert_array_equal(a.predict(new), b.predict(new))
    assert a.coef_.shape == (5,)
    few = [a.adapt(new[:4], Y_NEW[:4], w).predict(new) for w in ([0, 1, 1, 2], None)]
    assert np.abs(few[0] - few[1]).max() > 1e-3


def test_tasks_of_other_categories_are_one_table():
    tasks = {s: (X[SHOP == s], Y[SHOP == s]) for s in np.unique(SHOP)}
    for rows, _ in tasks.values():
        rows["region"] = rows["region"].cat.remove_unused_categories()
    first = X.assign(region=X["region"].cat.remove_unused_categories())
    few = {0: (first[:3], Y[:3]), **{s: tasks[s] for s in list(tasks)[1:]}}
    few[0][0]["region"] = few[0][0]["region"].cat.remove_unused_categories()
    base = Sees()
    model = two_views(base, base_target="y").meta_fit(few)
    assert isinstance(
        model.base_estimator_.seen_[0]["region"].dtype, pd.CategoricalDtype
    )


def test_polars_tables():
    pl = pytest.importorskip("polars")
    if not hasattr(
        StandardScaler().fit(pl.DataFrame({"a": [1.0]})), "feature_names_in_"
    ):
        pytest.skip("this scikit-learn reads no column names from this polars")
    table, new = (
        pl.DataFrame(x.astype({"region": str}).to_dict("list")).with_columns(
            pl.col("celsius").fill_nan(None)
        )
        for x in (X, X_NEW)
    )
    first = make_column_transformer(
        (SimpleImputer(), ["price", "celsius"]), (OneHotEncoder(), ["region"])
    )
    model = two_views(make_pipeline(first, Ridge()), linear_preprocessor=first)
    model.fit(table, Y, task=SHOP)
    few = model.adapt(new[:3], Y_NEW[:3])
    asked = {"task": SHOP_NEW[:3], "task_new": SHOP_NEW[3:10]}
    assert_allclose(
        few.predict(new[3:10]),
        model.adapt_predict(new[:3], Y_NEW[:3], new[3:10], **asked),
    )
    scores = few_shot_scores(model, new, Y_NEW, SHOP_NEW, n_support=3)
    assert np.isfinite(scores).all()


def test_an_array_of_objects_and_sparse_rows_are_tables_too():
    objects = X.astype({"region": str}).to_numpy(dtype=object)
    first = make_column_transformer(
        (SimpleImputer(), [0, 1]), (OneHotEncoder(handle_unknown="ignore"), [2])
    )
    model = EmpiricalBayesRegressor(
        "intercept",
        base_estimator=make_pipeline(first, Ridge()),
        linear_preprocessor=first,
    ).fit(objects, Y, task=SHOP)
    few = model.adapt(objects[:3], Y[:3])
    assert np.isfinite(few.predict(objects[3:5])).all()
    wide = sparse.csr_matrix(for_the_line().fit_transform(X))
    dense = FunctionTransformer(lambda X: X[:, :2].toarray(), accept_sparse=True)
    model = EmpiricalBayesRegressor(
        "intercept", base_estimator=Ridge(), linear_preprocessor=dense
    ).fit(wide, Y, task=SHOP)
    assert model.coef_.shape == (2,)
    assert model.base_estimator_.n_features_in_ == 5
    asked = {"task": SHOP[:20], "task_new": SHOP[:20]}
    many = model.adapt_predict(wide[:20], Y[:20], wide[:20], **asked)
    assert_allclose(many[:10], model.adapt(wide[:10], Y[:10]).predict(wide[:10]))


def test_the_linear_part_may_be_sparse():
    first = OneHotEncoder(handle_unknown="ignore")
    table = X[["region"]].assign(price=X["price"].round().astype(str))
    model = two_views(make_pipeline(first, Ridge()), linear_preprocessor=first)
    model.fit(table, Y, task=SHOP)
    dense = clone(model).set_params(linear_preprocessor__sparse_output=False)
    dense.fit(table, Y, task=SHOP)
    asked = {"task": SHOP[:20], "task_new": SHOP[:20]}
    for verb in (
        lambda m: m.adapt(table[:4], Y[:4]).predict(table),
        lambda m: m.adapt_predict(table[:20], Y[:20], table[:20], **asked),
        lambda m: few_shot_scores(m, table, Y, SHOP, n_support=3),
    ):
        assert_allclose(verb(model), verb(dense), rtol=1e-6)


def test_a_preprocessor_without_a_base_model():
    behind = clone(PLAIN)
    plain = clone(behind).set_params(linear_preprocessor=for_the_line())
    plain.fit(X, Y, task=SHOP)
    behind.fit(for_the_line().fit_transform(X), Y, task=SHOP)
    few = plain.adapt(X_NEW[:3], Y_NEW[:3])
    other = behind.adapt(for_the_line().fit_transform(X_NEW[:3]), Y_NEW[:3])
    assert_allclose(
        few.predict(X_NEW), other.predict(for_the_line().fit_transform(X_NEW))
    )
    asked = {"task": SHOP_NEW[:30], "task_new": SHOP_NEW[:30]}
    many = plain.adapt_predict(X_NEW[:30], Y_NEW[:30], X_NEW[:30], **asked)
    assert_allclose(many[:10], plain.adapt(X_NEW[:10], Y_NEW[:10]).predict(X_NEW[:10]))
    exported = few.to_sklearn()
    assert_allclose(exported.predict(X_NEW), few.predict(X_NEW))
    bank = TaskBank(plain).update(X_NEW, Y_NEW, task=SHOP_NEW)
    assert "transformed__onehotencoder__region_north" in bank.to_frame()
    one = few.adapt(X_NEW[:10], Y_NEW[:10])
    assert_allclose(bank.predict(X_NEW[:5], task=0), one.predict(X_NEW[:5]))


def test_compositions_and_files(tmp_path):
    model = two_views(make_pipeline(for_the_line(), Ridge()))
    expected = clone(model).fit(X, np.log(Y + 50), task=SHOP)
    outer = TransformedTargetRegressor(
        make_pipeline("passthrough", model),
        func=lambda y: np.log(y + 50),
        inverse_func=lambda z: np.exp(z) - 50,
    )
    tasks = {s: (X[SHOP == s], Y[SHOP == s]) for s in np.unique(SHOP)}
    skmeta.meta_fit(outer, tasks)
    few = skmeta.adapt(FrozenEstimator(outer), X_NEW[:3], Y_NEW[:3])
    known = expected.adapt(X_NEW[:3], np.log(Y_NEW[:3] + 50))
    assert_allclose(np.log(few.predict(X_NEW) + 50), known.predict(X_NEW), rtol=1e-6)
    joblib.dump(known, tmp_path / "model")
    again = joblib.load(tmp_path / "model")
    assert_array_equal(again.predict(X_NEW), known.predict(X_NEW))
    grid = {"linear_preprocessor__simpleimputer__fill_value": [0.0]}
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            model,
            grid,
            cv=GroupKFold(2).set_split_request(groups="task"),
            scoring=make_few_shot_scorer("r2", n_support=3),
            refit=False,
        ).fit(X, Y, task=SHOP)
    assert np.isfinite(search.best_score_)


def test_the_choice_of_a_base_model_reads_the_table():
    text = X.astype({"region": str})
    candidates = {
        "ridge": make_pipeline(for_the_line(), Ridge()),
    }
    model = two_views(ChosenBase(2, candidates=candidates)).fit(text, Y, task=SHOP)
    assert model.base_choice_ in ("none", *candidates)
    first = model.adapt(text[:3], Y[:3])
    assert np.isfinite(first.predict(text)).all()
    reptile = ReptileRegressor(
        base_estimator=ChosenBase(2, candidates=candidates),
        linear_preprocessor=for_the_line(),
        max_iter=3,
        random_state=0,
    ).fit(text, Y, task=SHOP)
    assert set(reptile.base_scores_) == {"none", *candidates}


def test_what_is_chosen_by_default_can_read_text():
    text = X.astype({"region": str})
    model = two_views("auto").fit(text, Y, task=SHOP)
    assert {"boosting", "forest"} < set(model.base_scores_)


def test_counts_are_predicted_from_tables():
    counts = np.maximum(np.round(Y), 0)
    base = boosting().set_params(loss="poisson")
    model = EmpiricalBayesPoissonRegressor(
        "intercept",
        base_estimator=base,
        linear_preprocessor=for_the_line(),
        random_state=0,
    ).fit(X, counts, task=SHOP)
    few = model.adapt(X[:10], counts[:10])
    assert_allclose(few.predict(X_NEW), model.predict(X_NEW, task=0), rtol=1e-9)


def test_a_ranker_reads_tables():
    model = EmpiricalBayesRanker(
        "diagonal",
        base_estimator=make_pipeline(for_the_line(), LogisticRegression()),
        linear_preprocessor=for_the_line(),
        random_state=0,
    ).fit(X, CHOSEN, task=SHOP, choice_set=SETS)
    few = model.adapt(X_NEW[:6], CHOSEN_NEW[:6], choice_set=SETS_NEW[:6])
    p = few.predict_proba(X_NEW[6:12], choice_set=SETS_NEW[6:12])
    asked = {"task": SHOP_NEW[:6], "task_new": SHOP_NEW[6:12] * 0}
    sets = {"choice_set": SETS_NEW[:6], "choice_set_new": SETS_NEW[6:12]}
    many = model.adapt_predict(
        X_NEW[:6], CHOSEN_NEW[:6], X_NEW[6:12], method="predict_proba", **asked, **sets
    )
    assert_allclose(p, many, rtol=1e-6)
    bank = TaskBank(model).update(
        X_NEW[:6], CHOSEN_NEW[:6], task=0, choice_set=SETS_NEW[:6]
    )
    found = bank.predict_proba(X_NEW[6:12], task=0, choice_set=SETS_NEW[6:12])
    assert_allclose(p, found, rtol=1e-6)


def test_a_comparison_gives_baselines_the_table_or_its_numbers():
    found = compare_baselines(
        two_views(make_pipeline(for_the_line(), Ridge())),
        X,
        Y,
        task=SHOP,
        n_support=[3],
        n_repeats=1,
        cv=2,
        baselines=["pooled + offset", "own model"],
    )
    assert (
        np.isfinite(found.mean("pooled + offset")).all()
        if callable(getattr(found, "mean", None))
        else found is not None
    )
    compare_baselines(
        two_views(),
        X,
        Y,
        task=SHOP,
        n_support=[3],
        n_repeats=1,
        cv=2,
        baselines=["pooled model"],
        pooled=make_pipeline(for_the_line(), Ridge()),
    )


def test_reasons_queries_and_displays_know_the_columns_of_the_linear_part():
    model = fitted("numbers")[0]
    few = model.adapt(X_NEW[:3], Y_NEW[:3])
    found = explain(few, X_NEW[3:5])
    names = for_the_line().fit(X).get_feature_names_out()
    assert [n for n in found.feature_names if n in names] == list(names)
    assert len(model.suggest_queries(X_NEW[:9], 2)) == 2
    assert "onehotencoder__region_north" in model._learned_html()


# -- what cannot be done is refused ---------------------------------------------------


BEFORE = "linear_preprocessor={}.* in front of the model in a Pipeline"


def test_what_is_no_number_is_named_with_its_place_and_the_remedies():
    model = EmpiricalBayesRegressor("intercept", random_state=0)
    numbers = X.drop(columns="region").fillna(0.0)
    gap, text = numbers.copy(), X.astype({"region": str}).fillna({"celsius": 0.0})
    gap.iloc[3, 1] = np.nan
    fill = BEFORE.format("SimpleImputer")
    found = rf"NaN\.\n.*column 'celsius', at index {gap.index[3]}.*{fill}"
    also = f"{found}(.|\n)*row 3, of task 0"
    with pytest.raises(ValueError, match=also) as caught:
        model.fit(gap, Y, task=SHOP)
    assert "HistGradientBoosting" not in str(caught.value)
    for kind in (sparse.csr_matrix, np.asarray):
        with pytest.raises(ValueError, match=r"column 1, row 3"):
            model.fit(kind(gap), Y, task=SHOP)
    encode = BEFORE.format(r"make_column_transformer\(\(OneHotEncoder")
    with pytest.raises(ValueError, match=f"column 'region', at.*{encode}"):
        model.fit(text, Y, task=SHOP)
    model.fit(numbers, Y, task=SHOP)
    with pytest.raises(ValueError, match=found):
        model.adapt(gap[:5], Y[:5])
    with pytest.raises(ValueError, match=found):
        model.predict(gap)
    with pytest.raises(ValueError, match=found):  # rows are drawn
        few_shot_scores(model, gap, Y, SHOP, n_support=3)
    with pytest.raises(ValueError, match=r"column 1\. "):
        few_shot_scores(model, gap.to_numpy(), Y, SHOP, n_support=3)
    with pytest.raises(ValueError, match=r"convert(.|\n)*Targets must be numbers"):
        model.fit(numbers, np.full(len(Y), "many"), task=SHOP)


def test_names_of_columns_that_vary_are_those_after_the_preprocessor():
    model = EmpiricalBayesRegressor("diagonal", linear_preprocessor=for_the_line())
    with pytest.raises(ValueError, match=r"'region', .*after it: .*'onehot.*_north'"):
        model.set_params(varying=["region"]).fit(X, Y, task=SHOP)
    name = "onehotencoder__region_north"
    model.set_params(varying=[name]).fit(X, Y, task=SHOP)
    names = model.linear_preprocessor_.get_feature_names_out()
    assert names[model.varying_].tolist() == [name]
    nameless = make_pipeline(for_the_line(), FunctionTransformer())
    with pytest.raises(ValueError, match="no get_feature_names_out"):
        model.set_params(linear_preprocessor=nameless).fit(X, Y, task=SHOP)


def test_refusals_name_the_remedy():
    with pytest.raises(
        ValueError, match=r"NaN(.|\n)*linear_preprocessor=SimpleImputer"
    ):
        EmpiricalBayesRegressor(base_estimator=boosting()).fit(
            X.drop(columns="region"), Y, task=SHOP
        )
    text = X.astype({"region": str}).drop(columns="celsius")
    with pytest.raises(ValueError, match="linear_preprocessor=make_column_transformer"):
        EmpiricalBayesRegressor(base_estimator=boosting()).fit(text, Y, task=SHOP)
    with pytest.raises(ValueError, match="the linear_preprocessor, must make finite"):
        EmpiricalBayesRegressor(linear_preprocessor=FunctionTransformer()).fit(
            X, Y, task=SHOP
        )
    with pytest.raises(ValueError, match="could not be fitted to all 80 rows, as lin"):
        EmpiricalBayesRegressor(linear_preprocessor=StandardScaler()).fit(
            X, Y, task=SHOP
        )
    model = fitted("numbers")[0]
    statistics = TaskStatistics.from_rows(np.eye(5), np.arange(5.0), np.zeros(5))
    for verb in (model.adapt, model.partial_adapt, clone(model).meta_fit):
        with pytest.raises(ValueError, match="needs the rows"):
            verb(statistics)
    with pytest.raises(ValueError, match="cannot go on with base_estimator=Pipeline"):
        clone(model).partial_meta_fit([(X, Y)])
    with pytest.raises(ValueError, match="cannot go on with linear_preprocessor=Col"):
        clone(model).set_params(base_estimator=None).partial_meta_fit([(X, Y)])
    with pytest.raises(ValueError, match="read the table in two ways"):
        model.adapt(X_NEW[:3], Y_NEW[:3]).to_sklearn()
    reptile = ReptileRegressor(max_iter=2, warm_start=True).fit(
        X[["price"]], Y, task=SHOP
    )
    with pytest.raises(ValueError, match="had linear_preprocessor=None"):
        reptile.set_params(linear_preprocessor=StandardScaler()).fit(
            X[["price"]], Y, task=SHOP
        )
    reptile.set_params(warm_start=False).fit(X[["price"]], Y, task=SHOP)
    reptile.set_params(warm_start=True).fit(X[["price"]], Y, task=SHOP)
    with pytest.raises(ValueError, match=r"now it is StandardScaler\(with_mean=False"):
        reptile.set_params(linear_preprocessor__with_mean=False).fit(
            X[["price"]], Y, task=SHOP
        )


def _wider_if_short(X):
    return np.ones((len(X), 1 + (len(X) < 9)))


def test_a_preprocessor_that_changes_rows_or_columns_is_refused(unchanged):
    half = FunctionTransformer(lambda X: X[["price"]][: len(X) // 2])
    with pytest.raises(ValueError, match="made 40 rows of 80"):
        EmpiricalBayesRegressor(linear_preprocessor=half).fit(X, Y, task=SHOP)
    model = EmpiricalBayesRegressor(
        "intercept", linear_preprocessor=FunctionTransformer(_wider_if_short)
    )
    model.fit(X, Y, task=SHOP)
    with unchanged(model), pytest.raises(ValueError, match="made 2 columns"):
        model.adapt(X[:3], Y[:3])


def test_target_encoders_learn_from_y():
    is_new = "deprecated" in str(TargetEncoder().shuffle)
    encoder = TargetEncoder(cv=KFold(3)) if is_new else TargetEncoder(shuffle=False)
    first = make_column_transformer(
        (SimpleImputer(), ["price", "celsius"]), (encoder, ["region"])
    )
    behind = clone(PLAIN)
    model = clone(behind).set_params(linear_preprocessor=first)
    with config_context(enable_metadata_routing=True):
        model.fit(X, Y, task=SHOP)
    behind.fit(clone(first).fit_transform(X, Y), Y, task=SHOP)
    assert_allclose(model.coef_, behind.coef_)


@pytest.mark.parametrize("kind", [EmpiricalBayesRegressor, ReptileRegressor])
def test_plain_arrays_of_numbers_are_preprocessed_in_every_verb(kind):
    rng = np.random.default_rng(0)
    numbers, task = rng.normal(3, 20, size=(60, 2)), np.repeat(np.arange(6), 10)
    y = numbers @ [1.0, 2.0] + task + rng.normal(size=60)
    first = StandardScaler().fit(numbers)
    few = {"max_iter": 3} if kind is ReptileRegressor else {"noise": "shared"}
    model = kind(linear_preprocessor=StandardScaler(), random_state=0, **few)
    model.fit(numbers, y, task=task)
    behind = kind(random_state=0, **few).fit(first.transform(numbers), y, task=task)
    rows, new = numbers[:5], numbers[5:10]
    adapted = model.adapt(rows, y[:5])
    expected = behind.adapt(first.transform(rows), y[:5])
    X_new = first.transform(new)
    assert_allclose(model.predict(new), behind.predict(X_new))
    assert_allclose(adapted.predict(new), expected.predict(X_new))
    ids = {"task": np.zeros(5), "task_new": np.zeros(5)}
    many = model.adapt_predict(rows, y[:5], new, **ids)
    assert_allclose(many, expected.predict(X_new))
    bank = TaskBank(model).update(rows, y[:5], task=0)
    assert_allclose(bank.predict(new, task=0), expected.predict(X_new))
    if kind is EmpiricalBayesRegressor:
        known = behind.predict(X_new, task=0)
        assert_allclose(model.predict(new, task=0), known)
        assert_allclose(model.predict_interval(new), behind.predict_interval(X_new))


def test_predictions_at_hand_tell_none_from_nan():
    table = pd.DataFrame({"kind": pd.Series(["a", None, np.nan], dtype=object)})
    told = Told(None, table, np.arange(3.0))
    assert_allclose(told.of(table.iloc[[2, 1, 2]]), [2, 1, 2])
