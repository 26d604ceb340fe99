"""A trained trial as files that others load: safetensors for timm or torchvision, ONNX, a model card.

``model.safetensors``    the whole network; adapters are merged into the layers beside them
``config.json``          as timm's ``local-dir:`` and hub loading read it; of torchvision's networks, as
                         ``load_torchvision.py`` beside it does
``model.onnx``           from framed pictures (N, S, S, 3) uint8 to ``logits`` and ``probabilities``, with
                         normalisation and temperature inside
``preprocessing.json``   how pictures are framed; ``classify.py`` beside it does so and runs the ONNX
``README.md``            the model card

A linear probe is a backbone with a last layer like any other: its standardisation of features is part
of that layer's weights. Everything is loaded again as its users will load it, and compared with the trial
on images of its test set, before the folder appears.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import nn

from trainable.classifier import Classifier
from trainable.errors import OutputError, SettingsError
from trainable.exported import classify, load_torchvision
from trainable.models import architectures
from trainable.models.architectures import TIMM

TOLERANCE = 1e-4
"""Largest difference of a probability between an exported network and the trial."""
OPSET = 18


@dataclass(frozen=True, kw_only=True)
class Check:
    """How far an export is from the trial."""

    images: int
    """Of the test set, or of the validation set if there is none."""
    onnx: float
    """Largest difference of a probability by onnxruntime."""
    loaded: float
    """The same by the library that loads ``model.safetensors``."""


class _Whole(nn.Module):
    """From framed pictures to logits and probabilities."""

    def __init__(self, classifier: Classifier, temperature: float) -> None:
        super().__init__()
        for name, values in (("mean", classifier.spec.mean), ("std", classifier.spec.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))
        self.backbone, self.head = classifier.backbone, classifier.head
        self.temperature = temperature

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and probabilities (N, C) of images (N, S, S, 3) uint8."""
        mean, std = cast("torch.Tensor", self.mean), cast("torch.Tensor", self.std)
        inputs = (images.permute(0, 3, 1, 2).to(torch.float32) / 255 - mean) / std
        logits = cast("nn.Linear", self.head)(self.backbone(inputs))
        return logits, (logits / self.temperature).softmax(1)


def export(
    classifier: Classifier,
    temperature: float,
    folder: Path,
    *,
    pictures: Sequence[Image.Image],
    card: Callable[[Check], str],
) -> Check:
    """Write the files of a trial into a new folder, and check them.

    Parameters
    ----------
    classifier
        In float32, on the CPU.
    pictures
        Of the trial's test set, on which all ways to load it must agree.
    card
        Makes the text of the model card.

    Raises
    ------
    OutputError
        The folder is there already, or an export is not the trial.
    SettingsError
        The architecture cannot be exported, or a package is missing.
    """
    _require_packages()
    if folder.exists():
        raise OutputError(f"--export {folder} is there already: choose another, or delete it")
    merge_adapters(classifier.backbone)
    how = framing(classifier)
    frames = np.stack([np.asarray(classifier.frame(picture)) for picture in pictures])
    with torch.inference_mode():
        features = classifier.features(frames, torch.device("cpu"), "fp32")
        expected = (classifier.logits(features) / temperature).softmax(1).numpy()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as unfinished:
        there = Path(unfinished) / folder.name
        there.mkdir()
        _write_json(there / "preprocessing.json", how)
        if classifier.arch.startswith(TIMM):
            _write_timm(classifier, temperature, there)
            loaded = _by_timm(there, pictures, temperature)
        else:
            _write_torchvision(classifier, temperature, there)
            loaded = _by_torchvision(there, pictures, temperature)
        _write_onnx(_Whole(classifier, temperature), frames, there / "model.onnx")
        shutil.copy(classify.__file__, there / "classify.py")
        by_onnx = classify.probabilities(pictures, there)
        check = Check(
            images=len(pictures),
            onnx=float(np.abs(by_onnx - expected).max()),
            loaded=float(np.abs(loaded - expected).max()),
        )
        for name, difference in (("model.onnx", check.onnx), ("model.safetensors", check.loaded)):
            if not difference <= TOLERANCE:
                raise OutputError(
                    f"{name} is not the trial: its probabilities of {len(pictures)} images differ by "
                    f"up to {difference:.2g}, at most {TOLERANCE:g} is rounding. Nothing was written; "
                    f"please report it with the architecture, {classifier.arch}"
                )
        (there / "README.md").write_text(card(check), encoding="utf-8")
        there.rename(folder)
    return check


def framing(classifier: Classifier) -> dict[str, Any]:
    """The contents of ``preprocessing.json``."""
    spec, size = classifier.spec, classifier.size
    resize, mode, interpolation = size, "squash", "bilinear"
    if classifier.transform == "resize_crop":
        resize, mode = round(size * 256 / 224), "center"
    elif classifier.transform == "evaluation":
        own = spec.evaluation
        resize, mode, interpolation = own.resize, own.mode, own.interpolation
    return {
        "size": size,
        "resize": resize,
        "mode": mode,
        "interpolation": interpolation,
        "mean": spec.mean,
        "std": spec.std,
        "class_names": classifier.class_names,
    }


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import onnxruntime  # noqa: F401  # pyright: ignore
        import onnxscript  # noqa: F401  # pyright: ignore
    except ImportError as error:
        raise SettingsError(
            f"--export needs {error.name}, which is not installed: pip install 'vit-label-sweep[onnx]'"
        ) from error


def merge_adapters(backbone: nn.Module) -> None:
    """Add the product of adapters to the weights beside them, and leave plain layers."""
    adapted = [name for name, module in backbone.named_modules() if hasattr(module, "base_layer")]
    for name in adapted:
        layer = cast("Any", backbone.get_submodule(name))
        layer.merge()
        backbone.set_submodule(name, layer.get_base_layer())


def whole_state(classifier: Classifier) -> dict[str, torch.Tensor]:
    """Tensors of the network with its last layer, under the architecture's names."""
    state = dict(classifier.backbone.state_dict())
    assert classifier.head is not None, "a trial has a head"
    state |= {f"{classifier.spec.head}.{n}": t for n, t in classifier.head.state_dict().items()}
    return {name: tensor.contiguous().clone() for name, tensor in state.items()}


def _write_torchvision(classifier: Classifier, temperature: float, folder: Path) -> None:
    plain = classifier.arch.partition(".")[0]
    spec = classifier.spec
    sized = {"image_size": classifier.size} if plain.startswith("vit_") else {}
    config = {
        "library": spec.library,
        "architecture": plain,
        "model_args": {} if plain == "vit_demo" else sized,
        "num_classes": len(classifier.class_names),
        "label_names": classifier.class_names,
        "temperature": temperature,
    }
    _write_json(folder / "config.json", config)
    (folder / "model.safetensors").write_bytes(save(whole_state(classifier)))
    shutil.copy(load_torchvision.__file__, folder / "load_torchvision.py")


def _by_torchvision(
    folder: Path, pictures: Sequence[Image.Image], temperature: float
) -> NDArray[np.float32]:
    model, transform = load_torchvision.load(folder)
    return _probabilities(model, [transform(picture) for picture in pictures], temperature)


def _probabilities(
    model: nn.Module, inputs: Sequence[torch.Tensor], temperature: float
) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits = torch.cat([model(image[None]) for image in inputs])
    return (logits / temperature).softmax(1).numpy()


def _write_timm(classifier: Classifier, temperature: float, folder: Path) -> None:
    import timm
    from timm.models import save_for_hf

    name = classifier.arch.removeprefix(TIMM)
    model = cast("Any", timm.create_model(name, num_classes=len(classifier.class_names)))
    last = model.get_classifier()
    if not isinstance(last, nn.Linear):
        raise SettingsError(
            f"{classifier.arch} has more than one last layer in timm: it cannot be exported with one"
        )
    prefix = "backbone."
    state = {
        key.removeprefix(prefix): tensor
        for key, tensor in classifier.backbone.state_dict().items()
        if key.startswith(prefix)
    }
    unexpected = model.load_state_dict(state, strict=False).unexpected_keys
    if unexpected:
        raise SettingsError(f"{classifier.arch}: timm's classifier has no {unexpected[0]}")
    assert classifier.head is not None, "a trial has a head"
    last.load_state_dict(classifier.head.state_dict())
    how = framing(classifier)
    save_for_hf(
        model,
        str(folder),
        model_config={"label_names": list(how["class_names"]), "temperature": temperature},
        safe_serialization=True,
        data_config={
            "input_size": (3, how["size"], how["size"]),
            "interpolation": how["interpolation"],
            "mean": how["mean"],
            "std": how["std"],
            "crop_pct": _crop_share(how["size"], how["resize"]),
            "crop_mode": how["mode"],
        },
    )


def _crop_share(size: int, resize: int) -> float:
    """The share of a resized picture that is cut out, of which timm's arithmetic makes `resize` again."""
    share = size / resize
    return share if math.floor(size / share) == resize else size / (resize + 0.5)


def _by_timm(
    folder: Path, pictures: Sequence[Image.Image], temperature: float
) -> NDArray[np.float32]:
    import timm
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    model = cast("Any", timm.create_model(f"local-dir:{folder}", pretrained=True)).eval()
    transform = cast("Any", create_transform(**resolve_model_data_config(model)))
    return _probabilities(model, [transform(picture) for picture in pictures], temperature)


def _write_onnx(whole: nn.Module, frames: NDArray[np.uint8], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on what it calls inside
        program = torch.onnx.export(
            whole.eval(),
            (torch.from_numpy(frames[:2].copy()),),
            input_names=["images"],
            output_names=["logits", "probabilities"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "dynamo gives a program"
        program.save(str(path), external_data=False)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def licence(classifier: Classifier) -> str:
    """The licence of the weights that a trial started from, as far as it is known, in words."""
    config = classifier.config
    if config is None or config.weights is None:
        return "none: trained from scratch"
    spec = architectures.architecture(config.arch)
    if config.weights not in spec.weights:
        return f"of the file {Path(config.weights).name}, which is not known to this project"
    return (
        spec.licence or f"not named by {spec.library or 'its library'}: look at where they are from"
    )
