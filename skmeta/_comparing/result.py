"""The result of a comparison: numbers, a table, a figure, and a verdict."""

from html import escape
from textwrap import fill

import numpy as np

from skmeta._comparing.differences import Differences, mean_and_half_width
from skmeta._comparing.verdict import Verdict

# The lines of a printed verdict are broken at this column.
LINE_WIDTH = 88

FOOTNOTE = (
    "[95 % interval] of the mean over tasks, each compared with itself, without the "
    "twentieth of largest and that of smallest values; * if it does not hold 0"
)


# From so many meta-learners on, each has a line and no table of its own.
SEVERAL = 3

REASONS = "The reasons for each line are in .verdict, and all numbers in .to_frame()."


class BaselineComparison:
    """What :func:`~skmeta.model_selection.compare_baselines` has found.

    Printed, or shown in a notebook, it is a table with a verdict. With three
    meta-learners or more it is one table of all of them, and a line for each.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n_tasks, n_sizes)
        For each model the score of each task after each number of rows, averaged over
        draws; greater is better. NaN if a task has too few rows.
    meta_learners : list of str
        Names of the meta-learners among the models; the others are baselines.
    n_support : ndarray of shape (n_sizes,)
        Numbers of rows given, or of units.
    tasks : ndarray of shape (n_tasks,)
        Ids of the tasks.
    scoring : str
        Name of the metric.
    pooled : list of estimators, default=()
        The model that was chosen as pooled model in each fold.
    behind : dict of str to dict, default=None
        For each meta-learner its own baselines: what they are, and their names among
        the models. None means that all baselines belong to each meta-learner.
    unit : str, default="row"
        What ``n_support`` counts, in the singular.

    Attributes
    ----------
    baselines : list of str
        Names of the baselines.
    advice : dict of str to str
        For each meta-learner ``"meta-learn"``; ``"offset"``, if the pooled model with
        an offset per task is as good; ``"baseline"``, if another baseline is better;
        ``"pooled"``, if nothing is better than one model for all tasks; or
        ``"unclear"``, if the data do not decide.
    verdict : str
        The same in sentences, with the numbers.
    short_verdict : dict of str to str
        For each meta-learner the same in one line.
    deciding_task : dict of str to tuple or None
        For each meta-learner the id of a task that alone has more than half of all
        differences in score after the most rows, and its part of them. None if there
        is no such task.
    pooled_model : estimator or None
        The model that was chosen as "pooled model" in most folds, unfitted, with its
        scaling in front.

    Notes
    -----
    Each task is compared with itself, on a scale where all tasks count alike
    (:meth:`gain`), and no single task can decide. Intervals are 95 % t intervals over
    tasks. They treat tasks as independent, and ignore that the models of two folds
    share training tasks.
    """

    def __init__(
        self,
        scores,
        meta_learners,
        n_support,
        tasks,
        scoring,
        pooled=(),
        behind=None,
        unit="row",
    ):
        self.scores = scores
        self.meta_learners = list(meta_learners)
        self.baselines = [name for name in scores if name not in self.meta_learners]
        everyone = {name: name for name in self.baselines}
        self._behind = behind or dict.fromkeys(self.meta_learners, everyone)
        self.n_support = np.asarray(n_support)
        self.tasks = tasks
        self.scoring = scoring
        self.unit = unit
        words = [_model_in_words(model) for model in pooled]
        self._pooled_words = sorted(set(words), key=lambda w: (-words.count(w), w))
        self._pooled_counts = [words.count(w) for w in self._pooled_words]
        self.pooled_model = None
        if len(words):
            self.pooled_model = pooled[words.index(self._pooled_words[0])]
        self._differences = Differences(scores, scoring)
        found = {
            name: Verdict(
                self._differences,
                self.n_support,
                tasks,
                name,
                self._behind[name],
                self.pooled_model,
                unit,
            )
            for name in self.meta_learners
        }
        self.advice = {name: verdict.advice for name, verdict in found.items()}
        self.deciding_task = {name: v.deciding_task for name, v in found.items()}
        self.short_verdict = {name: v.short for name, v in found.items()}
        self._others = {name: getattr(v, "other", None) for name, v in found.items()}
        lines = [verdict.text for verdict in found.values()]
        self.verdict = "\n".join([*lines, *self._about_the_pooled_model()])

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
            For each number of rows; NaN if no task has as many.
        """
        return mean_and_half_width(self.scores[name])[0]

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
        return mean_and_half_width(self.scores[name])[1]

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
        with np.errstate(invalid="ignore"):  # two infinite scores have no difference
            return mean_and_half_width(self.scores[name] - self.scores[other])

    def gain(self, name, other):
        """How much better one model is than another in a typical task.

        For errors in the unit of y, the gain is the part of the other model's error in
        the same task that is saved: 0.2 means an error lower by a fifth, and -1 an
        error twice as high. So tasks with large and with small numbers count alike. For
        a log loss or a Brier score, it is the difference as a part of the mean over
        tasks; for scores such as accuracy or :math:`R^2`, the difference itself. The
        mean over tasks leaves out the largest twentieth of the values and the smallest,
        at least one task each, so that no single task decides.

        Parameters
        ----------
        name, other : str
            Names of the models.

        Returns
        -------
        gain, lower, upper : ndarray of shape (n_sizes,)
            The gain, and the ends of its 95 % interval, for each number of rows.
        """
        mean, half = self._differences.between(name, other)
        shown = self._differences.shown
        return tuple(shown(value) for value in (mean, mean - half, mean + half))

    def tasks_ahead(self, name, other):
        """Count the tasks in which one model is better than another, and all compared.

        Parameters
        ----------
        name, other : str
            Names of the models.

        Returns
        -------
        ahead, compared : ndarray of shape (n_sizes,)
            Numbers of tasks, for each number of rows.
        """
        return self._differences.tasks_ahead(name, other)

    def to_frame(self):
        """The table as a pandas DataFrame, one row per model and number of rows.

        Returns
        -------
        frame : pandas.DataFrame
            With columns ``model``, ``n_support``, ``n_tasks``, ``score``, and
            ``difference``, ``lower`` and ``upper``: the first meta-learner's score less
            the model's, paired over tasks, with its 95 % interval; then :meth:`gain` of
            the first meta-learner over the model, ``gain``, ``gain_lower`` and
            ``gain_upper``, and ``n_ahead``, the number of tasks in which it is better.

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
            first = self.meta_learners[0]
            mean, half = self.difference(first, name)
            rows += zip(
                [name] * len(self.n_support),
                self.n_support,
                np.sum(~np.isnan(scores), axis=0),
                self.mean(name),
                mean,
                mean - half,
                mean + half,
                *self.gain(first, name),
                self.tasks_ahead(first, name)[0],
                strict=True,
            )
        columns = ["model", "n_support", "n_tasks", "score"]
        columns += ["difference", "lower", "upper"]
        columns += ["gain", "gain_lower", "gain_upper", "n_ahead"]
        return pd.DataFrame(rows, columns=columns)

    def plot(self, *, ax=None):
        """Plot the score of all models against the number of rows given.

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

    def _about_the_pooled_model(self):
        """A sentence about what the pooled model is, if that is known."""
        if not self._pooled_words:
            return []
        first, *others = self._pooled_words
        if not others:
            return [f"The pooled model is {first}."]
        total = sum(self._pooled_counts)
        return [
            f"The pooled model is {first} in {self._pooled_counts[0]} of {total} "
            f"folds, else {' or '.join(others)}."
        ]

    @property
    def _heading(self):
        return f"{self.unit}s given"

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
        unit = "" if self._differences.scale == "points" else ", in %"
        if self._are_several:
            rows = [
                (name, self._gain_cells(name, other))
                for name, other in self._others.items()
                if other is not None
            ]
            others = dict.fromkeys(filter(None, self._others.values()))
            if rows:
                than = " or the ".join(others)
                yield f"Better than the {than} in a typical task by{unit}", rows
            return
        for name in self.meta_learners:
            rows = [
                (other, self._gain_cells(name, other))
                for other in self.scores
                if other != name
            ]
            yield f"{name} better than the others in a typical task by{unit}", rows

    @property
    def _are_several(self):
        return len(self.meta_learners) >= SEVERAL

    def _words(self):
        """What is said below the tables, line by line."""
        if not self._are_several:
            return self.verdict.splitlines()
        lines = [f"{name}: {short}." for name, short in self.short_verdict.items()]
        best = self._about_the_best()
        return [*lines, *best, *self._about_the_pooled_model(), REASONS]

    def _about_the_best(self):
        """A sentence about which of several meta-learners to take."""
        first, *others = self.meta_learners
        tables = (self.scores[name] for name in self.meta_learners)
        known = np.all([~np.isnan(table).all(axis=0) for table in tables], axis=0)
        places = np.flatnonzero(known & (self.n_support > 0))
        if not len(places):
            return []

        def ahead(name, other):
            return self._differences.overall(name, other, places)

        lead = {first: 0.0} | {name: ahead(name, first)[0] for name in others}
        best = max(lead, key=lambda name: np.nan_to_num(lead[name], nan=-np.inf))
        close = [
            name
            for name in self.meta_learners
            if name != best and not np.greater(*ahead(best, name))
        ]
        if not close:
            return [f"Of these, {best} is clearly best over the numbers of rows."]
        word = "is" if len(close) == 1 else "are"
        return [
            f"Of these, {best} is best over the numbers of rows, and "
            f"{', '.join(close)} {word} not clearly worse."
        ]

    def _gain_cells(self, name, other):
        columns = zip(*self._differences.between(name, other), strict=True)
        return [self._gain_cell(mean, half) for mean, half in columns]

    def _gain_cell(self, mean, half):
        if np.isnan(mean):
            return "-"
        shown, digits = self._differences.shown, self._differences.digits
        if np.isnan(half):
            return digits(shown(mean))[0]
        ends = (mean, mean - half, mean + half)
        gain, lower, upper = digits(*(shown(value) for value in ends))
        return f"{gain} [{lower}, {upper}]{'*' if abs(mean) > half else ' '}"

    def __str__(self):
        lines = []
        for title, rows in self._blocks():
            table = [(self._heading, [str(k) for k in self.n_support]), *rows]
            first = max(len(name) for name, _ in table)
            columns = zip(*(cells for _, cells in table), strict=True)
            widths = [2 + max(map(len, column)) for column in columns]
            lines += [title]
            for name, cells in table:
                padded = (c.rjust(w) for c, w in zip(cells, widths, strict=True))
                lines += [(name.ljust(first) + "".join(padded)).rstrip()]
            lines += [""]
        verdict = (fill(line, LINE_WIDTH) for line in self._words())
        return "\n".join([*lines, fill(FOOTNOTE, LINE_WIDTH), "", *verdict])

    def __repr__(self):
        return (
            f"<{type(self).__name__} of {', '.join(self.scores)} on "
            f"{len(self.tasks)} tasks; print it to see the table>"
        )

    def _repr_html_(self):
        verdict = "<br>".join(escape(line) for line in self._words())
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
                f"<th style='text-align:left'>{self._heading}</th>{heads}</tr></thead>"
                f"<tbody>{body}</tbody></table>"
            )
        parts.append(f"<p>{FOOTNOTE}</p>")
        return "<div>" + "".join(parts) + "</div>"


def _number(value):
    return "-" if np.isnan(value) else f"{value:.4g}"


WORDS = {
    "ConditionalLogit": "a conditional logit",
    "RidgeCV": "a ridge regression",
    "LogisticRegression": "a logistic regression",
    "HistGradientBoostingRegressor": "gradient boosting",
    "HistGradientBoostingClassifier": "gradient boosting",
}


def _model_in_words(model):
    """What a pooled model is, without the preprocessing in front of it."""
    while getattr(model, "steps", None):
        model = model.steps[-1][1]
    name = type(model).__name__
    shown = {"LogisticRegression": "C", "ConditionalLogit": "penalty"}.get(name)
    set_to = f"{shown}={getattr(model, shown)}" if shown else ""
    return f"{WORDS[name]} ({name}({set_to}))" if name in WORDS else f"{name}()"
