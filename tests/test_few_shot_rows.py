"""Which rows few-shot scores use: weights, small tasks, own classes."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import UndefinedMetricWarning, UnsetMetadataPassedError
from sklearn.metrics import make_scorer, max_error, mean_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    meta_fit,
)
from skmeta.model_selection import few_shot_scores, make_few_shot_scorer

# Every warning that a test does not expect is an error.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore:The number of unique classes"),
]


def by_task(n_splits=2):
    return GroupKFold(n_splits).set_split_request(groups="task")


@pytest.fixture(scope="module")
def models(linear_tasks, label_tasks):
    return {
        "reptile": ReptileRegressor(max_iter=20, random_state=0).meta_fit(linear_tasks),
        "bayes": EmpiricalBayesRegressor("intercept", random_state=0).meta_fit(
            linear_tasks
        ),
        "pipeline": meta_fit(
            make_pipeline(
                StandardScaler(), ReptileRegressor(max_iter=20, random_state=0)
            ),
            linear_tasks,
        ),
        "labels": EmpiricalBayesClassifier("intercept", random_state=0).meta_fit(
            label_tasks
        ),
    }


@pytest.fixture
def tables(linear_table, label_table):
    return lambda name: label_table if name == "labels" else linear_table


# -- weights of zero ------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["reptile", "bayes", "pipeline", "labels"])
def test_a_weight_of_zero_is_a_row_removed_whatever_the_seed(
    name, seed, models, tables
):
    t, model = tables(name), models[name]
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 3, size=240) * rng.random(240)
    weight[:36] = np.repeat([0, 1, 0], 12)  # this removes two whole tasks
    kept = weight > 0
    options = {"n_support": 2, "n_repeats": 1, "random_state": seed}
    scores = few_shot_scores(model, t.X, t.y, t.ids, sample_weight=weight, **options)
    assert_array_equal(
        scores,
        few_shot_scores(
            model,
            t.X[kept],
            t.y[kept],
            t.ids[kept],
            sample_weight=weight[kept],
            **options,
        ),
    )
    scorer = make_few_shot_scorer(**options)
    removed = scorer(model, t.X[kept], t.y[kept], weight[kept], task=t.ids[kept])
    assert scorer(model, t.X, t.y, weight, task=t.ids) == removed
    if name != "pipeline":  # the score of a pipeline is scikit-learn's
        heavy = np.tile(np.arange(12) < 8, 20)
        assert model.score(t.X, t.y, heavy * 1.0, task=t.ids) == pytest.approx(
            model.score(t.X[heavy], t.y[heavy], task=t.ids[heavy]), rel=1e-12
        )


def test_a_weight_of_zero_removes_a_row_of_csr_and_a_target_that_is_missing(
    linear_tasks, linear_table
):
    t = linear_table
    model = ReptileRegressor(max_iter=5, random_state=0).meta_fit(
        [(sparse.csr_array(X), y) for X, y in linear_tasks]
    )
    weight = np.tile(np.arange(12) < 8, 20).astype(float)
    y = np.where(weight > 0, t.y, np.nan)
    kept = weight > 0
    assert_array_equal(
        few_shot_scores(model, sparse.csr_array(t.X), y, t.ids, sample_weight=weight),
        few_shot_scores(model, sparse.csr_array(t.X[kept]), t.y[kept], t.ids[kept]),
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(240), "All sample weights are zero"),
        (np.r_[-1.0, np.ones(239)], "[Nn]egative"),
        (np.r_[np.nan, np.ones(239)], "NaN"),
        ([None, *np.ones(239)], "missing"),
        (pd.Series([pd.NA, *np.ones(239)], dtype="Float64"), "NaN|missing"),
        (pd.Series([pd.NA, *np.ones(239)], dtype=object), "missing"),
        ([np.datetime64("NaT"), *np.ones(239)], "missing"),
        (["two", *np.ones(239)], "text"),
    ],
    ids=["zero", "negative", "missing", "None", "Float64", "NA", "NaT", "text"],
)
def test_weights_without_a_meaning_are_refused(
    weight, message, regressor, linear_table
):
    t = linear_table
    with pytest.raises(ValueError, match=message):
        few_shot_scores(regressor, t.X, t.y, t.ids, sample_weight=weight)


def test_weights_that_a_metric_does_not_take_are_used_in_adapting_with_a_warning(
    regressor, linear_table
):
    t = linear_table
    weight = np.tile(np.r_[np.zeros(4), np.ones(8)], 20)
    kept = weight > 0

    def largest(model, X, y):
        return -np.abs(model.predict(X) - y).max()

    for scoring in (largest, make_scorer(max_error, greater_is_better=False)):
        with pytest.warns(UserWarning, match="takes no sample_weight"):
            scores = few_shot_scores(
                regressor, t.X, t.y, t.ids, sample_weight=weight, scoring=scoring
            )
        assert_allclose(
            scores,
            few_shot_scores(
                regressor, t.X[kept], t.y[kept], t.ids[kept], scoring="neg_max_error"
            ),
        )


# -- weights in searches --------------------------------------------------------------


def test_the_scorer_of_a_search_requests_weights_like_scikit_learns_own(
    routing, linear_table
):
    t = linear_table
    junk = np.arange(240) % 3 == 0
    weight, y = np.where(junk, 1e-9, 1.0), t.y + 50 * junk
    model = ReptileRegressor(max_iter=20, random_state=0)
    model.set_fit_request(sample_weight=True)

    def search(scorer):
        return GridSearchCV(
            model,
            {"adapt_steps": [0, 10]},
            cv=by_task(),
            scoring=scorer,
            error_score="raise",
        )

    scorer = make_few_shot_scorer("neg_mean_absolute_error")
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        search(scorer).fit(t.X, y, sample_weight=weight, task=t.ids)
    asked = make_few_shot_scorer("neg_mean_absolute_error")
    assert asked.set_score_request(sample_weight=True) is asked
    found = search(asked).fit(t.X, y, sample_weight=weight, task=t.ids)
    assert found.best_params_ == {"adapt_steps": 10}
    for number, (train, test) in enumerate(GroupKFold(2).split(t.X, y, t.ids)):
        fitted = ReptileRegressor(max_iter=20, adapt_steps=10, random_state=0).fit(
            t.X[train], y[train], weight[train], task=t.ids[train]
        )
        score = scorer(fitted, t.X[test], y[test], weight[test], task=t.ids[test])
        assert found.cv_results_[f"split{number}_test_score"][1] == score
    refused = make_few_shot_scorer("neg_mean_absolute_error")
    refused.set_score_request(sample_weight=False)
    found = search(refused).fit(t.X, y, sample_weight=weight, task=t.ids)
    assert found.best_score_ < -5  # the outliers count as much as the other rows


def test_weights_may_have_another_name_in_scoring(routing, linear_table):
    t = linear_table
    weight = np.tile(np.r_[np.zeros(4), np.ones(8)], 20)
    kept = weight > 0
    model = ReptileRegressor(max_iter=5, random_state=0)
    scorer = make_few_shot_scorer("r2").set_score_request(
        sample_weight="importance", task="shop"
    )
    model.set_fit_request(task="shop")
    cv = GroupKFold(2).set_split_request(groups="shop")
    given = cross_val_score(
        model,
        t.X,
        t.y,
        cv=cv,
        scoring={"few": scorer}["few"],
        params={"shop": t.ids, "importance": weight},
        error_score="raise",
    )
    for score, (train, test) in zip(given, cv.split(t.X, groups=t.ids), strict=True):
        fitted = model.fit(t.X[train], t.y[train], task=t.ids[train])
        test = test[kept[test]]
        expected = few_shot_scores(fitted, t.X[test], t.y[test], t.ids[test])
        assert score == pytest.approx(expected.mean())


def test_a_request_for_nothing_that_the_scorer_takes_is_refused(routing):
    with pytest.raises(TypeError, match="groups"):
        make_few_shot_scorer().set_score_request(groups=True)


def test_a_request_needs_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing"):
        make_few_shot_scorer().set_score_request(sample_weight=True)


def test_weights_reach_the_own_score_through_a_pipeline_with_routing(
    routing, models, linear_table
):
    t, pipe = linear_table, models["pipeline"]
    weight = np.random.default_rng(0).random(240)
    assert_allclose(
        few_shot_scores(pipe, t.X, t.y, t.ids, sample_weight=weight),
        few_shot_scores(
            pipe[-1], pipe[0].transform(t.X), t.y, t.ids, sample_weight=weight
        ),
    )


# -- small tasks ----------------------------------------------------------------------


@pytest.fixture
def ragged(linear_table):
    """Every fourth task has only four rows."""
    t = linear_table
    kept = (np.arange(240) // 12 % 4 > 0) | (np.arange(240) % 12 < 4)
    return t.X[kept], t.y[kept], t.ids[kept]


@pytest.mark.parametrize("name", ["reptile", "bayes", "pipeline"])
def test_tasks_too_small_to_score_are_left_out_with_one_warning(name, models, ragged):
    X, y, ids = ragged
    model = models[name]
    with pytest.warns(UserWarning, match=r"5 of 20 tasks .*n_support=5.*'S00'") as seen:
        scores = few_shot_scores(model, X, y, ids)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    small = np.isnan(scores).all(axis=1)
    assert_array_equal(np.flatnonzero(small), [0, 4, 8, 12, 16])
    assert np.isfinite(scores[~small]).all()
    with pytest.warns(UserWarning, match="5 of 20 tasks") as seen:
        score = make_few_shot_scorer()(model, X, y, task=ids)
    assert len(seen) == 1
    assert score == np.nanmean(scores)
    if name != "pipeline":
        with pytest.warns(UserWarning, match="5 of 20 tasks") as seen:
            assert model.score(X, y, task=ids) == pytest.approx(score)
        assert len(seen) == 1


def test_small_tasks_do_not_change_the_draws_of_the_others(regressor, linear_table):
    """A task's place among all sorted ids decides its draws."""
    t = linear_table
    scores = few_shot_scores(regressor, t.X, t.y, t.ids)
    kept = (t.ids != "S03") | (np.arange(240) % 12 < 4)
    with pytest.warns(UserWarning, match="left out"):
        without = few_shot_scores(regressor, t.X[kept], t.y[kept], t.ids[kept])
    others = np.arange(20) != 3
    assert_array_equal(without[others], scores[others])


@pytest.mark.parametrize("scoring", ["scorer", None, "several"])
@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_a_search_says_once_that_tasks_are_left_out(search, scoring, routing, ragged):
    X, y, ids = ragged
    scorer = make_few_shot_scorer("neg_mean_absolute_error")
    model = ReptileRegressor(max_iter=3, random_state=0)
    options = {"n_iter": 3, "random_state": 0} if search is RandomizedSearchCV else {}
    made = search(
        model,
        {"adapt_steps": [1, 5, 10]},
        cv=by_task(),
        scoring={"scorer": scorer, None: None, "several": {"a": scorer, "b": scorer}}[
            scoring
        ],
        refit="a" if scoring == "several" else True,
        error_score="raise",
        **options,
    )
    for _ in range(2):  # each fit warns once
        with pytest.warns(UserWarning, match=r"of (9|11|10) tasks") as seen:
            made.fit(X, y, task=ids)
        assert len(seen) == 1
        assert seen[0].filename == __file__
    name = "mean_test_a" if scoring == "several" else "mean_test_score"
    assert np.isfinite(made.cv_results_[name]).all()


def test_no_task_to_score_is_an_error_that_says_how_long_they_are(
    regressor, linear_table
):
    t = linear_table
    message = r"No task can be scored; the longest has 12 rows.*Lower n_support"
    for verb in (
        lambda **task: few_shot_scores(regressor, t.X, t.y, n_support=12, **task),
        lambda **task: make_few_shot_scorer(n_support=50)(regressor, t.X, t.y, **task),
    ):
        with pytest.raises(ValueError, match=message):
            verb(task=t.ids)
    with pytest.raises(ValueError, match="No task can be scored; the longest has 1 "):
        regressor.score(t.X, t.y, task=np.arange(240))


def test_tasks_that_cannot_be_split_in_proportion_are_left_out(classifier, label_table):
    t = label_table
    y = t.y.copy()
    y[:12] = np.arange(12) == 0
    y[12:24] = 1
    with pytest.warns(UserWarning, match="1 of 20 tasks have too few rows to split"):
        scores = few_shot_scores(classifier, t.X, y, t.ids, stratify=True)
    assert_array_equal(np.isnan(scores).all(axis=1), np.arange(20) == 0)


def test_undefined_scores_are_counted_once(regressor, ragged):
    X, y, ids = ragged
    message = r"undefined \(NaN\) for 15 of 60 draws .* in 5 of 20 tasks"
    with pytest.warns(UndefinedMetricWarning, match=message) as seen:
        scores = few_shot_scores(regressor, X, y, ids, scoring="r2", n_support=3)
    assert len(seen) == 1
    assert np.isnan(scores).sum() == 15


def test_a_metric_of_several_numbers_is_refused(regressor, linear_table):
    t = linear_table

    def both(model, X, y):
        error = mean_absolute_error(y, model.predict(X))
        return {"a": error, "b": -error}

    with pytest.raises(ValueError, match=r"one number.*make_few_shot_scorer"):
        few_shot_scores(regressor, t.X, t.y, t.ids, scoring=both)


@pytest.mark.parametrize("scoring", [["r2"], {"a": "r2"}], ids=["list", "dict"])
def test_several_metrics_need_a_scorer_each(scoring, regressor, linear_table):
    t = linear_table
    with pytest.raises(ValueError, match=r"takes one metric.*make_few_shot_scorer\("):
        few_shot_scores(regressor, t.X, t.y, t.ids, scoring=scoring)
    with pytest.raises(ValueError, match="takes one metric"):
        make_few_shot_scorer(scoring)


@pytest.mark.parametrize("missing", [np.nan, None], ids=str)
def test_a_missing_target_is_refused_with_its_task(missing, regressor, linear_table):
    t = linear_table
    y = t.y.astype(type(missing) if missing is np.nan else object)
    y[30] = missing
    with pytest.raises(ValueError, match="first in row 30, of task 'S02'"):
        few_shot_scores(regressor, t.X, y, t.ids)
    with pytest.raises(ValueError, match="first in row 30, of task 'S02'"):
        regressor.score(t.X, y, task=t.ids)
    with pytest.raises(ValueError, match="got y=None"):
        make_few_shot_scorer()(regressor, t.X, None, task=t.ids)


# -- classes of their own -------------------------------------------------------------


def clouds(sizes, per_class, seed=0):
    """Tasks with their own classes, and the number of rows of each class."""
    rng = np.random.default_rng(seed)
    tasks = []
    for number, size in enumerate(sizes):
        n_rows = np.resize(per_class, size)
        labels = np.repeat(np.arange(size), n_rows)
        centres = 4 * rng.standard_normal((size, 3))
        X = centres[labels] + 0.3 * rng.standard_normal((len(labels), 3))
        tasks.append((X, 1000 * number + labels))
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    return X, y, np.repeat(np.arange(len(tasks)), [len(part) for _, part in tasks])


@pytest.fixture(params=["reptile", "prototypes"])
def own(request):
    if request.param == "reptile":
        return ReptileClassifier((8,), task_classes="own", max_iter=5, random_state=0)
    return PrototypicalClassifier(random_state=0)


class Recorder:
    """A scorer that keeps the classes adapted to, and the labels to predict."""

    def __init__(self):
        self.seen = []

    def __call__(self, model, X, y):
        self.seen.append((model.classes_, model.n_adapt_rows_, y))
        return model.score(X, y)


@pytest.mark.parametrize(("n_support", "given"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_each_own_class_gives_n_support_rows_and_keeps_one(n_support, given, own):
    X, y, ids = clouds([2, 5, 3], per_class=4)
    model, recorder = own.fit(X, y, task=ids), Recorder()
    few_shot_scores(model, X, y, ids, scoring=recorder, n_support=n_support)
    assert len(recorder.seen) == 9
    for classes, n_rows, asked in recorder.seen:
        assert n_rows == given * len(classes)
        assert_array_equal(np.unique(asked, return_counts=True)[1], 4 - given)
        assert_array_equal(np.unique(asked), classes)


@pytest.mark.parametrize("sizes", [[2, 2], [7, 7], [2, 3, 7], [2, 100]], ids=str)
def test_own_classes_of_any_number_are_scored(sizes, own):
    X, y, ids = clouds(sizes, per_class=2)
    model = own.fit(X, y, task=ids)
    metrics = [None, "neg_log_loss"]
    if max(sizes) < 100:  # many pairs of classes take long
        metrics += ["roc_auc_ovr", "roc_auc_ovo_weighted"]
    for scoring in metrics:
        scores = few_shot_scores(model, X, y, ids, scoring=scoring, n_repeats=1)
        assert scores.shape == (len(sizes), 1)
        assert np.isfinite(scores).all()
    assert np.isfinite(model.score(X, y, task=ids))


def test_a_class_of_one_row_is_given_and_a_task_of_such_classes_left_out(own):
    X, y, ids = clouds([3, 3, 3, 3], per_class=[1, 3, 2])
    single = np.unique(y[ids == 1], return_index=True)[1] + 6
    kept = (ids != 1) | np.isin(np.arange(len(y)), single)
    X, y, ids = X[kept], y[kept], ids[kept]
    model, recorder = own.fit(X, y, task=ids), Recorder()
    with pytest.warns(UserWarning, match=r"1 of 4 tasks have one row of each class"):
        scores = few_shot_scores(model, X, y, ids, scoring=recorder, n_support=1)
    assert_array_equal(np.isnan(scores).any(axis=1), [False, True, False, False])
    for classes, n_rows, asked in recorder.seen:
        assert (len(classes), n_rows, len(asked)) == (3, 3, 3)


def test_a_task_with_more_classes_than_outputs_of_the_model_is_left_out(own):
    X, y, ids = clouds([2, 3, 2, 3], per_class=4)
    X_new, y_new, new = clouds([2, 5, 3], per_class=4, seed=1)
    model = own.fit(X, y, task=ids)
    if isinstance(own, PrototypicalClassifier):  # it takes any number of classes
        assert np.isfinite(few_shot_scores(model, X_new, y_new, new)).all()
        return
    with pytest.warns(UserWarning, match="1 of 3 tasks have more classes than the 3"):
        scores = few_shot_scores(model, X_new, y_new, new)
    assert_array_equal(np.isnan(scores).any(axis=1), [False, True, False])


def test_a_search_scores_own_classes_of_different_numbers(routing, own):
    X, y, ids = clouds([2, 7, 7, 2, 4, 5], per_class=2)
    (name, values) = ("learning_rate", [0.01, 0.1])
    search = GridSearchCV(own, {name: values}, cv=by_task(), error_score="raise")
    search.fit(X, y, task=ids)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# -- memory ---------------------------------------------------------------------------


def test_rows_are_drawn_block_by_block(regressor):
    """One long task beside thousands of short ones takes hardly any more memory."""
    import tracemalloc

    rng = np.random.default_rng(0)
    X = rng.standard_normal((8000, 3))
    y, ids = X.sum(axis=1), np.r_[np.zeros(4000, int), 1 + np.arange(4000)]
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = few_shot_scores(regressor, X, y, ids, n_repeats=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(scores).sum() == 1
    assert peak < 6 * X.nbytes
