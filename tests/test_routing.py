"""Task ids through pipelines and searches, and the checks that they are not lost."""

import importlib
import inspect
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import StackingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
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
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import parse_version

from skmeta import FewShotRegressor, ReptileClassifier, ReptileRegressor
from skmeta.exceptions import ZeroShotWarning
from skmeta.model_selection import (
    compare_baselines,
    few_shot_scores,
    make_few_shot_scorer,
)

STEPS = {"reptileregressor__inner_steps": [1, 10]}

# Every warning that a test does not expect is an error, also the zero-shot warning.
pytestmark = pytest.mark.filterwarnings("error")


def make_pipe(**params):
    model = ReptileRegressor(**{"max_iter": 20, "random_state": 0} | params)
    return make_pipeline(StandardScaler(), model)


def few_shot_scorer(scoring=None, **options):
    return make_few_shot_scorer(scoring, **{"n_repeats": 1} | options)


def by_task(n_splits=2):
    return GroupKFold(n_splits).set_split_request(groups="task")


def few_shot_by_hand(pipe, table, scoring=None, n_splits=2, n_support=5, n_repeats=1):
    """Meta-train on all folds but one, few-shot-score on that one."""
    scores = []
    for train, test in GroupKFold(n_splits).split(table.X, table.y, table.ids):
        scaler = StandardScaler().fit(table.X[train])
        model = sklearn.clone(pipe[-1])
        model.fit(
            scaler.transform(table.X[train]), table.y[train], task=table.ids[train]
        )
        rows = scaler.transform(table.X[test]), table.y[test], table.ids[test]
        scores.append(
            few_shot_scores(
                model, *rows, scoring=scoring, n_support=n_support, n_repeats=n_repeats
            ).mean()
        )
    return scores


# -- with routing on ------------------------------------------------------------------


def test_a_search_meta_trains_on_whole_tasks_and_scores_adapted_copies(
    routing, linear_table
):
    t = linear_table
    search = GridSearchCV(
        make_pipe(),
        STEPS,
        cv=by_task(),
        scoring=few_shot_scorer("neg_root_mean_squared_error"),
        error_score="raise",
    ).fit(t.X, t.y, task=t.ids)
    for i, steps in enumerate([1, 10]):
        scores = few_shot_by_hand(
            make_pipe(inner_steps=steps), t, "neg_root_mean_squared_error"
        )
        result = [search.cv_results_[f"split{k}_test_score"][i] for k in range(2)]
        assert_allclose(result, scores)
    assert search.best_estimator_[-1].n_tasks_ == 20


def test_without_a_scorer_a_search_uses_the_few_shot_score(routing, linear_table):
    t = linear_table
    search = GridSearchCV(
        make_pipe()[-1], {"inner_steps": [1, 10]}, cv=by_task(), error_score="raise"
    ).fit(t.X, t.y, task=t.ids)
    scores = [
        search.best_estimator_.fit(t.X[train], t.y[train], task=t.ids[train]).score(
            t.X[test], t.y[test], task=t.ids[test]
        )
        for train, test in GroupKFold(2).split(t.X, t.y, t.ids)
    ]
    assert_allclose(search.best_score_, np.mean(scores))


def test_without_a_scorer_a_search_over_a_pipeline_does_so_too(routing, linear_table):
    t = linear_table
    search = GridSearchCV(make_pipe(), STEPS, cv=by_task(), error_score="raise")
    try:
        search.fit(t.X, t.y, task=t.ids)
    except ZeroShotWarning:
        assert parse_version(sklearn.__version__) < parse_version("1.9")
        pytest.skip("this scikit-learn routes nothing to the score of a pipeline")
    expected = few_shot_by_hand(make_pipe(inner_steps=10), t, n_repeats=3)
    assert_allclose(search.cv_results_["mean_test_score"][1], np.mean(expected))
    assert_allclose(
        search.score(t.X, t.y, task=t.ids),
        make_few_shot_scorer()(search.best_estimator_, t.X, t.y, task=t.ids),
    )


def test_a_search_takes_several_few_shot_scorers(routing, linear_table):
    t = linear_table
    shots = {"2": 2, "5": 5}
    search = GridSearchCV(
        make_pipe(),
        STEPS,
        cv=by_task(),
        scoring={
            name: few_shot_scorer("neg_mean_squared_error", n_support=n)
            for name, n in shots.items()
        },
        refit="5",
        error_score="raise",
    ).fit(t.X, t.y, task=t.ids)
    for name, n in shots.items():
        scores = few_shot_by_hand(
            make_pipe(inner_steps=10), t, "neg_mean_squared_error", n_support=n
        )
        assert_allclose(search.cv_results_[f"mean_test_{name}"][1], np.mean(scores))


def test_a_classifier_takes_a_metric_of_probabilities(routing, label_table):
    t = label_table
    scores = cross_val_score(
        ReptileClassifier(max_iter=20, random_state=0),
        t.X,
        t.y,
        cv=by_task(),
        scoring=few_shot_scorer("neg_brier_score"),
        params={"task": t.ids},
        error_score="raise",
    )
    assert scores.shape == (2,)
    assert ((scores > -0.5) & (scores < 0)).all()


def test_cross_validation_takes_ids_as_a_parameter(routing, linear_table):
    t = linear_table
    scoring = few_shot_scorer("r2")
    options = {"cv": by_task(), "params": {"task": t.ids}, "error_score": "raise"}
    expected = few_shot_by_hand(make_pipe(), t, "r2")
    assert_allclose(
        cross_val_score(make_pipe(), t.X, t.y, scoring=scoring, **options), expected
    )
    result = cross_validate(make_pipe(), t.X, t.y, scoring={"few": scoring}, **options)
    assert_allclose(result["test_few"], expected)


def test_a_randomized_search_works_as_well(routing, linear_table):
    t = linear_table
    search = RandomizedSearchCV(
        make_pipe(),
        {"reptileregressor__inner_steps": [1, 3, 10]},
        n_iter=2,
        cv=by_task(),
        scoring=few_shot_scorer(),
        random_state=0,
        error_score="raise",
    ).fit(t.X, t.y, task=t.ids)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_[-1].n_tasks_ == 20


def test_a_search_may_be_cross_validated_itself(routing, linear_table):
    t = linear_table
    search = GridSearchCV(
        make_pipe(),
        STEPS,
        cv=by_task(),
        scoring=few_shot_scorer(),
        error_score="raise",
    )
    result = cross_validate(
        search,
        t.X,
        t.y,
        cv=by_task(),
        scoring=few_shot_scorer(),
        params={"task": t.ids},
        return_estimator=True,
        error_score="raise",
    )
    assert np.isfinite(result["test_score"]).all()
    assert [s.best_estimator_[-1].n_tasks_ for s in result["estimator"]] == [10, 10]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_two_jobs_give_the_scores_of_one(backend, routing, linear_table):
    t = linear_table

    def scores(n_jobs):
        search = GridSearchCV(
            make_pipe(max_iter=5),
            STEPS,
            cv=by_task(),
            scoring=few_shot_scorer(),
            n_jobs=n_jobs,
            error_score="raise",
        )
        return search.fit(t.X, t.y, task=t.ids).cv_results_["mean_test_score"]

    with joblib.parallel_config(backend):
        assert_array_equal(scores(2), scores(1))


@pytest.mark.skipif(
    "params" not in inspect.signature(learning_curve).parameters,
    reason="learning_curve of this scikit-learn routes nothing",
)
def test_a_learning_curve_takes_ids(routing, linear_table):
    t = linear_table
    sizes, _, scores = learning_curve(
        make_pipe(),
        t.X,
        t.y,
        cv=by_task(),
        train_sizes=[0.5, 1.0],
        scoring=few_shot_scorer("neg_mean_squared_error", n_support=2),
        params={"task": t.ids},
        error_score="raise",
    )
    assert_array_equal(sizes, [60, 120])
    assert np.isfinite(scores).all()


def test_ids_and_features_may_be_columns_of_one_table(routing, linear_table):
    table = pd.DataFrame(linear_table.X, columns=["a", "b", "c"])
    table["town"] = np.where(np.arange(len(table)) % 12 < 6, "here", "there")
    table["store"] = linear_table.ids
    pipe = make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["a", "b", "c"]), (OneHotEncoder(), ["town"])
        ),
        ReptileRegressor(max_iter=20, random_state=0),
    )
    scores = cross_val_score(
        pipe,
        table,
        linear_table.y,
        cv=by_task(),
        scoring=few_shot_scorer(),
        params={"task": table["store"]},
        error_score="raise",
    )
    assert (scores > 0.3).all()


def test_weights_reach_the_meta_learner_where_they_are_asked_for(routing, linear_table):
    t = linear_table
    weight = np.where(np.arange(240) % 12 < 10, 1.0, 0.0)
    pipe = make_pipe()
    pipe[0].set_fit_request(sample_weight=False)
    pipe[-1].set_fit_request(sample_weight=True)
    pipe.fit(t.X, t.y, sample_weight=weight, task=t.ids)
    expected = sklearn.clone(pipe[-1]).fit(
        StandardScaler().fit_transform(t.X), t.y, weight, task=t.ids
    )
    assert_array_equal(pipe[-1].coef_, expected.coef_)


def test_score_of_a_pipeline_is_the_few_shot_score(routing, linear_table):
    t = linear_table
    pipe = make_pipe().fit(t.X, t.y, task=t.ids)
    assert_allclose(
        pipe.score(t.X, t.y, task=t.ids),
        make_few_shot_scorer()(pipe, t.X, t.y, task=t.ids),
    )


def test_a_user_may_withdraw_the_request(routing, linear_table):
    t = linear_table
    pipe = make_pipe()
    pipe[-1].set_fit_request(task=None)
    with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="task"):
        pipe.fit(t.X, t.y, task=t.ids)


# -- the traps ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("sklearn.model_selection._validation", "_score"),
        ("sklearn.model_selection._validation", "_permutation_test_score"),
        ("sklearn.model_selection._validation", "_fit_and_predict"),
        ("sklearn.model_selection._validation", "cross_val_predict"),
        ("sklearn.model_selection._search", "BaseSearchCV"),
        ("sklearn.inspection._permutation_importance", "permutation_importance"),
        ("sklearn.metrics._scorer", "_BaseScorer"),
        ("sklearn.utils._param_validation", "validate_params"),
    ],
)
def test_scikit_learn_has_the_functions_that_are_looked_for(module, function):
    """The tests below show what each of them leads to."""
    assert hasattr(importlib.import_module(module), function)


def test_own_scoring_ends_with_its_block(regressor, linear_table):
    t = linear_table

    def fails(model, X, y):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        few_shot_scores(regressor, t.X, t.y, t.ids, scoring=fails, n_support=0)
    with pytest.warns(ZeroShotWarning):
        regressor.score(t.X, t.y)


@pytest.mark.parametrize("scoring", ["r2", "neg_mean_squared_error"])
def test_an_ordinary_scorer_warns_that_it_scores_the_learned_start(
    scoring, routing, linear_table
):
    t = linear_table
    with pytest.warns(ZeroShotWarning, match="make_few_shot_scorer"):
        cross_val_score(
            make_pipe(),
            t.X,
            t.y,
            cv=by_task(),
            scoring=scoring,
            params={"task": t.ids},
        )


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc", "neg_log_loss"])
def test_an_ordinary_scorer_of_a_classifier_warns_too(scoring, routing, label_table):
    t = label_table
    with pytest.warns(ZeroShotWarning, match="make_few_shot_scorer"):
        cross_val_score(
            ReptileClassifier(max_iter=5),
            t.X,
            t.y,
            cv=by_task(),
            scoring=scoring,
            params={"task": t.ids},
        )


def mean_error(model, X, y):
    return -np.abs(model.predict(X) - y).mean()


def dict_of_errors(model, X, y):
    return {"error": mean_error(model, X, y)}


SCORINGS = {
    "callable": mean_error,
    "callable that gives a dict": dict_of_errors,
    "dict of callables": {"error": mean_error},
    "list of names": ["r2", "neg_mean_squared_error"],
}


@pytest.mark.parametrize("kind", ["model", "pipeline", "transformed target"])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_any_kind_of_ordinary_scoring_warns(scoring, kind, routing, linear_table):
    t = linear_table
    pipe = make_pipe(max_iter=2)
    model = {
        "model": pipe[-1],
        "pipeline": pipe,
        "transformed target": TransformedTargetRegressor(pipe[-1]),
    }[kind]
    with pytest.warns(ZeroShotWarning, match="make_few_shot_scorer") as seen:
        cross_validate(
            model,
            t.X,
            t.y,
            cv=by_task(),
            scoring=SCORINGS[scoring],
            params={"task": t.ids},
            error_score="raise",
        )
    assert {warning.filename for warning in seen} == {__file__}


def test_a_search_by_a_callable_warns(routing, linear_table):
    t = linear_table
    for scoring in (mean_error, dict_of_errors):
        search = GridSearchCV(
            make_pipe(max_iter=2),
            STEPS,
            cv=by_task(),
            scoring=scoring,
            refit=False,
            error_score="raise",
        )
        with pytest.warns(ZeroShotWarning, match="make_few_shot_scorer"):
            search.fit(t.X, t.y, task=t.ids)


def test_a_search_by_an_ordinary_scorer_warns_in_a_comparison_too(
    routing, linear_table
):
    t = linear_table
    for scoring in ("r2", mean_error):
        search = GridSearchCV(
            make_pipe(max_iter=2), STEPS, cv=by_task(), scoring=scoring
        )
        with pytest.warns(ZeroShotWarning, match="make_few_shot_scorer"):
            compare_baselines(
                search,
                t.X,
                t.y,
                task=t.ids,
                n_support=3,
                baselines=["support mean"],
                pooled=Ridge(),
                n_repeats=1,
                cv=2,
            )


@pytest.mark.parametrize(
    "verb", [validation_curve, permutation_test_score], ids=lambda f: f.__name__
)
def test_other_verbs_of_model_selection_warn(verb, routing, linear_table):
    t = linear_table
    options = {
        validation_curve: {"param_name": "max_iter", "param_range": [2]},
        permutation_test_score: {"n_permutations": 1},
    }[verb]
    if "params" not in inspect.signature(verb).parameters:
        pytest.skip("this scikit-learn routes nothing here")
    with pytest.warns(ZeroShotWarning, match="make_few_shot_scorer"):
        verb(
            make_pipe(max_iter=2)[-1],
            t.X,
            t.y,
            cv=by_task(),
            scoring=mean_error,
            params={"task": t.ids},
            **options,
        )


@pytest.mark.parametrize("scoring", ["r2", mean_error, None])
def test_permutation_importance_of_an_unadapted_model_warns(
    scoring, regressor, linear_table
):
    t = linear_table
    with pytest.warns(ZeroShotWarning):
        permutation_importance(regressor, t.X, t.y, scoring=scoring, n_repeats=1)


def test_importance_by_a_few_shot_score_is_silent(regressor, linear_table):
    t = linear_table

    def few(model, X, y):
        return few_shot_scorer()(model, X, y, task=t.ids)

    permutation_importance(regressor, t.X, t.y, scoring=few, n_repeats=1)


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_cross_val_predict_says_what_to_call_for_known_tasks(
    method, n_jobs, routing, linear_table, label_table
):
    t, model = linear_table, make_pipe(max_iter=2)
    if method == "predict_proba":
        t, model = label_table, ReptileClassifier(max_iter=2, random_state=0)
    with (
        joblib.parallel_config("threading"),
        pytest.warns(ZeroShotWarning, match=r"few_shot_predict\(model, X, y, task="),
    ):
        cross_val_predict(
            model,
            t.X,
            t.y,
            cv=by_task(),
            params={"task": t.ids},
            method=method,
            n_jobs=n_jobs,
        )


class WithTheStart(RegressorMixin, BaseEstimator):
    """Ridge regression with one more column: what a meta-learner's start predicts."""

    def fit(self, X, y):
        self.ridge_ = Ridge().fit(self._widened(X), y)
        return self

    def predict(self, X):
        return self.ridge_.predict(self._widened(X))

    def _widened(self, X):
        return np.column_stack([X, START["model"].predict(X)])


START = {}


def test_no_warning_if_another_estimator_or_metric_uses_the_start(
    regressor, linear_table, monkeypatch
):
    monkeypatch.setitem(START, "model", regressor)
    t = linear_table

    def nearness(model, X, y):
        return -np.abs(model.predict(X) - regressor.predict(X)).mean()

    cross_val_score(WithTheStart(), t.X, t.y, cv=2)
    cross_val_predict(WithTheStart(), t.X, t.y, cv=2)
    cross_val_score(Ridge(), t.X, t.y, cv=2, scoring=nearness)
    permutation_importance(WithTheStart().fit(t.X, t.y), t.X, t.y, n_repeats=1)
    with pytest.warns(ZeroShotWarning):
        cross_val_score(FrozenEstimator(regressor), t.X, t.y, cv=2, scoring=nearness)


def test_predictions_inside_a_stacking_model_do_not_warn(routing, linear_table):
    """Both these predictions and those of the stack are for new tasks."""
    t = linear_table
    stack = StackingRegressor(
        [("few", make_pipe(max_iter=2)[-1])],
        final_estimator=ReptileRegressor(max_iter=2, random_state=0),
        cv=3,
    )
    stack.fit(t.X, t.y, task=t.ids).predict(t.X)


def test_a_base_model_that_is_a_stack_or_a_meta_learner_is_silent(linear_table):
    t = linear_table
    bases = (
        StackingRegressor([("a", Ridge())], final_estimator=Ridge(), cv=2),
        ReptileRegressor(max_iter=2, random_state=0),
    )
    for base in bases:
        model = ReptileRegressor(max_iter=2, base_estimator=base, random_state=0)
        model.fit(t.X, t.y, task=t.ids).predict(t.X)


def test_a_few_shot_estimator_is_cross_validated_in_silence(regressor, linear_table):
    t = linear_table
    few = FewShotRegressor(FrozenEstimator(regressor), adapt_steps=0)
    cross_val_score(few, t.X[:12], t.y[:12], scoring=mean_error)
    cross_val_predict(few, t.X[:12], t.y[:12])


@pytest.mark.parametrize("scoring", [None, "r2", mean_error])
def test_a_requested_zero_shot_score_is_silent(
    scoring, routing, regressor, linear_table
):
    t = linear_table
    scorer = few_shot_scorer(scoring, n_support=0)
    scorer(regressor, t.X, t.y, task=t.ids)
    cross_val_score(
        make_pipe(max_iter=2),
        t.X,
        t.y,
        cv=by_task(),
        scoring=scorer,
        params={"task": t.ids},
        error_score="raise",
    )
    search = GridSearchCV(
        make_pipe(max_iter=2),
        STEPS,
        cv=by_task(),
        scoring=few_shot_scorer(scoring),
        error_score="raise",
    ).fit(t.X, t.y, task=t.ids)
    few_shot_scores(search, t.X, t.y, t.ids, scoring=scoring, n_support=0)


def test_scoring_does_not_switch_the_warning_off(regressor, linear_table):
    """Filters belong to the process, so threads would undo each other's changes."""
    t = linear_table

    def look(model, X, y):
        assert not [f for f in warnings.filters if f[0] == "ignore" and f[2] in OURS]
        return mean_error(model, X, y)

    few_shot_scores(regressor, t.X, t.y, t.ids, scoring=look, n_support=0, n_repeats=1)


OURS = (ZeroShotWarning, sklearn.exceptions.UndefinedMetricWarning)


def test_an_ordinary_scorer_of_an_adapted_model_is_silent(regressor, linear_table):
    X, y = linear_table.X[:12], linear_table.y[:12]
    adapted = regressor.adapt(X[:5], y[:5])
    assert sklearn.metrics.get_scorer("r2")(adapted, X, y) > 0.0


def test_predicting_with_the_learned_start_is_silent(regressor, linear_table):
    regressor.predict(linear_table.X)


def test_ids_forgotten_in_a_search_raise_in_the_scorer(routing, linear_table):
    t = linear_table
    search = GridSearchCV(
        make_pipe(max_iter=2),
        STEPS,
        cv=3,
        scoring=few_shot_scorer(),
        error_score="raise",
    )
    with pytest.raises(ValueError, match="few-shot scoring needs the task"):
        search.fit(t.X, t.y)


def test_ids_forgotten_in_cross_validation_raise_in_the_scorer(routing, linear_table):
    t = linear_table
    with pytest.raises(ValueError, match=r"params=\{'task'"):
        cross_val_score(
            make_pipe(max_iter=2),
            t.X,
            t.y,
            cv=3,
            scoring=few_shot_scorer(),
            params={},  # scikit-learn 1.6 fails if it gets None
            error_score="raise",
        )


def test_ids_forgotten_for_the_splitter_raise(routing, linear_table):
    t = linear_table
    search = GridSearchCV(make_pipe(), STEPS, cv=GroupKFold(2))
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        search.fit(t.X, t.y, task=t.ids)


def test_with_routing_off_a_pipeline_refuses_ids(linear_table):
    t = linear_table
    with pytest.raises((ValueError, TypeError), match="task"):
        make_pipe().fit(t.X, t.y, task=t.ids)


def test_with_routing_off_a_search_refuses_ids(linear_table):
    t = linear_table
    search = GridSearchCV(make_pipe(), STEPS, cv=3, error_score="raise")
    with pytest.raises((ValueError, TypeError), match="task"):
        search.fit(t.X, t.y, task=t.ids)


def test_with_routing_off_the_few_shot_scorer_raises(linear_table):
    t = linear_table
    search = GridSearchCV(
        make_pipe(max_iter=2),
        STEPS,
        cv=GroupKFold(2),
        scoring=few_shot_scorer(),
        error_score="raise",
    )
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        search.fit(t.X, t.y, groups=t.ids, reptileregressor__task=t.ids)


def test_with_routing_off_an_ordinary_score_in_a_search_warns(linear_table):
    t = linear_table
    search = GridSearchCV(make_pipe(max_iter=2), STEPS, cv=GroupKFold(2))
    with pytest.warns(ZeroShotWarning):
        search.fit(t.X, t.y, groups=t.ids, reptileregressor__task=t.ids)


def test_with_routing_off_a_pipeline_drops_ids_in_score_and_so_warns(linear_table):
    t = linear_table
    pipe = make_pipe().fit(t.X, t.y, reptileregressor__task=t.ids)
    with pytest.warns(ZeroShotWarning):
        pipe.score(t.X, t.y, task=t.ids)


def test_importing_skmeta_leaves_routing_off():
    assert sklearn.get_config()["enable_metadata_routing"] is False


@pytest.mark.parametrize("call", ["search", "score", "predict"])
def test_groups_that_reach_only_the_splitter_warn(call, linear_table):
    t, cv = linear_table, GroupKFold(2)
    with pytest.warns(UserWarning, match="fitted to all rows as one task"):
        if call == "search":
            GridSearchCV(make_pipe(max_iter=2), STEPS, cv=cv).fit(
                t.X, t.y, groups=t.ids
            )
        else:
            validate = cross_val_score if call == "score" else cross_val_predict
            validate(make_pipe(max_iter=2), t.X, t.y, groups=t.ids, cv=cv)


def test_a_base_model_among_groups_is_fitted_to_all_rows_in_silence(linear_table):
    t = linear_table
    base = ReptileRegressor(max_iter=2, random_state=0)
    model = make_pipeline(ReptileRegressor(max_iter=2, base_estimator=base))
    ids = {"reptileregressor__task": t.ids}
    with pytest.warns(ZeroShotWarning):
        cross_val_score(model, t.X, t.y, groups=t.ids, cv=GroupKFold(2), params=ids)


# -- bad ids --------------------------------------------------------------------------


def shuffled(ids):
    order = np.random.default_rng(0).permutation(len(ids))
    return pd.Series(ids).iloc[order]


def test_ids_in_another_order_than_the_rows_are_refused(regressor, linear_table):
    X, y = pd.DataFrame(linear_table.X), pd.Series(linear_table.y)
    ids = shuffled(linear_table.ids)
    message = r"X and task have different row labels.*task.loc\[X.index\]"
    with pytest.raises(ValueError, match=message):
        ReptileRegressor().fit(X, y, task=ids)
    with pytest.raises(ValueError, match=message):
        regressor.score(X, y, task=ids)
    with pytest.raises(ValueError, match=message):
        few_shot_scores(regressor, X, y, ids)
    with pytest.raises(ValueError, match=message):
        few_shot_scorer()(regressor, X, y, task=ids)


def test_the_scorer_sees_ids_in_another_order_even_behind_a_pipeline(
    routing, linear_table
):
    X = pd.DataFrame(linear_table.X)
    with pytest.raises(ValueError, match="different row labels"):
        cross_val_score(
            make_pipe(max_iter=2),
            X,
            linear_table.y,
            cv=by_task(),
            scoring=few_shot_scorer(),
            params={"task": shuffled(linear_table.ids)},
            error_score="raise",
        )


def test_targets_in_another_order_than_the_rows_are_refused(linear_table):
    X = pd.DataFrame(linear_table.X)
    with pytest.raises(ValueError, match="X and y have different row labels"):
        ReptileRegressor().fit(X, shuffled(linear_table.y), task=linear_table.ids)


def test_aligned_or_unlabelled_ids_are_welcome(linear_table):
    X = pd.DataFrame(linear_table.X).iloc[::-1]
    ids = pd.Series(linear_table.ids).iloc[::-1]
    models = [
        ReptileRegressor(max_iter=2, random_state=0).fit(X, linear_table.y, task=task)
        for task in (ids, ids.to_numpy(), list(ids))
    ]
    assert_array_equal(models[0].coef_, models[1].coef_)
    assert_array_equal(models[0].coef_, models[2].coef_)


def missing(kind):
    """Twelve ids; the seventh is missing."""
    text = [*"aabbcc", None, *"ddeef"]
    number = np.r_[np.repeat([1.0, 2.0, 3.0], 2), np.nan, np.repeat([4.0], 5)]
    return {
        "None in a list": lambda: text,
        "nan in a list": lambda: [*"aabbcc", float("nan"), *"ddeef"],
        "float array": lambda: number,
        "float32 array": lambda: number.astype(np.float32),
        "list of float32": lambda: list(number.astype(np.float32)),
        "object array": lambda: np.array(text, dtype=object),
        "datetimes": lambda: np.array(number, dtype="datetime64[s]"),
        "list of datetimes": lambda: list(np.array(number, dtype="datetime64[s]")),
        "Series": lambda: pd.Series(text),
        "category": lambda: pd.Series(text, dtype="category"),
        "Int64": lambda: pd.Series(number).astype("Int64"),
        "string": lambda: pd.Series(text, dtype="string"),
        "NaT": lambda: pd.to_datetime(pd.Series(number)),
        "NA in a list": lambda: [*"aabbcc", pd.NA, *"ddeef"],
    }[kind]()


@pytest.mark.parametrize(
    "kind",
    [
        "None in a list",
        "nan in a list",
        "float array",
        "float32 array",
        "list of float32",
        "object array",
        "datetimes",
        "list of datetimes",
        "Series",
        "category",
        "Int64",
        "string",
        "NaT",
        "NA in a list",
    ],
)
def test_a_missing_id_is_refused_and_its_row_named(kind, regressor, linear_table):
    X, y = linear_table.X[:12], linear_table.y[:12]
    message = "task has 1 missing ids, the first in row 6"
    with pytest.raises(ValueError, match=message):
        ReptileRegressor().fit(X, y, task=missing(kind))
    with pytest.raises(ValueError, match=message):
        few_shot_scores(regressor, X, y, missing(kind), n_support=1)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (np.arange(239), "task has 239 ids, but X has 240 rows"),
        ([], "task has 0 ids, but X has 240 rows"),
        ("store", r"task='store' is a name.*task=df\['store'\]"),
        (np.zeros((240, 2)), r"one dimension; got shape \(240, 2\)"),
        (3, r"one dimension; got shape \(\)"),
    ],
    ids=["too few", "none", "name", "two columns", "number"],
)
def test_ids_that_are_not_one_per_row_are_refused(
    task, message, regressor, linear_table
):
    X, y = linear_table.X, linear_table.y
    with pytest.raises(ValueError, match=message):
        ReptileRegressor().fit(X, y, task=task)
    with pytest.raises(ValueError, match=message):
        regressor.score(X, y, task=task)
    with pytest.raises(ValueError, match=message):
        few_shot_scores(regressor, X, y, task)


def test_ids_may_stand_in_a_column(linear_table):
    t = linear_table
    a, b = (
        ReptileRegressor(max_iter=2, random_state=0).fit(t.X, t.y, task=ids).coef_
        for ids in (t.ids, t.ids[:, None])
    )
    assert_array_equal(a, b)
