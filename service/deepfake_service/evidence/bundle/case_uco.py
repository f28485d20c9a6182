"""The examination as a CASE/UCO graph in JSON-LD, for tools that exchange investigations.

The graph uses CASE 1.x (https://caseontology.org) and UCO 1.x: the file and its hash, the
examination as an investigative action with its instrument, the verdict as its result, and a record
of provenance. Its node ids are UUIDs of version 5 (RFC 9562, 5.5), so that the same examination
always gives the same graph.
"""

from __future__ import annotations

import uuid
from typing import Any

_NAMESPACE = uuid.UUID("7c9f3f0e-5f2b-5d1d-9d3c-2b5f0e6b8a11")

_CONTEXT = {
    "kb": "urn:deepfake-service:",
    "case-investigation": "https://ontology.caseontology.org/case/investigation/",
    "uco-action": "https://ontology.unifiedcyberontology.org/uco/action/",
    "uco-core": "https://ontology.unifiedcyberontology.org/uco/core/",
    "uco-observable": "https://ontology.unifiedcyberontology.org/uco/observable/",
    "uco-tool": "https://ontology.unifiedcyberontology.org/uco/tool/",
    "uco-types": "https://ontology.unifiedcyberontology.org/uco/types/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


def graph(document: dict[str, Any]) -> dict[str, Any]:
    """Return the graph of a ``verdict.json`` document."""
    job, item, model = document["job"]["id"], document["item"], document["method"]["model"]

    def ref(name: str) -> dict[str, Any]:
        return {"@id": f"kb:{name}-{uuid.uuid5(_NAMESPACE, f'{job}/{name}')}"}

    def node(name: str, kind: str, properties: dict[str, Any]) -> dict[str, Any]:
        return {**ref(name), "@type": kind, **properties}

    digest = {
        "uco-types:hashMethod": "SHA256",
        "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": item["sha256"]},
    }
    content = {
        "uco-observable:sizeInBytes": item["size"],
        "uco-observable:hash": [node("hash", "uco-types:Hash", digest)],
        **({"uco-observable:mimeType": item["mime"]} if item["mime"] else {}),
    }
    return {
        "@context": _CONTEXT,
        "@graph": [
            node("file", "uco-observable:File", {
                "uco-core:name": "submitted-media",
                "uco-core:hasFacet": [node("content", "uco-observable:ContentDataFacet", content)],
            }),
            node("tool", "uco-tool:Tool", {
                "uco-core:name": "deepfake-service",
                "uco-tool:version": f"model {model['name']} {model['version']} {model['sha256']}",
            }),
            node("result", "uco-core:UcoObject", {
                "uco-core:name": document["result"]["verdict"],
                "uco-core:description": "The verdict in words is in verdict.json.",
            }),
            node("action", "case-investigation:InvestigativeAction", {
                "uco-core:name": "Examination of a file for manipulated faces",
                "uco-action:endTime": {
                    "@type": "xsd:dateTime",
                    "@value": document["job"]["examined_at"],
                },
                "uco-action:instrument": [ref("tool")],
                "uco-action:object": [ref("file")],
                "uco-action:result": [ref("result"), ref("provenance")],
            }),
            node("provenance", "case-investigation:ProvenanceRecord", {
                "uco-core:description": "The examined file and what came of it.",
                "case-investigation:exhibitNumber": job,
                "uco-core:object": [ref("file"), ref("result")],
            }),
        ],
    }  # fmt: skip
