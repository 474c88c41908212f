"""Studies: what is compared is a YAML file, each measured cell a line in docs/study, each page made from those lines.

A tool of the repository, not part of the package. `make study NAME=realign` measures what is missing.
"""
