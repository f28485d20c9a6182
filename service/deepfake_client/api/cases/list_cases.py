import datetime
from http import HTTPStatus
from typing import Any, Literal

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.cases_out import CasesOut
from ...models.finding import Finding
from ...models.list_cases_order import ListCasesOrder
from ...models.problem_out import ProblemOut
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
    case_reference: None | str | Unset = UNSET,
    finding: Finding | Literal["none"] | None | Unset = UNSET,
    created_after: datetime.datetime | None | Unset = UNSET,
    created_before: datetime.datetime | None | Unset = UNSET,
    order: ListCasesOrder | Unset = ListCasesOrder.NEWEST,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["limit"] = limit

    json_cursor: None | str | Unset
    if isinstance(cursor, Unset):
        json_cursor = UNSET
    else:
        json_cursor = cursor
    params["cursor"] = json_cursor

    json_case_reference: None | str | Unset
    if isinstance(case_reference, Unset):
        json_case_reference = UNSET
    else:
        json_case_reference = case_reference
    params["case_reference"] = json_case_reference

    json_finding: Literal["none"] | None | str | Unset
    if isinstance(finding, Unset):
        json_finding = UNSET
    elif isinstance(finding, Finding):
        json_finding = finding.value
    else:
        json_finding = finding
    params["finding"] = json_finding

    json_created_after: None | str | Unset
    if isinstance(created_after, Unset):
        json_created_after = UNSET
    elif isinstance(created_after, datetime.datetime):
        json_created_after = created_after.isoformat()
    else:
        json_created_after = created_after
    params["created_after"] = json_created_after

    json_created_before: None | str | Unset
    if isinstance(created_before, Unset):
        json_created_before = UNSET
    elif isinstance(created_before, datetime.datetime):
        json_created_before = created_before.isoformat()
    else:
        json_created_before = created_before
    params["created_before"] = json_created_before

    json_order: str | Unset = UNSET
    if not isinstance(order, Unset):
        json_order = order.value

    params["order"] = json_order

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/cases",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> CasesOut | ProblemOut | None:
    if response.status_code == 200:
        response_200 = CasesOut.from_dict(response.json())

        return response_200

    if response.status_code == 401 and "problem+json" in response.headers.get("content-type", ""):
        response_401 = ProblemOut.from_dict(response.json())

        return response_401

    if response.status_code == 403 and "problem+json" in response.headers.get("content-type", ""):
        response_403 = ProblemOut.from_dict(response.json())

        return response_403

    if response.status_code == 422 and "problem+json" in response.headers.get("content-type", ""):
        response_422 = ProblemOut.from_dict(response.json())

        return response_422

    if response.status_code == 429 and "problem+json" in response.headers.get("content-type", ""):
        response_429 = ProblemOut.from_dict(response.json())

        return response_429

    if response.status_code == 503 and "problem+json" in response.headers.get("content-type", ""):
        response_503 = ProblemOut.from_dict(response.json())

        return response_503

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[CasesOut | ProblemOut]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
    case_reference: None | str | Unset = UNSET,
    finding: Finding | Literal["none"] | None | Unset = UNSET,
    created_after: datetime.datetime | None | Unset = UNSET,
    created_before: datetime.datetime | None | Unset = UNSET,
    order: ListCasesOrder | Unset = ListCasesOrder.NEWEST,
) -> Response[CasesOut | ProblemOut]:
    """List cases

     List the cases of this account; analysts and administrators see the cases of all accounts.

    Args:
        limit (int | Unset): Items on the page. Default: 50.
        cursor (None | str | Unset): `next` of the page before; unset: first.
        case_reference (None | str | Unset): Only what belongs to the case with this reference of
            yours.
        finding (Finding | Literal['none'] | None | Unset): Only items with this finding of the
            reviewers; `none` for those that have ended and await one.
        created_after (datetime.datetime | None | Unset): Only what was created at this time or
            later.
        created_before (datetime.datetime | None | Unset): Only what was created before this time.
        order (ListCasesOrder | Unset): `newest` or `oldest` first. Default:
            ListCasesOrder.NEWEST.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[CasesOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        case_reference=case_reference,
        finding=finding,
        created_after=created_after,
        created_before=created_before,
        order=order,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
    case_reference: None | str | Unset = UNSET,
    finding: Finding | Literal["none"] | None | Unset = UNSET,
    created_after: datetime.datetime | None | Unset = UNSET,
    created_before: datetime.datetime | None | Unset = UNSET,
    order: ListCasesOrder | Unset = ListCasesOrder.NEWEST,
) -> CasesOut | ProblemOut | None:
    """List cases

     List the cases of this account; analysts and administrators see the cases of all accounts.

    Args:
        limit (int | Unset): Items on the page. Default: 50.
        cursor (None | str | Unset): `next` of the page before; unset: first.
        case_reference (None | str | Unset): Only what belongs to the case with this reference of
            yours.
        finding (Finding | Literal['none'] | None | Unset): Only items with this finding of the
            reviewers; `none` for those that have ended and await one.
        created_after (datetime.datetime | None | Unset): Only what was created at this time or
            later.
        created_before (datetime.datetime | None | Unset): Only what was created before this time.
        order (ListCasesOrder | Unset): `newest` or `oldest` first. Default:
            ListCasesOrder.NEWEST.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        CasesOut | ProblemOut
    """

    return sync_detailed(
        client=client,
        limit=limit,
        cursor=cursor,
        case_reference=case_reference,
        finding=finding,
        created_after=created_after,
        created_before=created_before,
        order=order,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
    case_reference: None | str | Unset = UNSET,
    finding: Finding | Literal["none"] | None | Unset = UNSET,
    created_after: datetime.datetime | None | Unset = UNSET,
    created_before: datetime.datetime | None | Unset = UNSET,
    order: ListCasesOrder | Unset = ListCasesOrder.NEWEST,
) -> Response[CasesOut | ProblemOut]:
    """List cases

     List the cases of this account; analysts and administrators see the cases of all accounts.

    Args:
        limit (int | Unset): Items on the page. Default: 50.
        cursor (None | str | Unset): `next` of the page before; unset: first.
        case_reference (None | str | Unset): Only what belongs to the case with this reference of
            yours.
        finding (Finding | Literal['none'] | None | Unset): Only items with this finding of the
            reviewers; `none` for those that have ended and await one.
        created_after (datetime.datetime | None | Unset): Only what was created at this time or
            later.
        created_before (datetime.datetime | None | Unset): Only what was created before this time.
        order (ListCasesOrder | Unset): `newest` or `oldest` first. Default:
            ListCasesOrder.NEWEST.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[CasesOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        case_reference=case_reference,
        finding=finding,
        created_after=created_after,
        created_before=created_before,
        order=order,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
    case_reference: None | str | Unset = UNSET,
    finding: Finding | Literal["none"] | None | Unset = UNSET,
    created_after: datetime.datetime | None | Unset = UNSET,
    created_before: datetime.datetime | None | Unset = UNSET,
    order: ListCasesOrder | Unset = ListCasesOrder.NEWEST,
) -> CasesOut | ProblemOut | None:
    """List cases

     List the cases of this account; analysts and administrators see the cases of all accounts.

    Args:
        limit (int | Unset): Items on the page. Default: 50.
        cursor (None | str | Unset): `next` of the page before; unset: first.
        case_reference (None | str | Unset): Only what belongs to the case with this reference of
            yours.
        finding (Finding | Literal['none'] | None | Unset): Only items with this finding of the
            reviewers; `none` for those that have ended and await one.
        created_after (datetime.datetime | None | Unset): Only what was created at this time or
            later.
        created_before (datetime.datetime | None | Unset): Only what was created before this time.
        order (ListCasesOrder | Unset): `newest` or `oldest` first. Default:
            ListCasesOrder.NEWEST.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        CasesOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            client=client,
            limit=limit,
            cursor=cursor,
            case_reference=case_reference,
            finding=finding,
            created_after=created_after,
            created_before=created_before,
            order=order,
        )
    ).parsed
