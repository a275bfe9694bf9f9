"""pandas and polars tables as X, y and ids."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import ReptileClassifier, ReptileRegressor, adapt, meta_fit, partial_adapt

NAMES = ["price", "quality", "stock"]

pytestmark = pytest.mark.filterwarnings("error")


def reptile():
    return ReptileRegressor(max_iter=10, random_state=0)


def pandas_frame(X, names=NAMES):
    return pd.DataFrame(X, columns=names)


def polars_frame(X, names=NAMES):
    return pl.DataFrame(X, schema=names)


@pytest.fixture(params=[pandas_frame, polars_frame], ids=["pandas", "polars"])
def frame(request):
    """Function that makes a table of an array."""
    table = request.param(np.eye(3))
    if not hasattr(StandardScaler().fit(table), "feature_names_in_"):
        pytest.skip("this scikit-learn reads no column names from this polars")
    return request.param


@pytest.fixture
def column(frame):
    """Function that makes a column of the same library."""
    return pd.Series if frame is pandas_frame else pl.Series


def test_a_table_gives_the_model_of_an_array_and_its_column_names(
    frame, column, linear_table
):
    t = linear_table
    model = reptile().fit(frame(t.X), column(t.y), task=column(t.ids))
    plain = reptile().fit(t.X, t.y, task=t.ids)
    assert_array_equal(model.feature_names_in_, NAMES)
    assert not hasattr(plain, "feature_names_in_")
    np.testing.assert_allclose(model.predict(frame(t.X)), plain.predict(t.X))
    adapted = model.adapt(frame(t.X[:5]), column(t.y[:5]))
    np.testing.assert_allclose(
        adapted.predict(frame(t.X)), plain.adapt(t.X[:5], t.y[:5]).predict(t.X)
    )
    assert_array_equal(adapted.feature_names_in_, NAMES)


def test_tasks_may_be_tables(frame, column, linear_tasks, linear_table):
    t = linear_table
    tasks = [(frame(X), column(y)) for X, y in linear_tasks]
    model = reptile().meta_fit(tasks)
    assert_array_equal(model.feature_names_in_, NAMES)
    expected = reptile().fit(frame(t.X), t.y, task=t.ids)
    assert_array_equal(model.predict(frame(t.X)), expected.predict(frame(t.X)))


def test_tasks_may_be_groups_of_one_table(linear_tasks, linear_table):
    t = linear_table
    table = pandas_frame(t.X).assign(y=t.y, store=t.ids)
    tasks = {store: (rows[NAMES], rows["y"]) for store, rows in table.groupby("store")}
    assert_array_equal(
        reptile().meta_fit(tasks).predict(table[NAMES]),
        reptile()
        .fit(table[NAMES], table["y"], task=table["store"])
        .predict(table[NAMES]),
    )


@pytest.mark.parametrize("names", [["price", "quality", "size"], NAMES[::-1]])
def test_other_or_reordered_columns_are_refused(names, frame, linear_tasks):
    model = reptile().meta_fit([(frame(X), y) for X, y in linear_tasks])
    X, y = linear_tasks[0]
    other = frame(X, names)
    for verb in (
        lambda: model.predict(other),
        lambda: model.adapt(other, y),
        lambda: model.partial_adapt(other, y),
    ):
        with pytest.raises(ValueError, match="feature names should match"):
            verb()


def test_an_array_after_a_table_warns_as_everywhere_in_scikit_learn(
    frame, linear_tasks
):
    model = reptile().meta_fit([(frame(X), y) for X, y in linear_tasks])
    X, y = linear_tasks[0]
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.adapt(X, y)


IDS = {
    "category": lambda ids: pd.Series(ids, dtype="category"),
    "unused category": lambda ids: pd.Series(
        pd.Categorical(ids, categories=[*np.unique(ids), "S99"])
    ),
    "object": lambda ids: pd.Series(ids, dtype=object),
    "string": lambda ids: pd.Series(ids, dtype="string"),
    "Categorical": pd.Categorical,
    "Index": pd.Index,
    "Int64": lambda ids: pd.Series([int(i[1:]) for i in ids], dtype="Int64"),
    "datetime": lambda ids: pd.Series(
        pd.Timestamp("2020-01-01") + pd.to_timedelta([int(i[1:]) for i in ids], "D")
    ),
    "one column": lambda ids: pd.DataFrame({"store": ids}),
    "polars": pl.Series,
    "polars category": lambda ids: pl.Series(ids, dtype=pl.Categorical),
    "polars number": lambda ids: pl.Series([int(i[1:]) for i in ids]),
    "polars column": lambda ids: pl.DataFrame({"store": ids}),
    "tuple": tuple,
    "list": list,
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_may_be_columns_of_any_kind(kind, linear_table):
    t = linear_table
    ids = [str(name) for name in t.ids]
    model = reptile().fit(t.X, t.y, task=IDS[kind](ids))
    assert model.n_tasks_ == 20
    assert_array_equal(model.coef_, reptile().fit(t.X, t.y, task=t.ids).coef_)


@pytest.mark.parametrize("column", [pd.Series, pl.Series, pd.Categorical])
def test_labels_may_be_a_column_of_strings(column, label_table):
    t = label_table
    y = np.array(["no", "yes"])[t.y]
    model = ReptileClassifier(max_iter=10, random_state=0)
    model.fit(t.X, column(y.tolist()), task=t.ids)
    assert_array_equal(model.classes_, ["no", "yes"])
    adapted = model.adapt(t.X[:5], column(y[:5].tolist()))
    expected = model.adapt(t.X[:5], y[:5])
    assert_array_equal(adapted.predict(t.X), expected.predict(t.X))


def test_weights_may_be_a_column(column, linear_table):
    t = linear_table
    weight = np.arange(1.0, 241.0)
    a, b = (
        reptile().fit(t.X, t.y, w, task=t.ids).coef_ for w in (weight, column(weight))
    )
    assert_array_equal(a, b)
    tasks = {"S0": (t.X, t.y, column(weight)), "S1": (t.X, t.y, weight)}
    reptile().meta_fit(tasks)


def test_columns_of_numbers_may_be_integers_and_booleans(linear_table):
    t = linear_table
    table = pd.DataFrame(
        {"price": t.X[:, 0], "stock": np.arange(240) % 7, "on_sale": t.X[:, 2] > 0}
    )
    model = reptile().fit(table, t.y, task=t.ids)
    assert np.isfinite(model.adapt(table[:5], t.y[:5]).predict(table)).all()


def test_tables_go_through_pipelines(frame, linear_tasks):
    tasks = [(frame(X), y) for X, y in linear_tasks]
    X, y = tasks[0]
    pipe = make_pipeline(StandardScaler(), reptile()).set_output(transform="pandas")
    meta_fit(pipe, tasks)
    assert_array_equal(pipe[-1].feature_names_in_, NAMES)
    adapted = adapt(pipe, X[:5], y[:5])
    assert_array_equal(adapted.predict(X), partial_adapt(pipe, X[:5], y[:5]).predict(X))
