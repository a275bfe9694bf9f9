"""Write the results of benchmarks into the documentation and the README beside this.

    python benchmarks/report.py [--check]

The pages keep their own words. Each table, and each figure that a sentence quotes,
stands between two comments of the page, which name it:

    .. Written by benchmarks/report.py: NAME
    .. End of NAME.

In Markdown they are ``<!-- Written by ... -->``. Only what is between them is written.
``--check`` writes nothing, and fails if a page is not what the results say.
"""

import argparse
import re
import sys
from pathlib import Path

import _board
import _results
import _scoring

HERE = Path(__file__).parent
ROOT = HERE.parent
MARKS = re.compile(
    r"(?P<begin>^(\.\.|<!--) Written by benchmarks/report\.py: (?P<name>\w+)( -->)?\n)"
    r".*?(?P<end>^(\.\.|<!--) End of (?P=name)\.( -->)?$)",
    re.DOTALL | re.MULTILINE,
)
OTHERS = {
    "PyTorch loop": "PyTorch loop",
    "torch.func.vmap": "``torch.func.vmap``",
    "PyTorch, batched by hand": "PyTorch batched by hand",
    "JAX jit+vmap+scan": "JAX (jit, vmap, scan)",
    "scikit-learn warm start": "scikit-learn ``partial_fit``",
    "NumPy, plain": "NumPy, plain loop",
}


def results_of(name):
    return _results.load(HERE / "results" / f"{name}.json")


def table(header, rows):
    """A list-table of reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        for i, cell in enumerate(row):
            lines.append(f"   {'*' if i == 0 else ' '} - {cell}".rstrip())
    return "\n".join(lines)


def ratio(x):
    return f"{x:,.0f}" if x >= 20 else f"{x:.1f}" if x >= 2 else f"{x:.2f}"


def speed_table(results):
    names = [n for n in OTHERS if any(n in r["us_per_unit"] for r in results)]
    rows = []
    for result in results:
        micro = result["us_per_unit"]
        ours = micro["skmeta"]
        cells = [ratio(micro[n] / ours) if n in micro else "" for n in names]
        rows.append([result["title"], f"{ours:.3g}", *cells])
    return table(["", "skmeta, µs", *(OTHERS[n] for n in names)], rows)


def losses(results):
    lost = [
        f"{OTHERS[name]} on {r['title']} ({us / r['us_per_unit']['skmeta']:.2f})"
        for r in results
        for name, us in r["us_per_unit"].items()
        if us < r["us_per_unit"]["skmeta"]
    ]
    return "; ".join(lost) if lost else "there was none in this run"


def profile_table(results):
    kinds = ["products", "element-wise", "update"]
    header = ["", *kinds, "around the calls", "of so many", "the rest", "skmeta"]
    rows = []
    for result in results:
        parts = result.get("profile")
        if parts is None:
            continue
        floor, ours = sum(parts[k] for k in kinds), result["us_per_unit"]["skmeta"]
        peak, around = parts["at the peak of products"], parts["around"]
        rows.append(
            [
                result["title"],
                *(f"{parts[k]:.2f}" for k in kinds),
                f"{around:.2f}",
                str(parts["calls"]),
                f"{max(ours - floor - around, 0.0):.2f}",
                f"{ours:.2f}",
                f"{100 * peak / ours:.0f} %",
            ]
        )
    return table([*header, "of the peak of products"], rows)


def growth_table(growth):
    rows = [
        [
            case["what"],
            case["by"],
            f"{case['sizes'][0]:,} to {case['sizes'][-1]:,}",
            f"{case['exponent']:.2f}",
            f"{case['cpu_seconds'][-1]:.3g} s",
            f"{case['peak_over_data'][-1]:.1f}",
        ]
        for case in growth
    ]
    header = ["", "by", "sizes", "exponent", "at the largest", "memory over data"]
    return table(header, rows)


def million_tasks_table(results):
    rows = [
        [
            case["what"],
            f"{case['sizes'][0]:,} to {case['sizes'][-1]:,}",
            ", ".join(f"{s:.3g}" for s in case["cpu_seconds"]),
            f"{case['exponent_of_time']:.2f}",
            ", ".join(f"{p:.1f}" for p in case["peak_over_data"]),
            f"{case['exponent_of_memory']:.2f}",
        ]
        for case in results["growth"]
    ]
    header = ["", "tasks", "CPU s", "exponent", "memory over data", "exponent"]
    return table(header, rows)


def mixed_models_table(found):
    rows = [
        [
            name,
            f"{one['fit_seconds']:.2f} s",
            f"{one['adapt_seconds']:.2f} s",
            f"{one['log_likelihood']:.1f}",
            f"{one['largest_difference']:.0e}" if name != "skmeta" else "",
            f"{one['rmse']:.3f}",
        ]
        for name, one in found["results"].items()
    ]
    header = ["", "fit", "new tasks", "log likelihood", "differs by", "RMSE"]
    return table(header, rows)


def many_tasks_table(results):
    rows = [
        [
            f"{case['model']}, ``{case['method']}``",
            f"{case['n_tasks']:,}",
            f"{case['seconds']:.2g} s",
            f"{case['memory']:.1f}",
            f"{case['us_in_turn']:,.0f} us",
        ]
        for case in results["adapt_predict"]
    ]
    return table(["", "tasks", "CPU time", "memory over data", "in turn"], rows)


def figures(speed, scaling, many_tasks):
    """The figures that sentences of the page quote, as substitutions."""
    machine, results = dict(speed["machine"]), speed["results"]
    processor, cores = machine.pop("processor"), machine.pop("cores")
    versions = ", ".join(f"{name} {version}" for name, version in machine.items())
    apart = max(d for r in results for d in r["differs_by"].values())
    threads = ", ".join(f"{t['speed_up']} x ({t['what']})" for t in scaling["threads"])
    values = {
        "apart": f"{apart:.0e}",
        "machine": f"{versions} on {cores} cores of an {processor}",
        "losses": losses(results),
        "threads": threads,
        "scored": " and ".join(
            f"{us:.0f} us ({what})"
            for what, us in many_tasks["few_shot_scores"].items()
        ),
    }
    return "\n".join(f".. |{name}| replace:: {text}" for name, text in values.items())


def verdict_table():
    rows = []
    for name, result in results_of("does_it_pay").items():
        _, _, verdict = result["verdict"].replace("\n", " ").partition(": ")
        rows.append(
            [f"``{name}``", result["n_tasks"], f"``{result['advice']}``: {verdict}"]
        )
    return table(["set", "tasks", "verdict"], rows)


COUNTED = {
    "evidence": "log evidence more than 0.1 below the exact maximum",
    "units": "predictions that depend on units",
    "order": "predictions that depend on the order of rows",
    "names": "predictions that depend on the ids of tasks",
    "layout": "predictions that depend on the layout: CSR, DataFrame, memory order",
    "portions": "adapting in portions that differs from adapting at once",
    "many": "``adapt_predict`` that differs from ``adapt`` and ``predict``",
    "far": "predictions that are not finite, or 1,000 spreads of y away",
    "numpy": "warnings of NumPy or SciPy",
    "state": "calls held wrong that were accepted, or changed the model",
    "errors": "errors on a table that is right",
}


RIVALS_ON_COUNTS = {
    "Poisson, boosted base": "boosted base",
    "log1p": "``log1p``",
    "log1p, log-normal mean": "``log1p``, mean",
    "pooled boosting, factor": "boosting + factor",
    "pooled PoissonRegressor, factor": "PoissonRegressor + factor",
    "task's mean": "task's mean",
}


def counts_table():
    """Deviances after some rows; a star where the difference is beyond chance.

    What is ahead of the first column is set in bold.
    """
    rows = []
    for name, found in results_of("counts")["sets"].items():
        for k, shots in found["shots"].items():
            methods = shots["methods"]
            cells = [
                name if k == min(found["shots"]) else "",
                k,
                f"{methods['Poisson']['deviance']:.3g}",
            ]
            for method in RIVALS_ON_COUNTS:
                one = methods[method]
                cell, lead = f"{one['deviance']:.3g}", one["more than Poisson"]
                if lead < -one["half width"]:
                    cell = f"**{cell}**"
                cells.append(f"{cell} \\*" if abs(lead) > one["half width"] else cell)
            rows.append(cells)
    return table(["set", "rows", "Poisson", *RIVALS_ON_COUNTS.values()], rows)


def held_table():
    """What share of unseen counts the intervals of 90 % hold."""
    held = results_of("counts")["intervals"]
    shots = ("0", "2", "4")
    rows = [
        [name, *(f"{s[k]:.2f}" if k in s else "" for k in shots)]
        for name, s in held.items()
    ]
    return table(["set", *(f"after {k} rows" for k in shots)], rows)


def fuzz_table():
    """How often each thing that must never happen did, and out of how many."""
    counts = results_of("fuzz")
    of = {name: counts.get(f"twins: {name}") for name in COUNTED}
    of["evidence"] = counts["evidences"]
    of["state"] = counts["calls held wrong"]
    rows = [
        [text, counts.get(name, 0), f"{of[name] or counts['cases']:,}"]
        for name, text in COUNTED.items()
    ]
    said = counts.get("moved, and said so", 0)
    rows.append(["predictions that moved, after a warning", said, counts["cases"]])
    held = (
        "log evidence below the maximum of slopes left free, with a warning of few rows"
    )
    rows.append([held, counts.get("evidence, and said so", 0), counts["evidences"]])
    return table(["what must never happen", "times", "of"], rows)


FITTED = {
    "EmpiricalBayesRegressor": "numbers",
    "EmpiricalBayesClassifier": "two labels",
    "EmpiricalBayesClassifier, ten classes": "ten labels",
    "EmpiricalBayesPoissonRegressor": "counts",
    "EmpiricalBayesRanker, four offers in a set": "choices of 4",
    "EmpiricalBayesRegressor, base_estimator='auto'": "numbers, base model",
}


def fit_seconds_table():
    """CPU seconds of a fit, by the shape of the data and what is predicted."""
    by_shape = {}
    for fit in results_of("fit_seconds")["fits"]:
        by_shape.setdefault(tuple(fit["shape"]), {})[fit["model"]] = (
            f"{fit['seconds']:g}"
        )
    models = [m for m in FITTED if any(m in cells for cells in by_shape.values())]
    rows = []
    for (n_tasks, n_rows, n_numbers, n_dummies), cells in by_shape.items():
        dummies = f" + {n_dummies} dummies" if n_dummies else ""
        shape = [f"{n_tasks:,}", f"{n_rows:,}", f"{n_numbers}{dummies}"]
        rows.append([*shape, *(cells.get(model, "") for model in models)])
    titles = [FITTED[model] for model in models]
    return table(["tasks", "rows of each", "columns", *titles], rows)


def how_many_table():
    """The loss after four rows, by the number of tasks and of rows of each."""
    found, rows, numbers = results_of("how_many"), [], {}
    for name, by_rows in found.items():
        for n_rows, models in by_rows.items():
            numbers[name, n_rows] = models["learned prior"]["4"]
    sizes = sorted({int(n) for cells in numbers.values() for n in cells})
    for (name, n_rows), cells in numbers.items():
        line = [
            f"{mean:.0f} ({deviation:.0f})" for mean, deviation, *_ in cells.values()
        ]
        known = dict(zip(cells, line, strict=True))
        first = name.replace("_", " ") if n_rows == "5" else ""
        rows.append([first, n_rows, *(known.get(str(n), "") for n in sizes)])
    return table(["", "rows of each", *(f"{n} tasks" for n in sizes)], rows)


def given_table():
    """The loss after some rows of the new task, and of a model of these rows alone."""
    rows = []
    for name, by_rows in results_of("how_many").items():
        ours, own = (
            {k: list(cells.values())[-1][0] for k, cells in models[kind].items()}
            for models, kind in (
                (by_rows["20"], "learned prior"),
                (by_rows["20"], "own rows"),
            )
        )
        for title, cells in ((name.replace("_", " "), ours), ("", own)):
            kind = "learned prior" if title else "own rows"
            values = [f"{cells[k]:.0f}" if k in cells else "" for k in GIVEN]
            rows.append([title, kind, *values])
    return table(["", "model", *(f"{k} given" for k in GIVEN)], rows)


GIVEN = ("0", "1", "2", "4", "8", "16", "32")


# -- tables of the README -------------------------------------------------------------


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def leaderboard_table(found):
    """Ours beside the best rivals, with 4 and with 8 rows given."""
    columns = ["chosen", "auto", "learned prior", "Reptile, linear", "rival", "mixed"]
    rows = []
    for one in found["sets"]:
        methods, row = _board.methods_of(one), [one["set"]]
        for k in ("4", "8"):
            means = {m: by_k[k] for m, by_k in one["means"].items() if k in by_k}
            ours = [_board.CHOSEN, "ours: auto", "ours: EB", "ours: Reptile"]
            groups = [*([m] for m in ours), methods.out_of_the_box, methods.mixed]
            for group in groups:
                least = min((means[m] for m in group if m in means), default=None)
                row.append("" if least is None else f"{least:.3f}")
        rows.append(row)
    header = [
        "",
        *(
            f"k = {k}: {columns[0]}" if not i else name
            for k in (4, 8)
            for i, name in enumerate(columns)
        ),
    ]
    return markdown(header, rows)


def wins_tables(found):
    """Sets won, level and lost, by the rivals compared with."""
    parts = []
    for group, by_method in found["wins"].items():
        shots = list(next(iter(by_method.values())))
        rows = []
        for method, counts in by_method.items():
            adapted = [sum(counts[k][i] for k in shots if k != "0") for i in range(3)]
            cells = [*(counts[k] for k in shots), adapted]
            rows.append([method, *(" / ".join(map(str, cell)) for cell in cells)])
        header = [f"against the {group}", *(f"k = {k}" for k in shots), "k >= 1"]
        parts.append(markdown(header, rows))
    return "\n\n".join(parts)


def features_table():
    """Gain of learned features where they are used, in % of the linear prior's loss."""
    used = [one for one in results_of("learned_features") if one["losses"]]
    shots = max((list(one["losses"]) for one in used), key=len)
    rows = []
    for one in used:
        row = [f"`{one['set']}`", one["seed"]]
        for k in shots:
            linear, features = one["losses"].get(k, (None, None))
            if linear is None:
                row.append("")
                continue
            difference, half = _scoring.mean_difference(features, linear)
            row.append(f"{difference:+.1f} ± {half:.1f}")
        rows.append(row)
    return markdown(["", "seed", *(f"k = {k}" for k in shots)], rows)


def rates_table():
    """Losses with four rows given."""
    found = results_of("learned_rates")
    methods = list(next(iter(found.values())))
    rows = [
        [m, *(f"{one[m]['4']:.3f}" if m in one else "" for one in found.values())]
        for m in methods
    ]
    return markdown(["", *(f"`{name.partition('_')[0]}`" for name in found)], rows)


# -- choices --------------------------------------------------------------------------

RANKER, POOLED = "ranker", "pooled conditional logit"


def difference(row, what="log_loss", digits=3):
    """Ours less that of a method, in bold where the interval is on one side of 0."""
    mean, half = row[f"ours_less_{what}"]
    text = f"{mean:+.{digits}f} ± {half:.{digits}f}"
    return f"**{text}**" if abs(mean) > half else text


def shelves_table(found):
    """The ranker, and pairs at the weight that was best on the test tasks."""
    rows = []
    for name, one in found.items():
        for k, shots in one["shots"].items():
            methods, best = shots["methods"], shots["best"]
            ours, pairs = methods[RANKER], methods[best]
            rows.append(
                [
                    name if k == min(one["shots"], key=int) else "",
                    k,
                    f"{ours['log_loss']:.3f}",
                    f"{pairs['log_loss']:.3f} ({best.rpartition(' ')[2]})",
                    difference(pairs),
                    f"{methods['pairs, weight 1']['log_loss']:.3f}",
                    f"{methods[POOLED]['log_loss']:.3f}",
                    f"{ours['hits']:.1f} %",
                    f"{pairs['hits']:.1f} %",
                    difference(pairs, "hits", 1),
                ]
            )
    header = ["set", "screens given", "ranker", "pairs (best weight)", "difference"]
    header += ["weight 1", "pooled", "hits", "pairs", "difference"]
    return table(header, rows)


def likelihood_table(found):
    rows = [
        [
            name,
            f"{one['told']:,.1f}",
            "{:,.1f} ± {:.1f}".format(*one["simulated"]),
            f"{one['percent apart']:.2f} %",
            "{:,.1f} ± {:.1f}".format(*one["simulated from the prior"]),
            f"{one['seconds']:.1f} s",
        ]
        for name, one in found.items()
    ]
    header = ["set", "of the fit", "simulated", "apart", "draws from the prior", "fit"]
    return table(header, rows)


RIVALS_OF_BRANDS = (
    *("wide softmax", "wide, boosted", "ranker, boosted", "ranker, no log price"),
    POOLED,
)


def brands_table(found):
    """The ranker, and the rivals that ran on all sets."""
    runs = [
        shots["methods"] for one in found.values() for shots in one["shots"].values()
    ]
    rivals = [m for m in RIVALS_OF_BRANDS if all(m in methods for methods in runs)]
    rows = []
    for name, one in found.items():
        for k, shots in one["shots"].items():
            methods = shots["methods"]
            cells = [name if k == "0" else "", k, f"{methods[RANKER]['log_loss']:.3f}"]
            for rival in rivals:
                row = methods[rival]
                cells += [f"{row['log_loss']:.3f}", difference(row)]
            rows.append(cells)
    header = ["set", "purchases given", "ranker"]
    for rival in rivals:
        header += [rival, "difference"]
    return table(header, rows)


def unseen_table(found):
    """All brands together, each left out in turn."""
    rows = []
    for name, one in found.items():
        for k, shots in one["together"]["shots"].items():
            ours, pooled = shots["methods"][RANKER], shots["methods"][POOLED]
            rows.append(
                [
                    name if k == "0" else "",
                    k,
                    f"{ours['log_loss']:.3f}",
                    f"{pooled['log_loss']:.3f}",
                    difference(pooled),
                    f"{ours['hits']:.1f} %",
                    f"{pooled['hits']:.1f} %",
                    difference(pooled, "hits", 1),
                ]
            )
    header = ["set", "purchases given", "ranker", "pooled", "difference"]
    return table([*header, "hits", "pooled", "difference"], rows)


# -- engines --------------------------------------------------------------------------


def engines_table(found):
    """Seconds of CPU of one process, and of the two workers of dask."""
    one, dask, sql = found["one_process"], found["dask"], found["duckdb"]
    learning = one["sums from rows"] + one["prior from sums"]
    rows = [
        ["sums, from rows", one["sums from rows"], None],
        ["sums, by the SQL in DuckDB", sql["sums by SQL"] + sql["read"], None],
        ["prior, from sums", one["prior from sums"], None],
        ["sums and prior", learning, dask["prior"]],
        ["adapt and score", one["adapt and score"], dask["adapt and score"]],
    ]
    return table(
        ["", "one process", "workers", "process that asks them"],
        [
            [what, f"{alone:.2f}", *(f"{s:.2f}" for s in (spread or {}).values())]
            + ([""] * 2 if spread is None else [])
            for what, alone, spread in rows
        ],
    )


def engines_arithmetic(found):
    """What larger numbers of tasks take, by the seconds and bytes of one task."""
    one, n_tasks = found["one_process"], found["tasks"]
    steps = [one["sums from rows"], one["prior from sums"], one["adapt and score"]]
    rows = []
    for power in (6, 7, 8):
        times = 10**power / n_tasks
        size = found["bytes_per_task"] * 10**power / 1e9
        hours = [f"{seconds * times / 60:,.1f}" for seconds in steps]
        rows.append([f"10\\ :sup:`{power}`", *hours, f"{size:,.1f}"])
    header = ["tasks", "sums, minutes", "prior, minutes", "scores, minutes", "sums, GB"]
    return table(header, rows)


def engines_figures(found):
    """The figures that sentences of the page quote, as substitutions."""
    machine = dict(found["machine"])
    processor = machine.pop("processor")
    apart = {name: f"{by:.0e}" if by else "0" for name, by in found["apart"].items()}
    values = {
        "n_tasks": f"{found['tasks']:,}",
        "bytes_per_task": f"{found['bytes_per_task']:.0f}",
        "prior_apart": apart["prior by dask"],
        "sql_apart": apart["prior by SQL"],
        "rows_apart": apart["prior from rows"],
        "scores_apart": apart["scores by dask"],
        "engines": ", ".join(f"{name} {text}" for name, text in machine.items()),
        "processor": processor,
    }
    return "\n".join(f".. |{name}| replace:: {text}" for name, text in values.items())


# -- all pages ------------------------------------------------------------------------


def pages():
    """What is written, by page and name."""
    speed, scaling = results_of("speed"), results_of("scaling")
    leaderboard, engines = results_of("leaderboard"), results_of("engines")
    many_tasks, choices = results_of("many_tasks"), results_of("choices")
    return {
        "docs/speed.rst": {
            "speed": speed_table(speed["results"]),
            "profile": profile_table(speed["results"]),
            "growth": growth_table(scaling["growth"]),
            "many_tasks": many_tasks_table(many_tasks),
            "million_tasks": million_tasks_table(results_of("million_tasks")),
            "mixed_models": mixed_models_table(results_of("against_mixed_models")),
            "figures": figures(speed, scaling, many_tasks),
        },
        "docs/more_than_one_machine.rst": {
            "engines": engines_table(engines),
            "engines_arithmetic": engines_arithmetic(engines),
            "engines_figures": engines_figures(engines),
        },
        "docs/choices.rst": {
            "shelves": shelves_table(choices["screens"]),
            "likelihood": likelihood_table(choices["likelihood"]),
            "brands": brands_table(choices["brands"]),
            "unseen": unseen_table(choices["unseen"]),
        },
        "docs/counts.rst": {"deviances": counts_table(), "held": held_table()},
        "docs/does_it_pay.rst": {"verdicts": verdict_table()},
        "docs/learned_prior.rst": {"fit_seconds": fit_seconds_table()},
        "docs/how_many.rst": {"how_many": how_many_table(), "given": given_table()},
        "docs/what_is_tested.rst": {"fuzz": fuzz_table()},
        "benchmarks/README.md": {
            "leaderboard": leaderboard_table(leaderboard),
            "wins": wins_tables(leaderboard),
            "features": features_table(),
            "rates": rates_table(),
        },
    }


def page_with(page, parts):
    """The page, with each named part between its marks made afresh."""
    left = dict(parts)

    def replaced(match):
        return f"{match['begin']}\n{left.pop(match['name'])}\n\n{match['end']}"

    text = MARKS.sub(replaced, (ROOT / page).read_text())
    if left:
        sys.exit(f"{page} has no marks for: {', '.join(left)}")
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    only_check = parser.parse_args().check
    for page, parts in pages().items():
        text = page_with(page, parts)
        if not only_check:
            (ROOT / page).write_text(text)
        elif (ROOT / page).read_text() != text:
            sys.exit(f"{page} is not up to date: python benchmarks/report.py")


if __name__ == "__main__":
    main()
