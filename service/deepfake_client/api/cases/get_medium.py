from http import HTTPStatus
from io import BytesIO
from typing import Any, cast
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.problem_out import ProblemOut
from ...types import UNSET, File, Response, Unset


def _get_kwargs(
    case_id: str,
    media_id: str,
    *,
    range_: None | str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(range_, Unset):
        headers["range"] = range_

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/cases/{case_id}/media/{media_id}/content".format(
            case_id=quote(str(case_id), safe=""),
            media_id=quote(str(media_id), safe=""),
        ),
    }

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Any | File | ProblemOut | None:
    if response.status_code == 200:
        response_200 = File(payload=BytesIO(response.content))

        return response_200

    if response.status_code == 206:
        response_206 = File(payload=BytesIO(response.content))

        return response_206

    if response.status_code == 401 and "problem+json" in response.headers.get("content-type", ""):
        response_401 = ProblemOut.from_dict(response.json())

        return response_401

    if response.status_code == 403 and "problem+json" in response.headers.get("content-type", ""):
        response_403 = ProblemOut.from_dict(response.json())

        return response_403

    if response.status_code == 404 and "problem+json" in response.headers.get("content-type", ""):
        response_404 = ProblemOut.from_dict(response.json())

        return response_404

    if response.status_code == 410 and "problem+json" in response.headers.get("content-type", ""):
        response_410 = ProblemOut.from_dict(response.json())

        return response_410

    if response.status_code == 416:
        response_416 = cast(Any, None)
        return response_416

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
) -> Response[Any | File | ProblemOut]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    case_id: str,
    media_id: str,
    *,
    client: AuthenticatedClient,
    range_: None | str | Unset = UNSET,
) -> Response[Any | File | ProblemOut]:
    """Play a medium

     Return the original while it is retained. Media of a case in which a person may be a minor
    are withheld. Audited.

    Args:
        case_id (str): Id of the case.
        media_id (str): Id of the medium, as `media_id` of its job.
        range_ (None | str | Unset): The part to return (RFC 9110, section 14.2).

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | File | ProblemOut]
    """

    kwargs = _get_kwargs(
        case_id=case_id,
        media_id=media_id,
        range_=range_,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    case_id: str,
    media_id: str,
    *,
    client: AuthenticatedClient,
    range_: None | str | Unset = UNSET,
) -> Any | File | ProblemOut | None:
    """Play a medium

     Return the original while it is retained. Media of a case in which a person may be a minor
    are withheld. Audited.

    Args:
        case_id (str): Id of the case.
        media_id (str): Id of the medium, as `media_id` of its job.
        range_ (None | str | Unset): The part to return (RFC 9110, section 14.2).

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | File | ProblemOut
    """

    return sync_detailed(
        case_id=case_id,
        media_id=media_id,
        client=client,
        range_=range_,
    ).parsed


async def asyncio_detailed(
    case_id: str,
    media_id: str,
    *,
    client: AuthenticatedClient,
    range_: None | str | Unset = UNSET,
) -> Response[Any | File | ProblemOut]:
    """Play a medium

     Return the original while it is retained. Media of a case in which a person may be a minor
    are withheld. Audited.

    Args:
        case_id (str): Id of the case.
        media_id (str): Id of the medium, as `media_id` of its job.
        range_ (None | str | Unset): The part to return (RFC 9110, section 14.2).

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | File | ProblemOut]
    """

    kwargs = _get_kwargs(
        case_id=case_id,
        media_id=media_id,
        range_=range_,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    case_id: str,
    media_id: str,
    *,
    client: AuthenticatedClient,
    range_: None | str | Unset = UNSET,
) -> Any | File | ProblemOut | None:
    """Play a medium

     Return the original while it is retained. Media of a case in which a person may be a minor
    are withheld. Audited.

    Args:
        case_id (str): Id of the case.
        media_id (str): Id of the medium, as `media_id` of its job.
        range_ (None | str | Unset): The part to return (RFC 9110, section 14.2).

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | File | ProblemOut
    """

    return (
        await asyncio_detailed(
            case_id=case_id,
            media_id=media_id,
            client=client,
            range_=range_,
        )
    ).parsed
