"""Settings for a machine that is slow or shared: no deadlines, and no threads that wait for each other."""

import torch
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
torch.set_num_threads(1)  # for arrays this small, threads cost more than they bring
