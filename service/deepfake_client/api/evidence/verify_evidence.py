from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.problem_out import ProblemOut
from ...models.verification_out import VerificationOut
from ...types import File, Response


def _get_kwargs(
    *,
    body: File,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/verify",
    }

    _kwargs["content"] = body.payload
    headers["Content-Type"] = "application/octet-stream"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> ProblemOut | VerificationOut | None:
    if response.status_code == 200:
        response_200 = VerificationOut.from_dict(response.json())

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

    if response.status_code == 408 and "problem+json" in response.headers.get("content-type", ""):
        response_408 = ProblemOut.from_dict(response.json())

        return response_408

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
) -> Response[ProblemOut | VerificationOut]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    body: File,
) -> Response[ProblemOut | VerificationOut]:
    """Verify a bundle

     Run the steps of `deepfake verify` on a bundle, which is not stored. Trusted are the keys of
    this service, retired ones included, and the pinned keys of others.

    Args:
        body (File): The ZIP of an evidence bundle, of any content type.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ProblemOut | VerificationOut]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    body: File,
) -> ProblemOut | VerificationOut | None:
    """Verify a bundle

     Run the steps of `deepfake verify` on a bundle, which is not stored. Trusted are the keys of
    this service, retired ones included, and the pinned keys of others.

    Args:
        body (File): The ZIP of an evidence bundle, of any content type.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ProblemOut | VerificationOut
    """

    return sync_detailed(
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: File,
) -> Response[ProblemOut | VerificationOut]:
    """Verify a bundle

     Run the steps of `deepfake verify` on a bundle, which is not stored. Trusted are the keys of
    this service, retired ones included, and the pinned keys of others.

    Args:
        body (File): The ZIP of an evidence bundle, of any content type.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ProblemOut | VerificationOut]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: File,
) -> ProblemOut | VerificationOut | None:
    """Verify a bundle

     Run the steps of `deepfake verify` on a bundle, which is not stored. Trusted are the keys of
    this service, retired ones included, and the pinned keys of others.

    Args:
        body (File): The ZIP of an evidence bundle, of any content type.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ProblemOut | VerificationOut
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
        )
    ).parsed
