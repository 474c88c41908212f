"""`visiglot translate`: a data set becomes the same data set in many languages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from visiglot.cli.benchmark_questions import as_source
from visiglot.cli.console import quiet_libraries, say
from visiglot.cli.datasets.opening import open_source, read_options
from visiglot.cli.options import OUTPUT, DryRun, Resume, refuse_ignored
from visiglot.cli.translated import rehearse, show_report, tell
from visiglot.errors import ConfigError, TranslationError, UnknownNameError
from visiglot.types import OnBad

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from visiglot.config import AllocationSection, Recipe
    from visiglot.translate.engine import Engine
    from visiglot.translate.filters import Filters
    from visiglot.translate.jobs import Job
    from visiglot.translate.pipeline import Crew

ENGINE = "Engine and filters"

PARALLEL = "parallel"


def translate(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A name in the table of sources, a .parquet file, `benchmark:NAME` (the English questions of mme, "
            "mmbench, pope or seed-bench), or a recipe (a built-in one's name or a .yaml file), whose sources with "
            "`translate: true` are translated.",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Argument(help="The source's own options, or what to change in the recipe.", metavar="KEY=VALUE"),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            "--languages",
            "-l",
            help="Languages of the result: codes, names or named sets, with commas ('de,sw', 'mblip,-yi'). A recipe "
            "has its own.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", "-e", help="ctranslate2, transformers, openai or memory.", rich_help_panel=ENGINE),
    ] = None,
    engine_options: Annotated[
        list[str] | None,
        typer.Option(
            "--engine-option",
            help="An option of the engine; may be repeated.",
            metavar="KEY=VALUE",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    engine_workers: Annotated[
        int,
        typer.Option(
            "--engine-workers",
            min=1,
            help="Engines that translate at a time, each in a process of its own, over Ray: on the cluster that "
            "RAY_ADDRESS or `ray start` names, or on this machine alone. 1: in this process, without Ray.",
            rich_help_panel=ENGINE,
        ),
    ] = 1,
    no_filter: Annotated[
        list[str] | None,
        typer.Option(
            "--no-filter",
            metavar="REASON",
            help="Don't reject texts for this reason, as the report calls it; may be repeated.",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    filter_limit: Annotated[
        list[str] | None,
        typer.Option(
            "--filter-limit",
            metavar="LIMIT=VALUE",
            help="Another limit of a filter, as `spread=2.5`; for one script or language, `Thai.spread=3` or "
            "`de.spread=3`. May be repeated.",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    labels: Annotated[
        Literal["english", "reject"],
        typer.Option(
            "--labels",
            help="What becomes of short answers, names and choices that come back changed: english (as mBLIP does) "
            "keeps them and notes their language; reject leaves the example out in that language.",
            rich_help_panel=ENGINE,
        ),
    ] = "english",
    lid_model: Annotated[
        Path | None,
        typer.Option(
            "--lid-model",
            help="A fastText model that says which language a text is in. Default: scripts, then py3langid; "
            "a language that neither knows is undetermined and never rejected for it.",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to write.", rich_help_panel=OUTPUT)
    ] = None,
    source_language: Annotated[
        str, typer.Option("--source-language", help="Language of the texts that are translated.")
    ] = "en",
    allocation: Annotated[
        str,
        typer.Option(
            "--allocation",
            help="How languages share the examples: parallel (every example in every language), uniform, mc4, "
            "mc4_alpha, english_share, lrm, or a section of a recipe, `{policy: weights, weights: {de: 2, sw: 1}}`. A "
            "recipe has its own.",
        ),
    ] = PARALLEL,
    seed: Annotated[int, typer.Option("--seed", help="Of which example goes to which language.")] = 42,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Most examples of each source, spread evenly; default: all.")
    ] = None,
    on_bad: Annotated[
        OnBad | None,
        typer.Option(
            "--on-bad", help="What a row that can't be read does: error, or skip. Default: as the source has it."
        ),
    ] = None,
    pictures: Annotated[
        Literal["path", "bytes"],
        typer.Option(
            "--pictures",
            help="path: pictures stay where they are and are named relative to --root; bytes: they go into the files.",
            rich_help_panel=OUTPUT,
        ),
    ] = "path",
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="The folder below which all pictures lie. Default: the one above all files of the source's options.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            help="Instead: show counts and samples of a translation, also one that isn't finished, and write its page "
            "anew.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Translate a data set, for training in many languages: facts and turns, never the words around them.

    What is no word survives: pictures' places, numbers, tags, placeholders, marks of choices, line breaks. Long texts
    go to the engine sentence by sentence. Short answers, names and choices are translated once a language and checked
    by translating them back; those that come back changed stay as they are, and say so. An example of which a text is
    rejected is left out in that language. A command that was stopped goes on where it was.

    Engines, with the licence that their output gets beside the source's own: ctranslate2 and transformers by the model:
    NLLB-200 CC-BY-NC-4.0 (no commercial use), MADLAD-400 Apache-2.0, Opus-MT CC-BY-4.0 (Apache-2.0 for some), M2M-100
    MIT. openai: any endpoint of that kind; state its provider's terms with the engine's option `licence`. memory: the
    translation memory's, stated with `licence`.
    """
    if report is not None:
        refuse_ignored(context, [name for name in context.params if name != "report"], "--report translates nothing")
        show_report(report)
        return
    _refuse_missing(source, engine, out)
    assert source is not None
    assert engine is not None
    assert out is not None
    quiet_libraries()
    from visiglot.data.progress import telling
    from visiglot.translate.jobs import plan_recipe

    make = engine_maker(engine, engine_options or [])
    limits = filter_limits(filter_limit or [])
    filters = _filters(no_filter or [], lid_model, limits)
    if engine_workers > 1:
        from visiglot.translate.workers import load_ray

        load_ray()
    with telling(say):
        source, options = as_source(source, options or [])
        recipe = _recipe(source, options)
        if recipe is not None:
            ignored = ("languages", "source_language", "allocation", "seed", "on_bad")
            refuse_ignored(context, ignored, "the recipe says it; change it there (data.languages=de,sw)")
            jobs = plan_recipe(recipe, limit=limit)
        else:
            jobs = [_of_source(source, options, languages, source_language, allocation, seed, limit, on_bad)]
        if root is not None:
            jobs = _below(jobs, root)
        built = make()
        for job in jobs:
            built.check(job.language, list(job.translated))
        if recipe is not None:
            _refuse_licence(recipe, built)
        if dry_run:
            rehearse(jobs, built, out)
            return
        from visiglot.translate.folder import Folder
        from visiglot.translate.pipeline import Choices
        from visiglot.translate.pipeline import translate as run
        from visiglot.translate.rules import identifier_model
        from visiglot.translate.store import Store, store_path
        from visiglot.translate.translator import Translator

        settings = {
            "engine": {"name": built.name, "type": engine, "options": read_options("engine", engine_options or [])},
            "no_filter": sorted(no_filter or []),
            "filter_limits": limits,
            "lid_model": identifier_model(lid_model),
            "recipe": None if recipe is None else recipe.name,
        }
        with Store(store_path(built.identity)) as store:
            crew: Crew = Translator(built, store, filters, jobs[0].language)
            if engine_workers > 1:
                from visiglot.translate.cluster import Cluster, Known, takes_gpu

                built = Known(built.name, built.licence, built.identity)
                gpu = takes_gpu(engine, read_options("engine", engine_options or []))
                crew = Cluster(built, make, filters, jobs[0].language, store.path, engine_workers, gpu)
            tallies = run(
                jobs,
                crew,
                Folder(out),
                settings=settings,
                resume=resume,
                choices=Choices(pictures == "bytes", labels),
            )
    tell(jobs, tallies, out, recipe, pictures)


# --- what is asked ---------------------------------------------------------------------------------------------------


def _refuse_missing(source: str | None, engine: str | None, out: Path | None) -> None:
    wanted = {"SOURCE": source, "--engine": engine, "--out": out}
    problems = [f"{name}: is missing" for name, value in wanted.items() if value is None]
    if problems:
        raise ConfigError("visiglot translate", problems, hint="`visiglot translate --help` says what each is.")


def _recipe(name: str, overrides: Sequence[str]) -> Recipe | None:
    """The recipe of this name; None where it is a source's. Raises UnknownNameError: it is neither's."""
    from visiglot.config import load_recipe, recipe_names
    from visiglot.data.source import SOURCES

    if name in SOURCES or name.endswith(".parquet"):
        return None
    if name in recipe_names() or name.endswith((".yaml", ".yml")):
        return load_recipe(name, overrides)
    raise UnknownNameError("source or recipe", name, [*SOURCES.names(), *recipe_names()])


def _of_source(
    name: str,
    options: Sequence[str],
    languages: str | None,
    source_language: str,
    allocation: str,
    seed: int,
    limit: int | None,
    on_bad: OnBad | None,
) -> Job:
    from visiglot.config import SourceSection
    from visiglot.languages import language, resolve
    from visiglot.translate.jobs import plan_source

    if languages is None:
        raise ConfigError("visiglot translate", ["--languages: is missing"], hint="Codes, names or sets, as 'de,sw'.")
    origin, codes = language(source_language).code, resolve(languages)
    opened = open_source(name, options, ",".join(dict.fromkeys([origin, *codes])), on_bad=on_bad)
    values = read_options(f"source {name}", options)
    kind = name
    if name.endswith(".parquet"):
        kind, values = "parquet", {"path": name, **values}
    return plan_source(
        opened,
        SourceSection(type=kind, options=values),
        codes,
        allocation=_allocation(allocation),
        source_language=origin,
        seed=seed,
        limit=limit,
    )


def _allocation(text: str) -> AllocationSection:
    """A policy's name, or a section as recipes have it. Raises ConfigError."""
    import yaml
    from pydantic import ValidationError

    from visiglot.config import AllocationSection

    try:
        values: Any = yaml.safe_load(text)
        return AllocationSection.model_validate(values if isinstance(values, dict) else {"policy": values})
    except (yaml.YAMLError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise ConfigError("visiglot translate", [f"--allocation {text!r}: {said}"], hint="For example: mc4") from error


def engine_maker(name: str, options: Sequence[str]) -> Callable[[], Engine]:
    """What makes the engine that is named on the command line; its options are known to be right.

    Raises:
        UnknownNameError: no such engine.
        ConfigError: options that can't be read, that it doesn't take, or that it needs and are missing.
    """
    from visiglot.data.source import factory_problems
    from visiglot.translate.engine import ENGINES

    factory = ENGINES.get(name)
    values = read_options(f"engine {name}", options)
    if problems := factory_problems(factory, values, given=(), where="--engine-option "):
        lines = [problem.replace("--engine-option .", "--engine-option ") for problem in problems]
        raise ConfigError(f"engine {name}", lines, hint="Give them as --engine-option KEY=VALUE.")
    return partial(factory, **values)


def _filters(no_filter: Sequence[str], lid_model: Path | None, limits: Mapping[str, Mapping[str, Any]]) -> Filters:
    from visiglot.translate.filters import Filters

    return Filters(no_filter, lid_model, limits)


def filter_limits(options: Sequence[str]) -> dict[str, dict[str, object]]:
    """Script, FLORES-200 code or "any" -> limit -> value, of `spread=2`, `Thai.spread=3` and `de.spread=3`.

    Raises:
        ConfigError: an option can't be read.
        LanguageError: what is before the point is neither a script nor a language.
    """
    from visiglot.languages import all_languages, language

    scripts = {row.script for row in all_languages()}
    limits: dict[str, dict[str, object]] = {}
    for key, value in read_options("--filter-limit", options, hint="For example: --filter-limit spread=2.5").items():
        place, _, name = key.rpartition(".")
        where = place or "any"
        limits.setdefault(where if where in ("any", *scripts) else language(where).code, {})[name] = value
    return limits


def _below(jobs: Sequence[Job], root: Path) -> list[Job]:
    from dataclasses import replace

    if not root.is_dir():
        raise ConfigError("visiglot translate", [f"--root: there is no folder {root}"])
    return [replace(job, root=root.absolute()) for job in jobs]


def _refuse_licence(recipe: Recipe, engine: Engine) -> None:
    """Raises TranslationError: the recipe's data must be for commercial use, and the engine's output isn't."""
    from visiglot.data.licences import objection

    data = [recipe.data, *(stage.data for stage in recipe.stages if stage.data is not None)]
    reason = objection(engine.licence) if engine.licence else None
    if reason is not None and any(section.licence == "commercial" for section in data):
        raise TranslationError(
            f"recipe {recipe.name} wants data for commercial use, but of engine {engine.name} it is known: {reason}",
            hint="Use another engine or model, or data.licence=any.",
        )
