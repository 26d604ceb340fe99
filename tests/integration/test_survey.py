"""The rendering of the mock survey in several processes."""

from __future__ import annotations

import numpy as np

from trainable.mock.catalogue import MockSurvey
from trainable.mock.survey import render


def test_processes_do_not_change_the_survey():
    settings = MockSurvey(n_images=40, image_size=16, seed=8)
    done = []
    alone = render(settings, workers=1)
    together = render(settings, workers=2, progress=lambda *step: done.append(step))
    assert alone.keys() == together.keys()
    for name in alone:
        np.testing.assert_array_equal(alone[name], together[name])
    assert done == [(i, 40) for i in range(1, 41)]
    other = render(MockSurvey(n_images=40, image_size=16, seed=9), workers=1)
    assert (other["images"] != alone["images"]).mean() > 0.3
