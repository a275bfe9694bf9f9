"""How likely targets are, given their linear predictors. Each likelihood has a file.

`_likelihood` describes what a likelihood must provide, and how to add another one.
"""

from skmeta._core.prior.likelihoods._likelihood import Likelihood, OneOutput
from skmeta._core.prior.likelihoods._softmax import Softmax
from skmeta._core.prior.likelihoods.bernoulli import Bernoulli
from skmeta._core.prior.likelihoods.categorical import Categorical
from skmeta._core.prior.likelihoods.choice import Choice
from skmeta._core.prior.likelihoods.gaussian import Gaussian
from skmeta._core.prior.likelihoods.poisson import Poisson

# The likelihoods that `tests/test_likelihoods.py` tests. Nothing else reads this table.
LIKELIHOODS = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "poisson": Poisson,
    "choice": Choice,
}

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Categorical",
    "Choice",
    "Gaussian",
    "Likelihood",
    "OneOutput",
    "Poisson",
    "Softmax",
    "of_labels",
]


def of_labels(n_outputs):
    """The likelihood of labels: one output for two classes, otherwise one per class."""
    return Bernoulli() if n_outputs == 1 else Categorical(n_outputs)
