"""The mathematics: NumPy arrays in, new arrays out. It knows no estimator.

The modules of this folder are the ground floor: layout, network, tasks, scaling,
canonical, margin, adam and prototypes. Two wings stand on it, ``descent`` (Reptile)
and ``prior`` (empirical Bayes), and know nothing of each other.
"""
