from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.model_out import ModelOut
    from ..models.sandbox_out import SandboxOut


T = TypeVar("T", bound="ReadyOut")


@_attrs_define
class ReadyOut:
    """The model is loaded, and requests are accepted."""

    model: ModelOut
    """ The model that scored, and the terms of its use. """
    not_for_use: list[str]
    """ Why the thresholds of the model decide nothing, by the rates that were measured at them; empty for a model
    that is fit for use. """
    accepts_submissions: bool
    """ False while the disk of the data directory is nearly full: submissions and exports then get 503, and
    everything else is answered. """
    epoch_keys: bool
    """ Whether keys of deleted cases are destroyed by epoch keys. If not, copies of them on disks and in backups of
    the database can be unwrapped with the master key. """
    sandbox: None | SandboxOut
    """ `null` if files are parsed in the process of the service itself. """
    status: Literal["ready"] | Unset = "ready"
    """ Always `ready`. """

    def to_dict(self) -> dict[str, Any]:
        from ..models.sandbox_out import SandboxOut  # noqa: PLC0415

        model = self.model.to_dict()

        not_for_use = self.not_for_use

        accepts_submissions = self.accepts_submissions

        epoch_keys = self.epoch_keys

        sandbox: dict[str, Any] | None
        if isinstance(self.sandbox, SandboxOut):
            sandbox = self.sandbox.to_dict()
        else:
            sandbox = self.sandbox

        status = self.status

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "model": model,
                "not_for_use": not_for_use,
                "accepts_submissions": accepts_submissions,
                "epoch_keys": epoch_keys,
                "sandbox": sandbox,
            }
        )
        if status is not UNSET:
            field_dict["status"] = status

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.model_out import ModelOut  # noqa: PLC0415
        from ..models.sandbox_out import SandboxOut  # noqa: PLC0415

        d = dict(src_dict)
        model = ModelOut.from_dict(d.pop("model"))

        not_for_use = cast(list[str], d.pop("not_for_use"))

        accepts_submissions = d.pop("accepts_submissions")

        epoch_keys = d.pop("epoch_keys")

        def _parse_sandbox(data: object) -> None | SandboxOut:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                sandbox_type_0 = SandboxOut.from_dict(data)

                return sandbox_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SandboxOut, data)

        sandbox = _parse_sandbox(d.pop("sandbox"))

        status = cast(Literal["ready"] | Unset, d.pop("status", UNSET))
        if status != "ready" and not isinstance(status, Unset):
            raise ValueError(f"status must match const 'ready', got '{status}'")

        ready_out = cls(
            model=model,
            not_for_use=not_for_use,
            accepts_submissions=accepts_submissions,
            epoch_keys=epoch_keys,
            sandbox=sandbox,
            status=status,
        )

        return ready_out
