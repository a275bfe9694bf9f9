"""The boosted trees that baselines fit to the rows of all tasks."""


def pooled_boosting(kind, seed):
    """Boosting of a kind, a class of scikit-learn, with the settings of a baseline."""
    return kind(
        learning_rate=0.05,
        max_leaf_nodes=15,
        early_stopping=False,
        random_state=seed,
    )
