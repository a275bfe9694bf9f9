"""What is kept of a run of Reptile."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.descent.loops import SecondMoment
from skmeta._core.descent.rates import RateState
from skmeta._core.descent.state import (
    InnerLoop,
    LearnedStart,
    ReptileState,
    rate_sharing,
)
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network

NETWORK = Network(ParamLayout((2, 3, 1), True), "relu", "huber")
N = NETWORK.layout.n_params
ABOUT = {
    "inner_loop": InnerLoop("sgd", True, "layer"),
    "course": {"alpha": 3.0},
    "mean_weight": 1.0,
    "constant_loss": 0.5,
    "seed": 3,
}
RATES = RateState(np.linspace(-1, 1, 4), np.ones(4), 10)
MOMENT = SecondMoment(np.arange(float(N)), 7)


@pytest.mark.parametrize("rates", [None, RATES])
@pytest.mark.parametrize("adam", [None, MOMENT])
def test_what_is_kept_gives_the_state_and_the_network_again(rates, adam):
    state = ReptileState(np.arange(float(N)), rates, adam, loss=1.0)
    kept = pickle.loads(pickle.dumps(LearnedStart.of(state, NETWORK, **ABOUT)))
    assert kept.network == NETWORK
    assert_array_equal(kept.state.start, state.start)
    groups = NETWORK.layout.groups() % 4
    assert_allclose(kept.state.rate_factor(groups), state.rate_factor(groups), 1e-6)
    assert (kept.state.adam is None) == (adam is None)
    if adam is not None:
        assert_array_equal(kept.state.adam.mean_square, adam.mean_square)
        assert kept.state.adam.n_steps == 7


@pytest.mark.parametrize(
    ("sizes", "loss", "solver", "learn_rates", "expected"),
    [
        ((2, 1), "log_loss", "sgd", "auto", "parameter"),
        ((2, 3, 1), "squared_error", "sgd", "auto", "parameter"),
        ((2, 3, 1), "log_loss", "sgd", "auto", "layer"),
        ((2, 3, 1), "log_loss", "sgd", "parameter", "parameter"),
        ((2, 1), "log_loss", "sgd", None, None),
        ((2, 1), "squared_error", "adam", "parameter", None),
    ],
)
def test_rates_are_shared_the_more_the_less_the_targets_tell(
    sizes, loss, solver, learn_rates, expected
):
    network = Network(ParamLayout(sizes), "tanh", loss)
    assert rate_sharing(network, solver, learn_rates) == expected
