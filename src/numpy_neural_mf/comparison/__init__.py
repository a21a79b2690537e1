"""Several models on the same splits: cross-validation, experiments, their results and what they show."""
