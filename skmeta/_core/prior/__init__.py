"""The Gaussian prior over tasks. The files, from the question to the formulas:

learn        From the rows of many tasks to a `LearnedPrior`. Begin here.
learned      What has been learned, and everything that is computed from it.
models       What learning and predicting ask of a kind of targets, for each kind.
count_model  The same for counts, which vary more than their likelihood says.
choice_model Choices, each from a set of alternatives.
search       Which structure the prior has, and what predicts before adapting.
structures   Structures that the spread between tasks may have.
fit          The prior of a given structure that has the largest evidence.
gaussian     Numbers with Gaussian noise: exact evidence and posteriors.
noise        Noise that differs between tasks: a mixture of a few levels.
noise_model  The same as a kind of targets.
laplace      Any other likelihood: Laplace's method.
modes        Modes of the coefficients of many tasks.
simulated    What Laplace's method misses of the evidence of choices.
few_sets     The evidence of tasks that have chosen from few sets.
derivatives  Derivatives of the likelihood in the coefficients of tasks.
likelihoods  How likely targets are, and how to add another likelihood.
lines        Tasks that are integrated instead, ...
quadrature   ... and the integrals.
calibration  How large errors on unseen tasks are: intervals.
moderation   How much of their uncertainty probabilities are averaged over.
queries      Which rows to ask about first.
design       The columns of the model, and its coefficients in the user's units.
features     Whether learned features pay, and for how long to learn them.
episodic     How features are learned.
stacks       Rows of many tasks in padded arrays.
duration     How long a search will take, before it begins.
"""
