"""The `pooler` command: verifiers, lint, rendering, consoles, and the leader."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..errors import PoolerError
from .arguments import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 problems found or the command failed, 2 wrong usage."""
    parsed = parser().parse_args(arguments)
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
    except PoolerError as error:
        print(error, file=sys.stderr)
    except BrokenPipeError:
        # Whoever reads has seen enough. What is left in the buffer must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"{error.filename or 'pooler'}: {error.strerror or error}", file=sys.stderr)
    else:
        return status
    return 1
