"""``--list-archs``: architectures by name, with what they cost and the licence of their weights."""

from __future__ import annotations

import fnmatch
import json
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torchvision
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, list_modules

from trainable.data.cache import cache_root
from trainable.errors import UserError
from trainable.files import write_atomically
from trainable.models import timm_models, torchvision_models
from trainable.models.architectures import ARCHITECTURES, TIMM, size

WIDTH = 80
"""Characters of a line."""
SIZED = 24
"""Architectures at most of which a list tells the size: each has to be built, without its tensors."""
CLASSES = 1000
"""Of the classifiers whose parameters are counted, as published counts have it."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An architecture as it is known without being built."""

    name: str
    pixels: int
    """Side of its input."""
    weights: str | None
    """Name of its default weights."""
    licence: str | None
    """Of those weights."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an architecture costs."""

    parameters: int
    forward_flops: int
    """Floating-point operations of one image's forward pass (a multiply-add counts two)."""


def find(pattern: str) -> list[Entry]:
    """Architectures whose name has `pattern` in it, or matches it if it has wildcards.

    A model of timm is listed once, with its default weights. If its own name does not match, but with
    that of some of its weights it does, it is listed with each of those.
    """
    pattern = pattern.lower()
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"

    def matches(entry: Entry) -> bool:
        return fnmatch.fnmatchcase(entry.name.lower(), wanted)

    found: list[Entry] = []
    for entry in _all():
        if matches(entry):
            found.append(entry)
        elif entry.name.startswith(TIMM):
            found += filter(matches, _tagged(entry.name.removeprefix(TIMM)))
    return found


def _all() -> Iterator[Entry]:
    for name, spec in ARCHITECTURES.items():
        yield Entry(
            name=name, pixels=spec.image_size, weights=spec.default_weights, licence=spec.licence
        )
    for name in torchvision_models.names():
        if name not in ARCHITECTURES:
            weights = torchvision_models.default_weights(name)
            yield Entry(
                name=name,
                pixels=weights.transforms().crop_size[0],
                weights=weights.name,
                licence=torchvision_models.licence(weights),
            )
    for name in timm.list_models():
        if (config := get_pretrained_cfg(name)) and config.classifier:
            yield _of_timm(name, config.to_dict())


def _tagged(name: str) -> Iterator[Entry]:
    for full, config in get_arch_pretrained_cfgs(name).items():
        if config.classifier:
            yield _of_timm(full, config.to_dict())


def _of_timm(name: str, config: dict[str, Any]) -> Entry:
    _, height, _ = config["input_size"]
    weights = timm_models.weights_of(config)
    licence = config.get("license")
    return Entry(
        name=f"{TIMM}{name}",
        pixels=height,
        weights=next(iter(weights), None),
        licence=str(licence) if licence and weights else None,
    )


def costs(names: Sequence[str], cache_dir: Path | None = None) -> dict[str, Cost | None]:
    """What architectures cost; None of one that cannot be built. Kept for the next time."""
    versions = f"timm-{timm.__version__}-torchvision-{torchvision.__version__}"
    path = cache_root(cache_dir) / "architectures" / f"{versions}.json"
    known: dict[str, list[int]] = {}
    with suppress(OSError, ValueError):  # none yet, or corrupt: it is written again
        known = json.loads(path.read_bytes())
    found: dict[str, Cost | None] = {}
    for name in names:
        if name not in known:
            try:
                counted = size(name, num_classes=CLASSES, trained="head")
            except UserError:
                found[name] = None
                continue
            known[name] = [counted.parameters, counted.forward_flops]
        parameters, flops = known[name]
        found[name] = Cost(parameters=parameters, forward_flops=flops)
    with suppress(OSError):  # no room, or no right to write: they are counted again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(known))
    return found


def listing(patterns: Sequence[str], cache_dir: Path | None = None) -> str:
    """What ``--list-archs`` prints, in lines of `WIDTH` characters."""
    if not patterns:
        return overview()
    entries = list(dict.fromkeys(entry for pattern in patterns for entry in find(pattern)))
    if not entries:
        return f"no architecture is called like {' or '.join(patterns)}"
    known: dict[str, Cost | None] | None = None
    notes = "Other weights of a model: --arch NAME.WEIGHTS."
    if len(entries) <= SIZED:
        known = costs([entry.name for entry in entries], cache_dir)
        notes = f"GFLOP: of one image's forward pass; a multiply-add counts two. {notes}"
    else:
        notes = f"{len(entries):,} architectures; sizes are shown of up to {SIZED}. {notes}"
    lines = [line for entry in entries for line in _lines(entry, known)]
    return "\n".join([*lines, "", textwrap.fill(notes, WIDTH)])


def _lines(entry: Entry, known: dict[str, Cost | None] | None) -> list[str]:
    """A line with the name, which can be copied, and one with all else."""
    parts = [f"{entry.pixels} px"]
    if known is not None and (cost := known[entry.name]):
        work = cost.forward_flops / 1e9
        gflop = f"{work:,.1f}" if work >= 10 else f"{work:.2f}"
        parts = [
            f"{cost.parameters / 1e6:9,.1f} M params  {gflop:>7} GFLOP",
            f"{entry.pixels:>3} px",
        ]
    elif known is not None:
        parts.append("cannot be used")
    weights = f"{entry.weights} ({entry.licence or 'licence not known'})"
    parts.append(weights if entry.weights else "no weights")
    rest = textwrap.wrap(
        "  ".join(parts),
        WIDTH,
        initial_indent="  ",
        subsequent_indent=" " * 12,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return [entry.name, *rest]


def overview() -> str:
    """All names of torchvision, and the families of timm."""
    others = [name for name in torchvision_models.names() if name not in ARCHITECTURES]
    return "\n\n".join(
        textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        for text in (
            f"pinned: {', '.join(ARCHITECTURES)}",
            f"torchvision: {', '.join(others)}",
            f"timm, as timm:NAME: {len(timm.list_models()):,} models, in the families "
            f"{', '.join(list_modules())}",
            "timm:hf-hub:OWNER/NAME: a model of timm's on the Hugging Face hub, Zoobot's encoders "
            "among them; timm:local-dir:PATH: one in a folder",
            "Sizes, inputs, weights and licences: --list-archs PATTERN, e.g. --list-archs convnext "
            "or --list-archs 'timm:vit_small_*'",
        )
    )
