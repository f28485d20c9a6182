from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.job_out import JobOut
from ...models.problem_out import ProblemOut
from ...models.reexamination_in import ReexaminationIn
from ...types import Response


def _get_kwargs(
    job_id: str,
    *,
    body: ReexaminationIn,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs/{job_id}/reexaminations".format(
            job_id=quote(str(job_id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> JobOut | ProblemOut | None:
    if response.status_code == 200:
        response_200 = JobOut.from_dict(response.json())

        return response_200

    if response.status_code == 202:
        response_202 = JobOut.from_dict(response.json())

        return response_202

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
) -> Response[JobOut | ProblemOut]:
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
    body: ReexaminationIn,
) -> Response[JobOut | ProblemOut]:
    """Examine a video again

     Examine the stored media of a job again, with more frames: as another job in the same case,
    with the same `media_id`, and with evidence and reviews of its own. The media are kept for it
    as for a new submission. A repeated request returns the same job. 409 if the job has no verdict,
    its media were deleted or are no video, or all their frames have been examined.

    Args:
        job_id (str): Id of the job.
        body (ReexaminationIn): With how many frames a video is examined again.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[JobOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    job_id: str,
    *,
    client: AuthenticatedClient,
    body: ReexaminationIn,
) -> JobOut | ProblemOut | None:
    """Examine a video again

     Examine the stored media of a job again, with more frames: as another job in the same case,
    with the same `media_id`, and with evidence and reviews of its own. The media are kept for it
    as for a new submission. A repeated request returns the same job. 409 if the job has no verdict,
    its media were deleted or are no video, or all their frames have been examined.

    Args:
        job_id (str): Id of the job.
        body (ReexaminationIn): With how many frames a video is examined again.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        JobOut | ProblemOut
    """

    return sync_detailed(
        job_id=job_id,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    job_id: str,
    *,
    client: AuthenticatedClient,
    body: ReexaminationIn,
) -> Response[JobOut | ProblemOut]:
    """Examine a video again

     Examine the stored media of a job again, with more frames: as another job in the same case,
    with the same `media_id`, and with evidence and reviews of its own. The media are kept for it
    as for a new submission. A repeated request returns the same job. 409 if the job has no verdict,
    its media were deleted or are no video, or all their frames have been examined.

    Args:
        job_id (str): Id of the job.
        body (ReexaminationIn): With how many frames a video is examined again.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[JobOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    job_id: str,
    *,
    client: AuthenticatedClient,
    body: ReexaminationIn,
) -> JobOut | ProblemOut | None:
    """Examine a video again

     Examine the stored media of a job again, with more frames: as another job in the same case,
    with the same `media_id`, and with evidence and reviews of its own. The media are kept for it
    as for a new submission. A repeated request returns the same job. 409 if the job has no verdict,
    its media were deleted or are no video, or all their frames have been examined.

    Args:
        job_id (str): Id of the job.
        body (ReexaminationIn): With how many frames a video is examined again.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        JobOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            job_id=job_id,
            client=client,
            body=body,
        )
    ).parsed
