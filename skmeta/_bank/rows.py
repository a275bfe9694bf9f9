"""Tasks as the rows that were given of them, for models that need these again."""

import json
import struct
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import clone

from skmeta._bank.choices import Sets, check_new_sets, without_sets
from skmeta._bank.states import NOT_GIVEN, States, in_blocks_of_tasks
from skmeta._bank.stores import Codec
from skmeta._checks.id_keys import array_of_ids, id_of
from skmeta._checks.ids import tasks_one_by_one
from skmeta._checks.values import as_object_array, show
from skmeta._linear_part import preprocesses, rows_again, to_keep


class TaskRows(NamedTuple):
    """Validated rows of one task, in the order in which they were given."""

    X: object  # an array or a CSR matrix (n, n_features)
    y: np.ndarray  # (n,), the numbers of the labels if all tasks share these
    weight: np.ndarray  # (n,)
    sets: Sets | None = None  # of rows that are offers
    said: np.ndarray | None = None  # (n, o) by a base model whose table is not kept

    def take(self, rows):
        sets = None if self.sets is None else self.sets.take(rows)
        said = None if self.said is None else self.said[rows]
        return TaskRows(self.X[rows], self.y[rows], self.weight[rows], sets, said)

    def joined(self, other):
        X = _stacked([self.X, other.X])
        y, weight = np.concatenate([self.y, other.y]), [self.weight, other.weight]
        sets = None if self.sets is None else Sets.joined([self.sets, other.sets])
        said = None
        if self.said is not None:
            said = np.concatenate([self.said, other.said])
        return TaskRows(X, y, np.concatenate(weight), sets, said)


def _stacked(tables):
    if all(isinstance(table, np.ndarray) for table in tables):
        return np.concatenate(tables)
    return sparse.vstack(tables, format="csr")


class RowsCodec(Codec):
    """The rows of each task as bytes: a short header, and the arrays one by one."""

    def empty(self, n):
        return np.empty(n, dtype=object)

    def to_bytes(self, values):
        return values.tolist()

    def from_bytes(self, items):
        return as_object_array(items)

    def pack(self, rows):
        X, arrays = rows.X, [rows.y, rows.weight]
        head = {"shape": X.shape, "sparse": not isinstance(X, np.ndarray)}
        if head["sparse"]:
            arrays = [X.data, X.indices, X.indptr, *arrays]
        else:
            arrays = [X.ravel(), *arrays]
        if rows.said is not None:
            arrays.append(rows.said.ravel())
            head["said"] = rows.said.shape[1]
        if rows.sets is not None:
            arrays.append(rows.sets.number)
            head["labels"] = rows.sets.labels
        head["arrays"] = [(array.dtype.str, len(array)) for array in arrays]
        head = json.dumps(head).encode()
        return b"".join([struct.pack("<I", len(head)), head, *map(_as_bytes, arrays)])

    def head(self, item):
        (size,) = struct.unpack_from("<I", item)
        return json.loads(item[4 : 4 + size]), 4 + size

    def unpack(self, item):
        head, place = self.head(item)
        arrays = []
        for dtype, n in head["arrays"]:
            arrays.append(np.frombuffer(item, dtype, n, place))
            place += arrays[-1].nbytes
        sets = Sets(arrays.pop(), head["labels"]) if "labels" in head else None
        said = None
        if "said" in head:
            said = arrays.pop().reshape(-1, head["said"])
        *of_X, y, weight = arrays
        shape = tuple(head["shape"])
        X = sparse.csr_matrix(tuple(of_X), shape) if head["sparse"] else of_X[0]
        X = X if head["sparse"] else X.reshape(shape)
        return TaskRows(X, y, weight, sets, said)


def _as_bytes(array):
    return np.ascontiguousarray(array).tobytes()


class RowStates(States):
    """The rows of each task, at most ``max_rows`` of them: the newest ones."""

    kind = "rows"

    def __init__(self, model, max_rows=None):
        self.model, self.max_rows = model, max_rows
        self.codec = RowsCodec()
        # rows are validated once, when they come in
        self._nameless = model._unadapted_copy()
        vars(self._nameless).pop("feature_names_in_", None)

    @property
    def _targets(self):
        return self.model._targets

    def of_rows(self, rows, keys, sets=None):
        X, said = to_keep(self.model, rows.X)
        known = TaskRows(X, self._plain_targets(rows.y), rows.weight, sets, said)
        states = self.codec.empty(len(rows.starts) - 1)
        for t in range(len(states)):
            part = known.take(slice(rows.starts[t], rows.starts[t + 1]))
            states[t] = self._packed(part, keys[t])
        return states

    def _packed(self, rows, key):
        if self._targets.own_classes:
            self._check_labels(rows.y, key)
        return self.codec.pack(self._newest(rows))

    def _plain_targets(self, y):
        """Targets without objects: of labels that tasks share, their numbers."""
        targets = self._targets
        if not targets.are_labels:
            return y
        if not targets.own_classes:
            targets.encode(y)  # refuses labels that are not known
            return np.searchsorted(targets.classes, y).astype(np.int32)
        plain = np.array(y.tolist()) if y.dtype.kind == "O" else y
        if plain.dtype.kind == "O":
            raise ValueError(
                f"y holds labels of the type {type(y[0]).__name__}, which a bank "
                "cannot keep. Give numbers or text as labels."
            )
        return plain

    def _given_targets(self, y):
        if self._targets.are_labels and not self._targets.own_classes:
            return self._targets.classes[y]
        return y

    def _newest(self, rows):
        if self.max_rows is None or len(rows.y) <= self.max_rows:
            return rows
        times = self.model._times_of(rows.X)
        if times is None:
            times = np.arange(len(rows.y))
        if rows.sets is not None:
            return rows.take(rows.sets.newest(times, self.max_rows))
        kept = np.argsort(times, kind="stable")[-self.max_rows :]
        return rows.take(np.sort(kept))

    def merged(self, before, new, keys):
        states = self.codec.empty(len(new))
        for t, (old, more) in enumerate(zip(before, new, strict=True)):
            old, more = self.codec.unpack(old), self.codec.unpack(more)
            self._check_alike(old.y, more.y, keys[t])
            if more.sets is not None:
                check_new_sets(old.sets, more.sets, keys[t])
            states[t] = self._packed(old.joined(more), keys[t])
        return states

    @staticmethod
    def _check_alike(old, new, key):
        """Refuse to add text to numbers, since NumPy would turn the numbers to text."""
        if (old.dtype.kind == "U") != (new.dtype.kind == "U"):
            raise ValueError(
                f"Task {show(id_of(key))} has labels such as {show(old[0])}, and y "
                f"holds labels such as {show(new[0])}: text and numbers do not mix. "
                "Give labels of the same type."
            )

    def _check_labels(self, y, key):
        try:
            self._targets.encode(y)
        except ValueError as error:
            raise ValueError(f"Task {show(id_of(key))}: {error}") from None

    def removed(self, before, gone, keys):
        states = self.codec.empty(len(gone))
        for t, (old, less) in enumerate(zip(before, gone, strict=True)):
            rows, less = self.codec.unpack(old), self.codec.unpack(less)
            kept = _without(rows, less)
            if kept is None:
                what = "row" if rows.sets is None else "choice set"
                why = f"a {what} to be removed is not among the {len(rows.y)} rows kept"
                raise ValueError(NOT_GIVEN.format(show(id_of(keys[t])), why))
            states[t] = self.codec.pack(rows.take(kept))
        return states

    def n_rows(self, values):
        return np.array([self.codec.head(i)[0]["shape"][0] for i in values], dtype=int)

    def of_task(self, values):
        """The rows of one task, in the order in which they were given."""
        X, y, weight, _, sets = self._gathered(values)
        given = {} if sets is None else {"choice_set": sets.users_labels()}
        return {"X": X, "y": y, "sample_weight": weight, **given}

    def _gathered(self, values):
        """The rows of all tasks: X, y, weight, the task (n,) of each, and `Sets`."""
        parts = [self.codec.unpack(item) for item in values]
        sizes = [len(part.y) for part in parts]
        X = _stacked([part.X for part in parts])
        y = self._given_targets(np.concatenate([part.y for part in parts]))
        weight = np.concatenate([part.weight for part in parts])
        sets = [part.sets for part in parts]
        sets = None if sets[0] is None else Sets.joined(sets)
        said = [part.said for part in parts]
        said = None if said[0] is None else np.concatenate(said)
        X = rows_again(self.model, X, said)  # they are not to be preprocessed again
        return X, y, weight, np.repeat(np.arange(len(parts)), sizes), sets

    def _adapted(self, values):
        return self._nameless.adapt(**self.of_task(values))

    def adapted(self, values):
        model = self._adapted(values)
        if hasattr(self.model, "feature_names_in_"):
            model.feature_names_in_ = self.model.feature_names_in_.copy()
        return model

    def answers(self, method, values, options, X, codes):
        if method != "predict" and self._targets.own_classes:
            return self._of_one_task(method, X, values)

        def of_block(options, X, values, codes):
            X_known, y, weight, task, sets = self._gathered(values)
            if "choice_set" in options:
                options["choice_set_new"] = options.pop("choice_set")
            if sets is not None:
                options["choice_set"] = sets.number
            return self._nameless.adapt_predict(
                X_known,
                y,
                X,
                weight,
                task=task,
                task_new=codes,
                method=method,
                **options,
            )

        return in_blocks_of_tasks(of_block, options, X, values, codes)

    def _of_one_task(self, method, X, values):
        """Answers whose columns are the classes of the task."""
        if len(values) > 1:
            raise ValueError(
                f"{method} has a column for each class, and each of these "
                f"{len(values)} tasks has classes of its own. Ask about one task at a "
                "time, or call predict."
            )
        return getattr(self._adapted(values), method)(X)

    def refitted(self, keys, values):
        if preprocesses(self.model):
            raise ValueError(
                "refit needs the tables that the linear_preprocessor has read, and the "
                "bank keeps what it made of them. Meta-fit the model to the tables, "
                "and give them to a bank over that."
            )
        X, y, weight, task, sets = self._gathered(values)
        names = getattr(self.model, "feature_names_in_", None)
        model, given = clone(self.model), {}
        for name in ("varying", "time_column"):
            asked = getattr(model, name, None)
            if names is not None and asked not in (None, "all", "auto"):
                given[name] = asked
        numbers = {name: _numbers_of(names, asked) for name, asked in given.items()}
        model.set_params(**numbers)
        beside = {} if (weight == 1).all() else {"sample_weight": weight}
        if sets is not None:
            beside["choice_set"] = sets.number
        with tasks_one_by_one():
            model.fit(X, y, task=array_of_ids(keys)[task], **beside)
        model.set_params(**given)
        if names is not None:
            model.feature_names_in_ = names.copy()
        return model

    def carried_over(self, values, states):
        carried = self.codec.empty(len(values))
        for t, item in enumerate(values):
            rows = self.codec.unpack(item)
            y = states._plain_targets(self._given_targets(rows.y))
            carried[t] = self.codec.pack(rows._replace(y=y))
        return carried

    def coefficients_in_users_units(self, values):
        if self._targets.own_classes or not hasattr(self._nameless, "coef_"):
            return None
        models = [self._adapted(values[t : t + 1]) for t in range(len(values))]
        n_outputs = np.size(self._nameless.intercept_)
        slopes = [np.reshape(model.coef_, (n_outputs, -1)) for model in models]
        intercepts = [np.ravel(model.intercept_) for model in models]
        return np.array(slopes), np.array(intercepts)


def _numbers_of(names, asked):
    """Numbers of columns in the place of their names."""
    if isinstance(asked, str):
        return list(names).index(asked)
    asked = np.asarray(asked)
    if asked.dtype.kind not in "OU":
        return asked
    return [list(names).index(name) for name in asked.tolist()]


def _without(rows, less):
    """The numbers of rows that are left; None if one to be removed is not there."""
    if rows.sets is not None:
        return without_sets(rows, less, _as_keys)
    places = {}
    for i, row in enumerate(_as_keys(rows)):
        places.setdefault(row, []).append(i)
    kept = np.ones(len(rows.y), dtype=bool)
    for j, row in enumerate(_as_keys(less)):
        equal = places.get(row)
        if not equal:
            return None
        gone = equal[-1]
        if rows.said is not None:  # rows of other tables may give equal numbers
            away = np.abs(rows.said[equal] - less.said[j]).sum(axis=1)
            gone = equal[int(away.argmin())]
        equal.remove(gone)
        kept[gone] = False
    return np.flatnonzero(kept)


def _as_keys(rows):
    """Each row as a key that is equal for equal rows; -0.0 equals 0.0."""
    X = rows.X if isinstance(rows.X, np.ndarray) else rows.X.toarray()
    cells = (X + 0.0).tolist()
    pairs = zip(cells, rows.y.tolist(), rows.weight.tolist(), strict=True)
    return [(tuple(row), y, weight) for row, y, weight in pairs]
