"""Whether learned features pay, and how long to learn them, by held-out tasks."""

from typing import NamedTuple

import numpy as np

from skmeta._core.prior import episodic
from skmeta._core.progress import SILENT

# The held-out tasks of a run are scored this many times.
N_REPORTS = 20
# Features are used if the mean gain is more than this many standard errors.
MIN_GAIN = 2.0
# Held-out tasks still gain if the last quarter of a run lowers their error so much.
STILL_GAINING = 0.02
# A longer run was too short as well if it lowers the error by this part, unless what is
# left is less than this part of the deviation of the targets.
STILL_FALLING, SMALL_ERROR = 0.1, 0.01
# A longer run in each of several folds is longer by at most this factor.
MOST_IN_FOLDS = 2


class FeatureFold(NamedTuple):
    """Numbers of the tasks that features are learned from, and of those held out.

    ``head`` is a linear prior that was learned from the tasks kept.
    """

    kept: np.ndarray
    held_out: np.ndarray
    head: episodic.Belief


def surely_better(gain):
    """Whether the mean of the tasks' gains (T,) is beyond doubt."""
    return gain.mean() > MIN_GAIN * gain.std() / np.sqrt(len(gain))


def most_steps(n_folds):
    """The most runs and heads that a `Progress` hears of.

    There are a run for each fold, a longer one, and the head that it leads to. The last
    run and the last head are those of all tasks.
    """
    return 3 * n_folds + 2


def search_features(begin, table, folds, settings, seed, progress=SILENT):
    """A `FeatureSearch`, or a longer one if held-out tasks gain from that."""
    found = FeatureSearch(begin, table, folds, settings, seed, progress)
    more = settings.more if len(folds) == 1 else min(settings.more, MOST_IN_FOLDS)
    if more == 1 or len(found.due) <= N_REPORTS or not found.may_pay_more:
        return found
    settings = settings._replace(
        max_iter=more * settings.max_iter, learning_rate=settings.rate_of_more
    )
    longer = FeatureSearch(begin, table, folds, settings, seed, progress)
    if not longer.pays_more_than(found):
        return found
    before, now = (one.error[one.best].mean() for one in (found, longer))
    longer.too_short = bool(SMALL_ERROR < now < (1.0 - STILL_FALLING) * before)
    return longer


class FeatureSearch:
    """Learns features in each fold, and scores its held-out tasks along the way.

    Report 0 is about the linear prior that all runs begin with. Arrays of scores are
    (reports, T), with the tasks in the order in which the folds hold them out.

    Parameters
    ----------
    begin : callable
        ``begin(prior=head, rng=rng)`` gives a learner and its first state.
    table : TaskTable
    folds : list of FeatureFold
    settings : episodic.FeatureOptions
    seed : int
        Each run draws the same initial network.
    progress : Progress
        Hears of the meta-iterations of each run.

    Attributes
    ----------
    too_short : bool
        Whether a search that is longer still would probably find better features.
    """

    def __init__(self, begin, table, folds, settings, seed, progress=SILENT):
        self.begin, self.table, self.folds = begin, table, folds
        self.settings, self.seed, self.progress = settings, seed, progress
        n = min(N_REPORTS, settings.max_iter)
        self.due = np.round(np.linspace(0, settings.max_iter, n + 1)).astype(int)
        self.runs = [self._run(table.subset(fold.kept), fold.head) for fold in folds]
        self.log_density, self.error = self._scores()
        self.best = int(self.log_density.mean(axis=1).argmax())
        self.too_short = False

    @property
    def n_iter(self):
        """Meta-iterations to the best report."""
        return int(self.due[self.best])

    @property
    def pays(self):
        """Whether density and error of unseen rows are both better beyond doubt."""
        return surely_better(
            self.log_density[self.best] - self.log_density[0]
        ) and surely_better(self.error[0] - self.error[self.best])

    @property
    def may_pay_more(self):
        """Whether the features pay, and more and more to the end of the runs."""
        error = self.error.mean(axis=1)
        at_last = error[self.best] < (1.0 - STILL_GAINING) * error[-1 - N_REPORTS // 4]
        return self.best == len(self.due) - 1 and at_last and self.pays

    def pays_more_than(self, other):
        """Whether both density and error are better than another search's."""
        mine, others = self.best, other.best
        return surely_better(
            self.log_density[mine] - other.log_density[others]
        ) and surely_better(other.error[others] - self.error[mine])

    def of_folds(self):
        """Learner and best state of each fold's run."""
        return [(learner, states[self.best]) for learner, states in self.runs]

    def of_all(self, head):
        """Learner and state after a run on all tasks up to the best report.

        ``head`` is where it begins. A single fold has held out few of many tasks, so
        that its own run is used instead.
        """
        if len(self.folds) == 1:
            return self.of_folds()[0]
        learner, states = self._run(self.table, head, self.best)
        return learner, states[-1]

    def _run(self, table, head, last=None):
        """The learner, and its states at the reports up to the last one."""
        due = self.due[: None if last is None else last + 1]
        rng = np.random.default_rng(self.seed)
        learner, state = self.begin(prior=head, rng=rng)
        states = [learner.without_features(state)]
        path = episodic.learn_features(learner, state, table, self.settings, rng)
        with self.progress.part("run", int(due[-1])) as part:
            for i, (state, _) in zip(range(1, due[-1] + 1), path, strict=False):
                if i == due[len(states)]:
                    states.append(state)
                part.step("meta-iteration")
        return learner, states

    def _scores(self):
        parts = []
        for fold, (learner, states) in zip(self.folds, self.runs, strict=True):
            held_out = self.table.subset(fold.held_out)
            rng = np.random.default_rng(self.seed)
            episodes = episodic.held_out_episodes(rng, held_out)
            scores = [
                episodic.score_episodes(learner, state, held_out, episodes)
                for state in states
            ]
            parts.append(np.swapaxes(scores, 0, 1))
        return np.concatenate(parts, axis=-1)
