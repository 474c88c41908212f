from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.checkpoints import legacy_mblip, stock_blip2
from tests.drawn import drawn_recipe
from tests.tiny import TEXTS, build_tiny
from tests.unit.cli.conftest import Run
from tests.unit.export.conftest import add_lora, in_this_process, untie  # noqa: F401 (a fixture)
from transformers import Blip2ForConditionalGeneration

from visiglot.config import dump_recipe
from visiglot.evaluate.answers import fingerprint_model
from visiglot.evaluate.means import GroupMean
from visiglot.evaluate.predictions import write_means, write_scores
from visiglot.evaluate.provenance import Run as Provenance
from visiglot.evaluate.provenance import write_run
from visiglot.models.load import load_model
from visiglot.models.parts import count
from visiglot.types import Score

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def blip2_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with low-rank layers beside the recipe that trained it; English and German are on its card."""
    folder = tmp_path_factory.mktemp("runs") / "checkpoint"
    built: Any = build_tiny("blip2", "mt5", "qformer")
    add_lora(built.model, ["q", "v"])
    built.model.save_pretrained(folder / "model")
    built.processor.save_pretrained(folder / "model")
    base = folder.parent / "base"
    base.mkdir()
    (base / "config.json").write_text("{}", encoding="utf-8")
    (base / "README.md").write_text("---\nlicense: mit\n---\n# Base\n", encoding="utf-8")
    recipe = drawn_recipe({"steps": 2}).model_copy(
        update={"about": "A test.", "cite": ("mblip",), "licence": "CC-BY-SA-4.0"}
    )
    part = recipe.model.language_model.model_copy(update={"from_": str(base), "config": None, "tokenizer": None})
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"language_model": part})})
    (folder / "trainer").mkdir()
    (folder / "trainer" / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    return folder


def sections(card: str) -> dict[str, str]:
    """The text below each heading of a model card."""
    found = re.split(r"^## (.+)$", card, flags=re.MULTILINE)
    return dict(zip(found[1::2], map(str.strip, found[2::2])))


def test_an_export_prints_its_folder_and_says_what_was_done(run: Run, blip2_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("export", blip2_run, "--to", "blip2", "--out", out)
    assert result.exit_code == 0
    assert result.stdout == f"{out}\n"
    for said in ("low-rank layers (rank 4) merged", "1 row appended", "the same", "greedy tokens"):
        assert said in result.stderr
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["architectures"] == [
        "Blip2ForConditionalGeneration"
    ]


def test_the_card_says_what_recipe_and_parts_state_and_no_more(run: Run, blip2_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    assert run("export", blip2_run, "--to", "blip2", "--out", out).exit_code == 0
    text = (out / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "cc-by-sa-4.0"
    assert head["language"] == ["de", "en"]
    assert head["library_name"] == "transformers"
    assert "base_model" not in head
    found = sections(text)
    assert list(found) == [
        "What it is",
        "Use",
        "Languages",
        "Training",
        "Scores",
        "Intended use",
        "Bias, risks and limitations",
        "How it was exported",
        "Licence",
        "Citation",
    ]
    assert re.search(r"\| `vision` \| Blip2VisionModel \| [\d.]+k \| new \| not stated \|", found["What it is"])
    assert re.search(r"\| `language_model` .* \| \S+base \| mit \|", found["What it is"])
    assert "German (deu_Latn)" in found["Languages"]
    assert "| drawn | not stated |" in found["Training"]
    assert found["Scores"] == "Not evaluated when this card was written."
    assert "not for direct deployment" in found["Intended use"]
    assert "languages with much data" in found["Bias, risks and limitations"]
    assert "visiglot" in found["How it was exported"]
    assert "transformers 5" in found["How it was exported"]
    assert re.findall(r"^@\w+\{(.+),$", found["Citation"], re.MULTILINE) == ["mblip", "blip2"]
    assert (out / "recipe.yaml").read_text(encoding="utf-8") == (blip2_run / "trainer" / "recipe.yaml").read_text(
        encoding="utf-8"
    )


def test_a_model_that_says_nothing_gets_a_card_that_says_so(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("export", tiny_model, "--to", "visiglot", "--out", out).exit_code == 0
    text = (out / "README.md").read_text(encoding="utf-8")
    found = sections(text)
    assert "license" not in yaml.safe_load(text.split("---\n")[1])
    assert found["Licence"].startswith("Of these weights: not stated.")
    assert "Recipe: not stated." in found["Training"]
    assert "Data: not stated." in found["Training"]
    assert found["Citation"] == "not stated."


@pytest.mark.parametrize("target", ["visiglot", "blip2"])
def test_the_card_of_a_model_that_says_the_question_first_tells_so(run: Run, target: str, tmp_path: Path) -> None:
    for pivot in (True, False):
        built: Any = build_tiny("blip2", "mt5", "qformer", pivot=pivot)
        folder, out = tmp_path / f"model-{pivot}", tmp_path / f"out-{pivot}"
        built.model.save_pretrained(folder)
        built.processor.save_pretrained(folder)
        assert run("export", folder, "--to", target, "--out", out).exit_code == 0
        use = sections((out / "README.md").read_text(encoding="utf-8"))["Use"]
        assert ("`QUESTION || ANSWER`" in use) is pivot


def test_an_export_in_our_own_format_answers_as_the_run(run: Run, blip2_run: Path, tmp_path: Path) -> None:
    from visiglot.models.runs import nano_folder

    out = tmp_path / "out"
    assert run("export", blip2_run, "--to", "visiglot", "--out", out).exit_code == 0
    assert load_model(str(out), device="cpu")[0].config.lora is None
    picture = nano_folder() / "examples" / "pizza.png"
    said = []
    for model in (blip2_run, out):
        rows = run(
            "caption", picture, "--model", model, "-l", "all", "--out", "-", "--device", "cpu"
        ).stdout.splitlines()
        said.append([json.loads(row)["text"] for row in rows])
    assert said[0] == said[1] != []


def test_what_does_not_fit_is_named_with_what_takes_it(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    result = run("export", tiny_model, "--to", "blip2", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "its vision encoder is a 'vit'" in result.stderr
    assert "`--to visiglot` takes every model" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "blip"), "Did you mean 'blip2'?"),
        (("--to", "visiglot", "--text", "a.txt"), "--text: they are for trimming"),
        (("--to", "visiglot", "--frequencies", "a.json"), "--frequencies: they are for trimming"),
        (("--to", "visiglot", "-l", "de", "--text", "a.txt", "--frequencies", "a.json"), "stands in place of --text"),
        (("--to", "visiglot", "--public"), "--public: nothing is pushed without --push-to-hub"),
        (("--to", "visiglot", "-l", "klingon", "--text", "a.txt"), "'klingon'"),
        (("--to", "visiglot", "-l", "de", "--text", "none.txt"), "none.txt can't be read"),
        (("--to", "visiglot", "-l", "de"), "nothing says which tokens they need"),
        (("--to", "visiglot", "--push-to-hub", "me/mine"), "me/mine can't be pushed to"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_written(
    run: Run, tiny_model: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = run("export", tiny_model, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_mixes_all_words_is_not_trimmed(run: Run, tmp_path: Path) -> None:
    result = run("export", "nano", "--to", "visiglot", "-l", "de", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "mixtures of all its words" in result.stderr


def test_trimming_says_what_it_saves(run: Run, blip2_run: Path, tmp_path: Path) -> None:
    text = tmp_path / "german.txt"
    text.write_text(TEXTS[1], encoding="utf-8")
    out = tmp_path / "out"
    arguments = ("export", blip2_run, "--to", "blip2", "--out", out, "-l", "de", "--text", text)
    rehearsed = run(*arguments, "--dry-run")
    assert not out.exists()
    result = run(*arguments)
    assert result.exit_code == 0
    found = re.search(
        r"vocabulary of (\d+) rows instead of (\d+), for deu_Latn by the texts of german.txt", result.stderr
    )
    assert found is not None
    assert re.search(r"[\d,]+ parameters and [\d,]+ bytes less", result.stderr)
    assert f"vocabulary: about {found[1]} of {found[2]} rows" in rehearsed.stdout
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "Its vocabulary was trimmed" in card
    assert yaml.safe_load(card.split("---\n")[1])["language"] == ["de"]


def test_a_dry_run_counts_parameters_and_loads_no_weights(run: Run, blip2_run: Path, tmp_path: Path) -> None:
    result = run("export", blip2_run, "--to", "blip2", "--out", tmp_path / "out", "--dtype", "bf16", "--dry-run")
    assert result.exit_code == 0
    found = re.search(r"([\d,]+) parameters, ([\d,]+) bytes in bf16", result.stdout)
    assert found is not None
    assert 2 * int(found[1].replace(",", "")) == int(found[2].replace(",", ""))
    assert list(tmp_path.iterdir()) == []


FORMATS = {
    "a head of its own": lambda folder: stock_blip2(folder, "mt5"),
    "a head that is the embedding": lambda folder: stock_blip2(folder, "t5"),
    "copies of embeddings, a head of its own": lambda folder: legacy_mblip(folder, "mt5"),
    "copies of embeddings and head": lambda folder: legacy_mblip(folder, "bloom"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_dry_run_counts_what_the_files_hold_and_saves_what_the_export_saves(
    run: Run, tmp_path: Path, kind: str
) -> None:
    stock = FORMATS[kind](tmp_path / "stock")
    text = tmp_path / "german.txt"
    text.write_text(TEXTS[1], encoding="utf-8")
    arguments = ("export", tmp_path / "stock", "--to", "blip2", "-l", "de", "--text", text, "--out", tmp_path / "out")
    rehearsed = run(*arguments, "--dry-run").stdout
    parameters = sum(parameter.numel() for parameter in stock.parameters())
    assert f"{parameters:,} parameters, {4 * parameters:,} bytes in fp32" in rehearsed
    done = run(*arguments)
    assert done.exit_code == 0, done.stderr
    (saved,) = re.findall(r"[\d,]+ parameters and [\d,]+ bytes less", done.stderr)
    assert f"about {saved}" in rehearsed
    table = sections((tmp_path / "out" / "README.md").read_text(encoding="utf-8"))["What it is"]
    left = Blip2ForConditionalGeneration.from_pretrained(tmp_path / "out").language_model.num_parameters()
    assert re.search(rf"\| `language_model` \| \w+ \| {re.escape(count(left))} \|", table)


def test_a_dry_run_counts_a_head_of_its_own_in_our_own_format(run: Run, tmp_path: Path) -> None:
    built: Any = build_tiny("blip2", "mt5", "qformer")
    tied = sum(parameter.numel() for parameter in built.model.parameters())
    untie(built.model)
    add_lora(built.model, ["q", "v"])
    built.model.save_pretrained(tmp_path / "model")
    built.processor.save_pretrained(tmp_path / "model")
    head = built.model.language_model.lm_head.weight.numel()
    rehearsed = run("export", tmp_path / "model", "--to", "blip2", "--out", tmp_path / "out", "--dry-run").stdout
    assert f"{tied + head:,} parameters" in rehearsed


def test_all_languages_of_a_model_without_any_is_said_as_caption_says_it(run: Run, tmp_path: Path) -> None:
    stock_blip2(tmp_path / "stock")
    for more in ((), ("--dry-run",)):
        result = run("export", tmp_path / "stock", "--to", "blip2", "-l", "all", "--out", tmp_path / "out", *more)
        assert result.exit_code == 2
        assert "the model's card lists no languages" in result.stderr


def test_an_export_of_mblip_s_release_cites_it_and_names_its_folder(run: Run, tmp_path: Path) -> None:
    legacy_mblip(tmp_path / "mblip")
    out = tmp_path / "out"
    assert run("export", tmp_path / "mblip", "--to", "blip2", "--out", out).exit_code == 0
    found = sections((out / "README.md").read_text(encoding="utf-8"))
    assert re.findall(r"^@\w+\{(.+),$", found["Citation"], re.MULTILINE) == ["mblip", "blip2"]
    assert "mBLIP (Geigle et al., 2024)" in found["What it is"]
    assert found["What it is"].count(f"| {tmp_path / 'mblip'} | not stated |") == 3


# --- scores ----------------------------------------------------------------------------------------------------------


def evaluation(folder: Path, weights: str) -> Path:
    row = ("toy", "english", "exact", "none")
    write_run(Provenance("mine", weights, command=("visiglot", "evaluate", "mine")), folder)
    write_scores([Score("toy", "english", "eng_Latn", "exact", "none", 10, 0.5, 0.4, 0.6)], folder / "scores.jsonl")
    mean = GroupMean(*row[:2], "", *row[2:], "all languages", "", ("eng_Latn", "deu_Latn"), 20, 10, 0.25, 0.2, 0.3)
    write_means([mean], folder / "means.jsonl")
    (folder / "comparisons.jsonl").touch()
    return folder


def test_scores_of_these_weights_stand_on_the_card(run: Run, blip2_run: Path, tmp_path: Path) -> None:
    scores = evaluation(tmp_path / "scores", fingerprint_model(*load_model(str(blip2_run), device="cpu")))
    out = tmp_path / "out"
    assert run("export", blip2_run, "--to", "blip2", "--out", out, "--scores", scores).exit_code == 0
    found = sections((out / "README.md").read_text(encoding="utf-8"))["Scores"]
    assert "`visiglot evaluate mine`" in found
    assert re.search(r"\| toy \| exact \| English \| 10 \| 50.0.%.* \|", found)
    assert re.search(r"\| toy \| exact \| all languages \(2\) \| 20 \| 25.0.%.* \|", found)


def test_scores_of_other_weights_are_refused(run: Run, blip2_run: Path, tmp_path: Path) -> None:
    scores = evaluation(tmp_path / "scores", "0" * 64)
    result = run("export", blip2_run, "--to", "blip2", "--out", tmp_path / "out", "--scores", scores)
    assert result.exit_code == 2
    assert "is an evaluation of other weights (mine, 000000000000…)" in result.stderr
    assert not (tmp_path / "out").exists()


# --- recipes check ---------------------------------------------------------------------------------------------------


def test_check_says_which_targets_fit_a_recipe_and_why_others_do_not(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "drawn.yaml"
    path.write_text(dump_recipe(drawn_recipe({"steps": 2})), encoding="utf-8")
    printed = run("recipes", "check", path).stdout
    assert "  export: visiglot\n" in printed
    assert "  not blip2: its vision encoder is a " in printed
    assert "  not llava: its connector is " in printed


def test_check_takes_parts_from_folders_for_what_they_are(run: Run, tmp_path: Path, blip2_run: Path) -> None:
    path = tmp_path / "drawn.yaml"
    path.write_text(dump_recipe(drawn_recipe({"steps": 2})), encoding="utf-8")
    model = blip2_run / "model"
    printed = run(
        "recipes", "check", path, f"model.vision={{from: {model}}}", f"model.language_model={{from: {model}}}"
    ).stdout
    assert "  export: blip2, visiglot\n" in printed


def test_check_says_when_a_part_is_only_on_the_hub(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "drawn.yaml"
    path.write_text(dump_recipe(drawn_recipe({"steps": 2})), encoding="utf-8")
    printed = run("recipes", "check", path, "model.vision={from: nobody/nothing}").stdout
    assert (
        "  export: visiglot; the others are only known once the configs of its parts are on this machine\n" in printed
    )
