"""Every row of the table of export targets: its classes exist, it can be asked, and it says what doesn't fit."""

from __future__ import annotations

from copy import deepcopy
from importlib import import_module

import pytest

from visiglot.cli.recipes import bibtex
from visiglot.export.gate import FORMS
from visiglot.export.targets import ANY, TARGETS
from visiglot.models.checkpoint.stock import load_config
from visiglot.models.runs import nano_folder
from visiglot.render import load_template, template_names


@pytest.mark.parametrize("name", TARGETS.names())
def test_a_target_has_its_classes_its_words_and_its_sources(name: str) -> None:
    target = TARGETS.get(name)
    assert target.name == name
    module = import_module(target.module)
    assert hasattr(module, target.model_class)
    assert hasattr(module, target.processor_class)
    assert all(bibtex(key) for key in target.cite)


@pytest.mark.parametrize("name", TARGETS.names())
def test_a_target_can_be_asked_and_the_card_s_code_compiles(name: str) -> None:
    target = TARGETS.get(name)
    assert target.forms
    for form in target.forms:
        compile("\n".join(line.format(text='"What?"') for line in FORMS[form].code), form, "exec")
        texts = [FORMS[form].text(before, "After", "<image>", 2) for before in ("", "Before")]
        assert texts[0] is not None
        assert all(text is None or "After" in text for text in texts)


@pytest.mark.parametrize("name", TARGETS.names())
def test_a_target_keeps_the_words_of_a_prompt_in_every_template(name: str) -> None:
    for template in template_names():
        before, after = TARGETS.get(name).words(load_template(template), "Before", "After")
        assert before.endswith("Before")
        assert after.startswith("After")


@pytest.mark.parametrize("name", TARGETS.names())
def test_obstacles_are_sentences_and_change_nothing(name: str) -> None:
    config = load_config(str(nano_folder() / "model"))
    before = deepcopy(config.to_dict())
    found = TARGETS.get(name).obstacles(config)
    assert config.to_dict() == before
    assert (found == []) == (name == ANY)
    assert all(sentence == " ".join(sentence.split()) and not sentence.endswith(".") for sentence in found)
