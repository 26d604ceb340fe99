"""Command lines made of dataclasses."""

from dataclasses import dataclass

import pytest

from trainable.command_line import parse
from trainable.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Colour:
    """What it looks like."""

    hue: str
    """Name of the hue."""
    dark: bool = False
    """Less light."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large it is."""

    width: int = 3
    """Centimetres."""


@dataclass(frozen=True, kw_only=True)
class Thing(Colour, Size):
    """All flags."""

    def __post_init__(self):
        if self.width < 1:
            raise SettingsError(f"--width {self.width}: must be at least 1")


def read(*arguments, **settings):
    groups = {"colour": Colour, "size": Size}
    return parse(Thing, groups, arguments, prog="thing", description="Things.", **settings)


def test_flags_have_no_prefix_and_the_result_is_flat():
    assert read("--hue", "red", "--width", "7") == Thing(hue="red", width=7)


def test_what_is_not_given_has_its_default():
    assert read("--hue", "red") == Thing(hue="red")
    given = Thing(hue="blue", dark=True, width=9)
    assert read(default=given) == given
    assert read("--no-dark", default=given) == Thing(hue="blue", width=9)


def test_a_flag_that_must_be_given(capsys):
    with pytest.raises(SystemExit) as error:
        read("--width", "7")
    assert error.value.code == 2
    assert "--hue" in capsys.readouterr().err


def test_settings_are_validated():
    with pytest.raises(SettingsError, match="--width 0"):
        read("--hue", "red", "--width", "0")


def test_help_has_a_heading_and_a_line_for_each_flag(capsys):
    with pytest.raises(SystemExit):
        read("--help")
    out = capsys.readouterr().out
    for text in ("colour options", "What it looks like.", "size options", "Name of the hue."):
        assert text in out
