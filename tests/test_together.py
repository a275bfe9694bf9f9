"""Scores of many tasks in one pass equal those of one model after the other."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer, make_scorer, mean_pinball_loss
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skmeta
from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    model_selection,
)
from skmeta._evaluation import Draw
from skmeta._together import Asked, all_left, metric_of
from skmeta.model_selection import compare_baselines, few_shot_scores

# -- metrics --------------------------------------------------------------------------


def asked_rows(rng, y, predicted, weighted, proba=None):
    """Tasks of one row and more, with the answers given here."""
    sizes = np.array([1, 2, 7, 1, 30, 3])
    rows = np.split(rng.permutation(len(y))[: sizes.sum()], np.cumsum(sizes)[:-1])
    weight = rng.uniform(0.1, 3, size=len(y)) if weighted else None
    every = np.concatenate(rows)
    answers = {"predict": predicted[every]}
    if proba is not None:
        answers["predict_proba"] = proba[every]
    return Asked(answers.get, y, weight, rows), answers


def one_by_one(name, asked, answers, given):
    scorer = get_scorer(name)
    function, kwargs = scorer._score_func, {}
    if name == "neg_log_loss":
        kwargs = {"labels": np.unique(given)}
    scores = []
    for place in range(len(asked.sizes)):
        rows, y, *weight = asked.rows(place)
        said = answers["predict_proba" if name == "neg_log_loss" else "predict"][rows]
        if name == "neg_log_loss" and said.shape[1] == 2:
            said = said[:, 1]
        if weight:
            kwargs["sample_weight"] = weight[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores.append(scorer._sign * function(y, said, **kwargs))
    return np.array(scores)


OF_NUMBERS = [
    "r2",
    "neg_mean_squared_error",
    "neg_root_mean_squared_error",
    "neg_mean_absolute_error",
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_metrics_of_numbers_are_those_of_scikit_learn(name, weighted):
    rng, scorer = np.random.default_rng(0), get_scorer(name)
    for centre in (0.0, 1e6):
        y = centre + rng.normal(size=60)
        asked, answers = asked_rows(rng, y, y + rng.normal(size=60), weighted)
        scores, left = metric_of(scorer._score_func, scorer._sign)(asked)
        expected = one_by_one(name, asked, answers, y)
        assert_allclose(scores[~left], expected[~left], rtol=1e-12)
        assert left.tolist() == [name == "r2" and n < 2 for n in asked.sizes]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"], [3, 5, 8], [0.0, 1.0]])
def test_metrics_of_labels_are_those_of_scikit_learn(labels, weighted):
    rng, labels = np.random.default_rng(1), np.array(labels)
    y, guess = rng.choice(labels, size=(2, 60))
    proba = rng.dirichlet(np.full(len(labels), 0.02), size=60)  # some are 0 or 1
    proba[:5] = np.eye(len(labels))[0]
    asked, answers = asked_rows(rng, y, guess, weighted, proba)
    for name in ("accuracy", "neg_log_loss"):
        scorer = get_scorer(name)
        scores, left = metric_of(scorer._score_func, scorer._sign, labels)(asked)
        assert left.all() == (labels.dtype.kind == "f")  # scikit-learn looks at floats
        if not left.all():
            expected = one_by_one(name, asked, answers, labels)
            assert_allclose(scores, expected, rtol=1e-12, atol=1e-15)


def test_what_is_not_plain_is_left_to_scikit_learn():
    rng = np.random.default_rng(2)
    y = rng.normal(size=60)
    wrong = y.copy()
    wrong[::7] = np.nan
    r2 = metric_of(get_scorer("r2")._score_func)
    for targets, predicted in [(y, wrong), (y.astype(str), y), (y, y[:, None])]:
        assert r2(asked_rows(rng, targets, predicted, False)[0])[1].all()
    same = np.full(60, 0.1)  # its mean is another number, by rounding
    assert r2(asked_rows(rng, same, y, False)[0])[1].all()
    loss = metric_of(get_scorer("neg_log_loss")._score_func, -1, np.array([0, 1]))
    y, p = rng.integers(2, size=60), rng.uniform(size=60)
    for proba in (np.stack([p, p], axis=1), np.stack([1 - p, p], axis=1) + 0j):
        assert loss(asked_rows(rng, y, y, False, proba)[0])[1].all()
    p = np.stack([1 - p, p], axis=1)
    assert loss(asked_rows(rng, y + 5, y, False, p)[0])[1].all()
    assert all_left(asked_rows(rng, y, y, False, p)[0])[1].all()


def test_draws_are_those_of_shuffle_split():
    rows = np.arange(100, 123)
    draws = Draw(5, 4, False, False, False, None)(rows, np.arange(123), 17)
    split = ShuffleSplit(n_splits=4, train_size=5, random_state=17).split(rows)
    for (given, asked), (a, b) in zip(draws, split, strict=True):
        assert given.tolist() == rows[a].tolist() and asked.tolist() == rows[b].tolist()


# -- few-shot scores ------------------------------------------------------------------


def table(labels=None, counts=False, seed=0):
    """Ragged tasks; the last one is left out, as it has five rows."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(9), [6, 7, 8, 12, 9, 30, 10, 11, 5]))
    X = rng.normal(size=(len(codes), 3))
    y = 2.0 + X[:, 0] + rng.normal(size=9)[codes] + 0.3 * rng.normal(size=len(codes))
    if counts:
        y = rng.poisson(np.exp(0.3 * y)).astype(float)
    if labels is not None:
        y = np.array(labels)[
            np.digitize(y, np.quantile(y, [0.4, 0.7])[: len(labels) - 1])
        ]
    return X, y, codes


def without_stacks(monkeypatch):
    monkeypatch.setattr(model_selection, "predicts_each", lambda estimator: False)
    monkeypatch.setattr(
        skmeta._mixins._ScoresTasks, "_scored_together", lambda self: None
    )


def everything(transformer):
    return TransformedTargetRegressor(
        make_pipeline(StandardScaler(), EmpiricalBayesRegressor("isotropic")),
        transformer=transformer,
    )


def exact(model, X, y):
    """A scorer of a user's own, which may do anything with a model."""
    return float(model.predict(X).sum() + model.n_adapt_rows_)


PINBALL = make_scorer(mean_pinball_loss, alpha=0.3)
SCORED = {
    "numbers": (
        EmpiricalBayesRegressor("isotropic"),
        [None, "r2", PINBALL, "neg_median_absolute_error", exact],
    ),
    "fading": (
        EmpiricalBayesRegressor("intercept", half_life=2.0),
        [None, *OF_NUMBERS[1:]],
    ),
    "base": (EmpiricalBayesRegressor("intercept", base_estimator=Ridge()), [None]),
    "around": (everything(StandardScaler()), [None, "r2", "neg_mean_absolute_error"]),
    "labels": (
        EmpiricalBayesClassifier("intercept"),
        [None, "neg_log_loss", "roc_auc", "accuracy", "f1_macro"],
    ),
    "three labels": (
        EmpiricalBayesClassifier("intercept"),
        [None, "neg_log_loss", "roc_auc_ovr"],
    ),
    "counts": (
        EmpiricalBayesPoissonRegressor("intercept"),
        [None, "d2_absolute_error_score"],
    ),
    "reptile": (ReptileRegressor((4,), max_iter=5, random_state=0), [None, "r2"]),
    "own": (PrototypicalClassifier(random_state=0), [None, "accuracy"]),
    "own labels": (
        ReptileClassifier(task_classes="own", max_iter=5, random_state=0),
        [None, "neg_log_loss"],
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SCORED)
def test_few_shot_scores_are_those_of_adapted_copies(kind, monkeypatch):
    model, scorings = SCORED[kind]
    labels = {"labels": ["no", "yes"], "own": ["a", "b"], "own labels": ["a", "b"]}
    labels["three labels"] = [1, 2, 3]
    X, y, codes = table(labels.get(kind), counts=kind == "counts")
    if "own" in kind:
        y = np.char.add(y, codes.astype(str))
    tasks = [(X[codes == t], y[codes == t]) for t in range(9)]
    model = skmeta.meta_fit(model, tasks)
    rng = np.random.default_rng(1)
    weight = rng.choice([0.0, 0.5, 2.0], size=len(y), p=[0.1, 0.5, 0.4])
    given = [(None, 5), (weight, 3), (None, 3 if "own" in kind else 0)]
    ways = [
        {"scoring": scoring, "sample_weight": w, "n_support": n}
        for i, scoring in enumerate(scorings)
        for w, n in (given if i == 0 else given[i % 3 :][:1])
    ]
    found = [few_shot_scores(model, X, y, codes, n_repeats=1, **way) for way in ways]
    scores = None if kind == "around" else model.score(X, y, task=codes)
    without_stacks(monkeypatch)
    close = 1e-4 if kind == "reptile" else 1e-9
    for one, way in zip(found, ways, strict=True):
        expected = few_shot_scores(model, X, y, codes, n_repeats=1, **way)
        assert_allclose(one, expected, rtol=close, atol=close, err_msg=str(way))
    if scores is not None:
        assert_allclose(model.score(X, y, task=codes), scores, rtol=close)


@pytest.mark.filterwarnings("ignore")
def test_comparisons_are_those_of_adapted_copies(monkeypatch):
    X, y, codes = table()
    how = {"task": codes, "n_support": [0, 3], "n_repeats": 2, "baselines": []}
    how |= {"cv": 2, "scoring": "r2"}
    model = EmpiricalBayesRegressor("intercept")
    found = compare_baselines(model, X, y, **how).to_frame()
    without_stacks(monkeypatch)
    expected = compare_baselines(model, X, y, **how).to_frame()
    assert_allclose(
        found.select_dtypes(float), expected.select_dtypes(float), rtol=1e-10
    )


class Doubled(EmpiricalBayesRegressor):
    """A user's own kind of model."""

    def adapt(self, X, y, sample_weight=None):
        adapted = super().adapt(X, y, sample_weight)
        adapted.doubled = True
        return adapted

    def predict(self, X):
        return super().predict(X) * (2 if getattr(self, "doubled", False) else 1)


@pytest.mark.filterwarnings("ignore")
def test_what_a_subclass_changes_is_used():
    X, y, codes = table()
    model = Doubled("intercept").fit(X, y, task=codes)
    scores = few_shot_scores(model, X, y, codes, n_repeats=1)
    plain = EmpiricalBayesRegressor("intercept").fit(X, y, task=codes)
    assert np.nanmean(scores) < np.nanmean(few_shot_scores(plain, X, y, codes)) - 1
