"""Write a model for other programs: numpy-neural-mf export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..models import NeuralMF, load_model
from ..models.export import to_onnx, to_torch
from .options import AsJson, ModelFile
from .output import report
from .settings import Settings

WRITERS = {".onnx": to_onnx, ".pt2": to_torch}


def export(
    model: ModelFile,
    output: Annotated[Path, typer.Argument(help=".onnx for ONNX, .pt2 for torch.export.")],
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Write a model for programs that do not have this package.

    numpy-neural-mf export films.safetensors films.onnx
    """
    if output.suffix not in WRITERS:
        raise ValueError(f"{output}: expected a suffix of {', '.join(WRITERS)}, found {output.suffix!r}")
    loaded = load_model(model)
    if not isinstance(loaded, NeuralMF):
        raise ValueError(f"{model}: expected a NeuralMF, found a {type(loaded).__name__}")
    WRITERS[output.suffix](loaded, output)
    report(f"Wrote {output}", {"output": str(output)}, as_json)
