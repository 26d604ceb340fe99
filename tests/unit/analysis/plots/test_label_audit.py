import numpy as np
import pandas as pd
import pytest

from analysis.plots.label_audit import check


def test_means_over_repeats_are_drawn():
    rows = [
        {"kind": kind, "rate": rate, "added": rate, "estimate": 0.1 + rate + step,
         "precision_at_flipped": 0.5 + step}
        for kind in ("uniform", "confused")
        for rate in (0.1, 0.2)
        for step in (-0.01, 0.01)
    ]  # fmt: skip
    kinds = {"uniform": "to any", "confused": "to one"}
    left, right = check(pd.DataFrame(rows), 0.1, kinds, 2).axes
    for container in left.containers:
        assert np.asarray(container.lines[0].get_ydata()) == pytest.approx([0.2, 0.3])
    assert len(left.containers) == len(right.containers) == 2
    assert "2 repeats" in left.get_xlabel()
