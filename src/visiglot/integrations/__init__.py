"""Adapters with which other people's tools run Visiglot's models. Each needs the tool that it is for."""
