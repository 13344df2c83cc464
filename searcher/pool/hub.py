"""Models of the Hugging Face hub by name: download, or find in the cache, at one commit."""

from __future__ import annotations

import re
from pathlib import Path

from searcher.errors import PoolError

HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")
# No code and no pickles: only what the pool reads.
PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.vocab")


def is_hub_id(text: str) -> bool:
    """Whether a text has the form ``organisation/name`` or ``organisation/name@revision``."""
    return HUB_ID.fullmatch(text) is not None


def fetch_snapshot(hub_id: str) -> tuple[Path, str]:
    """Folder of a hub model, and its origin ``organisation/name@commit``.

    The commit is the resolved one, so that a branch that moves later does not change a run.

    Args:
        hub_id: ``organisation/name`` or ``organisation/name@revision``.

    Raises:
        PoolError: If the model is not found, not accessible, or not in the cache while offline.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match = HUB_ID.fullmatch(hub_id)
    assert match is not None  # callers ask is_hub_id first
    name, revision = match["id"], match["revision"]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(PATTERNS), ignore_patterns="*/*"))
    except GatedRepoError as error:
        raise _failed("The hub model needs an accepted licence", hub_id, "Accept it on the hub and log in.") from error
    except RevisionNotFoundError as error:
        raise _failed("The hub model has no such revision", hub_id, "Check the text after '@'.") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        fix = "Check the name (a local folder is given relative to the config's folder); private models need a login."
        raise _failed("There is no such local folder and no such hub model", hub_id, fix) from error
    except LocalEntryNotFoundError as error:
        fix = "Correct the path (relative paths start where the command runs), or go online once to download the model."
        raise _failed("There is no such local folder, and the hub cannot be reached", hub_id, fix) from error
    except (HfHubHTTPError, OSError) as error:
        raise _failed(
            f"The download failed ({type(error).__name__})", hub_id, "Try again later; it resumes."
        ) from error
    return folder, f"{name}@{folder.name}"


def _failed(what: str, hub_id: str, fix: str) -> PoolError:
    return PoolError(f"{what}.", where=f"model {hub_id}", fix=fix)
