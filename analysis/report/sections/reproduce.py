"""The commands that the sweeps were started with."""

from __future__ import annotations

from analysis.report.analysis import Analysis
from analysis.report.section import Block, Command, Note, Section


def section(analysis: Analysis) -> Section:
    """One command for each sweep."""
    blocks: list[Block] = []
    for manifest in analysis.everything.manifests:
        commit = f" at commit {manifest.git_commit}" if manifest.git_commit else ""
        blocks.append(Note(text=f"{manifest.name}, started {manifest.created}{commit}"))
        blocks.append(Command(text=manifest.command))
    return Section(id="reproduce", title="How to reproduce", blocks=tuple(blocks))
