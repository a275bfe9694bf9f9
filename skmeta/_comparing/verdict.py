"""What the scores of a meta-learner and its baselines advise, in words."""

import numpy as np
from sklearn.base import is_classifier

from skmeta._checks.values import show
from skmeta._comparing.differences import (
    FEWEST_TASKS,
    mean_and_half_width,
    trimmed,
)
from skmeta._comparing.names import OFFSET, OWN, POOLED

# A number of rows is judged if at least one in this many tasks can give as many.
ONE_IN = 3

# Smaller gains are ignored. A gain is a part of the error, or points of the score.
SMALL_GAIN = 0.01

# Adapting does not pay if the whole interval of the gain lies below this.
NOTHING_TO_GAIN = 0.02

# An offset per task is enough if it brings this part of the gain, and if the
# meta-learner is better than it by no more than this part of its error.
NEARLY_ALL = 0.9
LITTLE = 0.05

# A task is named if it has more than this part of all tasks' differences.
DECIDING_PART = 0.5

AVERAGE = "on average over the numbers of {}s"


class Verdict:
    """What a comparison says of one meta-learner.

    Parameters
    ----------
    differences : Differences
        The scores of all models.
    n_support : ndarray of shape (n_sizes,)
        Numbers of rows given.
    tasks : ndarray of shape (n_tasks,)
        Ids of the tasks.
    name : str
        Name of the meta-learner.
    baselines : dict of str to str
        Names of its own baselines among the models, by what they are.
    pooled_model : estimator or None
        What the pooled model is, if that is known.
    unit : str
        What the numbers count: rows, unless the user names units.

    Attributes
    ----------
    advice : str
        In one word; see `BaselineComparison`.
    text : str
        The same in sentences.
    short : str
        The same in one line, without the name of the meta-learner.
    deciding_task : tuple or None
        Id of a task that alone has most of the differences, and its part of them.
    """

    deciding_task = None
    # the baseline that is advised, if one is
    winner = None

    def __init__(
        self, differences, n_support, tasks, name, baselines, pooled_model, unit="row"
    ):
        self.differences, self.scores = differences, differences.scores
        self.n_support, self.tasks, self.name = n_support, tasks, name
        self.pooled_model, self.unit = pooled_model, unit
        self.pooled, self.offset = baselines.get(POOLED), baselines.get(OFFSET)
        self.rivals = [key for plain, key in baselines.items() if plain != POOLED]
        counts = np.sum(~np.isnan(self.scores[name]), axis=0)
        given = n_support > 0
        enough = np.maximum(FEWEST_TASKS, counts[given].max(initial=0) / ONE_IN)
        self.places = np.flatnonzero(given & (counts >= enough))
        self.advice, sentence = self._judge()
        self.text = f"{name}: {sentence}"
        self.short = self._in_short()

    def _judge(self):
        """Advice, and the sentences that give the reasons."""
        if not len(self.places):
            return "unclear", (
                f"fewer than {FEWEST_TASKS} tasks have more {self.unit}s than are "
                "given: too few to tell."
            )
        self.last = self.places[-1]
        if self.pooled is not None:
            self.other = self.pooled
            advice, sentence = self._with_pool()
        else:
            self.other = self._best(self.rivals)
            advice, sentence = self._without_pool(self.other)
        return advice, sentence + self._about_one_task(self.other)

    def _in_short(self):
        """The advice in one line: what to do, and how large the gain is."""
        if not len(self.places) or self.other is None:
            return "unclear: " + (
                "no baseline to compare with" if len(self.places) else "too few tasks"
            )
        gain, decides = self._plain_gain(self.name, self.other), ""
        if self.deciding_task is not None:
            decides = f"; task {show(self.deciding_task[0])} differs most by far"
        if self.advice == "meta-learn":
            pooled = self.pooled is not None
            against = self.differences.between(self.name, self.other)
            start = self._pays_from(self.name) if pooled else self._ahead_from(against)
            return f"meta-learn from {self._units(start)} on; {gain}{decides}"
        what = {
            "offset": "an offset per task is enough",
            "baseline": f"{self.winner} is better",
            "pooled": "do not adapt, take one model for all tasks",
            "unclear": "unclear",
        }
        return f"{what[self.advice]}; {gain}{decides}"

    # -- tests

    def _ahead_from(self, *differences):
        """Fewest rows from which on all differences are clear and not small; or None.

        Tested from the largest number downwards until one fails, which keeps the chance
        of a false claim at that of a single test.
        """
        first = None
        for place in self.places[::-1]:
            if not all(_is_ahead(m[place], h[place]) for m, h in differences):
                break
            first = self.n_support[place]
        return first

    def _pays_from(self, name):
        """Fewest rows from which on adapting pays; or None.

        A model that has adapted must be better than the pooled model, and better than
        it was itself before any row was given, where that is known.
        """
        return self._ahead_from(*self._gains(name))

    def _gains(self, name):
        """Over the pooled model, and over the same model with no row given."""
        gains = [self.differences.between(name, self.pooled)]
        if 0 in self.n_support:
            judged = self.differences.judged[name]
            (before,) = np.flatnonzero(self.n_support == 0)
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
        if self.differences.scale != "ratio":
            return False  # here tasks are compared by the score itself
        ours, pooled = self.scores[self.name], self.scores[self.pooled]
        mean, half = trimmed((ours - pooled)[:, [self.last]])
        level = abs(mean_and_half_width(pooled)[0][self.last])
        return -mean[0] > max(half[0], SMALL_GAIN * level)

    def _overall(self, better, worse):
        """Difference averaged over the numbers of rows, and its half width."""
        return self.differences.overall(better, worse, self.places)

    def _best(self, names):
        """The one that is best in a typical task, over all numbers of rows; or None."""
        lead = {name: self._overall(name, self.name)[0] for name in names}
        known = [name for name in names if not np.isnan(lead[name])]
        return max(known, key=lead.get, default=None)

    def _ahead(self, better, worse):
        return _is_ahead(*self._overall(better, worse))

    def _overtakes_from(self, rival):
        """Fewest rows from which on the meta-learner is well ahead of a rival; or None.

        It is well ahead if it is clearly better, and by more than a little after the
        most rows.
        """
        difference = self.differences.between(self.name, rival)
        much = difference[0][self.last] > LITTLE
        return self._ahead_from(difference) if much else None

    # -- sentences

    def _units(self, n):
        return f"{n} {self.unit}" if n == 1 else f"{n} {self.unit}s"

    @property
    def _on_average(self):
        return AVERAGE.format(self.unit)

    def _with_pool(self):
        """Advice and sentence where there is a pooled model."""
        start = self._pays_from(self.name)
        if start is None:
            return self._no_gain()
        gain = self._gain(self.name, self.pooled)
        text = f"adapting pays from {self._units(start)} on ({gain})"
        if self._is_worse_on_average():
            return "unclear", (
                f"{text} in a typical task; but the mean over tasks is worse, because "
                "of tasks with large errors. It is unclear which of them count."
            )
        if self.offset in self.rivals:
            enough, words = self._offset_is_enough()
            text += words
            rival = self._best(self.rivals)
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
        enough = not _is_ahead(lead, half) or (share >= NEARLY_ALL and lead <= LITTLE)
        later = self._overtakes_from(self.offset)
        if enough and later is not None:
            words += f" and does as well with fewer than {self._units(later)}"
            enough = False
        if enough:
            word = "better" if lead >= 0 else "worse"
            amount = self.differences.amount(lead, half)
            words += (
                f", and the meta-learner is {word} than it by {amount} "
                f"{self._on_average}"
            )
        return enough, words

    def _take_the_offset(self):
        model = self.pooled_model
        base = "the pooled model" if model is None else "this comparison's pooled_model"
        target = "" if model is None or is_classifier(model) else ", base_target='y'"
        return (
            "That is enough: take the pooled model and an offset per task, which is an "
            f"empirical Bayes model with prior='intercept', base_estimator={base}"
            f"{target}."
        )

    def _beside_the_best(self, text):
        """Advice and sentence where adapting pays and an offset is not enough."""
        rival = self._best(self.rivals)
        if rival is None:
            return "meta-learn", f"{text}. Meta-learn here."
        mean, half = self._overall(self.name, rival)
        amount = self.differences.amount(mean, half)
        if _is_ahead(-mean, half):
            self.winner = rival
            return "baseline", (
                f"{text}. But {rival} is better still: the meta-learner is worse by "
                f"{amount} {self._on_average}. Use that."
            )
        if mean > half:
            than = (
                f"The best baseline, {rival}, is outdone by {amount} "
                f"{self._on_average}."
            )
        else:
            word = "better" if mean >= 0 else "worse"
            than = (
                f"The best baseline, {rival}, is about as good: the meta-learner is "
                f"{word} by {amount} {self._on_average}."
            )
        return "meta-learn", f"{text}. Meta-learn here. {than}"

    def _no_gain(self):
        """Advice and sentence if the meta-learner does not clearly gain by rows."""
        starts = {rival: self._pays_from(rival) for rival in self.rivals}
        rival = self._best([rival for rival, k in starts.items() if k is not None])
        gain = self._gain(self.name, self.pooled)
        over_pooled = self.differences.between(self.name, self.pooled)
        begins_ahead = self._ahead_from(over_pooled) is not None
        if rival and not (begins_ahead and not self._ahead(rival, self.name)):
            self.winner = rival
            return "offset" if rival == self.offset else "baseline", (
                f"not clearly better than one pooled model ({gain}). But adapting "
                f"pays: {rival} is ahead from {self._units(starts[rival])} on "
                f"({self._gain(rival, self.pooled)}). "
                + (self._take_the_offset() if rival == self.offset else "Use that.")
            )
        if not self._nothing_to_gain():
            return "unclear", (
                f"it is unclear whether adapting pays: {gain}. More tasks would show "
                f"it, or more {self.unit}s to predict in each."
            )
        if begins_ahead:
            return "pooled", (
                f"adapting does not pay: {gain}, but hardly better than before any "
                f"{self.unit} was given. Use it as one model for all tasks."
            )
        return "pooled", (
            f"adapting does not pay ({gain}), and by no baseline clearly. Do not "
            "meta-learn here: use one model for all tasks."
        )

    def _without_pool(self, rival):
        """Advice and sentence where each task has its own classes."""
        if rival is None:
            return "unclear", "there is no baseline to compare with."
        mean, half = self.differences.between(self.name, rival)
        start = self._ahead_from((mean, half))
        gain = self._gain(self.name, rival)
        if start is not None:
            return "meta-learn", (
                f"meta-learning pays from {self._units(start)} on ({gain}, which is "
                "the best baseline)."
            )
        if mean[self.last] + half[self.last] < NOTHING_TO_GAIN:
            self.winner = rival
            return "baseline", f"no better than {rival} ({gain}). Use that."
        return "unclear", (
            f"it is unclear whether meta-learning pays: {gain}, which is the best "
            f"baseline. More tasks would show it, or more {self.unit}s to predict in "
            "each."
        )

    def _gain(self, better, worse):
        """How much better one is than another after the most rows, in words."""
        ahead, compared = (
            n[self.last] for n in self.differences.tasks_ahead(better, worse)
        )
        if self._are_equal(better, worse):
            k = self._units(self.n_support[self.last])
            return f"after {k} as good as {_the(worse)} in every task"
        gain = self._plain_gain(better, worse)
        return f"{gain} than {_the(worse)}, and ahead in {ahead} of {compared} tasks"

    def _plain_gain(self, better, worse):
        """The same without the name of the other."""
        k = self._units(self.n_support[self.last])
        if self._are_equal(better, worse):
            return f"after {k} as good in every task"
        mean, half = (v[self.last] for v in self.differences.between(better, worse))
        word = "better" if mean >= 0 else "worse"
        return f"after {k} {word} by {self.differences.amount(mean, half)}"

    def _are_equal(self, name, other):
        """Whether two models have the same scores after the most rows."""
        mean, half = self.differences.between(name, other)
        return not mean[self.last] and not half[self.last]

    def _about_one_task(self, other):
        """A sentence about a task that alone has most of the differences in score."""
        if other is None:
            return ""
        with np.errstate(invalid="ignore"):
            difference = (self.scores[self.name] - self.scores[other])[:, self.last]
        size = np.abs(difference)
        known = np.isfinite(size)
        if known.sum() < FEWEST_TASKS or not size[known].any():
            return ""
        largest = np.flatnonzero(known)[size[known].argmax()]
        share = size[largest] / size[known].sum()
        if share <= DECIDING_PART:
            return ""
        task = self.tasks[largest]
        self.deciding_task = (task, float(share))
        word = "better" if difference[largest] > 0 else "worse"
        return (
            f" Task {show(task)} alone has {_percent(share)} of all differences "
            f"between the scores of {self.name} and {_the(other)}, and is {word}; so "
            "the mean scores tell of this task, and the verdict of the others."
        )

    def _share_of_offset(self):
        """Part of the gain over the pooled model that an offset per task has too."""
        both = self.name, self.offset
        ours, offsets = (self._overall(name, self.pooled)[0] for name in both)
        shown = self.differences.shown
        return shown(offsets) / shown(ours) if ours > 0 else 1.0


def _is_ahead(mean, half):
    """Whether a difference is clear, and not small."""
    return bool(mean > half and mean >= SMALL_GAIN)


def _the(name):
    return f"the {name}" if name.startswith((POOLED, OWN)) else name


def _percent(share):
    """A part of the whole as text, between 0 and 100 %."""
    return f"{100 * min(max(share, 0), 1):.0f} %"
