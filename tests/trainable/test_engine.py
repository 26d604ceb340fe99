import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainable import checkpoint
from trainable.backbones import ARCHITECTURES
from trainable.batches import Rows, predict
from trainable.engine import NonFiniteLossError, Run
from trainable.galaxy10 import DataError
from trainable.preprocess import normalise
from trainable.protocol import Stopping

SPEC = ARCHITECTURES["vit_demo"]
TIMES = {"epoch_seconds", "images_per_second"}


def trace(run):
    while not run.finished:
        run.step_epoch()
    return [{k: v for k, v in row.items() if k not in TIMES} for row in run.history]


GOLDEN = [[1.885769, 1.135472], [1.294598, 1.450676], [1.433408, 1.092451]]


def test_golden_trace(make_run):
    """Losses of three epochs from scratch: any change to them is a change to the science."""
    rows = trace(make_run(max_epochs=3, learning_rate=1e-3))
    found = [[row["train_loss"], row["val_loss"]] for row in rows]
    np.testing.assert_allclose(found, GOLDEN, rtol=2e-3)


def test_learns_the_tiny_survey(make_run):
    rows = trace(make_run(max_epochs=40, stopping=Stopping(rule="paper", delta=9, patience=9)))
    assert rows[-1]["train_accuracy"] > 0.9
    assert rows[-1]["best_val_accuracy"] > 0.8


def test_same_seed_same_run_other_seed_other_run(make_run):
    one, same, other = (trace(make_run(seed=seed, max_epochs=2)) for seed in (1, 1, 2))
    assert one == same
    assert one[0]["train_loss"] != other[0]["train_loss"]


@pytest.mark.parametrize("trained", ["head", "as_run"])
def test_frozen_weights_stay_bit_equal_while_the_rest_moves(make_run, trained):
    run = make_run("pretrained", trained=trained, cache_features=False)
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.step_epoch()
    moving = {name for name, p in run.model.named_parameters() if p.requires_grad}
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in moving), name


def test_metrics_are_of_every_image(make_run):
    """Against a loop over single images."""
    run = make_run()
    row = run.step_epoch()
    losses, hits = [], []
    run.model.eval()
    for image_row, label in zip(
        run.partition.validation, run.partition.validation_labels, strict=True
    ):
        image = torch.tensor(run.inputs.array[image_row])[None]
        with torch.no_grad():
            logits = run.model(normalise(image, SPEC.mean, SPEC.std)).double()
        losses.append(functional.cross_entropy(logits, torch.tensor([label])).item())
        hits.append(logits.argmax().item() == label)
    assert row["val_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert row["val_accuracy"] == np.mean(hits)
    assert row["n_val"] == len(hits)


def test_another_file_than_planned_is_refused(make_run):
    config = make_run().config
    with pytest.raises(DataError, match=r"expected ffff.*same one"):
        Run(replace(config, data=replace(config.data, sha256="f" * 64)))


def test_training_visits_every_image_once(make_run, monkeypatch):
    run = make_run(batch_size=7)
    seen = []
    fetch = Rows._fetch
    monkeypatch.setattr(
        Rows, "_fetch", lambda self, rows: (seen.extend(rows.tolist()), fetch(self, rows))[1]
    )
    run._train()
    assert sorted(seen) == run.partition.train.tolist()
    assert seen != sorted(seen)


def test_augmented_images_train_and_plain_ones_validate(make_run, monkeypatch):
    shown = []

    def spy(images, ways):
        shown.append(len(images))
        return images

    monkeypatch.setattr("trainable.engine.mirror_and_turn", spy)
    unchanged, plain = make_run(augment=True, cache_features=False), make_run()
    assert trace(unchanged) == trace(plain)  # same order of batches, same validation images
    assert sum(shown) == 4 * len(plain.partition.train)
    monkeypatch.undo()
    assert trace(make_run(augment=True, cache_features=False)) != trace(plain)


def test_features_of_images_as_they_are_are_no_use_to_augmented_training(make_run):
    with pytest.raises(ValueError, match="not with augment"):
        make_run("pretrained", augment=True)


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("init", ["scratch", "pretrained", "augmented"])
def test_restored_run_is_the_uninterrupted_run(make_run, tmp_path, init, cut):
    """Bit for bit: every loss, the stopper, the best epoch, the final weights."""
    if init == "augmented":
        make_run = partial(make_run, augment=True, cache_features=False)
        init = "scratch"
    whole = make_run(init)
    expected = trace(whole)
    first = make_run(init)
    for _ in range(cut):
        first.step_epoch()
    checkpoint.save(first, tmp_path / "c", checkpoint.record(first))
    second = make_run(init)
    torch.manual_seed(99)  # another process would have another state
    checkpoint.load(second, tmp_path / "c")
    assert trace(second) == expected
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    assert torch.equal(whole.best["probabilities"], second.best["probabilities"])
    assert whole.best["epoch"] == second.best["epoch"]


def test_checkpoint_of_a_frozen_run_is_small_and_complete(make_run, tmp_path):
    run = make_run("pretrained")
    run.step_epoch()
    checkpoint.save(run, tmp_path, checkpoint.record(run))
    assert {p.name for p in tmp_path.iterdir()} == {
        "state.pt",
        "epochs.json",
        "best.safetensors",
        "predictions.npz",
        "record.json",
    }
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 40_000
    assert json.loads((tmp_path / "epochs.json").read_text()) == run.history
    saved = np.load(tmp_path / "predictions.npz")
    assert np.array_equal(saved["rows"], run.partition.validation)
    accuracy = (saved["probabilities"].argmax(1) == saved["labels"]).mean()
    assert accuracy == run.best["val_accuracy"]


@pytest.mark.parametrize("damage", ["truncate", "garbage", "delete"])
def test_damaged_checkpoint_is_named(make_run, tmp_path, damage):
    run = make_run("pretrained")
    run.step_epoch()
    checkpoint.save(run, tmp_path, checkpoint.record(run))
    state = tmp_path / "state.pt"
    contents = state.read_bytes()
    state.unlink()
    if damage != "delete":
        state.write_bytes(contents[: len(contents) // 2] if damage == "truncate" else b"rubbish")
    with pytest.raises(checkpoint.CheckpointError, match=r"state\.pt"):
        checkpoint.load(make_run("pretrained"), tmp_path)


def test_stops_by_the_rule(make_run):
    """With δ = 0 and patience 1 the run ends at the first epoch that is no new minimum."""
    stopping = Stopping(rule="paper", delta=0.0, patience=1)
    run = make_run(stopping=stopping, max_epochs=60, learning_rate=1e-3)
    rows = trace(run)
    losses = [row["val_loss"] for row in rows]
    rises = [i for i in range(1, len(losses)) if losses[i] > min(losses[:i])]
    assert rises == [len(losses) - 1]
    assert [row["finished"] for row in rows] == [0] * (len(rows) - 1) + [1]


def test_loss_that_is_not_finite_names_epoch_and_step(make_run):
    run = make_run(batch_size=8)
    run.step_epoch()
    forward, calls = run.model.forward, []

    def broken(images):
        calls.append(1)
        return forward(images) * (math.nan if len(calls) == 3 else 1.0)

    run.model.forward = broken
    with pytest.raises(NonFiniteLossError, match="epoch 2, step 3 of 6"):
        run.step_epoch()


def test_overflowing_validation_loss_names_the_epoch(make_run, monkeypatch):
    monkeypatch.setattr(
        "trainable.engine.predict", lambda *a, rows, **k: torch.full((len(rows), 3), math.nan)
    )
    with pytest.raises(NonFiniteLossError, match="validation loss is nan after epoch 1"):
        make_run().step_epoch()


def test_fused_adamw_follows_the_plain_one(make_run):
    """The fused optimiser is a shortcut: the same losses within rounding."""
    fused, plain = (make_run(max_epochs=2, learning_rate=3e-4) for _ in range(2))
    plain.optimiser = torch.optim.AdamW(
        plain.model.parameters(), lr=3e-4, weight_decay=0.01, fused=False, foreach=False
    )
    losses = [[row["val_loss"] for row in trace(run)] for run in (fused, plain)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_predict_does_not_depend_on_the_batch(make_run, monkeypatch):
    run = make_run()
    rows = torch.arange(60)
    whole = predict(run.model, run.inputs, rows=rows)
    monkeypatch.setattr("trainable.batches.HOST_EVALUATION", (7, 1 << 20))
    pieces = predict(run.model, run.inputs, rows=rows)
    assert torch.allclose(whole, pieces, atol=1e-5)


@pytest.mark.full_size
@pytest.mark.parametrize("protocol", ["paper", "as_run"])
def test_full_size_vit_runs_an_epoch_of_both_protocols(make_run, tmp_path, protocol):
    """ViT-B/16 at 224 pixels with saved weights; a few images, for the CPU."""
    from trainable.backbones import build
    from trainable.protocol import PROTOCOLS

    weights = tmp_path / "vit_b_16.pth"
    model = build("vit_b_16", num_classes=1000, init="scratch", weights=None, trained="all", seed=3)
    torch.save(model.state_dict(), weights)
    run = make_run(
        "pretrained",
        protocol=PROTOCOLS[protocol],
        arch="vit_b_16",
        weights=str(weights),
        fraction=0.4,
        max_epochs=1,
    )
    row = run.step_epoch()
    assert row["n_train"] == 19
    assert math.isfinite(row["train_loss"])
    moving = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    assert moving == {"paper": 768 * 3 + 3, "as_run": 768 * 3 + 3 + 768 + 590_592}[protocol]
