"""Synthetic results, and one small sweep that Ray Tune really ran."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import synthetic

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def full_grid(tmp_path_factory):
    """Both inits at four fractions with three seeds, all complete."""
    return synthetic.results(tmp_path_factory.mktemp("full"), synthetic.grid())


@pytest.fixture(scope="session")
def paper_grid(tmp_path_factory):
    """The paper's nine cells, one seed, as if on Galaxy10 with ViT-B/16."""
    names = [f"class {number}" for number in range(9)]
    folder = tmp_path_factory.mktemp("paper")
    cells = synthetic.paper_grid()
    return synthetic.results(folder, cells, galaxy10=True, arch="vit_b_16", names=names)


@pytest.fixture
def make_results(tmp_path):
    """A function that builds results with stored predictions in a fresh folder."""

    def make(cells, *args, **kwargs):
        return synthetic.results(tmp_path, cells, *args, **kwargs)

    return make


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory):
    """A sweep that Ray Tune ran: four complete trials, one failed, one of which Tune never heard.

    One trial's log holds its last row twice, as after a kill and restore.
    """
    folder = tmp_path_factory.mktemp("ray_results") / "toy"
    cells = synthetic.grid((0.5, 1.0), (0,), n_val=120)
    cells.append(synthetic.cell("pretrained", 0.5, 1, n_val=120))
    run_sweep(folder, cells)  # one after the other by one actor; the failing one last
    cells.append(synthetic.cell("scratch", 0.5, 1, n_val=120))
    manifest = synthetic.manifest(cells, image_size=48)
    (folder / "sweep.json").write_text(json.dumps(manifest), encoding="utf-8")
    np.savez(folder / "examples.npz", images=synthetic.pictures(6))
    (log,) = folder.glob("run-0/*scratch-100-s0*/result.json")
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines, lines[-1]]))
    return folder


def run_sweep(folder, cells):
    """Run the toy trial on every cell, as experiment run-0 of the sweep in `folder`."""
    import ray
    from ray import tune
    from toy_trial import ToyTrial

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own: unclosed sockets, deprecations
        patch.setenv("RAY_AIR_NEW_OUTPUT", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "30")
        here = Path(__file__).parent  # workers must find toy_trial, and what it imports
        known = filter(None, [os.environ.get("PYTHONPATH")])
        patch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parents[1]), *known]))
        quiet = {"logging_level": "error", "log_to_driver": False, "include_dashboard": False}
        ray.init(num_cpus=1, address="local", **quiet)
        scripts = {cell["id"]: {k: cell[k] for k in ("run", "n_train", "n_val")} for cell in cells}
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
