import base64

from helpers import synthetic
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.grid import show_image
from analysis.report.figures import ReportFigure


def drawn(**settings):
    figure = Figure(figsize=(2, 2))
    show_image(synthetic.pictures(1)[0], "round", figure.subplots())
    return ReportFigure(name="a", title="A", caption="A.", figure=figure, **settings)


def test_vectors_unless_it_is_a_photograph():
    vectors, pixels = drawn(), drawn(dots_per_inch=50)
    assert vectors.data_uri.startswith("data:image/svg+xml;base64,")
    assert pixels.data_uri.startswith("data:image/png;base64,")
    assert base64.b64decode(vectors.data_uri.split(",")[1]) == vectors.svg
    assert base64.b64decode(pixels.data_uri.split(",")[1]) == pixels.png


def test_dots_per_inch():
    width = {dpi: int.from_bytes(drawn(dots_per_inch=dpi).png[16:20], "big") for dpi in (50, 100)}
    assert width == {50: 100, 100: 200}
    assert int.from_bytes(drawn().png[16:20], "big") == 2 * style.STYLE["savefig.dpi"]


def test_same_figure_same_bytes():
    assert drawn().svg == drawn().svg
