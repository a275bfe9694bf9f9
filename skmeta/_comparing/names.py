"""Names of the baselines."""

SUPPORT_MEAN = "support mean"
POOLED = "pooled model"
OFFSET = "pooled + offset"
OWN = "own model"
NEIGHBOURS = "neighbours"
FINE_TUNED = "fine-tuned network"
BASELINES = (SUPPORT_MEAN, POOLED, OFFSET, OWN, NEIGHBOURS, FINE_TUNED)

# Where each task has its own classes, a model of all tasks would have no meaning.
WITHOUT_POOL = (SUPPORT_MEAN, OWN, NEIGHBOURS)
