"""Who hears of meta-iterations: scikit-learn's callbacks (1.9 and later), and users."""

from contextlib import contextmanager

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
    if not getattr(estimator, "_skl_callbacks", None):  # also scikit-learn < 1.9
        yield lambda fitted: False
        return
    context = estimator._init_callback_context(max_subtasks=n_iterations)
    context.call_on_fit_task_begin(estimator=estimator, **data)

    def report(fitted):
        iteration = context.subcontext(task_name="meta-iteration")
        iteration.call_on_fit_task_begin(estimator=estimator, **data)
        return iteration.call_on_fit_task_end(
            estimator=estimator, reconstruction_attributes=fitted, **data
        )

    yield report
    context.call_on_fit_task_end(estimator=estimator, **data)
