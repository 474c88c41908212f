"""Every row of the table of templates."""

from __future__ import annotations

import pytest

from visiglot.render import load_template, render, template_names
from visiglot.types import IGNORE, Example, ImageRef, ImageSlot, Message, PromptSpec

OFFSET = 8


def spec_of(template: str) -> PromptSpec:
    return PromptSpec(
        layout="causal",
        encode=lambda text: [OFFSET + byte for byte in text.encode()],
        image_token="<image>",
        image_token_id=0,
        tokens_per_image=3,
        template=load_template(template),
        pad_id=1,
        prefix_ids=(2,),
        end_ids=(3,),
    )


def read(ids: list[int]) -> str:
    return bytes(i - OFFSET for i in ids if i >= OFFSET).decode()


@pytest.mark.parametrize("name", template_names())
def test_a_template_has_a_place_for_questions_and_answers(name: str) -> None:
    template = load_template(name)
    assert template.name == name
    assert set(template.before) == set(template.after)
    assert {"user", "assistant"} <= set(template.before) <= {"system", "user", "assistant"}


@pytest.mark.parametrize("name", template_names())
def test_what_is_supervised_is_the_answer_and_what_the_template_writes_after_it(name: str) -> None:
    template = load_template(name)
    example = Example(
        "e",
        (Message("user", (ImageSlot(0), "Što je to?")), Message("assistant", ("Pas je.",))),
        "hrv_Latn",
        (ImageRef("p", data=b"p"),),
    )
    sample = render(example, spec_of(name))
    supervised = [label for label in sample.labels if label != IGNORE]
    assert read(supervised) == "Pas je." + template.after["assistant"]
    assert supervised[-1] == 3
    unsupervised = [i for i, label in zip(sample.ids, sample.labels, strict=True) if label == IGNORE]
    question = (
        f"{template.start}{template.before['user']}Što je to?{template.after['user']}{template.before['assistant']}"
    )
    assert read(unsupervised) == question


@pytest.mark.parametrize("name", template_names())
def test_no_template_holds_a_picture_placeholder(name: str) -> None:
    template = load_template(name)
    assert all("<image>" not in text for text in (template.start, *template.before.values(), *template.after.values()))


@pytest.mark.parametrize("name", [name for name in template_names() if name != "plain"])
def test_turns_are_marked_so_that_no_two_roles_look_alike(name: str) -> None:
    template = load_template(name)
    marks = [template.before[role] for role in ("user", "assistant")]
    assert all(marks)
    assert marks[0] != marks[1]
    assert template.after["assistant"], "nothing would end an answer in the middle of a conversation"


@pytest.mark.parametrize("name", [name for name in template_names() if load_template(name).start])
def test_a_system_turn_takes_the_place_of_what_a_template_begins_with(name: str) -> None:
    template = load_template(name)
    asked = Message("user", ("Was?",))
    first = read(list(render(Example("e", (asked,), "deu_Latn"), spec_of(name), complete=True).ids))
    assert first.startswith(template.start + template.before["user"])
    told = (Message("system", ("Be brief.",)), asked)
    second = read(list(render(Example("e", told, "deu_Latn"), spec_of(name), complete=True).ids))
    assert second.startswith(f"{template.before['system']}Be brief.")
    assert template.start not in second
