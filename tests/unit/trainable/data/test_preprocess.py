import numpy as np
import pytest
import torch
from helpers.surveys import write_survey
from PIL import Image
from torchvision import transforms
from torchvision.models import EfficientNet_B0_Weights, ResNet50_Weights, ViT_B_16_Weights

from trainable.data import cache
from trainable.data.dataset import open_survey
from trainable.data.pixels import normalise
from trainable.data.preprocess import (
    EvaluationTransform,
    cached_images,
    image_key,
    transform_images,
)
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


@pytest.mark.parametrize(
    "weights", [ResNet50_Weights.IMAGENET1K_V2, EfficientNet_B0_Weights.IMAGENET1K_V1]
)
@pytest.mark.parametrize("size", [(256, 256), (300, 247), (180, 333)])
def test_equals_torchvisions_evaluation(weights, size):
    published = weights.transforms()
    own = EvaluationTransform(
        resize=published.resize_size[0], interpolation=published.interpolation.value
    )
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    image = Image.fromarray(noise)
    small = np.asarray(transform_images("evaluation", published.crop_size[0], own)(image))
    found = normalise(torch.from_numpy(small.copy())[None], published.mean, published.std)[0]
    assert torch.allclose(found, published(image), atol=1e-6)


def test_an_evaluation_transform_has_to_be_given():
    with pytest.raises(ValueError, match="needs the network's own"):
        transform_images("evaluation", 224)


def test_key_of_a_networks_own_transform(survey_path):
    survey, one = open_survey(survey_path), EvaluationTransform(resize=20)
    others = [
        EvaluationTransform(resize=21),
        EvaluationTransform(resize=20, interpolation="bicubic"),
        EvaluationTransform(resize=20, mode="squash"),
    ]
    keys = [
        image_key(survey, transform="evaluation", size=16, evaluation=own) for own in (one, *others)
    ]
    assert all(keys[0] != other for other in keys[1:])
    plain = image_key(survey, transform="resize", size=16)
    assert plain == image_key(survey, transform="resize", size=16, evaluation=one)


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
    images = [path for path in builds if path.parent.name == "images"]
    assert len(images) == len(set(images)) == 4


def test_a_crash_leaves_nothing_behind(survey_path, tmp_path, monkeypatch):
    def crash(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(survey_path, tmp_path, progress=crash)
    assert not [p for p in (tmp_path / "images").iterdir() if p.suffix in (".npy", ".tmp")]
    assert call(survey_path, tmp_path).shape == (60, 16, 16, 3)
