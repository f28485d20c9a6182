from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.finding import Finding

if TYPE_CHECKING:
    from ..models.review_out import ReviewOut


T = TypeVar("T", bound="ReviewsOut")


@_attrs_define
class ReviewsOut:
    """All decisions, and the finding that results from them."""

    finding: Finding | None
    """ The finding; null if nobody has decided. """
    reviewers_disagree: bool
    """ Whether it is `undecided` because one reviewer confirmed and another rejected. """
    reviews: list[ReviewOut]
    """ The decisions, oldest first. """

    def to_dict(self) -> dict[str, Any]:
        finding: None | str
        if isinstance(self.finding, Finding):
            finding = self.finding.value
        else:
            finding = self.finding

        reviewers_disagree = self.reviewers_disagree

        reviews = []
        for reviews_item_data in self.reviews:
            reviews_item = reviews_item_data.to_dict()
            reviews.append(reviews_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "finding": finding,
                "reviewers_disagree": reviewers_disagree,
                "reviews": reviews,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.review_out import ReviewOut  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_finding(data: object) -> Finding | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                finding_type_0 = Finding(data)

                return finding_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Finding | None, data)

        finding = _parse_finding(d.pop("finding"))

        reviewers_disagree = d.pop("reviewers_disagree")

        reviews = []
        _reviews = d.pop("reviews")
        for reviews_item_data in _reviews:
            reviews_item = ReviewOut.from_dict(reviews_item_data)

            reviews.append(reviews_item)

        reviews_out = cls(
            finding=finding,
            reviewers_disagree=reviewers_disagree,
            reviews=reviews,
        )

        return reviews_out
