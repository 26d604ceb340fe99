import pytest
from helpers import synthetic
from matplotlib.figure import Figure

from analysis.plots.grid import image_grid, show_image


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (3, (1, 3)), (5, (1, 5)), (7, (2, 5))])
def test_rest_of_the_last_row_is_blank(n, shape):
    figure, axes = image_grid(n, 5, width=2, height=1)
    assert len(axes) == n
    assert all(ax.get_visible() for ax in axes)
    assert len(figure.axes) == shape[0] * shape[1]
    assert sum(ax.get_visible() for ax in figure.axes) == n
    assert figure.get_size_inches().tolist() == [2 * shape[1], shape[0]]


def test_an_image_and_its_title():
    ax = Figure().subplots()
    image = synthetic.pictures(1)[0]
    assert show_image(image, "round", ax) is ax
    assert (ax.images[0].get_array() == image).all()
    assert ax.get_title() == "round"
    assert not len(ax.get_xticks())
