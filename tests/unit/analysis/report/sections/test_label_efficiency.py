import re

import pytest
from helpers import synthetic
from helpers.figures import overlaps, texts

from analysis.report.analysis import Analysis
from analysis.report.sections import label_efficiency

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
    return label_efficiency.section(Analysis(everything=results))


def title(made):
    return " ".join(made.figures[0].figure.axes[0].get_title(loc="left").split())


SAID = {
    "crosses": ("matches the baseline with 23% of the labels", "at 25%, the smallest fraction"),
    "never": ("does not reach the baseline", "at 100%, the largest tested"),
    "below": ("matches the baseline with 10% of the labels, or fewer", ""),
}
"""What the title says of the crossing, and the caption of the costs, with three seeds."""


@pytest.mark.parametrize(
    ("case", "seeds"),
    [*((case, (0, 1, 2)) for case in CASES), *((case, (0,)) for case in ("crosses", "perfect"))],
)
def test_every_case_has_words_and_no_overlap(make_results, case, seeds):
    made = section(make_results(synthetic.grid(seeds=seeds), CASES[case]))
    (drawn,) = made.figures
    tables = " ".join(table.frame.to_string() for table in made.tables)
    said = f"{' '.join(texts(drawn.figure))} {tables} {drawn.caption}"
    assert not re.search(r"\b(nan|inf|None)\b", said)
    assert f"n = {len(seeds)} seed" in said
    if case != "perfect":  # ticks may coincide there
        assert not overlaps(drawn.figure)
    if len(seeds) == 3 and case in SAID:
        of_crossing, of_costs = SAID[case]
        assert of_crossing in title(made)
        assert of_costs in drawn.caption


def test_none_without_a_baseline(make_results):
    assert section(make_results(synthetic.grid((0.1, 0.5), (0,)))) is None


def test_without_times(make_results):
    results = make_results(synthetic.grid((0.5, 1.0), (0, 1)))
    results.trials["total_seconds"] = None
    made = section(results)
    costs = next(table for table in made.tables if table.path == "tables/compute_saving")
    assert "seconds of the epochs" not in costs.frame["cost"].tolist()


def test_savings_have_value_and_interval(full_analysis):
    tables = label_efficiency.section(full_analysis).tables
    savings = next(table for table in tables if "label_saving" in table.path)
    row = savings.frame.set_index("from scratch").loc["100%"]
    low, high = (float(end.strip("%")) for end in row["95% CI"].split(" to "))
    assert low <= float(row["pre-trained needs"].strip("%")) <= high
