"""Synthetic sweeps by several protocols."""

from dataclasses import replace

from helpers import synthetic

from trainable.protocol import PROTOCOLS

NAMES = ("paper", "paper+trained", "authors")


def a_cell(init, fraction, seed, *names):
    """A trial that the protocols `names` prescribe, by the first's settings."""
    cell, protocol = synthetic.cell(init, fraction, seed), PROTOCOLS[names[0]]
    recipe, stopping = protocol.recipe(init), protocol.stopping_for(init, fraction)
    settings = {
        "layer_decay": recipe.layer_decay,
        "schedule": protocol.schedule,
        "warmup": protocol.warmup,
        "label_smoothing": protocol.label_smoothing,
        "mixup": protocol.mixup,
        "augment": protocol.augment,
        "cache_features": not protocol.augment,
        "trained": recipe.trained,
        "transform": recipe.transform,
        "stopping": stopping,
        "max_epochs": protocol.max_epochs_for(init, fraction),
    }
    front = "" if names[0] == "paper" else f"{names[0]}-"
    cell = synthetic.configured(cell, **settings)
    return replace(cell, id=front + cell.id, protocols=names)


def some_cells(seeds=(0, 1, 2), fractions=(0.4, 1.0)):
    """`NAMES` at two fractions; paper+trained shares the scratch trials of paper."""
    cells = []
    for seed in seeds:
        cells += [
            a_cell("scratch", 1.0, seed, "paper", "paper+trained"),
            a_cell("scratch", 1.0, seed, "authors"),
            *(a_cell("pretrained", f, seed, name) for f in fractions for name in NAMES),
        ]
    return cells
