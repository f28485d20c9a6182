from enum import StrEnum


class ReasonCode(StrEnum):
    BETWEEN_THRESHOLDS = "between_thresholds"
    COVERAGE = "coverage"
    DECODER_FAILED = "decoder_failed"
    FACE_TOO_BLURRED = "face_too_blurred"
    FACE_TOO_SMALL = "face_too_small"
    FAILED_FRAMES = "failed_frames"
    NOT_A_PICTURE = "not_a_picture"
    NO_FACE = "no_face"
    NO_VISUAL_STREAM = "no_visual_stream"
    ROTATED = "rotated"
    SUSPECT_MOMENTS = "suspect_moments"
    TOO_FEW_FACES = "too_few_faces"
    TOO_LARGE = "too_large"
    TOO_MANY_FACES = "too_many_faces"
    UNDECODABLE = "undecodable"
    UNJUDGED_FACES = "unjudged_faces"
    UNMEASURED_CONDITION = "unmeasured_condition"
    UNREADABLE = "unreadable"

    def __str__(self) -> str:
        return str(self.value)
