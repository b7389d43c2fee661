"""The table of score names: it holds every score that a map has, once, and says what each page needs."""

from dataclasses import fields

import pytest

from probe.scoring.metrics import LinkCounts, MapScore, PositionScores
from probe.scoring.names import KEY_SCORES, LINK_SCORES, MAP_SCORES, POSITION_SCORES, SCORES, headings


def test_the_table_names_every_number_of_a_map_and_no_other() -> None:
    numbers = [field.name for field in fields(MapScore) if field.type == "float"]
    assert list(SCORES) == numbers == [*POSITION_SCORES, *MAP_SCORES, *LINK_SCORES]
    extra = {"tied", "best", "best_weight"}
    assert {field.name for field in fields(PositionScores)} == {*POSITION_SCORES, *extra}
    assert all(isinstance(getattr(LinkCounts(), name), float) for name in LINK_SCORES)


def test_ceilings_are_scores_themselves_and_say_what_is_counted() -> None:
    assert KEY_SCORES == ("top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible")
    assert all(SCORES[name].ceiling in POSITION_SCORES for name in KEY_SCORES)
    assert [SCORES[name].count for name in KEY_SCORES] == ["n_sure", "n_positions"] * 2


@pytest.mark.parametrize("score", SCORES.values(), ids=lambda score: score.name)
def test_every_score_has_words(score) -> None:
    assert score.heading and score.label and score.meaning and not score.meaning.endswith(".")


def test_headings_are_those_of_the_literature_and_only_errors_are_better_when_lower() -> None:
    assert list(headings(LINK_SCORES).values()) == ["P", "R", "F1", "AER"]
    assert [name for name, score in SCORES.items() if score.better == "lower"] == ["aer"]
