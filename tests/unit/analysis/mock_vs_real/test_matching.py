import json

import h5py
import numpy as np
import pytest

from analysis.mock_vs_real import matching
from trainable.data.dataset import open_survey
from trainable.errors import DataError


def write(path, names, *, sigma):
    """Four round galaxies of each class."""
    y, x = np.indices((64, 64)) - 31.5
    light = 200 * np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    random = np.random.default_rng(0)
    images = light[..., None] + random.normal(8, 2, (4 * len(names), 64, 64, 3))
    with h5py.File(path, "w") as file:
        file["images"] = images.clip(0, 255).astype(np.uint8)
        file["ans"] = np.repeat(np.arange(len(names)), 4).astype(np.uint8)
        file.attrs["class_names"] = json.dumps(names)
    return open_survey(path)


MOCK = [name for mock, _ in matching.MATCHES.values() for name in mock] + ["Disturbed"]
REAL = ["Don't know", *(name for _, real in matching.MATCHES.values() for name in real)]


@pytest.fixture
def surveys(tmp_path):
    mock = matching.matched(write(tmp_path / "mock.h5", MOCK, sigma=4), side=0)
    return mock, matching.matched(write(tmp_path / "real.h5", REAL, sigma=7), side=1)


def test_classes_are_matched_and_others_left_out(surveys):
    mock, real = surveys
    assert np.bincount(mock.labels).tolist() == [8, 12, 8, 4]
    assert np.bincount(real.labels).tolist() == [4, 8, 4, 4]


def test_cut_outs_have_the_galaxy_as_large_as_the_real_ones(surveys):
    mock, real = surveys
    sizes = [s.statistics["size"].median() for s in (mock, real)]
    assert sizes[0] < 0.7 * sizes[1]
    cut = matching.in_field_of(mock, real)
    assert cut.images.shape == mock.images.shape
    assert cut.statistics["size"].median() == pytest.approx(sizes[1], rel=0.1)


def test_the_comparison_has_every_statistic_and_class(surveys):
    table = matching.comparison(*surveys)
    assert len(table) == 8 * 4
    assert not table["mock"].str.contains("nan").any()


def test_a_file_without_the_classes_is_refused(tmp_path):
    survey = write(tmp_path / "other.h5", ["a", "b"], sigma=4)
    with pytest.raises(DataError, match="no class 'Edge-on'"):
        matching.matched(survey, side=1)
