from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.notice_out import NoticeOut
from ...models.notice_update import NoticeUpdate
from ...models.problem_out import ProblemOut
from ...types import Response


def _get_kwargs(
    notice_id: str,
    *,
    body: NoticeUpdate,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "patch",
        "url": "/v1/notices/{notice_id}".format(
            notice_id=quote(str(notice_id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> NoticeOut | ProblemOut | None:
    if response.status_code == 200:
        response_200 = NoticeOut.from_dict(response.json())

        return response_200

    if response.status_code == 400 and "problem+json" in response.headers.get("content-type", ""):
        response_400 = ProblemOut.from_dict(response.json())

        return response_400

    if response.status_code == 401 and "problem+json" in response.headers.get("content-type", ""):
        response_401 = ProblemOut.from_dict(response.json())

        return response_401

    if response.status_code == 403 and "problem+json" in response.headers.get("content-type", ""):
        response_403 = ProblemOut.from_dict(response.json())

        return response_403

    if response.status_code == 404 and "problem+json" in response.headers.get("content-type", ""):
        response_404 = ProblemOut.from_dict(response.json())

        return response_404

    if response.status_code == 408 and "problem+json" in response.headers.get("content-type", ""):
        response_408 = ProblemOut.from_dict(response.json())

        return response_408

    if response.status_code == 410 and "problem+json" in response.headers.get("content-type", ""):
        response_410 = ProblemOut.from_dict(response.json())

        return response_410

    if response.status_code == 413 and "problem+json" in response.headers.get("content-type", ""):
        response_413 = ProblemOut.from_dict(response.json())

        return response_413

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
) -> Response[NoticeOut | ProblemOut]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    notice_id: str,
    *,
    client: AuthenticatedClient,
    body: NoticeUpdate,
) -> Response[NoticeOut | ProblemOut]:
    """Update the state of a notice

     Record that a notice was sent (this starts its deadline), acknowledged (the text or number of
    a receipt) or answered.

    Args:
        notice_id (str): Id of the notice.
        body (NoticeUpdate): What a person did with a notice, or the answer to it.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[NoticeOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        notice_id=notice_id,
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    notice_id: str,
    *,
    client: AuthenticatedClient,
    body: NoticeUpdate,
) -> NoticeOut | ProblemOut | None:
    """Update the state of a notice

     Record that a notice was sent (this starts its deadline), acknowledged (the text or number of
    a receipt) or answered.

    Args:
        notice_id (str): Id of the notice.
        body (NoticeUpdate): What a person did with a notice, or the answer to it.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        NoticeOut | ProblemOut
    """

    return sync_detailed(
        notice_id=notice_id,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    notice_id: str,
    *,
    client: AuthenticatedClient,
    body: NoticeUpdate,
) -> Response[NoticeOut | ProblemOut]:
    """Update the state of a notice

     Record that a notice was sent (this starts its deadline), acknowledged (the text or number of
    a receipt) or answered.

    Args:
        notice_id (str): Id of the notice.
        body (NoticeUpdate): What a person did with a notice, or the answer to it.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[NoticeOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        notice_id=notice_id,
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    notice_id: str,
    *,
    client: AuthenticatedClient,
    body: NoticeUpdate,
) -> NoticeOut | ProblemOut | None:
    """Update the state of a notice

     Record that a notice was sent (this starts its deadline), acknowledged (the text or number of
    a receipt) or answered.

    Args:
        notice_id (str): Id of the notice.
        body (NoticeUpdate): What a person did with a notice, or the answer to it.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        NoticeOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            notice_id=notice_id,
            client=client,
            body=body,
        )
    ).parsed
