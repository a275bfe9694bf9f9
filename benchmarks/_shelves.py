"""Choices as rows of offers, from task sets: whole screens are given, others scored.

`offers_of` reads a set of `_task_sets.py`. Of the sets of screens the rows are offers
as they are. A set of brands tells in each row all prices and displays of a purchase;
here each brand of it becomes a row: one column for each brand, then what is told of it,
and last the logarithm of its price. A price below a quarter of the median is an error
of the panel, and its logarithm is that of the quarter.
"""

from typing import NamedTuple

import _task_sets as task_sets
import numpy as np
from scipy.stats import t as student

# The order of brands is that of the columns of the set, not of its labels.
BRANDS = (
    "catsup_households",
    "cracker_households",
    "yogurt_households",
    "tuna_households",
    "ketchup_households",
)


class Offers(NamedTuple):
    """One row for each offer; the rows of a screen are side by side, and so are tasks.

    ``screen`` numbers the screens of all tasks, and y is 1 for the offer chosen.
    """

    X: np.ndarray
    y: np.ndarray
    task: np.ndarray
    screen: np.ndarray

    def rows(self, keep):
        return Offers(*(field[keep] for field in self))

    @property
    def starts(self):
        """The first row of each screen."""
        return np.flatnonzero(np.r_[True, np.diff(self.screen) != 0])

    @property
    def chosen(self):
        """The rows of the offers chosen, one for each screen."""
        return np.flatnonzero(self.y == 1)

    @property
    def others(self):
        return np.flatnonzero(self.y == 0)

    @property
    def place(self):
        """The place of each row's screen among the screens, from 0."""
        return np.unique(self.screen, return_inverse=True)[1]


def offers_of(folder, name):
    """The offers of a set, and the names of their columns."""
    arrays = task_sets.read_arrays(folder, name)
    if name in BRANDS:
        return _offers_of_brands(arrays)
    task, y = arrays["task"], arrays["y"]
    pairs = np.stack([task, arrays["choice_set"]], axis=1)
    screen = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(screen, kind="stable")
    offers = Offers(arrays["X"].astype(float), y, task, screen).rows(order)
    return offers, arrays["feature_names"].tolist()


def _offers_of_brands(arrays):
    columns, names = arrays["X"].astype(float), arrays["feature_names"].tolist()
    brands = [n.partition(".")[2] for n in names if n.startswith("price.")]
    told = list(dict.fromkeys(n.partition(".")[0] for n in names))
    by_name = dict(zip(names, columns.T, strict=True))
    n, J = len(columns), len(brands)
    constants = np.broadcast_to(np.eye(J), (n, J, J))
    told_of = [[by_name[f"{t}.{b}"] for b in brands] for t in told]
    price = np.array(told_of[told.index("price")])
    told_of.append(np.log(np.maximum(price, np.median(price) / 4)))
    X = np.concatenate([constants, np.transpose(told_of, (2, 1, 0))], axis=2)
    label = arrays["class_names"][arrays["y"]]
    y = (label[:, None] == np.array(brands)).astype(int)
    task, screen = (np.repeat(v, J) for v in (arrays["task"], np.arange(n)))
    return Offers(X.reshape(n * J, -1), y.ravel(), task, screen), [
        *brands,
        *told,
        "log price",
    ]


# -- scores ---------------------------------------------------------------------------


class Scores(NamedTuple):
    """Mean over screens: log loss of the offer chosen, and how often it was first.

    Offers that are level for the first place share the hit.
    """

    log_loss: float
    hits: float


def softmax(utility, offers):
    """Probabilities of the offers, each screen by itself."""
    starts, place = offers.starts, offers.place
    powers = np.exp(utility - np.maximum.reduceat(utility, starts)[place])
    return powers / np.add.reduceat(powers, starts)[place]


def scored(p, offers):
    starts, place = offers.starts, offers.place
    first = p >= np.maximum.reduceat(p, starts)[place] * (1 - 1e-12)
    level = np.add.reduceat(first.astype(float), starts)
    hits = first[offers.chosen] / level
    loss = -np.log(np.maximum(p[offers.chosen], 1e-15))
    return Scores(float(loss.mean()), float(hits.mean()))


def paired(a, b):
    """Mean of a - b over tasks, and half of its 95 % t interval."""
    d = np.asarray(a) - np.asarray(b)
    half = student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return float(d.mean()), float(half)
