"""A fact that holds within a block of code, for the thread that runs it."""

from contextlib import contextmanager


@contextmanager
def holding(variable, value=True):
    """Within this block a `ContextVar` has another value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
