import datetime
from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.callback_content import CallbackContent
from ...models.job_out import JobOut
from ...models.priority import Priority
from ...models.problem_out import ProblemOut
from ...models.retention_policy import RetentionPolicy
from ...models.video_upload import VideoUpload
from ...types import UNSET, File, Response, Unset


def _get_kwargs(
    *,
    body: VideoUpload | File | Unset = UNSET,
    source_url: str | Unset = UNSET,
    platform: str | Unset = UNSET,
    account: str | Unset = UNSET,
    captured_at: datetime.datetime | Unset = UNSET,
    note: str | Unset = UNSET,
    case_reference: str | Unset = UNSET,
    callback_url: str | Unset = UNSET,
    callback_content: CallbackContent | Unset = UNSET,
    priority: Priority | Unset = UNSET,
    frames: int | Unset = UNSET,
    retention: RetentionPolicy | Unset = UNSET,
    idempotency_key: None | str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    params: dict[str, Any] = {}

    params["source_url"] = source_url

    params["platform"] = platform

    params["account"] = account

    json_captured_at: str | Unset = UNSET
    if not isinstance(captured_at, Unset):
        json_captured_at = captured_at.isoformat()
    params["captured_at"] = json_captured_at

    params["note"] = note

    params["case_reference"] = case_reference

    params["callback_url"] = callback_url

    json_callback_content: str | Unset = UNSET
    if not isinstance(callback_content, Unset):
        json_callback_content = callback_content.value

    params["callback_content"] = json_callback_content

    json_priority: str | Unset = UNSET
    if not isinstance(priority, Unset):
        json_priority = priority.value

    params["priority"] = json_priority

    params["frames"] = frames

    json_retention: str | Unset = UNSET
    if not isinstance(retention, Unset):
        json_retention = retention.value

    params["retention"] = json_retention

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/videos",
        "params": params,
    }

    if isinstance(body, VideoUpload):
        _kwargs["files"] = body.to_multipart()

    if isinstance(body, File):
        _kwargs["content"] = body.payload
        headers["Content-Type"] = "application/octet-stream"

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

    if response.status_code == 408 and "problem+json" in response.headers.get("content-type", ""):
        response_408 = ProblemOut.from_dict(response.json())

        return response_408

    if response.status_code == 409 and "problem+json" in response.headers.get("content-type", ""):
        response_409 = ProblemOut.from_dict(response.json())

        return response_409

    if response.status_code == 413 and "problem+json" in response.headers.get("content-type", ""):
        response_413 = ProblemOut.from_dict(response.json())

        return response_413

    if response.status_code == 415 and "problem+json" in response.headers.get("content-type", ""):
        response_415 = ProblemOut.from_dict(response.json())

        return response_415

    if response.status_code == 422 and "problem+json" in response.headers.get("content-type", ""):
        response_422 = ProblemOut.from_dict(response.json())

        return response_422

    if response.status_code == 429 and "problem+json" in response.headers.get("content-type", ""):
        response_429 = ProblemOut.from_dict(response.json())

        return response_429

    if response.status_code == 500 and "problem+json" in response.headers.get("content-type", ""):
        response_500 = ProblemOut.from_dict(response.json())

        return response_500

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
    *,
    client: AuthenticatedClient,
    body: VideoUpload | File | Unset = UNSET,
    source_url: str | Unset = UNSET,
    platform: str | Unset = UNSET,
    account: str | Unset = UNSET,
    captured_at: datetime.datetime | Unset = UNSET,
    note: str | Unset = UNSET,
    case_reference: str | Unset = UNSET,
    callback_url: str | Unset = UNSET,
    callback_content: CallbackContent | Unset = UNSET,
    priority: Priority | Unset = UNSET,
    frames: int | Unset = UNSET,
    retention: RetentionPolicy | Unset = UNSET,
    idempotency_key: None | str | Unset = UNSET,
) -> Response[JobOut | ProblemOut]:
    """Submit a video

     Queue a video (or a picture) for examination. Send it as multipart in the field `file`, or
    as the raw body with a content type. The other fields may be sent in the multipart body or as
    query parameters, each of them once.

    If you send the same content again for the same case with the same options, the answer is 200
    with the existing job; a new URL is added to it.

    Args:
        source_url (str | Unset):
        platform (str | Unset):
        account (str | Unset):
        captured_at (datetime.datetime | Unset):
        note (str | Unset):
        case_reference (str | Unset):
        callback_url (str | Unset):
        callback_content (CallbackContent | Unset): What a webhook says about its job.
        priority (Priority | Unset): The priority of a job in the queue.
        frames (int | Unset):
        retention (RetentionPolicy | Unset): How long the media of a job are kept.
        idempotency_key (None | str | Unset): Makes a retry of the same request safe: for seven
            days, the account gets the job of the first request with this key, whatever became of it,
            unless it was deleted. A request with another file, `frames`, `retention`, case or
            occurrence gets 409.
        body (VideoUpload):
        body (File):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[JobOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        body=body,
        source_url=source_url,
        platform=platform,
        account=account,
        captured_at=captured_at,
        note=note,
        case_reference=case_reference,
        callback_url=callback_url,
        callback_content=callback_content,
        priority=priority,
        frames=frames,
        retention=retention,
        idempotency_key=idempotency_key,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    body: VideoUpload | File | Unset = UNSET,
    source_url: str | Unset = UNSET,
    platform: str | Unset = UNSET,
    account: str | Unset = UNSET,
    captured_at: datetime.datetime | Unset = UNSET,
    note: str | Unset = UNSET,
    case_reference: str | Unset = UNSET,
    callback_url: str | Unset = UNSET,
    callback_content: CallbackContent | Unset = UNSET,
    priority: Priority | Unset = UNSET,
    frames: int | Unset = UNSET,
    retention: RetentionPolicy | Unset = UNSET,
    idempotency_key: None | str | Unset = UNSET,
) -> JobOut | ProblemOut | None:
    """Submit a video

     Queue a video (or a picture) for examination. Send it as multipart in the field `file`, or
    as the raw body with a content type. The other fields may be sent in the multipart body or as
    query parameters, each of them once.

    If you send the same content again for the same case with the same options, the answer is 200
    with the existing job; a new URL is added to it.

    Args:
        source_url (str | Unset):
        platform (str | Unset):
        account (str | Unset):
        captured_at (datetime.datetime | Unset):
        note (str | Unset):
        case_reference (str | Unset):
        callback_url (str | Unset):
        callback_content (CallbackContent | Unset): What a webhook says about its job.
        priority (Priority | Unset): The priority of a job in the queue.
        frames (int | Unset):
        retention (RetentionPolicy | Unset): How long the media of a job are kept.
        idempotency_key (None | str | Unset): Makes a retry of the same request safe: for seven
            days, the account gets the job of the first request with this key, whatever became of it,
            unless it was deleted. A request with another file, `frames`, `retention`, case or
            occurrence gets 409.
        body (VideoUpload):
        body (File):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        JobOut | ProblemOut
    """

    return sync_detailed(
        client=client,
        body=body,
        source_url=source_url,
        platform=platform,
        account=account,
        captured_at=captured_at,
        note=note,
        case_reference=case_reference,
        callback_url=callback_url,
        callback_content=callback_content,
        priority=priority,
        frames=frames,
        retention=retention,
        idempotency_key=idempotency_key,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: VideoUpload | File | Unset = UNSET,
    source_url: str | Unset = UNSET,
    platform: str | Unset = UNSET,
    account: str | Unset = UNSET,
    captured_at: datetime.datetime | Unset = UNSET,
    note: str | Unset = UNSET,
    case_reference: str | Unset = UNSET,
    callback_url: str | Unset = UNSET,
    callback_content: CallbackContent | Unset = UNSET,
    priority: Priority | Unset = UNSET,
    frames: int | Unset = UNSET,
    retention: RetentionPolicy | Unset = UNSET,
    idempotency_key: None | str | Unset = UNSET,
) -> Response[JobOut | ProblemOut]:
    """Submit a video

     Queue a video (or a picture) for examination. Send it as multipart in the field `file`, or
    as the raw body with a content type. The other fields may be sent in the multipart body or as
    query parameters, each of them once.

    If you send the same content again for the same case with the same options, the answer is 200
    with the existing job; a new URL is added to it.

    Args:
        source_url (str | Unset):
        platform (str | Unset):
        account (str | Unset):
        captured_at (datetime.datetime | Unset):
        note (str | Unset):
        case_reference (str | Unset):
        callback_url (str | Unset):
        callback_content (CallbackContent | Unset): What a webhook says about its job.
        priority (Priority | Unset): The priority of a job in the queue.
        frames (int | Unset):
        retention (RetentionPolicy | Unset): How long the media of a job are kept.
        idempotency_key (None | str | Unset): Makes a retry of the same request safe: for seven
            days, the account gets the job of the first request with this key, whatever became of it,
            unless it was deleted. A request with another file, `frames`, `retention`, case or
            occurrence gets 409.
        body (VideoUpload):
        body (File):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[JobOut | ProblemOut]
    """

    kwargs = _get_kwargs(
        body=body,
        source_url=source_url,
        platform=platform,
        account=account,
        captured_at=captured_at,
        note=note,
        case_reference=case_reference,
        callback_url=callback_url,
        callback_content=callback_content,
        priority=priority,
        frames=frames,
        retention=retention,
        idempotency_key=idempotency_key,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: VideoUpload | File | Unset = UNSET,
    source_url: str | Unset = UNSET,
    platform: str | Unset = UNSET,
    account: str | Unset = UNSET,
    captured_at: datetime.datetime | Unset = UNSET,
    note: str | Unset = UNSET,
    case_reference: str | Unset = UNSET,
    callback_url: str | Unset = UNSET,
    callback_content: CallbackContent | Unset = UNSET,
    priority: Priority | Unset = UNSET,
    frames: int | Unset = UNSET,
    retention: RetentionPolicy | Unset = UNSET,
    idempotency_key: None | str | Unset = UNSET,
) -> JobOut | ProblemOut | None:
    """Submit a video

     Queue a video (or a picture) for examination. Send it as multipart in the field `file`, or
    as the raw body with a content type. The other fields may be sent in the multipart body or as
    query parameters, each of them once.

    If you send the same content again for the same case with the same options, the answer is 200
    with the existing job; a new URL is added to it.

    Args:
        source_url (str | Unset):
        platform (str | Unset):
        account (str | Unset):
        captured_at (datetime.datetime | Unset):
        note (str | Unset):
        case_reference (str | Unset):
        callback_url (str | Unset):
        callback_content (CallbackContent | Unset): What a webhook says about its job.
        priority (Priority | Unset): The priority of a job in the queue.
        frames (int | Unset):
        retention (RetentionPolicy | Unset): How long the media of a job are kept.
        idempotency_key (None | str | Unset): Makes a retry of the same request safe: for seven
            days, the account gets the job of the first request with this key, whatever became of it,
            unless it was deleted. A request with another file, `frames`, `retention`, case or
            occurrence gets 409.
        body (VideoUpload):
        body (File):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        JobOut | ProblemOut
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
            source_url=source_url,
            platform=platform,
            account=account,
            captured_at=captured_at,
            note=note,
            case_reference=case_reference,
            callback_url=callback_url,
            callback_content=callback_content,
            priority=priority,
            frames=frames,
            retention=retention,
            idempotency_key=idempotency_key,
        )
    ).parsed
