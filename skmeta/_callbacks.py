"""scikit-learn's callbacks (1.9 and later) around the meta-iterations."""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9 has no callbacks

    class CallbackSupportMixin:
        """An empty class for versions of scikit-learn without callbacks."""


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
