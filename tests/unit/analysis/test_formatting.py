import pandas as pd
import pytest

from analysis import formatting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.percent(0.695), "69.5%"),
        (formatting.percent(None), "–"),
        (formatting.percent(float("nan")), "–"),
        (formatting.fraction(0.4), "40%"),
        (formatting.fraction(0.025), "2.5%"),
        (formatting.points(0.0604), "+6.0"),
        (formatting.points(-0.0604), "−6.0"),
        (formatting.number(pd.NA), "–"),
        (formatting.duration(59.2), "59.2 s"),
        (formatting.duration(131 * 60), "2.18 h"),
        (formatting.duration(47 * 60), "47 min"),
        (formatting.duration(None), "–"),
        (formatting.seeds(1), "n = 1 seed"),
        (formatting.seeds([1, 3]), "n = 1–3 seeds"),
        (formatting.two_digits(123.4, 1.0), "123.40 ± 1.00"),
        (formatting.two_digits(0.0131, 0.002), "0.013 ± 0.002"),
        (formatting.two_digits(0.00999), "0.0100"),
        (formatting.two_digits(0.0), "0.00"),
        (formatting.two_digits(None), "–"),
        (formatting.with_spread(69.5, None), "69.50"),
        (formatting.with_spread(69.5, 0.5), "69.50 ± 0.50"),
        (formatting.listed(["a"]), "a"),
        (formatting.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_words(text, expected):
    assert text == expected


def test_weights_are_named_without_their_folder():
    assert formatting.weights("/data/of/mine/clip.safetensors") == "clip.safetensors"
    assert formatting.weights("IMAGENET1K_V1") == "IMAGENET1K_V1"
    assert formatting.weights(None) == "none"
