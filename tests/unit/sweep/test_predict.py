"""The command line of predictions: flags that make no sense, and one sentence for each mistake."""

import subprocess
import sys

import pytest
from helpers.surveys import ROOT

from sweep.predict import PredictConfig, main
from trainable.config import SourceFlags
from trainable.errors import SettingsError

GIVEN = {"images": "a", "out": "b.parquet"}


def test_help_needs_neither_torch_nor_ray():
    code = (
        "import sys\nfrom sweep.predict import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'ray', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    for heading in ("network options", "images options", "output options", "resources options"):
        assert heading in done.stdout
    assert "--from" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "one of --from ray_results/NAME .* and --arch"),
        ({"sweep": "s", "arch": "vit_demo"}, "one of --from"),
        ({"arch": "vit_demo", "trial": ("a",)}, "choose trials of a sweep"),
        ({"sweep": "s", "weights": "w"}, "--weights and --transform go with --arch"),
        ({"sweep": "s", "trial": ("a",), "ensemble": 2}, "give one of them"),
        ({"sweep": "s", "ensemble": 0}, "--ensemble 0: must be at least 1"),
        ({"sweep": "s", "shard_images": 0}, "--shard-images 0: must be at least 1"),
        ({"sweep": "s", "false_alarms": 5.0}, "--false-alarms 5: .*5% is 0.05"),
        ({"sweep": "s", "worker_gpus": -1}, "--worker-gpus -1"),
        ({"sweep": "s", "images": None}, "--images, and where to write with --out"),
        ({"sweep": "s", "out": "b.csv", "embeddings": True}, "CSV has none of"),
        ({"sweep": "s", "bands": (1, 2)}, "--bands 1 2"),
    ],
)
def test_flags_that_make_no_sense(flags, message):
    with pytest.raises(SettingsError, match=message):
        PredictConfig(**GIVEN | flags)


def test_images_are_read_as_in_the_sweep_but_for_flags():
    own = SourceFlags(bands=(3, 2, 1), stretch=0.5, label_column="type")
    read = PredictConfig(sweep="s", q=3.0, **GIVEN).source(own)
    assert (read.bands, read.stretch, read.q, read.label_column) == ((3, 2, 1), 0.5, 3.0, None)
    assert PredictConfig(sweep="s", **GIVEN).source(None) == SourceFlags()


def test_a_mistake_is_one_line_and_exit_code_2(capsys):
    assert main(["--from", "nowhere", "--images", "a", "--out", "b.parquet"]) == 2
    assert capsys.readouterr().err.startswith("error: nowhere is not a sweep (no such folder)")
