"""Engines that spread work over processes, by the functions of the docs' page."""

from functools import partial

import joblib
import numpy as np
import pandas as pd
import partitions
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, GroupKFold

from skmeta import (
    EmpiricalBayesRegressor,
    ReptileRegressor,
    TaskStatistics,
    adapt,
    statistics_query,
)
from skmeta.datasets import make_linear_tasks
from skmeta.model_selection import make_few_shot_scorer

FEATURES = ["price", "quality"]


def prior():
    return EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)


@pytest.fixture(scope="module")
def rows():
    """Rows of 24 shoppers in random order, of which half of y are missing."""
    tasks = make_linear_tasks(24, 10, 2, random_state=0)
    table = pd.DataFrame(np.concatenate([X for X, _ in tasks]), columns=FEATURES)
    table["price"] += 1e3
    table["shopper"] = np.repeat([f"s{number:02d}" for number in range(24)], 10)
    table["y"] = np.concatenate([y for _, y in tasks])
    rng = np.random.default_rng(0)
    missing = (rng.random(len(table)) < 0.5) | (table["shopper"] == "s03")
    table.loc[missing & (table["shopper"] != "s04"), "y"] = np.nan
    return table.sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def known(rows):
    """The rows with a target."""
    return rows[rows["y"].notna()]


@pytest.fixture(scope="module")
def model(known):
    """Meta-trained by one process, on the rows."""
    return prior().fit(known[FEATURES], known["y"], task=known["shopper"])


@pytest.fixture(scope="module")
def scored(rows, model):
    """The rows with missing targets, and what is predicted, one shopper at a time."""
    parts = []
    for _, part in rows.groupby("shopper"):
        given, asked = part[part["y"].notna()], part[part["y"].isna()]
        one = adapt(model, given[FEATURES], given["y"]) if len(given) else model
        if len(asked):
            parts.append(asked.assign(y_new=one.predict(asked[FEATURES])))
    return pd.concat(parts)


def same_prior(one, other):
    """The same prior to 1e-10."""
    for name in ("prior_coef_", "prior_intercept_", "prior_covariance_", "coef_"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-10)
    assert_allclose(one.noise_variance_, other.noise_variance_, rtol=1e-10)


def same_scores(table, scored, rtol=1e-10):
    """The same scores of the same rows, in any order."""
    keys = ["shopper", *FEATURES]
    table, scored = (part.sort_values(keys) for part in (table, scored))
    assert_array_equal(table["shopper"].astype(object), scored["shopper"])
    assert_allclose(table["y_new"], scored["y_new"], rtol=rtol)


@pytest.fixture(scope="module")
def two_workers():
    """Two workers of dask, which are threads here so that they start at once."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(processes=False, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


# -- dask -----------------------------------------------------------------------------


def test_dask_learns_the_prior_and_scores_by_partition(
    rows, known, model, scored, two_workers
):
    dd = pytest.importorskip("dask.dataframe")
    told = TaskStatistics.from_rows(known[FEATURES], known["y"], known["shopper"])
    table = dd.from_pandas(rows, npartitions=9, sort=False)  # they cut shoppers
    learned = partitions.learn_with_dask(table, prior())
    same_prior(learned, prior().meta_fit(told))
    assert_allclose(learned.prior_coef_, model.prior_coef_, rtol=1e-8)
    table = partitions.score_with_dask(table, model)
    assert table.npartitions > 1
    same_scores(table.compute(), scored)


def test_a_search_runs_on_dask(two_workers):
    tasks = make_linear_tasks(12, 8, 2, random_state=0)
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    ids = np.repeat(np.arange(12), 8)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            ReptileRegressor(max_iter=10, random_state=0),
            {"alpha": [1.0, 3.0]},
            cv=GroupKFold(3).set_split_request(groups="task"),
            scoring=make_few_shot_scorer("r2", n_support=3, random_state=0),
        )
        alone = search.fit(X, y, task=ids).cv_results_["mean_test_score"]
        with joblib.parallel_config("dask"):
            spread = search.fit(X, y, task=ids).cv_results_["mean_test_score"]
    assert_allclose(spread, alone, rtol=1e-12)


# -- one partition, as any engine hands it over ---------------------------------------


def test_empty_partitions_and_shoppers_without_rows_are_scored(rows, model, scored):
    for part in (rows[:0], rows[rows["y"].notna()], rows[rows["y"].isna()]):
        answers = partitions.score(part, model)
        assert len(answers) == part["y"].isna().sum()
        assert answers["y_new"].dtype == float
    assert_allclose(answers["y_new"], model.predict(answers[FEATURES]))
    same_scores(partitions.score(rows, model), scored)


def test_batches_that_cut_shoppers_are_put_together(rows, model, scored):
    whole = rows.sort_values("shopper")
    halves = whole[:130], whole[130:]  # two partitions of whole shoppers
    tables = []
    for part in halves:
        batches = (part[i : i + 7] for i in range(0, len(part), 7))
        tables += partitions.score_batches(batches, model)
    same_scores(pd.concat(tables), scored)
    assert list(partitions.score_batches(iter([]), model)) == []


def test_spark_scores_partitions(rows, model, scored):
    pyspark = pytest.importorskip("pyspark")
    session = pyspark.sql.SparkSession.builder.master("local[2]").getOrCreate()
    try:
        table = partitions.score_with_spark(session.createDataFrame(rows), model)
        same_scores(table.toPandas(), scored)
    finally:
        session.stop()


# -- polars and SQL -------------------------------------------------------------------


def test_polars_scores_groups_of_shoppers(rows, model, scored):
    pl = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    table = partitions.score_with_polars(pl.from_pandas(rows), model, n_groups=3)
    same_scores(table.to_pandas(), scored)


QUERY = partial(statistics_query, "answers", FEATURES, "y", "shopper")


def by_duckdb(answers, query):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.register("answers", answers)
        return connection.sql(query).df()


def by_polars(answers, query):
    pl = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    return pl.SQLContext(answers=pl.from_pandas(answers)).execute(query).collect()


@pytest.mark.parametrize("run", [by_duckdb, by_polars])
def test_statistics_by_sql_give_the_prior(run, known, model):
    told = TaskStatistics.from_frame(run(known, QUERY()))
    same = prior().meta_fit(told)
    assert_allclose(same.prior_coef_, model.prior_coef_, rtol=1e-8)
    assert_allclose(same.noise_variance_, model.noise_variance_, rtol=1e-8)
