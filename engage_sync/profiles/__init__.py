"""Who, and what is known: resolving a batch of calls into profiles, identities, traits, events and touches.

Reads calls (ingest/calls) and what it wrote itself; writes `received_messages`, `profiles`, `merges`, `identities`,
`traits`, `events`, `touches`, and what group calls make: `accounts`, `account_traits` and `account_members`.
Guarantees: resolving a batch gives what resolving its calls one by one would give; a message id of a source counts
once, for ever. Whoever writes these tables holds the advisory lock RESOLVER: they rely on having one writer at a time.
"""
