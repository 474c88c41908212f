"""The engines ctranslate2 and transformers, on tiny random models of each family, converted here."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.translation_models import FAMILIES, texts, write_model

from visiglot.data.source import factory_problems
from visiglot.errors import LanguageError, TranslationError
from visiglot.translate.engine import Engine
from visiglot.translate.engines.codes import mark_of
from visiglot.translate.engines.ct2 import AHEAD, ctranslate2_engine
from visiglot.translate.engines.seq2seq import MARGIN, NO_REPEAT, Limits, bound_of, plan
from visiglot.translate.engines.stock import transformers_engine

SOURCE, TARGET = "eng_Latn", "swh_Latn"

FACTORIES: dict[str, Any] = {"ctranslate2": ctranslate2_engine, "transformers": transformers_engine}
ENGINE_NAMES = tuple(FACTORIES)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> a model that comes to its end by itself, mostly."""
    root = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MarianTokenizer recommends sacremoses
        return {family: write_model(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("nllb", tmp_path_factory.mktemp("endless") / "model", ends=False)


def engine(kind: str, model: Path, **options: Any) -> Any:
    """An engine that computes in float32, greedily unless said otherwise."""
    exact = {"compute": "float32"} if kind == "ctranslate2" else {"dtype": "float32"}
    given = {"model": str(model), "beams": 1, "device": "cpu", **exact, **options}
    factory = FACTORIES[kind]
    assert factory_problems(factory, given, given=()) == []
    return factory(**given)


def stock_tokens(family: str, folder: Path, sentences: list[str], limit: int) -> list[list[int]]:
    """What transformers' greedy `generate` says of each text alone, written as the model cards write it."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    model.generation_config.forced_eos_token_id = None  # Marian's would end an output at the limit
    ways: dict[str, tuple[str, str | None, int | None]] = {
        "nllb": ("{}", "eng_Latn", tokenizer.convert_tokens_to_ids("swh_Latn")),
        "m2m100": ("{}", "en", tokenizer.get_lang_id("sw") if family == "m2m100" else None),
        "madlad": ("<2sw> {}", None, None),
        "marian": (">>swa<< {}", None, None),
    }
    pattern, src_lang, forced = ways[family]
    if src_lang is not None:
        tokenizer.src_lang = src_lang
    suppress = [tokenizer.pad_token_id] if family == "marian" else None
    said = []
    for sentence in sentences:
        inputs = tokenizer(pattern.format(sentence), return_tensors="pt")
        with torch.inference_mode():
            row = model.generate(
                **inputs,
                num_beams=1,
                do_sample=False,
                max_new_tokens=limit + (forced is not None),
                forced_bos_token_id=forced,
                suppress_tokens=suppress,
            )[0].tolist()[1 + (forced is not None) :]
        said.append(row[: row.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in row else row)
    return said


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_greedy_tokens_are_those_of_stock_generate(name: str, family: str, models: dict[str, Path]) -> None:
    built = engine(name, models[family])
    sentences = texts(20, seed=1)
    ids = built.codec.encode(sentences, SOURCE, TARGET)
    batches = plan(dict(enumerate(ids)), built.limits, built.codec.prefix(TARGET))
    found: dict[int, tuple[int, ...]] = {}
    for batch, generated in zip(batches, built.generate(batches), strict=True):
        found.update(zip(batch.numbers, (one.ids for one in generated), strict=True))
    limits = {number: batch.limit for batch in batches for number in batch.numbers}
    expected = [stock_tokens(family, models[family], [s], limits[n])[0] for n, s in enumerate(sentences)]
    assert [list(found[n]) for n in range(len(sentences))] == expected
    assert len({tuple(one) for one in expected}) > 6, "the tiny model says the same of all texts"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_batches_say_what_each_text_alone_does(name: str, family: str, models: dict[str, Path]) -> None:
    built = engine(name, models[family], beams=2, batch_tokens=120)
    sentences = texts(9, seed=2)
    together = built.translate(sentences, SOURCE, TARGET)
    assert together == [built.translate([one], SOURCE, TARGET)[0] for one in sentences]
    assert all(output.text is not None for output in together)


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_batches_are_handed_over_as_they_come(name: str, models: dict[str, Path], monkeypatch: Any) -> None:
    built = engine(name, models["nllb"], batch_tokens=40, threads=1)
    given = 0
    stock = built._asked if name == "ctranslate2" else built._generate

    def counted(batch: Any) -> Any:
        nonlocal given
        given += 1
        return stock(batch)

    monkeypatch.setattr(built, "_asked" if name == "ctranslate2" else "_generate", counted)
    sentences = texts(20, seed=2)
    batches = plan(dict(enumerate(built.codec.encode(sentences, SOURCE, TARGET))), built.limits)
    for handed, _ in enumerate(built.generate(batches), 1):
        assert given <= handed + AHEAD, "more would be lost"
    assert given == handed > 5
    portions = list(built.portions(sentences, SOURCE, TARGET))
    assert len(portions) > 3
    made = {text: one for some in portions for text, one in some.items()}
    assert [made[text] for text in sentences] == built.translate(sentences, SOURCE, TARGET)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_differs_by_target_language(family: str, models: dict[str, Path]) -> None:
    built = engine("ctranslate2", models[family])
    sentences = texts(8, seed=3)
    assert built.translate(sentences, SOURCE, "deu_Latn") != built.translate(sentences, SOURCE, "zho_Hans")


def test_ctranslate2_in_8_bits_keeps_most_of_what_it_says(models: dict[str, Path]) -> None:
    sentences = texts(30, seed=4)
    exact = engine("ctranslate2", models["nllb"]).translate(sentences, SOURCE, TARGET)
    rough = engine("ctranslate2", models["nllb"], compute="int8").translate(sentences, SOURCE, TARGET)
    same = [a.text[:3] == b.text[:3] for a, b in zip(exact, rough, strict=True)]
    assert sum(same) > 15


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_what_comes_to_no_end_is_tried_longer_once_and_said(name: str, endless: Path, monkeypatch: Any) -> None:
    built = engine(name, endless)
    asked = []
    stock = built.generate

    def watched(batches: Any) -> Any:
        asked.extend(batches)
        return stock(batches)

    monkeypatch.setattr(built, "generate", watched)
    outputs = built.translate(texts(5, seed=5, longest=3), SOURCE, TARGET)
    assert [output.finished for output in outputs] == [False] * 5
    assert all(output.text for output in outputs)
    assert {batch.again for batch in asked} == {False, True}
    first = {number: batch.limit for batch in asked if not batch.again for number in batch.numbers}
    second = {number: batch.limit for batch in asked if batch.again for number in batch.numbers}
    assert second == {number: min(2 * limit, built.limits.longest - 2) for number, limit in first.items()}


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_the_second_try_repeats_no_four_tokens(name: str, endless: Path) -> None:
    built = engine(name, endless)
    ids = built.codec.encode(texts(3, seed=6, longest=2), SOURCE, TARGET)
    batches = plan(dict(enumerate(ids)), built.limits, built.codec.prefix(TARGET), again=True)
    for generated in built.generate(batches):
        for one in generated:
            runs = [one.ids[start : start + 4] for start in range(len(one.ids) - 3)]
            assert len(runs) == len(set(runs))
            assert not one.finished


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_finished_says_whether_the_end_came(name: str, family: str, models: dict[str, Path]) -> None:
    built = engine(name, models[family], max_length_factor=0.1)
    ids = built.codec.encode(texts(20, seed=7), SOURCE, TARGET)
    batches = plan(dict(enumerate(ids)), built.limits, built.codec.prefix(TARGET))
    said = [(batch, one) for batch, row in zip(batches, built.generate(batches), strict=True) for one in row]
    for batch, one in said:
        assert built.codec.end not in one.ids
        assert len(one.ids) == batch.limit if not one.finished else len(one.ids) < batch.limit
    assert {one.finished for _, one in said} == {False, True}


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_a_text_beyond_the_models_positions_is_not_cut(name: str, models: dict[str, Path]) -> None:
    built = engine(name, models["nllb"])
    long, short = " ".join(texts(30, seed=8)), "ab"
    outputs = built.translate([long, short], SOURCE, TARGET)
    assert (outputs[0].text, outputs[0].finished) == (None, False)
    assert outputs[1].text is not None
    assert built.translate([], SOURCE, TARGET) == []


@pytest.mark.parametrize("budget", [1, 40, 200, 10_000])
def test_batches_keep_to_the_budget_and_to_texts_of_a_length(budget: int) -> None:
    lengths = [3, 90, 17, 8, 9, 40, 16, 15, 41, 250, 11, 12]
    limits = Limits(beams=2, batch_tokens=budget, max_length_factor=2.0, longest=1024)
    batches = plan({n: [0] * length for n, length in enumerate(lengths)}, limits)
    assert sorted(n for batch in batches for n in batch.numbers) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch.sources) == 1 or batch.padded * limits.beams <= budget
        assert len({bound_of(len(ids)) for ids in batch.sources}) == 1
    longest = [max(map(len, batch.sources)) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_the_limit_of_a_text_does_not_depend_on_its_batch_mates() -> None:
    limits = Limits(beams=1, batch_tokens=1000, max_length_factor=2.0, longest=1024)
    alone = plan({0: [0] * 9}, limits)[0].limit
    together = plan({0: [0] * 9, 1: [0] * 16, 2: [0] * 100}, limits)
    assert [batch.limit for batch in together if 0 in batch.numbers] == [alone] == [2 * 16 + MARGIN]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_language_that_a_model_lacks_is_refused_with_the_nearest(family: str, models: dict[str, Path]) -> None:
    built: Engine = engine("ctranslate2", models[family])
    assert isinstance(built, Engine)
    built.check(SOURCE, ["deu_Latn", "swh_Latn", "zho_Hans"])
    with pytest.raises(LanguageError) as caught:
        built.check(SOURCE, ["deu_Latn", "zho_Latn"])
    assert caught.value.hint is not None
    assert "zho_Hans" in caught.value.hint
    with pytest.raises(LanguageError):
        built.translate(["ab"], SOURCE, "zho_Latn")
    if family != "madlad":  # which marks no source
        with pytest.raises(LanguageError):
            built.check("zho_Latn", ["deu_Latn"])


def test_codes_are_those_of_the_families() -> None:
    from visiglot.languages import language

    wanted = {
        "zho_Hans": ("zho_Hans", "__zh__", "<2zh>"),
        "zho_Hant": ("zho_Hant", "__zh-Hant__", "<2zh_Hant>"),
        "swh_Latn": ("swh_Latn", "__sw__", "<2sw>"),
        "nob_Latn": ("nob_Latn", "__no__", "<2no>"),
        "tgl_Latn": ("tgl_Latn", "__tl__", "<2fil>"),
        "kmr_Latn": ("kmr_Latn", "__kmr__", "<2ku>"),
        "sat_Olck": ("sat_Beng", "__sat__", "<2sat>"),
        "srp_Latn": ("srp_Latn", "__sr-Latn__", "<2sr_Latn>"),
    }
    found = {code: tuple(mark_of(f, language(code)) for f in ("nllb", "m2m100", "madlad")) for code in wanted}
    assert found == wanted


def test_every_language_of_nllb_and_m2m100_is_one_of_ours() -> None:
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M100
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB

    from visiglot.languages import all_languages

    assert {mark_of("nllb", row) for row in all_languages()} >= set(NLLB)
    assert {mark_of("m2m100", row) for row in all_languages()} >= {f"__{code}__" for code in M2M100["m2m100"]}


def test_opus_marks_with_scripts_and_regions_are_read(models: dict[str, Path]) -> None:
    marks = engine("transformers", models["marian"]).codec.marks
    assert marks.target == {
        "deu_Latn": ">>deu<<",
        "swh_Latn": ">>swa<<",
        "zho_Hans": ">>cmn_Hans<<",
        "por_Latn": ">>por<<",
    }
    assert marks.source == {"eng_Latn": ""}


def rewritten(folder: Path, to: Path, **values: Any) -> Path:
    """A copy of an Opus-MT model of two languages, with other values in its tokenizer_config.json."""
    import shutil

    shutil.copytree(folder, to)
    for file in ("vocab.json",):
        kept = json.loads((to / file).read_text(encoding="utf-8"))
        plain = {piece if not piece.startswith(">>") else f"{piece[2:-2]}": number for piece, number in kept.items()}
        (to / file).write_text(json.dumps(plain), encoding="utf-8")
    config = json.loads((to / "tokenizer_config.json").read_text(encoding="utf-8"))
    (to / "tokenizer_config.json").write_text(json.dumps({**config, **values}), encoding="utf-8")
    return to


def test_an_opus_model_of_two_languages_does_these_and_no_other(models: dict[str, Path], tmp_path: Path) -> None:
    built = engine("ctranslate2", rewritten(models["marian"], tmp_path / "pair", source_lang="en", target_lang="de"))
    built.check("eng_Latn", ["deu_Latn"])
    assert built.translate(["ab cd"], "eng_Latn", "deu_Latn")[0].text is not None
    for source, target in (("eng_Latn", "swh_Latn"), ("fra_Latn", "deu_Latn")):
        with pytest.raises(LanguageError):
            built.check(source, [target])


def test_an_opus_model_that_does_not_say_its_languages_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    folder = rewritten(models["marian"], tmp_path / "silent", source_lang="en", target_lang=None)
    with pytest.raises(TranslationError, match="no target_lang"):
        engine("transformers", folder)


def test_a_model_is_converted_once_and_its_identity_is_its_content(
    models: dict[str, Path], tmp_path: Path, monkeypatch: Any
) -> None:
    import shutil

    from ctranslate2.converters import TransformersConverter

    first = engine("ctranslate2", models["nllb"])
    copy = Path(shutil.copytree(models["nllb"], tmp_path / "copy"))
    assert engine("ctranslate2", copy).identity == first.identity
    assert engine("ctranslate2", models["nllb"], beams=2).identity != first.identity
    assert engine("ctranslate2", models["nllb"], compute="int8").identity != first.identity
    facts = json.loads(first.identity)
    assert (facts["margin"], facts["no_repeat"]) == (MARGIN, NO_REPEAT)
    with monkeypatch.context() as patch:
        patch.setattr("ctranslate2.__version__", "0.0")
        assert engine("ctranslate2", models["nllb"]).identity != first.identity
    other = write_model("nllb", tmp_path / "other", seed=1)
    assert engine("ctranslate2", other).identity != first.identity
    monkeypatch.setattr(TransformersConverter, "convert", lambda *_, **__: pytest.fail("converted again"))
    assert engine("ctranslate2", models["nllb"]).identity == first.identity


def test_a_converted_folder_needs_a_tokenizer_and_then_says_the_same(models: dict[str, Path], tmp_path: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    folder = Path(TransformersConverter(str(models["nllb"])).convert(str(tmp_path / "own")))
    sentences = texts(6, seed=9)
    wanted = engine("ctranslate2", models["nllb"]).translate(sentences, SOURCE, TARGET)
    with pytest.raises(TranslationError, match="tokenizer"):
        engine("ctranslate2", folder)
    built = engine("ctranslate2", folder, tokenizer=str(models["nllb"]))
    assert built.translate(sentences, SOURCE, TARGET) == wanted
    with pytest.raises(TranslationError, match="CTranslate2's format"):
        engine("transformers", folder)


def test_a_mark_that_a_tokenizer_does_not_read_as_one_token_is_put_in_front(
    models: dict[str, Path], monkeypatch: Any
) -> None:
    codec = engine("transformers", models["madlad"]).codec
    read = codec.tokenizer
    mark = read.convert_tokens_to_ids("<2sw>")
    assert mark in codec.encode(["ab cd"], SOURCE, TARGET)[0][:2]

    class Blind:
        def __call__(self, sentences: list[str], **options: Any) -> Any:
            return read([sentence.replace("<2sw>", "?") for sentence in sentences], **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(read, name)

    monkeypatch.setattr(codec, "tokenizer", Blind())
    assert codec.encode(["ab cd"], SOURCE, TARGET) == [(mark, *read("ab cd")["input_ids"])]


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_the_licence_is_the_known_one_then_the_cards_then_unknown(
    name: str, models: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(models["madlad"], tmp_path / "mine"))
    assert (engine(name, folder).name, engine(name, folder).licence) == ("mine", "unknown")
    known = engine(name, folder, name="facebook/nllb-200-distilled-600M")
    assert (known.name, known.licence) == ("facebook/nllb-200-distilled-600M", "CC-BY-NC-4.0")
    assert engine(name, folder, name="google/madlad400-3b-mt").licence == "Apache-2.0"
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-4.0\n---\n# Mine\n", encoding="utf-8")
    assert engine(name, folder).licence == "CC-BY-4.0"
    assert engine(name, folder, licence="MIT").licence == "MIT"


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_what_is_no_translation_model_is_refused_in_words(name: str, models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TranslationError, match="no folder and no hub id"):
        engine(name, tmp_path / "nothing")
    with pytest.raises(TranslationError, match="can't be fetched"):
        FACTORIES[name](model="nobody/nothing", device="cpu")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TranslationError, match="has no weights"):
        engine(name, empty)


def test_numbers_and_devices_that_are_not_there_are_refused(models: dict[str, Path]) -> None:
    with pytest.raises(TranslationError, match="doesn't compute in float16"):
        engine("ctranslate2", models["nllb"], compute="float16")
    with pytest.raises(TranslationError, match="no such device"):
        engine("ctranslate2", models["nllb"], device="tpu")
    with pytest.raises(TranslationError, match="overflows"):
        engine("transformers", models["madlad"], dtype="float16")
