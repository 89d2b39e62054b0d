"""The target of the sync: reads People, Tasks and metadata from Workbooks and writes batches of changes to it.

`wire` and `formats` know how things are spelled, `verdicts` what an answer means, `client` how to ask; `people`,
`tasks` and `metadata` speak in values of the sync.
"""
