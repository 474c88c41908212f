"""What a server may be told of its model and its limits, whether it is one process or many replicas."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from visiglot.errors import ConfigError
from visiglot.images import MAX_BYTES, MAX_PIXELS
from visiglot.serve.fetch import Fetcher
from visiglot.serve.limits import MIB, Limits


class ServeOptions(BaseModel):
    """The options of `visiglot serve` by their names, with its defaults; what each means is in docs/serve.md.

    Args:
        licence: of the weights, as `/v1/models` tells it; None where nothing states one.
        fp32_parts, allowed_media_domains: with commas.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "nano"
    served_model_name: str | None = None
    licence: str | None = None
    allowed_media_domains: str = ""
    max_batch_tokens: int = Field(16384, ge=1)
    max_waiting: int = Field(256, ge=1)
    max_wait_seconds: float = Field(60.0, ge=0.1)
    max_request_seconds: float = Field(300.0, ge=0.1)
    max_tokens: int = Field(1024, ge=1)
    default_max_tokens: int = Field(256, ge=1)
    max_choices: int = Field(128, ge=1)
    limit_mm_per_prompt: str = "image=8"
    max_image_mb: int = Field(16, ge=1)
    max_image_pixels: int = Field(25_000_000, ge=1)
    max_body_mb: int = Field(32, ge=1)
    max_held_mb: int = Field(512, ge=1)
    feature_mb: int = Field(256, ge=0)
    shutdown_seconds: float = Field(30.0, ge=1)
    device: str = "auto"
    dtype: str = "auto"
    fp32_parts: str | None = None
    quantize: str | None = None
    quantize_parts: str = "language_model"

    def limits(self) -> Limits:
        """Of the HTTP side. Raises ConfigError: they contradict each other, or that of pictures can't be read."""
        if self.max_choices > self.max_waiting:
            raise ConfigError(
                "visiglot serve",
                [
                    f"--max-choices: the {self.max_choices} answers to one request can't wait together where "
                    f"{self.max_waiting} may"
                ],
                hint="Raise --max-waiting, or lower --max-choices.",
            )
        return Limits(
            body_bytes=self.max_body_mb * MIB,
            held_bytes=self.max_held_mb * MIB,
            images=images_in(self.limit_mm_per_prompt),
            image_bytes=min(self.max_image_mb * MIB, MAX_BYTES),
            image_pixels=min(self.max_image_pixels, MAX_PIXELS),
            choices=self.max_choices,
            new_tokens=self.max_tokens,
            default_new_tokens=self.default_max_tokens,
            request_seconds=self.max_request_seconds,
        )

    def name(self) -> str:
        """What requests call the model."""
        return self.served_model_name or last_part(self.model)

    def domains(self) -> list[str]:
        """Hosts that pictures are fetched from."""
        return [one for one in self.allowed_media_domains.split(",") if one.strip()]

    def fetcher(self) -> Fetcher | None:
        """Of pictures from the web; None: none is fetched. Raises ConfigError: something is no host."""
        limits, domains = self.limits(), self.domains()
        return Fetcher(domains, max_bytes=limits.image_bytes, seconds=limits.fetch_seconds) if domains else None


def last_part(model: str) -> str:
    """The name of a folder or file less where it lies; a hub id as it is."""
    path = Path(model).expanduser()
    return path.resolve().name if path.exists() or model.startswith(("/", ".", "~")) else model


def keys_in(variable: str | None) -> list[str]:
    """The keys in an environment variable, between commas. Raises ConfigError: there is none."""
    if variable is None:
        return []
    keys = [key.strip() for key in os.environ.get(variable, "").split(",") if key.strip()]
    if not keys:
        raise ConfigError(
            "visiglot serve",
            [f"--api-key-variable: the environment variable {variable} is empty or missing"],
            hint=f"Set it: export {variable}=...",
        )
    return keys


def images_in(text: str) -> int:
    """8 of "image=8" or of '{"image": 8}'. Raises ConfigError."""
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else dict([text.split("=")])
        if set(values) == {"image"} and int(values["image"]) >= 0:
            return int(values["image"])
    except (ValueError, TypeError):
        pass
    raise ConfigError("visiglot serve", [f"--limit-mm-per-prompt: {text!r}"], hint='Write image=8, or {"image": 8}.')
