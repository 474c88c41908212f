"""Answering over HTTP: one engine that all users share, behind an OpenAI-compatible interface."""
