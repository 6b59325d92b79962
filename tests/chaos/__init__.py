"""Delivery while everything goes wrong: kills, cut connections, crashes of Postgres, a sick destination.

The roles run as processes of their own; people act through the tracking API by a seed; two sandboxes, which nobody
kills, are the witnesses of what was really said, one of them spoken to in bulk. In the end what they did has to be what
the ledger says.

    check.py      pure: two histories, and how they differ
    reading.py    the two histories: a sandbox's record, and the tables
    people.py     who does what, and what must be true in the end; pure
    traffic.py    the people's calls, sent until each is accepted
    ground.py     Postgres, sandboxes, the workspace, and the processes of the roles
    trouble.py    what is done to them
    run.py        one run from the start to the verdict
    __main__.py   `python -m tests.chaos --seed 1 --minutes 10`
"""
