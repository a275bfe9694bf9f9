"""The code of the README, run as a reader would run it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn

README = Path(__file__).parent.parent / "README.md"


# Fewer trees, folds and draws show the same.
QUICKER = {
    "RandomForestRegressor()": "RandomForestRegressor(5)",
    "GroupKFold(5)": "GroupKFold(3)",
    'df["sales"], task=df["shop"])\nprint': (
        'df["sales"], task=df["shop"], cv=3, n_repeats=1)\nprint'
    ),
}


def shops(names, n_rows, rng):
    """Weeks of shops in a DataFrame like that of a user."""
    parts = []
    for name in names:
        price, promo = rng.uniform(1, 5, n_rows), rng.integers(0, 2, n_rows)
        slope = rng.normal(-10, 4)
        sales = (
            rng.normal(100, 20) + slope * price + 12 * promo + rng.normal(size=n_rows)
        )
        parts.append(
            pd.DataFrame({"shop": name, "price": price, "promo": promo, "sales": sales})
        )
    return pd.concat(parts, ignore_index=True)


def screens(shoppers, n_screens, rng, n_offers=3):
    """Choices of shoppers, one offer in each row."""
    parts = []
    for shopper in shoppers:
        n = n_screens * n_offers
        offers = pd.DataFrame(
            {
                "shopper": shopper,
                "screen": np.repeat(np.arange(n_screens), n_offers),
                "price": rng.uniform(1, 5, n),
                "stars": rng.integers(1, 6, n),
            }
        )
        taste = rng.normal([-1, 1], 0.5)
        utility = offers[["price", "stars"]] @ taste + rng.gumbel(size=n)
        best = utility.groupby(offers["screen"]).transform("max")
        parts.append(offers.assign(chosen=(utility == best).astype(int)))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """The names that a reader has, in a folder that the code may write to."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    new = shops(["new"], 25, rng)
    with sklearn.config_context():
        yield {
            "df": shops([f"S{i:02d}" for i in range(12)], 8, rng),
            "rows": new[:5],
            "plan": new[5:],
            "offers": screens([f"P{i:02d}" for i in range(20)], 6, rng),
            "asked": screens(["new"], 3, rng),
            "shelf": screens(["new"], 1, rng, n_offers=5),
            "pool": screens(["new"], 4, rng),
        }


def test_code_of_the_readme_runs(reader, tmp_path):
    text = README.read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        for code, quicker in QUICKER.items():
            assert text.count(code) == 1
            block = block.replace(code, quicker)
        exec(block, reader)
    assert reader["found"].advice == {"EmpiricalBayesRegressor": "meta-learn"}
    assert (tmp_path / "shop.joblib").exists()
    plan, features = reader["plan"], reader["features"]
    error = reader["shop"].predict(plan[features]) - plan["sales"]
    pooled = reader["model"].predict(plan[features]) - plan["sales"]
    assert np.mean(error**2) < 0.2 * np.mean(pooled**2)


def test_own_data_take_fewer_than_ten_lines():
    text = README.read_text()
    first = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL).group(1)
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) < 10


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", README.read_text())
    assert links
    for link in links:
        assert link.startswith("https://") or (README.parent / link).exists(), link
