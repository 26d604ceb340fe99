import itertools
import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image
from surveys import write_survey
from torchvision import transforms
from torchvision.models import ViT_B_16_Weights

from trainable import cache
from trainable.galaxy10 import open_survey
from trainable.preprocess import cached_images, mirror_and_turn, normalise, transform_images
from trainable.protocol import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture
def galaxy() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    return Image.fromarray(noise)


def ours(image: Image.Image, transform, size=224) -> torch.Tensor:
    small = np.asarray(transform_images(transform, size)(image))
    return normalise(torch.from_numpy(small.copy())[None], IMAGENET_MEAN, IMAGENET_STD)[0]


def test_equals_the_papers_transform(galaxy):
    """§3.1, written with torchvision as the paper did."""
    reference = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    assert torch.allclose(ours(galaxy, "resize"), reference(galaxy), atol=1e-6)


def test_equals_the_transform_of_the_weights(galaxy):
    reference = ViT_B_16_Weights.IMAGENET1K_V1.transforms()
    assert torch.allclose(ours(galaxy, "resize_crop"), reference(galaxy), atol=1e-6)


def test_resize_crop_of_256_is_a_crop(galaxy):
    cropped = np.asarray(transform_images("resize_crop", 224)(galaxy))
    assert np.array_equal(cropped, np.asarray(galaxy)[16:240, 16:240])


def call(path, tmp_path, **overrides):
    settings = {"transform": "resize", "size": 16, "cache_dir": str(tmp_path)}
    return cached_images(open_survey(path), **settings | overrides)


def test_cache_equals_image_by_image(survey_path, tmp_path):
    images = call(survey_path, tmp_path)
    one_by_one = [
        np.asarray(transform_images("resize", 16)(Image.fromarray(image)))
        for image in open_survey(survey_path).read_images(range(60))
    ]
    assert np.array_equal(images, one_by_one)
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable


def test_built_once_and_apart_for_each_transform_size_and_survey(
    survey_path, tmp_path, monkeypatch
):
    builds = []
    write = cache._write_array
    monkeypatch.setattr(cache, "_write_array", lambda *a: (builds.append(a[0]), write(*a)))
    other = write_survey(tmp_path / "other.h5", seed=1)
    for _ in range(2):
        call(survey_path, tmp_path)
        call(survey_path, tmp_path, transform="resize_crop")
        call(survey_path, tmp_path, size=8)
        call(other, tmp_path)
    assert len(builds) == len(set(builds)) == 4


def test_a_crash_leaves_nothing_behind(survey_path, tmp_path, monkeypatch):
    def crash(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(survey_path, tmp_path, progress=crash)
    assert not [p for p in (tmp_path / "images").iterdir() if p.suffix in (".npy", ".tmp")]
    assert call(survey_path, tmp_path).shape == (60, 16, 16, 3)


def _concurrent(path, folder, barrier, queue):
    built = []
    barrier.wait()
    images = call(path, folder, progress=lambda done, total: built.append(done))
    queue.put((bool(built), int(images.sum())))


def test_two_processes_at_once_build_once(survey_path, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_concurrent, args=(survey_path, tmp_path, barrier, queue))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    (built_a, sum_a), (built_b, sum_b) = queue.get(timeout=120), queue.get(timeout=120)
    for process in processes:
        process.join()
    assert built_a != built_b
    assert sum_a == sum_b == call(survey_path, tmp_path).sum()


def test_the_eight_ways_to_show_an_image():
    image = torch.arange(2 * 9.0).reshape(2, 3, 3)
    ways = torch.tensor(list(itertools.product([False, True], repeat=3)))
    shown = mirror_and_turn(image.expand(8, -1, -1, -1), ways)
    turned = [torch.rot90(image, k, (1, 2)) for k in range(4)]
    expected = turned + [t.flip(2) for t in turned]
    assert torch.equal(shown[0], image)
    assert {tuple(x.flatten().tolist()) for x in shown} == {
        tuple(x.flatten().tolist()) for x in expected
    }
