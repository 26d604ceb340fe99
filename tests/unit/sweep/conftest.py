import pytest
from helpers.trained import small_sweep


@pytest.fixture(scope="session")
def trained(survey_path, weights_path, tmp_path_factory):
    """A sweep of the tiny survey with trained trials: scratch, and a probe and all layers pre-trained."""
    folder = tmp_path_factory.mktemp("ray_results") / "tiny"
    flags = {"trained": ("probe", "all"), "seeds": (0, 1), "max_epochs": 2}
    small_sweep(folder, survey_path, weights_path, **flags)
    return folder
