"""The demo: both simulated services, some cycles, and what everything said before and after, and why.

`story` is what happens, `expectation` says independently of the program's own rules what must come of it, `showing`
puts it on the screen.
"""

from outreach_sync.demo.story import tell

__all__ = ["tell"]
