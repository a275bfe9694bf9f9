r"""The evidence of a binary task whose rows vary along one direction, as an integral.

Where the coefficients u ~ N(0, I) of a task move all its logits along one line, these
are eta = b + a z with z ~ N(0, 1), and the evidence is the integral

    p(y) = int exp(f(z)) dz / sqrt(2 pi),    f(z) = log p(y | b + a z) - z^2 / 2.

That is so for a task of one row, or of rows with the same x, and wherever the spread
between tasks is that of one coefficient. Laplace's method is poorest there: a label by
itself says little, and its posterior is far from normal.

With g the slope of log p(y | eta) in the logits, W its curvature, and means E over the
posterior of z, the derivatives in mean and spread are exact as well,

    X' E[g]    and    D L,    D = X' E[gg' - W] X

(the second one by partial integration).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from skmeta._core.tasks import slices

N_NODES = 24  # on either side of the mode
DROP = 20.0  # of f from the mode to where the integral is cut off
MAX_SEARCH = 200  # steps, of which most halve a bracket
CHUNK_CELLS = 2**19  # logits of several tasks held at a time ...
ROWS = 2**11  # ... and rows of a long one


class Lines(NamedTuple):
    """T integrals, each over one line of logits b + a z of n rows, padded."""

    b: np.ndarray  # (T, n)
    a: np.ndarray  # (T, n)
    Y: np.ndarray  # (T, n)
    weight: np.ndarray  # (T, n)


class Moments(NamedTuple):
    """The integrals, and the nodes by which means over their posteriors are taken."""

    value: np.ndarray  # (T,) log p(y)
    share: np.ndarray  # (T, nodes), sums to 1
    z: np.ndarray  # (T, nodes)
    mode: np.ndarray  # (T,)


def in_chunks(n_tasks, n_rows):
    """Slices of tasks, so many at a time that their nodes fit into memory."""
    size = max(1, CHUNK_CELLS // (2 * N_NODES * max(n_rows, 1)))
    return [slice(i, i + size) for i in range(0, n_tasks, size)]


def integrate(lines, z=None):
    """`Moments` of each line, by Gauss-Legendre rules on both sides of its mode.

    f is concave with a second derivative of at most -1, and may be steep on one side
    and flat on the other: so each side has nodes of its own.
    """
    mode, top = _mode(lines, np.zeros(len(lines.b)) if z is None else z)
    node, rule = _legendre()
    below, above = (_reach(lines, mode, top, side) for side in (-1.0, 1.0))
    z = np.concatenate(
        [mode[:, None] - below[:, None] * node, mode[:, None] + above[:, None] * node],
        axis=1,
    )
    width = np.concatenate([below[:, None] * rule, above[:, None] * rule], axis=1)
    f = _height(lines, z)
    top = f.max(axis=1)
    share = width * np.exp(f - top[:, None])
    total = share.sum(axis=1)
    share /= total[:, None]
    return Moments(
        value=top + np.log(total) - 0.5 * np.log(2 * np.pi),
        share=share,
        z=z,
        mode=mode,
    )


def blocks(n_rows):
    """Slices of rows: of a long task so many at a time."""
    return slices(n_rows, ROWS)


def slopes(lines, found):
    """g (T, nodes, n) at the nodes of the `Moments`, and E[W] (T, n).

    ``lines`` may be some of the rows.
    """
    slope, curvature = _slopes(lines, found.z)
    return slope, (found.share[:, None] @ curvature)[:, 0]


def _legendre():
    """Nodes and weights on [0, 1]."""
    node, rule = np.polynomial.legendre.leggauss(N_NODES)
    return 0.5 * (node + 1), 0.5 * rule


def _logits(lines, z):
    return lines.b[:, None] + lines.a[:, None] * z[..., None]


def _height(lines, z):
    """f (T, k) at z (T, k)."""
    f = -0.5 * z**2
    for rows in blocks(lines.b.shape[1]):
        part = Lines(*(field[:, rows] for field in lines))
        eta = _logits(part, z)
        softplus = np.maximum(eta, 0.0) + np.log1p(np.exp(-np.abs(eta)))
        f += (part.weight[:, None] * (part.Y[:, None] * eta - softplus)).sum(axis=-1)
    return f


def _slopes(lines, z):
    """g and W (T, k, n) at z (T, k)."""
    weight, p = lines.weight[:, None], expit(_logits(lines, z))
    return weight * (lines.Y[:, None] - p), weight * p * (1 - p)


def _derivatives(lines, z):
    """f, f' and f'' at z (T,)."""
    f = _height(lines, z[:, None])[:, 0]
    g, W = (field[:, 0] for field in _slopes(lines, z[:, None]))
    slope = (lines.a * g).sum(axis=-1) - z
    return f, slope, -(lines.a**2 * W).sum(axis=-1) - 1.0


def _mode(lines, z):
    """Where f is largest, nearly, and its value; by Newton's method in a bracket."""
    f, slope, bend = _derivatives(lines, z)
    # f' falls by at least one per unit, so that its root is no further than it is high
    low, high = np.minimum(z, z + slope), np.maximum(z, z + slope)
    quick = np.ones(len(z), dtype=bool)
    for _ in range(MAX_SEARCH):
        if (slope**2 < -1e-8 * bend).all():
            break
        low, high = np.where(slope > 0, z, low), np.where(slope < 0, z, high)
        newton, before = z - slope / bend, abs(slope)
        quick &= (newton > low) & (newton < high)
        z = np.where(quick, newton, 0.5 * (low + high))
        f, slope, bend = _derivatives(lines, z)
        quick = abs(slope) < 0.5 * before  # or they swing
    return z, f


def _reach(lines, mode, top, side):
    """How far from the mode f falls by about DROP.

    Newton's method, which comes from above on a concave f.
    """
    farthest = np.sqrt(2 * DROP)
    _, _, bend = _derivatives(lines, mode)
    reach = farthest / np.sqrt(-bend)
    for _ in range(MAX_SEARCH):
        f, slope, _ = _derivatives(lines, mode + side * reach)
        drop = top - f
        if (abs(drop - DROP) < 0.2 * DROP).all():
            break
        steep = np.maximum(-side * slope, DROP / farthest)
        reach = np.clip(reach + (DROP - drop) / steep, 0.0, farthest)
    return reach
