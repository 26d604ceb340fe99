"""The report's section on temperature scaling."""

import numpy as np
import pytest
from helpers import synthetic
from scipy.special import softmax

from analysis.report.analysis import Analysis
from analysis.report.sections import calibration


def test_none_without_predictions_of_validation_images(full_analysis):
    assert calibration.section(full_analysis) is None


@pytest.mark.parametrize(
    ("sharpness", "n_test", "verdict"), [(3.0, 500, "more honest"), (1.0, 60, "no significant")]
)
def test_table_and_verdict(make_results, tmp_path, sharpness, n_test, verdict):
    cells = synthetic.grid((1.0,), (0, 1), inits=("scratch",))
    results = make_results(cells, split="budget")
    for cell in cells:
        for name, n, shift in (("predictions", n_test, 0), ("validation", 300, 10)):
            random = np.random.default_rng(cell.seed + shift)
            logits = 2 * random.normal(size=(n, 6))
            labels = (softmax(logits, axis=1).cumsum(1) > random.random((n, 1))).argmax(1)
            np.savez(
                tmp_path / cell.id / f"{name}.npz",
                rows=np.arange(n),
                labels=labels,
                probabilities=softmax(sharpness * logits, axis=1).astype(np.float32),
                epoch=1,
            )
    section = calibration.section(Analysis(everything=results))
    assert verdict in section.paragraphs[0]
    (row,) = section.tables[0].frame.to_dict("records")
    assert row["trials"] == "scratch at 100%, n = 2 seeds"
    assert (row["test images"], row["fitted to"]) == (f"{n_test}", "300")
