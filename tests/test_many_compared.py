"""A comparison of many meta-learners fits a screen: a table, and a line for each."""

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta._comparing.result import LINE_WIDTH, BaselineComparison

N_TASKS, SIZES = 30, [0, 2, 8]
LEVELS = {"poor": 1.2, "usual": 0.8, "good": 0.5, "as good": 0.5, "one more": 0.9}
BASELINES = {"pooled model": 1.0, "pooled + offset": 0.9, "own model": 1.1}


def compared(
    levels,
    baselines=BASELINES,
    only=None,
    scoring="neg_mean_absolute_error",
    pooled=None,
):
    """Made errors: after k rows a share of the error of the pooled model."""
    rng = np.random.default_rng(0)
    of_task = rng.lognormal(size=(N_TASKS, 1))
    scores = {}
    for name, level in (levels | baselines).items():
        course = np.array([1.0, (1 + level) / 2, level])
        noise = np.exp(0.05 * rng.standard_normal((N_TASKS, len(SIZES))))
        scores[name] = -of_task * course * (1 if name == "pooled model" else noise)
    if only is not None:
        for name in only:
            scores[name][0] -= 1e4 * of_task.max()
    names = list(levels)
    tasks = np.array([f"shop {i}" for i in range(N_TASKS)])
    pooled = [pooled or RidgeCV()] * 2
    return BaselineComparison(scores, names, SIZES, tasks, scoring, pooled)


def test_seven_models_fit_a_screen():
    levels = LEVELS | {"sixth": 0.7, "seventh": 0.6}
    text = str(compared(levels))
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= LINE_WIDTH
    assert text.count("rows given") == 2  # the means, and the gains over one model
    assert "Better than the pooled model in a typical task by, in %" in text
    assert "The pooled model is a ridge regression (RidgeCV())." in text


@pytest.mark.parametrize("nested", [False, True])
def test_a_pooled_model_behind_a_preprocessor_is_named(nested):
    """As with ``linear_preprocessor``, which stands before the scaling."""
    back = make_pipeline(StandardScaler(), RidgeCV())
    front = SimpleImputer()
    pipe = make_pipeline(front, back) if nested else make_pipeline(front, *back)
    text = str(compared(LEVELS, pooled=pipe))
    assert "The pooled model is a ridge regression (RidgeCV())." in text


def test_each_has_one_short_verdict_that_agrees_with_the_long_one():
    found = compared(LEVELS)
    short = found.short_verdict
    assert short["good"].startswith("meta-learn from 2 rows on; after 8 rows better by")
    assert short["one more"].startswith("an offset per task is enough; after 8 rows")
    assert "worse by" in short["poor"]
    for name, words in short.items():
        assert f"{name}: {words}." in str(found).replace("\n", " ")
        assert len(name) + len(words) < LINE_WIDTH
        assert f"{name}: {words}." in found._repr_html_()
        assert f"{name}: " in found.verdict  # the reasons stay where they were


def test_the_best_is_named_with_those_that_are_not_clearly_worse():
    text = str(compared(LEVELS)).replace("\n", " ")
    assert (
        "Of these, good is best over the numbers of rows, and as good is not" in text
        or "Of these, as good is best over the numbers of rows, and good is not" in text
    )
    clear = {"poor": 1.2, "usual": 0.8, "good": 0.5}
    assert "Of these, good is clearly best" in str(compared(clear))


def test_up_to_two_models_keep_their_tables():
    text = str(compared({"good": 0.5, "usual": 0.8}))
    assert "good better than the others in a typical task" in text
    assert "usual better than the others in a typical task" in text
    assert "Meta-learn here" in text


def test_without_a_pooled_model_each_is_compared_with_its_best_baseline():
    text = str(compared(LEVELS, {"own model": 1.1}))
    assert "Better than the own model in a typical task" in text
    assert "poor" in text


def test_without_baselines_there_is_one_table():
    found = compared(LEVELS, {})
    assert set(found.short_verdict.values()) == {"unclear: no baseline to compare with"}
    assert str(found).count("rows given") == 1


def test_a_task_that_decides_is_named():
    found = compared({"good": 0.5, "usual": 0.8, "poor": 1.2}, only=["good"])
    assert "task 'shop 0' differs most by far" in found.short_verdict["good"]
    assert "shop 0" not in found.short_verdict["usual"]


def test_too_few_tasks_are_told():
    found, n_tasks = compared(LEVELS), 3
    scores = {name: values[:n_tasks] for name, values in found.scores.items()}
    few = BaselineComparison(
        scores, list(LEVELS), SIZES, np.arange(n_tasks), "neg_mean_absolute_error"
    )
    assert set(few.short_verdict.values()) == {"unclear: too few tasks"}
    assert str(few)
