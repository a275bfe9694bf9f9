"""Few-shot scores and comparisons of rankers: choice sets stay whole."""

import numpy as np
import pytest
import sklearn
from scipy import sparse
from scipy.optimize import approx_fprime, check_grad
from scipy.special import log_softmax
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import EmpiricalBayesRanker, EmpiricalBayesRegressor
from skmeta._choice_sets import OFFER
from skmeta._comparing.choices import AdaptedRanker, ConditionalLogit, _Choices
from skmeta.inspection import FewShotCurveDisplay
from skmeta.metrics import choice_log_loss, hit_rate
from skmeta.model_selection import (
    compare_baselines,
    few_shot_scores,
    make_few_shot_scorer,
)

LOSS = "neg_choice_log_loss"


def made_up(n_tasks=12, n_sets=6, outside=False, seed=0, spread=2.0):
    """Shuffled offers of tasks whose tastes differ, in sets of two to four."""
    rng = np.random.RandomState(seed)
    sizes = rng.randint(2, 5, n_tasks * n_sets)
    number = np.repeat(np.arange(len(sizes)), sizes)
    task, taste = number // n_sets, rng.randn(n_tasks, 2) * spread + [2, -1]
    X = rng.randn(len(number), 2)
    utility = (X * taste[task]).sum(axis=1) + rng.gumbel(size=len(number))
    best = np.full(len(sizes), 0.0 if outside else -np.inf)
    np.maximum.at(best, number, utility)
    y = (utility == best[number]).astype(int)
    order = rng.permutation(len(number))
    names = np.array([f"screen {i}" for i in number % n_sets])
    return X[order], y[order], task[order], names[order]


@pytest.fixture(scope="module")
def data():
    X, y, task, sets = made_up(24)
    known = task < 12
    model = EmpiricalBayesRanker("diagonal", random_state=0)
    model.fit(X[known], y[known], task=task[known], choice_set=sets[known])
    return model, X[~known], y[~known], task[~known], sets[~known]


def by_hand(model, X, y, task, sets, n_support, metric, weight=None):
    """One draw per task, with the seeds of `few_shot_scores`, written as a loop."""
    seeds = np.random.RandomState(0).randint(2**31, size=len(np.unique(task)))
    scores = []
    for t, seed in zip(np.unique(task), seeds, strict=True):
        rows = np.flatnonzero(task == t)
        if weight is not None:
            rows = rows[weight[rows] > 0]
        names = list(dict.fromkeys(sets[rows]))
        order = np.random.RandomState(seed).permutation(len(names))
        n_asked = len(names) - n_support
        given, asked = (
            np.concatenate([rows[sets[rows] == names[i]] for i in places])
            for places in (order[n_asked:], order[:n_asked])
        )
        w = {} if weight is None else {"sample_weight": weight[given]}
        adapted = model.adapt(X[given], y[given], choice_set=sets[given], **w)
        w = {} if weight is None else {"sample_weight": weight[asked]}
        scores.append(metric(adapted, X[asked], y[asked], sets[asked], **w))
    return np.array(scores)


def loss(model, X, y, sets, **weight):
    p = model.predict_proba(X, choice_set=sets)
    return -choice_log_loss(y, p, choice_set=sets, **weight)


def hits(k):
    def metric(model, X, y, sets, **weight):
        return hit_rate(y, model.predict(X), choice_set=sets, k=k, **weight)

    return metric


def own(model, X, y, sets, **weight):
    return model.score(X, y, choice_set=sets, **weight)


@pytest.mark.parametrize(
    ("scoring", "metric"),
    [
        (LOSS, loss),
        ("hit_rate", hits(1)),
        ("hit_rate_at_2", hits(2)),
        (make_scorer(hit_rate, k=3), hits(3)),
        (
            make_scorer(
                choice_log_loss,
                response_method="predict_proba",
                greater_is_better=False,
            ),
            loss,
        ),
        (None, own),
        (lambda model, X, y, choice_set: loss(model, X, y, choice_set), loss),
    ],
)
def test_scores_are_those_of_models_adapted_to_whole_sets(data, scoring, metric):
    model, X, y, task, sets = data
    found = few_shot_scores(
        model, X, y, task, choice_set=sets, scoring=scoring, n_support=2, n_repeats=1
    )
    expected = by_hand(model, X, y, task, sets, 2, metric)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-7)


def test_weights_count_in_adapting_and_in_scoring(data):
    model, X, y, task, sets = data
    weight = 1.0 + (sets == "screen 2")
    weight[(sets == "screen 4") & (task == 13)] = 0
    found = few_shot_scores(
        model,
        X,
        y,
        task,
        choice_set=sets,
        sample_weight=weight,
        scoring=LOSS,
        n_support=2,
        n_repeats=1,
    )
    expected = by_hand(model, X, y, task, sets, 2, loss, weight)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-7)


def test_units_of_a_ranker_are_its_choice_sets(data):
    model, X, y, task, sets = data
    options = {"scoring": LOSS, "n_support": 2}
    scores = few_shot_scores(model, X, y, task, choice_set=sets, **options)
    same = few_shot_scores(model, X, y, task, unit=sets, **options)
    np.testing.assert_array_equal(scores, same)
    visit = np.isin(sets, ["screen 0", "screen 1", "screen 2"])
    options |= {"unit": visit, "n_support": 1}
    visits = few_shot_scores(model, X, y, task, choice_set=sets, **options)
    assert visits.shape == scores.shape and (visits != scores).all()
    with pytest.raises(ValueError, match="has offers of several units"):
        few_shot_scores(model, X, y, task, choice_set=sets, unit=np.arange(len(y)))


def test_the_own_score_keeps_sets_whole(data):
    model, X, y, task, sets = data
    scores = few_shot_scores(model, X, y, task, choice_set=sets)
    assert model.score(X, y, task=task, choice_set=sets) == np.mean(scores)
    with pytest.raises(ValueError, match="without choice_set the rows of a task are"):
        model.score(X, y, task=task)


def test_pipelines_and_searches_hand_on_choice_sets():
    X, y, task, sets = made_up(8)
    pipe = make_pipeline(StandardScaler(), EmpiricalBayesRanker("diagonal"))
    scorer = make_few_shot_scorer(LOSS, n_support=2, n_repeats=1)
    cv = GroupKFold(2)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            pipe,
            {"empiricalbayesranker__prior": ["isotropic", "diagonal"]},
            cv=cv.set_split_request(groups="task"),
            scoring=scorer,
            error_score="raise",
        ).fit(X, y, task=task, choice_set=sets)
        found = scorer(search, X, y, task=task, choice_set=sets)
    best = search.best_estimator_
    scaled = best[0].transform(X), y, task
    expected = few_shot_scores(
        best[-1], *scaled, choice_set=sets, scoring=LOSS, n_support=2, n_repeats=1
    )
    assert found == expected.mean()


def test_sets_that_say_nothing_are_neither_given_nor_scored(data):
    model, X, y, task, sets = data
    silent = (task == 14) & np.isin(sets, ["screen 0", "screen 1"])
    y = np.where(silent, 0, y)
    options = {"scoring": LOSS, "n_support": 1}
    with pytest.warns(UserWarning, match=r"2 of 72 choice sets, such as 'screen \d'"):
        scores = few_shot_scores(model, X, y, task, choice_set=sets, **options)
    left = ~silent
    np.testing.assert_array_equal(
        scores,
        few_shot_scores(
            model, X[left], y[left], task[left], choice_set=sets[left], **options
        ),
    )
    with pytest.raises(ValueError, match="None of 72 choice sets says which offer"):
        few_shot_scores(model, X, np.zeros(len(y)), task, choice_set=sets, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choice_set": None}, "without choice_set the rows of a task are one"),
        ({"scoring": "r2"}, "judges single rows.*Take 'neg_choice_log_loss'"),
        ({"scoring": lambda model, X, y: 0}, "judges single rows"),
        ({"n_support": 6}, "the longest has 6 choice sets"),
        (
            {"sample_weight": np.arange(len(made_up(24)[1]))[made_up(24)[2] >= 12]},
            r"Choice set 'screen \d' of task 12 has offers of weight",
        ),
        ({"stratify": True}, "choice_set keeps rows together"),
        ({"choice_set": "screen"}, r"choice_set=df\['screen'\]"),
    ],
)
def test_errors_say_how_to_name_the_sets(data, options, message):
    model, X, y, task, sets = data
    with pytest.raises(ValueError, match=message):
        few_shot_scores(model, X, y, task, **{"choice_set": sets} | options)


@pytest.mark.parametrize("scoring", [None, LOSS])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.repeat("yes", 999), r"y holds 'yes' in row \d+, of task 12"),
        (np.where(np.arange(999) == 5, np.inf, 0), r"y holds inf in row 5, of task"),
    ],
)
def test_preferences_are_finite_numbers(data, scoring, y, message):
    model, X, _, task, sets = data
    options = {"choice_set": sets, "scoring": scoring, "n_support": 2}
    with pytest.raises(ValueError, match=message):
        few_shot_scores(model, X, y[: len(X)], task, **options)


def test_other_models_refuse_choice_sets_and_their_metrics(data):
    _, X, y, task, sets = data
    model = EmpiricalBayesRegressor().fit(X, y, task=task)
    with pytest.raises(ValueError, match=r"takes no choice_set.*pass them as unit"):
        few_shot_scores(model, X, y, task, choice_set=sets)
    with pytest.raises(ValueError, match="'hit_rate' is a metric of choice sets"):
        few_shot_scores(model, X, y, task, scoring="hit_rate")
    with pytest.raises(ValueError, match="takes no choice_set"):
        compare_baselines(model, X, y, task=task, choice_set=sets)


def test_in_order_of_time_earlier_sets_are_given(data):
    model, X, y, task, sets = data
    order = np.lexsort((sets, task))
    rows = X[order], y[order], task[order]
    options = {"choice_set": sets[order], "n_support": 4, "row_order": "time"}
    found = few_shot_scores(model, *rows, **options, n_query=1, n_repeats=1)
    first = np.isin(sets, ["screen 0", "screen 1", "screen 2", "screen 3"])
    given, asked = first & (task == 12), (sets == "screen 4") & (task == 12)
    adapted = model.adapt(X[given], y[given], choice_set=sets[given])
    assert found[0, 0] == pytest.approx(adapted.score(X[asked], y[asked]))
    with pytest.raises(ValueError, match=r"Choice set 'screen \d' of task 12 is in"):
        few_shot_scores(model, X, y, task, choice_set=sets, row_order="time")


# -- comparing ------------------------------------------------------------------------


def test_a_ranker_is_compared_with_conditional_logits():
    outside = True
    X, y, task, sets = made_up(24, 8, outside=outside, spread=5.0)
    found = compare_baselines(
        EmpiricalBayesRanker("diagonal", outside_option=outside),
        X,
        y,
        task=task,
        choice_set=sets,
        n_support=(0, 5),
        pooled=[ConditionalLogit(1.0, outside), ConditionalLogit(10.0, outside)],
        n_repeats=1,
        cv=2,
    )
    assert found.baselines == [
        "equal chances",
        "pooled model",
        "pooled + own model",
        "own model",
    ]
    assert found.advice == {"EmpiricalBayesRanker": "meta-learn"}
    assert "choice sets given" in str(found) and "row" not in str(found)
    assert "after 5 choice sets better by" in found.verdict
    loss = {name: -found.mean(name) for name in found.scores}
    assert loss["equal chances"][0] == loss["own model"][0] == loss["equal chances"][1]
    assert loss["pooled model"][0] == loss["pooled + own model"][0]
    assert loss["pooled + own model"][1] < loss["pooled model"][1]
    assert loss["own model"][1] < loss["equal chances"][1]
    pytest.importorskip("matplotlib")
    ax = FewShotCurveDisplay.from_comparison(found).ax_
    assert ax.get_xlabel() == "choice sets of a new task"
    assert ax.get_ylabel() == "choice log loss, mean over tasks"


@pytest.mark.parametrize(
    "pooled",
    [
        LogisticRegression(),
        LinearRegression(),
        EmpiricalBayesRanker("isotropic"),
    ],
)
def test_any_model_of_utility_may_be_the_pooled_one(pooled):
    X, y, task, sets = made_up(8)
    found = compare_baselines(
        EmpiricalBayesRanker("diagonal"),
        X,
        y,
        task=task,
        choice_set=sets,
        n_support=2,
        baselines=["pooled model"],
        pooled=pooled,
        n_repeats=1,
        cv=2,
    )
    assert -found.mean("pooled model")[0] < np.log(3)
    assert type(pooled).__name__ in found.verdict


def test_rankers_that_disagree_cannot_be_compared():
    X, y, task, sets = made_up(4)
    rankers = [EmpiricalBayesRanker(), EmpiricalBayesRanker(outside_option=True)]
    with pytest.raises(ValueError, match="all rankers that agree in outside_option"):
        compare_baselines(rankers, X, y, task=task, choice_set=sets)


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("ranked", [False, True])
def test_slopes_of_the_conditional_logit_are_those_of_its_likelihood(outside, ranked):
    rng = np.random.RandomState(0)
    offers = np.zeros(9, OFFER)
    offers["set"] = [3, 1, 1, 3, 2, 2, 2, 1, 3]
    offers["value"] = rng.randint(0, 3, 9) if ranked else [1, 0, 0, 0, 0, 1, 0, 1, 0]
    choices, utility = _Choices(offers, outside), rng.randn(9)
    error = check_grad(
        choices.log_likelihood, lambda u: choices.with_slopes(u)[1], utility
    )
    assert error < 1e-5 and approx_fprime(utility, choices.log_likelihood).any()


def test_a_conditional_logit_finds_what_made_the_choices():
    rng = np.random.RandomState(0)
    X, w = rng.randn(3000, 2), np.array([1.0, -2.0])
    utility = (X @ w).reshape(-1, 3) + rng.gumbel(size=(1000, 3))
    y = (utility == utility.max(axis=1, keepdims=True)).ravel()
    sets = np.repeat(np.arange(1000), 3)
    model = ConditionalLogit(penalty=1e-6).fit(X, y, choice_set=sets)
    np.testing.assert_allclose(model.coef_, w, atol=0.2)
    sparse_model = ConditionalLogit(penalty=1e-6)
    sparse_model.fit(sparse.csr_matrix(X), y, choice_set=sets)
    np.testing.assert_allclose(sparse_model.coef_, model.coef_, rtol=1e-4)
    p = AdaptedRanker(lambda X: model.predict(X)[:, None], False).predict_proba(X, sets)
    expected = np.exp(log_softmax(model.predict(X).reshape(-1, 3), axis=1))
    np.testing.assert_allclose(p, expected.ravel())
