"""Choices among several offers: `EmpiricalBayesRanker` against what one did before.

    python benchmarks/choices.py --data FOLDER [--part screens likelihood brands unseen]
        [--sets NAME ...] [--folds 5] [--draws 3] [--save FILE]
        [--runs FOLDER] [--methods LABEL ...]

FOLDER holds task sets (`make_task_sets.py`). Whole tasks, people or households, are
held out in folds. Of each, some screens are given to a method, drawn several times, and
it tells the probabilities of the offers of the other screens. The log loss and the
share of screens where the offer chosen came first are means over the screens, the draws
and then the tasks; differences are paired over tasks, with 95 % t intervals.

"screens" compares with pairs of offers in `EmpiricalBayesClassifier`, at several
weights of a pair. For each number of screens given, the best of these weights is picked
**by the result on the test tasks**, in its favour. "likelihood" compares the likelihood
that a fit tells with a simulated one at the same mean and covariance: with draws from
the prior, and with draws about each task's mode (importance sampling), which estimates
the same number with a far smaller error. "brands" compares offers as rows, with a
constant for each brand, with a softmax of several brands whose columns are the prices
and displays of all; the offers have the logarithm of their price besides, since one
effect of a price in plain units does not suit bottles of several sizes.

"unseen" leaves each brand in turn out of training: the shelf of the tasks to come has
it nevertheless. It has zeros in the columns of the other brands and none of its own, so
that its constant is 0, and what a household thinks of it is learned as the opposite of
what it thinks of all others.

``--runs`` keeps the scores of all tasks in a folder, and methods that it has already do
not run again but those that ``--methods`` names. Seconds are those of the CPU.
"""

import argparse
import time
import warnings
from pathlib import Path

import _choice_rivals as rivals
import _results
import _shelves
import numpy as np
from _shelves import paired, scored
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import KFold

SHOTS = {"screens": (0, 1, 2, 5, 8), "brands": (0, 1, 2, 4, 8), "unseen": (0, 1, 2, 4)}
SETS = {
    "screens": ("electricity_choice", "camera_choice"),
    "likelihood": ("electricity_choice", "camera_choice"),
    "brands": _shelves.BRANDS[:2],
    "unseen": _shelves.BRANDS[:2],
}
OURS, POOLED = "ranker", "pooled conditional logit"
PAIRS = {
    "pairs, weight 1": lambda J: 1.0,
    "pairs, weight 1/2": lambda J: 0.5,
    "pairs, weight 1/(J-1)": lambda J: 1 / (J - 1),
    "pairs, weight 1/J": lambda J: 1 / J,
}
# Each brand is left out in turn, so there are fewer folds.
FOLDS_OF_UNSEEN = 3
# Households of the large panels with fewer purchases than this are left out, and at
# most so many of the others take part.
MIN_SCREENS, MAX_TASKS = 5, 300
RESULTS = Path(__file__).parent / "results" / "choices.json"


def boosting():
    return HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.05, max_leaf_nodes=8, early_stopping=False
    )


def methods_for_screens(J):
    pairs = {name: rivals.Pairs(weight(J)) for name, weight in PAIRS.items()}
    averaged = {"pairs, weight 1/2, averaged": rivals.Pairs(0.5, n_draws=200)}
    return {OURS: rivals.Ranker()} | pairs | averaged | plain()


def methods_for_brands(J):
    ours = {
        OURS: rivals.Ranker(),
        "ranker, boosted": rivals.Ranker(base_estimator=boosting()),
        "ranker, no log price": rivals.Ranker(-1),
    }
    wide = {"wide softmax": rivals.Wide(J), "wide, boosted": rivals.Wide(J, boosting)}
    return ours | wide | plain()


def plain():
    return {
        POOLED: rivals.Pooled(),
        "equal chances": rivals.EqualChances(),
    }


# -- measuring ------------------------------------------------------------------------


def drawn(offers, seed=0):
    """The tasks that have screens enough, at most `MAX_TASKS` of them."""
    tasks, sizes = np.unique(offers.task[offers.starts], return_counts=True)
    tasks = tasks[sizes >= MIN_SCREENS]
    tasks = np.random.default_rng(seed).permutation(tasks)[:MAX_TASKS]
    return offers.rows(np.isin(offers.task, tasks))


def measured(
    name,
    offers,
    methods,
    shots,
    options,
    *,
    n_folds=None,
    train_of=lambda offers: offers,
):
    """Of each method: its scores {shots: {task: Scores}}, and the seconds of its fits.

    ``train_of`` turns the offers of the training tasks into what methods are fitted to.
    """
    file = options.runs and options.runs / f"{name}.json"
    found = _results.load(file) if file and file.exists() else {}
    again = options.methods or [label for label in methods if label not in found]
    for label in methods:
        if label in again:
            found[label] = run_of(
                methods[label], offers, shots, options, train_of, n_folds
            )
            _results.save(file, found)
    return {label: found[label] for label in methods if label in found}


def run_of(method, offers, shots, options, train_of, n_folds):
    tasks = np.unique(offers.task)
    scores, seconds = {str(k): {} for k in shots}, []
    folds = KFold(n_folds or options.folds, shuffle=True, random_state=0)
    for _, out in folds.split(tasks):
        held_out = np.isin(offers.task, tasks[out])
        start = time.process_time()
        method.fit(train_of(offers.rows(~held_out)))
        seconds.append(round(time.process_time() - start, 2))
        for task in tasks[out]:
            mine = offers.rows(offers.task == task)
            for k, splits in cuts_of(mine, int(task), shots, options.draws).items():
                draws = [
                    scored(method.probabilities(given, wanted), wanted)
                    for given, wanted in splits
                ]
                mean = np.mean(draws, axis=0)
                scores[str(k)][str(task)] = mean.round(6).tolist()
    return {"scores": scores, "seconds": seconds}


def cuts_of(mine, seed, shots, n_draws):
    """By number of screens, pairs of the offers given and wanted, one for each draw."""
    n = len(mine.starts)
    rng = np.random.default_rng(seed)
    order = np.argsort([rng.permutation(n) for _ in range(n_draws)], axis=1)
    cuts = {}
    for k in [k for k in shots if k < n]:
        given = [(rank < k)[mine.place] for rank in (order if k else order[:1])]
        cuts[k] = [(mine.rows(g) if k else None, mine.rows(~g)) for g in given]
    return cuts


def compared(found, best_of):
    """Means of each method, and how far each is from ours, by number of screens given.

    ``found`` holds runs by the name of the method. ``best_of`` names the methods of
    which the best is picked for each number.
    """
    first, table = next(iter(found.values()))["scores"], {}
    for k in first:
        tasks = sorted(first[k], key=int)
        of = {
            label: np.array([run["scores"][k][task] for task in tasks])
            for label, run in found.items()
        }
        rows = {label: one_row(values, of.get(OURS)) for label, values in of.items()}
        best = min(
            (label for label in best_of if label in rows),
            key=lambda label: rows[label]["log_loss"],
            default=None,
        )
        table[k] = {"tasks": len(tasks), "best": best, "methods": rows}
    return table


def one_row(values, ours):
    loss, hits = values.mean(axis=0)
    row = {"log_loss": round(float(loss), 4), "hits": round(100 * float(hits), 2)}
    if ours is not None and values is not ours:
        for i, (name, unit) in enumerate([("log_loss", 1), ("hits", 100)]):
            apart = paired(unit * ours[:, i], unit * values[:, i])
            row[f"ours_less_{name}"] = [round(v, 4) for v in apart]
    return row


# -- parts ----------------------------------------------------------------------------


def run_screens(name, options):
    offers, _ = _shelves.offers_of(options.data, name)
    J = int(np.diff(offers.starts).max())
    methods = methods_for_screens(J)
    found = measured(f"screens_{name}", offers, methods, SHOTS["screens"], options)
    return about(offers) | result(found, PAIRS)


def result(found, best_of):
    seconds = {label: run["seconds"] for label, run in found.items()}
    return {"shots": compared(found, best_of), "seconds": seconds}


def about(offers):
    return {
        "tasks": len(np.unique(offers.task)),
        "screens": len(offers.starts),
        "offers": len(offers.y),
    }


def run_likelihood(name, options):
    offers, _ = _shelves.offers_of(options.data, name)
    start = time.process_time()
    model = rivals.Ranker().fit(offers).model
    seconds = time.process_time() - start
    learned = model.prior_coef_, model.prior_covariance_
    plain, plain_error = rivals.simulated_log_likelihood(offers, *learned)
    value, error = rivals.simulated_log_likelihood(offers, *learned, about_mode=True)
    told = float(model.log_marginal_likelihood_)
    return about(offers) | {
        "prior": model.prior_structure_,
        "seconds": round(seconds, 2),
        "told": round(told, 2),
        "simulated": [round(value, 2), round(error, 2)],
        "simulated from the prior": [round(plain, 2), round(plain_error, 2)],
        "percent apart": round(100 * abs(told - value) / abs(value), 3),
    }


def run_brands(name, options):
    offers, _ = _shelves.offers_of(options.data, name)
    offers = drawn(offers)
    methods = methods_for_brands(int(np.diff(offers.starts).max()))
    found = measured(f"brands_{name}", offers, methods, SHOTS["brands"], options)
    return about(offers) | result(found, ["wide softmax"])


def run_unseen(name, options):
    offers, columns = _shelves.offers_of(options.data, name)
    J = int(np.diff(offers.starts).max())
    results, runs = {}, []
    for brand in range(J):
        without = offers._replace(X=np.delete(offers.X, brand, axis=1))

        def train_of(train, new=brand, J=J):
            """Purchases of the other brands, with the new one not on the shelf."""
            is_new = np.tile(np.arange(J) == new, len(train.starts))
            bought = np.add.reduceat(np.where(is_new, train.y, 0), train.starts)
            return train.rows(~is_new & (bought[train.place] == 0))

        runs.append(
            measured(
                f"unseen_{name}_{columns[brand]}",
                without,
                {OURS: rivals.Ranker()} | plain(),
                SHOTS["unseen"],
                options,
                n_folds=min(FOLDS_OF_UNSEEN, options.folds),
                train_of=train_of,
            )
        )
        share = float(offers.y[offers.X[:, brand] == 1].mean())
        found = result(runs[-1], [POOLED])
        results[columns[brand]] = {"share": round(share, 3)} | found
    together = compared(mean_of_runs(runs), [POOLED])
    return about(offers) | {"brands": results, "together": {"shots": together}}


def mean_of_runs(runs):
    """The mean score of each task over runs {method: run}."""
    return {
        label: {
            "scores": {
                k: {
                    task: np.mean([run[label]["scores"][k][task] for run in runs], 0)
                    for task in by_task
                }
                for k, by_task in first["scores"].items()
            }
        }
        for label, first in runs[0].items()
    }


RUNS = {
    "screens": run_screens,
    "likelihood": run_likelihood,
    "brands": run_brands,
    "unseen": run_unseen,
}


# -- printing and the command line ----------------------------------------------------


def show(title, result):
    print(f"\n{title}")
    for k, table in result.get("shots", {}).items():
        print(f"  after {k} screens, {table['tasks']} tasks; best: {table['best']}")
        for method, row in table["methods"].items():
            line = f"    {method:28s} {row['log_loss']:8.4f} {row['hits']:7.2f} %"
            for what in ("log_loss", "hits"):
                if f"ours_less_{what}" in row:
                    line += "   {:+.4f} +- {:.4f}".format(*row[f"ours_less_{what}"])
            print(line)
    for key, value in result.items():
        if key not in ("shots", "brands", "together"):
            print(f"  {key}: {value}")
    for brand, one in result.get("brands", {}).items():
        show(f"{title}, without {brand}", one)
    if "together" in result:
        show(f"{title}, mean over the brands", result["together"])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of task sets")
    parser.add_argument("--part", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--sets", nargs="+", help="only these sets")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=3, help="of the screens given")
    parser.add_argument("--runs", type=Path, help="folder for the scores of all tasks")
    parser.add_argument("--methods", nargs="+", help="only these run, or run again")
    parser.add_argument("--save", type=Path, default=None, help=f"for one: {RESULTS}")
    return parser.parse_args()


def main():
    options = arguments()
    warnings.filterwarnings("ignore")
    if options.runs:
        options.runs.mkdir(parents=True, exist_ok=True)
    exists = options.save is not None and options.save.exists()
    results = _results.load(options.save) if exists else {}
    for part in options.part:
        for name in options.sets or SETS[part]:
            if name not in SETS[part]:
                continue
            found = RUNS[part](name, options)
            results.setdefault(part, {})[name] = found
            _results.save(options.save, results)
            show(f"{part}: {name}", found)


if __name__ == "__main__":
    main()
