"""What the paper published, each number with its table, figure or section.

The paper is "Vision Transformers for Galaxy Morphology Classification: Fine-Tuning
Pre-Trained Networks vs. Training From Scratch". No other module types in a number of it.

`authors_curves.csv` holds the 249 epochs that the authors' public notebooks and logs print
(github.com/kumarrah2002/ViT_Pretrained_vs_Scratch, read as facts; columns ``trial, epoch,
train_loss, train_accuracy, val_loss, val_accuracy``, accuracies in 0–1). Five of its nine
trials, `RERUNS`, are later runs and not those of table 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from trainable.manifest import Manifest
from trainable.protocol import ARCHITECTURE, DROPPED_LABEL, Init

if TYPE_CHECKING:  # not needed for the numbers themselves
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class PaperTrial:
    """One row of tables 1 and 2."""

    trial: str
    init: Init
    fraction: float
    accuracy: float
    """Highest validation accuracy, 0–1. Table 1."""
    loss: float
    """Lowest validation loss. Table 1."""
    epochs: int
    """Table 2."""
    epoch_seconds: float
    """Table 2."""
    total_minutes: float
    """Table 2."""


def _row(init: Init, fraction: float, *numbers: float) -> PaperTrial:
    name = "base_vit" if init == "scratch" else f"ft_vit_{fraction * 100:.0f}"
    accuracy, loss, epochs, seconds, minutes = numbers
    return PaperTrial(
        trial=name,
        init=init,
        fraction=fraction,
        accuracy=accuracy,
        loss=loss,
        epochs=int(epochs),
        epoch_seconds=seconds,
        total_minutes=minutes,
    )


TRIALS = (  # accuracy and loss: table 1; epochs, s/epoch, minutes: table 2
    _row("scratch", 1.0, 0.6949, 0.9018, 26, 302, 131),
    _row("pretrained", 0.4, 0.6713, 0.92, 16, 109, 29),
    _row("pretrained", 0.5, 0.6960, 0.8878, 23, 123, 47),
    _row("pretrained", 0.6, 0.7128, 0.8541, 19, 147, 47),
    _row("pretrained", 0.7, 0.7175, 0.8129, 22, 161, 59),
    _row("pretrained", 0.8, 0.7333, 0.7735, 27, 178, 80),
    _row("pretrained", 0.9, 0.7333, 0.7797, 42, 190, 133),
    _row("pretrained", 0.95, 0.7520, 0.7548, 36, 198, 119),
    _row("pretrained", 1.0, 0.7553, 0.7225, 50, 206, 172),
)
BASELINE = TRIALS[0]
"""The paper's baseline: from scratch on all of the data."""

FIRST_EPOCHS = 3  # §5.1: "after the first three epochs"
FIRST_EPOCHS_GAIN = 0.05  # §5.1: "an average accuracy increase of 5%"
SMALLEST_FRACTION = 0.5  # §5.2: "only requires around 50% of the images"
TIME_SHARE_IN_TEXT = 0.4  # §5.2: "and 40% of the time"; table 2 gives 47/131 min
N_CLASSES = 9  # §3: ten minus the one that is dropped
PAPERS_CLASSES = (N_CLASSES, [DROPPED_LABEL])

RERUNS = ("base_vit", "ft_vit_40", "ft_vit_50", "ft_vit_95", "ft_vit_100")
"""Trials whose curves in `authors_curves.csv` are later re-runs, not those of table 1."""


def published(init: str, fraction: float) -> PaperTrial | None:
    """The paper's trial of this init and fraction; None if it ran none."""
    return next(
        (t for t in TRIALS if t.init == init and abs(t.fraction - fraction) < 1e-9),
        None,
    )


def table() -> pd.DataFrame:
    """Tables 1 and 2 of the paper as a frame, one row per trial."""
    import pandas as pd

    return pd.DataFrame([asdict(trial) for trial in TRIALS])


def authors_curves() -> pd.DataFrame:
    """The authors' own epochs with `init` and `fraction`, and whether the trial is a re-run."""
    import pandas as pd

    with files("analysis").joinpath("authors_curves.csv").open(encoding="utf-8") as file:
        curves = pd.read_csv(file)
    cells = {trial.trial: trial for trial in TRIALS}
    curves.insert(1, "init", curves["trial"].map(lambda name: cells[name].init))
    curves.insert(2, "fraction", curves["trial"].map(lambda name: cells[name].fraction))
    curves["rerun"] = curves["trial"].isin(RERUNS)
    return curves


def why_not_comparable(manifest: Manifest) -> str | None:
    """Why accuracies of this sweep cannot be set against the paper's; None if they can."""
    data = manifest.data
    classes = (len(data.class_names), [dropped.label for dropped in data.dropped])
    reasons: list[str] = []
    if not data.is_galaxy10:
        reasons.append(f"the data is {data.name}, not Galaxy10 DECaLS")
    elif classes != PAPERS_CLASSES:
        reasons.append(f"its classes are other than the paper's {N_CLASSES}")
    if any(cell.config.augment for cell in manifest.cells):
        reasons.append("the training images are augmented, the paper's are not")
    if manifest.arch != ARCHITECTURE:
        reasons.append(f"the model is {manifest.arch}, not {ARCHITECTURE}")
    if manifest.protocol not in ("paper", "authors"):
        reasons.append(f"the protocol is {manifest.protocol}, not the paper's")
    return "; ".join(reasons) or None
