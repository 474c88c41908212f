"""The adapter for lmms-eval, asked through a stand-in for its base class (`lmms_eval_interface.py`)."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile
from tests.tiny import build_tiny
from tests.unit.integrations import lmms_eval_interface as interface
from tests.unit.integrations.lmms_eval_interface import ENTRY_POINTS, METHODS, chat_request, choice_request
from tests.unit.integrations.lmms_eval_interface import simple_request as asked
from tests.unit.integrations.lmms_eval_interface import unwrap_generation_output as unwrapped

from visiglot.errors import ConfigError, EvaluationError, ImageError, PromptError
from visiglot.evaluate.answers import ModelAnswerer
from visiglot.evaluate.ranking import choices_of
from visiglot.integrations.lmms_eval import manifest
from visiglot.integrations.lmms_eval.asking import Writer, cut, decoding_of, language_of, stops_of
from visiglot.models.load import load_model
from visiglot.types import ImageSlot

Make = Callable[..., Any]
SHORT = {"max_new_tokens": 4, "temperature": 0, "do_sample": False, "until": None}
RED, BLUE = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (40, 24), "blue")
ROWS = [{"word": "cat", "language": "de"}, {"word": "dog"}]
ROOT = Path(__file__).parents[3]
PYPROJECT, PICTURES = ROOT / "pyproject.toml", ROOT / "src" / "visiglot" / "nano" / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    built = build_tiny(llm="llama")
    built.model.save_pretrained(folder)
    built.processor.save_pretrained(folder)
    return folder


@pytest.fixture
def make(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """`make("VisiglotChat")`: a class of the adapter, with a task whose rows are ROWS."""
    interface.install(monkeypatch)

    def made(name: str, pretrained: str = str(folder), **options: Any) -> Any:
        module = import_module("visiglot.integrations.lmms_eval.models")
        model = getattr(module, name)(pretrained, device="cpu", batch_size=1, **options)
        model.task_dict["toy"] = {"test": ROWS}
        return model

    return made


def turn(*parts: Any) -> list[dict[str, Any]]:
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "url": part} for part in parts
    ]
    return [{"role": "user", "content": content}]


# --- the contract ----------------------------------------------------------------------------------------------------


def test_lmms_eval_finds_the_model_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["entry-points"][ENTRY_POINTS]
    module, _, name = points["visiglot"].partition(":")
    assert getattr(import_module(module), name) is manifest
    interface.install(monkeypatch)
    told = manifest()
    assert told.model_id == "visiglot"
    for path, simple in ((told.simple_class_path, True), (told.chat_class_path, False)):
        module, _, name = path.rpartition(".")
        found = getattr(import_module(module), name)
        assert issubclass(found, interface.lmms)
        assert found.is_simple is simple


@pytest.mark.parametrize("name", ["VisiglotChat", "VisiglotSimple"])
def test_methods_are_those_that_lmms_eval_calls(make: Make, name: str) -> None:
    model = make(name, max_batch_size=None)
    for method, parameters in METHODS.items():
        assert tuple(inspect.signature(getattr(type(model), method)).parameters) == parameters
    assert (model._rank, model._world_size) == (0, 1)
    assert model.device.type == "cpu"


# --- answers ---------------------------------------------------------------------------------------------------------


def test_both_classes_answer_as_the_model_itself_does(make: Make, folder: Path) -> None:
    model, _ = load_model(str(folder), device="cpu")
    own = model.generate([RED, BLUE, [RED, BLUE], []], [["Word: "], ["Word: "], ["Word: "], ["Word: "]])
    shown = [[RED], [BLUE], [RED, BLUE], []]
    options = {**SHORT, "max_new_tokens": 32}
    simple = make("VisiglotSimple").generate_until([asked("Word: ", options, visuals) for visuals in shown])
    chat = make("VisiglotChat").generate_until(
        [chat_request(lambda _, visuals=visuals: turn(*visuals, "Word: "), options) for visuals in shown]
    )
    assert simple == chat == [answers[0] for answers in own]
    assert len(set(simple)) > 1


def test_answers_come_in_the_order_of_the_requests_whatever_their_options(make: Make) -> None:
    model = make("VisiglotSimple")
    requests = [
        asked("Word: ", SHORT, [RED]),
        asked("Word: ", {**SHORT, "max_new_tokens": 9}, [BLUE]),
        asked("A longer question about it: ", {**SHORT, "num_beams": 2}, [RED]),
    ]
    together = model.generate_until(requests)
    assert together == [model.generate_until([one])[0] for one in requests]


def test_a_text_that_ends_answers_cuts_them(make: Make) -> None:
    model = make("VisiglotSimple")
    (whole,) = model.generate_until([asked("Word: ", {**SHORT, "max_new_tokens": 24}, [RED])])
    stop = whole[len(whole) // 2]
    (short,) = model.generate_until([asked("Word: ", {**SHORT, "max_new_tokens": 24, "until": stop}, [RED])])
    assert short == whole.split(stop)[0].rstrip()
    assert short != whole


def test_repeats_of_a_sampled_request_draw_anew_and_the_same_again(make: Make) -> None:
    model = make("VisiglotSimple")
    options = {"max_new_tokens": 12, "do_sample": True, "temperature": 1.5}
    first = model.generate_until([asked("Word: ", options, [RED])] * 4)
    assert len(set(first)) > 1
    assert model.generate_until([asked("Word: ", options, [RED])] * 4) == first


def test_a_picture_that_cannot_be_read_ends_the_run(make: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="toy, test, 0, picture 1"):
        make("VisiglotSimple").generate_until([asked("Word: ", SHORT, [str(tmp_path / "bad.png")])])


def test_answers_are_given_where_lmms_eval_told_pillow_to_show_parts_of_files(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert len(make("VisiglotSimple").generate_until([asked("Word: ", SHORT, [RED])])) == 1
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_rounds_are_asked_until_the_task_ends_them(make: Make) -> None:
    told: list[Mapping[str, Any]] = []

    def messages(row: Any, **round: Any) -> Any:
        if not round:
            return turn(RED, f"{row['word']}: ")
        told.append(round)
        ended = round["round_idx"] > (1 if row["word"] == "cat" else 2)
        return None if ended else turn(BLUE, "Again: "), ended, round["previous_output"], row["word"]

    requests = [chat_request(messages, SHORT, doc_id) for doc_id in (0, 1)]
    found = make("VisiglotChat").generate_until_multi_round(requests)
    assert [len(one) for one in found] == [2, 3]
    assert [(one["round_idx"], len(one["previous_output"])) for one in told] == [(1, 1), (1, 1), (2, 2), (2, 2), (3, 3)]
    assert told[-1]["previous_round_info"] == "dog"


# --- likelihoods -----------------------------------------------------------------------------------------------------


def test_losses_are_those_of_the_ranking_by_token(make: Make, folder: Path) -> None:
    texts = ("red circle", "blue bar", "a green square")
    requests = [choice_request("What is it?", f" {text}", [RED], doc_id) for doc_id in (0, 1) for text in texts]
    found = [unwrapped(one)[0] for one in make("VisiglotSimple").loglikelihood(requests)]
    writer = Writer("own")
    writer.turn("user", [RED], "What is it?")
    example = writer.example("eng_Latn", texts)
    answerer = ModelAnswerer(*load_model(str(folder), device="cpu"), name="tiny", max_batch_tokens=512)
    ((_, ranked),) = list(answerer.rank([example]))
    assert isinstance(ranked, tuple)
    order = sorted(range(3), key=lambda place: -ranked[place])
    ends = {text: len(answerer._processor.spec().encode(text)) + 1 for text in texts}
    assert [loss * ends[text] for (loss, _), text in zip(found, texts * 2)] == pytest.approx(
        [-one for one in ranked] * 2, rel=1e-3
    )
    assert all(loss > 0 for loss, _ in found)
    assert order[0] == min(range(3), key=lambda place: found[place][0] * ends[texts[place]])
    assert choices_of(example) == texts


def test_a_continuation_is_greedy_if_the_model_would_say_it(make: Make) -> None:
    model = make("VisiglotSimple", pretrained="nano")
    pictures = [str(PICTURES / name) for name in ("bicycle.png", "castle.png")]
    for shown in pictures:
        (said,) = model.generate_until([asked("Caption in German:", {"max_new_tokens": 16}, [shown])])
        requests = [
            choice_request("Caption in German:", f" {text}", [shown]) for text in (said, "Sonne", f"{said} {said}")
        ]
        losses, greedy = zip(*(unwrapped(one)[0] for one in model.loglikelihood(requests)))
        assert greedy == (True, False, False)
        assert min(losses) == losses[0]


def test_the_right_answer_may_be_a_function_of_the_row(make: Make) -> None:
    model = make("VisiglotSimple")
    told = [
        model.loglikelihood([choice_request("Word: ", target, [RED])])[0].text
        for target in ("cat", lambda row: row["word"])
    ]
    assert told[0] == told[1]


def test_what_lmms_eval_asks_of_the_other_class_is_refused_with_the_way_to_it(make: Make) -> None:
    with pytest.raises(EvaluationError, match="simple models only") as told:
        make("VisiglotChat").loglikelihood([])
    assert "--force_simple" in str(told.value)
    with pytest.raises(EvaluationError, match="chat model"):
        make("VisiglotSimple").generate_until_multi_round([])


# --- what is asked ---------------------------------------------------------------------------------------------------


def test_options_become_settings_of_the_decoder() -> None:
    plain = decoding_of({})
    assert (plain.max_new_tokens, plain.beams, plain.temperature) == (1024, 1, 0)
    usual = {"max_new_tokens": 16, "temperature": 0, "top_p": 0, "num_beams": 1, "do_sample": False, "until": ["\n"]}
    assert decoding_of(usual).max_new_tokens == 16
    assert decoding_of({**usual, "do_sample": False, "temperature": 0.7}).temperature == 0
    drawn = decoding_of({"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "seed": 3})
    assert (drawn.temperature, drawn.top_p, drawn.top_k, drawn.seed) == (0.7, 0.9, 5, 3)
    assert decoding_of({"do_sample": True}).temperature == 1
    assert decoding_of({"temperature": 0.2}).temperature == 0.2
    searched = decoding_of({"num_beams": 4, "length_penalty": 0.5, "repetition_penalty": 1.2, "top_p": None})
    assert (searched.beams, searched.length_penalty, searched.repetition_penalty) == (4, 0.5, 1.2)


def test_options_that_cannot_be_heeded_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"visual_cot=True can't be heeded"):
        decoding_of({"visual_cot": True})
    with pytest.raises(ConfigError, match="temperature"):
        decoding_of({"do_sample": True, "num_beams": 3})
    with pytest.raises(EvaluationError, match="`until` must be"):
        stops_of({"until": 3})


def test_answers_are_cut_at_the_first_text_that_ends_them() -> None:
    assert stops_of({"until": "\n\n"}) == ("\n\n",)
    assert stops_of({"until": ["a", "", "b"]}) == ("a", "b")
    assert stops_of({}) == stops_of({"until": None}) == ()
    assert cut("one b two a", ("a", "b")) == "one"
    assert cut("one", ("x",)) == "one"


def test_pictures_stand_where_the_text_marks_them() -> None:
    writer = Writer("toy")
    writer.turn("user", [RED, BLUE], "First <image>, then <image>: same?")
    writer.turn("user", [RED], "No mark")
    writer.turn("user", [RED, BLUE], "One mark of two <image>")
    contents = [message.content for message in writer.example("deu_Latn").messages]
    assert contents[0] == ("First ", ImageSlot(0), ", then ", ImageSlot(1), ": same?")
    assert contents[1] == (ImageSlot(2), "No mark")
    assert contents[2] == (ImageSlot(3), ImageSlot(4), "One mark of two <image>")


def test_turns_of_a_chat_keep_their_parts_in_order() -> None:
    writer = Writer("toy")
    writer.chat([{"role": "system", "content": "Be brief."}, *turn(RED, "a ", BLUE, " b"), *turn(RED, "Here: <image>")])
    contents = [message.content for message in writer.example("deu_Latn").messages]
    assert contents == [
        ("Be brief.",),
        (ImageSlot(0), "a ", ImageSlot(1), " b"),
        ("Here: ", ImageSlot(2)),
    ]


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(PromptError, match="not video"):
        Writer("toy").chat([{"role": "user", "content": [{"type": "video", "url": "x.mp4"}]}])
    for thing in (b"bytes", "https://example.org/a.png"):
        with pytest.raises(PromptError, match="toy, picture 1: a picture or the path"):
            Writer("toy").turn("user", [thing], "?")


def test_the_language_of_a_row_is_the_one_that_it_names() -> None:
    assert language_of({"language": "German"}, "eng_Latn") == "deu_Latn"
    assert language_of({"lang": "sw"}, "eng_Latn") == "swh_Latn"
    assert language_of({"language": "no such"}, "eng_Latn") == "eng_Latn"
    assert language_of(None, "fra_Latn") == "fra_Latn"
