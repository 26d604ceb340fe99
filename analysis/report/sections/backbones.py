"""Several architectures, or controls, in one sweep: which needs the fewest labels for an accuracy.

By accuracy, whatever the report's metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis import formatting
from analysis.formatting import capital
from analysis.plots import backbones as plots
from analysis.report.analysis import Analysis
from analysis.report.figures import ReportFigure
from analysis.report.section import Block, Note, Section
from analysis.report.tables import BEST, ReportTable
from analysis.stats import backbones
from analysis.stats.backbones import Comparison, Method, Needed
from analysis.stats.estimates import Estimate, spread
from analysis.stats.label_efficiency import BELOW, NEVER
from analysis.stats.methods_at_equal_labels import AtLabels, at_equal_labels
from trainable.manifest import Backbone, Manifest
from trainable.models.image_statistics import GRID, QUANTILES
from trainable.protocol import IMAGE_STATISTICS, UNTRAINED

TITLE = "Which backbone needs the fewest labels?"
CAPTION = (
    "Marks are means over seeds, lines isotonic fits. One colour for each architecture; squares and dotted lines: "
    "trained from scratch; crosses: controls, whose network nothing has trained.{}"
)
TABLE_TITLE = (
    "Labels needed for {} of the {} images right. 95% CI: simultaneous intervals of all {} methods. “Times the "
    "fewest”: labels over those of the first network; in brackets, the factor that is shown together with all "
    "comparisons of two methods."
)
SETTINGS_TITLE = (
    "What the architectures do not share. Images, split and seeds are the same for all."
)
HOW = (
    "The labels needed are where an isotonic fit of the mean accuracies over the logarithm of the labels reaches "
    "the accuracy; {how}. A method is said to need more than another if a lower bound of their ratio is above 1; "
    "the bounds of all pairs hold together in 95% of sweeps. Beyond the budgets tested nothing is assumed."
)
CHOSEN = (
    " The accuracy was chosen from these results: the highest multiple of 5% that at least half of the networks "
    "reach with fewer labels than the most. Ask for yours by --target."
)
ACCURACY_TITLE = (
    "{} in %, mean ± standard deviation over seeds, of which the number is in brackets."
)
DIFFERENCE_TITLE = (
    "{} of {} minus that of each other method with as many labels, in points. 95% CI: simultaneous intervals of all "
    "pairs of methods with that number of labels."
)
NO_INTERVAL = "Without an interval: one seed each, or predictions that are not stored."
NOT_COMPARED = (
    "Without several seeds and their stored predictions it is not compared with the others."
)
CONTROLS = (
    "Controls show what an accuracy owes to the backbone: “untrained” is a linear probe on the frozen network with "
    "random weights, of a new network for each seed; “image statistics” one on simple numbers of each image, by "
    f"channel: mean, standard deviation, {len(QUANTILES)} quantiles ({{quantiles}}) and the means of "
    f"{GRID} × {GRID} parts."
)


def section(analysis: Analysis) -> Section | None:
    """A figure and two tables; None if there is one architecture and no control."""
    everything = analysis.by_accuracy.everything
    if len(everything.archs) == 1 and UNTRAINED.name not in set(everything.trials["protocol"]):
        return None
    methods = backbones.methods_of(everything)
    if not methods:
        return None
    target = analysis.target or backbones.usual_target(methods)
    blocks: list[Block] = []
    if len(everything.archs) > 1:
        blocks.append(
            f"All else on this page but the list of trials is about {analysis.pretrained_name} and "
            f"{analysis.scratch_name}."
        )
    found = None
    if target is not None:
        n_pool = everything.manifest.data.n_pool if everything.scored_on == "test" else None
        found = backbones.compare(
            methods, target, chosen=analysis.target is not None, n_pool=n_pool
        )
        blocks.insert(0, sentence(found, everything.scored_on))
    blocks.append(_figure(methods, target, everything.accuracy_name))
    if found is not None:
        title = TABLE_TITLE.format(
            formatting.fraction(found.target), everything.scored_on, len(found.needed)
        )
        blocks += [
            ReportTable(
                path="tables/backbones", title=title, frame=needed_table(found), numbers=False
            ),
            Note(text=_how(found)),
        ]
    data = {"labels_needed": numbers(found)} if found is not None else {}
    blocks.append(accuracy_table(methods, everything.accuracy_name))
    reference = _reference(methods, found)
    if reference is not None and len(methods) > 1:
        compared = at_equal_labels(reference, methods)
        place = 0 if found is None else 1
        blocks.insert(place, accuracy_sentence(reference, compared[-1], methods))
        blocks += difference_blocks(reference, compared, methods, everything.accuracy_name)
        data["methods_at_equal_labels"] = difference_numbers(reference, compared, methods)
    if any(method.is_control for method in methods):
        quantiles = ", ".join(formatting.fraction(share) for share in QUANTILES)
        blocks.append(Note(text=CONTROLS.format(quantiles=quantiles)))
    blocks.append(
        ReportTable(
            path="tables/architectures",
            title=SETTINGS_TITLE,
            frame=settings_table(everything.manifests),
            numbers=False,
        )
    )
    return Section(id="backbones", title=TITLE, blocks=tuple(blocks), data=data)


def sentence(found: Comparison, scored_on: str = "test") -> str:
    """Which method needs the fewest labels, and which are not shown to need more."""
    target = f"To be right on {formatting.fraction(found.target)} of the {scored_on} images"
    first = found.fewest
    if first is None:
        return f"{target} no number of labels tested is enough for any network."
    text = f"{target}, {first.method.name} needs the fewest labels: {first.crossing}."
    if first.crossing.low is None or first.crossing.of_models:
        return f"{text} {NOT_COMPARED}"
    others = [n for n in found.needed if n is not first and not n.method.is_control]
    alike = [n.method.name for n in others if first.method.name not in n.more_than]
    more = [n for n in others if first.method.name in n.more_than]
    if more:
        names = "; ".join(f"{n.method.name}{_at_least(n)}" for n in more)
        text += f" Shown to need more: {names}."
    if alike:
        text += f" Not shown to need more: {'; '.join(alike)}."
    controls = [n for n in found.needed if n.method.is_control]
    as_few = [n.method.name for n in controls if first.method.name not in n.more_than]
    if as_few:
        text += (
            f" Controls that are not shown to need more, either: {'; '.join(as_few)}. So pre-training "
            "is not shown to save labels at this accuracy."
        )
    return text


def _at_least(needed: Needed) -> str:
    """What follows the interval of a ratio, as in: , at least 1.4 times as many."""
    low = needed.times_low
    return "" if low is None or low < 1.05 else f", at least {low:.2g} times as many"


def _figure(methods: list[Method], target: float | None, name: str) -> ReportFigure:
    figure = Figure(figsize=(10.5, max(4.2, 0.24 * len(methods) + 1.2)), layout="constrained")
    plots.curves(methods, target, figure.subplots(), name=name)
    line = "" if target is None else " Horizontal line: the accuracy asked for."
    return ReportFigure(
        name="backbones",
        title=f"{capital(name)} of every architecture and what is trained of it",
        caption=CAPTION.format(line),
        figure=figure,
    )


def _reference(methods: Sequence[Method], found: Comparison | None) -> Method | None:
    """The network that needs the fewest labels, or else the most accurate one with most labels."""
    if found is not None and found.fewest is not None:
        return found.fewest.method
    networks = [method for method in methods if not method.is_control]
    return max(networks, key=lambda method: method.cells[-1].accuracy, default=None)


def accuracy_table(methods: Sequence[Method], name: str) -> ReportTable:
    """Mean accuracies, one row for each method and one column for each number of labels."""
    columns = sorted({cell.n_labels for method in methods for cell in method.cells})
    rows: list[dict[str, str]] = []
    marks: dict[tuple[int, str], str] = {}
    for number in columns:
        known = {
            row: cell.accuracy
            for row, method in enumerate(methods)
            for cell in method.cells
            if cell.n_labels == number
        }
        marks[max(known, key=lambda row: known[row]), _labels(number)] = BEST
    for method in methods:
        row = {"method": method.name} | dict.fromkeys(map(_labels, columns), formatting.NONE)
        for cell in method.cells:
            mean, std, n = spread([100 * accuracy for accuracy in cell.accuracies])
            row[_labels(cell.n_labels)] = f"{formatting.with_spread(mean, std, 1)} ({n})"
        rows.append(row)
    title = ACCURACY_TITLE.format(capital(name))
    return ReportTable(path="tables/methods", title=title, frame=pd.DataFrame(rows), marks=marks)


def _labels(number: int) -> str:
    return f"{number:,} labels"


def accuracy_sentence(reference: Method, most: AtLabels, methods: Sequence[Method]) -> str:
    """Which methods the reference is shown to be more accurate than with most labels, and which not.

    Parameters
    ----------
    most
        All methods with the most labels that the reference was tested with.
    """
    groups: dict[int | None, list[str]] = {1: [], 0: [], -1: [], None: []}
    for method in methods:
        if method.name in most.differences and not method.is_control:
            estimate = most.differences[method.name]
            groups[estimate.sign].append(f"{method.name} {_difference(estimate)}")
    words = {
        1: "It is shown to be more accurate than",
        0: "It is not shown to differ from",
        -1: "It is shown to be less accurate than",
        None: "There is no interval of its lead over",
    }
    told = [f"{text} {'; '.join(groups[sign])}." for sign, text in words.items() if groups[sign]]
    if not told:
        return f"No other network was tested with {_labels(most.n_labels)}."
    accuracy = formatting.percent(most.cells[reference.name].accuracy)
    return (
        f"With {_labels(most.n_labels)}, {reference.name} is right on {accuracy} of the images. "
        f"{' '.join(told)} (Points, with simultaneous 95% intervals.)"
    )


def _difference(estimate: Estimate) -> str:
    """The value in points and, if it has one, the interval."""
    if estimate.low is None:
        return formatting.points(estimate.value)
    return estimate.in_points(unit="")


def difference_blocks(
    reference: Method, compared: Sequence[AtLabels], methods: Sequence[Method], name: str
) -> list[Block]:
    """The reference minus all others, one row for each and one column for each number of labels."""
    rows = [
        {"method": method.name}
        | {
            _labels(at.n_labels): _difference(at.differences[method.name])
            if method.name in at.differences
            else formatting.NONE
            for at in compared
        }
        for method in methods
        if any(method.name in at.differences for at in compared)
    ]
    if not rows:
        return []
    title = DIFFERENCE_TITLE.format(capital(name), reference.name)
    table = ReportTable(path="tables/methods_difference", title=title, frame=pd.DataFrame(rows))
    every = [estimate for at in compared for estimate in at.differences.values()]
    return [table, Note(text=NO_INTERVAL)] if any(e.low is None for e in every) else [table]


def difference_numbers(
    reference: Method, compared: Sequence[AtLabels], methods: Sequence[Method]
) -> pd.DataFrame:
    """The differences as numbers: accuracies 0–1."""
    return pd.DataFrame(
        [
            {
                "method": reference.name,
                "other": method.name,
                "n_labels": at.n_labels,
                "accuracy": at.cells[reference.name].accuracy,
                "other_accuracy": at.cells[method.name].accuracy,
                "difference": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "level_of_each": at.level,
                "how": estimate.how,
            }
            for at in compared
            for method in methods
            if (estimate := at.differences.get(method.name)) is not None
        ]
    )


def needed_table(found: Comparison) -> pd.DataFrame:
    """One row for each method, from few labels to many."""
    return pd.DataFrame([_row(needed, found) for needed in found.needed])


def _row(needed: Needed, found: Comparison) -> dict[str, str]:
    method, crossing = needed.method, needed.crossing
    most = method.cells[-1]
    return {
        "method": method.name,
        "seeds": formatting.seeds([cell.n for cell in method.cells]).removeprefix("n = "),
        "trained parameters": f"{method.example.trained_parameters:,}",
        "accuracy with most labels": f"{formatting.percent(most.accuracy)} ({most.n_labels:,})",
        "labels needed": crossing.text,
        "95% CI": crossing.interval.removeprefix("95% CI: "),
        "times the fewest": _times(needed, found),
        "shown to need more than": "; ".join(needed.more_than)
        if len(needed.more_than) < 4
        else f"{len(needed.more_than)} of {len(found.needed) - 1} others",
    }


def _times(needed: Needed, found: Comparison) -> str:
    if needed is found.fewest:
        return "1"
    times = formatting.NONE if needed.times is None else f"{needed.times:.2g}"
    return times if needed.times_low is None else f"{times} (≥ {needed.times_low:.2g})"


def _how(found: Comparison) -> str:
    ways = dict.fromkeys(needed.crossing.how for needed in found.needed)
    return HOW.format(how="; or ".join(ways)) + ("" if found.chosen else CHOSEN)


def numbers(found: Comparison) -> pd.DataFrame:
    """The comparison as numbers: fractions of the pool, empty if below or beyond what was tested."""

    def known(value: float | None) -> float | None:
        return None if value in (None, BELOW, NEVER) else value

    return pd.DataFrame(
        [
            {
                "method": needed.method.name,
                "arch": needed.method.arch,
                "init": needed.method.example.init,
                "trained": needed.method.example.config.trained,
                "control": needed.method.is_control,
                "target": found.target,
                "labels": needed.crossing.text,
                "fraction": known(needed.crossing.value),
                "low": known(needed.crossing.low),
                "high": known(needed.crossing.high),
                "times_fewest": needed.times,
                "times_at_least": needed.times_low,
                "more_than": "; ".join(needed.more_than),
            }
            for needed in found.needed
        ]
    )


def settings_table(manifests: Sequence[Manifest]) -> pd.DataFrame:
    """One row for each architecture of each sweep: what its trials do not share with the others'."""
    several = len(manifests) > 1
    return pd.DataFrame(
        [
            ({"sweep": manifest.name} if several else {}) | _settings(backbone, manifest)
            for manifest in manifests
            for backbone in manifest.backbones
        ]
    )


def _settings(backbone: Backbone, manifest: Manifest) -> dict[str, str]:
    cells = manifest.of_arch(backbone.arch).cells
    framed = sorted({cell.config.transform for cell in cells})
    precisions = sorted({str(cell.config.precision) for cell in cells})
    epochs = sorted({c.config.max_epochs for c in cells if c.config.trained != "probe"})
    seeds = {cell.seed for cell in cells}
    size = "" if backbone.image_size is None else f"{backbone.image_size} pixels, "
    return {
        "architecture": backbone.arch,
        "input": size + ", ".join(name.replace("_", " and ") for name in framed),
        "mean": _channels(backbone.mean),
        "s.d.": _channels(backbone.std),
        "precision": ", ".join(precisions) or formatting.NONE,
        "epochs at most": ", ".join(map(str, epochs)) or formatting.NONE,
        "seeds": str(len(seeds)),
        "parameters": formatting.NONE
        if backbone.arch == IMAGE_STATISTICS
        else f"{max((cell.parameters for cell in cells), default=0):,}",
        "GFLOP an image": f"{max((cell.forward_flops for cell in cells), default=0) / 1e9:.3g}",
        "weights": formatting.weights(backbone.weights),
        "SHA-256 of the weights": (backbone.weights_sha256 or formatting.NONE)[:12],
        "library": backbone.library or "this project",
        "licence": backbone.licence or formatting.NONE,
    }


def _channels(values: tuple[float, ...] | None) -> str:
    if values is None:
        return formatting.NONE
    return ", ".join(dict.fromkeys(f"{value:.3g}" for value in values))
