"""What a drawn figure shows."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def out_of_view(figure):
    """Labels of ticks beyond the axes' limits: there, but never drawn."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        yield from (t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high)


def overlaps(figure):
    """Pairs of texts that lie on each other, as drawn."""
    FigureCanvasAgg(figure).draw()
    hidden = set(out_of_view(figure))
    texts = (t for t in figure.findobj(Text) if t not in hidden and t.get_visible())
    shown = [t for t in texts if t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent().shrunk(0.9, 0.8)) for t in shown]
    return [
        (a, b)
        for number, (a, box) in enumerate(boxes)
        for b, other in boxes[number + 1 :]
        if box.overlaps(other) and a != b
    ]


def texts(drawn):
    """All texts of a figure or of axes, but empty ones."""
    return [text.get_text() for text in drawn.findobj(Text) if text.get_text()]
