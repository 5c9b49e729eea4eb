"""Uploads a folder to the model hub through `huggingface_hub`, with the token that is signed in there."""

from pathlib import Path
from typing import Any

from distiller.errors import ConfigError, RunError


def push_folder(folder: Path, repository: str, *, private: bool = True) -> str:
    """Upload a finished folder to the model repository `repository` (created if need be); returns its address.

    Raises `ConfigError` for a name that the hub does not accept, `RunError` where the hub cannot be reached or refuses.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    client: Any = huggingface_hub.HfApi()
    try:
        client.create_repo(repository, repo_type="model", private=private, exist_ok=True)
        found = client.upload_folder(
            repo_id=repository, repo_type="model", folder_path=str(folder), commit_message="Upload with Distiller"
        )
    except HFValidationError as error:
        raise ConfigError(
            f"`{repository}` is no name of a repository: {str(error).partition(chr(10))[0]}", hint="user/name"
        ) from None
    except LocalTokenNotFoundError:
        raise RunError("nobody is signed in to the hub", hint="hf auth login") from None
    except OfflineModeIsEnabled:
        raise RunError("the hub is switched off by HF_HUB_OFFLINE", hint="unset it, and push again") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        reason = str(error).strip().partition("\n")[0]
        hint = "hf auth login, with a token that may write" if status in (401, 403) else "try again later"
        raise RunError(f"the hub refused `{repository}`: {reason:.200}", hint=hint) from None
    except OSError as error:
        raise RunError(f"the hub cannot be reached: {error}", hint="is there a network?") from None
    return str(getattr(found, "repo_url", None) or repository)
