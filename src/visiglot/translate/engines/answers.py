"""What may be used of a chat model's answer to "translate this": the translation, the whole of it and nothing else.

Chat models add quotation marks, introductions, notes and apologies. Marks around the whole are taken off where the text
has none. Anything else that was added makes an answer unusable: what to cut would be a guess.
"""

from __future__ import annotations

import re

from visiglot.endpoint import Reply
from visiglot.languages import ENGLISH, language
from visiglot.translate.engine import HALF, Output, is_whole

RULES = 1
"""Raised when an answer is read otherwise than before."""

FINISHED = frozenset({"stop", "eos", "eos_token", "end_turn"})
"""What servers call an answer that came to its end by itself."""

QUOTES = ('""', "“”", "„“", "„”", "””", "«»", "»«", "‘’", "‚‘", "''", "「」", "『』", "《》", "``")
"""Marks that stand around a whole."""

_MARKS = frozenset("".join(QUOTES)) - {"'", "’"}
"""Marks that say that a text has quotations; the two left out are apostrophes as well."""

_TRANSLATION = (
    "translation|translated text|übersetzung|vertaling|översättning|oversettelse|oversættelse|traduction|traducción|"
    "traducció|tradução|traduzione|traducere|tłumaczenie|překlad|preklad|prijevod|prevod|превод|перевод|переклад|"
    "vertimas|tulkojums|tõlge|käännös|fordítás|çeviri|tərcümə|tarjima|μετάφραση|תרגום|ترجمة|ترجمه|अनुवाद|অনুবাদ|"
    "மொழிபெயர்ப்பு|అనువాదం|คำแปล|bản dịch|terjemahan|pagsasalin|tafsiri|翻译|翻譯|译文|譯文|翻訳|訳文|번역"
)
_COLON = re.compile(r"[:：∶﹕]")
_INTRODUCTION = re.compile(rf"^.{{0,40}}(?:{_TRANSLATION})[^:：]{{0,40}}[:：]", re.IGNORECASE)
_NOTE = re.compile(r"[(\[*]?\b(?:translator['’]?s )?(?:note|explanation|literally|alternatively)\b\s*:", re.IGNORECASE)
_AGREEMENT = re.compile(r"^(?:sure|certainly|of course|absolutely)\s*[!,.]", re.IGNORECASE)
_APOLOGY = re.compile(
    r"^(?:i['’]?m sorry|i am sorry|sorry,|i apologi[sz]e|i can(?:no|['’]?)t |i(?:['’]m| am) (?:unable|not able) )",
    re.IGNORECASE,
)
_MACHINE = re.compile(r"\bas an ai\b|\b(?:can(?:no|['’])t|unable to) (?:translate|assist)\b", re.IGNORECASE)


def output_of(reply: Reply, text: str, target: str) -> Output:
    """The translation of `text` in a reply, or why it has none. An answer that is empty, or ended neither by itself nor
    at its longest, may be another one the next time.

    Args:
        target: FLORES-200 code.
    """
    if reply.refusal:
        return _none(f"it declines: {_shown(reply.refusal)}")
    answer = (reply.content or "").strip()
    if not is_whole(answer):
        return _none(f"{HALF}: {_shown(answer)}")
    if reply.finish_reason == "length":
        return Output(_unquoted(answer, text) or None, finished=False, reason="it was cut off at max_tokens")
    if reply.finish_reason not in FINISHED:
        return _none(f"it ended for another reason: finish_reason {reply.finish_reason!r}", passing=True)
    if not answer:
        return _none("its answer is empty", passing=True)
    if (problem := _added(answer, text, target)) is not None:
        return _none(f"{problem}: {_shown(answer)}")
    answer = _unquoted(answer, text)
    return Output(answer) if answer else _none("its answer is empty", passing=True)


def _added(answer: str, text: str, target: str) -> str | None:
    """What an answer has besides a translation; None: nothing that can be seen.

    English introductions are looked for in every language, as that is what models add; what only a translation into
    English could rightly say is no sign there.
    """
    if "<think" in answer.lower() and "<think" not in text.lower():
        return "it thinks aloud (see `extra`)"
    if "```" in answer and "```" not in text:
        return "it put the translation into a block of code"
    if "\n" in answer and "\n" not in text:
        return "it says more than the translation, in several lines"
    if not _COLON.search(text):
        row = language(target)
        names = "|".join(re.escape(name) for name in (row.name, row.native))
        if _INTRODUCTION.search(answer) or re.match(rf"(?:{names})\s*[:：]", answer, re.IGNORECASE):
            return "it introduces the translation"
        if _NOTE.search(answer):
            return "it adds a note"
    if _MACHINE.search(answer) and not _MACHINE.search(text):
        return "it declines"
    if target != ENGLISH and _APOLOGY.search(answer) and not _APOLOGY.search(text):
        return "it declines"
    if target != ENGLISH and _AGREEMENT.search(answer) and not _AGREEMENT.search(text):
        return "it introduces the translation"
    return None


def _unquoted(answer: str, text: str) -> str:
    """Without marks around the whole, if the text has none and the answer no others."""
    if len(answer) < 2 or any(mark in text for mark in _MARKS):
        return answer
    inner = answer[1:-1]
    if answer[0] + answer[-1] in QUOTES and not any(mark in inner for mark in (answer[0], answer[-1], *_MARKS)):
        single = answer[0] in "'‘‚" and (text[:1] == answer[0] or text[-1:] == answer[-1])
        return answer if single else inner.strip()
    return answer


def _none(reason: str, *, passing: bool = False) -> Output:
    return Output(None, finished=False, reason=reason, passing=passing)


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 120 else f"{line[:119]}…")
