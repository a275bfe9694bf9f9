"""How far something that takes long has come, told to whoever listens."""

from contextlib import nullcontext


class Progress:
    """A part of the work, which consists of steps and of smaller parts.

    This one tells nobody. A listener overrides both methods.
    """

    def part(self, name, n_steps=None):
        """Context manager: the `Progress` of a part of about ``n_steps`` steps.

        None stands for a number that is not known.
        """
        return nullcontext(self)

    def step(self, name):
        """Say that a step is done."""


SILENT = Progress()
