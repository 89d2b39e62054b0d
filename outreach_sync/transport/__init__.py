"""How bytes reach a service and come back: one origin, bounded in time, stoppable, with patience.

`sending` makes one exchange, `patience` repeats it, `limits` reads what a service says about waiting, `stopping` ends
pauses. Nothing is re-exported: whoever only parses headers shall not pay for importing requests.
"""
