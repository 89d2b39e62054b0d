"""``python -m outreach_sync.config schema``, ``reference`` or ``example``: write what is generated from the model."""

import sys

from outreach_sync.config.describe import reference_markdown, schema_text, starter_config

sys.stdout.write({"schema": schema_text, "reference": reference_markdown, "example": starter_config}[sys.argv[1]]())
