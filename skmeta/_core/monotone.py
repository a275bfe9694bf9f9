"""Ends of intervals through a function that rises, or falls, everywhere."""

import numpy as np

# A function is tried at so many points between the ends.
N_BETWEEN = 200
# How near, as shares of a distance, a limit is approached.
NEARER = 2.0 ** -np.arange(10, 31, 10)


def through_monotone(function, ends):
    """Lower and upper ends (n, 2) after ``function``; None if it is not monotone.

    An end may lie where the function gives no number, as a power of a negative number.
    It then becomes the limit up to there, which may be infinite: no value of the
    function is further away.

    Parameters
    ----------
    function : callable
        Takes numbers (m,), and returns as many.
    ends : ndarray of shape (n, 2)
    """
    between = np.linspace(ends.min(), ends.max(), N_BETWEEN)
    points = np.unique(np.concatenate([ends.ravel(), between]))
    with np.errstate(all="ignore"):
        values = np.asarray(function(points), dtype=float)
        known = np.flatnonzero(~np.isnan(values))
        if len(known) == 0:
            return None
        first, last = known[0], known[-1]
        if first > 0:
            values[:first] = _limit(function, points[first], points[first - 1])
        if last + 1 < len(points):
            values[last + 1 :] = _limit(function, points[last], points[last + 1])
    if not _is_monotone(values):
        return None
    return np.sort(values[np.searchsorted(points, ends)], axis=1)


def _is_monotone(values):
    """Whether values rise or fall, up to rounding. They may be infinite at the ends."""
    finite = values[np.isfinite(values)]
    rounding = 1e-12 * np.abs(np.diff(finite)).sum()
    before, after = values[:-1], values[1:]  # a comparison with NaN is False
    return bool(
        (after >= before - rounding).all() or (after <= before + rounding).all()
    )


def _limit(function, known, unknown):
    """The limit of a function where it ends between two points."""
    start, edge = known, unknown
    while True:
        middle = 0.5 * (known + edge)
        if middle in (known, edge):
            break
        if np.isnan(function(np.array([middle]))[0]):
            edge = middle
        else:
            known = middle
    points = known - (known - start) * NEARER
    values = function(np.append(points, known))
    steps = np.diff(values[:-1])
    if abs(steps[1]) >= abs(steps[0]) > 0:  # it grows without bound
        return np.copysign(np.inf, steps[1])
    return values[-1]
