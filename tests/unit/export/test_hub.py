from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from visiglot.errors import CheckpointError
from visiglot.export.hub import push, refuse_unreachable


class Hub:
    """A hub that takes everything."""

    calls: list[tuple[str, dict[str, Any]]]

    def create_repo(self, name: str, **options: Any) -> str:
        self.calls.append((name, options))
        return f"https://hub/{name}"

    def upload_folder(self, **options: Any) -> None:
        self.calls.append(("upload", options))


@pytest.mark.parametrize("private", [True, False])
def test_a_folder_is_pushed_into_a_private_repository_unless_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    Hub.calls = []
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert push(tmp_path, "me/mine", private=private) == "https://hub/me/mine"
    (created, options), (upload, uploaded) = Hub.calls
    assert (created, upload) == ("me/mine", "upload")
    assert options["private"] is private
    assert uploaded["folder_path"] == tmp_path


def test_without_a_network_an_error_says_so_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="me/mine can't be pushed to") as caught:
        refuse_unreachable("me/mine")
    assert "hf auth login" in str(caught.value)
    with pytest.raises(CheckpointError, match="is exported, but wasn't pushed"):
        push(tmp_path, "me/mine", private=True)
