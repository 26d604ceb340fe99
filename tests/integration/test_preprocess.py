"""Prepared images that two processes want at once."""

import multiprocessing

import numpy as np
import pytest
from helpers.surveys import write_pictures

from trainable.data import preprocess
from trainable.data.dataset import open_survey
from trainable.data.preprocess import cached_images
from trainable.errors import DataError


def call(path, folder, **progress):
    """The prepared images of a survey."""
    return cached_images(
        open_survey(path), transform="resize", size=16, cache_dir=str(folder), **progress
    )


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_pool_of_processes_makes_the_same_images(survey_path, tmp_path, monkeypatch, kind):
    path = survey_path
    if kind == "folder":
        names = [f"{label}/{number}.jpg" for label in "ab" for number in range(50)]
        path = write_pictures(tmp_path / "images", names, size=(31, 20))
    alone, steps = call(path, tmp_path / "alone"), []
    monkeypatch.setattr(preprocess, "useful_processes", lambda *_: 2)
    together = call(path, tmp_path / "together", progress=lambda *step: steps.append(step))
    np.testing.assert_array_equal(alone, together)
    assert steps[-1] == (len(alone), len(alone))


def test_an_image_that_a_process_cannot_read_is_told_by_its_path(tmp_path, monkeypatch):
    names = [f"{label}/{number}.png" for label in "ab" for number in range(40)]
    survey = open_survey(write_pictures(tmp_path / "images", names))
    (tmp_path / "images" / "b" / "7.png").write_bytes(b"no picture")
    monkeypatch.setattr(preprocess, "useful_processes", lambda *_: 2)
    with pytest.raises(DataError, match=r"images/b/7\.png cannot be read: its 10 bytes"):
        cached_images(survey, transform="resize", size=16, cache_dir=str(tmp_path / "cache"))


def _prepare(path, folder, barrier):
    """Whether a process made the images, and their sum, if two want them at once."""
    made = []
    barrier.wait()
    images = call(path, folder, progress=lambda done, total: made.append(done))
    return bool(made), int(images.sum())


def _prepare_elsewhere(path, folder, barrier, queue):
    queue.put(_prepare(path, folder, barrier))


def test_two_processes_at_once_build_once(survey_path, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    arguments = (survey_path, tmp_path, barrier)
    process = context.Process(target=_prepare_elsewhere, args=(*arguments, queue))
    process.start()
    made_here, sum_here = _prepare(*arguments)
    made_there, sum_there = queue.get(timeout=120)
    process.join()
    assert made_here != made_there
    assert sum_here == sum_there == call(survey_path, tmp_path).sum()
