"""A bank of tasks in a SQLite file."""

import json
import os
import random
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path

import numpy as np

from skmeta._bank.stores import Store, Transaction
from skmeta._checks.id_keys import from_sql, to_sql

# So many seconds a connection waits for another one that is writing, ...
PATIENCE = 60.0
# ... with pauses that grow from this many seconds ...
FIRST_PAUSE = 2e-4
# ... to this many.
LAST_PAUSE = 1e-2
# So many keys are looked up in one query.
KEYS_AT_A_TIME = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS skmeta_bank (name TEXT PRIMARY KEY, value);
CREATE TABLE IF NOT EXISTS skmeta_tasks (
    place INTEGER PRIMARY KEY, id UNIQUE NOT NULL, revision INTEGER, state BLOB);
CREATE INDEX IF NOT EXISTS skmeta_revisions ON skmeta_tasks (revision);
"""
_SET = "INSERT OR REPLACE INTO skmeta_bank VALUES (?, ?)"
_GET = "SELECT value FROM skmeta_bank WHERE name = ?"
_PUT = """
INSERT INTO skmeta_tasks (id, revision, state) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, state = excluded.state
"""


class SQLiteStore(Store):
    """Values in a file that threads and processes read and write at once.

    Each update is one transaction that is on the disk when it returns. Writers take
    turns, and readers see the file as it was before or after an update.
    """

    def __init__(self, path, codec, must_exist=False):
        self.path = os.path.abspath(os.fspath(path))
        self._codec = codec
        self._writers = threading.Lock()  # of this process; SQLite's own is not fair
        self._connections = _Connections(self.path)
        if must_exist and not os.path.exists(self.path):
            raise FileNotFoundError(
                f"The bank's file {self.path} is gone: it was moved or deleted after "
                "the bank was saved. A saved bank holds the path of its file. Put the "
                "file back, or open it by TaskBank(model, store=path)."
            )

    def described(self):
        return f"in {Path(self.path).name}"

    def header(self, new):
        with self._connections.one() as connection:
            _begin(connection, "IMMEDIATE")
            with _ended(connection):
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                found = connection.execute(_GET, ("header",)).fetchone()
                if found is not None:
                    return json.loads(found[0])
                rows = [("header", json.dumps(new)), ("counter", 0), ("deletion", 0)]
                connection.executemany(_SET, rows)
                return new

    @contextmanager
    def reading(self):
        with self._connections.one() as connection:
            _begin(connection, "DEFERRED")
            with _ended(connection):
                yield _FileSnapshot(connection, self._codec)

    @contextmanager
    def writing(self):
        with self._writers, self._connections.one() as connection:
            _begin(connection, "IMMEDIATE")
            with _ended(connection):
                yield _FileSnapshot(connection, self._codec)

    def close(self):
        self._connections.close()

    def __getstate__(self):
        return {"path": self.path, "codec": self._codec}

    def __setstate__(self, state):
        self.__init__(state["path"], state["codec"], must_exist=True)


def _begin(connection, kind):
    """Begin a transaction, in which nothing is waited for afterwards.

    SQLite itself sleeps longer and longer until a writer is done, mostly much longer
    than an update takes.
    """
    end, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
    while True:
        try:
            connection.execute(f"BEGIN {kind}")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return
        except sqlite3.OperationalError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if "locked" not in str(error):
                raise
            if time.monotonic() > end:
                raise TimeoutError(
                    "Another process has been writing to the bank's file for more than "
                    f"{PATIENCE:g} seconds. Nothing was changed; try again."
                ) from error
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(1.2 * pause, LAST_PAUSE)


@contextmanager
def _ended(connection):
    """Commit at the end of the block, or roll back if it fails."""
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class _Connections:
    """Connections to a file. Each is used by one thread at a time, and then by others.

    A process that was forked opens its own, since SQLite's must not be shared.
    """

    def __init__(self, path):
        self._path = path
        self._lock = threading.Lock()
        self._idle, self._process = [], os.getpid()
        self._inherited = []  # never used, and never closed
        self._is_closed = False

    @contextmanager
    def one(self):
        with self._lock:
            if self._is_closed:
                raise ValueError(
                    "This bank is closed. Open its file again: "
                    f"TaskBank(model, store={self._path!r})."
                )
            if self._process != os.getpid():
                self._inherited += self._idle
                self._idle, self._process = [], os.getpid()
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = _opened(self._path)
        try:
            yield connection
        finally:
            with self._lock:
                if self._is_closed:
                    connection.close()
                else:
                    self._idle.append(connection)

    def close(self):
        with self._lock:
            self._is_closed = True
            if self._process == os.getpid():
                for connection in self._idle:
                    connection.close()
            self._idle = []

    def __del__(self):
        with suppress(Exception):  # the interpreter may be shutting down
            self.close()


def _opened(path):
    """A connection for any thread, in which nothing is committed but by COMMIT."""
    try:
        connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
    except sqlite3.OperationalError as error:
        raise OSError(
            f"The bank's file {path} cannot be opened: {error}. Its folder must exist, "
            "and you must be allowed to write there."
        ) from error
    try:
        _use_wal(connection)
        # a transaction is on the disk when COMMIT returns
        connection.execute("PRAGMA synchronous = FULL")
        # what is deleted is overwritten
        connection.execute("PRAGMA secure_delete = ON")
    except sqlite3.DatabaseError as error:
        connection.close()
        if "not a database" not in str(error):
            raise
        raise ValueError(
            f"{path} is no SQLite file, so it holds no bank. Pass the path of a new "
            "file, or of one that a TaskBank has written."
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection):
    """Switch to write-ahead logging, which readers need to see whole updates.

    SQLite does not wait for the lock that this takes, if the file is a new one that
    another process opens just then.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


class _FileSnapshot(Transaction):
    """A file within one transaction."""

    def __init__(self, connection, codec):
        self._connection, self._codec = connection, codec
        self.counter = self._number("counter")

    def _number(self, name):
        return self._connection.execute(_GET, (name,)).fetchone()[0]

    def changed_since(self, counter):
        if counter == self.counter:
            return []
        if self._number("deletion") > counter:
            return None
        query = "SELECT id FROM skmeta_tasks WHERE revision > ?"
        rows = self._connection.execute(query, (counter,))
        return [from_sql(value) for (value,) in rows]

    def read(self, keys):
        found, states = np.zeros(len(keys), dtype=bool), []
        for first in range(0, len(keys), KEYS_AT_A_TIME):
            some = keys[first : first + KEYS_AT_A_TIME]
            marks = ",".join("?" * len(some))
            query = f"SELECT id, state FROM skmeta_tasks WHERE id IN ({marks})"
            rows = self._connection.execute(query, list(map(to_sql, some)))
            state_of = {from_sql(value): state for value, state in rows}
            for i, key in enumerate(some, start=first):
                state = state_of.get(key)
                if state is not None:
                    found[i] = True
                    states.append(state)
        return found, self._codec.from_bytes(states)

    def keys(self):
        rows = self._connection.execute("SELECT id FROM skmeta_tasks ORDER BY place")
        return [from_sql(value) for (value,) in rows]

    def count(self):
        query = "SELECT count(*) FROM skmeta_tasks"
        return self._connection.execute(query).fetchone()[0]

    def example(self):
        row = self._connection.execute("SELECT id FROM skmeta_tasks LIMIT 1").fetchone()
        return None if row is None else from_sql(row[0])

    def apply(self, keys, values, gone=()):
        counter = self.counter + 1
        run = self._connection.execute
        run(_SET, ("counter", counter))
        rows = zip(map(to_sql, keys), repeat(counter), self._codec.to_bytes(values))
        self._connection.executemany(_PUT, rows)
        if len(gone):
            run(_SET, ("deletion", counter))
            query = "DELETE FROM skmeta_tasks WHERE id = ?"
            self._connection.executemany(query, ((to_sql(key),) for key in gone))
        self.counter = counter
