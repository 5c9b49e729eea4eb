"""Pushing to the hub, against a stand-in for its client: what is uploaded, and what its refusals become."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

from cli.conftest import Command
from distiller.deploy.hub import push_folder
from distiller.errors import ConfigError, DistillerError, RunError


class Hub:
    """Keeps what it is told; raises what it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error = error

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append((repo_id, options))
        if self.error:
            raise self.error

    def upload_folder(self, **options: Any) -> Any:
        files = sorted(path.name for path in Path(options["folder_path"]).iterdir())
        self.calls.append((options["repo_id"], {**options, "files": files}))
        return SimpleNamespace(repo_url=f"hub://{options['repo_id']}")


def test_an_export_is_uploaded_as_it_lies_there(
    output: Path, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    answer = distiller("export", output, "--to", "folder", "-o", tmp_path / "it", "--push-to-hub", "me/small")
    assert answer.code == 0, answer.err
    assert "pushed to hub://me/small" in answer.err
    assert hub.calls[0] == ("me/small", {"repo_type": "model", "private": True, "exist_ok": True})
    assert {"README.md", "config.json", "export.json", "model.safetensors", "use.py"} <= {*hub.calls[1][1]["files"]}


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (HFValidationError("Repo id must be in the form 'user/name'"), ConfigError, "no name of a repository"),
        (LocalTokenNotFoundError("no token"), RunError, "hf auth login"),
        (OfflineModeIsEnabled("offline"), RunError, "HF_HUB_OFFLINE"),
        (OSError("no route to host"), RunError, "cannot be reached"),
    ],
)
def test_refusals_are_one_line(
    error: Exception, kind: type[DistillerError], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: Hub(error))
    with pytest.raises(kind) as raised:
        push_folder(tmp_path, "me/small")
    assert said in str(raised.value)
    assert "\n" not in raised.value.message
