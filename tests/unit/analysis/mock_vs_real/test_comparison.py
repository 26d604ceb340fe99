import numpy as np
from PIL import Image

from analysis.mock_vs_real.comparison import confusions, draw_sheet, numbers, scores_table
from analysis.mock_vs_real.transfer import Score
from trainable.data.dataset import open_survey


def test_scores_of_a_classifier():
    true = np.array([0, 0, 0, 1, 2, 3])
    one = {"classifier": "x", "trained_on": "mock", "scored_on": "real", "n_train": 9}
    found = [
        Score(**one, seed=0, true=true, predicted=true),
        Score(**one, seed=1, true=true, predicted=np.zeros(6, int)),
    ]
    assert found[1].accuracy == 0.5
    assert found[1].balanced_accuracy == 0.25
    row = scores_table(found).iloc[0]
    assert row["accuracy, %"] == "75.0 ± 35.4"
    assert row["seeds"] == "2"
    text = confusions([*found, *(Score(**one | {"trained_on": "real"}, seed=0, true=true,
                                       predicted=true),)])  # fmt: skip
    assert "x, trained on mock" in text
    assert "| Spiral" in text
    assert numbers(found)["accuracy"].tolist() == [1.0, 0.5]


def test_contact_sheet_is_one_picture(survey_path, tmp_path):
    draw_sheet(open_survey(survey_path), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height == 3 * 66
