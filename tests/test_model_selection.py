"""Few-shot scores: adapt to some rows of each task, score on the others."""

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import get_scorer, make_scorer, median_absolute_error
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metadata_routing import get_routing_for_object

from skmeta import ReptileClassifier, ReptileRegressor, adapt, meta_fit
from skmeta.datasets import make_linear_tasks
from skmeta.model_selection import few_shot_scores, make_few_shot_scorer

# Every warning that a test does not expect is an error, also the zero-shot warning.
pytestmark = pytest.mark.filterwarnings("error")


def plain_loop(model, table, scorer, n_support=5, n_repeats=3, splitter=ShuffleSplit):
    """Few-shot scores computed with no function of skmeta except `adapt`."""
    names = np.unique(table.ids)
    seeds = np.random.RandomState(0).randint(2**31, size=len(names))
    scores = []
    for name, seed in zip(names, seeds, strict=True):
        X, y = table.X[table.ids == name], table.y[table.ids == name]
        split = splitter(n_repeats, train_size=n_support, random_state=seed)
        for support, query in split.split(X, y):
            adapted = adapt(model, X[support], y[support])
            scores.append(scorer(adapted, X[query], y[query]))
    return np.reshape(scores, (len(names), n_repeats))


# -- values ---------------------------------------------------------------------------


@pytest.mark.parametrize("scoring", [None, "r2", "neg_mean_absolute_error"])
@pytest.mark.parametrize(("n_support", "n_repeats"), [(1, 1), (5, 3), (10, 2)])
def test_scores_are_those_of_a_plain_loop(
    scoring, n_support, n_repeats, regressor, linear_table
):
    t = linear_table
    scores = few_shot_scores(
        regressor,
        t.X,
        t.y,
        t.ids,
        scoring=scoring,
        n_support=n_support,
        n_repeats=n_repeats,
    )
    assert scores.shape == (20, n_repeats)
    scorer = get_scorer(scoring or "r2")
    expected = plain_loop(regressor, t, scorer, n_support, n_repeats)
    assert_allclose(scores, expected, rtol=1e-10)


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss"])
def test_scores_of_a_classifier_are_those_of_a_plain_loop(
    scoring, classifier, label_table
):
    t = label_table
    if scoring == "neg_log_loss":  # with query rows of one class it needs the labels
        scoring = make_scorer(brier, response_method="predict_proba")
    scores = few_shot_scores(classifier, t.X, t.y, t.ids, scoring=scoring)
    scorer = scoring if callable(scoring) else get_scorer("accuracy")
    assert_allclose(scores, plain_loop(classifier, t, scorer), rtol=1e-10)


def brier(y_true, p):
    return -np.mean((p - y_true) ** 2)


def test_any_scorer_of_scikit_learn_or_callable_will_do(regressor, linear_table):
    t = linear_table

    def error(model, X, y):
        return np.median(np.abs(model.predict(X) - y))

    a = few_shot_scores(regressor, t.X, t.y, t.ids, scoring=error)
    b = few_shot_scores(
        regressor, t.X, t.y, t.ids, scoring=make_scorer(median_absolute_error)
    )
    assert_allclose(a, b)


def test_scores_stand_in_the_order_of_the_sorted_ids(regressor, linear_table):
    t = linear_table
    scores = few_shot_scores(
        regressor,
        t.X,
        t.y,
        t.ids,
        n_support=11,
        n_repeats=1,
        scoring="neg_mean_squared_error",
    )
    rows = np.arange(240).reshape(20, 12)[::-1].ravel()  # last task first
    turned = few_shot_scores(
        regressor,
        t.X[rows],
        t.y[rows],
        t.ids[rows],
        n_support=11,
        n_repeats=1,
        scoring="neg_mean_squared_error",
    )
    assert_array_equal(scores, turned)


def test_rows_of_a_task_need_not_stand_together(regressor, linear_table):
    t = linear_table
    rows = np.arange(240).reshape(20, 12).T.ravel()
    assert_array_equal(
        few_shot_scores(regressor, t.X, t.y, t.ids),
        few_shot_scores(regressor, t.X[rows], t.y[rows], t.ids[rows]),
    )


def test_the_scores_of_a_pipeline_are_those_of_its_meta_learner(
    linear_tasks, linear_table
):
    t = linear_table
    pipe = make_pipeline(
        StandardScaler(), ReptileRegressor(max_iter=20, random_state=0)
    )
    meta_fit(pipe, linear_tasks)
    assert_array_equal(
        few_shot_scores(pipe, t.X, t.y, t.ids),
        few_shot_scores(pipe[-1], pipe[0].transform(t.X), t.y, t.ids),
    )


def test_a_table_of_data_frames_gives_the_same_scores(linear_tasks, linear_table):
    t = linear_table
    names = ["a", "b", "c"]
    tasks = [(pd.DataFrame(X, columns=names), y) for X, y in linear_tasks]
    model = ReptileRegressor(max_iter=20, random_state=0).meta_fit(tasks)
    table = pd.DataFrame(t.X, columns=names)
    plain = ReptileRegressor(max_iter=20, random_state=0).meta_fit(linear_tasks)
    assert_allclose(
        few_shot_scores(model, table, pd.Series(t.y), pd.Series(t.ids)),
        few_shot_scores(plain, t.X, t.y, t.ids),
    )


def test_no_support_rows_score_the_learned_start_without_a_warning(
    regressor, linear_table
):
    t = linear_table
    scores = few_shot_scores(regressor, t.X, t.y, t.ids, n_support=0, n_repeats=2)
    r2 = get_scorer("r2")
    with pytest.warns(UserWarning, match="zero-shot"):
        expected = [
            r2(regressor, t.X[t.ids == name], t.y[t.ids == name])
            for name in np.unique(t.ids)
        ]
    assert_allclose(scores, np.transpose([expected] * 2), rtol=1e-12)


def test_more_support_rows_give_better_scores(regressor, linear_table):
    t = linear_table
    options = {"scoring": "neg_mean_squared_error", "n_repeats": 1}
    means = [
        few_shot_scores(regressor, t.X, t.y, t.ids, n_support=n, **options).mean()
        for n in (0, 2, 4, 8)
    ]
    assert means == sorted(means)


def test_the_model_is_left_as_it_was(regressor, linear_table, unchanged):
    t = linear_table
    with unchanged(regressor):
        few_shot_scores(regressor, t.X, t.y, t.ids)


def test_the_seed_chooses_the_support_rows(regressor, linear_table):
    t = linear_table
    first, second, other = (
        few_shot_scores(regressor, t.X, t.y, t.ids, random_state=seed)
        for seed in (1, 1, 2)
    )
    assert_array_equal(first, second)
    assert (first != other).any()
    assert (first[:, 0] != first[:, 1]).any()


# -- the scorer and score -------------------------------------------------------------


def test_the_scorer_is_the_mean_of_the_scores(regressor, linear_table):
    t = linear_table
    options = {"n_support": 3, "n_repeats": 2, "random_state": 7}
    scorer = make_few_shot_scorer("neg_mean_absolute_error", **options)
    scores = few_shot_scores(
        regressor, t.X, t.y, t.ids, scoring="neg_mean_absolute_error", **options
    )
    score = scorer(regressor, t.X, t.y, task=t.ids)
    assert isinstance(score, float)
    assert score == scores.mean()


def test_score_with_ids_is_the_scorer_with_its_defaults(
    regressor, classifier, linear_table, label_table
):
    for model, t in ((regressor, linear_table), (classifier, label_table)):
        weight = np.random.default_rng(0).random(240)
        for weights in ((), (weight,)):
            score = model.score(t.X, t.y, *weights, task=t.ids)
            expected = make_few_shot_scorer()(model, t.X, t.y, *weights, task=t.ids)
            assert score == pytest.approx(expected, rel=1e-12)


def test_the_scorer_asks_for_ids_and_shows_its_settings():
    scorer = make_few_shot_scorer("r2", n_support=7)
    requests = get_routing_for_object(scorer).score.requests
    assert requests == dict.fromkeys(["task", "unit", "choice_set"], True) | {
        "sample_weight": None
    }
    assert repr(scorer).startswith("make_few_shot_scorer('r2', n_support=7")


def test_the_scorer_can_be_pickled(regressor, linear_table):
    t = linear_table
    scorer = make_few_shot_scorer("r2", n_support=3)
    copy = joblib.load(dumped(scorer))
    assert copy(regressor, t.X, t.y, task=t.ids) == scorer(
        regressor, t.X, t.y, task=t.ids
    )


def dumped(model):
    from io import BytesIO

    buffer = BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return buffer


# -- options --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_two_jobs_give_the_scores_of_one(backend, regressor, linear_table):
    t = linear_table
    with joblib.parallel_config(backend):
        two = few_shot_scores(regressor, t.X, t.y, t.ids, n_jobs=2)
    assert_array_equal(two, few_shot_scores(regressor, t.X, t.y, t.ids))


def test_stratified_support_rows_have_the_classes_in_proportion(
    classifier, label_table
):
    t = label_table
    assert (np.bincount(t.y[:12]) >= 2).all()
    two_classes = [
        name
        for name in np.unique(t.ids)
        if (np.bincount(t.y[t.ids == name]) > 1).all()
        and len(set(t.y[t.ids == name])) == 2
    ]
    kept = np.isin(t.ids, two_classes)
    part = type(t)(X=t.X[kept], y=t.y[kept], ids=t.ids[kept])
    scores = few_shot_scores(classifier, part.X, part.y, part.ids, stratify=True)
    expected = plain_loop(
        classifier, part, get_scorer("accuracy"), splitter=StratifiedShuffleSplit
    )
    assert_array_equal(scores, expected)


def test_support_rows_are_stratified_if_tasks_have_their_own_classes(
    own_class_tasks,
):
    model = ReptileClassifier(task_classes="own", max_iter=20, random_state=0)
    model.meta_fit(own_class_tasks)
    X, y = (
        np.concatenate(part) for part in zip(*own_class_tasks.values(), strict=True)
    )
    ids = [name for name, (_, y) in own_class_tasks.items() for _ in y]
    scores = few_shot_scores(model, X, y, ids, n_support=8)
    assert_array_equal(
        scores, few_shot_scores(model, X, y, ids, n_support=8, stratify=True)
    )
    assert scores.mean() > 0.7
    pipe = meta_fit(make_pipeline(StandardScaler(), model), own_class_tasks)
    assert few_shot_scores(pipe, X, y, ids, n_support=8).mean() > 0.7


def test_weights_are_used_in_adapting_and_in_scoring(regressor, linear_table):
    t = linear_table
    weight = np.random.default_rng(0).random(240)
    scores = few_shot_scores(
        regressor, t.X, t.y, t.ids, sample_weight=weight, n_repeats=1
    )
    rows = np.flatnonzero(t.ids == "S00")
    seed = np.random.RandomState(0).randint(2**31, size=20)[0]
    split = ShuffleSplit(1, train_size=5, random_state=seed).split(rows)
    support, query = (rows[part] for part in next(split))
    adapted = regressor.adapt(t.X[support], t.y[support], weight[support])
    assert scores[0, 0] == adapted.score(t.X[query], t.y[query], weight[query])


def test_equal_weights_change_nothing(regressor, linear_table):
    t = linear_table
    assert_allclose(
        few_shot_scores(regressor, t.X, t.y, t.ids, sample_weight=np.ones(240)),
        few_shot_scores(regressor, t.X, t.y, t.ids),
    )


# -- errors ---------------------------------------------------------------------------


def test_a_task_with_too_few_rows_is_named(regressor, linear_table):
    t = linear_table
    kept = np.r_[:84, 84:88, 96:240]  # four rows of S07
    rows = t.X[kept], t.y[kept]
    message = r"Task 'S07' has 4 rows: n_support=5 leaves none to score\. Lower n_supp"
    with pytest.raises(ValueError, match=message):
        few_shot_scores(regressor, *rows, t.ids[kept], small_tasks="raise")
    with pytest.raises(ValueError, match=message):
        make_few_shot_scorer(small_tasks="raise")(regressor, *rows, task=t.ids[kept])
    scores = few_shot_scores(regressor, *rows, t.ids[kept], n_support=2)
    assert scores.shape == (20, 3)


def test_a_numeric_id_is_shown_as_a_plain_number(regressor, linear_table):
    t = linear_table
    with pytest.raises(ValueError, match=r"^Task 0 has 1 rows"):
        few_shot_scores(regressor, t.X, t.y, np.arange(240), small_tasks="raise")
    with pytest.raises(
        ValueError, match=r"240 of 240 tasks .* \(0, 1, 2, 3, 4, \.\.\."
    ):
        few_shot_scores(regressor, t.X, t.y, np.arange(240))


def test_a_task_that_cannot_be_stratified_is_named(classifier, label_table):
    t = label_table
    y = np.where(np.arange(240) % 12 == 0, 1, 0)  # one row of class 1 in each task
    message = r"20 of 20 tasks have too few rows to split them with the classes in pro"
    with pytest.raises(ValueError, match=message):
        few_shot_scores(classifier, t.X, y, t.ids, stratify=True)
    message = r"Task 'S00' has 12 rows; it has too few.*pass stratify=False"
    with pytest.raises(ValueError, match=message):
        few_shot_scores(classifier, t.X, y, t.ids, stratify=True, small_tasks="raise")
    few_shot_scores(classifier, t.X, y, t.ids, stratify=False)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"n_support": -1}, "n_support"),
        ({"n_support": 2.5}, "n_support"),
        ({"n_repeats": 0}, "n_repeats"),
        ({"scoring": "no such metric"}, "scoring"),
    ],
    ids=str,
)
def test_a_bad_option_is_named(options, name, regressor, linear_table):
    t = linear_table
    with pytest.raises((TypeError, ValueError), match=name):
        few_shot_scores(regressor, t.X, t.y, t.ids, **options)


@pytest.mark.parametrize("n_rows", [239, 241])
def test_targets_and_weights_of_another_length_are_refused(
    n_rows, regressor, linear_table
):
    t = linear_table
    y = np.resize(t.y, n_rows)
    with pytest.raises(ValueError, match=str(n_rows)):
        few_shot_scores(regressor, t.X, y, t.ids)
    with pytest.raises(ValueError, match=str(n_rows)):
        regressor.score(t.X, y, task=t.ids)
    with pytest.raises(ValueError, match=str(n_rows)):
        few_shot_scores(regressor, t.X, t.y, t.ids, sample_weight=np.ones(n_rows))


def test_without_ids_the_scorer_says_how_to_pass_them(regressor, linear_table):
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        make_few_shot_scorer()(regressor, linear_table.X, linear_table.y)


def test_scores_without_ids_are_refused_and_one_task_may_have_any_id(
    regressor, linear_table
):
    X, y = linear_table.X[:12], linear_table.y[:12]
    with pytest.raises(ValueError, match="needs the task of each row"):
        few_shot_scores(regressor, X, y, None)
    assert few_shot_scores(regressor, X, y, np.zeros(12)).shape == (1, 3)


def test_a_model_without_a_meta_learner_is_refused(linear_table):
    from sklearn.linear_model import Ridge

    t = linear_table
    with pytest.raises(TypeError, match="found no meta-learner in Ridge"):
        few_shot_scores(Ridge().fit(t.X, t.y), t.X, t.y, t.ids)


def test_own_classes_are_stratified_in_any_composition():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 2)), np.tile([0, 1, 2], 40)
    ids = np.repeat(np.arange(10), 12)
    model = ReptileClassifier(task_classes="own", max_iter=5, random_state=0)
    model.fit(X, y, task=ids)
    expected = few_shot_scores(model, X, y, ids, n_support=3)
    for around in (FrozenEstimator(model), Pipeline([("model", model)])):
        assert_array_equal(few_shot_scores(around, X, y, ids, n_support=3), expected)


def test_a_score_undefined_for_one_task_does_not_spoil_the_mean(regressor):
    tasks = make_linear_tasks(2, 7, 3, random_state=0)
    X, y = (np.concatenate(part)[:13] for part in zip(*tasks, strict=True))
    ids = np.repeat([0, 1], [7, 6])
    with pytest.warns(UndefinedMetricWarning):
        score = regressor.score(X, y, task=ids)
    assert np.isfinite(score)
    with pytest.warns(UndefinedMetricWarning):
        assert score == make_few_shot_scorer()(regressor, X, y, task=ids)


@pytest.mark.parametrize(
    "options", [{"n_support": -2}, {"n_repeats": 0}, {"scoring": "r3"}], ids=str
)
def test_a_bad_option_of_a_scorer_is_named_when_it_is_made(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}'"):
        make_few_shot_scorer(**options)
