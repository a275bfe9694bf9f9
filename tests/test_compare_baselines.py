"""compare_baselines: the same rows for all, baselines as defined, verdicts as found."""

from textwrap import fill

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from scipy.stats import trim_mean, ttest_rel
from scipy.stats.mstats import winsorize
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    adapt,
)
from skmeta._comparing.baselines import logit_offset, variance_ratio
from skmeta._comparing.differences import trimmed
from skmeta._comparing.result import BaselineComparison
from skmeta.datasets import make_episodes, make_linear_tasks
from skmeta.model_selection import compare_baselines

# With a structure and a noise that need not be chosen, a fit is quick.
MODEL = EmpiricalBayesRegressor(prior="diagonal", noise="shared", random_state=0)
SIMPLE = EmpiricalBayesRegressor(prior="intercept", noise="shared", random_state=0)
QUICK = ["support mean", "pooled model", "pooled + offset", "own model", "neighbours"]
FEW = ["pooled model", "pooled + offset"]


def flat(tasks):
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    return X, y, np.repeat(np.arange(len(tasks)), [len(y) for _, y in tasks])


def offset_tasks(n_tasks=40, n_rows=16, spread=2.0, seed=0):
    """Tasks that differ only by an offset."""
    rng = np.random.default_rng(seed)
    tasks = []
    for _ in range(n_tasks):
        X = rng.normal(size=(n_rows, 3))
        y = X @ [1.0, -1.0, 0.5] + spread * rng.normal() + rng.normal(size=n_rows)
        tasks.append((X, y))
    return flat(tasks)


def compare(data, model=MODEL, **options):
    """A quick comparison: few baselines, sizes and folds.

    A prior of 20 tasks or fewer is learned once more without each of them. So 33 tasks
    are quicker than 30, if they are parted into three folds.
    """
    X, y, task = data
    quick = {"baselines": FEW, "n_support": (0, 2, 5), "pooled": Ridge()}
    options = quick | {"cv": 3, "n_repeats": 1} | options
    return compare_baselines(model, X, y, task=task, **options)


# -- verdicts -------------------------------------------------------------------------


def test_meta_learning_is_advised_where_slopes_differ():
    data = flat(make_linear_tasks(40, 16, spread=1.0, random_state=0))
    found = compare(data)
    assert found.advice == {"EmpiricalBayesRegressor": "meta-learn"}
    assert "adapting pays from 2 rows on" in found.verdict


def test_an_offset_is_advised_where_tasks_differ_by_an_offset():
    found = compare(offset_tasks())
    assert found.advice == {"EmpiricalBayesRegressor": "offset"}


@pytest.mark.parametrize(
    "left, share, advice", [(0.02, "100 %", "offset"), (0.5, "95 %", "meta-learn")]
)
def test_an_offset_is_not_enough_if_it_leaves_much_to_gain(left, share, advice):
    """An offset that brings 95 % of a huge gain may still leave twice the error."""
    rng = np.random.default_rng(0)
    shape = (30, 2)
    error = {"pooled model": 11, "pooled + offset": 1, "ours": 1 - left}
    scores = {name: rng.normal(-e, 0.01, size=shape) for name, e in error.items()}
    found = BaselineComparison(scores, ["ours"], [1, 5], np.arange(30), "error")
    assert found.advice == {"ours": advice}
    assert f"an offset per task alone brings {share} of the gain" in found.verdict


def test_an_offset_that_is_overtaken_is_not_enough():
    rng = np.random.default_rng(0)
    error = {"pooled model": [4, 4, 4], "pooled + offset": [1, 1, 1]}
    error["ours"] = [1.5, 1.0, 0.64]
    scores = {
        name: rng.normal(-np.array(e), 0.01, (30, 3)) for name, e in error.items()
    }
    found = BaselineComparison(scores, ["ours"], [1, 5, 15], np.arange(30), "error")
    assert found.advice == {"ours": "meta-learn"}
    assert "does as well with fewer than 15 rows" in found.verdict


def test_a_pooled_model_is_advised_where_tasks_do_not_differ():
    found = compare(offset_tasks(60, spread=0.0))
    assert found.advice == {"EmpiricalBayesRegressor": "pooled"}
    assert "Do not meta-learn here" in found.verdict


def test_another_baseline_is_advised_where_it_is_better():
    rng = np.random.default_rng(0)
    scores = {
        "ours": rng.normal(1.0, 0.1, size=(30, 2)),
        "pooled model": rng.normal(0.0, 0.1, size=(30, 2)),
        "pooled + offset": rng.normal(0.1, 0.1, size=(30, 2)),
        "own model": rng.normal(2.0, 0.1, size=(30, 2)),
    }
    found = BaselineComparison(scores, ["ours"], [1, 5], np.arange(30), "r2")
    assert found.advice == {"ours": "baseline"}
    assert "own model is better still" in found.verdict


def test_a_gain_that_does_not_last_is_no_gain():
    """That it "pays from k rows on" means that it also pays at all larger numbers."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(30, 3))
    scores = {"ours": noise + [1.0, 1.0, -1.0], "pooled model": noise * 0.9}
    found = BaselineComparison(scores, ["ours"], [1, 2, 5], np.arange(30), "r2")
    assert found.advice == {"ours": "pooled"}


def test_a_better_start_is_no_reason_to_adapt():
    """A meta-learner that never moves may be ahead of a poor pooled model."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(30, 1)) + 0.005 * rng.normal(size=(30, 3))
    scores = {"ours": noise + 1.0, "pooled model": noise * 0.9}
    found = BaselineComparison(scores, ["ours"], [0, 2, 5], np.arange(30), "r2")
    assert found.advice == {"ours": "pooled"}
    assert "hardly better than before any row was given" in found.verdict
    # two rows bring a gain, and none would be worse
    scores["ours"] = scores["ours"] + [0.0, 1.0, 1.0]
    found = BaselineComparison(scores, ["ours"], [0, 2, 5], np.arange(30), "r2")
    assert found.advice == {"ours": "meta-learn"}
    assert "from 2 rows on" in found.verdict


def test_with_few_tasks_the_verdict_is_unclear():
    found = compare(flat(make_linear_tasks(4, 16, random_state=0)))
    assert found.advice == {"EmpiricalBayesRegressor": "unclear"}


def test_false_advice_is_rare_where_nothing_differs():
    """At the 2.5 % level, 40 sets of noise seldom get more than four false claims."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(40):
        scores = {"ours": rng.normal(size=(30, 4)), "pooled model": np.zeros((30, 4))}
        found = BaselineComparison(scores, ["ours"], [1, 2, 5, 9], np.arange(30), "r2")
        wrong += found.advice["ours"] not in ("pooled", "unclear")
    assert wrong <= 4


# -- verdicts on y that is transformed -------------------------------------------------


def shops(seed=0, n_tasks=33, n_rows=14):
    """Log sales of shops that differ by a factor; x has the same effect in all."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_rows)
    X = rng.normal(size=(len(task), 2))
    log = rng.normal(size=n_tasks)[task] + X @ [0.5, -0.3]
    return X, log + 0.3 * rng.normal(size=len(task)), task


LOG = {"func": np.log, "inverse_func": np.exp}
OFFSETS = {
    "baselines": ["pooled model", "pooled + offset"],
    "n_support": (0, 5, 10),
}


@pytest.fixture(scope="module")
def advice_on_logs():
    X, log, task = shops()
    return list(compare((X, log, task), SIMPLE, **OFFSETS).advice.values())


@pytest.mark.parametrize(
    "model",
    [
        TransformedTargetRegressor(SIMPLE, **LOG),
        make_pipeline(StandardScaler(), TransformedTargetRegressor(SIMPLE, **LOG)),
        TransformedTargetRegressor(make_pipeline(StandardScaler(), SIMPLE), **LOG),
        TransformedTargetRegressor(  # first the logarithm, then its own scale
            TransformedTargetRegressor(SIMPLE, transformer=StandardScaler()), **LOG
        ),
        GridSearchCV(
            TransformedTargetRegressor(SIMPLE, **LOG),
            {"regressor__standardize": [True]},
            cv=KFold(2),
            scoring="r2",
        ),
    ],
    ids=["outside", "in a pipeline", "around a pipeline", "nested", "in a search"],
)
@pytest.mark.filterwarnings("ignore::skmeta.exceptions.ZeroShotWarning")
def test_behind_a_transformed_target_the_verdict_is_that_of_the_transformed_y(
    model, advice_on_logs
):
    X, log, task = shops()
    found = compare((X, 1e5 * np.exp(log), task), model, **OFFSETS)  # any unit will do
    assert advice_on_logs == list(found.advice.values()) == ["offset"]
    gain, lower, upper = found.gain("EmpiricalBayesRegressor", "pooled + offset")
    assert (np.abs(gain) < 0.06).all()
    assert (upper - lower < 0.2).all()


def test_baselines_behind_a_transformed_target_are_a_plain_loop():
    X, log, task = shops()
    y = np.exp(log)
    model = TransformedTargetRegressor(SIMPLE, **LOG)
    options = {
        "cv": 3,
        "row_order": "time",
        "n_repeats": 1,
        "pooled": LinearRegression(),
    }
    found = compare((X, y, task), model, n_support=(0, 4), **options)
    for train, test in GroupKFold(3).split(X, y, task):
        pooled = LinearRegression().fit(X[train], log[train])
        for t in np.unique(task[test]):
            asked = np.flatnonzero(task == t)[4:]
            error = y[asked] - np.exp(pooled.predict(X[asked]))
            expected = -np.sqrt(np.mean(error**2))
            assert found.scores["pooled model"][t] == pytest.approx(expected)


def test_estimators_that_transform_y_differently_have_baselines_of_their_own():
    X, log, task = shops()
    models = {"raw": SIMPLE, "log": TransformedTargetRegressor(SIMPLE, **LOG)}
    found = compare((X, np.exp(log), task), models, **OFFSETS)
    alone = compare((X, np.exp(log), task), {"log": models["log"]}, **OFFSETS)
    assert "pooled + offset for log" in found.baselines
    np.testing.assert_array_equal(
        found.scores["pooled + offset for log"], alone.scores["pooled + offset"]
    )
    assert found.advice["log"] == alone.advice["log"] == "offset"


def test_predictions_far_outside_stay_finite():
    """The exponential of a ridge regression of three rows may be infinite."""
    rng = np.random.default_rng(0)
    X = rng.standard_cauchy(size=(120, 1)) * 100
    y = np.exp(rng.normal(size=120) + 300)
    model = TransformedTargetRegressor(SIMPLE, **LOG)
    task = np.repeat(np.arange(10), 12)
    found = compare((X, y, task), model, baselines=["own model", "pooled model"])
    assert np.isfinite(found.scores["own model"]).all()


# -- one task does not decide ---------------------------------------------------------


def one_extreme(value, scoring="neg_root_mean_squared_error", n_tasks=40, seed=0):
    """All tasks except one gain a fifth by adapting; that one has score `value`."""
    rng = np.random.default_rng(seed)
    pooled = -np.exp(rng.normal(0, 0.5, size=(n_tasks, 1)) * np.ones(3))
    ours = pooled * np.exp(-0.2 * np.arange(3) + 0.05 * rng.normal(size=(n_tasks, 3)))
    ours[7] = value
    scores = {"ours": ours, "pooled model": pooled}
    return BaselineComparison(scores, ["ours"], [0, 2, 5], np.arange(n_tasks), scoring)


@pytest.mark.parametrize("n_tasks", [15, 40, 200])
@pytest.mark.parametrize(
    "scoring", ["neg_root_mean_squared_error", "neg_log_loss", "r2", "my_metric"]
)
@pytest.mark.parametrize("value", [-1e-9, -1e2, -1e4, -np.inf])
def test_a_single_task_does_not_decide_and_is_named(value, scoring, n_tasks):
    found = one_extreme(value, scoring, n_tasks)
    assert found.advice == {"ours": "meta-learn"}
    assert str(found)
    if value == -1e4:
        task, share = found.deciding_task["ours"]
        assert task == 7
        differences = np.abs(found.scores["ours"] - found.scores["pooled model"])[:, -1]
        assert share == pytest.approx(differences[7] / differences.sum())
        assert (
            f"Task 7 alone has {100 * share:.0f} % of all differences" in found.verdict
        )
    elif value == -1e-9:
        assert found.deciding_task == {"ours": None}


def test_a_gain_in_a_single_task_is_no_gain():
    rng = np.random.default_rng(0)
    pooled = rng.normal(-1, 0.1, size=(40, 1)) * np.ones(3)
    ours = pooled * (1 + 0.001 * rng.normal(size=(40, 3)))
    pooled[3] = -1e4
    found = BaselineComparison(
        {"ours": ours, "pooled model": pooled}, ["ours"], [0, 2, 5], np.arange(40), "r2"
    )
    assert found.advice == {"ours": "pooled"}
    assert found.deciding_task["ours"][0] == 3


def test_a_huge_shop_does_not_turn_the_verdict():
    rng = np.random.default_rng(0)
    n, shop = 33, np.repeat(np.arange(33), 16)
    size = rng.normal(size=n)
    size[0] = 40.0
    level = np.where(np.arange(n) == 0, 3.0, size + 0.5 * rng.normal(size=n))
    X = np.column_stack([size[shop], np.zeros(len(shop))]) + rng.normal(
        size=(len(shop), 2)
    ) * [0.1, 1.0]
    slope = (0.5 + 0.5 * rng.normal(size=n))[shop]
    y = level[shop] + slope * X[:, 1] + 0.3 * rng.normal(size=len(shop))
    found = compare(
        (X, y, shop),
        EmpiricalBayesRegressor(prior="diagonal", random_state=0),
        n_support=(0, 1, 5),
        baselines=["pooled model"],
    )
    assert found.advice == {"EmpiricalBayesRegressor": "meta-learn"}
    assert found.deciding_task["EmpiricalBayesRegressor"][0] == 0


# -- what the data do not tell --------------------------------------------------------


def made_up(gain, noise, n_tasks=30, scoring="neg_mean_absolute_error", seed=0):
    """Scores of a model that gains from rows, and of a pooled model."""
    rng = np.random.default_rng(seed)
    pooled = -np.exp(rng.normal(size=(n_tasks, 1)) * np.ones(3))
    steps = np.array([0.0, 1.0, 1.0]) * gain
    ours = pooled * np.exp(-steps + noise * rng.normal(size=(n_tasks, 3)))
    scores = {"ours": ours, "pooled model": pooled}
    return BaselineComparison(scores, ["ours"], [0, 2, 5], np.arange(n_tasks), scoring)


@pytest.mark.parametrize(
    ("gain", "noise", "n_tasks", "advice"),
    [
        (0.10, 0.01, 30, "meta-learn"),
        (0.10, 0.50, 10, "unclear"),
        (0.00, 0.50, 10, "unclear"),
        (0.00, 0.001, 30, "pooled"),
        (0.005, 0.001, 30, "pooled"),  # the gain is clear, but below one per cent
        (-0.10, 0.01, 30, "pooled"),
        (0.10, 0.01, 5, "unclear"),
        (0.00, 0.00, 30, "pooled"),  # all scores are equal
    ],
)
def test_the_verdict_is_unclear_if_the_data_do_not_decide(gain, noise, n_tasks, advice):
    found = made_up(gain, noise, n_tasks, seed=1)
    assert found.advice == {"ours": advice}
    assert ("Do not meta-learn" in found.verdict) == (advice == "pooled")
    assert "nan" not in str(found)


def test_a_number_of_rows_that_few_tasks_can_give_does_not_decide():
    found = made_up(0.1, 0.01, 60)
    for scores in found.scores.values():
        scores[8:, 2] = np.nan
    found.scores["ours"][:8, 2] *= np.exp(np.linspace(-2, 2, 8))
    again = BaselineComparison(
        found.scores, ["ours"], [0, 2, 5], np.arange(60), found.scoring
    )
    assert again.advice == {"ours": "meta-learn"}


def test_scores_that_are_not_defined_leave_the_others():
    found = made_up(0.1, 0.01, 30)
    found.scores["ours"][4] = np.nan
    again = BaselineComparison(
        found.scores, ["ours"], [0, 2, 5], np.arange(30), found.scoring
    )
    assert again.advice == {"ours": "meta-learn"}
    assert again.tasks_ahead("ours", "pooled model")[1].tolist() == [29, 29, 29]


def test_a_worse_mean_is_not_ignored():
    """A model that is better in most tasks and ruins the large ones."""
    rng = np.random.default_rng(0)
    pooled = np.where(np.arange(40) < 30, 1.0, 100.0)[:, None] * np.ones(3)
    factor = np.where(np.arange(40) < 30, 0.5, 1.4)[:, None] ** np.array([0, 1, 1])
    ours = pooled * factor * np.exp(0.01 * rng.normal(size=(40, 3)))
    found = BaselineComparison(
        {"ours": -ours, "pooled model": -pooled},
        ["ours"],
        [0, 2, 5],
        np.arange(40),
        "neg_mean_absolute_error",
    )
    assert found.advice == {"ours": "unclear"}
    assert "the mean over tasks is worse" in found.verdict


def test_the_interval_is_that_of_a_trimmed_mean():
    """SciPy's trimmed t-test of the differences from every end of the interval."""
    rng = np.random.default_rng(0)
    values = rng.standard_t(2, size=40)
    ((mean,), (half,)) = trimmed(values[:, None])
    assert mean == pytest.approx(trim_mean(values, 0.05))
    for end in (mean - half, mean + half):  # Yuen's test against a constant
        winsorised = np.asarray(winsorize(values, (0.05, 0.05)))
        error = winsorised.std(ddof=1) / (0.9 * np.sqrt(40))
        assert 2 * stats.t.sf(abs(mean - end) / error, 35) == pytest.approx(0.05)


# -- advice that can be followed ------------------------------------------------------


def test_the_offset_that_is_advised_is_confirmed():
    data = offset_tasks(33, 14)
    options = {"baselines": ["pooled model", "pooled + offset"], "n_support": (0, 4, 9)}
    found = compare(data, SIMPLE, **options)
    assert found.advice == {"EmpiricalBayesRegressor": "offset"}
    assert "prior='intercept'" in found.verdict
    assert "base_estimator=this comparison's pooled_model, base_target='y'" in (
        found.verdict
    )
    advised = clone(SIMPLE).set_params(
        base_estimator=found.pooled_model, base_target="y"
    )
    again = compare(data, {"advised": advised}, **options)
    # adapting pays, and the model is an offset
    assert again.advice == {"advised": "offset"}
    _, lower, upper = again.gain("advised", "pooled + offset")
    assert (lower[1:] > -0.04).all()
    assert (upper[1:] > -0.01).all()


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array])
def test_the_pooled_model_is_given_with_its_scaling_and_in_words(layout):
    X, y, task = offset_tasks(12, 12)
    labels = np.where(y > 0, "many", "few")
    model = EmpiricalBayesClassifier(prior="intercept", random_state=0)
    options = {"baselines": ["pooled model"], "n_support": (0, 4), "pooled": None}
    options["cv"] = 2
    found = compare((layout(X), labels, task), model, **options)
    assert "The pooled model is a logistic regression (LogisticReg" in found.verdict
    scaler, linear = (step for _, step in found.pooled_model.steps)
    assert scaler.with_mean is (layout is np.asarray)
    assert isinstance(linear, LogisticRegression)
    assert not hasattr(linear, "coef_")


def test_the_pooled_model_is_named_by_its_type_where_the_user_gave_it():
    found = compare(offset_tasks(12, 12), SIMPLE, **OFFSETS)
    assert isinstance(found.pooled_model[-1], Ridge)
    assert "The pooled model is Ridge()." in found.verdict
    bare = compare(
        offset_tasks(12, 12), SIMPLE, baselines=["support mean"], pooled=None
    )
    assert bare.pooled_model is None
    assert "The pooled model" not in bare.verdict


# -- scores against a plain loop ------------------------------------------------------


def test_scores_are_those_of_a_plain_loop_over_folds_tasks_and_sizes():
    X, y, task = data = flat(make_linear_tasks(9, 8, random_state=0))
    sizes = (0, 2, 5)
    found = compare(data, n_support=sizes, cv=3, row_order="time", n_repeats=1)
    expected = np.zeros((9, 3))
    for train, test in GroupKFold(3).split(X, y, task):
        model = clone(MODEL).fit(X[train], y[train], task=task[train])
        for t in np.unique(task[test]):
            rows = np.flatnonzero(task == t)
            for column, k in enumerate(sizes):
                given, asked = rows[:k], rows[5:]
                one = model.adapt(X[given], y[given]) if k else model
                error = y[asked] - one.predict(X[asked])
                expected[t, column] = -np.sqrt(np.mean(error**2))
    assert found.scores["EmpiricalBayesRegressor"] == pytest.approx(expected)


def test_a_given_pooled_model_is_scikit_learns_own():
    X, y, task = data = flat(make_linear_tasks(9, 8, random_state=0))
    found = compare(
        data,
        n_support=(0, 4),
        cv=3,
        row_order="time",
        n_repeats=1,
        pooled=LinearRegression(),
    )
    for train, test in GroupKFold(3).split(X, y, task):
        model = LinearRegression().fit(X[train], y[train])
        for t in np.unique(task[test]):
            asked = np.flatnonzero(task == t)[4:]
            error = y[asked] - model.predict(X[asked])
            expected = -np.sqrt(np.mean(error**2))
            assert found.scores["pooled model"][t] == pytest.approx(expected)


def test_with_all_rows_of_one_task_the_own_model_is_ridge():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 30, 2))
    y = X @ [1.0, 2.0] + 0.01 * rng.normal(size=(30, 30))
    data = flat(list(zip(X, y, strict=True)))
    found = compare(data, SIMPLE, n_support=20, baselines=["own model"])
    own = found.scores["own model"]
    assert own.shape == (30, 1)
    assert np.abs(own).max() < 0.05


def test_variance_ratio_is_that_of_the_model_it_estimates():
    rng = np.random.default_rng(0)
    errors = [rng.normal() * 2 + 3 * rng.normal(size=50) for _ in range(2000)]
    assert variance_ratio(errors) == pytest.approx(9 / 4, rel=0.1)


def test_logit_offset_is_a_penalised_logistic_intercept():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=60)
    y = (rng.random(60) < 0.8).astype(int)
    raw = np.column_stack([np.zeros(60), margin])
    offset = logit_offset(raw, np.eye(2)[y], penalty=0.5)
    # two offsets with penalty c each are one of their difference with penalty c / 2
    grid = np.linspace(-3, 3, 60001)
    p = 1 / (1 + np.exp(-(margin[:, None] + grid)))
    loss = -np.log(np.where(y[:, None] == 1, p, 1 - p)).sum(axis=0) + grid**2 / 8
    assert offset[1] - offset[0] == pytest.approx(grid[loss.argmin()], abs=2e-4)


def test_differences_are_paired_and_their_intervals_are_those_of_a_t_test():
    found = compare(flat(make_linear_tasks(33, 14, random_state=0)), SIMPLE)
    mean, half = found.difference("EmpiricalBayesRegressor", "pooled model")
    a, b = found.scores["EmpiricalBayesRegressor"], found.scores["pooled model"]
    for column in range(1, len(found.n_support)):
        test = ttest_rel(a[:, column], b[:, column]).confidence_interval(0.95)
        assert mean[column] - half[column] == pytest.approx(test.low)
        assert mean[column] + half[column] == pytest.approx(test.high)


def test_a_task_takes_part_for_the_numbers_of_rows_that_it_can_give():
    X, y, task = flat(make_linear_tasks(12, 12, random_state=0))
    keep = (task > 0) | (np.arange(len(y)) < 4)  # the first task has four rows
    sizes = {"n_support": (0, 1, 2, 5, 10)}
    found = compare((X[keep], y[keep], task[keep]), SIMPLE, **sizes)
    missing = np.isnan(found.scores["EmpiricalBayesRegressor"])
    assert missing[0].tolist() == [False, False, False, True, True]
    assert not missing[1:].any()


def test_the_result_does_not_depend_on_jobs():
    data = flat(make_linear_tasks(10, 12, random_state=0))
    one, two = (compare(data, SIMPLE, n_jobs=n, n_repeats=2) for n in (None, 2))
    for name, scores in one.scores.items():
        np.testing.assert_array_equal(scores, two.scores[name])


# -- kinds of data and models ---------------------------------------------------------


def test_all_baselines_run_on_classification_and_know_the_classes():
    data = flat(make_linear_tasks(10, 10, kind="classification", random_state=0))
    labels = np.array(["no", "yes"])[data[1]]
    found = compare_baselines(
        EmpiricalBayesClassifier(prior="intercept", random_state=0),
        data[0],
        labels,
        task=data[2],
        n_support=(0, 5),
        cv=2,
        n_repeats=1,
    )
    assert found.scoring == "neg_log_loss"
    assert found.baselines == [*QUICK, "fine-tuned network"]
    for scores in found.scores.values():
        assert np.isfinite(scores).all()
    # tasks differ so much that rows make no baseline worse
    assert found.mean("pooled + offset")[-1] > found.mean("pooled + offset")[0] - 0.05


def test_three_classes_and_sparse_features():
    rng = np.random.default_rng(0)
    X = sparse.random(80, 20, density=0.2, random_state=0, format="csr")
    y = rng.integers(0, 3, size=80)
    task = np.repeat(np.arange(8), 10)
    found = compare_baselines(
        EmpiricalBayesClassifier(prior="intercept", random_state=0),
        X,
        y,
        task=task,
        n_support=(0, 4),
        cv=2,
        n_repeats=1,
        pooled=LogisticRegression(),
    )
    assert all(np.isfinite(scores).all() for scores in found.scores.values())


def test_tasks_with_classes_of_their_own():
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(30, 5))
    y = np.repeat(np.arange(30), 10)
    X = centres[y] + rng.normal(size=(300, 5))
    data = flat(make_episodes(X, y, 14, n_way=3, n_shots=1, n_queries=4))
    model = PrototypicalClassifier(max_iter=20, random_state=0)
    options = {"baselines": None, "pooled": None}
    found = compare(data, model, n_support=(3, 9), **options)
    assert found.scoring == "accuracy"
    assert found.baselines == ["support mean", "own model", "neighbours"]
    assert found.mean("own model")[1] > 0.6 > found.mean("support mean")[1]
    with pytest.raises(ValueError, match="each must be given a row"):
        compare(data, model, n_support=(1, 3), **options)


def test_an_unfitted_model_says_that_tasks_have_classes_of_their_own():
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(20, 4))
    y = np.repeat(np.arange(20), 12)
    X = centres[y] + rng.normal(size=(240, 4))
    data = flat(make_episodes(X, y, 20, n_way=2, n_shots=1, n_queries=7))
    model = ReptileClassifier(task_classes="own", max_iter=20, random_state=0)
    found = compare(data, model, n_support=(2, 6), baselines=None, pooled=None)
    assert found.scoring == "accuracy"
    assert found.baselines == ["support mean", "own model", "neighbours"]


def test_pipelines_on_frames_share_their_preprocessing_with_the_baselines():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"kind": rng.choice(list("abc"), size=200)})
    effect = frame["kind"].map({"a": 0.0, "b": 5.0, "c": 10.0})
    y = effect + 0.1 * rng.normal(size=200)
    pipe = make_pipeline(OneHotEncoder(sparse_output=False), MODEL)
    found = compare((frame, y, np.repeat(np.arange(10), 20)), pipe)
    assert next(iter(found.scores)) == "EmpiricalBayesRegressor"
    assert found.mean("pooled model")[0] > -0.5


def test_several_estimators_each_get_a_verdict():
    data = flat(make_linear_tasks(12, 14, random_state=0))
    intercept = clone(MODEL).set_params(prior="intercept")
    found = compare(data, {"slopes": MODEL, "intercept": intercept}, cv=2)
    assert found.meta_learners == list(found.advice) == ["slopes", "intercept"]
    models = [MODEL, make_pipeline(StandardScaler(), intercept)]
    again = compare(data, models, cv=2)
    assert again.meta_learners == [
        "EmpiricalBayesRegressor",
        "EmpiricalBayesRegressor 2",
    ]


def test_the_estimator_is_left_unfitted():
    model = clone(SIMPLE)
    compare(flat(make_linear_tasks(10, 12, random_state=0)), model)
    assert not hasattr(model, "n_tasks_")
    with pytest.raises(ValueError, match="not fitted"):
        adapt(model, np.ones((2, 5)), np.ones(2))


# -- ways to see it -------------------------------------------------------------------


def test_table_frame_and_html_show_the_same_numbers():
    data = flat(make_linear_tasks(10, 12, random_state=0))
    found = compare(data, SIMPLE, baselines=QUICK, n_support=(0, 5))
    text, html, frame = str(found), found._repr_html_(), found.to_frame()
    assert len(frame) == len(found.scores) * len(found.n_support)
    own = frame[(frame["model"] == "own model") & (frame["n_support"] == 5)].iloc[0]
    assert own["n_tasks"] == 10
    assert own["score"] == found.mean("own model")[1]
    assert own["lower"] < own["difference"] < own["upper"]
    shown = f"{-own['score']:.4g}"
    assert shown in text
    assert shown in html
    for line in found.verdict.splitlines():
        assert fill(line, 88) in text
        assert line in html
    assert "Root mean squared error on 10 tasks" in html
    assert "print it" in repr(found)


def test_names_are_escaped_in_html():
    data = flat(make_linear_tasks(10, 12, random_state=0))
    assert "<b>" not in compare(data, {"<b>": SIMPLE}, **OFFSETS)._repr_html_()


def test_scores_that_are_no_errors_are_shown_as_they_are():
    data = flat(make_linear_tasks(10, 12, random_state=0))
    found = compare(data, SIMPLE, scoring="r2", **OFFSETS)
    assert "R2 on 10 tasks (more is better)" in str(found)


# -- held wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"cv": PredefinedSplit(np.arange(120) % 3)},
            "puts rows of task 0 into training and test",
        ),
        ({"n_support": (12, 20)}, "No task has more than 12 rows"),
        ({"n_support": (0.5,)}, "whole numbers"),
        ({"baselines": ["magic"]}, "'magic' is not one of 'support mean'"),
    ],
)
def test_errors_name_the_value_and_the_remedy(options, message):
    with pytest.raises(ValueError, match=message):
        compare(flat(make_linear_tasks(10, 12, random_state=0)), **options)


def test_one_task_cannot_be_compared():
    X, y, task = flat(make_linear_tasks(1, 30, random_state=0))
    with pytest.raises(ValueError, match="There is one task"):
        compare((X, y, task))


def test_something_without_a_meta_learner_is_refused():
    data = flat(make_linear_tasks(10, 12, random_state=0))
    for model in (Ridge(), [MODEL, Ridge()], {"ours": MODEL, "other": Ridge()}):
        with pytest.raises(TypeError, match="no meta-learner in Ridge"):
            compare(data, model)


def test_a_regressor_and_a_classifier_are_not_compared():
    models = {"a": MODEL, "b": EmpiricalBayesClassifier()}
    with pytest.raises(ValueError, match="of one kind"):
        compare(flat(make_linear_tasks(10, 12, random_state=0)), models)


def test_a_class_that_only_test_tasks_have_is_refused():
    X, y, task = flat(make_linear_tasks(10, 12, kind="classification", random_state=0))
    y[task == 3] = 2
    with pytest.raises(ValueError, match="Class 2 is in the test tasks of fold"):
        compare((X, y, task), EmpiricalBayesClassifier())


def test_numbers_are_refused_as_labels_of_a_classifier():
    X, y, task = flat(make_linear_tasks(10, 8, random_state=0))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        compare((X, y, task), EmpiricalBayesClassifier())


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, np.inf])
def test_a_missing_target_is_refused_with_its_task(missing):
    X, y, task = flat(make_linear_tasks(10, 8, random_state=0))
    y = y.astype(object)
    y[17] = missing
    with pytest.raises(ValueError, match=r"(?s)(missing|NaN|infinity).*task 2"):
        compare((X, y, task))


def test_predictions_that_a_target_transformation_cannot_turn_back_are_named():
    X, y, task = flat(make_linear_tasks(20, 8, random_state=0))
    model = TransformedTargetRegressor(
        MODEL, func=np.exp, inverse_func=np.log, check_inverse=False
    )
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=r"predictions of a .* are NaN or infinite"),
    ):
        compare((X, y, task), model)
