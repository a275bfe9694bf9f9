"""Choices among several offers: `EmpiricalBayesRanker` against what one did before.

    python benchmarks/choices.py --data FOLDER [--part screens likelihood brands unseen]
        [--sets NAME ...] [--folds 5] [--draws 3] [--methods LABEL ...] [--save FILE]

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
and displays of all. "unseen" leaves each brand in turn out of training: the shelf of
the tasks to come has it nevertheless. It has zeros in the columns of the other brands
and none of its own, so that its constant is 0, and what a household thinks of it is
learned as the opposite of what it thinks of all others.

Seconds are those of the CPU.
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
    "brands": _shelves.BRANDS,
    "unseen": _shelves.BRANDS[:2],
}
OURS = "ranker"
PAIRS = {
    "pairs, weight 1": lambda J: 1.0,
    "pairs, weight 1/2": lambda J: 0.5,
    "pairs, weight 1/(J-1)": lambda J: 1 / (J - 1),
    "pairs, weight 1/J": lambda J: 1 / J,
}
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
    wide = {"wide softmax": rivals.Wide(J), "wide, boosted": rivals.Wide(J, boosting)}
    return {OURS: rivals.Ranker()} | wide | plain()


def plain():
    return {
        "pooled conditional logit": rivals.Pooled(),
        "equal chances": rivals.EqualChances(),
    }


# -- measuring ------------------------------------------------------------------------


def drawn(offers, seed=0):
    """The tasks that have screens enough, at most `MAX_TASKS` of them."""
    tasks, sizes = np.unique(offers.task[offers.starts], return_counts=True)
    tasks = tasks[sizes >= MIN_SCREENS]
    tasks = np.random.default_rng(seed).permutation(tasks)[:MAX_TASKS]
    return offers.rows(np.isin(offers.task, tasks))


def measured(offers, methods, shots, options, *, train_of=lambda offers: offers):
    """Scores {method: {shots: {task: Scores}}} of tasks held out, and seconds of fits.

    ``train_of`` turns the offers of the training tasks into what methods are fitted to.
    """
    tasks = np.unique(offers.task)
    found = {name: {k: {} for k in shots} for name in methods}
    seconds = {name: [] for name in methods}
    folds = KFold(options.folds, shuffle=True, random_state=0)
    for _, out in folds.split(tasks):
        held_out = np.isin(offers.task, tasks[out])
        train = train_of(offers.rows(~held_out))
        for name, method in methods.items():
            start = time.process_time()
            method.fit(train)
            seconds[name].append(round(time.process_time() - start, 2))
        for task in tasks[out]:
            mine = offers.rows(offers.task == task)
            for k, splits in cuts_of(mine, int(task), shots, options.draws).items():
                for name, method in methods.items():
                    draws = [
                        scored(method.probabilities(given, wanted), wanted)
                        for given, wanted in splits
                    ]
                    found[name][k][int(task)] = np.mean(draws, axis=0)
    return found, seconds


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

    ``best_of`` names the methods of which the best is picked for each number.
    """
    table = {}
    for k in next(iter(found.values())):
        tasks = sorted(next(iter(found.values()))[k])
        if not tasks:
            continue
        of = {name: np.array([s[k][t] for t in tasks]) for name, s in found.items()}
        rows = {name: one_row(values, of.get(OURS)) for name, values in of.items()}
        best = min(
            (name for name in best_of if name in rows),
            key=lambda name: rows[name]["log_loss"],
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


def chosen_methods(methods, options):
    if options.methods is None:
        return methods
    return {name: m for name, m in methods.items() if name in options.methods}


# -- parts ----------------------------------------------------------------------------


def run_screens(name, options):
    offers, _ = _shelves.offers_of(options.data, name)
    J = int(np.diff(offers.starts).max())
    methods = chosen_methods(methods_for_screens(J), options)
    found, seconds = measured(offers, methods, SHOTS["screens"], options)
    return about(offers) | {
        "shots": compared(found, PAIRS),
        "seconds": seconds,
    }


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
    J = int(np.diff(offers.starts).max())
    methods = chosen_methods(methods_for_brands(J), options)
    found, seconds = measured(offers, methods, SHOTS["brands"], options)
    return about(offers) | {
        "shots": compared(found, ["wide softmax"]),
        "seconds": seconds,
    }


def run_unseen(name, options):
    offers, columns = _shelves.offers_of(options.data, name)
    J = int(np.diff(offers.starts).max())
    results, all_found = {}, {}
    methods = chosen_methods({OURS: rivals.Ranker()} | plain(), options)
    for brand in range(J):
        without = offers._replace(X=np.delete(offers.X, brand, axis=1))
        is_new = offers.X[:, brand] == 1

        def train_of(train, new_column=brand):
            """Purchases of the other brands, with the new one not on the shelf."""
            new = np.tile(np.arange(J) == new_column, len(train.starts))
            bought = np.add.reduceat(np.where(new, train.y, 0), train.starts)
            return train.rows(~new & (bought[train.place] == 0))

        found, _ = measured(
            without, methods, SHOTS["unseen"], options, train_of=train_of
        )
        share = float(offers.y[is_new].mean())
        results[columns[brand]] = {
            "share": round(share, 3),
            "shots": compared(found, ["pooled conditional logit"]),
        }
        for method, by_shots in found.items():
            for k, by_task in by_shots.items():
                for task, scores in by_task.items():
                    kept = all_found.setdefault(method, {}).setdefault(k, {})
                    kept.setdefault(task, []).append(scores)
    mean = {
        method: {
            k: {t: np.mean(scores, axis=0) for t, scores in by_task.items()}
            for k, by_task in by_shots.items()
        }
        for method, by_shots in all_found.items()
    }
    together = compared(mean, ["pooled conditional logit"])
    return about(offers) | {"brands": results, "together": {"shots": together}}


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
    parser.add_argument("--methods", nargs="+", help="only the methods of these names")
    parser.add_argument("--save", type=Path, default=None, help=f"for one: {RESULTS}")
    return parser.parse_args()


def main():
    options = arguments()
    warnings.filterwarnings("ignore")
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
