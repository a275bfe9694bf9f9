"""The command line of benchmarks that go through real sets, one after the other."""

import argparse
import warnings
from pathlib import Path

import _results


def main(doc, run, summary, show, sets_of, n_seeds, draw=None):
    """Run a benchmark on each set, keep what was found so far, and print all of it.

    Parameters
    ----------
    doc : str
        Documentation of the benchmark; its first line describes it.
    run : callable
        ``run(folder, name, seed)`` gives the result of a set and a seed.
    summary : callable
        What is kept of the list of these of one set.
    show : callable
        Prints the summaries, which are in a dict by the name of the set.
    sets_of : callable
        ``sets_of(folder)`` gives the names of sets that are run if none are asked for.
    n_seeds : int
        How many seeds there are by default.
    draw : callable, optional
        ``draw(summaries, path)`` draws a figure of the summaries into a file.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--seeds", type=int, default=n_seeds)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path)
    if draw is not None:
        parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.show:
        results = _results.load(options.show)
        if draw is not None and options.figure:
            draw(results, options.figure)
        return show(results)
    results = {}
    for name in options.sets or sets_of(options.data):
        runs = [run(options.data, name, seed) for seed in range(options.seeds)]
        results[name] = summary(runs)
        print(name, flush=True)
        _results.save(options.out, results)
    show(results)
