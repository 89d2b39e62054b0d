"""Both services, simulated: real HTTP servers on loopback that follow the documented behaviour, faults included."""

from outreach_sync.sandbox.serve import Sandbox

__all__ = ["Sandbox"]
