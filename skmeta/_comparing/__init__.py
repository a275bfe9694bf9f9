"""`compare_baselines`: the rivals, the folds, the result and its verdict."""
