"""Who hears how far a fit is: scikit-learn's callbacks (1.9 and later), and users."""

from contextlib import contextmanager
from functools import partial

from skmeta._core.progress import SILENT, Progress

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9 has no callbacks

    class CallbackSupportMixin:
        """An empty class for versions of scikit-learn without callbacks."""


def print_progress(losses, scores):
    """Print the last loss and, if there is one, the last score of held-out tasks."""
    line = f"Meta-iteration {len(losses)}, loss = {losses[-1]:.8f}"
    if scores:
        line += f", validation score = {scores[-1]:.8f}"
    print(line)


def fitted_attributes(model):
    """The attributes of a fitted model, without its parameters and callbacks."""
    return {
        name: value
        for name, value in vars(model).items()
        if name in PRIVATE_STATE or (name.endswith("_") and name[0] != "_")
    }


# The private attributes of all fitted meta-learners.
PRIVATE_STATE = ("_frame", "_learned", "_present")


@contextmanager
def meta_iterations(estimator, n_iterations, **data):
    """Report a run of meta-iterations to the callbacks of an estimator.

    Yields ``report(fitted)``. Call it after each iteration with a function that returns
    the attributes of a model that stops there. It returns whether a callback asks to
    stop.
    """
    if not _is_heard(estimator):
        yield lambda fitted: False
        return
    context = _begin(estimator, n_iterations, data)

    def report(fitted):
        iteration = context.subcontext(task_name="meta-iteration")
        iteration.call_on_fit_task_begin(estimator=estimator, **data)
        return iteration.call_on_fit_task_end(
            estimator=estimator, reconstruction_attributes=fitted, **data
        )

    yield report
    context.call_on_fit_task_end(estimator=estimator, **data)


def _is_heard(estimator):
    """Whether an estimator has callbacks, as none has before scikit-learn 1.9."""
    return bool(getattr(estimator, "_skl_callbacks", None))


def _begin(estimator, n_subtasks, data):
    """The context of a fit, or of the meta-training if that is not all of the fit."""
    whole = getattr(estimator, "_callback_fit_ctx", None)
    if whole is None:
        context = estimator._init_callback_context(max_subtasks=n_subtasks)
    else:
        context = whole.subcontext("meta-training", max_subtasks=n_subtasks)
    context.call_on_fit_task_begin(estimator=estimator, **data)
    return context


@contextmanager
def preparing(estimator, **data):
    """Report what a fit does before the meta-training, which is within the block.

    Yields the `Progress` of the fit, of which the first of two parts is to come.
    """
    if not _is_heard(estimator):
        yield SILENT
        return
    context = _begin(estimator, 2, data)
    yield _Reported(context, estimator, data)
    context.call_on_fit_task_end(estimator=estimator, **data)


@contextmanager
def parts_of_fit(estimator, n_parts, **data):
    """Report the parts of a fit to the callbacks of an estimator.

    Yields a `Progress` of so many parts. At the end of the block the estimator is
    fitted.
    """
    if not _is_heard(estimator):
        yield SILENT
        return
    context = _begin(estimator, n_parts, data)
    yield _Reported(context, estimator, data)
    context.call_on_fit_task_end(
        estimator=estimator,
        reconstruction_attributes=partial(fitted_attributes, estimator),
        **data,
    )


class _Reported(Progress):
    """The `Progress` of a task of scikit-learn's callbacks.

    Steps and parts beyond the number that was told in advance are not reported. A
    callback cannot end such a fit early.
    """

    def __init__(self, context, estimator, data):
        self.context, self.estimator, self.data = context, estimator, data
        self.left = context.max_subtasks

    @contextmanager
    def part(self, name, n_steps=None):
        context = self._begin(name, n_steps)
        if context is None:
            yield SILENT
            return
        yield _Reported(context, self.estimator, self.data)
        self._end(context)

    def step(self, name):
        context = self._begin(name, 0)
        if context is not None:
            self._end(context)

    def _begin(self, name, n_steps):
        if self.left == 0:
            return None
        if self.left is not None:
            self.left -= 1
        context = self.context.subcontext(task_name=name, max_subtasks=n_steps)
        context.call_on_fit_task_begin(estimator=self.estimator, **self.data)
        return context

    def _end(self, context):
        context.call_on_fit_task_end(estimator=self.estimator, **self.data)
