"""The target of the sync: reads People, Tasks and metadata from Workbooks and writes batches of changes to it."""
