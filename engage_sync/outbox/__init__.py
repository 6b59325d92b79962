"""Waiting to be said: enqueue, claim, settle, dead letters; and what many workers share: leases, rates, pauses.

Reads definitions and identities, for what is rendered; writes destinations, messages, lanes, workers, delivered,
dead_letters and rate_budgets. Guarantees: one worker a lane; nothing is sent that isn't marked as started; a message
waits, is delivered, or is a dead letter, and never two of these.
"""
