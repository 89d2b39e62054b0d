"""Whatever happens in whatever order: nothing lost, nothing twice."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.torture.machine import Torture

TestTorture = Torture.TestCase
TestTorture.settings = settings(max_examples=25, stateful_step_count=10, suppress_health_check=list(HealthCheck))
