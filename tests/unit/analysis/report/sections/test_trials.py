import numpy as np
import pytest
from helpers import synthetic

from analysis.report.analysis import Analysis
from analysis.report.sections import trials


def test_table_and_csv(make_results):
    results = make_results(
        synthetic.grid((1.0,), (0, 1)), status={"scratch-100-s1": ("not started", "")}
    )
    section = trials.section(Analysis(everything=results))
    table = section.tables[0].frame
    assert table["status"].tolist() == ["complete", "not started", "complete", "complete"]
    assert table.loc[1, "accuracy %"] == "–"
    best = results.trials.loc[0, "accuracy"]
    assert table.loc[0, "accuracy %"] == f"{100 * best:.2f}"
    assert list(section.data["trials"]) == [
        *("trial", "arch", "init", "fraction", "seed", "protocol"),
        *("n_labels", "n_scored", "epochs"),
        *("accuracy", "loss", "best_val_accuracy", "best_val_loss"),
        *("epoch_seconds", "total_seconds", "status"),
    ]
    assert section.data["epochs"] is results.epochs


def test_another_metric_stands_beside_accuracy(make_results):
    results = make_results(synthetic.grid((1.0,), (0,))).with_metric("neg_log_loss")
    section = trials.section(Analysis(everything=results))
    stored = results.predictions("scratch-100-s0")
    of_true = stored.probabilities[np.arange(len(stored.labels)), stored.labels]
    expected = np.log(of_true).mean()
    assert section.data["trials"].loc[0, "neg_log_loss"] == pytest.approx(expected, abs=1e-6)
    shown = section.tables[0].frame.loc[0, "negative log loss"]
    assert float(shown.replace("−", "-")) == pytest.approx(expected, abs=1e-4)
