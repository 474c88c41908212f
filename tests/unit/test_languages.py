from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import FrozenInstanceError

import pytest
import typer
from typer.testing import CliRunner

from visiglot import languages as module
from visiglot.cli.languages import languages as command
from visiglot.errors import LanguageError
from visiglot.languages import LanguageNotice, all_languages, language, literal, resolve, sets


@pytest.fixture(autouse=True)
def _notices_unsaid():
    module._notify.cache_clear()
    yield
    module._notify.cache_clear()


@pytest.mark.parametrize(
    ("alias", "code"),
    [
        ("swh_Latn", "swh_Latn"),
        ("SWH-latn", "swh_Latn"),
        ("sw", "swh_Latn"),
        ("swa", "swh_Latn"),
        ("Swahili", "swh_Latn"),
        ("  kiswahili ", "swh_Latn"),
        ("iw", "heb_Hebr"),
        ("he", "heb_Hebr"),
        ("fil", "tgl_Latn"),
        ("tl", "tgl_Latn"),
        ("no", "nob_Latn"),
        ("nb", "nob_Latn"),
        ("norwegian", "nob_Latn"),
        ("nn", "nno_Latn"),
        ("quz", "quz_Latn"),
        ("zh-TW", "zho_Hant"),
        ("zh_hant", "zho_Hant"),
        ("zh-CN", "zho_Hans"),
        ("ja-Latn", "jpn_Latn"),
        ("sr", "srp_Cyrl"),
        ("sr-Latn", "srp_Latn"),
        ("日本語", "jpn_Jpan"),
        ("ελληνικά", "ell_Grek"),
    ],
)
def test_codes_tags_and_names_mean_one_row(alias: str, code: str) -> None:
    assert language(alias).code == code


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("de-AT", "deu_Latn"),
        ("es-419", "spa_Latn"),
        ("sr-Latn-RS", "srp_Latn"),
        ("zh-Hans-CN", "zho_Hans"),
        ("swa_Latn", "swh_Latn"),
        ("ku-Arab", "ckb_Arab"),
        ("kur_Latn", "kmr_Latn"),
    ],
)
def test_a_region_is_ignored_and_a_script_is_checked(tag: str, code: str) -> None:
    assert language(tag).code == code


def test_a_script_that_the_table_does_not_have_is_unknown() -> None:
    with pytest.raises(LanguageError, match="de-Cyrl"):
        language("de-Cyrl")


def test_unknown_language_names_the_nearest_with_its_code() -> None:
    with pytest.raises(LanguageError, match=r"no such language: 'swahilli'(.|\n)*swh_Latn \(Swahili\)"):
        language("swahilli")


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("chinese", ["zho_Hans", "zho_Hant", "yue_Hant"]),
        ("Kurdish", ["ckb_Arab", "kmr_Latn"]),
        ("qu", ["quy_Latn", "quz_Latn"]),
    ],
)
def test_ambiguous_name_names_every_candidate(name: str, candidates: list[str]) -> None:
    with pytest.raises(LanguageError) as caught:
        language(name)
    assert all(code in str(caught.value) for code in candidates)


def test_bare_zh_is_simplified_with_one_notice() -> None:
    with pytest.warns(LanguageNotice, match="zho_Hant"):
        assert language("zh").code == "zho_Hans"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert language("zh").code == "zho_Hans"
        assert language("zho").code == "zho_Hans"


@pytest.mark.parametrize("spelt_out", ["zh-CN", "zh-Hans", "zho_Hans", "zh-TW", "Simplified Chinese"])
def test_chinese_spelt_out_gives_no_notice(spelt_out: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert language(spelt_out).bcp47.startswith("zh-")


def test_resolve_keeps_the_order_and_drops_repetitions() -> None:
    assert resolve("sw, de,swh_Latn,Deutsch") == ("swh_Latn", "deu_Latn")
    assert resolve(["en", "sw,de"]) == ("eng_Latn", "swh_Latn", "deu_Latn")


def test_minus_takes_a_language_or_a_set_out_of_what_stands_before_it() -> None:
    assert set(sets()["mblip"]) - set(resolve("mblip,-yi")) == {"ydd_Hebr"}
    assert resolve("parrot,-lrm") == ("por_Latn", "arb_Arab", "tur_Latn")
    assert resolve("parrot,-tr,tr")[-1] == "tur_Latn"


def test_minus_that_takes_nothing_out_is_a_mistake() -> None:
    with pytest.raises(LanguageError, match="-sw"):
        resolve("de,-sw")


def test_resolve_raises_on_nothing() -> None:
    for spec in ("", " , ", [], "de,-de"):
        with pytest.raises(LanguageError, match="empty"):
            resolve(spec)


def test_resolve_offers_the_nearest_set() -> None:
    with pytest.raises(LanguageError, match="the set 'mblip'"):
        resolve("mblipp")


def test_all_is_what_the_model_lists() -> None:
    assert resolve("all", all_codes=("swh_Latn", "deu_Latn")) == ("swh_Latn", "deu_Latn")
    assert resolve("all,-de", all_codes=("swh_Latn", "deu_Latn")) == ("swh_Latn",)
    with pytest.raises(LanguageError, match="model"):
        resolve("all")


def test_mblip_is_as_trained() -> None:
    assert {"zho_Hant", "ckb_Arab", "nob_Latn", "heb_Hebr", "tgl_Latn"} <= set(sets()["mblip"])
    assert not {"zho_Hans", "kmr_Latn", "hrv_Latn"} & set(sets()["mblip"])


def test_cldr_is_every_language_that_the_built_in_data_may_have() -> None:
    codes = sets()["cldr"]
    assert len(codes) == 106
    assert set(sets()["nano"]) < set(codes)
    assert all(language(code).cldr for code in codes)
    assert resolve("cldr,-sw") == tuple(code for code in codes if code != "swh_Latn")


def test_literal_is_the_word_or_says_which_file_lacks_it() -> None:
    assert literal("sw", "yes") == "ndiyo"
    with pytest.raises(LanguageError, match=r"'tea'(.|\n)*swh_Latn(.|\n)*languages\.toml"):
        literal("swh_Latn", "tea")
    with pytest.raises(LanguageError, match="Acehnese"):
        literal("ace", "yes")


def test_rows_are_sorted_frozen_and_hashable() -> None:
    rows = all_languages()
    assert [row.code for row in rows] == sorted(row.code for row in rows)
    assert len(set(rows)) == len(rows)
    with pytest.raises(FrozenInstanceError):
        rows[0].name = "other"
    with pytest.raises(TypeError):
        language("sw").literals["yes"] = "no"


def test_import_parses_nothing_and_needs_the_standard_library_only() -> None:
    code = (
        "import sys, visiglot.languages as languages\n"
        "assert languages._table.cache_info().currsize == 0\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'numpy', 'pydantic', 'rich', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def run(*arguments: str):
    app = typer.Typer()
    app.command("languages")(command)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})


def test_command_prints_the_rows_asked_for_and_isolates_right_to_left_names() -> None:
    result = run("he", "Swahili")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["code", "heb_Hebr", "swh_Latn"]
    assert "\u2068עברית\u2069" in lines[1]
    assert "\u2068" not in lines[2]
    assert "0.014" in lines[2]


def test_command_without_a_query_prints_every_row_and_the_sets() -> None:
    output = run().stdout
    assert all(row.code in output for row in all_languages())
    assert "mblip (96)" in output


def test_command_prints_json_of_a_set() -> None:
    rows = json.loads(run("--set", "parrot", "--json").stdout)
    assert [row["code"] for row in rows] == list(sets()["parrot"])
    assert rows[0]["literals"]["yes"] == "yes"
    assert rows[3]["direction"] == "rtl"
    assert rows[3]["native"] == "العربية"


def test_command_raises_on_an_unknown_set_with_the_nearest() -> None:
    result = run("--set", "xm360")
    assert isinstance(result.exception, LanguageError)
    assert "xm3600" in str(result.exception)
