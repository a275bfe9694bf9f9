r"""Classification by class means in a learned space (Snell et al., 2017).

An episode draws classes of one task, a few rows of each to take the means c_k of, and
other rows to classify, the queries. With z the network's outputs and tau a learned
temperature,

    p(k | x) = softmax_k(-tau |z(x) - c_k|^2),

and the network learns by the log-loss of the queries, through both z and c.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from skmeta._core import adam, network
from skmeta._core.prototypes.episodes import draw_episodes

# A temperature is chosen by this many episodes, if nothing else is learned.
N_EPISODES = 20
# The logarithm of the temperature is searched for within these bounds.
LOG_TEMPERATURES = (-10.0, 5.0)


def class_means(Z, support):
    """Means (E, W, F) of the support rows of Z (E, W, n, F), and their numbers."""
    counts = np.maximum(support.sum(axis=-1), 1)[..., None].astype(Z.dtype)
    return np.einsum("ewnf,ewn->ewf", Z, support.astype(Z.dtype)) / counts, counts


def episode_loss(Z, log_temperature, episodes):
    """Mean log-loss of the queries and its gradients in Z and the log temperature."""
    E, W, n, F = Z.shape
    tau = np.exp(log_temperature)
    C, counts = class_means(Z, episodes.support)
    rows = Z.reshape(E, W * n, F)
    # |z|^2 is the same for all classes of a row, and cancels.
    logits = tau * (2 * rows @ C.swapaxes(-1, -2) - (C * C).sum(axis=-1)[:, None])
    logits = np.where(episodes.present[:, None], logits, -np.inf)
    logits -= logits.max(axis=-1, keepdims=True)
    P = np.exp(logits)
    total = P.sum(axis=-1, keepdims=True)
    asked = episodes.query.reshape(E, W * n)
    own = np.repeat(np.arange(W), n)
    everyone = np.arange(W * n)
    value = np.log(total[..., 0]) - np.where(asked, logits[:, everyone, own], 0)
    n_asked = asked.sum()
    D = P / total
    D[:, everyone, own] -= 1
    D *= asked[..., None] / Z.dtype.type(n_asked)
    G = 2 * tau * (D @ C)
    dC = 2 * tau * (D.swapaxes(-1, -2) @ rows - D.sum(axis=1)[..., None] * C)
    G = G.reshape(Z.shape)
    G += episodes.support[..., None] * (dC / counts)[:, :, None]
    finite = np.where(episodes.present[:, None], logits, 0)
    return (value * asked).sum() / n_asked, G, (D * finite).sum()


def episodic_steps(net, theta, X, table, settings, rng):
    """Yield theta and the loss after each meta-iteration, by Adam.

    ``theta`` is the network's parameters and, last, the log temperature; ``X`` gives
    the rows of an index array, in theta's precision.
    """
    memory = adam.start(theta)
    for i in range(settings.max_iter):
        episodes = draw_episodes(rng, table, settings)
        Z, tape = network.forward(net, theta[None, :-1], X(episodes.rows.ravel())[None])
        Z = Z.reshape(*episodes.rows.shape, -1)
        loss, G, slope = episode_loss(Z, theta[-1], episodes)
        gradient = network.backward(net, tape, G.reshape(1, -1, Z.shape[-1]))[0]
        rate = settings.learning_rate * adam.fraction(i, settings.max_iter)
        theta, memory = adam.step(
            theta,
            np.append(gradient, slope).astype(theta.dtype),
            memory,
            theta.dtype.type(rate),
        )
        yield theta, float(loss)


def first_parameters(net, rng):
    """First parameters and, last, the log temperature, with distances of about one."""
    theta = net.layout.init(rng, np.float32)
    return np.append(theta, np.float32(-np.log(net.layout.sizes[-1])))


def best_log_temperature(net, theta, X, table, settings, rng):
    """The logarithm of the temperature with the least loss over some episodes."""
    draws = []
    for _ in range(N_EPISODES):
        episodes = draw_episodes(rng, table, settings)
        Z = network.predict(net, theta[None], X(episodes.rows.ravel())[None])
        draws.append((Z.reshape(*episodes.rows.shape, -1), episodes))

    def loss(log_temperature):
        return np.mean([episode_loss(Z, log_temperature, e)[0] for Z, e in draws])

    return minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x
