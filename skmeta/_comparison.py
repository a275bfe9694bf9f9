"""Meta-learners beside baselines on the same tasks and rows, and what follows."""

from html import escape
from textwrap import fill

import numpy as np
from scipy.special import stdtrit

SUPPORT_MEAN = "support mean"
POOLED = "pooled model"
OFFSET = "pooled + offset"
OWN = "own model"
NEIGHBOURS = "neighbours"
FINE_TUNED = "fine-tuned network"
BASELINES = (SUPPORT_MEAN, POOLED, OFFSET, OWN, NEIGHBOURS, FINE_TUNED)
WITHOUT_POOL = (SUPPORT_MEAN, OWN, NEIGHBOURS)  # where each task has its own classes

MIN_TASKS = 5  # to say anything about
# An offset is enough if it brings nearly all of the gain, and leaves little to gain.
ALL_OF_IT, LITTLE = 0.9, 0.05  # parts of the gain, and of the offset's own error
CORNER = "rows given"
WIDTH = 88  # of a verdict's lines, in text
AVERAGE = "on average over the numbers of rows"
FOOTNOTE = "± 95 % interval over tasks, paired; * if it does not hold 0"


class BaselineComparison:
    """What :func:`~skmeta.model_selection.compare_baselines` has found.

    Printed, it is a table with a verdict; so it is in a notebook.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n_tasks, n_sizes)
        For each model the score of each task after each number of rows, averaged over
        draws; greater is better. NaN where a task has too few rows.
    meta_learners : list of str
        Names of the meta-learners among the models; the others are baselines.
    n_support : ndarray of shape (n_sizes,)
        Numbers of rows given.
    tasks : ndarray of shape (n_tasks,)
        Ids of the tasks.
    scoring : str
        Name of the metric.

    Attributes
    ----------
    baselines : list of str
        Names of the baselines.
    advice : dict of str to str
        For each meta-learner ``"meta-learn"``; ``"offset"``, if the pooled model with
        an offset per task is as good; ``"baseline"``, if another baseline is better;
        ``"pooled"``, if nothing is better than one model for all tasks; or
        ``"unclear"``, if there are too few tasks to tell.
    verdict : str
        The same in sentences, with the numbers.

    Notes
    -----
    Intervals are 95 % t intervals over tasks of the paired differences. They take tasks
    as independent, and do not know that the models of two folds share training tasks.
    """

    def __init__(self, scores, meta_learners, n_support, tasks, scoring):
        self.scores = scores
        self.meta_learners = list(meta_learners)
        self.baselines = [name for name in scores if name not in self.meta_learners]
        self.n_support = np.asarray(n_support)
        self.tasks = tasks
        self.scoring = scoring
        found = {name: _Verdict(self, name) for name in self.meta_learners}
        self.advice = {name: verdict.advice for name, verdict in found.items()}
        self.verdict = "\n".join(verdict.text for verdict in found.values())

    # -- numbers

    def mean(self, name):
        """Mean score over tasks.

        Parameters
        ----------
        name : str
            Name of the model.

        Returns
        -------
        mean : ndarray of shape (n_sizes,)
            For each number of rows; NaN where no task has as many.
        """
        return _mean_and_half_width(self.scores[name])[0]

    def half_width(self, name):
        """Half the width of the 95 % interval of the mean score over tasks.

        Parameters
        ----------
        name : str
            Name of the model.

        Returns
        -------
        half_width : ndarray of shape (n_sizes,)
            For each number of rows.
        """
        return _mean_and_half_width(self.scores[name])[1]

    def difference(self, name, other):
        """How much better one model is than another, paired over tasks.

        Parameters
        ----------
        name, other : str
            Names of the models.

        Returns
        -------
        mean, half_width : ndarray of shape (n_sizes,)
            Mean over tasks of the score of the first less that of the other, and half
            the width of its 95 % interval.
        """
        return _mean_and_half_width(self.scores[name] - self.scores[other])

    def to_frame(self):
        """The table as a pandas DataFrame, one row per model and number of rows.

        Returns
        -------
        frame : pandas.DataFrame
            With columns ``model``, ``n_support``, ``n_tasks``, ``score``, and
            ``difference``, ``lower`` and ``upper``: the first meta-learner's score less
            the model's, paired over tasks, with its 95 % interval.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas (pip install pandas). Without it, the numbers "
                "are in `scores`, and print(comparison) shows them."
            ) from error
        rows = []
        for name, scores in self.scores.items():
            mean, half = self.difference(self.meta_learners[0], name)
            rows += zip(
                [name] * len(self.n_support),
                self.n_support,
                np.sum(~np.isnan(scores), axis=0),
                self.mean(name),
                mean,
                mean - half,
                mean + half,
                strict=True,
            )
        columns = ["model", "n_support", "n_tasks", "score"]
        return pd.DataFrame(rows, columns=[*columns, "difference", "lower", "upper"])

    def plot(self, *, ax=None):
        """Plot score against rows given, of all models.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : FewShotCurveDisplay
            See :class:`skmeta.inspection.FewShotCurveDisplay`.
        """
        from skmeta.inspection import FewShotCurveDisplay

        return FewShotCurveDisplay.from_comparison(self, ax=ax)

    # -- words

    @property
    def is_error(self):
        """Whether the metric is an error, shown as positive: less is better."""
        return self.scoring.startswith("neg_")

    @property
    def metric(self):
        """Name of the metric in words, as it is shown."""
        return self.scoring.removeprefix("neg_").replace("_", " ")

    def _amount(self, difference, half_width, reference):
        """A difference in words: in per cent of an error, else in the metric's unit."""
        if not self.is_error:
            return f"{difference:.3f} ± {half_width:.3f}"
        percent = 100 / abs(reference) if reference else np.nan
        return f"{percent * difference:.1f} ± {percent * half_width:.1f} %"

    def _title(self):
        better = "less" if self.is_error else "more"
        metric = self.metric.capitalize()
        return f"{metric} on {len(self.tasks)} tasks ({better} is better)"

    def _blocks(self):
        """Title and rows of cells of each table: means, then differences."""
        sign = -1 if self.is_error else 1
        means = [
            (name, [_number(v) for v in sign * self.mean(name)]) for name in self.scores
        ]
        yield self._title(), means
        for name in self.meta_learners:
            rows = []
            for other in self.scores:
                if other != name:
                    columns = zip(
                        *self.difference(name, other), self.mean(other), strict=True
                    )
                    cells = [self._difference_cell(*column) for column in columns]
                    rows.append((other, cells))
            yield f"{name} better than the others by", rows

    def _difference_cell(self, mean, half, reference):
        if np.isnan(mean):
            return "-"
        clear = "*" if abs(mean) > half else " "
        return self._amount(mean, half, reference) + clear

    def __str__(self):
        lines = []
        for title, rows in self._blocks():
            table = [(CORNER, [str(k) for k in self.n_support]), *rows]
            first = max(len(name) for name, _ in table)
            width = 2 + max(len(cell) for _, cells in table for cell in cells)
            lines += [title]
            lines += [
                name.ljust(first) + "".join(cell.rjust(width) for cell in cells)
                for name, cells in table
            ]
            lines += [""]
        verdict = (fill(line, WIDTH) for line in self.verdict.splitlines())
        return "\n".join([*lines, FOOTNOTE, "", *verdict])

    def __repr__(self):
        return (
            f"<{type(self).__name__} of {', '.join(self.scores)} on "
            f"{len(self.tasks)} tasks; print it to see the table>"
        )

    def _repr_html_(self):
        verdict = "<br>".join(escape(line) for line in self.verdict.splitlines())
        parts = [f"<p><strong>{verdict}</strong></p>"]
        for title, rows in self._blocks():
            heads = "".join(f"<th>{k}</th>" for k in self.n_support)
            body = "".join(
                f"<tr><th style='text-align:left'>{escape(name)}</th>"
                + "".join(f"<td style='text-align:right'>{cell}</td>" for cell in cells)
                + "</tr>"
                for name, cells in rows
            )
            parts.append(
                f"<table><caption>{escape(title)}</caption><thead><tr>"
                f"<th style='text-align:left'>{CORNER}</th>{heads}</tr></thead>"
                f"<tbody>{body}</tbody></table>"
            )
        parts.append(f"<p>{FOOTNOTE}</p>")
        return "<div>" + "".join(parts) + "</div>"


def _number(value):
    return "-" if np.isnan(value) else f"{value:.4g}"


def _mean_and_half_width(values):
    """Mean of each column, without NaN, and half the width of its 95 % t interval."""
    n = np.sum(~np.isnan(values), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=0) / n
        variance = np.nansum((values - mean) ** 2, axis=0) / (n - 1)
        half = stdtrit(n - 1, 0.975) * np.sqrt(variance / n)
    return mean, np.where(n > 1, half, np.nan)


# -- the verdict ----------------------------------------------------------------------


class _Verdict:
    """What the comparison says of one meta-learner."""

    def __init__(self, comparison, name):
        self.comparison, self.name = comparison, name
        counts = np.sum(~np.isnan(comparison.scores[name]), axis=0)
        sizes = comparison.n_support
        self.places = np.flatnonzero((sizes > 0) & (counts >= MIN_TASKS))
        if not len(self.places):
            self.advice = "unclear"
            sentence = (
                f"fewer than {MIN_TASKS} tasks have more rows than are given: too few "
                "to tell."
            )
        else:
            self.last = self.places[-1]
            self.rivals = [b for b in comparison.baselines if b != POOLED]
            with_pool = POOLED in comparison.scores
            self.advice, sentence = (
                self._pooled() if with_pool else self._without_pool()
            )
        self.text = f"{name}: {sentence}"

    # -- tests

    def _ahead_from(self, *differences):
        """Fewest rows from which on all differences are clear; or None.

        Tested from the largest number downwards until one fails, which keeps the chance
        of a false claim at that of a single test.
        """
        first = None
        for place in self.places[::-1]:
            if not all(mean[place] > half[place] for mean, half in differences):
                break
            first = self.comparison.n_support[place]
        return first

    def _pays_from(self, name):
        """Fewest rows from which on adapting pays; or None.

        A model that has adapted is to be better than the pooled model, and better than
        it was itself before any row was given, where that is known.
        """
        tests = [self.comparison.difference(name, POOLED)]
        if 0 in self.comparison.n_support:
            tests.append(self._gain_by_rows(name))
        return self._ahead_from(*tests)

    def _gain_by_rows(self, name):
        """How much better a model is than the same with no row given."""
        scores = self.comparison.scores[name]
        (before,) = np.flatnonzero(self.comparison.n_support == 0)
        return _mean_and_half_width(scores - scores[:, [before]])

    def _overall(self, better, worse):
        """Difference averaged over the numbers of rows, and its half width."""
        scores = self.comparison.scores
        difference = (scores[better] - scores[worse])[:, self.places]
        difference = difference[~np.isnan(difference).all(axis=1)]
        mean, half = _mean_and_half_width(np.nanmean(difference, axis=1)[:, None])
        return mean[0], half[0]

    def _best(self, names):
        """The one with the best score, averaged over tasks and numbers of rows."""
        return max(
            names,
            key=lambda name: self.comparison.mean(name)[self.places].mean(),
            default=None,
        )

    def _ahead(self, better, worse):
        mean, half = self._overall(better, worse)
        return mean > half

    def _overtakes(self, rival):
        """Fewest rows from which on the meta-learner is well ahead of a rival; or None.

        Well ahead is clearly so, and at the most rows by more than a little.
        """
        difference = self.comparison.difference(self.name, rival)
        level = abs(self.comparison.mean(rival)[self.last])
        much = difference[0][self.last] > LITTLE * level
        return self._ahead_from(difference) if much else None

    def _lead(self, rival):
        """How much better the meta-learner is, as a part of the rival's own score."""
        mean, _ = self._overall(self.name, rival)
        level = abs(self.comparison.mean(rival)[self.places].mean())
        return mean / level if level else np.inf

    # -- sentences

    def _pooled(self):
        """Advice and sentence where there is a pooled model."""
        rival = self._best(self.rivals)
        start = self._pays_from(self.name)
        if start is None:
            return self._no_gain()
        text = f"adapting pays from {_rows(start)} on ({self._gain(self.name, POOLED)})"
        if OFFSET in self.rivals:
            share = self._share_of_offset()
            text += f"; an offset per task alone brings {_percent(share)} of the gain"
            enough = not self._ahead(self.name, OFFSET) or (
                share >= ALL_OF_IT and self._lead(OFFSET) <= LITTLE
            )
            later = self._overtakes(OFFSET)
            if enough and later is not None:
                text += f" and does as well with fewer than {_rows(later)}"
                enough = False
            if enough and not (rival != OFFSET and self._ahead(rival, OFFSET)):
                return "offset", (
                    f"{text}. That is enough: take the pooled model and an offset per "
                    "task, which is prior='intercept' of an empirical Bayes model with "
                    "the pooled model as its base_estimator."
                )
        if rival is None:
            return "meta-learn", f"{text}. Meta-learn here."
        mean, half = self._overall(self.name, rival)
        level = self.comparison.mean(rival)[self.places].mean()
        amount = self.comparison._amount(abs(mean), half, level)
        if mean < -half:
            return "baseline", (
                f"{text}. But {rival} is better still, by {amount} {AVERAGE}: use that."
            )
        behind = "is behind by" if mean > half else "is about as good, within"
        return "meta-learn", (
            f"{text}. Meta-learn here. The best baseline, {rival}, {behind} {amount} "
            f"{AVERAGE}."
        )

    def _no_gain(self):
        """Advice and sentence if adapting the meta-learner does not pay."""
        starts = {rival: self._pays_from(rival) for rival in self.rivals}
        rival = self._best([rival for rival, k in starts.items() if k is not None])
        difference = self.comparison.difference(self.name, POOLED)
        ahead = self._ahead_from(difference) is not None
        if ahead and not (rival and self._ahead(rival, self.name)):
            return "pooled", (
                f"adapting does not pay: {self._gain(self.name, POOLED)}, but no "
                "better than before any row was given. Use it as one model for all "
                "tasks."
            )
        if rival is None:
            return "pooled", (
                f"adapting does not pay ({self._gain(self.name, POOLED)}), by this or "
                "by any baseline. Do not meta-learn here: use one model for all tasks."
            )
        return "offset" if rival == OFFSET else "baseline", (
            f"no better than one pooled model ({self._gain(self.name, POOLED)}). But "
            f"adapting pays: {rival} is ahead from {_rows(starts[rival])} on "
            f"({self._gain(rival, POOLED)}). Use that."
        )

    def _without_pool(self):
        """Advice and sentence where each task has its own classes."""
        rival = self._best(self.rivals)
        if rival is None:
            return "unclear", "there is no baseline to compare with."
        start = self._ahead_from(self.comparison.difference(self.name, rival))
        if start is None:
            gain = self._gain(self.name, rival)
            return "baseline", f"no better than {rival} ({gain}). Use that."
        return "meta-learn", (
            f"meta-learning pays from {_rows(start)} on "
            f"({self._gain(self.name, rival)}, which is the best baseline)."
        )

    def _gain(self, better, worse):
        """How much better one is than another after the most rows, in words."""
        place = self.last
        mean, half = self.comparison.difference(better, worse)
        reference = self.comparison.mean(worse)[place]
        amount = self.comparison._amount(abs(mean[place]), half[place], reference)
        word = "better" if mean[place] >= 0 else "worse"
        k = _rows(self.comparison.n_support[place])
        return f"after {k} {word} by {amount} than {_THE.get(worse, worse)}"

    def _share_of_offset(self):
        """Part of the gain over the pooled model that an offset per task has too."""
        mean = self.comparison.mean
        gain = (mean(self.name) - mean(POOLED))[self.places].mean()
        return (mean(OFFSET) - mean(POOLED))[self.places].mean() / gain


_THE = {POOLED: "the pooled model", OWN: "the own model"}


def _rows(n):
    return "1 row" if n == 1 else f"{n} rows"


def _percent(share):
    """A part of the whole; there may be less than nothing, or more than all."""
    return f"{100 * min(max(share, 0), 1):.0f} %"
