"""Targets of each kind, without a model: encoded, corrected, decoded."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, log_softmax, logit, softmax

from skmeta._core.scaling import Scaling, identity_scaling
from skmeta._targets import Numbers, OpenLabels, OwnLabels, SharedLabels

STARTS = np.array([0, 3, 6])  # two tasks of three rows
NO_SCALING = identity_scaling(1)


def fitted(targets, y):
    return targets.fit(np.array(y), STARTS)


# -- numbers --------------------------------------------------------------------------


def test_numbers_are_one_column_less_what_the_base_model_says():
    targets, coded = fitted(Numbers(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    base = np.full((6, 1), 0.5)
    Y, offset = targets.correct(coded.Y, base)
    assert_allclose(Y[:, 0], np.arange(1, 7) - 0.5)
    assert offset is None and coded.classes is None


def test_numbers_come_back_in_the_users_units_with_the_base_model_on_top():
    scaling = Scaling(np.zeros(1), np.ones(1), y_mean=10.0, y_scale=2.0)
    Z, base = np.array([[0.0], [1.0]]), np.array([[0.5], [0.0]])
    assert_allclose(Numbers().decode(Z, None, scaling), [10.0, 12.0])
    assert_allclose(Numbers().decode(Z, base, scaling), [10.5, 12.0])


def test_robust_numbers_have_a_scale_that_an_outlier_does_not_move():
    X, Y, weight = np.zeros((9, 1)), np.arange(9.0)[:, None], np.ones(9)
    far = np.vstack([Y[:-1], [[1e6]]])
    scales = [Numbers(robust=True).scaling(X, Z, weight).y_scale for Z in (Y, far)]
    assert scales[0] == scales[1]
    assert Numbers().scaling(X, far, weight).y_scale > 1e5


# -- labels that all tasks share ------------------------------------------------------


def test_two_shared_labels_are_one_column_and_more_are_one_each():
    two, coded = fitted(SharedLabels(), list("abbaab"))
    assert_array_equal(coded.Y[:, 0], [0, 1, 1, 0, 0, 1])
    assert_array_equal(coded.classes, ["a", "b"])
    assert_array_equal(two.encode(np.array(["b"])).Y, [[1]])
    _, coded = fitted(SharedLabels(), list("abcabc"))
    assert_array_equal(coded.Y[:3], np.eye(3))


def test_an_unknown_shared_label_is_refused():
    targets, _ = fitted(SharedLabels(), list("abbaab"))
    with pytest.raises(ValueError, match=r"not seen in meta-training: \['c'\]"):
        targets.encode(np.array(["c", "a"]))


def test_the_labels_that_a_model_shows_are_a_copy():
    targets, coded = fitted(SharedLabels(), list("abbaab"))
    coded.classes[:] = "z"
    assert_array_equal(targets.classes, ["a", "b"])


def test_log_odds_of_the_base_model_are_added_to_the_outputs():
    Z, base = np.array([[-1.0], [2.0]]), np.array([[3.0], [0.0]])
    classes = np.array(["a", "b"])
    decode = SharedLabels(classes).decode
    p = decode(Z, base, NO_SCALING, classes, "predict_proba")
    assert_allclose(p[:, 1], expit([2.0, 2.0]))
    assert_allclose(decode(Z, base, NO_SCALING, classes, "decision_function"), [2, 2])
    assert_array_equal(decode(Z, None, NO_SCALING, classes), ["a", "b"])


def test_several_logits_are_probabilities_by_softmax():
    Z, classes = np.array([[0.0, 1.0, 3.0]]), np.array([4, 5, 7])
    p = SharedLabels(classes).decode(Z, None, NO_SCALING, classes, "predict_proba")
    assert_allclose(p, softmax(Z, axis=1))
    assert SharedLabels(classes).decode(Z, None, NO_SCALING, classes) == [7]


# -- labels of each task --------------------------------------------------------------


def test_own_labels_take_the_first_columns_and_say_how_many():
    targets, coded = fitted(OwnLabels(), list("aabxyz"))
    assert targets.n_way == 3
    assert_array_equal(coded.n_classes, [2, 3])
    assert_array_equal(coded.Y.argmax(axis=1), [0, 0, 1, 0, 1, 2])
    assert coded.classes is None


def test_columns_that_a_task_does_not_use_are_no_predictions():
    Z, classes = np.array([[0.0, 1.0, 50.0]]), np.array(["x", "y"])
    decode = OwnLabels(n_way=3).decode
    p = decode(Z, None, NO_SCALING, classes, "predict_proba")
    assert_allclose(p, softmax([[0.0, 1.0]], axis=1))
    assert decode(Z, None, NO_SCALING, classes) == ["y"]


def test_more_own_labels_than_outputs_and_new_ones_in_a_task_are_refused():
    targets, _ = fitted(OwnLabels(), list("aabbab"))
    with pytest.raises(ValueError, match="at most 2 classes"):
        targets.encode(np.array(list("pqr")))
    with pytest.raises(ValueError, match="y holds others"):
        targets.encode(np.array(["q"]), present=np.array(["p"]))


def test_open_labels_are_counted_over_all_tasks_and_may_be_added_to():
    targets, coded = fitted(OpenLabels(), list("aabxya"))
    assert_array_equal(coded.Y[:, 0], [0, 0, 1, 3, 4, 2])
    coded = targets.encode(np.array(["c", "a"]), present=np.array(["b"]))
    assert_array_equal(coded.classes, ["a", "b", "c"])
    assert_array_equal(coded.Y[:, 0], [2, 0])


def test_open_labels_of_a_single_task_are_its_labels():
    y = np.array(list("ba"))
    _, coded = OpenLabels().fit(y, np.array([0, 2]))
    assert_array_equal(coded.classes, ["a", "b"])


@pytest.mark.parametrize("kind", [OwnLabels, OpenLabels])
def test_the_names_of_own_labels_do_not_decide_the_order_of_rows(kind):
    codes = np.array([0, 0, 0, 1, 1, 1])
    first = kind().order_key(np.array(list("aabxyx")), codes)
    renamed = kind().order_key(np.array(list("mmnbcb")), codes)
    assert_array_equal(first, renamed)


# -- all kinds ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, now, was",
    [(SharedLabels(), OwnLabels(), "shared"), (OwnLabels(), SharedLabels(), "own")],
)
def test_warm_start_refuses_labels_of_another_kind(before, now, was):
    y = np.array(list("aabbab"))
    before, _ = before.fit(y, STARTS)
    with pytest.raises(ValueError, match=f"task_classes='{was}'"):
        now.fit(y, STARTS, before)


@pytest.mark.parametrize("kind", [Numbers, SharedLabels, OwnLabels])
def test_warm_start_goes_on_with_the_targets_of_the_first_fit(kind):
    y = np.array([0, 1, 1, 0, 1, 0])
    before, _ = kind().fit(y, STARTS)
    after, _ = kind().fit(y, STARTS, before)
    assert after is before


def test_decoding_inverts_encoding_of_sure_outputs():
    y = np.array(list("abcbca"))
    targets, coded = SharedLabels().fit(y, STARTS)
    Z = log_softmax(9 * coded.Y, axis=1)
    assert_array_equal(targets.decode(Z, None, NO_SCALING, coded.classes), y)
    y = np.array(list("abbaab"))
    targets, coded = SharedLabels().fit(y, STARTS)
    Z = logit(0.1 + 0.8 * coded.Y)
    assert_array_equal(targets.decode(Z, None, NO_SCALING, coded.classes), y)
