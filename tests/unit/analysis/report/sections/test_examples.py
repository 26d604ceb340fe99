from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import synthetic
from helpers.surveys import write_survey
from torch import nn

from analysis.report.analysis import Analysis
from analysis.report.sections import examples
from analysis.results import artifacts
from analysis.results.artifacts import NotAtHand, trained_model
from analysis.stats.seed_predictions import SeedPredictions
from trainable import checkpoint


def galaxies(results):
    return examples.section(Analysis(everything=results))


CONFIG = SimpleNamespace(arch="vit_demo", transform="resize")


@pytest.fixture(scope="module")
def names():
    return [f"kind {number}" for number in range(3)]


@pytest.fixture
def trained(make_run, tmp_path, names):
    """Results of two trials that were really trained, for two epochs."""
    cells = synthetic.grid((1.0,), (0,))
    results = synthetic.results(tmp_path, cells, names=names)
    for init in ("scratch", "pretrained"):
        run = make_run(init, max_epochs=2)
        for _ in range(2):
            run.step_epoch()
        folder = tmp_path / f"{init}-100-s0"
        checkpoint.save(run, folder, checkpoint.record(run))
    config = run.config.data
    return synthetic.with_data(results, path=config.path, sha256=config.sha256)


def test_galleries_of_real_trials(trained):
    made = galaxies(trained)
    assert made.paragraphs == ()
    figures = {figure.name: figure for figure in made.figures}
    assert {"galaxies_mistakes", "galaxies_attention"} <= set(figures)
    assert all(figure.dots_per_inch for figure in made.figures)
    attention = figures["galaxies_attention"]
    assert "scratch-100-s0 and pretrained-100-s0, n = 1 seed each" in attention.caption
    shown = [ax.images for ax in attention.figure.axes if ax.images]
    assert len([pair for pair in shown if len(pair) == 2]) == 3 * 2 * 2  # classes, galaxies, inits


def test_one_init_has_no_comparison(trained):
    trials = trained.trials[trained.trials["init"] == "scratch"]
    made = galaxies(replace(trained, trials=trials))
    assert [figure.name for figure in made.figures] == ["galaxies_mistakes", "galaxies_attention"]


def test_lost_weights_leave_the_galleries_and_a_sentence(trained, tmp_path):
    (tmp_path / "pretrained-100-s0" / "best.safetensors").unlink()
    made = galaxies(trained)
    assert "galaxies_attention" not in {figure.name for figure in made.figures}
    assert made.paragraphs[0].startswith("There are no attention maps: the model of pretrained")


def test_other_architecture_is_said(trained, monkeypatch):
    monkeypatch.setattr(artifacts, "trained_model", lambda results, trial: (nn.Flatten(), CONFIG))
    (sentence,) = galaxies(trained).paragraphs
    assert sentence == (
        "There are no attention maps: attention rollout needs a torchvision VisionTransformer, "
        "not Flatten."
    )


def test_no_image_that_all_seeds_saw_is_said(trained, monkeypatch):
    empty = pd.DataFrame({"label": [], "quantile": [], "row": []})
    monkeypatch.setattr("analysis.report.sections.examples.samples", lambda *_: empty)
    assert "no image is scored by every seed" in galaxies(trained).paragraphs[-1]


def test_no_file_is_said(make_results):
    made = galaxies(make_results(synthetic.grid((1.0,), (0,))))
    assert made.figures == ()
    (sentence,) = made.paragraphs
    assert sentence.startswith("The images are not at hand: ")
    assert "does not exist" in sentence


def test_another_file_is_said(trained, tmp_path):
    path = write_survey(tmp_path / "other.h5", seed=5)
    made = galaxies(synthetic.with_data(trained, path=str(path)))
    assert "the sweep's has" in made.paragraphs[0]


def test_nothing_stored(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    assert galaxies(results) is None


@pytest.mark.parametrize("part", ["all", "head"])
def test_weights_to_start_from_are_needed_by_a_frozen_backbone_alone(
    make_run, trained, tmp_path, part
):
    run = make_run("pretrained", trained=part)
    run.step_epoch()
    record = checkpoint.record(run)
    record["config"]["weights"] = str(tmp_path / "lost.safetensors")
    checkpoint.save(run, tmp_path / "pretrained-100-s0", record)
    if part == "all":
        model, _ = trained_model(trained, "pretrained-100-s0")
        torch.testing.assert_close(model.state_dict(), run.best["weights"])
    else:
        with pytest.raises(NotAtHand, match=r"cannot be built again: no weights .*lost"):
            trained_model(trained, "pretrained-100-s0")


# which galaxies are shown


def stack(init, labels, said, sure, n_classes=3):
    """A stack from (S, n) answers and confidences; row k is 10·k of the file."""
    said, sure = np.atleast_2d(said), np.atleast_2d(sure).astype(float)
    probabilities = np.repeat(((1 - sure) / (n_classes - 1))[..., None], n_classes, axis=2)
    np.put_along_axis(probabilities, said[..., None], sure[..., None], axis=2)
    return SeedPredictions(
        init=init,
        fraction=1.0,
        trials=tuple(f"{init}{k}" for k in range(len(said))),
        rows=10 * np.arange(len(labels)),
        labels=np.array(labels),
        probabilities=probabilities,
        seen=np.ones(said.shape, bool),
    )


LABELS = [0, 0, 1, 1, 2]
SCRATCH = stack(
    "scratch",
    LABELS,
    [[0, 1, 1, 2, 0], [0, 1, 0, 2, 1]],
    [[0.9, 0.6, 0.8, 0.9, 0.5], [0.8, 0.8, 0.9, 0.7, 0.9]],
)
PRETRAINED = stack(
    "pretrained",
    LABELS,
    [[1, 0, 1, 1, 0], [1, 0, 1, 2, 0]],
    [[0.6, 0.7, 0.9, 0.5, 0.8], [0.6, 0.9, 0.9, 0.6, 0.7]],
)
BOTH = {"scratch": SCRATCH, "pretrained": PRETRAINED}


def test_opinion_is_that_of_most_seeds():
    found = examples.opinion(SCRATCH)
    assert found["right"].tolist() == [2, 0, 1, 0, 0]
    assert found["said"].tolist() == [0, 1, 0, 2, 1]  # two ties go to the surer seed
    assert found["confidence"].tolist() == pytest.approx([0.85, 0.7, 0.9, 0.8, 0.9])
    assert found["mistake"].tolist() == [-1, 1, 0, 2, 1]
    assert found["mistake_confidence"].tolist() == pytest.approx([0, 0.7, 0.9, 0.8, 0.9])


def test_mistakes_of_most_seeds_and_then_the_surest():
    found = examples.confident_mistakes(SCRATCH)
    assert found.index.tolist() == [40, 30, 10, 20]
    assert examples.confident_mistakes(SCRATCH, n=1).index.tolist() == [40]


def test_no_mistakes_no_rows():
    perfect = stack("scratch", LABELS, [LABELS], [[0.9] * 5])
    assert examples.confident_mistakes(perfect).empty


def test_only_one_right_ranks_by_share_then_confidence():
    found = examples.only_one_right(BOTH, "pretrained")
    assert found.index.tolist() == [10, 20, 30]
    assert found["share"].tolist() == [1, 0.5, 0.5]
    assert found.loc[20, "confidence_pretrained"] > found.loc[30, "confidence_pretrained"]
    assert found.loc[10, ["said_scratch", "said_pretrained"]].tolist() == [1, 0]
    assert examples.only_one_right(BOTH, "scratch").index.tolist() == [0]


def test_only_images_that_both_are_scored_on():
    fewer = stack("pretrained", LABELS[:2], [[1, 0]], [[0.6, 0.7]])
    found = examples.only_one_right({"scratch": SCRATCH, "pretrained": fewer}, "pretrained")
    assert found.index.tolist() == [10]


def test_samples_are_quantiles_of_the_true_classs_probability():
    labels = np.repeat([0, 1], [11, 1])
    sure = np.append(np.linspace(0.4, 0.9, 11), 0.8)
    made = {"scratch": stack("scratch", labels, [labels], [sure])}
    found = examples.samples(made, 3)
    assert found["row"].tolist() == [90, 50, 110]
    assert found["label"].tolist() == [0, 0, 1]
    assert found["quantile"].tolist() == [0.9, 0.5, 0.9]
