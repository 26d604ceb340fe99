"""A run on real galaxies."""

import pytest
from helpers.surveys import REAL

from trainable.config import Settings
from trainable.prepare import prepare


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.name} is not beside the checkout")
def test_runs_on_real_galaxies():
    """An epoch of the small ViT on SDSS galaxies, better than naming the commonest class."""
    from trainable.run import TrainingRun

    experiment = prepare(
        Settings(data=str(REAL), arch=("vit_demo",), protocol="demo", drop_labels=())
    )
    run = TrainingRun(experiment.training_config("pretrained", 1.0, 0))
    row = run.step_epoch()
    assert (row["n_train"], row["n_val"]) == (1389, 348)  # the pool; a fifth is the test set
    assert row["val_accuracy"] > 0.5
