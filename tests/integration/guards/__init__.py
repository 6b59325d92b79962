"""Guards: what they hold, and what approving and discarding do."""
