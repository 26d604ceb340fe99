import re

import pytest
import synthetic
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_figures import overlaps

from analysis import enough, figures
from analysis.baseline import against_baseline, crossing
from analysis.cost import shares
from analysis.crossing import enough as places
from analysis.intervals import accuracies
from analysis.labels import labels

OTHER = {"scratch": "pretrained", "pretrained": "scratch"}
CASES = {
    "crosses": synthetic.accuracy_of,
    "never": lambda init, n, seed: synthetic.accuracy_of(OTHER[init], n, seed),
    "below": lambda init, n, seed: 0.8 if init == "pretrained" else 0.5 + n / 5000,
    "near": lambda init, n, seed: (
        synthetic.accuracy_of("scratch", n, seed) + 0.01 * (init == "pretrained")
    ),
    "perfect": lambda *_: 1.0,
}


def section(results):
    return labels(results, crossing(against_baseline(results)), places(results))


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("case", CASES)
def test_every_case_has_words_and_no_overlap(make_results, case, seeds):
    made = section(make_results(synthetic.grid(seeds=seeds), CASES[case]))
    tables = " ".join(table.to_string() for _, table, _ in made.tables.values())
    said = f"{texts(made.plate.figure)} {tables} {made.plate.caption}"
    assert not re.search(r"\b(nan|inf|None)\b", said)
    assert f"n = {len(seeds)} seed" in said
    if case != "perfect":  # ticks may coincide there
        assert not overlaps(made.plate.figure)


def test_title_says_the_crossing(make_results):
    for case, words in (
        ("crosses", "matches the baseline with 23 % of the labels"),
        ("never", "does not reach the baseline"),
        ("below", "matches the baseline with 10 % of the labels, or fewer"),
    ):
        assert words in texts(section(make_results(synthetic.grid(), CASES[case])).plate.figure)


def test_costs_are_of_the_fraction_that_reaches_the_baseline(full_grid, make_results):
    assert "at 25 %, the smallest fraction tested" in section(full_grid).plate.caption
    never = section(make_results(synthetic.grid(), CASES["never"]))
    assert "at 100 %, the most tested, as the baseline is not reached" in never.plate.caption


def test_curves(full_grid, ax):
    enough.learning(accuracies(full_grid), places(full_grid), ax)
    assert ax.get_xscale() == "log"
    means = next(line for line in ax.lines if line.get_label().startswith("pre-trained"))
    expected = full_grid.complete.query("init == 'pretrained'").groupby("n_train")
    assert means.get_ydata() == pytest.approx(expected["best_val_accuracy"].mean().to_numpy())
    assert sorted(ax.get_xticks()) == [99, 248, 496, 992]
    (baseline,) = [line for line in ax.lines if line.get_color() == figures.BASELINE_STYLE["color"]]
    assert baseline.get_label() == "baseline: from scratch, all labels"
    (diamond,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert diamond.get_xdata()[0] == pytest.approx(992 * places(full_grid).crossing.value)


def test_bars(full_grid, ax):
    found = shares(full_grid, 0.25)
    enough.costs(found, ax, "at 25 %")
    assert [bar.get_width() for bar in ax.patches] == [s.share.value for s in found]
    assert all(any(enough.factor(s) in t.get_text() for t in ax.texts) for s in found)


def test_none_without_a_baseline(make_results):
    assert section(make_results(synthetic.grid((0.1, 0.5), (0,)))) is None


def test_without_times(make_results):
    results = make_results(synthetic.grid((0.5, 1.0), (0, 1)))
    results.trials["total_seconds"] = None
    made = section(results)
    assert "seconds of the epochs" not in made.tables["compute_saving"][1]["cost"].tolist()
