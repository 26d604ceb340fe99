import json
import math

import pytest

from benchmarks.gpu_check.lines import FLOORS, Line, as_json, floors_of


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (Line(name="rate", value=3000.0, at_least=3000), "PASS"),
        (Line(name="rate", value=2999.0, at_least=3000), "FAIL"),
        (Line(name="rate", value=math.nan, at_least=3000), "FAIL"),
        (Line(name="difference", value=0, at_most=0), "PASS"),
        (Line(name="difference", value=1e-9, at_most=0), "FAIL"),
        (Line(name="difference", value=math.nan, at_most=1), "FAIL"),
        (Line(name="rate", value=7.0), "MEASURED"),
        (Line(name="driver", value="580.65"), "MEASURED"),
        (Line(name="rate", at_least=3000, note="there is no GPU"), "NOT RUN"),
        (Line(name="rate", error="Traceback …\nRuntimeError: no"), "FAIL"),
    ],
)
def test_the_verdict(line, status):
    assert line.status == status


def test_a_line_has_verdict_value_and_floor():
    line = Line(name="scratch", value=3123.4, unit="images/s", at_least=3000, note="by default")
    assert line.text().split() == [
        "PASS", "scratch", "3,123", "images/s", "≥", "3,000", "by", "default",
    ]  # fmt: skip


def test_an_error_is_told_by_its_last_line():
    line = Line(name="waits", error="Traceback\n  File\nRuntimeError: called a wait\n")
    assert line.text().split() == ["FAIL", "waits", "RuntimeError:", "called", "a", "wait"]


def test_the_file_has_all_lines_and_whether_they_are_all():
    lines = [Line(name="a", value=1.0, at_most=2), Line(name="b", note="no GPU")]
    found = json.loads(as_json(lines, {"device": "x"}, complete=False))
    assert (found["device"], found["complete"]) == ("x", False)
    assert [(line["name"], line["status"]) for line in found["lines"]] == [
        ("a", "PASS"),
        ("b", "NOT RUN"),
    ]
    assert found["lines"][0]["at_most"] == 2


@pytest.mark.parametrize(
    ("device", "kind"),
    [("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H200", "H200"), ("NVIDIA A100-SXM4-40GB", None)],
)
def test_floors_are_those_of_the_kind(device, kind):
    assert floors_of(device) == (None if kind is None else FLOORS[kind])
