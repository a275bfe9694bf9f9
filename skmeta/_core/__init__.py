"""The mathematics: functions of NumPy arrays that know nothing about estimators.

The functions take arrays and return new arrays. The modules of this folder are the
ground floor: layout, network, tasks, scaling, canonical, margin, adam and prototypes.
Two wings stand on it, ``descent`` (Reptile) and ``prior`` (empirical Bayes). They know
nothing about each other.
"""
