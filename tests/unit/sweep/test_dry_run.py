"""What a plan adds up, against numbers worked out by hand."""

import io
import socket
from dataclasses import asdict, replace

import pytest
import torch
from rich.console import Console

from sweep import dry_run
from sweep.cells import describe, describe_cells
from sweep.dry_run import (
    cost,
    disk,
    features_work,
    measured_rate,
    plan,
    shared_features,
    wall_hours,
    what_is_kept,
    work,
)
from sweep.grid import SweepConfig
from sweep.run import main
from trainable import measured_rates
from trainable.config import DataConfig, TrainingConfig
from trainable.data.sources.known_files import GALAXY10_COUNTS
from trainable.devices import device_label
from trainable.flops import PROBE_STEPS
from trainable.manifest import Cell
from trainable.measured_rates import Rate
from trainable.models import architectures
from trainable.models.cut import cut_of
from trainable.prepare import prepare
from trainable.protocol import PAPER

HEAD = 10  # parameters of the head


def a_cell(trained="all", init="scratch", seed=0, **config) -> Cell:
    """100 training images, 20 of validation, ten epochs; a forward pass costs 1,000."""
    defaults = {"weights": "some", "max_epochs": 10, "transform": "resize", "arch": "a"}
    run = TrainingConfig.of(
        PAPER,
        init=init,
        fraction=1.0,
        seed=seed,
        data=DataConfig(path="", sha256="", split="fixed"),
        trained=trained,
        **defaults | config,
    )
    return Cell(
        id=f"{init}-{seed}",
        config=run,
        protocols=("paper",),
        n_train=100,
        n_labels=80,
        n_val=20,
        n_test=0,
        folds=0,
        split_hash="",
        scored_hash="",
        parameters=1000,
        trained_parameters=HEAD,
        forward_flops=1000,
    )


@pytest.mark.parametrize(
    ("cell", "flops"),
    [
        (a_cell("all"), 1000 * (3 * 100 + 20) * 10),
        (a_cell("non_encoder", "pretrained"), 1000 * (2 * 100 + 20) * 10),
        (a_cell("head", "pretrained", cache_features=False), 1000 * (100 + 20) * 10),
        (a_cell("head", "pretrained"), (6 * HEAD * 100 + 2 * HEAD * 20) * 10),
        (a_cell("head", "pretrained", cache_features=True, max_epochs=1), 6 * 1000 + 2 * 200),
        (
            replace(a_cell("probe", "pretrained"), folds=5, n_val=100, n_test=50),
            PROBE_STEPS * 5 * 100 * 4 * HEAD + 2 * HEAD * 50,
        ),
    ],
)
def test_work_of_a_trial(cell, flops):
    assert work(cell) == flops


def test_a_probe_takes_the_disk_of_one_checkpoint_without_an_optimiser():
    head, probe = a_cell("head", "pretrained"), a_cell("probe", "pretrained")
    assert disk(head, num_classes=3) == 4 * 2 * (4 * HEAD + 2 * 20 * 3)
    assert disk(probe, num_classes=3) == 4 * (2 * HEAD + 2 * 20 * 3)


def test_features_are_counted_once_for_all_trials_that_share_them():
    heads = [a_cell("head", "pretrained", seed) for seed in range(3)]
    probe = a_cell("probe", "pretrained", cache_features=False)
    assert features_work([*heads, probe, a_cell("all")], images=50) == 50 * 1000


def test_features_of_other_backbones_are_others():
    cells = [
        a_cell("head", "pretrained"),
        a_cell("head", "pretrained", transform="resize_crop"),
        a_cell("head", "pretrained", weights="others"),
        a_cell("head", "scratch", seed=0),
        a_cell("head", "scratch", seed=1),
    ]
    assert len(set(map(shared_features, cells))) == 5
    assert features_work(cells, images=50) == 5 * 50 * 1000


def test_nothing_is_shared_without_a_frozen_backbone_or_without_the_cache():
    uncached = a_cell("head", "pretrained", cache_features=False)
    assert (
        features_work([uncached, a_cell("all"), a_cell("non_encoder", "pretrained")], images=50)
        == 0
    )


@pytest.mark.parametrize(
    ("gpus", "hours"),
    [
        (1, 22),
        (2, 11),  # 5 + 4 + 2 and 5 + 3 + 3
        (3, 8),  # 5 + 3, 5 + 2, 4 + 3
        (16, 5),
    ],
)
def test_wall_hours_start_the_longest_trial_first(gpus, hours):
    assert wall_hours([3, 5, 2, 4, 3, 5], gpus) == hours


def test_wall_hours_of_no_trials():
    assert wall_hours([], 4) == 0


def test_cost_is_features_on_every_gpu_and_trials_side_by_side():
    trial = a_cell("all")  # 3.2e6 operations: an hour at this rate
    tflops = work(trial) / 3600 / 1e12
    images = 1600  # 1.6e6 operations: half an hour
    both = cost([trial, trial, a_cell("head", "pretrained", max_epochs=1)], images, tflops, gpus=2)
    head = 6400 / 3.2e6
    assert both.wall == pytest.approx(0.5 + 1 + head)
    assert both.busy == pytest.approx(2 * 0.5 + 2 + head)
    assert both.held == pytest.approx(2 * both.wall)
    assert both.busy_share == pytest.approx((1 + 2 + head) / (2 * (1.5 + head)))


def test_twice_the_rate_is_half_the_hours():
    cells = [a_cell("all"), a_cell("head", "pretrained")]
    slow, fast = (asdict(cost(cells, 50, rate, gpus=4)) for rate in (1.0, 2.0))
    assert fast["wall"] == pytest.approx(slow["wall"] / 2)
    assert fast["busy"] == pytest.approx(slow["busy"] / 2)


@pytest.fixture
def manifest(survey_path, weights_path):
    config = SweepConfig(
        data=str(survey_path),
        arch=("vit_demo",),
        weights=(str(weights_path),),
        fractions=(1.0,),
        seeds=(0,),
        gpus=0,
    )
    prepared = prepare(config)
    cells = describe_cells(prepared, config.cells()).require_all()
    return describe(prepared, config, cells, "small", "")


def shown(of) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(of)
    return console.file.getvalue()


def column(text: str, start: str) -> str:
    """The last number of the line that begins so."""
    return next(line for line in text.splitlines() if line.strip().startswith(start)).split()[-1]


def test_the_plan_has_hours_where_a_rate_is_given(manifest):
    assert "hours" not in shown(plan(manifest))
    scratch, _ = manifest.cells
    rate = work(scratch) / 3600 / 1e12 / 2.5  # the scratch trial takes 2.5 hours
    text = shown(plan(manifest, rate))
    assert column(text, "scratch-100-s0") == "2.50"
    one, four, sixteen = (
        next(line.split() for line in text.splitlines() if line.split()[:1] == [gpus])
        for gpus in ("1", "4", "16")
    )
    assert one[1] == one[2] == one[3] == column(text, "2 trials")
    assert float(four[1]) == float(sixteen[1]) == pytest.approx(2.5, abs=0.05)
    assert float(sixteen[3]) == pytest.approx(16 * float(sixteen[1]), abs=0.1)


def test_the_plan_shows_the_features_once_and_only_where_there_are_some(manifest):
    text = shown(plan(manifest))
    assert text.count("features, per node") == 1
    assert "60" in text[text.index("features, per node") :].splitlines()[0]  # images of the survey
    only_scratch = replace(manifest, cells=manifest.cells[:1])
    assert "features" not in shown(plan(only_scratch, 1.0)).split("start-up")[0]


def test_the_plan_has_what_architectures_do_not_share(capsys, survey_path, tmp_path):
    other = "resnet18.IMAGENET1K_V1"
    flags = f"--data {survey_path} --arch vit_demo {other} --scratch-arch vit_demo --trained probe"
    flags += " --fractions 1 --seeds 0 1 --probe-draws 3 --gpus 0 --dry-run"
    assert main([*flags.split(), "--storage-path", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"vit_demo, {other}, protocol paper+probe" in text
    table = text.split("architectures, on")[1].splitlines()
    rows = {line.split()[0]: line.split() for line in table if " px " in line}
    # 60 images, 4 bytes a number: of one backbone pre-trained, and of two untrained; in MB
    assert rows["vit_demo"][1:4] == ["32", "px", "0.5"]
    assert rows["vit_demo"][-3:] == ["128", "0.1", "photographs"]
    assert rows[other][1:6] == ["224", "px", "0.485", "0.456", "0.406"]
    assert rows[other][-3:] == ["512", "0.4", "IMAGENET1K_V1"]
    assert rows["image_statistics"][-3:] == ["213", "0.1", "none"]
    assert text.count("scratch-100, 2 seeds") == 1
    assert f"features of {other}, per node" in text


def test_the_draws_of_a_probe_are_one_row(manifest):
    scratch, head = manifest.cells
    config = replace(head.config, trained="probe", max_epochs=1)
    probes = [
        replace(head, id=f"demo+probe-pretrained-100-s{s}", config=replace(config, seed=s), folds=5)
        for s in (0, 3, 10)
    ]
    some = replace(manifest, cells=(scratch, head, *probes), experiments={"run-0": (probes[2].id,)})
    rows = {row.split()[0]: row for row in shown(plan(some)).splitlines() if "100" in row}
    drawn = next(row for row in rows.values() if "draws" in row)
    assert drawn.split()[:4] == ["demo+probe-pretrained-100,", "2", "draws", "probe"]
    assert "5-fold" in drawn
    assert "demo+probe-pretrained-100-s10 (there)" in shown(plan(some))
    assert shown(plan(some)).count("demo+probe") == 2
    assert column(shown(plan(some)), "4 trials")


def test_seeds_of_a_cell_are_one_row_with_the_range_of_their_images(manifest):
    scratch, head = manifest.cells
    seeds = [
        replace(
            scratch, id=f"scratch-100-s{seed}", n_train=n, config=replace(scratch.config, seed=seed)
        )
        for seed, n in ((0, 192), (1, 191), (2, 193))
    ]
    text = shown(plan(replace(manifest, cells=(*seeds, head)), 1.0))
    (row,) = (line for line in text.splitlines() if "scratch" in line)
    assert row.split()[:5] == ["scratch-100,", "3", "seeds", "all", "191–193"]
    one = [replace(manifest, cells=(seed,)) for seed in seeds]
    alone = sum(float(column(shown(plan(of, 1.0)), "1 trials")) for of in one)
    whole = float(column(shown(plan(replace(manifest, cells=tuple(seeds)), 1.0)), "3 trials"))
    assert whole == pytest.approx(alone, abs=0.02)


def test_trials_that_are_there_cost_nothing_more(manifest):
    placed = replace(manifest, experiments={"run-0": tuple(cell.id for cell in manifest.cells)})
    text = shown(plan(placed, 1.0))
    assert text.count("(there)") == 2
    assert column(text, "0 trials") == "0.00"


def test_the_command_line_takes_the_rate(capsys, survey_path, weights_path, tmp_path):
    flags = ["--preset", "demo", "--data", survey_path, "--weights", weights_path]
    flags += ["--storage-path", tmp_path, "--fractions", 1, "--dry-run", "--tflops", 5.26]
    assert main(list(map(str, flags))) == 0
    assert "at 5.26 TFLOP/s" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder in which nothing is kept."""
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))


def kept(device, on_gpu, tflops=100.0):
    rate = Rate(
        device=device, on_gpu=on_gpu, arch="vit_demo", precision="bf16", tflops=tflops,
        date="2026-11-26",
    )  # fmt: skip
    measured_rates.keep(rate)
    return rate


def test_hours_at_the_rate_that_was_measured_last(manifest):
    scratch, _ = manifest.cells
    tflops = work(scratch) / 3600 / 1e12 / 2.5
    rate = Rate(
        device="NVIDIA H100", on_gpu=True, arch="vit_demo", precision="bf16", tflops=tflops,
        date="2026-11-26",
    )  # fmt: skip
    text = shown(plan(manifest, measured=rate))
    assert column(text, "scratch-100-s0") == "2.50"
    assert f"hours: at {rate.text}" in " ".join(text.split())
    assert "one GPU a trial" in text
    given = shown(plan(manifest, tflops, measured=replace(rate, tflops=1.0)))
    assert column(given, "scratch-100-s0") == "2.50"
    assert "measured on" not in given


def test_a_cpus_rate_gives_hours_but_no_cost_of_a_cluster(manifest):
    rate = kept("some CPU, 2 cores", on_gpu=False)
    text = shown(plan(manifest, measured=rate))
    assert column(text, "scratch-100-s0") == "0.00"
    assert "one GPU a trial" not in text


def test_the_rate_is_of_the_device_that_would_train(cache, monkeypatch):
    labels = {"cuda": "NVIDIA H100", "cpu": "some CPU, 2 cores"}
    monkeypatch.setattr(dry_run, "device_label", lambda device: labels[device.type])
    gpu, cpu = kept("NVIDIA H100", on_gpu=True), kept("some CPU, 2 cores", on_gpu=False)
    config = SweepConfig(arch=("vit_demo",), gpus=0)
    assert measured_rate(config) == cpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert measured_rate(replace(config, gpus=1)) == gpu
    assert measured_rate(replace(config, gpus=1, address="auto")) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert measured_rate(replace(config, gpus=1)) is None


def test_a_plan_finds_what_bench_has_kept(cache, capsys, survey_path, weights_path, tmp_path):
    flags = ["--preset", "demo", "--data", survey_path, "--weights", weights_path]
    flags = list(map(str, [*flags, "--storage-path", tmp_path, "--fractions", 1, "--dry-run"]))
    assert main(flags) == 0
    assert "hours" not in capsys.readouterr().out
    rate = kept(device_label(torch.device("cpu")), on_gpu=False)
    assert main(flags) == 0
    assert f"hours: at {rate.text}" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def nothing_fetched(tmp_path, monkeypatch):
    """A home without Galaxy10 and weights, and no way out to the network."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refuse(*args, **kwargs):
        raise AssertionError("a plan connects to nothing")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_plan_of_galaxy10_needs_neither_its_file_nor_the_weights(
    capsys, nothing_fetched, monkeypatch, tmp_path
):
    monkeypatch.setenv("COLUMNS", "160")
    flags = ["--preset", "paper", "--dry-run", "--storage-path", str(tmp_path / "out")]
    assert main(flags) == 0
    text = capsys.readouterr().out
    images = sum(GALAXY10_COUNTS.values()) - GALAXY10_COUNTS["Cigar Shaped Smooth"]
    assert f"{images:,} images in 9 classes" in text
    row = next(line.split() for line in text.splitlines() if "scratch-100-s0" in line)
    train, validation = (int(number.replace(",", "")) for number in row[2:4])
    assert train + validation == images
    assert validation == pytest.approx(0.2 * images, abs=1)
    assert "galaxy10 is not on this machine" in text
    assert list(tmp_path.iterdir()) == []


def test_cells_that_cannot_run_are_in_the_plan(
    capsys, survey_path, weights_path, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "160")
    flags = ["--preset", "demo", "--data", survey_path, "--weights", weights_path, "--dry-run"]
    flags += ["--storage-path", tmp_path, "--fractions", 0.02, 1, "--seeds", 0]
    flags += ["--trained", "head"]
    assert main(list(map(str, flags))) == 2
    text = capsys.readouterr().out
    lines = {line.split()[0]: line for line in text.splitlines() if "-s0 " in line}
    assert "679,843" in lines["scratch-100-s0"]
    assert "cannot run" in lines["scratch-002-s0"]
    assert "cannot run" in lines["pretrained-002-s0"]
    assert "a budget of 1 labels leaves class" in text
    assert column(text, "2 trials")


class TestWhatIsKept:
    """17 tokens of 128 numbers below the last two of four blocks."""

    def cells(self, trained="last_2", **config):
        cell = a_cell(trained, "pretrained", arch="vit_demo", **config)
        size = architectures.size("vit_demo", num_classes=3, trained="last_2")
        return [replace(cell, forward_flops=size.forward_flops, backward_flops=size.backward_flops)]

    @pytest.mark.parametrize(
        ("cell", "expected"),
        [
            ({}, "8.7 GB are kept on each node (fp32), computed once, of the outputs"),
            ({"precision": "bf16"}, "4.4 GB are kept on each node (bf16), computed once, of"),
            ({"augment": True}, "images are augmented, so nothing can be kept of the"),
            ({"cache_features": False}, "8.7 GB would be needed and --cache-gb is 5, so nothing"),
        ],
    )
    def test_of_the_last_blocks(self, cell, expected):
        (line,) = what_is_kept(self.cells(**cell), 1_000_000, cache_gb=5)
        assert line.startswith(f"last_2: {expected}")
        assert line.endswith("in every epoch.") == ("are kept" not in line)

    def test_of_heads_and_of_what_is_trained_as_a_whole(self):
        assert what_is_kept(self.cells("all"), 100, 5) == []
        assert what_is_kept(self.cells("head"), 100, 5) == []  # the table has its features
        (line,) = what_is_kept(self.cells("head", augment=True), 100, 5)
        assert line.startswith("head: images are augmented")

    def test_a_network_that_is_not_cut(self):
        cells = [a_cell("last_1", "pretrained", arch="timm:crossvit_9_240", cache_features=False)]
        assert "cannot be cut there" in what_is_kept(cells, 100, 5)[0]

    def test_the_frozen_blocks_are_counted_once_for_all_seeds(self):
        """Their forward pass of all images; each epoch has what is above them."""
        cells = [*self.cells(seed=0), *self.cells(seed=1)]
        above = cut_of("vit_demo", "last_2").flops_above
        whole, backward = cells[0].forward_flops, cells[0].backward_flops
        assert features_work(cells, 1000) == 1000 * (whole - above)
        assert work(cells[0]) == 10 * ((above + backward) * 100 + above * 20)
        assert above < whole / 2 + 1000  # the heaviest is the stem
