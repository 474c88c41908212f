"""Captions in several languages: Multi30k and WIT; and names of classes in several: ImageNet."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.formats import Expected, Fixture, picture, replace_in

from visiglot.data.sources.wit import file_name


def multi30k(folder: Path) -> Fixture:
    """Task 1, laid out as in the authors' repository; Czech is packed, as all files are there."""
    raw, splits = folder / "task1" / "raw", folder / "task1" / "image_splits"
    raw.mkdir(parents=True)
    splits.mkdir()
    picture(folder / "flickr30k-images", "1000092795.jpg", "10002456.jpg")
    (splits / "train.txt").write_text("1000092795.jpg\n10002456.jpg\n")
    (raw / "train.en").write_text("Two young men are outside.\nSeveral men in hard hats.\n")
    (raw / "train.de").write_text("Zwei junge Männer sind im Freien.\nMehrere Männer mit Schutzhelmen.\n", "utf-8")
    with gzip.open(raw / "train.cs.gz", "wb") as file:
        file.write("Dva mladí muži jsou venku.\nNěkolik mužů v přilbách.\n".encode())

    def expected(line: int, code: str, image: str, language: str, caption: str, english: str) -> Expected:
        facts = {"caption": caption} | ({} if code == "en" else {"source.caption": english})
        return Expected(f"train-{line}-{code}", (image,), "", caption, language, facts=facts)

    first, second = "Two young men are outside.", "Several men in hard hats."
    return Fixture(
        options={"folder": str(raw), "images": str(folder / "flickr30k-images")},
        expected=(
            expected(1, "en", "1000092795.jpg", "eng_Latn", first, first),
            expected(1, "de", "1000092795.jpg", "deu_Latn", "Zwei junge Männer sind im Freien.", first),
            expected(1, "cs", "1000092795.jpg", "ces_Latn", "Dva mladí muži jsou venku.", first),
            expected(2, "en", "10002456.jpg", "eng_Latn", second, second),
            expected(2, "de", "10002456.jpg", "deu_Latn", "Mehrere Männer mit Schutzhelmen.", second),
            expected(2, "cs", "10002456.jpg", "ces_Latn", "Několik mužů v přilbách.", second),
        ),
        spoil=lambda: replace_in(raw / "train.de", "Mehrere Männer mit Schutzhelmen.", " "),
        spoilt=r"train.de, line 2, field `de`: is empty",
        lost=("train-2-en", "train-2-de", "train-2-cs"),
        escape=lambda: replace_in(splits / "train.txt", "10002456.jpg", "../../10002456.jpg"),
    )


WIT_COLUMNS = [
    "language",
    "page_url",
    "image_url",
    "page_title",
    "section_title",
    "hierarchical_section_title",
    "caption_reference_description",
    "caption_attribution_description",
    "caption_alt_text_description",
    "mime_type",
    "original_height",
    "original_width",
    "is_main_image",
    "attribution_passes_lang_id",
    "page_changed_recently",
    "context_page_description",
    "context_section_description",
]


def wit_row(code: str, image_url: str, caption: str, context: str = "A page.") -> str:
    """A line of the table, fields with quotation marks or ends of lines quoted as the authors' writer does."""
    values = dict.fromkeys(WIT_COLUMNS, "") | {
        "language": code,
        "page_url": f"https://{code}.wikipedia.org/wiki/Half_Dome",
        "image_url": image_url,
        "page_title": "Half Dome",
        "caption_reference_description": caption,
        "mime_type": "image/jpeg",
        "original_height": "3000",
        "original_width": "4000",
        "is_main_image": "true",
        "attribution_passes_lang_id": "true",
        "page_changed_recently": "true",
        "context_page_description": context,
    }
    quoted = [
        f'"{text.replace(chr(34), chr(34) * 2)}"' if {'"', "\n"} & set(text) else text for text in values.values()
    ]
    return "\t".join(quoted) + "\n"


def wit(folder: Path) -> Fixture:
    """A part of the table, packed, and the pictures that were downloaded."""
    path = folder / "wit_v1.train.all-00000-of-00010.tsv.gz"
    base = "https://upload.wikimedia.org/wikipedia/commons"
    first, second, missing = f"{base}/a/Half_Dome.JPG", f"{base}/b/Kilima.png", f"{base}/c/Gone.jpg"
    picture(folder / "images", file_name(first), file_name(second))
    lines = [
        "\t".join(WIT_COLUMNS) + "\n",
        wit_row("en", first, 'The "Half Dome" at dusk', "A page\nof two lines."),
        wit_row("sw", second, "Mlima mrefu"),
        wit_row("de", missing, "Ein Berg, dessen Bild fehlt"),
        wit_row("fr", first, ""),
        wit_row("ku", second, "Çiyayek"),
        wit_row("xmf", second, "a language that the table lacks"),
        wit_row("zh-TW", first, "半圓頂"),
    ]
    starts = [sum(len(line.encode()) for line in lines[:n]) for n in range(len(lines))]

    def write() -> None:
        with gzip.open(path, "wb") as file:
            file.write("".join(lines).encode())

    def spoil() -> None:
        lines[2] = lines[2].replace("sw\t", "  \t", 1)
        write()

    write()
    names = {url: (file_name(url),) for url in (first, second)}

    def expected(line: int, url: str, code: str, caption: str) -> Expected:
        return Expected(f"{path.name}:{starts[line]}", names[url], "", caption, code, facts={"caption": caption})

    return Fixture(
        options={"path": str(path), "images": str(folder / "images")},
        expected=(
            expected(1, first, "eng_Latn", 'The "Half Dome" at dusk'),
            expected(2, second, "swh_Latn", "Mlima mrefu"),
            expected(5, second, "kmr_Latn", "Çiyayek"),
            expected(7, first, "zho_Hant", "半圓頂"),
        ),
        spoil=spoil,
        spoilt=r"wit_v1.train.all-00000-of-00010.tsv.gz, line 4, field `language`: is empty",
        lost=(f"{path.name}:{starts[2]}",),
        escape=None,
    )


def imagenet(folder: Path) -> Fixture:
    """Three classes with the labels of two languages, and one that the table of languages lacks."""
    picture(folder / "train", *(f"n01440764/n01440764_{n}.JPEG" for n in range(5)), "n01443537/n01443537_1.JPEG")
    picture(folder / "train", *(f"n01484850/n01484850_{n}.JPEG" for n in range(2)))
    names, labels = folder / "names.tsv", folder / "babel_imagenet.json"
    names.write_text("n01484850\tgreat white shark\nn01440764\ttench\nn01443537\tgoldfish\n")
    babel = {"DE": [[0, 2], ["Schleie", "Weißer Hai"]], "ZH": [[0], ["丁鱥"]], "ALS": [[1], ["Goldfisch"]]}
    labels.write_text(json.dumps(babel))

    def expected(name: str, babel: str, round: int, file: str, code: str, label: str) -> Expected:
        return Expected(
            f"{name}-{babel}-{round}",
            (f"{name}/{name}_{file}.JPEG",),
            "",
            label,
            code,
            facts={"label": label, "class": name},
        )

    return Fixture(
        options={"images": str(folder / "train"), "names": str(names), "labels": str(labels), "rounds": 2},
        expected=(
            expected("n01440764", "EN", 0, "2", "eng_Latn", "tench"),
            expected("n01440764", "DE", 0, "0", "deu_Latn", "Schleie"),
            expected("n01440764", "ZH", 0, "3", "zho_Hans", "丁鱥"),
            expected("n01440764", "EN", 1, "1", "eng_Latn", "tench"),
            expected("n01440764", "DE", 1, "4", "deu_Latn", "Schleie"),
            expected("n01443537", "EN", 0, "1", "eng_Latn", "goldfish"),
            expected("n01484850", "EN", 0, "1", "eng_Latn", "great white shark"),
            expected("n01484850", "DE", 0, "0", "deu_Latn", "Weißer Hai"),
        ),
        spoil=lambda: replace_in(names, "goldfish", ""),
        spoilt=r"train, folder n01443537, field `folder`: its name in .*names.tsv is empty",
        lost=("n01443537-EN-0",),
        escape=None,
    )


FIXTURES = {"multi30k": multi30k, "wit": wit, "imagenet": imagenet}
