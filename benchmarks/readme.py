"""Run the code of the README as it stands, and measure the figures beside it.

    OMP_NUM_THREADS=1 python benchmarks/readme.py
    OMP_NUM_THREADS=1 python benchmarks/readme.py --save benchmarks/results/readme.json

The blocks run one after the other in a folder of their own. Then the forecasts of the
first block are compared with others for the same rows: mean absolute errors in orders
of a product and week.
"""

import argparse
import contextlib
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _results import save
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error

README = Path(__file__).parent.parent / "README.md"


def run_blocks(folder):
    """The names that the blocks leave behind, and the seconds that each took."""
    names, seconds = {}, []
    text = README.read_text(encoding="utf-8")
    with contextlib.chdir(folder):
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            start = time.process_time()
            exec(block, names)
            seconds.append(round(time.process_time() - start, 1))
            if len(seconds) == 1:
                first = dict(names)
    return first, names, seconds


def forecasts(model, past, plan, features):
    """Predicted orders of the rows of ``plan``, by ours and by others."""
    product = plan["product"]
    last = past[past["week"] >= past["week"].max() - 3]
    mean = last.groupby("product")["orders"].mean()
    # Nothing is known of a product that is new.
    yield "mean of last 4 weeks", product.map(mean).fillna(last["orders"].mean())
    columns = ["product", *features]
    kinds = past["product"].unique()
    boosting = HistGradientBoostingRegressor(
        loss="poisson", categorical_features="from_dtype", random_state=0
    )

    def table(rows):  # a product that is new is a missing category
        own = rows["product"].where(rows["product"].isin(kinds))
        return rows[columns].assign(product=pd.Categorical(own, categories=kinds))

    boosting.fit(table(past), past["orders"])
    yield "boosting", boosting.predict(table(plan))
    yield "without task", model.predict(plan[features])
    yield "with task", model.predict(plan[features], task=product)


def measure(names):
    model, past, plan = names["model"], names["past"], names["plan"]
    errors = {
        name: round(mean_absolute_error(plan["orders"], predicted), 2)
        for name, predicted in forecasts(model, past, plan, names["features"])
    }
    low, high = model.predict_interval(
        plan[names["features"]], coverage=0.9, task=plan["product"]
    ).T
    inside = (low <= plan["orders"]) & (plan["orders"] <= high)
    return {
        "rows": len(plan),
        "mean orders": round(plan["orders"].mean(), 2),
        "mean absolute error": errors,
        "share in intervals of 90 %": round(np.mean(inside), 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", type=Path, metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, last, seconds = run_blocks(folder)
    results = measure(first)
    results["verdict"] = last["found"].verdict
    results["CPU seconds of each block"] = seconds
    for name, value in results.items():
        print(f"{name}: {value}")
    save(args.save, results)


if __name__ == "__main__":
    main()
