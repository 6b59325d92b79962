"""Facts come in: accepting calls, the inbox, sources, and reading files.

Reads what others send; writes `inbox`, `rejects` and `sources`. Guarantees that a stored call is one Postgres holds
and the resolver reads, and that what was stored before a commit survives a crash after it. Who a call is about is
decided later, in profiles/.
"""
