"""The Gaussian prior over tasks: its evidence, its structure, its posteriors."""
