"""Where a bank of tasks keeps its values: in memory, or in a mapping.

A store holds one value per key (see `keys`) and a header, which says what made
the values. Whoever reads sees whole updates only, and whoever writes does so alone.
"""

import json
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from itertools import repeat

import numpy as np

from skmeta._checks.id_keys import from_text, to_text
from skmeta._checks.values import as_object_array


class Codec(ABC):
    """Values of several tasks as one NumPy array, with a row for each task."""

    @abstractmethod
    def empty(self, n):
        """An array for the values of n tasks."""

    @abstractmethod
    def to_bytes(self, values):
        """A list of bytes, one for each task."""

    @abstractmethod
    def from_bytes(self, items):
        """The array of values in a list of bytes."""


class Snapshot(ABC):
    """What is in a store, while it is read or written.

    Attributes
    ----------
    counter : int
        It grows with every update, whoever makes it.
    """

    counter: int

    @abstractmethod
    def changed_since(self, counter):
        """Keys of values that are new since the counter was this; None if all may be.

        It is None, too, if a key is gone since.
        """

    @abstractmethod
    def read(self, keys):
        """Which of a list of keys are there (n,), and the values of those."""

    @abstractmethod
    def keys(self):
        """A list of all keys."""

    @abstractmethod
    def count(self):
        """The number of keys."""

    def example(self):
        """Some key, or None if there is none."""
        return next(iter(self.keys()), None)


class Transaction(Snapshot):
    """What is in a store, while nobody else can write."""

    @abstractmethod
    def apply(self, keys, values, gone=()):
        """Set the values of some keys and delete others: all of it or nothing.

        It is called at most once in a transaction, at its end.
        """


class Store(ABC):
    """The values of a bank, and the header."""

    @abstractmethod
    def header(self, new):
        """The header, a dict of plain values: ``new`` if there was none before."""

    @abstractmethod
    def reading(self):
        """A context manager that gives a `Snapshot`."""

    @abstractmethod
    def writing(self):
        """A context manager that gives a `Transaction`."""

    @abstractmethod
    def described(self):
        """In words, where the values are."""

    def close(self):  # noqa: B027 (most stores hold nothing open)
        """Release what is held open."""


# -- in memory ------------------------------------------------------------------------


class MemoryStore(Store, Transaction):
    """Values in one array that grows, which threads of a process share."""

    def __init__(self, codec):
        self._codec = codec
        self._lock = threading.RLock()
        self._places = {}
        self._keys = np.empty(0, dtype=object)  # the key at each place, or None
        self._free = []  # places whose key is gone
        self._values = codec.empty(0)
        self._revisions = np.zeros(0, dtype=np.int64)
        self.counter = self._last_deletion = 0

    def header(self, new):
        return new

    @contextmanager
    def reading(self):
        with self._lock:
            yield self

    writing = reading

    def described(self):
        return "in memory"

    def changed_since(self, counter):
        if self._last_deletion > counter:
            return None
        return self._keys[self._revisions > counter].tolist()

    def read(self, keys):
        places = self._places_of(keys)
        found = places >= 0
        return found, self._values[places[found]]

    def _places_of(self, keys):
        places = map(self._places.get, keys, repeat(-1))
        return np.fromiter(places, dtype=np.intp, count=len(keys))

    def keys(self):
        return list(self._places)

    def count(self):
        return len(self._places)

    def example(self):
        return next(iter(self._places), None)

    def apply(self, keys, values, gone=()):
        places = self._places_of(keys)
        new = np.flatnonzero(places < 0)
        places[new] = self._new_places(len(new))
        added = [keys[i] for i in new]
        # The counter comes first, so that nobody takes new values for known ones.
        self.counter += 1
        self._revisions[places] = self.counter
        self._values[places] = values
        self._keys[places[new]] = as_object_array(added)
        self._places.update(zip(added, places[new].tolist(), strict=True))
        for key in gone:
            self._delete(key)

    def _delete(self, key):
        place = self._places.pop(key, None)
        if place is None:
            return
        self._last_deletion = self.counter
        self._keys[place], self._revisions[place] = None, 0
        self._values[place] = self._codec.empty(1)[0]
        self._free.append(place)

    def _new_places(self, n):
        """Places for n more keys. The array doubles, so that growing costs little."""
        n_used = len(self._places) + len(self._free)
        again = [self._free.pop() for _ in range(min(n, len(self._free)))]
        n_needed = n_used + n - len(again)
        if n_needed > len(self._values):
            size = max(n_needed, 2 * len(self._values))
            self._values = _grown(self._values, self._codec.empty(size))
            self._keys = _grown(self._keys, np.empty(size, dtype=object))
            self._revisions = _grown(self._revisions, np.zeros(size, dtype=np.int64))
        return np.concatenate([again, np.arange(n_used, n_needed)]).astype(np.intp)

    def __getstate__(self):
        with self._lock:
            keys = list(self._places)
            return {
                "codec": self._codec,
                "keys": keys,
                "values": self._values[self._places_of(keys)],
            }

    def __setstate__(self, state):
        self.__init__(state["codec"])
        if state["keys"]:
            self.apply(state["keys"], state["values"])


def _grown(array, larger):
    larger[: len(array)] = array
    return larger


# -- any mapping ----------------------------------------------------------------------

PREFIX = "skmeta/task/"
HEADER = "skmeta/bank"


class MappingStore(Store, Transaction):
    """Values as bytes, under text as keys, in a mapping that the user brings.

    Threads that use one bank take turns. What several banks or processes do to one
    mapping at once is for the mapping to keep apart, and so is a crash in the middle of
    an update: values are set one key after the other.
    """

    def __init__(self, mapping, codec):
        self._mapping, self._codec = mapping, codec
        self._lock = threading.RLock()
        self.counter = 0

    def header(self, new):
        found = self._mapping.get(HEADER)
        if found is None:
            self._mapping[HEADER] = json.dumps(new).encode()
            return new
        return json.loads(bytes(found))

    @contextmanager
    def reading(self):
        with self._lock:
            self.counter += 1  # nobody says whether others have written
            yield self

    writing = reading

    def described(self):
        return f"in a {type(self._mapping).__name__}"

    def changed_since(self, counter):
        return None

    def read(self, keys):
        items = [self._mapping.get(PREFIX + to_text(key)) for key in keys]
        found = np.array([item is not None for item in items], dtype=bool)
        return found, self._codec.from_bytes([bytes(i) for i in items if i is not None])

    def keys(self):
        names = (n.decode() if isinstance(n, bytes) else n for n in self._mapping)
        return [
            from_text(name[len(PREFIX) :])
            for name in names
            if isinstance(name, str) and name.startswith(PREFIX)
        ]

    def count(self):
        return len(self.keys())

    def apply(self, keys, values, gone=()):
        new = dict(zip(keys, self._codec.to_bytes(values), strict=True))
        new.update(dict.fromkeys(gone))
        names = {PREFIX + to_text(key): value for key, value in new.items()}
        before = {}
        try:
            for name, value in names.items():
                before[name] = self._mapping.get(name)
                self._set(name, value)
        except BaseException:
            for name, value in before.items():
                self._set(name, value)
            raise

    def _set(self, name, value):
        if value is not None:
            self._mapping[name] = value
        elif name in self._mapping:
            del self._mapping[name]

    def __getstate__(self):
        return {"mapping": self._mapping, "codec": self._codec}

    def __setstate__(self, state):
        self.__init__(state["mapping"], state["codec"])
