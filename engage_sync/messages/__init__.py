"""What must be said: what waits in the outbox becomes a Segment call, under an id that is the same each time.

Reads what it is handed, writes nothing. Pure: no database, no clock, no chance.
"""
