"""Whether features pay, decided by tasks that no run has learned from."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.prior import episodic, features, gaussian
from skmeta._core.prior.features import FeatureFold, FeatureSearch, surely_better
from skmeta._core.prior.search import StructureSearch
from skmeta._core.tasks import TaskTable
from skmeta.datasets import make_linear_tasks, make_sinusoid_tasks

SETTINGS = episodic.FeatureOptions(
    learning_rate=1e-2, support_size=(1, 10), meta_batch_size=10, max_iter=100
)
BEGIN = partial(episodic.begin_features, (1, 16, 8), "tanh", False, fit_intercept=True)


def table_of(tasks):
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    X, y = X / X.std(), y / y.std()
    starts = np.concatenate([[0], np.cumsum([len(y) for _, y in tasks])])
    return TaskTable(X, y[:, None], np.ones(len(y)), starts)


def folds_of(n_tasks, n_folds):
    everyone = np.arange(n_tasks)
    head = episodic.Belief(np.zeros((2, 1)), 0.5 * np.eye(2), 0.5)
    return [
        FeatureFold(np.setdiff1d(everyone, held_out), held_out, head)
        for held_out in np.array_split(everyone, n_folds)
    ]


@pytest.fixture(scope="module")
def waves():
    return table_of(make_sinusoid_tasks(60, 20, random_state=0))


@pytest.fixture(scope="module")
def search(waves):
    return FeatureSearch(BEGIN, waves, folds_of(60, 3), SETTINGS, 0)


def test_features_pay_on_waves(search):
    assert search.best > 0
    assert search.pays
    assert search.log_density.shape == (21, 60)
    assert search.n_iter == search.best * 5


def test_features_do_not_pay_on_lines():
    table = table_of(make_linear_tasks(60, 20, 1, noise=1.0, random_state=0))
    columns = np.column_stack([table.X, np.ones(len(table.X))])
    parts = [
        (columns[a:b], table.Y[a:b, 0], table.weight[a:b])
        for a, b in pairwise(table.starts)
    ]
    tasks = gaussian.GaussianTasks.gather(parts, True)
    search = StructureSearch(
        tasks, (1, 1, True), np.random.RandomState(0), tol=1e-5, max_iter=99
    )
    prior = search.run("diagonal").prior
    head = episodic.Belief(prior.mean[:, None], prior.factor, prior.noise)
    folds = [fold._replace(head=head) for fold in folds_of(60, 3)]
    assert not FeatureSearch(BEGIN, table, folds, SETTINGS, 0).pays


def test_a_fold_does_not_learn_from_the_tasks_that_it_holds_out(waves, search):
    Y = waves.Y.copy()
    Y[: waves.starts[20]] = 1e3  # tasks 0 to 19 are the first fold
    other = FeatureSearch(BEGIN, replace(waves, Y=Y), folds_of(60, 3), SETTINGS, 0)
    for state, changed in zip(search.runs[0][1], other.runs[0][1], strict=True):
        assert_array_equal(state.theta, changed.theta)
        assert_array_equal(state.numbers, changed.numbers)
    assert (other.error[0][:20] > 10 * search.error[0][:20]).all()


def test_the_run_on_all_tasks_stops_where_held_out_tasks_were_predicted_best(waves):
    search = FeatureSearch(BEGIN, waves, folds_of(60, 3), SETTINGS, 0)
    search.best = 4
    _, state = search.of_all(search.folds[0].head)
    start = BEGIN(prior=search.folds[0].head, rng=(rng := np.random.default_rng(0)))
    path = episodic.learn_features(*start, waves, SETTINGS, rng)
    expected = [state for state, _ in path][4 * 5 - 1]
    assert_array_equal(state.theta, expected.theta)


def test_the_run_of_a_single_fold_is_kept(waves):
    search = FeatureSearch(BEGIN, waves, folds_of(60, 3)[:1], SETTINGS, 0)
    _, state = search.of_all(None)
    assert state is search.of_folds()[0][1]


def test_report_zero_is_the_linear_prior_without_any_features(waves, search):
    fold, (learner, states) = search.folds[0], search.runs[0]
    held_out = waves.subset(fold.held_out)
    episodes = episodic.held_out_episodes(np.random.default_rng(0), held_out)
    linear = learner.belief(states[0])._replace(mean=states[0].numbers[:, None][:10])
    assert_allclose(linear.mean[-2:], fold.head.mean)
    assert_allclose(linear.factor[-2:, -2:], fold.head.factor)
    assert np.abs(linear.factor[:8]).max() < 1e-15
    found = episodic.score_episodes(learner, states[0], held_out, episodes)
    assert_array_equal(found, [search.log_density[0][:20], search.error[0][:20]])
    theta = np.zeros_like(states[0].theta)  # other features must make no difference
    other = episodic.score_episodes(
        learner, states[0]._replace(theta=theta), held_out, episodes
    )
    assert_allclose(found, other, rtol=1e-12)


def test_a_gain_is_sure_beyond_two_standard_errors():
    noise = np.tile([-1.0, 1.0], 50)  # its standard error is 0.1
    assert surely_better(noise + 0.21)
    assert not surely_better(noise + 0.19)
    assert not surely_better(np.zeros(10))


# -- longer runs ----------------------------------------------------------------------


class Scripted(FeatureSearch):
    """A search whose error falls to what the length of the runs says, in half of it."""

    ends_at = {100: 0.3, 200: 0.2, 400: 0.2}
    all_the_time = True

    def _run(self, table, head, last=None):
        return None

    def _scores(self):
        end = self.ends_at[self.settings.max_iter]
        fall = np.linspace(0.0, 1.0 if self.all_the_time else 2.0, 21).clip(max=1.0)
        tasks = 1.0 + 0.01 * np.sin(np.arange(50))
        error = np.multiply.outer(1.0 - (1.0 - end) * fall, tasks)
        return -error, error


def found(monkeypatch, n_folds=1, more=4, **script):
    monkeypatch.setattr(features, "FeatureSearch", type("Script", (Scripted,), script))
    settings = SETTINGS._replace(more=more, rate_of_more=0.5)
    table = table_of(make_sinusoid_tasks(6, 3, random_state=0))
    folds = folds_of(6, 3)[:n_folds]
    return features.search_features(BEGIN, table, folds, settings, 0)


@pytest.mark.parametrize(
    ("n_folds", "more", "script", "n_iter"),
    [
        (1, 4, {}, 400),
        (3, 4, {}, 200),
        (1, 1, {}, 100),
        (1, 4, {"all_the_time": False}, 50),  # the best report is not the last
        (1, 4, {"ends_at": {100: 0.99, 400: 0.2}}, 100),  # no longer gains much
        (1, 4, {"ends_at": {100: 0.3, 400: 0.31}}, 100),  # a longer run is worse
    ],
)
def test_runs_are_longer_if_held_out_tasks_gain_more_and_more(
    n_folds, more, script, n_iter, monkeypatch
):
    search = found(monkeypatch, n_folds, more, **script)
    assert search.n_iter == n_iter
    assert search.settings.learning_rate == (0.5 if n_iter in (200, 400) else 1e-2)


@pytest.mark.parametrize(
    ("longer", "too_short"), [(0.2, True), (0.28, False), (0.001, False)]
)
def test_a_search_says_if_its_longest_runs_were_too_short(
    longer, too_short, monkeypatch
):
    search = found(monkeypatch, ends_at={100: 0.3, 400: longer})
    assert (search.n_iter, search.too_short) == (400, too_short)
