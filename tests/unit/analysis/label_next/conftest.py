import pytest
from helpers.trained import small_sweep


@pytest.fixture(scope="session")
def probed(survey_path, weights_path):
    """Make a sweep of the tiny survey with trials that are trained in this process, a probe if not told."""

    def make(folder, **flags):
        small_sweep(folder, survey_path, weights_path, **{"trained": ("probe",)} | flags)
        return folder

    return make


@pytest.fixture(scope="session")
def swept(probed, tmp_path_factory):
    """A sweep with trials from scratch, a probe, and all layers pre-trained."""
    return probed(tmp_path_factory.mktemp("ray_results") / "tiny", trained=("probe", "all"))
