"""The target of the sync: reads People, Tasks and metadata from Workbooks and writes batches of changes to it.

`wire` knows how things are spelled and what an answer means, `client` how to ask and to write, `metadata` what
Workbooks says of itself.
"""
