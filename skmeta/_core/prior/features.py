"""Whether learned features pay, and how long to learn them, by held-out tasks."""

from typing import NamedTuple

import numpy as np

from skmeta._core.prior import episodic

# The held-out tasks of a run are scored this many times.
N_REPORTS = 20
# Features are used if the mean gain is more than this many standard errors.
MIN_GAIN = 2.0


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
    """

    def __init__(self, begin, table, folds, settings, seed):
        self.begin, self.table, self.folds = begin, table, folds
        self.settings, self.seed = settings, seed
        n = min(N_REPORTS, settings.max_iter)
        self.due = np.round(np.linspace(0, settings.max_iter, n + 1)).astype(int)
        self.runs = [self._run(table.subset(fold.kept), fold.head) for fold in folds]
        self.log_density, self.error = self._scores()
        self.best = int(self.log_density.mean(axis=1).argmax())

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
        for i, (state, _) in zip(range(1, due[-1] + 1), path, strict=False):
            if i == due[len(states)]:
                states.append(state)
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
