"""A sweep that compares a linear probe with full fine-tuning, from its flags to its report."""

import numpy as np
import pytest
import torch
from helpers.sweeps import manifest

from analysis.report import __main__ as report
from analysis.results.artifacts import trained_model
from analysis.results.load import read
from trainable.data.batches import image_rows, predict
from trainable.data.dataset import open_survey
from trainable.data.preprocess import cached_images
from trainable.models.architectures import architecture


@pytest.fixture(scope="module")
def probed(sweep_run, tmp_path_factory):
    """Storage with a finished sweep of a probe, with three draws, and of all layers."""
    storage = tmp_path_factory.mktemp("storage")
    flags = (
        "--fractions",
        0.5,
        1,
        "--trained",
        "probe",
        "all",
        "--probe-draws",
        3,
        "--protocol",
        "demo",
    )
    process = sweep_run(storage, *flags, "--max-epochs", 2, "--name", "small")
    assert process.returncode == 0, process.stderr
    return storage


def test_probes_have_more_seeds_than_others(probed):
    results = read(probed / "small")
    assert set(results.trials["status"]) == {"complete"}
    seeds = results.trials.groupby(["protocol", "init", "fraction"])["seed"].apply(sorted)
    for fraction in (0.5, 1.0):
        assert seeds["demo+probe", "scratch", fraction] == [0]
        assert seeds["demo+probe", "pretrained", fraction] == [0, 1, 2]
        assert seeds["demo+all", "pretrained", fraction] == [0]
    probes = results.trials[results.trials["strength"].notna()]
    assert len(probes) == 6
    assert set(probes["epochs"]) == {1}


def test_the_model_of_a_probe_gives_the_predictions_that_it_stored(probed):
    results = read(probed / "small")
    trial = "pretrained-050-s2"
    model, config = trained_model(results, trial)
    stored = results.predictions(trial)
    images = cached_images(
        open_survey(config.data.path),
        transform=config.transform,
        size=architecture(config.arch).image_size,
        cache_dir=config.data.cache_dir,
    )
    inputs = image_rows(images, architecture(config.arch), "cpu")
    logits = predict(model, inputs, rows=torch.from_numpy(stored.rows.astype(np.int64)))
    np.testing.assert_allclose(logits.softmax(1), stored.probabilities, atol=1e-4)


def test_the_report_sets_the_variants_side_by_side(probed, tmp_path):
    assert report.main([str(probed / "small"), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "2 protocols: demo+probe and demo+all" in page
    table = (tmp_path / "tables" / "protocols.md").read_text()
    rows = [line for line in table.splitlines() if "demo+probe" in line]
    assert any("last layer, in closed form" in row for row in rows)


@pytest.mark.slow
def test_more_draws_may_be_added(probed, sweep_run):
    before = {cell.id for cell in manifest(probed).cells}
    process = sweep_run(
        probed, "--resume", "small", "--probe-draws", 4, "--trained", "probe", "all"
    )
    assert process.returncode == 0, process.stderr
    added = {cell.id for cell in manifest(probed).cells} - before
    assert added == {"pretrained-100-s3", "pretrained-050-s3"}
    assert set(read(probed / "small").trials["status"]) == {"complete"}
