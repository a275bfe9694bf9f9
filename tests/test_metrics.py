"""Metrics of scikit-learn on rows that do not show all classes."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    get_scorer,
    get_scorer_names,
    hinge_loss,
    log_loss,
    make_scorer,
    roc_auc_score,
    top_k_accuracy_score,
)

from skmeta import EmpiricalBayesClassifier
from skmeta._metrics import scorer_for
from skmeta.model_selection import few_shot_scores, make_few_shot_scorer

pytestmark = pytest.mark.filterwarnings("error")

THREE = np.array(["a", "b", "c"])
TWO = np.array(["no", "yes"])


class Told(ClassifierMixin, BaseEstimator):
    """A classifier whose logits are X."""

    def __init__(self, classes):
        self.classes_ = np.asarray(classes)

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        p = np.exp(X)
        return p / p.sum(axis=1, keepdims=True)

    def decision_function(self, X):
        return X[:, 1] - X[:, 0] if len(self.classes_) == 2 else X

    def predict(self, X):
        return self.classes_[X.argmax(axis=1)]


def rows(classes, labels, seed=0):
    X = np.random.default_rng(seed).normal(size=(len(labels), len(classes)))
    model = Told(classes)
    return SimpleNamespace(
        model=model, X=X, y=np.asarray(labels), p=model.predict_proba(X)
    )


def value(scoring, r, **weights):
    return scorer_for(r.model, scoring)(r.model, r.X, r.y, **weights)


LACKING = [["a", "b", "b", "a", "a"], ["c", "a", "c", "a", "c"], ["b"] * 4]


@pytest.mark.parametrize("labels", LACKING, ids=["c", "b", "two"])
@pytest.mark.parametrize("as_object", [False, True])
def test_metrics_that_take_labels_get_the_classes_of_the_model(labels, as_object):
    r = rows(THREE, labels)
    given = get_scorer if as_object else str
    hit = r.p[np.arange(len(r.y)), np.searchsorted(THREE, r.y)]
    assert_allclose(value(given("neg_log_loss"), r), np.mean(np.log(hit)))
    top = top_k_accuracy_score(r.y, r.p, k=2, labels=THREE)
    assert_allclose(value(given("top_k_accuracy"), r), top)
    brier = ((r.p - (r.y[:, None] == THREE)) ** 2).sum(axis=1).mean()
    assert_allclose(value(given("neg_brier_score"), r), -brier)
    own = make_scorer(
        log_loss, greater_is_better=False, response_method="predict_proba"
    )
    assert_allclose(value(own, r), np.mean(np.log(hit)))


def d2_of_logs(r):
    """1 minus the log loss divided by that of the shares of the classes."""
    hit = r.p[np.arange(len(r.y)), np.searchsorted(THREE, r.y)]
    shares = np.array([np.mean(r.y == label) for label in r.y])
    return 1 - np.log(hit).mean() / np.log(shares).mean()


def d2_of_squares(r):
    hot = (r.y[:, None] == THREE).astype(float)
    return 1 - ((r.p - hot) ** 2).sum() / ((hot.mean(axis=0) - hot) ** 2).sum()


@pytest.mark.parametrize(
    ("name", "reference"),
    [("d2_log_loss_score", d2_of_logs), ("d2_brier_score", d2_of_squares)],
)
def test_d2_gets_the_classes_and_is_undefined_for_one(name, reference):
    if name not in get_scorer_names():
        pytest.skip("this scikit-learn does not have it")
    for labels in LACKING[:2]:
        r = rows(THREE, labels)
        assert_allclose(value(name, r), reference(r))
    assert np.isnan(value(name, rows(THREE, LACKING[2])))
    assert np.isnan(value(name, rows(TWO, ["yes", "yes"])))


@pytest.mark.parametrize("weighted", [False, True])
def test_roc_auc_of_each_class_is_averaged_over_the_classes_that_rows_show(weighted):
    r = rows(THREE, LACKING[0] * 3)
    weight = np.random.default_rng(1).random(len(r.y)) if weighted else None
    auc = [
        roc_auc_score(r.y == c, r.p[:, i], sample_weight=weight)
        for i, c in enumerate("ab")
    ]
    shares = [np.average(r.y == c, weights=weight) for c in "ab"]
    options = {"sample_weight": weight} if weighted else {}
    assert_allclose(value("roc_auc_ovr", r, **options), np.mean(auc))
    assert_allclose(
        value("roc_auc_ovr_weighted", r, **options), np.average(auc, weights=shares)
    )
    if not weighted:  # only the unweighted form has pairs
        pair = np.mean([auc_of_pair(r, "a", "b"), auc_of_pair(r, "b", "a")])
        for name in ("roc_auc_ovo", "roc_auc_ovo_weighted"):
            assert_allclose(value(name, r), pair)


def auc_of_pair(r, one, other):
    """Share of pairs of rows in which the row of the class has the larger score."""
    column = np.searchsorted(THREE, one)
    a, b = (r.p[r.y == label, column] for label in (one, other))
    return np.mean(a[:, None] > b)


@pytest.mark.parametrize(
    "name", ["roc_auc_ovr", "roc_auc_ovo", "roc_auc_ovr_weighted", "average_precision"]
)
def test_with_all_classes_present_a_metric_is_scikit_learns(name):
    labels = np.arange(3)
    r = rows(labels, np.tile(labels, 5))
    if name == "average_precision":
        scores = [average_precision_score(r.y == c, r.X[:, c]) for c in labels]
        assert_allclose(value(name, r), np.mean(scores))
    else:
        assert_allclose(value(name, r), get_scorer(name)(r.model, r.X, r.y))


@pytest.mark.parametrize("classes", [TWO, THREE, [1, 2], [0, 1]], ids=str)
def test_roc_auc_of_rows_of_one_class_is_undefined_and_no_crash(classes):
    r = rows(classes, [classes[-1]] * 3)
    for name in ("ovr", "ovo", "ovr_weighted", "ovo_weighted"):
        assert np.isnan(value(f"roc_auc_{name}", r))
    assert np.isnan(value("roc_auc", r))


@pytest.mark.parametrize("labels", [["yes"] * 3, ["no"] * 3, ["no", "yes", "yes"]])
@pytest.mark.parametrize("classes", [TWO, np.array([1, 2]), np.array([-5, 7])], ids=str)
def test_the_second_of_two_classes_is_positive_whatever_rows_show(classes, labels):
    y = classes[np.searchsorted(TWO, labels)]
    r = rows(classes, y)
    positive = y == classes[1]
    assert_allclose(value("neg_brier_score", r), -np.mean((r.p[:, 1] - positive) ** 2))
    hinge = make_scorer(hinge_loss, response_method="decision_function")
    margin = np.where(positive, 1, -1) * r.model.decision_function(r.X)
    assert_allclose(value(hinge, r), np.maximum(0, 1 - margin).mean())
    hit = np.where(positive, r.p[:, 1], r.p[:, 0])
    assert_allclose(value("neg_log_loss", r), np.log(hit).mean())


def test_a_positive_label_that_is_given_is_kept():
    r = rows(TWO, ["no", "no", "yes"])
    scorer = make_scorer(
        brier_score_loss, pos_label="no", response_method="predict_proba"
    )
    assert_allclose(value(scorer, r), np.mean((r.p[:, 0] - (r.y == "no")) ** 2))
    scorer = make_scorer(metrics.recall_score, pos_label="yes")
    assert value(scorer, r) == np.mean(r.model.predict(r.X[2:]) == "yes")


def test_one_class_and_one_row_leave_nothing_to_compare():
    assert np.isnan(value("neg_log_loss", rows(["a"], ["a", "a"])))
    model = DummyRegressor(strategy="constant", constant=1).fit([[0]], [0])
    for name in ("r2", "explained_variance", "d2_absolute_error_score"):
        assert np.isnan(scorer_for(model, name)(model, np.zeros((1, 1)), np.zeros(1)))


@pytest.mark.parametrize("name", ["neg_log_loss", "roc_auc_ovr", "neg_brier_score"])
def test_labels_that_the_model_does_not_know_are_refused(name):
    with pytest.raises(ValueError, match=r"does not know: \['z'\]; its classes are"):
        value(name, rows(THREE, ["a", "z", "b"]))
    assert value("accuracy", rows(THREE, ["a", "z"])) <= 0.5


def few_rows(n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 2))
    cuts = np.linspace(-0.7, 0.7, n_classes - 1)
    y = np.digitize(X[:, 0] + 0.5 * rng.normal(size=64), cuts)
    return X, np.array(list("abcde"))[y], np.repeat(np.arange(8), 8)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_few_shot_scores_by_any_metric_of_probabilities_are_finite(n_classes):
    X, y, ids = few_rows(n_classes)
    model = EmpiricalBayesClassifier("intercept", random_state=0).fit(X, y, task=ids)
    names = {
        "neg_log_loss",
        "neg_brier_score",
        "top_k_accuracy",
        "d2_log_loss_score",
        "d2_brier_score",
        *(f"roc_auc_{name}" for name in ("ovr", "ovo", "ovr_weighted", "ovo_weighted")),
    }
    if n_classes == 2:
        names -= {"top_k_accuracy"}  # scikit-learn warns that this metric is always 1
    for name in names & set(get_scorer_names()):
        options = {"n_support": 3, "n_repeats": 1}
        score = make_few_shot_scorer(get_scorer(name), **options)
        # it warns about rows of one class, which are counted
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            scores = few_shot_scores(model, X, y, ids, scoring=name, **options)
            assert score(model, X, y, task=ids) == np.nanmean(scores)
        assert np.isfinite(scores).sum() > 4


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "jaccard"])
def test_a_metric_of_two_classes_is_refused_for_three_whatever_rows_show(name):
    """scikit-learn would return a number for rows that show only two of the classes."""
    y = np.array([0, 1, 1, 0])
    model = Told([0, 1, 2])
    with pytest.raises(ValueError, match=r"two classes; the model has 3: \[0, 1, 2\]"):
        scorer_for(model, name)(model, np.eye(3)[y], y)
    averaged = scorer_for(model, f"{name}_macro")
    assert averaged(model, np.eye(3)[y], y) == 1.0
    two = Told([0, 1])
    assert scorer_for(two, name)(two, np.eye(2)[y], y) == 1.0
