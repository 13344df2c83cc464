"""Runs a search in child processes and kills them with SIGKILL at random moments until one finishes.

python tests/kill_driver.py FOLDER EVALUATIONS KILLS SEED [KEY=VALUE ...]

A child is forked from this process, in which the heavy packages are imported already, so that a life is short and
kills hit the run itself. Prints how many children were killed while at work.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from searcher import session
from searcher.config import load_config

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def life(folder: Path, n_evaluations: int) -> None:
    """One child's work: begin or continue the run."""
    fixed = [f"budget.evaluations={n_evaluations}", "output.export=[]", "cache.enabled=false"]
    config = load_config(CONFIG, [*fixed, *sys.argv[5:]])
    session.start(config, folder)


def main() -> None:
    """Kill at random moments, then let the last child finish."""
    folder, n_evaluations, n_kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    moments = random.Random(int(sys.argv[4]))
    import torch

    from searcher.merge import engine  # noqa: F401 - imported before forking
    from searcher.strategies.factory import make_strategy  # noqa: F401

    torch.set_num_threads(1)  # a forked process has none of its parent's threads
    n_killed = 0
    while True:
        child = os.fork()
        if child == 0:
            life(folder, n_evaluations)
            os._exit(0)
        if n_killed < n_kills:
            time.sleep(moments.uniform(0.05, 0.6))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            n_killed += 1
            continue
        print(n_killed if os.WEXITSTATUS(status) == 0 else -1)
        return


if __name__ == "__main__":
    main()
