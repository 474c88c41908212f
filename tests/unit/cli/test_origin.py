from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest

from visiglot.cli.origin import facts_of, licence_of
from visiglot.export.targets import TARGETS


def model_with_card(folder: Path, head: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "README.md").write_text(head, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("---\nlicense: apache-2.0\n---\n# A\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: my-own\n---\n", "my-own"),
        ("---\nlanguage: [de]\n---\n", None),
        ("# A\n\nlicense: mit\n", None),
        ("---\nlicense: [\n---\n", None),
        ("", None),
    ],
)
def test_a_licence_is_what_the_head_of_the_card_states(tmp_path: Path, head: str, found: str | None) -> None:
    assert licence_of(str(model_with_card(tmp_path / "m", head))) == found


def test_a_model_of_the_package_has_its_recipe_s_licence() -> None:
    assert licence_of("nano") == "CC-BY-SA-4.0"


def test_a_model_that_is_not_there_states_nothing() -> None:
    assert licence_of("no-such-model") is None
    assert licence_of("nobody/nothing") is None


def test_a_model_of_the_hub_states_what_its_cached_card_does_for_all_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = model_with_card(tmp_path / "m", "---\nlicense: mit\n---\n") / "README.md"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda where, name: str(card))
    facts = facts_of("someone/model", TARGETS.get("blip2"), where="out", scores=None, weights=None)
    assert facts.licence == "mit"
    assert {(part.source, part.licence, part.on_hub) for part in facts.parts} == {("someone/model", "mit", True)}
    assert facts.data == ()
    assert facts.recipe is None


@pytest.mark.parametrize(("architecture", "cited"), [("mBLIP", ["mblip", "blip2"]), ("Blip2ForX", ["blip2"])])
def test_mblip_s_release_is_cited_from_a_folder_and_from_the_hub_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, cited: list[str]
) -> None:
    folder = model_with_card(tmp_path / "m", "")
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}), encoding="utf-8")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda where, name: str(folder / name))
    for name, on_hub in ((str(folder), False), ("someone/model", True)):
        facts = facts_of(name, TARGETS.get("blip2"), where="out", scores=None, weights=None)
        assert [entry.partition("{")[2].partition(",")[0] for entry in facts.citations] == cited
        assert ("mBLIP" in facts.about) == ("mblip" in cited)
        assert {(part.source, part.on_hub) for part in facts.parts} == {(name, on_hub)}


def test_of_parts_that_a_file_names_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "parts.yaml").write_text("vision: {from: a/b}\n", encoding="utf-8")
    facts = facts_of(str(tmp_path / "parts.yaml"), TARGETS.get("blip2"), where="out", scores=None, weights=None)
    assert facts.parts == ()


def test_data_are_those_of_the_recipe_and_of_the_models_its_parts_come_from() -> None:
    facts = facts_of("nano", TARGETS.get("visiglot"), where="out", scores=None, weights=None)
    stated = dict(facts.data)
    assert stated["`openmoji` 17.0.0: pictures, style openmoji"] == "CC-BY-SA-4.0"
    assert not any("noto" in what for what in stated)  # the test's style
    assert [part.source for part in facts.parts] == ["nano-english", "nano-english", "nano-lm"]


def test_a_language_model_trained_on_text_names_no_pictures() -> None:
    facts = facts_of("nano-lm", TARGETS.get("visiglot"), where="out", scores=None, weights=None)
    assert facts.data
    assert not any("pictures" in what for what, _ in facts.data)
