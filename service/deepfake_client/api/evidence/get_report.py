from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.get_report_lang import GetReportLang
from ...models.problem_out import ProblemOut
from ...types import UNSET, File, Response, Unset


def _get_kwargs(
    job_id: str,
    *,
    lang: GetReportLang | Unset = GetReportLang.KO,
    edition: int | None | Unset = UNSET,
    faces: bool | Unset = True,
    signature_line: bool | Unset = False,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_lang: str | Unset = UNSET
    if not isinstance(lang, Unset):
        json_lang = lang.value

    params["lang"] = json_lang

    json_edition: int | None | Unset
    if isinstance(edition, Unset):
        json_edition = UNSET
    else:
        json_edition = edition
    params["edition"] = json_edition

    params["faces"] = faces

    params["signature_line"] = signature_line

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/jobs/{job_id}/report.pdf".format(
            job_id=quote(str(job_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> File | ProblemOut | None:
    if response.status_code == 200:
        response_200 = File(payload=BytesIO(response.content))

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

    if response.status_code == 409 and "problem+json" in response.headers.get("content-type", ""):
        response_409 = ProblemOut.from_dict(response.json())

        return response_409

    if response.status_code == 410 and "problem+json" in response.headers.get("content-type", ""):
        response_410 = ProblemOut.from_dict(response.json())

        return response_410

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
) -> Response[File | ProblemOut]:
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
    lang: GetReportLang | Unset = GetReportLang.KO,
    edition: int | None | Unset = UNSET,
    faces: bool | Unset = True,
    signature_line: bool | Unset = False,
) -> Response[File | ProblemOut]:
    """Get the report

     Return the report of an edition: a signed PDF/A, in Korean or English. Audited. With
    `faces=false` or `signature_line=true`, it is a copy that is signed when it is requested.

    Args:
        job_id (str): Id of the job.
        lang (GetReportLang | Unset): Language of the report. Default: GetReportLang.KO.
        edition (int | None | Unset): Number of the edition; the newest if unset.
        faces (bool | Unset): Whether it shows pictures of faces. Default: True.
        signature_line (bool | Unset): Whether it has a line for name, date and signature of the
            person who hands it in, on paper. Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[File | ProblemOut]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
        lang=lang,
        edition=edition,
        faces=faces,
        signature_line=signature_line,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    job_id: str,
    *,
    client: AuthenticatedClient,
    lang: GetReportLang | Unset = GetReportLang.KO,
    edition: int | None | Unset = UNSET,
    faces: bool | Unset = True,
    signature_line: bool | Unset = False,
) -> File | ProblemOut | None:
    """Get the report

     Return the report of an edition: a signed PDF/A, in Korean or English. Audited. With
    `faces=false` or `signature_line=true`, it is a copy that is signed when it is requested.

    Args:
        job_id (str): Id of the job.
        lang (GetReportLang | Unset): Language of the report. Default: GetReportLang.KO.
        edition (int | None | Unset): Number of the edition; the newest if unset.
        faces (bool | Unset): Whether it shows pictures of faces. Default: True.
        signature_line (bool | Unset): Whether it has a line for name, date and signature of the
            person who hands it in, on paper. Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        File | ProblemOut
    """

    return sync_detailed(
        job_id=job_id,
        client=client,
        lang=lang,
        edition=edition,
        faces=faces,
        signature_line=signature_line,
    ).parsed


async def asyncio_detailed(
    job_id: str,
    *,
    client: AuthenticatedClient,
    lang: GetReportLang | Unset = GetReportLang.KO,
    edition: int | None | Unset = UNSET,
    faces: bool | Unset = True,
    signature_line: bool | Unset = False,
) -> Response[File | ProblemOut]:
    """Get the report

     Return the report of an edition: a signed PDF/A, in Korean or English. Audited. With
    `faces=false` or `signature_line=true`, it is a copy that is signed when it is requested.

    Args:
        job_id (str): Id of the job.
        lang (GetReportLang | Unset): Language of the report. Default: GetReportLang.KO.
        edition (int | None | Unset): Number of the edition; the newest if unset.
        faces (bool | Unset): Whether it shows pictures of faces. Default: True.
        signature_line (bool | Unset): Whether it has a line for name, date and signature of the
            person who hands it in, on paper. Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[File | ProblemOut]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
        lang=lang,
        edition=edition,
        faces=faces,
        signature_line=signature_line,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    job_id: str,
    *,
    client: AuthenticatedClient,
    lang: GetReportLang | Unset = GetReportLang.KO,
    edition: int | None | Unset = UNSET,
    faces: bool | Unset = True,
    signature_line: bool | Unset = False,
) -> File | ProblemOut | None:
    """Get the report

     Return the report of an edition: a signed PDF/A, in Korean or English. Audited. With
    `faces=false` or `signature_line=true`, it is a copy that is signed when it is requested.

    Args:
        job_id (str): Id of the job.
        lang (GetReportLang | Unset): Language of the report. Default: GetReportLang.KO.
        edition (int | None | Unset): Number of the edition; the newest if unset.
        faces (bool | Unset): Whether it shows pictures of faces. Default: True.
        signature_line (bool | Unset): Whether it has a line for name, date and signature of the
            person who hands it in, on paper. Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        File | ProblemOut
    """

    return (
        await asyncio_detailed(
            job_id=job_id,
            client=client,
            lang=lang,
            edition=edition,
            faces=faces,
            signature_line=signature_line,
        )
    ).parsed
