"""`predict`: answers of the pushed model to pictures."""
