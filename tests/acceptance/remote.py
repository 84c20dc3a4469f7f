"""A host of the lab, reached by ssh as root; it has no Python."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from .scenario import Scenario


@dataclass(frozen=True)
class Remote:
    scenario: Scenario
    name: str

    def sh(self, script: str) -> str:
        """What the script prints; it comes on standard input, so that it appears in no list of processes.

        Raises AssertionError with the script's last words when it fails.
        """
        command = ["ssh", "-F", str(self.scenario.paths.ssh_config), self.name, "sudo", "sh", "-eu"]
        done = subprocess.run(command, input=script.encode(), capture_output=True, check=False)
        assert done.returncode == 0, f"{self.name}: {done.stderr.decode(errors='replace')[-2000:]}"
        return done.stdout.decode(errors="replace")

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Runs SQL as superuser in the container of PostgreSQL; gives unaligned rows."""
        psql = f"podman exec -i --user postgres spilo psql -XAtq -v ON_ERROR_STOP=1 -d {database} -f -"
        return self.sh(f"{psql} <<'END OF SQL'\n{statements}\nEND OF SQL\n").strip()

    def console(self, instance: int, command: str) -> list[list[str]]:
        """Asks an instance through its unix socket, as its own uid; gives the rows, the header first."""
        psql = f"psql -XAq --csv -h /run/pgbouncer/{instance} -p 6432 -U pgbouncer -d pgbouncer"
        answer = self.sh(f"podman exec pgbouncer-{instance} {psql} -c '{command}'")
        return [line.split(",") for line in answer.splitlines()]

    def state(self) -> str:
        """All that a change to the pooler could alter: files, units, containers and since when they run."""
        return self.sh(
            "cd /; find etc/pgbouncer etc/containers etc/systemd etc/tmpfiles.d etc/sysctl.d var/lib/pgfleet "
            "-type d -printf '%p %m %U\\n' -o -printf '%p %m %U %s %T@ %l\\n' 2>/dev/null | sort\n"
            "podman ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}} {{.StartedAt}}' | sort\n"
            "podman images --no-trunc --format '{{.ID}} {{.Names}}' | sort\n"
        )
