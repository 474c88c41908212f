"""Scoring captions: Visiglot's metrics against pycocoevalcap, which starts Java for its tokeniser.

    java      pycocoevalcap: Stanford's tokeniser in a Java process, for the references and for the candidates of each
              language, as its `COCOEvalCap` does; then its CIDEr, BLEU-1 to BLEU-4 and ROUGE-L
    ptb       Visiglot's same metrics of the same tokens; the values must be equal
    visiglot  the same metrics with the tokenisation that is the default
    mblip     and with mBLIP's

Captions are drawn from a list of words of each language and compounds of them with Zipf's frequencies, with as many
references an image as Crossmodal-3600 has on average. Each way runs in a process of its own, from texts to values;
imports, dictionaries that are read once, and intervals are not counted. Time is the best of `--repeats`. The ratios are
`java` over the other.

Java 8 or newer and pycocoevalcap are your own to install: no part of Visiglot needs them. pycocoevalcap may be in
another environment, whose Python is then given:

    python -m venv /tmp/coco && /tmp/coco/bin/pip install pycocoevalcap
    python benchmarks/caption_metrics.py --coco-python /tmp/coco/bin/python
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

OURS = ("ptb", "visiglot", "mblip")
MEASURES = ("cider", "bleu1", "bleu2", "bleu3", "bleu4", "rouge-l")
SPACE = {"zho_Hans": "", "jpn_Jpan": "", "tha_Thai": ""}
"""What stands between words, where that is no space."""
STOP = {"zho_Hans": "。", "jpn_Jpan": "。", "tha_Thai": "", "hin_Deva": "।"}
WORDS = {
    "eng_Latn": "the in on of and with man woman street table is two sitting standing red white next to people "
    "dog near holding small large water grass field train blue young black playing riding boy's building that its "
    "green bus cat looking three food front wooden beach several kitchen old plate well-lit children",
    "deu_Latn": "ein eine der die das auf in mit und Mann Frau Straße Tisch sitzt steht rot weiß neben Menschen "
    "Hund am hält klein groß Wasser Gras Feld Zug blau junge schwarz spielt fährt Junge Gebäude das grün Bus Katze "
    "schaut drei Essen vorne hölzern Strand mehrere Küche alt Teller Kinder",
    "swh_Latn": "na ya wa katika juu kwa mtu mwanamke barabara meza ni wawili ameketi amesimama nyekundu nyeupe "
    "karibu watu mbwa ameshika mdogo mkubwa maji nyasi shamba treni bluu kijana nyeusi anacheza anaendesha mvulana "
    "jengo kijani basi paka anatazama watatu chakula mbele mbao ufuko kadhaa jikoni zamani sahani watoto",
    "hin_Deva": "एक में पर और के साथ आदमी औरत सड़क मेज़ है दो बैठा खड़ा लाल सफ़ेद पास लोग कुत्ता पकड़े छोटा बड़ा "
    "पानी घास मैदान रेलगाड़ी नीला युवा काला खेल रहा सवार लड़का इमारत हरा बस बिल्ली देख तीन खाना सामने लकड़ी समुद्र "
    "कई रसोई पुराना थाली बच्चे",
    "arb_Arab": "في على من مع و رجل امرأة شارع طاولة هو اثنان يجلس يقف أحمر أبيض بجانب ناس كلب قرب يحمل صغير كبير "
    "ماء عشب حقل قطار أزرق شاب أسود يلعب يركب ولد مبنى أخضر حافلة قطة ينظر ثلاثة طعام أمام خشبي شاطئ عدة مطبخ قديم "
    "طبق أطفال",
    "zho_Hans": "一个 在 的 上 和 男人 女人 街道 桌子 是 两个 坐着 站着 红色 白色 旁边 人们 狗 附近 拿着 小 大 水 "
    "草 田野 火车 蓝色 年轻 黑色 玩 骑 男孩 建筑 绿色 公共汽车 猫 看着 三个 食物 前面 木头 海滩 几个 厨房 旧 盘子 "
    "孩子们",
    "jpn_Jpan": "が の に を と 男性 女性 道 テーブル いる 二人 座って 立って 赤い 白い 隣 人々 犬 近く 持って "
    "小さな 大きな 水 草 野原 電車 青い 若い 黒い 遊んで 乗って 少年 建物 緑 バス 猫 見て 三つ 食べ物 前 木製 海岸 "
    "台所 古い 皿 子供たち",
    "tha_Thai": "ใน บน ของ และ กับ ผู้ชาย ผู้หญิง ถนน โต๊ะ เป็น สอง นั่ง ยืน สีแดง สีขาว ข้าง ผู้คน สุนัข ใกล้ ถือ "
    "เล็ก ใหญ่ น้ำ หญ้า ทุ่งนา รถไฟ สีฟ้า หนุ่ม สีดำ เล่น ขี่ เด็กชาย อาคาร สีเขียว รถบัส แมว มอง สาม อาหาร หน้า "
    "ไม้ ชายหาด หลาย ครัว เก่า จาน เด็ก",
}
"""No word is one letter or an abbreviation: whether Java keeps the full stop of a last word "a." depends on the next
caption. Here it doesn't."""
COMPOUNDS = 2000

Captions = dict[str, list[list[str]]]
"""Of each language its images: a candidate and its references."""


def draw(images: int, references: int) -> Captions:
    """Captions of 6 to 14 words; those of an image have about half of their words in common. Every fourth image has one
    reference fewer, every fourth one more."""
    pick = random.Random(0)
    found: Captions = {}
    for code, text in WORDS.items():
        stems = text.split()
        words = stems + [pick.choice(stems) + pick.choice(stems).lower() for _ in range(COMPOUNDS)]
        weights = list(accumulate(1 / (rank + 2) for rank in range(len(words))))
        found[code] = []
        for image in range(images):
            shown = pick.choices(words, cum_weights=weights, k=14)
            lines = []
            for _ in range(1 + max(1, references + (-1, 0, 1, 0)[image % 4])):
                other = pick.choices(words, cum_weights=weights, k=pick.randint(6, 14))
                said = [own if pick.random() < 0.5 else new for own, new in zip(shown, other)]
                said[3] += "," if pick.random() < 0.1 else ""
                line = SPACE.get(code, " ").join(said)
                lines.append(line[0].upper() + line[1:] + STOP.get(code, "."))
            found[code].append(lines)
    return found


def score_java(images: list[list[str]], code: str) -> tuple[list[float], float]:
    """pycocoevalcap's values in the order of MEASURES, and the seconds that its tokeniser took; it treats all languages
    alike."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        tokenizer = PTBTokenizer()
        gold = tokenizer.tokenize({n: [{"caption": one} for one in image[1:]] for n, image in enumerate(images)})
        given = tokenizer.tokenize({n: [{"caption": image[0]}] for n, image in enumerate(images)})
        cut = time.perf_counter() - start
        cider, bleu, rouge = (scorer.compute_score(gold, given)[0] for scorer in (Cider(), Bleu(4), Rouge()))
    return [float(cider), *map(float, bleu), float(rouge)], cut


def rows_of(images: list[list[str]], code: str) -> list[Any]:
    """The captions as Visiglot's metrics get them."""
    from visiglot.types import Prediction

    return [
        Prediction(str(n), "", code, "", image[0], None, "b", "test", "p", tuple(image[1:]), "m", "s")
        for n, image in enumerate(images)
    ]


def score_ours(rows: list[Any], code: str, tokens: str) -> tuple[list[float], float]:
    """Visiglot's values in the order of MEASURES, and the seconds that cutting texts into words took."""
    from visiglot.evaluate.metrics import METRICS
    from visiglot.evaluate.metrics.captions import texts_of, tokens_of

    start = time.perf_counter()
    tokens_of(texts_of(rows), tokens, code)  # kept for the metrics, which would do the same
    cut = time.perf_counter() - start
    metrics = [METRICS.get(f"{measure}-{tokens}") for measure in MEASURES]
    return [float(metric.reduce(metric.measure(rows, code).values.sum(axis=0))) for metric in metrics], cut


def measure(way: str, captions: Captions) -> dict[str, Any]:
    """One way, in this process: of each language the seconds in all, those for words, and the values."""
    given: dict[str, list[Any]] = dict(captions)
    score = score_java
    if way != "java":
        given = {code: rows_of(images, code) for code, images in captions.items()}
        score = lambda rows, code: score_ours(rows, code, way)  # noqa: E731
    for code, rows in given.items():
        score(rows[:4], code)
    found: dict[str, Any] = {"seconds": {}, "words": {}, "values": {}}
    for code, rows in given.items():
        start = time.perf_counter()
        found["values"][code], found["words"][code] = score(rows, code)
        found["seconds"][code] = time.perf_counter() - start
    return found


def in_fresh_process(way: str, python: str, file: Path) -> dict[str, Any]:
    command = [python, __file__, "--way", way, "--file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def best(found: list[dict[str, Any]], what: str) -> dict[str, float]:
    """Seconds of each language, the fastest of the repeats."""
    return {code: min(one[what][code] for one in found) for code in WORDS}


def has_pycocoevalcap(python: str) -> bool:
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('pycocoevalcap') is None)"
    return shutil.which("java") is not None and subprocess.run([python, "-c", code], check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="captions in each language")
    parser.add_argument("--references", type=int, default=2, help="of an image, on average")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--coco-python", default=sys.executable, help="Python that has pycocoevalcap")
    parser.add_argument("--way", choices=("java", *OURS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, json.loads(given.file.read_text(encoding="utf-8")))))
        return
    print(f"{given.images:,} captions x {len(WORDS)} languages, {given.references} references, {platform.machine()}")
    ways = ("java", *OURS) if has_pycocoevalcap(given.coco_python) else OURS
    if ways == OURS:
        print("pycocoevalcap or java isn't there, so there are no ratios: see --help")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "captions.json"
        file.write_text(json.dumps(draw(given.images, given.references)), encoding="utf-8")
        pythons = {way: given.coco_python if way == "java" else sys.executable for way in ways}
        rounds = [{way: in_fresh_process(way, pythons[way], file) for way in ways} for _ in range(given.repeats)]
    seconds = {way: best([one[way] for one in rounds], "seconds") for way in ways}
    print(f"{'seconds':<12}" + "".join(f"{way:>10}" for way in ways))
    for code in WORDS:
        print(f"{code:<12}" + "".join(f"{seconds[way][code]:>10.3f}" for way in ways))
    totals = {way: sum(seconds[way].values()) for way in ways}
    cutting = {way: sum(best([one[way] for one in rounds], "words").values()) for way in ways}
    print(f"{'all':<12}" + "".join(f"{totals[way]:>10.3f}" for way in ways))
    print(f"{'for words':<12}" + "".join(f"{cutting[way]:>10.3f}" for way in ways))
    if "java" not in ways:
        return
    print(f"{'ratio':<12}{'':>10}" + "".join(f"{totals['java'] / totals[way]:>9.1f}x" for way in OURS))
    after = {way: totals[way] - cutting[way] for way in ways}
    print(f"{'given words':<12}{'':>10}" + "".join(f"{after['java'] / after[way]:>9.1f}x" for way in OURS))
    for code, theirs in rounds[0]["java"]["values"].items():
        for name, one, other in zip(MEASURES, theirs, rounds[0]["ptb"]["values"][code]):
            if not math.isclose(one, other, abs_tol=1e-6):
                sys.exit(f"{code}: {name} is {one} by pycocoevalcap and {other} here: this is a bug")


if __name__ == "__main__":
    main()
