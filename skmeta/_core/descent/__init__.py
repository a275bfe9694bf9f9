"""Reptile: the meta-loop, the inner loops and their fast forms, learned rates."""
