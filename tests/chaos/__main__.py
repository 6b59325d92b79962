"""`python -m tests.chaos --seed 1 --minutes 10`: the long form. Exits with 1 where something is wrong."""

from __future__ import annotations

import argparse
import random
import signal
import sys

from tests.chaos.ground import ROLES
from tests.chaos.run import Plan, run
from tests.chaos.worlds import WORLDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="default: one that is said")
    parser.add_argument("--minutes", type=float, default=10.0, help="of trouble; the end takes some more")
    parser.add_argument("--world", choices=WORLDS, help="see worlds.py; default: what the seed says")
    parser.add_argument("--kills", type=float, default=60.0, help="a minute, as far as the machine keeps up")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument(
        "--roles", nargs="+", choices=ROLES, default=list(ROLES), help="which are killed; all others live"
    )
    parser.add_argument("--watch", action="store_true", help="tell of each trouble as it is made")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = arguments.seed if arguments.seed is not None else random.randrange(1_000_000)
    world = WORLDS[arguments.world or random.Random(seed).choice(sorted(WORLDS))]
    print(f"seed {seed}, world {world.name}, {arguments.minutes:g} minutes", flush=True)
    outcome = run(
        Plan(
            seed=seed,
            world=world,
            people=arguments.people,
            calls=None,
            acts=0,
            seconds=60 * arguments.minutes,
            pause_of_people=6.0,
            pause_of_trouble=(0.3, 3.0),
            kills_a_minute=arguments.kills,
            forgotten=arguments.people // 8,
            request_timeout=10.0,
            longest_delay=8.0,
            roles=arguments.roles,
        ),
        watch=(lambda line: print(line, file=sys.stderr)) if arguments.watch else None,
    )
    print(outcome.report())
    return 1 if outcome.sentences else 0


if __name__ == "__main__":
    sys.exit(main())
