"""The program as its users run it, against both simulated services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cli import run_command
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.server import HttpServer, Request, Response
from tests.harness import Installation, Ran, forget_the_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Victim(Installation):
    """A config whose secrets come from the environment, from files and from the file itself."""

    def __init__(
        self, directory: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        super().__init__(directory, sandbox, start="all", patience="1s")
        self._capfd = capfd
        monkeypatch.setenv("PLANTED_KEY", self.settings["workbooks"]["api_key"])
        self.settings["workbooks"]["api_key"] = "${PLANTED_KEY}"
        secret_file = directory / "client-secret"
        secret_file.write_text(str(self.settings["outreach"].pop("client_secret")), encoding="utf-8")
        secret_file.chmod(0o600)
        self.settings["outreach"]["client_secret_file"] = str(secret_file)
        self._issued: set[str] = set()
        monkeypatch.setattr(sandbox.outreach.tokens, "_new", self._remembering(sandbox.outreach.tokens._new))

    def _remembering(self, new: Callable[..., Any]) -> Callable[..., Any]:
        def remember(*arguments: Any, **more: Any) -> Any:
            grant = new(*arguments, **more)
            self._issued.add(grant.token)
            return grant

        return remember

    def command(self, *arguments: str) -> list[str]:
        return ["--config", str(self.config_path), "--log-level", "debug", *arguments]

    def says(self, *arguments: str, log_format: str = "json") -> Ran:
        """Run a command."""
        if not self.config_path.exists():
            self.write()
        self._capfd.readouterr()
        status = run_command(self.command("--log-format", log_format, *arguments))
        return Ran(status, *self._capfd.readouterr())

    def secrets(self) -> set[str]:
        """Return everything that must not be seen: what the config holds, and every token that was ever issued."""
        outreach = self.sandbox.outreach
        return {outreach.client_secret, outreach.refresh_token, self.sandbox.workbooks.api_key, *self._issued}

    def written(self) -> dict[str, bytes]:
        """Return what the program wrote to disk, the token file aside, whose purpose it is to hold tokens."""
        files = [path for path in self.directory.rglob("*") if path.is_file()]
        ours = [path for path in files if path.name not in {"config.yaml", "client-secret", "state.db.tokens"}]
        return {path.name: path.read_bytes() for path in ours}


class Eavesdropper:
    """A server of somebody else's, which remembers what reaches it."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def respond(self, request: Request) -> Response:
        self.heard.append(request)
        return Response(200, {"Content-Type": "application/json"}, b'{"success":true,"data":[]}')


@pytest.fixture
def installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Victim]:
    forget_the_environment(monkeypatch)
    with Sandbox() as sandbox:
        sandbox.load_example()
        yield Victim(tmp_path, sandbox, monkeypatch, capfd)


@pytest.fixture
def elsewhere() -> Iterator[tuple[Eavesdropper, str]]:
    eavesdropper = Eavesdropper()
    with HttpServer(eavesdropper.respond) as server:
        yield eavesdropper, server.url
