"""The verbs on estimators that combine several models: each meta-learner adapts."""

from copy import copy
from functools import cache
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFE, RFECV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from skmeta import (
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    FewShotRegressor,
    ReptileClassifier,
    ReptileRegressor,
    TaskBank,
    TaskStatistics,
    adapt,
    adapt_predict,
    meta_fit,
    partial_adapt,
    predict,
    to_sklearn,
)
from skmeta._compositions import meta_learners
from skmeta.adaptation import Ensemble, register_composition
from skmeta.datasets import make_linear_tasks
from skmeta.exceptions import ZeroShotWarning
from skmeta.model_selection import (
    compare_baselines,
    few_shot_predict,
    few_shot_scores,
    make_few_shot_scorer,
)

# A threshold is tuned, and columns are eliminated, by scores of the learned start.
pytestmark = pytest.mark.filterwarnings("ignore:.*adapted to none")


def regressor(**params):
    return ReptileRegressor(**{"max_iter": 10, "random_state": 0} | params)


def classifier(**params):
    return ReptileClassifier(**{"max_iter": 10, "random_state": 0} | params)


def table_of(kind):
    tasks = make_linear_tasks(16, 10, 3, kind=kind, random_state=0)
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    ids = np.repeat([f"S{number:02d}" for number in range(16)], 10)
    return SimpleNamespace(X=X, y=y, ids=ids)


@cache
def tables():
    """One table of each kind of targets: 16 tasks of 10 rows and 3 columns."""
    numbers, labels = map(table_of, ("regression", "classification"))
    labels.y = np.where(labels.y == 1, "yes", "no")
    both, three, two = copy(numbers), copy(numbers), copy(labels)
    both.y = np.c_[numbers.y, numbers.X[:, 0] - numbers.y]
    three.y = np.array(["a", "b", "c"])[
        np.digitize(numbers.y, np.quantile(numbers.y, [0.3, 0.7]))
    ]
    two.y = np.c_[labels.y == "yes", labels.X[:, 0] > 0].astype(int)
    return {
        "numbers": numbers,
        "labels": labels,
        "both": both,
        "three": three,
        "two": two,
    }


# name: (what the user writes, the targets, what adapts inside it by hand)
ENSEMBLES = {
    "voting": (
        VotingRegressor(
            [
                ("eb", make_pipeline(StandardScaler(), regressor())),
                ("none", "drop"),
                ("tree", RandomForestRegressor(3, random_state=0)),
            ],
            weights=[2, 1, 1],
        ),
        "numbers",
    ),
    "soft voting": (
        VotingClassifier(
            [("eb", classifier()), ("flat", LogisticRegression())], voting="soft"
        ),
        "labels",
    ),
    "hard voting": (
        VotingClassifier([("a", classifier()), ("b", classifier(alpha=1.0))]),
        "labels",
    ),
    "bagging": (BaggingRegressor(regressor(), 3, random_state=0), "numbers"),
    "bagging columns": (
        BaggingClassifier(classifier(), 3, max_features=2, random_state=0),
        "labels",
    ),
    "calibrated": (CalibratedClassifierCV(classifier(), cv=2), "labels"),
    "calibrated once": (
        CalibratedClassifierCV(classifier(), cv=2, ensemble=False),
        "labels",
    ),
    "fixed threshold": (
        FixedThresholdClassifier(classifier(), threshold=0.3, pos_label="yes"),
        "labels",
    ),
    "tuned threshold": (
        TunedThresholdClassifierCV(classifier(), thresholds=3, cv=2),
        "labels",
    ),
    "outputs": (MultiOutputRegressor(regressor()), "both"),
    "outputs labels": (MultiOutputClassifier(classifier()), "two"),
    "chain": (RegressorChain(regressor(), order=[1, 0]), "both"),
    "chain labels": (ClassifierChain(classifier()), "two"),
    "one against rest": (OneVsRestClassifier(classifier()), "three"),
    "one against rest labels": (OneVsRestClassifier(classifier()), "two"),
    "stacked": (
        StackingRegressor(
            [("eb", regressor()), ("tree", RandomForestRegressor(3, random_state=0))],
            final_estimator=regressor(),
            cv=2,
        ),
        "numbers",
    ),
    "stacked labels": (
        StackingClassifier(
            [("eb", classifier()), ("flat", LogisticRegression())],
            final_estimator=classifier(),
            passthrough=True,
            cv=2,
        ),
        "labels",
    ),
    "selection": (RFE(regressor(), n_features_to_select=2), "numbers"),
}


@cache
def fitted(name):
    """The ensemble, meta-trained on all tasks but the last two, and the table."""
    model, kind = ENSEMBLES[name]
    table = tables()[kind]
    old = ~np.isin(table.ids, ["S14", "S15"])
    with sklearn.config_context(enable_metadata_routing=True):
        return clone(model).fit(table.X[old], table.y[old], task=table.ids[old]), table


def rows(table, task, n=5):
    """The first rows of a task, the first targets, and its other rows."""
    own = np.flatnonzero(table.ids == task)
    return table.X[own[:n]], table.y[own[:n]], table.X[own[n:]], table.y[own[n:]]


@pytest.mark.parametrize("name", ENSEMBLES)
def test_adapt_changes_the_answers_of_a_copy(name, unchanged):
    model, table = fitted(name)
    X, y, X_new, _ = rows(table, "S14")
    inner = getattr(model, "estimators_", [model])
    with unchanged(model, *inner):
        before = model.predict(X_new)
        adapted = adapt(model, X, y)
        assert type(adapted) is type(model)
        after = adapted.predict(X_new)
        assert after.shape == before.shape and after.dtype.kind == before.dtype.kind
    if hasattr(adapted, "predict_proba"):
        assert not np.allclose(adapted.predict_proba(X_new), model.predict_proba(X_new))
    elif before.dtype.kind == "f":
        assert not np.allclose(after, before)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_many_tasks_at_once_are_those_one_by_one(name):
    model, table = fitted(name)
    new = np.isin(table.ids, ["S12", "S14", "S15"])
    known = new & np.tile(np.arange(10) < 4, 16) & (table.ids != "S12")  # none of S12
    asked = np.random.default_rng(0).permutation(np.flatnonzero(new & ~known))
    found = adapt_predict(
        model,
        table.X[known],
        table.y[known],
        table.X[asked],
        task=table.ids[known],
        task_new=table.ids[asked],
    )
    for task in ("S12", "S14", "S15"):
        one = model
        if task != "S12":
            one = adapt(model, *rows(table, task, 4)[:2])
        mine = asked[table.ids[asked] == task]
        by_hand = one.predict(table.X[mine])
        places = table.ids[asked] == task
        if found.dtype.kind == "f":
            assert_allclose(found[places], by_hand, rtol=1e-9)
        else:
            assert_array_equal(found[places], by_hand)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_few_shot_scores_adapt(name):
    model, table = fitted(name)
    new = np.isin(table.ids, ["S14", "S15"])
    options = {"n_support": 4, "row_order": "time", "n_repeats": 1}
    scores = few_shot_scores(
        model, table.X[new], table.y[new], table.ids[new], **options
    )
    assert scores.shape == (2, 1)
    X, y, X_new, y_new = rows(table, "S14", 4)
    assert_allclose(scores[0, 0], adapt(model, X, y).score(X_new, y_new))


@pytest.mark.parametrize("name", ENSEMBLES)
def test_partial_adapt_goes_on_from_where_members_are(name):
    model, table = fitted(name)
    X, y, *_ = rows(table, "S15")
    twice = adapt(model, X[:2], y[:2])
    assert partial_adapt(twice, X[2:], y[2:]) is twice
    assert {inner.n_adapt_rows_ for inner in meta_learners(twice)} == {5}
    assert {inner.n_adapt_rows_ for inner in meta_learners(model)} == {0}


@cache
def learned_prior_of_two_outputs():
    table, few = tables()["both"], slice(0, 60)
    model = MultiOutputRegressor(EmpiricalBayesRegressor("intercept", random_state=0))
    return model.fit(table.X[few], table.y[few], task=table.ids[few])


def test_partial_adapt_twice_is_adapt_once_with_a_learned_prior():
    table, model = tables()["both"], learned_prior_of_two_outputs()
    X, y, X_new, _ = rows(table, "S15")
    twice = partial_adapt(adapt(model, X[:2], y[:2]), X[2:], y[2:])
    assert_same_answers(twice, adapt(model, X, y), X_new)


@pytest.mark.parametrize(
    "name", ["voting", "outputs", "one against rest labels", "stacked labels"]
)
def test_meta_fit_is_fit_with_ids(name):
    model, table = fitted(name)
    tasks = {
        task: (table.X[table.ids == task], table.y[table.ids == task])
        for task in np.unique(table.ids)[:14]
    }
    again = meta_fit(clone(ENSEMBLES[name][0]), tasks)
    assert_same_answers(again, model, table.X[:10])


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_adapted_one_is_saved_and_frozen(name, tmp_path):
    model, table = fitted(name)
    X, y, X_new, _ = rows(table, "S15")
    adapted = adapt(FrozenEstimator(model), X, y)
    assert isinstance(adapted, FrozenEstimator)
    joblib.dump(adapted, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    assert_same_answers(again, adapt(model, X, y), X_new)


def assert_same_answers(one, other, X, rtol=1e-9):
    if hasattr(other, "predict_proba"):
        assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=rtol)
    a, b = one.predict(X), other.predict(X)
    if a.dtype.kind == "f":
        assert_allclose(a, b, rtol=rtol, atol=1e-9)
    else:
        assert_array_equal(a, b)


# -- against the same by hand ---------------------------------------------------------


def test_voting_averages_the_adapted_and_what_does_not_adapt():
    model, table = fitted("voting")
    X, y, X_new, _ = rows(table, "S14")
    adapted = adapt(model, X, y)
    eb, tree = model.estimators_
    by_hand = 2 * adapt(eb, X, y).predict(X_new) + tree.predict(X_new)
    assert_allclose(adapted.predict(X_new), by_hand / 3)
    assert adapted.named_estimators_["eb"] is adapted.estimators_[0]
    assert adapted.named_estimators_["none"] == "drop"
    assert adapted.estimators_[1] is not model.estimators_[1]


def test_soft_voting_averages_probabilities():
    model, table = fitted("soft voting")
    X, y, X_new, _ = rows(table, "S14")
    eb, flat = model.estimators_
    by_hand = adapt(eb, X, (y == "yes") * 1).predict_proba(X_new)
    by_hand = (by_hand + flat.predict_proba(X_new)) / 2
    assert_allclose(adapt(model, X, y).predict_proba(X_new), by_hand)


def test_every_bag_adapts_to_all_rows_in_its_columns():
    model, table = fitted("bagging columns")
    X, y, X_new, _ = rows(table, "S14")
    y = (y == "yes") * 1
    by_hand = [
        adapt(bag, X[:, columns], y).predict_proba(X_new[:, columns])
        for bag, columns in zip(
            model.estimators_, model.estimators_features_, strict=True
        )
    ]
    adapted = adapt(model, X, np.array(["no", "yes"])[y])
    assert_allclose(adapted.predict_proba(X_new), np.mean(by_hand, axis=0))


def test_a_threshold_stays():
    model, table = fitted("fixed threshold")
    X, y, X_new, _ = rows(table, "S14")
    adapted = adapt(model, X, y)
    p = adapt(model.estimator_, X, y).predict_proba(X_new)[:, 1]
    assert_array_equal(adapted.predict(X_new), np.where(p >= 0.3, "yes", "no"))
    tuned, _ = fitted("tuned threshold")
    assert adapt(tuned, X, y).best_threshold_ == tuned.best_threshold_


def test_calibration_keeps_its_curves():
    model, table = fitted("calibrated once")
    X, y, X_new, _ = rows(table, "S14")
    [pair] = model.calibrated_classifiers_
    inner = adapt(pair.estimator, X, y)
    by_hand = pair.calibrators[0].predict(inner.decision_function(X_new))
    assert_allclose(adapt(model, X, y).predict_proba(X_new)[:, 1], by_hand)


def test_each_output_adapts_to_its_own_column():
    model, table = fitted("outputs")
    X, y, X_new, _ = rows(table, "S14")
    adapted = adapt(model, X, pd.DataFrame(y))
    for j in range(2):
        alone = adapt(model.estimators_[j], X, y[:, j])
        assert_allclose(adapted.predict(X_new)[:, j], alone.predict(X_new))


def test_a_chain_sees_the_columns_before():
    model, table = fitted("chain")
    X, y, X_new, _ = rows(table, "S14")
    first = adapt(model.estimators_[0], X, y[:, 1])
    second = adapt(model.estimators_[1], np.c_[X, y[:, 1]], y[:, 0])
    said = first.predict(X_new)
    by_hand = np.c_[second.predict(np.c_[X_new, said]), said]
    assert_allclose(adapt(model, X, y).predict(X_new), by_hand)
    sparsely = adapt(model, sparse.csr_array(X), y).predict(X_new)
    assert_allclose(sparsely, by_hand)


def test_each_class_adapts_against_the_rest():
    model, table = fitted("one against rest")
    X, y, X_new, _ = rows(table, "S14")
    adapted = adapt(model, X, y)
    alone = [
        adapt(inner, X, (y == label) * 1).decision_function(X_new)
        for inner, label in zip(model.estimators_, "abc", strict=True)
    ]
    assert_array_equal(
        adapted.predict(X_new), np.array(["a", "b", "c"])[np.argmax(alone, axis=0)]
    )


def test_the_final_estimator_of_a_stack_adapts():
    model, table = fitted("stacked")
    X, y, X_new, _ = rows(table, "S14")
    final = adapt(model.final_estimator_, model.transform(X), y)
    adapted = adapt(model, X, y)
    assert_allclose(adapted.predict(X_new), final.predict(model.transform(X_new)))
    assert_allclose(adapted.transform(X_new), model.transform(X_new))


def test_feature_elimination_adapts_in_the_columns_it_keeps():
    model, table = fitted("selection")
    X, y, X_new, _ = rows(table, "S14")
    inner = adapt(model.estimator_, model.transform(X), y)
    by_hand = inner.predict(model.transform(X_new))
    assert_allclose(adapt(model, X, y).predict(X_new), by_hand)


def test_sample_weights_reach_every_member():
    model, table = fitted("voting")
    X, y, X_new, _ = rows(table, "S14")
    weight = np.array([1, 0, 2, 1, 0.0])
    some = weight > 0
    adapted = adapt(model, X, y, weight)
    again = adapt(model, X[some], y[some], weight[some])
    assert_allclose(adapted.predict(X_new), again.predict(X_new))
    found = adapt_predict(
        model, X, y, X_new, weight, task=["t"] * 5, task_new=["t"] * 5
    )
    assert_allclose(found, adapted.predict(X_new))


def test_known_tasks_are_predicted_by_all_members():
    """Each output by the posterior of its own model, and so the members of a vote."""
    table, model = tables()["both"], learned_prior_of_two_outputs()
    by_hand = [m.predict(table.X, task=table.ids) for m in model.estimators_]
    found = predict(model, table.X, task=table.ids)
    assert_allclose(found, np.transpose(by_hand))
    level = DummyRegressor().fit(table.X, table.y[:, 0])
    vote = VotingRegressor([("eb", model.estimator), ("level", DummyRegressor())])
    vote.estimators_ = [model.estimators_[0], level]
    vote.named_estimators_ = Bunch(eb=model.estimators_[0], level=level)
    found = predict(vote, table.X, task="S03")
    by_hand = model.estimators_[0].predict(table.X, task="S03")
    assert_allclose(found, (by_hand + level.predict(table.X)) / 2)
    with pytest.raises(TypeError, match="combines or changes"):
        predict(vote, table.X, return_std=True)
    bagged, _ = fitted("bagging")
    with pytest.raises(TypeError, match="combines or changes"):
        predict(bagged, table.X, task=table.ids)


# -- around and inside other compositions ---------------------------------------------


def test_inside_a_pipeline_and_a_target_transform():
    table = tables()["both"]
    model = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), MultiOutputRegressor(regressor())),
        transformer=StandardScaler(),
        check_inverse=False,
    )
    tasks = {
        i: (table.X[table.ids == i], table.y[table.ids == i])
        for i in np.unique(table.ids)[:14]
    }
    model = meta_fit(model, tasks)
    X, y, X_new, _ = rows(table, "S14")
    pipe, scaler = model.regressor_, model.transformer_
    scaled = scaler.transform(y)
    by_hand = adapt(pipe, X, scaled).predict(X_new)
    by_hand = scaler.inverse_transform(by_hand)
    assert_allclose(adapt(model, X, y).predict(X_new), by_hand)
    found = adapt_predict(model, X, y, X_new, task=[1] * 5, task_new=[1] * 5)
    assert_allclose(found, by_hand)


def test_a_search_chooses_by_how_an_ensemble_adapts(routing):
    table = tables()["numbers"]
    search = GridSearchCV(
        VotingRegressor([("a", regressor()), ("b", Ridge())]),
        {"weights": [[1, 1], [1, 0]]},
        cv=GroupKFold(2).set_split_request(groups="task"),
        scoring=make_few_shot_scorer("neg_mean_absolute_error", n_repeats=1),
        error_score="raise",
    ).fit(table.X, table.y, task=table.ids)
    assert search.best_params_ == {"weights": [1, 0]}
    X, y, X_new, _ = rows(table, "S14")
    adapted = adapt(search, X, y)
    best = adapt(search.best_estimator_, X, y)
    assert_allclose(adapted.predict(X_new), best.predict(X_new))


def test_columns_by_name_reach_the_members():
    table = tables()["numbers"]
    frame = pd.DataFrame(table.X, columns=["a", "b", "c"])
    model = VotingRegressor([("a", regressor()), ("b", Ridge())])
    with sklearn.config_context(enable_metadata_routing=True):
        model.fit(frame, table.y, task=table.ids)
    some, new = frame.iloc[:5], frame.iloc[5:10]
    found = adapt(model, some, table.y[:5]).predict(new)
    tasks = {"task": ["S00"] * 5, "task_new": ["S00"] * 5}
    assert_allclose(adapt_predict(model, some, table.y[:5], new, **tasks), found)


def test_a_few_shot_estimator_around_a_vote():
    model, table = fitted("voting")
    X, y, X_new, _ = rows(table, "S14")
    few = FewShotRegressor(FrozenEstimator(model)).fit(X, y)
    assert_allclose(few.predict(X_new), adapt(model, X, y).predict(X_new))


def test_the_comparison_takes_a_vote():
    table = tables()["numbers"]
    comparison = compare_baselines(
        {"vote": VotingRegressor([("a", regressor()), ("b", Ridge())])},
        table.X,
        table.y,
        task=table.ids,
        n_support=4,
        baselines=["support mean"],
        cv=2,
        n_repeats=1,
    )
    assert "vote" in str(comparison)


def test_every_row_is_predicted_by_a_vote_adapted_to_others():
    table = tables()["numbers"]
    vote = VotingRegressor([("a", regressor()), ("b", DummyRegressor())])
    options = {"task": table.ids, "cv": 2, "random_state": 0}
    found = few_shot_predict(vote, table.X, table.y, **options)
    alone = few_shot_predict(regressor(), table.X, table.y, **options)
    level = few_shot_predict(
        VotingRegressor([("a", regressor()), ("b", DummyRegressor())], weights=[0, 1]),
        table.X,
        table.y,
        **options,
    )
    assert_allclose(found, (alone + level) / 2)
    many = MultiOutputRegressor(regressor())
    for verb in (few_shot_predict, compare_baselines):
        with pytest.raises(ValueError, match="one at a time: pass the estimator"):
            verb(many, table.X, np.c_[table.y, table.y], task=table.ids)


def test_rows_in_time_are_so_inside_an_ensemble():
    table = tables()["numbers"]
    old = EmpiricalBayesRegressor("intercept", half_life=3.0, time_column=0)
    model = VotingRegressor([("a", Ridge()), ("b", old)])
    few = slice(0, 60)
    with sklearn.config_context(enable_metadata_routing=True):
        model.fit(table.X[few], table.y[few], task=table.ids[few])
    alone, options = model.estimators_[1], {"n_support": 4, "n_repeats": 1}
    weightless = copy(model)
    weightless.weights = [0, 1]
    assert_allclose(
        few_shot_scores(weightless, table.X, table.y, table.ids, **options),
        few_shot_scores(alone, table.X, table.y, table.ids, **options),
        rtol=1e-6,
    )


# -- what is refused ------------------------------------------------------------------


def test_an_unfitted_one_says_so():
    table = tables()["numbers"]
    for model, kind in ENSEMBLES.values():
        if kind == "numbers":
            with pytest.raises(NotFittedError):
                adapt(clone(model), table.X[:5], table.y[:5])


def test_an_unknown_label_is_named():
    for name in (
        "soft voting",
        "bagging columns",
        "one against rest",
        "stacked labels",
    ):
        model, table = fitted(name)
        X, y, *_ = rows(table, "S14")
        y = np.where(np.arange(5) == 1, "perhaps", y)
        with pytest.raises(ValueError, match=r"label 'perhaps'.*not seen"):
            adapt(model, X, y)


def test_a_failed_partial_adapt_changes_nothing(unchanged):
    model, table = fitted("outputs")
    X, y, *_ = rows(table, "S14")
    y = y.copy()
    adapted = adapt(model, X, y)
    y[2, 1] = np.nan  # the first column is fine
    with unchanged(*adapted.estimators_), pytest.raises(ValueError, match="NaN"):
        partial_adapt(adapted, X, y)


def test_an_error_in_many_tasks_names_the_task():
    model, table = fitted("outputs")
    y = table.y.copy()
    y[25, 1] = np.nan
    tasks = {"task": table.ids, "task_new": table.ids}
    with pytest.raises(ValueError, match="S02"):
        adapt_predict(model, table.X, y, table.X, **tasks)


def test_a_column_of_y_is_missing():
    model, table = fitted("outputs")
    with pytest.raises(ValueError, match=r"2 columns of y; got y of shape \(5,\)"):
        adapt(model, table.X[:5], table.y[:5, 0])


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        (OneVsOneClassifier(classifier()), "OneVsRestClassifier"),
        (AdaBoostRegressor(regressor()), "base_estimator=HistGradientBoostingRegr"),
        (StackingRegressor([("a", regressor())]), "base_estimator=StackingRegressor"),
        (
            StackingRegressor([("a", Ridge())], final_estimator=regressor()),
            "base_estimator=StackingRegressor",
        ),
        (RegressorChain(regressor(), cv=2), "MultiOutputRegressor"),
        (CalibratedClassifierCV(classifier(), method="isotonic"), "method='sigmoid'"),
        (
            VotingClassifier([("a", ReptileClassifier(task_classes="own"))]),
            "Use it without",
        ),
        (VotingRegressor([("a", EmpiricalBayesRanker())]), "Use it without"),
        (VotingRegressor([("a", Ridge())]), "found no meta-learner"),
        (CalibratedClassifierCV(), "found no meta-learner"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_adapt_says_what_to_do(model, remedy):
    table = tables()["numbers"]
    tasks = [(table.X[:10], table.y[:10]), (table.X[10:20], table.y[10:20])]
    with pytest.raises(TypeError, match=remedy):
        meta_fit(model, tasks)


def test_what_takes_one_meta_learner_names_the_way_out():
    model, table = fitted("voting")
    with pytest.raises(TypeError, match="combines or changes what models predict"):
        TaskBank(model)
    with pytest.raises(TypeError, match="combines or changes what models predict"):
        to_sklearn(adapt(model, table.X[:5], table.y[:5]))
    statistics = TaskStatistics.from_rows(table.X, table.y, table.ids)
    with pytest.raises(TypeError, match="Pass the rows"):
        adapt(model, statistics)
    with pytest.raises(TypeError, match="takes no choice_set"):
        adapt(model, table.X[:5], table.y[:5], choice_set=[1] * 5)
    tasks = {"task": table.ids, "task_new": table.ids}
    with pytest.raises(ValueError, match=r"'predict_interval'.*Take one of"):
        adapt_predict(
            model, table.X, table.y, table.X, **tasks, method="predict_interval"
        )
    with pytest.raises(TypeError, match="unexpected argument 'return_std'"):
        adapt_predict(model, table.X, table.y, table.X, **tasks, return_std=True)


# -- ensembles of others --------------------------------------------------------------


class WithNeighbour(RegressorMixin, BaseEstimator):
    __metadata_request__fit = {"task": True}

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, X, y, *, task=None):
        self.regressor_ = clone(self.regressor).fit(X, y, task=task)
        self.level_ = np.mean(y)
        return self

    def predict(self, X):
        return (self.regressor_.predict(X) + self.level_) / 2


class MembersWithNeighbour(Ensemble):
    def members(self, estimator):
        return [getattr(estimator, "regressor_", estimator.regressor)]

    def rebuild(self, estimator, members):
        rebuilt = copy(estimator)
        [rebuilt.regressor_] = members
        return rebuilt


def test_a_registered_ensemble_adapts():
    register_composition(WithNeighbour, MembersWithNeighbour())
    table = tables()["numbers"]
    model = WithNeighbour(regressor()).fit(table.X, table.y, task=table.ids)
    inner = adapt(model.regressor_, table.X[:5], table.y[:5]).predict(table.X[5:10])
    found = adapt(model, table.X[:5], table.y[:5]).predict(table.X[5:10])
    assert_allclose(found, (inner + model.level_) / 2)


def test_a_table_of_one_class_of_rfecv_adapts():
    table = tables()["numbers"]
    model = RFECV(regressor(), cv=2, step=2)
    model = meta_fit(model, table.X, table.y, task=table.ids)
    assert adapt(model, table.X[:5], table.y[:5]).predict(table.X).shape == (160,)


# -- Pipelines of imbalanced-learn ----------------------------------------------------


class Halves(BaseEstimator):
    """A sampler as imbalanced-learn writes them: it keeps every second row."""

    def __init__(self, made_up=False):
        self.made_up = made_up

    def fit_resample(self, X, y):
        if not self.made_up:
            self.sample_indices_ = np.arange(0, len(y), 2)
        return X[::2], y[::2]


class SamplingPipeline(Pipeline):
    """A Pipeline as imbalanced-learn writes it, as far as `adapt` sees it."""

    def _validate_steps(self):
        pass

    def predict(self, X):
        for _, step in self.steps[:-1]:
            X = X if hasattr(step, "fit_resample") else step.transform(X)
        return self.steps[-1][1].predict(X)


def test_samplers_take_the_ids_along_and_stay_out_at_adapt():
    table = tables()["labels"]
    tasks = {
        i: (table.X[table.ids == i], table.y[table.ids == i])
        for i in np.unique(table.ids)
    }
    steps = [("scale", StandardScaler()), ("halve", Halves()), ("eb", classifier())]
    pipe = meta_fit(SamplingPipeline(steps), tasks)
    scaler = StandardScaler().fit(table.X)
    alone = classifier().fit(
        scaler.transform(table.X)[::2], table.y[::2], task=table.ids[::2]
    )
    X, y, X_new, _ = rows(table, "S14")
    by_hand = adapt(alone, scaler.transform(X), y).predict(scaler.transform(X_new))
    assert_array_equal(adapt(pipe, X, y).predict(X_new), by_hand)
    only_halved = meta_fit(SamplingPipeline(steps[1:]), tasks)
    assert adapt(only_halved, X, y).predict(X_new).shape == (5,)
    steps[1] = ("smote", Halves(made_up=True))
    with pytest.raises(TypeError, match="rows out of several others"):
        meta_fit(SamplingPipeline(steps), tasks)


def test_the_pipeline_of_imbalanced_learn():
    pytest.importorskip("imblearn")
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from imblearn.pipeline import make_pipeline

    table = tables()["labels"]
    tasks = {
        i: (table.X[table.ids == i], table.y[table.ids == i])
        for i in np.unique(table.ids)
    }
    over = RandomOverSampler(random_state=0)
    pipe = meta_fit(make_pipeline(StandardScaler(), over, classifier()), tasks)
    scaler = StandardScaler().fit(table.X)
    X_more, y_more = over.fit_resample(scaler.transform(table.X), table.y)
    ids = table.ids[over.sample_indices_]
    alone = classifier().fit(X_more, y_more, task=ids)
    X, y, X_new, _ = rows(table, "S14")
    by_hand = adapt(alone, scaler.transform(X), y).predict_proba(
        scaler.transform(X_new)
    )
    assert_allclose(adapt(pipe, X, y).predict_proba(X_new), by_hand)
    with pytest.raises(TypeError, match="SMOTE makes rows"):
        meta_fit(make_pipeline(SMOTE(), classifier()), tasks)
    routed = sklearn.config_context(enable_metadata_routing=True)
    with routed, pytest.raises(ValueError, match=r"sampler.*skmeta\.meta_fit"):
        make_pipeline(over, classifier()).fit(table.X, table.y, task=table.ids)


def test_a_tuned_threshold_names_what_finds_one_for_new_tasks():
    t = tables()["labels"]
    y = t.y == "yes"
    tuned = TunedThresholdClassifierCV(classifier(), thresholds=3, cv=GroupKFold(2))
    with pytest.warns(ZeroShotWarning, match="few_shot_predict.*FixedThreshold"):
        meta_fit(tuned, t.X, y, task=t.ids)
    asked = {"task": t.ids, "cv": 2, "method": "predict_proba", "random_state": 0}
    p = few_shot_predict(classifier(), t.X, y, **asked)[:, 1]
    fixed = FixedThresholdClassifier(classifier(), threshold=np.median(p))
    few = adapt(meta_fit(fixed, t.X, y, task=t.ids), t.X[:5], y[:5])
    assert few.predict(t.X[5:10]).shape == (5,)
