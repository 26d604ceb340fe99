import pandas as pd
import pytest

from analysis import words
from analysis.statistics import Estimate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.percent(0.695), "69.5 %"),
        (words.percent(None), "–"),
        (words.percent(float("nan")), "–"),
        (words.fraction(0.4), "40 %"),
        (words.fraction(0.025), "2.5 %"),
        (words.points(0.0604), "+6.0"),
        (words.points(-0.0604), "−6.0"),
        (words.number(pd.NA), "–"),
        (words.duration(59.2), "59.2 s"),
        (words.duration(131 * 60), "2.18 h"),
        (words.duration(47 * 60), "47 min"),
        (words.duration(None), "–"),
        (words.seeds(1), "n = 1 seed"),
        (words.seeds([1, 3]), "n = 1–3 seeds"),
        (words.two_digits(123.4, 1.0), "123.40 ± 1.00"),
        (words.two_digits(0.0131, 0.002), "0.013 ± 0.002"),
        (words.two_digits(0.00999), "0.0100"),
        (words.two_digits(0.0), "0.00"),
        (words.two_digits(None), "–"),
        (words.with_spread(69.5, None), "69.50"),
        (words.with_spread(69.5, 0.5), "69.50 ± 0.50"),
        (words.listed(["a"]), "a"),
        (words.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_words(text, expected):
    assert text == expected


def test_in_points():
    bare = Estimate(value=0.06, how="no interval: one seed each")
    assert words.in_points(bare) == "+6.0 points (no interval: one seed each)"
    whole = Estimate(value=0.06, low=-0.01, high=0.13, how="")
    assert words.in_points(whole) == "+6.0 points [−1.0, +13.0]"
