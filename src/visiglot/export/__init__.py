"""Exporting a model as a folder that stock classes load: merged, perhaps trimmed, and proven in a fresh process.

export.py      the story: obstacles, merge, vocabulary, write, gate, card, rename
targets.py     what a target is, and their table
stock.py       what targets of transformers share; blip2.py, llava.py and own.py are one target each
prepare.py     low-rank layers merged, number format, generation config, the tokenizer that stock processors need
tables.py      embedding and head: which rows there are
pieces.py      a tokenizer with fewer tokens
counting.py    which tokens some languages need
sizes.py       how many parameters there are, also before weights are read
vocabulary.py  all of these together: the model with other rows
probe.py       what the model is asked before it is written
gate.py        the fresh process; verdict.py holds its answers against the model's
card.py        README.md of the folder
hub.py         to the hub, when asked
"""
