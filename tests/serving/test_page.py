"""The page, in a real browser: what somebody rates brings a list at once, for everybody, and nothing leaves."""

import csv
import json
import re
import sys

import numpy as np
import polars as pl
import pytest

from numpy_neural_mf import NeuralMF, read_ratings, simulate_ratings

pytest.importorskip("fastapi", reason="the extra serve is not installed")
sys.path.append(str(__import__("pathlib").Path(__file__).parent))
