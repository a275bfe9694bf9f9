"""
What differs between tasks? The structure of the prior
======================================================

Shops may differ in their level only; or each coefficient may differ by an amount of its
own; or coefficients may differ *together*, as they do if shops lie between cheap and
dear. ``prior`` says which of these the model can learn. The more it can, the more tasks
it takes; ``"auto"``, the default, asks held-out tasks.
"""

# %%
# Three worlds
# ------------
# 150 tasks of 12 rows and 6 features in each world. They differ in what varies from
# task to task: the intercept; each coefficient, by amounts that differ; or all of them
# along two directions, and each a little by itself.

import matplotlib.pyplot as plt
import numpy as np

from skmeta import EmpiricalBayesRegressor

SEED = 0
N_FEATURES = 6
COMMON = np.array([2.0, -1.0, 0.5, 0.0, 1.0, -0.5, 3.0])  # the last one: the intercept
rng = np.random.default_rng(SEED)

amounts = np.diag([3.0, 0.0, 0.3, 0.0, 1.0, 0.1, 1.0])
directions = rng.normal(size=(2, N_FEATURES + 1)) * 1.5
a_little = 0.4 * np.eye(N_FEATURES + 1)
worlds = {
    "level only": 2 * np.eye(N_FEATURES + 1)[-1:],
    "each by itself": amounts,
    "together": np.vstack([directions, a_little]),
}


def make_tasks(spread, n_tasks, n_rows):
    tasks = []
    for _ in range(n_tasks):
        coef = COMMON + rng.normal(size=len(spread)) @ spread
        X = rng.normal(size=(n_rows, N_FEATURES))
        y = X @ coef[:-1] + coef[-1] + rng.normal(size=n_rows)
        tasks.append((X, y))
    return tasks


# %%
# Which structure serves which world?
# -----------------------------------
# Errors on new tasks after four rows. Noise alone makes 1.

STRUCTURES = ["intercept", "isotropic", "diagonal", "low_rank", "full", "auto"]
N_KNOWN = 4


def error(model, tasks):
    k = N_KNOWN
    squares = [
        (model.adapt(X[:k], y[:k]).predict(X[k:]) - y[k:]) ** 2 for X, y in tasks
    ]
    return np.sqrt(np.mean(squares))


errors, models = {}, {}
print(f"{'':16}" + "".join(f"{name:>11}" for name in STRUCTURES))
for world, spread in worlds.items():
    known, new = make_tasks(spread, 150, 12), make_tasks(spread, 300, 12)
    models[world] = {
        name: EmpiricalBayesRegressor(name, random_state=SEED).meta_fit(known)
        for name in STRUCTURES
    }
    errors[world] = [error(model, new) for model in models[world].values()]
    chosen = models[world]["auto"].prior_structure_
    cells = "".join(f"{e:11.2f}" for e in errors[world])
    print(f"{world:16}{cells}  (chosen: {chosen})")

# %%
# In a notebook a fitted model shows what it has learned: here one of the third world.

models["together"]["auto"]

# %%
# A structure that is too poor misses what differs; one that is too rich loses little,
# with 150 tasks to learn it from. How many does it take? The world of directions again,
# with fewer tasks:

spread = worlds["together"]
new = make_tasks(spread, 300, 12)
print(f"{'tasks':>16}" + "".join(f"{name:>11}" for name in STRUCTURES))
for n_tasks in (5, 10, 20, 50):
    known = make_tasks(spread, n_tasks, 12)
    cells = [
        error(EmpiricalBayesRegressor(name, random_state=SEED).meta_fit(known), new)
        for name in STRUCTURES
    ]
    print(f"{n_tasks:16}" + "".join(f"{e:11.2f}" for e in cells))

# %%
# The figure
# ----------
# Above, how coefficients of tasks vary together, as the structure that was chosen has
# learned it from rows alone; the corner is the intercept. Below, what each structure is
# worth to a new task; the dotted line is the noise.

figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
labels = [f"$x_{i}$" for i in range(N_FEATURES)] + ["1"]
for world, above, below in zip(worlds, *axes, strict=True):
    learned = models[world]["auto"].prior_covariance_
    limit = np.abs(learned).max()
    image = above.imshow(learned, cmap="RdBu_r", vmin=-limit, vmax=limit)
    above.set(title=world, xticks=range(7), yticks=range(7))
    above.set_xticklabels(labels)
    above.set_yticklabels(labels)
    figure.colorbar(image, ax=above, shrink=0.8)
    chosen = STRUCTURES.index(models[world]["auto"].prior_structure_)
    names = STRUCTURES[:-1]
    colors = ["C0" if i == chosen else "lightsteelblue" for i in range(len(names))]
    below.barh(names, errors[world][:-1], color=colors)
    below.axvline(1, color="grey", ls=":", lw=1)
    below.invert_yaxis()
    below.set(xlabel=f"error after {N_KNOWN} rows")
    below.text(
        errors[world][chosen], chosen, "  auto", va="center", color="C0", weight="bold"
    )
    below.margins(x=0.15)
axes[0, 0].set_ylabel("learned covariance")
