"""The stand-in for Iterable: its endpoints, its checks, its rates, and faults on request. All in memory.

Reads HTTP, keeps users, events and a record of every request, which can be read back under `/sandbox/`. It imports
nothing of the rest of engage_sync, so that it can't share a mistake with what it checks.

    options.py    what can be set
    forms.py      is this body one that the endpoint takes: fields, types, emails, ids; no state
    fields.py     data fields: names, dates, and types that the first value fixes
    checks.py     is this one value what its field takes
    users.py      who there is, in the three kinds of project
    project.py    what a request does: users, events, purchases
    bulk.py       many users or events in one request, each of which may fail for itself
    leaving.py    users that are forgotten, deleted, or merged into another
    limits.py     requests over any sliding second, and over any day
    faults.py     errors, delays, resets and lost answers on request
    records.py    every request in the order of arrival
    answers.py    the shape of Iterable's answers
    state.py      all that a running sandbox holds
    endpoints.py  /api/…: Iterable's endpoints
    lookup.py     /: a page that shows a user, for people
    control.py    /sandbox/…: reading back, faults, starting over
    server.py     the application, and how to run it

Start it with `python -m engage_sync.sandbox --port 8091 --api-key sandbox-key`.
"""
