"""The paper's protocol on one page: every constant with the place that fixes it.

The paper is "Vision Transformers for Galaxy Morphology Classification: Fine-Tuning
Pre-Trained Networks vs. Training From Scratch". ``§`` and "table" point into it;
"notebooks" points to what its authors published as their code and logs
(github.com/kumarrah2002/ViT_Pretrained_vs_Scratch), which differs from the text;
"ours" marks what neither fixes. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

from trainable.errors import SettingsError

Init = Literal["scratch", "pretrained"]
Trained = str
"""What of a network is trained: one of `TRAINED`, or ``last_K`` for K = 1, 2, …: the last K blocks
of a Transformer or stages of a convolutional network, what follows them, and the head."""
TRAINED = ("all", "head", "non_encoder", "probe", "lora")
"""``all`` layers; the last ``Linear`` alone by AdamW (``head``) or in closed form (``probe``); all but the
encoder (``non_encoder``); adapters of low rank beside the frozen weights, and the head (``lora``)."""
Transform = Literal["resize", "resize_crop", "evaluation"]
StoppingRule = Literal["paper", "resetting", "none"]
Schedule = Literal["constant", "cosine"]
Split = Literal["budget", "fixed", "subset-first"]
ProtocolName = Literal[
    "paper",
    "paper+trained",
    "paper+transform",
    "paper+rule",
    "paper+delta",
    "authors",
    "modern",
    "demo",
    "demo+full",
    "demo+rule",
]

T = TypeVar("T")


def last_blocks(trained: Trained) -> int | None:
    """K of ``last_K``; None of everything else."""
    match = re.fullmatch(r"last_([1-9][0-9]*)", trained)
    return int(match[1]) if match else None


def check_trained(trained: Trained) -> None:
    """`SettingsError` if `trained` is no value of that kind."""
    if trained not in TRAINED and last_blocks(trained) is None:
        raise SettingsError(
            f"trained {trained!r}: must be {', '.join(TRAINED)}, or last_1, last_2, … for the last "
            "blocks and the head"
        )


INITS: tuple[Init, ...] = get_args(Init)

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # §3.1
IMAGENET_STD = (0.229, 0.224, 0.225)  # §3.1
IMAGE_SIZE = 224  # §3.1, pixels
ARCHITECTURE = "vit_b_16"  # §4.1
WEIGHTS = "IMAGENET1K_V1"  # §4.1

IMAGE_STATISTICS = "image_statistics"
"""Ours: architecture of the control whose features are simple statistics of the images."""
LORA_RANK = 8
"""Ours: rank of the adapters of ``lora``, the default of peft."""

DROPPED_LABEL = 4
"""§3 drops the class with "only 300 images". It names *Disk, Edge-on, Rounded Bulge*, which is
label 4 of the older Galaxy10 SDSS; in Galaxy10 DECaLS label 4 is *Cigar Shaped Smooth*, 334."""

PAPER_FRACTIONS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # §4.2
PAPER_CELLS: tuple[tuple[Init, float], ...] = (
    ("scratch", 1.0),  # §4.2, base_vit
    *(("pretrained", fraction) for fraction in PAPER_FRACTIONS),  # §4.2, ft_vit_F
)

MIXUP_LABELS = 5000
"""Ours: mixup is for so many labels or more, whatever the protocol. The recipes that use it are of
ImageNet's 1.3 million; with few labels the fixed budget of epochs has too few steps for its noise."""

PASSES: dict[Trained, int] = {"all": 3, "non_encoder": 2, "head": 1, "probe": 1}
"""Ours: cost of a training step in forward passes. The backward pass costs two; one if only the
gradients of activations are needed; none below a frozen backbone. Of what is not here the backward
pass is counted (`trainable.models.architectures.size`)."""

TEST_FRACTION = 0.2
"""Ours: share of the images that nothing is trained, stopped or chosen on."""
LEAST_VALIDATION = 2
"""Ours: validation images of a class that a label budget must afford; with as many again to train on.
A budget that cannot is cross-validated."""
FOLDS = 5
"""Ours: folds of a cross-validated budget, if each class has so many images; and of a probe."""
LEAVE_ONE_OUT = 40
"""Ours: up to so many images each is a fold of its own of a probe, whose fits cost little.

In 20 draws from each of two surveys this gives a lower loss of other images than 5 folds at 20 labels
(2.107 and 2.117, 1.319 and 1.325 nats), and none that differs at 40 and 80, where it takes twice and
seven times as long."""

SAME_SKY_ARCSEC = 10.0
"""Ours: galaxies closer than this go to the same side of a split. The file holds 59 pairs at one
position and 126 within 10 arcsec, many with two different labels."""


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """The δ/patience early stopper of §5."""

    rule: StoppingRule
    """``paper``: an epoch with loss > min + δ is counted and nothing resets the counter (§5).
    ``resetting``: loss ≥ min + δ is counted and a new minimum resets the counter (notebooks).
    ``none``: nothing is counted; δ and patience mean nothing."""
    delta: float
    """δ, in units of the validation loss (nats)."""
    patience: int
    """The counter's value that ends the trial."""

    def __post_init__(self) -> None:
        if self.delta < 0 or self.patience < 1:
            raise SettingsError(
                f"stopper with δ = {self.delta} and patience = {self.patience}: "
                "δ must be ≥ 0 and patience ≥ 1"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a protocol does differently for the two inits."""

    trained: Trained
    transform: Transform
    """``resize``: to the model's size. ``resize_crop``: to 8/7 of it, then the centre.
    ``evaluation``: as in the published evaluation of the architecture."""
    learning_rate: float
    """Of AdamW; with a schedule, its highest value, and with `layer_decay` that of the head."""
    layer_decay: float = 1.0
    """Layer-wise decay: the learning rate of a block is this share of the one above it."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that defines an experiment but its grid, data and architecture."""

    name: str
    scratch: Recipe
    pretrained: Recipe
    stopping: Stopping
    stopping_of_cell: tuple[tuple[Init, float, Stopping], ...] = ()
    """Exceptions to ``stopping``, by init and fraction."""
    max_epochs: int = 100  # notebooks; the paper names no limit
    max_epochs_of_cell: tuple[tuple[Init, float, int], ...] = ()
    batch_size: int = 32  # §3.1
    weight_decay: float = 0.01  # AdamW's default in torch; the paper names none
    validation_fraction: float = 0.2  # §3.1
    schedule: Schedule = "constant"  # the paper names none
    """``cosine``: the learning rate rises linearly over the first `warmup` of all steps, then falls
    along half a cosine to 0 at the last."""
    warmup: float = 0.0
    """Share of all steps, 0 to 1."""
    decay_vectors: bool = True  # torch's AdamW decays all
    """Weight decay of biases, of the scales of norms and of embeddings of positions, too."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes."""
    augment: bool = False  # §3.1
    """Show each training image with a random flip and 90° rotation in every epoch."""
    mixup: float = 0.0
    """α of the Beta distribution that mixes pairs of images, if there are `MIXUP_LABELS` labels."""

    def recipe(self, init: Init) -> Recipe:
        """The recipe of one init."""
        return self.scratch if init == "scratch" else self.pretrained

    def stopping_for(self, init: Init, fraction: float) -> Stopping:
        """The stopper of one cell of the grid."""
        return _exception(self.stopping_of_cell, init, fraction, self.stopping)

    def max_epochs_for(self, init: Init, fraction: float) -> int:
        """The limit of epochs of one cell of the grid."""
        return _exception(self.max_epochs_of_cell, init, fraction, self.max_epochs)


def _exception(
    table: tuple[tuple[Init, float, T], ...], init: Init, fraction: float, default: T
) -> T:
    return next((value for i, f, value in table if (i, f) == (init, fraction)), default)


PAPER = Protocol(
    name="paper",
    scratch=Recipe(
        trained="all",  # §4.2
        transform="resize",  # §3.1
        learning_rate=1e-4,  # §4.1
    ),
    pretrained=Recipe(
        trained="head",  # §4.2: "every layer … except for the last Linear layer"
        transform="resize",  # §3.1
        learning_rate=1e-4,  # §4.1
    ),
    stopping=Stopping(rule="paper", delta=0.03, patience=3),  # §5
)
"""The paper as its text reads."""


def _authors_stopping(delta: float, patience: int) -> Stopping:
    return Stopping(rule="resetting", delta=delta, patience=patience)


AUTHORS = Protocol(
    name="authors",
    scratch=PAPER.scratch,  # notebooks agree with the text here
    pretrained=Recipe(
        trained="non_encoder",  # notebooks: only model.encoder is frozen; 598,281 parameters train
        transform="resize_crop",  # notebooks: the weights' own transform, 256 then centre 224
        learning_rate=1e-4,  # notebooks
    ),
    stopping=_authors_stopping(0.05, 3),  # notebooks: scratch, 70, 90, 100%
    stopping_of_cell=(  # notebooks
        ("pretrained", 0.4, _authors_stopping(1.0, 3)),
        ("pretrained", 0.5, _authors_stopping(1.0, 3)),
        ("pretrained", 0.6, _authors_stopping(0.02, 3)),
        ("pretrained", 0.8, _authors_stopping(0.02, 2)),
        ("pretrained", 0.95, _authors_stopping(0.02, 3)),
    ),
    max_epochs_of_cell=(("pretrained", 0.4, 40),),  # notebooks
)
"""The paper as its authors ran it, by their published notebooks and logs."""

MODERN = Protocol(
    name="modern",
    scratch=Recipe(
        trained="all",
        transform="resize",  # §3.1, so that both inits and all protocols see the same pixels
        learning_rate=1.8e-4,  # DeiT: 1e-3 for batches of 1024, see below
    ),
    pretrained=Recipe(
        trained="all",
        transform="resize",
        learning_rate=7.1e-4,  # MAE: 4e-3 for batches of 1024, see below
        layer_decay=0.75,  # MAE's main_finetune.py, and timm's param_groups_layer_decay
    ),
    stopping=Stopping(rule="none", delta=0.0, patience=1),  # none of the recipes stops early
    max_epochs=100,  # MAE's FINETUNE.md for ViT-B
    weight_decay=0.05,  # MAE and DeiT
    schedule="cosine",  # MAE and DeiT
    warmup=0.05,  # MAE and DeiT: 5 epochs, which are 5% of MAE's 100
    decay_vectors=False,  # MAE's lr_decay.py, and timm's param_groups_layer_decay
    label_smoothing=0.1,  # MAE and DeiT
    augment=True,  # ours, in place of RandAugment: a galaxy has no upright orientation
    mixup=0.8,  # DeiT, and MAE's FINETUNE.md; but see `MIXUP_LABELS`
)
"""Full fine-tuning as the field does it today, beside training from scratch with the same budget.

The sources are the published recipes of MAE (He et al. 2022; ``main_finetune.py``, ``util/lr_decay.py``
and ``FINETUNE.md`` of github.com/facebookresearch/mae), which follow BEiT's (Bao et al. 2022), and of
DeiT (Touvron et al. 2021; ``main.py`` of github.com/facebookresearch/deit) for training from scratch.
Both inits have the same epochs, schedule and augmentation, and no δ rule; the epoch that the validation
images choose is still the one that is kept.

The learning rates are those of the recipes times √(32/1024): for AdamW timm's ``train.py`` scales a rate
with the root of the batch size. In proportion, as MAE and DeiT do between large batches, they would be
1.25e-4 and 3e-5. One run each with all labels of the mock survey (476 train, 117 validate; split and seed
100, which no sweep has by default) had as best validation accuracy 50.4, 59.0 and 63.2% at 1.25e-4, 5e-4
and 7.1e-4 for the pre-trained small ViT, and 51.3, 55.6 and 57.3% at 1.25e-4, 1.8e-4 and 5e-4 from
scratch; the standard error of each is 4.5 points.

Layer-wise decay is for the pre-trained model alone: it keeps the lower blocks near what they have
learned (BEiT), and from scratch there is nothing to keep. DeiT, which trains from scratch, has none.

Left out are what these recipes have for ImageNet beside the above: RandAugment, random erasing, CutMix
and stochastic depth. The last is a part of the architecture, which is the same in all protocols.
"""

# The four differences between text and notebooks, one at a time: the text with one thing as in the
# notebooks. All four at once are AUTHORS.
PAPER_TRAINED = replace(
    PAPER,
    name="paper+trained",
    pretrained=replace(PAPER.pretrained, trained=AUTHORS.pretrained.trained),
)
PAPER_TRANSFORM = replace(
    PAPER,
    name="paper+transform",
    pretrained=replace(PAPER.pretrained, transform=AUTHORS.pretrained.transform),
)
PAPER_RULE = replace(
    PAPER, name="paper+rule", stopping=replace(PAPER.stopping, rule=AUTHORS.stopping.rule)
)
PAPER_DELTA = replace(
    PAPER,
    name="paper+delta",
    stopping=replace(AUTHORS.stopping, rule=PAPER.stopping.rule),
    stopping_of_cell=tuple(
        (init, fraction, replace(stopping, rule=PAPER.stopping.rule))
        for init, fraction, stopping in AUTHORS.stopping_of_cell
    ),
    max_epochs_of_cell=AUTHORS.max_epochs_of_cell,
)
"""δ and patience, and the limit of 40 epochs, which is what ends a trial with δ = 1."""

SWITCHED = (PAPER_TRAINED, PAPER_TRANSFORM, PAPER_RULE, PAPER_DELTA)

DEMO = replace(
    PAPER,
    name="demo",
    scratch=replace(PAPER.scratch, learning_rate=1e-4),
    pretrained=replace(PAPER.pretrained, learning_rate=2e-3),
)
"""The paper's text with what the small ViT needs changed. Ours.

The learning rates are the best for each init by ``python -m benchmarks.learning_rates``: mean best
validation accuracy of two runs at all labels of the mock survey, with a split (100) and seeds (100,
101) that no sweep has by default. Scratch: 54.3, **55.6**, 53.6, 53.6, 54.6, 43.5% at 5e-5, 1e-4,
2e-4, 3e-4, 5e-4, 1e-3. Head: 48.7, 50.7, **52.8**, 52.0, 50.0, 47.8, 47.8% at 5e-4, 1e-3, 2e-3,
3e-3, 5e-3, 1e-2, 2e-2. All layers from the weights `photographs`: 55.8, 56.1, 56.8, 56.0, **59.9**,
55.1% at the rates of scratch. One such mean is uncertain by some two points: other rounding, as by
other kernels of attention since, is as good as another seed. The limit of 100 epochs ends
the heads with rates up to 1e-3, and no other run; one of 40 cost the heads two points.
"""

VARIANT_RATES: dict[tuple[str, Trained], float] = {
    ("demo", "all"): 5e-4,
    ("demo+rule", "all"): 5e-4,
}
"""Learning rates of the pre-trained model if another part of it trains than the protocol says, by
protocol and part; else the rate is the protocol's. From the rates above."""


def variant(protocol: Protocol, trained: Trained, name: str | None = None) -> Protocol:
    """A protocol in which `trained` is what trains of the pre-trained model.

    Parameters
    ----------
    name
        None: both names, as ``demo+all``.
    """
    recipe = protocol.pretrained
    own = recipe.trained == trained
    rate = VARIANT_RATES.get((protocol.name, trained), recipe.learning_rate)
    return replace(
        protocol,
        name=name or variant_name(protocol.name, trained),
        pretrained=recipe if own else replace(recipe, trained=trained, learning_rate=rate),
    )


def variant_name(protocol: str, trained: Trained) -> str:
    """The name of a protocol in which `trained` is what trains of the pre-trained model."""
    return f"{protocol}+{trained}"


DEMO_FULL = variant(DEMO, "all", "demo+full")
"""The demo with all layers of the pre-trained model trained, not the last alone. Ours."""

DEMO_RULE = replace(
    DEMO, name="demo+rule", stopping=Stopping(rule="resetting", delta=0.05, patience=10)
)
"""The demo with a stopper for few labels. Ours.

An epoch of 189 training images has 6 steps, and the loss on 48 validation images wanders or rises for
ten epochs before it falls: of five runs from scratch with 237 labels of the mock survey the paper's rule
ended two at epochs 9 and 10, at 18% accuracy, where the others reach 31 to 36%; a patience of 5 ended the
same two at epochs 12 and 13. Such a sweep would compare stoppers, not methods."""

UNTRAINED = replace(PAPER, name="untrained", scratch=replace(PAPER.scratch, trained="probe"))
"""A linear probe on the features of a network that nothing has trained: the protocol of controls,
whose init is ``scratch``. Ours."""

PROTOCOLS: dict[str, Protocol] = {
    p.name: p for p in (PAPER, *SWITCHED, AUTHORS, MODERN, DEMO, DEMO_FULL, DEMO_RULE)
}
assert set(PROTOCOLS) == set(get_args(ProtocolName))


def protocol_named(name: str) -> Protocol:
    """The protocol of a name in `PROTOCOLS`, of such a name with ``+`` and what trains, or `UNTRAINED`.

    Raises
    ------
    SettingsError
        There is none.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name == UNTRAINED.name:
        return UNTRAINED
    base, _, trained = name.rpartition("+")
    if base in PROTOCOLS and (trained in TRAINED or last_blocks(trained) is not None):
        return variant(PROTOCOLS[base], trained)
    raise SettingsError(
        f"unknown protocol {name!r}; expected {', '.join(PROTOCOLS)}, or one of these with + and "
        f"what trains of the pre-trained model: {', '.join(TRAINED)}, last_1, last_2, …"
    )
