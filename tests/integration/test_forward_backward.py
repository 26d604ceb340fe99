"""A training step compiled by a C++ compiler."""

import shutil

import pytest
from helpers.compiled import assert_follows_eager


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch hides it itself
def test_compiled_follows_eager(make_run, monkeypatch):
    assert_follows_eager(make_run, monkeypatch, "inductor")
