"""What a bank keeps of each task: sums over its rows, or the rows themselves.

Sums are enough where the posterior of a task depends on nothing else: for numbers with
Gaussian noise whose old rows count as much as new ones. Any other meta-learner gets the
rows again whenever it is to predict.
"""

from abc import ABC, abstractmethod

import numpy as np

from skmeta._bank.stores import Codec
from skmeta._many_tasks import options_of_rows, put

NOT_GIVEN = (
    "Task {}: {}. remove takes rows that update was given for this task, with the same "
    "targets and weights. Nothing was changed."
)


class States(ABC):
    """The kind of state that a bank keeps over one meta-learner.

    ``values`` are the states of T tasks in one array, as the ``codec`` makes it.

    Attributes
    ----------
    kind : str
        The name of the kind, in the header of a store.
    codec : Codec
    """

    kind: str
    codec: Codec

    @abstractmethod
    def of_rows(self, rows, keys, sets=None):
        """The states of tasks by their `SortedRows`, which may be changed.

        ``sets`` are the `Sets` of rows that are offers.
        """

    @abstractmethod
    def merged(self, before, new, keys):
        """The states of tasks that have the rows of both."""

    @abstractmethod
    def removed(self, before, gone, keys):
        """The states without some rows; an error if these are not there."""

    @abstractmethod
    def n_rows(self, values):
        """The number of rows (T,) of each task."""

    @abstractmethod
    def adapted(self, values):
        """The meta-learner adapted to one task, given as values (1, ...)."""

    @abstractmethod
    def answers(self, method, values, options, X, codes):
        """What ``method`` returns for validated rows X of the tasks ``codes`` (n,)."""

    @abstractmethod
    def refitted(self, keys, values):
        """The meta-learner, fitted anew to these tasks."""

    @abstractmethod
    def carried_over(self, values, states):
        """The same states as the ``states`` over a refitted meta-learner have them."""

    @abstractmethod
    def coefficients_in_users_units(self, values):
        """Slopes (T, o, d) and intercepts (T, o) that predict, or None."""


# The rows of so many tasks are answered about at a time.
TASKS_AT_A_TIME = 2**14


def in_blocks_of_tasks(answers, options, X, values, codes):
    """``answers(options, X, values, codes)``, for the rows of some tasks at a time."""
    answer = None
    for first in range(0, len(values), TASKS_AT_A_TIME):
        last = first + TASKS_AT_A_TIME
        rows = np.flatnonzero((codes >= first) & (codes < last))
        if len(rows) == 0:
            continue
        of_rows = options_of_rows(options, rows, len(codes))
        found = answers(of_rows, X[rows], values[first:last], codes[rows] - first)
        answer = put(found, rows, answer, len(codes))
    return answer
