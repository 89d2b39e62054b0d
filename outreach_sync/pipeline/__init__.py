"""The steps of a cycle: pull from Outreach, resolve whose Person it is, decide, push to Workbooks, settle.

`outreach_sync.cycle` puts them in order.
"""
