"""Write a trained model for programs without this package: numpy-neural-mf export."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from ..models import load_model
from ..models.export import EXPORTED, to_onnx, to_torch
from .options import AsJson, ModelFile, Settings
from .output import report

WRITERS = {".onnx": to_onnx, ".pt2": to_torch}


def export(
    model: ModelFile,
    output: Annotated[Path, Argument(help=".onnx for ONNX, .pt2 for torch.export.")],
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Write a model for programs that do not have this package.

    numpy-neural-mf export films.safetensors films.onnx
    """
    if output.suffix not in WRITERS:
        raise ValueError(f"{output}: expected a suffix of {', '.join(WRITERS)}, found {output.suffix!r}")
    loaded = load_model(model)
    if not isinstance(loaded, EXPORTED):
        expected = ", ".join(one.__name__ for one in EXPORTED)
        raise ValueError(f"{model}: expected one of {expected}, found a {type(loaded).__name__}")
    WRITERS[output.suffix](loaded, output)
    report(f"Wrote {output}", {"output": str(output)}, as_json)
