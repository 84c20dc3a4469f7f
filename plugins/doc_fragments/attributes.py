# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every module of this collection promises about check mode, diffs, repetition and the host it works on."""

from __future__ import annotations


class ModuleDocFragment:
    """One of these for each kind of module: states on a host, states on the controller, commands, questions.

    A module takes exactly one of them: of two, the first would win.
    """

    # A state on the host.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell what would change without changing it.
    support: full
  diff_mode:
    description: Tells what changed, or would change in C(check_mode), when run in diff mode. No secret is ever shown.
    support: full
  idempotent:
    description: Run again with the same options and nothing else changed, it changes nothing.
    support: full
  platform:
    description: The host needs C(sh), coreutils, C(tar), systemd and podman. It needs no Python.
    support: full
    platforms: Linux
"""

    # A state on the controller; the host is not reached.
    CONTROLLER = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell what would change without changing it.
    support: full
  diff_mode:
    description: Tells what changed, or would change in C(check_mode), when run in diff mode. No secret is ever shown.
    support: full
  idempotent:
    description: Run again with the same options and nothing else changed, it changes nothing.
    support: full
  platform:
    description: Works on the controller. The host is not reached.
    support: full
    platforms: posix
"""

    # Something that is done each time it is asked for.
    COMMAND = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell what would change without changing it.
    support: full
  diff_mode:
    description: Tells what changed, or would change in C(check_mode), when run in diff mode. No secret is ever shown.
    support: none
  idempotent:
    description: Run again with the same options and nothing else changed, it changes nothing.
    support: none
    details: The command is carried out every time.
  platform:
    description: The host needs C(sh), coreutils, C(tar), systemd and podman. It needs no Python.
    support: full
    platforms: Linux
"""

    # A question.
    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell what would change without changing it.
    support: full
    details: This module only reads.
  diff_mode:
    description: Tells what changed, or would change in C(check_mode), when run in diff mode. No secret is ever shown.
    support: N/A
    details: This module only reads.
  idempotent:
    description: Run again with the same options and nothing else changed, it changes nothing.
    support: full
    details: This module only reads.
  platform:
    description: The host needs C(sh), coreutils, C(tar), systemd and podman. It needs no Python.
    support: full
    platforms: Linux
"""
