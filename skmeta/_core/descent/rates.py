"""Positive inner rates, learned while Reptile runs.

With a single inner rate all parameters move alike, but they should not: an offset may
vary between tasks where a slope does not. After K inner steps
``theta - start = -rate * sum of gradients``. So, to first order, the loss of rows that
the inner loop has not seen depends on the rates by

    d loss(theta) / d log rate = gradient(theta) * (theta - start),

summed over the parameters that share a rate. This product is all that is needed. It is
a first-order form of Meta-SGD (Li et al., 2017); rates per layer are those of MAML++
(Antoniou et al., 2019). Learning the logarithm keeps rates positive, and they stay
within a factor of `MAX_FACTOR` of where they began, so they cannot explode.

For linear models `curved.py` has the exact gradient, and it is learned by the same
steps.
"""

from dataclasses import dataclass

import numpy as np

MAX_FACTOR = 100.0
# How much of the mean square of a gradient stays from one meta-iteration to the next.
DECAY = 0.95
# The logarithm of a rate moves by about this much in a meta-iteration.
LOG_RATE_STEP = 0.03


@dataclass(frozen=True)
class RateState:
    """Logarithms of the rates over ``learning_rate``; mean square of their gradient."""

    log_factor: np.ndarray  # (n_groups,)
    mean_square: np.ndarray  # (n_groups,)
    n_updates: int = 0


def initial_rates(n_groups):
    return RateState(np.zeros(n_groups), np.zeros(n_groups))


def update_rates(state, groups, slope, fraction, most=MAX_FACTOR):
    """One step on the logarithms of the rates.

    Parameters
    ----------
    state : RateState
    groups : ndarray of int of shape (P,)
        Which rate each parameter uses.
    slope : ndarray of shape (P,)
        Sum over tasks of the gradient of the query loss at the adapted parameters,
        times their distance from the start.
    fraction : float
        Fraction of the full step to take. It falls during a run, as the meta step does.
    most : float
        The rates stay within this factor of where they began.
    """
    slope = np.bincount(groups, weights=slope, minlength=len(state.log_factor))
    mean_square = DECAY * state.mean_square + (1 - DECAY) * slope**2
    n_updates = state.n_updates + 1
    spread = np.sqrt(mean_square / (1 - DECAY**n_updates))
    step = np.divide(slope, spread, out=np.zeros_like(slope), where=spread > 0)
    limit = np.log(most)
    log_factor = np.clip(
        state.log_factor - LOG_RATE_STEP * fraction * step, -limit, limit
    )
    return RateState(log_factor, mean_square, n_updates)
