"""Saying it: due messages become requests, in each person's order, within each budget's rate, until they end.

Reads the outbox and the destinations, sends over HTTP; writes through outbox/. Guarantees: one request a person under
way; a request is sent only after its start is committed; no budget is broken, with any number of workers; a message
ends delivered or as a dead letter, and one sick destination delays no other.
"""
