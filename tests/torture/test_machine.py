"""Whatever happens in whatever order: nothing lost, nothing twice."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.torture.machine import Torture

_EXAMPLES = 200


TestTorture = Torture.TestCase
TestTorture.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=10,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
