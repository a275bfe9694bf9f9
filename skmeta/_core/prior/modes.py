"""Modes of the coefficients of many tasks, by Newton's method. See `laplace`."""

from typing import NamedTuple

import numpy as np

from skmeta._core.prior.derivatives import hessian

# Newton's method for the modes ends after this many steps.
MAX_NEWTON = 50
# It ends earlier if the Newton decrement, which is twice what a step can still gain, is
# below this share of the value.
MODE_TOL = 1e-13
# A step of Newton's method is halved at most this many times.
MAX_HALVINGS = 30
# A curvature serves for further steps, while each step leaves at most this share of
# what could be gained before it, ...
SLOW = 0.1
# ... and until a step gains this share of what the decrement above allows.
OLD_TOL = 1e-8


class Mode(NamedTuple):
    """The posterior of T tasks about its mode."""

    u: np.ndarray  # (T, r)
    theta: np.ndarray  # (T, P)
    value: np.ndarray  # (T,) log-likelihood minus u'u / 2
    mu: np.ndarray  # (T, n, o) means of the targets
    score: np.ndarray  # (T, P) gradient of the log-likelihood
    hessian: np.ndarray  # (T, P, P) minus its second derivative
    B: np.ndarray  # (T, r, r) precision of u


def find_mode(likelihood, stack, mean, L, u=None):
    """The `Mode` of every task by Newton's method, with steps halved until they climb.

    The search sees only the columns of X whose coefficients vary; the share of the
    others in eta is fixed. ``u`` (T, r) is where to begin.
    """
    o, r = likelihood.n_outputs, L.shape[1]
    blocks = L.reshape(o, -1, r)
    varying = blocks.any(axis=(0, 2))
    X = stack.X if varying.all() else stack.X[..., varying]
    searched = stack._replace(X=X, offset=stack.eta(mean[None]))
    u = np.zeros((len(stack.X), r)) if u is None else u
    u, value = newton(likelihood, searched, blocks[:, varying].reshape(-1, r), u)
    theta = mean + u @ L.T
    mu, score, H = derivatives(likelihood, stack, stack.eta(theta))
    return Mode(u, theta, value, mu, score, H, precision_of(likelihood, L, H))


def mode_of_all(likelihood, stacks, centre, weak):
    """Coefficients (P,) of the rows of all stacks as those of one task.

    Their prior is normal about ``centre`` with the precision ``weak`` (P, P).
    """

    def height(theta):
        log_density = (
            (stack.weight * likelihood.log_density(stack.eta(theta[None]), stack.Y))
            for stack in stacks
        )
        apart = theta - centre
        return sum(part.sum() for part in log_density) - 0.5 * apart @ weak @ apart

    theta, value = centre, height(centre)
    for _ in range(MAX_NEWTON):
        slope, H = -weak @ (theta - centre), weak
        for stack in stacks:
            _, score, of_stack = derivatives(likelihood, stack, stack.eta(theta[None]))
            slope, H = slope + score.sum(axis=0), H + of_stack.sum(axis=0)
        step = np.linalg.solve(H, slope)
        gain = slope @ step
        if gain < MODE_TOL * (1 + abs(value)):
            return theta + step
        for _ in range(MAX_HALVINGS):
            tried = height(theta + step)
            if tried >= value - 1e-10 * (1 + abs(value)):
                break
            step = 0.5 * step
        theta, value = theta + step, tried
    return theta


def times(u, A):
    """Rows u (T, r) times A (r, P), or each times its own A (T, r, P): (T, P)."""
    return u @ A if A.ndim == 2 else (u[:, None] @ A)[:, 0]


def newton(likelihood, stack, L, u):
    """u (T, r) at the mode, and the log-likelihood minus u'u / 2 there.

    L is (P, r), or (T, P, r) if each task has its own.
    """
    value, eta = _objective(likelihood, stack, L, u)
    if likelihood.is_steep and u.any():
        at_zero, _ = _objective(likelihood, stack, L, np.zeros_like(u))
        u = np.where((value > at_zero)[:, None], u, 0.0)
        value, eta = _objective(likelihood, stack, L, u)
    if likelihood.own_designs and len(u) > 1:  # a single task is found finely
        return _newton_by_few_curvatures(likelihood, stack, L, u, value, eta)
    for _ in range(MAX_NEWTON):
        _, score, H = derivatives(likelihood, stack, eta)
        slope = times(score, L) - u
        B = precision_of(likelihood, L, H)
        step = np.linalg.solve(B, slope[..., None])[..., 0]
        gain = (slope * step).sum(axis=-1)
        if (gain < MODE_TOL * (1 + np.abs(value))).all():
            # the step is known already, and squares the error that is left
            return u + step, value + 0.5 * gain
        length = _first_length(likelihood, stack, times(step, L.swapaxes(-1, -2)))
        u, value, eta = _climb(likelihood, stack, L, u, step, value, length)
    return u, value


def _newton_by_few_curvatures(likelihood, stack, L, u, value, eta):
    """The same where the curvature is what costs most.

    It serves for further steps, while each leaves little of what could be gained.
    """
    inverse, before = None, np.inf
    for _ in range(MAX_NEWTON):
        mu = likelihood.mean(eta)
        slope = likelihood.slope(mu, stack.Y) * stack.weight[..., None]
        slope = times(stack.gradient(slope), L) - u
        is_new = inverse is None
        if is_new:
            H = hessian(likelihood, stack, mu)
            inverse = np.linalg.inv(precision_of(likelihood, L, H))
        step = (inverse @ slope[..., None])[..., 0]
        gain = (slope * step).sum(axis=-1)
        # a step by an old curvature leaves more of the error
        tol = (1.0 if is_new else OLD_TOL) * MODE_TOL
        done = gain < tol * (1 + np.abs(value))
        if done.all():
            return u + step, value + 0.5 * gain
        u, value, eta = _climb(likelihood, stack, L, u, step, value, np.ones(len(u)))
        if not is_new and (gain > SLOW * before)[~done].any():
            inverse = None
        before = gain
    return u, value


def precision_of(likelihood, L, H):
    """B = I + L'HL (T, r, r), the precision of u.

    Where the curvature has no bound, a search may try a point at which rounding would
    take the smallest eigenvalues below zero; so a little more than rounding is added.
    """
    P, r = L.shape[-2:]
    B = np.eye(r) + L.swapaxes(-1, -2) @ H @ L
    if likelihood.is_steep:
        trace = np.trace(B, axis1=-2, axis2=-1)
        B += 10 * P * np.finfo(float).eps * trace[:, None, None] * np.eye(r)
    return B


def _objective(likelihood, stack, L, u):
    """Log-likelihood minus u'u / 2, and the linear predictors."""
    eta = stack.eta(times(u, L.swapaxes(-1, -2)))
    log_density = likelihood.log_density(eta, stack.Y)
    value = (stack.weight * log_density).sum(axis=-1)
    return value - 0.5 * (u * u).sum(axis=-1), eta


def derivatives(likelihood, stack, eta):
    """Means of the targets, gradient (T, P), and minus the second derivative."""
    mu = likelihood.mean(eta)
    slope = likelihood.slope(mu, stack.Y) * stack.weight[..., None]
    return mu, stack.gradient(slope), hessian(likelihood, stack, mu)


def _first_length(likelihood, stack, step):
    """The share (T,) of a step of the coefficients that is tried first."""
    if not likelihood.is_steep:
        return np.ones(len(step))
    moved = stack._replace(offset=np.zeros_like(stack.offset)).eta(step)
    farthest = np.abs(moved).max(axis=(1, 2), initial=likelihood.longest_step)
    return likelihood.longest_step / farthest


def _climb(likelihood, stack, L, u, step, value, length):
    for _ in range(MAX_HALVINGS):
        tried = u + length[:, None] * step
        reached, eta = _objective(likelihood, stack, L, tried)
        worse = reached < value - 1e-10 * (1 + np.abs(value))
        if not worse.any():
            break
        length[worse] *= 0.5
    return tried, reached, eta
