"""
A curve from five points
========================

Every task is a sine wave with its own height and shift. This is the toy problem on
which meta-learning was first shown. Two points say almost nothing about a wave, unless
one has seen many waves before. A learned prior over *learned features* has seen many.
It draws the whole curve, and it says how sure it is at points about which nothing is
known yet.
"""

# %%
# Waves to learn from
# -------------------
# We know 20 noisy points of each of 300 waves, and 200 other waves are new.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from skmeta import EmpiricalBayesRegressor, LearnedFeatures
from skmeta.datasets import make_sinusoid_tasks
from skmeta.inspection import AdaptationDisplay

SEED = 0
known = make_sinusoid_tasks(300, n_samples=20, noise=0.1, random_state=SEED)
new = make_sinusoid_tasks(200, n_samples=40, noise=0.1, random_state=SEED + 1)

# %%
# Two hidden layers learn functions that can be fitted to a few rows. Their coefficients
# have the same kind of prior as those of a linear model. The functions are used only if
# they predict waves held out in training better. Without the last two settings, waves
# held out would also choose the length of the runs, which takes longer.

features = LearnedFeatures((40, 40), learning_rate=3e-3, max_iter=2000)
model = EmpiricalBayesRegressor(features=features, random_state=SEED)
model.meta_fit(known)

# %%
# New waves
# ---------
# Here is the error on 30 other points of each new wave, after the first k points. A
# Gaussian process knows that curves are smooth, but not that they are waves; a linear
# model with a learned prior knows neither.


def gaussian_process(X, y):
    kernel = 4.0 * RBF(1.0) + WhiteKernel(0.01, noise_level_bounds="fixed")
    return GaussianProcessRegressor(kernel, optimizer=None).fit(X, y)


linear = EmpiricalBayesRegressor(random_state=SEED).meta_fit(known)
ways = {
    "learned features": model.adapt,
    "Gaussian process": gaussian_process,
    "linear": linear.adapt,
}
ROWS = (1, 2, 5, 10)
print(f"RMSE on {len(new)} new waves      " + "".join(f"{k:>8}" for k in ROWS))
for name, learn in ways.items():
    errors = [
        [np.mean((learn(X[:k], y[:k]).predict(X[10:]) - y[10:]) ** 2) for X, y in new]
        for k in ROWS
    ]
    print(f"  {name:26}" + "".join(f"{np.sqrt(np.mean(e)):8.2f}" for e in errors))

# %%
# Are the intervals honest?
# -------------------------
# A 90 % interval should hold nine in ten of the points that were not given.

for k in ROWS:
    held = []
    for X, y in new:
        low, high = model.adapt(X[:k], y[:k]).predict_interval(X[10:], coverage=0.9).T
        held.append(np.mean((low <= y[10:]) & (y[10:] <= high)))
    print(f"after {k:2} points {np.mean(held):.0%} of the others are in their interval")

# %%
# The figure
# ----------
# The figure shows one new wave. After one point the model knows its sign at this place,
# after two points roughly its height, and after five points all of it. The band narrows
# first where points were given.

X, y = new[8]
figure, axes = plt.subplots(
    1, 3, figsize=(11, 3.8), sharey=True, sharex=True, layout="constrained"
)
for ax, k in zip(axes, (1, 2, 5), strict=True):
    AdaptationDisplay.from_estimator(
        model, X, y, n_support=k, coverage=0.9, x_range=(-5, 5), ax=ax
    )
    ax.set(title=f"{k} point{'s' if k > 1 else ''}", xlabel="x", ylim=(-5.5, 5.5))
    ax.label_outer()
    ax.get_legend().remove()
axes[0].set_ylabel("y")
axes[0].legend(loc="lower left", ncols=3, fontsize="small")
figure.suptitle("A wave never seen before, with 90 % intervals")
