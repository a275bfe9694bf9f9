"""What a run of Reptile is given, and what it has learned so far."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmeta._core.descent.loops import AdamState
from skmeta._core.descent.rates import RateState


@dataclass(frozen=True)
class Settings:
    """What does not change during a run."""

    solver: str
    learning_rate: float
    inner_steps: int
    batch_size: int | None
    support_size: object
    meta_step: float
    meta_batch_size: int
    max_iter: int
    alpha: float
    safe: bool  # clip and bound the steps
    groups: np.ndarray | None  # learned rates: group of each parameter; None = fixed
    n_jobs: int = 1  # threads
    unit: float = 1.0  # size of the targets; gradients are as long

    @property
    def backtracks(self):
        """Whether adaptation takes only steps that lower the loss."""
        return self.safe and self.solver == "sgd"

    @cached_property
    def few_rates(self):
        """Whether the weights of a layer share one rate, and its offsets."""
        return self.groups is None or self.groups.max() + 1 < len(self.groups)

    @property
    def rate_pace(self):
        """How fast rates learn: in a short run faster, so that they get there."""
        return min(3.0, 500 / self.max_iter)


@dataclass(frozen=True)
class State:
    """What Reptile has learned so far."""

    start: np.ndarray  # (P,) phi in the paper
    rates: RateState | None = None
    adam: AdamState | None = None
    loss: float = np.nan  # of the drawn tasks, at their last inner step
    seen: float = 0.0  # weight of the rows of a task that the start knows already

    def rate_factor(self, groups):
        """Inner rate of each parameter (P,), or of all (1,), over ``learning_rate``."""
        if self.rates is None:
            return np.ones(1, dtype=self.start.dtype)
        return np.exp(self.rates.log_factor)[groups].astype(self.start.dtype)
