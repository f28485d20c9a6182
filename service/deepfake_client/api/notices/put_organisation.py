from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.organisation_out import OrganisationOut
from ...models.organisation_record import OrganisationRecord
from ...models.problem_out import ProblemOut
from ...types import Response


def _get_kwargs(
    *,
    body: OrganisationRecord,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "put",
        "url": "/v1/organisation",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> OrganisationOut | ProblemOut | None:
    if response.status_code == 200:
        response_200 = OrganisationOut.from_dict(response.json())

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
) -> Response[OrganisationOut | ProblemOut]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    body: OrganisationRecord,
) -> Response[OrganisationOut | ProblemOut]:
    """Change the organisation

     Replace the organisation; fields that are left out become null. Evidence and notices that
    were made keep what they have. The audit log names the fields that were changed.

    Args:
        body (OrganisationRecord): The organisation as an administrator enters it.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[OrganisationOut | ProblemOut]
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
    body: OrganisationRecord,
) -> OrganisationOut | ProblemOut | None:
    """Change the organisation

     Replace the organisation; fields that are left out become null. Evidence and notices that
    were made keep what they have. The audit log names the fields that were changed.

    Args:
        body (OrganisationRecord): The organisation as an administrator enters it.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        OrganisationOut | ProblemOut
    """

    return sync_detailed(
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: OrganisationRecord,
) -> Response[OrganisationOut | ProblemOut]:
    """Change the organisation

     Replace the organisation; fields that are left out become null. Evidence and notices that
    were made keep what they have. The audit log names the fields that were changed.

    Args:
        body (OrganisationRecord): The organisation as an administrator enters it.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[OrganisationOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: OrganisationRecord,
) -> OrganisationOut | ProblemOut | None:
    """Change the organisation

     Replace the organisation; fields that are left out become null. Evidence and notices that
    were made keep what they have. The audit log names the fields that were changed.

    Args:
        body (OrganisationRecord): The organisation as an administrator enters it.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        OrganisationOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
        )
    ).parsed
