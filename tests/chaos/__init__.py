"""Delivery while everything goes wrong: kills, cut connections, crashes of Postgres, a sick destination.

The roles run as processes of their own; people act through the tracking API by a seed; the destinations' receivers,
which nobody kills, are the witnesses of what was really said. In the end what they did has to be what the ledger says.

    check.py      pure: two histories, and how they differ
    record.py     one of them: what a witness did
    ledger.py     the other: what the tables say
    people.py     who does what, and what must be true in the end; pure
    worlds.py     the workspaces: which destinations, how many emails a person
    traffic.py    the people's calls, sent until each is accepted
    witnesses.py  the receivers of all destinations
    nursery.py    forks processes that have imported everything; processes.py speaks to it
    ground.py     all of it: Postgres (postgres.py), witnesses, workspace, roles
    kills.py      roles are killed
    forgetting.py people are forgotten, and what may be left of them
    trouble.py    what else is done
    waiting.py    the end: until nothing waits
    run.py        one run from the start to the verdict
    __main__.py   `python -m tests.chaos --seed 1 --minutes 10`
"""
