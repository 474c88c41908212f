"""Sentences end where their script and language end them."""

from __future__ import annotations

import tomllib
import unicodedata
from importlib.resources import files

import pytest

from visiglot.languages import all_languages
from visiglot.translate.sentences import (
    LEAST,
    LONGEST,
    LONGEST_UNSPACED,
    LONGEST_WORDS,
    ends_are_marked,
    short_spans,
    split_sentences,
)

SPLIT = [
    ("eng_Latn", "A dog.| A cat!| A bird?"),
    ("eng_Latn", "Mr. Smith and Dr. Jones live at 5 St. John Ave. in the U.S. Army."),
    ("eng_Latn", "It costs 3.50, e.g. Monday.| See Fig. 3 for more."),
    ("eng_Latn", "Is it red?| No.| It is blue, i.e. no. 5 of it."),
    ("eng_Latn", 'He asked "Why?" and left.| "Go!"| She went… and came... then left...| Well.'),
    ("eng_Latn", "a dog runs. |the cat sleeps"),
    ("eng_Latn", "it is… well... here.| that is all"),
    ("eng_Latn", "J. R. R. Tolkien wrote it (in 1937.)| It sold."),
    ("eng_Latn", "First line\n|second line.\n\n|Third"),
    ("deu_Latn", "Am 3. Oktober ist z.B. in Berlin Feiertag.| „Gut!“| Er geht ca. 5 km."),
    ("fra_Latn", "Où est-il ?| « Ici ! »| M. Dupont part."),
    ("spa_Latn", "¿Dónde está?| ¡Aquí!| El Sr. López y la Sra. Ruiz."),
    ("por_Latn", "O Sr. Silva chegou.| Ele vive na Av. Paulista."),
    ("ita_Latn", "Il Sig. Rossi arriva.| È tardi."),
    ("nld_Latn", "Dhr. Jansen komt bijv. Maandag.| Goed."),
    ("pol_Latn", "Mieszka przy ul. Długiej, np. Jan.| Tak."),
    ("ces_Latn", "Přišel 5. Května, např. Jan.| Ano."),
    ("swe_Latn", "Det är t.ex. Anna.| Ja."),
    ("tur_Latn", "Sn. Yılmaz geldi.| Evet."),
    ("rus_Cyrl", "Он живёт на ул. Ленина, т.е. в Москве.| Да!"),
    ("ell_Grek", "Είναι κόκκινο;| Ναι.| Ο κ. Παππάς ήρθε."),
    ("zho_Hans", "这是狗。|那是猫！|“真的吗？”|他说3.5元。|好"),
    ("zho_Hans", "这是狗!|那是猫?|好"),
    ("zho_Hant", "這是狗。|那是貓。"),
    ("jpn_Jpan", "彼は「はい。」と言った。|次の日、雨が降った。"),
    ("kor_Hang", "네.| 그것은 개입니다.| 정말요?"),
    ("hin_Deva", "यह कुत्ता है।| डॉ. राम आए।|वह 3.5 है।"),
    ("mar_Deva", "हा कुत्रा आहे. |ती मांजर आहे."),
    ("ben_Beng", "এটি কুকুর।| ওটি বিড়াল।"),
    ("arb_Arab", "هل هذا كلب؟| نعم، هذا كلب.| جيد."),
    ("urd_Arab", "یہ کتا ہے۔| وہ بلی ہے؟| ہاں"),
    ("heb_Hebr", "זה כלב.| זה חתול?| כן."),
    ("khm_Khmr", "នេះជាឆ្កែ។| នោះជាឆ្មា៕"),
    ("mya_Mymr", "ဒါက ခွေးပါ။| ဒါက ကြောင်ပါ။"),
    ("amh_Ethi", "ይህ ውሻ ነው።| ያ ድመት ነው።"),
    ("hye_Armn", "Սա շուն է։| Դա կատու է:| Լավ"),
    ("kat_Geor", "ეს ძაღლია.| ეს კატაა."),
    ("sat_Olck", "ᱱᱚᱣᱟ ᱥᱮᱛᱟ ᱠᱟᱱᱟ᱾| ᱱᱚᱣᱟ ᱯᱩᱥᱤ ᱠᱟᱱᱟ᱾"),
]


@pytest.mark.parametrize(("code", "marked"), SPLIT)
def test_sentences_end_where_the_language_ends_them(code: str, marked: str) -> None:
    assert list(split_sentences(marked.replace("|", ""), code)) == [part.strip() for part in marked.split("|")]


def test_thai_lao_and_tibetan_are_cut_at_spaces_between_long_pieces_only() -> None:
    thai = "ผู้ชายคนหนึ่งกำลังขี่ม้าอยู่บนชายหาดในตอนเช้า"
    assert len(thai) >= LEAST
    assert split_sentences(f"{thai} {thai}", "tha_Thai") == (thai, thai)
    for text in ("สุนัข แมว นก", f"สุนัข {thai}", f"{thai} สุนัข"):
        assert split_sentences(text, "tha_Thai") == (text,)
    assert split_sentences(f"{thai} iPhone 15 {thai}", "tha_Thai") == (f"{thai} iPhone 15 {thai}",)
    tibetan = "འདི་ནི་ཁྱི་ཆེན་པོ་ཞིག་རེད་དེ་ནི་ཞི་མི་ཆུང་ཆུང་ཞིག་རེད།"
    assert split_sentences(f"{tibetan} {tibetan}", "bod_Tibt") == (tibetan, tibetan)
    unmarked = {"tha_Thai", "lao_Laoo", "bod_Tibt", "dzo_Tibt"}
    assert {row.code for row in all_languages() if not ends_are_marked(row.code)} == unmarked


def test_every_language_has_rules_and_those_in_the_table_are_languages() -> None:
    codes = {row.code for row in all_languages()}
    for code in codes:
        assert split_sentences("Ab! Cd? Ef", code) == ("Ab!", "Cd?", "Ef")
    table = tomllib.loads(files("visiglot.translate").joinpath("sentences.toml").read_text(encoding="utf-8"))
    assert {*table["ordinals"], *table["abbreviations"]} <= codes | {"any"}
    assert set(table["own"]) <= {row.script for row in all_languages()}
    for words in table["abbreviations"].values():
        assert all(word == word.lower().rstrip(".") for word in words.split())


def pieces(text: str, code: str) -> list[str]:
    return [text[start:end] for start, end in short_spans(text, code)]


def test_short_sentences_are_not_cut() -> None:
    text = " ".join(["word,"] * LONGEST_WORDS)
    assert pieces(text, "eng_Latn") == [text]
    assert pieces("雨" * LONGEST_UNSPACED, "jpn_Jpan") == ["雨" * LONGEST_UNSPACED]


def test_long_sentences_are_cut_at_clauses_and_never_in_a_number() -> None:
    clauses = [f"the dog that is number 1,{n:03} runs" + (", " if n % 2 else "; ") for n in range(40)]
    text = "".join(clauses).strip()
    found = pieces(text, "eng_Latn")
    assert " ".join(found) == text
    assert all(piece[-1] in ",;" for piece in found)
    assert all(piece.startswith("the dog") for piece in found)
    assert max(map(len, found)) <= LONGEST
    assert len(found) <= len(text) // LONGEST + 2, "no crumbs"


def test_chinese_is_cut_at_its_commas() -> None:
    text = "小狗在公园里跑，" * 60
    found = pieces(text, "zho_Hans")
    assert "".join(found) == text
    assert all(piece.endswith("，") and len(piece) <= LONGEST_UNSPACED for piece in found)


@pytest.mark.parametrize(
    ("code", "unit"), [("tha_Thai", "น้ำ"), ("tha_Thai", "เก้า"), ("mya_Mymr", "ကြောင်"), ("hin_Deva", "कु")]
)
def test_without_spaces_letters_keep_their_marks(code: str, unit: str) -> None:
    text = unit * 300
    found = pieces(text, code)
    assert "".join(found) == text
    assert len(found) > 1
    for piece in found[1:]:
        assert not unicodedata.category(piece[0]).startswith("M")
    assert not any(piece.endswith("เ") for piece in found)
