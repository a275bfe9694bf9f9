"""Which rows are asked about, against every row tried in turn."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from skmeta import EmpiricalBayesClassifier, EmpiricalBayesRegressor
from skmeta._core.prior import queries
from skmeta._core.prior.queries import Pool, choose_queries


def draw(n=12, o=1, P=4, r=None, seed=0):
    """Columns (n, P), roots (n, o, o) and a factor (o P, r)."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(o * P, r or o * P))
    return rng.normal(size=(n, P)), rng.normal(size=(n, o, o)), factor


def dependence(X, root, factor):
    """What the outputs of each row depend on, times its root: (n, o, r)."""
    blocks = factor.reshape(root.shape[1], X.shape[1], -1)
    return root @ np.einsum("np,opr->nor", X, blocks)


def choose(X, root, factor, n_queries):
    return choose_queries(Pool(lambda rows: X[rows], root, factor), n_queries)


def of_rows(J, n_queries):
    """Queries of a pool of one output that is given by what it depends on."""
    return choose(J, np.ones((len(J), 1, 1)), np.eye(J.shape[1]), n_queries)


def plain(J, n_queries):
    """The same choices by Cohn's criterion, J being turned after each answer."""
    n, o, r = J.shape
    asked = np.zeros(n, dtype=bool)
    rows = []
    for _ in range(n_queries):
        S = np.einsum("noi,noj->ij", J, J)
        observed = J @ J.swapaxes(-1, -2) + np.eye(o)
        explained = J @ S @ J.swapaxes(-1, -2)
        gain = np.trace(np.linalg.solve(observed, explained), axis1=-2, axis2=-1)
        gain[asked] = -np.inf
        row = int(gain.argmax())
        rows.append(row)
        asked[row] = True
        C = np.linalg.cholesky(np.eye(r) + J[row].T @ J[row])
        J = np.linalg.solve(C, J.swapaxes(-1, -2)).swapaxes(-1, -2)
    return rows


def posterior(J, rows):
    """Covariance of the unknowns after observing rows, written out."""
    precision = np.eye(J.shape[2])
    for row in rows:
        precision = precision + J[row].T @ J[row]
    return np.linalg.inv(precision)


def total_variance(J, rows):
    """Variance of all outputs of the pool, summed, after observing rows."""
    V = posterior(J, rows)
    return sum(np.trace(j @ V @ j.T) for j in J)


def by_hand(J, n_queries):
    """The row after which the variance is lowest, then the next one, ..."""
    rows = []
    for _ in range(n_queries):
        left = [row for row in range(len(J)) if row not in rows]
        rows.append(min(left, key=lambda row: total_variance(J, [*rows, row])))
    return rows


@pytest.mark.parametrize("o", [1, 3], ids=["one output", "three outputs"])
@pytest.mark.parametrize("seed", range(5))
def test_each_query_leaves_the_least_variance_over_the_pool(seed, o):
    given = draw(o=o, seed=seed)
    assert_array_equal(choose(*given, 6), by_hand(dependence(*given), 6))


@pytest.mark.parametrize("o", [1, 2, 5])
@pytest.mark.parametrize("r", [2, 7, 40])
def test_queries_in_blocks_are_those_of_the_plain_loop(o, r, monkeypatch):
    given = draw(60, o, 6, r, seed=o + r)
    expected = plain(dependence(*given), 25)
    assert_array_equal(choose(*given, 25), expected)
    monkeypatch.setattr(queries, "POOL_CELLS", 7 * r)
    assert_array_equal(choose(*given, 25), expected)


@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_spreads_far_from_the_noise_do_not_blur_the_choice(scale):
    X, root, factor = draw(40, 1, 5)
    factor = factor * np.array([scale, 1.0, scale, 1.0, 1.0])[:, None]
    root = np.ones_like(root)
    expected = plain(dependence(X, root, factor), 8)
    assert_array_equal(choose(X, root, factor, 8), expected)


@pytest.mark.parametrize("o", [1, 3])
def test_no_row_is_asked_about_twice_even_if_it_is_the_best_again(o):
    X, root, factor = draw(n=5, o=o)
    root = np.tile(np.eye(o), (5, 1, 1))
    root[2] *= 100  # this row is so uncertain that a second answer would help most
    rows = choose(X, root, factor, 5)
    assert rows[0] == 2
    assert sorted(rows) == list(range(5))


def test_fewer_queries_are_the_first_of_more():
    given = draw()
    assert_array_equal(choose(*given, 3), choose(*given, 7)[:3])


def test_only_one_of_two_equal_directions_is_asked_about():
    J = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 1.9]])
    assert_array_equal(of_rows(J, 2), [0, 2])


@pytest.mark.parametrize("o", [1, 3])
def test_the_first_of_equal_rows_is_asked_about_wherever_blocks_end(o, monkeypatch):
    X, root, factor = draw(9, o)
    X, root = np.repeat(X, 4, axis=0), np.repeat(root, 4, axis=0)
    expected = choose(X, root, factor, 5)
    assert (expected[:2] % 4 == 0).all()
    for cells in (20, 50, 110):
        monkeypatch.setattr(queries, "POOL_CELLS", cells)
        assert_array_equal(choose(X, root, factor, 5), expected)


def test_if_everything_is_known_any_row_is_suggested():
    assert_array_equal(of_rows(np.zeros((3, 2)), 2), [0, 1])


def test_the_given_arrays_are_left_as_they_were():
    given = draw(o=2)
    before = [part.copy() for part in given]
    rows = choose(*given, 3)
    assert rows.dtype == np.intp
    for part, old in zip(given, before, strict=True):
        assert_array_equal(part, old)


def test_a_pool_does_not_take_memory_of_outputs_times_unknowns():
    X, root, factor = draw(3000, 4, 30)
    tracemalloc.start()
    choose(X, root, factor, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * 8 * len(X) * 4 * factor.shape[1]


@pytest.mark.parametrize("prior", ["auto", "diagonal"])
@pytest.mark.parametrize("labels", [False, True])
def test_a_category_that_no_task_had_is_not_asked_about_first(prior, labels):
    rng = np.random.default_rng(0)
    tasks = []
    for kinds in rng.integers(3, size=(60, 10)):
        y = np.arange(3.0)[kinds] - 1.0 + rng.normal() + rng.normal(size=10) / 2
        tasks.append((np.eye(4)[kinds], (y > 0).astype(int) if labels else y))
    kind = EmpiricalBayesClassifier if labels else EmpiricalBayesRegressor
    model = kind(prior, random_state=0).meta_fit(tasks)
    pool = np.eye(4)[[0, 1, 2, 0, 1, 2, 3]]
    assert model.suggest_queries(pool)[0] != 6


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("labels", [False, True])
def test_a_pool_row_whose_square_overflows_is_refused(labels, kind):
    rng = np.random.default_rng(0)
    task, X = np.repeat(np.arange(10), 6), rng.normal(size=(60, 2))
    y = X.sum(axis=1) + rng.normal(size=10)[task] + rng.normal(size=60)
    model = EmpiricalBayesClassifier if labels else EmpiricalBayesRegressor
    model = model("intercept", random_state=0).fit(X, y > 0 if labels else y, task=task)
    pool = X[:5].copy()
    pool[2, 1] = -1e90
    with pytest.raises(ValueError, match="deviations of column 1"):
        model.suggest_queries(kind(pool), 2)
    pool[2, 1] = -1e20
    assert len(set(model.suggest_queries(kind(pool), 3))) == 3
