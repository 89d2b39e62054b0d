"""The source: tokens, limits and the three streams of Outreach's REST API v2, turned into `records`.

`tokens` and `s2s` say who we are, `client` makes one request, `queries` says what is asked for, `parse` turns an
answer into values, `walk` goes through all pages.
"""
