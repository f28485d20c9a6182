from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.editions_out import EditionsOut
from ...models.problem_out import ProblemOut
from ...types import Response


def _get_kwargs(
    job_id: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/jobs/{job_id}/evidence/editions".format(
            job_id=quote(str(job_id), safe=""),
        ),
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> EditionsOut | ProblemOut | None:
    if response.status_code == 200:
        response_200 = EditionsOut.from_dict(response.json())

        return response_200

    if response.status_code == 401 and "problem+json" in response.headers.get("content-type", ""):
        response_401 = ProblemOut.from_dict(response.json())

        return response_401

    if response.status_code == 403 and "problem+json" in response.headers.get("content-type", ""):
        response_403 = ProblemOut.from_dict(response.json())

        return response_403

    if response.status_code == 404 and "problem+json" in response.headers.get("content-type", ""):
        response_404 = ProblemOut.from_dict(response.json())

        return response_404

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
) -> Response[EditionsOut | ProblemOut]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    job_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[EditionsOut | ProblemOut]:
    """List editions

     List the editions of a job's evidence. An edition never changes; each review adds one.

    Args:
        job_id (str): Id of the job.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[EditionsOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    job_id: str,
    *,
    client: AuthenticatedClient,
) -> EditionsOut | ProblemOut | None:
    """List editions

     List the editions of a job's evidence. An edition never changes; each review adds one.

    Args:
        job_id (str): Id of the job.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        EditionsOut | ProblemOut
    """

    return sync_detailed(
        job_id=job_id,
        client=client,
    ).parsed


async def asyncio_detailed(
    job_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[EditionsOut | ProblemOut]:
    """List editions

     List the editions of a job's evidence. An edition never changes; each review adds one.

    Args:
        job_id (str): Id of the job.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[EditionsOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    job_id: str,
    *,
    client: AuthenticatedClient,
) -> EditionsOut | ProblemOut | None:
    """List editions

     List the editions of a job's evidence. An edition never changes; each review adds one.

    Args:
        job_id (str): Id of the job.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        EditionsOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            job_id=job_id,
            client=client,
        )
    ).parsed
