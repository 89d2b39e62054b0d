"""The published Singer tap for Outreach, in a virtual environment of its own, reading from the simulated service."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.program import Took, take

VERSION = "1.2.2"
_HOME = Path(__file__).parents[2] / "build" / f"tap-outreach-{VERSION}"

# The address is fixed in the tap: requests are sent to the simulated service instead, and nothing else is changed.
_REDIRECTED = """
import sys, requests
base, out = sys.argv[1:3]
sys.argv[1:3] = []
real = requests.Session.request
def request(session, method, url, **named):
    return real(session, method, url.replace("https://api.outreach.io", base), **named)
requests.Session.request = request
sys.stdout = open(out, "w")
from tap_outreach import main
main()
"""


class Tap:
    """The tap, with a config and a catalogue in a directory."""

    def __init__(self, directory: Path, outreach: Mapping[str, Any], streams: Sequence[str]) -> None:
        """Install it where that was not done yet, and select the streams."""
        self._python = _installed()
        self._base = str(outreach["base_url"])
        self._config = directory / "tap.json"
        self._catalogue = directory / "catalogue.json"
        self.kept = directory / "records.jsonl"
        names = ("client_id", "client_secret", "redirect_uri", "refresh_token")
        config = {name: outreach[name] for name in names} | {"start_date": "2000-01-01T00:00:00Z", "page_size": "1000"}
        self._config.write_text(json.dumps(config))
        found = subprocess.run(
            [str(self._python.with_name("tap-outreach")), "--config", str(self._config), "--discover"],
            check=True,
            capture_output=True,
            text=True,
        )
        self._catalogue.write_text(json.dumps(_selected(json.loads(found.stdout), streams)))

    def read(self) -> Took:
        """Read everything, keeping the records in a file."""
        options = ("--config", str(self._config), "--catalog", str(self._catalogue))
        return take(str(self._python), "-c", _REDIRECTED, self._base, str(self.kept), *options)

    def records(self) -> int:
        """Count what the last read kept."""
        with self.kept.open() as lines:
            return sum('"type": "RECORD"' in line for line in lines)


def _installed() -> Path:
    interpreter = _HOME / "bin" / "python"
    if not (_HOME / "bin" / "tap-outreach").exists():
        subprocess.run([sys.executable, "-m", "venv", str(_HOME)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "-q", f"tap-outreach=={VERSION}"], check=True)
    return interpreter


def _selected(catalogue: dict[str, Any], streams: Sequence[str]) -> dict[str, Any]:
    for stream in catalogue["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["stream"] in streams
    return catalogue
