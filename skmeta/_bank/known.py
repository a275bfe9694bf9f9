"""Coefficients of tasks that are kept until the tasks change."""

from itertools import repeat

import numpy as np

# Coefficients of at most about so many tasks are kept.
MOST_KEPT = 2**21


class KnownCoefficients:
    """The coefficients of tasks that were asked about, until their sums change.

    It is not for several threads at once.
    """

    def __init__(self, states):
        self._states = states
        self._clear()

    def _clear(self):
        self._places, self._counter = {}, -1
        self._coef = np.empty((0, len(self._states.model._learned.mean)))
        self._is_current = np.zeros(0, dtype=bool)

    def of(self, snapshot, keys):
        """Coefficients (n, P) of tasks, and the place of each key; -1 if unknown."""
        self._forget_what_changed(snapshot)
        places = self._places_of(keys)
        unknown = places < 0
        if len(self._is_current):
            unknown |= ~self._is_current[places]
        if unknown.any():
            wanted = dict.fromkeys(keys[i] for i in np.flatnonzero(unknown))
            self._learn(snapshot, list(wanted))
            places = self._places_of(keys)
        if len(places) < len(self._places):
            known = places >= 0
            coef = self._coef[places]
            return coef, np.where(known, np.arange(len(places)), -1)
        return self._coef[: len(self._places)].copy(), places

    def _places_of(self, keys):
        places = map(self._places.get, keys, repeat(-1))
        return np.fromiter(places, dtype=np.intp, count=len(keys))

    def _forget_what_changed(self, snapshot):
        if snapshot.counter == self._counter:
            return
        changed = snapshot.changed_since(self._counter)
        if changed is None or len(self._places) > MOST_KEPT:
            self._clear()
        else:
            places = self._places_of(changed)
            self._is_current[places[places >= 0]] = False
        self._counter = snapshot.counter

    def _learn(self, snapshot, keys):
        n = self._states.tasks_at_a_time
        for first in range(0, len(keys), n):
            some = keys[first : first + n]
            found, values = snapshot.read(some)
            there = [key for key, is_there in zip(some, found, strict=True) if is_there]
            new = [key for key in there if key not in self._places]
            n_known = len(self._places)
            self._make_room(n_known + len(new))
            self._places.update(
                zip(new, range(n_known, n_known + len(new)), strict=True)
            )
            places = self._places_of(there)
            self._coef[places] = self._states.coefficients(values)
            self._is_current[places] = True

    def _make_room(self, n):
        if n > len(self._coef):
            size = max(n, 2 * len(self._coef))
            coef = np.empty((size, self._coef.shape[1]))
            coef[: len(self._coef)] = self._coef
            is_current = np.zeros(size, dtype=bool)
            is_current[: len(self._is_current)] = self._is_current
            self._coef, self._is_current = coef, is_current
