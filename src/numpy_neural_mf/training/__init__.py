"""Training: the objective, the loop over mini-batches, checkpoints, and the engines that compute a step."""

from .checkpoint import Checkpoint
from .loop import History, Progress, train

__all__ = ["Checkpoint", "History", "Progress", "train"]
