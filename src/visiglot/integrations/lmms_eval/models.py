"""The classes that lmms-eval asks. They answer as `visiglot evaluate` does, by the same decoder and the same ranking.

Written for lmms-eval 0.7.3. A request's `args` are there, for the chat model

    generate_until, generate_until_multi_round   (context, doc_to_messages, gen_kwargs, doc_id, task, split)

and for the simple one, which --force_simple asks for and tasks with choices need

    generate_until   (context, gen_kwargs, doc_to_visual, doc_id, task, split)
    loglikelihood    (context, continuation or doc_to_target, doc_to_visual, doc_id, task, split)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lmms_eval.api.instance import GenerationResult, unwrap_generation_output
from lmms_eval.api.model import lmms

from visiglot.data.tasks.pivot import read_pivot
from visiglot.errors import EvaluationError, VisiglotError
from visiglot.evaluate.ranking import measure_answers
from visiglot.evaluate.sharing import device_of, join_processes
from visiglot.integrations.lmms_eval.asking import (
    Writer,
    cut,
    decoding_of,
    language_of,
    stops_of,
    whole_files_only,
)
from visiglot.languages import ENGLISH, language
from visiglot.models.answer import MAX_BATCH_TOKENS, Answering, Request, row_seed
from visiglot.models.load import load_model
from visiglot.prompts import placed, placing_of
from visiglot.types import Example


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a task.

    Args:
        options: its generation_kwargs.
        facts: what tells its draws from those of others, should it be sampled.
    """

    example: Example
    options: Mapping[str, Any]
    facts: tuple[object, ...]


class _Visiglot(lmms):  # type: ignore[misc]
    """What both have in common.

    Args:
        pretrained: `nano`, a run, a folder or hub id of ours, of BLIP-2, of mBLIP's release or of LLaVA, or parts in
            YAML.
        device: auto, cpu, cuda or cuda:N; of several processes each takes a GPU in turn.
        dtype: auto (as saved), fp32 or bf16.
        quantize: None, int8, nf4 or llm-int8.
        language: of rows that name none.
        batch_tokens: tokens of prompts and answers that are decoded together; this is the batch.
        batch_size, max_batch_size: lmms-eval's; of no effect, since rows differ in length.

    Raises:
        VisiglotError: there is no such model, or it can't be loaded.
    """

    def __init__(
        self,
        pretrained: str = "nano",
        device: str | None = None,
        dtype: str = "auto",
        quantize: str | None = None,
        language: str = ENGLISH,
        batch_tokens: int = MAX_BATCH_TOKENS,
        batch_size: int | str | None = None,
        max_batch_size: int | str | None = None,
    ) -> None:
        super().__init__()
        share = join_processes()
        self._rank, self._world_size = share.rank, share.world
        self._language = _code(language)
        self._batch_tokens = int(batch_tokens)
        model, self._processor = load_model(
            pretrained, device=device_of(share, device or "auto"), dtype=dtype, quantize=quantize
        )
        self._model = model.eval()
        self._placing = placing_of(self._model.config, self._processor)
        self._answering = Answering(self._model, self._processor, max_batch_tokens=self._batch_tokens)
        self.device = self._model.device

    def _document(self, task: str, split: str, document: int) -> Any:
        return self.task_dict[task][split][document]

    def _answer(self, questions: Sequence[Question]) -> list[str]:
        """Their answers, in order; of those with a pivot, what stands behind it.

        One that can't be asked ends the run: an answer that is missing isn't a wrong one.

        Raises:
            VisiglotError: a picture can't be read, a prompt doesn't fit, or an option can't be heeded.
        """
        requests = []
        times: Counter[tuple[object, ...]] = Counter()
        for place, question in enumerate(questions):
            decoding = decoding_of(question.options)
            seed = row_seed(decoding.seed, *question.facts, times[question.facts])  # a repeat draws anew
            times[question.facts] += 1
            shown = placed(question.example, self._placing)
            requests.append(Request(str(place), shown, replace(decoding, seed=seed)))
        stops = [stops_of(question.options) for question in questions]
        found: dict[int, str] = {}
        with whole_files_only():
            for key, answer in self._answering.answer(requests):
                if isinstance(answer, VisiglotError):
                    raise answer
                said = read_pivot(answer.text).answer if self._answering.pivot else answer.text
                found[int(key)] = cut(said, stops[int(key)])
        return [found[place] for place in range(len(questions))]

    def clean(self) -> None:
        """Let go of the model, as lmms-eval asks when all is answered, so that a judge finds room."""
        del self._answering
        super().clean()


class VisiglotChat(_Visiglot):
    """Asked in turns of a conversation, with pictures where the task puts them."""

    is_simple = False

    def generate_until(self, requests: list[Any]) -> list[str]:
        """An answer to each request."""
        questions = []
        for request in requests:
            _, doc_to_messages, options, document, task, split = request.args
            row = self._document(task, split, document)
            questions.append(self._question(doc_to_messages(row), row, options, (task, split, document)))
        return self._answer(questions)

    def generate_until_multi_round(self, requests: list[Any]) -> list[list[str]]:
        """The answers of all rounds to each request. A round of all requests is answered together."""
        said: list[list[str]] = [[] for _ in requests]
        told: list[Any] = [None] * len(requests)
        going = list(range(len(requests)))
        while going:
            questions = {}
            for place in going:
                _, doc_to_messages, options, document, task, split = requests[place].args
                row = self._document(task, split, document)
                number = len(said[place])
                if number == 0:
                    messages = doc_to_messages(row)
                else:
                    messages, ended, _, told[place] = doc_to_messages(
                        row,
                        round_idx=number,
                        previous_output=list(said[place]),
                        previous_round_info=told[place],
                    )
                    if ended:
                        continue
                facts = (task, split, document, number)
                questions[place] = self._question(messages, row, options, facts)
            going = list(questions)
            for place, answer in zip(going, self._answer(list(questions.values()))):
                said[place].append(answer)
        return said

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Raises EvaluationError: lmms-eval asks chat models no such thing."""
        raise EvaluationError("lmms-eval ranks choices with simple models only", hint="Give it --force_simple.")

    def _question(self, messages: Any, row: Any, options: Mapping[str, Any], facts: tuple[object, ...]) -> Question:
        writer = Writer(_name(*facts))
        writer.chat(messages)
        return Question(writer.example(language_of(row, self._language)), options, facts)


class VisiglotSimple(_Visiglot):
    """Asked with one text and a list of pictures; ranks choices too."""

    is_simple = True

    def generate_until(self, requests: list[Any]) -> list[str]:
        """An answer to each request."""
        questions = []
        for request in requests:
            context, options, doc_to_visual, document, task, split = request.args
            facts = (task, split, document)
            questions.append(Question(self._example(context, doc_to_visual, facts), options, facts))
        return self._answer(questions)

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """(loss, whether greedy search would give it) of each request's continuation.

        The loss is the mean over the tokens of the continuation and of what ends it, and above 0, as lmms-eval's own
        models return it: `Task.process_results` takes the choice with the smallest. All continuations of one context
        are measured together.

        Raises:
            VisiglotError: a picture can't be read, or a prompt doesn't fit.
        """
        places: dict[tuple[object, ...], list[int]] = {}
        for place, request in enumerate(requests):
            context, _, _, document, task, split = _whole(request.args)
            places.setdefault((context, task, split, document), []).append(place)
        examples = []
        for (context, *facts), own in places.items():
            args = [requests[place].args for place in own]
            continuations = [self._continuation(one) for one in args]
            examples.append(self._example(str(context), _whole(args[0])[2], tuple(facts), continuations))
        found: dict[int, tuple[float, bool]] = {}
        measured = measure_answers(
            self._model, self._processor, examples, _choices, self._placing, max_batch_tokens=self._batch_tokens
        )
        groups = list(places.values())
        with whole_files_only():
            for index, likely in measured:
                if isinstance(likely, VisiglotError):
                    raise likely
                losses = ((-one.value / one.tokens, one.greedy) for one in likely)
                found.update(zip(groups[index], losses))
        return [_passed_on(found[place]) for place in range(len(requests))]

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        """Raises EvaluationError: the chat model does that."""
        raise EvaluationError("rounds are asked of the chat model", hint="Leave --force_simple out.")

    def _continuation(self, args: Sequence[Any]) -> str:
        """A continuation without the space that lmms-eval puts between it and the context: templates have their own."""
        _, target, _, document, task, split = _whole(args)
        return str(target(self._document(task, split, document)) if callable(target) else target).strip()

    def _example(
        self, context: str, doc_to_visual: Any, facts: tuple[Any, ...], choices: Sequence[str] = ()
    ) -> Example:
        row = None if facts[0] is None else self._document(*facts)
        writer = Writer(_name(*facts))
        pictures = doc_to_visual(row) if callable(doc_to_visual) else doc_to_visual
        writer.turn("user", pictures or [], context)
        return writer.example(language_of(row, self._language), choices)


def _whole(args: Sequence[Any]) -> Sequence[Any]:
    """The parts of a loglikelihood request; one without a document (context, continuation) gets None for the rest."""
    return args if len(args) > 2 else (*args, None, None, None, None)


def _passed_on(pair: tuple[float, bool]) -> Any:
    """A pair so that lmms-eval's evaluator passes it on. That of 0.7.3 makes a text of all that is no text, so that no
    model's choices can be ranked, but what is in a GenerationResult is passed on as it is."""
    if unwrap_generation_output(pair)[0] == pair:
        return pair
    return GenerationResult(text=pair)


def _choices(example: Example) -> Sequence[str]:
    return example.choices


def _name(*facts: object) -> str:
    return ", ".join(map(str, facts))


def _code(name: str) -> str:
    return language(name).code
