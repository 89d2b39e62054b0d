"""The report: one self-contained page of how the sync is doing, from the local state alone.

`figures` gathers plain values, `page` turns them into HTML, `page_file` puts that in its place.
"""
