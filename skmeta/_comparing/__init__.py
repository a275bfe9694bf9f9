"""`compare_baselines`: the baselines, the folds, the result and its verdict."""
