"""Contains all the data models used in inputs/outputs"""

from .audit_entry_out import AuditEntryOut
from .audit_out import AuditOut
from .basis import Basis
from .callback_content import CallbackContent
from .case_base import CaseBase
from .case_in import CaseIn
from .case_out import CaseOut
from .cases_out import CasesOut
from .composed import Composed
from .decision import Decision
from .delete_job_case import DeleteJobCase
from .edition_out import EditionOut
from .editions_out import EditionsOut
from .event_job_out import EventJobOut
from .event_out import EventOut
from .event_out_type import EventOutType
from .export_in import ExportIn
from .face_out import FaceOut
from .field_error_out import FieldErrorOut
from .finding import Finding
from .frame_counts_out import FrameCountsOut
from .frame_out import FrameOut
from .frame_out_kinds_type_0 import FrameOutKindsType0
from .frames_out import FramesOut
from .get_report_lang import GetReportLang
from .health_out import HealthOut
from .job_base import JobBase
from .job_base_kind import JobBaseKind
from .job_out import JobOut
from .job_out_kind import JobOutKind
from .job_out_media_kind_type_0 import JobOutMediaKindType0
from .job_state import JobState
from .jobs_out import JobsOut
from .kind_out import KindOut
from .kind_out_fields import KindOutFields
from .kind_out_kind import KindOutKind
from .kinds_out import KindsOut
from .layer import Layer
from .leaning import Leaning
from .list_cases_order import ListCasesOrder
from .listed_job_out import ListedJobOut
from .listed_job_out_kind import ListedJobOutKind
from .listed_job_out_media_kind_type_0 import ListedJobOutMediaKindType0
from .match_out import MatchOut
from .matches_out import MatchesOut
from .media_out import MediaOut
from .model_out import ModelOut
from .moment_out import MomentOut
from .notice_base import NoticeBase
from .notice_base_kind import NoticeBaseKind
from .notice_base_language import NoticeBaseLanguage
from .notice_event_kind import NoticeEventKind
from .notice_event_out import NoticeEventOut
from .notice_out import NoticeOut
from .notice_out_captures_type_0 import NoticeOutCapturesType0
from .notice_out_fields import NoticeOutFields
from .notice_out_kind import NoticeOutKind
from .notice_out_language import NoticeOutLanguage
from .notice_request import NoticeRequest
from .notice_request_captures import NoticeRequestCaptures
from .notice_request_fields import NoticeRequestFields
from .notice_request_kind import NoticeRequestKind
from .notice_request_language import NoticeRequestLanguage
from .notice_state import NoticeState
from .notice_update import NoticeUpdate
from .notices_out import NoticesOut
from .occurrence_out import OccurrenceOut
from .occurrence_upload import OccurrenceUpload
from .occurrences_out import OccurrencesOut
from .order import Order
from .organisation_out import OrganisationOut
from .organisation_record import OrganisationRecord
from .outcome import Outcome
from .picture_upload import PictureUpload
from .priority import Priority
from .problem_out import ProblemOut
from .progress_out import ProgressOut
from .public_key_out import PublicKeyOut
from .public_key_out_kty import PublicKeyOutKty
from .public_keys_out import PublicKeysOut
from .quality_out import QualityOut
from .ready_out import ReadyOut
from .reason_code import ReasonCode
from .reason_out import ReasonOut
from .reexamination_in import ReexaminationIn
from .result_out import ResultOut
from .result_out_kinds_type_0 import ResultOutKindsType0
from .retention_policy import RetentionPolicy
from .review_in import ReviewIn
from .review_out import ReviewOut
from .reviews_out import ReviewsOut
from .role import Role
from .sandbox_out import SandboxOut
from .section import Section
from .signature_out import SignatureOut
from .signed_list_out import SignedListOut
from .step import Step
from .track_out import TrackOut
from .track_out_kinds_type_0 import TrackOutKindsType0
from .tracked_face_out import TrackedFaceOut
from .verdict_code import VerdictCode
from .verification_out import VerificationOut
from .verification_out_result import VerificationOutResult
from .video_upload import VideoUpload
from .webhook_secret_out import WebhookSecretOut

__all__ = (
    "AuditEntryOut",
    "AuditOut",
    "Basis",
    "CallbackContent",
    "CaseBase",
    "CaseIn",
    "CaseOut",
    "CasesOut",
    "Composed",
    "Decision",
    "DeleteJobCase",
    "EditionOut",
    "EditionsOut",
    "EventJobOut",
    "EventOut",
    "EventOutType",
    "ExportIn",
    "FaceOut",
    "FieldErrorOut",
    "Finding",
    "FrameCountsOut",
    "FrameOut",
    "FrameOutKindsType0",
    "FramesOut",
    "GetReportLang",
    "HealthOut",
    "JobBase",
    "JobBaseKind",
    "JobOut",
    "JobOutKind",
    "JobOutMediaKindType0",
    "JobsOut",
    "JobState",
    "KindOut",
    "KindOutFields",
    "KindOutKind",
    "KindsOut",
    "Layer",
    "Leaning",
    "ListCasesOrder",
    "ListedJobOut",
    "ListedJobOutKind",
    "ListedJobOutMediaKindType0",
    "MatchesOut",
    "MatchOut",
    "MediaOut",
    "ModelOut",
    "MomentOut",
    "NoticeBase",
    "NoticeBaseKind",
    "NoticeBaseLanguage",
    "NoticeEventKind",
    "NoticeEventOut",
    "NoticeOut",
    "NoticeOutCapturesType0",
    "NoticeOutFields",
    "NoticeOutKind",
    "NoticeOutLanguage",
    "NoticeRequest",
    "NoticeRequestCaptures",
    "NoticeRequestFields",
    "NoticeRequestKind",
    "NoticeRequestLanguage",
    "NoticesOut",
    "NoticeState",
    "NoticeUpdate",
    "OccurrenceOut",
    "OccurrencesOut",
    "OccurrenceUpload",
    "Order",
    "OrganisationOut",
    "OrganisationRecord",
    "Outcome",
    "PictureUpload",
    "Priority",
    "ProblemOut",
    "ProgressOut",
    "PublicKeyOut",
    "PublicKeyOutKty",
    "PublicKeysOut",
    "QualityOut",
    "ReadyOut",
    "ReasonCode",
    "ReasonOut",
    "ReexaminationIn",
    "ResultOut",
    "ResultOutKindsType0",
    "RetentionPolicy",
    "ReviewIn",
    "ReviewOut",
    "ReviewsOut",
    "Role",
    "SandboxOut",
    "Section",
    "SignatureOut",
    "SignedListOut",
    "Step",
    "TrackedFaceOut",
    "TrackOut",
    "TrackOutKindsType0",
    "VerdictCode",
    "VerificationOut",
    "VerificationOutResult",
    "VideoUpload",
    "WebhookSecretOut",
)
