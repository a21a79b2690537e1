"""Training: the objective, the loop over mini-batches, checkpoints, and the engines that compute a step."""
