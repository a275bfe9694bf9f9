"""class_weight of the classifiers: rows of a class count more, in every verb."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from skmeta import (
    EmpiricalBayesClassifier,
    PrototypicalClassifier,
    ReptileClassifier,
    TaskBank,
    adapt,
    meta_fit,
)
from skmeta.model_selection import few_shot_predict

N_TASKS, N_ROWS = 8, 8
rng = np.random.default_rng(0)
ids = np.repeat(np.arange(N_TASKS), N_ROWS)
X = rng.normal(size=(len(ids), 2))
score = X[:, 0] + rng.normal(size=N_TASKS)[ids] + rng.logistic(size=len(ids))
rare = np.where(score > 1.5, "yes", "no")
three = np.digitize(score, [-1, 1.5])
X_new, y_new = X[:5], rare[:5]

LEARNERS = [
    EmpiricalBayesClassifier("intercept", random_state=0),
    ReptileClassifier(max_iter=20, random_state=0),
]
EACH = pytest.mark.parametrize("learner", LEARNERS, ids=lambda m: type(m).__name__)


def test_a_user_finds_more_of_a_rare_class():
    found = {}
    for class_weight in (None, "balanced"):
        model = EmpiricalBayesClassifier("intercept", class_weight=class_weight)
        model.set_params(random_state=0)
        fitted = FrozenEstimator(model.fit(X, rare, task=ids))
        predicted = few_shot_predict(fitted, X, rare, task=ids)
        found[class_weight] = np.mean(predicted[rare == "yes"] == "yes")
    assert np.mean(rare == "yes") < 0.35
    assert found["balanced"] > found[None] + 0.1


@pytest.mark.parametrize(
    ("learner", "y"),
    [(LEARNERS[0], rare), (LEARNERS[1], rare), (LEARNERS[1], three)],
    ids=["prior", "Reptile", "three classes"],
)
def test_it_is_a_sample_weight_of_the_rows_of_the_class(learner, y):
    names = np.unique(y)
    of_classes = dict(zip(names.tolist(), (0.5, 3.0, 2.0), strict=False))
    weight = np.array([of_classes[name] for name in y.tolist()])
    model = learner.set_params(class_weight=of_classes).fit(X, y, task=ids)
    few = model.adapt(X[:5], y[:5]).partial_adapt(X[5:7], y[5:7])
    plain = learner.set_params(class_weight=None).fit(X, y, weight, task=ids)
    same = plain.adapt(X[:5], y[:5], weight[:5])
    same = same.partial_adapt(X[5:7], y[5:7], weight[5:7])
    for one, other in ((model, plain), (few, same)):
        assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-9)
    assert few.score(X, y) == same.score(X, y)


@EACH
def test_weights_of_both_kinds_multiply_and_many_tasks_are_as_one(learner):
    weight = rng.uniform(0.5, 2, size=len(rare))
    model = learner.set_params(class_weight="balanced").fit(X, rare, weight, task=ids)
    learner.set_params(class_weight=None)
    share = np.array([weight[rare == name].sum() for name in ("no", "yes")])
    assert_allclose(model._frame.targets.of_classes, share.sum() / (2 * share))
    known = np.arange(len(rare)) % N_ROWS < 5
    labels = {"task": ids[known], "task_new": ids[~known], "method": "predict_proba"}
    together = model.adapt_predict(
        X[known], rare[known], X[~known], weight[known], **labels
    )
    bank = TaskBank(model)
    bank.update(X[known], rare[known], weight[known], task=ids[known])
    from_bank = bank.predict_proba(X[~known], task=ids[~known])
    for t in range(2):
        some = known & (ids == t)
        one = model.adapt(X[some], rare[some], weight[some])
        expected = one.predict_proba(X[~known & (ids == t)])
        for answer in (together, from_bank):
            assert_allclose(answer[ids[~known] == t], expected, rtol=1e-6)


def test_known_tasks_are_weighted_once():
    model = (
        clone(LEARNERS[0]).set_params(class_weight="balanced").fit(X, rare, task=ids)
    )
    first = ids == 0
    expected = model.adapt(X[first], rare[first]).predict_proba(X)
    assert_allclose(model.predict_proba(X, task=0), expected, rtol=1e-6)


def test_balanced_is_that_of_scikit_learn_and_is_frozen():
    model = EmpiricalBayesClassifier(
        "intercept", class_weight="balanced", random_state=0
    )
    model.partial_meta_fit({t: (X[ids == t], rare[ids == t]) for t in range(6)})
    first = ids < 6
    expected = compute_class_weight(
        "balanced", classes=np.array(["no", "yes"]), y=rare[first]
    )
    assert_allclose(model._frame.targets.of_classes, expected)
    (only,) = np.nonzero(first & (rare == "no"))
    weight = np.full(4, expected[0])
    plain = EmpiricalBayesClassifier("intercept", random_state=0)
    plain.fit(
        X[first],
        rare[first],
        compute_sample_weight("balanced", rare[first]),
        task=ids[first],
    )
    one = model.adapt(X[only[:4]], rare[only[:4]])
    other = plain.adapt(X[only[:4]], rare[only[:4]], weight)
    assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-6)
    model.partial_meta_fit({t: (X[ids == t], rare[ids == t]) for t in (6, 7)})
    assert_allclose(model._frame.targets.of_classes, expected)


def test_a_base_model_gets_the_weights():
    base = LogisticRegression()
    model = EmpiricalBayesClassifier("intercept", base_estimator=base, random_state=0)
    model.set_params(class_weight={"no": 1, "yes": 4}).fit(X, rare, task=ids)
    weight = np.where(rare == "yes", 4.0, 1.0)
    expected = base.fit(X, rare, weight).coef_
    assert_allclose(model.base_estimator_.coef_, expected, rtol=1e-6)


def test_it_works_behind_other_steps():
    tasks = [(X[ids == t], rare[ids == t]) for t in range(N_TASKS)]
    model = clone(LEARNERS[1]).set_params(class_weight={"yes": 5})
    pipe = meta_fit(make_pipeline(StandardScaler(), model), tasks)
    plain = clone(model).set_params(class_weight=None).meta_fit(tasks)
    p, less = (adapt(m, X_new, y_new).predict_proba(X)[:, 1] for m in (pipe, plain))
    assert np.mean(p > less) > 0.9


def test_probabilities_of_prototypes_are_multiplied():
    plain = PrototypicalClassifier(random_state=0).fit(X, three, task=ids)
    few = plain.adapt(X[:9], three[:9])
    model = PrototypicalClassifier(class_weight={0: 3.0, 9: 2}, random_state=0)
    model.fit(X, three, task=ids)
    found = model.adapt(X[:9], three[:9])
    expected = few.predict_proba(X) * np.where(few.classes_ == 0, 3, 1)
    expected /= expected.sum(axis=1, keepdims=True)
    assert_allclose(found.predict_proba(X), expected, rtol=1e-6)
    many = model.adapt_predict(
        X[:9], three[:9], X, task=ids[:9], task_new=np.zeros(len(X), int)
    )
    assert_array_equal(many, found.predict(X))
    assert_array_equal(found.to_sklearn().predict(X), found.predict(X))
    assert (found.predict(X) != few.predict(X)).any()


@pytest.mark.parametrize("learner", [*LEARNERS, PrototypicalClassifier()])
@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"yes": 0}, "the label 'yes' the weight 0. A weight is a positive number"),
        ({"no": "much"}, "positive number"),
        ({"no": np.nan}, "positive number"),
        ("even", "class_weight"),
    ],
)
def test_what_is_no_weight_is_refused(learner, class_weight, message):
    model = learner.set_params(class_weight=class_weight)
    with pytest.raises(ValueError, match=message):
        model.fit(X, rare).predict(X)
    learner.set_params(class_weight=None)


@EACH
def test_a_label_that_no_row_has_is_refused(learner):
    with pytest.raises(ValueError, match=r"'maybe', which no row .* are \['no', 'yes'"):
        learner.set_params(class_weight={"maybe": 2}).fit(X, rare, task=ids)
    learner.set_params(class_weight=None)


def test_classes_of_single_tasks_have_no_weights():
    model = ReptileClassifier(task_classes="own", class_weight="balanced")
    with pytest.raises(ValueError, match="classes that all tasks share"):
        model.fit(X, rare, task=ids)


def test_labels_that_no_task_has_give_a_warning():
    model = PrototypicalClassifier(class_weight={9: 2.0}, random_state=0)
    with pytest.warns(UserWarning, match=r"label 9, .* labels such as 0: it changes"):
        model.fit(X, three, task=ids)


def test_labels_of_another_type_than_those_of_a_task_are_refused():
    model = PrototypicalClassifier(class_weight={"1": 9})
    with pytest.raises(ValueError, match=r"'1', and .* text and numbers are never"):
        model.fit(X, three, task=ids)
    model.set_params(class_weight=None).fit(X, three, task=ids)
    model.set_params(class_weight={"1": 9})
    with pytest.raises(ValueError, match="text and numbers are never equal"):
        model.adapt(X[:9], three[:9]).predict(X)
