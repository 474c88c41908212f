"""A number survives in any digits and with any separators, and not as another number or a word."""

from __future__ import annotations

import pytest

from visiglot.translate.numbers import lost_numbers
from visiglot.translate.protect import lost


@pytest.mark.parametrize(
    ("original", "translated"),
    [
        ("3.5 kg", "3,5 kg"),
        ("3.5", "٣٫٥"),
        ("3.5", "۳/۵"),
        ("3.50 dollars", "3,5 Dollar"),
        ("in 2019", "सन् २०१९ में"),
        ("in 2019", "২০১৯ সালে"),
        ("in 2019", "ในปี ๒๐๑๙"),
        ("in 2019", "في عام ٢٠١٩"),
        ("2019", "２０１９年"),
        ("1,000 people", "1.000 Menschen"),
        ("1,000 people", "1 000 personnes"),
        ("1,000 people", "1\u202f000 personnes"),
        ("1,000 people", "1000人"),
        ("1,234,567.89", "1.234.567,89"),
        ("1,234,567", "12,34,567"),
        ("1 000 personnes", "1,000 people"),
        ("at 12:30", "um 12.30 Uhr"),
        ("at 3:30 pm", "um 15:30 Uhr"),
        ("at 3:30 pm", "à 15 h 30"),
        ("It is 7 p.m.", "Es ist 19 Uhr."),
        ("at 7PM", "um 19 Uhr"),
        ("At 12:00 noon", "Um 12 Uhr mittags"),
        ("at 3:00 pm", "um 15 Uhr"),
        ("at 7.30 p. m.", "um 19.30 Uhr"),
        ("at 12 a.m.", "um 0 Uhr"),
        ("um 19 Uhr", "at 7 pm"),
        ("on 1/1/2020", "am 1.1.2020"),
        ("on 2020-01-05", "5/1/2020"),
        ("5 km and 5 m", "5公里和5米"),
        ("2019 300", "2019 und 300"),
        ("version 1.2.3", "Version 1.2.3"),
        ("5'10\"", "5 ft 10 in"),
        ("no number", "3"),
    ],
)
def test_a_number_survives(original: str, translated: str) -> None:
    assert lost_numbers(original, translated) == []


@pytest.mark.parametrize(
    ("original", "translated", "missing"),
    [
        ("3.5 kg", "35 kg", ["3.5"]),
        ("3.5 kg", "3 kg", ["3.5"]),
        ("12 dogs", "zwölf Hunde", ["12"]),
        ("12 dogs", "21 Hunde", ["12"]),
        ("1,000", "100", ["1,000"]),
        ("5 and 5", "5", ["5"]),
        ("at 12:30", "um 12:31", ["12:30"]),
        ("2, 3 and 4", "2 und 4", ["3"]),
        ("2019", "20 19", ["2019"]),
        ("7 dogs", "19 Hunde", ["7"]),
        ("It is 7 a.m.", "Es ist 19 Uhr.", ["7"]),
        ("7 pmol", "19 pmol", ["7"]),
        ("at 13 pm", "um 25 Uhr", ["13"]),
        ("at 12:05", "um 12 Uhr", ["12:05"]),
        ("at 7 p.m. and 8", "um 19 Uhr", ["8"]),
        ("0.5", "5", ["0.5"]),
        ("0.125", "125", ["0.125"]),
        ("at 12:30 and 12:30", "12 h 30", ["12:30"]),
    ],
)
def test_a_number_is_missed(original: str, translated: str, missing: list[str]) -> None:
    assert lost_numbers(original, translated) == missing
    assert lost(original, translated) == [f"number {one}" for one in missing]


def test_numbers_within_what_is_kept_are_not_counted_twice() -> None:
    assert lost("See https://a.org/12 and {x3}", "Siehe https://a.org/12") == ["placeholder {x3}"]
    assert lost("See 12", "Siehe https://a.org/12") == ["number 12"]
