from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.paper_loop import PaperLoop
from trainable import run as engine
from trainable.forward_backward import use_precision
from trainable.protocol import AUTHORS, PAPER


def our_order(run):
    """The order in which `run` visits its training images, epoch by epoch."""

    def order(epoch):
        seed = engine._epoch_seed(run.config.seed, epoch)
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(len(run.partition.train), generator=generator)

    return order


@pytest.mark.parametrize(
    ("init", "protocol"), [("scratch", PAPER), ("pretrained", PAPER), ("pretrained", AUTHORS)]
)
def test_same_order_same_losses(make_run, init, protocol):
    """Ours, features cached or not, and the paper's loop give the same trace within 1e-4."""
    run = make_run(init, protocol=protocol, max_epochs=3, batch_size=16)
    loop = PaperLoop(run.config, order=our_order(run))
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    ours, theirs = (
        [[row[name] for name in names] for row in (side.step_epoch() for _ in range(3))]
        for side in (run, loop)
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    assert ours[0][0] != ours[2][0]


def test_other_order_other_losses(make_run):
    """So that the test above would see a loop that ignored its order."""
    run = make_run(max_epochs=1, batch_size=16)
    loop = PaperLoop(run.config, order=lambda epoch: range(len(run.partition.train)))
    assert abs(loop.step_epoch()["train_loss"] - run.step_epoch()["train_loss"]) > 1e-3


def test_inputs_are_those_of_our_runs(make_run):
    """Image by image, with PIL's crop as with its shrinking."""
    for protocol in (PAPER, AUTHORS):
        run = make_run("pretrained", protocol=protocol, cache_features=False)
        loop = PaperLoop(run.config)
        assert np.array_equal(loop.validation.rows, run.partition.validation)
        theirs = torch.stack([image for image, _ in loop.validation])
        ours = run.inputs[torch.from_numpy(run.partition.validation)]
        torch.testing.assert_close(theirs, ours, atol=1e-6, rtol=1e-6)


def test_shuffles_every_image_once_and_again(make_run):
    loop = PaperLoop(make_run(batch_size=7).config)
    epochs = [[int(i) for batch in loop.train_loader.batch_sampler for i in batch] for _ in "ab"]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(len(loop.train)))
    assert epochs[0] != epochs[1]


def test_share_visits_fewer_images(make_run):
    config = make_run().config
    whole, half = PaperLoop(config), PaperLoop(config, share=0.5)
    assert len(half.train) == len(whole.train) / 2
    assert half.validation.rows.tolist() == whole.validation.rows[:6].tolist()
    row = half.step_epoch()
    assert row["epoch_seconds"] > row["train_seconds"] > 0


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_workers_give_the_same_losses(make_run):
    config = replace(make_run().config, batch_size=16)
    alone, helped = (PaperLoop(config, workers=w, order=lambda _: range(48)) for w in (0, 2))
    assert alone.step_epoch()["train_loss"] == helped.step_epoch()["train_loss"]


def test_switches_of_torch_are_its_own_and_put_back(make_run, monkeypatch):
    """They are the process's; neither side may train with the other's."""
    use_precision("tf32")
    loop, seen = PaperLoop(make_run().config), []
    train = loop._train
    monkeypatch.setattr(
        loop,
        "_train",
        lambda: (seen.append(torch.get_float32_matmul_precision()), train())[1],
    )
    loop.step_epoch()
    assert seen == ["highest"]
    assert torch.get_float32_matmul_precision() == "high"
    use_precision("fp32")  # for the tests that follow


def test_bf16_follows_fp32(make_run):
    config = make_run().config
    loss, other = (
        PaperLoop(config, precision=p, order=lambda _: range(48)).step_epoch()["val_loss"]
        for p in ("fp32", "bf16")
    )
    assert other == pytest.approx(loss, rel=0.03)
    assert other != loss
