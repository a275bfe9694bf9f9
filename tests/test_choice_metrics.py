"""Metrics of choices among the offers of sets."""

from itertools import permutations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from skmeta.metrics import choice_log_loss, hit_rate


def made_up(seed=0, n_sets=30, ranked=False):
    """Sets of one to five offers in any order: y, utilities, and labels of sets."""
    rng = np.random.RandomState(seed)
    sets = np.repeat(np.arange(n_sets), rng.randint(2, 6, n_sets))
    y = np.zeros(len(sets))
    for s in range(n_sets):
        rows = np.flatnonzero(sets == s)
        y[rng.choice(rows)] = 1.0
        if ranked:
            y[rows] = rng.randint(0, 4, len(rows))
    order = rng.permutation(len(sets))
    return y[order], rng.randn(len(sets)), sets[order]


def shelf_probabilities(utility, sets, none=False):
    p = np.empty(len(sets))
    for s in np.unique(sets):
        rows = sets == s
        p[rows] = softmax(np.append(utility[rows], [0.0] * none))[: rows.sum()]
    return p


def plain_log_loss(y, p, sets, none=False):
    """The definition, written as loops."""
    losses = []
    for s in np.unique(sets):
        grade, prob = y[sets == s], p[sets == s]
        rest = 1.0 - prob.sum() if none else 0.0
        if not none and grade.min() == grade.max():
            continue
        if none and grade.max() <= 0:
            losses.append(-np.log(rest))
            continue
        chooses = grade > (0 if none else grade.min())
        losses.append(
            sum(
                -np.log(prob[i] / (prob[i] + prob[grade < grade[i]].sum() + rest))
                for i in np.flatnonzero(chooses)
            )
        )
    return np.mean(losses)


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("none", [False, True])
@pytest.mark.filterwarnings("ignore:.* choice sets do not say")
def test_the_log_loss_is_its_definition(ranked, none):
    y, utility, sets = made_up(ranked=ranked)
    if none:
        y[np.isin(sets, [3, 4])] = 0.0
    p = shelf_probabilities(utility, sets, none)
    expected = plain_log_loss(y, p, sets, none)
    assert choice_log_loss(y, p, choice_set=sets) == pytest.approx(expected, rel=1e-12)


def test_a_single_choice_per_set_is_the_log_loss_of_classes():
    rng = np.random.RandomState(0)
    P = softmax(rng.randn(40, 3), axis=1)
    chosen = rng.randint(3, size=40)
    y = (chosen[:, None] == np.arange(3)).ravel()
    loss = choice_log_loss(y, P.ravel(), choice_set=np.repeat(np.arange(40), 3))
    assert loss == pytest.approx(log_loss(chosen, P, labels=[0, 1, 2]), rel=1e-12)


def test_one_offer_beside_none_is_the_log_loss_of_two_classes():
    p, y = np.array([0.2, 0.9, 0.6]), [0, 1, 0]
    loss = choice_log_loss(y, p, choice_set=list("abc"))
    assert loss == pytest.approx(log_loss(y, p), rel=1e-12)


def test_equal_chances_lose_the_logarithm_of_the_number_of_offers():
    assert choice_log_loss([0, 1, 0, 0], [0.25] * 4) == pytest.approx(np.log(4))
    p = np.full(4, 0.25, np.float32)
    assert choice_log_loss([0, 1, 0, 0], p) == pytest.approx(np.log(4))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_probabilities_may_be_rounded(dtype):
    y, utility, sets = made_up(5)
    p = shelf_probabilities(utility, sets)
    expected = choice_log_loss(y, p, choice_set=sets)
    rounded = np.round(p, 5).astype(dtype)
    found = choice_log_loss(y, rounded, choice_set=sets)
    assert found == pytest.approx(expected, rel=2e-3 if dtype == np.float16 else 1e-4)


def test_offers_that_are_all_impossible_are_so_alike():
    options = {"choice_set": list("aabb"), "sample_weight": [1, 1, 1, 1]}
    assert choice_log_loss([1, 0, 1, 0], [0, 0, 0.4, 0.5], **options) > np.log(2)
    weight = {"sample_weight": [1, 1, 0]}
    assert choice_log_loss([1, 0, 0], [0, 0, 1], **weight) == pytest.approx(np.log(2))


def test_what_was_impossible_has_a_finite_loss():
    of_classes = log_loss([1], [[1, 0]], labels=[0, 1])
    assert choice_log_loss([1, 0], [0.0, 1.0]) == pytest.approx(of_classes)


@pytest.mark.parametrize("none", [False, True])
def test_weights_count_sets_and_zero_takes_an_offer_off_the_shelf(none):
    y, utility, sets = made_up(1)
    p = shelf_probabilities(utility, sets, none)
    weight = np.where(sets % 2, 2.0, 1.0)
    again = np.concatenate([np.arange(len(y)), np.flatnonzero(sets % 2)])
    copied = np.append(sets, sets[sets % 2 == 1] + 100)
    for metric, predicted in ((choice_log_loss, p), (hit_rate, utility)):
        assert metric(y, predicted, choice_set=sets, sample_weight=weight) == (
            pytest.approx(metric(y[again], predicted[again], choice_set=copied))
        )
    gone = (y == 0) & (sets < 5)
    left = ~gone
    p_left = shelf_probabilities(utility[left], sets[left], none)
    for metric, all_, some in (
        (choice_log_loss, p, p_left),
        (hit_rate, utility, utility[left]),
    ):
        with pytest.warns() if not none and metric is choice_log_loss else _quiet():
            expected = metric(y[left], some, choice_set=sets[left])
            found = metric(y, all_, choice_set=sets, sample_weight=1.0 * left)
        assert found == pytest.approx(expected)


def _quiet():
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("ranked", [False, True])
def test_the_hit_rate_is_the_mean_over_all_orders_of_ties(k, ranked):
    y, utility, sets = made_up(2, ranked=ranked)
    utility = np.round(utility)
    hits = []
    for s in np.unique(sets):
        grade, u = y[sets == s], utility[sets == s]
        if grade.min() == grade.max():
            continue
        orders = [
            order
            for order in permutations(range(len(u)))
            if (np.diff(u[list(order)]) <= 0).all()
        ]
        hit = [grade[list(order[:k])].max() == grade.max() for order in orders]
        hits.append(np.mean(hit))
    assert hit_rate(y, utility, choice_set=sets, k=k) == pytest.approx(np.mean(hits))


def test_a_ranker_that_ranks_nothing_has_no_luck():
    y, _, sets = made_up(3)
    sizes = np.bincount(sets)
    for constant in (0.0, 1e6 + 1e-10 * np.arange(len(y))):
        rate = hit_rate(y, np.zeros(len(y)) + constant, choice_set=sets, k=2)
        assert rate == pytest.approx(np.minimum(2 / sizes, 1.0).mean())


@pytest.mark.parametrize("name", [str, lambda s: (None, s)[1] if s else "first"])
def test_labels_may_be_of_any_type_and_rows_in_any_order(name):
    y, utility, sets = made_up(4)
    p = shelf_probabilities(utility, sets)
    labels = np.empty(len(sets), dtype=object)
    labels[:] = [name(s) for s in sets]
    order = np.random.RandomState(0).permutation(len(y))
    for metric, predicted in ((choice_log_loss, p), (hit_rate, utility)):
        expected = metric(y, predicted, choice_set=sets)
        assert metric(y, predicted, choice_set=labels) == pytest.approx(expected)
        shuffled = metric(y[order], predicted[order], choice_set=sets[order])
        assert shuffled == pytest.approx(expected)


def test_columns_of_tables_must_have_the_same_row_labels():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"y": [1, 0, 0, 1], "p": [0.5] * 4, "screen": list("aabb")})
    loss = choice_log_loss(table["y"], table["p"], choice_set=table["screen"])
    assert loss == pytest.approx(np.log(2))
    with pytest.raises(ValueError, match="different row labels"):
        hit_rate(table["y"], table["p"], choice_set=table["screen"][::-1])


SETS = ["a", "a", "b", "b"]
HALF = [0.5] * 4


@pytest.mark.parametrize(
    ("y", "p", "options", "message"),
    [
        (
            [1, 0, 0, 1],
            [0.9] * 4,
            {},
            "set 'a' sum to 1.8.*choice_set, here and",
        ),
        ([1, 0, 0, 1], HALF, {"choice_set": None}, "the only choice set .* sum to 2"),
        ([1, 0, 0, 1], [0.25] * 4, {}, r"together sum to 1.*predict_proba\(X, choice"),
        ([1, 0, 0, 1], [1.2, -0.2, 0, 1], {}, "p holds 1.2; probabilities are"),
        (
            [1, 0, 0, 1],
            np.ones((4, 2)),
            {},
            "one number per offer.*column of",
        ),
        ([1, 0, np.nan, 1], HALF, {}, "y holds NaN or infinity, first in row 2"),
        (list("yesn"), HALF, {}, "y must hold numbers, one per offer; got 'y'"),
        ([1, 0, 1], HALF, {}, "inconsistent numbers of samples"),
        (
            [0, 0, 2, 2],
            HALF,
            {},
            "No choice set says .* 'a' has y = 0 for all",
        ),
        (
            [1, 0, 0, 1],
            HALF,
            {"choice_set": [1, 2]},
            "choice_set has 2 ids, but y has",
        ),
        (
            [1, 0, 0, 1],
            HALF,
            {"sample_weight": [1, 1, 1, 2]},
            "Offers of choice set 'b' have the weights 1 and 2",
        ),
        ([1, 0, 0, 1], HALF, {"sample_weight": [0] * 4}, "All sample weights are zero"),
        ([1, 0, 0, 1], HALF, {"sample_weight": [-1] * 4}, "sample_weight holds -1"),
        ([], [], {"choice_set": []}, "y is empty"),
    ],
)
def test_errors_name_the_set_the_value_and_the_remedy(y, p, options, message):
    with pytest.raises(ValueError, match=message):
        choice_log_loss(y, p, **({"choice_set": SETS} | options))


def test_hits_need_a_set_that_says_what_is_preferred():
    with pytest.raises(ValueError, match=r"No choice set says .* has a single"):
        hit_rate([1, 1], [0.1, 0.2], choice_set=["a", "b"])
    with pytest.raises(ValueError, match="'k' parameter of hit_rate must be an int"):
        hit_rate([1, 0], [0.1, 0.2], k=0)


def test_ranks_with_1_the_best_are_doubtful():
    for metric in (choice_log_loss, hit_rate):
        with pytest.warns(UserWarning, match="look like ranks with 1 the best"):
            metric([1, 2, 2, 1], HALF, choice_set=SETS)


def test_sets_of_several_tasks_with_one_label_are_doubtful():
    y, sets = np.tile([1, 0, 0, 1, 0, 0], 4), np.tile(list("aaabbb"), 4)
    with pytest.warns(UserWarning, match="In 2 of 2 .* number the sets over all tasks"):
        hit_rate(y, np.arange(24), choice_set=sets)


def test_sets_that_say_nothing_are_left_out_with_a_warning():
    p = [0.5, 0.5, 0.3, 0.7]
    with pytest.warns(UserWarning, match="1 of 2 choice sets .* set 'b' has"):
        loss = choice_log_loss([1, 0, 0, 0], p, choice_set=SETS)
    assert loss == pytest.approx(np.log(2))
