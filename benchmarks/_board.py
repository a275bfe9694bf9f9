"""What the runs of a leaderboard say together: a summary of them, and that as text.

`summary` compares the methods task by task and keeps what is worth printing; it is what
`results/leaderboard.json` holds. `show` prints a summary. Keys are strings, as JSON
gives them back; numbers of shots among them.
"""

from collections import defaultdict

import _scoring
import _task_sets as task_sets
import numpy as np
from scipy.stats import rankdata

CHOSEN = "ours: chosen"
# Sets on which adapting cannot help: there it must not hurt by more than 1 %. On the
# others the start must not be worse than the best pooled model by more than 2 %.
CONTROLS = ("journey_conjoint", "school_ilea")
GROUPS = {
    "best rival out of the box": "out_of_the_box",
    "mixed model (best of them)": "mixed",
    "best rival of all": "rivals",
}
# What prototypes reached, in user units or log loss, on other tasks of these sets.
TARGETS = {
    ("lenk_computers", "4"): 1.98,
    ("lenk_computers", "8"): 1.88,
    ("cheese_stores", "4"): 0.263,
    ("chocolate_conjoint", "8"): 3.0,
    ("tea_conjoint", "8"): 2.10,
    ("orange_juice_stores", "1"): 0.615,
    ("orange_juice_stores", "16"): 0.465,
    ("cigar_states", "16"): 0.036,
    ("camera_choice", "8"): 0.300,
    ("electricity_choice", "8"): 0.355,
    ("train_tickets", "8"): 0.435,
    ("catsup_households", "4"): 0.585,
    ("cracker_households", "4"): 0.44,
    ("margarine_households", "4"): 1.04,
    ("margarine_households", "8"): 0.70,
    ("wisdm_users", "8"): 0.52,
}


# -- methods of a set, by kind --------------------------------------------------------


class Methods:
    """The names of the methods of a set, which tell what each one is."""

    def __init__(self, names, needs_blup):
        self.all = list(names)
        ours = [m for m in self.all if m.startswith("ours")]
        self.ours = sorted(ours, key=lambda m: m != CHOSEN)
        self.rivals = [m for m in self.all if m not in ours]
        self.mixed = [m for m in needs_blup if m in self.all]
        self.out_of_the_box = [m for m in self.rivals if m not in self.mixed]
        self.pooled = [
            m for m in self.rivals if m.startswith("pooled") and "offset" not in m
        ]


def methods_of(one):
    return Methods(one["means"], one["needs_blup"])


# -- runs of the same split, of several methods ---------------------------------------

# What a run keeps by the name of a method.
BY_METHOD = ("means", "accuracy", "coverage", "seconds", "losses")


def merged(runs):
    """One run for each set and seed, with the methods of all its runs.

    Of a method that several runs have, the last one counts. Runs without the chosen
    row, or without the rivals, cannot be compared: they are returned apart.
    """
    by_split = {}
    for one in runs:
        split = one["set"], one["seed"]
        by_split[split] = joined(by_split[split], one) if split in by_split else one
    whole = [with_chosen(one) for one in by_split.values() if is_whole(one)]
    return whole, [one for one in by_split.values() if not is_whole(one)]


def joined(first, second):
    """Two runs as one, with our methods first."""
    for key in ("tasks", "y_scale", "n_classes"):
        if first[key] != second[key]:
            name, seed = first["set"], first["seed"]
            raise SystemExit(
                f"{name}, seed {seed}: the runs differ in {key!r}, so their methods "
                "were not tested on the same tasks. Run all of them on the same data."
            )
    both = first | {key: second[key] for key in ("chosen", "cv") if key in second}
    for key in BY_METHOD:
        rows = first[key] | second[key]
        both[key] = {m: rows[m] for m in sorted(rows, key=is_rival)}
    both["needs_blup"] = sorted({*first["needs_blup"], *second["needs_blup"]})
    return both


def is_rival(method):
    return not method.startswith("ours")


def is_whole(one):
    """Whether there are rivals, a choice, and all that was chosen."""
    chosen = set(one.get("chosen", {}).values())
    return bool(chosen and methods_of(one).pooled and chosen <= set(one["means"]))


def with_chosen(one):
    """The run with the chosen row: at each k, that of the chosen configuration."""
    filled = dict(one)
    for key in ("means", "accuracy", "coverage", "losses"):
        row = {
            k: one[key][label][k]
            for k, label in one["chosen"].items()
            if k in one[key].get(label, {})
        }
        filled[key] = one[key] | ({CHOSEN: row} if row else {})
    return filled


# -- the summary ----------------------------------------------------------------------


def summary(runs):
    """Of runs of several sets and splits, each with the losses of its tasks."""
    by_set = defaultdict(dict)
    for one in runs:
        by_set[one["set"]][one["seed"]] = one
    names = [name for name in task_sets.KNOWN if name in by_set]
    boards = [SetBoard(list(by_set[name].values())) for name in names]
    return {"sets": [board.summary() for board in boards], "wins": wins(boards)}


class SetBoard:
    """The losses of all runs of one set; a task of several runs counts once."""

    def __init__(self, runs):
        self.runs, first = runs, runs[0]
        shots = set.intersection(*(set(one["tasks"]) for one in runs))
        self.shots = sorted(shots, key=int)
        names = [m for m in first["means"] if all(m in r["means"] for r in runs)]
        self.methods = Methods(names, first["needs_blup"])
        self._losses = {}

    def losses(self, method, k):
        """Loss of each task, in the order of their names."""
        if (method, k) not in self._losses:
            by_task = defaultdict(list)
            for one in self.runs:
                names, losses = one["tasks"][k], one["losses"][method][k]
                for name, loss in zip(names, losses, strict=True):
                    by_task[name].append(loss)
            self._losses[method, k] = np.array(
                [np.mean(by_task[task]) for task in sorted(by_task)]
            )
        return self._losses[method, k]

    def best(self, methods, k):
        return min(methods, key=lambda m: self.losses(m, k).mean())

    def difference(self, a, b, k):
        """Loss of a less that of b in % of b's, and the half width of its interval."""
        return _scoring.mean_difference(self.losses(a, k), self.losses(b, k))

    def outcome(self, a, b, k):
        """0, 1 or 2: a wins, ties or loses."""
        difference, half = self.difference(a, b, k)
        if abs(difference) <= half or difference == 0:
            return 1
        return 0 if difference < 0 else 2

    def summary(self):
        first = self.runs[0]
        kept = ("set", "classification", "n_classes", "n_train", "n_test", "needs_blup")
        return {
            **{key: first[key] for key in kept},
            "n_splits": len(self.runs),
            "y_scale": float(np.mean([one["y_scale"] for one in self.runs])),
            "chosen": [one["chosen"] for one in self.runs],
            "means": self._table(
                lambda m, k: round(float(self.losses(m, k).mean()), 5)
            ),
            "accuracy": self._averages("accuracy"),
            "coverage": self._averages("coverage"),
            "unlike_chosen": self._unlike_chosen(),
            "ahead_of_chosen": self._ahead(),
            "against_pooled": self._against_pooled(),
            "seconds": {
                m: [one["seconds"][m] for one in self.runs] for m in self.methods.all
            },
        }

    def _table(self, cell):
        return {m: {k: cell(m, k) for k in self.shots} for m in self.methods.all}

    def _averages(self, key):
        """Means over the splits of a number that is kept for each of them."""
        found = {}
        for m in self.methods.all:
            tables = [one[key].get(m, {}) for one in self.runs]
            row = {
                k: round(float(np.mean([table[k] for table in tables])), 5)
                for k in self.shots
                if all(k in table for table in tables)
            }
            if row:
                found[m] = row
        return found

    def _unlike_chosen(self):
        """Where a method differs significantly from the chosen configuration."""
        rows = {
            m: [k for k in self.shots if self.outcome(m, CHOSEN, k) != 1]
            for m in self.methods.all
        }
        return {m: shots for m, shots in rows.items() if shots}

    def _ahead(self):
        """By how much the chosen configuration is behind those with a lower mean."""
        found = {}
        for k in self.shots:
            pairs = {m: self.difference(CHOSEN, m, k) for m in self.methods.rivals}
            row = {m: in_percent(pair) for m, pair in pairs.items() if pair[0] > 0}
            if row:
                found[k] = row
        return found

    def _against_pooled(self):
        """Ours against the best pooled model, where adapting must not hurt."""
        found = {}
        for k in self.shots:
            if k == "0" or self.runs[0]["set"] in CONTROLS:
                bar = self.methods.pooled + (["global_mean"] if k == "0" else [])
                best = self.best(bar, k)
                ours = self.methods.ours
                pairs = {m: in_percent(self.difference(m, best, k)) for m in ours}
                found[k] = {"best": best, **pairs}
        return found


def in_percent(pair):
    """A difference and its half width, as they are printed."""
    return [round(float(value), 1) for value in pair]


def wins(boards):
    """By group of rivals, method of ours and k: on how many sets it wins, ties, loses.

    Saved results may come from several versions: only methods that ran on all sets.
    """
    ours = [
        m for m in boards[0].methods.ours if all(m in b.methods.all for b in boards)
    ]
    found = {}
    for group, attribute in GROUPS.items():
        found[group] = {}
        for method in ours:
            counts = defaultdict(lambda: [0, 0, 0])
            for board in boards:
                rivals = getattr(board.methods, attribute)
                for k in board.shots if rivals else ():
                    outcome = board.outcome(method, board.best(rivals, k), k)
                    counts[k][outcome] += 1
            found[group][method] = {k: counts[k] for k in sorted(counts, key=int)}
    return found


def with_more(found, more):
    """A summary of the sets of two summaries, none of which is in both."""
    sets = {one["set"]: one for one in [*found["sets"], *more["sets"]]}
    if len(sets) < len(found["sets"]) + len(more["sets"]):
        raise SystemExit("A set is in both summaries: its wins would count twice.")
    both = {}
    for group, by_method in found["wins"].items():
        others = more["wins"][group]
        both[group] = {
            method: counts_together(counts, others[method])
            for method, counts in by_method.items()
            if method in others
        }
    names = [name for name in task_sets.KNOWN if name in sets]
    return {"sets": [sets[name] for name in names], "wins": both}


def counts_together(first, second):
    """Wins, ties and losses by number of shots, of two groups of sets."""
    none = [0, 0, 0]
    return {
        k: np.add(first.get(k, none), second.get(k, none)).tolist()
        for k in sorted({*first, *second}, key=int)
    }


# -- the summary as text --------------------------------------------------------------


def show(found, user_units=False):
    sets = found["sets"]
    for one in sets:
        show_set(one, user_units)
    show_wins(found["wins"])
    show_lost_cells(sets)
    show_ranks(sets)
    show_guards(sets)
    show_targets(sets)
    show_coverage(sets)
    show_seconds(sets)


def table(title, header, rows, width=10):
    """Print rows of cells under their header."""
    print(f"\n{title}")
    first = max([len(row[0]) for row in rows] + [len(header[0])]) + 2
    for row in (header, *rows):
        line = row[0].ljust(first) + "".join(str(c).rjust(width) for c in row[1:])
        print(line.rstrip())


def shots_of(one):
    return list(one["means"][CHOSEN])


def show_set(one, user_units=False):
    """Mean losses; a star where they differ significantly from the chosen row's."""
    units = user_units and not one["classification"]
    unit = "log loss (accuracy %)" if one["classification"] else "RMSE"
    if not one["classification"] and not units:
        unit = f"RMSE / {one['y_scale']:.4g}"
    methods, shots = methods_of(one), shots_of(one)
    rows = [
        [method, *(cell(one, method, k, units) for k in shots)]
        for method in [*methods.ours, *methods.rivals]
    ]
    title = (
        f"{one['set']}: {unit}; {one['n_train']} tasks trained on, "
        f"{one['n_test']} tested, {one['n_splits']} split(s)"
    )
    table(title, ["rows given", *shots], rows, 13)
    for chosen in one["chosen"]:
        print("chosen: " + ", ".join(f"{k}: {m[6:]}" for k, m in chosen.items()))


def cell(one, method, k, user_units=False):
    value = one["means"][method][k] * (one["y_scale"] if user_units else 1)
    accuracy = one["accuracy"].get(method, {}).get(k)
    accuracy = "" if accuracy is None else f" ({100 * accuracy:.0f})"
    star = "*" if k in one["unlike_chosen"].get(method, ()) else " "
    return f"{value:.3f}{accuracy}{star}"


def show_wins(found):
    for group, by_method in found.items():
        shots = list(next(iter(by_method.values())))
        if not shots:  # no set has such rivals
            continue
        rows = []
        for method, counts in by_method.items():
            adapted = np.sum([counts[k] for k in shots if k != "0"], axis=0)
            cells = [counts[k] for k in shots] + [adapted]
            rows.append([method, *("/".join(map(str, c)) for c in cells)])
        table(f"wins/ties/losses against the {group}", ["k", *shots, "k>=1"], rows)


def show_lost_cells(sets):
    """Every cell where a rival has the lower mean than the chosen row."""
    print(f"\nrivals with a lower mean than {CHOSEN!r} (* significantly)")
    n_cells = n_below = 0
    for one in sets:
        for k in shots_of(one):
            n_cells += 1
            ahead = one["ahead_of_chosen"].get(k)
            if ahead:
                n_below += 1
                rivals = sorted(ahead, key=lambda m: -ahead[m][0])
                print(f"  {one['set']} k={k}:")
                for rival in rivals:
                    difference, half = ahead[rival]
                    star = "*" if k in one["unlike_chosen"].get(rival, ()) else ""
                    print(f"    {rival} {difference:+.1f} ± {half:.1f} %{star}")
    print(f"  in {n_below} of {n_cells} cells")


def show_ranks(sets):
    """Average rank, in each group of sets, of the methods that ran on all of them."""
    groups = {
        "all sets": sets,
        "regression": [one for one in sets if not one["classification"]],
        "two classes": [one for one in sets if one["n_classes"] == 2],
        "more classes": [one for one in sets if one["n_classes"] > 2],
    }
    for name, members in groups.items():
        if not members:
            continue
        methods = [
            m for m in members[0]["means"] if all(m in one["means"] for one in members)
        ]
        ranks = defaultdict(list)
        for one in members:
            for k in shots_of(one):
                ranks[k].append(rankdata([one["means"][m][k] for m in methods]))
        shots = sorted(ranks, key=int)
        adapted = np.concatenate([ranks[k] for k in shots if k != "0"]).mean(axis=0)
        by_shots = np.transpose([np.mean(ranks[k], axis=0) for k in shots])
        rows = [
            [methods[i], *(f"{x:.1f}" for x in by_shots[i]), f"{adapted[i]:.2f}"]
            for i in np.argsort(adapted, kind="stable")
        ]
        title = f"average rank, {name} ({len(members)})"
        table(title, ["k", *shots, "k>=1"], rows, 8)


def show_guards(sets):
    """Where adapting cannot help, it must not hurt; nor may the start, anywhere."""
    print("\nguards: % above the best pooled model (k=0: or the mean); ! = above limit")
    for one in sets:
        limit = 1 if one["set"] in CONTROLS else 2
        for k, row in one["against_pooled"].items():
            print(f"  {one['set']} k={k} (at most {limit} %, {row['best']}):")
            cells = []
            for method in methods_of(one).ours:
                difference, half = row[method]
                mark = "!" if difference > limit else ""
                cells.append(f"{method[6:]} {difference:+.1f} ± {half:.1f}{mark}")
            print("    " + ", ".join(cells))


def show_targets(sets):
    rows, ours = [], [CHOSEN, "ours: EB"]
    for one in sets:
        methods, scale = methods_of(one), one["y_scale"]
        for k in shots_of(one):
            if (one["set"], k) not in TARGETS:
                continue
            means = {m: row[k] for m, row in one["means"].items() if k in row}
            rival = min(methods.out_of_the_box, key=means.get)
            columns = [*ours, rival]
            if methods.mixed:
                columns.append(min(methods.mixed, key=means.get))
            cells = [f"{means[m] * scale:.3f}" for m in columns]
            cells = [TARGETS[one["set"], k], *cells, ""][:5]
            rows.append([f"{one['set']} k={k}", *cells, f"  {rival}"])
    if rows:
        header = ["in user units", "target", "chosen", "EB", "rival", "mixed", "rival"]
        table("reference figures (targets come from other tasks)", header, rows, 12)


def show_coverage(sets):
    shots = [str(k) for k in _scoring.COVERAGE_SHOTS]
    rows = []
    for one in sets:
        for method in methods_of(one).ours:
            row = one["coverage"].get(method, {})
            if row:
                cells = [f"{row[k]:.2f}" if k in row else "" for k in shots]
                rows.append([f"{one['set']}, {method[6:]}", *cells])
    if rows:
        title = f"share of test rows within intervals of coverage {_scoring.COVERAGE}"
        table(title, ["rows given", *shots], rows)


def show_seconds(sets):
    """Median and largest time to fit and, for all draws of the test tasks, to test."""
    rows = []
    for method in dict.fromkeys(m for one in sets for m in one["seconds"]):
        times = [pair for one in sets for pair in one["seconds"].get(method, ())]
        middle, most = np.median(times, axis=0), np.max(times, axis=0)
        cells = [middle[0], most[0], middle[1], most[1]]
        rows.append([method, *(f"{x:.2f}" for x in cells)])
    header = ["", "fit", "(max)", "test", "(max)"]
    table("CPU seconds (chosen: its cross-validation)", header, rows)
