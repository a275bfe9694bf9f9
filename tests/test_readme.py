"""The code of the README, run as a reader would, on the tables of the package."""

import ast
import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)

# Fewer products, countries, trees and folds show the same.
QUICKER = {
    "load_gift_shop().frame": (
        "load_gift_shop().frame.query(\"product < 'G' or product == @NEW\")"
    ),
    'half_life="auto", random_state=0\n)\nmodel.fit': (
        'half_life=4, prior="diagonal", random_state=0\n)\nmodel.fit'
    ),
    'half_life="auto", random_state=0)\nfound': (
        'half_life=4, prior="diagonal", random_state=0)\nfound'
    ),
    "load_gapminder().frame": (
        "load_gapminder().frame.query(\"continent == 'Europe' or country == 'Japan'\")"
    ),
    "n_repeats=1,": 'n_repeats=1, cv=3, baselines=["pooled model"], pooled=Ridge(),',
    "RandomForestRegressor()": "RandomForestRegressor(5)",
    "GroupKFold(5)": "GroupKFold(2)",
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """The names of a reader who has run all blocks, one after the other."""
    folder = tmp_path_factory.mktemp("reader")
    names = {"NEW": "Jumbo bag paisley park", "Ridge": Ridge}
    for code in QUICKER:
        assert "\n".join(BLOCKS).count(code) == 1, code
    with sklearn.config_context(), contextlib.chdir(folder):
        for block in BLOCKS:
            for code, quicker in QUICKER.items():
                block = block.replace(code, quicker)
            exec(block, names)
    return names | {"folder": folder}


def test_blocks_of_the_readme_run_one_after_the_other(reader):
    assert (reader["folder"] / "japan.joblib").exists()
    assert (reader["folder"] / "products.sqlite").exists()
    assert sklearn.get_config()["enable_metadata_routing"] is False


def test_known_tasks_are_predicted_better_than_by_one_model_for_all(reader):
    model, plan = reader["model"], reader["plan"]
    X, task = plan[reader["features"]], plan["product"]
    known = mean_absolute_error(plan["orders"], model.predict(X, task=task))
    pooled = mean_absolute_error(plan["orders"], model.predict(X))
    assert known < 0.8 * pooled
    low, high = model.predict_interval(X, coverage=0.9, task=task).T
    assert np.mean((low <= plan["orders"]) & (plan["orders"] <= high)) > 0.8


def test_the_new_product_is_not_known(reader):
    assert reader["NEW"] in README.read_text()
    assert reader["NEW"] not in set(reader["past"]["product"])
    assert reader["product"].n_adapt_rows_ == 3


def test_own_data_take_fewer_than_ten_lines():
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(ast.parse("\n".join(lines)).body) < 10


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", README.read_text())
    assert links
    for link in links:
        assert link.startswith("https://") or (README.parent / link).exists(), link
