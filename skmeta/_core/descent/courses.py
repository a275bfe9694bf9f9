"""How to train a network: a usual course, or a daring and a longer one if they pay.

A course is what the settings say of the pull, the rates, the tasks of a meta-iteration
and the length of a run. The usual one suits noisy tasks. If rows that adapting has not
seen show little noise, tasks have no reason to be pulled towards the start, and a
daring course is tried: hardly any pull, longer steps, and many meta-iterations of few
tasks. Held-out tasks decide between them, and for how long to go on.
"""

from dataclasses import dataclass, replace

import numpy as np

from skmeta._core.descent import training, validation
from skmeta._core.descent.reptile import NonFiniteTask
from skmeta._core.descent.state import ReptileSettings

# With fewer tasks, those held out would be too few to decide anything.
MIN_TASKS = 50
# With so many tasks the held-out ones are not missed, so that no run on all tasks
# follows. And the usual course may be too short, as it sees each task a few times only.
MANY_TASKS = 2000
MAX_HELD_OUT = 200
# There is little noise if the loss of unseen rows is less than this part of the loss of
# a constant.
LITTLE_NOISE = 0.2
# A course that pays is tried again with so many times its meta-iterations, ...
LONGER = 4
# ... while these draw no more tasks than this, counted as often as they are drawn, and
# each task no more often than this.
MAX_VISITS, MAX_VISITS_OF_A_TASK = 100_000, 500
# A course is better if the gain of the held-out tasks is this many standard errors.
MIN_GAIN = 2.0
# A run was too short if a shorter one has left a loss that is higher by this part.
STILL_FALLING = 0.1


@dataclass(frozen=True)
class Trial:
    """A course, what it has led to, and losses (n_sizes, T) of held-out tasks.

    The loss of a task with too few rows is NaN.
    """

    settings: ReptileSettings
    trained: training.Trained
    losses: np.ndarray

    @property
    def loss(self):
        return float(np.nanmean(self.losses))

    def better_than(self, other):
        """Whether tasks gain beyond doubt, and do not lose for any number of rows."""
        gain = other.losses - self.losses
        return in_errors(np.nanmean(gain, axis=0)) > MIN_GAIN and all(
            in_errors(of_size[~np.isnan(of_size)]) > -MIN_GAIN for of_size in gain
        )


def in_errors(gain):
    """Mean of the tasks' gains over its standard error."""
    mean, error = gain.mean(), gain.std() / np.sqrt(len(gain))
    if error > 0.0:
        return mean / error
    return np.copysign(np.inf, mean) if mean else 0.0


def little_noise(losses, constant):
    """Whether unseen rows are predicted well by those tasks that give most rows."""
    return float(np.nanmean(losses[-1])) < LITTLE_NOISE * constant


def most_iterations(ways, table, holding_out):
    """Meta-iterations of the longest way that `Training.on_the_best` can take."""
    usual = ways[0]
    n_runs = holding_out.n_runs(table)
    if len(ways) == 1 or too_few(table):
        return usual.max_iter * n_runs
    tried = [way for first in ways for way in ladder(first, table.n_tasks)]
    most = max(way.max_iter for way in tried)
    return sum(way.max_iter for way in tried) + n_runs * (usual.max_iter + most)


def too_few(table):
    """Whether a table has too few tasks to hold some out."""
    return len(training.may_be_held_out(table)) < MIN_TASKS


def ladder(settings, n_tasks):
    """Yield a course, and longer and longer ones."""
    while settings is not None:
        yield settings
        settings = longer(settings, n_tasks)


def longer(settings, n_tasks):
    """The same course with more meta-iterations; None if those were too many."""
    n_iter = LONGER * settings.max_iter
    visits = n_iter * settings.meta_batch_size
    if visits > min(MAX_VISITS, MAX_VISITS_OF_A_TASK * n_tasks):
        return None
    return replace(settings, max_iter=n_iter)


class Training:
    """Meta-training on the course that suits held-out tasks.

    Every run begins with the same random numbers.

    Parameters
    ----------
    begin : callable (settings, rng) -> ReptileState
        The state before the first meta-iteration.
    holding_out : training.HoldingOut
    after_each : callable (Trained) -> bool
        Called after each meta-iteration. It returns whether to stop.
    """

    def __init__(self, network, table, begin, holding_out, seed, after_each):
        self.network, self.table, self.begin = network, table, begin
        self.holding_out, self.seed, self.after_each = holding_out, seed, after_each

    def on_all_tasks(self, settings):
        """What is `training.Trained` by a course on all tasks."""
        rng = np.random.default_rng(self.seed)
        start = self.begin(settings, rng)
        args = self.network, self.table, start, settings, self.holding_out
        return training.train(*args, rng, self.after_each)

    def on_the_best(self, ways, constant):
        """What is `training.Trained` on the usual course, or on one that is better.

        ``ways`` are the usual course and, if there is a choice, the daring one;
        ``constant`` is the loss of a constant.
        """
        usual, first = ways[0], None
        if len(ways) == 1 or too_few(self.table):
            return self.on_all_tasks(usual)
        many = self.table.n_tasks >= MANY_TASKS
        self._hold_out()
        if not many:
            first = self.on_all_tasks(usual)
            noisy = not little_noise(self._losses(first.state, usual), constant)
            if noisy or first.asked_to_stop:
                return first
        best, scores, improving = self._climb(*ways, constant, many)
        trained, asked = best.trained, best.trained.asked_to_stop
        if first is not None and (best.settings is usual or asked):
            trained = replace(first, asked_to_stop=asked)
        elif not asked and (first is not None or self.holding_out.chooses_steps):
            trained = self.on_all_tasks(best.settings)
        return replace(trained, scores=scores, improving=improving)

    def _climb(self, usual, daring, constant, many):
        """The best `Trial`, minus the loss of each, and whether all were too short."""
        n_tasks, best, improving = self.table.n_tasks, self._try(usual), False
        scores = [-best.loss]
        coming = [longer(usual, n_tasks)] if many else []
        if little_noise(best.losses, constant):
            coming = [daring, *coming]
        while coming and coming[0] is not None and not best.trained.asked_to_stop:
            settings, *coming = coming
            try:
                rival = self._try(settings)
            except NonFiniteTask:  # this course was too daring
                scores.append(-np.inf)
                continue
            if rival.trained.asked_to_stop:
                best = replace(best, trained=replace(best.trained, asked_to_stop=True))
                break
            scores.append(-rival.loss)
            if rival.better_than(best):
                coming = [longer(settings, n_tasks)]
                falls = rival.loss < (1.0 - STILL_FALLING) * best.loss
                improving = falls and coming == [None] and settings is not daring
                best = rival
        return best, scores, improving

    def _try(self, settings):
        """The `Trial` of a course on the tasks that are kept."""
        rng = np.random.default_rng(self.seed)
        start, part = self.begin(settings, rng), self.table.subset(self._kept)
        trained = training.run(
            self.network, start, settings, rng, self.after_each, part, self._kept
        )
        return Trial(settings, trained, self._losses(trained.state, settings))

    def _hold_out(self):
        """Draw tasks to hold out, rows of theirs to adapt to, and rows to score."""
        rng = np.random.default_rng((self.seed, 1))
        most = MAX_HELD_OUT / self.table.n_tasks
        fraction = min(self.holding_out.fraction, most)
        held_out = training.draw_held_out(rng, self.table, fraction)
        self._kept = np.setdiff1d(np.arange(self.table.n_tasks), held_out)
        self._episodes = validation.draw_episodes(rng, self.table.subset(held_out))

    def _losses(self, state, settings):
        n_steps, rng = self.holding_out.n_steps, np.random.default_rng((self.seed, 2))
        args = self.network, state, self._episodes, settings, n_steps, rng
        return validation.losses_of_tasks(*args)
