"""Which course of meta-training held-out tasks choose, as pure functions."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skmeta import ReptileRegressor
from skmeta._core.descent import courses, training, validation
from skmeta._core.descent.reptile import NonFiniteTask
from skmeta._core.descent.state import ReptileSettings, initial_state
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network, losses
from skmeta._core.tasks import TaskTable
from skmeta.datasets import make_linear_tasks, make_sinusoid_tasks

USUAL = ReptileSettings(
    solver="sgd",
    learning_rate=0.1,
    inner_steps=3,
    batch_size=None,
    support_size=(1, 3),
    meta_step=1.0,
    meta_batch_size=5,
    max_iter=4,
    alpha=3.0,
    safe=True,
    groups=None,
)
DARING = replace(USUAL, alpha=0.03, max_iter=8)
LONG = replace(DARING, max_iter=32)
NETWORK = Network(ParamLayout((2, 3, 1)), "tanh", "squared_error")
HOLDING_OUT = training.HoldingOut(
    fraction=0.2, stops_early=False, patience=1, n_steps=3, chooses_steps=False
)
NOISY, CLEAR, CLEARER = 1.0, 0.09, 0.05


def make_table(n_tasks=courses.MIN_TASKS, n_rows=4):
    rng = np.random.default_rng(0)
    n = n_tasks * n_rows
    starts = n_rows * np.arange(n_tasks + 1)
    return TaskTable(
        rng.normal(size=(n, 2)), rng.normal(size=(n, 1)), np.ones(n), starts
    )


class Scripted(courses.Training):
    """Training whose held-out tasks have losses that the test has written down."""

    def __init__(self, table, script, after_each=lambda so_far: False):
        def begin(settings, rng):
            return initial_state(NETWORK, settings, rng, np.float64)

        super().__init__(NETWORK, table, begin, HOLDING_OUT, 1, after_each)
        self.script = script

    def _losses(self, state, settings):
        found = self.script.get((settings.alpha, settings.max_iter), NOISY)
        if isinstance(found, Exception):
            raise found
        spread = 0.01 * np.sin(np.arange(10))
        return np.multiply.outer(np.atleast_1d(found), 1.0 + spread)


def script(usual, daring=None, long=None):
    return {(3.0, 4): usual, (0.03, 8): daring, (0.03, 32): long}


def train(how, ways=(USUAL, DARING)):
    return how.on_the_best(ways, constant=1.0)


@pytest.mark.parametrize(
    ("n_tasks", "ways", "usual"),
    [
        (courses.MIN_TASKS - 1, [USUAL, DARING], CLEAR),  # too few tasks
        (courses.MIN_TASKS, [USUAL], CLEAR),  # no choice
        (courses.MIN_TASKS, [USUAL, DARING], NOISY),
    ],
)
def test_without_a_reason_to_search_the_usual_course_is_taken(n_tasks, ways, usual):
    how = Scripted(make_table(n_tasks), script(usual))
    trained, plain = train(how, ways), how.on_all_tasks(USUAL)
    assert_array_equal(trained.state.start, plain.state.start)
    assert (trained.scores, trained.settings) == (None, USUAL)


@pytest.mark.parametrize(
    ("daring", "long", "chosen", "n_scores"),
    [
        (CLEARER, CLEAR, DARING, 3),
        (CLEARER, CLEARER, DARING, 3),  # no better
        (CLEARER, CLEARER / 2, LONG, 4),  # and a longer one, which is not better,
        (CLEAR, None, USUAL, 2),
        ([0.1, CLEARER / 9], None, USUAL, 2),  # worse after few rows
        (NonFiniteTask([0]), None, USUAL, 2),
    ],
)
def test_a_course_that_is_surely_better_is_taken_by_all_tasks(
    daring, long, chosen, n_scores
):
    usual = [CLEAR, CLEAR] if isinstance(daring, list) else CLEAR
    how = Scripted(make_table(), script(usual, daring, long))
    trained, plain = train(how), how.on_all_tasks(chosen)
    assert_array_equal(trained.state.start, plain.state.start)
    assert trained.settings == chosen
    assert len(trained.losses) == chosen.max_iter
    assert len(trained.scores) == n_scores
    assert trained.scores[0] == pytest.approx(-CLEAR, rel=0.01)


def test_with_many_tasks_the_best_run_itself_is_kept(monkeypatch):
    monkeypatch.setattr(courses, "MANY_TASKS", courses.MIN_TASKS)
    how = Scripted(make_table(), script(CLEAR, CLEARER, CLEAR))
    trained = train(how)
    assert_array_equal(trained.state.start, how._try(DARING).trained.state.start)
    assert trained.settings == DARING


def test_with_many_noisy_tasks_the_usual_course_is_tried_for_longer(monkeypatch):
    monkeypatch.setattr(courses, "MANY_TASKS", courses.MIN_TASKS)
    how = Scripted(make_table(), {(3.0, 4): NOISY, (3.0, 16): 0.8, (3.0, 64): 0.79})
    trained = train(how)
    assert trained.settings == replace(USUAL, max_iter=64)


@pytest.mark.parametrize(("long", "improving"), [(0.04, True), (0.049, False)])
def test_a_loss_that_still_falls_at_the_longest_course_is_told(
    long, improving, monkeypatch
):
    monkeypatch.setattr(courses, "MAX_VISITS", 32 * 5)
    how = Scripted(make_table(), script(CLEAR, CLEARER, long))
    assert train(how).improving is improving
    monkeypatch.setattr(courses, "MAX_VISITS", 8 * 5)  # one course cannot show it
    assert not train(Scripted(make_table(), script(CLEAR, CLEARER))).improving


@pytest.mark.parametrize("stop_at", [2, 6, 12])
def test_a_search_that_is_asked_to_stop_keeps_the_best_course_so_far(stop_at):
    seen = []

    def stop(so_far):
        seen.append(so_far.settings)
        return len(seen) == stop_at

    how = Scripted(make_table(), script(CLEAR, CLEARER, CLEARER / 2), stop)
    trained = train(how)
    assert trained.asked_to_stop
    assert len(seen) == stop_at
    assert trained.settings == USUAL
    assert len(trained.losses) == min(stop_at, 4)


def test_the_longest_way_has_as_many_meta_iterations_as_announced(monkeypatch):
    monkeypatch.setattr(courses, "MAX_VISITS", 32 * 5)
    table, seen = make_table(), []
    how = Scripted(table, script(CLEAR, CLEARER, CLEARER / 2), seen.append)
    train(how)
    announced = courses.most_iterations([USUAL, DARING], table, HOLDING_OUT)
    assert len(seen) == 4 + 4 + 8 + 32 + 32
    assert len(seen) <= announced <= 2 * len(seen)


# -- losses of held-out tasks ---------------------------------------------------------


def test_losses_of_tasks_are_means_over_draws_and_nan_without_a_row_to_score():
    rng = np.random.default_rng(0)
    sizes = np.array([2, 9, 9, 9, 30])
    n = sizes.sum()
    table = TaskTable(
        rng.normal(size=(n, 2)),
        rng.normal(size=(n, 1)),
        np.ones(n),
        np.concatenate([[0], np.cumsum(sizes)]),
    )
    state = initial_state(NETWORK, USUAL, rng, np.float64)
    episodes = validation.draw_episodes(rng, table)
    found = validation.losses_of_tasks(NETWORK, state, episodes, USUAL, 0, rng)
    assert found.shape == (3, 5)  # after 1, 2 and 5 rows
    assert np.isnan(found).tolist() == [[False] * 5] + 2 * [[True] + [False] * 4]
    _, draws = episodes
    tasks, _, query = draws[2][0]
    expected = np.mean(
        [losses(NETWORK, state.start[None], query) for *_, query in draws[2]], axis=0
    )
    assert query.X.shape[1] <= validation.MOST_SCORED
    np.testing.assert_allclose(found[2, tasks], expected)


# -- the estimators -------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Short courses; any tasks count as free of noise, and the daring one as better."""
    monkeypatch.setattr(
        "skmeta._reptile_auto.USUAL",
        {"max_iter": 6, "meta_batch_size": 9, "alpha": 3.0},
    )
    monkeypatch.setattr("skmeta._reptile_auto.DARING_VISITS", 100)
    monkeypatch.setattr(courses, "LITTLE_NOISE", 10.0)
    monkeypatch.setattr(courses.Trial, "better_than", lambda self, other: True)
    monkeypatch.setattr(courses, "MAX_VISITS", 100)


WAVES = make_sinusoid_tasks(60, 15, random_state=0)


def reptile(**params):
    defaults = {"hidden_layer_sizes": 8, "inner_steps": 5, "random_state": 0}
    return ReptileRegressor(**defaults | params)


def test_the_parameters_chosen_lead_to_the_same_model(quick):
    model = reptile().meta_fit(WAVES)
    course = model.chosen_params_
    assert course == {
        "max_iter": 20,
        "meta_batch_size": 5,
        "alpha": 0.03,
        "learning_rate": 0.3,
        "learn_rates": None,
    }
    assert (model.n_iter_, len(model.loss_curve_)) == (20, 20)
    assert len(model.validation_scores_) == 2
    same = reptile(**course).meta_fit(WAVES)
    X, y = WAVES[0]
    assert_array_equal(
        model.adapt(X[:5], y[:5]).predict(X), same.adapt(X[:5], y[:5]).predict(X)
    )
    threads = reptile(n_jobs=2).meta_fit(WAVES)
    assert_array_equal(threads.prior_coefs_[0], model.prior_coefs_[0])


def test_what_the_user_sets_stays_as_it_is_on_each_course(quick):
    given = {
        "alpha": 0.5,
        "meta_batch_size": 4,
        "learning_rate": 0.2,
        "learn_rates": "layer",
    }
    chosen = reptile(**given).meta_fit(WAVES).chosen_params_
    assert chosen.pop("max_iter") == 25
    assert chosen == given


@pytest.mark.parametrize(
    "params",
    [
        {"max_iter": 5},
        {"early_stopping": True},
        {"solver": "adam"},
        {"hidden_layer_sizes": ()},
    ],
)
def test_nothing_is_chosen_if_the_length_is_given_or_the_model_is_linear(quick, params):
    model = reptile(**params).meta_fit(WAVES)
    course = model.chosen_params_
    assert (course["alpha"], course["meta_batch_size"]) == (3.0, 9)
    assert course["max_iter"] == params.get("max_iter", 6)
    assert hasattr(model, "validation_scores_") is ("early_stopping" in params)


def test_a_linear_model_takes_the_usual_course():
    tasks = make_linear_tasks(60, random_state=0)
    model = ReptileRegressor(random_state=0).meta_fit(tasks)
    assert model.n_iter_ == 500
    assert model.chosen_params_["alpha"] == 3.0


def test_a_fit_that_continues_takes_the_course_of_the_first(quick):
    model = reptile(warm_start=True).meta_fit(WAVES)
    course, start = model.chosen_params_, model.prior_coefs_[0].copy()
    model.meta_fit(WAVES)
    assert model.chosen_params_ == course
    assert model.n_iter_ == 20
    assert (model.prior_coefs_[0] != start).any()
    model.set_params(max_iter=3).meta_fit(WAVES)
    assert model.n_iter_ == 3
    with pytest.raises(ValueError, match="learn_rates have changed"):
        model.set_params(learn_rates="layer").meta_fit(WAVES)


def test_steps_are_chosen_on_the_course_that_was_chosen(quick):
    model = reptile(adapt_steps="auto").meta_fit(WAVES)
    same = reptile(adapt_steps="auto", **model.chosen_params_).meta_fit(WAVES)
    assert_array_equal(model.adapt_steps_, same.adapt_steps_)
    assert_array_equal(model.prior_coefs_[0], same.prior_coefs_[0])


def test_a_pull_that_is_set_later_replaces_the_chosen_one(quick):
    (X, y), *tasks = WAVES
    model = reptile().meta_fit(tasks)
    free = model.adapt(X[:5], y[:5]).predict(X)
    held = model.set_params(alpha=1e6).adapt(X[:5], y[:5]).predict(X)
    assert np.abs(held - model.predict(X)).max() < 0.01 < np.abs(free - held).max()
