"""Application services: submission, examination, review, evidence, notices and deletion."""
