"""Training: the objective, the loop over mini-batches, checkpoints, and the engines that compute a step."""

from .checkpoint import Checkpoint
from .distributed import Communicator
from .loop import History, Progress, train
from .objective import Objective
from .statistics import RatingStatistics

__all__ = ["Checkpoint", "Communicator", "History", "Objective", "Progress", "RatingStatistics", "train"]
