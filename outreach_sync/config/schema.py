"""The JSON Schema of the config, for editors that check while one types.

``python -m outreach_sync.config.schema`` writes it to stdout.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from outreach_sync.config.document import SECRETS
from outreach_sync.config.models import Config

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Make the schema (draft 2020-12) from the models, with the `_file` variant of every secret."""
    schema = Config.model_json_schema(by_alias=True)
    _add_secret_files(schema)
    _allow_empty_sections(schema)
    return {"$schema": _DIALECT, **schema, "title": "outreach-sync", "description": "The config of outreach-sync."}


def schema_text() -> str:
    """Write the schema as it stands in the repository."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _add_secret_files(schema: dict[str, Any]) -> None:
    models = {"outreach": "Outreach", "s2s": "S2S", "workbooks": "Workbooks", "monitoring": "Monitoring"}
    for where in sorted(SECRETS, key=str):
        properties = schema["$defs"][models[str(where[-2])]]["properties"]
        description = f"A file that holds {where[-1]}, which is then left out."
        properties[f"{where[-1]}_file"] = {"type": "string", "title": f"{where[-1]}_file", "description": description}


def _allow_empty_sections(schema: dict[str, Any]) -> None:
    """Let a section be empty, as the loader does: all its keys may be commented out."""
    for definition in (schema, *schema["$defs"].values()):
        for key, described in definition["properties"].items():
            described["title"] = key
            if "$ref" in described:
                described["anyOf"] = [{"$ref": described.pop("$ref")}, {"type": "null"}]


if __name__ == "__main__":
    sys.stdout.write(schema_text())
