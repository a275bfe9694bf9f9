"""Warnings of models with a learned prior: too few rows, slow or unclear searches."""

from sklearn.exceptions import ConvergenceWarning

from skmeta._core.prior.duration import seconds_of_search
from skmeta._core.prior.search import MIN_TASKS_TO_FOLD, too_many_classes
from skmeta._warn import warn
from skmeta.learned_features import feature_options

# A search that will take more seconds than this is announced.
LONG_SEARCH = 90.0
# With more columns than this, fewer of them make a search much shorter.
MANY_COLUMNS = 50
# Weights with a mean below this rarely say what their user has in mind.
LOW_WEIGHT = 0.1
# With fewer degrees of freedom than this the size of the noise is a guess.
MIN_FREEDOM = 2.0


def warn_of_few_rows(table, fit_intercept, rows_per_coefficient):
    """Warn if all rows together hardly show what the tasks have in common."""
    n_rows, n_columns = table.X.shape[0], table.X.shape[-1]
    if n_rows < n_columns:
        warn(
            f"All tasks together have {n_rows} rows for {n_columns} columns: what "
            "the tasks have in common cannot be learned well. Put PCA or "
            "TruncatedSVD in front, or set base_estimator=Ridge().",
        )
        return
    n_coefficients = n_columns + fit_intercept
    if n_rows < rows_per_coefficient * n_coefficients:
        warn(
            f"All tasks together have {n_rows} rows for {n_coefficients} "
            f"coefficients, fewer than {rows_per_coefficient} for each: the slopes "
            "that the tasks have in common are drawn towards zero. Leave out columns, "
            "or pass more tasks.",
        )


def warn_of_weights(table):
    """Warn of weights that say how rows compare, and not how often they are there."""
    mean = table.weight.mean()
    if mean < LOW_WEIGHT:
        warn(
            f"The mean sample weight of a row is {mean:.2g}. A weight of 2 is a "
            f"row that is there twice, so that these {len(table.weight)} rows "
            f"count as {table.weight.sum():.3g} in all: the learned prior will be "
            "that of as little data. If the weights say how rows compare with "
            "each other, pass sample_weight / sample_weight.mean().",
        )


def features_to_learn(features, n_tasks):
    """The `FeatureOptions` of a `LearnedFeatures`; None, or few tasks, give None.

    It takes some tasks to find out whether features pay.
    """
    options = feature_options(features)
    if options is None or n_tasks >= MIN_TASKS_TO_FOLD:
        return options
    warn(
        f"Learned features need {MIN_TASKS_TO_FOLD} tasks or more, some of them held "
        f"out to tell whether they pay; got {n_tasks}. This is a linear "
        "model. Set features=None, or pass the rows' task ids.",
    )
    return None


def warn_of_long_search(structure, shape, tasks, n_tasks):
    """Warn before a search that takes minutes, with what would make it short.

    ``shape`` is (n_features, n_outputs, fit_intercept), and ``tasks`` those that the
    structure is chosen with.
    """
    n_features, n_outputs, _ = shape
    only_intercept = structure == "intercept" or (
        structure == "auto" and too_many_classes(tasks, shape)
    )
    rich = not only_intercept and n_tasks > 1
    seconds = seconds_of_search(tasks, n_tasks, not only_intercept, n_outputs)
    if seconds < LONG_SEARCH:
        return
    remedies = []
    if n_features > max(MANY_COLUMNS, n_outputs):
        remedies.append("put PCA or TruncatedSVD in front")
    if rich and tasks.varying.sum() > MANY_COLUMNS * n_outputs:
        remedies.append("name the few columns whose effects differ in varying=")
    if rich:
        remedies.append("set prior='intercept'")
    if n_outputs > 2:
        remedies.append(
            "merge classes, or take PrototypicalClassifier, which has no "
            "coefficients for each"
        )
    classes = f" for each of {n_outputs} classes" if n_outputs > 1 else ""
    what = "; or ".join(remedies or ["fit it to fewer tasks"])
    warn(
        f"This fit may take about {_in_words(seconds)}: {n_features} columns"
        f"{classes} are {tasks.n_coefficients} coefficients of {n_tasks} "
        f"task{'s' if n_tasks > 1 else ''}, and the time grows with the cube of "
        f"their number. To make it short, {what}. It can be interrupted, which "
        "leaves the model as it was.",
    )


def _in_words(seconds):
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"


def warn_of_search(learned, n_tasks, tol, max_iter, word="row"):
    """Warn of what a search has found out about itself and the tasks.

    ``word`` is what an answer of a task is called.
    """
    if learned.not_told is not None:
        _warn_of_what_is_not_told(*learned.not_told, word)
    if learned.stopped_after is not None:
        where = f"at max_iter={max_iter}"
        if learned.stopped_after < max_iter:  # rounding, or a likelihood with a cliff
            where = f"after {learned.stopped_after} iterations"
        warn(
            f"The search for the prior stopped {where} before tol={tol} was "
            "met: the log evidence still rises. Raise max_iter, or set a simpler "
            "prior.",
            ConvergenceWarning,
        )
    if learned.features_too_short:
        n_iter = learned.n_feature_iter
        warn(
            "Held-out tasks still gained from the length of the runs that learn "
            f"features, at the longest that are tried, {n_iter} meta-iterations. If "
            "accuracy matters more than time, set max_iter of LearnedFeatures to "
            f"{2 * n_iter} or more.",
            ConvergenceWarning,
        )
    if learned.on_bound and n_tasks > 1:
        warn(
            "A spread between tasks ended at the largest that rounding allows, a "
            "million times the noise or more: the rows of a task agree with each "
            "other as if there were no noise. Predictions are right; deviations "
            "and intervals are lower bounds. Targets that are copies, or exact by "
            "construction, are the usual reason.",
        )


def _warn_of_what_is_not_told(most, n_varying, word):
    rows = f"one {word}" if most == 1 else f"{most} {word}s"
    own = "a coefficient" if n_varying == 1 else f"{n_varying} coefficients"
    warn(
        f"No task has more than {rows}, and each has {own} of its own: such {word}s "
        "cannot separate the spread between tasks from the noise. What they cannot "
        "separate counts as noise, and adapting will change little. Pass tasks "
        f"with more {word}s, or set a simpler prior. If the ids number the rows, pass "
        "instead the column that says which rows belong together."
    )


def warn_of_one_task(model):
    """Warn that a model fitted to one task is about to be adapted to another."""
    warn(
        f"This {type(model).__name__} was fitted to one task, which does not "
        "show how much tasks differ: it treats rows of another task as more rows "
        "of the same one, and is far too sure of them. Fit it to several tasks, "
        "with their ids: task=ids. For more rows of the same task, call "
        "partial_adapt.",
    )


def warn_of_little(n_tasks, freedom):
    """Warn where neither deviations nor intervals can be trusted.

    ``freedom`` are the degrees of freedom that the rows leave for the noise.
    """
    if 1 < n_tasks < MIN_TASKS_TO_FOLD:
        warn(
            f"Deviations and intervals rest on {n_tasks} tasks, which hardly "
            "show how much tasks differ: they may be far off, and too small rather "
            f"than too large. Fit the model to {MIN_TASKS_TO_FOLD} tasks or more.",
        )
    elif freedom < MIN_FREEDOM:
        warn(
            "This model was fitted to hardly more rows than it has coefficients, so "
            "the rows cannot show the size of the noise (they leave "
            f"{max(freedom, 0.0):.1f} degrees of freedom). Deviations and intervals "
            "may be far too small. Fit it to more rows, or to fewer columns.",
        )


INTERVALS = (
    "Its intervals are those of Student's t at the predicted deviations, and their "
    "coverage is not measured."
)
DEVIATIONS = (
    "Before adapting its deviations come from the mean errors of tasks, and are rough."
)


def warn_of_unmeasured(told, n_tasks, is_measured):
    """Warn of `INTERVALS` or `DEVIATIONS` that no rows have shown."""
    if n_tasks >= MIN_TASKS_TO_FOLD and not is_measured:
        warn(
            "This model was learned from statistics, which do not show how errors of "
            f"single rows are distributed. {told} Fit the model to the rows of some "
            "hundred tasks to have them measured."
        )
