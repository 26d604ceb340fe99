"""The page of `sweep.serve`: what it shows, by Gradio."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import numpy as np
from gradio.themes import Default
from PIL import Image

from sweep.serve import ServeConfig
from sweep.serving import (
    NO_ATTENTION,
    SHOWN,
    Opinion,
    Served,
    examples,
    open_sweep,
    read_picture,
    require_free,
)
from trainable.data.pictures import PictureError

TITLE = "What is in this picture?"
FONTS = ("system-ui", "sans-serif")
"""The reader's own: none is fetched."""
FILES = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp"]


def serve(config: ServeConfig) -> None:
    """Load the trials and show the page until Ctrl-C.

    Raises
    ------
    UserError
        A trial cannot be used, or the port is taken.
    """
    require_free(config.host, config.port)
    served = open_sweep(
        config.sweep,
        config.trial,
        calibrated=config.calibrated,
        false_alarms=config.false_alarms,
        device=config.device,
        cache_dir=config.cache_dir,
    )
    for trial in served:
        print(f"{trial.name}: {trial.description}")
    if not config.is_local:
        print(
            f"warning: everyone who reaches port {config.port} of this computer can use the page; "
            "without --host only this computer can",
            file=sys.stderr,
        )
    print(
        f"Open http://{config.host}:{config.port} in a browser; Ctrl-C ends the page.", flush=True
    )
    page(served, str(config.sweep)).launch(
        server_name=config.host,
        server_port=config.port,
        share=False,
        quiet=True,
        show_error=True,
        max_file_size=f"{config.max_mb}mb",
        theme=Default(font=FONTS, font_mono=("monospace",)),
        footer_links=[],
        pwa=False,
        favicon_path=None,
        enable_monitoring=False,
    )


def page(served: Sequence[Served], sweep: str) -> gr.Blocks:
    """The page, not yet shown."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gr.Markdown(
            f"# {TITLE}\nThe trials of `{sweep}`, on this picture. Nothing leaves the computer."
        )
        with gr.Row():
            file = gr.File(label="Picture", file_types=FILES, type="filepath", height=SHOWN)
            shown = gr.Image(label="As it was read", interactive=False, height=SHOWN, buttons=[])
        outputs: list[Any] = [shown]
        with gr.Row():
            for trial in served:
                with gr.Column(min_width=360):
                    gr.Markdown(f"## {_heading(trial)}\n{trial.description}")
                    outputs += [
                        gr.Label(label="Probability of each class", num_top_classes=5),
                        gr.Markdown(trial.without_reference),
                        gr.Image(
                            label="Where it looks", interactive=False, height=SHOWN, buttons=[]
                        ),
                        gr.Gallery(
                            label="Nearest training images: class and distance",
                            columns=3,
                            height=300,
                            interactive=False,
                            buttons=[],
                        ),
                    ]

        def classify(path: str | None) -> list[Any]:
            """Everything that the page shows of a picture."""
            if path is None:
                return [None] * len(outputs)
            try:
                picture = read_picture(Path(path))
            except PictureError as error:
                raise gr.Error(f"This picture cannot be read: {error}.") from error
            return shown_of(picture, served)

        file.change(classify, inputs=file, outputs=outputs, api_name="classify")
        samples = examples(served[0])
        if samples:
            gallery = gr.Gallery(
                value=samples,
                label="Or one of the test images (with its label)",
                columns=8,
                height=170,
                allow_preview=False,
                interactive=False,
                buttons=[],
            )

            def example(event: gr.SelectData) -> list[Any]:
                """The same of a test image."""
                return shown_of(Image.fromarray(samples[event.index][0]), served)

            gallery.select(example, outputs=outputs, api_visibility="private")
    return blocks


def shown_of(picture: Image.Image, served: Sequence[Served]) -> list[Any]:
    """Values of the page's components: the picture, then four for each trial."""
    values: list[Any] = [np.asarray(picture)]
    for trial in served:
        opinion = trial.classify(picture)
        values += [
            opinion.probabilities,
            remark(trial, opinion),
            opinion.attention,
            [(n.image, f"{n.label}, {n.distance:.2f}") for n in opinion.neighbours] or None,
        ]
    return values


def remark(trial: Served, opinion: Opinion) -> str:
    """What is to be known of an opinion, in sentences."""
    sentences: list[str] = []
    if trial.reference is None:
        sentences.append(trial.without_reference)
    elif opinion.distance is not None:
        novelty = trial.reference.novelty
        kind = (
            "**unlike the training images**"
            if opinion.unlike_training
            else "like the training images"
        )
        sentences.append(
            f"The picture is {kind}: its distance is {opinion.distance:.3f}, and "
            f"{novelty.wanted:.1%} of images like them lie above {novelty.threshold:.3f}."
        )
    if opinion.attention is None:
        sentences.append(NO_ATTENTION.format(trial.network.arch))
    return " ".join(sentences)


def _heading(trial: Served) -> str:
    return "From scratch" if trial.chosen.cell.init == "scratch" else "Pre-trained"
