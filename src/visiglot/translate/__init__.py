"""Data sets in other languages: engines, what must survive them, what is thrown away, and the pipeline."""
