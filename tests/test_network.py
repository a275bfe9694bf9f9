"""Forward pass, losses and gradients against references and plain loops."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.neural_network import MLPRegressor

from skmeta._core.layout import ParamLayout
from skmeta._core.network import (
    ACTIVATIONS,
    HUBER_DELTA,
    LAYER_NORM_EPS,
    LOSSES,
    Batch,
    Network,
    loss_and_gradient,
    losses,
    predict,
)
from skmeta._core.tasks import ABSENT

N_ROWS = (6, 3, 1)  # per task; padded to 6
N_FEATURES, N_OUTPUTS = 3, 3
HIDDEN = [(), (4,), (4, 3)]
every_model = pytest.mark.parametrize(
    ("loss", "hidden", "activation", "layer_norm"),
    list(product(LOSSES, HIDDEN, ACTIVATIONS, [False, True])),
)


def make_network(loss, hidden=(), activation="tanh", layer_norm=False):
    layout = ParamLayout((N_FEATURES, *hidden, N_OUTPUTS), layer_norm)
    return Network(layout, activation, loss)


def make_parameters(network, dtype=np.float64):
    """One vector per task, away from the zeros and ones of the initial draw."""
    rng = np.random.default_rng(1)
    layout = network.layout
    theta = [layout.init(rng) for _ in N_ROWS]
    noise = rng.normal(scale=0.5, size=(len(theta), layout.n_params))
    return (np.array(theta) + noise).astype(dtype)


def make_batch(loss, with_offset=False, dtype=np.float64):
    """Padded rows of three tasks with unequal weights; garbage in the padding."""
    rng = np.random.default_rng(3)
    shape = (len(N_ROWS), max(N_ROWS))
    if loss == "softmax_log_loss":
        Y = np.eye(N_OUTPUTS)[rng.integers(N_OUTPUTS, size=shape)]
    elif loss == "log_loss":
        Y = rng.integers(2, size=(*shape, N_OUTPUTS)).astype(float)
    else:
        Y = rng.normal(scale=3.0, size=(*shape, N_OUTPUTS))
    present = np.arange(shape[1]) < np.array(N_ROWS)[:, None]
    weight = rng.uniform(0.2, 2.0, size=shape) * present
    total = weight.sum(axis=1)
    offset = rng.normal(size=(*shape, N_OUTPUTS)) if with_offset else None
    return Batch(
        X=rng.normal(size=(*shape, N_FEATURES)).astype(dtype),
        Y=Y.astype(dtype),
        weight=(weight / total[:, None]).astype(dtype),
        total_weight=total,
        offset=None if offset is None else offset.astype(dtype),
    )


def one_task(batch, t):
    """The rows of one task, without padding."""
    n = N_ROWS[t]
    return Batch(
        X=batch.X[t : t + 1, :n],
        Y=batch.Y[t : t + 1, :n],
        weight=batch.weight[t : t + 1, :n],
        total_weight=batch.total_weight[t : t + 1],
        offset=None if batch.offset is None else batch.offset[t : t + 1, :n],
    )


def finite_differences(network, theta, batch, h=1e-5):
    G = np.empty_like(theta)
    for j in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[j] = h
        up, down = (
            losses(network, theta + step, batch),
            losses(network, theta - step, batch),
        )
        G[:, j] = (up - down) / (2 * h)
    return G


# -- gradient -------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("with_offset", [False, True])
def test_gradient_agrees_with_finite_differences(
    loss, hidden, activation, layer_norm, with_offset
):
    network = make_network(loss, hidden, activation, layer_norm)
    theta, batch = make_parameters(network), make_batch(loss, with_offset)
    _, G = loss_and_gradient(network, theta, batch)
    assert_allclose(G, finite_differences(network, theta, batch), rtol=1e-6, atol=1e-9)


@every_model
def test_a_stack_of_tasks_equals_a_loop_over_them(loss, hidden, activation, layer_norm):
    network = make_network(loss, hidden, activation, layer_norm)
    theta, batch = make_parameters(network), make_batch(loss, with_offset=True)
    value, G = loss_and_gradient(network, theta, batch)
    for t in range(len(N_ROWS)):
        alone = loss_and_gradient(network, theta[t : t + 1], one_task(batch, t))
        assert_allclose(value[t], alone[0][0], rtol=1e-13)
        assert_allclose(G[t], alone[1][0], rtol=1e-11, atol=1e-14)


@every_model
def test_padding_rows_change_nothing(loss, hidden, activation, layer_norm):
    network = make_network(loss, hidden, activation, layer_norm)
    theta, batch = make_parameters(network), make_batch(loss, with_offset=True)
    padding = batch.weight == 0
    X, Y, offset = batch.X.copy(), batch.Y.copy(), batch.offset.copy()
    X[padding], Y[padding], offset[padding] = 1e6, -1e6, 1e3
    other = batch._replace(X=X, Y=Y, offset=offset)

    value, G = loss_and_gradient(network, theta, batch)
    other_value, other_G = loss_and_gradient(network, theta, other)
    assert_array_equal(value, other_value)
    assert_array_equal(G, other_G)


@every_model
@pytest.mark.parametrize("with_offset", [False, True])
def test_losses_are_the_values_that_come_with_the_gradient(
    loss, hidden, activation, layer_norm, with_offset
):
    network = make_network(loss, hidden, activation, layer_norm)
    theta, batch = make_parameters(network), make_batch(loss, with_offset)
    value, _ = loss_and_gradient(network, theta, batch)
    assert value.shape == (len(N_ROWS),)
    assert_allclose(losses(network, theta, batch), value, rtol=1e-14)


@every_model
@pytest.mark.parametrize("with_offset", [False, True])
def test_single_precision_stays_single(
    loss, hidden, activation, layer_norm, with_offset
):
    network = make_network(loss, hidden, activation, layer_norm)
    theta = make_parameters(network, np.float32)
    batch = make_batch(loss, with_offset, np.float32)
    value, G = loss_and_gradient(network, theta, batch)
    Z = predict(network, theta, batch.X, batch.offset)
    for array in (value, G, Z, losses(network, theta, batch)):
        assert array.dtype == np.float32

    double = make_parameters(network), make_batch(loss, with_offset)
    _, expected = loss_and_gradient(network, *double)
    assert_allclose(G, expected, rtol=1e-3, atol=1e-4)


def test_twice_the_weight_is_the_row_twice():
    network = make_network("squared_error", (4,))
    theta, batch = make_parameters(network)[:1], one_task(make_batch("log_loss"), 1)
    rows = [0, 0, 1, 2]
    twice = Batch(batch.X[:, rows], batch.Y[:, rows], np.full((1, 4), 0.25), None)
    heavy = batch._replace(weight=np.array([[0.5, 0.25, 0.25]]))
    for a, b in zip(
        loss_and_gradient(network, theta, twice),
        loss_and_gradient(network, theta, heavy),
        strict=True,
    ):
        assert_allclose(a, b, rtol=1e-12)


# -- losses ---------------------------------------------------------------------------


def references():
    def squared_error(Z, Y, weight):
        # the metric is a mean over outputs, but the loss is a sum
        return mean_squared_error(Y, Z, sample_weight=weight) * Y.shape[1] / 2

    def huber(Z, Y, weight):
        return weight @ special.huber(HUBER_DELTA, Z - Y).sum(axis=1)

    def binary(Z, Y, weight):
        return sum(
            log_loss(
                Y[:, k], special.expit(Z[:, k]), sample_weight=weight, labels=[0, 1]
            )
            for k in range(Y.shape[1])
        )

    def softmax(Z, Y, weight):
        P = special.softmax(Z, axis=1)
        return log_loss(
            Y.argmax(axis=1), P, sample_weight=weight, labels=range(Y.shape[1])
        )

    return {
        "squared_error": squared_error,
        "huber": huber,
        "log_loss": binary,
        "softmax_log_loss": softmax,
    }


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_equals_its_reference(loss):
    network = make_network(loss, (4,))
    theta, batch = make_parameters(network), make_batch(loss, with_offset=True)
    value = losses(network, theta, batch)
    for t in range(len(N_ROWS)):
        part = one_task(batch, t)
        Z = predict(network, theta[t : t + 1], part.X, part.offset)[0]
        expected = references()[loss](Z, part.Y[0], part.weight[0])
        assert_allclose(value[t], expected, rtol=1e-12)


def test_the_huber_data_has_residuals_on_both_sides_of_the_bend():
    network, batch = make_network("huber", (4,)), make_batch("huber")
    R = predict(network, make_parameters(network), batch.X) - batch.Y
    assert (np.abs(R) > HUBER_DELTA).mean() > 0.2
    assert (np.abs(R) < HUBER_DELTA).mean() > 0.2


@pytest.mark.parametrize("loss", ["log_loss", "softmax_log_loss"])
def test_huge_logits_give_finite_losses_and_slopes(loss):
    Z = np.array([[1000.0, -1000.0]])
    right, slope = LOSSES[loss](Z, np.array([[1.0, 0.0]]))
    assert_array_equal(right, 0.0)
    assert_array_equal(slope, 0.0)
    wrong, slope = LOSSES[loss](Z, np.array([[0.0, 1.0]]))
    assert_array_equal(wrong, 2000.0)
    assert_array_equal(slope, [[1.0, -1.0]])


def test_two_softmax_outputs_are_one_log_odds():
    z, y = np.linspace(-3, 3, 7)[:, None], np.array([0, 1, 0, 1, 1, 0, 1.0])[:, None]
    one, slope = LOSSES["log_loss"](z, y)
    two, slopes = LOSSES["softmax_log_loss"](
        np.hstack([0 * z, z]), np.hstack([1 - y, y])
    )
    assert_allclose(two, one, rtol=1e-13)
    assert_allclose(slopes, np.hstack([-slope, slope]), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_absent_class_has_neither_probability_nor_gradient(dtype):
    network = make_network("softmax_log_loss")
    theta = make_parameters(network, dtype)
    batch = make_batch("softmax_log_loss", dtype=dtype)
    present = [0, 2]
    Y = np.zeros_like(batch.Y)
    Y[..., 0], Y[..., 2] = batch.Y[..., 0], 1 - batch.Y[..., 0]
    absent = np.array([0, ABSENT, 0], dtype=dtype)
    value, G = loss_and_gradient(network, theta, batch._replace(Y=Y, offset=absent))

    (layer,), (grad,) = network.layout.layers(theta), network.layout.layers(G)
    assert_array_equal(grad.weight[..., 1], 0)
    assert_array_equal(grad.bias[..., 1], 0)
    small = Network(ParamLayout((N_FEATURES, 2)), "tanh", "softmax_log_loss")
    theta = np.concatenate(
        [layer.weight[..., present], layer.bias[:, None, present]], axis=1
    ).reshape(len(theta), -1)
    expected, _ = loss_and_gradient(small, theta, batch._replace(Y=Y[..., present]))
    assert_allclose(value, expected, rtol=1e-6 if dtype == np.float32 else 1e-13)


# -- forward pass ---------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(5,), (5, 4)])
@pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
def test_outputs_equal_those_of_scikit_learns_network(hidden, activation):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, N_FEATURES)), rng.normal(size=(20, N_OUTPUTS))
    mlp = MLPRegressor(
        hidden_layer_sizes=hidden, activation=activation, max_iter=2, random_state=0
    )
    mlp.fit(X, y)
    network = make_network("squared_error", hidden, activation)
    theta = np.empty(network.layout.n_params)
    for layer, weight, bias in zip(
        network.layout.layers(theta), mlp.coefs_, mlp.intercepts_, strict=True
    ):
        layer.weight[...], layer.bias[...] = weight, bias
    Z = predict(network, theta[None], X[None])[0]
    assert_allclose(Z, mlp.predict(X), rtol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_layer_norm_standardises_each_row_over_the_units(activation):
    network = make_network("squared_error", (5,), activation, layer_norm=True)
    theta = make_parameters(network)[0]
    hidden, last = network.layout.layers(theta)
    x = np.random.default_rng(0).normal(size=N_FEATURES)

    z = x @ hidden.weight + hidden.bias
    z = (z - z.mean()) / np.sqrt(z.var() + LAYER_NORM_EPS)
    z = z * hidden.gain + hidden.shift
    a = np.tanh(z) if activation == "tanh" else np.maximum(z, 0)
    expected = a @ last.weight + last.bias
    assert_allclose(predict(network, theta[None], x[None, None])[0, 0], expected)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_rows_output_does_not_depend_on_the_rows_beside_it(layer_norm):
    network = make_network("squared_error", (5,), "relu", layer_norm)
    theta = make_parameters(network)[:1]
    X = np.random.default_rng(0).normal(size=(1, 8, N_FEATURES))
    together = predict(network, theta, X)
    alone = [predict(network, theta, X[:, i : i + 1])[0, 0] for i in range(8)]
    assert_allclose(together[0], alone, rtol=1e-12)


def test_one_vector_of_parameters_serves_many_tasks():
    network = make_network("squared_error", (4,))
    theta, batch = make_parameters(network)[:1], make_batch("squared_error")
    shared = np.broadcast_to(theta, (len(N_ROWS), theta.shape[1]))
    value, G = loss_and_gradient(network, shared, batch)
    repeated = loss_and_gradient(network, shared.copy(), batch)
    assert_allclose(value, repeated[0], rtol=1e-13)
    assert_allclose(G, repeated[1], rtol=1e-13)


def test_gradient_leaves_its_arguments_alone():
    network = make_network("softmax_log_loss", (4, 3), "relu", layer_norm=True)
    theta, batch = make_parameters(network), make_batch("softmax_log_loss", True)
    before = [a.copy() for a in (theta, batch.X, batch.Y, batch.weight, batch.offset)]
    loss_and_gradient(network, theta, batch)
    after = (theta, batch.X, batch.Y, batch.weight, batch.offset)
    for a, b in zip(before, after, strict=True):
        assert_array_equal(a, b)
