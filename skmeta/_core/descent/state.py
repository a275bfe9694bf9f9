"""What a run of Reptile is given, where it stands, and what is kept of it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from skmeta._core.descent.loops import SecondMoment
from skmeta._core.descent.rates import RateState, initial_rates
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network


@dataclass(frozen=True)
class ReptileSettings:
    """What does not change during a run.

    Attributes
    ----------
    solver : {"sgd", "adam"}
        The inner loop.
    support_size : int, tuple (low, high) or None
        Rows drawn from each task in a meta-iteration.
    alpha : float
        Strength of the pull towards the start.
    safe : bool
        Whether gradients are shortened and steps are bounded.
    groups : ndarray of int of shape (P,) or None
        Which learned rate each parameter uses. None: all rates stay as they are.
    n_jobs : int
        Threads that share the tasks of a meta-iteration.
    unit : float
        Size of the targets. Gradients grow with it.
    curved : bool
        Whether steps are measured by the curvature: see `curved.py`.
    by_evidence : bool
        Whether the rates learn from the rows that the inner loop sees. Otherwise they
        learn from others.
    """

    solver: str
    learning_rate: float
    inner_steps: int
    batch_size: int | None
    support_size: object
    meta_step: float
    meta_batch_size: int
    max_iter: int
    alpha: float
    safe: bool
    groups: np.ndarray | None
    n_jobs: int = 1
    unit: float = 1.0
    curved: bool = False
    by_evidence: bool = False

    @property
    def backtracks(self):
        """Whether adapting takes only steps that lower the loss."""
        return self.safe and self.solver == "sgd"

    @cached_property
    def few_rates(self):
        """Whether the weights of a layer share one rate, and its biases another."""
        return self.groups is None or self.groups.max() + 1 < len(self.groups)

    @property
    def rate_pace(self):
        """How fast rates learn: faster in a short run, to converge in time."""
        return min(3.0, 500 / self.max_iter)


@dataclass(frozen=True)
class ReptileState:
    """Where the meta-loop stands.

    Attributes
    ----------
    start : ndarray of shape (P,)
        phi in the paper. If a task that is already adapted to adapts further, it is
        where that task stands.
    rates : RateState or None
        The learned rates.
    adam : SecondMoment or None
        What Adam carries from task to task.
    loss : float
        Mean loss of the tasks drawn last, before their last inner step.
    seen : float
        Weight of the rows that the task at ``start`` is adapted to; 0 if ``start`` is
        that of all tasks, as in training.
    precision : ndarray of shape (o, p, p) or None
        What is known of the task at ``start``: see `curved.Known`. None: ``start`` is
        that of all tasks, or steps are not measured by the curvature.
    """

    start: np.ndarray
    rates: RateState | None = None
    adam: SecondMoment | None = None
    loss: float = np.nan
    seen: float = 0.0
    precision: np.ndarray | None = None

    def rate_factor(self, groups):
        """Inner rate of each parameter (P,), or of all (1,), over ``learning_rate``."""
        if self.rates is None:
            return np.ones(1, dtype=self.start.dtype)
        return np.exp(self.rates.log_factor)[groups].astype(self.start.dtype)


def initial_state(network, settings, rng, dtype):
    """The state before the first meta-iteration."""
    start = network.layout.init(rng, dtype, standardized=settings.safe)
    rates = adam = None
    if settings.groups is not None:
        # several classes also learn how much of what is unknown to average over
        share = settings.curved and network.layout.sizes[-1] > 1
        rates = initial_rates(settings.groups.max() + 1 + share)
    if settings.solver == "adam":
        adam = SecondMoment(np.zeros_like(start))
    return ReptileState(start, rates, adam)


def rate_sharing(network, solver, learn_rates):
    """Which parameters share a rate: those of a "layer" or "parameter", or None.

    None: no rate is learned.
    """
    if solver == "adam":
        return None
    if learn_rates != "auto":
        return learn_rates
    few_parameters = network.layout.n_layers == 1
    much_signal = network.loss in ("squared_error", "huber")
    return "parameter" if few_parameters or much_signal else "layer"


def rate_groups(network, sharing, curved=False):
    """Number of the rate that each parameter (P,) uses: see `rate_sharing`.

    Where rates are learned by the curvature, all classes share the rate of a column:
    tasks would rarely tell them apart.
    """
    if sharing is None:
        return None
    if sharing == "layer":
        return network.layout.groups()
    groups = np.arange(network.layout.n_params)
    if curved:
        n_features, n_outputs = network.layout.sizes
        of_weights = groups[: n_features * n_outputs]
        of_weights //= n_outputs
        groups[len(of_weights) :] += n_features - len(of_weights)
    return groups


class InnerLoop(NamedTuple):
    """The kind of inner loop that a model is trained with, and so adapts with.

    Attributes
    ----------
    solver : {"sgd", "adam"}
    safe : bool
        Whether gradients are shortened and steps are bounded.
    sharing : {"layer", "parameter"} or None
        Which parameters share a learned rate: `rate_sharing`.
    curved : bool
        Whether steps are measured by the curvature: see `curved.py`.
    """

    solver: str
    safe: bool
    sharing: str | None
    curved: bool = False


@dataclass(frozen=True)
class LearnedStart:
    """What is kept of a run: plain values and arrays, which any format can save.

    Attributes
    ----------
    start : ndarray of shape (P,)
    log_factor : ndarray of shape (n_groups,) or None
        Logarithms of the learned rates over ``learning_rate``. Single precision is
        enough for them, and keeps saved models small.
    second_moment : ndarray of shape (P,) or None
        Adam's, after ``n_adam_steps`` steps.
    architecture : tuple
        The arguments of `network_of`.
    inner_loop : InnerLoop
    course : dict
        Settings of the run that the user may leave to us, by their names.
    mean_weight : float
        Mean weight of the rows of meta-training.
    constant_loss : float
        Loss of the best constant prediction for the rows of meta-training.
    seed : int
        Seed of the minibatches that adapting draws.
    """

    start: np.ndarray
    log_factor: np.ndarray | None
    second_moment: np.ndarray | None
    n_adam_steps: int
    architecture: tuple
    inner_loop: InnerLoop
    course: dict
    mean_weight: float
    constant_loss: float
    seed: int

    @classmethod
    def of(cls, state, network, **about):
        """What is kept of a state, the network, and other fields about the run."""
        rates, adam = state.rates, state.adam
        return cls(
            start=state.start,
            log_factor=rates and rates.log_factor.astype(np.float32),
            second_moment=adam and adam.mean_square,
            n_adam_steps=adam.n_steps if adam else 0,
            architecture=architecture_of(network),
            **about,
        )

    @property
    def network(self):
        return network_of(*self.architecture)

    @property
    def state(self):
        """The state from which adapting, or another run, begins."""
        rates = adam = None
        if self.log_factor is not None:
            rates = RateState(self.log_factor, np.zeros_like(self.log_factor))
        if self.second_moment is not None:
            adam = SecondMoment(self.second_moment, self.n_adam_steps)
        return ReptileState(self.start, rates, adam)


def architecture_of(network):
    """The arguments with which `network_of` makes the network again."""
    layout = network.layout
    functions = network.activation, network.loss, network.intercept
    return layout.sizes, layout.layer_norm, *functions


@lru_cache
def network_of(sizes, layer_norm, activation, loss, intercept):
    return Network(ParamLayout(sizes, layer_norm), activation, loss, intercept)


@dataclass(frozen=True)
class PresentTask:
    """Where adapting has taken a model.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        The parameters with which the model predicts.
    seen : float
        Weight of the rows that it is adapted to; 0 at the learned start.
    precision : ndarray of shape (o, p, p) or None
        What is known of a linear model's coefficients: see `curved.py`. None at the
        learned start, and for other models.
    """

    theta: np.ndarray
    seen: float = 0.0
    precision: np.ndarray | None = None
