"""Every warning of the package names the line of the user's code that led to it.

A case below is a function that leads to a warning by the line marked with "warns". The
calls that warn are found in the source, so that a new one without a case fails.
"""

import ast
import functools
import io
import linecache
import pickle
import sys
import types
import warnings
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skmeta
from skmeta import (
    ChosenBase,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    PrototypicalClassifier,
    ReptileRegressor,
    TaskBank,
    _warn,
)
from skmeta._core.prior.features import FeatureSearch
from skmeta.metrics import choice_log_loss
from skmeta.model_selection import (
    compare_baselines,
    few_shot_predict,
    few_shot_scores,
    make_few_shot_scorer,
)
from skmeta.reptile import PAPER_MODE

PACKAGE = Path(skmeta.__file__).parent
MARK = "# warns"


# -- where the package warns, and what a case leads to --------------------------------


def calls_that_warn():
    """Path, first and last line of each call of `warn` or `warn_once_per_search`."""
    for path in PACKAGE.rglob("*.py"):
        if path == Path(_warn.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "id", None)
            if name in ("warn", "warn_once_per_search"):
                yield str(path), node.lineno, node.end_lineno


def line_that_warns(frame):
    while frame.f_code.co_filename == _warn.__file__:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


@functools.cache
def led_to(case):
    """For each warning of a case, the line that warns, the line named, and the text."""
    found = []

    def warn(message, category, stacklevel):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn(message, category, stacklevel=stacklevel + 1)
        (one,) = caught
        named = one.filename, linecache.getline(one.filename, one.lineno)
        found.append((line_that_warns(sys._getframe(1)), *named, str(message)))

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(_warn, "warnings", types.SimpleNamespace(warn=warn))
        case(patch)
    return found


# -- tables of a few rows -------------------------------------------------------------

N_TASKS, N_ROWS = 12, 5
rng = np.random.default_rng(0)
X = rng.normal(size=(N_TASKS * N_ROWS, 2))
ids = np.repeat(np.arange(N_TASKS), N_ROWS)
y = X[:, 0] + rng.normal(size=N_TASKS)[ids] + 0.3 * rng.normal(size=len(ids))
tasks = [(X[ids == t], y[ids == t]) for t in range(N_TASKS)]
ragged = [(X[:2], y[:2]), *tasks[1:]]
X_ragged = np.concatenate([X for X, _ in ragged])
y_ragged = np.concatenate([y for _, y in ragged])
ids_ragged = ids[3:]

CASES, WAYS = [], []


def case(function):
    """A function that leads to a warning by the ordinary verb."""
    CASES.append(function)
    return function


def way(function):
    """A function that leads to a warning in another way."""
    WAYS.append(function)
    return function


def prior(**params):
    return EmpiricalBayesRegressor("intercept", random_state=0, **params)


def ranker(**params):
    return EmpiricalBayesRanker("isotropic", random_state=0, **params)


# one of the five offers of each task is chosen
chosen = (np.arange(len(ids)) % N_ROWS == ids % N_ROWS) * 1.0


class RankerWithoutWeights(BaseEstimator):
    def fit(self, X, y, group):
        return self

    def predict(self, X):
        return X[:, 0]


def reptile(**params):
    return ReptileRegressor(max_iter=3, random_state=0, **params)


def plain(**params):
    """Reptile as in the paper, which has no safeguards."""
    params = PAPER_MODE | {"solver": "sgd", "max_iter": 30, "batch_size": 3} | params
    return ReptileRegressor(random_state=0, **params)


@functools.cache
def trained(n_tasks=N_TASKS):
    return prior().meta_fit(tasks[:n_tasks])


def prior_of_features():
    return EmpiricalBayesRegressor(features=LearnedFeatures((2,)))


def found_too_short(*args):
    found = FeatureSearch(*args)
    found.too_short = True
    return found


def best_but_improving(training, ways, constant):
    return replace(training.on_all_tasks(ways[0]), improving=True)


def saved_by_another_version(dump):
    file = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skmeta._base.__version__", "0.0.1")
        dump(trained(), file)
    return file.getvalue()


@functools.cache
def trained_pipeline():
    return skmeta.meta_fit(make_pipeline(StandardScaler(), prior()), tasks)


# -- a case for each call that warns --------------------------------------------------


@case
def ranks_of_which_one_may_be_the_best(patch):
    ranks = 1 + np.arange(len(ids)) % N_ROWS
    ranker().fit(X, ranks, task=ids, choice_set=ids)  # warns


@case
def labels_of_sets_forgotten(patch):
    several = np.arange(len(ids)) % N_ROWS < 2
    ranker().fit(X, several, task=ids)  # warns


@case
def labels_that_start_anew_in_each_task(patch):
    screen = np.tile(np.repeat([0, 1], 3), 6)
    ranker().fit(X[:36], np.tile([1, 0, 0], 12), choice_set=screen)  # warns


@case
def sets_that_say_nothing(patch):
    none = np.where(ids == 0, 0.0, chosen)
    ranker().fit(X, none, task=ids, choice_set=ids)  # warns


@case
def columns_that_change_no_choice(patch):
    same = np.column_stack([X, ids])
    ranker().fit(same, chosen, task=ids, choice_set=ids)  # warns


@case
def a_base_ranker_without_weights(patch):
    model = ranker(base_estimator=RankerWithoutWeights())
    model.fit(X, chosen, 1 + ids % 2, task=ids, choice_set=ids)  # warns


@case
def a_score_of_a_ranker_that_is_not_adapted(patch):
    model = ranker().fit(X, chosen, task=ids // 3, choice_set=ids)
    model.score(X, chosen, choice_set=ids)  # warns


@case
def weights_of_classes_that_no_task_has(patch):
    model = PrototypicalClassifier(class_weight={9: 2.0})
    model.fit(X, ids % 2, task=ids // 3)  # warns


@case
def ids_of_two_kinds(patch):
    mixed = np.array([*ids[:-5].tolist(), *["11"] * 5], dtype=object)
    prior().fit(X, y, task=mixed)  # warns


@case
def ids_that_differ_by_spaces(patch):
    names = [f"{i} " if row % 2 else f"{i}" for row, i in enumerate(ids)]
    prior().fit(X, y, task=names)  # warns


@case
def ids_with_a_fraction(patch):
    prior().fit(X, y, task=ids / 2)  # warns


@case
def ids_that_are_too_large_for_floats(patch):
    prior().fit(X, y, task=ids + 2.0**53)  # warns


@case
def an_id_for_each_row(patch):
    many = np.tile(X, (4, 1)), np.tile(y, 4)
    prior().fit(*many, task=np.arange(4 * len(y)))  # warns


@case
def a_value_far_from_the_others(patch):
    far = np.where(np.arange(len(X))[:, None] == 3, 1e9, X)
    prior().fit(far, y, task=ids)  # warns


@case
def groups_that_only_the_splitter_sees(patch):
    search = GridSearchCV(prior(), {}, cv=GroupKFold(2))
    search.fit(X, y, groups=ids)  # warns


@case
def scoring_a_model_that_is_not_adapted(patch):
    trained().score(X, y)  # warns


@case
def a_scorer_of_a_model_that_is_not_adapted(patch):
    get_scorer("r2")(trained(), X, y)  # warns


@case
def sets_of_two_tasks_with_one_label(patch):
    choice_log_loss([1, 0, 1, 0] * 2, [0.25] * 8, choice_set=[*"aabb"] * 2)  # warns


@case
def choice_sets_that_cannot_be_scored(patch):
    place = np.arange(len(ids)) % N_ROWS
    best, sets = np.isin(place, [0, 3]), place // 3
    model = ranker().fit(X, best, task=ids, choice_set=sets)
    best[:3] = False
    few_shot_scores(model, X, best, ids, choice_set=sets, n_support=1)  # warns


@case
def a_choice_set_that_says_nothing(patch):
    choice_log_loss([1, 0, 0], [0.5, 0.5, 1.0], choice_set=["a", "a", "b"])  # warns


@case
def a_base_model_that_predicts_no_positive_rate(patch):
    base = DummyRegressor(strategy="constant", constant=-1.0)
    model = EmpiricalBayesPoissonRegressor("intercept", base_estimator=base)
    model.fit(X, np.arange(len(y)) % 3, task=ids)  # warns


@case
def a_base_model_that_takes_no_weights(patch):
    model = prior(base_estimator=KNeighborsRegressor())
    model.fit(X, y, np.linspace(0.5, 1.5, len(y)), task=ids)  # warns


@case
def a_choice_among_base_models_of_few_tasks(patch):
    prior(base_estimator="auto").meta_fit(tasks[:3])  # warns


@case
def base_models_to_choose_that_take_no_sparse_rows(patch):
    candidates = {"boosting": HistGradientBoostingRegressor(max_iter=2)}
    model = prior(base_estimator=ChosenBase(candidates=candidates))
    model.fit(sparse.csr_array(X), y, task=ids)  # warns


@case
def a_model_of_another_version(patch):
    pickle.loads(saved_by_another_version(pickle.dump))  # warns


@case
def learned_features_of_few_tasks(patch):
    prior_of_features().meta_fit(tasks[:3])  # warns


@case
def more_columns_than_rows(patch):
    prior().meta_fit([(np.eye(2, 9), y[:2]), (np.eye(2, 9, 2), y[2:4])])  # warns


@case
def few_rows_for_each_coefficient(patch):
    prior().meta_fit([(X[:3], y[:3]), (X[3:6], y[3:6])])  # warns


@case
def features_that_would_gain_from_longer_runs(patch):
    patch.setattr("skmeta._core.prior.learn.search_features", found_too_short)
    waves = skmeta.datasets.make_sinusoid_tasks(30, 12, random_state=0)
    features = LearnedFeatures(8, learning_rate=0.02, max_iter=60)
    EmpiricalBayesRegressor(features=features, random_state=0).meta_fit(waves)  # warns


@case
def a_network_that_would_gain_from_longer_training(patch):
    core = "skmeta._core.descent.courses."
    patch.setattr(core + "Training.on_the_best", best_but_improving)
    reptile().meta_fit(tasks)  # warns


@case
def a_search_that_takes_long(patch):
    patch.setattr("skmeta._core.prior.duration.WORTH_TIMING", 1.0)
    machine = "skmeta._core.prior.duration._multiplications_per_second"
    patch.setattr(machine, lambda: 1.0)
    EmpiricalBayesRegressor("full", max_iter=1).meta_fit(tasks)  # warns


@case
def light_weights_of_the_learned_prior(patch):
    prior().fit(X, y, np.full(len(y), 1e-3), task=ids)  # warns


@case
def tasks_of_one_row(patch):
    prior().fit(X[::5], y[::5], task=ids[::5])  # warns


@case
def a_search_that_is_cut_short(patch):
    EmpiricalBayesRegressor("full", max_iter=1).meta_fit(tasks)  # warns


@case
def levels_without_noise(patch):
    prior().fit(X, X[:, 0] + ids, task=ids)  # warns


@case
def adapting_a_model_of_one_task(patch):
    model = prior().fit(X, y)
    model.adapt(X[:3], y[:3])  # warns


@case
def intervals_that_rest_on_few_tasks(patch):
    trained(3).predict_interval(X)  # warns


@case
def intervals_without_rows_to_tell_the_noise(patch):
    wide = np.random.default_rng(0).normal(size=(6, 5))
    model = EmpiricalBayesRegressor().fit(wide, y[:6])
    model.predict_interval(wide)  # warns


@case
def tasks_too_small_to_be_scored(patch):
    few_shot_scores(trained(), X_ragged, y_ragged, ids_ragged, n_support=2)  # warns


@case
def a_metric_of_a_single_row(patch):
    few_shot_scores(trained(), X, y, ids, n_support=4, scoring="r2")  # warns


@case
def a_metric_that_takes_no_weights(patch):
    def largest(model, X, y):
        return -np.abs(model.predict(X) - y).max()

    options = {"sample_weight": 1 + ids % 2, "scoring": largest, "n_support": 2}
    few_shot_scores(trained(), X, y, ids, **options)  # warns


@case
def columns_in_raw_units(patch):
    reptile(standardize=False).meta_fit([(1e4 * X, y) for X, y in tasks])  # warns


@case
def light_weights_of_reptile(patch):
    reptile().fit(X, y, np.full(len(y), 1e-3), task=ids)  # warns


@case
def meta_training_that_diverges(patch):
    plain(learning_rate=2.5).meta_fit(tasks)  # warns


@case
def adapting_that_diverges(patch):
    model = plain(learning_rate=0.01).meta_fit(tasks)
    model.set_params(learning_rate=30.0)
    model.adapt(X[:3], y[:3])  # warns


@case
def ids_of_another_type_than_those_of_a_bank(patch):
    bank = TaskBank(prior().meta_fit(tasks)).update(X, y, task=ids)
    bank.predict(X, task="1")  # warns


@case
def intervals_that_no_rows_have_shown(patch):
    statistics = skmeta.TaskStatistics.from_rows(X, y, ids % 6)
    prior().meta_fit(statistics).predict_interval(X[:2])  # warns


# -- other ways than the ordinary verb ------------------------------------------------


@way
def meta_fit_of_a_pipeline(patch):
    model = make_pipeline(StandardScaler(), prior())
    skmeta.meta_fit(model, [(X[:3], y[:3]), (X[3:6], y[3:6])])  # warns


@way
def fit_of_a_pipeline(patch):
    model = make_pipeline(StandardScaler(), prior())
    model.fit(X, y, empiricalbayesregressor__task=ids / 2)  # warns


@way
def meta_fit_of_a_target_transformer(patch):
    model = TransformedTargetRegressor(prior(), transformer=StandardScaler())
    skmeta.meta_fit(model, [(X[:3], y[:3]), (X[3:6], y[3:6])])  # warns


@way
def a_search_by_an_ordinary_scorer(patch):
    with sklearn.config_context(enable_metadata_routing=True):
        cv = GroupKFold(2).set_split_request(groups="task")
        pipe = make_pipeline(StandardScaler(), prior())
        search = GridSearchCV(pipe, {}, cv=cv, scoring="r2")
        search.fit(X, y, task=ids)  # warns


@case
def rows_in_order_of_time_drawn_at_random(patch):
    in_order = np.column_stack([X, np.tile(np.arange(N_ROWS), N_TASKS)])
    prior().fit(in_order, y, task=ids)  # warns


@case
def a_base_model_of_rows_in_order_of_time(patch):
    model = prior(row_order="time", base_estimator=DummyRegressor())
    model.fit(X, y, task=ids)  # warns


@way
def scores_of_rows_in_order_of_time(patch):
    in_order = np.column_stack([X, np.tile(np.arange(N_ROWS), N_TASKS)])
    model = prior(row_order="time").fit(in_order, y, task=ids)
    model.row_order = "random"
    few_shot_scores(model, in_order, y, ids, n_support=2)  # warns


@case
def predictions_of_short_tasks(patch):
    few_shot_predict(prior(), X_ragged, y_ragged, task=ids_ragged, cv=2)  # warns


@case
def predictions_of_rows_alone_in_their_class(patch):
    model = PrototypicalClassifier().fit(X, ids % 2, task=ids)
    own = np.where(np.arange(len(y)) == 0, "other", "usual")
    few_shot_predict(FrozenEstimator(model), X, own, task=ids)  # warns


@way
def a_search_by_few_shot_scores(patch):
    with sklearn.config_context(enable_metadata_routing=True):
        cv = GroupKFold(2).set_split_request(groups="task")
        scoring = make_few_shot_scorer("r2", n_support=2)
        search = GridSearchCV(prior(), {}, cv=cv, scoring=scoring)
        search.fit(X_ragged, y_ragged, task=ids_ragged)  # warns


@way
def few_shot_scores_of_a_pipeline(patch):
    options = {"task": ids_ragged, "n_support": 2}
    few_shot_scores(trained_pipeline(), X_ragged, y_ragged, **options)  # warns


@way
def a_few_shot_scorer(patch):
    scorer = make_few_shot_scorer("r2", n_support=2)
    scorer(trained(), X_ragged, y_ragged, task=ids_ragged)  # warns


@way
def a_comparison_with_baselines(patch):
    options = {"task": ids / 2, "n_support": 2, "cv": 2, "baselines": ["support mean"]}
    compare_baselines(prior(), X, y, **options)  # warns


@way
def scoring_with_ids(patch):
    trained().score(X, y, task=np.repeat([0, 1], [4, len(y) - 4]))  # warns


@way
def permutation_importance_of_an_unadapted_model(patch):
    permutation_importance(trained(), X, y, n_repeats=1)  # warns


@way
def adapting_a_frozen_pipeline(patch):
    model = make_pipeline(StandardScaler(), prior()).fit(X, y)
    skmeta.adapt(FrozenEstimator(model), X[:3], y[:3])  # warns


@way
def an_adapter_of_few_shots(patch):
    model = prior().fit(X, y)
    skmeta.FewShotRegressor(FrozenEstimator(model)).fit(X[:3], y[:3])  # warns


@case
def no_task_is_known(patch):
    prior().fit(X, y, task=ids).predict(X, task="new")  # warns


@way
def adapting_to_many_tasks(patch):
    model = prior().fit(X, y)
    few = slice(0, 10)
    model.adapt_predict(X[few], y[few], X, task=ids[few], task_new=ids % 2)  # warns


@way
def a_saved_model_read_by_joblib(patch):
    joblib.load(io.BytesIO(saved_by_another_version(joblib.dump)))  # warns


# -- the tests ------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*CASES, *WAYS], ids=lambda case: case.__name__)
def test_a_warning_names_the_line_of_the_users_code(case):
    found = led_to(case)
    assert found
    for _, file, line, message in found:
        assert (file, MARK in line) == (__file__, True), f"{message}\n{file}: {line}"


def test_the_package_warns_in_one_way_only():
    """No module but `_warn` touches `warnings.warn`, whose level would be counted."""
    for path in PACKAGE.rglob("*.py"):
        if path != Path(_warn.__file__):
            for node in ast.walk(ast.parse(path.read_text())):
                assert getattr(node, "attr", None) not in ("warn", "warn_explicit"), (
                    path
                )
                assert getattr(node, "arg", None) != "stacklevel", path


def test_each_call_that_warns_has_a_case():
    led = {where for case in CASES for where, *_ in led_to(case)}
    without = [
        f"{path}:{first}"
        for path, first, last in calls_that_warn()
        if not any(path == p and first <= line <= last for p, line in led)
    ]
    assert without == []
