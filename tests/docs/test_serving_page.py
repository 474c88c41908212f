"""docs/serving.md: its file for Ray Serve is one, its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.test_blocks import blocks

from visiglot.serve import cluster, proxied
from visiglot.serve.cluster import ANSWER_SECONDS, HEALTH_SECONDS, ClusterOptions, seconds
from visiglot.serve.limits import Limits

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "serving.md"


def serve_file() -> dict[str, Any]:
    """The file that the page shows."""
    (block,) = [block for block in blocks(PAGE) if block.info == "yaml serve"]
    values: dict[str, Any] = yaml.safe_load(block.code)
    return values


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own
def test_the_file_is_of_ray_serve_and_tells_the_builder_what_it_knows() -> None:
    from ray.serve.schema import ServeDeploySchema

    values = serve_file()
    known = ServeDeploySchema.model_validate(values)
    (application,) = known.applications
    assert application.import_path == f"{cluster.__name__}:{cluster.build.__name__}"
    options = ClusterOptions.model_validate(application.args)
    assert values["http_options"]["request_timeout_s"] == seconds(options.limits())
    assert values["controller_options"]["runtime_env"]["env_vars"] == cluster.OF_THE_CONTROLLER


def test_numbers_and_names_are_those_of_the_code() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"Every {HEALTH_SECONDS:g} seconds Ray asks" in text
    assert f"within {ANSWER_SECONDS:g} seconds" in text
    assert f"as a replica works on ({Limits().requests})" in text
    assert f"the code `{proxied.lost().code}`" in text
    (words,) = re.findall(r"`serve run visiglot\.serve\.cluster:build ([^`]+)`", text)
    ClusterOptions.model_validate(dict(word.split("=") for word in words.split()))
