"""Outreach, read: streams and records of its REST API v2, turned into `records`.

`auth` says who we are and keeps the tokens, `client` asks and goes through pages, `rows` makes records of them.
"""
