"""What it was and is, what changed, what each identity was told.

Reads what evaluation selects; writes `snapshots`, `changes`, `computations`, `told` and `runs`. Guarantees: a snapshot,
its change and what each identity is to be told are written in one transaction, that of the caller, under the
definition's lock; sending the difference between told and to-be-told is all that ever makes a message.
"""
