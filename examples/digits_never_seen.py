"""
Digits never seen, in a light that changes
==========================================

A camera reads digits and has learned 0 to 5. Now we show it a few 6s, 7s, 8s and 9s,
and from then on it should recognise these. It has never seen a 7. But it has seen how
light changes a digit, and this is the same for all digits. Prototypes are means of
classes in a space that was learned from other classes. In this space, what varies
*within* every class is made small.
"""

# %%
# Digits in changing light
# ------------------------
# The images are scikit-learn's, with 8 by 8 pixels. We add light: each picture has its
# own contrast, its own brightness, and a shade that falls from one side.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from skmeta import PrototypicalClassifier

SEED = 0
NEW = (6, 7, 8, 9)
digits = load_digits()
rng = np.random.default_rng(SEED)


def in_changing_light(images):
    across, down = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 8))
    shades = rng.normal(scale=0.6, size=(len(images), 3, 1, 1))
    light = shades[:, 0] + shades[:, 1] * across + shades[:, 2] * down
    return images * rng.uniform(0.4, 1.0, size=(len(images), 1, 1)) + light


even = digits.images / 16
scenes = {"even light": even, "changing light": in_changing_light(even)}
is_new = np.isin(digits.target, NEW)

# %%
# Learn from 0 to 5, adapt to 6 to 9
# ----------------------------------
# ``adapt`` needs no training: it takes the means of the rows given. We score the other
# rows in 30 random draws. We compare with two models of the given rows alone: the
# nearest of them by pixels, and logistic regression.

EXAMPLES = (1, 2, 5, 10)
N_DRAWS = 30


def accuracies(images):
    """Accuracy of shape (n_models, n_examples, n_draws), and the model."""
    X, y = images.reshape(len(images), -1), digits.target
    learned = PrototypicalClassifier(random_state=SEED).fit(X[~is_new], y[~is_new])
    X, y = X[is_new], y[is_new]
    ways = [
        learned.adapt,
        KNeighborsClassifier(1).fit,
        LogisticRegression(max_iter=1000).fit,
    ]
    draws = np.random.default_rng(SEED)
    scores = np.empty((len(ways), len(EXAMPLES), N_DRAWS))
    for draw in range(N_DRAWS):
        order = draws.permutation(len(y))
        by_class = [order[y[order] == digit] for digit in NEW]
        query = np.concatenate([rows[max(EXAMPLES) :] for rows in by_class])
        for j, k in enumerate(EXAMPLES):
            given = np.concatenate([rows[:k] for rows in by_class])
            for i, learn in enumerate(ways):
                scores[i, j, draw] = learn(X[given], y[given]).score(X[query], y[query])
    return scores, learned


names = ["prototypes", "nearest example", "logistic regression"]
results, models = {}, {}
for scene, images in scenes.items():
    results[scene], models[scene] = accuracies(images)
    print(f"{scene}: right of four new digits, from so many examples of each")
    print(f"  {'':20}" + "".join(f"{k:>14}" for k in EXAMPLES))
    for name, score in zip(names, results[scene], strict=True):
        mean, std = score.mean(axis=1), score.std(axis=1, ddof=1)
        cells = (f"{m:6.1%} ± {s:5.1%}" for m, s in zip(mean, std, strict=True))
        print(f"  {name:20}" + "".join(f"{cell:>14}" for cell in cells))

# %%
# (The spread is that of the draws.) In changing light one or two examples are useless
# without what was learned; with ten of each, logistic regression comes near. In even
# light the pixels themselves are good, and six digits teach little about digits, so
# prototypes are behind.
#
# A digit that nobody planned for
# -------------------------------
# Prototypes can be added one by one: ``partial_adapt`` continues where ``adapt``
# stopped.

X = scenes["changing light"].reshape(len(even), -1)
model = models["changing light"]
rows = {digit: np.flatnonzero(digits.target == digit) for digit in NEW}
first = np.concatenate([rows[6][:10], rows[7][:10]])
model = model.adapt(X[first], digits.target[first])
print("knows", model.classes_)
model.partial_adapt(X[rows[8][:10]], digits.target[rows[8][:10]])
print("knows", model.classes_)
share = np.mean(model.predict(X[rows[8][10:]]) == 8)
print(f"{share:.0%} of the other 8s are found")

# %%
# The figure
# ----------

figure, axes = plt.subplot_mosaic(
    [[f"{d}{i}" for i in range(4)] + ["even", "changing"] for d in NEW],
    figsize=(12, 3.8),
    layout="constrained",
    width_ratios=[1, 1, 1, 1, 4, 4],
)
for digit in NEW:
    for i in range(4):
        ax = axes[f"{digit}{i}"]
        ax.imshow(scenes["changing light"][rows[digit][i]], cmap="gray")
        ax.set_axis_off()
axes["60"].set_title("what the camera sees", loc="left", fontsize="medium")
styles = ["o-", "s--", "^:"]
for ax, (scene, scores) in zip(
    (axes["even"], axes["changing"]), results.items(), strict=True
):
    for name, style, score in zip(names, styles, scores, strict=True):
        mean, std = score.mean(axis=1), score.std(axis=1)
        (line,) = ax.plot(EXAMPLES, mean, style, label=name)
        ax.fill_between(
            EXAMPLES, mean - std, mean + std, color=line.get_color(), alpha=0.12, lw=0
        )
    ax.axhline(1 / len(NEW), color="grey", lw=0.8)
    ax.set(title=scene, xlabel="examples of each new digit", ylim=(0.2, 1))
axes["even"].set_ylabel("right of four digits never seen")
axes["even"].legend(loc="lower right")
axes["changing"].text(10, 1 / len(NEW) + 0.01, "chance", ha="right", color="grey")
