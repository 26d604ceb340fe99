import pytest
from helpers.trained import train_sweep

from sweep.grid import SweepConfig


@pytest.fixture(scope="session")
def small_sweep(survey_path, weights_path):
    """Make a sweep of the tiny survey with trials that are trained in this process."""
    given = {
        "data": str(survey_path),
        "arch": ("vit_demo",),
        "weights": (str(weights_path),),
        "protocol": "demo",
        "trained": ("probe",),
        "fractions": (1.0,),
        "seeds": (0,),
        "probe_draws": 0,
        "max_epochs": 1,
        "gpus": 0,
    }

    def make(folder, **flags):
        train_sweep(folder, SweepConfig(**given | flags))
        return folder

    return make


@pytest.fixture(scope="session")
def swept(small_sweep, tmp_path_factory):
    """A sweep with trials from scratch, a probe, and all layers pre-trained."""
    return small_sweep(tmp_path_factory.mktemp("ray_results") / "tiny", trained=("probe", "all"))
