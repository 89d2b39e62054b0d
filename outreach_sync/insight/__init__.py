"""Looking: the state's own account, why a record says what it says, what is in place. Writes no record."""
