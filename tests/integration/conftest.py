"""Real sweeps in processes of their own, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import synthetic
from helpers.surveys import ROOT
from helpers.sweeps import SECRET

HERE = Path(__file__).parent
LONG = (
    *("test_killed", "test_cluster", "test_signals", "test_environment", "test_disk_full"),
    *("test_run", "test_predict", "test_transfer", "test_overhead", "test_bench"),
)
"""Files with tests of a minute, the longest first."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Long tests first: no worker is left with one when the others are done."""
    order = {name: number for number, name in enumerate(LONG)}
    items.sort(
        key=lambda item: (
            order.get(item.path.stem, len(LONG)) if HERE in item.path.parents else len(LONG)
        )
    )


@pytest.fixture(scope="session")
def command(survey_path, weights_path):
    """``command(storage, *flags)``: the argument list of a small sweep, whose trials run one after the other.

    A second process for trials takes longer to start than all of them to train. Which tests need it say so.
    """

    def build(storage, *flags, data=survey_path, weights=weights_path) -> list[str]:
        seeds = () if "--seeds" in flags else ("--seeds", "0")
        at_once = () if {"--cpus", "--address"} & set(flags) else ("--cpus", "1")
        trained = (
            ()
            if {"--trained", "--other-protocols"} & set(flags)
            else ("--protocol", "demo", "--trained", "head")
        )
        return [
            *(sys.executable, "-m", "sweep.run", "--preset", "demo", "--data", str(data)),
            *("--weights", str(weights), "--storage-path", str(storage)),
            *(*seeds, *at_once, *trained),
            *map(str, flags),
        ]

    return build


@pytest.fixture(scope="session")
def sweep_run(command):
    """Run a small sweep to its end; the completed process."""

    def run(storage, *flags, **files) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(storage, *flags, **files),
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "200", "WANDB_API_KEY": SECRET},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture(scope="session")
def finished(sweep_run, tmp_path_factory):
    """Storage with the finished sweep ``small`` of four trials, and its process."""
    storage = tmp_path_factory.mktemp("storage")
    flags = ("--fractions", 0.5, 1, "--max-epochs", 3, "--name", "small", "--cpus", 2)
    process = sweep_run(storage, *flags)
    assert process.returncode == 0, process.stderr
    return storage, process


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory):
    """A sweep that Ray Tune ran: four complete trials, one failed, one of which Tune never heard.

    The failed trial's log holds its last row twice, as after a kill and restore.
    """
    folder = tmp_path_factory.mktemp("ray_results") / "toy"
    cells = synthetic.grid((0.5, 1.0), (0,), n_val=120)
    cells.append(synthetic.cell("pretrained", 0.5, 1, n_val=120))
    run_sweep(folder, cells)  # one after the other by one actor; the failing one last
    cells.append(synthetic.cell("scratch", 0.5, 1, n_val=120))
    manifest = synthetic.manifest(cells, image_size="48 × 48 pixels")
    (folder / "sweep.json").write_text(manifest.to_json(), encoding="utf-8")
    np.savez(folder / "examples.npz", images=synthetic.pictures(6))
    log = folder / "run-0" / "pretrained-50-s1" / "result.json"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines, lines[-1]]))
    return folder


def run_sweep(folder, cells):
    """Run the toy trial on every cell, as experiment run-0 of the sweep in `folder`."""
    import ray
    from helpers.toy_trial import ToyTrial
    from ray import tune

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own: unclosed sockets, deprecations
        patch.setenv("RAY_AIR_NEW_OUTPUT", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "30")
        tests = Path(__file__).parents[1]  # workers must find helpers.toy_trial
        known = filter(None, [os.environ.get("PYTHONPATH")])
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tests), str(tests.parent), *known]))
        quiet = {"logging_level": "error", "log_to_driver": False, "include_dashboard": False}
        ray.init(num_cpus=1, address="local", **quiet)
        names = ("init", "fraction", "seed", "n_train", "n_val")
        scripts = {cell.id: {name: getattr(cell, name) for name in names} for cell in cells}
        tuner = tune.Tuner(
            tune.with_resources(ToyTrial, {"cpu": 1}),
            param_space={
                "cell": tune.grid_search(list(scripts)),
                "script": tune.sample_from(lambda spec: scripts[spec.config["cell"]]),
            },
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.config["cell"],
                trial_dirname_creator=lambda trial: trial.config["cell"],
            ),
            run_config=tune.RunConfig(
                name="run-0",
                storage_path=str(folder),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
            ),
        )
        try:
            tuner.fit()
        finally:
            ray.shutdown()
