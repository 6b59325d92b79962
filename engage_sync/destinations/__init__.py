"""To whom: each destination turns a Segment call into HTTP requests, and an answer into an outcome.

Reads a call (a mapping as parsed from JSON), writes nothing, does no I/O and reads no clock: delivery sends what comes
out of here. A destination never raises on a call and never changes it: what can't be sent comes back as `Refused`,
what is left out on purpose as `Skipped`. A new destination is one folder and one line in `registry.py`.

protocol.py   what delivery and a destination say to each other
registry.py   the types there are
settings.py   settings from engage.yml, and what is wrong with them
passing.py    calls that are passed on as they are
answers.py    what HTTP itself says of an answer
render.py     what a call would become
iterable/ segment/ webhook/
"""
