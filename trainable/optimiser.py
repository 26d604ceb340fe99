"""The optimiser of a run: AdamW, the groups of its parameters, and their learning rates at each step.

The learning rate of a step is a function of the configuration and the step alone, so a run that
resumes needs no state of a scheduler.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from trainable.config import TrainingConfig
from trainable.models.architectures import architecture, layers_of


def make_optimiser(
    model: nn.Module, config: TrainingConfig, *, captured: bool = False
) -> torch.optim.AdamW:
    """AdamW for what is trained of `model`.

    Parameters
    ----------
    captured
        Whether its steps are to be captured as a graph, see `settle`.

    Raises
    ------
    SettingsError
        The layers of the architecture are not known, and the configuration has layer-wise decay.
    """
    optimiser = torch.optim.AdamW(
        parameter_groups(model, config),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
    settle(optimiser, captured=captured)
    return optimiser


def settle(optimiser: torch.optim.Optimizer, *, captured: bool) -> None:
    """Have an optimiser keep its learning rates where a step reads them.

    That is on the parameters' device if steps are captured as a graph, in which a number would stay what it was;
    else they are numbers. To be called again when a state has been loaded, which may be that of another device.
    """
    for group in optimiser.param_groups:
        rate = float(group["lr"])
        device = group["params"][0].device
        group["lr"] = torch.tensor(rate, device=device) if captured else rate
        group["capturable"] = captured


def parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Groups of the trained parameters that have one learning rate and one weight decay each.

    Layer-wise decay as of BEiT and MAE: the head learns at the whole rate, the block below it at
    ``layer_decay`` of that, the next at its square, and so on to what is before all blocks. Blocks
    of a Transformer, or of timm's convolutional networks, are layers; of torchvision's convolutional
    networks, stages are.

    Returns
    -------
    list
        As `torch.optim.Optimizer` takes them; ``lr_scale`` is the group's share of the rate.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if config.layer_decay == 1 and config.decay_vectors:
        return [{"params": list(trained.values())}]
    vectors: set[str] = set()
    if not config.decay_vectors:
        patterns = architecture(config.arch).undecayed(model)
        vectors = {
            name
            for name, parameter in trained.items()
            if parameter.ndim <= 1 or any(fnmatchcase(name, pattern) for pattern in patterns)
        }
    layers = [list(trained)] if config.layer_decay == 1 else layers_of(model, config.arch)
    groups: list[dict[str, Any]] = []
    for depth, layer in enumerate(reversed(layers)):
        scale = config.layer_decay**depth
        for decay in (config.weight_decay, 0.0):
            names = [n for n in layer if n in trained and (n in vectors) == (decay == 0)]
            if names:
                groups.append(
                    {
                        "params": [trained[name] for name in names],
                        "lr": config.learning_rate * scale,
                        "lr_scale": scale,
                        "weight_decay": decay,
                    }
                )
    return groups


def set_learning_rates(
    optimiser: torch.optim.Optimizer, config: TrainingConfig, step: int, steps: int
) -> None:
    """Give every group its learning rate before a step.

    Parameters
    ----------
    step
        From 1.
    steps
        In all, if the run has all epochs that are allowed.
    """
    if config.schedule == "constant":
        return
    rate = config.learning_rate * rate_factor(step, steps, config.warmup)
    for group in optimiser.param_groups:
        of_group = rate * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(of_group)
        else:
            group["lr"] = of_group


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Share of the highest learning rate that a step has, by linear warm-up and cosine decay.

    Of S steps, w·S warm up. Step s of these has s / (w·S), at most 1; each later one has
    (1 + cos(π·(s - 1 - w·S) / (S - w·S))) / 2, which ends a step before it would be 0.

    Parameters
    ----------
    step
        s, from 1.
    steps
        S.
    warmup
        w, in [0, 1).
    """
    rising = warmup * steps
    if step - 1 < rising:
        return min(1.0, step / rising)
    return (1 + math.cos(math.pi * (step - 1 - rising) / (steps - rising))) / 2
