"""Where and when a medium was seen, as the API answers with it and pages and documents show it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deepfake_service.platform.answers import ItemId, Published, Sha256, Time


class Post(Published):
    """Where and when a medium was seen."""

    id: ItemId = Field(description="Id of the occurrence.")
    media_id: ItemId = Field(description="Id of the medium that was seen.")
    recorded_at: Time = Field(description="When this service recorded it.")
    source_url: str | None = Field(description="Address at which the medium was seen.")
    platform: str | None = Field(description="Name of the platform.")
    account: str | None = Field(description="The account that published it.")
    captured_at: Time | None
    """When it was seen, according to the collector; null: no one said, and `recorded_at` does not
    tell when it was seen."""
    note: str | None = Field(description="The collector's note about it.")
    case_reference: str | None
    """The reference of the case that its submitter gave."""
    collector: ItemId = Field(description="Id of the account that recorded it.")
    tool: str | None = Field(description="The program that captured it.")
    capture: ItemId | None
    """Id of the capture that it comes from, even if that was deleted: see `GET
    /v1/captures/{capture_id}`."""
    capture_sha256: Sha256 | None = Field(description="SHA-256 of the bundle of that capture.")
    claimed: list[Literal["source_url", "captured_at", "note", "tool"]] | None
    """The fields that are as that capture claims, and no one stated; null without a capture."""
    screenshot: bool = Field(description="Whether a screenshot is stored with it.")
