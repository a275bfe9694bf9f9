"""Reptile by descent: the loops, the meta-loop, and what is learned in it."""
