"""What the command line does: choose images, or simulate."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from analysis.label_next import choice, data, simulation_page
from analysis.label_next.__main__ import PROGRAM, LabelNextConfig
from analysis.label_next.simulation import simulate
from analysis.progress import Show, bars
from analysis.report.render import write
from analysis.results import load
from analysis.results.chosen import best_trials, named_trials
from analysis.results.schema import Results
from trainable.config import SourceFlags
from trainable.data.unlabelled import ImageSet, open_unlabelled
from trainable.devices import choose_device
from trainable.errors import OutputError
from trainable.forward_backward import use_precision
from trainable.prepare import data_path, is_path


def run(config: LabelNextConfig) -> str:
    """Do what the flags ask for; what was found, in sentences.

    Raises
    ------
    UserError
        Something cannot be used or written; the message says what.
    """
    console = Console(stderr=True)
    results = load.read(config.sweep)
    with _written(config.folder):
        config.folder.mkdir(parents=True, exist_ok=True)  # before minutes of work
    work = _simulate if config.simulate else _choose
    with bars(console) as show:
        return work(config, results, show, console)


def _simulate(config: LabelNextConfig, results: Results, show: Show, console: Console) -> str:
    device = choose_device(config.device)
    chosen = data.frozen_trial(results, config.trial)
    _tell(console, f"{chosen.name}: {chosen.reason}")
    use_precision(chosen.cell.config.precision)
    labelled = data.labelled_features(chosen.cell.config, device=device, progress=show("features"))
    found = simulate(
        labelled,
        config.orders,
        start=config.start,
        batch=config.batch,
        repeats=config.repeats,
        seed=config.seed,
        progress=show("simulating"),
    )
    flags = ["--simulate", "--start", str(config.start), "--repeats", str(config.repeats)]
    flags += ["--seed", str(config.seed), "--orders", *config.orders]
    flags += ["--batch", str(config.batch)] if config.batch else []
    page = simulation_page.page(found, results.manifest.name, _command(config, flags))
    path = config.folder / "simulation.html"
    with _written(path):
        write(page, path)
    return "\n".join([*simulation_page.finding(found), f"Wrote {path}"])


def _choose(config: LabelNextConfig, results: Results, show: Show, console: Console) -> str:
    device = choose_device(config.device)
    (trial,) = (
        best_trials(results) if config.trial is None else named_trials(results, [config.trial])
    )
    _tell(console, f"{trial.name}: {trial.reason}")
    images = _open_images(config, trial.cell.config.data.source)
    for note in images.notes:
        _tell(console, note)
    chosen = choice.choose(
        trial,
        images,
        order=config.order,
        budget=config.budget,
        seed=config.seed,
        device=device,
        cache_dir=config.cache_dir,
        show=show("reading images"),
    )
    flags = ["--unlabelled", str(config.unlabelled), "--budget", str(config.budget)]
    flags += ["--order", config.order, "--seed", str(config.seed)]
    for name in ("labels", "image_column", "stretch", "q"):
        if (value := getattr(config, name)) is not None:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    flags += ["--bands", *map(str, config.bands)] if config.bands else []
    page = choice.page(chosen, images, results.manifest.name, _command(config, flags))
    path = config.folder / "label_next.html"
    table = path.with_suffix(".csv")
    with _written(path):
        chosen.table.to_csv(table, index=False)
        write(page, path)
    return "\n".join([*chosen.sentences, f"Wrote {table} and {path}"])


def _open_images(config: LabelNextConfig, of_sweep: SourceFlags) -> ImageSet:
    location = config.unlabelled or ""
    if "://" not in location and not is_path(location):
        location = str(data_path(location, config.cache_dir))
    return open_unlabelled(location, labels=config.labels, flags=config.source(of_sweep))


def _command(config: LabelNextConfig, flags: list[str]) -> str:
    trial = ["--trial", config.trial] if config.trial else []
    return shlex.join([*PROGRAM.split(), "--from", str(config.sweep), *trial, *flags])


@contextmanager
def _written(path: Path) -> Generator[None, None, None]:
    """`OutputError` if the disk does not take what is written."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): name another folder with --out"
        ) from error


def _tell(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
