"""What a plan adds up, against numbers worked out by hand."""

import io
from dataclasses import asdict, replace

import pytest
from rich.console import Console

from sweep.manifest import describe
from sweep.plan import cost, features_work, plan, shared_features, wall_hours, work
from sweep.run import main
from sweep.space import SweepConfig
from trainable.settings import prepare

HEAD = 10  # parameters of the head


def a_cell(trained="all", init="scratch", seed=0, **run):
    """100 training images, 20 of validation, ten epochs; a forward pass costs 1,000."""
    weights = None if init == "scratch" else "some"
    given = {"trained": trained, "init": init, "seed": seed, "weights": weights}
    settings = {"arch": "a", "transform": "resize", "precision": "fp32", "max_epochs": 10}
    return {
        "id": f"{init}-{seed}",
        "run": settings | given | run,
        "n_train": 100,
        "n_val": 20,
        "trained_parameters": HEAD,
        "forward_flops": 1000,
    }


@pytest.mark.parametrize(
    ("cell", "flops"),
    [
        (a_cell("all"), 1000 * (3 * 100 + 20) * 10),
        (a_cell("as_run", "pretrained"), 1000 * (2 * 100 + 20) * 10),
        (a_cell("head", "pretrained", cache_features=False), 1000 * (100 + 20) * 10),
        (a_cell("head", "pretrained"), (6 * HEAD * 100 + 2 * HEAD * 20) * 10),
        (a_cell("head", "pretrained", cache_features=True, max_epochs=1), 6 * 1000 + 2 * 200),
    ],
)
def test_work_of_a_trial(cell, flops):
    assert work(cell) == flops


def test_features_are_counted_once_for_all_trials_that_share_them():
    heads = [a_cell("head", "pretrained", seed) for seed in range(3)]
    assert features_work([*heads, a_cell("all")], images=50) == 50 * 1000


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
    assert features_work([uncached, a_cell("all"), a_cell("as_run", "pretrained")], images=50) == 0


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


def test_twice_the_rate_is_half_the_hours():
    cells = [a_cell("all"), a_cell("head", "pretrained")]
    slow, fast = (asdict(cost(cells, 50, rate, gpus=4)) for rate in (1.0, 2.0))
    assert fast["wall"] == pytest.approx(slow["wall"] / 2)
    assert fast["busy"] == pytest.approx(slow["busy"] / 2)


@pytest.fixture
def manifest(survey_path, weights_path):
    config = SweepConfig(
        data=str(survey_path), arch="vit_demo", weights=str(weights_path), fractions=(1.0,), gpus=0
    )
    return describe(prepare(config), config, "small", "")


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
    assert text.count("features, once a node") == 1
    assert "60" in text[text.index("features, once") :].splitlines()[0]  # images of the survey
    only_scratch = replace(manifest, cells=manifest.cells[:1])
    assert "features" not in shown(plan(only_scratch, 1.0)).split("start-up")[0]


def test_trials_that_are_there_cost_nothing_more(manifest):
    placed = replace(manifest, experiments={"run-0": [cell["id"] for cell in manifest.cells]})
    text = shown(plan(placed, 1.0))
    assert text.count("(there)") == 2
    assert column(text, "0 trials") == "0.00"


def test_the_command_line_takes_the_rate(capsys, survey_path, weights_path, tmp_path):
    flags = ["--preset", "demo", "--data", survey_path, "--weights", weights_path]
    flags += ["--storage-path", tmp_path, "--fractions", 1, "--dry-run", "--tflops", 5.26]
    assert main(list(map(str, flags))) == 0
    assert "at 5.26 TFLOP/s" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
