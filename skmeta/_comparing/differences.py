"""Differences between models over tasks: their scale, their means and intervals."""

import numpy as np
from scipy.special import stdtrit

from skmeta._comparing.names import POOLED

# The verdict says something about a number of rows if at least this many tasks can
# give as many.
FEWEST_TASKS = 6

# A smaller error, as a part of the largest error in the same task, counts as this one.
SMALLEST_ERROR = 1e-6

# The logarithm of the ratio of two errors is cut off here.
LARGEST_LOG_RATIO = 20.0


class Differences:
    """Scores of models, and by how much they differ over the same tasks.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n_tasks, n_sizes)
        For each model the score of each task after each number of rows.
    scoring : str
        Name of the metric.

    Attributes
    ----------
    scale : {"ratio", "share", "points"}
        How tasks are compared: by the ratio of two errors, by the difference as a
        part of the mean over tasks, or by the difference itself.
    judged : dict of str to ndarray of shape (n_tasks, n_sizes)
        The scores on a scale where tasks count alike and differences have a meaning.
    """

    def __init__(self, scores, scoring):
        self.scores = scores
        self.scale = _scale_of(scoring, scores)
        self.judged = _judged(scores, self.scale)

    def between(self, name, other):
        """Trimmed mean over tasks, and half the width of its interval."""
        return trimmed(self.judged[name] - self.judged[other])

    def overall(self, name, other, places):
        """The same averaged over the numbers of rows at these places."""
        difference = (self.judged[name] - self.judged[other])[:, places]
        difference = difference[~np.isnan(difference).all(axis=1)]
        mean, half = trimmed(np.nanmean(difference, axis=1)[:, None])
        return mean[0], half[0]

    def tasks_ahead(self, name, other):
        """Number of tasks in which one model is better, and of all compared."""
        with np.errstate(invalid="ignore"):  # the difference of two infinite scores
            difference = self.scores[name] - self.scores[other]
        return (difference > 0).sum(axis=0), (~np.isnan(difference)).sum(axis=0)

    # -- in words

    def shown(self, value):
        """A difference as the user sees it: of a ratio, the part that is saved."""
        return -np.expm1(-value) if self.scale == "ratio" else value

    def amount(self, mean, half):
        """The size of a gain or loss in words, with its interval."""
        if mean < 0:
            low, middle, high = -self.shown(np.array([mean + half, mean, mean - half]))
        else:
            low, middle, high = self.shown(np.array([mean - half, mean, mean + half]))
        unit = "" if self.scale == "points" else " %"
        low, middle, high = self.digits(low, middle, high)
        return f"{middle}{unit} ({low} to {high})"

    def digits(self, *gains):
        """Gains as text, all with the same number of digits."""
        if self.scale == "points":
            return [_no_minus_zero(f"{gain:.3f}") for gain in gains]
        places = 0 if max(map(abs, gains)) >= 0.1 else 1
        return [_no_minus_zero(f"{100 * gain:.{places}f}") for gain in gains]


def _no_minus_zero(number):
    return number.removeprefix("-") if not float(number) else number


# -- the scale ------------------------------------------------------------------------


def _scale_of(scoring, scores):
    """The scale on which tasks are compared; see `BaselineComparison.gain`."""
    finite = [values[np.isfinite(values)] for values in scores.values()]
    finite = np.concatenate([values.ravel() for values in finite])
    if scoring in ("neg_log_loss", "neg_brier_score", "neg_choice_log_loss"):
        return "share"  # their unit is the same in every task
    if scoring.startswith("neg_"):
        return "ratio"
    # Imported here because it is slow to import.
    from sklearn.metrics import get_scorer_names

    if scoring in get_scorer_names() or scoring.startswith("hit_rate"):
        return "points"
    # The metric is the user's own.
    if len(finite) and finite.max() <= 0 and finite.min() < 0:
        return "ratio"
    return "points" if not len(finite) or np.abs(finite).max() <= 1 else "share"


def _judged(scores, scale):
    """Scores on the scale: the differences between models are compared over tasks."""
    if scale != "ratio":  # differences of infinite scores are not defined
        huge = {"nan": np.nan, "posinf": 1e100, "neginf": -1e100}
        scores = {name: np.nan_to_num(v, **huge) for name, v in scores.items()}
    if scale == "points":
        return scores
    stack = np.abs(np.stack(list(scores.values())))
    if scale == "share":
        levels = [np.nanmean(trimmed(values)[0]) for values in stack]
        unit = dict(zip(scores, levels, strict=True)).get(POOLED, np.median(levels))
        return {name: v / (unit or 1.0) for name, v in scores.items()}
    largest = np.where(np.isfinite(stack), stack, 0.0).max(axis=(0, 2))[:, None]
    floor = np.where(largest > 0, SMALLEST_ERROR * largest, 1.0)
    return {
        name: -np.clip(
            np.log(np.maximum(np.abs(v) / floor, 1.0)), None, LARGEST_LOG_RATIO
        )
        for name, v in scores.items()
    }


# -- means over tasks -----------------------------------------------------------------


def mean_and_half_width(values):
    """Mean of each column, without NaN, and half the width of its 95 % t interval."""
    n = np.sum(~np.isnan(values), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=0) / n
        variance = np.nansum((values - mean) ** 2, axis=0) / (n - 1)
        half = stdtrit(n - 1, 0.975) * np.sqrt(variance / n)
    return mean, np.where(n > 1, half, np.nan)


def trimmed(values):
    """Trimmed mean of each column, and half the width of its 95 % interval.

    The largest twentieth of the values and the smallest are left out, at least one
    value each. The interval is that of Tukey and McLaughlin: Student's t, with the
    variance of the values after those left out are moved to the nearest one kept.
    """
    columns = [_trimmed(column[~np.isnan(column)]) for column in values.T]
    mean, half = np.array(columns, dtype=float).reshape(-1, 2).T
    return mean, half


def _trimmed(values):
    n = len(values)
    if n < 2:
        return (values.mean() if n else np.nan), np.nan
    cut = max(1, n // 20) if n >= FEWEST_TASKS else 0
    kept = np.sort(values)[cut : n - cut]
    moved = np.clip(values, kept[0], kept[-1])
    error = moved.std(ddof=1) * np.sqrt(n) / len(kept)
    return kept.mean(), stdtrit(len(kept) - 1, 0.975) * error
