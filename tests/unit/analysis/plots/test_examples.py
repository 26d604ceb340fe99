import numpy as np
from helpers import synthetic
from helpers.figures import overlaps, texts

from analysis.plots.examples import AttentionMaps, ImageRow, attention, gallery


def test_rows_of_images_with_their_texts():
    images = synthetic.pictures(4)
    rows = [
        ImageRow(heading="first", images=images, texts=["a", "b\nc", "d", "e"]),
        ImageRow(heading="second", images=images[:1], texts=["f"]),
    ]
    figure = gallery(rows, columns=6)
    visible = [ax for ax in figure.findobj(lambda a: hasattr(a, "images")) if ax.get_visible()]
    shown = [ax.get_xlabel() for ax in visible if ax.images]
    assert shown == ["a", "b\nc", "d", "e", "f"]
    assert {"first", "second"} <= set(texts(figure))
    assert not overlaps(figure)


def test_attention_has_an_image_and_one_map_per_model():
    images = synthetic.pictures(3)
    maps = np.linspace(0.5, 2, 3 * 16).reshape(3, 4, 4)
    models = [AttentionMaps(heading=name, framed=images, maps=maps) for name in ("one", "two")]
    figure = attention(
        images, {"round": [0, 2], "edge-on": [1]}, ["a clear one", "a dim one"], models
    )
    pictures = [len(ax.images) for ax in figure.axes if ax.images]
    assert pictures == [1, 2, 2, 1, 2, 2, 1, 2, 2]
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["a clear one", "one", "two", "a dim one", "one", "two"]
    assert {"round", "edge-on"} <= set(texts(figure))
