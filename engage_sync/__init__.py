"""engage-sync: audiences and computed traits, kept true and told to Iterable.

The folders are the stages of the data, in this order; a later stage may import an earlier one, never the reverse
(held by the import contract in pyproject.toml):

    settings, errors, clock   from the environment; the whole error tree; the one datetime.now()
    database/                 tables in the order of the data, engine, embedded server, advisory locks
    ingest/                   facts come in: accepting calls, the inbox, reading files
    profiles/                 who, and what is known: resolving a batch; identities, merges, traits, events
    definitions/              what we want to know: workspace files, the query language, versions
    evaluation/               who is in, what is the value, as of an instant: compiler, scopes
    snapshots/                what it was and is, what changed, what each identity was told
    messages/                 what must be said: change → Segment calls, deterministic ids; pure
    outbox/                   waiting to be said: enqueue, claim, settle, dead letters
    destinations/             to whom: call → requests, answer → outcome; pure
    delivery/                 saying it: order, rate budgets, retries
    sync/                     the use cases; each owns its transaction and joins the stages
    reports.py                every read-only question
    scheduler.py              leader, ticks, the real-time loop
    supervisor.py             roles as processes of their own under `up`
    api/ console/             HTTP, thin
    daemon.py                 composition root: builds everything, owns the tasks
    cli/                      one file a group of commands
    sandbox/                  the stand-in for Iterable; imports nothing of the rest
"""

__version__ = "0.1.0"
