"""Adam (Kingma & Ba, 2015) on one flat vector, with a rate that ends at zero."""

from typing import NamedTuple

import numpy as np

# The constants of the paper.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
# A longer gradient is shortened to this norm.
MAX_GRADIENT_NORM = 10.0


class AdamState(NamedTuple):
    """Decaying means of the gradient and of its square."""

    mean: np.ndarray  # (P,)
    mean_square: np.ndarray  # (P,)
    n_steps: int = 0


def start(theta):
    """The state before the first step."""
    return AdamState(np.zeros_like(theta), np.zeros_like(theta))


def step(theta, gradient, state, rate):
    """Parameters and state after one step. A huge gradient is shortened first."""
    norm = np.sqrt(gradient @ gradient)
    gradient = gradient * theta.dtype.type(
        MAX_GRADIENT_NORM / max(norm, MAX_GRADIENT_NORM)
    )
    t = state.n_steps + 1
    mean = BETA_1 * state.mean + (1 - BETA_1) * gradient
    mean_square = BETA_2 * state.mean_square + (1 - BETA_2) * gradient**2
    unbiased = mean_square / (1 - BETA_2**t)
    rate = rate / (1 - BETA_1**t)
    theta = theta - rate * mean / (np.sqrt(unbiased) + EPSILON)
    return theta, AdamState(mean, mean_square, t)


def fraction(i, n):
    """The rate at iteration i of n over the full rate.

    It is 1 for the first half of the run and then falls linearly to 0.
    """
    return min(1.0, 2.0 * (1.0 - i / n))
