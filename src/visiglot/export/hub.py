"""To the Hugging Face hub, when the user asks for it: private unless said otherwise."""

from __future__ import annotations

from pathlib import Path

from visiglot.errors import CheckpointError
from visiglot.models.checkpoint import first_line

HINT = "Log in with `hf auth login` and try again with a network; the folder can be pushed later with `hf upload`."


def refuse_unreachable(repository: str) -> None:
    """Raise CheckpointError when nothing could be pushed: no network, no login."""
    from huggingface_hub import HfApi

    try:
        HfApi().whoami()
    except Exception as error:  # offline mode, a network that isn't there, no token, a token that isn't taken
        raise CheckpointError(f"{repository} can't be pushed to: {first_line(error)}", hint=HINT) from error


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload an exported folder. A repository that is there keeps being private or public, as it is.

    Returns:
        Its address.

    Raises:
        CheckpointError: it can't be uploaded; the folder is whole all the same.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Export from Visiglot")
    except Exception as error:  # whatever the hub's client raises
        raise CheckpointError(
            f"{folder} is exported, but wasn't pushed to {repository}: {first_line(error)}", hint=HINT
        ) from error
    return str(address)
