"""Reptile. The files, from the formula to the fast forms:

reptile     The update of the start, and the loop around it.
training    Runs of that loop, early stopping, the number of steps to adapt by.
state       What a run is given, where it stands, what is kept of it.
validation  The loss of held-out tasks after adapting.
rates       Learned inner rates.
trouble     Signs that descent does harm.
loops       The inner loops: gradient descent, Adam, backtracking. Read these.
inner       What tasks minimise, and which of the fast forms can compute it.
plan        The gradient without allocations.
planned     The inner loops on a plan.
dual        Networks with wide inputs.
linear      All steps of linear models at once.
curved      Linear models: steps measured by the curvature, and what stays unknown.
"""
