"""Meta-training with tasks held out: when to stop, and how many steps to adapt by.

Held-out tasks answer two questions. The model adapts to some of their rows, and the
others are scored: does training still help (early stopping), and how many steps suit
each number of rows? All of this is decided here; nothing is printed or warned of.
"""

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from skmeta._core.descent import validation
from skmeta._core.descent.reptile import NonFiniteTask, reptile
from skmeta._core.descent.state import ReptileSettings, ReptileState

MIN_TASKS_TO_HOLD_OUT = 5
# Held-out tasks are looked at once in this many meta-iterations.
VALIDATE_EVERY = 10


@dataclass(frozen=True)
class HoldingOut:
    """What tasks are held out for.

    Attributes
    ----------
    fraction : float
        Fraction of the tasks to hold out.
    stops_early : bool
        Whether to stop when the loss of held-out tasks no longer falls.
    patience : int
        How many times in a row it may fail to fall.
    n_steps : int
        Number of adaptation steps before the loss of held-out tasks is measured.
    chooses_steps : bool
        Whether to choose the number of steps of adapting.
    """

    fraction: float
    stops_early: bool
    patience: int
    n_steps: int
    chooses_steps: bool

    def applies_to(self, table):
        """Whether tasks are held out of this table, which may have too few."""
        enough = len(may_be_held_out(table)) >= MIN_TASKS_TO_HOLD_OUT
        return enough and (self.stops_early or self.chooses_steps)

    def n_runs(self, table):
        """How many times the meta-loop runs: see `train`."""
        again = self.chooses_steps and not self.stops_early
        return 2 if again and self.applies_to(table) else 1


@dataclass(frozen=True)
class Trained:
    """Where meta-training stands, or has ended.

    The lists go on growing until training has ended: who keeps them, copies them.

    Attributes
    ----------
    state : ReptileState
    losses : list of float
        Mean loss of the tasks drawn in each meta-iteration.
    scores : list of float or None
        Minus the loss of held-out tasks, each time it was looked at, or after each
        course that was tried; None if no task was held out.
    asked_to_stop : bool
        Whether ``after_each`` has asked for the end.
    adapt_steps : ndarray of shape (n_sizes, 2) or None
        The chosen number of steps for each number of rows: `validation.best_steps`.
    settings : ReptileSettings
        The course that was taken.
    improving : bool
        Whether a longer course would probably be better still.
    """

    state: ReptileState
    losses: list = field(default_factory=list)
    scores: list | None = None
    asked_to_stop: bool = False
    adapt_steps: np.ndarray | None = None
    settings: ReptileSettings = None
    improving: bool = False


def train(network, table, start, settings, holding_out, rng, after_each):
    """Meta-train from a state; returns what is `Trained`.

    If only the number of steps is chosen on held-out tasks, a second run learns from
    all tasks, and its state is returned.

    Parameters
    ----------
    after_each : callable (Trained) -> bool
        Called after each meta-iteration. It returns whether to stop.
    """
    a_run = partial(run, network, start, settings, rng, after_each)
    everything = np.arange(table.n_tasks)
    if not holding_out.applies_to(table):
        return a_run(table, everything)
    held_out = draw_held_out(rng, table, holding_out.fraction)
    kept = np.setdiff1d(everything, held_out)
    episodes = validation.draw_held_out_rows(rng, table.subset(held_out))

    stopping = None
    if holding_out.stops_early:
        loss = partial(
            validation.mean_loss, network, episodes, settings, holding_out.n_steps, rng
        )
        stopping = EarlyStopping(loss, holding_out.patience)
    trained = a_run(table.subset(kept), kept, stopping)
    if not holding_out.chooses_steps:
        return trained
    steps = validation.best_steps(network, trained.state, episodes, settings, rng)
    if holding_out.n_runs(table) == 2 and not trained.asked_to_stop:
        trained = a_run(table, everything)
    return replace(trained, adapt_steps=steps)


def run(network, start, settings, rng, after_each, table, numbers, stopping=None):
    """One run of the meta-loop on a table, whose tasks the caller knows by numbers."""
    losses, scores = [], stopping and stopping.scores
    asked = False
    try:
        for state in reptile(network, table, start, settings, rng):
            losses.append(state.loss)
            if stopping and len(losses) % VALIDATE_EVERY == 0:
                stopping.look_at(state)
            asked = after_each(Trained(state, losses, scores, settings=settings))
            if asked or (stopping and stopping.reached):
                break
    except NonFiniteTask as error:
        raise NonFiniteTask(numbers[error.args[0]]) from None
    if stopping and stopping.best is not None:
        state = stopping.best
    return Trained(state, losses, scores, asked, settings=settings)


class EarlyStopping:
    """The best state so far, and whether it has been the best for too long.

    ``loss`` (state) is that of held-out tasks; ``scores`` are minus those seen.
    """

    def __init__(self, loss, patience):
        self.loss, self.patience, self.scores = loss, patience, []
        self.best, self.best_loss, self.waited = None, np.inf, 0

    def look_at(self, state):
        loss = self.loss(state)
        self.scores.append(-loss)
        if loss < self.best_loss:
            self.best, self.best_loss, self.waited = state, loss, 0
        else:
            self.waited += 1

    @property
    def reached(self):
        return self.waited >= self.patience


# -- tasks to hold out ----------------------------------------------------------------


def may_be_held_out(table):
    """Numbers of the tasks with a row to adapt to and a row to validate on."""
    return np.flatnonzero(table.sizes > 1)


def draw_held_out(rng, table, fraction):
    """Numbers of the tasks to hold out, in order; at least one task is left."""
    eligible = may_be_held_out(table)
    n_held_out = round(fraction * table.n_tasks)
    n_held_out = min(max(1, n_held_out), len(eligible) - 1)
    return np.sort(rng.permutation(eligible)[:n_held_out])
