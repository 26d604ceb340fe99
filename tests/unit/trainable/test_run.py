import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainable import checkpoint
from trainable.data.batches import Rows, predict
from trainable.data.pixels import normalise
from trainable.errors import DataError, NonFiniteLossError, UserError
from trainable.models.architectures import ARCHITECTURES
from trainable.protocol import Stopping
from trainable.run import TIMES, TrainingRun

SPEC = ARCHITECTURES["vit_demo"]


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
    rows = trace(make_run(max_epochs=25, stopping=Stopping(rule="paper", delta=9, patience=9)))
    assert rows[-1]["train_accuracy"] > 0.9
    assert rows[-1]["best_val_accuracy"] > 0.8


def test_same_seed_same_run_other_seed_other_run(make_run):
    one, same, other = (trace(make_run(seed=seed, max_epochs=2)) for seed in (1, 1, 2))
    assert one == same
    assert one[0]["train_loss"] != other[0]["train_loss"]


@pytest.mark.parametrize("trained", ["head", "non_encoder"])
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
    with pytest.raises(DataError, match=r"expected ffff.*the same ones"):
        TrainingRun(replace(config, data=replace(config.data, sha256="f" * 64)))


def test_a_run_leaves_the_precision_switches_of_the_process_alone(make_run):
    """They are the entry points' to set."""
    for products, convolutions in (("high", True), ("highest", False)):
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
        for precision in ("fp32", "tf32", "bf16"):
            make_run(precision=precision, max_epochs=1).step_epoch()
            assert torch.get_float32_matmul_precision() == products
            assert torch.backends.cudnn.allow_tf32 == convolutions


def test_training_visits_every_image_once(make_run, monkeypatch):
    run = make_run(batch_size=7)
    seen = []
    fetch = Rows._fetch
    monkeypatch.setattr(
        Rows, "_fetch", lambda self, rows: (seen.extend(rows.tolist()), fetch(self, rows))[1]
    )
    run.train_epoch()
    assert sorted(seen) == run.partition.train.tolist()
    assert seen != sorted(seen)


def test_augmented_images_train_and_plain_ones_validate(make_run, monkeypatch):
    shown = []

    def spy(images, ways):
        shown.append(len(images))
        return images

    monkeypatch.setattr("trainable.run.flip_and_rotate", spy)
    unchanged, plain = make_run(augment=True, cache_features=False), make_run()
    assert trace(unchanged) == trace(plain)  # same order of batches, same validation images
    assert sum(shown) == 4 * len(plain.partition.train)
    monkeypatch.undo()
    assert trace(make_run(augment=True, cache_features=False)) != trace(plain)


def test_features_of_images_as_they_are_are_no_use_to_augmented_training(make_run):
    with pytest.raises(UserError, match="not with --augment"):
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


@pytest.fixture
def mixing(monkeypatch):
    """Mixup for as few labels as the tiny survey has."""
    monkeypatch.setattr("trainable.run.MIXUP_LABELS", 10)


@pytest.mark.parametrize("cut", [1, 3])
@pytest.mark.parametrize("init", ["scratch", "pretrained"])
def test_a_modern_run_resumes_within_its_schedule(modern_run, mixing, tmp_path, init, cut):
    """Bit for bit: rates, orientations, mixtures and weights follow from (seed, epoch) alone."""
    whole = modern_run(init)
    expected = trace(whole)
    first = modern_run(init)
    for _ in range(cut):
        first.step_epoch()
    checkpoint.save(first, tmp_path / "c", checkpoint.record(first))
    second = modern_run(init)
    torch.manual_seed(99)
    checkpoint.load(second, tmp_path / "c")
    assert trace(second) == expected
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])


def shown_in(run, epochs=1):
    """(images (n, 3, S, S), targets) of each epoch, as the step is given them."""
    seen, step = [], run.forward_backward
    run.forward_backward = lambda batch, targets: (
        seen.append((batch.clone(), targets.clone())),
        step(batch, targets),
    )[1]
    found = []
    for _ in range(epochs):
        seen.clear()
        run.step_epoch()
        found.append(tuple(torch.cat(parts) for parts in zip(*seen, strict=True)))
    return found


def orientations(images):
    """(N, 8, 3, S, S): every image in each of its eight orientations."""
    turned = [torch.rot90(images, k, (2, 3)) for k in range(4)]
    return torch.stack([*turned, *(image.flip(3) for image in turned)], dim=1)


def test_augmented_images_are_their_own_in_another_orientation_and_keep_their_labels(modern_run):
    run = modern_run("scratch")
    rows, labels = run.partition.train, run.partition.train_labels
    ways = orientations(run.inputs[torch.from_numpy(rows)])
    chosen = []
    for images, targets in shown_in(run, epochs=2):
        match = (images[:, None, None] == ways[None]).flatten(3).all(3)  # (shown, image, way)
        assert (match.any(2).sum(1) == 1).all()  # each is one image, in one of its orientations
        image = match.any(2).int().argmax(1)
        assert sorted(image.tolist()) == list(range(len(rows)))
        assert torch.equal(targets, torch.from_numpy(labels)[image])
        by_image = match.int().argmax(2).gather(1, image[:, None])[image.argsort(), 0]
        chosen.append(by_image.tolist())
    assert chosen[0] != chosen[1]
    assert len(set(chosen[0])) == 8


def test_orientations_follow_from_seed_and_epoch(modern_run):
    one, same, other = (shown_in(modern_run(seed=seed), epochs=2) for seed in (0, 0, 1))
    for (images, _), (again, _) in zip(one, same, strict=True):
        assert torch.equal(images, again)
    assert not torch.equal(one[0][0], other[0][0])


@pytest.mark.parametrize("init", ["scratch", "pretrained"])
def test_streamed_and_resident_images_train_alike(modern_run, mixing, init):
    streamed, resident = modern_run(init), modern_run(init)
    inputs = resident.inputs
    resident.inputs = Rows(inputs.array, "cpu", prepare=inputs.prepare, resident=True)
    assert streamed.inputs.resident is None
    assert resident.inputs.resident is not None
    assert trace(streamed) == trace(resident)


def test_mixup_mixes_images_and_labels_alike(modern_run, mixing):
    """Against the batches of the same run without it."""
    mixed, plain = modern_run(batch_size=100), modern_run(batch_size=100, mixup=0.0)
    ((images, targets),), ((before, labels),) = shown_in(mixed), shown_in(plain)
    classes = functional.one_hot(labels, 3).float()
    share = ((images - before.flip(0)) / (before - before.flip(0))).nanmedian()
    assert 0 < share < 1
    assert torch.allclose(images, share * before + (1 - share) * before.flip(0), atol=1e-5)
    assert torch.allclose(targets, share * classes + (1 - share) * classes.flip(0), atol=1e-5)


def test_mixup_is_off_with_few_labels(modern_run):
    run, plain = modern_run(), modern_run(mixup=0.0)
    assert run.config.mixup == 0.8
    assert trace(run) == trace(plain)


def test_a_modern_run_has_all_its_epochs_and_keeps_the_best(modern_run):
    run = modern_run("scratch", max_epochs=30, learning_rate=1e-3)
    rows = trace(run)
    assert [row["counter"] for row in rows] == [0] * 30
    best = max(row["val_accuracy"] for row in rows)
    assert run.best["val_accuracy"] == best > 0.6  # a third is chance
    assert run.best["epoch"] == 1 + [row["val_accuracy"] for row in rows].index(best)


def test_a_modern_budget_that_is_cross_validated_resumes(modern_run, tmp_path):
    def make():
        return modern_run(split="budget", fraction=0.2, max_epochs=3)

    whole = make()
    expected = trace(whole)
    first = make()
    first.step_epoch()
    checkpoint.save(first, tmp_path / "c", checkpoint.record(first))
    second = make()
    checkpoint.load(second, tmp_path / "c")
    assert trace(second) == expected
    assert torch.equal(second.test, whole.test)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("way", ["plain", "deterministic"])
def test_restored_run_on_a_gpu(tmp_path, way):
    """Bit for bit if it is deterministic; else the first epoch is that of the other within rounding."""
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-m", "helpers.gpu_resume", str(tmp_path), way, "cuda"]
    path = os.pathsep.join([str(tests), str(tests.parent)])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    if way == "deterministic":
        assert found["resumed"] == found["whole"] == found["again"]
    for name in ("train_loss", "val_loss"):
        losses = [found[run][0][name] for run in ("whole", "again", "resumed")]
        np.testing.assert_allclose(losses, losses[0], rtol=2e-2)  # bfloat16 has 8 bits


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
        "trainable.run.predict", lambda *a, rows, **k: torch.full((len(rows), 3), math.nan)
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
    monkeypatch.setattr("trainable.data.batches.HOST_EVALUATION", (7, 1 << 20))
    pieces = predict(run.model, run.inputs, rows=rows)
    assert torch.allclose(whole, pieces, atol=1e-5)


@pytest.mark.full_size
@pytest.mark.parametrize("protocol", ["paper", "authors"])
def test_full_size_vit_runs_an_epoch_of_both_protocols(make_run, tmp_path, protocol):
    """ViT-B/16 at 224 pixels with saved weights; a few images, for the CPU."""
    from trainable.models.architectures import build
    from trainable.protocol import PROTOCOLS

    weights = tmp_path / "vit_b_16.pth"
    model = build("vit_b_16", num_classes=1000, init="scratch", weights=None, trained="all", seed=3)
    torch.save(model.state_dict(), weights)
    run = make_run(
        "pretrained",
        protocol=PROTOCOLS[protocol],
        arch="vit_b_16",
        weights=str(weights),
        fraction=0.15,
        max_epochs=1,
    )
    row = run.step_epoch()
    assert row["n_train"] == 7
    assert math.isfinite(row["train_loss"])
    moving = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    assert moving == {"paper": 768 * 3 + 3, "authors": 768 * 3 + 3 + 768 + 590_592}[protocol]
