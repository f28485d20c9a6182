from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.notice_out import NoticeOut
from ...models.notice_request import NoticeRequest
from ...models.problem_out import ProblemOut
from ...types import Response


def _get_kwargs(
    case_id: str,
    *,
    body: NoticeRequest,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/cases/{case_id}/notices".format(
            case_id=quote(str(case_id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> NoticeOut | ProblemOut | None:
    if response.status_code == 201:
        response_201 = NoticeOut.from_dict(response.json())

        return response_201

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

    if response.status_code == 409 and "problem+json" in response.headers.get("content-type", ""):
        response_409 = ProblemOut.from_dict(response.json())

        return response_409

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
    case_id: str,
    *,
    client: AuthenticatedClient,
    body: NoticeRequest,
) -> Response[NoticeOut | ProblemOut]:
    """Create a notice

     Create a notice about occurrences of a case. If fields are missing or invalid, the answer
    lists them. The service signs for no one: a person supplies statements and signatures.

    Args:
        case_id (str): Id of the case.
        body (NoticeRequest): A notice to create.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[NoticeOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        case_id=case_id,
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    case_id: str,
    *,
    client: AuthenticatedClient,
    body: NoticeRequest,
) -> NoticeOut | ProblemOut | None:
    """Create a notice

     Create a notice about occurrences of a case. If fields are missing or invalid, the answer
    lists them. The service signs for no one: a person supplies statements and signatures.

    Args:
        case_id (str): Id of the case.
        body (NoticeRequest): A notice to create.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        NoticeOut | ProblemOut
    """

    return sync_detailed(
        case_id=case_id,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    case_id: str,
    *,
    client: AuthenticatedClient,
    body: NoticeRequest,
) -> Response[NoticeOut | ProblemOut]:
    """Create a notice

     Create a notice about occurrences of a case. If fields are missing or invalid, the answer
    lists them. The service signs for no one: a person supplies statements and signatures.

    Args:
        case_id (str): Id of the case.
        body (NoticeRequest): A notice to create.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[NoticeOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        case_id=case_id,
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    case_id: str,
    *,
    client: AuthenticatedClient,
    body: NoticeRequest,
) -> NoticeOut | ProblemOut | None:
    """Create a notice

     Create a notice about occurrences of a case. If fields are missing or invalid, the answer
    lists them. The service signs for no one: a person supplies statements and signatures.

    Args:
        case_id (str): Id of the case.
        body (NoticeRequest): A notice to create.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        NoticeOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            case_id=case_id,
            client=client,
            body=body,
        )
    ).parsed
