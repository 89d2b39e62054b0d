"""Every decision, as pure functions from values to values: no HTTP, no SQLite, no clock."""
