import pytest
from helpers.trained import train_sweep

from sweep.grid import SweepConfig


@pytest.fixture(scope="session")
def trained(survey_path, weights_path, tmp_path_factory):
    """A sweep of the tiny survey with trained trials: scratch, and a probe and all layers pre-trained."""
    folder = tmp_path_factory.mktemp("ray_results") / "tiny"
    config = SweepConfig(
        data=str(survey_path),
        arch=("vit_demo",),
        weights=(str(weights_path),),
        protocol="demo",
        trained=("probe", "all"),
        fractions=(1.0,),
        seeds=(0, 1),
        probe_draws=0,
        max_epochs=2,
        gpus=0,
    )
    train_sweep(folder, config)
    return folder
