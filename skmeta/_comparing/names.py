"""Names of the baselines."""

SUPPORT_MEAN = "support mean"
POOLED = "pooled model"
OFFSET = "pooled + offset"
OWN = "own model"
NEIGHBOURS = "neighbours"
FINE_TUNED = "fine-tuned network"
BASELINES = (SUPPORT_MEAN, POOLED, OFFSET, OWN, NEIGHBOURS, FINE_TUNED)

# Choices among offers have no offset, since only differences of utilities matter.
EQUAL = "equal chances"
BESIDE = "pooled + own model"
BASELINES_OF_CHOICES = (EQUAL, POOLED, BESIDE, OWN)

# Where each task has its own classes, a model of all tasks would have no meaning.
WITHOUT_POOL = (SUPPORT_MEAN, OWN, NEIGHBOURS)
