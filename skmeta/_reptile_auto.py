"""What "auto" stands for in the parameters that say how Reptile is to train."""

from skmeta._core.descent.state import rate_sharing

# The usual course: for noisy tasks, and for all linear models.
USUAL = {"max_iter": 500, "meta_batch_size": 25, "alpha": 3.0}
# The rates with which it begins. A step of Adam is about as long as its rate, however
# short the gradient is.
USUAL_RATE = {"sgd": 0.1, "adam": 1e-3}
# The daring course: for tasks with hardly any noise. Its rates are not learned, since
# there is no reason to move less in some directions.
DARING = {"meta_batch_size": 5, "alpha": 0.03, "learning_rate": 0.3}
# It begins with as many meta-iterations as draw so many tasks.
DARING_VISITS = 20_000
# What support_size="auto" means: for models that learn how much tasks differ from the
# rows that the inner loop sees, where 50 are enough, and for others.
MANY_ROWS, FEW_ROWS = 50, (1, 20)


def usual_course(model, network, found=None):
    """Values of the parameters that a course sets: the user's, or else the usual.

    A model that is already fitted takes those that its fit has ``found``.
    """
    usual = found or USUAL | {"learning_rate": USUAL_RATE[model.solver]}
    course = {name: _given(model, name, value) for name, value in usual.items()}
    if not found or model.learn_rates != "auto":
        course["learn_rates"] = rate_sharing(network, model.solver, model.learn_rates)
    return course


def daring_course(model, usual):
    """The daring course, in which the user's values stay as they are."""
    course = {name: _given(model, name, value) for name, value in DARING.items()}
    learned = None if model.learn_rates == "auto" else usual["learn_rates"]
    n_iter = max(usual["max_iter"], DARING_VISITS // course["meta_batch_size"])
    return course | {"max_iter": n_iter, "learn_rates": learned}


def there_is_a_choice(model, network):
    """Whether held-out tasks shall choose the course: of networks, if not told."""
    return (
        model.max_iter == "auto"
        and model.solver == "sgd"
        and not model.early_stopping
        and network.layout.n_layers > 1
    )


def course_taken(settings, inner_loop):
    """The course in the settings of a run, and its kind of inner loop."""
    sharing = None if settings.groups is None else inner_loop.sharing
    course = {name: getattr(settings, name) for name in (*USUAL, "learning_rate")}
    return {
        "course": course | {"learn_rates": sharing},
        "inner_loop": inner_loop._replace(sharing=sharing),
    }


def support_size(model, by_evidence):
    """Rows to draw from each task; ``by_evidence`` is that of `ReptileSettings`."""
    usual = MANY_ROWS if by_evidence else FEW_ROWS
    return _given(model, "support_size", usual)


def _given(model, name, otherwise):
    value = getattr(model, name)
    return otherwise if isinstance(value, str) else value
