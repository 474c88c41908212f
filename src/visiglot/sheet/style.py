"""The look of every page: system fonts, light and dark, narrow screens; nothing is loaded."""

STYLE = """\
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #fff; --ink: #22252a; --soft: #676d76; --line: #e3e0da;
  --track: #efece6; --s0: #3b6ea5; --s1: #c0763a; --s2: #4f8a5b; --s3: #8a5fa3; --s4: #a8485d; --s5: #5b8791;
  --good: #2f7d4f; --bad: #b3453b; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --card: #1e2125; --ink: #e6e4df; --soft: #9aa0a8;
  --line: #33373d; --track: #292d32; --s0: #6ea3da; --s1: #dd9a62; --s2: #7cba8a; --s3: #b892cf; --s4: #d97d91;
  --s5: #8bb9c3; --good: #6cc18e; --bad: #e58379; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5; overflow-wrap: break-word;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Kannada",
    "Noto Sans Malayalam", "Noto Sans Gujarati", "Noto Sans Gurmukhi", "Noto Sans Oriya", "Noto Sans Sinhala",
    "Noto Sans Thai", "Noto Sans Lao", "Noto Sans Khmer", "Noto Sans Myanmar", "Noto Sans Ethiopic",
    "Noto Sans Georgian", "Noto Sans Armenian", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR",
    "Noto Sans Tibetan", "Noto Serif Tibetan", "Noto Sans Tifinagh", "Noto Sans Ol Chiki", sans-serif; }
main { max-width: 75rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header { border-bottom: 1px solid var(--line); margin-bottom: 1.5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
a { color: var(--s0); }
.summary, caption, figcaption > p, .note { color: var(--soft); }
.wide { overflow-x: auto; margin: 1rem 0; background:
  linear-gradient(to right, var(--paper) 50%, transparent) left local,
  linear-gradient(to left, var(--paper) 50%, transparent) right local,
  linear-gradient(to right, var(--line), transparent) left, linear-gradient(to left, var(--line), transparent) right;
  background-size: 3rem 100%, 3rem 100%, 1rem 100%, 1rem 100%; background-repeat: no-repeat; }
table { border-collapse: collapse; width: 100%; font-size: .925rem; }
caption { text-align: start; padding: .25rem 0 .5rem; }
th, td { text-align: start; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; }
tbody th { font-weight: 500; }
.wide tbody th { white-space: nowrap; }
.brief { white-space: nowrap; }
.number { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem;
  font-size: .85rem; }
figure { margin: 1rem 0; }
.bars { margin-top: .5rem; }
.bars th, .bars td { border: 0; padding: .15rem .75rem .15rem 0; vertical-align: middle; }
.bars th { width: 17rem; font-weight: 400; }
.bars td.number { width: 9rem; padding-inline-end: 0; }
.bars td { line-height: 1.38rem; }
.bars.many thead th { font-size: .8rem; font-weight: 400; color: var(--soft); border: 0; padding: 0 0 .25rem 1rem;
  vertical-align: bottom; white-space: normal; width: 1%; }
.bars.many tbody th { width: 15rem; min-width: 12rem; }
.bars.many td.number { width: 1%; padding-inline-start: 1rem; }
.bars.many td.track { width: 55%; min-width: 9rem; }
.bars .group th { padding-top: .9rem; font-weight: 600; width: auto; }
.mark { position: absolute; top: -.29rem; bottom: -.29rem; width: 0; border-left: 2px dotted var(--bad); }
.bars small { color: var(--soft); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.lane { position: relative; box-sizing: content-box; height: .8rem; border-block: .29rem solid transparent;
  background: var(--track) padding-box; }
.bar { position: absolute; inset: 0 auto 0 0; border-radius: .2rem; }
.whisker { position: absolute; top: 50%; height: 0; border-top: 1.5px solid var(--ink); opacity: .75; }
.whisker::before, .whisker::after { content: ""; position: absolute; top: -.24rem; height: .4rem;
  border-left: 1.5px solid var(--ink); }
.whisker::before { left: 0; }
.whisker::after { right: 0; }
.s0 { background: var(--s0); } .s1 { background: var(--s1); } .s2 { background: var(--s2); }
.s3 { background: var(--s3); } .s4 { background: var(--s4); } .s5 { background: var(--s5); }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); gap: 1rem; }
.panels svg { display: block; width: 100%; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
.d0 { fill: var(--s0); } .d1 { fill: var(--s1); } .d2 { fill: var(--s2); }
.d3 { fill: var(--s3); } .d4 { fill: var(--s4); } .d5 { fill: var(--s5); }
.panels circle, .panels rect { fill-opacity: .65; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; margin: .5rem 0;
  font-size: .9rem; }
.legend i.mark { position: static; width: 0; border-radius: 0; margin-inline: .3rem .5rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-inline-end: .4rem;
  vertical-align: -.06rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1rem;
  margin: 1rem 0; align-items: start; }
.cards figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 1rem; overflow-wrap: anywhere; }
.cards img { display: block; width: 100%; max-width: 12rem; max-height: 12rem; object-fit: contain;
  margin: 0 auto .75rem; background: #fff; border-radius: .4rem; padding: .35rem; }
.cards figcaption > p { margin: 0 0 .5rem; font-size: .9rem; }
dl { display: grid; grid-template-columns: fit-content(7.5rem) 1fr; gap: .3rem .75rem; margin: 0; font-size: .95rem; }
dt { color: var(--soft); font-size: .85rem; padding-top: .1rem; grid-column: 1; }
dd { margin: 0; position: relative; padding-inline-start: 1.3rem; grid-column: 2; }
dd.asked > small { white-space: pre-line; }
.sentences dl { display: block; }
.sentences dt { padding-top: .6rem; font-weight: 600; }
.sentences dd { padding-block: .15rem; }
.cards:has(.sentences) { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
dd > span[lang] { display: block; }
dd > .right, dd > .wrong, dd > .error { position: absolute; inset-inline-start: 0; }
dd > small { display: block; color: var(--soft); }
.right { color: var(--good); } .wrong, .error { color: var(--bad); }
@media (max-width: 40rem) {
  main { padding: 1.25rem 1rem 3rem; }
  .bars, .bars tbody { display: block; }
  .bars tr { display: grid; grid-template-columns: 1fr auto; }
  .bars th { width: auto; }
  .bars td.track { grid-column: 1 / -1; grid-row: 2; padding: 0 0 .4rem; }
  .bars.many thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .bars.many tbody th, .bars.many td.track, .bars.many td.number { width: auto; min-width: 0; }
  .bars.many td[data-label] { grid-column: 1 / -1; display: flex; justify-content: space-between;
    line-height: 1.2rem; }
  .bars.many td[data-label]::before { content: attr(data-label); color: var(--soft); font-size: .8rem; }
}
@media print { .cards figure, tr { break-inside: avoid; } }
"""
