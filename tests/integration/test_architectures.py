"""A sweep of two architectures with controls, from its flags to its report."""

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from helpers.sweeps import assert_same_epochs, manifest, saved_rows

from analysis.report import __main__ as report
from analysis.results.load import read

NET = "timm:test_vit"


@pytest.fixture(scope="module")
def compared(sweep_run, tmp_path_factory):
    """Storage with a finished sweep of the small ViT and of a tiny one of timm, and its process."""
    storage = tmp_path_factory.mktemp("storage")
    weights = storage / "test_vit.pth"
    with torch.random.fork_rng():
        torch.manual_seed(7)
        torch.save(timm.create_model("test_vit", num_classes=5).state_dict(), weights)
    flags = ("--arch", "vit_demo", NET, "--scratch-arch", "vit_demo", "--trained", "probe", "all")
    grid = ("--fractions", 0.5, 1, "--seeds", 0, 1, "--probe-draws", 3, "--max-epochs", 1)
    named = ("--weights", f"{NET}={weights}", "--protocol", "demo", "--name", "small")
    process = sweep_run(storage, *flags, *grid, *named)
    assert process.returncode == 0, process.stderr
    return storage, process


def test_every_method_ran_on_the_same_images_and_seeds(compared):
    results = read(compared[0] / "small")
    assert set(results.trials["status"]) == {"complete"}
    assert results.trials["scored_hash"].nunique() == 1
    seeds = results.trials.groupby(["arch", "protocol", "init"])["seed"].apply(
        lambda numbers: sorted(set(numbers))
    )
    assert seeds.to_dict() == {
        ("vit_demo", "demo+probe", "pretrained"): [0, 1, 2],
        ("vit_demo", "demo+probe", "scratch"): [0, 1],
        ("vit_demo", "demo+all", "pretrained"): [0, 1],
        ("vit_demo", "untrained", "scratch"): [0, 1],
        (NET, "demo+probe", "pretrained"): [0, 1, 2],
        (NET, "demo+all", "pretrained"): [0, 1],
        (NET, "untrained", "scratch"): [0, 1],
        ("image_statistics", "untrained", "scratch"): [0, 1, 2],
    }
    probes = results.trials[results.trials["strength"].notna()]
    assert probes.groupby(["fraction", "seed"])["split_hash"].nunique().eq(1).all()


def test_each_seed_is_another_untrained_network(compared):
    results = read(compared[0] / "small")
    first, second = (
        results.predictions(f"timm-test_vit-untrained-scratch-100-s{seed}") for seed in (0, 1)
    )
    assert not np.allclose(first.probabilities, second.probabilities)


def test_a_trial_is_the_run_without_ray(compared):
    storage = compared[0]
    cells = {cell.id: cell for cell in manifest(storage).cells}
    for name in (
        "timm-test_vit-demo+all-pretrained-050-s0",
        "image_statistics-untrained-scratch-050-s2",
    ):
        folder = storage / "small" / "run-0" / name
        assert_same_epochs(saved_rows(folder), cells[name].config)


def test_the_report_compares_them(compared, tmp_path):
    storage, _ = compared
    assert report.main([str(storage / "small"), "--out", str(tmp_path), "--target", "0.5"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Which backbone needs the fewest labels?" in page
    numbers = pd.read_csv(tmp_path / "labels_needed.csv")
    assert sorted(numbers["method"]) == sorted(
        [
            "vit_demo (from scratch)",
            "vit_demo (pre-trained, linear probe)",
            "vit_demo (pre-trained, all layers)",
            "vit_demo (untrained, linear probe)",
            f"{NET} (pre-trained, linear probe)",
            f"{NET} (pre-trained, all layers)",
            f"{NET} (untrained, linear probe)",
            "image statistics (linear probe)",
        ]
    )
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert set(trials["arch"]) == {"vit_demo", NET, "image_statistics"}
    table = (tmp_path / "tables" / "architectures.md").read_text()
    assert "160 pixels, evaluation" in table


@pytest.mark.slow
def test_a_further_seed_is_added_to_each(compared, sweep_run):
    storage, _ = compared
    before = {cell.id for cell in manifest(storage).cells}
    flags = ("--trained", "probe", "all", "--weights", f"{NET}={storage / 'test_vit.pth'}")
    process = sweep_run(storage, "--resume", "small", *flags, "--seeds", 2, "--fractions", 1)
    assert process.returncode == 0, process.stderr
    added = {cell.id for cell in manifest(storage).cells} - before
    assert added == {
        "scratch-100-s2",
        "demo+all-pretrained-100-s2",
        "timm-test_vit-demo+all-pretrained-100-s2",
        "untrained-scratch-100-s2",
        "timm-test_vit-untrained-scratch-100-s2",
    }
