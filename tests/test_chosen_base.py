"""A base model that held-out tasks choose."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.stats import multivariate_t
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmeta import (
    ChosenBase,
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    ReptileClassifier,
    ReptileRegressor,
    _base_choice,
    adapt,
)
from skmeta._base_choice import best, candidates_of, draw_sample
from skmeta._core.prior.episodic import Belief
from skmeta._core.prior.stacks import Stack
from skmeta._targets import Numbers
from skmeta._task_input import GivenRows
from skmeta.chosen_base import numbers_of_rows
from skmeta.model_selection import make_few_shot_scorer

KINDS = [
    EmpiricalBayesRegressor,
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    ReptileRegressor,
    ReptileClassifier,
]
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def tree(kind, **params):
    of = DecisionTreeClassifier if "Class" in kind.__name__ else DecisionTreeRegressor
    return of(min_samples_leaf=10, **params)


def choosing(kind, n_support=2, **candidates):
    """A quick model that chooses between a tree and none, or among other models."""
    quick = {"prior": "isotropic"}
    if kind is EmpiricalBayesRegressor:
        quick |= {"base_target": "y", "noise": "shared"}
    if "Reptile" in kind.__name__:
        quick = {"max_iter": 10, "alpha": 3.0}
    base = ChosenBase(n_support, candidates=candidates or {"tree": tree(kind)})
    return kind(base_estimator=base, random_state=0, **quick)


def curved(kind, n_tasks=24, n=12, seed=0, height=2.0):
    """y depends on |x|, in the same way for all tasks, and on the task's level."""
    rng = np.random.default_rng(seed)
    tasks = []
    for _ in range(n_tasks):
        X = rng.uniform(-2, 2, size=(n, 2))
        y = height * np.abs(X[:, 0]) + 0.5 * rng.normal(size=n) + 0.5 * rng.normal()
        if "Class" in kind.__name__:
            y = np.where(y > height, "much", "little")
        elif "Poisson" in kind.__name__:
            y = rng.poisson(np.exp(0.5 * y))
        tasks.append((X, y))
    return tasks


def stacked(tasks):
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    return X, y, np.repeat(np.arange(len(tasks)), [len(y) for _, y in tasks])


def answers(model, X):
    return getattr(model, "predict_proba", model.predict)(X)


# -- what is chosen -------------------------------------------------------------------


@EVERY
def test_what_is_chosen_is_the_model_with_that_base_model(kind):
    *tasks, (X, y) = curved(kind, 15, 10, height=3.0)
    model = choosing(kind).meta_fit(tasks)
    assert model.base_choice_ == "tree"
    assert model.base_scores_["tree"][2] > model.base_scores_["none"][2]
    same = clone(model).set_params(base_estimator=tree(kind)).meta_fit(tasks)
    assert not hasattr(same, "base_choice_")
    few = [m.adapt(X[:2], y[:2]) for m in (model, same)]
    assert_array_equal(answers(few[0], X), answers(few[1], X))


def test_auto_finds_the_shape_that_all_tasks_share():
    *tasks, (X, y) = curved(EmpiricalBayesRegressor, 17, 10, height=4.0)
    model = EmpiricalBayesRegressor(
        "isotropic", base_estimator="auto", base_target="y", random_state=0
    )
    model.meta_fit(tasks)
    assert list(model.base_scores_) == ["none", "boosting", "forest"]
    assert list(model.base_scores_["none"]) == [0, 1, 2, 4, 8]
    assert model.base_choice_ != "none"
    assert model.adapt(X[:2], y[:2]).score(X[2:], y[2:]) > 0.8


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (EmpiricalBayesRegressor(), ["boosting of y", "forest of y"]),
        (EmpiricalBayesRegressor(base_target="y"), []),
        (EmpiricalBayesClassifier(), ["boosting, offsets"]),
        (EmpiricalBayesClassifier("full"), []),
        (EmpiricalBayesClassifier(fit_intercept=False), []),
        (ReptileClassifier(), []),
    ],
    ids=repr,
)
def test_each_model_has_its_own_candidates(model, more):
    found = candidates_of(model, model._make_targets(), ChosenBase(), False)
    assert [one.label for one in found] == ["none", "boosting", "forest", *more]
    for one in found:
        model.set_params(**one.parameters)


@pytest.mark.parametrize("kind", [EmpiricalBayesRegressor])
def test_where_a_base_model_is_worthless_there_is_mostly_none(kind):
    chosen = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        tasks = []
        for X, _ in curved(kind, 12, 8, seed):
            z = 0.2 * X[:, 0] + rng.normal() + rng.normal(size=len(X))
            tasks.append((X, z if kind is EmpiricalBayesRegressor else z > 0))
        chosen.append(choosing(kind).meta_fit(tasks).base_choice_)
    assert chosen.count("none") >= 2


def test_the_first_candidate_wins_ties():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200, 2))
    table = {"none": first, "level": first + rng.normal(size=(200, 2))}
    table["level"] -= table["level"].mean() - first.mean() - 0.01
    assert best(table, [True, True], "none", 0.5) == "none"
    table["better"] = first + 0.1
    assert best(table, [True, True], "none", 0.5) == "better"
    few = np.array([[1.0, np.nan], [np.nan, np.nan], [1.0, 2.0]])
    assert best({"none": few, "b": few + 1}, [True, True], "none", 0.5) == "b"


@pytest.mark.parametrize("kind", [EmpiricalBayesRegressor])
def test_scores_depend_neither_on_the_order_of_rows_nor_on_ids(kind):
    X, y, task = stacked(curved(kind, 10))
    order = np.random.default_rng(0).permutation(len(y))
    names = np.array([f"t{9 - i}" for i in range(10)])
    model = choosing(kind).fit(X, y, task=task)
    other = choosing(kind).fit(X[order], y[order], task=names[task[order]])
    for label, scores in model.base_scores_.items():
        assert_allclose(
            list(other.base_scores_[label].values()), list(scores.values()), rtol=1e-6
        )


@pytest.mark.parametrize(
    ("n_support", "given"),
    [(0, [0]), (3, [3]), ((1, 8), [1, 2, 4, 8]), ((0, 5), [0, 1, 2, 4, 5])],
)
def test_the_hint_says_after_how_many_rows_candidates_are_compared(n_support, given):
    assert numbers_of_rows(n_support) == given


@pytest.mark.parametrize(
    ("n_support", "given"), [((1, 8), [0, 1, 2]), (3, [0, 3]), (30, [0])]
)
def test_numbers_of_rows_that_no_task_has_are_left_out(n_support, given):
    X, y, task = stacked(curved(EmpiricalBayesRegressor, 10, 4))
    rows = GivenRows(X, y, np.ones(len(y)), task, np.arange(10))
    rng = np.random.RandomState(0)
    sample = draw_sample(rows, Numbers(), numbers_of_rows(n_support), rng)
    assert sample.given == given


# -- scores ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS[:3], ids=lambda kind: kind.__name__)
def test_scores_are_those_of_adapted_models(kind):
    tasks = curved(kind, 6, 8)
    model = kind(prior="isotropic", random_state=0).meta_fit(tasks)
    learned, targets = model._learned, model._frame.targets
    # the same prior in a fold of the last task
    X, y = tasks[-1]
    few, rest = np.arange(3), np.arange(3, 8)
    prior = Belief(learned.mean, learned.factor, learned.noise)

    def stack(rows):
        Y = model._scaling.transform_y(targets.encode(y[rows]).Y)
        columns = learned.design(model._scaling.transform_X(X[rows]))
        return Stack.of([(columns, Y, np.ones(len(rows)), np.zeros_like(Y))])

    score = learned.model.log_score_after(learned, prior, stack(few), stack(rest))
    adapted = model.adapt(X[few], y[few])
    if kind is EmpiricalBayesClassifier:
        right = np.searchsorted(model.classes_, y[rest])
        expected = np.log(adapted.predict_proba(X[rest])[np.arange(5), right]).mean()
    elif kind is EmpiricalBayesPoissonRegressor:
        expected = -0.5 * mean_poisson_deviance(y[rest], adapted.predict(X[rest]))
    else:  # t in all rows together, with deviations before they are raised
        columns = learned.design(model._scaling.transform_X(X[rest]))
        factor = adapted._learned.known(adapted._present).factor
        variance = ((columns @ factor) ** 2).sum(axis=1) + learned.noise
        spread = np.diag(variance) * model._scaling.y_scale**2
        t = multivariate_t(adapted.predict(X[rest]), spread, df=4)
        expected = t.logpdf(y[rest]) / 5 + np.log(model._scaling.y_scale)
    assert_allclose(score, expected, rtol=1e-6)


# -- before adapting ------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_context():
    """Tasks whose level depends on a column that is constant in each of them."""
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(40):
        X = rng.uniform(-2, 2, size=(10, 2))
        X[:, 1] = X[0, 1]
        level = 6 * (abs(X[0, 1]) > 1) + 0.3 * rng.normal()
        tasks.append((X, level + X[:, 0] * rng.normal() + 0.3 * rng.normal(size=10)))
    candidates = {"tree": DecisionTreeRegressor(min_samples_leaf=40)}
    model = EmpiricalBayesRegressor(
        "isotropic",
        base_estimator=ChosenBase(4, candidates=candidates),
        base_target="y",
        random_state=0,
    )
    return tasks, model


def test_another_base_model_may_predict_before_adapting(with_context, monkeypatch):
    (*tasks, (X, y)), model = with_context
    # after four rows none is as good: see to it that it is taken
    monkeypatch.setattr(_base_choice, "ERRORS_AHEAD", 1e9)
    model = clone(model).meta_fit(tasks)
    assert (model.base_choice_, model.zero_shot_) == ("none", "base")
    first = model.zero_shot_model_
    assert_array_equal(first.base_estimator_.get_params()["min_samples_leaf"], 40)
    assert_array_equal(model.predict(X), first.predict(X))
    assert_array_equal(
        model.predict(X, return_std=True), first.predict(X, return_std=True)
    )
    assert_array_equal(model.predict_interval(X), first.predict_interval(X))
    none = clone(model).set_params(base_estimator=None).meta_fit(tasks)
    few, same = model.adapt(X[:3], y[:3]), none.adapt(X[:3], y[:3])
    assert_array_equal(few.predict(X), same.predict(X))
    assert_array_equal(few.reset_adaptation().predict(X), first.predict(X))
    assert_allclose(
        model.adapt_predict(X[:3], y[:3], X, task=np.zeros(3), task_new=np.zeros(10)),
        same.predict(X),
        rtol=1e-10,
    )
    model.set_params(base_estimator=None).meta_fit(tasks)
    assert not hasattr(model, "zero_shot_model_")
    assert not hasattr(model, "base_scores_")


# -- scikit-learn ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EmpiricalBayesRegressor, ReptileClassifier])
def test_it_is_cloned_saved_and_copied(kind):
    *tasks, (X, y) = curved(kind, 8, 8)
    model = clone(choosing(kind)).meta_fit(tasks)
    few = model.adapt(X[:3], y[:3])
    for same in (pickle.loads(pickle.dumps(few)), copy.deepcopy(few)):
        assert_array_equal(answers(same, X), answers(few, X))
        assert same.base_scores_ == model.base_scores_
    assert isinstance(few.base_estimator, ChosenBase)
    clone(kind(base_estimator="auto"))


def test_auto_is_a_value_in_a_grid_through_a_pipeline():
    X, y, task = stacked(curved(EmpiricalBayesRegressor, 10, 8, height=4.0))
    choice = choosing(EmpiricalBayesRegressor).base_estimator
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            make_pipeline(
                StandardScaler(),
                choosing(EmpiricalBayesRegressor).set_params(base_estimator=None),
            ),
            {"empiricalbayesregressor__base_estimator": [None, choice]},
            cv=GroupKFold(2).set_split_request(groups="task"),
            scoring=make_few_shot_scorer("neg_mean_squared_error", n_support=2),
            error_score="raise",
        ).fit(X, y, task=task)
        assert search.best_index_ == 1
        inner = search.best_estimator_[-1]
        assert inner.base_choice_ == "tree"
        assert adapt(search, X[:3], y[:3]).predict(X).shape == y.shape
        grid = GridSearchCV(inner, {"base_estimator__n_support": [1, 4]})
        assert grid.estimator.get_params()["base_estimator__n_support"] == 2


def test_weights_reach_the_scores():
    tasks = curved(EmpiricalBayesRegressor, 8, 8)
    X, y, task = stacked(tasks)
    spoilt = np.concatenate([y, np.full(8, 1e3)])
    more = np.concatenate([X, X[:8]]), spoilt, np.concatenate([task, np.arange(8)])
    weight = np.concatenate([np.ones(64), np.zeros(8)])
    model = choosing(EmpiricalBayesRegressor)
    plain = clone(model).fit(X, y, task=task)
    weighted = model.fit(*more[:2], weight, task=more[2])
    assert weighted.base_scores_ == plain.base_scores_


def test_few_of_many_tasks_and_rows_are_enough_to_choose(monkeypatch):
    kind = EmpiricalBayesRegressor
    *tasks, (X, y) = curved(kind, 40, 12)
    monkeypatch.setattr(_base_choice, "MAX_ROWS", 200)
    monkeypatch.setattr(_base_choice, "MAX_TASK_ROWS", 10)
    monkeypatch.setattr(_base_choice, "MAX_TASKS", 10)
    seen = []

    class Spy(kind):
        def _held_out_scores(self, trial):
            seen.append(trial)
            return super()._held_out_scores(trial)

    model = Spy(**choosing(kind).get_params(deep=False)).meta_fit(tasks)
    assert seen[0].table.n_tasks == 10
    assert seen[0].table.sizes.max() == 10
    same = clone(model).set_params(base_estimator=tree(kind)).meta_fit(tasks)
    few = [m.adapt(X[:2], y[:2]) for m in (model, same)]
    assert_array_equal(few[0].predict(X), few[1].predict(X))


def test_base_models_that_cannot_take_sparse_rows_are_left_out():
    tasks = [(sparse.csr_array(X), y) for X, y in curved(EmpiricalBayesRegressor, 8, 8)]
    kind = EmpiricalBayesRegressor
    candidates = {"tree": tree(kind), "boosting": HistGradientBoostingRegressor()}
    with pytest.warns(UserWarning, match=r"\['boosting'\] cannot take sparse rows"):
        model = choosing(kind, **candidates).meta_fit(tasks)
    assert list(model.base_scores_) == ["none", "tree"]


def test_warm_start_keeps_the_base_model_that_was_chosen():
    tasks = curved(ReptileRegressor, 12)
    model = choosing(ReptileRegressor).set_params(warm_start=True).meta_fit(tasks)
    base, scores = model.base_estimator_, model.base_scores_
    model.meta_fit(tasks)
    assert model.base_estimator_ is base
    assert model.base_scores_ is scores
    other = ReptileRegressor(max_iter=5, warm_start=True).meta_fit(tasks)
    with pytest.raises(ValueError, match="warm_start=True continues"):
        other.set_params(base_estimator="auto").meta_fit(tasks)


# -- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EmpiricalBayesRegressor, ReptileClassifier])
def test_with_too_few_tasks_there_is_no_base_model_and_a_warning(kind):
    tasks = curved(kind, 4, 8)
    model = choosing(kind)
    with pytest.warns(UserWarning, match="needs 5 tasks or more; got 4"):
        model.meta_fit(tasks)
    assert model.base_choice_ == "none"
    assert model.base_scores_ == {}
    assert not hasattr(model, "base_estimator_")


def test_own_labels_of_tasks_leave_nothing_to_choose():
    model = ReptileClassifier(base_estimator="auto", task_classes="own")
    with pytest.raises(ValueError, match="needs labels that all tasks share"):
        model.meta_fit(curved(ReptileClassifier, 8))


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        (ChosenBase((3, 1)), ValueError, "n_support must be"),
        (ChosenBase(-1), ValueError, "n_support"),
        (ChosenBase(candidates={}), ValueError, "no base model to choose"),
        (ChosenBase(candidates={"a": None}), ValueError, "no base model to choose"),
        (ChosenBase(candidates={"a": Ridge}), TypeError, "Pass an instance"),
        (ChosenBase(candidates={1: Ridge()}), TypeError, "names that are str"),
        (ChosenBase(candidates={"a": "tree"}), TypeError, "must be an estimator"),
        (
            ChosenBase(candidates={"a": LogisticRegression()}),
            TypeError,
            "must be a regressor",
        ),
        ("boosting", ValueError, "'auto'"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_and_leave_the_model_as_it_was(choice, error, message):
    tasks = curved(EmpiricalBayesRegressor, 6, 6)
    model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
    before = dict(vars(model.set_params(base_estimator=choice)))
    with pytest.raises(error, match=message):
        model.meta_fit(tasks)
    assert vars(model) == before


def test_the_fit_that_follows_warns_once():
    tasks = curved(EmpiricalBayesRegressor, 6, 6)
    X, y, task = stacked(tasks)
    X[0, 0] = 1e9
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        choosing(EmpiricalBayesRegressor).fit(X, y, task=task)
    assert len([w for w in caught if "Next to it they look the same" in str(w)]) == 1


def test_in_order_of_time_the_first_rows_are_given():
    X, y, task = stacked(curved(EmpiricalBayesRegressor, 8, 6))
    rows = GivenRows(X, y, np.ones(len(y)), task, np.arange(8))
    times = np.arange(len(y))[::-1]
    sample = draw_sample(rows, Numbers(), [2], np.random.RandomState(0), times)
    assert_array_equal(sample.orders, np.broadcast_to(np.arange(6), (8, 1, 6)))
    first = sample.rows.X[sample.rows.starts[:-1]]
    assert {tuple(x) for x in first} == {tuple(X[task == t][-1]) for t in range(8)}
    model = choosing(EmpiricalBayesRegressor).set_params(half_life="auto")
    assert model.fit(X, y, task=task).base_choice_ in ("none", "tree")
