"""Episodes, their loss and gradient, and the linear space, against plain loops."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax

from skmeta._core import network
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network
from skmeta._core.prototypes.discriminant import discriminant
from skmeta._core.prototypes.episodes import (
    Episodes,
    EpisodeSettings,
    class_table,
    distinct,
    draw_episodes,
)
from skmeta._core.prototypes.training import (
    best_log_temperature,
    class_means,
    episode_loss,
    episodic_steps,
    first_parameters,
)

SETTINGS = EpisodeSettings(
    n_way=(2, 4),
    support_size=(1, 3),
    n_queries=2,
    meta_batch_size=5,
    learning_rate=3e-3,
    max_iter=30,
)


def ragged_classes():
    """Class and task of each row, in mixed order: 3 tasks of 2, 4 and 3 classes.

    Classes have 1 to 9 rows.
    """
    rng = np.random.default_rng(0)
    sizes, task_of = [2, 9, 3, 1, 4, 5, 2, 6, 7], [0, 0, 1, 1, 1, 1, 2, 2, 2]
    codes = rng.permutation(np.repeat(np.arange(9), sizes))
    return codes, np.array(task_of)[codes]


def ragged_table():
    return class_table(*ragged_classes())


def make_episodes(seed=0):
    """Drawn from the ragged table; some lack classes, some rows are padding."""
    episodes = draw_episodes(np.random.default_rng(seed), ragged_table(), SETTINGS)
    assert not episodes.present.all()
    assert not (episodes.support | episodes.query)[episodes.present].all()
    return episodes


def make_outputs(episodes, n_components=3):
    rng = np.random.default_rng(1)
    return rng.standard_normal((*episodes.rows.shape, n_components))


def plain_loss(Z, temperature, episodes):
    """The definition: a loop over episodes and their query rows."""
    losses = []
    for z, support, query, present in zip(Z, *episodes[1:], strict=True):
        classes = np.flatnonzero(present)
        means = np.array([z[c][support[c]].mean(axis=0) for c in classes])
        for place, c in enumerate(classes):
            for row in z[c][query[c]]:
                distances = ((row - means) ** 2).sum(axis=1)
                losses.append(-log_softmax(-temperature * distances)[place])
    return np.mean(losses)


# -- classes and episodes -------------------------------------------------------------


def test_rows_of_a_class_and_classes_of_a_task_stand_together():
    codes, task = ragged_classes()
    table = class_table(codes, task)
    parts = np.split(table.rows, table.starts[1:-1])
    # class 3 has one row
    assert [set(codes[part]) for part in parts] == [
        {c} for c in (0, 1, 2, 4, 5, 6, 7, 8)
    ]
    assert_array_equal(np.sort(table.rows), np.flatnonzero(codes != 3))
    assert_array_equal(table.task_starts, [0, 2, 5, 8])


def test_tasks_left_with_one_class_are_left_out():
    codes = np.array([0, 0, 1, 2, 2, 3, 3])
    table = class_table(codes, np.array([0, 0, 0, 1, 1, 1, 1]))
    assert_array_equal(table.rows, [3, 4, 5, 6])
    assert_array_equal(table.task_starts, [0, 2])


@pytest.mark.parametrize(
    ("codes", "task"),
    [([0, 1, 2], [0, 0, 0]), ([0, 0, 0], [0, 0, 0]), ([0, 0, 1, 1], [0, 0, 1, 1])],
    ids=["rows of their own", "one class", "one class per task"],
)
def test_there_is_no_table_if_no_task_has_two_classes(codes, task):
    assert class_table(np.array(codes), np.array(task)) is None


def test_distinct_numbers_are_distinct_and_below_their_size():
    drawn = distinct(np.random.default_rng(0), np.tile([4, 5, 9], 200), 4)
    sizes = np.tile([4, 5, 9], 200)[:, None]
    assert drawn.min() == 0 and (drawn < sizes).all()
    assert all(len(set(row)) == 4 for row in drawn)


def test_every_draw_of_distinct_numbers_is_as_likely_as_any_other():
    drawn = distinct(np.random.default_rng(0), np.full(24_000, 4), 3)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 24  # 4 * 3 * 2 orders, each 1000 times +- 31
    assert_allclose(counts, 1000, atol=140)


def test_if_too_many_numbers_are_requested_all_existing_ones_come_first():
    drawn = distinct(np.random.default_rng(0), np.array([2, 3, 6]), 5)
    assert set(drawn[0, :2]) == {0, 1}
    assert set(drawn[1, :3]) == {0, 1, 2}
    assert len(set(drawn[2])) == 5


@pytest.mark.parametrize("seed", range(30))
def test_an_episode_is_of_different_classes_of_one_task_and_their_own_rows(seed):
    codes, task = ragged_classes()
    episodes = draw_episodes(np.random.default_rng(seed), ragged_table(), SETTINGS)
    assert not (episodes.support & episodes.query).any()
    used = episodes.support | episodes.query
    assert_array_equal(used.any(axis=2), episodes.present)
    sizes = np.bincount(codes)
    for rows, there, support, query in zip(
        episodes.rows, used, episodes.support, episodes.query, strict=True
    ):
        classes = [codes[r[t]] for r, t in zip(rows, there, strict=True) if t.any()]
        assert all(len(set(c)) == 1 for c in classes)  # all rows are of one class
        numbers = [c[0] for c in classes]
        assert len(set(numbers)) == len(numbers) >= 2
        assert len({task[r] for r in rows[there]}) == 1
        assert len(set(rows[there])) == there.sum()  # no row twice
        n_shots = support.sum(axis=1).max()
        for number, s, q in zip(numbers, support, query, strict=False):
            assert 1 <= s.sum() <= min(n_shots, sizes[number] - 1)
            assert q.sum() == min(SETTINGS.n_queries, sizes[number] - s.sum())


def test_way_and_shot_are_drawn_from_their_ranges():
    codes = np.repeat(np.arange(8), 10)
    table = class_table(codes, np.zeros(80, dtype=int))
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        episodes = draw_episodes(rng, table, SETTINGS)
        assert episodes.present.all()
        seen.add((episodes.present.shape[1], int(episodes.support[0, 0].sum())))
    assert seen == set(product((2, 3, 4), (1, 2, 3)))


def test_way_is_at_most_the_classes_of_a_task_and_may_be_a_fixed_number():
    settings = SETTINGS._replace(n_way=20, support_size=2)
    episodes = draw_episodes(np.random.default_rng(0), ragged_table(), settings)
    assert episodes.present.shape[1] <= 3
    assert episodes.support.sum(axis=2).max() == 2


# -- loss and gradient ----------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 2, 5])
def test_the_loss_is_that_of_a_plain_loop_over_episodes_and_rows(seed):
    episodes = make_episodes(seed)
    Z = make_outputs(episodes)
    value, _, _ = episode_loss(Z, np.log(0.7), episodes)
    assert_allclose(value, plain_loss(Z, 0.7, episodes), rtol=1e-12)


def test_episodes_together_have_the_gradient_of_each_alone():
    episodes = make_episodes()
    Z = make_outputs(episodes)
    value, G, slope = episode_loss(Z, -0.3, episodes)
    share = episodes.query.sum(axis=(1, 2)) / episodes.query.sum()
    alone = [
        episode_loss(Z[[e]], -0.3, Episodes(*(part[[e]] for part in episodes)))
        for e in range(len(Z))
    ]
    values, gradients, slopes = zip(*alone, strict=True)
    assert_allclose(value, share @ values, rtol=1e-12)
    assert_allclose(slope, share @ slopes, rtol=1e-12)
    assert_allclose(
        G, share[:, None, None, None] * np.concatenate(gradients), atol=1e-15
    )


def test_the_gradient_in_outputs_and_temperature_agrees_with_finite_differences():
    episodes = make_episodes()
    Z = make_outputs(episodes)
    _, G, slope = episode_loss(Z, 0.2, episodes)
    h, expected = 1e-5, np.empty_like(Z)
    for place in np.ndindex(Z.shape):
        step = np.zeros_like(Z)
        step[place] = h
        up, down = (episode_loss(Z + sign * step, 0.2, episodes)[0] for sign in (1, -1))
        expected[place] = (up - down) / (2 * h)
    assert_allclose(G, expected, rtol=1e-6, atol=1e-9)
    up, down = (episode_loss(Z, 0.2 + sign * h, episodes)[0] for sign in (1, -1))
    assert_allclose(slope, (up - down) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_gradient_through_the_network_agrees_with_finite_differences(
    activation, layer_norm
):
    rng = np.random.default_rng(0)
    net = Network(ParamLayout((3, 5, 2), layer_norm), activation)
    theta = net.layout.init(rng) + 0.3 * rng.standard_normal(net.layout.n_params)
    episodes = make_episodes()
    X = rng.standard_normal((len(ragged_classes()[0]), 3))[episodes.rows.ravel()]

    def outputs(theta):
        Z, tape = network.forward(net, theta[None], X[None])
        return Z.reshape(*episodes.rows.shape, -1), tape

    Z, tape = outputs(theta)
    _, G, _ = episode_loss(Z, 0.2, episodes)
    gradient = network.backward(net, tape, G.reshape(1, -1, 2))[0]
    h, expected = 1e-6, np.empty_like(theta)
    for j in range(len(theta)):
        step = h * (np.arange(len(theta)) == j)
        up, down = (
            episode_loss(outputs(theta + sign * step)[0], 0.2, episodes)[0]
            for sign in (1, -1)
        )
        expected[j] = (up - down) / (2 * h)
    assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


def test_padding_does_not_change_loss_or_gradient():
    episodes = make_episodes()
    Z = make_outputs(episodes)
    padding = ~(episodes.support | episodes.query)
    value, G, slope = episode_loss(Z, 0.0, episodes)
    other = np.where(padding[..., None], 100.0, Z)
    value_2, G_2, slope_2 = episode_loss(other, 0.0, episodes)
    assert (value, slope) == (value_2, slope_2)
    assert_array_equal(G, G_2)
    assert not G[padding].any()


def test_the_loss_does_not_depend_on_the_origin():
    episodes = make_episodes()
    Z = make_outputs(episodes)
    value, G, _ = episode_loss(Z, 0.0, episodes)
    moved, G_moved, _ = episode_loss(Z + 5.0, 0.0, episodes)
    assert_allclose(moved, value, rtol=1e-10)
    assert_allclose(G_moved, G, atol=1e-12)
    assert_allclose(G.sum(axis=(1, 2)), 0, atol=1e-12)


def test_rows_however_far_apart_have_a_finite_loss_and_gradient():
    episodes = make_episodes()
    Z = (1e6 * make_outputs(episodes)).astype(np.float32)
    value, G, slope = episode_loss(Z, np.float32(0), episodes)
    assert np.isfinite([value, slope]).all() and np.isfinite(G).all()
    assert G.dtype == np.float32


def test_class_means_are_those_of_the_support_rows():
    episodes = make_episodes()
    Z = make_outputs(episodes)
    means, counts = class_means(Z, episodes.support)
    for e, c in np.argwhere(episodes.present):
        rows = Z[e, c][episodes.support[e, c]]
        assert counts[e, c, 0] == len(rows)
        assert_allclose(means[e, c], rows.mean(axis=0), rtol=1e-12)


# -- meta-training --------------------------------------------------------------------


def learned(X, **settings):
    """Parameters after each meta-iteration, and the losses."""
    rng = np.random.default_rng(0)
    net = Network(ParamLayout((X.shape[1], 6, 4), True), "relu")
    run = episodic_steps(
        net,
        first_parameters(net, rng),
        lambda index: X[index],
        ragged_table(),
        SETTINGS._replace(**settings),
        rng,
    )
    thetas, losses = zip(*run, strict=True)
    return np.array(thetas), np.array(losses)


def clouds(spread=0.5):
    """A row for each row of the ragged classes, near the centre of its class."""
    codes, _ = ragged_classes()
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((9, 3))
    return centres[codes] + spread * rng.standard_normal((len(codes), 3))


def test_learning_lowers_the_loss_of_the_query_rows():
    _, losses = learned(clouds().astype(np.float32), max_iter=200)
    assert losses[-50:].mean() < 0.6 * losses[:50].mean()


def test_learning_stays_in_single_precision_and_moves_the_temperature():
    thetas, losses = learned(clouds().astype(np.float32))
    assert thetas.dtype == np.float32
    assert len(losses) == SETTINGS.max_iter
    assert len(set(thetas[:, -1])) == SETTINGS.max_iter


def test_the_rate_is_constant_for_half_of_the_run_and_ends_near_zero():
    short, _ = learned(clouds().astype(np.float32), max_iter=20)
    long, _ = learned(clouds().astype(np.float32), max_iter=40)
    assert_array_equal(short[:11], long[:11])  # the rate falls after iteration 10
    assert not np.array_equal(short[12], long[12])
    moves = np.abs(np.diff(long, axis=0)).max(axis=1)
    assert moves[-1] < 0.2 * moves[:20].max()


def test_distances_begin_at_about_one():
    rng = np.random.default_rng(0)
    net = Network(ParamLayout((20, 30, 64), True), "relu")
    theta = first_parameters(net, rng)
    X = rng.standard_normal((200, 20)).astype(np.float32)
    Z = network.predict(net, theta[None, :-1], X[None])[0]
    apart = ((Z[:100] - Z[100:]) ** 2).sum(axis=1)
    assert 0.3 < np.exp(theta[-1]) * apart.mean() < 3


# -- without a network ----------------------------------------------------------------


def distances(model, X):
    """Squared distances of all pairs of rows in the outputs of a linear network."""
    net, theta = model
    Z = network.predict(net, theta[None], X[None])[0]
    return ((Z[:, None] - Z) ** 2).sum(axis=2)


def mahalanobis(X, precision):
    D = X[:, None] - X
    return np.einsum("ijk,kl,ijl->ij", D, precision, D)


def one_task(within, means, n_rows=10, n_shots=3.0):
    return discriminant(
        within, means, np.full(len(means), n_rows), np.zeros(len(means)), n_shots
    )


def some_covariance(d=4):
    A = np.random.default_rng(0).standard_normal((d, d))
    return A @ A.T


@pytest.mark.parametrize(
    "means",
    [np.zeros((1, 4)), np.eye(4)[:2], np.zeros((9, 4))],
    ids=["one class", "two classes", "all alike"],
)
def test_too_few_classes_to_show_how_they_differ_leave_the_space_whitened(means):
    covariance = some_covariance()
    X = np.random.default_rng(1).standard_normal((6, 4))
    expected = mahalanobis(X, np.linalg.inv(covariance))
    assert_allclose(distances(one_task(covariance, means), X), expected, rtol=1e-9)


def test_classes_far_apart_in_all_directions_leave_the_space_whitened():
    covariance = some_covariance()
    means = 1e5 * np.random.default_rng(1).standard_normal((30, 4))
    X = np.random.default_rng(2).standard_normal((6, 4))
    expected = mahalanobis(X, np.linalg.inv(covariance))
    assert_allclose(distances(one_task(covariance, means), X), expected, rtol=1e-6)


@pytest.mark.parametrize("n_shots", [1.0, 5.0])
@pytest.mark.parametrize("n_classes", [2, 100])
def test_directions_weigh_by_how_far_classes_differ_there(n_classes, n_shots):
    """Against v / (v + 1 / K) with the variances that the means were drawn with."""
    rng = np.random.default_rng(0)
    n, n_rows, v = 20_000, 2, np.array([4.0, 0.5, 0.1])
    within = np.diag([1.0, 9.0, 0.25])
    means = rng.standard_normal((n, 3)) * np.sqrt((v + 1 / n_rows) * np.diag(within))
    task = np.arange(n) // n_classes
    model = discriminant(within, means, np.full(n, n_rows), task, n_shots)
    found = distances(model, np.vstack([np.zeros(3), np.sqrt(within)]))[0, 1:]
    assert_allclose(found, v / (v + 1 / n_shots), rtol=0.1)


def test_means_of_classes_are_taken_relative_to_the_mean_of_their_task():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(40), 5)
    means = rng.standard_normal((200, 3))
    moved = means + 100 * rng.standard_normal((40, 3))[task]
    sizes, X = np.full(200, 4), rng.standard_normal((6, 3))
    a = discriminant(np.eye(3), means, sizes, task, 3.0)
    b = discriminant(np.eye(3), moved, sizes, task, 3.0)
    assert_allclose(distances(b, X), distances(a, X), rtol=1e-8)
    names = rng.permutation(1000)[:40][task]
    c = discriminant(np.eye(3), means, sizes, names, 3.0)
    assert_allclose(distances(c, X), distances(a, X), rtol=1e-8)


def test_the_units_of_the_columns_do_not_change_a_whitened_space():
    covariance, units = some_covariance(), np.array([0.1, 1.0, 2.0, 10.0])
    rng = np.random.default_rng(1)
    means, X = rng.standard_normal((9, 4)), rng.standard_normal((6, 4))
    a = one_task(covariance, means)
    b = one_task(covariance * np.outer(units, units), means * units)
    assert_allclose(distances(b, X * units), distances(a, X), rtol=1e-6)


def test_without_variation_within_classes_the_space_is_that_of_x():
    net, theta = one_task(None, np.random.default_rng(0).standard_normal((9, 3)))
    (layer,) = net.layout.layers(theta)
    assert_array_equal(layer.weight, np.eye(3))
    assert_array_equal(layer.bias, np.zeros(3))


def test_a_singular_covariance_is_whitened_without_infinite_numbers():
    net, theta = one_task(np.diag([1.0, 2.0, 0.0]), np.zeros((1, 3)))
    (layer,) = net.layout.layers(theta)
    assert np.isfinite(theta).all()
    assert_allclose(np.diag(layer.weight)[:2], [1, np.sqrt(0.5)])
    assert layer.weight[2, 2] <= 1.001e3


def test_the_temperature_of_normal_classes_is_found():
    """A row is N(0, s^2 (1 + 1/K)) away from the mean of K rows of its class."""
    rng = np.random.default_rng(0)
    deviation, n_shots = 1.5, 10
    codes = np.repeat(np.arange(40), 30)
    X = 4 * rng.standard_normal((40, 5))[codes]
    X += deviation * rng.standard_normal(X.shape)
    net, theta = one_task(None, np.zeros((1, 5)))
    settings = SETTINGS._replace(n_way=10, support_size=n_shots, n_queries=15)
    table = class_table(codes, np.zeros(len(codes), dtype=int))
    found = best_log_temperature(
        net, theta, lambda index: X[index], table, settings, rng
    )
    expected = 1 / (2 * deviation**2 * (1 + 1 / n_shots))
    assert_allclose(np.exp(found), expected, rtol=0.15)


def test_no_temperature_nearby_has_a_lower_loss_than_the_best():
    X = clouds(1.0)
    net, theta = one_task(None, np.zeros((1, 3)))

    def best(draws):
        return best_log_temperature(
            net, theta, lambda index: X[index], ragged_table(), SETTINGS, draws
        )

    found = best(np.random.default_rng(7))
    rng = np.random.default_rng(7)
    draws = [draw_episodes(rng, ragged_table(), SETTINGS) for _ in range(20)]
    loss = [
        np.mean([plain_loss(X[e.rows], np.exp(found + step), e) for e in draws])
        for step in (-0.05, 0, 0.05)
    ]
    assert loss[1] < min(loss[0], loss[2])
