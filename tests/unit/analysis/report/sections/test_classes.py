import numpy as np
import pytest
from helpers import synthetic

from analysis.report.analysis import Analysis
from analysis.report.sections import classes
from analysis.stats.seed_predictions import at_largest


def section(results):
    return classes.section(Analysis(everything=results))


def names(results):
    return [figure.name for figure in section(results).figures]


@pytest.fixture(scope="module")
def full_section(full_analysis):
    return classes.section(full_analysis)


def test_both_inits(full_section):
    made = full_section
    assert [figure.name for figure in made.figures] == [
        *("class_gains", "confusion_scratch", "confusion_pretrained", "confusion_difference"),
        "reliability",
    ]
    assert all("n = 3 seeds" in figure.caption for figure in made.figures)
    (table,) = made.tables
    assert table.frame["class"].tolist() == list(synthetic.NAMES)


def test_one_init(make_results):
    results = make_results(synthetic.grid((1.0,), (0,), inits=("scratch",)))
    assert names(results) == ["confusion_scratch", "reliability"]


def test_none_without_predictions(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    assert section(results) is None


@pytest.mark.parametrize("n_classes", [2, 9])
def test_confusion_counts_every_image_of_every_seed(make_results, n_classes):
    names = [f"class {number}" for number in range(n_classes)]
    results = make_results(synthetic.grid((1.0,), (0, 1)), names=names)
    predictions = at_largest(results)["scratch"]
    shares, images = classes.confusion_shares(predictions, names)
    assert images.sum() == 248
    assert np.allclose(shares.sum(axis=1), 1)
    assert (np.diag(shares) * images).sum() == pytest.approx(predictions.correct.mean() * 248)


def test_gains_are_in_order(full_section):
    figure = full_section.figures[0].figure
    marks = [line for line in figure.axes[0].lines if line.get_marker() in "so"]
    ordered = sorted(marks, key=lambda line: -line.get_ydata()[0])
    values = [line.get_xdata()[0] for line in ordered]
    assert values == sorted(values, reverse=True)


def test_a_class_without_validation_images_says_so(make_results):
    names = [f"class {number}" for number in range(6)]
    results = make_results(synthetic.grid((1.0,), (0,)), names=names)
    counts = results.manifest.data.class_counts
    results = synthetic.with_data(results, class_names=(*names, "rare"), class_counts=(*counts, 1))
    (table,) = section(results).tables
    assert "no image" in table.frame.set_index("class").loc["rare"].tolist()
