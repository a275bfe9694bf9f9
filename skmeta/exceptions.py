"""Warnings that skmeta gives."""

__all__ = ["InconsistentVersionWarning", "ZeroShotWarning"]


class ZeroShotWarning(UserWarning):
    """A meta-learner is scored with its learned start, adapted to no task."""


class InconsistentVersionWarning(UserWarning):
    """A model was saved by another version of skmeta."""
