"""Features or predictions for more images than one machine holds, by Ray Data.

Reads Parquet shards with a column of encoded images, from a disk or an object store, and writes
Parquet shards with the same other columns and one more:

  python -m sweep.extract --images shards --out features
      the numbers that a frozen, pre-trained backbone makes of each image

  python -m sweep.extract --images shards --out classes --trial CHECKPOINT
      the class probabilities by a trial of a sweep (its folder ``checkpoint_…``)

Workers decode on CPUs while others compute on GPUs.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
import tyro
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from trainable import backbones
from trainable.batches import image_rows, predict
from trainable.config import Precision, RunConfig
from trainable.preprocess import transform_images
from trainable.protocol import ARCHITECTURE, Transform

from .space import SweepConfig
from .storage import Folder
from .tuner import start_ray


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What is read, computed and written, and by how many workers."""

    images: str
    """Folder or URI of the Parquet shards."""
    out: str
    """Folder or URI to write to. On a cluster, one that all nodes share, as is --images."""
    image_column: str = "image"
    """Column with each image as PNG or JPEG bytes."""
    id_column: str = "id"
    """Column with a value of its own for each image."""
    trial: Path | None = None
    """Checkpoint of a trial: writes its class probabilities instead of features."""
    arch: str = ARCHITECTURE
    """Architecture of the backbone; of no effect with --trial, like the next three."""
    weights: str | None = None
    """Its pre-trained weights. None: the architecture's."""
    transform: Transform = "resize"
    precision: Precision = "fp32"
    batch_size: int = 256
    workers: int = 1
    """Copies of the network, each on a GPU of its own."""
    gpus: int = 1
    """GPUs of this machine to use; 0 computes on CPUs."""
    address: str | None = None
    """Address of a running Ray cluster."""


def network(extraction: Extraction) -> tuple[nn.Module, RunConfig | Extraction]:
    """What maps images to the column that is written, and what it was made by."""
    if extraction.trial is None:
        weights = extraction.weights or backbones.architecture(extraction.arch).default_weights
        model = backbones.build(
            extraction.arch,
            num_classes=2,
            init="pretrained",
            weights=weights,
            trained="head",
            seed=0,
        )
        model.set_submodule(backbones.architecture(extraction.arch).head, nn.Identity())
        return model, extraction
    record = json.loads((extraction.trial / "record.json").read_text())
    config = RunConfig.from_dict(record["config"])
    model = backbones.build_for(config, len(record["class_names"]))
    trained = load_file(extraction.trial / "best.safetensors")
    unexpected = model.load_state_dict(trained, strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"{extraction.trial}: not of this architecture: {unexpected[:3]}")
    return nn.Sequential(model, nn.Softmax(dim=1)), config


class Decode:
    """Encoded images as the backbone's input, (B, S, S, 3) uint8."""

    def __init__(self, column: str, transform: Transform, size: int) -> None:
        self.column, self.transform = column, transform_images(transform, size)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        opened = (Image.open(io.BytesIO(encoded)) for encoded in batch.pop(self.column))
        pixels = [np.asarray(self.transform(image.convert("RGB"))) for image in opened]
        return batch | {"pixels": np.stack(pixels)}


class Compute:
    """The network on the worker's device; one for many batches."""

    def __init__(self, extraction: Extraction) -> None:
        model, self.made_by = network(extraction)
        self.device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        self.model = model.to(self.device)
        self.spec = backbones.architecture(self.made_by.arch)
        self.name = "features" if extraction.trial is None else "probabilities"

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        inputs = image_rows(batch.pop("pixels"), self.spec, self.device, resident=False)
        found = predict(self.model, inputs, autocast=self.made_by.precision == "bf16").numpy()
        column = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), found.shape[1])
        return pa.table({k: pa.array(v) for k, v in batch.items()} | {self.name: column})


def extract(extraction: Extraction) -> None:
    """Run the whole; Ray must have been started.

    Raises
    ------
    ValueError
        A column is missing, or the network cannot be built.
    """
    model, made_by = network(extraction)
    del model  # it was built to fail here, not in a worker
    if Folder(extraction.out).exists():
        raise ValueError(f"--out {extraction.out} is there already: choose another, or delete it")
    shards = ray.data.read_parquet(extraction.images)
    if missing := {extraction.image_column, extraction.id_column} - set(shards.schema().names):
        raise ValueError(
            f"{extraction.images} has no column {sorted(missing)}; it has {shards.schema().names}"
        )
    resources: dict[str, Any] = {"num_gpus": 1} if extraction.gpus else {"num_cpus": 1}
    size = backbones.architecture(made_by.arch).image_size
    decode = Decode(extraction.image_column, made_by.transform, size)
    shards.map_batches(decode.__call__, batch_size=extraction.batch_size).map_batches(
        Compute,
        fn_constructor_args=(extraction,),
        batch_size=extraction.batch_size,
        concurrency=extraction.workers,
        **resources,
    ).write_parquet(extraction.out)


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code."""
    extraction = tyro.cli(
        Extraction, args=arguments, prog="python -m sweep.extract", description=__doc__
    )
    try:
        start_ray(SweepConfig(gpus=extraction.gpus, address=extraction.address))
        extract(extraction)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {extraction.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
