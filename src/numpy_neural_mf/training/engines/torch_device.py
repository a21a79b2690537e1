"""The device to compute on, and how it multiplies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def find_device(name: str) -> torch.device:
    """The device of that name; for "auto" the first there is of "cuda", "mps" and "cpu".

    Raises
    ------
    ValueError
        It is not there.
    """
    is_there = {
        "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True,
    }  # fmt: skip
    there = [device for device in is_there if is_there[device]]
    if name != "auto" and name not in there:
        raise ValueError(f"device must be one that PyTorch finds here ({', '.join(there)}), not {name!r}")
    device = there[0] if name == "auto" else name
    # Torchrun numbers the processes of a machine: each takes the GPU of its number.
    return torch.device(device, int(os.environ.get("LOCAL_RANK", 0)) if device == "cuda" else 0)


@contextmanager
def products_in_tf32(wanted: bool) -> Iterator[None]:
    """Products of float32 matrices with factors rounded to 10 bits, for a while, where that is wanted."""
    if not wanted:
        yield
        return
    products = torch.backends.cuda.matmul
    before, products.fp32_precision = products.fp32_precision, "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before
