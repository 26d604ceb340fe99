"""What several sections of a sweep's report rest on, each computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from analysis import formatting, paper
from analysis.metrics import ACCURACY
from analysis.plots.style import INIT_NAMES, FigureNames, figure_names
from analysis.results.pair import Pair, pair
from analysis.results.schema import Results
from analysis.stats import backbones, comparisons, estimates, label_efficiency
from analysis.stats.backbones import Comparison
from analysis.stats.comparisons import Crossing
from analysis.stats.label_efficiency import LabelEfficiency, tested_cells
from analysis.stats.power_law import LearningCurve, Refused, learning_curves, rounded
from analysis.stats.seed_predictions import CellRuns, SeedPredictions, at_largest
from trainable.protocol import INITS


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """A sweep's results, and the comparisons that its report makes of them."""

    everything: Results
    """The trials of all protocols."""
    with_authors: bool = True
    """Lay the authors' own curves under ours, if data and model are the paper's."""
    target: float | None = None
    """An accuracy, 0–1, whose number of labels is asked for."""
    more: int | None = None
    """Labels beyond the largest budget whose gain is asked for. None: as many again."""
    of: str | None = None
    """The pre-trained architecture that most sections are about. None: chosen by validation."""
    baseline: str | None = None
    """The architecture that is trained from scratch there. None: chosen by validation."""

    @cached_property
    def pair(self) -> Pair:
        """The pre-trained architecture and the training from scratch that most sections are about."""
        return pair(self.everything, self.of, self.baseline)

    @property
    def results(self) -> Results:
        """The trials of the pair, by the first protocol."""
        return self.pair.results

    @property
    def pretrained_name(self) -> str:
        """The pre-trained model in words, by its architecture if there are several."""
        several = len(self.pair.among_pretrained) > 1 or self.pair.pretrained != self.pair.scratch
        return f"the pre-trained {self.pair.pretrained}" if several else "the pre-trained model"

    @property
    def scratch_name(self) -> str:
        """Training from scratch in words, by its architecture if that is another or one of several."""
        several = len(self.pair.among_scratch) > 1 or self.pair.pretrained != self.pair.scratch
        return f"training {self.pair.scratch} from scratch" if several else "training from scratch"

    @cached_property
    def by_accuracy(self) -> Analysis:
        """The same by accuracy, whatever the metric: for what is set against the paper."""
        if self.everything.metric == ACCURACY:
            return self
        return replace(self, everything=self.everything.with_metric(ACCURACY.name))

    @property
    def baseline_fraction(self) -> float:
        """Of the baseline: from scratch on the most labels."""
        return self.results.baseline_fraction

    @cached_property
    def not_comparable(self) -> str | None:
        """Why accuracies cannot be set against the paper's; None if they can."""
        return paper.why_not_comparable(self.results.manifest)

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names, by label."""
        return self.results.manifest.data.class_names

    @cached_property
    def figure_names(self) -> FigureNames:
        """The class names as figures show them, then those of the classes left out."""
        return figure_names(self.all_class_names)

    @property
    def all_class_names(self) -> tuple[str, ...]:
        """The class names, then those of the classes left out."""
        dropped = self.results.manifest.data.dropped
        return (*self.class_names, *(kind.name for kind in dropped))

    @cached_property
    def against_baseline(self) -> pd.DataFrame:
        """Every pre-trained cell against scratch on all labels."""
        return comparisons.against_baseline(self.results)

    @cached_property
    def at_equal_labels(self) -> pd.DataFrame:
        """Every pre-trained cell against scratch with the same labels."""
        return comparisons.at_equal_labels(self.results)

    @cached_property
    def crossing(self) -> Crossing:
        """Which of the fractions tested reach the baseline."""
        return comparisons.crossing(self.against_baseline)

    @cached_property
    def label_efficiency(self) -> LabelEfficiency:
        """How many labels the pre-trained model needs, with intervals."""
        return label_efficiency.label_efficiency(self.results)

    @cached_property
    def methods(self) -> dict[str, list[CellRuns]]:
        """Training method → its cells with complete trials, by ascending number of labels."""
        every = {INIT_NAMES[init]: tested_cells(self.results, init) for init in reversed(INITS)}
        return {name: cells for name, cells in every.items() if cells}

    @cached_property
    def learning_curves(self) -> dict[str, LearningCurve | Refused]:
        """Training method → its curve, continued beyond the largest budget, or why it is not.

        The others' baseline is training from scratch on the most labels.
        """
        name = INIT_NAMES["scratch"]
        scratch = self.methods.get(name)
        known = scratch and np.isclose(scratch[-1].fraction, self.baseline_fraction)
        return learning_curves(self.methods, name if known else None)

    @cached_property
    def against_transfer(self) -> Comparison | None:
        """Labels that each method needs to be as accurate as a transferred network with none.

        None if the sweep is no transfer, or has no complete trial.
        """
        transfer, everything = self.everything.transfer, self.by_accuracy.everything
        methods = backbones.methods_of(everything) if transfer else []
        if transfer is None or not methods:
            return None
        return backbones.compare(methods, transfer.accuracy, n_pool=everything.manifest.data.n_pool)

    @property
    def more_labels(self) -> int:
        """Labels beyond the largest budget whose gain the report tells."""
        return self.more or rounded(int(self.results.complete["n_labels"].max()))

    @cached_property
    def accuracies(self) -> pd.DataFrame:
        """Mean accuracy, or value of another metric, of each cell with its interval."""
        return estimates.accuracies(self.results)

    @cached_property
    def predictions(self) -> dict[str, SeedPredictions]:
        """Init → what its seeds predict at the largest fraction."""
        return at_largest(self.results)

    def why_absent(self, fraction: float, *inits: str) -> str | None:
        """Why cells of a fraction have no complete trial; None if all of them have one.

        Parameters
        ----------
        *inits
            Both unless given.
        """
        reasons = (self._why_absent(init, fraction) for init in inits or reversed(INITS))
        return "; ".join(filter(None, reasons)) or None

    def _why_absent(self, init: str, fraction: float) -> str | None:
        if len(self.results.of(init, fraction)):
            return None
        cell = f"{init} at {formatting.fraction(fraction)}"
        trials = self.results.missing
        trials = trials[(trials["init"] == init) & np.isclose(trials["fraction"], fraction)]
        if trials.empty:
            return f"the grid has no trial {cell}"
        return f"no trial {cell} is complete ({formatting.listed(sorted(set(trials['status'])))})"

    @property
    def why_no_baseline(self) -> str | None:
        """Why there is no complete trial from scratch on all labels; None if there is one."""
        return self.why_absent(self.baseline_fraction, "scratch")
