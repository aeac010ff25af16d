"""Public ids: OpenAI's prefixes before 96 random bits."""

import secrets
from typing import Final

FILE: Final = "file-"
UPLOAD: Final = "upload_"
UPLOAD_PART: Final = "part_"
VECTOR_STORE: Final = "vs_"
FILE_BATCH: Final = "vsfb_"
CHAT_COMPLETION: Final = "chatcmpl-"
TEXT_COMPLETION: Final = "cmpl-"
MODERATION: Final = "modr-"
RERANKING: Final = "rerank-"
RESPONSE: Final = "resp_"
MESSAGE: Final = "msg_"
FILE_SEARCH_CALL: Final = "fs_"
FUNCTION_CALL: Final = "fc_"
REQUEST: Final = "req_"
KEY: Final = "key_"
JOB: Final = "job_"
CHUNK: Final = "chunk_"
FINE_TUNING_JOB: Final = "ftjob-"
FINE_TUNING_EVENT: Final = "ftevent-"
FINE_TUNING_CHECKPOINT: Final = "ftckpt_"


def new_id(prefix: str) -> str:
    """Give a fresh id, e.g. `file-9f2c…`."""
    return f"{prefix}{secrets.token_hex(12)}"
