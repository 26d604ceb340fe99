"""The README's figures for real galaxies are those of the tables that a command wrote."""

import re

from surveys import ROOT


def test_intervals_for_real_galaxies_stand_in_their_table():
    readme = (ROOT / "README.md").read_text()
    section = readme.split("Points over training from scratch on those galaxies")[1].split("## ")[0]
    told = re.findall(r"[+−][\d.]+ \[[+−][\d.]+, [+−][\d.]+\]", section)
    assert len(told) == 24
    table = (ROOT / "docs" / "real-galaxies" / "arms.md").read_text()
    assert not [interval for interval in told if interval not in table]
