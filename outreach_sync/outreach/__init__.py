"""Outreach, read: `auth` keeps the tokens, `client` asks and goes through pages, `rows` makes records of them."""
