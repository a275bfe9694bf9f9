"""The mathematics: functions of NumPy arrays that know nothing about estimators.

The functions take arrays and return new arrays. Only `descent.inner` returns buffers,
which are valid until its next call. The modules of this folder are the ground floor:
layout, network, tasks, scaling, canonical, margin and adam. Three wings stand on it,
``descent`` (Reptile), ``prior`` (empirical Bayes) and ``prototypes``. They know nothing
about each other.
"""
