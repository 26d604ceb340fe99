"""What the numbers of the report do not say."""

from __future__ import annotations

from analysis.report.analysis import Analysis
from analysis.report.section import Bullets, Section

CHOSEN = (
    "The best accuracy over epochs is chosen on the very images that it is measured on, so it is "
    "optimistic, for both inits alike; no separate test set is held back (--split budget has one).",
    "Intervals cover the choice of validation images and, with two seeds or more, the variance "
    "between seeds; the choice of training images only if the split varies with the seed "
    "(--resample).",
)
TESTED = (
    "Intervals cover the choice of test images and, with two seeds or more, the variance between "
    "seeds, which holds which images are labelled unless all seeds label the same (--fixed-draw). "
    "Images of another survey may be harder.",
)
LIMITS = (
    "Intervals never cover other hyperparameters. But for those that are said to be simultaneous, "
    "each is a 95% CI on its own: of twenty comparisons without a difference, one is expected to "
    "show one.",
    "The verdicts are about this data, this model, these weights, this protocol and this "
    "augmentation (see the settings), which can be a rival to pre-training if labels are few.",
    "Times are of one machine, and of trials that may have run side by side on it.",
)


def section(analysis: Analysis) -> Section:
    """What holds for every sweep, and what its kind of split leaves open."""
    items = (*(TESTED if analysis.results.scored_on == "test" else CHOSEN), *LIMITS)
    return Section(id="limits", title="Limits", blocks=(Bullets(items=items),))
