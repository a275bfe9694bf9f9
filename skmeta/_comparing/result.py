"""Meta-learners beside baselines on the same tasks and rows, and what follows."""

from html import escape
from textwrap import fill

import numpy as np
from scipy.special import stdtrit
from sklearn.base import is_classifier

from skmeta._values import show

SUPPORT_MEAN = "support mean"
POOLED = "pooled model"
OFFSET = "pooled + offset"
OWN = "own model"
NEIGHBOURS = "neighbours"
FINE_TUNED = "fine-tuned network"
BASELINES = (SUPPORT_MEAN, POOLED, OFFSET, OWN, NEIGHBOURS, FINE_TUNED)
WITHOUT_POOL = (SUPPORT_MEAN, OWN, NEIGHBOURS)  # where each task has its own classes

MIN_TASKS = 6  # to say anything about
PART = 3  # of the tasks, one in so many must be able to give as many rows
SMALL = 0.01  # a gain below one per cent, or one hundredth of a score, is no advice
NOTHING_TO_GAIN = 0.02  # below it lies the whole interval where adapting does not pay
MOST = 0.5  # of the sum of all tasks' differences: a task that has more decides alone
FLOOR, CAP = 1e-6, 20.0  # of a task's largest error; of a logarithm of two errors
# An offset is enough if it brings nearly all of the gain, and leaves little to gain.
ALL_OF_IT, LITTLE = 0.9, 0.05  # parts of the gain, and of the offset's own error
CORNER = "rows given"
WIDTH = 88  # of a verdict's lines, in text
AVERAGE = "on average over the numbers of rows"
FOOTNOTE = (
    "[95 % interval] of the mean over tasks, each compared with itself, without the "
    "twentieth of largest and that of smallest values; * if it does not hold 0"
)


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
    pooled : list of estimators, default=()
        The model that was chosen as pooled model in each fold.
    behind : dict of str to dict, default=None
        For each meta-learner the names of its own baselines among the models, by what
        they are. None is all baselines, for each.

    Attributes
    ----------
    baselines : list of str
        Names of the baselines.
    advice : dict of str to str
        For each meta-learner ``"meta-learn"``; ``"offset"``, if the pooled model with
        an offset per task is as good; ``"baseline"``, if another baseline is better;
        ``"pooled"``, if nothing is better than one model for all tasks; or
        ``"unclear"``, if the data do not tell.
    verdict : str
        The same in sentences, with the numbers.
    deciding_task : dict of str to tuple or None
        For each meta-learner the id of a task that has more than half of all tasks'
        differences in the score, after the most rows, and its part of them; else None.
    pooled_model : estimator or None
        What "pooled model" stands for, unfitted: the model chosen in most folds, with
        the scaling in front of it that it had.

    Notes
    -----
    Tasks are compared with themselves, on a scale on which they count alike
    (:meth:`gain`), and no single task can decide. Intervals are 95 % t intervals over
    tasks. They take tasks as independent, and do not know that the models of two folds
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
    ):
        self.scores = scores
        self.meta_learners = list(meta_learners)
        self.baselines = [name for name in scores if name not in self.meta_learners]
        everyone = {name: name for name in self.baselines}
        self._behind = behind or dict.fromkeys(self.meta_learners, everyone)
        self.n_support = np.asarray(n_support)
        self.tasks = tasks
        self.scoring = scoring
        words = [_in_words(model) for model in pooled]
        self._pooled_words = sorted(set(words), key=lambda w: (-words.count(w), w))
        self._pooled_counts = [words.count(w) for w in self._pooled_words]
        self.pooled_model = None
        if len(words):
            self.pooled_model = pooled[words.index(self._pooled_words[0])]
        self._scale = _scale_of(scoring, scores)
        self._judged = _judged(scores, self._scale)
        found = {name: _Verdict(self, name) for name in self.meta_learners}
        self.advice = {name: verdict.advice for name, verdict in found.items()}
        self.deciding_task = {name: v.deciding_task for name, v in found.items()}
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
        with np.errstate(invalid="ignore"):  # of two infinite scores
            return _mean_and_half_width(self.scores[name] - self.scores[other])

    def gain(self, name, other):
        """How much better one model is than another in a typical task.

        Of errors in the unit of y the part of the other's error in the same task that
        is saved: 0.2 is an error lower by a fifth, and -1 one twice as high; tasks with
        large and with small numbers count alike. Of a log loss or a Brier score the
        difference as a part of the mean over tasks; of scores such as accuracy or
        :math:`R^2` the difference itself. The mean over tasks leaves out the twentieth
        of largest and that of smallest values, at least one task each, so that no
        single task decides.

        Parameters
        ----------
        name, other : str
            Names of the models.

        Returns
        -------
        gain, lower, upper : ndarray of shape (n_sizes,)
            The gain, and the ends of its 95 % interval, for each number of rows.
        """
        mean, half = self._compared(name, other)
        return tuple(self._shown(value) for value in (mean, mean - half, mean + half))

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
        with np.errstate(invalid="ignore"):
            difference = self.scores[name] - self.scores[other]
        return (difference > 0).sum(axis=0), (~np.isnan(difference)).sum(axis=0)

    def _compared(self, name, other):
        """Trimmed mean over tasks, and half width, on the scale of the verdict."""
        return trimmed(self._judged[name] - self._judged[other])

    def _shown(self, value):
        """A difference on the scale of the verdict, as `gain` gives it."""
        return -np.expm1(-value) if self._scale == "ratio" else value

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

    def _amount(self, mean, half):
        """The size of a gain in words, with its interval."""
        if mean < 0:  # how much worse
            low, middle, high = -self._shown(np.array([mean + half, mean, mean - half]))
        else:
            low, middle, high = self._shown(np.array([mean - half, mean, mean + half]))
        unit = "" if self._scale == "points" else " %"
        low, middle, high = self._digits(low, middle, high)
        return f"{middle}{unit} ({low} to {high})"

    def _digits(self, *gains):
        if self._scale == "points":
            return [_no_minus_zero(f"{gain:.3f}") for gain in gains]
        places = 0 if max(map(abs, gains)) >= 0.1 else 1
        return [_no_minus_zero(f"{100 * gain:.{places}f}") for gain in gains]

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
        unit = "" if self._scale == "points" else ", in %"
        for name in self.meta_learners:
            rows = [
                (other, [self._gain_cell(*column) for column in columns])
                for other in self.scores
                if other != name
                for columns in [zip(*self._compared(name, other), strict=True)]
            ]
            yield f"{name} better than the others in a typical task by{unit}", rows

    def _gain_cell(self, mean, half):
        if np.isnan(mean):
            return "-"
        if np.isnan(half):
            return self._digits(self._shown(mean))[0]
        ends = (mean, mean - half, mean + half)
        gain, lower, upper = self._digits(*(self._shown(value) for value in ends))
        return f"{gain} [{lower}, {upper}]{'*' if abs(mean) > half else ' '}"

    def __str__(self):
        lines = []
        for title, rows in self._blocks():
            table = [(CORNER, [str(k) for k in self.n_support]), *rows]
            first = max(len(name) for name, _ in table)
            columns = zip(*(cells for _, cells in table), strict=True)
            widths = [2 + max(map(len, column)) for column in columns]
            lines += [title]
            for name, cells in table:
                padded = (c.rjust(w) for c, w in zip(cells, widths, strict=True))
                lines += [(name.ljust(first) + "".join(padded)).rstrip()]
            lines += [""]
        verdict = (fill(line, WIDTH) for line in self.verdict.splitlines())
        return "\n".join([*lines, fill(FOOTNOTE, WIDTH), "", *verdict])

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


# -- the scale of the verdict ---------------------------------------------------------


def _scale_of(scoring, scores):
    """On which scale tasks are compared: "ratio", "share" or "points"; see `gain`."""
    finite = [values[np.isfinite(values)] for values in scores.values()]
    finite = np.concatenate([values.ravel() for values in finite])
    if scoring in ("neg_log_loss", "neg_brier_score"):
        return "share"  # these have a unit of their own, whatever the task
    if scoring.startswith("neg_"):
        return "ratio"
    from sklearn.metrics import get_scorer_names  # slow to import

    if scoring in get_scorer_names():
        return "points"
    # a metric of the user's own
    if len(finite) and finite.max() <= 0 and finite.min() < 0:
        return "ratio"
    return "points" if not len(finite) or np.abs(finite).max() <= 1 else "share"


def _judged(scores, scale):
    """Scores of which differences between models are compared over tasks."""
    if scale != "ratio":  # differences of the infinite are not defined
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
    floor = np.where(largest > 0, FLOOR * largest, 1.0)
    return {
        name: -np.clip(np.log(np.maximum(np.abs(v) / floor, 1.0)), None, CAP)
        for name, v in scores.items()
    }


def trimmed(values):
    """Trimmed mean of each column, and half the width of its 95 % interval.

    The twentieth of largest and that of smallest values is left out, at least one of
    each. The interval is that of Tukey and McLaughlin, with Student's t and the
    variance of the values drawn in to the nearest that is kept.
    """
    columns = [_trimmed(column[~np.isnan(column)]) for column in values.T]
    mean, half = np.array(columns, dtype=float).reshape(-1, 2).T
    return mean, half


def _trimmed(values):
    n = len(values)
    if n < 2:
        return (values.mean() if n else np.nan), np.nan
    cut = max(1, n // 20) if n >= MIN_TASKS else 0
    kept = np.sort(values)[cut : n - cut]
    drawn_in = np.clip(values, kept[0], kept[-1])
    error = drawn_in.std(ddof=1) * np.sqrt(n) / len(kept)
    return kept.mean(), stdtrit(len(kept) - 1, 0.975) * error


# -- the verdict ----------------------------------------------------------------------


class _Verdict:
    """What the comparison says of one meta-learner."""

    deciding_task = None

    def __init__(self, comparison, name):
        self.comparison, self.name = comparison, name
        counts = np.sum(~np.isnan(comparison.scores[name]), axis=0)
        given = comparison.n_support > 0
        enough = np.maximum(MIN_TASKS, counts[given].max(initial=0) / PART)
        self.places = np.flatnonzero(given & (counts >= enough))
        if not len(self.places):
            self.advice = "unclear"
            sentence = (
                f"fewer than {MIN_TASKS} tasks have more rows than are given: too few "
                "to tell."
            )
        else:
            self.last = self.places[-1]
            own = comparison._behind[name]
            self.pooled, self.offset = own.get(POOLED), own.get(OFFSET)
            self.rivals = [key for plain, key in own.items() if plain != POOLED]
            with_pool = self.pooled is not None
            self.advice, sentence = (
                self._with_pool() if with_pool else self._without_pool()
            )
            other = self.pooled if with_pool else self._best_rival()
            sentence += self._about_one_task(other)
        self.text = f"{name}: {sentence}"

    # -- tests

    def _compared(self, name, other):
        return self.comparison._compared(name, other)

    def _ahead_from(self, *differences):
        """Fewest rows from which on all differences are clear and not small; or None.

        Tested from the largest number downwards until one fails, which keeps the chance
        of a false claim at that of a single test.
        """
        first = None
        for place in self.places[::-1]:
            if not all(_is_ahead(m[place], h[place]) for m, h in differences):
                break
            first = self.comparison.n_support[place]
        return first

    def _pays_from(self, name):
        """Fewest rows from which on adapting pays; or None.

        A model that has adapted is to be better than the pooled model, and better than
        it was itself before any row was given, where that is known.
        """
        return self._ahead_from(*self._gains(name))

    def _gains(self, name):
        """Over the pooled model, and over the same model with no row given."""
        gains = [self._compared(name, self.pooled)]
        if 0 in self.comparison.n_support:
            judged = self.comparison._judged[name]
            (before,) = np.flatnonzero(self.comparison.n_support == 0)
            gains.append(trimmed(judged - judged[:, [before]]))
        return gains

    def _nothing_to_gain(self):
        """Whether a gain by adapting, if there is one, is known to be small."""
        ends = [
            mean[self.last] + half[self.last] for mean, half in self._gains(self.name)
        ]
        return min(ends) < NOTHING_TO_GAIN

    def _is_worse_on_average(self):
        """Whether the mean score is clearly worse than the pooled model's."""
        if self.comparison._scale != "ratio":
            return False  # tasks are compared by the score itself
        scores = self.comparison.scores
        mean, half = trimmed((scores[self.name] - scores[self.pooled])[:, [self.last]])
        level = abs(self.comparison.mean(self.pooled)[self.last])
        return -mean[0] > max(half[0], SMALL * level)

    def _overall(self, better, worse):
        """Difference averaged over the numbers of rows, and its half width."""
        judged = self.comparison._judged
        difference = (judged[better] - judged[worse])[:, self.places]
        difference = difference[~np.isnan(difference).all(axis=1)]
        mean, half = trimmed(np.nanmean(difference, axis=1)[:, None])
        return mean[0], half[0]

    def _best(self, names):
        """The one that is best in a typical task, over all numbers of rows."""
        lead = {name: self._overall(name, self.name)[0] for name in names}
        known = [name for name in names if not np.isnan(lead[name])]
        return max(known, key=lead.get, default=None)

    def _best_rival(self):
        return self._best(self.rivals)

    def _ahead(self, better, worse):
        return _is_ahead(*self._overall(better, worse))

    def _overtakes(self, rival):
        """Fewest rows from which on the meta-learner is well ahead of a rival; or None.

        Well ahead is clearly so, and at the most rows by more than a little.
        """
        difference = self._compared(self.name, rival)
        much = difference[0][self.last] > LITTLE
        return self._ahead_from(difference) if much else None

    # -- sentences

    def _with_pool(self):
        """Advice and sentence where there is a pooled model."""
        start = self._pays_from(self.name)
        if start is None:
            return self._no_gain()
        gain = self._gain(self.name, self.pooled)
        text = f"adapting pays from {_rows(start)} on ({gain})"
        if self._is_worse_on_average():
            return "unclear", (
                f"{text} in a typical task; but the mean over tasks is worse, because "
                "of tasks with large errors. It is unclear which of them count."
            )
        if self.offset in self.rivals:
            enough, words = self._offset_is_enough()
            text += words
            rival = self._best_rival()
            better = rival != self.offset and self._ahead(rival, self.offset)
            if enough and not better:
                return "offset", f"{text}. {self._take_the_offset()}"
        return self._beside_the_best(text)

    def _offset_is_enough(self):
        """Whether an offset per task does nearly as well, and what to say of it."""
        share = self._share_of_offset()
        words = f"; an offset per task alone brings {_percent(share)} of the gain"
        if self._pays_from(self.offset) is None:
            return False, words
        lead, half = self._overall(self.name, self.offset)
        enough = not _is_ahead(lead, half) or (share >= ALL_OF_IT and lead <= LITTLE)
        later = self._overtakes(self.offset)
        if enough and later is not None:
            words += f" and does as well with fewer than {_rows(later)}"
            enough = False
        if enough:
            word = "better" if lead >= 0 else "worse"
            amount = self.comparison._amount(lead, half)
            words += f", and the meta-learner is {word} than it by {amount} {AVERAGE}"
        return enough, words

    def _take_the_offset(self):
        model = self.comparison.pooled_model
        base = "the pooled model" if model is None else "this comparison's pooled_model"
        target = "" if model is None or is_classifier(model) else ", base_target='y'"
        return (
            "That is enough: take the pooled model and an offset per task, which is an "
            f"empirical Bayes model with prior='intercept', base_estimator={base}"
            f"{target}."
        )

    def _beside_the_best(self, text):
        """Advice and sentence where adapting pays and an offset is not enough."""
        rival = self._best_rival()
        if rival is None:
            return "meta-learn", f"{text}. Meta-learn here."
        mean, half = self._overall(self.name, rival)
        amount = self.comparison._amount(mean, half)
        if _is_ahead(-mean, half):
            return "baseline", (
                f"{text}. But {rival} is better still: the meta-learner is worse by "
                f"{amount} {AVERAGE}. Use that."
            )
        if mean > half:
            than = f"The best baseline, {rival}, is outdone by {amount} {AVERAGE}."
        else:
            word = "better" if mean >= 0 else "worse"
            than = (
                f"The best baseline, {rival}, is about as good: the meta-learner is "
                f"{word} by {amount} {AVERAGE}."
            )
        return "meta-learn", f"{text}. Meta-learn here. {than}"

    def _no_gain(self):
        """Advice and sentence if the meta-learner does not clearly gain by rows."""
        starts = {rival: self._pays_from(rival) for rival in self.rivals}
        rival = self._best([rival for rival, k in starts.items() if k is not None])
        gain = self._gain(self.name, self.pooled)
        ahead = self._ahead_from(self._compared(self.name, self.pooled))
        begins_ahead = ahead is not None
        if rival and not (begins_ahead and not self._ahead(rival, self.name)):
            return "offset" if rival == self.offset else "baseline", (
                f"not clearly better than one pooled model ({gain}). But adapting "
                f"pays: {rival} is ahead from {_rows(starts[rival])} on "
                f"({self._gain(rival, self.pooled)}). "
                + (self._take_the_offset() if rival == self.offset else "Use that.")
            )
        if not self._nothing_to_gain():
            return "unclear", (
                f"it is unclear whether adapting pays: {gain}. More tasks would tell, "
                "or more rows to predict in each."
            )
        if begins_ahead:
            return "pooled", (
                f"adapting does not pay: {gain}, but hardly better than before any row "
                "was given. Use it as one model for all tasks."
            )
        return "pooled", (
            f"adapting does not pay ({gain}), and by no baseline clearly. Do not "
            "meta-learn here: use one model for all tasks."
        )

    def _without_pool(self):
        """Advice and sentence where each task has its own classes."""
        rival = self._best_rival()
        if rival is None:
            return "unclear", "there is no baseline to compare with."
        difference = self._compared(self.name, rival)
        start = self._ahead_from(difference)
        gain = self._gain(self.name, rival)
        if start is not None:
            return "meta-learn", (
                f"meta-learning pays from {_rows(start)} on ({gain}, which is the best "
                "baseline)."
            )
        mean, half = difference
        if mean[self.last] + half[self.last] < NOTHING_TO_GAIN:
            return "baseline", f"no better than {rival} ({gain}). Use that."
        return "unclear", (
            f"it is unclear whether meta-learning pays: {gain}, which is the best "
            "baseline. More tasks would tell, or more rows to predict in each."
        )

    def _gain(self, better, worse):
        """How much better one is than another after the most rows, in words."""
        place = self.last
        mean, half = (value[place] for value in self._compared(better, worse))
        ahead, compared = (n[place] for n in self.comparison.tasks_ahead(better, worse))
        k = _rows(self.comparison.n_support[place])
        than = _the(worse)
        if not mean and not half:
            return f"after {k} as good as {than} in every task"
        word = "better" if mean >= 0 else "worse"
        amount = self.comparison._amount(mean, half)
        return (
            f"after {k} {word} by {amount} than {than}, and ahead in {ahead} of "
            f"{compared} tasks"
        )

    def _about_one_task(self, other):
        """A sentence about a task that alone has most of the differences in score."""
        if other is None:
            return ""
        scores = self.comparison.scores
        with np.errstate(invalid="ignore"):
            difference = (scores[self.name] - scores[other])[:, self.last]
        size = np.abs(difference)
        known = np.isfinite(size)
        if known.sum() < MIN_TASKS or not size[known].any():
            return ""
        largest = np.flatnonzero(known)[size[known].argmax()]
        share = size[largest] / size[known].sum()
        if share <= MOST:
            return ""
        task = self.comparison.tasks[largest]
        self.deciding_task = (task, float(share))
        word = "better" if difference[largest] > 0 else "worse"
        return (
            f" Task {show(task)} alone has {_percent(share)} of all differences "
            f"between the scores of {self.name} and {_the(other)}, and is {word}; so "
            "the mean scores tell of this task, and the verdict of the others."
        )

    def _share_of_offset(self):
        """Part of the gain over the pooled model that an offset per task has too."""
        shown = self.comparison._shown
        both = self.name, self.offset
        ours, offsets = (self._overall(name, self.pooled)[0] for name in both)
        return shown(offsets) / shown(ours) if ours > 0 else 1.0


def _is_ahead(mean, half):
    """Whether a difference is clear, and not small."""
    return bool(mean > half and mean >= SMALL)


def _the(name):
    return f"the {name}" if name.startswith((POOLED, OWN)) else name


def _rows(n):
    return "1 row" if n == 1 else f"{n} rows"


def _percent(share):
    """A part of the whole; there may be less than nothing, or more than all."""
    return f"{100 * min(max(share, 0), 1):.0f} %"


def _no_minus_zero(number):
    return number.removeprefix("-") if not float(number) else number


WORDS = {
    "RidgeCV": "a ridge regression",
    "LogisticRegression": "a logistic regression",
    "HistGradientBoostingRegressor": "gradient boosting",
    "HistGradientBoostingClassifier": "gradient boosting",
}


def _in_words(model):
    """What a model is, without the scaling that each pooled model has in front."""
    steps = getattr(model, "steps", [])
    if len(steps) == 2:
        model = steps[1][1]
    name = type(model).__name__
    set_to = f"C={model.C}" if name == "LogisticRegression" else ""
    return f"{WORDS[name]} ({name}({set_to}))" if name in WORDS else f"{name}()"
