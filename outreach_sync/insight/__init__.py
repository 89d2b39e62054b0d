"""Looking: what the state says of itself, why a record says what it says, and whether everything is in place.

Nothing here writes to Workbooks or to the cache; the command line shows what these modules find.
"""
