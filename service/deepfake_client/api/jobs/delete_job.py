from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.delete_job_case import DeleteJobCase
from ...models.problem_out import ProblemOut
from ...types import UNSET, Response, Unset


def _get_kwargs(
    job_id: str,
    *,
    case: DeleteJobCase | Unset = DeleteJobCase.KEEP,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_case: str | Unset = UNSET
    if not isinstance(case, Unset):
        json_case = case.value

    params["case"] = json_case

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/jobs/{job_id}".format(
            job_id=quote(str(job_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Any | ProblemOut | None:
    if response.status_code == 204:
        response_204 = cast(Any, None)
        return response_204

    if response.status_code == 401 and "problem+json" in response.headers.get("content-type", ""):
        response_401 = ProblemOut.from_dict(response.json())

        return response_401

    if response.status_code == 403 and "problem+json" in response.headers.get("content-type", ""):
        response_403 = ProblemOut.from_dict(response.json())

        return response_403

    if response.status_code == 404 and "problem+json" in response.headers.get("content-type", ""):
        response_404 = ProblemOut.from_dict(response.json())

        return response_404

    if response.status_code == 409 and "problem+json" in response.headers.get("content-type", ""):
        response_409 = ProblemOut.from_dict(response.json())

        return response_409

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
) -> Response[Any | ProblemOut]:
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
    case: DeleteJobCase | Unset = DeleteJobCase.KEEP,
) -> Response[Any | ProblemOut]:
    """Cancel and delete a job

     Stop the job and delete its result, its evidence and its media, with where they were seen,
    unless another job has the same media. The case stays, even if it is empty then.

    Args:
        job_id (str): Id of the job.
        case (DeleteJobCase | Unset): `delete` deletes the case as well if nothing else is in it.
            Otherwise it stays, with its reference and its notices, until it is deleted or expires.
            Default: DeleteJobCase.KEEP.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | ProblemOut]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
        case=case,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    job_id: str,
    *,
    client: AuthenticatedClient,
    case: DeleteJobCase | Unset = DeleteJobCase.KEEP,
) -> Any | ProblemOut | None:
    """Cancel and delete a job

     Stop the job and delete its result, its evidence and its media, with where they were seen,
    unless another job has the same media. The case stays, even if it is empty then.

    Args:
        job_id (str): Id of the job.
        case (DeleteJobCase | Unset): `delete` deletes the case as well if nothing else is in it.
            Otherwise it stays, with its reference and its notices, until it is deleted or expires.
            Default: DeleteJobCase.KEEP.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | ProblemOut
    """

    return sync_detailed(
        job_id=job_id,
        client=client,
        case=case,
    ).parsed


async def asyncio_detailed(
    job_id: str,
    *,
    client: AuthenticatedClient,
    case: DeleteJobCase | Unset = DeleteJobCase.KEEP,
) -> Response[Any | ProblemOut]:
    """Cancel and delete a job

     Stop the job and delete its result, its evidence and its media, with where they were seen,
    unless another job has the same media. The case stays, even if it is empty then.

    Args:
        job_id (str): Id of the job.
        case (DeleteJobCase | Unset): `delete` deletes the case as well if nothing else is in it.
            Otherwise it stays, with its reference and its notices, until it is deleted or expires.
            Default: DeleteJobCase.KEEP.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | ProblemOut]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
        case=case,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    job_id: str,
    *,
    client: AuthenticatedClient,
    case: DeleteJobCase | Unset = DeleteJobCase.KEEP,
) -> Any | ProblemOut | None:
    """Cancel and delete a job

     Stop the job and delete its result, its evidence and its media, with where they were seen,
    unless another job has the same media. The case stays, even if it is empty then.

    Args:
        job_id (str): Id of the job.
        case (DeleteJobCase | Unset): `delete` deletes the case as well if nothing else is in it.
            Otherwise it stays, with its reference and its notices, until it is deleted or expires.
            Default: DeleteJobCase.KEEP.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | ProblemOut
    """

    return (
        await asyncio_detailed(
            job_id=job_id,
            client=client,
            case=case,
        )
    ).parsed
