"""Types command lines in one process, for tests that would start a process for each: per line of standard input, a JSON list of arguments,
one line with exit code, standard output and standard error as JSON.

    python answering.py WORKSPACE
"""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))

from product import Product


def main(root: Path) -> None:
    for line in sys.stdin:
        answer = Product(root).here(*json.loads(line))
        sys.stdout.write(json.dumps([answer.code, answer.out, answer.err]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
