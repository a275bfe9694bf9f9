"""Write the results of benchmarks into the documentation.

    python benchmarks/report.py [--check]

The page `docs/speed.rst`, the table of verdicts in `docs/does_it_pay.rst`, and that of
the fuzz in `docs/what_is_tested.rst`.
``--check`` writes nothing, and fails if a page is not what the results say.
"""

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
BEGIN = ".. Written by benchmarks/report.py:"
END = ".. End of what benchmarks/report.py writes."
OTHERS = {
    "PyTorch loop": "PyTorch loop",
    "torch.func.vmap": "``torch.func.vmap``",
    "PyTorch, batched by hand": "PyTorch batched by hand",
    "JAX jit+vmap+scan": "JAX (jit, vmap, scan)",
    "scikit-learn warm start": "scikit-learn ``partial_fit``",
    "NumPy, plain": "NumPy, plain loop",
}

TEXT = """\
How fast is it?
===============

.. This page is written by benchmarks/report.py: change that, or the results.

Small models on a few rows spend their time between the operations. skmeta runs many
tasks side by side, in buffers made once, by a list of NumPy calls written down once
(:code:`skmeta/_core/descent/plan.py`). The plain version that it is tested against is
in :code:`network.py` and :code:`loops.py`. There is nothing to compile and nothing to
set; ``float32`` in, ``float32`` throughout, about twice as fast as ``float64``.

Against other frameworks
------------------------

Microseconds of CPU time of skmeta, through ``fit``, ``adapt`` and ``predict`` with
their validation, and **how many times as long the others take** for the same. One core,
single precision, the least of several rounds in one run; per inner step and task, or
per new task. All begin with the same parameters, see the same rows and end with the
same parameters (the largest difference was {apart:.0e}). Compilation, imports and
conversion to tensors are not counted. Measured with {machine}.

{speed}

A ratio below 1 is a loss: {losses}. JAX compiles for each new shape, for some tenths
of a second to seconds, which is not counted; where shapes repeat for long, it is the
better engine for a single task at a time and for Adam. A GPU was not tried: at these
sizes it waits. Ratios move by a tenth between runs and more between machines. Every
contender is in ``benchmarks/_contenders.py``; run it yourself:

.. code-block:: text

   python benchmarks/speed.py

Where the time goes
-------------------

Microseconds per inner step and task of each kind of operation alone, on data in the
cache and without the overhead of the call; their sum is what arithmetic costs at
least.

{profile}

What skmeta takes beyond that are calls of some 0.3 to 0.9 microseconds each (about
twenty per step, shared by the tasks side by side), drawing and gathering rows, and in
ragged batches padding.

How it grows
------------

Exponent of a power law fitted to the larger sizes, and peak memory beyond the data
given, as a multiple of their size, at the largest size.

{growth}

The numbers of units and features change the size of the network, and with a small
network the cost is one of calls: hence exponents below 1. The learned prior works in
double precision and keeps sums of squares per task.

Two threads (``n_jobs=2``) with a free core, against one: {threads}. Results do
not depend on the number of threads. They pay where a meta-iteration has hundreds of
tasks, or tens with many rows; below that leave ``n_jobs`` alone. BLAS is held to one
thread while a model trains, since its threads wait for each other longer than they
work.

Many new tasks
--------------

``adapt_predict`` adapts to thousands of tasks at once:

    >>> import numpy as np
    >>> from skmeta import ReptileRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(150, random_state=0)
    >>> model = ReptileRegressor((16,), random_state=0).meta_fit(tasks[:50])
    >>> X, y = (np.concatenate(part) for part in zip(*tasks[50:]))
    >>> shop = np.repeat(np.arange(100), 20)
    >>> known = np.tile(np.arange(20) < 5, 100)  # five answers of each
    >>> y_new = model.adapt_predict(
    ...     X[known], y[known], X[~known], task=shop[known], task_new=shop[~known]
    ... )
    >>> alone = model.adapt(X[:5], y[:5]).predict(X[5:20])  # the same, for one of them
    >>> np.allclose(y_new[:15], alone)
    True

Tips
----

- Pass ``float32`` arrays where half of the digits do.
- Arrays of the model's precision, without missing values, skip most of validation:
  adapting to ten rows and predicting a hundred takes about 0.2 ms (plain descent) to
  0.4 ms (the default, which backtracks). DataFrames cost another 0.5 ms.
- Linear models with ``support_size=None`` and a ``meta_batch_size`` of all tasks
  train by one affine map: thousands of meta-iterations take milliseconds.
"""


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
    rows = []
    for result in results:
        parts = result.get("profile")
        if parts is None:
            continue
        floor, ours = sum(parts[k] for k in kinds), result["us_per_unit"]["skmeta"]
        peak = parts["at the peak of products"]
        rows.append(
            [
                result["title"],
                *(f"{parts[k]:.2f}" for k in kinds),
                f"{floor:.2f}",
                f"{ours:.2f}",
                f"{ours / floor:.2f}",
                f"{100 * peak / ours:.0f} %",
            ]
        )
    header = ["", *kinds, "sum", "skmeta", "over the sum", "of the peak of products"]
    return table(header, rows)


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


def speed_page():
    speed = json.loads((HERE / "results" / "speed.json").read_text())
    scaling = json.loads((HERE / "results" / "scaling.json").read_text())
    machine, results = dict(speed["machine"]), speed["results"]
    processor, cores = machine.pop("processor"), machine.pop("cores")
    versions = ", ".join(f"{name} {version}" for name, version in machine.items())
    threads = ", ".join(f"{t['speed_up']} x ({t['what']})" for t in scaling["threads"])
    return TEXT.format(
        apart=max(d for r in results for d in r["differs_by"].values()),
        machine=f"{versions} on {cores} cores of an {processor}",
        speed=speed_table(results),
        losses=losses(results),
        profile=profile_table(results),
        growth=growth_table(scaling["growth"]),
        threads=threads,
    )


def verdict_table():
    results = json.loads((HERE / "results" / "does_it_pay.json").read_text())
    rows = []
    for name, result in results.items():
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


def fuzz_table():
    """How often each thing that must never happen did, and out of how many."""
    counts = json.loads((HERE / "results" / "fuzz.json").read_text())
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


def page_with(name, written):
    """A page as it stands, with what is between its marks made afresh."""
    before, _, rest = (DOCS / name).read_text().partition(BEGIN)
    first, _, rest = rest.partition("\n")
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{first}\n\n{written}\n\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    only_check = parser.parse_args().check
    pages = {
        "speed.rst": speed_page(),
        "does_it_pay.rst": page_with("does_it_pay.rst", verdict_table()),
        "what_is_tested.rst": page_with("what_is_tested.rst", fuzz_table()),
    }
    for name, text in pages.items():
        if not only_check:
            (DOCS / name).write_text(text)
        elif (DOCS / name).read_text() != text:
            sys.exit(f"docs/{name} is not up to date: python benchmarks/report.py")


if __name__ == "__main__":
    main()
