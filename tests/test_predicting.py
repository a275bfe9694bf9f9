"""Functions that ask the meta-learner inside any composition, and natural calls."""

import warnings
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PowerTransformer,
    StandardScaler,
)

import skmeta
from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    FewShotRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    TaskBank,
    adapt,
    adapt_predict,
    meta_fit,
    n_adapt_rows,
    partial_adapt,
    predict,
    predict_interval,
    suggest_queries,
)
from skmeta._core.monotone import through_monotone
from skmeta.model_selection import make_few_shot_scorer


@pytest.fixture(scope="module")
def tasks(linear_tasks):
    """8 tasks of 12 rows and 3 features."""
    return linear_tasks[:8]


@pytest.fixture(scope="module")
def table(linear_table):
    """The same tasks as one table, with ids 'S00', 'S01', ..."""
    t = linear_table
    return SimpleNamespace(X=t.X[:96], y=t.y[:96], ids=t.ids[:96])


def quick(**options):
    return EmpiricalBayesRegressor(
        "intercept", noise="shared", random_state=0, **options
    )


def pipeline(model=None):
    return make_pipeline(SimpleImputer(), StandardScaler(), model or quick())


# -- as a user types it ---------------------------------------------------------------


@pytest.fixture(scope="module")
def shops():
    """Sales of 12 shops by price, promotion and kind of product, 15 rows each."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "shop": np.repeat([f"shop {i:02d}" for i in range(12)], 15),
            "price": rng.uniform(1, 9, 180).round(2),
            "promotion": rng.choice(["no", "leaflet", "window"], 180),
        }
    )
    level = np.repeat(rng.normal(size=12), 15)
    lift = 0.3 * (table["promotion"] == "window") + 0.1 * rng.normal(size=180)
    return table.assign(sales=np.exp(3 + level - 0.2 * table["price"] + lift))


@pytest.mark.filterwarnings("error")
def test_from_a_table_by_a_search_to_intervals_in_the_units_of_y(shops):
    """Nobody sets the routing switch, and nobody takes the composition apart."""
    assert not sklearn.get_config()["enable_metadata_routing"]
    features, new = ["price", "promotion"], shops["shop"] == "shop 11"
    pipe = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), ["promotion"]), remainder=SimpleImputer()
        ),
        EmpiricalBayesRegressor(noise="shared", random_state=0),
    )
    search = GridSearchCV(
        TransformedTargetRegressor(pipe, func=np.log, inverse_func=np.exp),
        {"regressor__empiricalbayesregressor__prior": ["intercept"]},
        cv=GroupKFold(2),
        scoring=make_few_shot_scorer("neg_mean_absolute_error", n_repeats=1),
        error_score="raise",
    )
    known = shops[~new]
    meta_fit(search, known[features], known["sales"], task=known["shop"])
    X, y = shops.loc[new, features], shops.loc[new, "sales"]
    nobody = adapt(search, X[:0], y[:0])
    few = adapt(search, X[:4], y[:4])
    assert (n_adapt_rows(search), n_adapt_rows(nobody), n_adapt_rows(few)) == (0, 0, 4)
    low, high = predict_interval(few, X[4:], coverage=0.9).T
    expected = predict(few, X[4:])
    assert_array_equal(expected, few.predict(X[4:]))
    assert (0 < low).all() and (low < expected).all() and (expected < high).all()
    assert np.mean((low < y[4:]) & (y[4:] < high)) > 0.7
    widest, _ = predict_interval(nobody, X[4:]).T
    assert (widest < low).all()
    assert set(suggest_queries(few, X, 3)) <= set(range(15))
    # by hand
    inside, rows = few.regressor_[-1], few.regressor_[:-1].transform(X[4:])
    assert_array_equal(np.exp(inside.predict_interval(rows)), np.c_[low, high])


# -- meta_fit of one table ------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "by_name"),
    [
        (quick, True),
        (
            lambda: TransformedTargetRegressor(
                pipeline(), transformer=StandardScaler()
            ),
            False,
        ),
    ],
)
def test_meta_fit_takes_one_table_with_ids(make, by_name, table, tasks):
    t = table
    rows = {"X": t.X} if by_name else {"tasks": t.X}
    model = make()
    assert meta_fit(model, **rows, y=t.y, task=t.ids) is model
    expected = meta_fit(make(), tasks)
    assert_allclose(model.predict(t.X), expected.predict(t.X), rtol=1e-9)


def test_meta_fit_of_one_table_takes_weights(table):
    t, weight = table, np.random.default_rng(0).uniform(0, 2, 96)
    weight[:12] = 0
    whole, part = quick(), weight > 0
    meta_fit(whole, t.X, t.y, weight, task=t.ids)
    assert whole.n_tasks_ == 7
    expected = meta_fit(
        quick(),
        t.X[part],
        t.y[part],
        sample_weight=weight[part],
        task=t.ids[part],
    )
    assert_allclose(whole.coef_, expected.coef_)
    with pytest.raises(ValueError, match="meta-trains on rows of equal weight"):
        meta_fit(pipeline(PrototypicalClassifier()), t.X, t.y > 0, weight, task=t.ids)


def test_meta_fit_of_one_table_takes_choice_sets(choices):
    _, X, y, choice_set = choices()
    model = make_pipeline(StandardScaler(with_mean=False), EmpiricalBayesRanker())
    task = np.asarray(choice_set) % 2
    meta_fit(model, X, y, task=task, choice_set=choice_set)
    assert model[-1].n_tasks_ == 2
    with pytest.raises(TypeError, match="takes no choice_set"):
        meta_fit(pipeline(), X, y, task=task, choice_set=choice_set)


@pytest.mark.parametrize("model", [quick(), pipeline()])
def test_meta_fit_says_what_one_table_lacks(model, table, tasks):
    t = table
    cases = [
        ((t.X, t.y), {}, TypeError, r"no ids of tasks: pass task=ids"),
        ((t.X,), {"task": t.ids}, TypeError, r"no y.*meta_fit\(model, X, y, task=ids"),
        ((tasks,), {"task": t.ids}, TypeError, "nothing is given beside it"),
        ((t.X, t.y), {"X": t.X, "task": t.ids}, TypeError, "both tasks and X"),
        ((t.X, t.y), {"groups": t.ids}, TypeError, "'groups'. Pass the ids as task="),
        (
            (t.X, t.y),
            {"task": t.ids, "unit": t.ids},
            TypeError,
            "no scorer of a search",
        ),
        ((t.X, t.y), {"task": "shop"}, ValueError, r"task=df\['shop'\]"),
        ((t.X, t.y), {"task": t.ids[:9]}, ValueError, "task has 9 ids, but X has 96"),
        ((t.X,), {}, TypeError, r"skmeta.meta_fit\(model, X, y, task=ids\)"),
        (((t.X, t.y),), {}, ValueError, "must be .X, y.*fit.X, y, task=ids"),
    ]
    for given, options, kind, message in cases:
        with pytest.raises(kind, match=message):
            meta_fit(model, *given, **options)
        assert not hasattr(model, "n_tasks_")
    spoilt = np.where(np.arange(96) == 40, np.nan, t.y)
    with pytest.raises(ValueError, match="row 40, of task 'S03'"):
        meta_fit(model, t.X, spoilt, task=t.ids)
    shuffled = pd.Series(t.ids, index=np.arange(96)[::-1])
    with pytest.raises(ValueError, match="y and task have different row labels"):
        meta_fit(model, t.X, pd.Series(t.y), task=shuffled)
    message = r"takes one argument, the tasks.*call fit\(X, y, task=ids\)"
    with pytest.raises(TypeError, match=message):
        EmpiricalBayesRegressor().meta_fit(t.X, t.y)


def test_a_splitter_of_groups_gets_the_ids_of_tasks(table, tasks):
    t, seen = table, []

    class Watching(GroupKFold):
        def split(self, X, y=None, groups=None):
            seen.append(np.asarray(groups))
            return super().split(X, y, groups)

    search = make_pipeline(
        StandardScaler(),
        GridSearchCV(
            quick(),
            {"standardize": [True]},
            cv=Watching(2),
            error_score="raise",
        ),
    )
    meta_fit(search, t.X[:48], t.y[:48], task=t.ids[:48])
    assert_array_equal(seen[0], t.ids[:48])
    meta_fit(search, dict(enumerate(tasks[:4])))
    assert_array_equal(seen[1], np.repeat(np.arange(4), 12))


# -- no rows at all -------------------------------------------------------------------

STARTS = {
    "regressor": lambda: quick(),
    "own noise, in time": lambda: EmpiricalBayesRegressor(
        "intercept", noise="task", half_life=4, random_state=0
    ),
    "classifier": lambda: EmpiricalBayesClassifier("intercept", random_state=0),
    "counts": lambda: EmpiricalBayesPoissonRegressor("intercept", random_state=0),
    "base model": lambda: quick(base_estimator=Ridge()),
    "Reptile": lambda: ReptileRegressor(max_iter=5, random_state=0),
    "Reptile of labels": lambda: ReptileClassifier(max_iter=5, random_state=0),
    "target": lambda: TransformedTargetRegressor(
        pipeline(), transformer=StandardScaler()
    ),
}


@pytest.mark.filterwarnings("ignore::skmeta.exceptions.ZeroShotWarning")
@pytest.mark.parametrize("kind", STARTS)
def test_adapting_to_no_rows_gives_the_prior(kind, table, unchanged):
    t, y = table, table.y
    if "label" in kind or kind == "classifier":
        y = np.where(y > 0, "yes", "no")
    if kind == "counts":
        y = np.round(np.abs(y))
    model = meta_fit(STARTS[kind](), t.X, y, task=t.ids)
    expected = model.predict(t.X)
    far = adapt(model, t.X[:6], y[:6])
    nothing = [
        (t.X[:0], y[:0]),
        (t.X[:0], y[:0], np.ones(0)),
        ([], []),
        (np.empty((0, 3), dtype=object), []),
        (pd.DataFrame([]), pd.Series([])),
    ]
    with unchanged(model):
        for rows in nothing:
            for start in (model, far):
                adapted = adapt(start, *rows)
                assert n_adapt_rows(adapted) == 0
                assert_array_equal(adapted.predict(t.X), expected)
    assert partial_adapt(far, *nothing[0]) is far
    assert n_adapt_rows(far) == 6
    again = partial_adapt(adapt(model, *nothing[0]), t.X[:6], y[:6])
    assert_allclose_or_equal(again.predict(t.X), far.predict(t.X))
    if hasattr(model, "adapt"):
        assert model.adapt(t.X[:0], y[:0]).n_adapt_rows_ == 0


def assert_allclose_or_equal(found, expected):
    if found.dtype.kind == "f":
        assert_allclose(found, expected, rtol=1e-10)
    else:
        assert_array_equal(found, expected)


def test_no_rows_of_a_frozen_pipeline_of_named_columns(shops):
    shops = shops[:45]
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["promotion"])),
        quick(),
    )
    features = ["price", "promotion"]
    meta_fit(pipe, shops[features], shops["sales"], task=shops["shop"])
    for X in (shops[features][:0], pd.DataFrame(columns=features), []):
        adapted = adapt(FrozenEstimator(pipe), X, [])
        assert n_adapt_rows(adapted) == 0
        assert_array_equal(adapted.predict(shops), pipe.predict(shops))


def test_no_rows_of_tasks_with_classes_of_their_own(own_class_tasks):
    model = PrototypicalClassifier(max_iter=5, random_state=0).meta_fit(own_class_tasks)
    X, y = own_class_tasks["s1"]
    nothing = model.adapt(X[:0], y[:0])
    with pytest.raises(sklearn.exceptions.NotFittedError, match="has no classes until"):
        nothing.predict(X)
    found = nothing.partial_adapt(X, y).predict_proba(X)
    assert_array_equal(found, model.adapt(X, y).predict_proba(X))


def test_no_rows_of_a_ranker(choices):
    model, X, y, choice_set = choices()
    adapted = adapt(model, X[:0], y[:0], choice_set=choice_set[:0])
    assert adapted.n_adapt_rows_ == 0
    assert_array_equal(adapted.rank(X, choice_set), model.rank(X, choice_set))


@pytest.mark.filterwarnings("error")
def test_no_rows_of_wrong_columns_are_refused(shops, unchanged):
    rows_of = shops[["price"]].assign(size=np.random.default_rng(0).normal(size=180))
    model = quick()
    model.fit(rows_of, shops["sales"], task=shops["shop"])
    far = model.adapt(rows_of[:3], shops["sales"][:3])
    cases = [
        ((rows_of[:0], shops["sales"][:2]), r"inconsistent.*\[0, 2\]"),
        ((rows_of[:0], [], [1.0]), r"inconsistent.*sample_weight has 1"),
        ((rows_of[["price"]][:0], []), "feature names"),
        ((np.ones((0, 3)), []), "3 features, but .* expecting 2"),
        ((np.ones((0, 2, 1)), []), "dim 3"),
        ((rows_of[:0], None), "y is None"),
        ((rows_of[:3], []), "inconsistent"),
    ]
    for given, message in cases:
        for verb in (far.adapt, far.partial_adapt):
            with unchanged(far), pytest.raises(ValueError, match=message):
                verb(*given)
    assert model.adapt(np.ones((0, 2)), []).n_adapt_rows_ == 0


def test_a_bank_takes_no_rows(table, bare):
    t = table
    for model in (bare[0], make_pipeline(SimpleImputer().fit(t.X), bare[0])):
        bank = TaskBank(model)
        assert bank.update(t.X[:0], t.y[:0], task=[]) is bank
        assert len(bank.update(t.X[:0], t.y[:0], task="new")) == 0
        bank.update(t.X[:3], t.y[:3], task="new").update([], [], task="new")
        assert n_adapt_rows(bank.model_of("new")) == 3
        with pytest.raises(ValueError, match="inconsistent"):
            bank.update(t.X[:0], t.y[:2], task="new")


# -- predictions through compositions -------------------------------------------------

FEW = make_few_shot_scorer("neg_mean_squared_error", n_repeats=1)
AROUND = {
    "pipeline": lambda: pipeline(),
    "pipeline in a pipeline": lambda: make_pipeline(StandardScaler(), pipeline()),
    "scaled target": lambda: TransformedTargetRegressor(
        pipeline(), transformer=StandardScaler()
    ),
    "target in a pipeline": lambda: make_pipeline(
        StandardScaler(),
        TransformedTargetRegressor(quick(), transformer=StandardScaler()),
    ),
    "search": lambda: GridSearchCV(
        pipeline(), {"standardscaler__with_std": [True]}, cv=GroupKFold(2), scoring=FEW
    ),
}


@pytest.fixture(scope="module", params=AROUND)
def around(request, table):
    """A composition of linear steps around a regressor, and its adapted copy."""
    t = table
    model = meta_fit(AROUND[request.param](), t.X, t.y, task=t.ids)
    return model, adapt(model, t.X[:5], t.y[:5])


@pytest.fixture(scope="module")
def bare(table):
    """The regressor itself, which predicts the same."""
    t = table
    model = quick().fit(t.X, t.y, task=t.ids)
    return model, model.adapt(t.X[:5], t.y[:5])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("adapted", [0, 1])
def test_intervals_of_a_composition_are_those_of_its_meta_learner(
    around, bare, adapted, table
):
    X = table.X[5:12]
    composition, model = around[adapted], bare[adapted]
    for frozen in (composition, FrozenEstimator(composition)):
        assert_allclose(
            predict_interval(frozen, X, 0.8), model.predict_interval(X, 0.8), rtol=1e-6
        )
        assert_allclose(predict(frozen, X), model.predict(X), rtol=1e-6)
        assert n_adapt_rows(frozen) == 5 * adapted
        assert_array_equal(suggest_queries(frozen, X, 2), model.suggest_queries(X, 2))


def test_intervals_of_a_falling_target_change_their_ends(table):
    t, model = (
        table,
        TransformedTargetRegressor(
            pipeline(), func=np.negative, inverse_func=np.negative
        ),
    )
    few = adapt(meta_fit(model, t.X, t.y, task=t.ids), t.X[:5], t.y[:5])
    inside, rows = few.regressor_[-1], few.regressor_[:-1].transform(t.X)
    expected = -inside.predict_interval(rows)[:, ::-1]
    assert_array_equal(predict_interval(few, t.X), expected)


def test_deviations_reach_through_all_but_a_transformed_target(around, bare, table):
    X = table.X[5:12]
    if any("Transformed" in str(part) for part in around):
        with pytest.raises(ValueError, match="return_std=True gives deviations of the"):
            predict(around[0], X, return_std=True)
        return
    for composition, model in zip(around, bare, strict=True):
        mean, deviation = predict(composition, X, return_std=True)
        assert_allclose(mean, model.predict(X), rtol=1e-6)
        assert_allclose(deviation, model.predict(X, return_std=True)[1], rtol=1e-6)


def test_intervals_are_those_of_adapt_predict(shops):
    model = TransformedTargetRegressor(
        pipeline(), func=np.log, inverse_func=np.exp, check_inverse=False
    )
    X, y = shops[["price"]], shops["sales"]
    meta_fit(model, X[15:], y[15:], task=shops["shop"][15:])
    found = predict_interval(adapt(model, X[:4], y[:4]), X[4:15], 0.5)
    expected = adapt_predict(
        model,
        X[:4],
        y[:4],
        X[4:15],
        task=np.zeros(4),
        task_new=np.zeros(11),
        method="predict_interval",
        coverage=0.5,
    )
    assert_allclose(found, expected, rtol=1e-12)


def test_options_of_counts_and_choices_pass(choices):
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(80, 2)), np.repeat(np.arange(8), 10)
    inside = EmpiricalBayesPoissonRegressor("intercept", random_state=0)
    inside.fit(X, rng.poisson(3, 80), task=ids)
    counts = make_pipeline(StandardScaler().fit(2 * X), inside)
    exposure = pd.Series(np.linspace(1, 9, 80))
    found = predict_interval(counts, X, 0.8, exposure=exposure)
    rows = counts[0].transform(X)
    assert_array_equal(found, inside.predict_interval(rows, 0.8, exposure))
    one = predict_interval(counts, X, exposure=2.0)
    assert_array_equal(one, inside.predict_interval(rows, exposure=2.0))
    with pytest.raises(ValueError, match="X and exposure have different row labels"):
        predict_interval(counts, pd.DataFrame(X), exposure=exposure[::-1])
    ranker, X, _, choice_set = choices()
    pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False), ranker)
    pipe[0].fit(X)
    for method in ("rank", "predict_proba"):
        found = predict(pipe, X, method=method, choice_set=choice_set)
        assert_array_equal(found, getattr(ranker, method)(X, choice_set))
    found = suggest_queries(pipe, X, 2, choice_set=choice_set)
    assert_array_equal(found, ranker.suggest_queries(X, 2, choice_set=choice_set))


# -- known tasks ----------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_known_tasks_are_predicted_through_every_composition(around, table):
    """As if the composition had adapted to the rows of each task."""
    t, composition, new = table, around[0], table.X[[5, 17, 40, 41]]
    ids, codes = np.array(["S03", "S00", "new", "S03"]), t.ids
    given = {"task": codes, "task_new": ids}
    for model in (composition, FrozenEstimator(composition)):
        expected = adapt_predict(model, t.X, t.y, new, **given)
        assert_allclose(predict(model, new, task=ids), expected, rtol=1e-9)
        expected = adapt_predict(
            model, t.X, t.y, new, **given, method="predict_interval", coverage=0.8
        )
        found = predict_interval(model, new, 0.8, task=ids)
        assert_allclose(found, expected, rtol=1e-9)
        one = predict(model, new, task="S03")
        assert_allclose(one, predict(model, new, task=["S03"] * 4))
    if "Transformed" not in str(composition):
        mean, deviation = predict(composition, new, task=ids, return_std=True)
        assert_allclose(mean, predict(composition, new, task=ids))
        assert (deviation > 0).all()
    with pytest.raises(ValueError, match="is adapted to the 5 rows of one task"):
        predict(around[1], new, task=ids)
    with pytest.raises(ValueError, match="coverage must be a number"):
        predict_interval(composition, new, None)
    labelled = pd.DataFrame(new, index=[3, 2, 1, 0])
    with pytest.raises(ValueError, match="X and task have different row labels"):
        predict(composition, labelled, task=pd.Series(ids))
    for function in (predict, predict_interval):
        with pytest.raises(TypeError, match=r"'groups'\. Pass the ids as task"):
            function(composition, new, groups=ids)
    with pytest.warns(UserWarning, match="No id of task, such as 3"):
        predict(composition, new, task=[3, 3, 3, 4])


def test_the_name_of_the_column_of_ids_is_refused(shops):
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["promotion"])), quick()
    )
    meta_fit(pipe, shops, shops["sales"], task=shops["shop"])
    with pytest.raises(ValueError, match=r"task=df\['shop'\]"):
        predict(pipe, shops, task="shop")


# -- other estimators -----------------------------------------------------------------


def test_the_few_shot_estimators_pass_on_what_they_are_asked(bare, table):
    X, y = table.X, table.y
    model, adapted = bare
    few = make_pipeline(
        FunctionTransformer(), FewShotRegressor(FrozenEstimator(model))
    ).fit(X[:5], y[:5])
    assert n_adapt_rows(few) == 5
    assert_allclose(predict_interval(few, X), adapted.predict_interval(X))
    assert_array_equal(suggest_queries(few, X, 2), adapted.suggest_queries(X, 2))


def test_plain_models_predict_as_they_do(table):
    """What `to_sklearn` returns can be asked like what it was made of."""
    t = table
    plain = make_pipeline(StandardScaler(), BayesianRidge()).fit(t.X, t.y)
    assert_array_equal(predict(plain, t.X), plain.predict(t.X))
    found = predict(plain, t.X, return_std=True)
    assert_array_equal(found, plain.predict(t.X, return_std=True))
    with pytest.raises(TypeError, match="predict_interval found no meta-learner in"):
        predict_interval(plain, t.X)
    with pytest.raises(TypeError, match="predict found no meta-learner in"):
        predict(plain, t.X, task=t.ids)
    for verb in (suggest_queries, lambda model, X: n_adapt_rows(model)):
        with pytest.raises(TypeError, match="found no meta-learner in BayesianRidge"):
            verb(plain, t.X)


def test_what_a_meta_learner_lacks_is_refused_with_what_to_do(
    regressor, classifier, table
):
    X = table.X
    pipe = make_pipeline(FunctionTransformer(), regressor)
    cases = [
        (lambda: predict_interval(pipe, X), TypeError, "Reptile.* has no predict_inte"),
        (lambda: predict_interval(classifier, X), TypeError, "by predict_proba how"),
        (lambda: suggest_queries(pipe, X), TypeError, r"EmpiricalBayes\*, have"),
        (lambda: predict(pipe, X, scale=2), TypeError, "no argument 'scale'"),
        (lambda: predict(pipe, X, method="fit"), ValueError, "method must be one of"),
        (lambda: predict(pipe, X, method="rank"), TypeError, "has no rank"),
        (lambda: predict(pipe, None, scale=2), ValueError, "X is None"),
    ]
    for verb, kind, message in cases:
        with pytest.raises(kind, match=message):
            verb()
    unfitted = pipeline()
    for verb in (predict_interval, suggest_queries, lambda e, X: n_adapt_rows(e)):
        for model in (unfitted, unfitted[-1]):
            with pytest.raises(sklearn.exceptions.NotFittedError):
                verb(model, X)


# -- ids where a verb takes one task --------------------------------------------------


@pytest.mark.parametrize("name", ["task", "groups"])
@pytest.mark.parametrize("verb", [adapt, partial_adapt])
def test_verbs_of_one_task_say_what_to_do_with_ids(verb, name, table, regressor):
    t = table
    pipe = make_pipeline(FunctionTransformer(), regressor)
    message = (
        rf"^{verb.__name__} has no argument '{name}'.*adapt_predict\(model, X.*TaskBank"
    )
    for model in (pipe, regressor):
        with pytest.raises(TypeError, match=message):
            verb(model, t.X, t.y, **{name: t.ids})


# -- ends of intervals through a transformation ---------------------------------------


def power(shape):
    """The inverse of Box and Cox's transformation, which ends somewhere."""

    def inverse(z):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.exp(np.log1p(shape * z) / shape)

    return inverse


ENDS = np.array([[-3.0, 0.5], [-0.4, 0.4], [0.0, 9.0]])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("function", "lowest", "highest"),
    [
        (np.sinh, None, None),
        (lambda z: np.clip(z, -1, 2), None, None),
        (lambda z: np.exp(200 * z), None, np.inf),
        (power(0.5), 0.0, None),
        (power(-0.5), None, np.inf),
        (power(2.2), 0.0, None),
    ],
)
def test_ends_beyond_a_transformation_are_its_limits(function, lowest, highest, sign):
    found = through_monotone(lambda z: sign * function(z), ENDS)
    with np.errstate(all="ignore"):
        expected = function(ENDS)
    if lowest is not None:
        expected[0, 0] = lowest
    if highest is not None:
        expected[2, 1] = highest
    assert_allclose(found, np.sort(sign * expected, axis=1), atol=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        np.square,
        np.sin,
        lambda z: np.where(np.abs(z) < 0.3, np.nan, z),
        lambda z: np.full_like(z, np.nan),
    ],
)
def test_a_function_that_is_not_monotone_has_no_ends(function):
    assert through_monotone(function, ENDS) is None


def test_intervals_reach_through_a_power_transformer(shops):
    """Its inverse gives no number beyond some point."""
    model = TransformedTargetRegressor(quick(), transformer=PowerTransformer())
    X, y = shops[["price"]], np.exp(shops["sales"] / 20)
    meta_fit(model, X[15:], y[15:], task=shops["shop"][15:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = predict_interval(model, X[:15], 0.99).T
    assert (high == np.inf).all() and np.isfinite(low).all()


# -- the rest -------------------------------------------------------------------------


def test_what_is_asked_does_not_change_the_estimator(around, table):
    before, X = joblib.hash(around[1]), table.X[:9]
    for function in (predict, predict_interval, suggest_queries):
        function(around[1], X)
    assert joblib.hash(around[1]) == before


def test_the_functions_are_exported():
    for name in ("predict", "predict_interval", "suggest_queries", "n_adapt_rows"):
        assert name in skmeta.__all__ and callable(getattr(skmeta, name))
