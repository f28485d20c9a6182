from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.job_state import JobState
from ...models.jobs_out import JobsOut
from ...models.problem_out import ProblemOut
from ...models.verdict_code import VerdictCode
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    state: JobState | None | Unset = UNSET,
    verdict: None | Unset | VerdictCode = UNSET,
    case_id: None | str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_state: None | str | Unset
    if isinstance(state, Unset):
        json_state = UNSET
    elif isinstance(state, JobState):
        json_state = state.value
    else:
        json_state = state
    params["state"] = json_state

    json_verdict: None | str | Unset
    if isinstance(verdict, Unset):
        json_verdict = UNSET
    elif isinstance(verdict, VerdictCode):
        json_verdict = verdict.value
    else:
        json_verdict = verdict
    params["verdict"] = json_verdict

    json_case_id: None | str | Unset
    if isinstance(case_id, Unset):
        json_case_id = UNSET
    else:
        json_case_id = case_id
    params["case_id"] = json_case_id

    params["limit"] = limit

    json_cursor: None | str | Unset
    if isinstance(cursor, Unset):
        json_cursor = UNSET
    else:
        json_cursor = cursor
    params["cursor"] = json_cursor

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/jobs",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> JobsOut | ProblemOut | None:
    if response.status_code == 200:
        response_200 = JobsOut.from_dict(response.json())

        return response_200

    if response.status_code == 401:
        response_401 = ProblemOut.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = ProblemOut.from_dict(response.json())

        return response_403

    if response.status_code == 422:
        response_422 = ProblemOut.from_dict(response.json())

        return response_422

    if response.status_code == 429:
        response_429 = ProblemOut.from_dict(response.json())

        return response_429

    if response.status_code == 503:
        response_503 = ProblemOut.from_dict(response.json())

        return response_503

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[JobsOut | ProblemOut]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    state: JobState | None | Unset = UNSET,
    verdict: None | Unset | VerdictCode = UNSET,
    case_id: None | str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
) -> Response[JobsOut | ProblemOut]:
    """List jobs

     List the jobs of this account, newest first; analysts and administrators see the jobs of all
    accounts.

    Args:
        state (JobState | None | Unset): Only jobs in this state.
        verdict (None | Unset | VerdictCode): Only jobs with this verdict.
        case_id (None | str | Unset): Only jobs of this case.
        limit (int | Unset): Items on the page. Default: 50.
        cursor (None | str | Unset): `next` of the page before; unset: first.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[JobsOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        state=state,
        verdict=verdict,
        case_id=case_id,
        limit=limit,
        cursor=cursor,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    state: JobState | None | Unset = UNSET,
    verdict: None | Unset | VerdictCode = UNSET,
    case_id: None | str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
) -> JobsOut | ProblemOut | None:
    """List jobs

     List the jobs of this account, newest first; analysts and administrators see the jobs of all
    accounts.

    Args:
        state (JobState | None | Unset): Only jobs in this state.
        verdict (None | Unset | VerdictCode): Only jobs with this verdict.
        case_id (None | str | Unset): Only jobs of this case.
        limit (int | Unset): Items on the page. Default: 50.
        cursor (None | str | Unset): `next` of the page before; unset: first.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        JobsOut | ProblemOut
    """

    return sync_detailed(
        client=client,
        state=state,
        verdict=verdict,
        case_id=case_id,
        limit=limit,
        cursor=cursor,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    state: JobState | None | Unset = UNSET,
    verdict: None | Unset | VerdictCode = UNSET,
    case_id: None | str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
) -> Response[JobsOut | ProblemOut]:
    """List jobs

     List the jobs of this account, newest first; analysts and administrators see the jobs of all
    accounts.

    Args:
        state (JobState | None | Unset): Only jobs in this state.
        verdict (None | Unset | VerdictCode): Only jobs with this verdict.
        case_id (None | str | Unset): Only jobs of this case.
        limit (int | Unset): Items on the page. Default: 50.
        cursor (None | str | Unset): `next` of the page before; unset: first.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[JobsOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        state=state,
        verdict=verdict,
        case_id=case_id,
        limit=limit,
        cursor=cursor,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    state: JobState | None | Unset = UNSET,
    verdict: None | Unset | VerdictCode = UNSET,
    case_id: None | str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: None | str | Unset = UNSET,
) -> JobsOut | ProblemOut | None:
    """List jobs

     List the jobs of this account, newest first; analysts and administrators see the jobs of all
    accounts.

    Args:
        state (JobState | None | Unset): Only jobs in this state.
        verdict (None | Unset | VerdictCode): Only jobs with this verdict.
        case_id (None | str | Unset): Only jobs of this case.
        limit (int | Unset): Items on the page. Default: 50.
        cursor (None | str | Unset): `next` of the page before; unset: first.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        JobsOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            client=client,
            state=state,
            verdict=verdict,
            case_id=case_id,
            limit=limit,
            cursor=cursor,
        )
    ).parsed
