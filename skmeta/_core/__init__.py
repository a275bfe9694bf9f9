"""The mathematics: NumPy arrays in, new arrays out. Knows no estimator.

Modules import each other downwards only:
``layout, tasks, scaling -> network -> descent -> rates -> reptile``.
"""
