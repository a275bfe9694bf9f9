"""
What differs between tasks? The structure of the prior
======================================================

Shops may differ only in their level. Or each coefficient may differ by its own amount.
Or coefficients may differ *together*, for example if shops range from cheap to
expensive. ``prior`` says which of these the model can learn. The more it can learn, the
more tasks it needs. ``"auto"``, the default, lets held-out tasks decide.
"""

# %%
# Three worlds
# ------------
# We make three kinds of tasks, which we call worlds. Each world has 150 tasks of 12
# rows and 6 features. In the first world only the intercept varies from task to task.
# In the second each coefficient varies by its own amount. In the third all coefficients
# vary along two directions, and each a little by itself.

import matplotlib.pyplot as plt
import numpy as np

from skmeta import EmpiricalBayesRegressor

SEED = 0
N_FEATURES = 6
COMMON = np.array([2.0, -1.0, 0.5, 0.0, 1.0, -0.5, 3.0])  # the last is the intercept
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
# Which structure suits which world?
# ----------------------------------
# Here are the errors on new tasks after four rows. The noise alone gives 1.

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
# In a notebook a fitted model shows what it has learned. This is a model of the third
# world.

models["together"]["auto"]

# %%
# A structure that is too poor misses some of the differences. One that is too rich
# loses little if there are 150 tasks to learn it from. How many tasks does it need?
# Here is the third world again, with fewer tasks:

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
# The upper figures show how coefficients of tasks vary together. The chosen structure
# has learned this from rows alone; the corner is the intercept. The lower figures show
# the error of each structure on new tasks; the dotted line is the noise.

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
