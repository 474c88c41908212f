from __future__ import annotations

import gzip
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from visiglot.data.source import factory_problems
from visiglot.errors import ConfigError, DataError, EngineError, LanguageError, UnknownNameError
from visiglot.translate.engine import ENGINES, Engine, Output
from visiglot.translate.engines import memory_files
from visiglot.translate.engines.memory import MemoryNotice
from visiglot.translate.engines.memory_files import Table
from visiglot.translate.engines.memory_index import Memory

ENGLISH, GERMAN, SWAHILI = "eng_Latn", "deu_Latn", "swh_Latn"

TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4">
  <header creationtool="tests" segtype="sentence" adminlang="en" srclang="en" datatype="plaintext"/>
  <body>
    <tu>
      <note>not a text</note>
      <tuv xml:lang="en-US"><seg>The color.</seg></tuv>
      <tuv xml:lang="en-GB"><prop type="x">nor this</prop><seg>The colour.</seg></tuv>
      <tuv xml:lang="DE"><seg>Die Farbe.</seg></tuv>
      <tuv xml:lang="sw"><seg>Rangi.</seg></tuv>
    </tu>
    <tu>
      <tuv xml:lang="en"><seg>Press <bpt i="1">&lt;b&gt;</bpt>the <hi>red</hi>
          button<ept i="1">&lt;/b&gt;</ept> &amp; wait.</seg></tuv>
      <tuv xml:lang="de"><seg>Den <bpt i="1">&lt;b&gt;<sub>title</sub></bpt>roten Knopf<ept i="1">&lt;/b&gt;</ept>
          drücken &#38; warten.</seg></tuv>
    </tu>
    <tu>
      <tuv xml:lang="en"><seg><ph>{n}</ph> files</seg></tuv>
      <tuv xml:lang="de"><seg><ph>{n}</ph> Dateien</seg></tuv>
    </tu>
    <tu>
      <tuv xml:lang="tlh"><seg>nuqneH</seg></tuv>
      <tuv xml:lang="en"><seg>What do you want?</seg></tuv>
    </tu>
    <tu>
      <tuv lang="en"><seg>The color.</seg></tuv>
      <tuv lang="de"><seg>Die andere Farbe.</seg></tuv>
    </tu>
  </body>
</tmx>
"""


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def build(path: Path, **options: Any) -> Engine:
    factory = ENGINES.get("memory")
    values = {"path": str(path), **options}
    assert factory_problems(factory, values, given=()) == []
    return factory(**values)


def said(engine: Engine, *texts: str, source: str = ENGLISH, target: str = GERMAN) -> list[str | None]:
    return [one.text for one in engine.translate(texts, source, target)]


class Upper:
    """Says all in capitals; what has "stop" in it ends its work."""

    name = "tests/upper"
    licence = "MIT"

    def __init__(self, version: int = 1) -> None:
        self.identity = f"upper {version}"
        self.asked: list[str] = []

    def check(self, source: str, targets: Sequence[str]) -> None:
        if "epo_Latn" in targets:
            raise LanguageError("language", "epo_Latn", [])

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        made: dict[str, Output] = {}
        for text in texts:
            if "stop" in text:
                raise EngineError("stopped", made=made)
            self.asked.append(text)
            made[text] = Output(text.upper())
        return list(made.values())


@pytest.fixture
def upper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Upper:
    """The engine behind the memory; built with other options, it is the same one."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    ENGINES.names()
    engine = Upper()

    def factory(version: int = 1) -> Upper:
        engine.identity = f"upper {version}"
        return engine

    monkeypatch.setitem(ENGINES._things, "tests-upper", factory)
    return engine


@pytest.fixture
def tmx(tmp_path: Path) -> Path:
    return write(tmp_path / "memory.tmx", TMX)


# --- TMX -------------------------------------------------------------------------------------------------------------


def test_a_tmx_answers_in_both_directions_and_between_any_two_of_its_languages(tmx: Path) -> None:
    engine = build(tmx)
    assert said(engine, "The color.") == ["Die Farbe."]
    assert said(engine, "Die Farbe.", source=GERMAN, target=ENGLISH) == ["The color."]
    assert said(engine, "Rangi.", source=SWAHILI, target=GERMAN) == ["Die Farbe."]


def test_every_variant_of_a_language_is_found(tmx: Path) -> None:
    assert said(build(tmx), "The color.", "The colour.") == ["Die Farbe.", "Die Farbe."]


def test_words_between_formatting_are_the_text_and_placeholders_leave_it_out(tmx: Path) -> None:
    engine = build(tmx)
    assert said(engine, "Press the red button & wait.") == ["Den roten Knopf drücken & warten."]
    assert said(engine, "files", "{n} files") == [None, None]
    assert Memory(tmx, Table()).about.left_out["texts with placeholders"] == 2


def test_of_two_translations_the_first_counts_and_repeated_texts_are_counted(tmx: Path) -> None:
    about = Memory(tmx, Table()).about
    assert about.repeated == {ENGLISH: 1, GERMAN: 0, SWAHILI: 0}
    assert about.texts == {ENGLISH: 4, GERMAN: 3, SWAHILI: 1}
    with pytest.warns(MemoryNotice, match="1 texts in English that stood in it before: the first translation counts"):
        build(tmx).check(ENGLISH, [GERMAN])


def test_languages_that_nobody_knows_are_left_out_and_counted(tmx: Path) -> None:
    left_out = Memory(tmx, Table()).about.left_out
    assert left_out["texts in 'tlh', no language that is known"] == 1
    assert left_out["units in fewer than two languages"] == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_tmx_may_have_the_encodings_that_tools_write(tmp_path: Path, encoding: str) -> None:
    text = TMX.replace(' encoding="UTF-8"', "").replace("\n", "\r\n")
    engine = build(write(tmp_path / "memory.tmx", text.encode(encoding)))
    assert said(engine, "Press the red button & wait.") == ["Den roten Knopf drücken & warten."]


def test_a_packed_tmx_is_read(tmp_path: Path) -> None:
    assert said(build(write(tmp_path / "m.tmx.gz", gzip.compress(TMX.encode()))), "The color.") == ["Die Farbe."]


@pytest.mark.parametrize(
    "subset",
    [
        '<!DOCTYPE tmx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE tmx [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE tmx [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]>',
        "<!DOCTYPE tmx [<!ENTITY % p \"<!ENTITY b 'x'>\"> %p;]>",
        '<!DOCTYPE tmx SYSTEM "tmx14.dtd">',
    ],
)
def test_entities_of_a_file_s_own_are_refused(tmp_path: Path, subset: str) -> None:
    body = '<tmx version="1.4"><body><tu><tuv xml:lang="en"><seg>&b;</seg></tuv></tu></body></tmx>'
    path = write(tmp_path / "memory.tmx", f'<?xml version="1.0"?>{subset}{body}')
    with pytest.raises(DataError, match="entities of its own"):
        said(build(path), "x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TMX[:-20], "is no XML"),
        (TMX.replace("</seg>", "</sge>", 1), "line 8: is no XML: mismatched tag"),
        ("<xliff/>", "is no TMX: it begins with <xliff>"),
        (TMX.encode().replace(b"Farbe", b"F\xe4rbe"), "is no XML"),
        ("", "is no XML: no element found"),
    ],
)
def test_a_broken_tmx_is_refused_with_its_place(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        said(build(write(tmp_path / "memory.tmx", text)), "x")


def test_a_text_without_end_is_refused(tmx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_files, "MAX_FIELD", 12)
    with pytest.raises(DataError, match="a text has over 12 characters"):
        list(memory_files.read_tmx(tmx, Counter()))


def test_a_tmx_is_read_as_a_stream(tmx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_files, "BLOCK", 64)
    units = memory_files.read_tmx(tmx, Counter())
    assert next(units)[0] == (ENGLISH, "The color.")
    assert len(list(units)) == 4
    whole = write(tmx.with_name("broken.tmx"), TMX[:-20])
    assert next(memory_files.read_tmx(whole, Counter()))[0] == (ENGLISH, "The color.")


# --- TSV -------------------------------------------------------------------------------------------------------------


def test_a_table_names_its_columns_in_the_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tsv", "\ufeffen\tde\tKiswahili\r\ndog\tHund\tmbwa\r\n\r\ncat\t\tpaka\r\n")
    engine = build(path)
    assert said(engine, "dog", "cat") == ["Hund", None]
    assert said(engine, "mbwa", source=SWAHILI, target=GERMAN) == ["Hund"]
    assert said(engine, "cat", target=SWAHILI) == ["paka"]


def test_quoted_fields_may_hold_tabs_quotes_and_line_ends(tmp_path: Path) -> None:
    text = 'en\tde\n"a\tb"\t"sagt ""A\tB"""\n"two\nlines"\tzwei Zeilen\nlast\tletzte'
    engine = build(write(tmp_path / "m.tsv", text))
    assert said(engine, "a b", "two lines", "last") == ['sagt "A B"', "zwei Zeilen", "letzte"]


def test_quotation_marks_that_are_text_are_an_error_unless_said_so(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.tsv", 'en\tde\nx\ty\n"Go", he said.\t"Geh", sagte er.\n"Hi"\t"Hallo"\n5" pipe\t5"-Rohr\n'
    )
    with pytest.raises(DataError, match=r"line 3: .*expected") as caught:
        said(build(path), "x")
    assert "quotes=false" in str(caught.value.hint)
    engine = build(path, quotes=False)
    assert said(engine, '"Go", he said.', '"Hi"', "Hi", '5" pipe') == ['"Geh", sagte er.', '"Hallo"', None, '5"-Rohr']


def test_columns_can_be_named_and_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tsv", "1\tdog\tHund\n2\tcat\tKatze\n")
    assert said(build(path, columns=["-", "en", "de"], header=False), "dog") == ["Hund"]
    assert said(build(path, columns=["-", "en", "de"]), "dog", "cat") == [None, "Katze"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("en\tde\ndog\tHund\tx\n", "line 2: has 3 columns, must have 2"),
        ("en\tde\n\n\ndog\n", "line 4: has 1 columns"),
        ("en\tscore\ndog\t1\n", "column 'score' isn't named by a language"),
        ("en\ten-GB\ncolor\tcolour\n", "fewer than two languages: en, en-GB"),
        ("", "fewer than two languages: none"),
        (b"en\tde\ncoat\tM\xe4ntel\n", "isn't UTF-8"),
        ('en\tde\n"dog\tHund\n', "line 2: unexpected end of data"),
    ],
)
def test_a_broken_table_is_refused_with_its_place(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        said(build(write(tmp_path / "m.tsv", text)), "x")


@pytest.mark.parametrize(("name", "problem"), [("gone.tsv", "there is no file"), ("m.csv", "no translation memory")])
def test_a_file_that_isn_t_there_or_of_another_kind_is_said(tmp_path: Path, name: str, problem: str) -> None:
    write(tmp_path / "m.csv", "en,de\n")
    with pytest.raises(DataError, match=problem):
        said(build(tmp_path / name), "x")


# --- looking up ------------------------------------------------------------------------------------------------------


def test_texts_are_the_same_but_for_composition_and_white_space(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tsv", "en\tde\n  caf\u00e9  au\u00a0lait \tMilch\u00adkaffee\u00a0\u00bb\n")
    engine = build(path)
    assert said(engine, "cafe\u0301 au lait", "Caf\u00e9 au lait") == ["Milch\u00adkaffee\u00a0\u00bb", None]


def test_lines_are_kept_where_the_text_that_is_asked_for_has_them(tmp_path: Path) -> None:
    engine = build(
        write(tmp_path / "m.tsv", 'en\tde\n"A dog.\nIt runs."\t"Ein Hund. \r\nEr rennt."\nIn one.\t"In\neiner."\n')
    )
    assert said(engine, "A dog.\nIt runs.", "A dog. It runs.", "In one.") == [
        "Ein Hund.\nEr rennt.",
        "Ein Hund. Er rennt.",
        "In einer.",
    ]


def test_outputs_keep_the_order_and_repeated_texts_are_answered_each_time(tmx: Path) -> None:
    engine = build(tmx)
    assert said(engine, "no", "The colour.", "no", "The color.") == [None, "Die Farbe.", None, "Die Farbe."]


def test_two_texts_under_one_hash_aren_t_confused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiglot.translate.engines.memory_index._hash", lambda key: 7)
    engine = build(write(tmp_path / "same.tsv", "en\tde\ndog\tHund\ncat\tKatze\n"))
    assert said(engine, "cat", "dog", "cow") == ["Katze", "Hund", None]


def test_a_memory_that_changed_is_read_anew_and_one_that_moved_stays_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tsv", "en\tde\ndog\tHund\n")
    first = build(path, name="house").identity
    assert build(write(tmp_path / "moved.tsv", path.read_bytes()), name="house").identity == first
    write(path, "en\tde\ndog\tKöter\n")
    assert said(build(path), "dog") == ["Köter"]
    assert build(path, name="house").identity != first


def test_without_another_engine_what_is_missing_has_no_translation_and_a_reason(tmx: Path) -> None:
    assert build(tmx).translate(["no"], ENGLISH, GERMAN) == [Output(None, reason="memory memory.tmx doesn't have it")]


def test_a_language_that_the_memory_lacks_is_refused_with_those_that_it_has(tmx: Path) -> None:
    with pytest.raises(LanguageError) as caught:
        build(tmx).check(ENGLISH, [GERMAN, "fra_Latn"])
    assert "'fra_Latn'" in caught.value.message
    assert "deu_Latn (German)" in str(caught.value.hint)
    with pytest.raises(LanguageError):
        build(tmx).check("fra_Latn", [GERMAN])


def test_many_units_go_through_the_index(tmp_path: Path) -> None:
    lines = ("\t".join(("en", "de")), *(f"dog {number}\tHund {number}" for number in range(20_000)))
    engine = build(write(tmp_path / "many.tsv", "\n".join(lines)))
    assert said(engine, "dog 0", "dog 19999", "dog 20000") == ["Hund 0", "Hund 19999", None]
    assert len(list((Memory(tmp_path / "many.tsv", Table())._folder).iterdir())) == 3


# --- the other engine ------------------------------------------------------------------------------------------------


def test_another_engine_does_the_rest_and_each_signs_its_own(tmx: Path, upper: Upper) -> None:
    engine = build(tmx, engine="tests-upper", licence="CC-BY-4.0")
    assert engine.translate(["a", "The color.", "b", "a"], ENGLISH, GERMAN) == [
        Output("A", engine="tests/upper"),
        Output("Die Farbe.", engine="memory memory.tmx"),
        Output("B", engine="tests/upper"),
        Output("A", engine="tests/upper"),
    ]
    assert upper.asked == ["a", "b"]
    assert engine.name == "memory memory.tmx + tests/upper"
    assert engine.licence == "CC-BY-4.0 AND MIT"
    assert build(tmx).licence == "unknown"
    assert build(tmx, engine="tests-upper", licence="MIT").licence == "MIT"


def test_what_the_other_engine_said_outlives_a_change_of_the_memory(tmp_path: Path, upper: Upper) -> None:
    path = write(tmp_path / "m.tsv", "en\tde\ndog\tHund\n")
    assert said(build(path, engine="tests-upper"), "dog", "cat", "cow") == ["Hund", "CAT", "COW"]
    write(path, "en\tde\ndog\tHund\ncat\tKatze\n")
    assert said(build(path, engine="tests-upper"), "dog", "cat", "cow") == ["Hund", "Katze", "COW"]
    assert upper.asked == ["cat", "cow"]
    assert said(build(path, engine="tests-upper", engine_options={"version": 2}), "cow") == ["COW"]
    assert upper.asked == ["cat", "cow", "cow"]


def test_what_was_made_before_the_other_engine_stopped_isn_t_lost(tmx: Path, upper: Upper) -> None:
    engine = build(tmx, engine="tests-upper")
    with pytest.raises(EngineError, match="stopped") as caught:
        engine.translate(["The color.", "a", "stop", "b"], ENGLISH, GERMAN)
    assert caught.value.made == {
        "The color.": Output("Die Farbe.", engine="memory memory.tmx"),
        "a": Output("A", engine="tests/upper"),
    }
    assert said(engine, "a", "b") == ["A", "B"]
    assert upper.asked == ["a", "b"]


def test_with_another_engine_a_language_that_the_memory_lacks_is_a_notice(tmx: Path, upper: Upper) -> None:
    engine = build(tmx, engine="tests-upper")
    with pytest.warns(MemoryNotice, match=r"nothing in fra_Latn \(French\)"):
        engine.check(ENGLISH, ["fra_Latn"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", MemoryNotice)
        engine.check(ENGLISH, ["fra_Latn"])
    with pytest.raises(LanguageError):
        engine.check(ENGLISH, ["epo_Latn"])


def test_memories_can_stand_one_behind_the_other(tmx: Path, tmp_path: Path, upper: Upper) -> None:
    path = write(tmp_path / "house.tsv", "en\tde\ndog\tHund\nThe color.\tUnsere Farbe.\n")
    engine = build(path, engine="memory", engine_options={"path": str(tmx), "engine": "tests-upper"})
    assert [
        (one.text, one.engine) for one in engine.translate(["The color.", "The colour.", "x"], ENGLISH, GERMAN)
    ] == [
        ("Unsere Farbe.", "memory house.tsv"),
        ("Die Farbe.", "memory memory.tmx"),
        ("X", "tests/upper"),
    ]


def test_identity_follows_the_file_and_the_other_engine(tmx: Path, upper: Upper) -> None:
    identities = {
        build(tmx).identity,
        build(tmx, engine="tests-upper").identity,
        build(tmx, engine="tests-upper", engine_options={"version": 2}).identity,
        build(tmx, name="house").identity,
    }
    assert len(identities) == 4


def test_an_engine_that_was_renamed_signs_with_its_new_name(tmx: Path, upper: Upper) -> None:
    first = build(tmx, engine="tests-upper")
    identity = first.identity
    assert first.translate(["a"], ENGLISH, GERMAN)[0].engine == "tests/upper"
    upper.name = "tests/renamed"  # type: ignore[misc]
    second = build(tmx, engine="tests-upper")
    assert second.identity != identity, "its outputs are kept apart"
    assert second.translate(["a"], ENGLISH, GERMAN)[0].engine == "tests/renamed"
    assert upper.asked == ["a"], "and nothing is translated anew"


def test_trouble_of_the_other_engine_that_may_pass_isn_t_kept(tmx: Path, upper: Upper, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        busy = Output(None, reason="busy", passing=True)
        patch.setattr(upper, "translate", lambda texts, *_: [busy] * len(texts))
        assert said(build(tmx, engine="tests-upper"), "a") == [None]
    assert said(build(tmx, engine="tests-upper"), "a") == ["A"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"header": False}, "columns: is missing"),
        ({"engine_options": {"a": 1}}, "engine: is missing"),
        ({"engine": "tests-upper", "engine_options": {"versoin": 1}}, "engine_options.versoin: no such key"),
        ({"engine": "openai", "engine_options": {"model": "m"}}, "engine_options.base_url: is missing"),
    ],
)
def test_options_that_don_t_fit_are_named(tmx: Path, upper: Upper, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        build(tmx, **options)


def test_an_engine_that_there_isn_t_is_refused_with_the_nearest(tmx: Path) -> None:
    (problem,) = factory_problems(ENGINES.get("memory"), {"path": tmx, "engine": "openay"}, given=())
    assert "Did you mean 'openai'?" in problem
    with pytest.raises(UnknownNameError):
        ENGINES.get("memory")(path=tmx, engine="openay")
