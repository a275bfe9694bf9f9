"""Real data sets of many small tasks, split for a few-shot benchmark.

A folder of data sets holds one subfolder NAME for each set, and in it NAME.npz, written
by `numpy.savez_compressed` without pickles. `make_task_sets.py` builds such files.

The arrays of a set with n rows and d features:

=================  ==========  ========================================================
``X``              float32     (n, d), finite
``y``              int32 or    (n,), finite: the target. The name of the set says what
                   float32     it is: numbers for `REGRESSION` (which may be whole),
                               labels from 0 or 1 up for `CLASSIFICATION`, whole numbers
                               from 0 up for `COUNTS`
``task``           int32       (n,): the id of the row's task, any whole number. Rows of
                               a task need not stand side by side
``feature_names``  str         (d,)
``class_names``    str         optional: the name of label i is ``class_names[i]``
=================  ==========  ========================================================

Some sets have more to them:

- `SCREENS`, choices among several offers: a row is an offer, ``choice_set`` (n,) int32
  numbers the screens within a task or over all of them, and y is 1 for the one offer of
  a screen that was chosen, else 0. ``alternative`` (n,) int32 numbers its offers.
- orange_juice_stores: ``brand`` (n,) int32. A task of the benchmark is a brand in a
  store, and ``task`` is the store.
- insteval_students: ``lecturer`` (n,) int32.
- movielens_small has no ``X``. ``item`` (n,) int32 is the film of the row, as a place
  in ``item_genres`` (n_films, n_genres) int8 of zeros and ones and in ``item_year``
  (n_films,) int32, which is -1 where the year is not known. Its y is twice the stars.
- jester5k has none of the arrays above. ``ratings_x100`` (n_users, n_jokes) int16 holds
  100 times the rating, or -32768 where there is none; ``task_ids`` (n_users,) int32 are
  the ids of the users.

Further arrays are allowed; those of n rows are listed in `OF_ROWS`. A file says nothing
of training and test: `draw_split` gives tasks to train on and other tasks to test on,
drawn from a seed and standardised by the rows trained on, and `support_and_query` shows
a method k units of a task and keeps the rest. A unit is a row. For the choice sets it
is a screen: the rows of one screen share an answer, so they are never parted.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import StandardScaler

# The sets of the published results.
REGRESSION = (
    "lenk_computers",
    "cheese_stores",
    "chocolate_conjoint",
    "tea_conjoint",
    "orange_juice_stores",
    "cigar_states",
    "movielens_small",
    "jester5k",
    "school_ilea",
    "exam_london",
    "chem97_schools",
    "insteval_students",
    "carrots_liking",
    "journey_conjoint",
    "sleepstudy",
    "radon_counties",
)
SCREENS = ("camera_choice", "electricity_choice")
CLASSIFICATION = (
    *SCREENS,
    "train_tickets",
    "bank_cards",
    "catsup_households",
    "cracker_households",
    "margarine_households",
    "wisdm_users",
    "yogurt_households",
    "tuna_households",
    "ketchup_households",
)
PUBLISHED = (*REGRESSION, *CLASSIFICATION)

# Further sets, which the published results leave out.
MORE_REGRESSION = (
    "egsingle_pupils",
    "hsb82_schools",
    "dropout_wages",
    "milk_cows",
    "pig_growth",
)
MORE_CLASSIFICATION = ("verbal_aggression",)
COUNTS = ("grouse_broods", "epilepsy_patients", "german_doctor_visits", "firm_patents")
WITH_LABELS = (*CLASSIFICATION, *MORE_CLASSIFICATION)
KNOWN = (*PUBLISHED, *MORE_REGRESSION, *MORE_CLASSIFICATION)

# Arrays with one entry for each row of the set.
OF_ROWS = (
    *("X", "y", "task", "choice_set", "alternative", "brand", "week", "lecturer"),
    *("dept", "item", "timestamp", "lea", "year", "profile", "product", "location"),
    *("validation", "volume", "price", "X_missing", "y_motor"),
)

SHOTS = (0, 1, 2, 4, 8, 16)
MAX_TRAIN_TASKS, MAX_TRAIN_ROWS = 150, 80
MAX_TEST_TASKS, MAX_SCORED_ROWS = 50, 100
# A task is scored on at least so many rows. The second number counts where too few
# tasks meet the first.
MIN_SCORED_ROWS = (5, 4)
# A number of shots is reported if so many tasks, and this share of them, have the rows.
MIN_SCORED_TASKS, MIN_SCORED_SHARE = 6, 0.15


class Task(NamedTuple):
    """Rows of one task; ``unit`` numbers what is given together from 0."""

    X: np.ndarray
    y: np.ndarray
    unit: np.ndarray
    name: int

    @property
    def n_units(self):
        return self.unit[-1] + 1 if len(self.unit) else 0

    def rows(self, keep):
        """The task with the units where ``keep`` is true, in the same order."""
        unit = np.unique(self.unit[keep], return_inverse=True)[1]
        return Task(self.X[keep], self.y[keep], unit, self.name)


@dataclass
class Split:
    """Tasks to train on and to test on, in standardised units.

    ``y_scale`` is the standard deviation of y in training (1 for labels).
    """

    name: str
    train: list
    test: list
    y_scale: float

    @property
    def classification(self):
        return self.name in WITH_LABELS

    @property
    def fit_intercept(self):
        return self.name not in SCREENS


# -- files ----------------------------------------------------------------------------


def read_arrays(folder, name):
    """The arrays of a set by their names, checked."""
    with np.load(folder / name / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    check(name, arrays)
    return arrays


def write(folder, name, arrays):
    (folder / name).mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / name / f"{name}.npz", **arrays)


def published(folder):
    """The sets of the published results that a folder holds."""
    return [name for name in PUBLISHED if (folder / name / f"{name}.npz").exists()]


def check(name, arrays):
    """Raise an error that names the first thing in which a set breaks the format."""
    if name == "jester5k":
        return _check_jester(arrays)
    features = "item" if name == "movielens_small" else "X"
    for key in (features, "y", "task"):
        _need(key in arrays, name, f"has no array {key!r}")
    n_rows = len(arrays["task"])
    for key in set(OF_ROWS) & arrays.keys():
        length = len(arrays[key])
        _need(length == n_rows, name, f"{key} has {length} rows, task has {n_rows}")
    task, y = arrays["task"], arrays["y"]
    _need(task.dtype.kind == "i", name, f"task is {task.dtype}, not int32")
    if features == "X":
        X = arrays["X"]
        _need(X.ndim == 2 and X.dtype == np.float32, name, f"X is {X.ndim}-d {X.dtype}")
        _need(np.isfinite(X).all(), name, "X has values that are not finite")
    _need(np.isfinite(y).all(), name, "y has values that are not finite")
    whole = y.dtype.kind == "i" and y.min() >= 0
    if name in WITH_LABELS or name in COUNTS:
        _need(whole, name, "y must be whole numbers from 0 up")
    if name in SCREENS:
        pairs = np.stack([task, arrays["choice_set"]], axis=1)
        screen = np.unique(pairs, axis=0, return_inverse=True)[1]
        chosen = np.bincount(screen.ravel(), weights=y)
        _need(np.all(chosen == 1), name, "a screen has not one chosen offer")


def _check_jester(arrays):
    ratings, ids = arrays["ratings_x100"], arrays["task_ids"]
    _need(ratings.dtype == np.int16, "jester5k", f"ratings are {ratings.dtype}")
    _need(len(ratings) == len(ids), "jester5k", "ratings and task_ids differ in length")


def _need(holds, name, problem):
    if not holds:
        raise ValueError(f"{name}.npz breaks the format of _task_sets.py: {problem}.")


# -- reading: every set as rows -------------------------------------------------------


@dataclass
class Rows:
    """A whole set. ``cluster`` is what is split: tasks of one cluster stay together.

    ``build(spare)`` gives X, where ``spare`` marks rows of training tasks that are used
    for nothing else: what is known of items comes from those only, so that it is known
    equally well in training and in testing.
    """

    build: callable
    y: np.ndarray
    task: np.ndarray
    unit: np.ndarray
    cluster: np.ndarray


def as_rows(X, y, task, unit=None, cluster=None):
    build = X if callable(X) else lambda spare: X
    unit = np.arange(len(y)) if unit is None else unit
    return Rows(build, y, task, unit, task if cluster is None else cluster)


def read_plain(arrays):
    return as_rows(arrays["X"].astype(float), arrays["y"], arrays["task"])


def read_orange_juice(arrays):
    """A task is a brand in a store; the stores are split."""
    store = arrays["task"].astype(int)
    task = store * 100 + arrays["brand"]
    return as_rows(arrays["X"].astype(float), arrays["y"], task, cluster=store)


def read_carrots(arrays):
    X = arrays["X"].astype(float)
    return as_rows(np.hstack([X, X**2]), arrays["y"], arrays["task"])


def read_screens(arrays):
    """Rows x_chosen - x_other, labelled 1; a random half mirrored, labelled 0."""
    X, chosen = arrays["X"].astype(float), arrays["y"] == 1
    pairs = np.stack([arrays["task"], arrays["choice_set"]], axis=1)
    screen = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
    winner = dict(zip(screen[chosen], X[chosen], strict=True))
    differences = np.stack([winner[s] for s in screen[~chosen]]) - X[~chosen]
    y = np.random.default_rng(0).integers(2, size=len(differences))
    X = np.where(y[:, None] == 1, differences, -differences)
    return as_rows(X, y, arrays["task"][~chosen], unit=screen[~chosen])


def read_movielens(arrays):
    """Genres, year, and of the spare users' ratings of the film: mean and number."""
    item = arrays["item"]
    year = arrays["item_year"].astype(float)
    year[year < 1900] = np.median(year[year >= 1900])
    about = np.column_stack([arrays["item_genres"].astype(float), year])
    stars = arrays["y"] / 2

    def build(spare):
        return np.hstack([about[item], item_statistics(item, stars, spare)])

    return as_rows(build, stars, arrays["task"])


def read_insteval(arrays):
    """Features of the lecture, and what spare students thought of the lecturer."""
    X, y = arrays["X"].astype(float), arrays["y"].astype(float)

    def build(spare):
        return np.hstack([X, item_statistics(arrays["lecturer"], y, spare)[:, :1]])

    return as_rows(build, y, arrays["task"])


def item_statistics(item, y, spare, prior_rows=5):
    """Mean rating of each row's item, shrunken to the overall mean, and log count."""
    size = item.max() + 1
    count = np.bincount(item[spare], minlength=size)
    total = np.bincount(item[spare], weights=y[spare], minlength=size)
    mean = (total + prior_rows * y[spare].mean()) / (count + prior_rows)
    return np.column_stack([mean, np.log1p(count)])[item]


def read_jester(arrays, n_factors=8):
    """Of each joke the spare users' mean, and factors of what they liked besides."""
    ratings = np.ma.masked_equal(arrays["ratings_x100"], -32768) / 100
    user, joke = np.nonzero(~np.ma.getmaskarray(ratings))
    task = arrays["task_ids"][user]
    y = np.asarray(ratings[user, joke])

    def build(spare):
        known = ratings[np.isin(arrays["task_ids"], task[spare])]
        mean = known.mean(axis=0)
        rest = known - mean
        rest = (rest - rest.mean(axis=1, keepdims=True)).filled(0)
        factors = np.linalg.svd(rest, full_matrices=False)[2][:n_factors]
        return np.column_stack([mean, factors.T])[joke]

    return as_rows(build, y, task)


READERS = {
    "orange_juice_stores": read_orange_juice,
    "carrots_liking": read_carrots,
    "movielens_small": read_movielens,
    "insteval_students": read_insteval,
    "jester5k": read_jester,
    **dict.fromkeys(SCREENS, read_screens),
}


def read(folder, name):
    return READERS.get(name, read_plain)(read_arrays(folder, name))


# -- splitting ------------------------------------------------------------------------


def draw_split(folder, name, seed):
    """Two thirds of the clusters to train on, the others to test on."""
    rows = read(folder, name)
    rng = np.random.default_rng(seed)
    clusters = rng.permutation(np.unique(rows.cluster))
    in_training = np.isin(rows.cluster, clusters[: 2 * len(clusters) // 3])
    train_names = rng.permutation(np.unique(rows.task[in_training]))
    test_names, sizes = np.unique(rows.task[~in_training], return_counts=True)
    test_names = rng.permutation(test_names[sizes > MIN_SCORED_ROWS[0]])
    X = rows.build(np.isin(rows.task, train_names[MAX_TRAIN_TASKS:]))

    def gather(names, max_rows):
        return [one_task(rows, X, name, max_rows, rng) for name in names]

    train = gather(train_names[:MAX_TRAIN_TASKS], MAX_TRAIN_ROWS)
    test = gather(test_names[:MAX_TEST_TASKS], MAX_SCORED_ROWS + SHOTS[-1])
    return standardised(name, train, test)


def one_task(rows, X, name, max_rows, rng):
    """Rows of a task, its units in random order, as many as fit into ``max_rows``."""
    mine = np.flatnonzero(rows.task == name)
    unit = np.unique(rows.unit[mine], return_inverse=True)[1]
    place = rng.permutation(unit.max() + 1)[unit]
    order = np.argsort(place, kind="stable")
    mine, place = mine[order], place[order]
    if len(mine) > max_rows:
        whole = place < place[max_rows]
        mine, place = mine[whole], place[whole]
    return Task(X[mine], rows.y[mine], place, int(name))


def standardised(name, train, test):
    """Both parts in units of the training rows; labels are numbered from 0."""
    scaler = StandardScaler(with_mean=name not in SCREENS)
    scaler.fit(np.concatenate([task.X for task in train]))

    def scaled(tasks):
        return [task._replace(X=scaler.transform(task.X)) for task in tasks]

    train, test = scaled(train), scaled(test)
    if name in WITH_LABELS:
        return Split(name, *relabelled(train, test), 1.0)
    y = np.concatenate([task.y for task in train])
    centre, scale = float(y.mean()), float(y.std())

    def in_deviations(tasks):
        return [task._replace(y=(task.y - centre) / scale) for task in tasks]

    return Split(name, in_deviations(train), in_deviations(test), scale)


def relabelled(train, test):
    """Labels numbered by the classes of ``train``; rows of no such class are dropped.

    To be done again for each part of the training tasks that a method is fitted on.
    """
    classes = np.unique(np.concatenate([task.y for task in train]))

    def encoded(tasks):
        known = [task.rows(np.isin(task.y, classes)) for task in tasks]
        return [task._replace(y=np.searchsorted(classes, task.y)) for task in known]

    return encoded(train), encoded(test)


# -- few shots ------------------------------------------------------------------------


def shots_of(tasks):
    """The numbers of units that enough of the tasks can spare."""
    return [k for k in SHOTS if eligible(tasks, k)]


def eligible(tasks, k, n_needed=None):
    """Numbers of the tasks with enough rows to give k units and score on the rest.

    None of them if they are fewer than ``n_needed``.
    """
    if n_needed is None:
        n_needed = max(MIN_SCORED_TASKS, MIN_SCORED_SHARE * len(tasks))
    for min_rows in MIN_SCORED_ROWS:
        chosen = [t for t, task in enumerate(tasks) if rows_left(task, k) >= min_rows]
        if len(chosen) >= n_needed:
            return chosen
    return []


def rows_left(task, k):
    """Rows of a task without its k longest units."""
    return np.sort(np.bincount(task.unit))[: max(task.n_units - k, 0)].sum()


def support_and_query(task, k, seed):
    """The rows given and the rows to predict; for larger k, more rows are given."""
    order = np.random.default_rng(seed).permutation(task.n_units)
    given = order[task.unit] < k
    query = np.flatnonzero(~given)[:MAX_SCORED_ROWS]
    return (task.X[given], task.y[given]), (task.X[query], task.y[query])
