from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.audit_out import AuditOut
from ...models.problem_out import ProblemOut
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    after: int | Unset = 0,
    limit: int | Unset = 100,
    subject: None | str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["after"] = after

    params["limit"] = limit

    json_subject: None | str | Unset
    if isinstance(subject, Unset):
        json_subject = UNSET
    else:
        json_subject = subject
    params["subject"] = json_subject

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/audit",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> AuditOut | ProblemOut | None:
    if response.status_code == 200:
        response_200 = AuditOut.from_dict(response.json())

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
) -> Response[AuditOut | ProblemOut]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    after: int | Unset = 0,
    limit: int | Unset = 100,
    subject: None | str | Unset = UNSET,
) -> Response[AuditOut | ProblemOut]:
    """Read the audit log

     Return entries in order. They have neither content nor file names. To read on, send the
    number of the last entry as `after`. An answer with fewer entries than `limit` is the last one:
    each read adds an entry itself, so that there would be one more every time.

    Args:
        after (int | Unset): Entries after this number. Default: 0.
        limit (int | Unset): Entries in the answer. Default: 100.
        subject (None | str | Unset): Only entries about this id.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AuditOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        after=after,
        limit=limit,
        subject=subject,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    after: int | Unset = 0,
    limit: int | Unset = 100,
    subject: None | str | Unset = UNSET,
) -> AuditOut | ProblemOut | None:
    """Read the audit log

     Return entries in order. They have neither content nor file names. To read on, send the
    number of the last entry as `after`. An answer with fewer entries than `limit` is the last one:
    each read adds an entry itself, so that there would be one more every time.

    Args:
        after (int | Unset): Entries after this number. Default: 0.
        limit (int | Unset): Entries in the answer. Default: 100.
        subject (None | str | Unset): Only entries about this id.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AuditOut | ProblemOut
    """

    return sync_detailed(
        client=client,
        after=after,
        limit=limit,
        subject=subject,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    after: int | Unset = 0,
    limit: int | Unset = 100,
    subject: None | str | Unset = UNSET,
) -> Response[AuditOut | ProblemOut]:
    """Read the audit log

     Return entries in order. They have neither content nor file names. To read on, send the
    number of the last entry as `after`. An answer with fewer entries than `limit` is the last one:
    each read adds an entry itself, so that there would be one more every time.

    Args:
        after (int | Unset): Entries after this number. Default: 0.
        limit (int | Unset): Entries in the answer. Default: 100.
        subject (None | str | Unset): Only entries about this id.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AuditOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        after=after,
        limit=limit,
        subject=subject,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    after: int | Unset = 0,
    limit: int | Unset = 100,
    subject: None | str | Unset = UNSET,
) -> AuditOut | ProblemOut | None:
    """Read the audit log

     Return entries in order. They have neither content nor file names. To read on, send the
    number of the last entry as `after`. An answer with fewer entries than `limit` is the last one:
    each read adds an entry itself, so that there would be one more every time.

    Args:
        after (int | Unset): Entries after this number. Default: 0.
        limit (int | Unset): Entries in the answer. Default: 100.
        subject (None | str | Unset): Only entries about this id.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AuditOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            client=client,
            after=after,
            limit=limit,
            subject=subject,
        )
    ).parsed
