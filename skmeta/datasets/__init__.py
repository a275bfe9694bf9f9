"""Tasks to try things on."""

from skmeta.datasets._makers import (
    make_episodes,
    make_linear_tasks,
    make_sinusoid_tasks,
    split_tasks,
)
from skmeta.datasets._tables import load_gapminder, load_gift_shop

__all__ = [
    "load_gapminder",
    "load_gift_shop",
    "make_episodes",
    "make_linear_tasks",
    "make_sinusoid_tasks",
    "split_tasks",
]
