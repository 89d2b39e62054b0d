"""Outreach, read: streams and records of its REST API v2, turned into `records`.

`auth` and `tokens` say who we are, `client` makes one request, `walk` goes through pages, `rows` makes records of them,
`odd` brings into the usual form what is unusual.
"""
