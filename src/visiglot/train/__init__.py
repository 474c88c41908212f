"""Training: `loop.fit` is the story, the rest are its paragraphs."""
