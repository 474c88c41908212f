"""`visiglot export`: a model becomes a folder that stock classes load."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visiglot.cli.console import quiet_libraries, say
from visiglot.cli.options import OUTPUT, DryRun, refuse_ignored
from visiglot.cli.questions import languages_of
from visiglot.errors import ConfigError

if TYPE_CHECKING:
    from visiglot.export.counting import Kept
    from visiglot.export.targets import Target
    from visiglot.models.checkpoint.formats import Opened

TRIMMING = "Trimming the vocabulary"
CARD = "Card and hub"


class Weights(StrEnum):
    """Number formats that weights are written in."""

    fp32 = "fp32"
    bf16 = "bf16"


@dataclass(frozen=True, slots=True)
class Trimming:
    """What a vocabulary is trimmed to, as the command line says it.

    Args:
        languages: as the user wrote them; None keeps the whole vocabulary.
        text: files that the languages' tokens are counted in.
        frequencies: a file of counts in place of text.
    """

    languages: str | None
    text: list[str] | None
    frequencies: Path | None


def export(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="`nano`, a run, a run or model folder, or a hub id.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="blip2 (Blip2ForConditionalGeneration), llava (LlavaForConditionalGeneration) or visiglot (all). "
            "`visiglot recipes check` says which fit a recipe.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder to write; it must not exist yet.", rich_help_panel=OUTPUT)
    ],
    languages: Annotated[
        str | None,
        typer.Option(
            "--languages",
            "-l",
            help="Trim the vocabulary to what these languages and the prompts need; `all`: those on the model's card.",
            rich_help_panel=TRIMMING,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="A text a line, in those languages; 'sw=FILE' says that it is Swahili. May be given several times. "
            "Default: the built-in data.",
            rich_help_panel=TRIMMING,
        ),
    ] = None,
    frequencies: Annotated[
        Path | None,
        typer.Option(
            "--frequencies",
            help="In place of texts: counts of this model's tokens, .json or .tsv, by language or in all.",
            rich_help_panel=TRIMMING,
        ),
    ] = None,
    dtype: Annotated[
        Weights, typer.Option("--dtype", help="Number format of the weights.", rich_help_panel=OUTPUT)
    ] = Weights.fp32,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="A folder that `visiglot evaluate` wrote, for the card.", rich_help_panel=CARD),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option("--push-to-hub", help="Then upload it to this repository of the hub.", rich_help_panel=CARD),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public; else it is private.", rich_help_panel=CARD)
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Write a model for others: low-rank layers merged, in a format that stock classes load, with a model card.

    The folder is loaded again in a fresh process, by the class that its users have, and must give the model's own
    logits and greedy answers about pictures; else there is no folder, but an error that says what differs.

    With --languages the vocabulary is cut to what some languages need, which is most of a small multilingual model.
    """
    from visiglot.export.export import refuse_taken
    from visiglot.export.targets import TARGETS, refuse_obstacles
    from visiglot.export.vocabulary import refuse_untrimmable

    target = TARGETS.get(to)
    refuse_taken(out)
    if languages is None:
        refuse_ignored(context, ("text", "frequencies"), "they are for trimming, which --languages asks for")
    if text and frequencies is not None:
        raise ConfigError("visiglot export", ["--frequencies: stands in place of --text"], hint="Give one of them.")
    if push_to_hub is None:
        refuse_ignored(context, ("public",), "nothing is pushed without --push-to-hub")
    quiet_libraries()
    opened = _opened(model)
    if opened is not None:
        refuse_obstacles(target, opened.config)
        if languages is not None:
            refuse_untrimmable(opened.config)
            languages_of([languages], opened.config.languages or ())
    trimming = Trimming(languages, text, frequencies)
    if dry_run:
        _rehearse(model, opened, target, out, trimming, dtype=dtype.value)
        return
    _export(
        model,
        target,
        out,
        trimming,
        dtype=dtype.value,
        scores=scores,
        repository=push_to_hub,
        public=public,
    )


def _export(
    name: str,
    target: Target,
    out: Path,
    trimming: Trimming,
    *,
    dtype: str,
    scores: Path | None,
    repository: str | None,
    public: bool,
) -> None:
    from visiglot.cli.origin import facts_of
    from visiglot.evaluate.answers import fingerprint_model
    from visiglot.export.card import write_card
    from visiglot.export.export import export_model
    from visiglot.export.hub import push, refuse_unreachable
    from visiglot.models.load import load_model

    if repository is not None:
        refuse_unreachable(repository)
    model, processor = load_model(name, device="cpu")
    weights = fingerprint_model(model, processor) if scores is not None else None
    facts = facts_of(name, target, where=repository or str(out), scores=scores, weights=weights)
    kept = _kept(trimming, model.config, processor.tokenizer)

    def describe(exported: Any, model: Any, probe: Any, folder: Path) -> None:
        write_card(facts, target, exported, model, probe, folder)

    done = export_model(model, processor, target, out, dtype=dtype, kept=kept, describe=describe, report=say)
    say(str(done.verdict))
    if repository is not None:
        say(f"pushed: {push(out, repository, private=not public)}")
    typer.echo(str(out))


def _opened(name: str) -> Opened | None:
    """The model's config, before its weights are read; None where parts are named in a file."""
    from visiglot.models.checkpoint.tensors import opened_model
    from visiglot.models.load import YAML
    from visiglot.models.runs import resolve_model

    where = resolve_model(name)
    return None if where.endswith(YAML) else opened_model(where)


def _kept(trimming: Trimming, config: Any, tokenizer: Any) -> Kept | None:
    """What a trimmed vocabulary is for; None keeps all of it.

    Raises:
        LanguageError: no such language.
        ConfigError: nothing says which tokens a language needs, or what says it doesn't fit.
        DataError: a file can't be read, or "all" is asked of a model whose card lists no languages.
    """
    from visiglot.export.counting import keep_built_in, keep_files, keep_frequent

    if trimming.languages is None:
        return None
    codes = languages_of([trimming.languages], config.languages)
    if trimming.frequencies is not None:
        return keep_frequent(codes, trimming.frequencies, tokenizer)
    return keep_files(codes, trimming.text) if trimming.text else keep_built_in(codes)


# --- dry run ---------------------------------------------------------------------------------------------------------


def _rehearse(
    name: str,
    opened: Opened | None,
    target: Target,
    out: Path,
    trimming: Trimming,
    *,
    dtype: str,
) -> None:
    """Say what would be written; of weights no more is read than tells whether a head is the embedding."""
    typer.echo(f"{name} would be exported to {out}, for {target.model_class}")
    if opened is None:
        typer.echo("its parts are named in a file: whether they fit is only known once they are loaded")
        return
    from visiglot.export.sizes import size_of

    size, width = size_of(opened), {"fp32": 4, "bf16": 2}[dtype]
    typer.echo(f"{size.parameters:,} parameters, {size.parameters * width:,} bytes in {dtype}")
    if trimming.languages is not None:
        from visiglot.export.vocabulary import rows_needed

        processor = opened.processor()
        kept = _kept(trimming, opened.config, processor.tokenizer)
        assert kept is not None
        rows = rows_needed(opened.config, processor.tokenizer, kept)
        typer.echo(f"vocabulary: about {rows:,} of {size.rows:,} rows, for {', '.join(kept.languages)} by {kept.told}")
        saved = max(0, size.rows - rows) * size.of_row
        typer.echo(f"about {saved:,} parameters and {saved * width:,} bytes less")
