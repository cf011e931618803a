"""What went wrong while measuring, as a typed fact."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mismatch:
    """Two installed releases that do not work together: `package` needs of `other` what `wanted`
    says, a specifier as `>=1.1.0`. declared: whether its metadata say so."""

    package: str
    version: str
    other: str
    other_version: str
    wanted: str
    declared: bool = True

    @property
    def requirement(self) -> str:
        """What has to be installed instead: `accelerate>=1.1.0`."""
        return f"{self.other}{self.wanted}"

    @property
    def sentence(self) -> str:
        """For people."""
        why = (
            f"{self.package} asks for {self.requirement}."
            if self.declared
            else f"{self.package} needs {self.requirement} and declares it nowhere."
        )
        return (
            f"{self.package} {self.version} and {self.other} {self.other_version} do not work "
            f"together: {why}"
        )


@dataclass(frozen=True)
class Failure:
    """An error met while measuring: exception type, first line of its message, file:line.

    mismatches: which releases around it do not work together. Of a measuring process that ended
    without a record, signal: what ended it, limit_s: the time that it did not answer within. Of an
    import that found nothing, module: its name.
    """

    type: str
    message: str
    where: str
    mismatches: tuple[Mismatch, ...] = ()
    signal: int | None = None
    limit_s: float | None = None
    module: str = ""
