"""Real data sets of many small tasks, split for a few-shot benchmark.

A folder of data sets holds one subfolder NAME with NAME.npz per set: arrays X, y and
task (one id per row), or what the readers below say. `draw_split` gives tasks to train
on and other tasks to test on, standardised by the rows trained on; `support_and_query`
shows a method k units of a task and keeps the rest. A unit is a row, or for the choice
sets a screen: the rows of one screen share an answer, so they are never parted.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import StandardScaler

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
)

SHOTS = (0, 1, 2, 4, 8, 16)
MAX_TRAIN_TASKS, MAX_TRAIN_ROWS = 150, 80
MAX_TEST_TASKS, MAX_QUERY = 50, 100
MIN_QUERY = (5, 4)  # rows to be scored on; the second where the first leaves no tasks
MIN_TASKS = 6  # with that many rows, for a number of shots to be reported ...
MIN_SHARE = 0.15  # ... and at least this share of the tasks


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
        return self.name in CLASSIFICATION

    @property
    def fit_intercept(self):
        return self.name not in SCREENS


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
    screen = arrays["task"].astype(int) * 1000 + arrays["choice_set"]
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
    arrays = np.load(folder / name / f"{name}.npz")
    return READERS.get(name, read_plain)({key: arrays[key] for key in arrays.files})


# -- splitting ------------------------------------------------------------------------


def draw_split(folder, name, seed):
    """Two thirds of the clusters to train on, the others to test on."""
    rows = read(folder, name)
    rng = np.random.default_rng(seed)
    clusters = rng.permutation(np.unique(rows.cluster))
    in_training = np.isin(rows.cluster, clusters[: 2 * len(clusters) // 3])
    train_names = rng.permutation(np.unique(rows.task[in_training]))
    test_names, sizes = np.unique(rows.task[~in_training], return_counts=True)
    test_names = rng.permutation(test_names[sizes > MIN_QUERY[0]])
    X = rows.build(np.isin(rows.task, train_names[MAX_TRAIN_TASKS:]))

    def gather(names, max_rows):
        return [one_task(rows, X, name, max_rows, rng) for name in names]

    train = gather(train_names[:MAX_TRAIN_TASKS], MAX_TRAIN_ROWS)
    test = gather(test_names[:MAX_TEST_TASKS], MAX_QUERY + SHOTS[-1])
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
    if name in CLASSIFICATION:
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
        n_needed = max(MIN_TASKS, MIN_SHARE * len(tasks))
    for min_query in MIN_QUERY:
        chosen = [t for t, task in enumerate(tasks) if rows_left(task, k) >= min_query]
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
    query = np.flatnonzero(~given)[:MAX_QUERY]
    return (task.X[given], task.y[given]), (task.X[query], task.y[query])
