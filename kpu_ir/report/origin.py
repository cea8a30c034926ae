"""Where figures come from: the version, the machine and the command that give them again."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from kpu_ir.machine import Machine
from kpu_ir.support.package import __version__


@dataclass(frozen=True, slots=True)
class Origin:
    """What every output says of itself.

    ``version``: of kpu-ir. ``machine_digest``: of the machine's values (``Machine.digest``), by which
    two machines of one name are told apart. ``command``: what gives the figures again.
    """

    version: str
    machine: str
    machine_digest: str
    command: str

    @staticmethod
    def of(machine: Machine, command: str) -> Origin:
        """This kpu-ir on ``machine``."""
        return Origin(__version__, machine.name, machine.digest, command)

    def data(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)

    def line(self) -> str:
        """``kpu-ir 0.1.0, machine default (1f0c...)``."""
        return f"kpu-ir {self.version}, machine {self.machine} ({self.machine_digest})"
