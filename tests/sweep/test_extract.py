"""Features and predictions by Ray Data are those of a trial."""

import io
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from surveys import ROOT

from trainable.features import cached_features
from trainable.galaxy10 import open_survey
from trainable.settings import Settings, prepare


@pytest.fixture
def write_shard(survey_path, tmp_path):
    """Write some rows of the tiny survey as ``shards/K.parquet``."""
    survey = open_survey(survey_path)

    def png(image) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        return file.getvalue()

    def write(number: int, rows: list[int]) -> None:
        images = [png(image) for image in survey.read_images(rows)]
        table = pa.table({"id": rows, "image": images, "votes": survey.labels[rows]})
        (tmp_path / "shards").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "shards" / f"{number}.parquet")

    return write


def extract(tmp_path, *flags) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sweep.extract", "--gpus", "0", "--batch-size", "16"]
    places = ["--images", tmp_path / "shards", "--out", tmp_path / "out"]
    return subprocess.run(
        [*command, *map(str, [*places, *flags])],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def written(tmp_path) -> pa.Table:
    return pq.read_table(tmp_path / "out").sort_by("id")


def test_features_are_those_of_the_cache(write_shard, survey_path, weights_path, tmp_path):
    write_shard(0, list(range(0, 60, 2)))
    write_shard(1, list(range(59, 0, -2)))
    done = extract(tmp_path, "--arch", "vit_demo", "--weights", weights_path)
    assert done.returncode == 0, done.stderr
    table, survey = written(tmp_path), open_survey(survey_path)
    assert table.column_names == ["id", "votes", "features"]
    assert table["id"].to_pylist() == list(range(60))
    assert table["votes"].to_pylist() == survey.labels.tolist()
    settings = Settings(data=str(survey_path), arch="vit_demo", weights=str(weights_path))
    config = prepare(settings).run_config("pretrained", 1.0, 0)
    expected = cached_features(survey, config, device="cpu")
    np.testing.assert_allclose(np.stack(table["features"].to_numpy()), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["pretrained-100-s0", "scratch-100-s0"])
def test_predictions_are_those_of_the_trial(finished, write_shard, tmp_path, cell):
    newest = max((finished[0] / "small" / "run-0" / cell).glob("checkpoint_*"))
    saved = np.load(newest / "predictions.npz")
    write_shard(0, saved["rows"].tolist())
    done = extract(tmp_path, "--trial", newest)
    assert done.returncode == 0, done.stderr
    found = np.stack(written(tmp_path)["probabilities"].to_numpy())
    np.testing.assert_allclose(found, saved["probabilities"], atol=1e-5)


@pytest.mark.slow
def test_shards_without_the_column_are_refused(write_shard, tmp_path):
    write_shard(0, [1, 2])
    done = extract(tmp_path, "--arch", "vit_demo", "--image-column", "picture")
    assert done.returncode == 2
    assert "has no column ['picture']; it has ['id', 'image', 'votes']" in done.stderr
