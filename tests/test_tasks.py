"""Draws of tasks and rows, and the padded stacks made of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skmeta._core.tasks import (
    ABSENT,
    TaskTable,
    cycling_minibatches,
    draw_places,
    draw_support_size,
    draw_tasks,
    relabel,
    shuffled_rows,
    split_rows,
    stack,
)

ragged_sizes = st.lists(st.integers(1, 12), min_size=1, max_size=6)
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60, deadline=None, derandomize=True)


def make_table(sizes, dtype=np.float64, n_classes=None):
    """Tasks whose rows carry their number 1, 2, ... in X and Y and a weight."""
    sizes = np.asarray(sizes)
    number = np.arange(1.0, sizes.sum() + 1)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, size=len(number))
    return TaskTable(
        X=np.column_stack([number, -number]).astype(dtype),
        Y=number[:, None].astype(dtype),
        weight=weight,
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        n_classes=n_classes,
    )


def row_numbers(batch, t):
    """Numbers of the rows that task t of the batch really has."""
    return batch.X[t, batch.weight[t] > 0, 0].astype(int)


def rows_of(table, task):
    return np.arange(table.starts[task], table.starts[task + 1]) + 1


# -- tables ---------------------------------------------------------------------------


def test_a_table_knows_the_sizes_of_its_tasks():
    table = make_table([2, 5, 1])
    assert table.n_tasks == 3
    assert_array_equal(table.sizes, [2, 5, 1])


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csr_array])
def test_a_subset_holds_the_rows_of_its_tasks_in_the_given_order(kind):
    table = make_table([2, 5, 1, 3], n_classes=np.array([1, 2, 3, 4]))
    table = TaskTable(
        kind(table.X), table.Y, table.weight, table.starts, table.n_classes
    )
    part = table.subset(np.array([3, 0]))

    rows = np.concatenate([rows_of(table, 3), rows_of(table, 0)]) - 1
    X = part.X.toarray() if sparse.issparse(part.X) else part.X
    assert_array_equal(X[:, 0], rows + 1)
    assert_array_equal(part.Y[:, 0], rows + 1)
    assert_array_equal(part.weight, table.weight[rows])
    assert_array_equal(part.starts, [0, 3, 5])
    assert_array_equal(part.n_classes, [4, 1])


def test_a_subset_of_all_tasks_is_the_table():
    table = make_table([2, 5, 1])
    part = table.subset(np.arange(3))
    for name in ("X", "Y", "weight", "starts"):
        assert_array_equal(getattr(part, name), getattr(table, name))
    assert part.n_classes is None


# -- stacks ---------------------------------------------------------------------------


@quick
@given(ragged_sizes, seeds)
def test_a_stack_holds_the_given_rows_and_weights_that_sum_to_one(sizes, seed):
    table, rng = make_table(sizes), np.random.default_rng(seed)
    tasks = rng.integers(len(sizes), size=4)
    taken = np.array([rng.integers(1, sizes[t] + 1) for t in tasks])
    rows = shuffled_rows(rng, table.sizes[tasks])[:, : taken.max()]
    batch = stack(table, tasks, rows, np.arange(taken.max()) < taken[:, None])

    for i, t in enumerate(tasks):
        index = table.starts[t] + rows[i, : taken[i]]
        assert_array_equal(batch.X[i, : taken[i]], table.X[index])
        assert_array_equal(batch.Y[i, : taken[i]], table.Y[index])
        weight = table.weight[index]
        assert_allclose(batch.weight[i, : taken[i]], weight / weight.sum())
        assert_array_equal(batch.weight[i, taken[i] :], 0)
        assert_allclose(batch.total_weight[i], weight.sum())


def test_a_task_without_a_row_in_a_stack_has_no_weight_and_no_nan():
    table = make_table([2, 3])
    present = np.array([[False, False], [True, True]])
    batch = stack(table, np.arange(2), np.array([[0, 1], [0, 1]]), present)
    assert_array_equal(batch.weight[0], 0)
    assert_allclose(batch.weight[1].sum(), 1)
    assert_array_equal(batch.total_weight[0], 0)
    for array in (batch.X, batch.Y, batch.weight):
        assert np.isfinite(array).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_stacks_of_sparse_and_dense_rows_are_equal(kind, dtype):
    dense = make_table([4, 2, 6], dtype, n_classes=np.array([1, 1, 1]))
    table = TaskTable(
        kind(dense.X), dense.Y, dense.weight, dense.starts, dense.n_classes
    )
    drawn = [
        split_rows(np.random.default_rng(0), t, np.array([2, 0, 1]), 3)
        for t in (dense, table)
    ]
    for part in (0, 1):
        for a, b in zip(drawn[0][part], drawn[1][part], strict=True):
            assert type(a) is type(b)
            assert a.dtype == b.dtype
            assert_array_equal(a, b)


def test_single_precision_rows_make_single_precision_stacks():
    table = make_table([3, 2], np.float32, n_classes=np.array([1, 1]))
    for batch in split_rows(np.random.default_rng(0), table, np.arange(2), 1):
        for array in (batch.X, batch.Y, batch.weight, batch.offset):
            assert array.dtype == np.float32


def test_classes_that_a_task_lacks_are_masked():
    table = make_table([1, 1, 1], n_classes=np.array([1, 3, 2]))
    table = TaskTable(table.X, np.eye(3), table.weight, table.starts, table.n_classes)
    batch, _ = split_rows(np.random.default_rng(0), table, np.array([2, 1, 0]), None)
    expected = np.array([[0, 0, ABSENT], [0, 0, 0], [0, ABSENT, ABSENT]])
    assert_array_equal(batch.offset, expected[:, None, :])


# -- draws of rows --------------------------------------------------------------------


@quick
@given(ragged_sizes, seeds)
def test_shuffled_rows_are_a_permutation_with_the_padding_last(sizes, seed):
    rows = shuffled_rows(np.random.default_rng(seed), np.array(sizes))
    for order, n in zip(rows, sizes, strict=True):
        assert_array_equal(np.sort(order[:n]), np.arange(n))
        assert_array_equal(np.sort(order[n:]), np.arange(n, max(sizes)))


@quick
@given(ragged_sizes, st.integers(1, 15), st.integers(1, 6), st.booleans(), seeds)
def test_support_and_query_are_different_rows_of_their_task(
    sizes, n_support, max_query, keep_one, seed
):
    table, rng = make_table(sizes), np.random.default_rng(seed)
    tasks = rng.permutation(len(sizes))
    support, query = split_rows(
        rng, table, tasks, n_support, max_query=max_query, keep_one=keep_one
    )
    for i, t in enumerate(tasks):
        n = sizes[t]
        taken = row_numbers(support, i)
        n_taken = min(n_support, n)
        if keep_one and n_taken == n > 1:
            n_taken = n - 1
        assert len(taken) == n_taken
        left = row_numbers(query, i) if query is not None else []
        assert len(left) == min(n - n_taken, max_query)
        drawn = [*taken, *left]
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(rows_of(table, t))


def test_no_query_is_drawn_if_no_task_has_a_row_left():
    table = make_table([3, 2])
    support, query = split_rows(np.random.default_rng(0), table, np.arange(2), 5)
    assert query is None
    assert_array_equal(np.sort(row_numbers(support, 0)), [1, 2, 3])
    assert_array_equal(np.sort(row_numbers(support, 1)), [4, 5])


def test_a_support_size_of_none_takes_all_rows_in_order():
    table = make_table([3, 1, 4])
    tasks = np.array([2, 0])
    support, query = split_rows(np.random.default_rng(0), table, tasks, None)
    assert query is None
    for i, t in enumerate(tasks):
        assert_array_equal(row_numbers(support, i), rows_of(table, t))


def test_every_row_is_drawn_as_often_as_every_other():
    table, rng = make_table([5, 3]), np.random.default_rng(0)
    counts = np.zeros(9)
    for _ in range(2000):
        support, _ = split_rows(rng, table, np.arange(2), 2)
        for t in range(2):
            counts[row_numbers(support, t)] += 1
    assert_allclose(counts[1:6] / 2000, 2 / 5, atol=0.04)
    assert_allclose(counts[6:] / 2000, 2 / 3, atol=0.04)


def test_a_support_size_from_a_range_stays_in_it_and_reaches_both_ends():
    rng = np.random.default_rng(0)
    drawn = {draw_support_size(rng, (2, 5)) for _ in range(200)}
    assert drawn == {2, 3, 4, 5}
    assert draw_support_size(rng, (3, 3)) == 3


@pytest.mark.parametrize("size", [None, 4, np.int64(4)])
def test_a_fixed_support_size_needs_no_draw(size):
    assert draw_support_size(None, size) == size


# -- draws of tasks -------------------------------------------------------------------


@quick
@given(st.integers(1, 9), st.integers(1, 12), seeds)
def test_tasks_are_drawn_without_repetition(n_tasks, n, seed):
    table = make_table([1] * n_tasks)
    tasks = draw_tasks(np.random.default_rng(seed), table, n)
    assert len(tasks) == len(set(tasks)) == min(n, n_tasks)
    assert set(tasks) <= set(range(n_tasks))
    if n >= n_tasks:
        assert_array_equal(tasks, np.arange(n_tasks))


def test_every_task_is_drawn_as_often_as_every_other_whatever_its_size():
    table, rng = make_table([1, 10, 2, 30]), np.random.default_rng(0)
    drawn = np.concatenate([draw_tasks(rng, table, 2) for _ in range(2000)])
    assert_allclose(np.bincount(drawn) / 2000, 0.5, atol=0.04)


# -- minibatches ----------------------------------------------------------------------


def original_mini_batches(shuffled, samples, batch_size, num_batches):
    """`_mini_batches` of openai/supervised-reptile, with `shuffled` as the shuffle."""
    cur_batch = []
    batch_count = 0
    while True:
        samples = shuffled(samples)
        for sample in samples:
            cur_batch.append(sample)
            if len(cur_batch) < batch_size:
                continue
            yield cur_batch
            cur_batch = []
            batch_count += 1
            if batch_count == num_batches:
                return


@quick
@given(st.integers(1, 10), st.integers(1, 25), st.integers(1, 8), seeds)
def test_minibatches_are_those_of_the_original_code(n_rows, size, n_batches, seed):
    rng = np.random.default_rng(seed)
    expected = original_mini_batches(
        lambda samples: rng.permutation(len(samples)), range(n_rows), size, n_batches
    )
    drawn = cycling_minibatches(np.random.default_rng(seed), n_rows, size, n_batches)
    assert drawn.shape == (n_batches, size)
    assert_array_equal(drawn, list(expected))


@quick
@given(st.integers(1, 10), st.integers(1, 25), st.integers(1, 8), seeds)
def test_minibatches_use_every_row_equally_often_up_to_one(
    n_rows, size, n_batches, seed
):
    drawn = cycling_minibatches(np.random.default_rng(seed), n_rows, size, n_batches)
    counts = np.bincount(drawn.ravel(), minlength=n_rows)
    assert counts.max() - counts.min() <= 1


# -- label places ---------------------------------------------------------------------


def labelled_batches(rng, n_tasks=200, n_way=4):
    """Support and query whose rows hold the codes of their classes in X."""
    n_classes = rng.integers(1, n_way + 1, size=n_tasks)
    codes = np.concatenate([np.arange(8) % n for n in n_classes])
    table = TaskTable(
        X=codes[:, None].astype(float),
        Y=np.eye(n_way)[codes],
        weight=np.ones(len(codes)),
        starts=8 * np.arange(n_tasks + 1),
        n_classes=n_classes,
    )
    return n_classes, split_rows(rng, table, np.arange(n_tasks), 4)


def test_relabelling_moves_classes_alike_in_support_query_and_mask():
    rng = np.random.default_rng(0)
    n_classes, (support, query) = labelled_batches(rng)
    places = draw_places(rng, len(n_classes), 4)
    new_support, new_query = relabel(support, places), relabel(query, places)

    for t, n in enumerate(n_classes):
        place = {}
        for batch in (new_support, new_query):
            assert_array_equal(batch.Y[t].sum(axis=1), 1)
            for code, at in zip(
                batch.X[t, :, 0], batch.Y[t].argmax(axis=1), strict=True
            ):
                assert place.setdefault(code, at) == at  # each class has one place
        assert len(set(place.values())) == len(place)  # and each place has one class
        for batch in (new_support, new_query):
            absent = batch.offset[t, 0] == ABSENT
            assert absent.sum() == 4 - n
            assert not absent[list(place.values())].any()
    for old, new in ((support, new_support), (query, new_query)):
        assert_array_equal(old.X, new.X)
        assert_array_equal(old.weight, new.weight)


def test_relabelling_gives_a_class_every_place_equally_often():
    rng = np.random.default_rng(0)
    _, (support, _) = labelled_batches(rng, n_tasks=2000)
    new_support = relabel(support, draw_places(rng, 2000, 4))
    first = support.Y.argmax(axis=2)[:, 0] == 0
    at = new_support.Y.argmax(axis=2)[first, 0]
    assert_allclose(np.bincount(at, minlength=4) / len(at), 0.25, atol=0.05)
