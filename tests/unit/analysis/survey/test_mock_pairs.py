from helpers.surveys import write_survey

from analysis.survey import duplicates, mock_pairs
from trainable.data.class_selection import select
from trainable.data.dataset import open_survey
from trainable.mock.catalogue import MockSurvey
from trainable.mock.survey import write


def test_a_mock_survey_knows_its_pairs(tmp_path):
    write(tmp_path / "mock.h5", MockSurvey(n_images=60, image_size=32), workers=1)
    survey = open_survey(tmp_path / "mock.h5")
    selection = select(survey, (4,))
    by_sky = duplicates.on_sky(survey, selection)
    known = mock_pairs.known_pairs(survey.path)
    assert len(known.same_place) >= 1
    assert len(known.same_place | known.shifted) == 3
    table = duplicates.described(by_sky, survey, selection)
    said = mock_pairs.score(table, known, frozenset(selection.rows.tolist()))
    assert said.startswith("3 of the 3 found are right")
    without_a_pair = frozenset(selection.rows.tolist()) - {table["row_first"][0]}
    assert "2 of the 3 found" in mock_pairs.score(table, known, without_a_pair)


def test_other_files_have_no_known_pairs(tmp_path):
    assert mock_pairs.known_pairs(write_survey(tmp_path / "other.h5")) is None
